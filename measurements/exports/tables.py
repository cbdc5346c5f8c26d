"""History and readings as tables of any length, some rows at a time: what a file holds.

The figures are those of the pages and the API: energies in Wh, exact to the mWh, levels and
counters those of the end of a span. Of a span of which nothing is known there is a row with nothing
but its bounds, so that a gap shows; spans that have not begun are left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from zoneinfo import ZoneInfo

import numpy as np
from django.db.models import QuerySet

from accounts.paging import parts_by_key
from inventory.kinds import Plug
from inventory.models import Appliance, Cluster, System, SystemPool
from measurements.amounts import Floats, Ints, floats_to_list
from measurements.clusters import appliances_within, past_of_cluster
from measurements.coverage import device_shares, seconds_to_see, seen_shares
from measurements.evidence import appliances_of
from measurements.figures import COLUMNS, QUALITY, SUMMED, Figures, rate_columns
from measurements.flags import names_of
from measurements.history import past_of_appliance, past_of_system
from measurements.models import Reading
from measurements.partitions import existing_weeks, week_start
from measurements.pools import past_of_pool
from measurements.queries import stored_readings
from measurements.resolutions import Resolution, Span, each_period
from measurements.wire.readings import COLUMNS as RAW_COLUMNS
from measurements.wire.readings import power_w_of

Subject = System | Cluster | SystemPool | Appliance
# Single readings, beside the resolutions.
RAW = "raw"
# At what there are tables of everything; the finest first.
RESOLUTIONS = (RAW, *map(str, Resolution))
# One list for each column, all of the same length; None is what is not known.
Piece = Sequence[list]

# Spans are read so many at a time: some days of slots, or whole years.
_SPANS = {Resolution.QUARTER: 960, Resolution.HOUR: 240}
_SPANS_OF_DAYS = 366
READINGS_AT_ONCE = 4000
_SYSTEMS_AT_ONCE = 200


class Kind(StrEnum):
    """What a column holds. Instants are UTC; local ones are texts, with their offset."""

    TEXT = "text"
    INSTANT = "instant"
    NUMBER = "number"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; its name ends with its unit."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and their rows in pieces that are read when they are asked for.

    `count_rows(most)` says how many rows there will be, and may stop counting above `most`.
    """

    columns: Sequence[Column]
    pieces: Iterator[Piece]
    count_rows: Callable[[int], int]


def table_of(subject: Subject, span: Span, resolution: str, *, now: datetime) -> Table:
    """What was measured of it, at one of `RESOLUTIONS`."""
    if resolution == RAW:
        return readings_table(subject, span)
    return history_table(subject, span, Resolution(resolution), now=now)


def history_table(subject: Subject, span: Span, resolution: Resolution, *, now: datetime) -> Table:
    """What flowed, span by span, in the subject's time zone."""
    read, columns = _HISTORIES[type(subject)](subject, now)
    zone = subject.zone
    until_at = min(span.until_at, now)

    def spans() -> Iterator[Span]:
        return each_period(span.from_at, until_at, resolution, zone)

    def pieces() -> Iterator[Piece]:
        rest = spans()
        while some := list(islice(rest, _SPANS.get(resolution, _SPANS_OF_DAYS))):
            told = _bounds(subject.name, some, zone) | read(some, resolution)
            yield [told[column.name] for column in every]

    every = [*_BOUNDS, *columns]
    return Table(every, pieces(), lambda most: sum(1 for _ in islice(spans(), most + 1)))


def readings_table(subject: Subject, span: Span) -> Table:
    """What gateways read, as they told it, appliance by appliance in order of time; power is
    positive into the appliance.

    Where a reading tells the energies of an interval and no power, `power_w` is their mean.
    """
    naming, members = _READ_OF[type(subject)](subject)
    zone = subject.zone

    def pieces() -> Iterator[Piece]:
        weeks = _weeks_within(span)
        for member in members():
            # Between appliances of which nothing was read, who asks for pieces can stop.
            yield _readings(member.names, (), zone)
            # Week by week: the database plans for one partition at a time.
            for week in weeks:
                rows = member.readings(week).values(*RAW_COLUMNS, "delay_s")
                for some in parts_by_key(rows, "at", size=READINGS_AT_ONCE):
                    yield _readings(member.names, some, zone)

    def count_rows(most: int) -> int:
        count = 0
        for member in members():
            count += member.readings(span)[: most + 1 - count].count()
            if count > most:
                break
        return count

    columns = [*(Column(name, Kind.TEXT) for name in naming), *_READ_AT]
    return Table([*columns, *(_column(name) for name in _QUANTITIES)], pieces(), count_rows)


# Columns -----------------------------------------------------------------------------------------

