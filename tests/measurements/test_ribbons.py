import itertools
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measurements.ribbons import (
    NARROW,
    SINKS,
    SOURCES,
    WIDE,
    Picture,
    Shape,
    Statement,
    draw,
    statement,
)

CONSUMERS = ("household", "heat_pump", "heater", "ev")
NAMES = (
    *("pv_w", "discharge_w", "import_w", "charge_w", "export_w", "consumption_w"),
    *(f"{name}_w" for name in CONSUMERS),
    *(f"{name}_from_{source}_w" for name in CONSUMERS for source in SOURCES[:3]),
    *("pv_to_load_w", "battery_to_load_w", "grid_to_load_w"),
    *("pv_to_battery_w", "pv_to_grid_w", "battery_to_grid_w", "grid_to_battery_w"),
)


def powers(**flows: float) -> SimpleNamespace:
    """A whole house (no heater) whose totals follow from its flows, in W."""
    of = dict.fromkeys(NAMES, 0.0) | flows
    for name in CONSUMERS:
        of[f"{name}_w"] = sum(of[f"{name}_from_{source}_w"] for source in SOURCES[:3])
    for source in SOURCES[:3]:
        of[f"{source}_to_load_w"] = sum(of[f"{name}_from_{source}_w"] for name in CONSUMERS)
    of["pv_w"] = of["pv_to_load_w"] + of["pv_to_battery_w"] + of["pv_to_grid_w"]
    of["discharge_w"] = of["battery_to_load_w"] + of["battery_to_grid_w"]
    of["import_w"] = of["grid_to_load_w"] + of["grid_to_battery_w"]
    of["charge_w"] = of["pv_to_battery_w"] + of["grid_to_battery_w"]
    of["export_w"] = of["pv_to_grid_w"] + of["battery_to_grid_w"]
    of["consumption_w"] = sum(of[f"{source}_to_load_w"] for source in SOURCES[:3])
    if not of["heater_w"]:
        of["heater_w"] = None
    return SimpleNamespace(**of)


FLOWS = [name for name in NAMES if "_from_" in name or name.endswith(("battery_w", "to_grid_w"))]
WATTS = st.one_of(st.just(0.0), st.floats(1, 30_000))
ANY_POWERS = st.fixed_dictionaries(dict.fromkeys(FLOWS, WATTS)).map(lambda f: powers(**f))
# So much that no bar is at its least height.
MUCH_POWER = st.fixed_dictionaries(
    dict.fromkeys(FLOWS, st.one_of(st.just(0.0), st.floats(3000, 9000)))
).map(lambda f: powers(**f))
SHAPES = pytest.mark.parametrize("shape", [WIDE, NARROW], ids=lambda shape: shape.name)


def heights(picture: Picture) -> dict[tuple[str, str], float]:
    return {(node.side, node.key): node.height for node in picture.nodes}


@SHAPES
@given(ANY_POWERS)
def test_labels_never_overlap_and_stay_on_the_picture(shape: Shape, live):
    picture = draw(live, shape=shape)
    for side in ("source", "sink"):
        tops = sorted(node.middle for node in picture.nodes if node.side == side)
        gaps = [below - above for above, below in itertools.pairwise(tops)]
        assert all(gap >= shape.slot - 0.2 for gap in gaps)
        assert all(shape.slot / 2 - 0.2 <= y <= picture.height - shape.slot / 2 + 0.2 for y in tops)


@SHAPES
@given(ANY_POWERS)
def test_bars_never_overlap_and_stay_on_the_picture(shape: Shape, live):
    picture = draw(live, shape=shape)
    for side in ("source", "sink"):
        bars = sorted((node.y, node.y + node.height) for node in picture.nodes if node.side == side)
        assert all(a[1] <= b[0] + 0.2 for a, b in itertools.pairwise(bars))
        assert all(top >= -0.2 and end <= picture.height + 0.2 for top, end in bars)


@given(MUCH_POWER)
def test_both_sides_of_a_picture_are_equally_thick(live):
    drawn = [node for node in draw(live).nodes if not node.resting]
    given_off = sum(node.height for node in drawn if node.side == "source")
    assert given_off == pytest.approx(
        sum(node.height for node in drawn if node.side == "sink"), abs=0.5
    )


def test_the_width_of_a_ribbon_is_its_power():
    picture = draw(powers(ev_from_pv_w=4500, household_from_pv_w=1500, household_from_grid_w=750))
    tall = heights(picture)
    assert tall["sink", "ev"] / tall["source", "grid"] == pytest.approx(6, rel=0.02)
    assert tall["source", "pv"] == pytest.approx(
        tall["sink", "ev"] + tall["sink", "household"] * 2 / 3, rel=0.01
    )


