"""The table of readings: partitioned, its columns ordered so that a row wastes no padding.

Django would make a plain table of the model; all else it may do with it as with any other.
"""

from django.db import migrations, models

FORWARD = """
CREATE TABLE measurements_reading (
    system_key integer NOT NULL,
    appliance_key integer NOT NULL,
    at timestamptz NOT NULL,
    imported_wh double precision,
    exported_wh double precision,
    power_w real,
    soc real,
    delay_s integer,
    energy_wh real,
    temperature_c real,
    current_l1_a real,
    current_l2_a real,
    current_l3_a real,
    interval_s integer,
    import_energy_wh double precision,
    export_energy_wh double precision,
    plug_state smallint,
    PRIMARY KEY (system_key, appliance_key, at)
) PARTITION BY RANGE (at);
"""


class Migration(migrations.Migration):
    dependencies = [("measurements", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD, "DROP TABLE measurements_reading")],
            state_operations=[
                migrations.CreateModel(
                    name="Reading",
                    fields=[
                        ("power_w", models.FloatField(null=True)),
                        ("imported_wh", models.FloatField(null=True)),
                        ("exported_wh", models.FloatField(null=True)),
                        ("soc", models.FloatField(null=True)),
                        ("energy_wh", models.FloatField(null=True)),
                        ("temperature_c", models.FloatField(null=True)),
                        ("current_l1_a", models.FloatField(null=True)),
                        ("current_l2_a", models.FloatField(null=True)),
                        ("current_l3_a", models.FloatField(null=True)),
                        ("plug_state", models.SmallIntegerField(null=True)),
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "system_key",
                                "appliance_key",
                                "at",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("system_key", models.IntegerField()),
                        ("appliance_key", models.IntegerField()),
                        ("at", models.DateTimeField()),
                        ("delay_s", models.IntegerField(null=True)),
                        ("interval_s", models.IntegerField(null=True)),
                        ("import_energy_wh", models.FloatField(null=True)),
                        ("export_energy_wh", models.FloatField(null=True)),
                    ],
                    options={
                        "verbose_name": "reading",
                        "verbose_name_plural": "readings",
                    },
                ),
            ],
        )
    ]
