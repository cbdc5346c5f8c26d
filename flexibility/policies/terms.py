"""What charging policies know and answer, in plain values. Pure.

Powers in W, positive into the appliance (a meter's import, a battery's charge, a station's draw);
energies in Wh at the station; None is no statement.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil, floor, inf, isfinite
from typing import NamedTuple

# For a station that nobody stated the limits of: three phases from 6 A to 32 A.
UNKNOWN_MIN_W = 4_140.0
UNKNOWN_MAX_W = 22_000.0
# More than any vehicle holds: what is asked for beyond it is a mistake.
MOST_WH = 1_000_000.0
# Of what it is offered; a car that takes less than that limits itself.
NEARLY = 0.85
# Less than this is no energy to speak of: the goal is reached, or within reach.
NEGLIGIBLE_WH = 1.0
# What is missing at a departure is worth a word from so much on.
MISSED_WH = 50.0


class Mode(StrEnum):
    """What a policy is after."""

    FORCED = "forced"
    SURPLUS = "surplus"
    MINIMUM_AND_SURPLUS = "minimum_and_surplus"
    OFF = "off"
    DEPARTURE = "departure"


# `chargeMode` on the wire API; it has no word for OFF, but `chargingEnabled`.
WIRE_MODES: dict[Mode, str] = {
    Mode.FORCED: "FORCED_EV",
    Mode.SURPLUS: "SURPLUS_EV",
    Mode.MINIMUM_AND_SURPLUS: "MIN_EV",
    Mode.DEPARTURE: "DEPARTURE_TIME_EV",
}


class Why(StrEnum):
    """Why a wish is what it is."""

    FORCED = "forced"
    OFF = "off"
    SURPLUS = "surplus"  # charges from the surplus
    STARTING = "starting"  # the surplus is enough, but not for long enough yet
    HOLDING = "holding"  # the surplus is not enough, but not for long enough yet
    TOO_LITTLE = "too_little"  # pauses: the surplus is below the minimum
    UNKNOWN = "unknown"  # pauses: nobody knows the surplus
    UNPLUGGED = "unplugged"  # pauses: there is nothing to charge
    MINIMUM = "minimum"  # charges with the minimum: the surplus gives no more
    STEADY = "steady"  # charges with what the time until departure needs
    LATE = "late"  # charges at full power: nothing less reaches the goal
    UNREACHABLE = "unreachable"  # charges at full power, and not even that reaches the goal
    HELD = "held"  # pauses: others leave less than the minimum, whatever the goal needs
    TURN = "turn"  # is paused by a limit that it shares, whose turn is another's
    IDLE = "idle"  # may charge with the minimum, but the car takes nothing: it may be full
    REACHED = "reached"  # pauses: the goal is reached


@dataclass(frozen=True, slots=True)
class Reading:
    """Power in W at an instant; None where it was not read."""

    at: datetime
    power_w: float | None


@dataclass(frozen=True, slots=True)
class Site:
    """What was read at the grid connection, and of each of the house's batteries."""

    meter: Reading | None = None
    batteries: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A charging station: its limits while it charges (W, 1 ≤ min ≤ max) and its latest power.

    `most_w` is what others leave it now, None where nobody limits it; `offered_w` is what it may
    take now, with all that is asked of it, None where that is not known. One that is known to be
    not `plugged`, that others pause, or whose car is full, takes no share of the surplus.
    """

    key: str
    min_w: float = UNKNOWN_MIN_W
    max_w: float = UNKNOWN_MAX_W
    most_w: float | None = None
    offered_w: float | None = None
    power: Reading | None = None
    plugged: bool = True

    @property
    def is_held(self) -> bool:
        """Whether others leave it less than its minimum, so that it pauses."""
        return self.most_w is not None and self.most_w < self.min_w

    def __post_init__(self) -> None:
        if not (1 <= self.min_w <= self.max_w and isfinite(self.max_w)):
            raise ValueError("A station charges with at least 1 W, and at most its maximum.")


@dataclass(frozen=True, slots=True)
class Room:
    """What others leave a station from an instant on: at most so much, 0 where it has to pause.

    `part`: of the time; less than 1 where it takes turns with others.
    """

    from_at: datetime
    max_w: float
    part: float = 1.0


@dataclass(frozen=True, slots=True)
class Departure:
    """So much energy (Wh) until so late, and what of it has been charged so far.

    `rooms` are what others leave the station, in their order, the first one from now on; without
    any it has all that it can do.
    """

    energy_wh: float
    departs_at: datetime
    charged_wh: float = 0.0
    rooms: tuple[Room, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.energy_wh <= MOST_WH:
            raise ValueError(f"The energy until departure is between 0 and {MOST_WH:g} Wh.")

    @property
    def left_wh(self) -> float:
        """What is still to be charged; 0 where that is not worth starting for."""
        left = self.energy_wh - self.charged_wh
        return left if left >= NEGLIGIBLE_WH else 0.0


@dataclass(frozen=True, slots=True)
class Car:
    """What a station's readings have told of its car.

    `part`: how much it takes of what it is offered; less than 1 where it does not charge on all
    phases. `most_w`: what it takes at most (W), None where that is not known. `is_idle`: it takes
    nothing of what it is offered; `has_charged`: it took something when it last could.
    `odd_since`: since when it has taken clearly other than all that.
    """

    part: float = 1.0
    most_w: float | None = None
    is_idle: bool = False
    has_charged: bool = False
    odd_since: datetime | None = None

    def takes_w(self, offered_w: float) -> float:
        """What it takes of an offer, as far as is known."""
        taken_w = self.part * offered_w
        return taken_w if self.most_w is None else min(taken_w, self.most_w)

    @property
    def useful_w(self) -> float:
        """What it is of use to offer it: what it takes, and enough more to see whether it can."""
        return inf if self.most_w is None else self.most_w / self.part / NEARLY


UNKNOWN_CAR = Car()


@dataclass(frozen=True, slots=True)
class State:
    """What the next call needs to know of this one.

    `since`: from when on the surplus has contradicted `running`; None where it does not.
    `told_w`: the limit told last while running. `firm_w`: what a departure needs for certain,
    None while it may still wait for surplus. `car`: what was learnt of the car.
    """

    at: datetime
    running: bool = False
    since: datetime | None = None
    told_w: float | None = None
    firm_w: float | None = None
    car: Car = UNKNOWN_CAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One station under one policy. `until`: when the policy itself ends, if it does.

    `car`: what is known of the car from elsewhere, for a policy that has no state yet.
    """

    station: Station
    mode: Mode
    departure: Departure | None = None
    until: datetime | None = None
    state: State | None = None
    car: Car = UNKNOWN_CAR

    def __post_init__(self) -> None:
        if (self.mode is Mode.DEPARTURE) != (self.departure is not None):
            raise ValueError("A policy has a departure if, and only if, this is its mode.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How patient and how exact policies are.

    `settled_after`: how long a car takes clearly other than was known of it until that counts.
    `idle_after`: how long it takes nothing until it may be full, and others have its share; that is
    sooner, for the sun does not wait, and it keeps its offer for `stop_after` even where others
    need it. `stale_after`: from which age on a reading says nothing. `valid_for`: how long a wish
    that follows from readings lasts, and after which pause a state is forgotten; `fixed_for`: how
    long one that does not, which is as long as any constraint may. `step_w`, `band_share`: the
    steps of limits, and how much more than one (a step, or that share of the limit) is needed for
    them to go up. `reserve`: how long before departure the goal is to be reached, for readings and
    computing lag. `release`: how much time to spare a departure must have won before it stops
    charging to wait for surplus again. `battery_yields`: whether what the house's batteries take
    counts as surplus.
    """

    start_after: timedelta = timedelta(seconds=60)
    stop_after: timedelta = timedelta(seconds=180)
    settled_after: timedelta = timedelta(minutes=5)
    idle_after: timedelta = timedelta(seconds=90)
    stale_after: timedelta = timedelta(minutes=2)
    valid_for: timedelta = timedelta(minutes=15)
    fixed_for: timedelta = timedelta(days=400)
    step_w: float = 100.0
    band_share: float = 0.02
    reserve: timedelta = timedelta(minutes=5)
    release: timedelta = timedelta(hours=1)
    battery_yields: bool = False

    def band_w(self, told_w: float) -> float:
        """What must change before it is news, beside a limit that no longer fits."""
        return self.step_w + max(self.step_w, self.band_share * told_w)

    def step_up(self, power_w: float) -> float:
        return ceil(power_w / self.step_w) * self.step_w

    def step_down(self, power_w: float) -> float:
        return floor(power_w / self.step_w) * self.step_w


DEFAULTS = Tuning()


def fresh_w(reading: Reading | None, now: datetime, tuning: Tuning) -> float | None:
    """The power of a reading that is young enough to say something; one from far ahead is not."""
    if reading is None or abs(now - reading.at) > tuning.stale_after:
        return None
    return reading.power_w


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, and the figures behind it; None for what plays no part.

    `surplus_w` is that of all who share it, `share_w` what this station may charge with; those of
    all may add up to more, for what a car is known not to take of its own is another's as well.
    `others_w` is what of the surplus the others that are to charge need at least. `least_w` is what
    this one's car needs.
    `needed_w` is the least constant power that reaches the goal. `until`: when this changes by
    itself: a start or stop that is due, or a departure's latest start.
    """

    why: Why
    surplus_w: float | None = None
    share_w: float | None = None
    others_w: float = 0.0
    least_w: float | None = None
    needed_w: float | None = None
    left_wh: float | None = None
    missing_wh: float | None = None
    reachable_at: datetime | None = None
    until: datetime | None = None

    @property
    def left_w(self) -> float:
        """What the others leave this station of the surplus."""
        return max((self.surplus_w or 0.0) - self.others_w, 0.0)


class Asks(NamedTuple):
    """What is asked for, in the resolver's terms."""

    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    closest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to become a constraint until it expires, and what it asks for then.

    `alone` is what holds from `invalid_at` until the policy ends where nobody asks it anew by
    then, and so nobody knows the surplus; None where what it asks for lasts anyway.
    """

    asks: Asks
    invalid_at: datetime
    alone: Asks | None = None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy asks of one station, and the state to hand in next time."""

    key: str
    wish: Wish
    state: State
