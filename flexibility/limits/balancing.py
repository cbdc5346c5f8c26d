"""Divides shared limits anew, and keeps the shares: constraints like any other (`shares`).

It happens within whatever resolves a system (`resolving`), and as readings come, when `due_at` has
passed. A share is one row for each limit and appliance, changed in place. A limit that begins later
is divided beforehand, so that gateways that are cut off by then keep to it, too.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Min, QuerySet

from accounts.rows import update_rows
from flexibility.allotment import Limit, Measured, PhaseWatts, Strategy, Tally
from flexibility.limits.shares import divide_limits
from flexibility.limits.terms import Division, Kept, Rule, Span, Taker
from flexibility.models import (
    Constraint,
    Flexibility,
    GatewaySchedule,
    Share,
    SharedLimit,
    not_over,
)
from flexibility.resolver import EmitterKind
from flexibility.standing import as_pure, concerns, standing_constraints
from inventory.kinds import CONTROLLABLE, ApplianceKind, Plug
from inventory.models import Appliance, Cluster, Gateway, System
from measurements.models import LatestReading
from measurements.queries import ApplianceNow, live_of_systems

# How often readings are looked at.
EVERY = timedelta(seconds=10)
# How long the shares of a limit without an end hold, and how much of that must be left.
LASTING = timedelta(days=400)
LASTING_LEFT = timedelta(days=200)
# How long before a limit begins it is divided, as far as gateways know in advance, and when once
# more, by readings that are as good as those of its beginning.
AHEAD = timedelta(hours=48)
SHORTLY = timedelta(minutes=1)

NOMINAL_V = 230.0
# What flows on a phase that is not in use.
_IDLE_A = 1.0
_AN_INSTANT = timedelta(microseconds=1)


def next_due(*, now: datetime) -> datetime | None:
    """When the next limit is due after `now`."""
    coming = SharedLimit.objects.filter(not_over(now), withdrawn_at=None, due_at__gt=now)
    return coming.aggregate(next=Min("due_at"))["next"]


def due_limits(*, now: datetime) -> QuerySet[SharedLimit]:
    """The limits that are to be divided now."""
    return SharedLimit.objects.filter(not_over(now), withdrawn_at=None, due_at__lte=now)


def balance(*, systems: Collection[UUID], now: datetime) -> set[UUID]:
    """Divide the limits of these systems by what is known now; returns those with other shares.

    For who holds them (`resolving.hold_systems`). The number of queries is fixed.
    """
    standing = SharedLimit.objects.filter(not_over(now), system__in=systems, withdrawn_at=None)
    limits = list(standing.order_by("created_at", "pk"))
    if not limits:
        return set()
    rows = list(Constraint.objects.filter(limit__in=limits).select_related("share"))
    known = [limit for limit in limits if limit.valid_at <= now + AHEAD]
    divided = _divided(known, rows, now) if known else {}
    return _save_shares(known, rows, divided, now)


def try_limit(limit: SharedLimit, *, now: datetime) -> Division:
    """What dividing would come to if this limit, not saved yet, stood beside the others.

    In place of the one with its id. Nothing is written.
    """
    standing = SharedLimit.objects.filter(not_over(now), system=limit.system_id, withdrawn_at=None)
    others = standing.filter(valid_at__lte=now + AHEAD).exclude(pk=limit.pk)
    limits = [*others.order_by("created_at", "pk"), limit]
    rows = Constraint.objects.filter(limit__in=[one.pk for one in limits]).select_related("share")
    return _divided(limits, list(rows), now)[limit.system_id]


@dataclass(frozen=True, slots=True)
class Moved:
    """The greatest power of an appliance's share of a limit (ids) before and after, in W."""

    appliance: UUID
    limit: SharedLimit
    before_w: float | None
    after_w: float | None


