"""What policies know of a site: what was read, what drivers state, and what others leave."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from math import inf
from operator import itemgetter
from uuid import UUID

from flexibility import resolver
from flexibility.models import Constraint
from flexibility.policies.terms import Reading, Room, Site, Station
from flexibility.resolver import Boundary, EmitterKind, resolve, timeline
from flexibility.standing import as_pure, standing_constraints
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance
from measurements.models import LatestReading

# How far beyond a departure is looked for when its goal could be reached.
_BEYOND = timedelta(hours=48)


def station_of(appliance: Appliance) -> Station:
    """A charging station with its physical limits, as policies know them."""
    return known_stations([appliance])[appliance.pk]


def known_stations(appliances: Sequence[Appliance]) -> dict[UUID, Station]:
    """Charging stations of one system, by their id, as policies know them."""
    known = KnownSite(appliances[0].system_id, appliances) if appliances else None
    return {one.pk: known.station(one.pk) for one in appliances}


class KnownSite:
    """What was read in a system: at its grid connection, of its batteries and its stations."""

    def __init__(self, system: UUID, stations: Sequence[Appliance]) -> None:
        others = Appliance.objects.filter(
            system=system,
            removed_at=None,
            kind__in=[ApplianceKind.GRID_METER, ApplianceKind.BATTERY],
        ).select_related("system")
        appliances = [*stations, *others.order_by("key")]
        readings = {
            row.appliance_key: row
            for row in LatestReading.objects.filter(
                system_key__in={one.system.key for one in appliances},
                appliance_key__in=[one.key for one in appliances],
            )
        }
        self._by_id = {one.pk: readings.get(one.key) for one in appliances}
        self._drivers = {
            row.appliance_id: row
            for row in Constraint.objects.filter(
                appliance__in=[one.pk for one in stations],
                emitter_kind=EmitterKind.DRIVER,
                withdrawn_at=None,
            )
        }
        meters = [one for one in appliances if one.kind == ApplianceKind.GRID_METER]
        batteries = [one for one in appliances if one.kind == ApplianceKind.BATTERY]
        self.site = Site(
            meter=self._power(meters[0].pk) if meters else None,
            batteries=tuple(
                power for one in batteries if (power := self._power(one.pk)) is not None
            ),
        )

    def station(self, appliance_id: UUID, most_w: float | None = None) -> Station:
        """A station with its physical limits, as far as its driver states them.

        `most_w` is what others leave it now.
        """
        driver, reading = self._drivers.get(appliance_id), self._by_id[appliance_id]
        limits = {
            name: getattr(driver, name)
            for name in ("min_w", "max_w")
            if driver is not None and (getattr(driver, name) or 0) > 0
        }
        is_plugged = reading is None or reading.plug_state != Plug.UNPLUGGED
        return Station(
            key=str(appliance_id),
            most_w=most_w,
            power=self._power(appliance_id),
            plugged=is_plugged,
            **limits,
        )

    def counter_wh(self, appliance_id: UUID) -> float | None:
        reading = self._by_id[appliance_id]
        return None if reading is None else reading.imported_wh

    def _power(self, appliance_id: UUID) -> Reading | None:
        reading = self._by_id[appliance_id]
        if reading is None:
            return None
        return Reading(reading.power_at or reading.at, reading.power_w)


class Others:
    """What others ask of stations, now and until departures, and beyond."""

    def __init__(self, stations: Sequence[Appliance], *, now: datetime, until_at: datetime) -> None:
        self._now, self._horizon = now, until_at + _BEYOND
        self._rows = standing_constraints(stations, from_at=now, until_at=self._horizon)

    def leave_now(self, station: UUID) -> float | None:
        """The most that all but policies leave a station now; None where nobody limits it.

        Shares of limits do not count: they are divided by what policies leave.
        """
        apart = (EmitterKind.CHARGING_POLICY, EmitterKind.CLUSTER_LIMIT)
        rows = [row for row in self._rows[station] if row.emitter_kind not in apart]
        most_w = _most_w(resolve(map(as_pure, rows), at=self._now).boundary)
        return None if most_w == inf else most_w

    def leave(self, station: UUID, *, priority: int, created_at: datetime) -> tuple[Room, ...]:
        """What all that weighs more than such a policy leaves a station, its driver included.

        What a stronger policy asks for now is taken to last as long as that policy.
        """
        stronger = [
            _lasting(row)
            for row in self._rows[station]
            if not row.fallback and (row.priority, row.created_at) > (priority, created_at)
        ]
        segments = timeline(stronger, from_at=self._now, until_at=self._horizon)
        known = [(one.from_at, _most_w(one.resolution.boundary)) for one in segments]
        return tuple(
            Room(next(same)[0], max_w) for max_w, same in groupby(known, key=itemgetter(1))
        )


def _lasting(row: Constraint) -> resolver.Constraint:
    """What a policy asks for now lasts as long as the policy, as far as anybody knows."""
    pure = as_pure(row)
    return pure if row.policy_id is None else replace(pure, invalid_at=row.policy.invalid_at)


def _most_w(boundary: Boundary) -> float:
    most_w = boundary.set_point_w if boundary.set_point_w is not None else boundary.max_w
    return inf if most_w is None else max(most_w, 0.0)
