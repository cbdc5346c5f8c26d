"""How one slot of an appliance came about: which reading adds how much, told by what. Pure.

The slot is cut at every reading, and where an interval ends. What its stretches add, adds up to the
slot's energy exactly, and it is taken from the computation itself
(`measurements.energy.Computation`), not worked out anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from measurements.amounts import Bools, Ints, sum_known
from measurements.counters import BREAK, JUMP_BREAK, RETURN, TAKEN, Levels
from measurements.energy import Computation
from measurements.sources import W_MS_PER_MWH, counted_at


class Source(StrEnum):
    """What tells of a stretch."""

    COUNTER = "counter"
    INTERVAL = "interval"
    POWER = "power"


class Treatment(StrEnum):
    """What was made of a reading of a counter that did not simply go on."""

    RESET = "reset"
    JUMP = "jump"
    RETURN = "return"
    HELD = "held"
    STEEP = "steep"


_TREATMENTS = {BREAK: Treatment.RESET, JUMP_BREAK: Treatment.JUMP, RETURN: Treatment.RETURN}


@dataclass(frozen=True, slots=True)
class Stretch:
    """[from_ms, until_ms) between two readings, ends of intervals, or the slot's bounds.

    Of import and export: the source, and what it adds (mWh); None where nothing tells of it.
    """

    from_ms: int
    until_ms: int
    sources: tuple[Source | None, Source | None]
    mwh: tuple[int | None, int | None]
    is_estimated: bool


@dataclass(frozen=True, slots=True)
class CounterAt:
    """A counter (Wh) at an instant, with the settled readings around it: (ms, Wh).

    Both are the same where it was read at that very instant.
    """

    at_ms: int
    level_wh: float
    before: tuple[int, float]
    after: tuple[int, float]


@dataclass(frozen=True, slots=True)
class Trace:
    """One slot, with all that its energies follow from.

    `counters` (of import, of export) at both ends of the slot; None where there is none to tell,
    or where it began anew in between, so that no difference does. `treatments` are those of
    readings by their instant. `outside_ms` are the readings beyond the slot that count for it.
    """

    stretches: tuple[Stretch, ...]
    counters: tuple[tuple[CounterAt, CounterAt] | None, tuple[CounterAt, CounterAt] | None]
    treatments: Mapping[int, Treatment]
    outside_ms: frozenset[int]

    def total_mwh(self, direction: int) -> int | None:
        """What flowed in (0) or out (1) in the slot."""
        return sum_known(one.mwh[direction] for one in self.stretches)


def trace_of(computation: Computation) -> Trace:
    """The trace of a computation of one slot. Raises ValueError where it is of several."""
    pieces = computation.pieces
    if len(pieces.first) != 1:
        raise ValueError(f"Not one slot, but {len(pieces.first)}")
    edges = np.append(pieces.at, pieces.until[-1])
    told = [computation.told_by(direction) for direction in (0, 1)]
    sides = [
        _side(computation, direction, told[direction], edges) for direction in range(len(told))
    ]
    stretches = tuple(
        Stretch(
            int(pieces.at[n]),
            int(pieces.until[n]),
            tuple(sources[n] for sources, _mwh, _estimated in sides),
            tuple(mwh[n] for _sources, mwh, _estimated in sides),
            any(estimated[n] for _sources, _mwh, estimated in sides),
        )
        for n in range(len(pieces.at))
    )
    from_ms, until_ms = int(edges[0]), int(edges[-1])
    return Trace(
        stretches,
        tuple(_ends(levels, from_ms, until_ms) for levels in computation.levels),
        _treatments(computation),
        frozenset(_outside(computation, told, from_ms, until_ms)),
    )


def _side(
    computation: Computation, direction: int, told: Mapping[str, Bools], edges: Ints
) -> tuple[list[Source | None], list[int | None], Bools]:
    """Of each piece: its source, what that adds, and whether it is a pause spread evenly."""
    length = len(edges) - 1
    sources: list[Source | None] = [None] * length
    mwh: list[int | None] = [None] * length
    for name, pieces in told.items():
        added = _added(computation, direction, Source(name), pieces, edges)
        for n in np.flatnonzero(pieces):
            sources[n], mwh[n] = Source(name), int(added[n])
    counter = computation.counters[direction]
    estimated = np.zeros(length, np.bool_) if counter is None else counter.estimated
    return sources, mwh, estimated


def _added(
    computation: Computation, direction: int, source: Source, pieces: Bools, edges: Ints
) -> Ints:
    match source:
        case Source.COUNTER:
            counted, _level = counted_at(edges, computation.levels[direction])
            return np.diff(counted)
        case Source.INTERVAL:
            return computation.intervals.mwh[direction]
    # By rounding the running sum, the parts add up to the whole.
    area = np.where(pieces, computation.power.area(direction), 0.0)
    upto = np.floor(np.cumsum(area) / W_MS_PER_MWH + 0.5).astype(np.int64)
    return np.diff(upto, prepend=0)


def _ends(levels: Levels | None, from_ms: int, until_ms: int) -> tuple[CounterAt, CounterAt] | None:
    """The counter at both ends, where it went on from the one to the other."""
    if levels is None or not len(levels.at_ms):
        return None
    at = levels.at_ms
    first = int(np.searchsorted(at, from_ms, "right")) - 1
    last = int(np.searchsorted(at, until_ms, "left"))
    if first < 0 or last == len(at) or (levels.kind[first + 1 : last + 1] != TAKEN).any():
        return None
    return _counter_at(from_ms, levels), _counter_at(until_ms, levels)


def _counter_at(at_ms: int, levels: Levels) -> CounterAt:
    before = int(np.searchsorted(levels.at_ms, at_ms, "right")) - 1
    after = int(np.searchsorted(levels.at_ms, at_ms, "left"))
    _counted, level = counted_at(np.array([at_ms]), levels)
    settled = [(int(levels.at_ms[n]), float(levels.level_wh[n])) for n in (before, after)]
    return CounterAt(at_ms, float(level[0]), *settled)


def _treatments(computation: Computation) -> dict[int, Treatment]:
    found: dict[int, Treatment] = {}
    for levels in computation.levels:
        if levels is None:
            continue
        # Only what is steeper than the stated power allows is odd and counted all the same.
        counted = levels.at_ms[(levels.kind == TAKEN) & (levels.gain_mwh > 0)]
        is_counted = np.isin(levels.odd_ms, counted).tolist()
        for at_ms, is_steep in zip(levels.odd_ms.tolist(), is_counted, strict=True):
            found[at_ms] = Treatment.STEEP if is_steep else Treatment.HELD
        for at_ms, kind in zip(levels.at_ms.tolist(), levels.kind.tolist(), strict=True):
            if kind in _TREATMENTS:
                found[at_ms] = _TREATMENTS[kind]
    return found


def _outside(computation: Computation, told, from_ms: int, until_ms: int) -> set[int]:
    """The instants of readings before and after the slot that something in it follows from."""
    found: set[int] = set()
    for direction in (0, 1):
        levels = computation.levels[direction]
        if levels is not None and told[direction]["counter"].any():
            found |= _around(levels.at_ms, from_ms, until_ms)
        if told[direction].get("power", np.zeros(1)).any():
            found |= _around(computation.power_at, from_ms, until_ms)
    if computation.intervals is not None:
        begun = computation.at[computation.spans]
        reaching = (begun < from_ms) & (computation.until > from_ms)
        found |= set(begun[reaching].tolist())
    return found


def _around(at_ms: Ints, from_ms: int, until_ms: int) -> set[int]:
    """The last instant before a span and the first one after it, unless its bounds were read."""
    found = set()
    first = int(np.searchsorted(at_ms, from_ms, "right")) - 1
    last = int(np.searchsorted(at_ms, until_ms, "left"))
    if first >= 0 and at_ms[first] < from_ms:
        found.add(int(at_ms[first]))
    if last < len(at_ms):
        found.add(int(at_ms[last]))
    return found
