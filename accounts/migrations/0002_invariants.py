"""What the database itself keeps of the account tree."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION accounts_account_path() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    above record;
BEGIN
    -- One writer at a time in the tree, so that two moves cannot make a cycle between them.
    PERFORM pg_advisory_xact_lock(hashtext('accounts_account'));
    IF NEW.parent_id IS NULL THEN
        NEW.path := NEW.key || '.';
    ELSE
        SELECT path, kind INTO above FROM accounts_account WHERE id = NEW.parent_id;
        IF above.kind = 'end-user' THEN
            RAISE EXCEPTION 'a customer has no sub-accounts'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'account_customer_is_leaf';
        END IF;
        IF TG_OP = 'UPDATE' AND above.path LIKE OLD.path || '%' THEN
            RAISE EXCEPTION 'an account cannot move below itself'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'account_no_cycle';
        END IF;
        NEW.path := above.path || NEW.key || '.';
    END IF;
    IF NEW.kind = 'end-user' AND EXISTS (
        SELECT FROM accounts_account WHERE parent_id = NEW.id
    ) THEN
        RAISE EXCEPTION 'a customer has no sub-accounts'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'account_customer_is_leaf';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER account_path
    BEFORE INSERT OR UPDATE OF parent_id, kind ON accounts_account
    FOR EACH ROW EXECUTE FUNCTION accounts_account_path();

CREATE FUNCTION accounts_account_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts_account
        SET path = NEW.path || substr(path, length(OLD.path) + 1)
        WHERE path LIKE OLD.path || '%' AND id <> NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER account_move
    AFTER UPDATE ON accounts_account
    FOR EACH ROW WHEN (OLD.path IS DISTINCT FROM NEW.path AND OLD.parent_id IS DISTINCT FROM NEW.parent_id)
    EXECUTE FUNCTION accounts_account_move();
"""

BACKWARD = """
DROP TRIGGER account_move ON accounts_account;
DROP TRIGGER account_path ON accounts_account;
DROP FUNCTION accounts_account_move();
DROP FUNCTION accounts_account_path();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
