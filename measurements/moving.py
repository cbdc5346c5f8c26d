"""Readings that are another appliance's than it seemed when they were stored."""

from datetime import datetime

import numpy as np
from django.db import connection

from measurements.batches import QUANTITIES, Batch
from measurements.ingest import COVERED_SLOTS, keep_latest
from measurements.models import Cause, LatestReading, Reading
from measurements.partitions import WEEK_MS, hold_weeks
from measurements.resolutions import Span, from_ms, to_ms
from measurements.slots.rebuilding import mark_computed

# So far back it is looked for what was read last of a quantity: not all is read each time.
_NEWEST_READINGS = 1_000

# What lies in final slots stays where it is. Of both appliances the slots are marked that these
# readings lie in, or that their intervals cover.
_MOVE = f"""
WITH moved AS (
    UPDATE measurements_reading AS r SET appliance_key = %(to)s
    WHERE system_key = %(system)s AND appliance_key = %(from)s AND at >= %(since)s
        AND NOT EXISTS (SELECT FROM measurements_finalspan AS final
            WHERE final.system_key = r.system_key AND final.appliance_key = r.appliance_key
            AND r.at >= final.from_at AND r.at < final.until_at)
    RETURNING at, interval_s
), marked AS (
    INSERT INTO measurements_dirtyslot (system_key, appliance_key, start, marked_at, cause)
    SELECT DISTINCT %(system)s, key, start, %(now)s::timestamptz, {int(Cause.CORRECTION)}
    FROM moved
    CROSS JOIN LATERAL {COVERED_SLOTS}
    CROSS JOIN unnest(ARRAY[%(from)s, %(to)s]) AS key
)
SELECT count(*) FROM moved
"""  # noqa: S608 - names and a number of our own


def move_readings(
    *, system_key: int, from_key: int, to_key: int, since: datetime, now: datetime
) -> int:
    """Give what was read of an appliance from an instant on to another of its system, which has
    no readings yet.

    Marks what follows from them, and brings the latest readings of both
    up to date. Belongs into the transaction that says whose they are; returns how many they were.
    """
    hold_weeks(at_ms=np.arange(to_ms(since), to_ms(now), WEEK_MS), now=now)
    with connection.cursor() as cursor:
        keys = {"system": system_key, "from": from_key, "to": to_key}
        cursor.execute(_MOVE, keys | {"since": since, "now": now})
        (moved,) = cursor.fetchone()
    if not moved:
        return 0
    left, taken = (_newest(system_key, key) for key in (from_key, to_key))
    if len(left):
        # A counter's pause went on from there; computing goes on until nothing changes.
        pause = Span(from_ms(left.at_ms[-1]), since)
        mark_computed(
            system_key=system_key,
            appliance_key=from_key,
            spans=[pause],
            cause=Cause.CORRECTION,
            now=now,
        )
    LatestReading.objects.filter(system_key=system_key, appliance_key=from_key).delete()
    keep_latest(Batch.joined((left, taken)).settled())
    return moved


def _newest(system_key: int, appliance_key: int) -> Batch:
    """What was read last of an appliance, in order of time."""
    of_appliance = Reading.objects.filter(system_key=system_key, appliance_key=appliance_key)
    rows = of_appliance.order_by("-at").values_list("at", *QUANTITIES)[:_NEWEST_READINGS]
    instants, *columns = zip(*rows, strict=True) if rows else ([], *([] for _name in QUANTITIES))
    return Batch.of(
        system_key=system_key,
        appliance_key=appliance_key,
        at_ms=[to_ms(at) for at in instants],
        **dict(zip(QUANTITIES, columns, strict=True)),
    ).settled()
