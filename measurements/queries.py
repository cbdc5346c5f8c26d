"""Reads of live values and of history; they never scan raw readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby

import numpy as np
from django.db import connection
from django.db.models import Model

from inventory.kinds import ROLES, ApplianceKind
from inventory.models import Appliance, System
from measurements.figures import COLUMNS, Figures, rates_of, sum_figures
from measurements.flows import live_figures as flows_of
from measurements.models import (
    ApplianceDay,
    ApplianceSlot,
    LatestReading,
    SystemDay,
    SystemMonth,
    SystemSlot,
)
from measurements.resolutions import Resolution, Span, periods, slot_start

# A reading older than this many of its intervals, but never younger than the shortest, is stale.
STALE_INTERVALS = 3
STALE_AT_LEAST = timedelta(minutes=2)

Row = Mapping[str, int | float | None]

# Which table holds the slots that a resolution's figures are the sum of. Energies are integers,
# so a sum of days is to the last mWh the sum of their quarters.
_TABLES: dict[Resolution, tuple[type[Model], type[Model]]] = {
    Resolution.QUARTER: (SystemSlot, ApplianceSlot),
    Resolution.HOUR: (SystemSlot, ApplianceSlot),
    Resolution.DAY: (SystemDay, ApplianceDay),
    Resolution.WEEK: (SystemDay, ApplianceDay),
    Resolution.MONTH: (SystemMonth, ApplianceDay),
    Resolution.YEAR: (SystemMonth, ApplianceDay),
}


@dataclass(frozen=True, slots=True)
class AppliancePeriod:
    """One appliance over one span: energies in mWh, powers in W, `soc` in 0–1 at its end."""

    appliance: Appliance
    import_mwh: int | None
    export_mwh: int | None
    soc: float | None
    stored_wh: float | None
    temperature_c: float | None
    imported_wh: float | None
    exported_wh: float | None


@dataclass(frozen=True, slots=True)
class Period:
    """A span of history. `figures` has the names of `measurements.figures.COLUMNS` and the rates;
    None where nothing is known of the span, as in the future."""

    start: datetime
    until: datetime
    figures: Row | None
    appliances: Sequence[AppliancePeriod] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Consecutive spans, and all of them together (None where nothing is known of any)."""

    periods: Sequence[Period]
    total: Row | None


@dataclass(frozen=True, slots=True)
class ApplianceNow:
    """An appliance and its newest reading; a stale one shows its age but counts no more.

    An appliance that tells its power is stale when its latest power is old, any other when
    nothing of it is new.
    """

    appliance: Appliance
    reading: LatestReading | None
    is_stale: bool

    @property
    def power_w(self) -> float | None:
        """Positive into the appliance; None where there is no fresh reading."""
        return None if self.reading is None or self.is_stale else self.reading.power_w

    @property
    def soc(self) -> float | None:
        """The state of charge in 0–1; None where there is no fresh reading."""
        return None if self.reading is None or self.is_stale else self.reading.soc


@dataclass(frozen=True, slots=True)
class Live:
    """A system at this instant: `figures` by the names of `flows` with `_w`, and the rates."""

    measured_at: datetime | None
    figures: Row
    appliances: Sequence[ApplianceNow] = field(default_factory=tuple)

    @property
    def is_stale(self) -> bool:
        """Whether no appliance has a fresh reading."""
        return all(each.is_stale for each in self.appliances)

    def of_kind(self, *kinds: ApplianceKind) -> list[ApplianceNow]:
        return [each for each in self.appliances if each.appliance.kind in kinds]

    @property
    def soc(self) -> float | None:
        """The state of charge of all batteries together, by capacity where all are known."""
        known = [
            (each.soc, each.appliance.capacity_wh)
            for each in self.of_kind(ApplianceKind.BATTERY)
            if each.soc is not None
        ]
        if not known:
            return None
        by_capacity = all(capacity for _soc, capacity in known)
        weights = [capacity if by_capacity else 1.0 for _soc, capacity in known]
        charged = sum(soc * w for (soc, _capacity), w in zip(known, weights, strict=True))
        return charged / sum(weights)


