"""The wire's figures, against payloads that real clients recorded (reference/wire-api.md, 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.kinds import ROLES, ApplianceKind
from measurements.figures import Figures, rates_of
from measurements.flows import live_figures_of_many
from measurements.history import DEVICE_COLUMNS, Battery
from measurements.resolutions import Resolution, Span
from measurements.wire.history import COLUMNS, history_to_wire
from measurements.wire.live import live_to_wire

KIND = ApplianceKind
ID = UUID("97af25d0-3791-48cc-857c-14aaac749267")
AT = datetime(2024, 5, 8, 9, 42, 18, 654321, tzinfo=UTC)
READING = (
    "imported_wh",
    "exported_wh",
    "soc",
    "energy_wh",
    "temperature_c",
    "current_l1_a",
    "current_l2_a",
    "current_l3_a",
    "plug_state",
)


@dataclass
class Device:
    kind: ApplianceKind
    capacity_wh: float | None = None
    id: UUID = ID


@dataclass
class Now:
    appliance: Device
    power_w: float | None
    reading: SimpleNamespace | None
    is_stale: bool = False


@dataclass
class Live:
    measured_at: datetime | None
    figures: dict
    appliances: list[Now]


def now(kind: ApplianceKind, power_w: float | None, capacity_wh=None, **read) -> Now:
    reading = SimpleNamespace(**{name: read.get(name) for name in READING})
    return Now(Device(kind, capacity_wh), power_w, reading)


def live(*devices: Now, at: datetime | None = AT) -> dict:
    (figures,) = live_figures_of_many([[(ROLES[d.appliance.kind], d.power_w) for d in devices]])
    return live_to_wire(Live(at, figures | rates_of(figures, "_w"), list(devices)))


def test_a_home_that_charges_its_battery_reads_as_recorded():
    wire = live(
        now(KIND.PV_INVERTER, -1512),
        now(KIND.BATTERY, 853, 10_000, soc=0.77, energy_wh=7700),
        now(KIND.GRID_METER, -59, imported_wh=2_053_700, exported_wh=3_911_600),
    )
    battery = {
        "capacity": 10_000,
        "nominalCapacity": 10_000,
        "power": -853,
        "remainingCharge": 7700,
        "stateOfCharge": 0.77,
    }
    assert wire == {
        "batteries": [{"applianceID": "97af25d0-3791-48cc-857c-14aaac749267", **battery}],
        "battery": {**battery, "charge": 853, "discharge": 0},
        "consumption": 600,
        "directConsumption": 600,
        "directConsumptionEV": 0,
        "directConsumptionHeatPump": 0,
        "directConsumptionHeater": 0,
        "directConsumptionHousehold": 600,
        "directConsumptionRate": pytest.approx(0.3968253968253968),
        "grid": -59,
        "gridMeterReadingNegative": 14_081_760_000,
        "gridMeterReadingPositive": 7_393_320_000,
        "measuredAt": datetime(2024, 5, 8, 9, 42, 18, tzinfo=UTC),
        "photovoltaic": 1512,
        "production": 1512,
        "selfConsumption": 1453,
        "selfConsumptionRate": pytest.approx(0.9609788359788359),
        "selfSufficiencyRate": 1,
        "selfSupply": 600,
        "totalConsumption": 600,
    }


def test_a_car_takes_the_sun_before_the_household_does():
    wire = live(
        now(KIND.PV_INVERTER, -6807),
        now(KIND.BATTERY, -3126),
        now(KIND.EV_CHARGING_STATION, 7930.4, plug_state=2, current_l1_a=11.5, imported_wh=81_000),
        now(KIND.GRID_METER, -1079),
    )
    assert wire["battery"]["power"] == 3126
    assert wire["evChargingStation"] == {"power": 7930.4}
    assert wire["evChargingStations"][0] == {
        "applianceID": "97af25d0-3791-48cc-857c-14aaac749267",
        "power": 7930.4,
        "currentL1": 11.5,
        "plugState": "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
        "readingTotal": 81_000,
    }
    assert wire["consumption"] == pytest.approx(923.6)
    assert (wire["directConsumption"], wire["directConsumptionEV"]) == (5728, 5728)
    assert (wire["selfSupply"], wire["totalConsumption"]) == (8854, 8854)


def test_a_heater_shows_its_power_and_temperature():
    wire = live(
        now(KIND.PV_INVERTER, -8276),
        now(KIND.BATTERY, 102),
        now(KIND.HEATER, 3676, temperature_c=70.9),
        now(KIND.GRID_METER, -3651),
    )
    assert wire["heaters"][0]["temperature"] == wire["heatingTemperature"] == 70.9
    assert (wire["heating"], wire["consumption"], wire["directConsumption"]) == (3676, 847, 4523)


def test_of_a_stale_station_only_what_lasts_is_told():
    station = now(
        KIND.EV_CHARGING_STATION, None, soc=0.4, imported_wh=1, current_l1_a=16, plug_state=3
    )
    station.is_stale = True
    [told] = live(station)["evChargingStations"]
    assert told == {"applianceID": str(ID), "readingTotal": 1, "stateOfCharge": 0.4}


def test_of_two_meters_one_without_a_counter_leaves_none():
    meters = now(KIND.GRID_METER, 1, imported_wh=5), now(KIND.GRID_METER, 2)
    assert "gridMeterReadingPositive" not in live(*meters)


def test_rates_of_pv_are_absent_without_production():
    wire = live(
        now(KIND.PV_INVERTER, 0), now(KIND.HEAT_PUMP, 1074.932), now(KIND.GRID_METER, 1874.365)
    )
    assert wire["heatPump"] == 1074.932
    assert wire["heatPumps"][0]["sgReadyState"] == "UNKNOWN"
    assert wire["consumption"] == pytest.approx(799.433)
    assert wire["production"] == 0
    assert "selfConsumptionRate" not in wire
    assert "directConsumptionRate" not in wire
    assert wire["selfSufficiencyRate"] == 0


def test_parts_that_a_home_does_not_have_are_absent():
    wire = live(now(KIND.GRID_METER, 300))
    assert set(wire) == {
        "measuredAt", "grid", "consumption", "totalConsumption", "selfSufficiencyRate"
    }  # fmt: skip


def test_a_system_that_nobody_read_has_nothing():
    assert live(at=None) == {}


def test_a_stale_battery_shows_its_charge_but_no_power():
    wire = live(now(KIND.BATTERY, None, 5000, soc=0.5), now(KIND.GRID_METER, 200))
    assert wire["batteries"][0]["remainingCharge"] == 2500
    assert "power" not in wire["batteries"][0]
    assert "power" not in wire["battery"]


def test_two_batteries_are_one_and_each():
    wire = live(
        now(KIND.BATTERY, 1000, 10_000, soc=0.5),
        now(KIND.BATTERY, -400, 5000, soc=0.8),
        now(KIND.GRID_METER, 1000),
    )
    assert wire["battery"] == {
        "power": -600,
        "charge": 1000,
        "discharge": 400,
        "capacity": 15_000,
        "nominalCapacity": 15_000,
        "remainingCharge": 9000,
        "stateOfCharge": 0.6,
    }
    assert [battery["power"] for battery in wire["batteries"]] == [-1000, 400]


@pytest.mark.parametrize(
    ("batteries", "soc"),
    [
        # More than the nominal capacity is in it.
        ([(10_000, {"soc": 1.0, "energy_wh": 10_400})], 1),
        ([(10_000, {"energy_wh": 10_400})], 1),
        ([(10_000, {"energy_wh": 2_500})], 0.25),
        ([(10_000, {"soc": 0.5, "energy_wh": 4_000}), (5_000, {"soc": 0.8})], 0.6),
        ([(10_000, {"soc": 0.5}), (5_000, {"energy_wh": 4_000})], 0.6),
        ([(10_000, {"soc": 0.5}), (None, {"soc": 0.8})], 0.65),
        ([(10_000, {"soc": 0.5}), (None, {"energy_wh": 4_000})], None),
        ([(10_000, {"soc": 0.5}), (5_000, {})], None),
    ],
)
def test_batteries_are_as_full_together_as_they_say_themselves(batteries, soc):
    wire = live(*(now(KIND.BATTERY, 0, capacity_wh, **read) for capacity_wh, read in batteries))
    told = wire["battery"].get("stateOfCharge")
    assert told == (None if soc is None else pytest.approx(soc))


watts = st.integers(0, 20_000)


@given(watts, st.integers(-10_000, 10_000), watts, watts, watts, watts)
def test_the_identities_of_the_wire_hold(pv, battery, ev, heat_pump, heater, household):
    total = ev + heat_pump + heater + household
    wire = live(
        now(KIND.PV_INVERTER, -pv),
        now(KIND.BATTERY, battery),
        now(KIND.EV_CHARGING_STATION, ev),
        now(KIND.HEAT_PUMP, heat_pump),
        now(KIND.HEATER, heater),
        now(KIND.GRID_METER, total + battery - pv),
    )
    bought, fed = max(wire["grid"], 0), max(-wire["grid"], 0)
    charge, discharge = wire["battery"]["charge"], wire["battery"]["discharge"]
    assert wire["photovoltaic"] + discharge + bought == wire["totalConsumption"] + charge + fed
    assert wire["totalConsumption"] == (
        wire["consumption"]
        + wire["heatPump"]
        + wire["heating"]
        + wire["evChargingStation"]["power"]
    )
    to_grid = min(fed, pv)
    assert wire["selfConsumption"] == pv - to_grid
    assert wire["selfSupply"] == wire["directConsumption"] + discharge
    parts = ("Household", "HeatPump", "EV", "Heater")
    assert wire["directConsumption"] == sum(wire[f"directConsumption{part}"] for part in parts)
    for rate in ("selfSufficiencyRate", "selfConsumptionRate", "directConsumptionRate"):
        assert 0 <= wire.get(rate, 0) <= 1


@dataclass
class DevicePeriod:
    """One appliance over each of the spans: energies in mWh, levels at the end."""

    appliance: Device
    import_mwh: int | None = None
    export_mwh: int | None = None
    soc: float | None = None
    stored_wh: float | None = None
    temperature_c: float | None = None
    imported_wh: float | None = None


def column(values: Sequence) -> np.ndarray:
    return np.array(list(values), np.float64)


def row(**energies) -> dict:
    return dict.fromkeys(COLUMNS) | energies


def figures_of(rows: Sequence[dict]) -> Figures:
    return Figures.of_floats({name: column(one[name] for one in rows) for name in COLUMNS})


START = datetime(2025, 8, 6, 23, 45, tzinfo=UTC)
LENGTH = {Resolution.QUARTER: timedelta(minutes=15), Resolution.DAY: timedelta(days=1)}


def there(
    capacity_wh: float | None, from_at: datetime = START, until_at: datetime | None = None
) -> Battery:
    until_s = inf if until_at is None else until_at.timestamp()
    return Battery(capacity_wh, from_at.timestamp(), until_s)


def history(
    resolution: Resolution, *rows: dict | None, total: dict | None, devices=(), batteries=()
) -> dict:
    step = LENGTH[resolution]
    known = np.array([number for number, figures in enumerate(rows) if figures], np.int64)
    past = SimpleNamespace(
        spans=[Span(START + step * n, START + step * (n + 1)) for n in range(len(rows))],
        known=known,
        figures=figures_of([figures for figures in rows if figures]),
        total=figures_of([total] if total else []),
        devices=[
            SimpleNamespace(
                appliance=device.appliance,
                known=known,
                columns={
                    name: column([getattr(device, name)] * len(known)) for name in DEVICE_COLUMNS
                },
            )
            for device in devices
        ],
        batteries=batteries,
    )
    return history_to_wire(past, resolution)


NIGHT = row(
    pv_mwh=0,
    pv_to_grid_mwh=0,
    pv_to_load_mwh=0,
    charge_mwh=0,
    discharge_mwh=192_703,
    battery_to_load_mwh=191_519,
    battery_to_grid_mwh=1184,
    import_mwh=1656,
    export_mwh=1184,
    consumption_mwh=193_176,
    household_mwh=193_176,
    heater_mwh=0,
    soc=0.36804,
    imported_wh=3_444_200,
    exported_wh=5_181_500,
)


def test_a_quarter_is_power_at_its_end():
    heater = DevicePeriod(Device(KIND.HEATER), 0, None, temperature_c=59.62)
    wire = history(Resolution.QUARTER, NIGHT, total=NIGHT, devices=[heater])
    (point,) = wire["data"]
    assert point["measuredAt"] == datetime(2025, 8, 7, tzinfo=UTC)
    assert point["battery"] == {
        "charge": 0, "discharge": pytest.approx(770.812), "stateOfCharge": 0.36804
    }  # fmt: skip
    assert point["grid"] == {"feedIn": pytest.approx(4.736), "supply": pytest.approx(6.624)}
    assert point["consumption"] == pytest.approx(772.704)
    assert point["gridMeterReadingPositive"] == 12_399_120_000
    assert point["gridMeterReadingNegative"] == 18_653_400_000
    assert point["selfSufficiencyRate"] == pytest.approx(0.99143, abs=1e-5)
    assert point["selfSupply"] == pytest.approx(770.812)
    assert point["heaters"] == [
        {
            "applianceID": "97af25d0-3791-48cc-857c-14aaac749267",
            "power": 0,
            "temperature": 59.62,
        }
    ]
    for absent in ("heatPump", "evChargingStation", "selfConsumptionRate", "directConsumptionEV"):
        assert absent not in point


def test_the_total_is_energy_over_the_stamps_of_its_points():
    wire = history(Resolution.QUARTER, NIGHT, NIGHT, None, total=NIGHT)
    assert wire["total"]["measuredAt"] == "2025-08-07T00:00:00Z/2025-08-07T00:30:00Z"
    assert wire["total"]["grid"] == {"feedIn": 1.184, "supply": 1.656}
    assert wire["total"]["totalConsumption"] == pytest.approx(193.176)


def test_a_span_of_the_future_has_its_stamp_alone():
    wire = history(Resolution.QUARTER, NIGHT, None, total=NIGHT)
    assert wire["data"][1] == {"measuredAt": datetime(2025, 8, 7, 0, 15, tzinfo=UTC)}


def test_a_day_is_energy_at_its_start():
    wire = history(Resolution.DAY, NIGHT, total=NIGHT)
    (point,) = wire["data"]
    assert point["measuredAt"] == datetime(2025, 8, 6, 23, 45, tzinfo=UTC)
    assert point["grid"] == {"feedIn": 1.184, "supply": 1.656}
    assert wire["total"]["measuredAt"] == "2025-08-06T23:45:00Z/2025-08-06T23:45:00Z"


def test_a_history_without_any_figures_still_has_a_total():
    wire = history(Resolution.DAY, None, total=None)
    assert wire["total"] == {"measuredAt": "2025-08-06T23:45:00Z/2025-08-06T23:45:00Z"}


def test_single_appliances_follow_the_signs_of_the_wire():
    devices = [
        DevicePeriod(Device(KIND.BATTERY, 10_000), 250_000, 0, soc=0.5),
        DevicePeriod(Device(KIND.EV_CHARGING_STATION), 2_750_000, None, imported_wh=99.0),
    ]
    wire = history(
        Resolution.QUARTER, NIGHT, total=NIGHT, devices=devices, batteries=[there(10_000)]
    )
    (point,) = wire["data"]
    assert point["batteries"][0]["power"] == -1000
    assert point["batteries"][0]["remainingCharge"] == 5000
    assert point["battery"]["capacity"] == wire["total"]["battery"]["capacity"] == 10_000
    assert point["evChargingStations"][0]["power"] == 11_000
    assert point["evChargingStations"][0]["readingTotal"] == 99.0


WITHOUT = NIGHT | {"charge_mwh": None, "discharge_mwh": None, "soc": None}


@pytest.mark.parametrize(
    ("batteries", "capacities", "in_all"),
    [
        # A second one comes.
        (
            [there(10_000), there(5_000, START + timedelta(days=2))],
            [10_000] * 2 + [15_000] * 2,
            15_000,
        ),
        # One in another's place, on the second day.
        (
            [
                there(10_000, until_at=START + timedelta(days=1, hours=9)),
                there(8_000, START + timedelta(days=1, hours=11)),
            ],
            [10_000] + [8_000] * 3,
            8_000,
        ),
        # The new one comes a day later: the day tells of the one that was there last.
        (
            [
                there(10_000, until_at=START + timedelta(days=1, hours=9)),
                there(8_000, START + timedelta(days=2)),
            ],
            [10_000] * 2 + [8_000] * 2,
            8_000,
        ),
        # What is not known of one is missing only while it is there.
        (
            [
                there(None, until_at=START + timedelta(days=1)),
                there(8_000),
                there(2_000, START + timedelta(days=3)),
            ],
            [None] + [8_000] * 2 + [10_000],
            10_000,
        ),
    ],
)
def test_the_capacity_is_of_the_batteries_that_were_there(batteries, capacities, in_all):
    wire = history(Resolution.DAY, *[NIGHT] * 4, None, total=NIGHT, batteries=batteries)
    told = [point["battery"].get("capacity") for point in wire["data"][:4]]
    assert told == capacities
    assert [point["battery"].get("nominalCapacity") for point in wire["data"][:4]] == told
    assert wire["total"]["battery"]["capacity"] == in_all


def test_there_is_no_capacity_where_there_is_nothing_of_a_battery():
    batteries = [there(10_000, START + timedelta(days=1), START + timedelta(days=2))]
    days = [WITHOUT, NIGHT, WITHOUT]
    wire = history(Resolution.DAY, *days, total=NIGHT, batteries=batteries)
    told = [point.get("battery", {}).get("capacity") for point in wire["data"]]
    assert told == [None, 10_000, None]
    assert "battery" not in wire["data"][0]
    # Its state of charge is that of the last day on which there was one.
    assert wire["total"]["battery"]["capacity"] == 10_000


def test_what_an_appliance_did_is_told_only_where_the_system_is_known():
    heater = DevicePeriod(Device(KIND.HEATER), 250_000)
    wire = history(Resolution.QUARTER, None, NIGHT, NIGHT, total=NIGHT, devices=[heater])
    assert [point.get("heaters", [{}])[0].get("power") for point in wire["data"]] == [
        None, 1000, 1000
    ]  # fmt: skip
