import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridx.gateways.plants.presets import SitePlan, build_site
from gridx.gateways.plants.site import Site
from gridx.gateways.plants.span import Columns, Limits, Span

JULY = 1_751_328_000_000  # 2025-07-01T00:00Z
NOON = JULY + 43_200_000
QUARTER = 900_000
ALL_PARTS = ["pv", "battery", "ev", "heat_pump", "heater", "household_meter"]
HOME = SitePlan(parts=ALL_PARTS, seed=3)

plans = st.builds(
    SitePlan,
    preset=st.sampled_from(["home", "charging_fleet"]),
    parts=st.lists(st.sampled_from(ALL_PARTS), unique=True),
    seed=st.integers(0, 2**70),
    stations=st.integers(1, 4),
    time_zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
    latitude=st.floats(-60, 60),
)


def balance_holds(site: Site, columns: dict[str, Columns], house_w: np.ndarray) -> bool:
    others = [plant.local_id for plant in (*site.solar, *site.batteries, *site.consumers)]
    total = sum((columns[local_id].power_w for local_id in others), house_w)
    return bool((columns["grid"].power_w == total).all())


def monotone(columns: dict[str, Columns]) -> bool:
    return all(
        (np.diff(counter) >= 0).all()
        for column in columns.values()
        for counter in (column.imported_wh, column.exported_wh)
    )


@given(plans, st.integers(0, 700), st.sampled_from([1_000, 10_000, 60_000, QUARTER]))
@settings(max_examples=40, deadline=None)
def test_the_grid_is_what_is_left_over_at_every_step(plan, day, step_ms):
    site = build_site(plan)
    run = site.run(Span(JULY - day * 86_400_000 + 25_000_000, step_ms, 50))
    assert balance_holds(site, run.columns, run.house_w)
    assert monotone(run.columns)


@given(
    st.dictionaries(
        st.sampled_from(["grid", "pv", "battery", "ev", "heat-pump", "heater"]),
        st.builds(
            Limits,
            min_w=st.none() | st.floats(-15_000, 0),
            max_w=st.none() | st.floats(0, 15_000),
            set_point_w=st.none() | st.floats(-15_000, 15_000),
            can_pause=st.booleans(),
        ),
    ),
    st.integers(0, 86_000_000),
)
@settings(max_examples=40, deadline=None)
def test_the_balance_holds_under_any_limits(limits, offset):
    site = build_site(HOME)
    run = site.run(Span(JULY + offset, 60_000, 15), limits)
    assert balance_holds(site, run.columns, run.house_w)
    assert monotone(run.columns)


def test_a_feed_in_limit_curtails_the_sun_to_the_watt():
    site = build_site(SitePlan(parts=["pv"], seed=3, annual_wh=1_000_000))
    free = build_site(SitePlan(parts=["pv"], seed=3, annual_wh=1_000_000))
    span = Span(NOON, 60_000, 30)
    limited = site.run(span, {"grid": Limits(min_w=-500)})
    unlimited = free.run(span)
    assert unlimited.columns["grid"].power_w.min() < -500
    assert limited.columns["grid"].power_w.min() == -500
    assert balance_holds(site, limited.columns, limited.house_w)


def test_an_import_limit_throttles_the_stations():
    site = build_site(SitePlan(preset="charging_fleet", seed=1, stations=6, annual_wh=9e6))
    span = Span(NOON - 10_800_000, 60_000, 120)  # 11:00 in Berlin, all at work
    free = build_site(SitePlan(preset="charging_fleet", seed=1, stations=6, annual_wh=9e6))
    assert free.run(span).columns["grid"].power_w.max() > 20_000
    assert site.run(span, {"grid": Limits(max_w=20_000)}).columns["grid"].power_w.max() <= 20_000


def test_a_state_that_went_through_json_goes_on_as_if_nothing_had_been():
    site = build_site(HOME)
    site.run(Span(JULY, QUARTER, 40))
    state = json.loads(json.dumps(site.state))
    copy = build_site(HOME)
    copy.restore(state)
    span = Span(site.at_ms, 10_000, 20)
    first, second = site.run(span), copy.run(span)
    for local_id, columns in first.columns.items():
        assert columns.readings(local_id) == second.columns[local_id].readings(local_id)
    assert copy.state == site.state


def test_history_and_live_share_their_counters():
    site = build_site(HOME)
    chunks = list(site.history(JULY, JULY + 40 * 86_400_000))
    assert sum(len(chunk["grid"].at) for chunk in chunks) == 40 * 96
    live = site.run(Span(site.at_ms, 10_000, 1))
    for local_id, columns in live.columns.items():
        for counter in ("imported_wh", "exported_wh"):
            last = getattr(chunks[-1][local_id], counter)[-1]
            assert 0 <= getattr(columns, counter)[0] - last < 100


def test_coarse_and_fine_steps_tell_nearly_the_same_day():
    fine, coarse = build_site(HOME), build_site(HOME)
    fine.run(Span(JULY, 60_000, 1_440))
    coarse.run(Span(JULY, QUARTER, 96))
    for local_id in ("pv", "grid"):
        one, other = fine.state["plants"][local_id], coarse.state["plants"][local_id]
        assert one["exported"] - one["imported"] == pytest.approx(
            other["exported"] - other["imported"], rel=0.05
        )


def test_a_site_never_goes_back_in_time():
    site = build_site(HOME)
    site.run(Span(JULY, QUARTER, 4))
    with pytest.raises(ValueError, match="is at"):
        site.run(Span(JULY, QUARTER, 1))


def test_a_fleet_has_its_stations_and_a_meter():
    site = build_site(SitePlan(preset="charging_fleet"))
    assert [plant.kind for plant in site.plants] == ["grid_meter", *["ev_charging_station"] * 12]
    assert len({plant.local_id for plant in site.plants}) == 13


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(ValueError, match="no such time zone"):
        build_site(SitePlan(time_zone="Europe/Atlantis"))
