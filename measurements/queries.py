"""Reads of live values and of history, which never scan raw readings; and of those themselves."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from inventory.kinds import METERS, ApplianceKind, role_of
from inventory.models import Appliance, System
from inventory.silence import beside_stale_after, stale_after
from measurements.amounts import Ints
from measurements.batches import INSTANTS
from measurements.coverage import seconds_to_see
from measurements.figures import rates_of, soc_of
from measurements.flows import live_figures_of_many
from measurements.history import Past, past_of_system
from measurements.models import LatestReading, Reading
from measurements.numbers import fetch
from measurements.resolutions import Resolution, Span

Row = Mapping[str, int | float | None]


@dataclass(frozen=True, slots=True)
class Period:
    """A span of history. `figures` has the names of `COLUMNS` and `FLAGGED` of
    `measurements.figures`, and the rates; None where nothing is known of the span, as in the
    future."""

    start: datetime
    until: datetime
    figures: Row | None


@dataclass(frozen=True, slots=True)
class History:
    """Consecutive spans, and all of them together (None where nothing is known of any)."""

    periods: Sequence[Period]
    total: Row | None


@dataclass(frozen=True, slots=True)
class ApplianceNow:
    """An appliance and its newest reading; a stale one shows its age but counts no more.

    An appliance that tells its power is stale when its latest power is old, any other when
    nothing of it is new. What was read long before is not in the reading: a battery whose power
    is read but whose state of charge is not is as full as nobody knows.
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

    @property
    def is_meter_old(self) -> bool:
        """Whether a meter of the grid or the household was read, but has no fresh reading."""
        return any(
            each.is_stale and each.reading is not None
            for each in self.appliances
            if role_of(each.appliance.kind) in METERS
        )

    def of_kind(self, *kinds: ApplianceKind) -> list[ApplianceNow]:
        return [each for each in self.appliances if each.appliance.kind in kinds]

    @property
    def soc(self) -> float | None:
        """The state of charge of all batteries together, by capacity where all are known."""
        return soc_of(
            [
                (each.soc, each.appliance.capacity_wh)
                for each in self.of_kind(ApplianceKind.BATTERY)
                if each.soc is not None
            ]
        )


def live_of_system(*, system: System, now: datetime) -> Live:
    """What flows in a system now, from the newest reading of each of its appliances."""
    return live_of_systems(systems=[system], now=now)[system.key]


def live_of_systems(*, systems: Sequence[System], now: datetime) -> dict[int, Live]:
    """The same for many systems, by their keys, in one statement too."""
    keys = [system.key for system in systems]
    found: dict[int, list[ApplianceNow]] = {key: [] for key in keys}
    for key, appliance in newest_readings("system.key = ANY(%s)", [keys], now=now):
        found[key].append(appliance)
    return dict(zip(found, _lives(list(found.values())), strict=True))


def newest_readings(
    condition: str, parameters: Sequence, *, now: datetime
) -> Iterator[tuple[int, ApplianceNow]]:
    """The appliances that a condition in SQL is true of, unless they are removed, each with the
    key of its system and its newest reading there; in one statement."""
    db = connection.alias
    for key, *row in fetch(_NEWEST.format(condition=condition), parameters):
        appliance = Appliance.from_db(db, _APPLIANCE, row[: len(_APPLIANCE)])
        latest = row[len(_APPLIANCE) :]
        reading = LatestReading.from_db(db, _LATEST, latest) if latest[_AT] else None
        yield key, appliance_now(appliance, reading, now=now)


_APPLIANCE = [column.attname for column in Appliance._meta.concrete_fields]
# What is true of a moment, and its instant. Counters stand until they are read again, and of a plug
# it may be told only when it changes.
_BESIDE_POWER = {
    name: at
    for name, at in INSTANTS.items()
    if name not in ("power_w", "imported_wh", "exported_wh", "plug_state")
}
# Without the instants of which nobody asks.
_LATEST = [
    column.attname
    for column in LatestReading._meta.concrete_fields
    if column.attname not in INSTANTS.values()
    or column.attname in ("power_at", *_BESIDE_POWER.values())
]
_AT = _LATEST.index("at")
_NEWEST = f"""
SELECT system.key, {", ".join(f"appliance.{name}" for name in _APPLIANCE)},
    {", ".join(f"latest.{name}" for name in _LATEST)}
FROM inventory_system AS system
JOIN inventory_appliance AS appliance
    ON appliance.system_id = system.id AND appliance.removed_at IS NULL
LEFT JOIN measurements_latestreading AS latest
    ON latest.system_key = system.key AND latest.appliance_key = appliance.key
WHERE {{condition}}
ORDER BY appliance.created_at, appliance.key
"""  # noqa: S608 - names of our own


