"""Computes slots of systems from those of their appliances, batteries' memory included."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from django.db import connection

from measurements import staging
from measurements.amounts import Amounts, Bools
from measurements.extraction import extract
from measurements.figures import (
    COLUMNS,
    LAST,
    LAST_FLOATS,
    SUMMED,
    Figures,
    Held,
    Part,
    system_figures,
)
from measurements.resolutions import SLOT_MS
from measurements.slots.batteries import Change, carry_on
from measurements.slots.inventory import Member
from measurements.slots.members import Membership
from measurements.slots.runs import unnested
from measurements.slots.stretches import Stretch, columns_of_stretches, joined

# How far a battery's memory is carried on at a time, until nothing changes any more.
_ONWARD_MS = 192 * SLOT_MS
# About so many slots of appliances are computed at a time.
_ROWS_AT_ONCE = 100_000

_SLOTS = staging.StagingTable(
    "system_slot_staging",
    {
        "system_key": staging.INTEGER,
        "start": staging.INSTANT,
        **dict.fromkeys((*SUMMED, *LAST), staging.BIG),
        **dict.fromkeys(LAST_FLOATS, staging.DOUBLE),
        "seen_s": staging.INTEGER,
        "expected_s": staging.INTEGER,
        "flags": staging.MAYBE_SMALL,
    },
)
_NO_ENERGY = -1  # energies of appliances are never negative


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the batteries held at a stretch's two ends, as stored, and where the next slot is."""

    before: Held
    at_end: Held
    next_ms: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Computed:
    """`held` is what the batteries hold at the end of the last slot that any member tells of."""

    stretch: Stretch
    figures: Figures
    known: Bools
    held: Held


def compute_systems(
    stretches: Iterable[Stretch], membership: Membership
) -> tuple[list[Stretch], int]:
    """Compute these slots of systems anew, and what their batteries change from there on.

    Returns all stretches that were computed, and how many slots are new, changed or gone.
    """
    done: list[Stretch] = []
    written = 0
    waiting = joined(stretches)
    with connection.cursor() as cursor:
        while waiting:
            group, waiting = _next(waiting, membership)
            memories = _memories(cursor, group)
            rows = _read(cursor, group, membership)
            computed = [
                _of_stretch(stretch, columns, membership, memory.before)
                for stretch, columns, memory in zip(group, rows, memories, strict=True)
            ]
            carried, changed = carry_on(cursor, list(_shares_changed(computed, memories)))
            written += _write(cursor, computed) + changed
            done += [*group, *carried]
            waiting = joined([*waiting, *_following(computed, memories)])
    return joined(done), written


