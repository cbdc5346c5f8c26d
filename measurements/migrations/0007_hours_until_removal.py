"""Has the hours and days of appliances made anew that hold slots of after their removal.

They are sums of what counts in the system's balance, which ends with the removal.
"""

from django.db import migrations

# As `0004_appliance_corrections` marks a removal; who has no slot after it is right as it is.
FORWARD = """
WITH late AS (
    SELECT system.key AS home, appliance.key, min(start) AS begin, max(start) AS last
    FROM inventory_appliance AS appliance
    JOIN inventory_system AS system ON system.id = appliance.system_id
    JOIN measurements_applianceslot AS slot
        ON slot.system_key = system.key AND slot.appliance_key = appliance.key
        AND slot.start >= appliance.removed_at
    GROUP BY system.key, appliance.key, date_bin('1 day', start, 'epoch')
), claims AS (
    INSERT INTO measurements_systemclaim SELECT DISTINCT home FROM late ON CONFLICT DO NOTHING
)
INSERT INTO measurements_dirtyslot (system_key, appliance_key, start, slots, marked_at, cause)
SELECT home, key, begin, extract(epoch FROM last - begin) / 900 + 1, now(), 16 FROM late
"""


class Migration(migrations.Migration):
    dependencies = [("measurements", "0006_instants_of_latest")]

    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
