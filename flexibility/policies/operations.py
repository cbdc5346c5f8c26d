"""Charging policies: set and ended by people, asked every few seconds, kept as constraints.

`charging` says what a policy asks for; here it gets what was read and what it has to
remember, and its wishes become constraints, one a station, changed in place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import Verb, record_change
from accounts.models import User
from flexibility.emitters import Emitter, UnableToConstrain, ceiling, kind_of, priority_of
from flexibility.isolated import isolated
from flexibility.models import ChargingPolicy, ChargingState, Constraint, Flexibility, not_over
from flexibility.policies import charging
from flexibility.policies.charging import (
    Answer,
    Demand,
    Departure,
    Mode,
    Plan,
    Reading,
    Site,
    State,
    Station,
    plan_departure,
)
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from flexibility.standing import members_of
from flexibility.targets import account_of, fields_of, hold_target, systems_of
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance, Cluster, System
from measurements.models import LatestReading

# How often a policy is asked.
EVERY = timedelta(seconds=10)
AT_ONCE = 200
_ASKED = ("min_w", "max_w", "set_point_w", "closest")

Target = Appliance | Cluster | System


@dataclass(frozen=True, kw_only=True)
class PolicyDraft:
    """A policy as it is asked for. `energy_wh` (Wh) and `departs_at` are for DEPARTURE alone."""

    mode: Mode
    priority: int | None = None
    energy_wh: float | None = None
    departs_at: datetime | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None


def set_policy(
    *, target: Target, draft: PolicyDraft, emitter: Emitter, now: datetime
) -> ChargingPolicy:
    """Have the stations charge so from now on; it replaces what the same person's kind had set.

    Raises UnableToConstrain, naming the field.
    """
    _check(draft, now)
    if not stations_of(target).exists():
        raise UnableToConstrain("target", _("There is no charging station."))
    policy = ChargingPolicy(
        created_at=now,
        mode=draft.mode.value,
        energy_wh=draft.energy_wh,
        departs_at=draft.departs_at,
        priority=_priority(emitter, draft.priority),
        valid_at=draft.valid_at or now,
        invalid_at=draft.invalid_at or draft.departs_at,
        emitter=emitter.user,
        **fields_of(target),
    )
    with transaction.atomic():
        systems = hold_target(target)
        before = ChargingPolicy.objects.filter(
            withdrawn_at=None, **fields_of(target)
        ).select_related("emitter")
        # One a target: a second one of the same rank would only be the last word anyway.
        replaced = [
            one.pk for one in before if one.priority == policy.priority or _is_of(one, emitter.kind)
        ]
        ChargingPolicy.objects.filter(pk__in=replaced).update(
            withdrawn_at=now, withdrawn_by=emitter.user
        )
        policy.save(force_insert=True)
        _record(policy, Verb.CONSTRAINED, emitter.user, now)
        for system in systems:
            apply_policies(system=system, now=now)
    return policy


def withdraw_policy(*, policy: ChargingPolicy, by: Emitter, now: datetime) -> ChargingPolicy:
    """End a policy at once; its constraints go with it.

    Raises PermissionDenied where it weighs more than this kind of emitter could give it.
    """
    if policy.priority > ceiling(by.kind):
        raise PermissionDenied
    with transaction.atomic():
        systems = hold_systems(systems_of(policy.target))
        ended = ChargingPolicy.objects.filter(pk=policy.pk, withdrawn_at=None).update(
            withdrawn_at=now, withdrawn_by=by.user
        )
        if ended:
            policy.withdrawn_at, policy.withdrawn_by = now, by.user
            _record(policy, Verb.CONSTRAINT_WITHDRAWN, by.user, now)
            for system in systems:
                apply_policies(system=system, now=now)
    return policy


def policies_of(*, station: Appliance, now: datetime) -> list[ChargingPolicy]:
    """The policies that concern a station now, the one that asks first."""
    rows = _standing_policies(station.system_id, now).select_related(
        "appliance", "cluster", "system", "emitter"
    )
    return [
        row
        for row in rows
        if row.system_id is not None
        or row.appliance_id == station.pk
        or (row.cluster_id is not None and stations_of(row.cluster).filter(pk=station.pk).exists())
    ]


def policies_on(*, target: Target, now: datetime) -> QuerySet[ChargingPolicy]:
    """The policies set on an appliance, a cluster or a system itself, the strongest first."""
    return (
        ChargingPolicy.objects.filter(not_over(now), withdrawn_at=None, **fields_of(target))
        .select_related("appliance", "cluster", "system", "emitter")
        .order_by("-priority", "-created_at", "pk")
    )


def station_of(appliance: Appliance) -> Station:
    """A charging station with its physical limits, as policies know them."""
    return known_stations([appliance])[appliance.pk]


def known_stations(appliances: Sequence[Appliance]) -> dict[UUID, Station]:
    """Charging stations of one system, by their id, as policies know them."""
    site = _Site(appliances[0].system_id, appliances) if appliances else None
    return {one.pk: site.station(one.pk) for one in appliances}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a policy that is not set yet would ask of a station.

    `plan` is a departure's. `stronger` is the policy that would go on asking in its place.
    """

    station: Station
    answer: Answer
    plan: Plan | None
    stronger: ChargingPolicy | None


