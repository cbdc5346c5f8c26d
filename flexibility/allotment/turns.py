"""Whose turn it is: which of those that can pause have their minimum, and which are paused.

Who has been paused longest comes first, who has had its turn longest goes first, and both last for
the dwell time, so that nothing flaps; a pause is shorter where there is room for all again. The
strategy decides only between those who are alike.

Nobody starves: a waiting member whose minimum would fit but for those who still have their turn
gets its minimum set aside. Nobody new takes that room, and after one dwell time at the latest
it has its turn. Meanwhile whoever runs may use it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import inf

from flexibility.allotment.places import Part, Place, Rooms, lacking, take
from flexibility.allotment.terms import IN_USE_W, Member, Pace, Strategy

_KEEPS, _WAITS, _YIELDS, _RESTS = range(4)


def take_turns(
    parts: Iterable[Part], rooms: dict[Place, Rooms], *, pace: Pace, now: datetime
) -> None:
    """Give the minimum to those whose turn it is, and pause the others.

    `rooms` is what is left beside all that cannot be helped; what is given is taken from it.
    """
    queue = sorted(
        ((_turn(part, pace.dwell, now), _precedence(part), part) for part in parts if part.need),
        key=lambda entry: entry[:2],
    )
    at_first = _copy(rooms)
    for _, _, part in (entry for entry in queue if entry[0][0] == _KEEPS):
        _start_or_pause(part, rooms, lacking(part, part.need, rooms))
    kept = _copy(rooms)
    free = _copy(rooms)  # what nobody waits for
    for (group, _), _, part in queue:
        if group == _WAITS:
            short = lacking(part, part.need, free)
            _start_or_pause(part, rooms, short)
            if short is None or _only_kept_up(part, at_first, kept):
                take(part, part.need, free)
        elif group == _YIELDS:
            _start_or_pause(part, rooms, lacking(part, part.need, rooms))
        elif group == _RESTS:
            # They come last: where there is room now, nobody else asks for it.
            short = lacking(part, part.need, rooms)
            part.is_resting = short is None and not _is_rested(part, pace, now)
            _start_or_pause(part, rooms, part.home if part.is_resting else short)


def stand_by(parts: Iterable[Part], rooms: dict[Place, Rooms]) -> None:
    """Give the minimum to those who ask for nothing, as far as others leave it."""
    for part in sorted((part for part in parts if part.need), key=_precedence):
        short = lacking(part, part.need, rooms)
        if short is None:
            part.floor = part.need
            take(part, part.need, rooms)
        else:
            part.cap, part.by = 0, short


def in_order(parts: Iterable[Part], strategy: Strategy) -> list[Part]:
    """Parts in the order in which a strategy fills them."""
    return sorted(parts, key=lambda part: _rank(part.member, strategy))


def _turn(part: Part, dwell: timedelta, now: datetime) -> tuple[int, timedelta]:
    """Where a part stands in the queue: its group, and its place in it."""
    last = part.member.last
    if last and last.running_since is not None:
        ran = now - last.running_since
        return (_KEEPS if ran < dwell else _YIELDS), ran
    if last and last.paused_since is not None:
        paused = now - last.paused_since
        return (_RESTS if paused < dwell else _WAITS), -paused
    return _WAITS, timedelta(0)


def _is_rested(part: Part, pace: Pace, now: datetime) -> bool:
    return pace.rest is not None and now - part.member.last.paused_since >= pace.rest


def _precedence(part: Part) -> tuple[bool, int, float, str]:
    """Of those who come together for the first time, who has power now comes first: it needs it."""
    member = part.member
    is_new = member.last is None or (
        member.last.running_since is None and member.last.paused_since is None
    )
    has_power = abs(member.measured_w or 0.0) >= IN_USE_W
    return is_new and not has_power, *_rank(member, part.home.strategy)


def _rank(member: Member, strategy: Strategy) -> tuple[int, float, str]:
    order = member.order if strategy is Strategy.SERIES else 0
    since = 0.0
    if strategy is Strategy.FIRST_COME_FIRST_SERVE:
        since = inf if member.active_since is None else member.active_since.timestamp()
    return order, since, member.key


def _only_kept_up(part: Part, at_first: dict[Place, Rooms], kept: dict[Place, Rooms]) -> bool:
    """Whether nothing but the turns of others keeps a part from its own."""
    return lacking(part, part.need, at_first) is None and lacking(part, part.need, kept) is not None


def _start_or_pause(part: Part, rooms: dict[Place, Rooms], short: Place | None) -> None:
    if short is None:
        part.floor = part.need
        take(part, part.need, rooms)
    else:
        part.is_paused, part.cap, part.by = True, 0, short


def _copy(rooms: dict[Place, Rooms]) -> dict[Place, Rooms]:
    return {place: dict(room) for place, room in rooms.items()}
