"""Holes in the numbers that a gateway gives its messages. Pure.

Messages arrive in any order, some twice, handled by any of several processes. So each hole is
remembered until its messages come; then it was none.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

# Older holes than the newest so many are not remembered: what was missing there stays missing.
MOST_HOLES = 1000
# A number this far below the last one is that of a gateway that counts from the start again.
RESTART_DISTANCE = 10_000
# The column ends somewhere, and a gateway may claim any number.
_MOST_MISSING = 2**62


@dataclass(frozen=True, slots=True)
class Sequence:
    """The last number seen, the holes below it (inclusive bounds, ascending), how many in all.

    `missing` also counts holes that are no longer remembered.
    """

    last: int | None = None
    missing: int = 0
    holes: tuple[tuple[int, int], ...] = ()

    def seen(self, numbers: Iterable[int]) -> "Sequence":
        """With these numbers seen; seeing one again changes nothing."""
        last, missing, holes = self.last, self.missing, list(self.holes)
        for number in _in_order(numbers, last):
            if last is None:
                last = number
            elif number > last:
                if number > last + 1:
                    holes.append((last + 1, number - 1))
                    missing += number - 1 - last
                last = number
            elif (hole := _hole_with(number, holes)) is not None:
                missing -= 1
                _fill(holes, hole, number)
            elif number < last - RESTART_DISTANCE:
                last, holes = number, []
        return Sequence(last, min(missing, _MOST_MISSING), tuple(holes[-MOST_HOLES:]))


def _in_order(numbers: Iterable[int], last: int | None) -> list[int]:
    """Each once, ascending; but what came before a gateway began again comes before the rest."""
    ascending = sorted(set(numbers))
    began_again = bisect_left(ascending, (last or 0) - RESTART_DISTANCE)
    return ascending[began_again:] + ascending[:began_again]


def _hole_with(number: int, holes: list[tuple[int, int]]) -> int | None:
    return next(
        (place for place, (first, last) in enumerate(holes) if first <= number <= last), None
    )


def _fill(holes: list[tuple[int, int]], place: int, number: int) -> None:
    first, last = holes[place]
    rest = [(first, number - 1), (number + 1, last)]
    holes[place : place + 1] = [hole for hole in rest if hole[0] <= hole[1]]