def try_policy(
    *,
    appliance: Appliance,
    draft: PolicyDraft,
    emitter: Emitter,
    now: datetime,
    most_w: float | None = None,
) -> Trial:
    """What a policy would do, were it set now; nothing is kept.

    `most_w` is what others leave the station, which a departure has to reckon with.
    Raises UnableToConstrain as `set_policy` does.
    """
    _check(draft, now)
    priority = _priority(emitter, draft.priority)
    site = _Site(appliance.system_id, [appliance])
    station = site.station(appliance.pk)
    if most_w is not None and most_w >= station.min_w:
        station = replace(station, max_w=min(station.max_w, most_w))
    departure = None
    if draft.mode is Mode.DEPARTURE:
        departure = Departure(draft.energy_wh, draft.departs_at)
    demand = Demand(station=station, mode=draft.mode, departure=departure)
    [answer] = charging.ask([demand], site.site, now=now)
    others = (one for one in policies_of(station=appliance, now=now) if one.priority > priority)
    return Trial(
        station=station,
        answer=answer,
        plan=departure and plan_departure(departure, station, now=now),
        stronger=next(others, None),
    )


def withdraw_own_policies(*, target: Target, by: Emitter, now: datetime) -> None:
    """End what this kind of emitter set on a target itself; of staff, what anybody did."""
    standing = ChargingPolicy.objects.filter(withdrawn_at=None, **fields_of(target))
    with transaction.atomic():
        for policy in standing.select_related("emitter", "appliance", "cluster", "system"):
            if by.kind is EmitterKind.OPERATOR or _is_of(policy, by.kind):
                withdraw_policy(policy=policy, by=by, now=now)


def policy_asking(*, station: Appliance, now: datetime) -> ChargingPolicy | None:
    """The policy that asks at a station now, wherever it was set."""
    lasts = Q(policy__invalid_at=None) | Q(policy__invalid_at__gt=now)
    states = ChargingState.objects.filter(lasts, pk=station.pk, policy__withdrawn_at=None)
    state = states.select_related("policy__emitter").first()
    return None if state is None else state.policy


def due_policies(*, now: datetime) -> QuerySet[ChargingPolicy]:
    """The policies that were not asked for a while; one that is over is asked once more."""
    return ChargingPolicy.objects.filter(
        Q(asked_at=None) | Q(asked_at__lte=now - EVERY),
        Q(asked_at=None) | Q(invalid_at=None) | Q(asked_at__lt=F("invalid_at")),
        withdrawn_at=None,
        valid_at__lte=now,
    )


def ask_due_policies(*, now: datetime) -> int:
    """Ask the policies that are due; returns how many. Any number of workers share them."""
    with transaction.atomic():
        due = due_policies(now=now).select_for_update(skip_locked=True, of=("self",))
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
        policies = _policy_of_each(system, stations, now)
        standing = {
            row.appliance_id: row
            for row in Constraint.objects.filter(
                appliance__in=[one.pk for one in stations],
                emitter_kind=EmitterKind.CHARGING_POLICY,
                withdrawn_at=None,
            )
        }
        states = ChargingState.objects.in_bulk(list(policies))
        site = _Site(system, stations)
        answers = _ask(site, stations, policies, states, standing, now)
        changed = _withdraw_ended(standing, policies, now)
        for appliance_id, answer in answers.items():
            row = standing.get(appliance_id)
            changed |= _keep(row, appliance_id, policies[appliance_id], answer, now)
        _remember(answers, policies, states, site, now)
        if changed:
            resolve_systems(systems=[system], now=now)


# What there is to ask ----------------------------------------------------------------------------


