"""How often a recording was read, and since when so often. Pure.

The rule: a day of UTC is read as often as most of its time is, so that neither gaps nor an hour
that is read more often make a difference. Where that is another distance than on the day before,
the resolution has changed for good, as far as a recording can tell. It did so at the quarter of an
hour that has most of the time before and after it on its own side.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from measurements.energy import LONGEST_GAP_MS
from measurements.resolutions import SLOT_MS

_DAY_MS = 96 * SLOT_MS
# A day of which less is read says nothing of its own.
_LEAST_A_DAY_S = _DAY_MS / 1000 / 3
# A gap counts for no more than the longest distance that appliances are read at.
_LONGEST_S = 3600
# Usual distances that are no further from each other than this factor are one resolution.
_SAME = 1.5


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """From the first to the last (both ms) of instants that have no long pause between them."""

    first_ms: int
    last_ms: int


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Those that overlap or have no long pause between them as one; in order of time.

    A pause is long that no interval explains: power says nothing across it, however seldom the
    appliance is said to be read.
    """
    found: list[Stretch] = []
    for one in sorted(stretches):
        last = found[-1] if found else None
        if last is not None and one.first_ms - last.last_ms <= LONGEST_GAP_MS:
            found[-1] = Stretch(last.first_ms, max(last.last_ms, one.last_ms))
        else:
            found.append(one)
    return found


@dataclass(frozen=True, slots=True)
class _Quarters:
    """Quarters of an hour that were read: the first instant, the median distance, how much time."""

    at_ms: np.ndarray
    median_s: np.ndarray
    read_s: np.ndarray

    def usual_s(self, begin: int, end: int) -> float:
        """The distance at which half of the time is read from quarter begin to end."""
        order = begin + np.argsort(self.median_s[begin:end], kind="stable")
        until_s = np.cumsum(self.read_s[order])
        return float(self.median_s[order][np.searchsorted(until_s, until_s[-1] / 2)])


@dataclass
class Cadence:
    """The instants of one appliance in a recording, part by part, in little memory."""

    first_ms: int
    last_ms: int
    _parts: list[_Quarters] = field(default_factory=list)
    _stretches: list[list[Stretch]] = field(default_factory=list)

    def note(self, at_ms: np.ndarray) -> None:
        """Take note of some ascending instants; those of other parts may lie anywhere."""
        known = at_ms if at_ms[0] <= self.last_ms else np.insert(at_ms, 0, self.last_ms)
        self.first_ms = min(self.first_ms, int(at_ms[0]))
        self.last_ms = max(self.last_ms, int(at_ms[-1]))
        if len(known) > 1:
            self._parts.append(_quarters_of(known))
        self._stretches.append(_stretches_of(at_ms))

    def count_within(self, at_ms: np.ndarray) -> int:
        """How many of these instants lie between the first and the last one so far."""
        return int(np.count_nonzero((at_ms >= self.first_ms) & (at_ms <= self.last_ms)))

    def stretches(self) -> list[Stretch]:
        """What it was read of, in order of time: a long pause is no part of it."""
        return joined(chain.from_iterable(self._stretches))

    def intervals(self) -> list[tuple[int, int]]:
        """From which instant on (ms) it was read every so many seconds; in order of time.

        Empty where there is but a single instant.
        """
        if not self._parts:
            return []
        parts = self._parts
        at_ms = np.concatenate([part.at_ms for part in parts])
        order = np.argsort(at_ms, kind="stable")
        quarters = _Quarters(
            at_ms[order],
            np.concatenate([part.median_s for part in parts])[order],
            np.concatenate([part.read_s for part in parts])[order],
        )
        begins = _changes(quarters)
        spans = zip(begins, [*begins[1:], len(order)], strict=True)
        return [
            (
                int(quarters.at_ms[begin]) if begin else self.first_ms,
                max(round(quarters.usual_s(begin, end)), 1),
            )
            for begin, end in spans
        ]


def _stretches_of(at_ms: np.ndarray) -> list[Stretch]:
    pauses = np.flatnonzero(np.diff(at_ms) > LONGEST_GAP_MS)
    firsts, lasts = at_ms[np.append(0, pauses + 1)], at_ms[np.append(pauses, -1)]
    return [Stretch(*ends) for ends in zip(firsts.tolist(), lasts.tolist(), strict=True)]


def _quarters_of(at_ms: np.ndarray) -> _Quarters:
    distances_s, begin_ms = np.diff(at_ms) / 1000, at_ms[:-1]
    quarter = begin_ms // SLOT_MS
    starts = np.flatnonzero(np.diff(quarter, prepend=quarter[0] - 1))
    counts = np.diff(starts, append=len(quarter))
    ordered = distances_s[np.lexsort((distances_s, quarter))]
    median_s = ordered[starts + (counts - 1) // 2]
    return _Quarters(begin_ms[starts], median_s, np.minimum(counts * median_s, _LONGEST_S))


def _changes(quarters: _Quarters) -> list[int]:
    """Where in the quarters a resolution begins: at the first one, and at each lasting change."""
    day = quarters.at_ms // _DAY_MS
    starts = np.flatnonzero(np.diff(day, prepend=day[0] - 1)).tolist()
    begins: list[int] = [0]
    before: tuple[int, float] | None = None
    for begin, end in zip(starts, [*starts[1:], len(day)], strict=True):
        if quarters.read_s[begin:end].sum() < _LEAST_A_DAY_S:
            continue
        usual_s = quarters.usual_s(begin, end)
        if before is not None and not 1 / _SAME <= usual_s / before[1] <= _SAME:
            begins.append(_split(quarters, (before[0], end), before[1], usual_s))
        before = begin, usual_s
    return sorted(set(begins))


def _split(quarters: _Quarters, within: tuple[int, int], before_s: float, after_s: float) -> int:
    """The quarter at which one distance goes over to the other, with least on the wrong side."""
    begin, end = within
    middle_s = np.sqrt(before_s * after_s)
    is_before = (quarters.median_s[begin:end] < middle_s) == (before_s < after_s)
    score = np.cumsum(np.where(is_before, 1, -1) * quarters.read_s[begin:end])
    return begin + int(np.argmax(score)) + 1 if score.max() > 0 else begin
