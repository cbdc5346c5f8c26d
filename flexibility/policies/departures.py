"""How a departure stands: so much energy until so late, with what others leave. Pure.

The power that others leave a station changes as their constraints begin and end; where it is less
than the station's minimum, it pauses. Where it takes turns with others, it has that power for a
part of the time only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from flexibility.policies.terms import (
    DEFAULTS,
    MISSED_WH,
    UNKNOWN_CAR,
    Car,
    Departure,
    Room,
    Station,
    Tuning,
)

_NO_TIME = timedelta()
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a departure stands.

    `needed_w`: the least constant power that reaches the goal where and when others leave so much,
    at most what the car takes; `limit_w`: the limit to tell the station for that, which is more
    where the car takes only a part of it.
    `latest_start_at`: until when it may wait, and still reach the goal with the minimum; in the
    past where it may not. `missing_wh`: what full power does not reach until departure, and
    `reachable_at` when it would, None where others never leave enough; 0 and None where the goal is
    within reach.
    """

    left_wh: float
    needed_w: float
    limit_w: float
    latest_start_at: datetime
    missing_wh: float = 0.0
    reachable_at: datetime | None = None


class _Span(NamedTuple):
    """A while in which a station may have so much, for a part of it; without an end, for ever."""

    from_at: datetime
    until_at: datetime | None
    max_w: float
    part: float

    @property
    def hours(self) -> float:
        """How long it may have it, all its turns together."""
        assert self.until_at is not None
        return (self.until_at - self.from_at) / _HOUR * self.part

    def lasts(self, energy_wh: float, power_w: float) -> timedelta:
        """How long an energy takes with a power in its turns."""
        return energy_wh / power_w / self.part * _HOUR


def plan_departure(
    departure: Departure,
    station: Station,
    car: Car = UNKNOWN_CAR,
    *,
    now: datetime,
    tuning: Tuning = DEFAULTS,
) -> Plan:
    """What is left to do until a departure, and whether it can be done with such a car."""
    left, ready_at = departure.left_wh, departure.departs_at - tuning.reserve
    spans = _spans(departure, station, car, now)
    in_time = _until(ready_at, spans)
    least, most = car.takes_w(station.min_w), car.takes_w(station.max_w)
    needed = _least_power_w(left, in_time) if left else 0.0
    missing = left - sum(one.max_w * one.hours for one in _until(departure.departs_at, spans))
    unreachable = missing >= MISSED_WH
    return Plan(
        left_wh=left,
        needed_w=most if needed is None else needed,
        limit_w=station.max_w if needed is None or needed >= most else needed / car.part,
        latest_start_at=_latest_start(left, least, in_time, min(now, ready_at)),
        missing_wh=missing if unreachable else 0.0,
        reachable_at=_reachable_at(left, spans) if unreachable else None,
    )


def firm_w(
    plan: Plan, station: Station, told_w: float | None, now: datetime, tuning: Tuning
) -> float:
    """What a departure must have for certain, in W; 0 while it may wait for surplus.

    `told_w` is what it had to have last, None while it could wait. Once it had to start, it goes
    on until it has won time to spare: it would stop and start again all the time otherwise.
    """
    spare = plan.latest_start_at - now
    if not plan.left_wh or spare > (_NO_TIME if told_w is None else tuning.release):
        return 0.0
    needed = max(plan.limit_w, station.min_w)
    if (
        told_w is not None
        and needed <= told_w <= station.max_w
        and told_w - needed < tuning.band_w(told_w)
    ):
        return told_w
    return min(station.max_w, max(station.min_w, tuning.step_up(needed)))


def _spans(departure: Departure, station: Station, car: Car, now: datetime) -> list[_Span]:
    rooms = departure.rooms or (Room(now, station.max_w),)
    begins = [max(room.from_at, now) for room in rooms]
    return [
        _Span(begin, end, _to_be_had_w(room, station, car), room.part)
        for room, begin, end in zip(rooms, begins, [*begins[1:], None], strict=True)
        if end is None or end > begin
    ]


def _to_be_had_w(room: Room, station: Station, car: Car) -> float:
    is_enough = room.max_w >= station.min_w
    return car.takes_w(min(room.max_w, station.max_w)) if is_enough else 0.0


def _until(at: datetime, spans: Iterable[_Span]) -> list[_Span]:
    """The spans as far as they lie before an instant."""
    return [
        one._replace(until_at=at if one.until_at is None else min(at, one.until_at))
        for one in spans
        if one.from_at < at
    ]


def _least_power_w(left_wh: float, spans: Sequence[_Span]) -> float | None:
    """The least power that gives so much where it is to be had; None where none is enough."""
    hours = sum(one.hours for one in spans)
    for one in sorted(spans, key=lambda one: one.max_w):
        if hours > 0 and left_wh <= one.max_w * hours:
            return left_wh / hours
        left_wh -= one.max_w * one.hours
        hours -= one.hours
    return None


def _latest_start(
    left_wh: float, min_w: float, spans: Sequence[_Span], begin: datetime
) -> datetime:
    """When it has to start to be ready with its minimum; before the begin if that is too late."""
    for one in reversed(spans):
        if one.max_w <= 0:
            continue
        if left_wh <= min_w * one.hours:
            return one.until_at - one.lasts(left_wh, min_w)
        left_wh -= min_w * one.hours
    return begin - left_wh / min_w * _HOUR


def _reachable_at(left_wh: float, spans: Sequence[_Span]) -> datetime | None:
    for one in spans:
        if one.max_w > 0 and (one.until_at is None or left_wh <= one.max_w * one.hours):
            return one.from_at + one.lasts(left_wh, one.max_w)
        if one.until_at is not None:
            left_wh -= one.max_w * one.hours
    return None