class _Site:
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

    def station(self, appliance_id: UUID) -> Station:
        """A station with its physical limits, as far as its driver states them."""
        driver, reading = self._drivers.get(appliance_id), self._by_id[appliance_id]
        limits = {
            name: getattr(driver, name)
            for name in ("min_w", "max_w")
            if driver is not None and (getattr(driver, name) or 0) > 0
        }
        is_plugged = reading is None or reading.plug_state != Plug.UNPLUGGED
        return Station(
            key=str(appliance_id), power=self._power(appliance_id), plugged=is_plugged, **limits
        )

    def counter_wh(self, appliance_id: UUID) -> float | None:
        reading = self._by_id[appliance_id]
        return None if reading is None else reading.imported_wh

    def _power(self, appliance_id: UUID) -> Reading | None:
        reading = self._by_id[appliance_id]
        if reading is None:
            return None
        return Reading(reading.power_at or reading.at, reading.power_w)


def _standing_policies(system: UUID, now: datetime) -> QuerySet[ChargingPolicy]:
    """The policies of a system, its clusters and its stations, the one that weighs most first."""
    return ChargingPolicy.objects.filter(
        not_over(now),
        Q(system=system) | Q(cluster__system=system) | Q(appliance__system=system),
        withdrawn_at=None,
        valid_at__lte=now,
    ).order_by("-priority", "-created_at", "pk")


def _policy_of_each(
    system: UUID, stations: Sequence[Appliance], now: datetime
) -> dict[UUID, ChargingPolicy]:
    """By station the policy that asks: of those that concern it the one that weighs most."""
    rows = list(_standing_policies(system, now))
    members = {
        row.pk: set(stations_of(row.target).values_list("pk", flat=True))
        for row in rows
        if row.cluster_id is not None
    }
    found: dict[UUID, ChargingPolicy] = {}
    for row in rows:
        for station in stations:
            concerned = (
                row.system_id is not None
                or row.appliance_id == station.pk
                or station.pk in members.get(row.pk, ())
            )
            if concerned:
                found.setdefault(station.pk, row)
    return found


def _ask(
    site: _Site,
    stations: Sequence[Appliance],
    policies: dict[UUID, ChargingPolicy],
    states: dict[UUID, ChargingState],
    standing: dict[UUID, Constraint],
    now: datetime,
) -> dict[UUID, Answer]:
    """What each station's policy asks for.

    A station that somebody else has charge at a set point takes no share of the surplus from the
    others; its own policy goes on asking for what it would give it.
    """
    demands = {
        one.pk: _demand(site, one.pk, policies[one.pk], states.get(one.pk))
        for one in stations
        if one.pk in policies
    }
    answers = charging.ask(list(demands.values()), site.site, now=now)
    by_station = dict(zip(demands, answers, strict=True))
    overruled = _overruled(demands, standing)
    if overruled:
        without = [
            replace(demand, mode=Mode.FORCED, departure=None) if pk in overruled else demand
            for pk, demand in demands.items()
        ]
        again = dict(zip(demands, charging.ask(without, site.site, now=now), strict=True))
        by_station |= {pk: one for pk, one in again.items() if pk not in overruled}
    return by_station


def _overruled(appliances: Iterable[UUID], standing: dict[UUID, Constraint]) -> set[UUID]:
    """The stations whose set point somebody else decides.

    A wish that bends to what the policy leaves decides nothing: its station shares with the others.
    """
    found = set()
    for row in Flexibility.objects.filter(pk__in=list(appliances)):
        decider = row.deciders.get("set_point_w")
        own = standing.get(row.pk)
        if decider is None or (own is not None and decider == str(own.pk)):
            continue
        bends = own is not None and row.set_point_w in (own.min_w, own.max_w)
        if not bends:
            found.add(row.pk)
    return found


def _demand(
    site: _Site, appliance_id: UUID, policy: ChargingPolicy, state: ChargingState | None
) -> Demand:
    is_same = state is not None and state.policy_id == policy.pk
    departure = None
    if policy.mode == Mode.DEPARTURE:
        counter_wh = site.counter_wh(appliance_id)
        from_wh = state.from_wh if is_same else counter_wh
        known = counter_wh is not None and from_wh is not None
        charged_wh = max(0.0, counter_wh - from_wh) if known else 0.0
        departure = Departure(policy.energy_wh, policy.departs_at, charged_wh)
    return Demand(
        station=site.station(appliance_id),
        mode=Mode(policy.mode),
        departure=departure,
        until=policy.invalid_at,
        state=msgspec.convert(state.memory, State) if is_same and state.memory else None,
    )


# What comes of it --------------------------------------------------------------------------------


def _withdraw_ended(
    standing: dict[UUID, Constraint], policies: dict[UUID, ChargingPolicy], now: datetime
) -> bool:
    ended = [
        row.pk
        for appliance_id, row in standing.items()
        if (policy := policies.get(appliance_id)) is None or policy.pk != row.policy_id
    ]
    Constraint.objects.filter(pk__in=ended).update(withdrawn_at=now)
    gone = [appliance_id for appliance_id in standing if appliance_id not in policies]
    ChargingState.objects.filter(pk__in=gone).delete()
    return bool(ended)


