"""What a charging policy asks of its stations, now: a range or a set point, and why. Pure.

Powers in W, positive into the appliance (a meter's import, a battery's charge, a station's draw);
energies in Wh at the station; None is no statement. `ask` is called again and again, each time
with the `State` that it gave back; what it asks for ends by itself where it no longer is.

- FORCED, and the resident's “charge now”: a set point at full power, or as close as allowed.
- OFF: a set point of 0.
- SURPLUS: at most the station's share of the PV surplus, and 0 (a pause) below its minimum. It
  starts once the share has been enough for `start_after`, and stops once it has not been for
  `stop_after`; until then it charges with its minimum, whatever that imports.
- MINIMUM_AND_SURPLUS: never less than the minimum, at most that or the share.
- DEPARTURE: so much energy until so late. Surplus first: while there is time, it charges from
  surplus alone, as SURPLUS does. From the latest start on at which the minimum suffices, it
  charges with the least constant power that still reaches the goal, or with more where there is
  surplus; at full power when it is late, or when the goal is out of reach, which it says at once.
  When the goal is reached it pauses.

The surplus is what is fed in plus what the stations that share it draw themselves, less what the
house's batteries give, which is no sunshine of now. What they take is theirs, unless
`battery_yields`. An unknown or old reading of the meter or of a battery means no surplus; an old
one of a station counts nothing back.

Minima come first, in the order in which the stations are given: a station that is not left its
minimum gets nothing, and the next is asked. What then remains is shared equally. While a station
is held at its minimum although its share is gone, the others have that much less: so the limits
add up to no more than the surplus, or the minima of those that charge where these are more.

Limits go down at once, in whole steps, and up only where a step more than the dead band is to be
had, so that they do not flap.

Source: design document “Flexibility and constraints”, section “Charging policies”.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil, floor, isfinite
from typing import Any

# For a station that nobody stated the limits of: three phases from 6 A to 32 A.
UNKNOWN_MIN_W = 4_140.0
UNKNOWN_MAX_W = 22_000.0
# More than any vehicle holds: what is asked for beyond it is a mistake.
MOST_WH = 1_000_000.0
# Less than this is no energy to speak of: the goal is reached, or within reach.
NEGLIGIBLE_WH = 1.0
_NO_TIME = timedelta()


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

    `max_w` may be what others leave it rather than what it can do: then a departure knows of it.
    One that is known to be not `plugged`, or whose vehicle is full, takes no share of the surplus.
    """

    key: str
    min_w: float = UNKNOWN_MIN_W
    max_w: float = UNKNOWN_MAX_W
    power: Reading | None = None
    plugged: bool = True

    def __post_init__(self) -> None:
        if not (1 <= self.min_w <= self.max_w and isfinite(self.max_w)):
            raise ValueError("A station charges with at least 1 W, and at most its maximum.")


@dataclass(frozen=True, slots=True)
class Departure:
    """So much energy (Wh) until so late, and what of it has been charged so far."""

    energy_wh: float
    departs_at: datetime
    charged_wh: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.energy_wh <= MOST_WH:
            raise ValueError(f"The energy until departure is between 0 and {MOST_WH:g} Wh.")

    @property
    def left_wh(self) -> float:
        """What is still to be charged; 0 where that is not worth starting for."""
        left = self.energy_wh - self.charged_wh
        return left if left >= NEGLIGIBLE_WH else 0.0


