"""What the database itself keeps of the inventory: all of an appliance lies in one system."""

from django.db import migrations

FORWARD = """
ALTER TABLE inventory_gateway ADD CONSTRAINT gateway_of_system UNIQUE (id, system_id);

ALTER TABLE inventory_appliance
    ADD CONSTRAINT appliance_gateway_in_system FOREIGN KEY (gateway_id, system_id)
        REFERENCES inventory_gateway (id, system_id) DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT appliance_cluster_in_system FOREIGN KEY (cluster_id, system_id)
        REFERENCES inventory_cluster (id, system_id) DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT appliance_parent_in_system FOREIGN KEY (parent_id, system_id)
        REFERENCES inventory_appliance (id, system_id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE inventory_cluster
    ADD CONSTRAINT cluster_parent_in_system FOREIGN KEY (parent_id, system_id)
        REFERENCES inventory_cluster (id, system_id) DEFERRABLE INITIALLY DEFERRED;

CREATE FUNCTION inventory_cluster_no_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One writer at a time in a system's clusters, so that two moves cannot make a cycle.
    PERFORM pg_advisory_xact_lock(hashtext('inventory_cluster'), hashtext(NEW.system_id::text));
    IF EXISTS (
        WITH RECURSIVE above (id, parent_id) AS (
            SELECT id, parent_id FROM inventory_cluster WHERE id = NEW.parent_id
            UNION
            SELECT c.id, c.parent_id FROM inventory_cluster c JOIN above a ON c.id = a.parent_id
        )
        SELECT FROM above WHERE id = NEW.id
    ) THEN
        RAISE EXCEPTION 'a cluster cannot lie within itself'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'cluster_no_cycle';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER cluster_no_cycle
    AFTER INSERT OR UPDATE OF parent_id ON inventory_cluster
    FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL)
    EXECUTE FUNCTION inventory_cluster_no_cycle();
"""

BACKWARD = """
DROP TRIGGER cluster_no_cycle ON inventory_cluster;
DROP FUNCTION inventory_cluster_no_cycle();
ALTER TABLE inventory_cluster DROP CONSTRAINT cluster_parent_in_system;
ALTER TABLE inventory_appliance
    DROP CONSTRAINT appliance_parent_in_system,
    DROP CONSTRAINT appliance_cluster_in_system,
    DROP CONSTRAINT appliance_gateway_in_system;
ALTER TABLE inventory_gateway DROP CONSTRAINT gateway_of_system;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