def moved_shares(
    *,
    appliances: Collection[Appliance],
    drafts: Collection[Constraint],
    without: Collection[UUID] = (),
    now: datetime,
) -> list[Moved]:
    """Whose shares would move if constraints that are not saved stood for each of these appliances.

    And those with the ids `without` no longer did. It is what it comes to in the end, when falls
    are confirmed and rises are over. Nothing is written.
    """
    systems = {one.system_id for one in appliances}
    limits = list(SharedLimit.objects.valid(now).filter(system__in=systems).order_by("pk"))
    begun = [row for row in drafts if row.valid_at <= now < row.invalid_at]
    if not limits or not (begun or without):
        return []
    before = _divided(limits, (), now)
    meant = {one.pk: [row for row in begun if concerns(row, one)] for one in appliances}
    after = _divided(limits, (), now, drafts=meant, without=without)
    by_id = {str(limit.pk): limit for limit in limits}
    return [
        Moved(UUID(taker), by_id[limit], was.span.max_w, kept.span.max_w)
        for system, division in after.items()
        for (limit, taker), kept in division.shares.items()
        for was in [before[system].shares[limit, taker]]
        if was.span.max_w != kept.span.max_w
    ]


# What is known -----------------------------------------------------------------------------------


def _divided(
    limits: Sequence[SharedLimit],
    rows: Sequence[Constraint],
    now: datetime,
    *,
    drafts: Mapping[UUID, Sequence[Constraint]] | None = None,
    without: Collection[UUID] = (),
) -> dict[UUID, Division]:
    """The limits of each system (id), divided.

    One that begins later is divided by what is known now, but with all that stands by then. With
    what is tried out: `drafts` by appliance, and without these constraints.
    """
    systems = {limit.system_id for limit in limits}
    parents: dict[UUID, dict[str, str | None]] = defaultdict(dict)
    clusters = Cluster.objects.filter(system__in=systems).order_by("key")
    for system, pk, parent in clusters.values_list("system", "pk", "parent"):
        parents[system][str(pk)] = None if parent is None else str(parent)
    sites = {system.key: system.pk for system in System.objects.filter(pk__in=systems)}
    live = {
        sites[key]: found.appliances
        for key, found in live_of_systems(
            systems=[System(pk=pk, key=key) for key, pk in sites.items()], now=now
        ).items()
    }
    begins = {limit.pk: max(limit.valid_at, now) for limit in limits}
    takers = _takers(
        [one for found in live.values() for one in found],
        rows,
        now,
        until_at=max(begins.values()) + _AN_INSTANT,
    )
    if drafts or without:
        takers = {
            system: [_trying(one, drafts or {}, without) for one in some]
            for system, some in takers.items()
        }
    found: dict[UUID, Division] = defaultdict(Division)
    for system, at in sorted({(limit.system_id, begins[limit.pk]) for limit in limits}):
        standing = [
            limit
            for limit in limits
            if limit.system_id == system
            and begins[limit.pk] <= at
            and (limit.invalid_at is None or limit.invalid_at > at)
        ]
        beginning = {str(limit.pk) for limit in standing if begins[limit.pk] == at}
        division = divide_limits(
            map(_rule, standing),
            [_with_shares_of(beginning, taker) for taker in takers[system]],
            parents=parents[system],
            meter=_meter(live[system]),
            now=now,
            at=at,
        )
        shares, tallies = division.shares.items(), division.tallies.items()
        found[system].shares.update({key: one for key, one in shares if key[0] in beginning})
        found[system].tallies.update({key: one for key, one in tallies if key in beginning})
    return found


def _trying(
    taker: Taker, drafts: Mapping[UUID, Sequence[Constraint]], without: Collection[UUID]
) -> Taker:
    gone = set(map(str, without))
    kept = (one for one in taker.constraints if one.id not in gone)
    return replace(taker, constraints=(*kept, *map(as_pure, drafts.get(UUID(taker.key), ()))))


def _with_shares_of(limits: Collection[str], taker: Taker) -> Taker:
    """Without what it has of limits that are not divided, but only stand, at the time."""
    return replace(taker, kept={key: one for key, one in taker.kept.items() if key in limits})


