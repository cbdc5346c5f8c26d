"""What a station's readings tell of its car. Pure; powers in W.

A car takes less than it is offered for one of three reasons: it is full (or will not charge now),
it charges on one or two of the three phases that the offer is for, or it is at its own limit.
Fewer phases show where it takes less than the station's least power, which no car on all phases
does: then it takes the same part of whatever it is offered. Else it is taken to be at its limit.
"""

from dataclasses import replace
from datetime import datetime

from flexibility.policies.terms import DEFAULTS, NEARLY, UNKNOWN_CAR, Car, Station, Tuning, fresh_w

_PHASES = 3
# A car on one phase takes a third of a station's least power: half of that is no charging.
_NOTHING = 1 / _PHASES / 2


def takes_nothing(power_w: float, station: Station) -> bool:
    """Whether this is no power that any car charges with."""
    return power_w < _NOTHING * station.min_w


def charges(station: Station, *, now: datetime, tuning: Tuning = DEFAULTS) -> bool:
    """Whether its car charges, as far as that is read."""
    drawn_w = fresh_w(station.power, now, tuning)
    return drawn_w is not None and not takes_nothing(drawn_w, station)


def learn(car: Car, station: Station, *, now: datetime, tuning: Tuning = DEFAULTS) -> Car:
    """What is known of a car after one more look at what it takes of what it is offered.

    Only what has lasted is believed, for a car needs a while to follow; but what it takes it can
    take. Who leaves is forgotten.
    """
    drawn_w, offered_w = fresh_w(station.power, now, tuning), station.offered_w
    if not station.plugged:
        return UNKNOWN_CAR
    if drawn_w is None or offered_w is None or offered_w < station.min_w:
        return replace(car, odd_since=None)
    is_nothing = takes_nothing(drawn_w, station)
    if is_nothing and car.is_idle:
        return car
    if not is_nothing:
        car = replace(car, has_charged=True)
    if car.most_w is not None:
        car = replace(car, most_w=max(car.most_w, drawn_w))
    expected_w = car.takes_w(offered_w)
    if NEARLY * expected_w <= drawn_w <= expected_w / NEARLY:
        return replace(car, is_idle=False, odd_since=None)
    since = car.odd_since or now
    if now - since < (tuning.idle_after if is_nothing else tuning.settled_after):
        return replace(car, is_idle=False, odd_since=since)
    if is_nothing:
        return replace(car, is_idle=True, has_charged=False, odd_since=None)
    part = 1.0
    if drawn_w < NEARLY * station.min_w:
        part = max(1, round(_PHASES * drawn_w / offered_w)) / _PHASES
    if drawn_w < NEARLY * part * offered_w:
        return Car(part, drawn_w, has_charged=True)
    return Car(part, car.most_w if drawn_w < expected_w else None, has_charged=True)
