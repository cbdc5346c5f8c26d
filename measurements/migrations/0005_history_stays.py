"""Keeps appliances and systems of which anything was measured.

Tables of measurements carry no foreign keys, and the inventory knows nothing of them. Without its
appliance, history would lose it when it is next computed, so the database itself refuses, whoever
deletes. A device that is gone is removed (`Appliance.removed_at`); that it was there stays true.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION measurements_keep_appliance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    home integer := (SELECT key FROM inventory_system WHERE id = OLD.system_id);
BEGIN
    IF EXISTS (SELECT FROM measurements_applianceslot
            WHERE system_key = home AND appliance_key = OLD.key)
        OR EXISTS (SELECT FROM measurements_reading
            WHERE system_key = home AND appliance_key = OLD.key)
    THEN
        RAISE EXCEPTION 'an appliance that was measured is not deleted, but removed'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'appliance_measured';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER measurements_appliance_kept
    BEFORE DELETE ON inventory_appliance
    FOR EACH ROW EXECUTE FUNCTION measurements_keep_appliance();

CREATE FUNCTION measurements_keep_system() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM measurements_applianceslot WHERE system_key = OLD.key)
        OR EXISTS (SELECT FROM measurements_reading WHERE system_key = OLD.key)
    THEN
        RAISE EXCEPTION 'a system that was measured is not deleted'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'system_measured';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER measurements_system_kept
    BEFORE DELETE ON inventory_system
    FOR EACH ROW EXECUTE FUNCTION measurements_keep_system();
"""

BACKWARD = """
DROP TRIGGER measurements_system_kept ON inventory_system;
DROP FUNCTION measurements_keep_system;
DROP TRIGGER measurements_appliance_kept ON inventory_appliance;
DROP FUNCTION measurements_keep_appliance;
"""


class Migration(migrations.Migration):
    dependencies = [("measurements", "0004_appliance_corrections")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
