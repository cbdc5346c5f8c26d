"""How power is divided among those who ask for it. Pure; all powers in W, none below 0."""

from collections.abc import Sequence
from math import inf


def spread(amount_w: float, rooms_w: Sequence[float]) -> list[float]:
    """An amount spread equally, to nobody more than there is room for; the smallest fill first."""
    parts, left = [0.0] * len(rooms_w), max(amount_w, 0.0)
    order = sorted((at for at, room in enumerate(rooms_w) if room > 0), key=rooms_w.__getitem__)
    for position, index in enumerate(order):
        parts[index] = min(rooms_w[index], left / (len(order) - position))
        left -= parts[index]
    return parts


def turns(limit_w: float, others_w: Sequence[float], least_w: float) -> tuple[float, float]:
    """What one station may expect of a limit that it shares: so much, for such a part of the time.

    `others_w` is what each of those who ask besides takes at most, inf where it takes all that it
    is given. On average the station has its equal part, whatever its share is at the moment: that
    may be 0 just because it waits itself, or because it is another's turn. Where an equal part is
    less than the `least_w` that a station charges with, as many as the limit bears charge at once
    and take turns. A limit below that leaves none of them anything.
    """
    if limit_w == inf:
        return inf, 1.0
    mean_w = spread(limit_w, [inf, *others_w])[0]
    if mean_w >= least_w or limit_w < least_w:
        return mean_w, 1.0
    turn_w = limit_w / (limit_w // least_w)
    return turn_w, mean_w / turn_w
