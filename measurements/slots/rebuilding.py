"""Marks history for computation once more, from whatever readings there still are."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction

from inventory.models import System
from measurements.models import Cause
from measurements.resolutions import SLOT_S, Span, slot_start
from measurements.slots.claims import claim_system, make_claimable

# So much is marked in one transaction; those who store meanwhile do not wait for it.
_MARKED_AT_ONCE = timedelta(days=7)

# Slots that are there, and those that readings lie in; of each day from the first to the last one.
# Spans of final slots may overlap: a slot in several of them counts once.
_MARK = f"""
WITH marked AS (
    INSERT INTO measurements_dirtyslot
        (system_key, appliance_key, start, slots, marked_at, cause)
    SELECT system_key, appliance_key, min(start),
        extract(epoch FROM max(start) - min(start)) / {SLOT_S} + 1,
        %(now)s, {int(Cause.REBUILD)}
    FROM (
        SELECT system_key, appliance_key, start FROM measurements_applianceslot
        WHERE system_key = %(system)s AND start >= %(from)s AND start < %(until)s
        UNION
        SELECT system_key, appliance_key, date_bin('15 minutes', at, 'epoch')
        FROM measurements_reading
        WHERE system_key = %(system)s AND at >= %(from)s AND at < %(until)s
    ) AS found
    GROUP BY system_key, appliance_key, date_bin('1 day', start, 'epoch')
    RETURNING system_key, appliance_key, slots,
        tstzrange(start, start + slots * interval '{SLOT_S} s') AS span
)
SELECT COALESCE(sum(slots), 0), COALESCE(sum(final), 0)
FROM marked CROSS JOIN LATERAL (
    SELECT sum(extract(epoch FROM upper(part) - lower(part))) / {SLOT_S} AS final
    FROM unnest((
        SELECT range_agg(tstzrange(from_at, until_at) * span) FROM measurements_finalspan AS final
        WHERE final.system_key = marked.system_key AND final.appliance_key = marked.appliance_key
            AND from_at < upper(span) AND until_at > lower(span)
    )) AS part
) AS of_mark
"""  # noqa: S608 - numbers of our own

_MARK_COMPUTED = f"""
WITH marked AS (
    INSERT INTO measurements_dirtyslot
        (system_key, appliance_key, start, slots, marked_at, cause)
    SELECT system_key, appliance_key, min(start),
        extract(epoch FROM max(start) - min(start)) / {SLOT_S} + 1, %(now)s, %(cause)s
    FROM unnest(%(from)s::timestamptz[], %(until)s::timestamptz[]) AS span (from_at, until_at)
    JOIN measurements_applianceslot ON start >= from_at AND start < until_at
    WHERE system_key = %(system)s AND appliance_key = %(appliance)s
    GROUP BY system_key, appliance_key, date_bin('1 day', start, 'epoch')
    RETURNING slots
)
SELECT COALESCE(sum(slots), 0) FROM marked
"""  # noqa: S608 - numbers of our own


def mark_computed(
    *, system_key: int, appliance_key: int, spans: Collection[Span], cause: Cause, now: datetime
) -> int:
    """Mark what is computed of an appliance in these spans; returns how many slots.

    Of a day of UTC also what lies between two spans. Belongs into the transaction that changes
    what slots are computed with: whoever computes just now is waited for, or it would leave slots
    behind that were made with what was said before. What was not computed yet is marked already.
    """
    claim_system(system_key)
    with connection.cursor() as cursor:
        cursor.execute(
            _MARK_COMPUTED,
            {
                "system": system_key,
                "appliance": appliance_key,
                "from": [slot_start(span.from_at) for span in spans],
                "until": [span.until_at for span in spans],
                "now": now,
                "cause": int(cause),
            },
        )
        (marked,) = cursor.fetchone()
    return marked


class Marked(NamedTuple):
    """How many slots were marked, and how many of them are final: those are summed up again, but
    never computed."""

    slots: int = 0
    final: int = 0


def mark_history(*, system: System, from_at: datetime, until_at: datetime, now: datetime) -> Marked:
    """Mark all slots of a system's appliances in [from_at, until_at).

    May be called while others store and compute: whoever computes next finds them.
    """
    marked = Marked()
    while from_at < until_at:
        part_end = min(from_at + _MARKED_AT_ONCE, until_at)
        span = {"system": system.key, "from": from_at, "until": part_end, "now": now}
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_MARK, span)
            slots, final = map(int, cursor.fetchone())
            marked = Marked(marked.slots + slots, marked.final + final)
            make_claimable(system.key)
        from_at = part_end
    return marked
