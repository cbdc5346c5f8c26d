"""Has policies ask, every few seconds, and keeps what they ask for as constraints.

`charging` says what a policy asks for; here it gets what was read and what it has to remember. Its
wishes become constraints, one for each policy and station, changed in place: of several policies
at a station the resolver says which one is followed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import F, Q, QuerySet

from flexibility.isolated import isolated
from flexibility.models import ChargingPolicy, ChargingState, Constraint, Flexibility
from flexibility.policies import charging
from flexibility.policies.site import KnownSite, Others
from flexibility.policies.standing import policies_by_station, stations_of
from flexibility.policies.terms import (
    DEFAULTS,
    UNKNOWN_CAR,
    Answer,
    Asks,
    Car,
    Demand,
    Departure,
    Mode,
    Reason,
    State,
    Wish,
)
from flexibility.resolver import EmitterKind
from flexibility.resolving import HORIZON, catch_up, hold_systems, resolve_systems
from flexibility.targets import systems_of
from inventory.models import Appliance, System

# How often a policy is asked.
EVERY = timedelta(seconds=10)
AT_ONCE = 200

# A station and a policy that concerns it; and whether it is what holds where nobody asks anew.
Pair = tuple[UUID, UUID]
Place = tuple[UUID, UUID, bool]


def due_policies(*, now: datetime) -> QuerySet[ChargingPolicy]:
    """The policies that were not asked for a while; one that is over is asked once more."""
    return ChargingPolicy.objects.filter(
        Q(asked_at=None) | Q(asked_at__lte=now - EVERY, valid_at__lte=now),
        Q(asked_at=None) | Q(invalid_at=None) | Q(asked_at__lt=F("invalid_at")),
        withdrawn_at=None,
        valid_at__lte=now + HORIZON,
    )


def ask_due_policies(*, now: datetime, due_by: datetime | None = None) -> int:
    """Ask some of the policies that are due now, or were by then; returns how many.

    Any number of workers share them.
    """
    with transaction.atomic():
        due = due_policies(now=due_by or now).select_for_update(skip_locked=True, of=("self",))
        rows = list(due.order_by("asked_at")[:AT_ONCE])
        ChargingPolicy.objects.filter(pk__in=[row.pk for row in rows]).update(asked_at=now)
    systems = {system for row in rows for system in systems_of(row.target)}
    for system in sorted(systems):
        isolated(lambda some: apply_policies(system=some[0], now=now), [system])
    return len(rows)


def apply_policies(*, system: UUID, now: datetime) -> None:
    """Ask the policies of a system's stations, and keep what they ask for as constraints."""
    with transaction.atomic():
        hold_systems([system])
        stations = list(stations_of(System(pk=system)).select_related("system"))
        standing_or_coming = policies_by_station(system, stations, now=now, until_at=now + HORIZON)
        policies = {
            station: begun
            for station, some in standing_or_coming.items()
            if (begun := [one for one in some if one.valid_at <= now])
        }
        standing = {
            (row.appliance_id, row.policy_id, row.fallback): row
            for row in Constraint.objects.filter(
                appliance__in=[one.pk for one in stations],
                emitter_kind=EmitterKind.CHARGING_POLICY,
                withdrawn_at=None,
            )
        }
        states = {
            (row.appliance_id, row.policy_id): row
            for row in ChargingState.objects.filter(appliance__in=[one.pk for one in stations])
        }
        site = KnownSite(system, stations)
        others = Others(stations, now=now, until_at=_last_departure(standing_or_coming, now))
        answers = _Asking(site, others, stations, policies, states, standing, now).answers()
        by_id = {policy.pk: policy for some in standing_or_coming.values() for policy in some}
        wishes = {
            place: wish
            for (station, policy), answer in answers.items()
            for place, wish in _wishes(station, by_id[policy], answer.wish, standing, now).items()
        }
        for station, some in standing_or_coming.items():
            for policy in some:
                if policy.valid_at > now:
                    wishes[station, policy.pk, True] = _ahead(
                        site, others, station, policy, standing.get((station, policy.pk, True)), now
                    )
        passed = catch_up([system], now)
        changed = _end(standing, wishes, now)
        for place, wish in wishes.items():
            changed |= _keep(standing.get(place), place, by_id[place[1]], wish)
        _forget(states, answers, now)
        _remember(answers, states, site, now)
        if changed or passed:
            resolve_systems(systems=[system], now=now, passed=passed)