def appliance_now(
    appliance: Appliance, reading: LatestReading | None, *, now: datetime
) -> ApplianceNow:
    """The appliance with its newest reading, which is stale or not."""
    if reading is None:
        return ApplianceNow(appliance, None, is_stale=True)
    is_stale = now - (reading.power_at or reading.at) > stale_after(appliance.interval_s)
    # A stale one is shown as of its own instant.
    since = (reading.at if is_stale else now) - beside_stale_after(appliance.interval_s)
    return ApplianceNow(appliance, _read_since(since, reading), is_stale)


def _read_since(since: datetime, reading: LatestReading) -> LatestReading:
    """The reading without what was read beside the power before then."""
    old = [
        name
        for name, instant in _BESIDE_POWER.items()
        if (at := getattr(reading, instant)) is not None and at < since
    ]
    if old:
        reading = copy(reading)
        for name in old:
            setattr(reading, name, None)
    return reading


def last_flows(appliances: Sequence[ApplianceNow]) -> dict[str, float | None]:
    """The flows of the newest readings, stale ones included, by the names of `flows` with `_w`."""
    (figures,) = live_figures_of_many(
        [[(role_of(one.appliance.kind), one.reading and one.reading.power_w) for one in appliances]]
    )
    return figures


def live_of_appliances(appliances: Sequence[ApplianceNow]) -> Live:
    """What flows in some appliances together, taken as if they were a system of their own."""
    (live,) = _lives([appliances])
    return live


def _lives(systems: Sequence[Sequence[ApplianceNow]]) -> list[Live]:
    powers = [
        [(role_of(one.appliance.kind), one.power_w) for one in appliances] for appliances in systems
    ]
    return [
        Live(
            max((one.reading.at for one in appliances if one.reading is not None), default=None),
            figures | rates_of(figures, suffix="_w"),
            tuple(appliances),
        )
        for appliances, figures in zip(systems, live_figures_of_many(powers), strict=True)
    ]


def history_of_system(
    *, system: System, from_at: datetime, until_at: datetime, resolution: Resolution
) -> History:
    """The figures of a system, span by span, in its own time zone (`measurements.history`)."""
    return history_of(
        past_of_system(system=system, from_at=from_at, until_at=until_at, resolution=resolution)
    )


def judged_history_of_system(
    *, system: System, from_at: datetime, until_at: datetime, resolution: Resolution, now: datetime
) -> History:
    """The same, with what tells how much of it is missing."""
    past = past_of_system(system=system, from_at=from_at, until_at=until_at, resolution=resolution)
    to_see_s = seconds_to_see(past.spans, systems=[system.key], now=now)
    return history_of(past, {"to_see_s": to_see_s[past.known]})


def history_of(past: Past, further: Mapping[str, Ints] | None = None) -> History:
    """What is known of each span as a row, with the rates and `further` columns."""
    rows = [row | rates_of(row) for row in past.figures.rows()]
    for name, column in (further or {}).items():
        for row, value in zip(rows, column.tolist(), strict=True):
            row[name] = value
    known = dict(zip(past.known.tolist(), rows, strict=True))
    total = past.total.rows()
    return History(
        [
            Period(span.from_at, span.until_at, known.get(index))
            for index, span in enumerate(past.spans)
        ],
        total[0] | rates_of(total[0]) if total else None,
    )


def stored_readings(system: System, appliance: Appliance, span: Span) -> QuerySet[Reading]:
    """What was read of an appliance while it was in a system, in order of time."""
    return Reading.objects.filter(
        system_key=system.key,
        appliance_key=appliance.key,
        at__gte=span.from_at,
        at__lt=span.until_at,
    ).order_by("at")
