from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("measurements", "0012_when_days_were_repaired"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportedDay",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "system_key",
                        "start",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("system_key", models.IntegerField()),
                ("start", models.DateTimeField()),
                ("marked_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "imported day",
                "verbose_name_plural": "imported days",
            },
        ),
    ]