class _Asking:
    """What each policy asks of each station that it concerns.

    The stations share the surplus by the policy of each that weighs most; a weaker one is asked
    what it would give its station in that one's place.
    """

    def __init__(
        self,
        site: KnownSite,
        others: Others,
        stations: Sequence[Appliance],
        policies: Mapping[UUID, list[ChargingPolicy]],
        states: Mapping[Pair, ChargingState],
        standing: Mapping[Place, Constraint],
        now: datetime,
    ) -> None:
        self.site, self.others, self.policies = site, others, policies
        self.states, self.now = states, now
        self.stations = [one for one in stations if one.pk in policies]
        self.overruled = _overruled(policies, standing)

    def answers(self) -> dict[Pair, Answer]:
        found: dict[Pair, Answer] = {}
        most = max((len(some) for some in self.policies.values()), default=0)
        for rank in range(most):
            found |= self._of_rank(rank)
        return found

    def _of_rank(self, rank: int) -> dict[Pair, Answer]:
        """What those in this place of their stations' policies ask for.

        A station that somebody else has charge at a set point takes no share of the surplus from
        the others; its own policy goes on asking for what it would give it.
        """
        placed = {one.pk for one in self.stations if len(self.policies[one.pk]) > rank}
        demands = {
            one.pk: self._demand(one, self.policies[one.pk][rank if one.pk in placed else 0])
            for one in self.stations
        }
        found = self._ask(demands)
        if self.overruled:
            without = {
                pk: replace(demand, mode=Mode.FORCED, departure=None)
                if pk in self.overruled
                else demand
                for pk, demand in demands.items()
            }
            again = self._ask(without)
            found |= {pk: one for pk, one in again.items() if pk not in self.overruled}
        return {(pk, self.policies[pk][rank].pk): found[pk] for pk in placed}

    def _ask(self, demands: Mapping[UUID, Demand]) -> dict[UUID, Answer]:
        answers = charging.ask(list(demands.values()), self.site.site, now=self.now)
        return dict(zip(demands, answers, strict=True))

    def _demand(self, station: Appliance, policy: ChargingPolicy) -> Demand:
        state = self.states.get((station.pk, policy.pk))
        charged_wh = _charged_wh(self.site, station.pk, state)
        demand = _demand(self.site, self.others, station.pk, policy, charged_wh)
        if state is not None:
            return replace(demand, state=_state(state))
        known = [row for (pk, _policy), row in self.states.items() if pk == station.pk]
        return replace(demand, car=car_of(known, now=self.now))


def car_of(states: Iterable[ChargingState], *, now: datetime) -> Car:
    """What the newest of a station's states knows of its car, if that is of now."""
    fresh = [row for row in states if now - row.asked_at <= DEFAULTS.valid_for]
    newest = max(fresh, key=attrgetter("asked_at"), default=None)
    return UNKNOWN_CAR if newest is None else _state(newest).car


def _state(row: ChargingState) -> State:
    return msgspec.convert(row.memory, State)


def _demand(
    site: KnownSite, others: Others, station: UUID, policy: ChargingPolicy, charged_wh: float
) -> Demand:
    departure = None
    known = site.station(
        station, most_w=others.leave_now(station), offered_w=others.offer_now(station)
    )
    if policy.mode == Mode.DEPARTURE:
        rooms = others.leave(
            station,
            least_w=known.min_w,
            priority=policy.priority,
            created_at=policy.created_at,
        )
        departure = Departure(policy.energy_wh, policy.departs_at, charged_wh, rooms)
    return Demand(
        station=known,
        mode=Mode(policy.mode),
        departure=departure,
        until=policy.invalid_at,
    )


def _charged_wh(site: KnownSite, station: UUID, state: ChargingState | None) -> float:
    counter_wh = site.counter_wh(station)
    from_wh = counter_wh if state is None else state.from_wh
    known = counter_wh is not None and from_wh is not None
    return max(0.0, counter_wh - from_wh) if known else 0.0


def _last_departure(policies: Mapping[UUID, list[ChargingPolicy]], now: datetime) -> datetime:
    departures = (one.departs_at for some in policies.values() for one in some)
    return max(filter(None, departures), default=now)


def _overruled(
    policies: Mapping[UUID, list[ChargingPolicy]], standing: Mapping[Place, Constraint]
) -> set[UUID]:
    """The stations whose set point is not that of the policy that weighs most there.

    A wish that bends to what the policy leaves decides nothing: its station shares with the others.
    """
    found = set()
    for row in Flexibility.objects.filter(pk__in=list(policies)):
        decider = row.deciders.get("set_point_w")
        own = standing.get((row.pk, policies[row.pk][0].pk, False))
        if decider is None or (own is not None and decider == str(own.pk)):
            continue
        bends = own is not None and row.set_point_w in (own.min_w, own.max_w)
        if not bends:
            found.add(row.pk)
    return found


