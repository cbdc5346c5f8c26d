"""Keeps where the box of a gateway was that is deleted, and since when it is at another system.

It may bring there what it read before, which is none of that system's, whoever deleted it and
whoever registers it anew. It is looked for once the serial number was found to be free: whoever
deletes the old gateway meanwhile has been waited for.
"""

from django.db import migrations, models

FORWARD = """
CREATE FUNCTION inventory_remember_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO inventory_formergateway (serial, system_key)
    SELECT OLD.serial, key FROM inventory_system WHERE id = OLD.system_id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER gateway_remembered
    AFTER DELETE ON inventory_gateway
    FOR EACH ROW EXECUTE FUNCTION inventory_remember_gateway();

CREATE FUNCTION inventory_recognize_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inventory_gateway SET here_since = registered_at
    WHERE id = NEW.id AND EXISTS (
        SELECT FROM inventory_formergateway AS former
        JOIN inventory_system AS system ON system.id = NEW.system_id
        WHERE former.serial = NEW.serial AND former.system_key <> system.key
    );
    RETURN NULL;
END $$;

CREATE TRIGGER gateway_recognized
    AFTER INSERT ON inventory_gateway
    FOR EACH ROW EXECUTE FUNCTION inventory_recognize_gateway();
"""

BACKWARD = """
DROP TRIGGER gateway_recognized ON inventory_gateway;
DROP FUNCTION inventory_recognize_gateway();
DROP TRIGGER gateway_remembered ON inventory_gateway;
DROP FUNCTION inventory_remember_gateway();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0006_dimming_mode"),
    ]

    operations = [
        migrations.CreateModel(
            name="FormerGateway",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "serial",
                        "system_key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("serial", models.CharField(max_length=64)),
                ("system_key", models.IntegerField()),
            ],
            options={
                "verbose_name": "former gateway",
                "verbose_name_plural": "former gateways",
            },
        ),
        migrations.AddField(
            model_name="gateway",
            name="here_since",
            field=models.DateTimeField(
                editable=False, null=True, verbose_name="at this system since"
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
