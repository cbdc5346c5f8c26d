"""Who takes part in divisions, and what is known of each: constraints, readings, gateways."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from flexibility.allotment import Measured, PhaseWatts
from flexibility.limits.keeping import kept_of
from flexibility.limits.terms import OPEN, Kept, Span, Taker
from flexibility.models import Constraint, Flexibility, GatewaySchedule
from flexibility.standing import as_pure, standing_constraints
from inventory.kinds import CONTROLLABLE, ApplianceKind, Plug
from inventory.models import Appliance
from inventory.queries import out_of_reach
from measurements.models import LatestReading
from measurements.queries import ApplianceNow

NOMINAL_V = 230.0
# What flows on a phase that is not in use.
_IDLE_A = 1.0


def takers_of(
    live: Sequence[ApplianceNow], rows: Iterable[Constraint], now: datetime, *, until_at: datetime
) -> dict[UUID, list[Taker]]:
    """By system what can be controlled, with all that is asked of it in [`now`, `until_at`)."""
    # Of a hybrid inverter its parts take part, where they are there.
    parents = {one.appliance.parent_id for one in live}
    members = [
        one
        for one in live
        if one.appliance.kind in CONTROLLABLE
        and not (
            one.appliance.kind == ApplianceKind.HYBRID_INVERTER and one.appliance.pk in parents
        )
    ]
    appliances = [one.appliance for one in members]
    standing = standing_constraints(appliances, from_at=now, until_at=until_at)
    links = _Links(appliances)
    kept = _kept(rows, links, now)
    found: dict[UUID, list[Taker]] = defaultdict(list)
    for one in members:
        appliance = one.appliance
        found[appliance.system_id].append(
            Taker(
                key=str(appliance.pk),
                cluster=None if appliance.cluster_id is None else str(appliance.cluster_id),
                kind=ApplianceKind(appliance.kind),
                place=appliance.key,
                constraints=tuple(
                    as_pure(row) for row in standing[appliance.pk] if row.limit_id is None
                ),
                rated=Span(appliance.min_power_w, appliance.max_power_w),
                draws=_draws(one),
                is_stale=one.is_stale,
                is_steered=links.are_steering(appliance),
                is_confirmed=links.have_confirmed(appliance.pk),
                power_w=one.power_w,
                phases_w=_phases_w(one),
                phases=_phases(one),
                kept=kept[appliance.pk],
            )
        )
    return found


def _kept(
    rows: Iterable[Constraint], links: "_Links", now: datetime
) -> dict[UUID, dict[str, Kept]]:
    """By appliance and limit the shares that go on: one that has ended as the next that began."""
    mains, ahead = [], defaultdict(list)
    for row in (row for row in rows if row.withdrawn_at is None):
        if row.fallback:
            ahead[row.limit_id, row.appliance_id].append(row)
        else:
            mains.append(row)
    found: dict[UUID, dict[str, Kept]] = defaultdict(dict)
    for row in mains:
        pieces = [row, *sorted(ahead[row.limit_id, row.appliance_id], key=lambda one: one.valid_at)]
        kept = kept_of(row)
        if links.have_confirmed(row.appliance_id):
            later = {one.valid_at: Span(one.min_w, one.max_w) for one in pieces[1:]}
            kept = kept.confirmed(later, pieces[-1].invalid_at)
        if row.valid_at > now:
            kept = replace(kept, wide=OPEN, ahead={row.valid_at: kept.wide, **kept.ahead})
        if row.invalid_at <= now:
            current = [one for one in pieces if one.valid_at <= now < one.invalid_at]
            if not current:
                continue
            kept = replace(kept, span=Span(current[-1].min_w, current[-1].max_w))
        found[row.appliance_id][str(row.limit_id)] = kept
    return found


class _Links:
    """What gateways do about what they are told."""

    def __init__(self, appliances: Collection[Appliance]) -> None:
        self._gateways = {one.pk: one.gateway_id for one in appliances}
        gateways = {one for one in self._gateways.values() if one is not None}
        self._out_of_reach = out_of_reach(appliances)
        self._schedules = GatewaySchedule.objects.defer("body", "kept_body").in_bulk(gateways)
        refusing = Flexibility.objects.exclude(refusal="").filter(
            appliance__in=[one.pk for one in appliances]
        )
        self._refusing = set(refusing.values_list("pk", flat=True))

    def are_steering(self, appliance: Appliance) -> bool:
        """Whether the appliance does as its gateway is told."""
        return appliance.pk not in self._out_of_reach and appliance.pk not in self._refusing

    def have_confirmed(self, appliance: UUID) -> bool:
        """Whether its gateway has taken over the newest schedule."""
        schedule = self._schedules.get(self._gateways.get(appliance))
        return schedule is not None and schedule.is_confirmed and not schedule.refusal


def _draws(one: ApplianceNow) -> bool:
    """Whether it asks for power: all do, but charging stations without a car."""
    reading = one.reading
    return reading is None or reading.plug_state != Plug.UNPLUGGED or (one.power_w or 0.0) > 0


def _currents_a(reading: LatestReading | None) -> tuple[float, float, float] | None:
    if reading is None:
        return None
    found = (reading.current_l1_a, reading.current_l2_a, reading.current_l3_a)
    return None if None in found else tuple(map(abs, found))


def _phases_w(one: ApplianceNow) -> PhaseWatts | None:
    """The power of each phase: as the currents are to each other."""
    currents_a, power_w = _currents_a(one.reading), one.power_w
    if currents_a is None or power_w is None or not (whole_a := sum(currents_a)):
        return None
    return tuple(power_w * each_a / whole_a for each_a in currents_a)


def _phases(one: ApplianceNow) -> tuple[int, ...]:
    """The phases that it uses now; none known while it uses nothing."""
    currents_a = () if one.power_w is None else _currents_a(one.reading) or ()
    return tuple(phase for phase, each_a in enumerate(currents_a, start=1) if each_a > _IDLE_A)


def measured_at_grid(live: Iterable[ApplianceNow]) -> Measured | None:
    """What flows at the grid connection; of its currents nobody knows whether they are fed in."""
    meters = [one for one in live if one.appliance.kind == ApplianceKind.GRID_METER]
    if not meters or any(one.power_w is None for one in meters):
        return None
    currents_a = [_currents_a(one.reading) for one in meters]
    phases_w = None
    if None not in currents_a:
        phases_w = tuple(NOMINAL_V * sum(phase) for phase in zip(*currents_a, strict=True))
    return Measured(sum(one.power_w for one in meters), phases_w)
