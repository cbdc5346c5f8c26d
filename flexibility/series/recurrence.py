"""Times of the day that come again, as instants. Pure.

A frame is a part of a local day: from a time of the day, until another or the next day's. When the
clock is changed, a time of the day is the first instant at which the clock shows it or a later one
of that day: one that is left out is the instant of the change, of one that comes twice it is the
first. So frames that adjoin do so on every day, with neither a gap nor an overlap, and one that the
clock leaves out altogether does not occur.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_LEAST = timedelta(microseconds=1)
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """A part of a day, [`begins`, `ends`); with an end that is not later, until the next day's."""

    begins: time
    ends: time

    @property
    def lasts(self) -> timedelta:
        """How long it is by the clock."""
        lasts = _since_midnight(self.ends) - _since_midnight(self.begins)
        return lasts if lasts > timedelta() else lasts + _DAY


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A frame (its place among those given) on one day, as [`from_at`, `until_at`) in UTC."""

    from_at: datetime
    until_at: datetime
    frame: int


def occurrences(
    frames: Sequence[Frame],
    *,
    weekdays: Collection[int] = EVERY_DAY,
    zone: ZoneInfo,
    from_at: datetime,
    until_at: datetime,
) -> list[Occurrence]:
    """What of the frames lies in [`from_at`, `until_at`), in order of time.

    `weekdays` (Monday is 0) are those on which a frame begins.
    """
    found = []
    if until_at <= from_at:
        return found
    day = from_at.astimezone(zone).date() - _DAY
    while (midnight := instant(day, time(), zone)) < until_at:
        if day.weekday() in weekdays:
            for number, frame in enumerate(frames):
                last = day if frame.begins < frame.ends else day + _DAY
                begins = midnight if frame.begins == time() else instant(day, frame.begins, zone)
                start, end = max(begins, from_at), min(instant(last, frame.ends, zone), until_at)
                if start < end:
                    found.append(Occurrence(start.astimezone(UTC), end.astimezone(UTC), number))
        day += _DAY
    return sorted(found, key=lambda one: (one.from_at, one.until_at, one.frame))


def instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The first instant at which the clock shows this time of the day, or a later one of it."""
    wall = datetime.combine(day, at.replace(fold=0))
    found = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(found, zone) == wall:
        return found
    # Left out: the clock is put forward between the two readings of it.
    before, after = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), found
    while after - before > _LEAST:
        middle = before + (after - before) / 2
        if _wall(middle, zone) < wall:
            before = middle
        else:
            after = middle
    return after


def next_time(at: time, *, zone: ZoneInfo, after: datetime) -> datetime:
    """When the clock shows this time of the day next, today or tomorrow."""
    day = after.astimezone(zone).date()
    days = (day + number * _DAY for number in range(3))
    return next(found for one in days if (found := instant(one, at, zone)) > after)


def overlapping(frames: Iterable[Frame]) -> tuple[int, int] | None:
    """The places of two frames that have a time of the day in common, by the clock; else None."""
    spans = sorted(
        (_since_midnight(frame.begins) + shift, frame.lasts, number)
        for number, frame in enumerate(frames)
        for shift in (timedelta(), _DAY)
    )
    for (begins, lasts, one), (follows, _lasts, other) in pairwise(spans):
        if one != other and begins + lasts > follows:
            return min(one, other), max(one, other)
    return None


def _since_midnight(at: time) -> timedelta:
    return datetime.combine(date.min, at) - datetime.combine(date.min, time())


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)
