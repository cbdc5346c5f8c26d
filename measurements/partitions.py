"""The table of readings is cut into weeks, from Monday 00:00 UTC.

Weeks are made ahead by `maintain_partitions`, and on demand by whoever stores into one that is
missing, so an installation works right after `migrate`. Retention drops whole weeks.

Locks: weeks are attached one transaction at a time (an advisory lock). Attaching does not wait
for those who read and write other weeks, nor they for it; dropping has to wait for them, so it
gives up after a moment and the next run tries again. Weeks are dropped one at a time, too, whoever
does it. The lock on attaching is kept until the commit: a long transaction makes its weeks by
another connection, or nobody else could make one before it ends. Who stores history that retention
would drop holds the week (a shared advisory lock) until the commit that also marks its slots.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from django.conf import settings
from django.db import OperationalError, connection, transaction

from measurements.finality import note_final_slots
from measurements.resolutions import from_ms, to_ms

TABLE = "measurements_reading"
WEEKS_AHEAD = 4
WEEK_MS = 7 * 24 * 3600 * 1000
# 1970-01-01 was a Thursday: week 0 begins on the Monday before it.
_FIRST_MONDAY_MS = -3 * 24 * 3600 * 1000
# Storing judges the age of readings a little before it commits.
_GRACE = timedelta(hours=1)
# The first slots after a week need its last readings, and the last before it the first ones.
_NEIGHBOURS = timedelta(days=1)

# First halves of advisory lock keys; the second is 0 or the week.
_ATTACHING = 0x67726964
_HOLDING = 0x67726965
_DROPPING = 0x67726966
_LOCK_TIMEOUT = "2s"
# Longer than a drop, which gives up before, keeps others from attaching.
_ATTACH_TIMEOUT = "10s"
# Lock not available, deadlock detected: an import may hold what a drop needs, and wait for it.
_BUSY = {"55P03", "40P01"}


@dataclass(frozen=True)
class Maintenance:
    """What a run did: weeks made, dropped, and those past retention that had to stay (by name)."""

    made: tuple[str, ...]
    dropped: tuple[str, ...]
    kept: tuple[str, ...]


def week_of_ms(at_ms):
    """The number of the week that holds an instant (ms since the epoch; int or int64 array)."""
    return (at_ms - _FIRST_MONDAY_MS) // WEEK_MS


def week_start(week: int) -> datetime:
    """The Monday, 00:00 UTC, with which a week begins."""
    return from_ms(_FIRST_MONDAY_MS + int(week) * WEEK_MS)


def partition_name(week: int) -> str:
    """The partition's table, by the ISO week: `measurements_reading_2026w07`."""
    year, number, _ = week_start(week).isocalendar()
    return f"{TABLE}_{year}w{number:02}"


def hold_weeks(*, at_ms: np.ndarray, now: datetime) -> None:
    """Keep retention from dropping the weeks of these instants (ms since the epoch).

    Until the caller's transaction ends, which it needs. Asks the database nothing about weeks that
    nobody drops yet.
    """
    weeks = np.unique(week_of_ms(at_ms)).tolist()
    droppable = [week for week in weeks if _past_retention(week, now + _GRACE)]
    if droppable:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock_shared(%s, week) FROM unnest(%s::int[]) AS week",
                [_HOLDING, droppable],
            )


def prepare_weeks(*, at_ms: np.ndarray, apart: bool = False) -> None:
    """Have a partition for each of these instants (ms since the epoch), which are held.

    Needs a transaction; one that may last long wants the weeks made `apart` from it.
    """
    weeks = np.unique(week_of_ms(at_ms)).tolist()
    if apart:
        make_weeks_apart(weeks=weeks)
    else:
        make_weeks(weeks=weeks)


def make_weeks_apart(*, weeks: Iterable[int]) -> None:
    """Make the partitions of these weeks that are missing, and commit each of them at once.

    They stay if the caller's transaction fails; empty, they go by retention like any others. Needs
    a transaction, which must not have made weeks itself: it would wait for its own end. Raises an
    OperationalError (`is_busy`) where others keep it from attaching for too long.
    """
    missing = _missing(list(weeks))
    if not missing:
        return
    with ThreadPoolExecutor(max_workers=1) as thread:  # which has a connection of its own
        thread.submit(_commit_weeks, missing).result()
    names = ", ".join(map(partition_name, missing))
    with connection.cursor() as cursor:
        # By a lock that it takes a transaction learns what others changed. The one on the whole
        # table it may have had for long, and know nothing of the new weeks.
        cursor.execute(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE")


def make_weeks(*, weeks: Iterable[int]) -> tuple[str, ...]:
    """Make the partitions of these weeks that are missing; returns their names.

    Needs a transaction.
    """
    weeks = list(weeks)
    if not _missing(weeks):
        return ()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_ATTACHING])
        missing = _missing(weeks)  # somebody else may just have made some
        for week in missing:
            _attach(cursor, week)
    return tuple(map(partition_name, missing))