def _keep(
    row: Constraint | None,
    appliance_id: UUID,
    policy: ChargingPolicy,
    answer: Answer,
    now: datetime,
) -> bool:
    """Have the constraint say what is wished for; returns whether it had to change.

    It is renewed before it runs out, so that one that nobody renews ends by itself.
    """
    wish = answer.wish
    values = dict(zip(_ASKED, wish.asks, strict=True))
    invalid_at = min(filter(None, (wish.invalid_at, policy.invalid_at)))
    if row is None or row.policy_id != policy.pk:
        Constraint.objects.create(
            created_at=policy.created_at,
            appliance_id=appliance_id,
            policy=policy,
            emitter_kind=EmitterKind.CHARGING_POLICY.value,
            emitter=policy.emitter,
            priority=policy.priority,
            valid_at=now,
            invalid_at=invalid_at,
            **values,
        )
        return True
    is_same = all(getattr(row, name) == value for name, value in values.items())
    lasts = row.invalid_at - now >= min((wish.invalid_at - now) / 2, invalid_at - now)
    if is_same and lasts:
        return False
    Constraint.objects.filter(pk=row.pk).update(invalid_at=invalid_at, **values)
    return True


def _remember(
    answers: dict[UUID, Answer],
    policies: dict[UUID, ChargingPolicy],
    states: dict[UUID, ChargingState],
    site: _Site,
    now: datetime,
) -> None:
    rows = []
    for appliance_id, answer in answers.items():
        policy, before = policies[appliance_id], states.get(appliance_id)
        is_same = before is not None and before.policy_id == policy.pk
        rows.append(
            ChargingState(
                appliance_id=appliance_id,
                policy=policy,
                asked_at=now,
                memory=_json(answer.state),
                reason=_json(answer.wish.reason),
                from_wh=before.from_wh if is_same else site.counter_wh(appliance_id),
            )
        )
    ChargingState.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["appliance"],
        update_fields=["policy", "asked_at", "memory", "reason", "from_wh"],
    )


def _json(value: State | charging.Reason) -> dict[str, Any]:
    return msgspec.to_builtins(value)


# Shared ------------------------------------------------------------------------------------------


def _check(draft: PolicyDraft, now: datetime) -> None:
    if (draft.mode is Mode.DEPARTURE) != (draft.departs_at is not None):
        raise UnableToConstrain("departs_at", _("Say by when, for a departure and nothing else."))
    if (draft.mode is Mode.DEPARTURE) != (draft.energy_wh is not None):
        raise UnableToConstrain("energy_wh", _("Say how much, for a departure and nothing else."))
    if draft.energy_wh is not None and not 0 < draft.energy_wh <= charging.MOST_WH:
        raise UnableToConstrain("energy_wh", _("This is no energy that a vehicle could take."))
    if draft.departs_at is not None and draft.departs_at <= now:
        raise UnableToConstrain("departs_at", _("It would be over already."))
    begins = draft.valid_at or now
    if draft.departs_at is not None and draft.departs_at <= begins:
        raise UnableToConstrain("departs_at", _("It ends before it begins."))
    if draft.invalid_at is not None and draft.invalid_at <= max(begins, now):
        raise UnableToConstrain("invalid_at", _("It would be over already."))


def _is_of(policy: ChargingPolicy, kind: EmitterKind) -> bool:
    return policy.emitter is not None and kind_of(policy.emitter) == kind


def _priority(emitter: Emitter, asked: int | None) -> int:
    """A policy's own, but never above what its emitter could give a constraint."""
    priority = priority_of(EmitterKind.CHARGING_POLICY, asked)
    greatest = ceiling(emitter.kind)
    if priority > greatest:
        reason = _("From 0 to %(greatest)s: higher needs a higher kind of emitter.")
        raise UnableToConstrain("priority", reason % {"greatest": greatest})
    return priority


def stations_of(target: Target) -> QuerySet[Appliance]:
    """The charging stations that a policy on this target is for."""
    if isinstance(target, System):
        appliances = Appliance.objects.filter(system=target.pk, removed_at=None)
    else:
        appliances = members_of(target)
    return appliances.filter(kind=ApplianceKind.EV_CHARGING_STATION).order_by("key")


def _record(policy: ChargingPolicy, verb: str, by: User | None, now: datetime) -> None:
    target = policy.target
    account = account_of(target)
    changes = {"policy": [None, policy.mode], "priority": [None, policy.priority]}
    record_change(verb=verb, target=target, account=account, by=by, now=now, changes=changes)
