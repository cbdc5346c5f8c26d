"""Times of the day that come again, on days of 23 to 25 hours too."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility.series.recurrence import (
    Frame,
    Occurrence,
    instant,
    next_time,
    occurrences,
    overlapping,
)

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

zones = st.sampled_from([BERLIN, LORD_HOWE])
times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
# Around the changes of the clock in both zones, and at some distance from them.
CHANGES = [date(2026, 3, 29), date(2026, 10, 25), date(2026, 4, 5), date(2026, 10, 4)]
instants = st.builds(
    lambda day, minutes: datetime.combine(day, time(), UTC) + minutes * MINUTE,
    st.one_of(st.dates(date(2026, 1, 1), date(2027, 12, 31)), st.sampled_from(CHANGES)),
    st.integers(-2880, 2880),
)


def on(day: date, *frames: tuple[str, str], zone: ZoneInfo = BERLIN) -> list[tuple[str, str]]:
    """The frames that begin on one day, in UTC."""
    found = occurrences(
        [Frame(*map(time.fromisoformat, frame)) for frame in frames],
        zone=zone,
        weekdays={day.weekday()},
        from_at=instant(day, time(), zone),
        until_at=instant(day + DAY, time(23, 59), zone),
    )
    return [(f"{one.from_at:%dT%H:%M}", f"{one.until_at:%dT%H:%M}") for one in found]


def test_a_frame_follows_the_clock_through_the_year():
    assert on(date(2026, 1, 15), ("06:00", "14:00")) == [("15T05:00", "15T13:00")]
    assert on(date(2026, 7, 15), ("06:00", "14:00")) == [("15T04:00", "15T12:00")]
    assert on(date(2026, 7, 15), ("22:00", "06:00")) == [("15T20:00", "16T04:00")]
    assert on(date(2026, 7, 15), ("00:00", "00:00")) == [("14T22:00", "15T22:00")]


def test_the_day_of_23_hours():
    spring = date(2026, 3, 29)
    assert on(spring, ("00:00", "00:00")) == [("28T23:00", "29T22:00")]
    assert on(spring, ("01:30", "02:30"), ("02:30", "04:00")) == [
        ("29T00:30", "29T01:00"),
        ("29T01:00", "29T02:00"),
    ]
    assert on(spring, ("02:00", "03:00")) == []
    assert on(spring, ("02:10", "02:50")) == []


def test_the_day_of_25_hours():
    autumn = date(2026, 10, 25)
    assert on(autumn, ("00:00", "00:00")) == [("24T22:00", "25T23:00")]
    assert on(autumn, ("02:00", "03:00")) == [("25T00:00", "25T02:00")]
    assert on(autumn, ("01:00", "02:30"), ("02:30", "04:00")) == [
        ("24T23:00", "25T00:30"),
        ("25T00:30", "25T03:00"),
    ]


def test_where_the_clock_is_changed_by_half_an_hour():
    assert on(date(2026, 10, 4), ("00:00", "00:00"), zone=LORD_HOWE) == [("03T13:30", "04T13:00")]
    assert on(date(2026, 10, 4), ("02:10", "03:00"), zone=LORD_HOWE) == [("03T15:30", "03T16:00")]
    assert on(date(2026, 4, 5), ("01:30", "02:00"), zone=LORD_HOWE) == [("04T14:30", "04T15:30")]


def test_weekdays_are_those_of_the_beginning():
    found = occurrences(
        [Frame(time(22), time(6))],
        weekdays={4},
        zone=BERLIN,
        from_at=datetime(2026, 6, 1, tzinfo=UTC),
        until_at=datetime(2026, 6, 15, tzinfo=UTC),
    )
    assert [one.from_at.astimezone(BERLIN).strftime("%a %H") for one in found] == [
        "Fri 22", "Fri 22"
    ]  # fmt: skip


def test_a_frame_that_runs_already_is_cut():
    found = occurrences(
        [Frame(time(22), time(6))],
        zone=BERLIN,
        from_at=datetime(2026, 6, 15, 1, tzinfo=UTC),
        until_at=datetime(2026, 6, 15, 21, tzinfo=UTC),
    )
    assert found == [
        Occurrence(datetime(2026, 6, 15, 1, tzinfo=UTC), datetime(2026, 6, 15, 4, tzinfo=UTC), 0),
        Occurrence(datetime(2026, 6, 15, 20, tzinfo=UTC), datetime(2026, 6, 15, 21, tzinfo=UTC), 0),
    ]


@given(zone=zones, from_at=instants, length=st.timedeltas(MINUTE, 10 * DAY), cuts=st.sets(times))
def test_frames_that_fill_the_day_fill_all_time_once(zone, from_at, length, cuts):
    bounds = sorted(cuts) or [time()]
    frames = [Frame(*pair) for pair in zip(bounds, [*bounds[1:], bounds[0]], strict=True)]
    until_at = from_at + length
    found = occurrences(frames, zone=zone, from_at=from_at, until_at=until_at)
    assert [one.from_at for one in found] == [from_at, *(one.until_at for one in found[:-1])]
    assert found[-1].until_at == until_at
    assert overlapping(frames) is None


@given(
    zone=zones,
    at=instants,
    begins=times,
    ends=times,
    weekdays=st.sets(st.integers(0, 6), min_size=1),
)
def test_a_frame_holds_just_where_the_clock_says(zone, at, begins, ends, weekdays):
    found = occurrences(
        [Frame(begins, ends)],
        weekdays=weekdays,
        zone=zone,
        from_at=at - 3 * DAY,
        until_at=at + 3 * DAY,
    )
    assert all(one.from_at < one.until_at for one in found)
    assert all(one.until_at <= two.from_at for one, two in pairwise(found))
    offsets = {(at + hours * HOUR).astimezone(zone).utcoffset() for hours in range(-49, 50)}
    if len(offsets) > 1:
        return  # the clock is changed nearby
    local = at.astimezone(zone)
    today, yesterday = local.weekday() in weekdays, (local - DAY).weekday() in weekdays
    clock = local.time()
    if begins < ends:
        expected = today and begins <= clock < ends
    else:
        expected = (today and clock >= begins) or (yesterday and clock < ends)
    assert any(one.from_at <= at < one.until_at for one in found) is expected


@given(zone=zones, day=st.dates(date(2026, 1, 1), date(2027, 12, 31)), at=times)
def test_an_instant_is_the_first_at_which_the_clock_has_come_so_far(zone, day, at):
    found = instant(day, at, zone)
    wall = datetime.combine(day, at)
    assert found.astimezone(zone).replace(tzinfo=None) >= wall
    assert (found - timedelta(microseconds=1)).astimezone(zone).replace(tzinfo=None) < wall


@given(zone=zones, after=instants, at=times)
def test_the_next_time_is_within_a_day_of_the_clock(zone, after, at):
    found = next_time(at, zone=zone, after=after)
    assert after < found <= after + DAY + HOUR


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        ([("00:00", "00:00")], None),
        ([("06:00", "14:00"), ("14:00", "06:00")], None),
        ([("06:00", "14:00"), ("13:59", "15:00")], (0, 1)),
        ([("05:00", "07:00"), ("22:00", "06:00")], (0, 1)),
        ([("06:00", "07:00"), ("00:00", "00:00")], (0, 1)),
        ([("06:00", "07:00"), ("06:00", "07:00")], (0, 1)),
        ([("22:00", "21:00"), ("21:00", "22:00"), ("05:00", "05:30")], (0, 2)),
    ],
)
def test_frames_that_overlap_are_found(frames, found):
    assert overlapping(Frame(*map(time.fromisoformat, frame)) for frame in frames) == found
