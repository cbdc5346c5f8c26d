from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridx.gateways.messages import PlugState
from gridx.gateways.plants.charging import ChargingStation
from gridx.gateways.plants.heating import HeatPump
from gridx.gateways.plants.house import House, HouseholdMeter
from gridx.gateways.plants.noise import normal, smooth, uniform
from gridx.gateways.plants.plant import (
    BELOW_MINIMUM,
    BEYOND_LIMITS,
    NO_STORAGE,
    NOT_CONTROLLABLE,
)
from gridx.gateways.plants.solar import Photovoltaics
from gridx.gateways.plants.span import FREE, Limits, Span
from gridx.gateways.plants.storage import Battery
from gridx.gateways.plants.weather import Weather, to_local

BERLIN = ZoneInfo("Europe/Berlin")
WEATHER = Weather(52.5, 13.4, seed=4)
JULY = 1_751_328_000_000  # 2025-07-01T00:00Z
JANUARY = 1_736_899_200_000  # 2025-01-15T00:00Z
DAY = 86_400_000
QUARTER = 900_000

powers = st.none() | st.floats(-12_000, 12_000)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    low, high = draw(powers), draw(powers)
    if low is not None and high is not None and low > high:
        low, high = high, low
    point = draw(st.none() | st.floats(-12_000, 12_000))
    return Limits(min_w=low, max_w=high, set_point_w=point, can_pause=draw(st.booleans()))


@pytest.mark.parametrize(
    ("limits", "wanted", "given_w"),
    [
        (FREE, 5_000, 5_000),
        (Limits(max_w=3_000), 5_000, 3_000),
        (Limits(min_w=1_000), 0, 1_000),
        (Limits(min_w=1_000, can_pause=True), 0, 0),
        (Limits(set_point_w=2_000), 5_000, 2_000),
        (Limits(set_point_w=2_000, max_w=1_500), 5_000, 1_500),
        (Limits(set_point_w=0, min_w=4_140, can_pause=True), 5_000, 0),
        (Limits(max_w=2_000.7), 5_000, 2_000),
        (Limits(min_w=-2_000.7), -5_000, -2_000),
        (Limits(min_w=3_000, max_w=1_000), 5_000, 1_000),
    ],
)
def test_a_wanted_power_bends_to_its_limits(limits, wanted, given_w):
    assert limits.bend(wanted) == given_w


def test_noise_depends_on_seed_and_instant_alone():
    points = np.arange(10_000, dtype=np.int64)
    values = uniform(7, points)
    assert (values == uniform(7, points[::-1])[::-1]).all()
    assert not (values == uniform(8, points)).any()
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert normal(7, points).std() == pytest.approx(1.0, abs=0.03)


def test_smooth_noise_makes_no_jumps():
    instants = np.arange(0, 3_600_000, 1_000, dtype=np.int64)
    curve = smooth(3, instants, period_s=600)
    assert np.abs(np.diff(curve)).max() < 1.5 / 600
    assert curve.min() >= 0
    assert curve.max() <= 1


def test_local_time_follows_the_clock_change():
    before, after = 1_743_296_340_000, 1_743_296_400_000  # 2025-03-30T00:59Z, 01:00Z
    local = to_local(np.array([before, after], dtype=np.int64), BERLIN)
    assert (local - [before, after]).tolist() == [3_600_000, 7_200_000]


def test_the_sun_shines_by_day_and_more_in_summer():
    pv = Photovoltaics("pv", WEATHER, peak_w=10_000)
    july = -pv.available_w(Span(JULY, QUARTER, 960))
    january = -pv.available_w(Span(JANUARY, QUARTER, 960))
    assert july.reshape(10, 96)[:, :8].max() == 0  # 00:00 to 02:00 UTC
    assert july.sum() > 3 * january.sum() > 0
    assert july.max() <= 9_500


def test_a_sunny_year_gives_what_plants_in_berlin_give():
    pv = Photovoltaics("pv", WEATHER, peak_w=1_000)
    kwh = -pv.available_w(Span(JANUARY, QUARTER, 365 * 96)).sum() / 4_000
    assert 850 < kwh < 1_200


