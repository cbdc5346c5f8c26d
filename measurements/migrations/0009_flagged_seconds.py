"""Has hours, days and months know for how much of them flags hold, of the slots that there are."""

from django.db import migrations, models

OF_SLOTS = {
    "recovered_s": "CASE WHEN flags & 2 > 0 THEN seen_s ELSE 0 END",
    "estimated_s": "CASE WHEN flags & 1 > 0 THEN greatest(expected_s - seen_s, 0) ELSE 0 END",
}
OF_DAYS = {name: name for name in OF_SLOTS}
APPLIANCE = ("system_key", "appliance_key")
# Those of an appliance are sums until it was removed, as `slots.rollups` makes them.
APPLIANCE_SLOTS = """(
    SELECT slot.system_key, appliance_key, start, seen_s, 900 AS expected_s, flags
    FROM measurements_applianceslot AS slot
    LEFT JOIN inventory_appliance AS appliance ON appliance.key = appliance_key
    WHERE (start < removed_at) IS NOT FALSE
)"""


def fill(
    table: str,
    source: str,
    columns: dict[str, str] = OF_SLOTS,
    *,
    keys: tuple[str, ...] = ("system_key",),
    until_at: str | None = None,
) -> str:
    """What sums up the rows of a source into those of a table that any flag is of.

    A row ends at `until_at`, or where the next one begins.
    """
    key = ", ".join(keys)
    until_at = until_at or f"lead(start, 1, 'infinity') OVER (PARTITION BY {key} ORDER BY start)"
    return f"""
    UPDATE measurements_{table} AS target
    SET {", ".join(f"{name} = coalesce(summed.{name}, 0)" for name in columns)}
    FROM (
        SELECT {key}, start, flags, {until_at} AS until_at FROM measurements_{table}
    ) AS span CROSS JOIN LATERAL (
        SELECT {", ".join(f"sum({sql}) AS {name}" for name, sql in columns.items())}
        FROM {source} AS source
        WHERE {" AND ".join(f"source.{one} = span.{one}" for one in keys)}
            AND source.start >= span.start AND source.start < span.until_at
    ) AS summed
    WHERE span.flags & 3 > 0 AND target.start = span.start
        AND {" AND ".join(f"target.{one} = span.{one}" for one in keys)}
    """  # noqa: S608 - names of our own


HOUR = "start + interval '1 hour'"
FORWARD = (
    fill("systemhour", "measurements_systemslot", until_at=HOUR),
    fill("systemday", "measurements_systemslot"),
    fill("systemmonth", "measurements_systemday", OF_DAYS),
    fill("appliancehour", APPLIANCE_SLOTS, keys=APPLIANCE, until_at=HOUR),
    fill("applianceday", APPLIANCE_SLOTS, keys=APPLIANCE),
)


class Migration(migrations.Migration):
    dependencies = [("measurements", "0008_seconds_of_months")]

    operations = [
        *(
            migrations.AddField(
                table,
                name,
                models.BigIntegerField(default=0)
                if table == "systemmonth"
                else models.IntegerField(default=0),
            )
            for table in ("appliancehour", "applianceday", "systemhour", "systemday", "systemmonth")
            for name in OF_SLOTS
        ),
        *(migrations.RunSQL(statement, migrations.RunSQL.noop) for statement in FORWARD),
    ]
