"""What a charging policy asks of its stations, now: a range or a set point, and why. Pure.

Powers in W, positive into the appliance (a meter's import, a battery's charge, a station's draw);
energies in Wh at the station; None is no statement. `ask` is called again and again, each time
with the `State` that it gave back; what it asks for ends by itself where it no longer is.

- FORCED, and the resident's “charge now”: a set point at full power, or as close as allowed.
- OFF: a set point of 0.
- SURPLUS: at most the station's share of the PV surplus, and 0 (a pause) below what its car takes
  of the station's minimum: less than that where it charges on fewer phases. It starts once the
  share has been enough for `start_after`, and stops once it has not been for `stop_after`; until
  then it charges with its minimum, whatever that imports.
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

Minima come first: of those whose cars charge, then of those that did when they last could, then of
those of which nothing is known yet, each in the order in which the stations are given. A station
that is not left its minimum gets nothing, and the next is asked. So who charges goes on until its
car is full or the sun is gone, and none takes turns: each start costs a minute of sun.

One whose car takes nothing, and may be full, has no share, but may charge with its minimum where
the minima of the others leave so much, whoever uses it meanwhile: else nobody would see it go on.
If it does, it shares.

What remains is shared equally, but what a car is known not to take of its part goes to the others.
While a station is held at its minimum although its share is gone, the others have that much less:
so what is taken adds up to no more than the surplus, or the minima of those that charge where these
are more; and so do the limits, as long as nothing is known of the cars.

Limits go down at once, in whole steps, and up only where a step more than the dead band is to be
had, so that they do not flap.

Source: design document “Flexibility and constraints”, section “Charging policies”.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flexibility.policies.cars import learn, takes_nothing
from flexibility.policies.departures import Plan, firm_w, plan_departure
from flexibility.policies.dividing import spread
from flexibility.policies.terms import (
    DEFAULTS,
    Answer,
    Asks,
    Car,
    Demand,
    Mode,
    Reason,
    Site,
    State,
    Station,
    Tuning,
    Why,
    Wish,
    fresh_w,
)


def ask(
    demands: Sequence[Demand], site: Site, *, now: datetime, tuning: Tuning = DEFAULTS
) -> tuple[Answer, ...]:
    """What the policies of all stations behind one grid connection ask for, in their order.

    All of them at once, because they share one surplus; the first comes first.
    """
    if len({demand.station.key for demand in demands}) < len(demands):
        raise ValueError("A station is under one policy only.")
    cases = [_case_of(demand, now, tuning) for demand in demands]
    sharing = sorted(
        (case for case in cases if case.shares), key=lambda case: _precedence(case, now, tuning)
    )
    waiting = [case for case in cases if case.is_idle and not case.firm_w]
    stations = [case.demand.station for case in sharing]
    surplus = surplus_w(site, stations, now=now, tuning=tuning)
    shares = _shares(sharing, surplus, now, tuning)
    shares |= _minima(waiting, surplus, shares.values(), now, tuning)
    return tuple(
        _answer(case, shares.get(case.demand.station.key), surplus, now, tuning) for case in cases
    )


def ask_ahead(demand: Demand, *, at: datetime, tuning: Tuning = DEFAULTS) -> Asks:
    """What a policy that begins at a later instant is to ask for then: what needs no sun.

    Nobody knows the surplus of then.
    """
    case = _case_of(replace(demand, state=None), at, tuning)
    answer = _answer(case, None, None, at, tuning)
    return answer.wish.alone or answer.wish.asks


def surplus_w(
    site: Site, stations: Sequence[Station], *, now: datetime, tuning: Tuning = DEFAULTS
) -> float | None:
    """The PV surplus that these stations may share, in W: negative where there is a lack.

    None where it is not known: without a fresh reading of the meter and of every battery.
    """
    meter = fresh_w(site.meter, now, tuning)
    batteries = [fresh_w(battery, now, tuning) for battery in site.batteries]
    if meter is None or None in batteries:
        return None
    drawn = sum(fresh_w(station.power, now, tuning) or 0.0 for station in stations)
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
    return tuple(share + more for share, more in zip(shares, spread(left, rooms), strict=True))


@dataclass(frozen=True, slots=True)
class _Case:
    """A demand, what is remembered of it, and what it takes whatever the surplus is (W).

    `full_w` is what the station can do; the demand's `max_w` is what others leave of it now.
    `shares`: whether it takes part in the surplus; one that is `is_idle` waits for it instead.
    """

    demand: Demand
    state: State
    plan: Plan | None
    car: Car
    full_w: float
    firm_w: float
    shares: bool
    is_idle: bool

    @property
    def least_w(self) -> float:
        """What its car takes of the station's minimum."""
        return self.taken_w(0.0)

    def taken_w(self, share_w: float) -> float:
        """What its car takes of such a share, as far as is known: at least that of the minimum."""
        return max(1.0, self.car.takes_w(max(share_w, self.demand.station.min_w)))