def maintain_partitions(*, now: datetime, weeks_ahead: int = WEEKS_AHEAD) -> Maintenance:
    """Make this week and those ahead; drop the weeks that lie past `settings.RAW_RETENTION`.

    A week stays while slots in it or at its edges are to be computed, while somebody stores into
    it, while long readers or writers do not let go of the table, and while an older one stays.
    """
    this_week = week_of_ms(to_ms(now))
    with transaction.atomic():
        made = make_weeks(weeks=range(this_week, this_week + weeks_ahead + 1))
    dropped, kept = [], []
    for week, name in existing_weeks():
        if _past_retention(week, now):
            # In order: what lies before a week that goes is final or was never read.
            goes = not kept and _drop(week, name)
            (dropped if goes else kept).append(name)
    return Maintenance(made=made, dropped=tuple(dropped), kept=tuple(kept))


def is_busy(error: OperationalError) -> bool:
    """Whether it tells of locks that others have, for too long or while they wait for ours."""
    return getattr(error.__cause__, "sqlstate", None) in _BUSY


def existing_weeks() -> list[tuple[int, str]]:
    """The weeks that have a partition, oldest first, with its name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT child.relname FROM pg_inherits"
            " JOIN pg_class child ON child.oid = inhrelid"
            " WHERE inhparent = %s::regclass",
            [TABLE],
        )
        names = [name for (name,) in cursor.fetchall()]
    return sorted((_week_named(name), name) for name in names)


def _week_named(name: str) -> int:
    year, number = name.removeprefix(f"{TABLE}_").split("w")
    monday = datetime.fromisocalendar(int(year), int(number), 1).replace(tzinfo=UTC)
    return week_of_ms(to_ms(monday))


def _past_retention(week: int, now: datetime) -> bool:
    return week_start(week + 1) <= now - settings.RAW_RETENTION - _GRACE


def _missing(weeks: list[int]) -> list[int]:
    # Scans the catalog: to_regclass would answer from a cache that misses what was just made.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT week FROM unnest(%s::int[], %s::text[]) AS wanted (week, name)"
            " WHERE NOT EXISTS ("
            "   SELECT FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
            "   WHERE inhparent = %s::regclass AND child.relname = name"
            " ) ORDER BY week",
            [weeks, [partition_name(week) for week in weeks], TABLE],
        )
        return [week for (week,) in cursor.fetchall()]


def _commit_weeks(weeks: Iterable[int]) -> None:
    # Who makes weeks may wait for the caller meanwhile; of that circle the database sees no more
    # than one half.
    try:
        for week in weeks:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{_ATTACH_TIMEOUT}'")
                make_weeks(weeks=[week])
    finally:
        connection.close()


def _attach(cursor, week: int) -> None:
    # CREATE TABLE … PARTITION OF would lock out everybody else; ATTACH does not.
    name = partition_name(week)
    cursor.execute(
        f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
        " INCLUDING INDEXES INCLUDING STORAGE)"
    )
    cursor.execute(
        f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)",
        [week_start(week), week_start(week + 1)],
    )


def _drop(week: int, name: str) -> bool:
    """Drop a week unless it is still needed; says whether it is gone."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_DROPPING])
            if _missing([week]):  # another run was quicker
                return True
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [_HOLDING, week])
            (free,) = cursor.fetchone()
            if not free or _has_dirty_slots(cursor, week):
                return False
            note_final_slots(cursor, table=name, until_at=week_start(week + 1))
            cursor.execute(f"DROP TABLE {name}")
            return True
    except OperationalError as error:
        if not is_busy(error):
            raise
        return False


def _has_dirty_slots(cursor, week: int) -> bool:
    cursor.execute(
        "SELECT EXISTS (SELECT FROM measurements_dirtyslot WHERE start >= %s AND start < %s)",
        [week_start(week) - _NEIGHBOURS, week_start(week + 1) + _NEIGHBOURS],
    )
    (exists,) = cursor.fetchone()
    return exists
