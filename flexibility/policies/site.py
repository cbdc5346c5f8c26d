"""What policies know of a site: what was read, what drivers state, and what others leave."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from math import inf
from operator import itemgetter
from uuid import UUID

from flexibility import allotment, resolver
from flexibility.models import ChargingState, Constraint, Flexibility, SharedLimit
from flexibility.policies.dividing import turns
from flexibility.policies.terms import Mode, Reading, Room, Site, Station, Why
from flexibility.resolver import Boundary, EmitterKind, OutcomeKind, resolve, timeline
from flexibility.standing import as_pure, standing_constraints
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance
from measurements.models import LatestReading

# How far beyond a departure is looked for when its goal could be reached.
_BEYOND = timedelta(hours=48)
_HOLDING = (OutcomeKind.BINDING, OutcomeKind.REDUNDANT)


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

    def station(
        self, appliance_id: UUID, *, most_w: float | None = None, offered_w: float | None = None
    ) -> Station:
        """A station with its physical limits, as far as its driver states them.

        `most_w` is what others leave it now, `offered_w` what all together do.
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
            offered_w=offered_w,
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
        limits = {row.limit_id for some in self._rows.values() for row in some} - {None}
        self._takers = _takers_of(limits, now) if limits else {}
        resolved = Flexibility.objects.only("max_w", "set_point_w")
        self._resolved = resolved.in_bulk([one.pk for one in stations])

    def offer_now(self, station: UUID) -> float | None:
        """The most that all, policies and shares included, leave a station now, in W."""
        resolved = self._resolved.get(station)
        most_w = inf if resolved is None else _most_w(resolved)
        return None if most_w == inf else most_w

    def leave_now(self, station: UUID) -> float | None:
        """The most that all but policies leave a station now, in W; None where nobody limits it.

        A limit that it shares leaves it the whole: shares are divided by what policies leave. But
        to one that is net the sun adds, nobody knows how much.
        """
        bounds = [
            as_pure(row)
            if row.limit is None
            else _bounded(row, inf if row.limit.net else _sum_w(row.limit))
            for row in self._rows[station]
            if row.emitter_kind != EmitterKind.CHARGING_POLICY and not row.fallback
        ]
        most_w = _most_w(resolve(bounds, at=self._now).boundary)
        return None if most_w == inf else most_w

    def leave(
        self, station: UUID, *, least_w: float, priority: int, created_at: datetime
    ) -> tuple[Room, ...]:
        """What all that weighs more than such a policy leaves a station, its driver included.

        What a stronger policy asks for now is taken to last as long as that policy. A limit that it
        shares is reckoned to leave it what `dividing.turns` says, whatever sun and house do:
        its share of the moment is no measure of what it will have. `least_w` (W) is what the
        station charges with at least.
        """
        bounds: list[resolver.Constraint] = []
        parts: dict[str, float] = {}
        for row in self._rows[station]:
            if row.fallback or (row.priority, row.created_at) <= (priority, created_at):
                continue
            if row.limit is None:
                bounds.append(_lasting(row))
                continue
            others_w = [
                most_w for taker, most_w in self._takers[row.limit_id].items() if taker != station
            ]
            turn_w, parts[str(row.pk)] = turns(_sum_w(row.limit), others_w, least_w)
            bounds.append(_bounded(row, turn_w))
        segments = timeline(bounds, from_at=self._now, until_at=self._horizon)
        known = [
            (one.from_at, (_most_w(one.resolution.boundary), _part(one.resolution, parts)))
            for one in segments
        ]
        return tuple(Room(next(same)[0], *room) for room, same in groupby(known, key=itemgetter(1)))


def _takers_of(limits: Collection[UUID], now: datetime) -> dict[UUID, dict[UUID, float]]:
    """By limit (id) the appliances that ask for power of it, and the most that each takes, in W.

    Who has all that its own constraints allow takes that, which is nothing where it is switched
    off; but a departure that waits is still to come. The others take all that they are given.
    """
    rows = Constraint.objects.filter(limit__in=limits, fallback=False, withdrawn_at=None)
    asking = list(rows.exclude(share__why_max=allotment.Why.IDLE).select_related("share"))
    coming = set(
        ChargingState.objects.filter(
            appliance__in={row.appliance_id for row in asking},
            policy__mode=Mode.DEPARTURE,
            policy__withdrawn_at=None,
            policy__invalid_at__gt=now,
        )
        .exclude(reason__why=Why.REACHED)
        .values_list("appliance", flat=True)
    )
    found: dict[UUID, dict[UUID, float]] = {limit: {} for limit in limits}
    for row in asking:
        has_all = row.share.why_max == allotment.Why.FULL and row.max_w is not None
        is_to_come = has_all and row.max_w <= 0 and row.appliance_id in coming
        found[row.limit_id][row.appliance_id] = row.max_w if has_all and not is_to_come else inf
    return found


def _sum_w(limit: SharedLimit) -> float:
    """The most that the members of a limit may draw together, in W, on three phases alike."""
    bounds = [] if limit.max_w is None else [limit.max_w]
    if limit.phase_max_w is not None:
        bounds.append(len(limit.phase_max_w) * min(limit.phase_max_w))
    return min(bounds, default=inf)


def _bounded(row: Constraint, most_w: float) -> resolver.Constraint:
    """A share, but of so much, and as long as its limit holds."""
    return replace(
        as_pure(row),
        min_w=None,
        max_w=None if most_w == inf else most_w,
        valid_at=row.limit.valid_at,
        invalid_at=row.limit.invalid_at,
    )


def _part(resolution: resolver.Resolution, parts: Mapping[str, float]) -> float:
    """For which part of the time a station has its turn, by the limits that hold then."""
    holding = (
        parts.get(identity, 1.0)
        for identity, outcomes in resolution.outcomes.items()
        if outcomes.power is not None and outcomes.power.kind in _HOLDING
    )
    return min(holding, default=1.0)


def _lasting(row: Constraint) -> resolver.Constraint:
    """What a policy asks for now lasts as long as the policy, as far as anybody knows."""
    pure = as_pure(row)
    return pure if row.policy_id is None else replace(pure, invalid_at=row.policy.invalid_at)


def _most_w(boundary: Boundary | Flexibility) -> float:
    found_w = resolver.most_w(boundary)
    return inf if found_w is None else max(found_w, 0.0)
