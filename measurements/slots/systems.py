"""Computes slots of systems from those of their appliances, batteries' memory included."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from django.db import connection

from measurements import extraction, staging
from measurements.amounts import Amounts, Bools, Ints
from measurements.figures import COLUMNS, LAST, LAST_FLOATS, SUMMED, Figures, Part, system_figures
from measurements.resolutions import SLOT_MS, from_ms, to_ms
from measurements.slots.inventory import Member, load_members

# Changed slots no further apart than this are computed as one run.
_JOIN_MS = 16 * SLOT_MS
# How far a battery's memory is carried on at a time, until nothing changes any more.
_ONWARD_MS = 192 * SLOT_MS

_SLOTS = staging.StagingTable(
    "system_slot_staging",
    {
        "system_key": staging.KEY,
        "start": staging.INSTANT,
        **dict.fromkeys((*SUMMED, *LAST), staging.BIG),
        **dict.fromkeys(LAST_FLOATS, staging.DOUBLE),
        "seen_s": staging.KEY,
        "expected_s": staging.KEY,
        "flags": staging.SMALL,
    },
)
_RUNS = staging.StagingTable(
    "system_run_staging",
    {
        "run": staging.KEY,
        "system_key": staging.KEY,
        "from_at": staging.INSTANT,
        "until_at": staging.INSTANT,
    },
)


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive slots of one system, [from_ms, until_ms)."""

    system_key: int
    from_ms: int
    until_ms: int

    @property
    def length(self) -> int:
        return (self.until_ms - self.from_ms) // SLOT_MS


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the batteries held at a run's two ends, as stored so far, and whether more follows."""

    before: tuple[int, int] | None
    at_end: tuple[int, int] | None
    follows: bool


def compute_systems(changed: Iterable[tuple[int, datetime]]) -> set[tuple[int, datetime]]:
    """Compute the slots of systems (system key, start) anew, and what their batteries change.

    Returns all slots that were computed.
    """
    computed: set[tuple[int, datetime]] = set()
    runs = _runs(changed)
    with connection.cursor() as cursor:
        while runs:
            runs, starts = _compute(cursor, runs)
            computed |= starts
    return computed


def _runs(changed: Iterable[tuple[int, datetime]]) -> list[_Run]:
    by_system: dict[int, list[int]] = defaultdict(list)
    for system_key, start in changed:
        by_system[system_key].append(to_ms(start))
    runs: list[_Run] = []
    for system_key, starts in sorted(by_system.items()):
        ordered = np.unique(np.array(starts, np.int64))
        cuts = np.flatnonzero(np.diff(ordered) > _JOIN_MS) + 1
        for part in np.split(ordered, cuts):
            runs.append(_Run(system_key, int(part[0]), int(part[-1]) + SLOT_MS))
    return runs


def _compute(cursor, runs: Sequence[_Run]) -> tuple[list[_Run], set[tuple[int, datetime]]]:
    """Compute runs of slots; returns the runs that have to follow, and the slots computed."""
    rows = _read(cursor, runs)
    members = load_members({int(key) for key in np.unique(rows["appliance_key"])})
    firsts = _first_slots(cursor, runs)
    memories = _memories(cursor)
    following, written, starts = [], [], set()
    # A system's runs are in the order of time: what one computed, the next one goes on from.
    latest: dict[int, tuple[int, tuple[int, int] | None]] = {}
    for run, part_rows, memory in zip(runs, rows["parts"], memories, strict=True):
        before = memory.before
        if run.system_key in latest and latest[run.system_key][0] == run.from_ms:
            before = latest[run.system_key][1]
        figures, known = _figures(run, part_rows, members, firsts, before)
        written.append((run, figures, known))
        held = _held(figures, known)
        latest[run.system_key] = (run.until_ms, held)
        starts |= {
            (run.system_key, from_ms(run.from_ms + int(index) * SLOT_MS))
            for index in np.flatnonzero(known)
        }
        if memory.follows and held != memory.at_end:
            following.append(_Run(run.system_key, run.until_ms, run.until_ms + _ONWARD_MS))
    _write(cursor, written)
    return _apart(following), starts


