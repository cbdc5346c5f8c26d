"""The picture of what was measured below a limit."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility.dimming.picture import draw

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")


def picture(samples, *, minutes=60, limit_w=4_200.0):
    return draw(
        samples,
        limit_w,
        started_at=NOON,
        ended_at=NOON + minutes * MINUTE,
        zone=BERLIN,
        power=lambda watts: f"{watts / 1000:g}",
    )


def test_it_has_round_times_of_the_zone_and_round_powers():
    found = picture([(NOON + number * MINUTE, 4_000.0) for number in range(60)])
    assert [tick.text for tick in found.times] == [*(f"13:{ten}0" for ten in range(6)), "14:00"]
    assert [tick.text for tick in found.powers] == ["0", "2", "4", "6"]
    assert found.from_x == found.times[0].at


def test_it_is_broken_where_nothing_was_measured():
    found = picture([(NOON + number * MINUTE, 4_000.0) for number in (0, 1, 2, 30, 31)])
    assert found.curve.count("M") == 2


def test_where_nothing_was_measured_there_is_no_picture():
    assert picture([]) is None
    assert picture([(NOON, None)]) is None


def test_however_many_samples_there_are_the_highest_is_drawn():
    samples = [(NOON + number * timedelta(seconds=1), 1_000.0) for number in range(3_600)]
    samples[1_234] = (samples[1_234][0], 9_000.0)
    found = picture(samples)
    highest = min(float(point.split(",")[1]) for point in found.curve[1:].split("L"))
    assert len(found.curve.split("L")) < 1_500
    assert highest < found.limit_y


@given(
    st.integers(1, 60 * 24 * 400),
    st.lists(st.none() | st.floats(-1e5, 1e5), min_size=1, max_size=5),
)
@pytest.mark.filterwarnings("error")
def test_any_dimming_can_be_drawn(minutes, powers):
    samples = [(NOON + number * MINUTE, power) for number, power in enumerate(powers)]
    found = picture(samples, minutes=minutes)
    if found is not None:
        assert len(found.times) <= 10
        assert len(found.powers) <= 12