_BOUNDS = (
    Column("name", Kind.TEXT),
    Column("from", Kind.TEXT),
    Column("until", Kind.TEXT),
    Column("from_utc", Kind.INSTANT),
    Column("until_utc", Kind.INSTANT),
)
_READ_AT = (Column("at", Kind.TEXT), Column("at_utc", Kind.INSTANT))
_QUANTITIES = (*RAW_COLUMNS[1:], "delay_s")
_RATES = (
    "self_consumption_wh",
    "direct_consumption_wh",
    "self_supply_wh",
    "self_sufficiency_rate",
    "self_consumption_rate",
    "direct_consumption_rate",
)
_COUNTED = ("seen_s", "expected_s")
_TEXTS = ("flags", "plug_state")
_COUNTS = (*_COUNTED, "systems_seen", "systems", "interval_s", "delay_s")
# These go on from slot to slot, so they are not a cluster's, of which one part is read at a time.
_CARRIED = ("grid_via_battery_mwh", "stored_mwh", "stored_from_grid_mwh")


def _column(name: str) -> Column:
    if name in _TEXTS:
        return Column(name, Kind.TEXT)
    return Column(name, Kind.COUNT if name in _COUNTS else Kind.NUMBER)


def _columns(energies: Sequence[str], *others: str) -> list[Column]:
    names = [_in_wh(name) for name in energies if name not in QUALITY]
    return [_column(name) for name in (*names, *others)]


def _in_wh(name: str) -> str:
    return name.replace("_mwh", "_wh")


# What there is to read ---------------------------------------------------------------------------


def _of_system(system: System, now: datetime):
    def read(spans: Sequence[Span], resolution: Resolution) -> dict[str, list]:
        past = past_of_system(system=system, **_asked(spans, resolution))
        to_see_s = seconds_to_see(spans, systems=[system.key], now=now)
        told = _figures(past.figures) | {"measured_share": seen_shares(past, to_see_s)}
        return _spread(told, past.known, len(spans))

    return read, _columns(COLUMNS, *_RATES, "measured_share", *_COUNTED, "flags")


def _of_cluster(cluster: Cluster, now: datetime):
    keys = {one.key for one in appliances_within(cluster)}

    def read(spans: Sequence[Span], resolution: Resolution) -> dict[str, list]:
        past = past_of_cluster(cluster=cluster, **_asked(spans, resolution))
        systems = [cluster.system.key]
        to_see_s = seconds_to_see(spans, systems=systems, appliances=keys, now=now)
        told = _figures(past.figures) | {"measured_share": seen_shares(past, to_see_s)}
        return _spread(told, past.known, len(spans))

    energies = [name for name in COLUMNS if name not in _CARRIED]
    columns = _columns(energies, *_RATES, "measured_share", *_COUNTED, "flags")
    return read, columns


def _of_pool(pool: SystemPool, now: datetime):
    columns = (*SUMMED, *QUALITY)
    systems = pool.systems.values_list("key", flat=True)

    def read(spans: Sequence[Span], resolution: Resolution) -> dict[str, list]:
        found = past_of_pool(pool=pool, columns=columns, **_asked(spans, resolution))
        to_see_s = seconds_to_see(spans, systems=systems, now=now)
        told = _figures(found.past.figures) | {
            "systems_seen": found.seen.tolist(),
            "systems": [found.systems] * len(found.seen),
            "measured_share": seen_shares(found.past, to_see_s),
        }
        return _spread(told, found.past.known, len(spans))

    counts = ("systems_seen", "systems", "measured_share", *_COUNTED)
    return read, _columns(SUMMED, *_RATES, *counts, "flags")


def _of_appliance(appliance: Appliance, now: datetime):
    def read(spans: Sequence[Span], resolution: Resolution) -> dict[str, list]:
        past = past_of_appliance(appliance=appliance, **_asked(spans, resolution))
        told = _listed(past.columns) | {
            "measured_share": device_shares(past, spans, system=appliance.system.key, now=now),
            "seen_s": past.columns["seen_s"].astype(np.int64).tolist(),
            "flags": _flags(past.columns["flags"].astype(np.int64)),
        }
        return _spread(told, past.known, len(spans))

    energies = ("import_mwh", "export_mwh", "imported_wh", "exported_wh", "min_w", "max_w")
    levels = ("soc", "stored_wh", "temperature_c")
    columns = _columns(energies, *levels, "measured_share", "seen_s", "flags")
    return read, columns


_HISTORIES = {
    System: _of_system,
    Cluster: _of_cluster,
    SystemPool: _of_pool,
    Appliance: _of_appliance,
}


