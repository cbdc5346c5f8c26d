from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measurements.resolutions import (
    SLOT,
    Resolution,
    from_ms,
    next_period,
    period_start,
    periods,
    previous_period,
    slot_end,
    slot_end_ms,
    slot_start,
    slot_start_ms,
    to_ms,
)

ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "Europe/London",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/St_Johns",
    )
]
BERLIN, LONDON, KOLKATA, LORD_HOWE, ST_JOHNS = ZONES

FIRST = datetime(2017, 1, 1, tzinfo=UTC)
instants = st.integers(0, 14 * 365 * 86_400_000).map(lambda ms: FIRST + timedelta(milliseconds=ms))
zones = st.sampled_from(ZONES)
# The hours around both changes of the clock of each zone, a leap day and a year's end.
edges = st.sampled_from(
    [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        datetime(2026, 3, 8, 5, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
        datetime(2028, 2, 29, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 45, tzinfo=UTC),
    ]
)
near_edges = st.builds(
    lambda edge, minutes: edge + timedelta(minutes=minutes), edges, st.integers(-3000, 3000)
)


def utc(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def slots_of_day(day, zone):
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone)
    start = period_start(noon, Resolution.DAY, zone)
    return (next_period(start, Resolution.DAY, zone) - start) // SLOT


@pytest.mark.parametrize(
    ("day", "zone", "slots"),
    [
        ("2026-03-29", BERLIN, 92),
        ("2026-10-25", BERLIN, 100),
        ("2026-06-01", BERLIN, 96),
        ("2026-03-29", LONDON, 92),
        ("2026-10-25", LONDON, 100),
        ("2026-03-29", KOLKATA, 96),
        ("2026-10-04", LORD_HOWE, 94),
        ("2026-04-05", LORD_HOWE, 98),
        ("2026-03-08", ST_JOHNS, 92),
        ("2026-11-01", ST_JOHNS, 100),
    ],
)
def test_a_local_day_has_as_many_slots_as_its_clock_shows(day, zone, slots):
    assert slots_of_day(day, zone) == slots


@pytest.mark.parametrize(
    ("at", "resolution", "zone", "start", "end"),
    [
        ("2026-06-01T10:44:59.999+00:00", "15m", BERLIN, "2026-06-01T10:30Z", "2026-06-01T10:45Z"),
        ("2026-06-01T10:44+00:00", "1h", KOLKATA, "2026-06-01T10:30Z", "2026-06-01T11:30Z"),
        ("2026-06-01T10:44+00:00", "1h", ST_JOHNS, "2026-06-01T10:30Z", "2026-06-01T11:30Z"),
        # The two hours from 2 to 3 in October.
        ("2026-10-25T00:50+00:00", "1h", BERLIN, "2026-10-25T00:00Z", "2026-10-25T01:00Z"),
        ("2026-10-25T01:10+00:00", "1h", BERLIN, "2026-10-25T01:00Z", "2026-10-25T02:00Z"),
        # Lord Howe goes from 2:00 back to 1:30, and from 2:00 on to 2:30.
        ("2026-04-04T14:59+00:00", "1h", LORD_HOWE, "2026-04-04T14:00Z", "2026-04-04T15:00Z"),
        ("2026-04-04T15:10+00:00", "1h", LORD_HOWE, "2026-04-04T15:00Z", "2026-04-04T15:30Z"),
        ("2026-10-03T15:45+00:00", "1h", LORD_HOWE, "2026-10-03T15:30Z", "2026-10-03T16:00Z"),
        ("2026-06-01T21:59+00:00", "1d", BERLIN, "2026-05-31T22:00Z", "2026-06-01T22:00Z"),
        ("2026-06-01T22:00+00:00", "1d", BERLIN, "2026-06-01T22:00Z", "2026-06-02T22:00Z"),
        ("2026-12-31T23:00+00:00", "1w", BERLIN, "2026-12-27T23:00Z", "2027-01-03T23:00Z"),
        ("2028-02-29T12:00+00:00", "1M", BERLIN, "2028-01-31T23:00Z", "2028-02-29T23:00Z"),
        ("2026-10-25T12:00+00:00", "1M", BERLIN, "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
        ("2026-12-31T23:30+00:00", "1y", BERLIN, "2026-12-31T23:00Z", "2027-12-31T23:00Z"),
        # A midnight that does not exist (Cairo), one that happens twice (Havana),
        # and a clock set back from midnight to 23:00 (Azores).
        (
            "2026-04-24T12:00+00:00",
            "1d",
            ZoneInfo("Africa/Cairo"),
            "2026-04-23T22:00Z",
            "2026-04-24T21:00Z",
        ),
        (
            "2026-11-01T05:30+00:00",
            "1d",
            ZoneInfo("America/Havana"),
            "2026-11-01T04:00Z",
            "2026-11-02T05:00Z",
        ),
        (
            "2026-10-25T00:30+00:00",
            "1d",
            ZoneInfo("Atlantic/Azores"),
            "2026-10-25T00:00Z",
            "2026-10-26T01:00Z",
        ),
        # Samoa had no 30 December 2011; Toronto's clock went from 23:30 to 0:30 in 1919.
        (
            "2011-12-30T09:00+00:00",
            "1d",
            ZoneInfo("Pacific/Apia"),
            "2011-12-29T10:00Z",
            "2011-12-30T10:00Z",
        ),
        (
            "1919-03-31T12:00+00:00",
            "1d",
            ZoneInfo("America/Toronto"),
            "1919-03-31T04:30Z",
            "1919-04-01T04:00Z",
        ),
    ],
)
def test_a_period_begins_and_ends_by_the_zones_calendar(at, resolution, zone, start, end):
    resolution = Resolution(resolution)
    assert period_start(utc(at), resolution, zone) == utc(start)
    assert next_period(utc(start), resolution, zone) == utc(end)
    assert previous_period(utc(end), resolution, zone) == utc(start)


def test_a_clock_set_back_over_midnight_leaves_the_day_begun():
    st_johns_2010 = period_start(utc("2010-11-07T02:45+00:00"), Resolution.DAY, ST_JOHNS)
    assert st_johns_2010 == utc("2010-11-07T02:30+00:00")  # second 23:15 of the 6th
    assert next_period(st_johns_2010, Resolution.DAY, ST_JOHNS) - st_johns_2010 == timedelta(
        hours=25
    )


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="without a time zone"):
        period_start(FIRST.replace(tzinfo=None), Resolution.DAY, BERLIN)


def test_an_empty_span_has_no_periods():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert periods(at, at, Resolution.DAY, BERLIN) == []


@given(at=st.one_of(instants, near_edges), zone=zones, resolution=st.sampled_from(Resolution))
def test_every_instant_lies_in_exactly_one_period(at, zone, resolution):
    start = period_start(at, resolution, zone)
    end = next_period(start, resolution, zone)
    assert start <= at < end
    assert slot_start(start) == start
    assert start.tzinfo is UTC
    assert end.tzinfo is UTC
    assert next_period(at, resolution, zone) == end
    assert period_start(end, resolution, zone) == end
    assert period_start(end - timedelta(microseconds=1), resolution, zone) == start
    assert previous_period(end, resolution, zone) == start


@given(
    at=st.one_of(instants, near_edges),
    zone=zones,
    hours=st.integers(1, 100),
    resolution=st.sampled_from(Resolution),
)
def test_periods_of_a_stretch_are_those_that_follow_one_another(at, zone, hours, resolution):
    until = at + timedelta(hours=hours)
    spans = periods(at, until, resolution, zone)
    assert spans[0].from_at == period_start(at, resolution, zone)
    assert spans[-1].from_at < until <= spans[-1].until_at
    assert all(span.until_at == next_period(span.from_at, resolution, zone) for span in spans)
    assert all(a.until_at == b.from_at for a, b in pairwise(spans))


@given(at=st.one_of(instants, near_edges), zone=zones, days=st.integers(1, 40), data=st.data())
def test_coarser_periods_are_made_of_whole_finer_ones(at, zone, days, data):
    order = list(Resolution)
    coarse = data.draw(st.sampled_from(order[1:5]))
    finer = [r for r in order[: order.index(coarse)] if (r, coarse) != ("1w", "1M")]
    for span in periods(at, at + timedelta(days=days), coarse, zone)[:3]:
        for fine in finer:
            inner = periods(*span, fine, zone)
            assert inner[0].from_at == span.from_at
            assert inner[-1].until_at == span.until_at
            assert all(a.until_at == b.from_at for a, b in pairwise(inner))


@given(at=instants)
def test_slots_of_instants_and_of_milliseconds_agree(at):
    at = from_ms(to_ms(at))
    assert to_ms(slot_start(at)) == slot_start_ms(to_ms(at))
    assert to_ms(slot_end(at)) == slot_end_ms(to_ms(at))
    assert slot_start(at) <= at <= slot_end(at)
    assert slot_end(at) - slot_start(at) in (timedelta(0), SLOT)