def live_of_system(*, system: System, now: datetime) -> Live:
    """What flows in a system now, from the newest reading of each of its appliances."""
    return live_of_systems(systems=[system], now=now)[system.key]


def live_of_systems(*, systems: Sequence[System], now: datetime) -> dict[int, Live]:
    """The same for many systems in two statements, by the systems' keys."""
    keys = {system.pk: system.key for system in systems}
    readings = {
        (row.system_key, row.appliance_key): row
        for row in LatestReading.objects.filter(system_key__in=list(keys.values()))
    }
    rows = Appliance.objects.filter(system__in=list(keys), removed_at__isnull=True)
    found: dict[int, list[ApplianceNow]] = {key: [] for key in keys.values()}
    for appliance in rows.order_by("created_at", "key"):
        key = keys[appliance.system_id]
        reading = readings.get((key, appliance.key))
        found[key].append(ApplianceNow(appliance, reading, _is_stale(appliance, reading, now=now)))
    return {key: _live(appliances) for key, appliances in found.items()}


def _is_stale(appliance: Appliance, reading: LatestReading | None, *, now: datetime) -> bool:
    if reading is None:
        return True
    return now - (reading.power_at or reading.at) > stale_after(appliance.interval_s)


def stale_after(interval_s: int) -> timedelta:
    """From which age on a reading of an appliance that is read so often is stale."""
    return max(STALE_AT_LEAST, STALE_INTERVALS * timedelta(seconds=interval_s))


def last_flows(appliances: Sequence[ApplianceNow]) -> dict[str, float | None]:
    """The flows of the newest readings, stale ones included, by the names of `flows` with `_w`."""
    return _flows([(one, one.reading and one.reading.power_w) for one in appliances])


def _flows(powers: Sequence[tuple[ApplianceNow, float | None]]) -> dict[str, float | None]:
    return flows_of([(ROLES[ApplianceKind(one.appliance.kind)], w) for one, w in powers])


def _live(appliances: list[ApplianceNow]) -> Live:
    figures = _flows([(one, one.power_w) for one in appliances])
    newest = max((a.reading.at for a in appliances if a.reading is not None), default=None)
    return Live(newest, figures | rates_of(figures, suffix="_w"), tuple(appliances))


def history_of_system(
    *,
    system: System,
    from_at: datetime,
    until_at: datetime,
    resolution: Resolution,
    with_appliances: bool = False,
) -> History:
    """The figures of a system, span by span, in its own time zone.

    The spans are the whole ones that cover [from_at, until_at), those of the future included.
    """
    spans = periods(from_at, until_at, resolution, system.zone)
    if not spans:
        return History((), None)
    table, appliance_table = _TABLES[resolution]
    starts, figures = _figures(table, system, spans)
    rows = _rows(figures, _groups(starts, spans))
    parts = _appliance_periods(appliance_table, system, spans) if with_appliances else {}
    total = _rows(figures, [(0, 0)])[0] if len(figures) else None
    return History(
        [
            Period(span.from_at, span.until_at, rows.get(index), parts.get(index, ()))
            for index, span in enumerate(spans)
        ],
        total,
    )


def _figures(table: type[Model], system: System, spans: Sequence[Span]):
    """Starts and figures of the rows within the spans, in the order of time."""
    rows = (
        table.objects.filter(
            system_key=system.key, start__gte=spans[0].from_at, start__lt=spans[-1].until_at
        )
        .order_by("start")
        .values_list("start", *COLUMNS)
    )
    columns = list(zip(*rows, strict=True)) or [()] * (1 + len(COLUMNS))
    by_name = dict(zip(COLUMNS, columns[1:], strict=True))
    return columns[0], Figures.of_columns(by_name)


