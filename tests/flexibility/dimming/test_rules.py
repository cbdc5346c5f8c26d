import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility.dimming.rules import (
    BK6_22_300,
    Consumer,
    Rules,
    Why,
    direct_limits,
    sum_limit,
)
from inventory.kinds import ApplianceKind

EV, PUMP = ApplianceKind.EV_CHARGING_STATION, ApplianceKind.HEAT_PUMP
BATTERY, HEATER = ApplianceKind.BATTERY, ApplianceKind.HEATER


def consumers_of(*parts):
    return [Consumer(str(index), *part) for index, part in enumerate(parts)]


def direct(*parts):
    """What each may draw and why, in order."""
    return [(limit.max_w, limit.why) for limit in direct_limits(consumers_of(*parts))]


@pytest.mark.parametrize(
    ("part", "max_w", "why"),
    [
        pytest.param((EV, 11_000), 4_200, Why.FLOOR, id="a charging station"),
        pytest.param((EV, 22_000), 4_200, Why.FLOOR, id="however large it is"),
        pytest.param((BATTERY, 5_000), 4_200, Why.FLOOR, id="a battery, when it charges"),
        pytest.param((PUMP, 9_000), 4_200, Why.FLOOR, id="a heat pump"),
        pytest.param((PUMP, 11_000), 4_200, Why.FLOOR, id="11 kW is not above 11 kW"),
        pytest.param((PUMP, 12_000), 4_800, Why.SHARE, id="a large heat pump"),
        pytest.param((EV, 4_200), None, Why.SMALL, id="4.2 kW is not above 4.2 kW"),
        pytest.param((PUMP, 2_500), None, Why.SMALL, id="a small heat pump"),
        pytest.param((BATTERY, -5_000), None, Why.SMALL, id="a battery that only gives"),
        pytest.param((EV, None), 4_200, Why.NO_RATING, id="nobody knows how large"),
        pytest.param((HEATER, 9_000), None, Why.KIND, id="a heater of its own"),
        pytest.param(
            (ApplianceKind.PV_INVERTER, 9_000), None, Why.KIND, id="what does not draw at all"
        ),
    ],
)
def test_what_an_appliance_keeps_that_is_dimmed_by_itself(part, max_w, why):
    assert direct(part) == [(max_w, why)]


def test_a_heat_pump_and_its_heater_are_one_and_the_pump_comes_first():
    assert direct((PUMP, 8_000), (HEATER, 6_000, "0")) == [(5_600, Why.SHARE), (0, Why.SHARE)]
    assert direct((HEATER, 6_000, "1"), (PUMP, 3_000)) == [(1_200, Why.FLOOR), (3_000, Why.FLOOR)]
    assert direct((PUMP, 2_000), (HEATER, 2_000, "0")) == [(None, Why.SMALL)] * 2


def test_a_rating_below_nothing_is_nothing():
    limits = direct((PUMP, 2_000), (HEATER, -500, "0"), (HEATER, 6_000, "0"))
    assert [max_w for max_w, _ in limits] == [2_000, 0, 2_200]


def test_two_heat_pumps_that_count_as_one_share_what_it_keeps():
    assert direct((PUMP, 10_000), (PUMP, 5_000, "0")) == [(4_000, Why.SHARE), (2_000, Why.SHARE)]


def test_what_is_known_of_a_heat_pump_counts_where_its_heater_is_unknown():
    assert direct((PUMP, 15_000), (HEATER, None, "0")) == [(6_000, Why.SHARE), (0, Why.SHARE)]
    assert direct((PUMP, 3_000), (HEATER, None, "0")) == [
        (3_000, Why.NO_RATING),
        (1_200, Why.NO_RATING),
    ]


def test_parts_of_something_else_stand_for_themselves():
    assert direct((ApplianceKind.HYBRID_INVERTER, 10_000), (BATTERY, 5_000, "0")) == [
        (None, Why.KIND),
        (4_200, Why.FLOOR),
    ]
    assert direct((EV, 11_000), (EV, 11_000, "0")) == [(4_200, Why.FLOOR)] * 2
    assert direct((HEATER, 9_000, "not here")) == [(None, Why.KIND)]
    assert direct((EV, 11_000), (HEATER, 9_000, "0")) == [(4_200, Why.FLOOR), (None, Why.KIND)]
    assert direct((PUMP, 9_000), (EV, 11_000, "0")) == [(4_200, Why.FLOOR)] * 2


def test_a_circle_of_parts_and_a_double_key_are_refused():
    with pytest.raises(ValueError, match="part of itself"):
        direct((PUMP, 8_000, "1"), (PUMP, 8_000, "0"))
    with pytest.raises(ValueError, match="twice"):
        direct_limits([Consumer("a", EV, 1.0), Consumer("a", EV, 1.0)])


