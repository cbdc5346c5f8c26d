"""Dividing what a place has among the parts beneath it, from their floors up to their caps.

Dividing only ever lowers shares, place by place, so what holds at one place goes on to hold while
another is divided. Floors are never touched; where they alone are more than a room, everyone has
the floor.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from flexibility.allotment.places import OPEN, Part, Place, Rooms
from flexibility.allotment.terms import Strategy
from flexibility.allotment.turns import in_order

_IN_ORDER = (Strategy.FIRST_COME_FIRST_SERVE, Strategy.SERIES)
# The level, as a fraction, of a room that is large enough.
_ANY = (OPEN, 1)
# Bends are whole numbers of 2^-128: finer than any two of them can differ, so their order is exact.
_FINE = 128


def divide(places: Iterable[Place], parts: Iterable[Part], rooms: dict[Place, Rooms]) -> None:
    """Set the shares of parts, so that those beneath each place fit into its room."""
    for place in places:
        place.caps, place.parts = rooms[place], []
    for part in parts:
        part.share = part.cap
        for place in part.home.chain:
            place.parts.append(part)
    for place in places:
        if len(place.chain) == 1:
            _lower(place, place.strategy, place.caps, place)
            _divide_below(place)


def _divide_below(above: Place) -> None:
    """Divide again, by their own strategies, what places below have of the one above."""
    for place in above.children:
        if place.strategy is not above.strategy and place.parts:
            bounding = (part.by for part in place.parts if part.by in place.chain[1:])
            given = _given(place)
            for part in place.parts:
                part.share = part.cap
            _lower(place, place.strategy, given, next(bounding, place))
        _divide_below(place)


def _given(place: Place) -> Rooms:
    """What the parts beneath a place have together, of all that it or one above it limits."""
    which = {phase for each in place.chain for phase in each.caps}
    return {phase: sum(part.weights[phase] * part.share for part in place.parts) for phase in which}


def _lower(place: Place, strategy: Strategy, caps: Rooms, by: Place) -> None:
    """Lower the shares beneath a place by a strategy, until they fit there and at all below."""
    if strategy in _IN_ORDER:
        _fill_in_order(place, strategy, caps, by)
        return
    for child in place.children:
        _lower(child, strategy, child.caps, child)
    unequal = strategy is Strategy.PROPORTIONAL
    waiting = dict(caps)
    while waiting:  # the tightest first: what it takes away is there for others on the other phases
        levels = {phase: _level(place.parts, phase, waiting[phase], unequal) for phase in waiting}
        tightest = min(levels, key=lambda phase: (Fraction(*levels[phase]), phase))
        if levels[tightest] == _ANY:
            break
        _cut(place.parts, tightest, levels[tightest], unequal, by)
        del waiting[tightest]


def _level(parts: Sequence[Part], phase: int, room: int, unequal: bool) -> tuple[int, int]:
    """The highest level, as a fraction, at which the parts fit into a room.

    At a level, each part has that much (that much of its `own`, if unequal), but no less than its
    floor and no more than its share. So what all have together is a line in pieces, with a bend
    where one leaves its floor, and one where it comes to its share.
    """
    bends = []
    least = most = 0
    for part in parts:
        weight = part.weights[phase]
        low, high = weight * part.floor, weight * part.share
        least += low
        most += high
        if low < high:
            scale = _scale(part) if unequal else 1
            bends.append(((part.floor << _FINE) // scale, weight * scale, -low))
            bends.append(((part.share << _FINE) // scale, -weight * scale, high))
    if most <= room:
        return _ANY
    if least >= room:
        return 0, 1
    bends.sort()
    level, slope, rest = (0, 1), 0, least
    for at, turn, shift in bends:
        if slope:
            level = room - rest, slope
            if slope * at >= level[0] << _FINE:
                break
        slope += turn
        rest += shift
    return level


def _cut(
    parts: Sequence[Part], phase: int, level: tuple[int, int], unequal: bool, by: Place
) -> None:
    """Cut the shares that count on a phase down to a level."""
    high, whole = level
    for part in parts:
        if part.weights[phase] and part.share > part.floor:
            cut = (_scale(part) if unequal else 1) * high // whole
            if cut < part.share:
                part.share, part.by = max(part.floor, cut), by


def _fill_in_order(place: Place, strategy: Strategy, caps: Rooms, by: Place) -> None:
    """Fill one part after the other, as far as all places up to this one have room."""
    rooms = {each: dict(each.caps) for each in _with_all_below(place)}
    rooms[place] = dict(caps)
    chains = {each: each.chain[: len(each.chain) - len(place.chain) + 1] for each in rooms}
    for part in place.parts:
        for each in chains[part.home]:
            room = rooms[each]
            for phase in room:
                room[phase] -= part.weights[phase] * part.floor
    for part in in_order(place.parts, strategy):
        more, bounding = part.share - part.floor, None
        for each in chains[part.home]:
            for phase, room in rooms[each].items():
                weight = part.weights[phase]
                if weight and room < weight * more:
                    more, bounding = max(0, room // weight), each
        part.share = part.floor + more
        if bounding:
            part.by = by if bounding is place else bounding
        if more:
            for each in chains[part.home]:
                room = rooms[each]
                for phase in room:
                    room[phase] -= part.weights[phase] * more


def _with_all_below(place: Place) -> Iterator[Place]:
    yield place
    for child in place.children:
        yield from _with_all_below(child)


def _scale(part: Part) -> int:
    """What `PROPORTIONAL` is proportional to: the maximum, or the tightest limit of an open one."""
    if part.own < OPEN:
        return part.own
    rooms = (
        room // part.weights[phase]
        for place in part.home.chain
        for phase, room in place.limits.items()
        if part.weights[phase]
    )
    return max(1, min(rooms, default=OPEN))
