"""What flowed in a system, span by span: read as columns, summed in memory.

The spans are the whole periods of a calendar that cover what was asked for, those of the future
included; `known` says of which of them there are figures. Energies are integers in mWh, so a sum
of days is to the last mWh the sum of their quarters.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db.models import Model

from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from measurements.amounts import Bools, Floats, Ints
from measurements.figures import COLUMNS, FLAGGED, Figures, last_floats, sum_figures
from measurements.flags import flagged_seconds
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.numbers import columns_of, fetch, numbers
from measurements.resolutions import SLOT_S, Resolution, Span, periods

# Which table holds the rows that a resolution's figures are the sum of. Its hours are those of UTC.
_SYSTEM_TABLES: dict[Resolution, type[Model]] = {
    Resolution.QUARTER: SystemSlot,
    Resolution.HOUR: SystemHour,
    Resolution.DAY: SystemDay,
    Resolution.WEEK: SystemDay,
    Resolution.MONTH: SystemMonth,
    Resolution.YEAR: SystemMonth,
}
_OF_APPLIANCES: dict[type[Model], type[Model]] = {
    SystemSlot: ApplianceSlot,
    SystemHour: ApplianceHour,
    SystemDay: ApplianceDay,
    SystemMonth: ApplianceDay,
}
# What slots have no columns of, as it follows from their flags.
_FLAGGED_OF_SLOTS: dict[type[Model], dict[str, str]] = {
    SystemSlot: flagged_seconds("expected_s"),
    ApplianceSlot: flagged_seconds(f"{SLOT_S}"),
}


def columns_from(table: type[Model], names: Iterable[str]) -> dict[str, str]:
    """SQL of these columns of a table's rows, `FLAGGED` included."""
    follow = _FLAGGED_OF_SLOTS.get(table, {})
    return {name: follow.get(name, name) for name in names}


def system_table(resolution: Resolution, spans: Sequence[Span]) -> type[Model]:
    """Which table holds the rows of systems that the figures of these spans are the sum of.

    Hours of a clock that is not whole hours from UTC are made of slots.
    """
    if resolution is Resolution.HOUR and not of_whole_hours(spans):
        return SystemSlot
    return _SYSTEM_TABLES[resolution]


def appliance_table(resolution: Resolution, spans: Sequence[Span]) -> type[Model]:
    """The same for the rows of appliances."""
    return _OF_APPLIANCES[system_table(resolution, spans)]


def of_whole_hours(spans: Sequence[Span]) -> bool:
    """Whether consecutive spans, at least one, are all made of whole hours of UTC."""
    return not any(span.from_at.minute for span in spans) and not spans[-1].until_at.minute


class Device(NamedTuple):
    """What there is to know of an appliance beside its figures."""

    key: int
    id: UUID
    kind: str
    capacity_wh: float | None


