"""What a cumulative counter really counted: dips, resets, glitches and jumps told apart. Pure.

A counter's reading is taken, one after the other, against the level reached before it:

- It is *taken* when it is no lower, and no higher than the appliance could have counted since the
  counter rose last (twice its greatest power, and 1 kWh for coarse counters). So a counter that
  stood still while its device was not reached may catch up in one step.
- Of an appliance whose greatest power nobody stated, a rise that is steeper than houses are is
  *doubtful*: it is held back, and taken when the very next reading goes on from it.
- A *small dip* (up to 1 % of the level or 1 kWh, whichever is smaller) leaves the level where it
  is, until it is passed again.
- Anything else is *held back*, and the very next reading decides. When it continues the level
  from before, the held one was a *glitch* and is dropped. When it goes on from the held one,
  counting does so too from there, and the new level itself is never counted: a *break* (counter
  reset or replaced). A held jump is counted only where the next step is just as steep (up to ten
  times what the appliance can do): then it is the stated power that is wrong, not the counter.
- When it does neither, the held one is dropped, and there is a break at the next one, whose level
  is *unproven* until a reading goes on from it; one that does not takes its place in the same way.
- A level from before a break that comes back in one step (a counter that read 0 for a while), or
  is continued after an unproven one, is a *return*: counting goes on from that old level.
- Of a level of exactly 0 less is believed, for it may never have been the counter's. Where what
  comes next goes on from the level before the break, and is steeper than what was seen since the
  last 0 or close to the old level, it is a return, too; and a doubtful rise from 0 is a break.

So what a reading means depends on the readings before it only through a `State` of six numbers,
and on no more than the next reading after it.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from measurements.amounts import Floats, Ints

DIP_SHARE = 0.01
DIP_WH = 1000.0
JUMP_FACTOR = 2.0
JUMP_WH = 1000.0
STEEPEST = 10.0
# For an appliance whose greatest power is unknown: what a house's connection can carry is taken as
# it comes, what is more, up to what a large site's can, only with the next reading.
DOUBTFUL_POWER_W = 50e3
UNKNOWN_MAX_POWER_W = 1e6
# How far a counter that read 0 may have gone on meanwhile, whatever can be since the last 0.
CLOSE_SHARE = 0.1
MS_PER_H = 3_600_000

TAKEN, BREAK, JUMP_BREAK, RETURN = 0, 1, 2, 3

STATE_SIZE = 6
# Readings taken at a time after one that was out of order, so that many of them stay cheap.
_CHUNK = 256


@dataclass(slots=True)
class State:
    """All that later readings need to know of those before; NaN where there is none.

    `last_ms`, `level_wh`: the last settled reading and the level reached. `risen_ms`: when the
    level last rose. `before_wh`: the level before the last break. `held_ms`, `held_wh`: a reading
    held back. Where that is the last settled one itself, its level is unproven, and `risen_ms` is
    when the level before the break last rose.
    """

    last_ms: float
    level_wh: float
    risen_ms: float
    before_wh: float = math.nan
    held_ms: float = math.nan
    held_wh: float = math.nan

    @property
    def is_unproven(self) -> bool:
        """Whether no reading has gone on from the level yet."""
        return self.held_ms == self.last_ms

    def numbers(self) -> tuple[float, ...]:
        """The six numbers, settled ones first."""
        return (
            self.last_ms,
            self.level_wh,
            self.risen_ms,
            self.before_wh,
            self.held_ms,
            self.held_wh,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The settled readings of one counter, in order (k of them; the first may be the state's).

    `gain_mwh[i]` is what was counted from settled reading i - 1 to i (0 for the first), `kind[i]`
    how (TAKEN, BREAK, JUMP_BREAK, RETURN), `reading[i]` which reading it is (-1: the state's).
    `odd_ms` are readings dropped, held or counted against the appliance's stated power.
    `states` has the state after each of the n readings given, as rows of six numbers.
    """

    at_ms: Ints
    level_wh: Floats
    gain_mwh: Ints
    kind: Ints
    reading: Ints
    odd_ms: Ints
    states: Floats