# What comes of it --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is to be kept of a wish, and in which time."""

    asks: Asks
    valid_at: datetime
    invalid_at: datetime


def _wishes(
    station: UUID,
    policy: ChargingPolicy,
    wish: Wish,
    standing: Mapping[Place, Constraint],
    now: datetime,
) -> dict[Place, _Kept]:
    """What a policy asks of a station now, and behind it what holds where nobody asks it anew.

    It is renewed before it runs out; as long as it says the same and lasts, nothing changes.
    """
    place = (station, policy.pk, False)
    row = standing.get(place)
    begins = now if row is None else row.valid_at
    ends = min(filter(None, (wish.invalid_at, policy.invalid_at)))
    if row is not None and _asked(row) == wish.asks:
        lasts = row.invalid_at - now >= min((wish.invalid_at - now) / 2, ends - now)
        ends = row.invalid_at if lasts else ends
    found = {place: _Kept(wish.asks, begins, ends)}
    last = policy.invalid_at
    if last is None:
        before = standing.get((station, policy.pk, True))
        is_long = before is not None and before.invalid_at - now > DEFAULTS.fixed_for / 2
        last = before.invalid_at if is_long else now + DEFAULTS.fixed_for
    if wish.alone is not None and ends < last:
        found[station, policy.pk, True] = _Kept(wish.alone, ends, last)
    return found


def _ahead(
    site: KnownSite,
    others: Others,
    station: UUID,
    policy: ChargingPolicy,
    row: Constraint | None,
    now: datetime,
) -> _Kept:
    """What a policy that begins later asks for until it is asked then."""
    demand = _demand(site, others, station, policy, 0.0)
    asks = charging.ask_ahead(demand, at=policy.valid_at)
    last = policy.invalid_at or (row and row.invalid_at) or now + DEFAULTS.fixed_for
    return _Kept(asks, policy.valid_at, last)


def _asked(row: Constraint) -> Asks:
    return Asks(row.min_w, row.max_w, row.set_point_w, row.closest)


def _end(standing: Mapping[Place, Constraint], wanted: Collection[Place], now: datetime) -> bool:
    """End what is wished for no more; whether there was any."""
    ended = [row.pk for place, row in standing.items() if place not in wanted]
    Constraint.objects.filter(pk__in=ended).update(withdrawn_at=now)
    return bool(ended)


def _keep(row: Constraint | None, place: Place, policy: ChargingPolicy, wish: _Kept) -> bool:
    """Have the constraint say what is wished for; returns whether it had to change."""
    station, _policy, fallback = place
    values = wish.asks._asdict() | {"valid_at": wish.valid_at, "invalid_at": wish.invalid_at}
    if row is None:
        Constraint.objects.create(
            created_at=policy.created_at,
            appliance_id=station,
            policy=policy,
            fallback=fallback,
            emitter_kind=EmitterKind.CHARGING_POLICY.value,
            emitter=policy.emitter,
            priority=policy.priority,
            **values,
        )
        return True
    if all(getattr(row, name) == value for name, value in values.items()):
        return False
    Constraint.objects.filter(pk=row.pk).update(**values)
    return True


def _forget(states: Mapping[Pair, ChargingState], asked: Collection[Pair], now: datetime) -> None:
    """A policy that ended may be restored, and the next one is to know the car that stands there.

    So what is remembered by one that ended stays for as long as it says something; one that stands
    and does not ask at a station any more has nothing to say there.
    """
    unasked = [row.pk for pair, row in states.items() if pair not in asked]
    stands = Q(policy__invalid_at=None) | Q(policy__invalid_at__gt=now)
    ChargingState.objects.filter(
        Q(stands, policy__withdrawn_at=None) | Q(asked_at__lt=now - DEFAULTS.valid_for),
        pk__in=unasked,
    ).delete()


def _remember(
    answers: Mapping[Pair, Answer],
    states: Mapping[Pair, ChargingState],
    site: KnownSite,
    now: datetime,
) -> None:
    rows = []
    for pair, answer in answers.items():
        appliance_id, policy_id = pair
        before = states.get(pair)
        rows.append(
            ChargingState(
                appliance_id=appliance_id,
                policy_id=policy_id,
                asked_at=now,
                memory=_json(answer.state),
                reason=_json(answer.wish.reason),
                from_wh=site.counter_wh(appliance_id) if before is None else before.from_wh,
            )
        )
    ChargingState.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["appliance", "policy"],
        update_fields=["asked_at", "memory", "reason", "from_wh"],
    )


def _json(value: State | Reason) -> dict[str, Any]:
    return msgspec.to_builtins(value)
