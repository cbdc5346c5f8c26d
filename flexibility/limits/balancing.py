"""Divides shared limits anew; their shares are constraints like any other.

It happens within whatever resolves a system (`resolving`), and as readings come, when `due_at` has
passed: who takes part is read (`takers`), the limits are divided (`shares`), and what has changed
is kept (`keeping`). It is divided beforehand, too, for when a limit begins, and for when what is
asked of members begins or ends: a gateway that is cut off by then keeps to it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Min, QuerySet

from flexibility.allotment import Limit, Measured, Side, Strategy, Why
from flexibility.limits.keeping import save_shares
from flexibility.limits.shares import TOLERANCE_W, divide_limits
from flexibility.limits.takers import measured_at_grid, takers_of
from flexibility.limits.terms import Division, Kept, Rule, Taker, or_inf
from flexibility.models import Constraint, SharedLimit, not_over
from flexibility.standing import as_pure, concerns
from inventory.models import Appliance, Cluster, System
from measurements.queries import live_of_systems

# How long before a limit begins it is divided, as far as gateways know in advance.
AHEAD = timedelta(hours=48)
# So many instants to come, of those at which something else begins or ends, are divided for; what
# lies behind them is when they are nearer.
MOST_AHEAD = 8
_AN_INSTANT = timedelta(microseconds=1)


def next_due(*, now: datetime) -> datetime | None:
    """When the next limit is due after `now`."""
    coming = SharedLimit.objects.filter(not_over(now), withdrawn_at=None, due_at__gt=now)
    return coming.aggregate(next=Min("due_at"))["next"]


def due_limits(*, now: datetime) -> QuerySet[SharedLimit]:
    """The limits that are to be divided now."""
    return SharedLimit.objects.filter(not_over(now), withdrawn_at=None, due_at__lte=now)


def balance(*, systems: Collection[UUID], now: datetime, looks_ahead: bool = True) -> set[UUID]:
    """Divide the limits of these systems by what is known now; returns those with other shares.

    For who holds them (`resolving.hold_systems`). The number of queries is fixed. Without
    `looks_ahead` it is for readings, which mostly change nothing; where they do, it looks ahead.
    """
    standing = SharedLimit.objects.filter(not_over(now), system__in=systems, withdrawn_at=None)
    limits = list(standing.order_by("created_at", "pk"))
    if not limits:
        return set()
    rows = list(Constraint.objects.filter(limit__in=limits).select_related("share"))
    known = [limit for limit in limits if limit.valid_at <= now + AHEAD]
    looks_ahead |= any(row.fallback and _is_to_be_seen_to(row, now) for row in rows)
    scene = _scene(known, rows, now, until_at=now + AHEAD)
    divided = _divided(scene, looks_ahead=looks_ahead)
    if not looks_ahead and _moves(rows, divided):
        looks_ahead = True
        divided = _divided(scene, looks_ahead=True)
    return save_shares(known, rows, divided, now, looks_ahead=looks_ahead)


def _is_to_be_seen_to(ahead: Constraint, now: datetime) -> bool:
    """Whether a share of later holds by now, or waits for others to fall."""
    return ahead.valid_at <= now or ahead.share.why_max == Why.RAMPING


def _moves(rows: Iterable[Constraint], divided: Mapping[UUID, Division]) -> bool:
    """Whether anybody's share is another one than before."""
    before = {
        (str(row.limit_id), str(row.appliance_id)): (row.min_w, row.max_w)
        for row in rows
        if row.withdrawn_at is None and not row.fallback
    }
    return before != {
        key: kept.span for division in divided.values() for key, kept in division.shares.items()
    }