# Whose readings there are ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Member:
    """An appliance in a system, and what each row of its readings says of whose they are."""

    system: System
    appliance: Appliance
    names: tuple[str | None, ...]

    def readings(self, span: Span) -> QuerySet[Reading]:
        return stored_readings(self.system, self.appliance, span)


# How the columns are called that say whose reading it is.
_OF_ONE = ("name",)
_OF_MANY = ("appliance", "appliance_id", "kind")
_OF_SYSTEMS = ("system", "system_id", *_OF_MANY)


def _read_of_appliance(appliance: Appliance):
    member = _Member(appliance.system, appliance, (appliance.name,))
    return _OF_ONE, lambda: [member]


def _read_of_system(system: System):
    return _OF_MANY, lambda: _members(system, appliances_of(system).order_by("key"))


def _read_of_cluster(cluster: Cluster):
    return _OF_MANY, lambda: _members(cluster.system, appliances_within(cluster))


def _read_of_pool(pool: SystemPool):
    def members() -> Iterator[_Member]:
        for some in parts_by_key(pool.systems.all(), "key", size=_SYSTEMS_AT_ONCE):
            for system in some:
                names = (system.name, str(system.pk))
                yield from _members(system, appliances_of(system).order_by("key"), names)

    return _OF_SYSTEMS, members


def _members(
    system: System, appliances: Iterable[Appliance], names: tuple[str, ...] = ()
) -> Iterator[_Member]:
    for one in appliances:
        # The name of one that is somewhere else by now is theirs.
        name = one.name if one.system_id == system.pk else None
        yield _Member(system, one, (*names, name, str(one.pk), one.kind))


_READ_OF = {
    System: _read_of_system,
    Cluster: _read_of_cluster,
    SystemPool: _read_of_pool,
    Appliance: _read_of_appliance,
}


def _weeks_within(span: Span) -> list[Span]:
    """What lies in a span of each week that has readings, in order."""
    weeks = (Span(week_start(week), week_start(week + 1)) for week, _name in existing_weeks())
    return [
        Span(max(week.from_at, span.from_at), min(week.until_at, span.until_at))
        for week in weeks
        if week.from_at < span.until_at and week.until_at > span.from_at
    ]


# Rows --------------------------------------------------------------------------------------------


def _asked(spans: Sequence[Span], resolution: Resolution) -> dict:
    return {
        "from_at": spans[0].from_at,
        "until_at": spans[-1].until_at,
        "resolution": resolution,
    }


def _bounds(name: str, spans: Sequence[Span], zone: ZoneInfo) -> dict[str, list]:
    return {
        "name": [name] * len(spans),
        "from": [_local(span.from_at, zone) for span in spans],
        "until": [_local(span.until_at, zone) for span in spans],
        "from_utc": [span.from_at for span in spans],
        "until_utc": [span.until_at for span in spans],
    }


def _figures(figures: Figures) -> dict[str, list]:
    floats = figures.floats()
    return _listed(floats | rate_columns(floats)) | {
        "seen_s": figures.seen_s.tolist(),
        "expected_s": figures.expected_s.tolist(),
        "flags": _flags(figures.flags),
    }


def _listed(columns: Mapping[str, Floats]) -> dict[str, list]:
    """Columns of floats as lists; mWh are divided, as 1656 / 1000 is 1.656 and times 0.001 not."""
    return {
        _in_wh(name): floats_to_list(column / 1000 if name.endswith("_mwh") else column)
        for name, column in columns.items()
    }


def _flags(flags: Ints) -> list[str]:
    """What is to know about each figure: "estimated recovered"."""
    words = {bits: " ".join(names_of(bits)).lower() for bits in np.unique(flags).tolist()}
    return [words[bits] for bits in flags.tolist()]


def _spread(told: Mapping[str, list], known: Ints, length: int) -> dict[str, list]:
    """The columns of the spans known as columns of all spans, None where nothing is known."""
    if len(known) == length:
        return dict(told)
    places = known.tolist()
    spread = {name: [None] * length for name in told}
    for name, column in told.items():
        for place, value in zip(places, column, strict=True):
            spread[name][place] = value
    return spread


def _readings(names: Sequence[str | None], rows: Sequence[Mapping], zone: ZoneInfo) -> Piece:
    told = {quantity: [row[quantity] for row in rows] for quantity in _QUANTITIES}
    told["power_w"] = [power_w_of(row) for row in rows]
    told["plug_state"] = [
        None if state is None else Plug(state).name.lower() for state in told["plug_state"]
    ]
    return [
        *([name] * len(rows) for name in names),
        [_local(row["at"], zone) for row in rows],
        [row["at"] for row in rows],
        *told.values(),
    ]


def _local(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat()
