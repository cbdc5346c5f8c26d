"""What energy management told an appliance, beside what was read of it, on the wire API."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from rest_framework.test import APIClient

from flexibility.models import ResolvedBoundary
from gridx import clock
from inventory.models import Appliance
from tests.measurements.arrivals import store_one
from tests.measurements.test_raw_api import HOUR, NOON


@pytest.fixture
def mara(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.mara)
    return client


def decide(appliance: Appliance, at: datetime, set_point_w: float | None) -> None:
    ResolvedBoundary.objects.create(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        at=at,
        set_point_w=set_point_w,
    )


def ask(
    client: APIClient, appliance: Appliance, what: str = "", interval: str = HOUR
) -> list | dict:
    answer = client.get(
        f"/api/gateways/{appliance.gateway_id}/appliances/{appliance.pk}/measurements{what}",
        {"interval": interval},
    )
    assert answer.status_code == 200, answer.content
    return orjson.loads(answer.getvalue())


def test_energy_management_tells_what_held_at_the_end(cast, mara):
    assert ask(mara, cast.evcs, "/energymanagement") == {}
    decide(cast.evcs, NOON - timedelta(hours=3), 4200.0)
    assert ask(mara, cast.evcs, "/energymanagement") == {
        "measuredAt": "2026-06-15T07:00:00Z",
        "activePowerSetpoint": 4_200_000,
    }
    decide(cast.evcs, NOON + timedelta(minutes=10), None)
    decide(cast.evcs, NOON + timedelta(hours=2), 11_000.0)
    assert ask(mara, cast.evcs, "/energymanagement") == {"measuredAt": "2026-06-15T10:10:00Z"}


def test_nothing_is_told_of_an_interval_that_lies_ahead(cast, mara):
    decide(cast.evcs, NOON - timedelta(hours=3), 4200.0)
    ahead = clock.now() + timedelta(minutes=5)
    interval = f"{ahead.isoformat()}/{(ahead + timedelta(hours=1)).isoformat()}"
    assert ask(mara, cast.evcs, "/energymanagement", interval) == {}


def test_the_set_point_of_a_battery_has_the_sign_of_its_readings(cast, mara):
    decide(cast.battery, NOON, 1500.0)
    told = ask(mara, cast.battery, "/energymanagement")
    assert told["activePowerSetpoint"] == -1_500_000


def test_combined_readings_tell_what_held_when_they_were_read(cast, mara):
    decide(cast.evcs, NOON + timedelta(minutes=1), 4200.0)
    decide(cast.evcs, NOON + timedelta(minutes=2, seconds=30), 7000.0)
    decide(cast.evcs, NOON + timedelta(minutes=2, seconds=40), 8000.0)
    for minute in range(4):
        store_one(cast.evcs, NOON + timedelta(minutes=minute), power_w=1000.0 * minute)
    found = ask(mara, cast.evcs)
    assert [one["realPower"] for one in found] == [0, 1_000_000, 2_000_000, 3_000_000]
    assert "energyManagement" not in found[0]
    assert [one["energyManagement"]["activePowerSetpoint"] for one in found[1:]] == [
        4_200_000, 4_200_000, 8_000_000
    ]  # fmt: skip


def test_what_held_before_the_interval_holds_in_it(cast, mara):
    decide(cast.evcs, datetime(2026, 6, 1, tzinfo=UTC), 4200.0)
    store_one(cast.evcs, NOON, power_w=1000.0)
    (found,) = ask(mara, cast.evcs)
    assert found["energyManagement"]["measuredAt"] == "2026-06-01T00:00:00Z"