def _case_of(demand: Demand, now: datetime, tuning: Tuning) -> _Case:
    station, mode = demand.station, demand.mode
    state, plan, firm = _remembered(demand, now, tuning), None, 0.0
    if station.most_w is not None and not station.is_held:
        # A share of more than others leave would be in vain. Where they pause it, the wish waits
        # for their end.
        station = replace(station, max_w=min(station.max_w, station.most_w))
    car = learn(state.car, station, now=now, tuning=tuning)
    shares = station.plugged and not station.is_held and mode not in (Mode.FORCED, Mode.OFF)
    if mode is Mode.MINIMUM_AND_SURPLUS:
        firm = station.min_w
    elif demand.departure is not None:
        plan = plan_departure(demand.departure, demand.station, car, now=now, tuning=tuning)
        firm = firm_w(plan, station, state.firm_w, now, tuning)
        # At full power there is nothing to add, and its draw is a load like any other.
        shares = shares and plan.left_wh > 0 and firm < station.max_w
    return _Case(
        replace(demand, station=station),
        state,
        plan,
        car,
        full_w=demand.station.max_w,
        firm_w=firm,
        shares=shares and not car.is_idle,
        is_idle=shares and car.is_idle,
    )


def _remembered(demand: Demand, now: datetime, tuning: Tuning) -> State:
    """The state handed in, or one that takes a station that charges as it is found.

    What was asked for before a pause in computing has expired, and its state with it.
    """
    state, station = demand.state, demand.station
    if state is not None and now - state.at <= tuning.valid_for:
        return state
    return State(now, running=_charges(station, now, tuning), car=demand.car)


def _charges(station: Station, now: datetime, tuning: Tuning) -> bool:
    drawn = fresh_w(station.power, now, tuning)
    return drawn is not None and not takes_nothing(drawn, station)


def _precedence(case: _Case, now: datetime, tuning: Tuning) -> tuple[bool, bool, bool]:
    """Who comes first, least first: nobody who charges gives way to one that might.

    Of those who may charge now, first those that do, and of these those that have what they need;
    else one that comes back could take it from them. Of the others, first those that did before.
    """
    is_running = case.state.running
    is_hungry = _charges(case.demand.station, now, tuning) if is_running else case.car.has_charged
    return not is_running, not is_hungry, is_running and case.state.since is not None


@dataclass(frozen=True, slots=True)
class _Share:
    """What a station has of the surplus.

    `enough`: whether there is its minimum for it. `base_w`: what it has in any case, 0 unless it
    runs; `share_w`: that and its part of the rest; `spare_w`: what is nobody's. `claim_w`: what its
    car takes before any rest is shared, now or as soon as it starts; `others_w`: what those take so
    that come before it, no more than there is.
    """

    running: bool
    since: datetime | None
    enough: bool
    base_w: float
    share_w: float
    spare_w: float
    claim_w: float
    others_w: float


