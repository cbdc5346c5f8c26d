"""Computes slots of appliances from their readings: finds what belongs together, reads it, writes.

`measurements.energy` says what a run of slots needs besides its own readings, and how far a
change reaches; this module asks the database for just that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
from django.db import connection

from measurements import extraction, staging
from measurements.carry import open_since, unpack_carry
from measurements.energy import (
    LONGEST_GAP_MS,
    ApplianceSlots,
    Readings,
    appliance_slots,
)
from measurements.partitions import existing_weeks, week_of_ms, week_start
from measurements.resolutions import SLOT_MS, from_ms, slot_end_ms, slot_start_ms, to_ms
from measurements.slots.claims import Claim, mark_slots
from measurements.slots.inventory import load_nominals

# Dirty slots no further apart than this are computed as one run.
_JOIN_MS = 16 * SLOT_MS
_LONGEST_INTERVAL_MS = 3_600_000
_CARRY_BYTES = 96
_NO_CARRY = np.full(_CARRY_BYTES // 8, np.nan, "<f8").tobytes()

_RUNS = staging.StagingTable(
    "slot_run_staging",
    {
        "run": staging.KEY,
        "system_key": staging.KEY,
        "appliance_key": staging.KEY,
        "from_at": staging.INSTANT,
        "until_at": staging.INSTANT,
        "read_from": staging.INSTANT,
        "read_until": staging.INSTANT,
    },
)
_SLOTS = staging.StagingTable(
    "appliance_slot_staging",
    {
        "system_key": staging.KEY,
        "appliance_key": staging.KEY,
        "start": staging.INSTANT,
        "import_mwh": staging.BIG,
        "export_mwh": staging.BIG,
        **dict.fromkeys(
            (
                "imported_wh",
                "exported_wh",
                "mean_w",
                "min_w",
                "max_w",
                "soc",
                "stored_wh",
                "temperature_c",
            ),
            staging.DOUBLE,
        ),
        "seen_s": staging.KEY,
        "flags": staging.SMALL,
        "carry": staging.ColumnType("bytea", f"V{_CARRY_BYTES}", f"'\\x{_NO_CARRY.hex()}'::bytea"),
    },
)
_KEYS = ("system_key", "appliance_key", "start")


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive slots of one appliance to compute, [from_ms, until_ms), with their context."""

    system_key: int
    appliance_key: int
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class _Context:
    """What lies around a run; None where there is nothing (or nothing near enough)."""

    power_before_ms: int | None
    power_after_ms: int | None
    counters_after_ms: int | None
    carry: bytes | None


def compute_appliances(claim: Claim, *, now: datetime) -> list[tuple[int, int, datetime]]:
    """Compute the claimed slots and all that change with them, and store what is new.

    Returns the slots that changed: (system key, appliance key, start).
    """
    runs = _runs(claim)
    if not runs:
        return []
    runs = _within_kept(_widened(runs, _contexts(runs)), runs)
    contexts = _contexts(runs)
    with connection.cursor() as cursor:
        readings = _read(cursor, runs, contexts)
        nominals = load_nominals(claim.system_keys, {run.appliance_key for run in runs})
        computed = [
            appliance_slots(
                readings_of_run,
                run.from_ms,
                run.until_ms,
                nominal=nominals[run.appliance_key],
                carry=unpack_carry(context.carry),
            )
            for run, context, readings_of_run in zip(runs, contexts, readings, strict=True)
        ]
        _mark_what_follows(cursor, runs, computed, now=now)
        return _write(cursor, runs, computed)


def _runs(claim: Claim) -> list[Run]:
    runs: list[Run] = []
    for (system_key, appliance_key), starts in sorted(claim.slots.items()):
        begin = end = None
        for start in starts:
            if end is not None and start <= end + _JOIN_MS:
                end = start + SLOT_MS
                continue
            if end is not None:
                runs.append(Run(system_key, appliance_key, begin, end))
            begin, end = start, start + SLOT_MS
        runs.append(Run(system_key, appliance_key, begin, end))
    return runs


