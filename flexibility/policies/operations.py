"""Charging policies: tried out, set and ended by people, with an audit entry each."""

from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit import Verb, record_change
from accounts.models import User
from flexibility.emitters import Emitter, UnableToConstrain, ceiling, kind_of, priority_of
from flexibility.models import ChargingPolicy, ChargingState
from flexibility.operations import UnableToRestore, is_withdrawn_lately, require_validity
from flexibility.policies import charging
from flexibility.policies.asking import apply_policies, car_of
from flexibility.policies.departures import Plan, plan_departure
from flexibility.policies.site import KnownSite, Others
from flexibility.policies.standing import Target, policies_of, stations_of
from flexibility.policies.terms import MOST_WH, Answer, Demand, Departure, Mode, Station
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems
from flexibility.targets import account_of, fields_of, hold_target, systems_of
from inventory.models import Appliance


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

    Raises UnableToConstrain, naming the field; PermissionDenied for grid operators, who limit.
    """
    if emitter.kind is EmitterKind.GRID_OPERATOR:
        raise PermissionDenied(_("A grid operator limits: policies are for those who charge."))
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
        before = ChargingPolicy.objects.filter(withdrawn_at=None, **fields_of(target))
        replaced = [one.pk for one in before.select_related("emitter") if _is_of(one, emitter.kind)]
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

    Raises PermissionDenied for another kind of emitter than the one that set it; staff may end
    anybody's.
    """
    if not may_end(policy, by):
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
) -> Trial:
    """What a policy would do, were it set now; nothing is kept.

    A departure reckons with what all that weighs more leaves the station until then, and with what
    is known of its car.
    Raises UnableToConstrain as `set_policy` does.
    """
    _check(draft, now)
    priority = _priority(emitter, draft.priority)
    site = KnownSite(appliance.system_id, [appliance])
    others = Others([appliance], now=now, until_at=draft.departs_at or now)
    station = site.station(appliance.pk, most_w=others.leave_now(appliance.pk))
    departure = None
    if draft.mode is Mode.DEPARTURE:
        rooms = others.leave(appliance.pk, least_w=station.min_w, priority=priority, created_at=now)
        departure = Departure(draft.energy_wh, draft.departs_at, rooms=rooms)
    car = car_of(ChargingState.objects.filter(appliance=appliance), now=now)
    demand = Demand(station=station, mode=draft.mode, departure=departure, car=car)
    [answer] = charging.ask([demand], site.site, now=now)
    stronger = (one for one in policies_of(station=appliance, now=now) if one.priority > priority)
    return Trial(
        station=station,
        answer=answer,
        plan=departure and plan_departure(departure, station, car, now=now),
        stronger=next(stronger, None),
    )


def withdraw_own_policies(*, target: Target, by: Emitter, now: datetime) -> None:
    """End what this kind of emitter set on a target itself; of staff, what anybody did."""
    standing = ChargingPolicy.objects.filter(withdrawn_at=None, **fields_of(target))
    with transaction.atomic():
        for policy in standing.select_related("emitter", "appliance", "cluster", "system"):
            if may_end(policy, by):
                withdraw_policy(policy=policy, by=by, now=now)


# Shared ------------------------------------------------------------------------------------------


def _check(draft: PolicyDraft, now: datetime) -> None:
    if (draft.mode is Mode.DEPARTURE) != (draft.departs_at is not None):
        raise UnableToConstrain("departs_at", _("Say by when, for a departure and nothing else."))
    if (draft.mode is Mode.DEPARTURE) != (draft.energy_wh is not None):
        raise UnableToConstrain("energy_wh", _("Say how much, for a departure and nothing else."))
    if draft.energy_wh is not None and not 0 < draft.energy_wh <= MOST_WH:
        raise UnableToConstrain("energy_wh", _("This is no energy that a vehicle could take."))
    begins = draft.valid_at or now
    for name, at in (("departs_at", draft.departs_at), ("invalid_at", draft.invalid_at)):
        require_validity(begins, at, now=now, until=name, may_be_endless=True)


def restore_policy(*, policy: ChargingPolicy, by: Emitter, now: datetime) -> ChargingPolicy:
    """Take back that somebody ended a policy, within a minute.

    One that stands is left as it is. Raises PermissionDenied as `withdraw_policy` does, and
    UnableToRestore where it is too late.
    """
    if not may_end(policy, by):
        raise PermissionDenied
    with transaction.atomic():
        systems = hold_target(policy.target)
        row = ChargingPolicy.objects.select_for_update(of=("self",)).get(pk=policy.pk)
        if row.withdrawn_at is None:
            return row
        if not may_restore_policy(row, now=now):
            raise UnableToRestore(_("It was withdrawn too long ago, or is over: set it anew."))
        standing = ChargingPolicy.objects.filter(withdrawn_at=None, **fields_of(policy.target))
        if any(_is_of(one, by.kind) for one in standing.select_related("emitter")):
            raise UnableToRestore(_("Another one has taken its place."))
        row.withdrawn_at = row.withdrawn_by = None
        row.save(update_fields=["withdrawn_at", "withdrawn_by"])
        _record(row, Verb.CONSTRAINT_RESTORED, by.user, now)
        for system in systems:
            apply_policies(system=system, now=now)
    return row


def may_restore_policy(row: ChargingPolicy, *, now: datetime) -> bool:
    """Whether a person ended it just now, and it would still hold."""
    is_over = row.invalid_at is not None and row.invalid_at <= now
    return is_withdrawn_lately(row, now=now) and not is_over


def may_end(policy: ChargingPolicy, by: Emitter) -> bool:
    """Whether this kind of emitter ends such a policy, its own or, as staff, anybody's."""
    return by.kind is EmitterKind.OPERATOR or _is_of(policy, by.kind)


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


def _record(policy: ChargingPolicy, verb: str, by: User | None, now: datetime) -> None:
    target = policy.target
    account = account_of(target)
    changes = {"policy": [None, policy.mode], "priority": [None, policy.priority]}
    record_change(verb=verb, target=target, account=account, by=by, now=now, changes=changes)
