"""Which slots are to be computed, and by whom: no slot by two workers at a time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from django.db import connection

from measurements.resolutions import to_ms


@dataclass(frozen=True)
class Claim:
    """Slots to compute, by system and appliance key: starts in ms since the epoch, ascending."""

    slots: dict[tuple[int, int], list[int]]
    rows: int

    @property
    def system_keys(self) -> list[int]:
        return sorted({system_key for system_key, _appliance_key in self.slots})


def claim_slots(*, systems_at_most: int, rows_at_most: int) -> Claim:
    """Take dirty slots out of the queue, for as long as the caller's transaction lasts.

    The systems' claims are locked and those of other workers skipped, so a system is computed by
    one worker at a time: its batteries remember from slot to slot. When the transaction is rolled
    back, the slots are dirty again. What is marked meanwhile stays for the next claim.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [rows_at_most, systems_at_most])
        systems = _lock(cursor, cursor.fetchall(), rows_at_most)
        cursor.execute(_TAKE, [systems, rows_at_most])
        rows = cursor.fetchall()
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    for system_key, appliance_key, start in rows:
        found[system_key, appliance_key].add(to_ms(start))
    return Claim({key: sorted(starts) for key, starts in found.items()}, len(rows))


# Systems with dirty slots in no particular order, with how many rows (no more than asked for).
_WAITING = """
SELECT system_key, waiting.number
FROM measurements_systemclaim AS claim CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM measurements_dirtyslot AS dirty
        WHERE dirty.system_key = claim.system_key LIMIT %s
    ) AS bounded
) AS waiting
WHERE waiting.number > 0 ORDER BY random() LIMIT %s
"""
_TAKE = """
DELETE FROM measurements_dirtyslot WHERE id IN (
    SELECT id FROM measurements_dirtyslot WHERE system_key = ANY(%s)
    ORDER BY system_key, start LIMIT %s
)
RETURNING system_key, appliance_key, start
"""


def _lock(cursor, waiting: Sequence[tuple[int, int]], rows_at_most: int) -> list[int]:
    """Lock as many systems as have that many rows together; the others are for other workers."""
    locked: list[int] = []
    while waiting and rows_at_most > 0:
        sums = accumulate(number for _key, number in waiting)
        enough = next((n for n, rows in enumerate(sums, 1) if rows >= rows_at_most), len(waiting))
        cursor.execute(
            "SELECT system_key FROM measurements_systemclaim WHERE system_key = ANY(%s)"
            " FOR UPDATE SKIP LOCKED",
            [[key for key, _number in waiting[:enough]]],
        )
        got = {key for (key,) in cursor.fetchall()}
        locked += got
        rows_at_most -= sum(number for key, number in waiting[:enough] if key in got)
        waiting = waiting[enough:]
    return locked


def mark_slots(slots: list[tuple[int, int, datetime]], *, now: datetime) -> None:
    """Mark slots (system key, appliance key, start) for computation."""
    if not slots:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO measurements_dirtyslot (system_key, appliance_key, start, marked_at)"
            " SELECT *, %s FROM unnest(%s::int[], %s::int[], %s::timestamptz[])",
            [now, *map(list, zip(*slots, strict=True))],
        )
        cursor.execute(
            "INSERT INTO measurements_systemclaim (system_key)"
            " SELECT DISTINCT unnest(%s::int[]) ON CONFLICT DO NOTHING",
            [[system_key for system_key, _appliance_key, _start in slots]],
        )
