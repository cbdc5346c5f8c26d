"""Single readings on the wire API: whole thousandths, at most 24 hours, streamed."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient
from rest_framework.test import APIClient

from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance
from measurements.batches import Batch
from measurements.ingest import store_readings
from tests.cast import Cast, make_cast
from tests.measurements.arrivals import store_one

NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
HOUR = "2026-06-15T12:00:00+02:00/2026-06-15T13:00:00+02:00"


@pytest.fixture
def mara(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.mara)
    return client


def readings(client: APIClient, appliance: Appliance, *, interval: str = HOUR) -> list[dict]:
    answer = client.get(address(appliance), {"interval": interval})
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/json"
    return orjson.loads(answer.getvalue())


def address(appliance: Appliance) -> str:
    return f"/api/gateways/{appliance.gateway_id}/appliances/{appliance.pk}/measurements/appliance"


def test_a_meter_counts_import_as_positive(cast, mara):
    store_one(
        cast.grid_meter,
        NOON,
        power_w=-59.25,
        imported_wh=2_053.7,
        exported_wh=3_911_600,
        current_l1_a=0.4,
    )
    assert readings(mara, cast.grid_meter) == [
        {
            "measuredAt": "2026-06-15T10:00:00Z",
            "sumActivePower": -59_250,
            "sumActivePowerReadingPositive": 7_393_320,
            "sumActivePowerReadingNegative": 14_081_760_000,
            "l1Current": 400,
        }
    ]


def test_a_roof_counts_what_it_gives(cast, mara):
    store_one(cast.pv, NOON, power_w=-1512.0)
    (reading,) = readings(mara, cast.pv)
    assert reading == {"measuredAt": "2026-06-15T10:00:00Z", "acActivePower": 1_512_000}


def test_a_battery_tells_its_charge_in_percent(cast, mara):
    store_one(cast.battery, NOON, power_w=853.0, soc=0.77)
    store_one(cast.battery, NOON + timedelta(minutes=1), power_w=-400.0)
    charging, discharging = readings(mara, cast.battery)
    assert charging["acActivePower"] == -853_000
    assert charging["battery"] == {
        "measuredAt": "2026-06-15T10:00:00Z",
        "capacity": 10_000,
        "nominalCapacity": 10_000,
        "stateOfCharge": 77,
        "presentCharge": 853_000,
        "presentDischarge": 0,
    }
    assert discharging["battery"]["presentDischarge"] == 400_000
    assert "stateOfCharge" not in discharging["battery"]


def test_a_station_tells_of_its_plug(cast, mara):
    store_one(cast.evcs, NOON, power_w=7930.4, current_l2_a=11.5, soc=0.5, plug_state=Plug.CHARGING)
    store_one(cast.evcs, NOON + timedelta(minutes=1), power_w=0.0, plug_state=Plug.UNPLUGGED)
    charging, gone = readings(mara, cast.evcs)
    assert charging == {
        "measuredAt": "2026-06-15T10:00:00Z",
        "realPower": 7_930_400,
        "l2Current": 11_500,
        "stateOfCharge": 50,
        "plugState": "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
        "pluggedIn": True,
    }
    assert (gone["realPower"], gone["plugState"], gone["pluggedIn"]) == (0, "UNPLUGGED", False)


@pytest.mark.parametrize("kind", [ApplianceKind.HEAT_PUMP, ApplianceKind.HEATER])
def test_what_heats_tells_its_power(cast, mara, kind):
    Appliance.objects.filter(pk=cast.pv.pk).update(kind=kind, max_power_w=5000)
    store_one(cast.pv, NOON, power_w=1074.932, temperature_c=59.6)
    (reading,) = readings(mara, cast.pv)
    assert reading["power"] == 1_074_932
    assert 59.6 in reading.values()


def test_a_reading_of_an_interval_tells_its_mean(cast, mara):
    store_one(cast.grid_meter, NOON, interval_s=900, import_energy_wh=500.0, export_energy_wh=100.0)
    (reading,) = readings(mara, cast.grid_meter)
    assert reading["sumActivePower"] == 1_600_000


def test_readings_are_those_of_the_interval_in_order(cast, mara):
    for minutes in (60, 30, -1, 0, 59):
        store_one(cast.pv, NOON + timedelta(minutes=minutes), power_w=-float(minutes + 100))
    powers = [reading["acActivePower"] for reading in readings(mara, cast.pv)]
    assert powers == [100_000, 130_000, 159_000]


def test_no_readings_are_an_empty_array(cast, mara):
    assert readings(mara, cast.pv) == []


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ("2026-06-15T00:00:00Z/2026-06-16T00:00:01Z", "24 hours"),
        ("today", "<start>/<end>"),
        ("", "<start>/<end>"),
    ],
)
@pytest.mark.parametrize("what", ["", "/appliance", "/energymanagement"])
def test_what_does_not_fit_is_422_naming_the_field(cast, mara, interval, said, what):
    url = address(cast.pv).removesuffix("/appliance") + what
    answer = mara.get(url, {"interval": interval})
    assert answer.status_code == 422
    (detail,) = answer.json()["details"]
    assert detail.startswith("interval: ")
    assert said in detail


def test_a_local_day_of_25_hours_counts_as_one(cast, mara):
    autumn = "2026-10-25T00:00:00+02:00/2026-10-26T00:00:00+01:00"
    assert readings(mara, cast.pv, interval=autumn) == []


def test_an_appliance_is_found_below_its_own_gateway_alone(cast, mara, cast_admin):
    url = address(cast.pv).replace(str(cast.gateway.pk), str(cast.other_gateway.pk))
    for client in (mara, cast_admin):
        assert client.get(url, {"interval": HOUR}).status_code == 404


@pytest.fixture
def cast_admin(cast: Cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.admin)
    return client


def test_a_day_of_seconds_is_streamed_in_little_memory(cast, mara):
    seconds = 86_400
    at = NOON - timedelta(hours=10)
    batch = Batch.of(
        system_key=cast.pv.system.key,
        appliance_key=cast.pv.key,
        at_ms=at.timestamp() * 1000 + np.arange(seconds) * 1000,
        power_w=-np.arange(seconds) / 100,
    )
    store_readings(batch=batch, now=NOON + timedelta(days=1), history=True)
    interval = f"{at:%Y-%m-%dT%H:%M:%SZ}/{at + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    answer = mara.get(address(cast.pv), {"interval": interval})
    size, count = 0, 0
    tracemalloc.start()
    for part in answer.streaming_content:
        size, count = size + len(part), count + part.count(b"measuredAt")
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == seconds
    assert size > 5_000_000
    assert peak < 4_000_000


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
async def test_an_asgi_server_sends_the_readings_in_parts():
    cast = await sync_to_async(make_cast)()
    for number in range(3):
        await sync_to_async(store_one)(cast.pv, NOON + number * timedelta(minutes=1), power_w=-1.0)
    client = AsyncClient()
    await client.aforce_login(cast.mara)
    answer = await client.get(address(cast.pv), {"interval": HOUR})
    assert answer.is_async
    assert len(orjson.loads(b"".join([part async for part in answer.streaming_content]))) == 3
    # The thread that read has a connection of its own, which would outlive the test.
    await sync_to_async(connections.close_all)()
