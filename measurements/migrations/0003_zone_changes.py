"""Has a system's days and months made anew where its time zone is corrected.

Systems are changed by pages, the admin and the API of the app below, which knows nothing of figures.
So the database itself says so, in the transaction of the change: what was summed up by the other
calendar goes, and its slots, which are of no zone, are marked. Whoever computes just now is waited
for, or it would leave days of the other calendar behind.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION measurements_change_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO measurements_systemclaim VALUES (NEW.key) ON CONFLICT DO NOTHING;
    PERFORM FROM measurements_systemclaim WHERE system_key = NEW.key FOR UPDATE;
    DELETE FROM measurements_applianceday WHERE system_key = NEW.key;
    DELETE FROM measurements_systemday WHERE system_key = NEW.key;
    DELETE FROM measurements_systemmonth WHERE system_key = NEW.key;
    DELETE FROM measurements_importedday WHERE system_key = NEW.key;
    DELETE FROM measurements_daycheck WHERE system_key = NEW.key;
    INSERT INTO measurements_dirtyslot
        (system_key, appliance_key, start, slots, marked_at, cause)
    SELECT system_key, appliance_key, min(start),
        extract(epoch FROM max(start) - min(start)) / 900 + 1, now(), 4
    FROM measurements_applianceslot WHERE system_key = NEW.key
    GROUP BY system_key, appliance_key, date_bin('1 day', start, 'epoch');
    RETURN NULL;
END $$;

CREATE TRIGGER measurements_zone_changed
    AFTER UPDATE OF time_zone ON inventory_system
    FOR EACH ROW WHEN (OLD.time_zone IS DISTINCT FROM NEW.time_zone)
    EXECUTE FUNCTION measurements_change_zone();
"""

BACKWARD = """
DROP TRIGGER measurements_zone_changed ON inventory_system;
DROP FUNCTION measurements_change_zone;
"""


class Migration(migrations.Migration):
    dependencies = [("measurements", "0002_reading_partitions")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
