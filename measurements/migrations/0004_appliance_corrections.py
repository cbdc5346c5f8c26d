"""Has the history of an appliance made anew where what is said of it is corrected.

Slots are computed with what the inventory says of an appliance (`measurements.slots.inventory`): it
holds of all of its history, however long ago that was computed. A device in place of another one is
another appliance. As with a system's time zone, the database itself marks what is to be computed,
in the transaction of the change. Whoever computes just now is waited for, or it would leave slots
behind that were made with what was said before.

An appliance counts in its system's slots from its first one on, also where it was not read.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION measurements_correct_appliance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    home integer;
    since timestamptz := '-infinity';
BEGIN
    IF (NEW.system_id, NEW.kind, NEW.capacity_wh, NEW.min_power_w, NEW.max_power_w)
        IS NOT DISTINCT FROM
        (OLD.system_id, OLD.kind, OLD.capacity_wh, OLD.min_power_w, OLD.max_power_w)
        -- The same pauses are bridged (`measurements.energy.Nominal.gap_ms`), or an interval was
        -- declared, which holds from an instant on, whatever is said here.
        AND (LEAST(GREATEST(3 * NEW.interval_s, 300), 10800)
            = LEAST(GREATEST(3 * OLD.interval_s, 300), 10800) OR EXISTS (
            SELECT FROM measurements_declaredinterval AS declared
            JOIN inventory_system AS system ON system.key = declared.system_key
            WHERE system.id = NEW.system_id AND declared.appliance_key = NEW.key
        ))
    THEN
        -- Its removal alone says nothing of what lies before.
        IF NEW.removed_at IS NOT DISTINCT FROM OLD.removed_at THEN
            RETURN NULL;
        END IF;
        since := date_bin('15 minutes', LEAST(OLD.removed_at, NEW.removed_at), 'epoch');
    END IF;
    FOR home IN
        SELECT key FROM inventory_system WHERE id IN (OLD.system_id, NEW.system_id) ORDER BY key
    LOOP
        INSERT INTO measurements_systemclaim VALUES (home) ON CONFLICT DO NOTHING;
        PERFORM FROM measurements_systemclaim WHERE system_key = home FOR UPDATE;
        INSERT INTO measurements_dirtyslot
            (system_key, appliance_key, start, slots, marked_at, cause)
        SELECT home, NEW.key, min(start),
            extract(epoch FROM max(start) - min(start)) / 900 + 1, now(), 16
        FROM (
            SELECT start FROM measurements_applianceslot
            WHERE system_key = home AND appliance_key = NEW.key
            UNION ALL
            SELECT start FROM measurements_systemslot
            WHERE system_key = home AND start > (
                SELECT min(start) FROM measurements_applianceslot
                WHERE system_key = home AND appliance_key = NEW.key
            )
        ) AS found
        WHERE start >= since
        GROUP BY date_bin('1 day', start, 'epoch');
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER measurements_appliance_corrected
    AFTER UPDATE OF
        system_id, kind, capacity_wh, min_power_w, max_power_w, interval_s, removed_at
    ON inventory_appliance
    FOR EACH ROW WHEN (
        (OLD.system_id, OLD.kind, OLD.capacity_wh, OLD.min_power_w, OLD.max_power_w,
            OLD.interval_s, OLD.removed_at)
        IS DISTINCT FROM
        (NEW.system_id, NEW.kind, NEW.capacity_wh, NEW.min_power_w, NEW.max_power_w,
            NEW.interval_s, NEW.removed_at)
    )
    EXECUTE FUNCTION measurements_correct_appliance();
"""

BACKWARD = """
DROP TRIGGER measurements_appliance_corrected ON inventory_appliance;
DROP FUNCTION measurements_correct_appliance;
"""


class Migration(migrations.Migration):
    dependencies = [("measurements", "0003_zone_changes")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
