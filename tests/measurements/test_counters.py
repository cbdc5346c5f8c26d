import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measurements.counters import BREAK, JUMP_BREAK, RETURN, TAKEN, State, follow_counter

MINUTE = 60_000


def follow(*wh, max_power_w=None, minutes=1, state=None):
    at = np.arange(1, len(wh) + 1, dtype=np.int64) * MINUTE * minutes
    return follow_counter(at, np.array(wh, float), state=state, max_power_w=max_power_w)


def counted_wh(*wh, **given):
    return follow(*wh, **given).gain_mwh.sum() / 1000


@pytest.mark.parametrize(
    ("wh", "max_power_w", "expected"),
    [
        pytest.param((5000, 5010, 5030), None, 30, id="the level it begins with is not counted"),
        pytest.param((50_000, 49_600, 49_900, 50_100), None, 100, id="a small dip"),
        pytest.param((50_000, 49_600, 49_700), None, 0, id="a small dip that is not passed again"),
        pytest.param((5_000_000, 4_999_000, 5_000_500), None, 500, id="a dip of 1 kWh is small"),
        pytest.param((5_000_000, 0, 5_000_020), None, 20, id="a zero in between"),
        pytest.param((5_000_000, 0, 0, 0, 5_000_020), None, 20, id="zeros for a while"),
        pytest.param((5_000_000, 100, 130, 150), None, 50, id="a reset"),
        pytest.param((5_000_000, 0, 4_000), None, 4_000, id="a reset, confirmed by going on"),
        pytest.param((5_000_000, 4_990_000, 4_990_010), None, 10, id="set back by 10 kWh"),
        pytest.param((5_000_000, 3_000, 1_000, 1_050), None, 50, id="falls twice, then goes on"),
        pytest.param((5e6, 0, 0, 4_999_500, 5_000_020), None, 20, id="back with a small dip"),
        pytest.param((1_000, 9e9, 5e6, 1_040, 1_060), None, 60, id="two levels, and back"),
        pytest.param((1_000, 9e9, 5e6, 2e7, 1_060), None, 60, id="three levels, and back"),
        pytest.param((1_000, 9e9, 5e6, 2e7, 2e7 + 9), None, 9, id="three, and on from the third"),
        pytest.param((1_000, 9e9, 5e6, 2e7), None, 0, id="the third one waits"),
        pytest.param((5e6, 10, 2e9, 50, 80), None, 30, id="a reset, and a spike after it"),
        pytest.param((5e6, 10, 3e3, 6e3, 9e3), 5_000, 6_000, id="a reset, stated power too low"),
        pytest.param((1_000, 1_020, 9e9, 1_040, 1_060), 10_000, 60, id="a spike"),
        pytest.param((1_000, 1_020, 9e9, 1_040, 1_060), None, 60, id="a spike, power unknown"),
        pytest.param((1e5, 100_020, 150_000, 100_040), None, 40, id="a small spike, power unknown"),
        pytest.param((1e5, 130_000, 130_000, 1e5), None, 30_000, id="nobody knows it from a reset"),
        pytest.param((1e5, 150_000, 150_000, 1e5), None, 0, id="a jump beyond any site"),
        pytest.param(
            (1, 9_001, 17_001, 26_001, 35_001), None, 26_000, id="a large site: the last one waits"
        ),
        pytest.param((1, 9e3, 17e3, 17_100, 17_200), None, 17_199, id="a large site slows down"),
        pytest.param((1, 9e3, 17e3, 0, 26e3, 35e3), None, 25_999, id="a large site, and a zero"),
        pytest.param((0, 9e3, 17e3, 26e3, 35e3), None, 17_000, id="a large site's first step"),
        pytest.param((5e5, *[0] * 720, 5.06e5), None, 6_000, id="zeros, and it had gone on"),
        pytest.param((5e5, *[0] * 720, 5.06e5), 1_000, 6_000, id="the same, as far as it can"),
        pytest.param((1e5, *[0] * 720, 1.12e5), 5_000, 12_000, id="zeros, and on by more"),
        pytest.param((3e4, *[0] * 120, 3.2e4), 1e4, 2_000, id="zeros of a small counter"),
        pytest.param((500, 0, 0, 600), 1e4, 600, id="a reset of a small counter"),
        pytest.param((500, 0, 0, 5, 600), 1e4, 600, id="a reset, then past the old level"),
        pytest.param((*[0] * 60, 8e6, 8e6 + 10), None, 10, id="zeros before the first level"),
        pytest.param((5e6, *[0] * 60, 7.3e6, 7.3e6 + 9), None, 9, id="zeros, another counter"),
        pytest.param((1_000, 1_020, 9e9), 10_000, 20, id="a jump is held back at first"),
        pytest.param((1_000, 1_020, 9e6, 9e6 + 30), 10_000, 50, id="replaced by a higher counter"),
        pytest.param((7e5, 7e5 + 20, 9e9, 9e9, 7e5 + 50), 9_000, 50, id="two spikes, and back"),
        pytest.param((0, 3_000, 6_000, 9_000, 12_000), 5_000, 12_000, id="stated power too low"),
        pytest.param((0,) + (10,) * 300 + (21_000,), 5_000, 21_000, id="stood still, caught up"),
        pytest.param((0, 0, 100, 100, 200), 3_000, 200, id="a coarse counter steps"),
        pytest.param((10,), None, 0, id="one reading counts nothing"),
        pytest.param((), None, 0, id="none"),
    ],
)
def test_what_a_counter_counted(wh, max_power_w, expected):
    assert counted_wh(*wh, max_power_w=max_power_w) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("wh", "expected"),
    [
        pytest.param((2e4, *[0] * 10, 20_300), 300, id="a night of zeros"),
        pytest.param((5e6, 0, 0, 5.1e6, 5.1e6 + 900), 100_900, id="away for an hour"),
        pytest.param((5e6, 7.3e6, 7.3e6 + 900), 900, id="another counter, an hour later"),
    ],
)
def test_what_an_hourly_counter_counted(wh, expected):
    assert counted_wh(*wh, minutes=60) == pytest.approx(expected, abs=0.001)