def _rule(limit: SharedLimit) -> Rule:
    return Rule(
        key=str(limit.pk),
        cluster=None if limit.cluster_id is None else str(limit.cluster_id),
        limit=Limit(
            min_w=limit.min_w,
            max_w=limit.max_w,
            phase_max_w=limit.phase_max_w and tuple(limit.phase_max_w),
            strategy=Strategy(limit.strategy),
            fuse=limit.fuse,
        ),
        priority=limit.priority,
        created_at=limit.created_at,
        kinds=frozenset(limit.kinds),
        members=frozenset(map(str, limit.members)),
        dynamic=limit.dynamic,
        net=limit.net,
        order=tuple(map(str, limit.order)),
        balanced_at=limit.balanced_at,
    )


def _takers(
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
    kept: dict[UUID, dict[str, Kept]] = defaultdict(dict)
    for row in rows:
        if row.withdrawn_at is None and row.invalid_at > now:
            kept[row.appliance_id][str(row.limit_id)] = _kept(row)
    links = _Links(appliances)
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
                is_confirmed=links.have_confirmed(appliance),
                power_w=one.power_w,
                phases_w=_phases_w(one),
                phases=_phases(one),
                kept=kept[appliance.pk],
            )
        )
    return found


class _Links:
    """What gateways do about what they are told."""

    def __init__(self, appliances: Collection[Appliance]) -> None:
        gateways = {one.gateway_id for one in appliances if one.gateway_id is not None}
        there = Gateway.objects.filter(pk__in=gateways, revoked_at=None)
        self._there = set(there.values_list("pk", flat=True))
        self._schedules = GatewaySchedule.objects.defer("body").in_bulk(gateways)
        refusing = Flexibility.objects.exclude(refusal="").filter(
            appliance__in=[one.pk for one in appliances]
        )
        self._refusing = set(refusing.values_list("pk", flat=True))

    def are_steering(self, appliance: Appliance) -> bool:
        """Whether the appliance does as its gateway is told."""
        is_told = appliance.gateway_id in self._there and appliance.local_id != ""
        return is_told and appliance.pk not in self._refusing

    def have_confirmed(self, appliance: Appliance) -> bool:
        """Whether its gateway has taken over the newest schedule."""
        schedule = self._schedules.get(appliance.gateway_id)
        return (
            schedule is not None
            and schedule.acknowledged_revision >= schedule.revision
            and not schedule.refusal
        )


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


def _meter(live: Iterable[ApplianceNow]) -> Measured | None:
    """What flows at the grid connection; of its currents nobody knows whether they are fed in."""
    meters = [one for one in live if one.appliance.kind == ApplianceKind.GRID_METER]
    if not meters or any(one.power_w is None for one in meters):
        return None
    currents_a = [_currents_a(one.reading) for one in meters]
    phases_w = None
    if None not in currents_a:
        phases_w = tuple(NOMINAL_V * sum(phase) for phase in zip(*currents_a, strict=True))
    return Measured(sum(one.power_w for one in meters), phases_w)


def _kept(row: Constraint) -> Kept:
    share = row.share
    return Kept(
        span=Span(row.min_w, row.max_w),
        wide=Span(share.wide_min_w, share.wide_max_w),
        **{name: getattr(share, name) for name in _TOLD},
    )


# What is kept ------------------------------------------------------------------------------------

_TURNS = ("paused_since", "running_since", "asks_since")
_TOLD = (*_TURNS, "unconfirmed_since", "why_min", "why_max")
_STATE = (*_TOLD, "wide_min_w", "wide_max_w")
_SHARE = ("min_w", "max_w", "priority", "emitter", "valid_at", "invalid_at", "withdrawn_at")


