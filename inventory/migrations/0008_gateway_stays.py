"""Has a gateway stay what it was registered as.

A box at another system is registered there anew, by which it is known what it read before
(migration `0007_former_gateways`).
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION inventory_gateway_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a gateway is not moved, but registered anew'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'gateway_stays';
END $$;

CREATE TRIGGER gateway_stays
    BEFORE UPDATE OF serial, system_id ON inventory_gateway
    FOR EACH ROW WHEN ((OLD.serial, OLD.system_id) IS DISTINCT FROM (NEW.serial, NEW.system_id))
    EXECUTE FUNCTION inventory_gateway_stays();
"""

BACKWARD = """
DROP TRIGGER gateway_stays ON inventory_gateway;
DROP FUNCTION inventory_gateway_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0007_former_gateways")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
