"""The database tells the link when a gateway's right to be signed in may have ended.

Whoever changes it, page, admin or shell; the link listens (`gridx.gateways.revocation`).
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION gridx_gateway_sign_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gateway_sign_in', OLD.serial);
    RETURN NULL;
END $$;

CREATE TRIGGER gateway_sign_in_changed
    AFTER UPDATE OF secret_digest, revoked_at, serial ON inventory_gateway
    FOR EACH ROW WHEN (
        OLD.secret_digest IS DISTINCT FROM NEW.secret_digest
        OR OLD.revoked_at IS DISTINCT FROM NEW.revoked_at
        OR OLD.serial IS DISTINCT FROM NEW.serial
    )
    EXECUTE FUNCTION gridx_gateway_sign_in();

CREATE TRIGGER gateway_sign_in_ended
    AFTER DELETE ON inventory_gateway
    FOR EACH ROW EXECUTE FUNCTION gridx_gateway_sign_in();
"""

BACKWARD = """
DROP TRIGGER gateway_sign_in_ended ON inventory_gateway;
DROP TRIGGER gateway_sign_in_changed ON inventory_gateway;
DROP FUNCTION gridx_gateway_sign_in();
"""


class Migration(migrations.Migration):
    dependencies = [("gridx", "0001_sequence_holes")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
