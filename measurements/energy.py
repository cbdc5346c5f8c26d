"""From the readings of one appliance to its slots of 15 minutes. Pure.

Energies are integers in mWh, never negative, apart for what flows in (import) and out (export).
Each direction takes, at every instant, the best that tells of it:

1. its counter: linear between two settled readings (`measurements.counters`), so that any run of
   slots adds up to the difference of the counter at its ends; a pause longer than the maximal gap
   is spread evenly and ESTIMATED; nothing is said across a break of the counter (RESET), and where
   it falls to exactly 0 within that gap, by no other source either: it may return;
2. else interval readings, shared over the slots that they cover;
3. else power, by trapezoids that are exact where it crosses zero, across pauses up to the gap.

So a direction without a counter follows from power, and so does what lies before the first and
after the last reading of a counter. Without any of the three there is no statement.

The maximal gap is three declared intervals, at least 5 minutes, at most 3 hours. Seen are the
instants between two readings of power or of a counter within the gap, and those of an interval.

Computing a part of history gives the same, to the bit, as computing all of it. For the slots of
[from_ms, until_ms) give:

- every reading with from_ms <= at < until_ms;
- before it: the last reading with power (further back than 3 hours it makes no difference), and
  all interval readings from the first one on that reaches into it;
- after it: the next reading with power, and the next **two** with each counter: the first may be
  held back, the second always settles it;
- `carry`: that of the last slot with readings before from_ms, None if there was none. It is all
  that earlier counter readings amount to; those given from before from_ms are not looked at.

A new reading changes the slots from the settled reading before it (`carry.open_since`) up
to the one after it. When the carry at the end of what was recomputed is what it was before, all
later slots are right; else go on until it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from measurements.amounts import Amounts, Bools, Floats, Ints
from measurements.carry import next_carries, state_of
from measurements.counters import Levels, follow_counter
from measurements.flags import Flag
from measurements.resolutions import SLOT_MS
from measurements.sources import (
    W_MS_PER_MWH,
    CounterSource,
    IntervalSource,
    Pieces,
    PowerSource,
)

LATE_S = 900
SHORTEST_GAP_MS, LONGEST_GAP_MS = 300_000, 10_800_000
GAP_INTERVALS = 3

QUANTITIES = (
    "power_w",
    "imported_wh",
    "exported_wh",
    "soc",
    "energy_wh",
    "temperature_c",
    "interval_s",
    "import_energy_wh",
    "export_energy_wh",
    "delay_s",
)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """n readings of one appliance: at_ms (int64, ms since the epoch) strictly rising.

    `columns` maps names of `QUANTITIES` to float64 arrays of n, NaN where not read; a missing
    name was never read. W, Wh and 0–1; positive power flows into the appliance, at that instant.
    Energies of a row with `interval_s` are of [at, at + interval_s); where intervals overlap, the
    shorter one counts, and of the longer one the rest. `delay_s` is how late the row arrived.
    Raises ValueError when instants do not rise or lengths differ.
    """

    at_ms: Ints
    columns: Mapping[str, Floats]

    def __post_init__(self) -> None:
        if len(self.at_ms) > 1 and not (self.at_ms[1:] > self.at_ms[:-1]).all():
            raise ValueError("The instants of readings must rise strictly.")
        for name, column in self.columns.items():
            if name not in QUANTITIES or len(column) != len(self.at_ms):
                raise ValueError(f"Not a column of {len(self.at_ms)} readings: {name}")

    def column(self, name: str) -> Floats | None:
        """The column, None when nothing in it was read."""
        column = self.columns.get(name)
        return None if column is None or np.isnan(column).all() else column


@dataclass(frozen=True, slots=True)
class Nominal:
    """What is known of an appliance beforehand.

    `interval_s` is its declared interval, or several with the instants they hold from, in order:
    ((from_ms, interval_s), …). Greatest powers in W, both positive, None where unknown.
    """

    interval_s: float | Sequence[tuple[int, float]]
    max_import_w: float | None = None
    max_export_w: float | None = None

    def gap_ms(self, at_ms: Ints) -> Ints | int:
        """The longest pause after each instant that is bridged."""
        if isinstance(self.interval_s, int | float):
            return int(
                min(max(GAP_INTERVALS * 1000 * self.interval_s, SHORTEST_GAP_MS), LONGEST_GAP_MS)
            )
        starts, intervals = zip(*self.interval_s, strict=True)
        which = np.maximum(np.searchsorted(starts, at_ms, "right") - 1, 0)
        gaps = (GAP_INTERVALS * 1000 * np.array(intervals, np.float64)).astype(np.int64)
        return np.clip(gaps, SHORTEST_GAP_MS, LONGEST_GAP_MS)[which]


@dataclass(frozen=True, slots=True, eq=False)
class ApplianceSlots:
    """Consecutive slots of one appliance, m of them.

    Floats are NaN where absent. `imported_wh` and `exported_wh` are the counters at the slot's
    end, `soc`, `stored_wh`, `temperature_c` the last in the slot, `seen_s` 0–900. `known` tells
    which slots have anything to say (any reading, or any energy). `carry` (m, CARRY_SIZE) is the
    state at each slot's end, to go on from.
    """

    start_ms: Ints
    import_mwh: Amounts
    export_mwh: Amounts
    mean_w: Floats
    min_w: Floats
    max_w: Floats
    soc: Floats
    stored_wh: Floats
    temperature_c: Floats
    imported_wh: Floats
    exported_wh: Floats
    seen_s: Ints
    flags: Ints
    known: Bools
    carry: Floats

    def __len__(self) -> int:
        return len(self.start_ms)


def appliance_slots(
    readings: Readings,
    from_ms: int,
    until_ms: int,
    *,
    nominal: Nominal,
    carry: Floats | None = None,
) -> ApplianceSlots:
    """The slots of [from_ms, until_ms), both bounds of slots, from readings with their context.

    Raises ValueError when the span is empty or not made of whole slots.
    """
    if from_ms >= until_ms or from_ms % SLOT_MS or until_ms % SLOT_MS:
        raise ValueError(f"Not a span of whole slots: {from_ms} to {until_ms}")
    return Computation(readings, from_ms, until_ms, nominal, carry).result()


class Computation:
    """One computation: readings cut into pieces, what each source says of them, summed by slot.

    The arguments are those of `appliance_slots`. `measurements.tracing` tells how it came about.
    """

    def __init__(self, readings, from_ms, until_ms, nominal, carry) -> None:
        self.readings, self.nominal, self.carry = readings, nominal, carry
        at = self.at = readings.at_ms
        self.inside = slice(*np.searchsorted(at, (from_ms, until_ms)))
        delay = readings.column("delay_s")
        self.late = np.zeros(len(at), np.bool_) if delay is None else delay > LATE_S
        self.interval_s = readings.column("interval_s")
        instants = [at]
        if self.interval_s is not None:
            self.spans = np.flatnonzero(self._tells_energy())
            self.until = at[self.spans] + (self.interval_s[self.spans] * 1000).astype(np.int64)
            instants.append(np.sort(self.until))
        self.pieces = Pieces.cut(from_ms, until_ms, instants)
        self.power = self._power()
        self.intervals = None if self.interval_s is None else self._intervals()
        self.levels: list[Levels | None] = [None, None]
        self.counter_at: list[Ints] = [at, at]
        self.counters = [
            self._counter(0, "imported_wh", nominal.max_import_w),
            self._counter(1, "exported_wh", nominal.max_export_w),
        ]

    def _tells_energy(self) -> Bools:
        tells = np.zeros(len(self.at), np.bool_)
        for name in ("import_energy_wh", "export_energy_wh"):
            column = self.readings.column(name)
            if column is not None:
                tells |= np.isfinite(column)
        return tells & (self.interval_s > 0)

    def _power(self) -> PowerSource | None:
        power = self.readings.column("power_w")
        if power is None:
            return None
        read = np.isfinite(power)
        if not read.any():
            return None
        at = self.at if read.all() else self.at[read]
        self.power_at, self.power_w = at, power[read]
        return PowerSource.over(
            self.pieces, at, self.power_w, self.late[read], self.nominal.gap_ms(at)
        )

    def _intervals(self) -> IntervalSource | None:
        rows = self.spans
        if not len(rows):
            return None
        nothing = np.full(len(rows), np.nan)
        columns = [self.readings.column(f"{name}_energy_wh") for name in ("import", "export")]
        wh = [nothing if column is None else column[rows] for column in columns]
        plausible = [np.where((c >= 0) & np.isfinite(c), c, np.nan) for c in wh]
        return IntervalSource.over(
            self.pieces, self.at[rows], self.until, tuple(plausible), self.late[rows]
        )

    def _counter(self, direction: int, name: str, max_w: float | None) -> CounterSource | None:
        state = state_of(self.carry, direction)
        column = self.readings.column(name)
        first = self.inside.start
        at, rows = self.at[first:], None
        if column is None:
            at, wh, rows = at[:0], np.zeros(0), np.zeros(0, np.int64)
        else:
            wh = column[first:]
            read = np.isfinite(wh)
            if not read.all():
                rows = np.flatnonzero(read)
                at, wh = at[rows], wh[rows]
        if state is None and not len(at):
            return None
        levels = follow_counter(at, wh, state=state, max_power_w=max_w)
        self.levels[direction], self.counter_at[direction] = levels, at
        late = self.late[first:] if rows is None else self.late[first:][rows]
        late = np.append(late, False)[levels.reading]  # -1, the carry's: not late
        return CounterSource.over(self.pieces, levels, late, self.nominal.gap_ms(levels.at_ms))

    def result(self) -> ApplianceSlots:
        pieces, m = self.pieces, len(self.pieces.first)
        stated, amounts = np.zeros(len(pieces.at), np.bool_), []
        for direction in (0, 1):
            amount, covered = self._direction(direction)
            amounts.append(amount)
            stated |= covered
        seen_ms = pieces.sum(np.where(self._seen(), pieces.length, 0))
        flags = self._flags()
        mean, low, high = self._power_figures(amounts, stated)
        known = pieces.any(stated) | (flags > 0)
        known[(self.at[self.inside] - pieces.bounds[0]) // SLOT_MS] = True
        absent = np.full(m, np.nan)
        ends = [absent if c is None else c.level_wh for c in self.counters]
        return ApplianceSlots(
            start_ms=pieces.bounds[:-1],
            import_mwh=amounts[0],
            export_mwh=amounts[1],
            mean_w=mean,
            min_w=low,
            max_w=high,
            soc=self._last("soc"),
            stored_wh=self._last("energy_wh"),
            temperature_c=self._last("temperature_c"),
            imported_wh=ends[0],
            exported_wh=ends[1],
            seen_s=(seen_ms + 500) // 1000,
            flags=flags,
            known=known,
            carry=next_carries(
                self.carry, pieces.bounds[1:], zip(self.counter_at, self.levels, strict=True)
            ),
        )

    def told_by(self, direction: int) -> dict[str, Bools]:
        """By source the pieces that it is taken for: each piece by the best that tells of it."""
        counter, power = self.counters[direction], self.power
        told: dict[str, Bools] = {}
        taken = np.zeros(len(self.pieces.at), np.bool_)
        if counter is not None:
            told["counter"] = counter.covered
            taken = counter.covered | counter.unclear
        if self.intervals is not None:
            told["interval"] = self.intervals.covered[direction] & ~taken
            taken = taken | told["interval"]
        if power is not None:
            told["power"] = power.covered & ~taken
        return told

    def _direction(self, direction: int) -> tuple[Amounts, Bools]:
        """The energy of one direction, and the pieces that anything tells of."""
        pieces, told = self.pieces, self.told_by(direction)
        mwh = np.zeros(len(pieces.first), np.int64)
        if "counter" in told:
            mwh = mwh + self.counters[direction].mwh
        if "interval" in told:
            mwh = mwh + pieces.sum(np.where(told["interval"], self.intervals.mwh[direction], 0))
        if "power" in told and told["power"].any():
            area = pieces.sum_floats(np.where(told["power"], self.power.area(direction), 0.0))
            mwh = mwh + np.floor(area / W_MS_PER_MWH + 0.5).astype(np.int64)
        covered = np.zeros(len(pieces.at), np.bool_)
        for pieces_told in told.values():
            covered = covered | pieces_told
        return Amounts(mwh, pieces.any(covered)), covered

    def _seen(self) -> Bools:
        seen = np.zeros(len(self.pieces.at), np.bool_)
        for counter in self.counters:
            if counter is not None:
                seen |= counter.bridged
        if self.intervals is not None:
            seen |= self.intervals.covered[0] | self.intervals.covered[1]
        if self.power is not None:
            seen |= self.power.covered
        for counter in self.counters:
            if counter is not None:
                seen &= ~counter.unclear
        return seen

    def _flags(self) -> Ints:
        pieces = self.pieces
        flags = np.zeros(len(pieces.first), np.int64)
        for counter in self.counters:
            if counter is None:
                continue
            flags |= np.where(pieces.any(counter.estimated), Flag.ESTIMATED, 0)
            flags |= np.where(pieces.any(counter.broken), Flag.RESET, 0)
            flags |= np.where(pieces.any(counter.jumped) | counter.odd, Flag.IMPLAUSIBLE, 0)
        if self.late.any():
            sources = [self.power, self.intervals, *self.counters]
            for source in sources:
                if source is not None:
                    flags |= np.where(pieces.any(source.late), Flag.RECOVERED, 0)
            late_ms = self.at[self.inside][self.late[self.inside]]
            flags[(late_ms - pieces.bounds[0]) // SLOT_MS] |= Flag.RECOVERED
        return flags

    def _power_figures(self, amounts: list[Amounts], stated: Bools) -> tuple[Floats, ...]:
        """Mean, least and greatest power: of power where it was read, else the mean by energy."""
        pieces, m = self.pieces, len(self.pieces.first)
        mean, low, high = (np.full(m, np.nan) for _ in range(3))
        some = amounts[0].present | amounts[1].present
        if some.any():
            length = pieces.sum(np.where(stated, pieces.length, 0))
            net = (amounts[0].values - amounts[1].values) * W_MS_PER_MWH
            np.divide(net, length, out=mean, where=some)
        if self.power is None:
            return mean, low, high
        power = self.power
        length = pieces.sum(np.where(power.covered, pieces.length, 0))
        np.divide(pieces.sum_floats(power.net_w_ms), length, out=mean, where=length > 0)
        least = np.where(power.covered, np.minimum(power.begin_w, power.end_w), np.inf)
        most = np.where(power.covered, np.maximum(power.begin_w, power.end_w), -np.inf)
        low = np.minimum.reduceat(least, pieces.first)
        high = np.maximum.reduceat(most, pieces.first)
        here = slice(*np.searchsorted(self.power_at, (pieces.bounds[0], pieces.bounds[-1])))
        slots = (self.power_at[here] - pieces.bounds[0]) // SLOT_MS
        np.minimum.at(low, slots, self.power_w[here])
        np.maximum.at(high, slots, self.power_w[here])
        # Single readings of power beside a mean by energy stay around that mean.
        by_energy = (length == 0) & some & np.isfinite(low)
        low[by_energy] = np.minimum(low, mean)[by_energy]
        high[by_energy] = np.maximum(high, mean)[by_energy]
        low[np.isinf(low)], high[np.isinf(high)] = np.nan, np.nan
        return mean, low, high

    def _last(self, name: str) -> Floats:
        last = np.full(len(self.pieces.first), np.nan)
        column = self.readings.column(name)
        if column is not None:
            column = column[self.inside]
            read = np.isfinite(column)
            # Assigning in order leaves the last of each slot.
            last[(self.at[self.inside][read] - self.pieces.bounds[0]) // SLOT_MS] = column[read]
        return last