@dataclass(frozen=True, slots=True)
class State:
    """What the next call needs to know of this one.

    `since`: from when on the surplus has contradicted `running`; None where it does not.
    `told_w`: the limit told last while running. `firm_w`: what a departure needs for certain,
    None while it may still wait for surplus.
    """

    at: datetime
    running: bool = False
    since: datetime | None = None
    told_w: float | None = None
    firm_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One station under one policy. `until`: when the policy itself ends, if it does."""

    station: Station
    mode: Mode
    departure: Departure | None = None
    until: datetime | None = None
    state: State | None = None

    def __post_init__(self) -> None:
        if (self.mode is Mode.DEPARTURE) != (self.departure is not None):
            raise ValueError("A policy has a departure if, and only if, this is its mode.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How patient and how exact policies are.

    `stale_after`: from which age on a reading says nothing. `valid_for`: how long a wish that
    follows from readings lasts, and after which pause a state is forgotten; `fixed_for`: how long
    one that does not. `step_w`, `band_share`: the steps of limits, and how much more than one (a
    step, or that share of the limit) is needed before they go up. `reserve`: how long before
    departure the goal is to be reached, for readings and computing lag. `release`: how much time
    to spare a departure must have won before it stops charging to wait for surplus again.
    `battery_yields`: whether what the house's batteries take counts as surplus.
    """

    start_after: timedelta = timedelta(seconds=60)
    stop_after: timedelta = timedelta(seconds=180)
    stale_after: timedelta = timedelta(minutes=2)
    valid_for: timedelta = timedelta(minutes=15)
    fixed_for: timedelta = timedelta(hours=48)
    step_w: float = 100.0
    band_share: float = 0.02
    reserve: timedelta = timedelta(minutes=5)
    release: timedelta = timedelta(hours=1)
    battery_yields: bool = False


DEFAULTS = Tuning()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, and the figures behind it; None for what plays no part.

    `surplus_w` is that of all who share it, `share_w` this station's. `needed_w` is the least
    constant power that reaches the goal. `until`: when this changes by itself: a start or stop
    that is due, or a departure's latest start.
    """

    why: Why
    surplus_w: float | None = None
    share_w: float | None = None
    needed_w: float | None = None
    left_wh: float | None = None
    missing_wh: float | None = None
    reachable_at: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to become a constraint: in the resolver's terms, until it expires."""

    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    closest: bool = False
    invalid_at: datetime
    reason: Reason

    @property
    def asks(self) -> tuple[float | None, float | None, float | None, bool]:
        """What it asks for, without expiry and reason: equal for wishes that ask the same."""
        return self.min_w, self.max_w, self.set_point_w, self.closest


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy asks of one station, and the state to hand in next time."""

    key: str
    wish: Wish
    state: State


def ask(
    demands: Sequence[Demand], site: Site, *, now: datetime, tuning: Tuning = DEFAULTS
) -> tuple[Answer, ...]:
    """What the policies of all stations behind one grid connection ask for, in their order.

    All of them at once, because they share one surplus; the first comes first.
    """
    if len({demand.station.key for demand in demands}) < len(demands):
        raise ValueError("A station is under one policy only.")
    cases = [_case_of(demand, now, tuning) for demand in demands]
    sharing = [case for case in cases if case.shares]
    stations = [case.demand.station for case in sharing]
    surplus = surplus_w(site, stations, now=now, tuning=tuning)
    shares = _shares(sharing, surplus, now, tuning)
    return tuple(
        _answer(case, shares.get(case.demand.station.key), surplus, now, tuning) for case in cases
    )


def surplus_w(
    site: Site, stations: Sequence[Station], *, now: datetime, tuning: Tuning = DEFAULTS
) -> float | None:
    """The PV surplus that these stations may share, in W: negative where there is a lack.

    None where it is not known: without a fresh reading of the meter and of every battery.
    """
    meter = _fresh(site.meter, now, tuning)
    batteries = [_fresh(battery, now, tuning) for battery in site.batteries]
    if meter is None or None in batteries:
        return None
    drawn = sum(_fresh(station.power, now, tuning) or 0.0 for station in stations)
    # All batteries together: what one gives another takes is no sunshine.
    stored = sum(battery for battery in batteries if battery is not None)
    return drawn - meter + (stored if tuning.battery_yields else min(stored, 0.0))


def split_surplus(surplus: float, stations: Sequence[Station]) -> tuple[float, ...]:
    """Shares of a surplus in W: minima in order, then the rest equally; 0 or at least the minimum.

    They never add up to more than the surplus.
    """
    left, shares = surplus, []
    for station in stations:
        shares.append(station.min_w if station.min_w <= left else 0.0)
        left -= shares[-1]
    rooms = [
        station.max_w - share if share else 0.0
        for station, share in zip(stations, shares, strict=True)
    ]
    return tuple(share + more for share, more in zip(shares, _spread(left, rooms), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a departure stands.

    `needed_w`: the least constant power that reaches the goal, at most the station's maximum.
    `latest_start_at`: until when it may wait, and still reach the goal with the minimum; in the
    past where it may not. `missing_wh`: what full power does not reach until departure, and
    `reachable_at` when it would; 0 and None where the goal is within reach.
    """

    left_wh: float
    needed_w: float
    latest_start_at: datetime
    missing_wh: float = 0.0
    reachable_at: datetime | None = None


