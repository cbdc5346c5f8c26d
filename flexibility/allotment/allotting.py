"""The allotment itself: both sides, one after the other, put together."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from flexibility.allotment.division import divide
from flexibility.allotment.places import (
    OPEN,
    SIXTHS,
    SUM,
    Part,
    Place,
    count,
    mw_down,
    mw_up,
    part_of,
    places_of,
    rooms_beside,
    sorted_members,
    sorted_nodes,
    weights_of,
)
from flexibility.allotment.terms import (
    Allotment,
    Bound,
    Member,
    Node,
    NodeOutcome,
    Pace,
    Share,
    Side,
    Tally,
    Why,
)
from flexibility.allotment.turns import stand_by, take_turns

_UNLIMITED = Bound(None, Why.UNLIMITED, None)
_NO_PACE = Pace()


def allot(
    *, nodes: Iterable[Node], members: Iterable[Member], pace: Pace = _NO_PACE, now: datetime
) -> Allotment:
    """Divide the limits of nodes among the members beneath them; the rules are the package's.

    Raises `UnusableTree` where nodes and members do not make up trees.
    """
    nodes = sorted_nodes(nodes)
    members = sorted_members(members, nodes)
    bounds: dict[Side, Mapping[str, Bound]] = {}
    paused: set[str] = set()
    tallies: dict[str, list[Tally]] = {}
    for side in Side:
        places = places_of(nodes, side)
        limiting = [place for key, place in places.items() if place and place.key == key]
        parts = [
            part
            for member in members
            if (home := places[member.node])
            and (part := part_of(member, home, side, pace=pace, now=now))
        ]
        _divide_side(limiting, parts, pace, now)
        over = _tally(limiting, parts, side, tallies)
        nothing = {place: Bound(0.0, Why.FULL, place.key) for place in limiting}
        bounds[side] = {
            member.key: nothing.get(places[member.node], _UNLIMITED) for member in members
        } | {part.member.key: _bound(part, side, over) for part in parts}
        paused |= {part.member.key for part in parts if part.is_paused}
    return Allotment(
        {member.key: _share(member, bounds, member.key in paused, now) for member in members},
        {key: NodeOutcome(key, tuple(found)) for key, found in tallies.items()},
    )


def fits(*, nodes: Iterable[Node], members: Iterable[Member]) -> bool:
    """Whether all members could do the most that they can at once, within every limit of nodes.

    Then there is nothing to divide: `allot` gives all of them all that neither a set point nor a
    minimum, a stale reading nor the pace forbids. It counts maxima alone, so it takes a fraction of
    the time. Raises `UnusableTree` as `allot` does.
    """
    nodes = sorted_nodes(nodes)
    members = sorted_members(members, nodes)
    return all(_fits_side(nodes, members, side) for side in Side)


def _fits_side(nodes: Sequence[Node], members: Sequence[Member], side: Side) -> bool:
    most: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for member in members:
        _, most_w, _ = member.facing(side)
        most[member.node, member.phases] += OPEN if most_w is None else max(0, mw_down(most_w))
    places = places_of(nodes, side)
    rooms = rooms_beside({place for place in places.values() if place}, ())
    for (node, phases), amount in most.items():
        if home := places[node]:
            count(home, weights_of(phases), amount, rooms)
    return all(left >= 0 for room in rooms.values() for left in room.values())


def _divide_side(places: Sequence[Place], parts: Sequence[Part], pace: Pace, now: datetime) -> None:
    """Set floors and shares: of what cannot be helped, of those that ask, of all others."""
    asking = [part for part in parts if part.asks and not part.is_fixed]
    others = [part for part in parts if not part.asks and not part.is_fixed]
    fixed = [part for part in parts if part.is_fixed]
    take_turns(asking, rooms_beside(places, parts), pace=pace, now=now)
    divide(places, asking, rooms_beside(places, fixed + others))
    if others:
        stand_by(others, rooms_beside(places, parts))
        divide(places, others, rooms_beside(places, fixed + asking))


def _tally(
    places: Sequence[Place], parts: Sequence[Part], side: Side, tallies: dict[str, list[Tally]]
) -> set[Place]:
    """Add up what members are counted with at each place; returns those that are over a limit."""
    rooms = rooms_beside(places, parts)
    over = {place for place, room in rooms.items() if min(room.values()) < 0}
    beneath: dict[Place, list[Part]] = {place: [] for place in over}
    for part in parts if over else ():
        for place in part.home.chain:
            if part.must and place in over:
                beneath[place].append(part)
    for place, room in rooms.items():
        for phase, left in room.items():
            tally = _tally_of(place, phase, left, side, beneath.get(place, ()))
            tallies.setdefault(place.key, []).append(tally)
    return over


def _tally_of(place: Place, phase: int, left: int, side: Side, beneath: Sequence[Part]) -> Tally:
    limit = place.limits[phase]
    which = None if phase == SUM else phase
    limit_w, allotted_w = _sixths_w(limit, side), _sixths_w(limit - left, side)
    if left >= 0:
        return Tally(side, which, limit_w, allotted_w)
    held = sorted(
        ((part.weights[phase] * part.must, part.member.key) for part in beneath),
        key=lambda entry: (-entry[0], entry[1]),
    )
    by = tuple((key, _sixths_w(amount, side)) for amount, key in held if amount)
    over_w = None if allotted_w is None else -left / (SIXTHS * 1000)
    return Tally(side, which, limit_w, allotted_w, over_w, by)


def _bound(part: Part, side: Side, over: set[Place]) -> Bound:
    """What a member is told of one side."""
    if part.member.is_stale:
        part.is_paused, told = _told_while_stale(part, side, over)
    else:
        told = part.share
    why = _why(part)
    decided = why in (Why.STRATEGY, Why.MINIMUM, Why.PAUSED, Why.RESTING)
    by = part.by if decided and part.by else part.home
    return Bound(side.sign * told / 1000, why, by.key)


def _told_while_stale(part: Part, side: Side, over: set[Place]) -> tuple[bool, int]:
    """Whether a stale member is paused, and its share: no more than what it had before.

    Where its worst case is too much, it is told to have the least, for when it hears again.
    """
    member = part.member
    least_w, _, set_point_w = member.facing(side)
    least = max(0, mw_up(least_w or 0.0))
    told = 0
    if over.isdisjoint(part.home.chain):
        had_w = member.last and (member.last.max_w if side is Side.MAX else member.last.min_w)
        told = part.share if had_w is None else min(part.share, mw_down(side.sign * had_w))
    told = max(told, mw_up(set_point_w or 0.0))
    if told >= least:
        return False, told
    return (True, 0) if member.can_pause else (False, least)


def _why(part: Part) -> Why:
    if part.member.is_stale:
        return Why.STALE
    if part.member.set_point_w is not None:
        return Why.SET_POINT
    if part.is_paused:
        return Why.RESTING if part.is_resting else Why.PAUSED
    if part.share >= part.own:
        return Why.FULL
    if not part.asks:
        return Why.IDLE
    if part.share <= part.floor:
        return Why.MINIMUM
    return Why.RAMPING if part.share >= part.cap else Why.STRATEGY


def _share(
    member: Member, bounds: Mapping[Side, Mapping[str, Bound]], is_paused: bool, now: datetime
) -> Share:
    lower = bounds[Side.MIN][member.key]
    upper = bounds[Side.MAX][member.key]
    is_limited = {lower.why, upper.why} != {Why.UNLIMITED}
    turn = _turn_of(member, is_paused, now) if is_limited else (None, None)
    return Share(member.key, lower, upper, is_paused, *turn)


def _turn_of(
    member: Member, is_paused: bool, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Since when a member has waited for its turn, and since when it has had it.

    Who is held at 0 by something else than the limits waits as others do.
    """
    last = member.last
    paused_since, running_since = (last.paused_since, last.running_since) if last else (None, None)
    is_held = member.min_w == member.max_w == 0 and (member.draws or member.feeds)
    if is_paused or is_held:
        return paused_since or now, None
    if not member.can_pause or (member.set_point_w is not None):
        return None, None
    if member.is_stale:
        return None, running_since
    asks = member.draws if (member.min_w or 0.0) > 0 else member.feeds
    return (None, running_since or now) if asks else (None, None)


def _sixths_w(sixths: int, side: Side) -> float | None:
    """Watts of sixths of a mW; None where somebody's power is open."""
    return None if sixths >= OPEN else side.sign * sixths / (SIXTHS * 1000)