def _shares(
    cases: Sequence[_Case], surplus: float | None, now: datetime, tuning: Tuning
) -> dict[str, _Share]:
    """What each of those who share has, by the key of its station; the first comes first."""
    available = max(surplus or 0.0, 0.0)
    free = [replace(case.demand.station, min_w=case.least_w) for case in cases if not case.firm_w]
    left = available - sum(case.taken_w(case.firm_w) for case in cases if case.firm_w)
    would_be = zip(free, split_surplus(left, free), strict=True)
    enough = {station.key: share > 0 for station, share in would_be}
    phases, bases = [], []
    for case in cases:
        station = case.demand.station
        phase = (
            (True, None) if case.firm_w else _phase(case.state, enough[station.key], now, tuning)
        )
        base = case.firm_w or (case.least_w if phase[0] else 0.0)
        phases.append(phase)
        bases.append(base)
    shares, spare = _spread_rest(available, cases, bases)
    # What each needs at least; one that only goes on for a while has no claim to it any more.
    needs = [
        case.taken_w(case.firm_w) if enough.get(case.demand.station.key, True) else 0.0
        for case in cases
    ]
    found = {}
    for case, phase, base, share, need in zip(cases, phases, bases, shares, needs, strict=True):
        key = case.demand.station.key
        claim = case.taken_w(base) if base else need
        others = min(sum(needs) - need, available)
        found[key] = _Share(
            *phase, enough.get(key, True), base, share, spare, claim_w=claim, others_w=others
        )
    return found


def _spread_rest(
    available: float, cases: Sequence[_Case], bases: Sequence[float]
) -> tuple[list[float], float]:
    """The bases of those that run with what is left spread on top; and what nobody has room for.

    First to each no more than its car may make use of; then what cars are known not to take of that
    to those that take all of theirs; and what is still nobody's to all.
    """
    mosts = [case.demand.station.max_w for case in cases]
    useful = [min(most, case.car.useful_w) for case, most in zip(cases, mosts, strict=True)]
    shares = _topped_up(bases, available - sum(bases), useful)
    taken = [
        case.taken_w(share) if share else 0.0 for case, share in zip(cases, shares, strict=True)
    ]
    hungry = [
        most if took >= share else share
        for most, took, share in zip(mosts, taken, shares, strict=True)
    ]
    shares = _topped_up(shares, available - sum(taken), hungry)
    shares = _topped_up(shares, available - sum(shares), mosts)
    return shares, max(available - sum(shares), 0.0)


def _topped_up(shares: Sequence[float], left: float, mosts: Sequence[float]) -> list[float]:
    """Shares with what is left spread on those that are not 0, each up to so much."""
    rooms = [
        max(most - share, 0.0) if share else 0.0 for share, most in zip(shares, mosts, strict=True)
    ]
    return [share + part for share, part in zip(shares, spread(left, rooms), strict=True)]


def _minima(
    cases: Sequence[_Case],
    surplus: float | None,
    shares: Collection[_Share],
    now: datetime,
    tuning: Tuning,
) -> dict[str, _Share]:
    """What those have whose cars take nothing: their minimum, where those who share leave it.

    They may use it meanwhile: whoever goes on has a share from the next time on.
    """
    available = max(surplus or 0.0, 0.0)
    others = min(sum(share.claim_w for share in shares), available)
    found = {}
    for case in cases:
        is_enough = available - others >= case.least_w
        running, since = _phase(case.state, is_enough, now, tuning)
        base = case.least_w if running else 0.0
        found[case.demand.station.key] = _Share(
            running, since, is_enough, base, base, 0.0, claim_w=0.0, others_w=others
        )
    return found


def _phase(
    state: State, enough: bool, now: datetime, tuning: Tuning
) -> tuple[bool, datetime | None]:
    """Whether a station runs now, and since when the surplus has contradicted that."""
    if enough is state.running:
        return state.running, None
    since = state.since or now
    due = since + (tuning.stop_after if state.running else tuning.start_after)
    return (enough, None) if now >= due else (state.running, since)


def _limit_w(share: _Share, told_w: float | None, station: Station, tuning: Tuning) -> float:
    """The limit to tell a station that runs: no more than its share, and no needless news.

    But for the station's minimum: where its share is less, its car takes no more than that.
    """
    if told_w is not None and share.base_w <= told_w <= max(share.share_w, station.min_w):
        to_be_had = share.share_w + share.spare_w
        if to_be_had - told_w < tuning.band_w(told_w):
            return told_w
    if share.share_w >= station.max_w:
        return station.max_w
    return max(share.base_w, station.min_w, tuning.step_down(share.share_w))