def _apart(runs: list[_Run]) -> list[_Run]:
    """Runs of the same system that overlap, as one."""
    return _runs(
        (run.system_key, from_ms(ms))
        for run in runs
        for ms in range(run.from_ms, run.until_ms, SLOT_MS)
    )


def _held(figures: Figures, known: Bools) -> tuple[int, int] | None:
    """What the batteries held at the end of the last known slot."""
    index = np.flatnonzero(known)
    stored, from_grid = (figures.amounts[name] for name in LAST)
    if not len(index) or not stored.present[index[-1]]:
        return None
    return int(stored.values[index[-1]]), int(from_grid.values[index[-1]])


_READ = {
    "run": ("run", extraction.INTEGER),
    "appliance_key": ("appliance_key", extraction.INTEGER),
    "start": ("start", extraction.INSTANT),
    "import_mwh": ("import_mwh", extraction.ENERGY),
    "export_mwh": ("export_mwh", extraction.ENERGY),
    **{
        name: (name, extraction.DOUBLE)
        for name in ("soc", "stored_wh", "imported_wh", "exported_wh")
    },
    "seen_s": ("seen_s", extraction.INTEGER),
    "flags": ("flags", extraction.INTEGER),
}


# The inner ORDER BY keeps the planner from anything but one index range for each run.
_SLOTS_OF_RUNS = f"""
FROM {_RUNS.name} AS run CROSS JOIN LATERAL (
    SELECT * FROM measurements_applianceslot AS slot
    WHERE slot.system_key = run.system_key
        AND slot.start >= run.from_at AND slot.start < run.until_at
    ORDER BY appliance_key, start
) AS slots
ORDER BY run, appliance_key
"""  # noqa: S608 - put together from this module's own names


def _read(cursor, runs: Sequence[_Run]) -> dict:
    """The appliances' slots of the runs: columns of all, and the row numbers of each run."""
    _RUNS.prepare(cursor)
    _RUNS.copy(
        cursor,
        {
            "run": np.arange(len(runs)),
            "system_key": np.array([run.system_key for run in runs]),
            "from_at": np.array([run.from_ms for run in runs]),
            "until_at": np.array([run.until_ms for run in runs]),
        },
    )
    rows: dict = extraction.extract(cursor, _READ, _SLOTS_OF_RUNS)
    bounds = np.searchsorted(rows["run"], np.arange(len(runs) + 1))
    rows["parts"] = [
        {name: rows[name][begin:end] for name in _READ} for begin, end in pairwise(bounds)
    ]
    return rows


# Hops from one appliance to the next along the primary key: one probe each.
_FIRST_SLOTS = """
WITH RECURSIVE firsts AS (
    SELECT system_key, 0 AS appliance_key, NULL::timestamptz AS start
    FROM unnest(%s::int[]) AS system (system_key)
    UNION ALL
    SELECT firsts.system_key, next.appliance_key, next.start
    FROM firsts CROSS JOIN LATERAL (
        SELECT slot.appliance_key, slot.start FROM measurements_applianceslot AS slot
        WHERE slot.system_key = firsts.system_key AND slot.appliance_key > firsts.appliance_key
        ORDER BY slot.appliance_key, slot.start LIMIT 1
    ) AS next
)
SELECT system_key, appliance_key, start FROM firsts WHERE start IS NOT NULL
"""


def _first_slots(cursor, runs: Sequence[_Run]) -> dict[tuple[int, int], int]:
    """Since when each appliance of these systems is known there, in ms."""
    cursor.execute(_FIRST_SLOTS, [sorted({run.system_key for run in runs})])
    return {
        (system_key, appliance_key): to_ms(start)
        for system_key, appliance_key, start in cursor.fetchall()
    }


def _memories(cursor) -> list[_Memory]:
    cursor.execute(_MEMORIES)
    return [
        _Memory(
            None if before is None or before[0] is None else tuple(before),
            None if at_end is None or at_end[0] is None else tuple(at_end),
            follows,
        )
        for before, at_end, follows in cursor.fetchall()
    ]