def _save_shares(
    limits: Sequence[SharedLimit],
    rows: Iterable[Constraint],
    divided: Mapping[UUID, Division],
    now: datetime,
) -> set[UUID]:
    """Save the shares that changed, end those that are no more; returns the systems concerned."""
    known = {(str(row.limit_id), str(row.appliance_id)): row for row in rows}
    by_key = {str(limit.pk): limit for limit in limits}
    shares, states, systems = [], [], set()
    for system, division in divided.items():
        for (limit, taker), kept in division.shares.items():
            row = known.pop((limit, taker), None) or _new_row(by_key[limit], taker)
            if _change(row, _share(row, by_key[limit], kept, now)):
                shares.append(row)
                systems.add(system)
            audited = _audited(row.share)
            if _change(row.share, _state(row, kept, now)):
                states.append(row.share)
                if _audited(row.share) != audited:
                    systems.add(system)
    systems |= _end([row for row in known.values() if row.withdrawn_at is None], now)
    Constraint.objects.bulk_create(
        shares,
        update_conflicts=True,
        unique_fields=["limit", "appliance"],
        update_fields=_SHARE,
    )
    Share.objects.bulk_create(
        states, update_conflicts=True, unique_fields=["constraint"], update_fields=_STATE
    )
    for limit in limits:
        division = divided[limit.system_id]
        limit.tallies = list(map(_as_json, division.tallies.get(str(limit.pk), ())))
        limit.due_at = _next_due(limit, now)
        limit.balanced_at = now if limit.valid_at <= now else None
    update_rows(limits, ["tallies", "balanced_at", "due_at"])
    return systems


def _new_row(limit: SharedLimit, taker: str) -> Constraint:
    row = Constraint(
        created_at=limit.created_at,
        appliance_id=UUID(taker),
        limit=limit,
        emitter_kind=EmitterKind.CLUSTER_LIMIT.value,
    )
    row.share = Share(constraint=row)
    return row


def _share(row: Constraint, limit: SharedLimit, kept: Kept, now: datetime) -> dict[str, Any]:
    is_new = row.withdrawn_at is not None or row.invalid_at is None or row.invalid_at <= now
    has_begun = limit.valid_at <= now and row.valid_at is not None and row.valid_at <= now
    return {
        "min_w": kept.span.min_w,
        "max_w": kept.span.max_w,
        "priority": limit.priority,
        "emitter_id": limit.emitter_id,
        "valid_at": max(now, limit.valid_at) if is_new or not has_begun else row.valid_at,
        "invalid_at": limit.invalid_at or _lasting(None if is_new else row.invalid_at, now),
        "withdrawn_at": None,
    }


def _state(row: Constraint, kept: Kept, now: datetime) -> dict[str, Any]:
    told = {name: getattr(kept, name) for name in _TOLD}
    if row.valid_at > now:
        # Turns begin with the limit.
        told |= dict.fromkeys(_TURNS)
    return told | {"wide_min_w": kept.wide.min_w, "wide_max_w": kept.wide.max_w}


def _audited(share: Share) -> tuple[str, str, bool]:
    """What the audit keeps of how a share came about."""
    return share.why_min, share.why_max, share.asks_since is None


def _next_due(limit: SharedLimit, now: datetime) -> datetime:
    if limit.valid_at <= now:
        return now + EVERY
    shortly = limit.valid_at - SHORTLY
    return shortly if now < shortly else limit.valid_at


def _change(row: Constraint | Share, values: Mapping[str, Any]) -> bool:
    """Set these values; whether any is another one."""
    is_other = any(getattr(row, name) != value for name, value in values.items())
    for name, value in values.items() if is_other else ():
        setattr(row, name, value)
    return is_other


def _lasting(before: datetime | None, now: datetime) -> datetime:
    """Until when the share of a limit without an end holds: renewed long before that."""
    is_long = before is not None and now + LASTING_LEFT < before <= now + LASTING
    return before if is_long else now + LASTING


def _end(rows: Sequence[Constraint], now: datetime) -> set[UUID]:
    if not rows:
        return set()
    Constraint.objects.filter(pk__in=[row.pk for row in rows]).update(withdrawn_at=now)
    concerned = Appliance.objects.filter(pk__in=[row.appliance_id for row in rows])
    return set(concerned.values_list("system", flat=True))


def _as_json(tally: Tally) -> dict[str, Any]:
    return {
        "side": tally.side.value,
        "phase": tally.phase,
        "limit_w": tally.limit_w,
        "allotted_w": tally.allotted_w,
        "over_w": tally.over_w,
        "by": [list(each) for each in tally.by],
        "blind": tally.blind,
    }