def test_a_reset_is_a_break_at_its_first_reading():
    levels = follow(5_000_000, 100, 130)
    assert levels.kind.tolist() == [TAKEN, BREAK, TAKEN]
    assert levels.at_ms.tolist() == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert levels.gain_mwh.tolist() == [0, 0, 30_000]


def test_a_fall_alone_says_nothing_yet():
    levels = follow(5_000_000, 100)
    assert levels.at_ms.tolist() == [MINUTE]
    assert levels.odd_ms.tolist() == [2 * MINUTE]


def test_a_steep_rise_of_unknown_power_waits_for_the_next_reading_without_a_blame():
    levels = follow(1, 9_000)
    assert levels.at_ms.tolist() == [MINUTE]
    assert levels.odd_ms.tolist() == []
    levels = follow(1, 9_000, 10)
    assert levels.at_ms.tolist() == [MINUTE, 3 * MINUTE]
    assert levels.odd_ms.tolist() == [2 * MINUTE]


def test_a_level_that_nothing_goes_on_from_is_not_believed():
    levels = follow(1_000, 9e9, 5e6, 2e7, 3e6, 3e6 + 10)
    assert levels.kind.tolist() == [TAKEN, JUMP_BREAK, JUMP_BREAK, JUMP_BREAK, TAKEN]
    assert levels.gain_mwh.tolist() == [0, 0, 0, 0, 10_000]
    assert (levels.odd_ms // MINUTE).tolist() == [2, 3, 4]
    levels = follow(1_000, 9e9, 5e6, 1_040)
    assert levels.kind.tolist() == [TAKEN, JUMP_BREAK, RETURN]
    assert levels.gain_mwh.tolist() == [0, 0, 40_000]


@given(
    rises=st.lists(st.integers(0, 50), min_size=2, max_size=12),
    start=st.sampled_from([50, 1_000, 100_000]),
    at=st.integers(1, 11),
    spikes=st.permutations([7e6, 3e7, 2e8, 5e9]),
    count=st.integers(0, 4),
)
def test_levels_that_nothing_goes_on_from_cost_no_energy(rises, start, at, spikes, count):
    wh = [float(start + sum(rises[:n])) for n in range(len(rises) + 1)]
    at = min(at, len(rises))
    assert counted_wh(*wh[:at], *spikes[:count], *wh[at:]) == sum(rises)


@given(
    steps=st.lists(st.sampled_from([0, 5, 9_000, 40_000, -9_000, -60_000, 9e9, -9e9]), max_size=12),
    cut=st.integers(0, 12),
    power_w=st.sampled_from([None, 5_000, 200_000]),
)
def test_where_a_counter_is_cut_never_matters(steps, cut, power_w):
    wh = np.maximum(np.cumsum([100_000.0, *steps]), 0)
    at = np.arange(1, len(wh) + 1, dtype=np.int64) * MINUTE
    whole = follow_counter(at, wh, state=None, max_power_w=power_w)
    cut = 1 + min(cut, len(wh) - 1)
    first = follow_counter(at[:cut], wh[:cut], state=None, max_power_w=power_w)
    state = State(*first.states[-1].tolist())
    rest = follow_counter(at[cut:], wh[cut:], state=state, max_power_w=power_w)
    np.testing.assert_array_equal(np.vstack([first.states, rest.states]), whole.states)
    before = first.at_ms <= rest.at_ms[0]
    assert [*first.gain_mwh[before], *rest.gain_mwh[1:]] == whole.gain_mwh.tolist()
    # What is settled by two more readings is settled for good.
    settled = whole.at_ms <= at[max(cut - 3, 0)]
    assert first.at_ms[: settled.sum()].tolist() == whole.at_ms[settled].tolist()


def test_a_counter_replaced_by_a_higher_one_is_told_from_a_reset():
    assert follow(1_000, 9e6, 9e6 + 30, max_power_w=1000).kind.tolist() == [0, JUMP_BREAK, 0]


def test_a_level_that_comes_back_is_a_return():
    assert follow(5_000_000, 0, 0, 5_000_020).kind.tolist() == [0, BREAK, 0, RETURN]


def test_a_state_with_a_held_reading_goes_on_as_if_never_cut():
    whole = follow(5_000_000, 100, 130)
    cut = follow(5_000_000, 100)
    state = State(*cut.states[-1].tolist())
    assert (state.held_ms, state.held_wh) == (2 * MINUTE, 100)
    rest = follow_counter(np.array([3 * MINUTE]), np.array([130.0]), state=state, max_power_w=None)
    assert rest.at_ms.tolist() == whole.at_ms.tolist()
    assert rest.gain_mwh.tolist() == whole.gain_mwh.tolist()
    assert rest.reading.tolist() == [-1, -1, 0]
    np.testing.assert_array_equal(rest.states[-1], whole.states[-1])


def test_many_readings_out_of_order_stay_right():
    good = np.cumsum(np.full(6_000, 5.0)) + 1e6
    wh = good.copy()
    wh[7::9] = 0
    at = np.arange(6_000, dtype=np.int64) * MINUTE
    levels = follow_counter(at, wh, state=None, max_power_w=None)
    assert levels.gain_mwh.sum() == pytest.approx((good[-1] - good[0]) * 1000)
    assert len(levels.odd_ms) == (wh == 0).sum()
    assert not math.isnan(levels.states[-1][1])