def _groups(starts: Sequence[datetime], spans: Sequence[Span]) -> list[tuple[int, int]]:
    """(index of the span, index of its first row) for each span that has rows."""
    bounds = np.array([span.from_at.timestamp() for span in spans])
    which = np.searchsorted(bounds, [start.timestamp() for start in starts], side="right") - 1
    return [
        (int(span), int(np.searchsorted(which, span)))
        for span, _rows_of_it in groupby(which.tolist())
    ]


def _rows(figures: Figures, groups: Sequence[tuple[int, int]]) -> dict[int, Row]:
    """One row of figures and rates for each group."""
    if not groups:
        return {}
    firsts = np.array([first for _span, first in groups], np.int64)
    summed = sum_figures(figures, firsts).rows()
    return {span: row | rates_of(row) for (span, _first), row in zip(groups, summed, strict=True)}


def counting_slots(history: History, *, system: System, now: datetime) -> History:
    """The same, and in each span's figures how many slots they are the sum of.

    `slots` counts all of them, `slots_over` those that are over by now. Sums alone do not tell
    what is missing: a slot of which nothing is known has no row, and so expects nothing.
    """
    known = [period for period in history.periods if period.figures is not None]
    counts = _count_slots(system, known, now)
    figures = {
        one.start: {**one.figures, **count} for one, count in zip(known, counts, strict=True)
    }
    return replace(
        history,
        periods=[replace(one, figures=figures.get(one.start)) for one in history.periods],
    )


def _count_slots(system: System, spans: Sequence[Period], now: datetime) -> list[dict[str, int]]:
    """Read from the index alone, so that a year costs little however wide its rows are."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (
                SELECT ARRAY[count(*), count(*) FILTER (WHERE start < %s)]
                FROM measurements_systemslot
                WHERE system_key = %s AND start >= from_at AND start < until_at
            )
            FROM unnest(%s::timestamptz[], %s::timestamptz[])
                WITH ORDINALITY AS span (from_at, until_at, number)
            ORDER BY number
            """,
            [
                slot_start(now),
                system.key,
                [span.start for span in spans],
                [span.until for span in spans],
            ],
        )
        return [{"slots": slots, "slots_over": over} for ((slots, over),) in cursor]


_APPLIANCE_COLUMNS = (
    "import_mwh",
    "export_mwh",
    "soc",
    "stored_wh",
    "temperature_c",
    "imported_wh",
    "exported_wh",
)


def _appliance_periods(
    table: type[Model], system: System, spans: Sequence[Span]
) -> dict[int, list[AppliancePeriod]]:
    """What each appliance took and gave in each span. History stays with the system where it was
    measured, so an appliance that has moved on is shown where its slots are."""
    rows = list(
        table.objects.filter(
            system_key=system.key, start__gte=spans[0].from_at, start__lt=spans[-1].until_at
        )
        .order_by("appliance_key", "start")
        .values_list("appliance_key", "start", *_APPLIANCE_COLUMNS)
    )
    appliances = Appliance.objects.in_bulk({row[0] for row in rows}, field_name="key")
    found: dict[int, list[AppliancePeriod]] = {}
    for key, group in groupby(rows, key=lambda row: row[0]):
        of_one = list(group)
        groups = _groups([row[1] for row in of_one], spans)
        ends = [first for _span, first in groups[1:]] + [len(of_one)]
        for (span, first), end in zip(groups, ends, strict=True):
            if key in appliances:
                found.setdefault(span, []).append(
                    _joined(appliances[key], [row[2:] for row in of_one[first:end]])
                )
    return found


def _joined(appliance: Appliance, rows: Sequence[tuple]) -> AppliancePeriod:
    """The sum of energies (absent only where all are), and the last of what is a level."""
    columns = list(zip(*rows, strict=True))
    energies = [
        None if all(value is None for value in column) else sum(value or 0 for value in column)
        for column in columns[:2]
    ]
    levels = [
        next((value for value in reversed(column) if value is not None), None)
        for column in columns[2:]
    ]
    return AppliancePeriod(appliance, *energies, *levels)
