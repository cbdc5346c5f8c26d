"""The limits of one side as trees of places, and the members as parts of them.

The powers of the side are positive here, in whole mW. Rooms are in sixths of a mW, so that a half
or a third of a power, on one of two or three phases, is a whole number.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flexibility.allotment.terms import Limit, Member, Node, Pace, Side, Strategy

# More power than there is: that of a member without a maximum (10 GW).
OPEN = 10**13
SIXTHS = 6
# The sum, and each of the phases: what a place may have a limit for.
SUM = 0
_UNKNOWN_PHASES = (SIXTHS, SIXTHS, SIXTHS, SIXTHS)

# What is left, in sixths of a mW, of the sum or of a phase.
Rooms = dict[int, int]


class UnusableTree(ValueError):
    """Nodes and members do not make up trees."""


@dataclass(slots=True, eq=False)
class Place:
    """A node with a limit on the side. `chain` leads from it to its root."""

    key: str
    strategy: Strategy
    limits: Rooms
    chain: tuple["Place", ...] = ()
    children: list["Place"] = field(default_factory=list)
    # What of the limits one round divides, and the parts that take part in it.
    caps: Rooms = field(default_factory=dict)
    parts: list["Part"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Part:
    """A member beneath a place, in mW.

    `must` cannot be helped; `need` is the minimum of one that can pause, 0 of all others. `own`
    is what its boundary allows, `cap` what it may rise to now. `floor` is what it has before
    anything is divided, `share` what it ends up with, `by` the place that lowered it last.
    `weights` say how many sixths of its power are on the sum and on each phase.
    """

    member: Member
    home: Place
    weights: tuple[int, int, int, int]
    must: int
    need: int
    own: int
    cap: int
    asks: bool
    floor: int = 0
    share: int = 0
    by: Place | None = None
    is_paused: bool = False
    is_resting: bool = False

    @property
    def is_fixed(self) -> bool:
        """Whether it has what it has: its readings are stale, or it has a set point."""
        return self.member.is_stale or self.member.set_point_w is not None


def sorted_nodes(nodes: Iterable[Node]) -> list[Node]:
    """Nodes in an order of their own, each after the one above it."""
    by_key: dict[str, Node] = {}
    for node in nodes:
        if node.key in by_key:
            raise UnusableTree(f"There is more than one node {node.key}.")
        by_key[node.key] = node
    below: dict[str | None, list[Node]] = {}
    for node in sorted(by_key.values(), key=lambda node: node.key):
        if node.parent is not None and node.parent not in by_key:
            raise UnusableTree(f"Node {node.key} is in {node.parent}, which there is not.")
        below.setdefault(node.parent, []).append(node)
    found = list(below.get(None, ()))
    for node in found:  # it grows meanwhile
        found += below.get(node.key, ())
    if len(found) < len(by_key):
        raise UnusableTree("Some nodes are in each other, round and round.")
    return found


def sorted_members(members: Iterable[Member], nodes: Sequence[Node]) -> list[Member]:
    """Members in an order of their own."""
    found = sorted(members, key=lambda member: member.key)
    keys = {node.key for node in nodes}
    if lost := {member.node for member in found} - keys:
        raise UnusableTree(f"There are members of {', '.join(sorted(lost))}, which there is not.")
    if len({member.key for member in found}) < len(found):
        ((key, _),) = Counter(member.key for member in found).most_common(1)
        raise UnusableTree(f"There is more than one member {key}.")
    return found


def places_of(nodes: Sequence[Node], side: Side) -> dict[str, Place | None]:
    """The place that holds each node: its own, or the nearest one above that limits the side."""
    found: dict[str, Place | None] = {}
    for node in nodes:
        above = None if node.parent is None else found[node.parent]
        limits = {} if node.limit is None else _limits(node.limit, side)
        if not limits:
            found[node.key] = above
            continue
        place = Place(node.key, node.limit.strategy, limits)
        place.chain = (place, *above.chain) if above else (place,)
        if above:
            above.children.append(place)
        found[node.key] = place
    return found


def part_of(member: Member, home: Place, side: Side, *, pace: Pace, now: datetime) -> Part | None:
    """A member as a part of the place that holds it; None where it has no power on the side."""
    least_w, most_w, set_point_w = member.facing(side)
    if most_w is not None and most_w <= 0:
        return None
    least = 0 if least_w is None else max(0, mw_up(least_w))
    own = OPEN if most_w is None else max(least, mw_down(most_w))
    need, must, cap = (least, 0, own) if member.can_pause else (0, least, own)
    if member.is_stale:
        worst_w = member.worst_w(side)
        need, must = 0, OPEN if worst_w is None else mw_up(worst_w)
        own = cap = must
    elif set_point_w is not None:
        need, must = 0, max(0, mw_up(set_point_w))
        own = cap = must
    else:
        cap = min(own, max(least, _risen(member, side, pace, now)))
    asks = member.draws if side is Side.MAX else member.feeds
    return Part(member, home, weights_of(member.phases), must, need, own, cap, asks, must, must)


def rooms_beside(places: Iterable[Place], parts: Iterable[Part]) -> dict[Place, Rooms]:
    """What is left of all limits beside the shares of some parts; below 0 where it is too much."""
    rooms = {place: dict(place.limits) for place in places}
    together: dict[tuple[Place, tuple[int, ...]], int] = defaultdict(int)
    for part in parts:
        together[part.home, part.weights] += part.share
    for (home, weights), amount in together.items():
        count(home, weights, amount, rooms)
    return rooms


def take(part: Part, amount: int, rooms: dict[Place, Rooms]) -> None:
    """Take an amount for a part from the rooms of all places that hold it."""
    count(part.home, part.weights, amount, rooms)


def lacking(part: Part, amount: int, rooms: dict[Place, Rooms]) -> Place | None:
    """The first place from a part on upwards that has no room for an amount; None: it fits."""
    for place in part.home.chain:
        for phase, room in rooms[place].items():
            if room < part.weights[phase] * amount:
                return place
    return None


def count(home: Place, weights: tuple[int, ...], amount: int, rooms: dict[Place, Rooms]) -> None:
    """Take an amount from the rooms of all places from `home` up."""
    for place in home.chain:
        room = rooms[place]
        for phase in room:
            room[phase] -= weights[phase] * amount


def weights_of(phases: tuple[int, ...]) -> tuple[int, int, int, int]:
    """How many sixths of a power are on the sum and on each phase."""
    if not phases:
        return _UNKNOWN_PHASES
    on_each = SIXTHS // len(phases)
    return (SIXTHS, *(on_each if phase in phases else 0 for phase in (1, 2, 3)))


def mw_up(watts: float) -> int:
    """The least whole mW that are no less."""
    near = round(watts * 1000)
    return near if near / 1000 >= watts else near + 1


def mw_down(watts: float) -> int:
    """The most whole mW that are no more."""
    near = round(watts * 1000)
    return near if near / 1000 <= watts else near - 1


def _limits(limit: Limit, side: Side) -> Rooms:
    drawing = side is Side.MAX
    of_sum = limit.max_w if drawing else limit.min_w
    of_phases = limit.phase_max_w if drawing else limit.phase_min_w
    bounds = {} if of_sum is None else {SUM: of_sum}
    bounds |= enumerate(of_phases or (), start=1)
    return {which: mw_down(side.sign * watts) * SIXTHS for which, watts in bounds.items()}


def _risen(member: Member, side: Side, pace: Pace, now: datetime) -> int:
    """How far a share may have risen by now."""
    last = member.last
    had_w = last and (last.max_w if side is Side.MAX else last.min_w)
    if had_w is None or pace.rise_w_per_s is None:
        return OPEN
    elapsed_s = max(0.0, (now - last.at).total_seconds())
    return mw_down(side.sign * had_w) + mw_down(pace.rise_w_per_s * elapsed_s)
