"""Computes slots of appliances from their readings, and writes them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from django.db import connection

from measurements import staging
from measurements.amounts import Floats
from measurements.carry import CARRY_SIZE, unpack_carry
from measurements.energy import LATE_S, ApplianceSlots, Computation, Readings, appliance_slots
from measurements.extraction import extract
from measurements.models import Cause
from measurements.resolutions import SLOT_MS
from measurements.slots.claims import Reason, Run
from measurements.slots.inventory import load_nominals
from measurements.slots.runs import (
    LONGEST_INTERVAL_MS,
    Context,
    Piece,
    columns_of,
    contexts_of,
    pieces_of,
    unnested,
    widened,
)

# Where a change of a counter's state is carried on, so many slots are computed at once: most such
# changes end as soon as the counter rises again. So many more are marked, if it goes on.
_COMPUTED_ONWARD, _MARKED_ONWARD = 24, 192
_CARRY_BYTES = 8 * CARRY_SIZE
_NO_CARRY = np.full(_CARRY_BYTES // 8, np.nan, "<f8").tobytes()

_FLOATS = (
    "imported_wh",
    "exported_wh",
    "mean_w",
    "min_w",
    "max_w",
    "soc",
    "stored_wh",
    "temperature_c",
)
_SLOTS = staging.StagingTable(
    "appliance_slot_staging",
    {
        "system_key": staging.INTEGER,
        "appliance_key": staging.INTEGER,
        "start": staging.INSTANT,
        "import_mwh": staging.BIG,
        "export_mwh": staging.BIG,
        **dict.fromkeys(_FLOATS, staging.DOUBLE),
        "seen_s": staging.INTEGER,
        "flags": staging.MAYBE_SMALL,
        "carry": staging.ColumnType("bytea", f"V{_CARRY_BYTES}", f"'\\x{_NO_CARRY.hex()}'::bytea"),
    },
)
_KEYS = ("system_key", "appliance_key", "start")


class TooManyReadings(Exception):
    """A piece has more readings than are computed at a time: it has to be cut smaller."""


@dataclass(frozen=True, slots=True)
class _Computed:
    run: Run
    slots: ApplianceSlots


def compute_appliances(
    dirty: Sequence[Run], *, slots_at_once: int, readings_at_most: int | None
) -> tuple[list[Run], int]:
    """Compute these runs and all that changes with them, and store what is new.

    Returns the runs as they were computed, and how many slots are new, changed or gone. At most
    `slots_at_once` slots of an appliance are computed at a time; raises TooManyReadings when
    those have more readings than asked for (None: any number).
    """
    sizes = (slots_at_once, readings_at_most)
    runs, ends, written = _compute(dirty, *sizes)
    if onward := _onward(ends):
        more, ends, rewritten = _compute(onward, *sizes)
        _mark_onward(ends)
        runs, written = [*runs, *more], written + rewritten
    return runs, written


def _compute(
    wanted: Sequence[Run], slots_at_once: int, readings_at_most: int | None
) -> tuple[list[Run], list[Run], int]:
    """The same; also returns the runs behind which slots went on from another state until now."""
    runs = widened(wanted)
    nominals = load_nominals({run.of for run in runs})
    pieces = pieces_of(runs, nominals, slots_at_once)
    if not pieces:  # all of them are final
        return [], [], 0
    contexts = contexts_of(pieces)
    computed: list[_Computed] = []
    with connection.cursor() as cursor:
        # Closed whatever happens: the connection can do nothing else before.
        with closing(_read(cursor, pieces, contexts, readings_at_most)) as given:
            for piece, context, readings in given:
                run, carry = piece.run, _carry_before(piece.run, context, computed)
                slots = appliance_slots(
                    readings, run.from_ms, run.until_ms, nominal=nominals[run.of], carry=carry
                )
                computed.append(_Computed(run, slots))
        ends = _ends_that_differ(cursor, computed)
        written = _write(cursor, computed)
    return [each.run for each in computed], ends, written


def computation_of(run: Run) -> Computation:
    """How the one slot of a run, which is not final, follows from the readings that there are;
    nothing is stored."""
    nominals = load_nominals({run.of})
    pieces = pieces_of([run], nominals, 1)
    contexts = contexts_of(pieces)
    with connection.cursor() as cursor, closing(_read(cursor, pieces, contexts, None)) as given:
        [(_piece, context, readings)] = given
    return Computation(readings, run.from_ms, run.until_ms, nominals[run.of], context.carry)


def _carry_before(run: Run, context: Context, computed: Sequence[_Computed]) -> Floats | None:
    """What the slot before a run hands on: as just computed, else as it is stored."""
    last = computed[-1] if computed else None
    if last is None or last.run.of != run.of:
        return context.carry
    if context.slot_before_ms is not None and context.slot_before_ms >= last.run.until_ms:
        return context.carry  # it lies between both runs
    return last.slots.carry[-1]


# Quantities that most readings have, and those that come with few: each with the condition
# that picks the readings that have it.
_DENSE = ("power_w", "imported_wh", "exported_wh", "soc")
_SPARSE = {
    "energy_wh IS NOT NULL": ("energy_wh",),
    "temperature_c IS NOT NULL": ("temperature_c",),
    "interval_s IS NOT NULL": ("interval_s", "import_energy_wh", "export_energy_wh"),
    f"delay_s > {LATE_S}": ("delay_s",),
}
_ARRAYS = (
    "array_agg(at)",
    *(f"array_agg(COALESCE({name}, 'NaN'))" for name in _DENSE),
    *(
        f"array_agg({sql}) FILTER (WHERE {condition})"
        for condition, names in _SPARSE.items()
        for sql in ("at", *(f"COALESCE({name}::float8, 'NaN')" for name in names))
    ),
)
_AFTER = ("power_after", "imported_after", "imported_second", "exported_after", "exported_second")
_OF_PIECE = "r.system_key = piece.system_key AND r.appliance_key = piece.appliance_key"
_PIECES = unnested("system_key", "appliance_key", instants=("read_from", "until_at", *_AFTER))
# One index range for each piece and what is needed after it, in order, as a nested loop keeps it.
_READINGS_OF_PIECES = f"""
SELECT readings.*
FROM {_PIECES} AS piece CROSS JOIN LATERAL (
    SELECT ARRAY[piece.number], {", ".join(_ARRAYS)} FROM (
        SELECT * FROM measurements_reading AS r
        WHERE {_OF_PIECE} AND at >= read_from AND at < until_at
        UNION ALL
        SELECT * FROM measurements_reading AS r
        WHERE {_OF_PIECE} AND at = ANY(ARRAY[{", ".join(_AFTER)}])
        ORDER BY at LIMIT %s
    ) AS ordered
) AS readings
"""  # noqa: S608 - put together from this module's own names


def _read(
    cursor, pieces: Sequence[Piece], contexts: Sequence[Context], at_most: int | None
) -> Iterator[tuple[Piece, Context, Readings]]:
    """The pieces with their contexts and readings, those of the context included."""
    system_keys, appliance_keys, from_ms, until_ms, _barriers = columns_of(pieces)
    reaching = [
        min(begin - LONGEST_INTERVAL_MS, context.power_before_ms or begin)
        for begin, context in zip(from_ms, contexts, strict=True)
    ]
    after = [
        (
            context.power_after_ms,
            *_two(context.imported_after_ms),
            *_two(context.exported_after_ms),
        )
        for context in contexts
    ]
    columns = map(list, zip(*after, strict=True))
    limit = None if at_most is None else at_most + 1
    arguments = [system_keys, appliance_keys, reaching, until_ms, *columns, limit]
    with closing(extract(cursor, _READINGS_OF_PIECES, arguments)) as rows:
        for number, (given, *arrays) in enumerate(rows):
            if given != number + 1:
                raise RuntimeError(f"Piece {number + 1} of the readings came as {given}")
            if at_most is not None and len(arrays[0]) > at_most:
                raise TooManyReadings
            yield pieces[number], contexts[number], _readings(arrays)


def _two(instants: Sequence[int]) -> tuple[int | None, int | None]:
    first, second = [*instants, None, None][:2]
    return first, second


def _readings(arrays: Sequence[np.ndarray]) -> Readings:
    at_ms = arrays[0].astype(np.int64, copy=False)
    columns: dict[str, np.ndarray] = {}
    given = iter(arrays[1:])
    for name, values in zip(_DENSE, given, strict=False):
        columns[name] = values
    for names in _SPARSE.values():
        rows = np.searchsorted(at_ms, next(given))
        for name in names:
            values = next(given)
            if len(rows):
                columns[name] = np.full(len(at_ms), np.nan)
                columns[name][rows] = values
    return Readings(at_ms, columns)


_ENDS = unnested("system_key", "appliance_key", instants=("until_at",))
# What later slots went on from until now.
_FOLLOWED = f"""
SELECT (SELECT carry FROM measurements_applianceslot AS slot
    WHERE slot.system_key = run.system_key AND slot.appliance_key = run.appliance_key
    AND start < until_at ORDER BY start DESC LIMIT 1)