def test_little_power_is_drawn_thin_and_the_smallest_as_a_hair_line():
    night = heights(draw(powers(household_from_battery_w=200)))
    assert night["sink", "household"] < 40
    picture = draw(powers(ev_from_pv_w=11_000, household_from_grid_w=6))
    assert heights(picture)["sink", "household"] == 3
    assert {ribbon.sink for ribbon in picture.ribbons} == {"ev", "household"}


@SHAPES
def test_little_power_leaves_no_empty_space_around_the_parts(shape: Shape):
    picture = draw(powers(household_from_grid_w=300.0, heat_pump_from_grid_w=10.0), shape=shape)
    for side in ("source", "sink"):
        middles = [node.middle for node in picture.nodes if node.side == side]
        around = shape.slot / 2 + shape.gap
        assert middles[0] <= around
        assert middles[-1] + around >= picture.height - 30  # half of a bar that is thicker


def test_what_rests_is_shown_once_and_keeps_the_height_of_the_picture():
    asleep = draw(powers())
    assert [(node.side, node.key) for node in asleep.nodes] == [
        ("source", "pv"),
        ("source", "battery"),
        ("source", "grid"),
        ("sink", "ev"),
        ("sink", "heat_pump"),
        ("sink", "household"),
    ]
    assert all(node.resting for node in asleep.nodes)
    assert not asleep.ribbons
    busy = draw(powers(ev_from_pv_w=900, pv_to_battery_w=2000, pv_to_grid_w=4000))
    assert busy.height == asleep.height
    assert [node.key for node in busy.nodes if node.side == "source"] == ["pv"]


def test_battery_and_grid_stand_on_the_side_to_which_power_runs():
    storing = draw(powers(pv_to_battery_w=2000, pv_to_grid_w=500))
    assert [n.key for n in storing.nodes if n.side == "sink" and not n.resting] == [
        "battery",
        "grid",
    ]
    assert {n.tone for n in storing.nodes if n.key in ("battery", "grid")} == {
        "battery-in",
        "feed-in",
    }


def test_a_system_without_a_part_does_not_show_it():
    live = powers(household_from_grid_w=400)
    for name in ("pv_w", "charge_w", "discharge_w", "ev_w", "heat_pump_w"):
        setattr(live, name, None)
    assert [node.key for node in draw(live).nodes] == ["grid", "household"]


def test_power_of_unknown_origin_is_shown_as_not_measured():
    live = SimpleNamespace(**dict.fromkeys(NAMES), ev_w_=None)
    live.ev_w = 7400
    picture = draw(live)
    assert [(r.source, r.sink, r.tone) for r in picture.ribbons] == [("unknown", "ev", "missing")]
    assert picture.nodes[0].power_w == 7400


def test_a_difference_of_clocks_is_not_shown_as_unknown():
    live = powers(ev_from_pv_w=4000)
    live.ev_w = 4040
    assert {ribbon.source for ribbon in draw(live).ribbons} == {"pv"}


def test_paths_are_plain_numbers_with_a_point():
    for ribbon in draw(powers(ev_from_pv_w=4321.5, household_from_grid_w=77.7)).ribbons:
        for path in (ribbon.path, *ribbon.streams):
            assert re.fullmatch(r"[MCVZ0-9., -]+", path)


def test_names_of_sources_and_sinks_are_in_a_fixed_order():
    live = powers(
        household_from_pv_w=1, household_from_battery_w=300, ev_from_grid_w=900, pv_to_grid_w=50
    )
    picture = draw(live)
    keys = [n.key for n in picture.nodes if n.side == "source"]
    assert keys == [key for key in SOURCES if key in keys]
    keys = [n.key for n in picture.nodes if n.side == "sink"]
    assert keys == [key for key in SINKS if key in keys]


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (powers(ev_from_pv_w=4490), Statement("ev", 4490, "pv", 1.0)),
        (powers(ev_from_pv_w=3000, ev_from_grid_w=1000), Statement("ev", 4000, "pv", 0.75)),
        (powers(pv_to_grid_w=3980, pv_to_battery_w=3500), Statement("feed_in", 3980, "pv", 1.0)),
        (powers(pv_to_battery_w=2000, pv_to_grid_w=400), Statement("charge", 2000, "pv", 1.0)),
        (powers(household_from_battery_w=310), Statement("use", 310, "battery", 1.0)),
        (powers(), Statement("nothing")),
    ],
)
def test_the_sentence_is_about_what_matters_most(live, said):
    assert statement(live) == said


def test_nothing_is_said_about_an_origin_that_is_not_known():
    live = SimpleNamespace(**dict.fromkeys(NAMES))
    assert statement(live) == Statement("unknown")
    live.ev_w = 3700
    assert statement(live) == Statement("ev", 3700)


def test_a_meter_whose_values_are_old_is_not_said_to_be_none():
    live = SimpleNamespace(**dict.fromkeys(NAMES))
    assert statement(live, is_meter_old=True) == Statement("old")
    live.ev_w = 3700
    assert statement(live, is_meter_old=True) == Statement("ev", 3700)