def _widened(runs: Sequence[Run], contexts: Sequence[_Context]) -> list[Run]:
    """The runs with all slots that their readings can change; those that meet become one."""
    widened: list[Run] = []
    for run, context in zip(runs, contexts, strict=True):
        before = (context.power_before_ms, open_since(unpack_carry(context.carry)))
        after = (context.power_after_ms, context.counters_after_ms)
        wide = replace(
            run,
            from_ms=min([run.from_ms, *(slot_start_ms(ms) for ms in before if ms is not None)]),
            until_ms=max([run.until_ms, *(slot_end_ms(ms) for ms in after if ms is not None)]),
        )
        last = widened[-1] if widened else None
        if last and last.appliance_key == wide.appliance_key and wide.from_ms <= last.until_ms:
            widened[-1] = replace(
                last,
                from_ms=min(last.from_ms, wide.from_ms),
                until_ms=max(last.until_ms, wide.until_ms),
            )
        else:
            widened.append(wide)
    return widened


def _within_kept(widened: list[Run], dirty: list[Run]) -> list[Run]:
    """The runs without slots that are final, because retention dropped their readings.

    A week without a table was dropped, or never had readings; then nothing was seen in it.
    """
    weeks = {week for week, _name in existing_weeks()}
    kept = []
    for run in widened:
        missing = [
            week
            for week in range(week_of_ms(run.from_ms), week_of_ms(run.until_ms - 1) + 1)
            if week not in weeks
        ]
        final = _seen_weeks(run, missing) if missing else []
        if final:
            own = [each for each in dirty if each.appliance_key == run.appliance_key]
            inside = [e for e in own if run.from_ms <= e.from_ms and e.until_ms <= run.until_ms]
            first, last = min(e.from_ms for e in inside), max(e.until_ms for e in inside)
            before = [to_ms(week_start(week + 1)) for week in final]
            after = [to_ms(week_start(week)) for week in final]
            run = replace(
                run,
                from_ms=max([run.from_ms, *(ms for ms in before if ms <= first)]),
                until_ms=min([run.until_ms, *(ms for ms in after if ms >= last)]),
            )
        kept.append(run)
    return kept


def _seen_weeks(run: Run, weeks: Sequence[int]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT week FROM unnest(%s::int[], %s::timestamptz[]) AS w (week, begins)"
            " WHERE EXISTS (SELECT FROM measurements_applianceslot"
            "   WHERE system_key = %s AND appliance_key = %s"
            "   AND start >= begins AND start < begins + interval '7 days' AND seen_s > 0)",
            [weeks, [week_start(week) for week in weeks], run.system_key, run.appliance_key],
        )
        return [week for (week,) in cursor.fetchall()]


def _contexts(runs: Sequence[Run]) -> list[_Context]:
    """What lies around the runs, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            _CONTEXT,
            [
                [run.system_key for run in runs],
                [run.appliance_key for run in runs],
                [from_ms(run.from_ms) for run in runs],
                [from_ms(run.until_ms) for run in runs],
            ],
        )
        rows = cursor.fetchall()
    contexts = []
    for before, after, imported, exported, carry in rows:
        counters = [at for at in (imported, exported) if at is not None]
        contexts.append(
            _Context(
                None if before is None else to_ms(before),
                None if after is None else to_ms(after),
                to_ms(max(counters)) if counters else None,
                None if carry is None else bytes(carry),
            )
        )
    return contexts


# The two readings of a counter after a run: the first may be held back, the second settles it.
_CONTEXT = f"""
SELECT
    (SELECT at FROM measurements_reading AS r
        WHERE r.system_key = run.system_key AND r.appliance_key = run.appliance_key
        AND at < from_at AND at >= from_at - interval '{LONGEST_GAP_MS} milliseconds'
        AND power_w IS NOT NULL AND interval_s IS NULL ORDER BY at DESC LIMIT 1),
    (SELECT at FROM measurements_reading AS r
        WHERE r.system_key = run.system_key AND r.appliance_key = run.appliance_key
        AND at >= until_at AND at <= until_at + interval '{LONGEST_GAP_MS} milliseconds'
        AND power_w IS NOT NULL AND interval_s IS NULL ORDER BY at LIMIT 1),
    CASE WHEN latest.imported_wh IS NOT NULL THEN (SELECT max(at) FROM (
        SELECT at FROM measurements_reading AS r
        WHERE r.system_key = run.system_key AND r.appliance_key = run.appliance_key
        AND at >= until_at AND r.imported_wh IS NOT NULL ORDER BY at LIMIT 2) AS two) END,
    CASE WHEN latest.exported_wh IS NOT NULL THEN (SELECT max(at) FROM (
        SELECT at FROM measurements_reading AS r
        WHERE r.system_key = run.system_key AND r.appliance_key = run.appliance_key
        AND at >= until_at AND r.exported_wh IS NOT NULL ORDER BY at LIMIT 2) AS two) END,
    (SELECT carry FROM measurements_applianceslot AS s
        WHERE s.system_key = run.system_key AND s.appliance_key = run.appliance_key
        AND s.start < from_at ORDER BY s.start DESC LIMIT 1)