def plan_departure(
    departure: Departure, station: Station, *, now: datetime, tuning: Tuning = DEFAULTS
) -> Plan:
    """What is left to do until a departure, and whether it can be done."""
    left = departure.left_wh
    hours = (departure.departs_at - tuning.reserve - now) / timedelta(hours=1)
    needed = left / hours if hours > 0 else station.max_w
    latest = departure.departs_at - tuning.reserve - timedelta(hours=left / station.min_w)
    until_departure = max(departure.departs_at - now, _NO_TIME) / timedelta(hours=1)
    missing = left - station.max_w * until_departure
    unreachable = missing >= NEGLIGIBLE_WH
    return Plan(
        left_wh=left,
        needed_w=min(needed, station.max_w) if left else 0.0,
        latest_start_at=latest,
        missing_wh=missing if unreachable else 0.0,
        reachable_at=now + timedelta(hours=left / station.max_w) if unreachable else None,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A demand, what is remembered of it, and what it takes whatever the surplus is (W).

    `shares`: whether it takes part in the surplus.
    """

    demand: Demand
    state: State
    plan: Plan | None
    firm_w: float
    shares: bool


def _case_of(demand: Demand, now: datetime, tuning: Tuning) -> _Case:
    station, mode = demand.station, demand.mode
    state, plan, firm = _remembered(demand, now, tuning), None, 0.0
    shares = station.plugged and mode not in (Mode.FORCED, Mode.OFF)
    if mode is Mode.MINIMUM_AND_SURPLUS:
        firm = station.min_w
    elif demand.departure is not None:
        plan = plan_departure(demand.departure, station, now=now, tuning=tuning)
        firm = _firm_w(plan, station, state, now, tuning)
        # At full power there is nothing to add, and its draw is a load like any other.
        shares = shares and plan.left_wh > 0 and firm < station.max_w
    return _Case(demand, state, plan, firm, shares)


def _remembered(demand: Demand, now: datetime, tuning: Tuning) -> State:
    """The state handed in, or one that takes a station that charges as it is found.

    What was asked for before a pause in computing has expired, and its state with it.
    """
    state, station = demand.state, demand.station
    if state is not None and now - state.at <= tuning.valid_for:
        return state
    drawn = _fresh(station.power, now, tuning)
    # A station that runs draws no less than its minimum, give or take its meter's accuracy.
    return State(now, running=drawn is not None and drawn >= station.min_w / 2)


def _firm_w(plan: Plan, station: Station, state: State, now: datetime, tuning: Tuning) -> float:
    """What a departure must have for certain, in W; 0 while it may wait for surplus.

    Once it had to start, it goes on until it has won time to spare: it would stop and start again
    all the time otherwise.
    """
    spare = plan.latest_start_at - now
    if not plan.left_wh or spare > (_NO_TIME if state.firm_w is None else tuning.release):
        return 0.0
    needed, told = max(plan.needed_w, station.min_w), state.firm_w
    if (
        told is not None
        and needed <= told <= station.max_w
        and told - needed < _band_w(told, tuning)
    ):
        return told
    return min(station.max_w, max(station.min_w, _stepped(ceil, needed, tuning)))


@dataclass(frozen=True, slots=True)
class _Share:
    """What a station has of the surplus.

    `enough`: whether there is its minimum for it. `base_w`: what it has in any case, 0 unless it
    runs; `share_w`: that and its part of the rest; `spare_w`: what nobody took.
    """

    running: bool
    since: datetime | None
    enough: bool
    base_w: float
    share_w: float
    spare_w: float


def _shares(
    cases: Sequence[_Case], surplus: float | None, now: datetime, tuning: Tuning
) -> Mapping[str, _Share]:
    """What each of those who share has, by the key of its station."""
    available = max(surplus or 0.0, 0.0)
    free = [case.demand.station for case in cases if not case.firm_w]
    left = available - sum(case.firm_w for case in cases)
    would_be = zip(free, split_surplus(left, free), strict=True)
    enough = {station.key: share > 0 for station, share in would_be}
    phases, bases, rooms = [], [], []
    for case in cases:
        station = case.demand.station
        phase = (
            (True, None) if case.firm_w else _phase(case.state, enough[station.key], now, tuning)
        )
        base = case.firm_w or (station.min_w if phase[0] else 0.0)
        phases.append(phase)
        bases.append(base)
        rooms.append(station.max_w - base if base else 0.0)
    parts = _spread(available - sum(bases), rooms)
    spare = max(available - sum(bases) - sum(parts), 0.0)
    return {
        case.demand.station.key: _Share(
            *phase, enough.get(case.demand.station.key, True), base, base + part, spare
        )
        for case, phase, base, part in zip(cases, phases, bases, parts, strict=True)
    }


def _phase(
    state: State, enough: bool, now: datetime, tuning: Tuning
) -> tuple[bool, datetime | None]:
    """Whether a station runs now, and since when the surplus has contradicted that."""
    if enough is state.running:
        return state.running, None
    since = state.since or now
    due = since + (tuning.stop_after if state.running else tuning.start_after)
    return (enough, None) if now >= due else (state.running, since)


def _spread(amount: float, rooms: Sequence[float]) -> list[float]:
    """An amount spread equally, to nobody more than there is room for; the smallest fill first."""
    parts, left = [0.0] * len(rooms), max(amount, 0.0)
    order = sorted((index for index, room in enumerate(rooms) if room > 0), key=rooms.__getitem__)
    for position, index in enumerate(order):
        parts[index] = min(rooms[index], left / (len(order) - position))
        left -= parts[index]
    return parts


def _limit_w(share: _Share, told_w: float | None, station: Station, tuning: Tuning) -> float:
    """The limit to tell a station that runs: no more than its share, and no needless news."""
    if told_w is not None and share.base_w <= told_w <= share.share_w:
        to_be_had = share.share_w + share.spare_w
        if to_be_had - told_w < _band_w(told_w, tuning):
            return told_w
    if share.share_w >= station.max_w:
        return station.max_w
    return max(share.base_w, _stepped(floor, share.share_w, tuning))


def _band_w(told_w: float, tuning: Tuning) -> float:
    """What must change before it is news, beside a limit that no longer fits."""
    return tuning.step_w + max(tuning.step_w, tuning.band_share * told_w)


def _stepped(rounded: Callable[[float], int], power_w: float, tuning: Tuning) -> float:
    return rounded(power_w / tuning.step_w) * tuning.step_w


def _fresh(reading: Reading | None, now: datetime, tuning: Tuning) -> float | None:
    """The power of a reading that is young enough to say something; one from far ahead is not."""
    if reading is None or abs(now - reading.at) > tuning.stale_after:
        return None
    return reading.power_w


def _answer(
    case: _Case, share: _Share | None, surplus: float | None, now: datetime, tuning: Tuning
) -> Answer:
    mode, station, plan = case.demand.mode, case.demand.station, case.plan
    if mode is Mode.OFF:
        wish = _wish(case, now, tuning.fixed_for, Reason(why=Why.OFF), set_point_w=0.0)
        return Answer(station.key, wish, State(now))
    if mode is Mode.FORCED:
        wish = _full_power(case, now, tuning.fixed_for, Reason(why=Why.FORCED))
        return Answer(station.key, wish, State(now, running=True))
    if plan is not None and not plan.left_wh:
        reason = Reason(why=Why.REACHED, left_wh=0.0)
        return Answer(
            station.key, _wish(case, now, tuning.fixed_for, reason, max_w=0.0), State(now)
        )
    if plan is not None and case.firm_w >= station.max_w:
        wish = _full_power(case, now, tuning.valid_for, _why_in_a_hurry(plan))
        return Answer(station.key, wish, State(now, running=True, firm_w=case.firm_w))
    return _within_share(case, share or _without_share(case), surplus, now, tuning)


def _full_power(case: _Case, now: datetime, lasts: timedelta, reason: Reason) -> Wish:
    return _wish(case, now, lasts, reason, set_point_w=case.demand.station.max_w, closest=True)


def _why_in_a_hurry(plan: Plan) -> Reason:
    return Reason(
        why=Why.LATE if plan.reachable_at is None else Why.UNREACHABLE,
        needed_w=plan.needed_w,
        left_wh=plan.left_wh,
        missing_wh=plan.missing_wh,
        reachable_at=plan.reachable_at,
    )


def _without_share(case: _Case) -> _Share:
    """What a station has that nothing is plugged into: what it must have, as from any source."""
    return _Share(case.firm_w > 0, None, False, case.firm_w, case.firm_w, 0.0)


def _within_share(
    case: _Case, share: _Share, surplus: float | None, now: datetime, tuning: Tuning
) -> Answer:
    """A maximum that follows the surplus, above what is needed in any case, or a pause."""
    station, plan = case.demand.station, case.plan
    limit = _limit_w(share, case.state.told_w, station, tuning) if share.running else 0.0
    reason = Reason(
        why=_why(case, share, limit, surplus),
        surplus_w=surplus,
        share_w=share.share_w,
        needed_w=None if plan is None else plan.needed_w,
        left_wh=None if plan is None else plan.left_wh,
        until=_changes_at(plan, share, tuning),
    )
    wish = _wish(case, now, tuning.valid_for, reason, min_w=case.firm_w or None, max_w=limit)
    state = State(
        now,
        running=share.running,
        since=share.since,
        told_w=limit if share.running else None,
        firm_w=case.firm_w if plan is not None and case.firm_w else None,
    )
    return Answer(station.key, wish, state)


def _why(case: _Case, share: _Share, limit: float, surplus: float | None) -> Why:
    if case.firm_w and limit <= case.firm_w:
        return Why.MINIMUM if case.plan is None else Why.STEADY
    if share.running:
        return Why.SURPLUS if share.enough else Why.HOLDING
    if not case.demand.station.plugged:
        return Why.UNPLUGGED
    if share.enough:
        return Why.STARTING
    return Why.UNKNOWN if surplus is None else Why.TOO_LITTLE


def _changes_at(plan: Plan | None, share: _Share, tuning: Tuning) -> datetime | None:
    """When a start or stop is due as things are, or until when a departure may wait."""
    if share.since is not None:
        return share.since + (tuning.stop_after if share.running else tuning.start_after)
    return None if plan is None or share.running else plan.latest_start_at


def _wish(case: _Case, now: datetime, lasts: timedelta, reason: Reason, **asked: Any) -> Wish:
    until = case.demand.until
    if until is not None and until <= now:
        raise ValueError("The policy has ended.")
    invalid_at = now + lasts if until is None else min(now + lasts, until)
    return Wish(invalid_at=invalid_at, reason=reason, **asked)