def try_limit(limit: SharedLimit, *, now: datetime) -> Division:
    """What dividing would come to if this limit, not saved yet, stood beside the others.

    In place of the one with its id. Nothing is written.
    """
    standing = SharedLimit.objects.filter(not_over(now), system=limit.system_id, withdrawn_at=None)
    others = standing.filter(valid_at__lte=now + AHEAD).exclude(pk=limit.pk)
    limits = [*others.order_by("created_at", "pk"), limit]
    rows = Constraint.objects.filter(limit__in=[one.pk for one in limits]).select_related("share")
    scene = _scene(limits, list(rows), now, until_at=max(now, limit.valid_at) + AHEAD)
    return _divided(scene)[limit.system_id]


@dataclass(frozen=True, slots=True)
class Moved:
    """The greatest power of an appliance's (id) share of a limit, in W, from `valid_at` on."""

    appliance: UUID
    limit: SharedLimit
    valid_at: datetime
    before_w: float | None
    after_w: float | None


@dataclass(frozen=True, slots=True)
class Broken:
    """A limit, of the sum or of one phase, that could not be kept from `valid_at` on.

    `over_w` is by how much it could not; None where that can be any.
    """

    limit: SharedLimit
    valid_at: datetime
    side: Side
    phase: int | None
    over_w: float | None


@dataclass(frozen=True, slots=True)
class Redivided:
    """What constraints would do to limits: to others' shares, and to what keeps to none."""

    moved: Sequence[Moved] = ()
    broken: Sequence[Broken] = ()


def redivide(
    *,
    appliances: Collection[Appliance],
    drafts: Collection[Constraint],
    without: Collection[UUID] = (),
    now: datetime,
) -> Redivided:
    """What limits would come to if constraints that are not saved stood for each of these.

    And those with the ids `without`, and those whose place the drafts take, no longer did. As soon
    as the first draft holds, with the limits of then and the powers of now: it is what it comes to
    in the end, when falls are confirmed and rises are over. Nothing is written.
    """
    systems = {one.system_id for one in appliances}
    at = max(now, min((row.valid_at for row in drafts), default=now))
    limits = list(SharedLimit.objects.valid(at).filter(system__in=systems).order_by("pk"))
    begun = [row for row in drafts if row.valid_at <= at < row.invalid_at]
    if not limits or not (begun or without):
        return Redivided()
    scene = _scene(limits, (), now, until_at=at + _AN_INSTANT)
    before = _divided(scene, earliest=at)
    meant = {one.pk: [row for row in begun if concerns(row, one)] for one in appliances}
    gone = {*without, *(row.pk for row in drafts)}
    after = _divided(scene.trying(meant, gone), earliest=at)
    by_id = {str(limit.pk): limit for limit in limits}
    found = [(before[system], division) for system, division in after.items()]
    return Redivided(
        moved=[
            Moved(UUID(taker), by_id[limit], at, was.span.max_w, kept.span.max_w)
            for earlier, later in found
            for (limit, taker), kept in later.shares.items()
            for was in [earlier.shares[limit, taker]]
            if was.span.max_w != kept.span.max_w
        ],
        broken=[
            Broken(by_id[limit], at, tally.side, tally.phase, tally.over_w)
            for earlier, later in found
            for limit, tallies in later.tallies.items()
            for was, tally in zip(earlier.tallies[limit], tallies, strict=True)
            if or_inf(tally.over_w) > or_inf(was.over_w) + TOLERANCE_W
        ],
    )


# What is known -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is known of some systems (id) and their limits at an instant."""

    now: datetime
    limits: Sequence[SharedLimit]
    takers: Mapping[UUID, Sequence[Taker]]
    parents: Mapping[UUID, Mapping[str, str | None]]
    meters: Mapping[UUID, Measured | None]

    def trying(
        self, drafts: Mapping[UUID, Sequence[Constraint]], without: Collection[UUID]
    ) -> "_Scene":
        """With what is tried out: `drafts` by appliance, and without these constraints."""
        takers = {
            system: [_trying(one, drafts, without) for one in some]
            for system, some in self.takers.items()
        }
        return replace(self, takers=takers)


