"""What is measured of a dimming, and what that proves."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility.dimming.evidence import evidence, net_draw, reaction_time_s

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def samples_of(*powers, every_s=60, first_s=0):
    """Samples at a steady pace, the first so many seconds after noon."""
    return [
        (NOON + timedelta(seconds=first_s + index * every_s), power)
        for index, power in enumerate(powers)
    ]


@pytest.mark.parametrize(
    ("powers", "reaction_s"),
    [
        pytest.param([11_000, 9_000, 4_150, 4_000, 0], 120, id="it takes a while"),
        pytest.param([4_000, 3_900], 0, id="at once"),
        pytest.param([11_000, 4_000, 4_900, 4_000], 180, id="it relapses"),
        pytest.param([11_000, 4_000, 4_290], 60, id="a little over is the meter's accuracy"),
        pytest.param([11_000, None, None, 4_000], 180, id="what was not measured proves nothing"),
        pytest.param([11_000, 4_000, 11_000], None, id="never for good"),
        pytest.param([-3_000], 0, id="it feeds in"),
        pytest.param([None], None, id="nothing was measured"),
        pytest.param([], None, id="there is nothing at all"),
    ],
)
def test_how_long_a_dimming_takes(powers, reaction_s):
    assert reaction_time_s(samples_of(*powers), 4_200, NOON) == reaction_s


@pytest.mark.parametrize(
    ("powers", "reaction_s"),
    [
        pytest.param([0, 0, 0], 0, id="it was within the limit all the time"),
        pytest.param([0, None], None, id="nothing was measured since"),
        pytest.param([9_000, 0, 0], 30, id="it was not before"),
        pytest.param([0, 9_000, 0], 90, id="it was before, but not at first"),
    ],
)
def test_who_was_within_the_limit_before_needs_no_time(powers, reaction_s):
    assert reaction_time_s(samples_of(*powers, first_s=-30), 4_200, NOON) == reaction_s


def test_what_was_long_before_the_start_tells_nothing():
    samples = [(NOON - timedelta(minutes=3), 0.0), *samples_of(0, first_s=50)]
    assert reaction_time_s(samples, 4_200, NOON) == 50


def test_the_order_of_samples_does_not_matter():
    samples = samples_of(0, 11_000, 11_000, 4_000, first_s=-60)
    assert reaction_time_s(samples, 4_200, NOON) == 120
    assert reaction_time_s(samples[::-1], 4_200, NOON) == 120


def test_the_tolerance_can_be_chosen():
    samples = samples_of(4_290, 4_200)
    assert reaction_time_s(samples, 4_200, NOON) == 0
    assert reaction_time_s(samples, 4_200, NOON, tolerance_w=0) == 60


@given(st.lists(st.floats(0, 12_000), min_size=1, max_size=20), st.floats(0, 12_000))
def test_after_the_reaction_time_nothing_measured_is_above_the_limit(powers, limit_w):
    samples = samples_of(*powers)
    reaction = reaction_time_s(samples, limit_w, NOON, tolerance_w=0)
    if reaction is None:
        assert powers[-1] > limit_w
    else:
        settled = int(reaction / 60)
        assert max(powers[settled:]) <= limit_w
        assert settled == 0 or powers[settled - 1] > limit_w


def proof(samples, *, minutes=10):
    return evidence(samples, 4_200, started_at=NOON, ended_at=NOON + timedelta(minutes=minutes))


def test_a_proof_says_how_fast_how_high_and_how_well_measured():
    made = proof(samples_of(11_000, 11_000, 8_000, *[4_180] * 8))
    assert (made.reaction_s, made.highest_w, made.measured_share) == (180, 4_180, 1.0)


def test_a_proof_of_what_was_never_kept_shows_the_highest_of_all():
    made = proof(samples_of(5_000, 11_000, *[9_000] * 9))
    assert (made.reaction_s, made.highest_w) == (None, 11_000)


def test_a_proof_hides_no_hole():
    made = proof(samples_of(4_000, 4_000, 4_000, None, None, None, None, None, 4_000, 4_000, 4_000))
    assert made.measured_share == pytest.approx(0.4)
    assert proof(samples_of(4_000), minutes=1).measured_share == 0
    nothing = proof([])
    assert (nothing.reaction_s, nothing.highest_w, nothing.measured_share) == (None, None, 0)


def test_samples_around_a_dimming_help_to_cover_it_and_count_for_nothing_else():
    made = proof(samples_of(11_000, *[4_000] * 10, 11_000, first_s=-30))
    assert (made.reaction_s, made.highest_w, made.measured_share) == (30, 4_000, 1.0)


def test_a_dimming_is_over_at_its_end():
    made = proof(samples_of(*[4_000] * 10, 11_000))
    assert (made.reaction_s, made.highest_w, made.measured_share) == (0, 4_000, 1.0)


def test_samples_far_apart_cover_nothing():
    assert proof(samples_of(*[4_000] * 3, every_s=300)).measured_share == 0


def test_a_dimming_has_a_duration():
    with pytest.raises(ValueError, match="ends after"):
        proof([], minutes=0)


def test_what_is_drawn_together_is_the_sum_of_the_newest():
    car, pump = samples_of(4_000, 3_000), samples_of(2_000, 1_000, first_s=10)
    assert [power for _, power in net_draw([car, pump], [])] == [None, 6_000, 5_000, 4_000]


def test_what_the_site_produces_itself_is_not_drawn_from_the_grid():
    car, site = samples_of(9_000, 9_000, 9_000), samples_of(12_000, 5_000, -2_000)
    assert [power for _, power in net_draw([car], site)] == [9_000, 5_000, 0]


def test_a_battery_that_gives_draws_nothing_and_lowers_nobodys_draw():
    assert net_draw([samples_of(4_000), samples_of(-3_000)], []) == samples_of(4_000)


def test_where_one_is_not_heard_the_sum_is_not_known():
    car, pump = samples_of(4_000, 4_000, 4_000, 4_000), samples_of(2_000)
    assert [power for _, power in net_draw([car, pump], [])] == [6_000, 6_000, 6_000, None]


powers = st.lists(st.none() | st.floats(-20_000, 20_000), min_size=1, max_size=8)


@given(st.lists(powers, min_size=1, max_size=4), powers)
def test_the_draw_is_never_more_than_the_sum_and_never_below_nothing(members, meter):
    samples = [samples_of(*each) for each in members]
    alone = net_draw(samples, [])
    for (at, power), (same_at, less) in zip(
        alone, net_draw(samples, samples_of(*meter)), strict=True
    ):
        assert at == same_at
        assert (power is None) == (less is None)
        assert power is None or 0 <= less <= power