def _next(
    waiting: Sequence[Stretch], membership: Membership
) -> tuple[list[Stretch], list[Stretch]]:
    """The earliest of each system, as far as not too many rows belong to it; and the rest.

    One of a system at a time: what it leaves in the batteries, the next one goes on from.
    """
    group: list[Stretch] = []
    rest: list[Stretch] = []
    room = _ROWS_AT_ONCE
    for stretch in waiting:
        appliances = max(len(membership.keys_of(stretch.system_key)), 1)
        length = min(stretch.length, max(room // appliances, 0 if group else 1))
        if not length or (group and group[-1].system_key == stretch.system_key):
            rest.append(stretch)
            continue
        until_ms = stretch.from_ms + length * SLOT_MS
        group.append(Stretch(stretch.system_key, stretch.from_ms, until_ms))
        if until_ms < stretch.until_ms:
            rest.append(Stretch(stretch.system_key, until_ms, stretch.until_ms))
        room -= length * appliances
    return group, rest


def _following(computed: Sequence[_Computed], memories: Sequence[_Memory]) -> list[Stretch]:
    """Where later slots went on from another energy in the batteries than the one computed now."""
    return [
        Stretch(each.stretch.system_key, memory.next_ms, memory.next_ms + _ONWARD_MS)
        for each, memory in zip(computed, memories, strict=True)
        if memory.next_ms is not None and _stored(each.held) != _stored(memory.at_end)
    ]


def _shares_changed(computed: Sequence[_Computed], memories: Sequence[_Memory]) -> Iterator[Change]:
    """Where they went on from the same energy, but from another share of the grid in it."""
    for each, memory in zip(computed, memories, strict=True):
        if memory.next_ms is None or each.held is None or each.held == memory.at_end:
            continue
        if _stored(each.held) == _stored(memory.at_end):
            yield Change(each.stretch.system_key, memory.next_ms, each.held)


def _stored(held: Held) -> int | None:
    return None if held is None else held[0]


def _held(figures: Figures, known: Bools, before: Held) -> Held:
    """What the batteries held at the end of the last known slot, else what they did before."""
    rows = np.flatnonzero(known)
    return figures.held_at(rows[-1]) if len(rows) else before


def _of_stretch(
    stretch: Stretch, rows: Mapping[int, Mapping], membership: Membership, before: Held
) -> _Computed:
    """The figures of a stretch, and which of its slots any member tells of.

    Wherever an appliance comes or goes, a new balance begins.
    """
    figures, known = [], []
    for from_ms, until_ms, members in membership.spans(
        stretch.system_key, stretch.from_ms, stretch.until_ms
    ):
        span = Stretch(stretch.system_key, from_ms, until_ms)
        told = np.zeros(span.length, np.bool_)
        parts = [_part(span, member, rows[key], told) for key, member in members.items()]
        made = system_figures(parts, span.length, before=before)
        before = _held(made, told, before)
        figures.append(made)
        known.append(told)
    return _Computed(stretch, Figures.joined(figures), np.concatenate(known), before)


def _part(span: Stretch, member: Member, columns: Mapping[str, np.ndarray], told: Bools) -> Part:
    """One appliance's rows, laid out over all slots of the span; marks in `told` where some are."""
    begin, end = np.searchsorted(columns["start"], (span.from_ms, span.until_ms))
    index = (columns["start"][begin:end].astype(np.int64) - span.from_ms) // SLOT_MS
    told[index] = True

    def spread(name: str, empty, dtype) -> np.ndarray:
        column = np.full(span.length, empty, dtype)
        column[index] = columns[name][begin:end]
        return column

    def energy(name: str) -> Amounts:
        values = spread(name, _NO_ENERGY, np.int64)
        return Amounts.of(values, values != _NO_ENERGY)

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
    )


_READ = {
    "start": "start",
    "import_mwh": f"COALESCE(import_mwh, {_NO_ENERGY})",
    "export_mwh": f"COALESCE(export_mwh, {_NO_ENERGY})",
    "soc": "COALESCE(soc, 'NaN')",
    "stored_wh": "COALESCE(stored_wh, 'NaN')",
    "imported_wh": "COALESCE(imported_wh, 'NaN')",
    "exported_wh": "COALESCE(exported_wh, 'NaN')",
    "seen_s": "seen_s",
    "flags": "flags",
}
# One row of arrays for each appliance and stretch, in their order, which a nested loop keeps.
_SLOTS_OF_STRETCHES = f"""
SELECT slots.*
FROM {unnested("system_key", "appliance_key", instants=("from_at", "until_at"))} AS stretch
CROSS JOIN LATERAL (
    SELECT ARRAY[stretch.number], {", ".join(f"array_agg({sql})" for sql in _READ.values())}
    FROM (
        SELECT * FROM measurements_applianceslot AS slot
        WHERE slot.system_key = stretch.system_key AND slot.appliance_key = stretch.appliance_key
            AND slot.start >= stretch.from_at AND slot.start < stretch.until_at
        ORDER BY start
    ) AS ordered
) AS slots
"""  # noqa: S608 - put together from this module's own names


def _read(
    cursor, stretches: Sequence[Stretch], membership: Membership
) -> list[dict[int, dict[str, np.ndarray]]]:
    """For each stretch the columns of its appliances' slots, by the appliances' keys."""
    wanted = [
        (number, key)
        for number, stretch in enumerate(stretches)
        for key in membership.keys_of(stretch.system_key)
    ]
    arguments = [
        [stretches[number].system_key for number, _key in wanted],
        [key for _number, key in wanted],
        [stretches[number].from_ms for number, _key in wanted],
        [stretches[number].until_ms for number, _key in wanted],
    ]
    found: list[dict[int, dict[str, np.ndarray]]] = [{} for _stretch in stretches]
    with closing(extract(cursor, _SLOTS_OF_STRETCHES, arguments)) as rows:
        for row, ((number, key), (given, *columns)) in enumerate(zip(wanted, rows, strict=True)):
            if given != row + 1:
                raise RuntimeError(f"Row {row + 1} of the slots came as {given}")
            found[number][key] = dict(zip(_READ, columns, strict=True))
    return found


_MEMORIES = f"""
SELECT (SELECT ARRAY[stored_mwh, stored_from_grid_mwh] FROM measurements_systemslot AS slot
        WHERE slot.system_key = stretch.system_key AND slot.start < from_at
        ORDER BY slot.start DESC LIMIT 1),
    (SELECT ARRAY[stored_mwh, stored_from_grid_mwh] FROM measurements_systemslot AS slot
        WHERE slot.system_key = stretch.system_key AND slot.start < until_at
        ORDER BY slot.start DESC LIMIT 1),
    (SELECT (extract(epoch FROM min(start)) * 1000)::bigint FROM measurements_systemslot AS slot
        WHERE slot.system_key = stretch.system_key AND slot.start >= until_at)
FROM {unnested("system_key", instants=("from_at", "until_at"))} AS stretch ORDER BY number
"""  # noqa: S608 - put together from this module's own names


def _memories(cursor, stretches: Sequence[Stretch]) -> list[_Memory]:
    cursor.execute(_MEMORIES, columns_of_stretches(stretches))
    return [
        _Memory(
            None if before is None or before[0] is None else tuple(before),
            None if at_end is None or at_end[0] is None else tuple(at_end),
            next_ms,
        )
        for before, at_end, next_ms in cursor.fetchall()
    ]


def _write(cursor, computed: Sequence[_Computed]) -> int:
    """Put the figures of known slots in place of what was stored; returns how many changed."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _SLOTS.columns}
    for each in computed:
        stretch, known = each.stretch, each.known
        columns["system_key"].append(np.full(int(known.sum()), stretch.system_key))
        columns["start"].append((stretch.from_ms + SLOT_MS * np.arange(stretch.length))[known])
        for name in COLUMNS:
            columns[name].append(_column(each.figures, name)[known])
    _SLOTS.prepare(cursor)
    _SLOTS.copy(cursor, {name: np.concatenate(parts) for name, parts in columns.items()})
    cursor.execute(_REPLACE, columns_of_stretches([each.stretch for each in computed]))
    (changed,) = cursor.fetchone()
    return changed


def _column(figures: Figures, name: str) -> np.ndarray:
    if name in figures.amounts:
        amounts = figures.amounts[name]
        return np.where(amounts.present, amounts.values, staging.NO_BIG)
    return getattr(figures, name)


_REPLACE = f"""
WITH gone AS (
    DELETE FROM measurements_systemslot AS slot
    USING {unnested("system_key", instants=("from_at", "until_at"))} AS stretch
    WHERE slot.system_key = stretch.system_key
        AND slot.start >= stretch.from_at AND slot.start < stretch.until_at
        AND NOT EXISTS (SELECT FROM {_SLOTS.name} AS new
            WHERE new.system_key = slot.system_key AND new.start = slot.start)
    RETURNING 1
), stored AS (
    INSERT INTO measurements_systemslot AS slot ({", ".join(_SLOTS.columns)})
    SELECT {", ".join(_SLOTS.value(name) for name in _SLOTS.columns)} FROM {_SLOTS.name}
    ON CONFLICT (system_key, start) DO UPDATE
    SET {", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)}
    WHERE ({", ".join(f"slot.{name}" for name in COLUMNS)})
        IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in COLUMNS)})
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM stored)
"""  # noqa: S608 - put together from this module's own names