FROM {_ENDS} AS run ORDER BY number
"""  # noqa: S608 - put together from this module's own names
_NEXT = f"""
SELECT (SELECT (extract(epoch FROM min(start)) * 1000)::bigint
    FROM measurements_applianceslot AS slot
    WHERE slot.system_key = run.system_key AND slot.appliance_key = run.appliance_key
    AND start >= until_at)
FROM {_ENDS} AS run ORDER BY number
"""  # noqa: S608 - put together from this module's own names
_MARK_ONWARD = f"""
INSERT INTO measurements_dirtyslot (system_key, appliance_key, start, marked_at, cause)
SELECT system_key, appliance_key, following.start, marked_at, {int(Cause.FOLLOWING)}
FROM {unnested("system_key", "appliance_key", instants=("until_at", "marked_at"))} AS run
CROSS JOIN LATERAL (
    SELECT start FROM measurements_applianceslot AS slot
    WHERE slot.system_key = run.system_key AND slot.appliance_key = run.appliance_key
    AND start >= until_at ORDER BY start LIMIT {_MARKED_ONWARD}
) AS following
"""  # noqa: S608 - put together from this module's own names


def _ends_that_differ(cursor, computed: Sequence[_Computed]) -> list[Run]:
    """The runs behind which later slots went on from another state than the one computed now."""
    ends = _ends(computed)
    cursor.execute(_FOLLOWED, _keys_and_ends([end.run for end in ends]))
    differ = []
    for end, (carry,) in zip(ends, cursor.fetchall(), strict=True):
        before = unpack_carry(None if carry is None else bytes(carry))
        if not _same(before, end.slots.carry[-1]):
            differ.append(end.run)
    return differ


def _onward(ends: Sequence[Run]) -> list[Run]:
    """The next slots behind these runs, as of the instant of the marks that they follow from."""
    if not ends:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, _keys_and_ends(ends))
        nexts = [next_ms for (next_ms,) in cursor.fetchall()]
    found = []
    for end, next_ms in zip(ends, nexts, strict=True):
        if next_ms is not None:
            reason = Reason(int(Cause.FOLLOWING), end.reason.last_ms, end.reason.last_ms)
            found.append(Run(*end.of, next_ms, next_ms + _COMPUTED_ONWARD * SLOT_MS, reason))
    return found


def _mark_onward(ends: Sequence[Run]) -> None:
    if ends:
        marked_ms = [end.reason.last_ms for end in ends]
        with connection.cursor() as cursor:
            cursor.execute(_MARK_ONWARD, [*_keys_and_ends(ends), marked_ms])


def _keys_and_ends(ends: Sequence[Run]) -> list[list[int]]:
    return [
        [end.system_key for end in ends],
        [end.appliance_key for end in ends],
        [end.until_ms for end in ends],
    ]


def _ends(computed: Sequence[_Computed]) -> list[_Computed]:
    """The last piece of each run."""
    after = [*computed[1:], None]
    return [
        each
        for each, following in zip(computed, after, strict=True)
        if following is None
        or following.run.of != each.run.of
        or following.run.from_ms != each.run.until_ms
    ]


def _same(before: np.ndarray | None, now: np.ndarray) -> bool:
    if before is None:
        return bool(np.isnan(now).all())
    return np.array_equal(before, now, equal_nan=True)


def _write(cursor, computed: Sequence[_Computed]) -> int:
    """Put the runs' slots in place of those that were there; returns how many changed."""
    _SLOTS.prepare(cursor)
    _SLOTS.copy(cursor, _columns(computed))
    runs = [each.run for each in computed]
    cursor.execute(
        _REPLACE,
        [
            [run.system_key for run in runs],
            [run.appliance_key for run in runs],
            [run.from_ms for run in runs],
            [run.until_ms for run in runs],
        ],
    )
    (changed,) = cursor.fetchone()
    return changed


