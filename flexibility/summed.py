"""What many appliances may do together over time, from what each may. Pure.

Powers in W, positive into the appliances. What is not known counts as nothing in a sum, and is
counted beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flexibility.resolver import Boundary, Segment


@dataclass(frozen=True, slots=True)
class Summed:
    """What all may do in [`from_at`, `until_at`), and how many of them have no known limit.

    `min_w` and `max_w` are the sums of the least and of the greatest powers; who may pause has 0
    as the least.
    """

    from_at: datetime
    until_at: datetime
    min_w: float
    max_w: float
    unlimited: int


def summed(timelines: Sequence[Sequence[Segment]]) -> list[Summed]:
    """The sum of timelines of the same time; a new one begins only where the sum changes.

    Each is consecutive, and all of them begin and end together (`resolver.timeline`).
    """
    if not timelines:
        return []
    changes: dict[datetime, list[tuple[float, float, int]]] = {}
    for segments in timelines:
        low, high, unlimited = 0.0, 0.0, 0
        for segment in segments:
            one = _sides(segment.resolution.boundary)
            change = (one[0] - low, one[1] - high, one[2] - unlimited)
            changes.setdefault(segment.from_at, []).append(change)
            low, high, unlimited = one
    until_at = timelines[0][-1].until_at
    starts = sorted(changes)
    found: list[Summed] = []
    low, high, unlimited = 0.0, 0.0, 0
    for start, end in zip(starts, [*starts[1:], until_at], strict=True):
        low += sum(one[0] for one in changes[start])
        high += sum(one[1] for one in changes[start])
        unlimited += sum(one[2] for one in changes[start])
        # Beyond the millionth of a watt, floating point alone makes a difference.
        now = Summed(start, end, round(low, 6) + 0, round(high, 6) + 0, unlimited)
        if found and _same(found[-1], now):
            now = Summed(found.pop().from_at, end, now.min_w, now.max_w, now.unlimited)
        found.append(now)
    return found


def _sides(boundary: Boundary) -> tuple[float, float, int]:
    low = boundary.min_w or 0.0
    if boundary.can_pause:
        low = min(low, 0.0)
    is_open = boundary.min_w is None or boundary.max_w is None
    return low, boundary.max_w or 0.0, int(is_open)


def _same(one: Summed, other: Summed) -> bool:
    return (one.min_w, one.max_w, one.unlimited) == (other.min_w, other.max_w, other.unlimited)