def _answer(
    case: _Case, share: _Share | None, surplus: float | None, now: datetime, tuning: Tuning
) -> Answer:
    mode, station, plan = case.demand.mode, case.demand.station, case.plan
    if mode is Mode.OFF:
        wish = _wish(case, now, tuning.fixed_for, Reason(why=Why.OFF), Asks(set_point_w=0.0))
        return Answer(station.key, wish, State(now, car=case.car))
    if mode is Mode.FORCED:
        wish = _full_power(
            case, now, tuning.fixed_for, Reason(why=Why.HELD if station.is_held else Why.FORCED)
        )
        return Answer(station.key, wish, State(now, running=True, car=case.car))
    if plan is not None and not plan.left_wh:
        reason = Reason(why=Why.REACHED, left_wh=0.0)
        wish = _wish(case, now, tuning.fixed_for, reason, Asks(max_w=0.0))
        return Answer(station.key, wish, State(now, car=case.car))
    if plan is not None and case.firm_w >= station.max_w:
        wish = _full_power(case, now, tuning.valid_for, _in_a_hurry(plan, is_held=station.is_held))
        state = State(now, running=True, firm_w=case.firm_w, car=case.car)
        return Answer(station.key, wish, state)
    return _within_share(case, share or _without_share(case), surplus, now, tuning)


def _full_power(case: _Case, now: datetime, lasts: timedelta, reason: Reason) -> Wish:
    """All that the station can do: where others leave less, it bends, and only for as long."""
    asks = Asks(set_point_w=case.full_w, closest=True)
    return _wish(case, now, lasts, reason, asks)


def _in_a_hurry(plan: Plan, *, is_held: bool) -> Reason:
    why = Why.UNREACHABLE if plan.missing_wh else Why.LATE
    return Reason(
        why=Why.HELD if is_held else why,
        needed_w=plan.needed_w,
        left_wh=plan.left_wh,
        missing_wh=plan.missing_wh,
        reachable_at=plan.reachable_at,
    )


def _without_share(case: _Case) -> _Share:
    """What a station has that takes no share: what it must have, as from any source."""
    firm = case.firm_w
    return _Share(firm > 0, None, False, firm, firm, 0.0, claim_w=0.0, others_w=0.0)


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
        others_w=share.others_w,
        least_w=case.least_w,
        needed_w=None if plan is None else plan.needed_w,
        left_wh=None if plan is None else plan.left_wh,
        missing_wh=(plan and plan.missing_wh) or None,
        reachable_at=plan and plan.reachable_at,
        until=_changes_at(plan, share, tuning),
    )
    asks = Asks(min_w=case.firm_w or None, max_w=limit)
    wish = _wish(case, now, tuning.valid_for, reason, asks)
    state = State(
        now,
        running=share.running,
        since=share.since,
        told_w=limit if share.running else None,
        firm_w=case.firm_w if plan is not None and case.firm_w else None,
        car=case.car,
    )
    return Answer(station.key, wish, state)


def _why(case: _Case, share: _Share, limit: float, surplus: float | None) -> Why:
    if case.demand.station.is_held:
        return Why.HELD
    if case.is_idle and limit:
        return Why.IDLE
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


def _wish(case: _Case, now: datetime, lasts: timedelta, reason: Reason, asks: Asks) -> Wish:
    until = case.demand.until
    if until is not None and until <= now:
        raise ValueError("The policy has ended.")
    invalid_at = now + lasts if until is None else min(now + lasts, until)
    alone = _alone(case) if invalid_at != until else None
    return Wish(asks=asks, invalid_at=invalid_at, alone=alone, reason=reason)


def _alone(case: _Case) -> Asks | None:
    """What it asks for when nobody knows the surplus any more."""
    station = case.demand.station
    match case.demand.mode:
        case Mode.SURPLUS:
            return Asks(max_w=0.0)
        case Mode.MINIMUM_AND_SURPLUS:
            return Asks(min_w=station.min_w, max_w=station.min_w)
        case Mode.DEPARTURE if case.plan is not None and case.plan.left_wh:
            needed_w = min(station.max_w, max(case.plan.limit_w, station.min_w))
            return Asks(set_point_w=needed_w, closest=True)
    return None
