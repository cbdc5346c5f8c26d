"""An appliance as a member of a division: what it may have, and what it may be doing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flexibility.allotment import IN_USE_W, Last, Member
from flexibility.limits.terms import OPEN, Kept, Rule, Span, Taker, or_inf
from flexibility.resolver import Boundary, Constraint, EmitterKind, most_w, resolve
from inventory.kinds import ApplianceKind

# A gateway that has not confirmed its newest schedule for so long, whether it could be sent or not,
# is not waited for any more and does not do as it was told; after so long the one that it had
# confirmed may be over.
CONFIRMED_WITHIN = timedelta(minutes=2)
HELD_FOR = timedelta(hours=23)
# A car that takes nothing is full, or waits for something; after so long its share goes to others,
# and after so long again it is offered one.
IDLE_AFTER = timedelta(minutes=3)
ASKED_AGAIN_AFTER = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Known:
    """A taker as a member of a group.

    `held`: what surely bounds it now, whatever it was told; `physical`: what it can do.
    """

    taker: Taker
    chain: tuple[Rule, ...]
    member: Member
    kept: Kept | None
    held: Span
    physical: Span
    unused_since: datetime | None

    def unbound(self) -> Member:
        """The member as it would be if it did all that it can."""
        return Member(
            self.member.key,
            self.member.node,
            min_w=self.physical.min_w and min(self.physical.min_w, 0.0),
            max_w=self.physical.max_w and max(self.physical.max_w, 0.0),
            phases=self.member.phases,
        )


def known_of(
    taker: Taker,
    chain: tuple[Rule, ...],
    stronger_shares: tuple[Constraint, ...],
    weaker_shares: tuple[Constraint, ...],
    *,
    now: datetime,
    at: datetime,
) -> Known:
    """The taker as a member of limits above one another, the innermost first.

    With its shares of stronger limits, and what weaker ones would leave it; `at` is the instant
    that is divided for.
    """
    kept = _together([taker.kept[rule.key] for rule in chain if rule.key in taker.kept])
    held = held_by(taker, kept, now, at)
    is_unsure = _is_unsure(taker, kept, now)
    stronger = resolve(
        (one for one in (*taker.constraints, *stronger_shares) if _is_stronger(one, chain)), at=at
    ).boundary
    driven = resolve(
        (one for one in taker.constraints if one.emitter is EmitterKind.DRIVER), at=at
    ).boundary
    physical = _or_rated(driven, taker.rated)
    unused_since = _unused_since(taker, kept, driven.min_w or 0.0, now)
    can_pause = stronger.can_pause
    if is_unsure:
        # An order may not have reached it; where it has, no share bounds what it does. Its least
        # is its driver's: where others hold it at 0, it may be off as well.
        can_pause |= or_inf(stronger.min_w, -1) <= 0 <= or_inf(stronger.max_w)
        own, holds = _with_orders(physical, driven), _without_ordered(held, stronger, driven)
    else:
        every = resolve((*taker.constraints, *stronger_shares, *weaker_shares), at=at).boundary
        own, holds = _or_rated(_to_be_had(every, stronger), taker.rated), held
        own = _with_orders(own, stronger)
    member = Member(
        taker.key,
        chain[0].key,
        min_w=own.min_w,
        max_w=own.max_w,
        can_pause=can_pause,
        set_point_w=stronger.set_point_w,
        phases=taker.phases,
        order=_order(taker, chain),
        active_since=(kept and kept.asks_since) or now,
        draws=taker.draws and not _is_idle(unused_since, now),
        is_stale=is_unsure,
        measured_w=taker.power_w,
        measured_phases_w=taker.phases_w,
        holds_min_w=holds.min_w,
        holds_max_w=holds.max_w,
        last=_last(kept, chain, taker),
    )
    return Known(taker, chain, member, kept, held.narrowed(physical), physical, unused_since)


def _unused_since(
    taker: Taker, kept: Kept | None, least_w: float, now: datetime
) -> datetime | None:
    """Since when a car takes nothing of what it may have; after a while it is asked again."""
    if taker.kind is not ApplianceKind.EV_CHARGING_STATION or kept is None or not taker.draws:
        return None
    since = kept.unused_since
    if taker.power_w is None:
        return since
    if taker.power_w >= IN_USE_W:
        return None
    if _is_idle(since, now):
        return since if now - since < IDLE_AFTER + ASKED_AGAIN_AFTER else None
    asked = resolve(taker.constraints, at=now).boundary
    may_w = min(
        or_inf(most_w(asked)),
        *(or_inf(one.span.max_w) for one in taker.kept.values()),
    )
    return (since or now) if may_w >= max(least_w, IN_USE_W) else None


def _is_idle(unused_since: datetime | None, now: datetime) -> bool:
    return unused_since is not None and now - unused_since >= IDLE_AFTER


def _is_stronger(one: Constraint, chain: tuple[Rule, ...]) -> bool:
    """Whether it outweighs any of these limits, which are of one priority.

    Set at the very same time, its id decides, which a share does not have yet: then it may.
    """
    oldest = min(rule.created_at for rule in chain)
    return (one.priority, one.created_at) >= (chain[0].priority, oldest)


def _is_unsure(taker: Taker, kept: Kept | None, now: datetime) -> bool:
    """Whether nobody knows what it does, or whether it does as it is told."""
    since = None if kept is None or taker.is_confirmed else kept.unconfirmed_since
    is_late = since is not None and now - since > CONFIRMED_WITHIN
    return taker.is_stale or not taker.is_steered or is_late


def held_by(taker: Taker, kept: Kept | None, now: datetime, at: datetime) -> Span:
    """The widest share that may be in force at an instant, by what is known now."""
    if kept is None or not taker.is_steered:
        return OPEN
    since = None if taker.is_confirmed else kept.unconfirmed_since
    if since is not None and now - since > HELD_FOR:
        return OPEN
    return kept.widest_at(at)


def _together(found: Sequence[Kept]) -> Kept | None:
    """The shares of limits above one another as one: each of them bounds, mostly they are alike.

    Turns are those of a limit that has begun.
    """
    if not found:
        return None
    one = next((each for each in found if each.paused_since or each.running_since), found[0])
    for other in found:
        if (other.wide, other.ahead) == (one.wide, one.ahead):
            continue
        one = replace(
            one,
            span=one.span.narrowed(other.span),
            wide=one.wide.narrowed(other.wide),
            ahead={
                at: one.widest_at(at).narrowed(other.widest_at(at))
                for at in {*one.ahead, *other.ahead}
            },
        )
    return one


def _to_be_had(every: Boundary, stronger: Boundary) -> Span:
    """What all constraints leave; with a set point that is weaker than the limit, no more."""
    span = Span(every.min_w, every.max_w)
    set_point_w = every.set_point_w
    if set_point_w is None or stronger.set_point_w is not None:
        return span
    return span.narrowed(Span(min(set_point_w, 0.0), max(set_point_w, 0.0)))


def _or_rated(boundary: Boundary | Span, rated: Span) -> Span:
    return Span(
        rated.min_w if boundary.min_w is None else boundary.min_w,
        rated.max_w if boundary.max_w is None else boundary.max_w,
    )


def _with_orders(own: Span, stronger: Boundary) -> Span:
    """A bound beyond 0 is an order to draw or to feed in, and counts if it is a stronger one's."""
    is_to_draw = (stronger.min_w or 0.0) > 0
    is_to_feed = (stronger.max_w or 0.0) < 0
    return Span(
        stronger.min_w if is_to_draw else own.min_w and min(own.min_w, 0.0),
        stronger.max_w if is_to_feed else own.max_w and max(own.max_w, 0.0),
    )


def _without_ordered(held: Span, stronger: Boundary, driven: Boundary) -> Span:
    """A share without the sides that an order, which is no driver's, may break."""
    is_to_draw = (stronger.min_w or 0.0) > max(driven.min_w or 0.0, 0.0)
    is_to_feed = (stronger.max_w or 0.0) < min(driven.max_w or 0.0, 0.0)
    return Span(None if is_to_feed else held.min_w, None if is_to_draw else held.max_w)


def _order(taker: Taker, chain: tuple[Rule, ...]) -> int:
    """Its place in the order of the nearest limit that has one; the others come after."""
    order = next((rule.order for rule in chain if rule.order), ())
    return order.index(taker.key) if taker.key in order else len(order) + taker.place


def _last(kept: Kept | None, chain: tuple[Rule, ...], taker: Taker) -> Last | None:
    if kept is None:
        return None
    at = max(
        (rule.balanced_at for rule in chain if rule.key in taker.kept and rule.balanced_at),
        default=None,
    )
    return at and Last(at, *kept.span, kept.paused_since, kept.running_since)
