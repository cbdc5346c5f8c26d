"""Slots that are final, because retention dropped the readings that they were made of.

When a week of readings is dropped, what it held of each appliance is noted as a span of slots.
Those are never computed again, not even when older history is imported beside them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

import numpy as np
from django.conf import settings
from django.db import connection

from inventory.kinds import LONGEST_INTERVAL_S
from measurements.amounts import Bools
from measurements.batches import Batch
from measurements.energy import LONGEST_GAP_MS
from measurements.resolutions import to_ms

# The first readings after a week close what its last ones began: pauses and intervals.
_LONGEST_PAUSE = f"interval '{LONGEST_GAP_MS} ms'"
_LONGEST_INTERVAL = f"interval '{LONGEST_INTERVAL_S} s'"
# A reading so young is in no final slot: its week is kept for longer, however short retention was,
# and a span reaches but hours beyond its week.
_NEVER_FINAL = settings.LEAST_RAW_RETENTION - timedelta(days=1)


def note_final_slots(cursor, *, table: str, until_at: datetime) -> None:
    """Note the slots that the readings of a week (its `table`, which ends at `until_at`) made.

    To be called in the transaction that drops the table, of the oldest week first. An appliance's
    span begins with the slot of its first reading. A pause before it across which a counter told
    of the energy belongs to the span as well, from the end of the span before: nothing that made
    the slots of such a pause is left, so they stay as they are, and what comes later for one of
    them comes too late.

    The span ends with the slot of the last reading (or with what an interval or the next power
    closes). A pause of a counter that begins there stays to be computed for as long as the reading
    that closes it is kept: the counter goes on from what the last slot carries, and what still
    comes from within the pause counts. Only the slot in which the pause begins is final with its
    readings; it keeps the share of the pause that was spread into it.
    """
    cursor.execute(_NOTE.format(week=table), [until_at, until_at])


def final_spans(
    appliances: Sequence[tuple[int, int, int]],
) -> list[list[tuple[int, int]]]:
    """For each (system key, appliance key, from ms) its spans of final slots that end later.

    Spans are (from ms, until ms), half-open, ascending; no two share a slot.
    """
    found: list[list[tuple[int, int]]] = [[] for _appliance in appliances]
    with connection.cursor() as cursor:
        cursor.execute(_SPANS, list(map(list, zip(*appliances, strict=True))) or [[], [], []])
        for number, group in groupby(cursor.fetchall(), key=lambda row: row[0]):
            found[number - 1] = _disjoint([span for _number, *span in group])
    return found


def _disjoint(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending spans, each without what those before it hold already.

    The slot at the edge of two weeks is of both when power or an interval goes on across it.
    """
    found: list[tuple[int, int]] = []
    for from_ms, until_ms in spans:
        begin_ms = max(from_ms, found[-1][1]) if found else from_ms
        if begin_ms < until_ms:
            found.append((begin_ms, until_ms))
    return found


def final_rows(batch: Batch, *, among: Bools, now: datetime) -> Bools:
    """Of each row of a batch whether it is `among` those meant and lies in a slot that is final.

    The database is asked only where rows are older than days.
    """
    final = np.zeros(len(batch), dtype=bool)
    old = np.flatnonzero(among & (batch.at_ms < to_ms(now - _NEVER_FINAL)))
    if len(old):
        final[old] = _final_rows(batch.take(old))
    return final


def _final_rows(batch: Batch) -> Bools:
    """The same, whatever the age of its rows, of which there is one at least."""
    final = np.zeros(len(batch), dtype=bool)
    keys = np.stack([batch.system_key, batch.appliance_key], axis=1)
    appliances, which = np.unique(keys, axis=0, return_inverse=True)
    spans_of = final_spans([(int(s), int(a), int(batch.at_ms.min())) for s, a in appliances])
    for number, spans in enumerate(spans_of):
        of_appliance = which.ravel() == number
        for from_ms, until_ms in spans:
            final |= of_appliance & (batch.at_ms >= from_ms) & (batch.at_ms < until_ms)
    return final


# Hops from appliance to appliance along the primary key, and to both ends of each. Where slots are
# stored between the span before and the first reading, a counter spread its pause over them,
# whichever reading closed it: one behind the span does not reach them any more.
_NOTE = f"""
WITH RECURSIVE appliance AS (
    (SELECT system_key, appliance_key FROM {{week}} ORDER BY system_key, appliance_key LIMIT 1)
    UNION ALL
    SELECT next.* FROM appliance CROSS JOIN LATERAL (
        SELECT r.system_key, r.appliance_key FROM {{week}} AS r
        WHERE (r.system_key, r.appliance_key) > (appliance.system_key, appliance.appliance_key)
        ORDER BY r.system_key, r.appliance_key LIMIT 1
    ) AS next
)
INSERT INTO measurements_finalspan AS noted (system_key, appliance_key, from_at, until_at)
SELECT system_key, appliance_key,
    LEAST(pause.start, date_bin('15 minutes', first.at, 'epoch')),
    GREATEST(
        date_bin('15 minutes', last.at, 'epoch') + interval '15 minutes',
        date_bin('15 minutes', ending.until + interval '899999 ms', 'epoch'),
        date_bin('15 minutes', next.at + interval '899999 ms', 'epoch')
    )
FROM appliance
CROSS JOIN LATERAL (SELECT at FROM {{week}} AS r
    WHERE r.system_key = appliance.system_key AND r.appliance_key = appliance.appliance_key
    ORDER BY at LIMIT 1) AS first
CROSS JOIN LATERAL (SELECT max(until_at) AS until FROM measurements_finalspan AS r
    WHERE r.system_key = appliance.system_key AND r.appliance_key = appliance.appliance_key
    AND from_at <= first.at) AS before
CROSS JOIN LATERAL (SELECT min(start) AS start FROM measurements_applianceslot AS r
    WHERE r.system_key = appliance.system_key AND r.appliance_key = appliance.appliance_key
    AND start >= before.until AND start < first.at) AS pause
CROSS JOIN LATERAL (SELECT at FROM {{week}} AS r
    WHERE r.system_key = appliance.system_key AND r.appliance_key = appliance.appliance_key
    ORDER BY at DESC LIMIT 1) AS last
CROSS JOIN LATERAL (SELECT max(at + interval_s * interval '1 s') AS until FROM {{week}} AS r
    WHERE r.system_key = appliance.system_key AND r.appliance_key = appliance.appliance_key
    AND at > last.at - {_LONGEST_INTERVAL}) AS ending
CROSS JOIN LATERAL (SELECT min(at) AS at FROM measurements_reading AS r
    WHERE r.system_key = appliance.system_key AND r.appliance_key = appliance.appliance_key
    AND at >= %s AND at < %s + {_LONGEST_PAUSE} AND at <= last.at + {_LONGEST_PAUSE}
    AND power_w IS NOT NULL) AS next
ON CONFLICT (system_key, appliance_key, from_at) DO UPDATE
SET until_at = GREATEST(noted.until_at, EXCLUDED.until_at)
"""  # noqa: S608 - put together from this module's own names

_SPANS = """
SELECT number, (extract(epoch FROM from_at) * 1000)::bigint,
    (extract(epoch FROM until_at) * 1000)::bigint
FROM unnest(%s::int[], %s::int[], %s::bigint[]) WITH ORDINALITY
    AS given (system_key, appliance_key, from_ms, number)
JOIN measurements_finalspan AS final USING (system_key, appliance_key)
WHERE until_at > 'epoch'::timestamptz + from_ms * interval '1 ms'
ORDER BY number, from_at
"""
