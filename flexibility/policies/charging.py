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

What each has of the surplus, and who comes first, `sharing` says.

Limits go down at once, in whole steps, and up only where a step more than the dead band is to be
had, so that they do not flap.

Source: design document “Flexibility and constraints”, section “Charging policies”.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flexibility.policies.cars import charges, learn
from flexibility.policies.departures import Plan, firm_w, plan_departure
from flexibility.policies.sharing import Case, Share, shares_of, surplus_w
from flexibility.policies.terms import (
    DEFAULTS,
    Answer,
    Asks,
    Demand,
    Mode,
    Reason,
    Site,
    State,
    Station,
    Tuning,
    Why,
    Wish,
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
    stations = [case.demand.station for case in cases if case.shares]
    surplus = surplus_w(site, stations, now=now, tuning=tuning)
    shares = shares_of(cases, surplus, now=now, tuning=tuning)
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


def _case_of(demand: Demand, now: datetime, tuning: Tuning) -> Case:
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
    return Case(
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
    return State(now, running=charges(station, now=now, tuning=tuning), car=demand.car)


def _limit_w(share: Share, told_w: float | None, station: Station, tuning: Tuning) -> float:
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
    case: Case, share: Share | None, surplus: float | None, now: datetime, tuning: Tuning
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


def _full_power(case: Case, now: datetime, lasts: timedelta, reason: Reason) -> Wish:
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


def _without_share(case: Case) -> Share:
    """What a station has that takes no share: what it must have, as from any source."""
    firm = case.firm_w
    return Share(firm > 0, None, False, firm, firm, 0.0, claim_w=0.0, others_w=0.0)


def _within_share(
    case: Case, share: Share, surplus: float | None, now: datetime, tuning: Tuning
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


def _why(case: Case, share: Share, limit: float, surplus: float | None) -> Why:
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


def _changes_at(plan: Plan | None, share: Share, tuning: Tuning) -> datetime | None:
    """When a start or stop is due as things are, or until when a departure may wait."""
    if share.since is not None:
        return share.since + (tuning.stop_after if share.running else tuning.start_after)
    return None if plan is None or share.running else plan.latest_start_at


def _wish(case: Case, now: datetime, lasts: timedelta, reason: Reason, asks: Asks) -> Wish:
    until = case.demand.until
    if until is not None and until <= now:
        raise ValueError("The policy has ended.")
    invalid_at = now + lasts if until is None else min(now + lasts, until)
    alone = _alone(case) if invalid_at != until else None
    return Wish(asks=asks, invalid_at=invalid_at, alone=alone, reason=reason)


def _alone(case: Case) -> Asks | None:
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
