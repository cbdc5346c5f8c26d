from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("measurements", "0010_recording_imports"),
    ]

    operations = [
        migrations.AddField(
            model_name=name,
            name="unmetered_mwh",
            field=models.BigIntegerField(null=True),
        )
        for name in ("systemslot", "systemhour", "systemday", "systemmonth")
    ]