def _scene(
    limits: Sequence[SharedLimit], rows: Sequence[Constraint], now: datetime, *, until_at: datetime
) -> _Scene:
    """All that limits of some systems are divided by, with what is asked until an instant."""
    systems = System.objects.filter(pk__in={limit.system_id for limit in limits}).order_by("key")
    sites = dict(systems.values_list("key", "pk"))
    parents: dict[UUID, dict[str, str | None]] = defaultdict(dict)
    clusters = Cluster.objects.filter(system__in=sites.values()).order_by("key")
    for system, pk, parent in clusters.values_list("system", "pk", "parent"):
        parents[system][str(pk)] = None if parent is None else str(parent)
    found = live_of_systems(systems=[System(pk=pk, key=key) for key, pk in sites.items()], now=now)
    live = {sites[key]: one.appliances for key, one in found.items()}
    return _Scene(
        now=now,
        limits=limits,
        takers=takers_of(
            [one for some in live.values() for one in some], rows, now, until_at=until_at
        ),
        parents=parents,
        meters={system: measured_at_grid(some) for system, some in live.items()},
    )


def _divided(
    scene: _Scene, *, earliest: datetime | None = None, looks_ahead: bool = False
) -> dict[UUID, Division]:
    """The limits of each system (id), divided.

    One that begins later is divided by what is known now, but with all that stands by then; so are
    all of them for an instant to come (`earliest`), and for those at which what is asked of members
    changes (`looks_ahead`).
    """
    now, limits = scene.now, scene.limits
    begins = {limit.pk: max(limit.valid_at, earliest or now) for limit in limits}
    instants = {(limit.system_id, begins[limit.pk]) for limit in limits}
    if looks_ahead:
        for system, takers in scene.takers.items():
            ends = [limit.invalid_at for limit in limits if limit.system_id == system]
            instants |= {(system, at) for at in _changes(takers, ends, now)}
    found: dict[UUID, Division] = defaultdict(Division)
    for system, at in sorted(instants):
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
            scene.takers.get(system, ()),
            parents=scene.parents[system],
            meter=scene.meters[system],
            now=now,
            at=at,
        )
        for key, kept in division.shares.items():
            if key[0] in beginning:
                found[system].shares[key] = kept
            elif looks_ahead:
                _append(found[system], key, at, kept)
        tallies = division.tallies.items()
        found[system].tallies.update({key: one for key, one in tallies if key in beginning})
    return found


def _changes(
    takers: Iterable[Taker], ends: Iterable[datetime | None], now: datetime
) -> list[datetime]:
    """The next instants at which what is asked of takers begins or ends, or a limit does.

    And those at which it does by a schedule that may still be in force.
    """
    asked, told = set(), set()
    for taker in takers:
        asked |= {at for one in taker.constraints for at in (one.valid_at, one.invalid_at)}
        told |= {at for kept in taker.kept.values() for at in kept.ahead}
    coming = (at for at in {*asked, *told, *ends} if at is not None and now < at < now + AHEAD)
    return sorted(coming)[:MOST_AHEAD]


def _append(division: Division, key: tuple[str, str], at: datetime, kept: Kept) -> None:
    """Add what a share is from an instant on, where that is another one than before."""
    pieces = division.ahead.setdefault(key, [])
    before = pieces[-1][1] if pieces else division.shares.get(key)
    if before is None or before.span != kept.span:
        pieces.append((at, kept))


def _trying(
    taker: Taker, drafts: Mapping[UUID, Sequence[Constraint]], without: Collection[UUID]
) -> Taker:
    gone = set(map(str, without))
    kept = (one for one in taker.constraints if one.id not in gone)
    return replace(taker, constraints=(*kept, *map(as_pure, drafts.get(UUID(taker.key), ()))))


def _rule(limit: SharedLimit) -> Rule:
    return Rule(
        key=str(limit.pk),
        cluster=None if limit.cluster_id is None else str(limit.cluster_id),
        limit=Limit(
            min_w=limit.min_w,
            max_w=limit.max_w,
            phase_max_w=limit.phase_max_w and tuple(limit.phase_max_w),
            strategy=Strategy(limit.strategy),
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
