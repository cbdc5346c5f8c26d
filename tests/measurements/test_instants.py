"""Instants of recordings: which of two is meant where the clock is set back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measurements.imports.layouts import Instants
from tests.measurements.arrivals import ZONES

BERLIN = ZoneInfo("Europe/Berlin")
# By local names on the day on which the clock is set back.
EARLY, LATE = "2026-10-25T01:45", "2026-10-25T03:00"
SET_BACK = {
    "Europe/Berlin": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "Europe/London": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "Asia/Kolkata": datetime(2026, 10, 25, 1, tzinfo=UTC),  # never; any day
    "Australia/Lord_Howe": datetime(2026, 4, 4, 15, tzinfo=UTC),
    "America/St_Johns": datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
}


def read(*cells: str, whose: str = "") -> list[str]:
    instants = Instants(BERLIN)
    found = [instants.read(cell, whose) for cell in cells]
    return [f"{datetime.fromtimestamp(ms / 1000, UTC):%H:%M}" for ms in found]


def hours(*minutes: str) -> list[str]:
    return [f"2026-10-25T02:{minute}" for minute in minutes]


def test_lines_may_have_the_oldest_or_the_newest_first():
    twice = [*hours("00", "30"), *hours("00", "30")]
    expected = ["23:45", "00:00", "00:30", "01:00", "01:30", "02:00"]
    assert read(EARLY, *twice, LATE) == expected
    assert read(LATE, *reversed(twice), EARLY) == expected[::-1]


def test_a_line_for_each_quantity_of_an_instant_is_of_the_same_one():
    cells = [each for cell in (EARLY, *hours("00", "30"), *hours("00")) for each in (cell, cell)]
    assert read(*cells)[::2] == read(*cells)[1::2] == ["23:45", "00:00", "00:30", "01:00"]


@pytest.mark.parametrize(
    "before",
    [
        [],
        ["2026-10-24T10:00", "2026-10-24T12:00", "2026-10-24T11:00"],
        [EARLY, *hours("00", "15"), *hours("00", "15")],
    ],
    ids=["first of all", "in no order", "a third time"],
)
def test_what_the_lines_before_do_not_tell_is_refused(before):
    with pytest.raises(ValueError, match="happens twice in Europe/Berlin"):
        read(*before, *hours("00"))


def test_each_appliance_goes_its_own_way():
    instants = Instants(BERLIN)
    for whose in ("grid", "battery"):
        assert instants.read(EARLY, whose) == instants.read("2026-10-24T23:45+00:00", "")
        assert instants.read(*hours("00"), whose) == instants.read("2026-10-25T00:00+00:00", "")


def test_hours_go_on_to_the_other_one_of_the_same_name():
    names = ["2026-10-25T01:00", *hours("00", "00"), LATE]
    expected = ["23:00", "00:00", "01:00", "02:00"]
    assert read(*names) == expected
    assert read(*reversed(names)) == expected[::-1]
    twice = [each for name in names for each in (name, name)]
    assert read(*twice) == [each for hour in expected for each in (hour, hour)]


@pytest.mark.parametrize(
    "before",
    [
        ["2026-10-25T00:00", *2 * ["2026-10-25T01:00"], *hours("00")],
        [*2 * ["2026-10-25T01:00"], *hours("00", "00", "00", "00")],
    ],
    ids=["now one line, now two", "a third time"],
)
def test_hours_whose_lines_do_not_tell_are_refused(before):
    with pytest.raises(ValueError, match="happens twice in Europe/Berlin"):
        read(*before, *hours("00"))


# No longer than the shortest shift of a clock that is set back.
STEPS_MINUTES = {zone: (15, 30) if "Lord_Howe" in zone else (15, 30, 60) for zone in ZONES}


@given(
    zone_and_step=st.sampled_from([(zone, step) for zone in ZONES for step in STEPS_MINUTES[zone]]),
    before=st.integers(1, 12),
    after=st.integers(0, 12),
    times=st.integers(1, 3),
    is_newest_first=st.booleans(),
)
def test_local_names_in_order_are_read_as_what_they_were(
    zone_and_step, before, after, times, is_newest_first
):
    zone, minutes = ZoneInfo(zone_and_step[0]), zone_and_step[1]
    in_an_hour = 60 // minutes
    back = SET_BACK[zone.key]
    # The first and the last one lie outside of the hours that have the same names.
    numbers = range(-in_an_hour - before, in_an_hour + after + 1)
    instants = [back + n * timedelta(minutes=minutes) for n in numbers]
    if is_newest_first:
        instants.reverse()
    reader = Instants(zone)
    for instant in instants:
        # As a file has it, that does not say which of two it is.
        local = instant.astimezone(zone).replace(tzinfo=None, fold=0)
        for _time in range(times):
            assert reader.read(local, "") == round(instant.timestamp() * 1000)