@pytest.mark.parametrize(
    ("parts", "max_w"),
    [
        pytest.param([(EV, 11_000)], 4_200, id="one"),
        pytest.param([(EV, 11_000), (BATTERY, 5_000)], 4_200 + 0.80 * 4_200, id="two"),
        pytest.param([(EV, 11_000)] * 3, 4_200 + 2 * 0.75 * 4_200, id="three"),
        pytest.param([(EV, 11_000)] * 4, 4_200 + 3 * 0.70 * 4_200, id="four"),
        pytest.param([(EV, 11_000)] * 5, 4_200 + 4 * 0.65 * 4_200, id="five"),
        pytest.param([(EV, 11_000)] * 6, 4_200 + 5 * 0.60 * 4_200, id="six"),
        pytest.param([(EV, 11_000)] * 7, 4_200 + 6 * 0.55 * 4_200, id="seven"),
        pytest.param([(EV, 11_000)] * 8, 4_200 + 7 * 0.50 * 4_200, id="eight"),
        pytest.param([(EV, 11_000)] * 9, 4_200 + 8 * 0.45 * 4_200, id="nine"),
        pytest.param([(EV, 11_000)] * 20, 4_200 + 19 * 0.45 * 4_200, id="many"),
        pytest.param(
            [(EV, 11_000), (PUMP, 15_000), (BATTERY, 5_000)],
            6_000 + 2 * 0.75 * 4_200,
            id="with a large heat pump",
        ),
        pytest.param(
            [(PUMP, 15_000), (PUMP, 20_000)],
            14_000 + 0.80 * 4_200,
            id="large heat pumps count together",
        ),
        pytest.param(
            [(EV, 11_000), (PUMP, 9_000)], 4_200 + 0.80 * 4_200, id="with a heat pump that is not"
        ),
        pytest.param(
            [(EV, 11_000), (PUMP, 2_000), (HEATER, 9_000)], 4_200, id="what is not controllable"
        ),
        pytest.param(
            [(EV, 11_000), (PUMP, 8_000), (HEATER, 6_000, "1")],
            5_600 + 0.80 * 4_200,
            id="a heater of a heat pump is not one more",
        ),
    ],
)
def test_what_all_keep_together(parts, max_w):
    assert sum_limit(consumers_of(*parts)).max_w == pytest.approx(max_w)


def test_the_sum_says_whose_it_is_and_how_it_comes_about():
    made = sum_limit(consumers_of((EV, 11_000), (HEATER, 3_000)))
    assert (made.keys, made.count, made.factor, made.why) == (("0",), 1, 1.0, Why.FLOOR)
    assert made.max_w == made.first_w == 4_200


def test_where_nothing_is_controllable_there_is_no_limit_which_is_not_0():
    assert sum_limit(consumers_of((PUMP, 2_000), (HEATER, 9_000))) is None
    assert direct_limits([]) == ()


def test_the_figures_of_the_ruling_may_change():
    rules = Rules(floor_w=5_000, large_w=12_000, large_share=0.5, factors=(0.9,))
    consumers = consumers_of((PUMP, 13_000), (EV, 11_000), (EV, 4_900))
    assert [limit.max_w for limit in direct_limits(consumers, rules=rules)] == [6_500, 5_000, None]
    assert sum_limit(consumers, rules=rules).max_w == 6_500 + 0.9 * 5_000
    with pytest.raises(ValueError, match="Simultaneity"):
        Rules(factors=())


ratings = st.none() | st.floats(0, 50_000)
kinds = st.sampled_from([EV, PUMP, BATTERY, HEATER, ApplianceKind.GRID_METER])
fleets = st.lists(st.tuples(kinds, ratings), max_size=12).map(lambda parts: consumers_of(*parts))


@given(fleets)
def test_what_is_dimmed_by_itself_keeps_the_floor_and_never_more_than_its_rating(fleet):
    for consumer, limit in zip(fleet, direct_limits(fleet), strict=True):
        if limit.max_w is not None:
            assert limit.max_w >= BK6_22_300.floor_w
            assert consumer.rated_w is None or limit.max_w <= consumer.rated_w


@given(fleets)
def test_the_sum_is_never_below_what_is_guaranteed(fleet):
    made = sum_limit(fleet)
    dimmed = [limit for limit in direct_limits(fleet) if limit.max_w is not None]
    assert (made is None) == (not dimmed)
    if made is not None:
        large = sum(limit.max_w for limit in dimmed if limit.why is Why.SHARE)
        assert made.max_w >= max(BK6_22_300.floor_w, large) - 1e-6
        assert made.keys == tuple(limit.key for limit in dimmed)


@given(fleets, st.tuples(kinds, ratings))
def test_one_more_appliance_never_lowers_the_sum(fleet, part):
    before = sum_limit(fleet)
    after = sum_limit([*fleet, Consumer("one more", *part)])
    assert before is None or after.max_w >= before.max_w


@given(
    st.floats(0, 50_000),
    st.lists(st.floats(0, 50_000), max_size=4),
    st.sampled_from([PUMP, HEATER]),
)
def test_a_heat_pump_and_its_parts_share_just_what_it_keeps(pump_w, parts, kind):
    unit = consumers_of((PUMP, pump_w), *((kind, part, "0") for part in parts))
    limits = direct_limits(unit)
    whole = direct_limits(consumers_of((PUMP, pump_w + sum(parts))))[0].max_w
    if whole is None:
        assert all(limit.max_w is None for limit in limits)
    else:
        assert sum(limit.max_w for limit in limits) == pytest.approx(whole)