def _columns(computed: Sequence[_Computed]) -> Mapping[str, np.ndarray]:
    """The columns of all slots of which anything is known."""
    known = [each.slots.known for each in computed]
    counts = [int(mask.sum()) for mask in known]

    def joined(columns) -> np.ndarray:
        return np.concatenate([column[mask] for column, mask in zip(columns, known, strict=True)])

    def energy(amounts) -> np.ndarray:
        return joined([np.where(a.present, a.values, staging.NO_BIG) for a in amounts])

    columns = {
        "system_key": np.repeat([each.run.system_key for each in computed], counts),
        "appliance_key": np.repeat([each.run.appliance_key for each in computed], counts),
        "start": joined([each.slots.start_ms for each in computed]),
        "import_mwh": energy([each.slots.import_mwh for each in computed]),
        "export_mwh": energy([each.slots.export_mwh for each in computed]),
    }
    for name in (*_FLOATS, "seen_s", "flags"):
        columns[name] = joined([getattr(each.slots, name) for each in computed])
    carries = joined([each.slots.carry for each in computed]).astype("<f8")
    carries[np.isnan(carries)] = np.nan  # of all the forms of NaN the one that stands for null
    columns["carry"] = np.ascontiguousarray(carries).view(f"V{_CARRY_BYTES}").ravel()
    return columns


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
    DELETE FROM measurements_applianceslot AS slot
    USING {unnested("system_key", "appliance_key", instants=("from_at", "until_at"))} AS run
    WHERE slot.system_key = run.system_key AND slot.appliance_key = run.appliance_key
        AND slot.start >= run.from_at AND slot.start < run.until_at
        AND NOT EXISTS (SELECT FROM {_SLOTS.name} AS new WHERE new.system_key = slot.system_key
            AND new.appliance_key = slot.appliance_key AND new.start = slot.start)
    RETURNING 1
), stored AS (
    INSERT INTO measurements_applianceslot AS slot ({", ".join(_SLOTS.columns)})
    SELECT {", ".join(_taken(name) for name in _SLOTS.columns)} FROM {_SLOTS.name}
    ON CONFLICT (system_key, appliance_key, start) DO UPDATE
    SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _VALUES)}
    WHERE ({", ".join(f"slot.{name}" for name in _VALUES)})
        IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in _VALUES)})
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM stored)
"""  # noqa: S608 - put together from this module's own names