def follow_counter(
    at_ms: Ints, wh: Floats, *, state: State | None, max_power_w: float | None
) -> Levels:
    """Follow a counter through n readings (at_ms strictly rising, wh without NaN).

    `state` is that after all readings before the first, None when there were none.
    """
    if state is None or math.isnan(state.held_ms) or state.is_unproven:
        return _Following(at_ms, wh, state, max_power_w).result()
    # The held reading is taken up once more, to be decided in the same way as it would have been.
    at_ms, wh = np.append(int(state.held_ms), at_ms), np.append(state.held_wh, wh)
    levels = _Following(at_ms, wh, State(*state.numbers()[:4]), max_power_w).result()
    return replace(levels, reading=np.maximum(levels.reading - 1, -1), states=levels.states[1:])


@dataclass(slots=True)
class _Following:
    at_ms: Ints
    wh: Floats
    start: State | None
    max_power_w: float | None
    settled: np.ndarray = field(init=False)
    level: Floats = field(init=False)
    risen: Floats = field(init=False)
    before: Floats = field(init=False)
    kind: Ints = field(init=False)
    held: dict[int, tuple[float, ...]] = field(default_factory=dict)
    returned: dict[int, float] = field(default_factory=dict)
    odd: list[int] = field(default_factory=list)
    # Wh per ms: what can be, and what is taken without a doubt.
    limit: float = field(init=False)
    plain: float = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.at_ms)
        self.settled = np.zeros(n, np.bool_)
        self.level = np.empty(n)
        self.risen = np.empty(n)
        self.before = np.full(n, np.nan)
        self.kind = np.zeros(n, np.int64)
        known = self.max_power_w
        self.limit = _steepest(UNKNOWN_MAX_POWER_W if known is None else known)
        self.plain = _steepest(DOUBTFUL_POWER_W if known is None else known)

    def result(self) -> Levels:
        state = self.start and State(*self.start.numbers())
        first = 0
        if state is None and len(self.at_ms):
            at, wh = float(self.at_ms[0]), float(self.wh[0])
            state = State(at, wh, at)
            self._settle(0, state)
            first = 1
        if state is not None:
            self._run(first, state)
        return self._levels()

    def _run(self, i: int, state: State) -> None:
        n, size = len(self.at_ms), len(self.at_ms)
        while i < n:
            if math.isnan(state.held_ms):
                i, ended = self._take_run(i, min(n, i + size), state)
                if not ended:
                    size = size * 2
                    continue
            self._step(i, state)
            i, size = i + 1, _CHUNK

    def _take_run(self, i: int, j: int, state: State) -> tuple[int, bool]:
        """Settle the readings from i on that are in order; where it ends, and whether before j."""
        at, wh = self.at_ms[i:j], self.wh[i:j]
        levels = np.empty(j - i + 1)
        levels[0] = state.level_wh
        levels[1:] = wh
        np.maximum.accumulate(levels, out=levels)
        below = levels[:-1]
        rise = wh - below
        risen = np.empty(j - i + 1)
        risen[0] = state.risen_ms
        risen[1:] = np.where(rise > 0, at, state.risen_ms)
        np.maximum.accumulate(risen, out=risen)
        fine = rise >= -np.minimum(np.abs(below) * DIP_SHARE, DIP_WH)
        fine &= rise <= (at - risen[:-1]) * self.plain + JUMP_WH
        if not math.isnan(state.before_wh):
            fine &= rise <= np.maximum(below, state.before_wh) / 2
        count = j - i if fine.all() else int(fine.argmin())
        if count:
            k = i + count
            self.settled[i:k] = True
            self.level[i:k] = levels[1 : count + 1]
            self.risen[i:k] = risen[1 : count + 1]
            self.before[i:k] = state.before_wh
            state.last_ms = float(at[count - 1])
            state.level_wh, state.risen_ms = float(levels[count]), float(risen[count])
        return i + count, count < j - i

    def _step(self, i: int, state: State) -> None:
        """Decide about one reading that is not plainly in order, or that follows a held one."""
        at, wh = float(self.at_ms[i]), float(self.wh[i])
        if _returns(state, wh) or self._was_never_zero(state, at, wh):
            self._return(i, at, wh, state)
        elif state.is_unproven:
            self._prove(i, at, wh, state)
        elif self._is_doubtful(state) and self._continues(
            state.held_wh, state.held_ms, at, wh, self.limit
        ):
            self._settle(i - 1, _moved(state, state.held_ms, state.held_wh, state.before_wh))
            self._step(i, state)
        elif self._continues(state.level_wh, state.risen_ms, at, wh, self.plain):
            self._drop_held(state)
            state.last_ms = at
            if wh > state.level_wh:
                state.level_wh, state.risen_ms = wh, at
            self._settle(i, state)
        elif math.isnan(state.held_ms):
            state.held_ms, state.held_wh = at, wh
            self.held[i] = state.numbers()
        else:
            self._decide(i, at, wh, state)

    def _decide(self, i: int, at: float, wh: float, state: State) -> None:
        """The reading i settles the held reading before it, away from the old level."""
        held_ms, held_wh = state.held_ms, state.held_wh
        jumped = held_wh > state.level_wh
        if jumped and self._as_steep(at, wh, state):
            self.odd += [int(held_ms), int(at)]
            self._settle(i - 1, _moved(state, held_ms, held_wh, state.before_wh))
            self._settle(i, _moved(state, at, wh, state.before_wh))
            return
        old, kind = state.level_wh, JUMP_BREAK if jumped else BREAK
        if self._continues(held_wh, held_ms, at, wh, self.limit):
            self._settle(i - 1, _moved(state, held_ms, held_wh, old), kind)
            state.last_ms = at
            if wh > held_wh:
                state.level_wh, state.risen_ms = wh, at
            self._settle(i, state)
        else:
            self._drop_held(state)
            self._doubt(i, at, wh, state, old)

    def _prove(self, i: int, at: float, wh: float, state: State) -> None:
        """The reading i tells whether counting goes on from a level that is unproven."""
        level, since = state.level_wh, state.held_ms
        believed = self.limit if level == 0 else self.plain
        if self._continues(state.before_wh, state.risen_ms, at, wh, believed):
            self._return(i, at, wh, state)
        elif self._continues(level, since, at, wh, self.plain):
            state.last_ms, state.risen_ms = at, since
            if wh > level:
                state.level_wh, state.risen_ms = wh, at
            state.held_ms = state.held_wh = math.nan
            self._settle(i, state)
        elif 0 < wh - level <= STEEPEST * ((at - since) * self.limit + JUMP_WH):
            # As steep as what may still be counted: the next one decides as of any jump.
            state.risen_ms, state.held_ms, state.held_wh = since, at, wh
            self.held[i] = state.numbers()
        else:
            self._drop_held(state)
            self._doubt(i, at, wh, state, state.before_wh)

    def _doubt(self, i: int, at: float, wh: float, state: State, before: float) -> None:
        """There is a break at the reading i, whose level is yet to be gone on from."""
        state.last_ms = state.held_ms = at
        state.level_wh = state.held_wh = wh
        state.before_wh = before
        self._settle(i, state, JUMP_BREAK if wh > before else BREAK)
        self.held[i] = state.numbers()

    def _return(self, i: int, at: float, wh: float, state: State) -> None:
        """Counting goes on from the level before the last break."""
        self._drop_held(state)
        self.returned[i] = state.before_wh
        self.odd.append(int(at))
        self._settle(i, _moved(state, at, max(wh, state.before_wh)), RETURN)

    def _was_never_zero(self, state: State, at: float, wh: float) -> bool:
        """Whether a counter goes on from before the break, after zeros that were not its own."""
        if state.level_wh != 0 or not math.isnan(state.held_ms):
            return False
        before = state.before_wh  # NaN compares as False
        seen_to_count = self._continues(0.0, state.last_ms, at, wh, self.plain)
        is_close = wh - before <= before * CLOSE_SHARE
        goes_on = self._continues(before, state.risen_ms, at, wh, self.plain)
        return goes_on and (is_close or not seen_to_count)

    def _is_doubtful(self, state: State) -> bool:
        """Whether a reading is held back that can be true; without one nothing is."""
        limit = self.plain if state.level_wh == 0 else self.limit
        possible_wh = (state.held_ms - state.risen_ms) * limit + JUMP_WH
        return 0 < state.held_wh - state.level_wh <= possible_wh

    def _continues(self, level: float, risen_ms: float, at: float, wh: float, limit: float) -> bool:
        return -_dip(level) <= wh - level <= (at - risen_ms) * limit + JUMP_WH

    def _as_steep(self, at: float, wh: float, state: State) -> bool:
        most = (state.held_ms - state.risen_ms) * self.limit + JUMP_WH
        most_next = (at - state.held_ms) * self.limit + JUMP_WH
        step, step_next = state.held_wh - state.level_wh, wh - state.held_wh
        return step <= STEEPEST * most and most_next < step_next <= STEEPEST * most_next

    def _drop_held(self, state: State) -> None:
        if not math.isnan(state.held_ms):
            self.odd.append(int(state.held_ms))
            state.held_ms = state.held_wh = math.nan

    def _settle(self, i: int, state: State, kind: int = TAKEN) -> None:
        self.settled[i], self.kind[i] = True, kind
        self.level[i], self.risen[i] = state.level_wh, state.risen_ms
        self.before[i] = state.before_wh

    def _levels(self) -> Levels:
        rows = np.flatnonzero(self.settled)
        at, level, kind = self.at_ms[rows], self.level[rows], self.kind[rows]
        if self.start is not None:
            at = np.concatenate(([int(self.start.last_ms)], at))
            level = np.concatenate(([self.start.level_wh], level))
            kind, rows = np.concatenate(([TAKEN], kind)), np.concatenate(([-1], rows))
        gain = np.zeros(len(at), np.int64)
        gain[1:] = np.diff(to_mwh(level))
        if kind.any():
            gain[(kind == BREAK) | (kind == JUMP_BREAK)] = 0
            for i, before in self.returned.items():
                gain[rows == i] = to_mwh(self.level[i]) - to_mwh(before)
        states = np.empty((len(self.at_ms), STATE_SIZE))
        states[:, 0], states[:, 1], states[:, 2] = self.at_ms, self.level, self.risen
        states[:, 3], states[:, 4:] = self.before, np.nan
        for i, numbers in self.held.items():
            states[i] = numbers
        unsettled = [
            int(numbers[4])
            for i, numbers in self.held.items()
            if not (self.settled[i] or self._is_doubtful(State(*numbers)))
        ]
        odd = np.array(sorted({*self.odd, *unsettled}), np.int64)
        return Levels(at, level, gain, kind, rows, odd, states)


def _steepest(power_w: float) -> float:
    """The steepest rise that is believed of an appliance of this power, in Wh per ms."""
    return JUMP_FACTOR * power_w / MS_PER_H


def to_mwh(wh):
    """Whole mWh of Wh, a float or an array alike: rounded once, so that differences add up."""
    return np.floor(np.asarray(wh) * 1000 + 0.5).astype(np.int64)


def _dip(level: float) -> float:
    return min(abs(level) * DIP_SHARE, DIP_WH)


def _returns(state: State, wh: float) -> bool:
    """Whether a reading is the level from before the last break again, reached in one step."""
    before = state.before_wh
    if math.isnan(before):
        return False
    near = -_dip(before) <= wh - before <= max(_dip(before), abs(before) * DIP_SHARE)
    return near and abs(wh - state.level_wh) > max(state.level_wh, before) / 2


def _moved(state: State, at: float, wh: float, before: float = math.nan) -> State:
    """The state, counting on from a new level, with nothing held."""
    state.last_ms = state.risen_ms = at
    state.level_wh, state.before_wh = wh, before
    state.held_ms = state.held_wh = math.nan
    return state
