"""Which slots are to be computed, and by whom: no slot by two workers at a time."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.db import connection
from django.db.models import Sum

from measurements.models import Cause, DirtySlot, SystemClaim
from measurements.resolutions import SLOT_MS

# Slots to compute that are no further apart than this many are computed as one run.
_JOIN_SLOTS = 4
_NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is computed: bits of `Cause`, and when it was first and last marked (ms)."""

    causes: int = 0
    first_ms: int = _NEVER_MS
    last_ms: int = 0

    def __or__(self, other: "Reason") -> "Reason":
        return Reason(
            self.causes | other.causes,
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive slots of one appliance in a system: [from_ms, until_ms), since the epoch."""

    system_key: int
    appliance_key: int
    from_ms: int
    until_ms: int
    reason: Reason = Reason()

    @property
    def of(self) -> tuple[int, int]:
        """Whose they are: the keys of system and appliance."""
        return self.system_key, self.appliance_key


@dataclass(frozen=True, slots=True)
class Claim:
    """Runs to compute, in the order of their keys and of time; `slots` were in the queue.

    `marks` are the same once more, one by one as they came to be marked: what lies within a run
    may have been so for several reasons.
    """

    runs: list[Run]
    marks: list[Run]
    slots: int

    def reasons_by_system(self) -> dict[int, Reason]:
        """Why anything of a system is computed, by its key."""
        found: dict[int, Reason] = {}
        for run in self.runs:
            found[run.system_key] = found.get(run.system_key, Reason()) | run.reason
        return found


def make_claimable(system_key: int) -> None:
    """Have the row by which a system is claimed: without it, nobody computes what is marked."""
    SystemClaim.objects.bulk_create([SystemClaim(system_key=system_key)], ignore_conflicts=True)


def claim_system(system_key: int) -> None:
    """Keep others from computing this system until the transaction ends; waits for who does."""
    make_claimable(system_key)
    SystemClaim.objects.select_for_update().get(system_key=system_key)


def claim_slots(
    *, systems_at_most: int, slots_at_most: int, system_key: int | None = None
) -> Claim:
    """Take dirty slots out of the queue, for as long as the caller's transaction lasts.

    Systems are locked and those of other workers skipped, so a system is computed by one worker
    at a time: its batteries remember from slot to slot. They are taken at random, and no more of
    them than have enough to do, so that a long queue of one keeps nobody from the others. When
    the transaction is rolled back, the slots are dirty again. What is marked meanwhile stays for
    the next claim. With `system_key` only that system's.
    """
    marks: list[Run] = []
    slots, systems, at_once = 0, set(), 1
    while slots < slots_at_most and len(systems) < systems_at_most:
        wanted = min(at_once, systems_at_most - len(systems))
        locked = _lock_systems(wanted, besides=systems, only=system_key)
        if not locked:
            break
        found, count = _take(locked, slots_at_most - slots)
        marks += found
        slots += count
        systems.update(locked)
        at_once *= 8
    marks.sort(key=lambda run: (run.of, run.from_ms))
    return Claim(_joined(marks), marks, slots)


def _joined(marks: Iterable[Run]) -> list[Run]:
    """Those that overlap or are near each other as one."""
    found: list[Run] = []
    for mark in marks:
        last = found[-1] if found else None
        if last and last.of == mark.of and mark.from_ms < last.until_ms + _JOIN_SLOTS * SLOT_MS:
            until_ms, reason = max(last.until_ms, mark.until_ms), last.reason | mark.reason
            found[-1] = replace(last, until_ms=until_ms, reason=reason)
        else:
            found.append(mark)
    return found


def waiting_slots(*, system_key: int | None = None) -> int:
    """How many slots are still to be computed, of all systems or of one.

    One that was marked more than once counts as often.
    """
    marks = DirtySlot.objects.all()
    if system_key is not None:
        marks = marks.filter(system_key=system_key)
    return marks.aggregate(slots=Sum("slots"))["slots"] or 0


# Hops from one system in the queue to the next, and only as far as is asked for.
_LOCK = """
WITH RECURSIVE marked (system_key) AS (
    (SELECT system_key FROM measurements_dirtyslot
        WHERE system_key >= %(first)s AND system_key <= %(last)s ORDER BY system_key LIMIT 1)
    UNION ALL
    SELECT (SELECT dirty.system_key FROM measurements_dirtyslot AS dirty
        WHERE dirty.system_key > marked.system_key AND dirty.system_key <= %(last)s
        ORDER BY dirty.system_key LIMIT 1)
    FROM marked WHERE marked.system_key IS NOT NULL
)
SELECT claim.system_key FROM marked JOIN measurements_systemclaim AS claim USING (system_key)
WHERE claim.system_key <> ALL(%(besides)s::int[])
LIMIT %(at_most)s FOR UPDATE OF claim SKIP LOCKED
"""


def _lock_systems(at_most: int, *, besides: Iterable[int], only: int | None) -> list[int]:
    with connection.cursor() as cursor:
        if only is not None:
            ranges = [(only, only)]
        else:
            cursor.execute("SELECT min(system_key), max(system_key) FROM measurements_dirtyslot")
            least, most = cursor.fetchone()
            if least is None:
                return []
            middle = random.randint(least, most)
            ranges = [(middle, most), (least, middle - 1)]
        locked: list[int] = []
        for first, last in ranges:
            if len(locked) < at_most:
                cursor.execute(
                    _LOCK,
                    {
                        "first": first,
                        "last": last,
                        "besides": list(besides),
                        "at_most": at_most - len(locked),
                    },
                )
                locked += [key for (key,) in cursor.fetchall()]
        return locked


_TAKE = f"""
WITH taken AS (
    DELETE FROM measurements_dirtyslot WHERE id = ANY(ARRAY(
        SELECT id FROM (
            SELECT oldest.id, sum(slots) OVER (ROWS UNBOUNDED PRECEDING) - slots AS before
            FROM unnest(%(systems)s::int[]) AS system (key) CROSS JOIN LATERAL (
                SELECT id, slots FROM measurements_dirtyslot WHERE system_key = system.key
                ORDER BY start LIMIT %(at_most)s
            ) AS oldest
        ) AS found
        WHERE before < %(at_most)s
    ))
    RETURNING system_key, appliance_key, cause, slots,
        (extract(epoch FROM start) * 1000)::bigint AS ms,
        (extract(epoch FROM marked_at) * 1000)::bigint AS marked_ms
), steps AS (
    SELECT *, ms > {_JOIN_SLOTS * SLOT_MS} + max(ms + (slots - 1) * {SLOT_MS}) OVER (
        alike ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS is_far
    FROM (
        SELECT *, CASE cause WHEN {int(Cause.IMPORT)} THEN marked_ms
            WHEN {int(Cause.READINGS)} THEN marked_ms / {SLOT_MS} END AS told FROM taken
    ) AS taken
    WINDOW alike AS (PARTITION BY system_key, appliance_key, cause, told ORDER BY ms)
), numbered AS (
    SELECT *, count(*) FILTER (WHERE is_far) OVER alike AS run FROM steps
    WINDOW alike AS (PARTITION BY system_key, appliance_key, cause, told ORDER BY ms)
)
SELECT system_key, appliance_key, min(ms), max(ms + slots * {SLOT_MS}), cause,
    min(marked_ms), max(marked_ms), sum(slots)
FROM numbered GROUP BY system_key, appliance_key, cause, told, run
"""  # noqa: S608 - put together from this module's own numbers


def _take(systems: list[int], at_most: int) -> tuple[list[Run], int]:
    """The oldest slots of these systems as runs of one cause each; how many.

    A run is of one import, or of readings that came in one quarter of an hour: days end with one,
    and so does the time that readings of them have to arrive (`receipts`).
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"systems": systems, "at_most": at_most})
        found = cursor.fetchall()
    return [Run(*row[:4], Reason(*row[4:7])) for row in found], sum(row[-1] for row in found)
