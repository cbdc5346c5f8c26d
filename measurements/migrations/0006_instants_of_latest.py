"""Gives each of the latest quantities an instant of its own, as the power had alone.

Of what is known already it is that of the newest reading, which decided until now.
"""

from django.db import migrations, models

NAMES = {
    "imported_at": "imported_wh",
    "exported_at": "exported_wh",
    "soc_at": "soc",
    "energy_at": "energy_wh",
    "temperature_at": "temperature_c",
    "current_l1_at": "current_l1_a",
    "current_l2_at": "current_l2_a",
    "current_l3_at": "current_l3_a",
    "plug_state_at": "plug_state",
}
KNOWN = ", ".join(f"{at} = CASE WHEN {name} IS NOT NULL THEN at END" for at, name in NAMES.items())


class Migration(migrations.Migration):
    dependencies = [("measurements", "0005_history_stays")]

    operations = [
        *(
            migrations.AddField("latestreading", at, models.DateTimeField(null=True))
            for at in NAMES
        ),
        migrations.RunSQL(
            f"UPDATE measurements_latestreading SET {KNOWN}",  # noqa: S608 - names of our own
            migrations.RunSQL.noop,
        ),
    ]