class Battery(NamedTuple):
    """What a battery can hold, and from when (the first row read of it) until when (the end of a
    slot) it was in a system, as in its balance; in seconds since the epoch."""

    capacity_wh: float | None
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True, eq=False)
class DevicePast:
    """One appliance: for the spans `known` (their indexes) the columns that were asked for, of
    `APPLIANCE_COLUMNS`, NaN where absent: energies in mWh, `soc` in 0–1 and counters in Wh at the
    span's end."""

    appliance: Device
    known: Ints
    columns: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Consecutive spans, the figures of those `known` (their indexes), and all of them together.

    `total` has one row; none where nothing is known of any span. `batteries` are those that were
    ever there, where batteries were asked for.
    """

    spans: Sequence[Span]
    known: Ints
    figures: Figures
    total: Figures
    devices: Sequence[DevicePast] = ()
    batteries: Sequence[Battery] = ()


DEVICE_ENERGIES = ("import_mwh", "export_mwh")
DEVICE_LEVELS = ("soc", "stored_wh", "temperature_c", "imported_wh")
DEVICE_COLUMNS = (*DEVICE_ENERGIES, *DEVICE_LEVELS)
# Those that say how much of them was seen, and what there is to know of them.
DEVICE_QUALITY = ("seen_s", "flags")
APPLIANCE_COLUMNS = (*DEVICE_COLUMNS, "exported_wh", "min_w", "max_w", *DEVICE_QUALITY)


def past_of_system(
    *,
    system: System,
    from_at: datetime,
    until_at: datetime,
    resolution: Resolution,
    columns: Collection[str] = (*COLUMNS, *FLAGGED),
    kinds: Collection[str] = (),
    device_columns: Sequence[str] = DEVICE_COLUMNS,
) -> Past:
    """The figures of a system, span by span, in its own time zone.

    `columns` are those of the figures that are wanted, `kinds` those of the appliances that are
    wanted one by one, with their `device_columns`: no other is read. Without any of these, no rows
    of appliances are: what there is of them is who was there. History stays with the system where
    it was measured, so an appliance that has moved on is found where its rows are.
    """
    spans = periods(from_at, until_at, resolution, system.zone)
    if not spans:
        return empty_past(spans)
    (*_of_system, sent), *of_appliances = fetch(
        _history(
            system_table(resolution, spans),
            tuple(columns),
            tuple(device_columns) if kinds else None,
        ),
        {
            "system": system.key,
            "system_id": system.pk,
            "kinds": list(kinds),
            "from_at": spans[0].from_at,
            "until_at": spans[-1].until_at,
        },
        prepared=True,
    )
    starts, *rows = columns_of(sent, 1 + len(columns))
    return past_of(
        spans,
        starts,
        Figures.of_floats(dict(zip(columns, rows, strict=True))),
        [
            (Device(*appliance), columns_of(sent, 1 + len(device_columns)))
            for *appliance, _from_s, _until_s, sent in of_appliances
        ],
        device_columns=device_columns,
        batteries=[
            Battery(capacity_wh, from_s, until_s)
            for _key, _id, kind, capacity_wh, from_s, until_s, _sent in of_appliances
            if kind == ApplianceKind.BATTERY
        ],
    )


def past_of_appliance(
    *, appliance: Appliance, from_at: datetime, until_at: datetime, resolution: Resolution
) -> DevicePast:
    """What flowed in an appliance while it was in the system where it is now, until it was removed,
    span by span (those of `periods`), in the system's time zone: the columns of
    `APPLIANCE_COLUMNS`."""
    system = appliance.system
    spans = periods(from_at, until_at, resolution, system.zone)
    measured = Device(appliance.key, appliance.pk, appliance.kind, appliance.capacity_wh)
    sent = None
    if spans:
        ends = (spans[-1].until_at, appliance.removed_at)
        ((sent,),) = fetch(
            _appliance_history(appliance_table(resolution, spans)),
            {
                "system": system.key,
                "appliance": appliance.key,
                "from_at": spans[0].from_at,
                "until_at": min(end for end in ends if end is not None),
            },
            prepared=True,
        )
    starts, *columns = columns_of(sent, 1 + len(APPLIANCE_COLUMNS))
    return device_of(measured, starts, columns, bounds_of(spans), names=APPLIANCE_COLUMNS)


def past_of(
    spans: Sequence[Span],
    starts: Floats,
    figures: Figures,
    appliances: Iterable[tuple[Device, Floats]] = (),
    *,
    device_columns: Sequence[str] = DEVICE_COLUMNS,
    batteries: Sequence[Battery] = (),
) -> Past:
    """The past that rows of figures tell, which begin at `starts` (seconds since the epoch), and
    those of single appliances: where they begin, and their columns of these names."""
    bounds = bounds_of(spans)
    firsts, known = groups(starts, bounds)
    every = np.zeros(min(len(starts), 1), np.int64)
    return Past(
        spans=spans,
        known=known,
        figures=figures if len(firsts) == len(starts) else sum_figures(figures, firsts),
        total=sum_figures(figures, every),
        devices=[
            device_of(appliance, columns[0], columns[1:], bounds, names=device_columns)
            for appliance, columns in appliances
            if len(columns[0])
        ],
        batteries=batteries,
    )


def empty_past(spans: Sequence[Span]) -> Past:
    """Spans of which nothing is known."""
    nothing = Figures.of_floats(dict.fromkeys(COLUMNS, np.zeros(0)))
    return Past(spans, np.zeros(0, np.int64), nothing, nothing)


def bounds_of(spans: Sequence[Span]) -> Floats:
    """Where spans begin, in seconds since the epoch."""
    return np.array([span.from_at.timestamp() for span in spans])


START = "date_part('epoch', start)"
# The first row has the system's columns, each other one those of an appliance. The appliances are
# found by hops along the primary key, which tell where their rows begin: whoever was measured in
# the system, wherever it is now. Each counts until it was removed, or moved on, as in its system's
# balance: slots after its removal are left out.
_HISTORY = """
SELECT NULL::int, NULL::uuid, NULL::text, NULL::float8, NULL::float8, NULL::float8, (
    SELECT {figures} FROM {table}
    WHERE system_key = %(system)s AND start >= %(from_at)s AND start < %(until_at)s
)
"""
_APPLIANCES = """
UNION ALL (
    WITH RECURSIVE measured AS (
        (SELECT appliance_key AS key, start FROM {table} WHERE system_key = %(system)s
            ORDER BY appliance_key, start LIMIT 1)
        UNION ALL
        SELECT next.* FROM measured CROSS JOIN LATERAL (
            SELECT appliance_key, start FROM {table}
            WHERE system_key = %(system)s AND appliance_key > measured.key
            ORDER BY appliance_key, start LIMIT 1
        ) AS next
    )
    SELECT appliance.key, appliance.id, appliance.kind, appliance.capacity_wh,
        date_part('epoch', measured.start),
        coalesce(ceil(date_part('epoch', LEAST(appliance.removed_at, CASE
            WHEN appliance.system_id <> %(system_id)s THEN (
                SELECT max(start) + interval '{slot_s} s' FROM measurements_applianceslot
                WHERE system_key = %(system)s AND appliance_key = measured.key
            ) END)) / {slot_s}) * {slot_s}, 'Infinity'),
        {rows}
    FROM measured CROSS JOIN LATERAL (
        SELECT key, id, kind, capacity_wh, removed_at, system_id FROM inventory_appliance
        WHERE key = measured.key AND kind = ANY(%(kinds)s)
        OFFSET 0 -- by the index, however many appliances there are in all
    ) AS appliance
    ORDER BY appliance.key
)
"""
_ROWS = """(
    SELECT {figures} FROM {table}
    WHERE system_key = %(system)s AND appliance_key = measured.key
        AND start >= %(from_at)s AND start < %(until_at)s
        AND (start < appliance.removed_at) IS NOT FALSE
)"""


@cache
def _history(
    table: type[Model], columns: tuple[str, ...], device_columns: tuple[str, ...] | None
) -> str:
    """Without columns of appliances none of their rows is read, with None no appliance either."""
    query = _HISTORY.format(
        figures=numbers([START, *columns_from(table, columns).values()], order="start"),
        table=table._meta.db_table,
    )
    if device_columns is None:
        return query
    of_appliances = _OF_APPLIANCES[table]._meta.db_table
    rows = "NULL"
    if device_columns:
        figures = numbers([START, *device_columns], order="start")
        rows = _ROWS.format(figures=figures, table=of_appliances)
    return query + _APPLIANCES.format(rows=rows, table=of_appliances, slot_s=SLOT_S)


@cache
def _appliance_history(table: type[Model]) -> str:
    return f"""
        SELECT {numbers([START, *APPLIANCE_COLUMNS], order="start")}
        FROM {table._meta.db_table}
        WHERE system_key = %(system)s AND appliance_key = %(appliance)s
            AND start >= %(from_at)s AND start < %(until_at)s
    """  # noqa: S608 - names of our own


def groups(starts: Floats, bounds: Floats) -> tuple[Ints, Ints]:
    """The first row of each span that has rows, and which span it is; rows in order of time."""
    which = np.searchsorted(bounds, starts, side="right") - 1
    firsts = np.flatnonzero(np.diff(which, prepend=-1))
    return firsts, which[firsts]


def device_of(
    appliance: Device,
    starts: Floats,
    columns: Sequence[Floats],
    bounds: Floats,
    *,
    names: Sequence[str],
) -> DevicePast:
    """The past of one appliance, of whose rows the columns are those of these names."""
    firsts, known = groups(starts, bounds)
    by_name = dict(zip(names, columns, strict=True))
    if len(firsts) < len(starts):
        by_name = {
            name: _TOGETHER.get(name, last_floats)(column, firsts)
            for name, column in by_name.items()
        }
    return DevicePast(appliance, known, by_name)


def _sum(column: Floats, firsts: Ints) -> Floats:
    """The sums of groups of rows; what is absent in all of a group stays absent."""
    present: Bools = ~np.isnan(column)
    sums = np.add.reduceat(np.where(present, column, 0), firsts)
    return np.where(np.logical_or.reduceat(present, firsts), sums, np.nan)


def _union(column: Floats, firsts: Ints) -> Floats:
    """The flags of groups of rows."""
    return np.bitwise_or.reduceat(column.astype(np.int64), firsts).astype(np.float64)


# What groups of rows are together; of all else the last one holds.
_TOGETHER = {
    **dict.fromkeys((*DEVICE_ENERGIES, "seen_s"), _sum),
    "min_w": np.fmin.reduceat,
    "max_w": np.fmax.reduceat,
    "flags": _union,
}