_MEMORIES = f"""
SELECT (SELECT ARRAY[stored_mwh, stored_from_grid_mwh] FROM measurements_systemslot AS slot
        WHERE slot.system_key = run.system_key AND slot.start < run.from_at
        ORDER BY slot.start DESC LIMIT 1),
    (SELECT ARRAY[stored_mwh, stored_from_grid_mwh] FROM measurements_systemslot AS slot
        WHERE slot.system_key = run.system_key AND slot.start < run.until_at
        ORDER BY slot.start DESC LIMIT 1),
    EXISTS (SELECT FROM measurements_systemslot AS slot
        WHERE slot.system_key = run.system_key AND slot.start >= run.until_at)
FROM {_RUNS.name} AS run ORDER BY run
"""  # noqa: S608 - put together from this module's own names


def _figures(
    run: _Run,
    rows: dict[str, np.ndarray],
    members: dict[int, Member],
    firsts: dict[tuple[int, int], int],
    before: tuple[int, int] | None,
) -> tuple[Figures, Bools]:
    """The figures of a run, and which of its slots any appliance tells of."""
    known = np.zeros(run.length, np.bool_)
    parts = []
    index = (rows["start"] - run.from_ms) // SLOT_MS
    known[index] = True
    keys = {key for system_key, key in firsts if system_key == run.system_key}
    for key in sorted(keys & members.keys()):
        begin, end = np.searchsorted(rows["appliance_key"], (key, key + 1))
        parts.append(
            _part(
                run,
                members[key],
                rows,
                slice(begin, end),
                index[begin:end],
                firsts[run.system_key, key],
            )
        )
    return system_figures(parts, run.length, before=before), known


def _part(
    run: _Run,
    member: Member,
    rows: dict[str, np.ndarray],
    own: slice,
    index: Ints,
    first_ms: int,
) -> Part:
    """One appliance's rows, laid out over all slots of the run."""

    def spread(name: str, empty, dtype) -> np.ndarray:
        column = np.full(run.length, empty, dtype)
        column[index] = rows[name][own]
        return column

    def energy(name: str) -> Amounts:
        values = spread(name, -1, np.int64)
        return Amounts.of(values, values >= 0)

    starts = run.from_ms + SLOT_MS * np.arange(run.length)
    expected = starts >= first_ms
    if member.removed_at is not None:
        expected &= starts < to_ms(member.removed_at)
    return Part(
        role=member.role,
        import_mwh=energy("import_mwh"),
        export_mwh=energy("export_mwh"),
        soc=spread("soc", np.nan, np.float64),
        stored_wh=spread("stored_wh", np.nan, np.float64),
        imported_wh=spread("imported_wh", np.nan, np.float64),
        exported_wh=spread("exported_wh", np.nan, np.float64),
        seen_s=spread("seen_s", 0, np.int64),
        flags=spread("flags", 0, np.int64),
        capacity_wh=member.capacity_wh,
        expected=expected,
    )


def _write(cursor, written: Sequence[tuple[_Run, Figures, Bools]]) -> None:
    """Put the figures of known slots in place of what was stored for the runs."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _SLOTS.columns}
    for run, figures, known in written:
        columns["system_key"].append(np.full(int(known.sum()), run.system_key))
        columns["start"].append((run.from_ms + SLOT_MS * np.arange(run.length))[known])
        for name in COLUMNS:
            columns[name].append(_column(figures, name)[known])
    _SLOTS.prepare(cursor)
    _SLOTS.copy(cursor, {name: np.concatenate(parts) for name, parts in columns.items()})
    cursor.execute(_REPLACE)


def _column(figures: Figures, name: str) -> np.ndarray:
    if name in figures.amounts:
        amounts = figures.amounts[name]
        return np.where(amounts.present, amounts.values, staging.NO_BIG)
    return getattr(figures, name)


_REPLACE = f"""
WITH gone AS (
    DELETE FROM measurements_systemslot AS slot USING {_RUNS.name} AS run
    WHERE slot.system_key = run.system_key
        AND slot.start >= run.from_at AND slot.start < run.until_at
        AND NOT EXISTS (SELECT FROM {_SLOTS.name} AS new
            WHERE new.system_key = slot.system_key AND new.start = slot.start)
)
INSERT INTO measurements_systemslot ({", ".join(_SLOTS.columns)})
SELECT {", ".join(_SLOTS.value(name) for name in _SLOTS.columns)} FROM {_SLOTS.name}
ON CONFLICT (system_key, start) DO UPDATE
SET {", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)}
"""  # noqa: S608 - put together from this module's own names
