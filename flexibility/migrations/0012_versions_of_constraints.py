from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flexibility", "0011_bulk_restoring"),
    ]

    operations = [
        migrations.AddField(
            model_name="constraint",
            name="version_of",
            field=models.UUIDField(db_index=True, editable=False, null=True),
        ),
    ]
