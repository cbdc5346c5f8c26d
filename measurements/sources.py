"""What power, a counter and interval readings each say about the pieces of a span. Pure.

Slots are cut at every reading, so that within a piece nothing changes but linearly. Each source
says which pieces it covers, and what flowed in them.
"""

from dataclasses import dataclass

import numpy as np

from measurements.amounts import Bools, Floats, Ints
from measurements.counters import BREAK, JUMP_BREAK, TAKEN, Levels, to_mwh
from measurements.resolutions import SLOT_MS

W_MS_PER_MWH = 3600


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The slots of [bounds[0], bounds[-1]) cut at instants: p pieces in m slots, in ms.

    `first` is the first piece of each slot, `slot` the slot of each piece.
    """

    bounds: Ints
    at: Ints
    until: Ints
    length: Ints
    slot: Ints
    first: Ints

    @classmethod
    def cut(cls, from_ms: int, until_ms: int, instants: list[Ints]) -> "Pieces":
        """The slots of [from_ms, until_ms), bounds of slots, cut at the instants within."""
        bounds = np.arange(from_ms, until_ms + 1, SLOT_MS, dtype=np.int64)
        edges = np.concatenate([bounds, *instants])
        edges = edges[(edges >= from_ms) & (edges <= until_ms)]
        edges.sort(kind="stable")  # merges runs that are sorted already
        edges = edges[np.append(True, edges[1:] != edges[:-1])]
        at, until = edges[:-1], edges[1:]
        first = np.searchsorted(at, bounds[:-1])
        return cls(bounds, at, until, until - at, (at - from_ms) // SLOT_MS, first)

    def any(self, mask: Bools) -> Bools:
        """Slot by slot, whether the mask holds for one of its pieces."""
        return np.logical_or.reduceat(mask, self.first)

    def sum(self, amounts: Ints) -> Ints:
        """Slot by slot, the sum of whole numbers."""
        return np.add.reduceat(amounts, self.first)

    def sum_floats(self, amounts: Floats) -> Floats:
        """Slot by slot, the sum of floats, added one by one in order: the same in any context."""
        return np.bincount(self.slot, weights=amounts, minlength=len(self.first))


@dataclass(frozen=True, slots=True, eq=False)
class PowerSource:
    """Power over the pieces that lie between two readings of it within the gap.

    `net_w_ms` is the power's area, `inflow_w_ms` what of it lies above zero; both 0 where not
    `covered`.
    """

    covered: Bools
    late: Bools
    begin_w: Floats
    end_w: Floats
    net_w_ms: Floats
    inflow_w_ms: Floats

    @classmethod
    def over(
        cls, pieces: Pieces, at_ms: Ints, power_w: Floats, late: Bools, gap_ms: Ints | int
    ) -> "PowerSource":
        """Readings of power (at least one), whether each came late, and the gap after each."""
        pause = np.diff(at_ms)
        bridged = np.append(pause <= (gap_ms if np.isscalar(gap_ms) else gap_ms[:-1]), False)
        slope = np.append(np.diff(power_w) / pause, 0.0)
        seg = np.searchsorted(at_ms, pieces.at, "right") - 1  # -1 meets the last, never bridged
        covered = bridged[seg]
        origin, power, rise = at_ms[seg], power_w[seg], slope[seg]
        begin = power + rise * (pieces.at - origin)
        end = power + rise * (pieces.until - origin)
        after = (seg + 1) % len(at_ms)
        end = np.where(at_ms[after] == pieces.until, power_w[after], end)
        net_w_ms = np.where(covered, (begin + end) * 0.5 * pieces.length, 0.0)
        inflow_w_ms = np.maximum(net_w_ms, 0.0)
        crossing = np.flatnonzero((begin * end < 0) & covered)
        if len(crossing):
            begin_x, end_x = begin[crossing], end[crossing]
            above = np.maximum(begin_x, end_x)
            inflow_w_ms[crossing] = (
                above**2 / (2 * np.abs(end_x - begin_x)) * pieces.length[crossing]
            )
        return cls(covered, covered & late[after], begin, end, net_w_ms, inflow_w_ms)

    def area(self, direction: int) -> Floats:
        """What flowed in (direction 0) or out (1), in W·ms."""
        return self.inflow_w_ms if direction == 0 else self.inflow_w_ms - self.net_w_ms


@dataclass(frozen=True, slots=True, eq=False)
class CounterSource:
    """One counter over the pieces: `covered` between settled readings, `bridged` within the gap.

    `estimated` is a pause longer than the gap, `broken` a reset (`jumped`: of a counter that
    jumped up). A reset to exactly 0 within the gap is `unclear`: where the counter returns to its
    old level, what flowed meanwhile is in its rise, so that no other source may tell of it, and
    nobody saw it. Slot by slot: `mwh`, the counter's own `level_wh` at the end, NaN where the slot
    has nothing of it, and `odd`, whether a reading in it was dropped, held back or counted beyond
    the stated power.
    """

    covered: Bools
    bridged: Bools
    estimated: Bools
    broken: Bools
    jumped: Bools
    unclear: Bools
    late: Bools
    mwh: Ints
    level_wh: Floats
    odd: Bools

    @classmethod
    def over(
        cls, pieces: Pieces, levels: Levels, late: Bools, gap_ms: Ints | int
    ) -> "CounterSource":
        """A counter with at least one settled reading; `late` and the gap belong to those."""
        at, kind = levels.at_ms, levels.kind
        broken = np.append((kind[1:] == BREAK) | (kind[1:] == JUMP_BREAK), False)
        covered = np.append(~broken[:-1], False)
        to_zero = np.append((kind[1:] == BREAK) & (levels.level_wh[1:] == 0), False)
        long = np.append(np.diff(at) > (gap_ms if np.isscalar(gap_ms) else gap_ms[:-1]), False)
        seg = np.searchsorted(at, pieces.at, "right") - 1  # -1 meets the last, all False
        mwh, level, within = _at_bounds(pieces.bounds, levels)
        covers = covered[seg]
        odd = np.zeros(len(pieces.first), np.bool_)
        slots = (levels.odd_ms - pieces.bounds[0]) // SLOT_MS
        odd[slots[(slots >= 0) & (slots < len(odd))]] = True
        return cls(
            covered=covers,
            bridged=covers & ~long[seg],
            estimated=(covered & long)[seg],
            broken=broken[seg],
            jumped=np.append(kind[1:] == JUMP_BREAK, False)[seg],
            unclear=(to_zero & ~long)[seg],
            late=covers & late[(seg + 1) % len(at)],
            mwh=mwh,
            level_wh=np.where(pieces.any(covers) | within, level, np.nan),
            odd=odd,
        )


def counted_at(at_ms: Ints, levels: Levels) -> tuple[Ints, Floats]:
    """At each instant (rising) the mWh counted since the first settled reading, and the level (Wh).

    Between two settled readings both are linear; before the first and after the last they stand.
    """
    at, gain = levels.at_ms, levels.gain_mwh
    seg = np.searchsorted(at, at_ms, "right") - 1
    here, there = np.maximum(seg, 0), np.minimum(seg + 1, len(at) - 1)
    pause = np.maximum(at[there] - at[here], 1)
    share = np.clip((at_ms - at[here]) / pause, 0.0, 1.0)
    part = np.floor(share * gain[there] + 0.5).astype(np.int64)
    part[(seg < 0) | (here == there)] = 0
    counted = np.cumsum(gain)[here] + part
    level = to_mwh(levels.level_wh)[here] + np.where(levels.kind[there] == TAKEN, part, 0)
    return counted, level / 1000


def _at_bounds(bounds: Ints, levels: Levels) -> tuple[Ints, Floats, Bools]:
    """Slot by slot: mWh counted, the counter at the end, whether a settled reading lies in it."""
    counted, level = counted_at(bounds, levels)
    before = np.searchsorted(levels.at_ms, bounds, "left")
    return np.diff(counted), level[1:], before[1:] > before[:-1]


@dataclass(frozen=True, slots=True, eq=False)
class IntervalSource:
    """Interval readings over the pieces: `covered` and `mwh` of import (0) and export (1)."""

    covered: tuple[Bools, Bools]
    mwh: tuple[Ints, Ints]
    late: Bools

    @classmethod
    def over(
        cls, pieces: Pieces, at_ms: Ints, until_ms: Ints, wh: tuple[Floats, Floats], late: Bools
    ) -> "IntervalSource":
        """Intervals by their beginning, with energies in Wh (NaN: not read).

        Of several that tell of a piece the shortest counts. It takes its place in a longer one
        of which the rest counts on pro rata: so an interval changes nothing beyond its own span.
        """
        covered, shares, is_late = [], [], np.zeros(len(pieces.at), np.bool_)
        for column in wh:
            seg = _shortest(pieces, at_ms, until_ms, np.flatnonzero(~np.isnan(column)))
            known = seg >= 0  # -1 meets the last, which is not counted
            length = (until_ms - at_ms)[seg]
            begin = (pieces.at - at_ms[seg]) / length
            end = (pieces.until - at_ms[seg]) / length
            mwh = to_mwh(np.nan_to_num(column))[seg]
            share = np.floor(end * mwh + 0.5) - np.floor(begin * mwh + 0.5)
            covered.append(known)
            shares.append(np.where(known, share, 0).astype(np.int64))
            is_late |= known & late[seg]
        return cls(tuple(covered), tuple(shares), is_late)


def _shortest(pieces: Pieces, at_ms: Ints, until_ms: Ints, rows: Ints) -> Ints:
    """Of each piece the shortest interval of these rows that covers it; -1 where there is none.

    Of those of the same length it is the one that begins last.
    """
    found = np.full(len(pieces.at), -1)
    length = (until_ms - at_ms)[rows]
    for each in np.unique(length)[::-1]:
        alike = rows[length == each]
        last = np.searchsorted(at_ms[alike], pieces.at, "right") - 1
        covers = (last >= 0) & (pieces.at < until_ms[alike[last]])
        found[covers] = alike[last[covers]]
    return found
