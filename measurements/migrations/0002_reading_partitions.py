"""The table of readings: partitioned, its columns ordered so that a row wastes no padding."""

from django.db import migrations

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

    operations = [migrations.RunSQL(FORWARD, "DROP TABLE measurements_reading")]