def test_the_sun_is_the_same_whether_looked_up_by_day_or_by_month():
    span = Span(JULY, QUARTER, 30 * 96)
    month = Photovoltaics("pv", WEATHER, peak_w=10_000).available_w(span)
    single = Photovoltaics("pv", WEATHER, peak_w=10_000)
    days = [single.available_w(Span(JULY + day * DAY, QUARTER, 96)) for day in range(30)]
    assert np.abs(month - np.concatenate(days)).max() <= 1


def test_curtailed_panels_feed_in_no_more_than_allowed():
    pv = Photovoltaics("pv", WEATHER, peak_w=10_000)
    noon = Span(JULY + DAY // 2, QUARTER, 1)
    assert pv.available_w(noon, Limits(min_w=-1_000)).tolist() == [-1_000]
    assert pv.available_w(noon, Limits(set_point_w=0)).tolist() == [0]


@given(st.lists(st.integers(-15_000, 15_000), min_size=1, max_size=60), limits())
def test_a_battery_stays_within_power_content_and_limits(residual, limits):
    battery = Battery("battery", capacity_wh=6_000, power_w=4_000)
    before = battery.energy_wh
    columns = battery.run(Span(JULY, QUARTER, len(residual)), np.array(residual), limits)
    assert np.abs(columns.power_w).max() <= 4_000
    assert columns.soc.min() >= 0.05
    assert columns.soc.max() <= 1.0
    gained = battery.energy_wh - before
    charged, discharged = columns.imported_wh[-1], columns.exported_wh[-1]
    expected = charged * battery.efficiency - discharged / battery.efficiency
    assert gained == pytest.approx(expected, abs=0.01)
    if limits.set_point_w is None and limits.max_w is not None and limits.max_w >= 0:
        assert columns.power_w.max() <= limits.max_w


def test_a_battery_alone_covers_need_and_takes_surplus():
    battery = Battery("battery", capacity_wh=10_000, power_w=5_000)
    columns = battery.run(Span(JULY, QUARTER, 3), np.array([-3_000, 2_000, -9_000]))
    assert columns.power_w.tolist() == [3_000, -2_000, 5_000]


def test_a_full_round_trip_loses_what_it_should():
    battery = Battery("battery", capacity_wh=10_000, power_w=5_000, round_trip=0.9)
    battery.energy_wh = battery.floor_wh
    battery.run(Span(JULY, QUARTER, 40), np.full(40, -5_000))
    columns = battery.run(Span(JULY + DAY, QUARTER, 40), np.full(40, 5_000))
    assert columns.exported_wh[-1] / columns.imported_wh[-1] == pytest.approx(0.9, abs=0.001)


def test_energy_limits_make_a_battery_charge_and_discharge():
    battery = Battery("battery", capacity_wh=10_000, power_w=5_000)
    idle = np.zeros(1, dtype=np.int64)
    low = battery.run(Span(JULY, QUARTER, 1), idle, Limits(min_wh=8_000))
    high = battery.run(Span(JULY + DAY, QUARTER, 1), idle, Limits(max_wh=2_000))
    assert (low.power_w[0], high.power_w[0]) == (5_000, -5_000)


def test_a_station_charges_each_car_what_it_needs():
    station = ChargingStation("ev", BERLIN, seed=5)
    span = Span(JULY, QUARTER, 28 * 96)
    sessions, needs = station._sessions(span.middles)
    columns = station.run(span)
    for session in set(sessions.tolist()) - {-1}:
        there = sessions == session
        charged = columns.power_w[there].sum() * QUARTER
        assert 0 <= charged - needs[there][0] < QUARTER  # to the watt of the last step
    states = np.array(columns.plug_state)
    assert (states[sessions == -1] == PlugState.UNPLUGGED).all()
    assert len(set(sessions.tolist())) > 5


@given(limits(), st.integers(0, 50))
@settings(max_examples=50)
def test_a_station_charges_at_a_power_that_it_can_or_pauses(limits, seed):
    station = ChargingStation("ev", BERLIN, seed=seed)
    columns = station.run(Span(JULY, 60_000, 2 * 1_440), limits)
    power = columns.power_w
    assert power.min() >= 0
    assert power.max() <= station.max_w
    # A car's last minute ends when it is full, so its mean may be below the least power.
    below = np.flatnonzero((power > 0) & (power < station.min_w))
    assert all(columns.plug_state[step + 1] != PlugState.CHARGING for step in below[:-1])
    if limits.max_w is not None and limits.max_w < station.min_w:
        assert power.max() == 0 or (limits.min_w or 0) > limits.max_w


def test_a_limit_below_the_least_power_pauses_a_station():
    station = ChargingStation("ev", BERLIN, seed=5)
    columns = station.run(Span(JULY, QUARTER, 7 * 96), Limits(max_w=3_000))
    assert columns.power_w.max() == 0
    assert PlugState.PAUSED in columns.plug_state
    assert PlugState.CHARGING not in columns.plug_state


def test_a_heat_pump_works_more_in_winter_and_keeps_its_store_warm():
    def run(start: int):
        pump = HeatPump("heat-pump", WEATHER, BERLIN, power_w=3_000, litres=500, hot_water_w=200)
        return pump.run(Span(start, 60_000, 7 * 1_440))

    winter, summer = run(JANUARY), run(JULY)
    assert winter.power_w.sum() > 4 * summer.power_w.sum() > 0
    assert winter.temperature_c.min() > 36
    assert winter.temperature_c.max() < 48
    assert set(winter.power_w.tolist()) == {15, 3_000}


def test_a_heat_pump_throttles_to_a_limit_and_pauses_below_its_least_power():
    pump = HeatPump("heat-pump", WEATHER, BERLIN, power_w=3_000, litres=500, hot_water_w=0)
    throttled = pump.run(Span(JANUARY, 60_000, 600), Limits(max_w=1_500, can_pause=True))
    assert set(throttled.power_w.tolist()) <= {15, 1_500}
    paused = pump.run(Span(JANUARY + DAY, 60_000, 600), Limits(max_w=500, can_pause=True))
    assert set(paused.power_w.tolist()) == {15}


def test_a_forced_heat_pump_never_overheats_its_store():
    pump = HeatPump("heat-pump", WEATHER, BERLIN, power_w=3_000, litres=200, hot_water_w=0)
    columns = pump.run(Span(JULY, 60_000, 1_440), Limits(set_point_w=3_000))
    assert columns.temperature_c.max() < 60


def test_a_house_uses_about_what_it_should_and_follows_the_clock():
    house = House(BERLIN, seed=2, annual_wh=3_600_000)
    power = house.power_w(Span(JANUARY, QUARTER, 365 * 96))
    assert power.sum() / 4_000 == pytest.approx(3_600, rel=0.05)
    by_hour = power.reshape(365, 24, 4).mean(axis=(0, 2))
    assert by_hour[18] > 2.5 * by_hour[2]  # UTC


PV = Photovoltaics("pv", WEATHER, peak_w=10_000)
BATTERY = Battery("battery", capacity_wh=6_000, power_w=4_000)
STATION = ChargingStation("ev", BERLIN, seed=1)
HOUSE_METER = HouseholdMeter("house", fuse_w=43_000)


@pytest.mark.parametrize(
    ("plant", "asked", "admitted", "refusal"),
    [
        (STATION, FREE, FREE, None),
        (STATION, Limits(set_point_w=8_000), Limits(set_point_w=8_000), None),
        (STATION, Limits(set_point_w=0), Limits(set_point_w=0), None),
        (STATION, Limits(set_point_w=3_000), Limits(set_point_w=0, can_pause=True), BELOW_MINIMUM),
        (STATION, Limits(set_point_w=30_000, max_w=9_000), Limits(max_w=9_000), BEYOND_LIMITS),
        (STATION, Limits(min_wh=5, max_w=6_000), Limits(max_w=6_000), NO_STORAGE),
        (BATTERY, Limits(min_wh=5), Limits(min_wh=5), None),
        (BATTERY, Limits(set_point_w=-9_000), FREE, BEYOND_LIMITS),
        (BATTERY, Limits(min_w=5_000), FREE, BEYOND_LIMITS),
        (BATTERY, Limits(max_w=-5_000), FREE, BEYOND_LIMITS),
        (PV, Limits(set_point_w=500), FREE, BEYOND_LIMITS),
        (PV, Limits(min_w=-600), Limits(min_w=-600), None),
        (HOUSE_METER, Limits(max_w=1), FREE, NOT_CONTROLLABLE),
    ],
)
def test_an_appliance_refuses_what_it_cannot_do(plant, asked, admitted, refusal):
    assert plant.admit(asked) == (admitted, refusal)
