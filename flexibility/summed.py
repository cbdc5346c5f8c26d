"""What many appliances may do together over time, from what each may. Pure.

Powers in W, positive into the appliances. What is not known counts as nothing in a sum, and is
counted beside it; where nothing is known of anybody, there is no sum, not one of 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from flexibility.resolver import Boundary


@dataclass(frozen=True, slots=True)
class Summed:
    """What all may do in [`from_at`, `until_at`), and how many of them have no known limit.

    `min_w` and `max_w` are the sums of the least and of the greatest powers, `set_point_w` of the
    set points of those `held` at one. None is of nobody.
    """

    from_at: datetime
    until_at: datetime
    min_w: float | None
    max_w: float | None
    set_point_w: float | None
    held: int
    unlimited: int


def summed(timelines: Iterable[Sequence[Any]]) -> list[Summed]:
    """The sum of timelines of the same time; a new one begins only where the sum changes.

    Each is of consecutive segments (`resolver.timeline`) or spans (`queries.Span`), and all of them
    begin and end together.
    """
    changes: dict[datetime, _Parts] = {}
    until_at = None
    for segments in timelines:
        before, until_at = _NOTHING, segments[-1].until_at
        # Also where nothing is known of the first, the sum begins with it.
        changes.setdefault(segments[0].from_at, _NOTHING)
        for segment in segments:
            parts = _parts(segment.boundary)
            if parts != before:
                at = segment.from_at
                changes[at] = _plus(changes.get(at, _NOTHING), _less(parts, before))
            before = parts
    starts = sorted(changes)
    found: list[Summed] = []
    parts = _NOTHING
    for start, end in pairwise([*starts, until_at]):
        parts = _plus(parts, changes[start])
        now = _summed(start, end, parts)
        if found and replace(found[-1], from_at=start, until_at=end) == now:
            now = replace(found.pop(), until_at=end)
        found.append(now)
    return found


def least_w(boundary: Boundary) -> float | None:
    """The least that an appliance may take: nothing, where it may pause and has no set point."""
    if boundary.can_pause and boundary.set_point_w is None:
        return min(boundary.min_w or 0.0, 0.0)
    return boundary.min_w


def is_open(boundary: Boundary) -> bool:
    """Whether a side has no known limit."""
    return boundary.min_w is None or boundary.max_w is None


# Sums of the least, greatest and set powers, how many have each, how many are open.
_Parts = tuple[float, float, float, int, int, int, int]
_NOTHING: _Parts = (0.0, 0.0, 0.0, 0, 0, 0, 0)


def _parts(boundary: Boundary) -> _Parts:
    sides = (least_w(boundary), boundary.max_w, boundary.set_point_w)
    known = (int(one is not None) for one in sides)
    return (*(one or 0.0 for one in sides), *known, int(is_open(boundary)))


def _less(parts: _Parts, others: _Parts) -> _Parts:
    return tuple(one - other for one, other in zip(parts, others, strict=True))


def _plus(parts: _Parts, others: _Parts) -> _Parts:
    return tuple(one + other for one, other in zip(parts, others, strict=True))


def _summed(start: datetime, end: datetime, parts: _Parts) -> Summed:
    sums: Iterable[float | None] = (
        # Beyond the millionth of a watt, floating point alone makes a difference.
        round(watts, 6) + 0 if known else None
        for watts, known in zip(parts[:3], parts[3:6], strict=True)
    )
    low, high, point = sums
    return Summed(start, end, low, high, point, held=parts[5], unlimited=parts[6])
