"""Slots and local periods: the one place that knows where they begin and end.

Instants are aware UTC datetimes, spans are half-open and in UTC. The slot is 15 minutes of UTC;
every coarser period follows the calendar of an IANA zone and is made of whole slots, so a local
day has 92, 96 or 100 of them (94 or 98 on Lord Howe Island).

- An hour is a local hour of the clock. The repeated hour in October is an hour of its own; where
  the clock moves by 30 minutes, the part before and the part after the change are two periods.
- A day begins at the first instant whose local date is that day (or a later one): after a
  midnight that does not exist, or at the first of two. Weeks are ISO weeks, from Monday.

Source of the calendar: the IANA rules in `zoneinfo`.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

SLOT = timedelta(minutes=15)
SLOT_S = 900
SLOT_MS = 900_000

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class Resolution(StrEnum):
    """Into which periods measurements are summed; the values are those of the wire."""

    QUARTER = "15m"
    HOUR = "1h"
    DAY = "1d"
    WEEK = "1w"
    MONTH = "1M"
    YEAR = "1y"


class Span(NamedTuple):
    """A half-open span [from_at, until_at) of UTC instants."""

    from_at: datetime
    until_at: datetime


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch of an aware instant (rounded down)."""
    return (_aware(at) - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The UTC instant of milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=int(ms))


def slot_start(at: datetime) -> datetime:
    """The start of the slot in which an aware instant lies."""
    at = _aware(at)
    return at - (at - _EPOCH) % SLOT


def slot_end(at: datetime) -> datetime:
    """The first slot bound at or after an aware instant."""
    return -((_EPOCH - _aware(at)) // SLOT) * SLOT + _EPOCH


def slot_start_ms(at_ms):
    """`slot_start` for milliseconds since the epoch, an int or an int64 array alike."""
    return at_ms - at_ms % SLOT_MS


def slot_end_ms(at_ms):
    """`slot_end` for milliseconds since the epoch, an int or an int64 array alike."""
    return at_ms + -at_ms % SLOT_MS


def period_start(at: datetime, resolution: Resolution, zone: ZoneInfo) -> datetime:
    """The start of the period of `zone`'s calendar in which the aware instant `at` lies."""
    if resolution is Resolution.QUARTER:
        return slot_start(at)
    if resolution is Resolution.HOUR:
        return _hour_start(slot_start(at), zone)
    return _day_start(_first_day(_date_of(_aware(at), zone), resolution), zone)


def next_period(start: datetime, resolution: Resolution, zone: ZoneInfo) -> datetime:
    """The start of the period after the one in which `start` lies."""
    if resolution is Resolution.QUARTER:
        return slot_start(start) + SLOT
    if resolution is Resolution.HOUR:
        return _hour_end(slot_start(start), zone)
    first = _first_day(_date_of(_aware(start), zone), resolution)
    here = _day_start(first, zone)
    while True:
        first = _following(first, resolution)
        there = _day_start(first, zone)
        if there > here:  # equal when the zone skipped a whole date (Samoa, 2011)
            return there


def previous_period(start: datetime, resolution: Resolution, zone: ZoneInfo) -> datetime:
    """The start of the period before the one in which `start` lies."""
    return period_start(period_start(start, resolution, zone) - SLOT, resolution, zone)


def periods(
    from_at: datetime, until_at: datetime, resolution: Resolution, zone: ZoneInfo
) -> list[Span]:
    """The whole periods that touch [from_at, until_at), in order and without holes.

    The first begins at or before `from_at`, the last ends at or after `until_at`. Empty when
    `until_at` is not after `from_at`.
    """
    return list(each_period(from_at, _aware(until_at), resolution, zone))


def each_period(
    from_at: datetime, until_at: datetime, resolution: Resolution, zone: ZoneInfo
) -> Iterator[Span]:
    """The same one by one, for however many."""
    if _aware(from_at) >= until_at:
        return
    start = period_start(from_at, resolution, zone)
    while start < until_at:
        length, count = _alike(start, resolution, zone)
        for _period in range(count):
            if start >= until_at:
                return
            end = start + length
            yield Span(start, end)
            start = end


def _alike(start: datetime, resolution: Resolution, zone: ZoneInfo) -> tuple[timedelta, int]:
    """How long the period is that begins at `start`, and how many of that length are sure to follow
    from there on; so that the calendar is not asked for each.

    No clock has ever been changed and changed back within a day.
    """
    if resolution is Resolution.QUARTER:
        return SLOT, _DAY // SLOT
    if resolution is Resolution.HOUR:
        local, last = start.astimezone(zone), (start + _DAY - SLOT).astimezone(zone)
        if local.minute == local.second == 0 and local.utcoffset() == last.utcoffset():
            return _HOUR, _DAY // _HOUR
    return next_period(start, resolution, zone) - start, 1


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"An instant without a time zone: {at.isoformat()}")
    return at.astimezone(UTC)


def _hour_start(slot: datetime, zone: ZoneInfo) -> datetime:
    local = slot.astimezone(zone)
    start = slot_start(slot - timedelta(minutes=local.minute, seconds=local.second))
    while start.astimezone(zone).utcoffset() != local.utcoffset() and start < slot:
        start += SLOT  # the clock changed within this hour: it begins at the change
    return start


def _hour_end(slot: datetime, zone: ZoneInfo) -> datetime:
    local = slot.astimezone(zone)
    end = slot_start(slot - timedelta(minutes=local.minute, seconds=local.second)) + _HOUR
    while (end - SLOT).astimezone(zone).utcoffset() != local.utcoffset() and end - SLOT > slot:
        end -= SLOT
    return end


@lru_cache(maxsize=8192)
def _day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first slot whose local date is `day` or later."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)  # fold=0: the first of two
    start = slot_start(midnight)
    if start.astimezone(zone).replace(tzinfo=None) != midnight.replace(tzinfo=None):
        while (start - SLOT).astimezone(zone).date() >= day:
            start -= SLOT
        while start.astimezone(zone).date() < day:
            start += SLOT
    return start


def _date_of(at: datetime, zone: ZoneInfo) -> date:
    """The local day that holds `at`, by `_day_start` (a clock set back over midnight stays)."""
    day = at.astimezone(zone).date()
    if _day_start(day, zone) > at:  # seconds of offset, long ago: the slot began before midnight
        return day - _DAY
    return day + _DAY if _day_start(day + _DAY, zone) <= at else day


def _first_day(day: date, resolution: Resolution) -> date:
    if resolution is Resolution.WEEK:
        return day - timedelta(days=day.weekday())
    if resolution is Resolution.MONTH:
        return day.replace(day=1)
    if resolution is Resolution.YEAR:
        return day.replace(month=1, day=1)
    return day


def _following(first: date, resolution: Resolution) -> date:
    if resolution is Resolution.WEEK:
        return first + timedelta(days=7)
    if resolution is Resolution.MONTH:
        return (first + timedelta(days=32)).replace(day=1)
    if resolution is Resolution.YEAR:
        return first.replace(year=first.year + 1)
    return first + _DAY
