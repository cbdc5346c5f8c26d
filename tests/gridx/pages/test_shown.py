from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from gridx.pages.shown import EARLIEST, Notice, Zoom, shown

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def at(resolution: str | None = None, day: str | None = None, zone=BERLIN, now=NOW):
    return shown(resolution=resolution, day=day, zone=zone, now=now)


def test_without_a_wish_it_is_today_in_the_systems_zone():
    found = at(zone=ZoneInfo("Pacific/Auckland"), now=datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    assert (found.zoom, found.day, found.is_current) == (Zoom.DAY, date(2026, 11, 24), True)
    assert found.next is None
    assert found.notices == ()


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-06-15", 24), ("2026-10-25", 25)]
)
def test_a_day_has_as_many_quarters_as_its_clock_makes(day: str, hours: int):
    assert len(at("day", day).spans) == 4 * hours


@pytest.mark.parametrize(
    ("resolution", "first", "last", "parts"),
    [
        ("day", date(2026, 10, 14), date(2026, 10, 14), 96),
        ("week", date(2026, 10, 12), date(2026, 10, 18), 7),
        ("month", date(2026, 10, 1), date(2026, 10, 31), 31),
        ("year", date(2026, 1, 1), date(2026, 12, 31), 12),
    ],
)
def test_the_same_day_is_kept_from_zoom_to_zoom(resolution, first, last, parts):
    found = at(resolution, "2026-10-14")
    assert (found.first_day, found.last_day, len(found.spans)) == (first, last, parts)
    assert found.day == date(2026, 10, 14)


@pytest.mark.parametrize(
    ("resolution", "day", "previous", "following"),
    [
        ("day", "2026-03-01", "2026-02-28", "2026-03-02"),
        ("week", "2026-03-01", "2026-02-22", "2026-03-08"),
        ("month", "2026-03-31", "2026-02-28", "2026-04-30"),
        ("month", "2025-12-15", "2025-11-15", "2026-01-15"),
        ("year", "2024-02-29", "2023-02-28", "2025-02-28"),
    ],
)
def test_earlier_and_later_lead_to_the_neighbours(resolution, day, previous, following):
    found = at(resolution, day)
    assert (found.previous, found.next) == (
        date.fromisoformat(previous),
        date.fromisoformat(following),
    )


def test_the_way_on_ends_today():
    assert at("month", "2026-10-31").next == date(2026, 11, 23)
    assert at("week", "2026-11-17").next == date(2026, 11, 23)
    assert at("year", "2026-02-03").next is None


@pytest.mark.parametrize(
    ("resolution", "day", "notice", "zoom", "found_day"),
    [
        ("decade", "2026-10-14", Notice.RESOLUTION, Zoom.DAY, date(2026, 10, 14)),
        ("week", "yesterday", Notice.DATE, Zoom.WEEK, date(2026, 11, 23)),
        ("week", "2026-02-30", Notice.DATE, Zoom.WEEK, date(2026, 11, 23)),
        ("day", "2027-01-01", Notice.FUTURE, Zoom.DAY, date(2026, 11, 23)),
        ("year", "9999-12-31", Notice.FUTURE, Zoom.YEAR, date(2026, 11, 23)),
        ("month", "0001-01-01", Notice.EARLY, Zoom.MONTH, EARLIEST),
    ],
)
def test_nonsense_gets_the_nearest_that_makes_sense_and_a_notice(
    resolution, day, notice, zoom, found_day
):
    found = at(resolution, day)
    assert (found.notices, found.zoom, found.day) == ((notice,), zoom, found_day)
    assert found.spans


def test_nothing_lies_before_the_earliest_day():
    assert at("day", EARLIEST.isoformat()).previous is None
