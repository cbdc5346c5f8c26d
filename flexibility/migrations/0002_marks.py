"""Marks a system whenever something below decides otherwise which constraints concern whom.

Members come and go by pages, the admin, gateways and imports of the apps below, which know nothing
of constraints. So the database itself says so, in the transaction of the change, and wakes who
waits for it.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION flexibility_mark_system() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO flexibility_systemmark (system_id)
        SELECT DISTINCT system_id FROM (
            SELECT CASE WHEN TG_OP <> 'INSERT' THEN OLD.system_id END AS system_id
            UNION ALL SELECT CASE WHEN TG_OP <> 'DELETE' THEN NEW.system_id END
        ) AS touched WHERE system_id IS NOT NULL;
    PERFORM pg_notify('flexibility', '');
    RETURN NULL;
END $$;

CREATE TRIGGER flexibility_mark_appliance
    AFTER INSERT OR DELETE OR UPDATE OF system_id, cluster_id, gateway_id, kind, local_id, removed_at
    ON inventory_appliance FOR EACH ROW EXECUTE FUNCTION flexibility_mark_system();
CREATE TRIGGER flexibility_mark_cluster
    AFTER UPDATE OF parent_id
    ON inventory_cluster FOR EACH ROW EXECUTE FUNCTION flexibility_mark_system();
CREATE TRIGGER flexibility_mark_member
    AFTER INSERT OR DELETE
    ON inventory_systempool_systems FOR EACH ROW EXECUTE FUNCTION flexibility_mark_system();
CREATE TRIGGER flexibility_mark_gateway
    AFTER INSERT OR UPDATE OF system_id, revoked_at
    ON inventory_gateway FOR EACH ROW EXECUTE FUNCTION flexibility_mark_system();
"""

BACKWARD = """
DROP TRIGGER flexibility_mark_appliance ON inventory_appliance;
DROP TRIGGER flexibility_mark_cluster ON inventory_cluster;
DROP TRIGGER flexibility_mark_member ON inventory_systempool_systems;
DROP TRIGGER flexibility_mark_gateway ON inventory_gateway;
DROP FUNCTION flexibility_mark_system;
"""


class Migration(migrations.Migration):
    dependencies = [("flexibility", "0001_initial"), ("inventory", "0003_name_indexes")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
