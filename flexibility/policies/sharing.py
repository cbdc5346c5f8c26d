"""Who shares the sun: what each charging station has of the PV surplus. Pure; powers in W.

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
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flexibility.policies.cars import charges
from flexibility.policies.departures import Plan
from flexibility.policies.dividing import spread
from flexibility.policies.terms import (
    DEFAULTS,
    Car,
    Demand,
    Site,
    State,
    Station,
    Tuning,
    fresh_w,
)


@dataclass(frozen=True, slots=True)
class Case:
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


@dataclass(frozen=True, slots=True)
class Share:
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


def shares_of(
    cases: Sequence[Case], surplus: float | None, *, now: datetime, tuning: Tuning = DEFAULTS
) -> dict[str, Share]:
    """What those have of the surplus who share it or wait for it, by the key of their station."""
    sharing = [case for case in cases if case.shares]
    waiting = [case for case in cases if case.is_idle and not case.firm_w]
    sharing.sort(key=lambda case: _precedence(case, now, tuning))
    shares = _shares(sharing, surplus, now, tuning)
    return shares | _minima(waiting, surplus, shares.values(), now, tuning)


def _precedence(case: Case, now: datetime, tuning: Tuning) -> tuple[bool, bool, bool]:
    """Who comes first, least first: nobody who charges gives way to one that might.

    Of those who may charge now, first those that do, and of these those that have what they need;
    else one that comes back could take it from them. Of the others, first those that did before.
    """
    station, is_running = case.demand.station, case.state.running
    is_hungry = charges(station, now=now, tuning=tuning) if is_running else case.car.has_charged
    return not is_running, not is_hungry, is_running and case.state.since is not None


def _shares(
    cases: Sequence[Case], surplus: float | None, now: datetime, tuning: Tuning
) -> dict[str, Share]:
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
        found[key] = Share(
            *phase, enough.get(key, True), base, share, spare, claim_w=claim, others_w=others
        )
    return found


def _spread_rest(
    available: float, cases: Sequence[Case], bases: Sequence[float]
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
    cases: Sequence[Case],
    surplus: float | None,
    shares: Collection[Share],
    now: datetime,
    tuning: Tuning,
) -> dict[str, Share]:
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
        found[case.demand.station.key] = Share(
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