FROM unnest(%s::int[], %s::int[], %s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
    AS run (system_key, appliance_key, from_at, until_at, number)
LEFT JOIN measurements_latestreading AS latest
    ON latest.system_key = run.system_key AND latest.appliance_key = run.appliance_key
ORDER BY number
"""  # noqa: S608 - put together from this module's own names

_READ = {
    "run": ("run", extraction.INTEGER),
    "at": ("at", extraction.INSTANT),
    **{
        name: (name, extraction.DOUBLE)
        for name in (
            "power_w",
            "imported_wh",
            "exported_wh",
            "soc",
            "energy_wh",
            "temperature_c",
            "interval_s",
            "import_energy_wh",
            "export_energy_wh",
            "delay_s",
        )
    },
}


# The inner ORDER BY keeps the planner from anything but one index range for each run.
_READINGS_OF_RUNS = f"""
FROM {_RUNS.name} AS run CROSS JOIN LATERAL (
    SELECT * FROM measurements_reading AS r
    WHERE r.system_key = run.system_key AND r.appliance_key = run.appliance_key
        AND r.at >= run.read_from AND r.at <= run.read_until
    ORDER BY r.at
) AS readings
ORDER BY run, at
"""  # noqa: S608 - put together from this module's own names


def _read(cursor, runs: Sequence[Run], contexts: Sequence[_Context]) -> list[Readings]:
    """The readings of each run and of its context."""
    _RUNS.prepare(cursor)
    _RUNS.copy(
        cursor,
        {
            "run": np.arange(len(runs)),
            "system_key": np.array([run.system_key for run in runs]),
            "appliance_key": np.array([run.appliance_key for run in runs]),
            "from_at": np.array([run.from_ms for run in runs]),
            "until_at": np.array([run.until_ms for run in runs]),
            "read_from": np.array(
                [
                    min(run.from_ms - _LONGEST_INTERVAL_MS, context.power_before_ms or run.from_ms)
                    for run, context in zip(runs, contexts, strict=True)
                ]
            ),
            "read_until": np.array(
                [
                    max(
                        run.until_ms - 1,
                        context.power_after_ms or 0,
                        context.counters_after_ms or 0,
                    )
                    for run, context in zip(runs, contexts, strict=True)
                ]
            ),
        },
    )
    rows = extraction.extract(cursor, _READ, _READINGS_OF_RUNS)
    bounds = np.searchsorted(rows["run"], np.arange(len(runs) + 1))
    names = [name for name in _READ if name not in ("run", "at")]
    return [
        Readings(rows["at"][begin:end], {name: rows[name][begin:end] for name in names})
        for begin, end in pairwise(bounds)
    ]


_FOLLOWING = f"""
SELECT run,
    (SELECT carry FROM measurements_applianceslot AS s
        WHERE s.system_key = r.system_key AND s.appliance_key = r.appliance_key
        AND s.start >= r.from_at AND s.start < r.until_at ORDER BY s.start DESC LIMIT 1),
    (SELECT start FROM measurements_applianceslot AS s
        WHERE s.system_key = r.system_key AND s.appliance_key = r.appliance_key
        AND s.start >= r.until_at ORDER BY s.start LIMIT 1)
FROM {_RUNS.name} AS r
"""  # noqa: S608 - put together from this module's own names


def _mark_what_follows(
    cursor, runs: Sequence[Run], computed: Sequence[ApplianceSlots], *, now: datetime
) -> None:
    """Where later slots went on from another state than the one computed now, mark the next."""
    cursor.execute(_FOLLOWING)
    following = []
    for number, carry, start in cursor.fetchall():
        if start is None:
            continue
        before = unpack_carry(None if carry is None else bytes(carry))
        if not _same(before, computed[number].carry[-1]):
            following.append((runs[number].system_key, runs[number].appliance_key, start))
    mark_slots(following, now=now)


def _same(before: np.ndarray | None, now: np.ndarray) -> bool:
    if before is None:
        return bool(np.isnan(now).all())
    return np.array_equal(before, now, equal_nan=True)


def _write(
    cursor, runs: Sequence[Run], computed: Sequence[ApplianceSlots]
) -> list[tuple[int, int, datetime]]:
    """Put the runs' slots in place of those that were there; returns which changed."""
    known = [slots.known for slots in computed]
    counts = [int(mask.sum()) for mask in known]

    def joined(columns) -> np.ndarray:
        parts = [column[mask] for column, mask in zip(columns, known, strict=True)]
        return np.concatenate(parts)

    def energy(amounts) -> np.ndarray:
        return joined([np.where(a.present, a.values, staging.NO_BIG) for a in amounts])

    columns = {
        "system_key": np.repeat([run.system_key for run in runs], counts),
        "appliance_key": np.repeat([run.appliance_key for run in runs], counts),
        "start": joined([slots.start_ms for slots in computed]),
        "import_mwh": energy([slots.import_mwh for slots in computed]),
        "export_mwh": energy([slots.export_mwh for slots in computed]),
    }
    for name in list(_SLOTS.columns)[len(columns) : -1]:
        columns[name] = joined([getattr(slots, name) for slots in computed])
    carries = joined([slots.carry for slots in computed]).astype("<f8")
    carries[np.isnan(carries)] = np.nan  # of all the forms of NaN the one that stands for null
    columns["carry"] = np.ascontiguousarray(carries).view(f"V{_CARRY_BYTES}").ravel()
    _SLOTS.prepare(cursor)
    _SLOTS.copy(cursor, columns)
    cursor.execute(_REPLACE)
    return cursor.fetchall()


def _taken(name: str) -> str:
    value = _SLOTS.value(name)
    if name != "carry":
        return value
    half = _CARRY_BYTES // 2
    ordinary = f"substring(carry from {half + 1}) = '\\x{_NO_CARRY[:half].hex()}'::bytea"
    return f"CASE WHEN {ordinary} THEN substring({value} for {half}) ELSE {value} END"


_VALUES = [name for name in _SLOTS.columns if name not in _KEYS]
_REPLACE = f"""
WITH gone AS (
    DELETE FROM measurements_applianceslot AS slot USING {_RUNS.name} AS run
    WHERE slot.system_key = run.system_key AND slot.appliance_key = run.appliance_key
        AND slot.start >= run.from_at AND slot.start < run.until_at
        AND NOT EXISTS (SELECT FROM {_SLOTS.name} AS new WHERE new.system_key = slot.system_key
            AND new.appliance_key = slot.appliance_key AND new.start = slot.start)
    RETURNING slot.system_key, slot.appliance_key, slot.start
), stored AS (
    INSERT INTO measurements_applianceslot AS slot ({", ".join(_SLOTS.columns)})
    SELECT {", ".join(_taken(name) for name in _SLOTS.columns)} FROM {_SLOTS.name}
    ON CONFLICT (system_key, appliance_key, start) DO UPDATE
    SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _VALUES)}
    WHERE ({", ".join(f"slot.{name}" for name in _VALUES)})
        IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in _VALUES)})
    RETURNING system_key, appliance_key, start
)
SELECT * FROM gone UNION ALL SELECT * FROM stored
"""  # noqa: S608 - put together from this module's own names
