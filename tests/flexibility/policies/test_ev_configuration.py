"""The wire's configuration of a charging station is a charging policy of it."""

from datetime import UTC, datetime, timedelta

import pytest
from gridx_connector_api.models.get_gateways_gateway_id_appliances_appliance_id_ev_configuration_response_200 import (  # noqa: E501
    GetGatewaysGatewayIDAppliancesApplianceIDEvConfigurationResponse200 as ConfigurationRead,
)

from flexibility.emitters import emitter_of
from flexibility.models import ChargingPolicy, Flexibility
from flexibility.operations import Draft, set_constraints
from flexibility.policies.asking import apply_policies
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from gridx import clock
from inventory.models import Appliance
from measurements.models import LatestReading
from tests.flexibility.asking import as_, read, reading, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)
CAR = {"minRequestedSoc": 80, "userSoc": 30, "userTotalCapacity": 60_000}


@pytest.fixture
def path(driven) -> str:
    return f"gateways/{driven.gateway.pk}/appliances/{driven.evcs.pk}/ev/configuration"


@pytest.fixture
def send(driven, path):
    """Sets or changes the configuration, by default as the resident."""

    def send(method="post", by=None, status=None, **fields):
        answer = getattr(as_(by or driven.mara), method)(f"/api/{path}", fields)
        expected = status or {"post": 201, "patch": 200}[method]
        assert answer.status_code == expected, answer.content
        return answer.json()

    return send


def test_a_configuration_is_a_policy_of_the_callers_own(driven, path, send, now):
    found = send(chargeMode="SURPLUS_EV")
    policy = ChargingPolicy.objects.get()
    assert (policy.mode, policy.appliance, policy.emitter) == ("surplus", driven.evcs, driven.mara)
    assert found == read(as_(driven.viewer), path)
    assert found == {
        "chargingEnabled": True,
        "chargingRemoteControllable": True,
        "lockEnabled": None,
        "minRequestedSoc": None,
        "departureTimestamp": None,
        "userSoc": None,
        "userTotalCapacity": None,
        "maxPowerCalculated": 0,
        "maxChargePower": None,
        "minChargePower": None,
        "applianceID": str(driven.evcs.pk),
        "createdAt": wire(now),
        "updatedAt": wire(now),
        "reason": "Pauses: nobody knows what the sun leaves; a meter sends no news.",
        "chargeMode": "SURPLUS_EV",
    }


def test_what_is_left_of_its_power_is_what_it_is_told(driven, send, now):
    assert send()["maxPowerCalculated"] == 22_000
    assert send("patch", chargingEnabled=False)["maxPowerCalculated"] == 0
    assert send("patch", chargingEnabled=True)["maxPowerCalculated"] == 22_000
    slower = Draft(set_point_w=6_000, invalid_at=now + HOUR)
    set_constraints(target=driven.evcs, drafts=[slower], emitter=emitter_of(driven.fleet), now=now)
    assert send("patch")["maxPowerCalculated"] == 6_000


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, "forced"),
        ({"chargeMode": "FORCED_EV", "chargingEnabled": None}, "forced"),
        ({"chargeMode": "MIN_EV", "chargingEnabled": True}, "minimum_and_surplus"),
        ({"chargeMode": "MIN_EV", **CAR}, "minimum_and_surplus"),
        ({"chargeMode": "FORCED_EV", "chargingEnabled": False}, "off"),
        ({"chargeMode": "DEPARTURE_TIME_EV", "departureTimestamp": "2026-06-16T05:00:00Z", **CAR},
         "departure"),
    ],
)  # fmt: skip
def test_each_mode_of_the_wire_is_a_mode_of_policies(driven, path, send, fields, mode):
    found = send(**fields)
    assert ChargingPolicy.objects.get(withdrawn_at=None).mode == mode
    assert found["chargingEnabled"] is (mode != "off")
    assert ("chargeMode" in found) is (mode != "off")
    # The typed client reads it, and what was read may be sent again as a change.
    again = send("patch", **ConfigurationRead.from_dict(found).to_dict())
    assert again == found
    assert ChargingPolicy.objects.count() == 1


def test_only_the_time_of_the_day_counts_of_a_departure(send, now):
    for sent, departs_at in (
        ("2026-06-15T20:00:00+02:00", datetime(2026, 6, 15, 18, tzinfo=UTC)),
        ("2020-01-01T07:30:00+01:00", datetime(2026, 6, 16, 6, 30, tzinfo=UTC)),
        ("2030-06-01T12:00:00+02:00", datetime(2026, 6, 16, 10, tzinfo=UTC)),
    ):
        found = send(chargeMode="DEPARTURE_TIME_EV", departureTimestamp=sent, **CAR)
        # In winter and in summer it is the clock at the system that counts.
        shown = departs_at - HOUR if sent.startswith("2020") else departs_at
        assert found["departureTimestamp"] == wire(shown)
        assert ChargingPolicy.objects.get(withdrawn_at=None).energy_wh == 30_000


def test_a_departure_that_is_late_says_when_it_would_be_ready(send, now):
    found = send(chargeMode="DEPARTURE_TIME_EV", departureTimestamp=wire(now + HOUR), **CAR)
    assert found["departureTimestamp"] == wire(now + HOUR)
    assert found["estimatedDepartureTimestamp"].startswith("2026-06-15T11:21:49")
    assert found["reason"].startswith(
        "Charges as fast as it may, and even so 8\N{NO-BREAK SPACE}kWh"
    )


def test_a_departure_that_is_put_off_needs_only_what_is_left(driven, send, now, monkeypatch):
    reading(driven.evcs, now, power_w=0, imported_wh=50_000)
    send(chargeMode="DEPARTURE_TIME_EV", departureTimestamp=wire(now + 2 * HOUR), **CAR)
    LatestReading.objects.update(imported_wh=60_000)
    policy = ChargingPolicy.objects.get()
    apply_policies(system=driven.lindenweg.pk, now=now)
    send("patch", departureTimestamp=wire(now + 3 * HOUR))
    after = ChargingPolicy.objects.get(withdrawn_at=None)
    assert (policy.energy_wh, after.energy_wh) == (30_000, 20_000)
    assert after.departs_at == now + 3 * HOUR


def test_switched_on_again_it_charges_as_before(driven, path, send):
    send(chargeMode="SURPLUS_EV")
    assert send("patch", chargingEnabled=False)["reason"] == "Is switched off."
    assert Flexibility.objects.get(pk=driven.evcs.pk).set_point_w == 0
    assert send("patch", lockEnabled=False)["chargingEnabled"] is False
    assert send("patch", chargingEnabled=True)["chargeMode"] == "SURPLUS_EV"
    send(chargingEnabled=False, by=driven.mara)
    ChargingPolicy.objects.exclude(mode=Mode.OFF).delete()
    assert send("patch", chargingEnabled=True)["chargeMode"] == "FORCED_EV"


def test_what_asks_is_told_wherever_it_was_set(driven, path, send, now):
    set_policy(
        target=driven.lindenweg,
        draft=PolicyDraft(mode=Mode.OFF, priority=3_000),
        emitter=emitter_of(driven.fleet),
        now=now,
    )
    assert read(as_(driven.mara), path)["chargingEnabled"] is False
    # Her own is kept, but gives way.
    own = send(chargeMode="FORCED_EV")
    assert own["chargeMode"] == "FORCED_EV"
    assert own["reason"] == "Waits: others have it do something else."
    assert read(as_(driven.mara), path)["chargingEnabled"] is False


def test_deleting_withdraws_the_callers_own_and_may_be_said_twice(driven, path, send):
    send()
    assert as_(driven.fleet).delete(f"/api/{path}").status_code == 204
    assert read(as_(driven.fleet), path)["chargeMode"] == "FORCED_EV"
    for _again in range(2):
        assert as_(driven.mara).delete(f"/api/{path}").status_code == 204
    assert as_(driven.mara).get(f"/api/{path}").status_code == 404
    send("patch", status=404, chargingEnabled=True)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"chargeMode": "FAST_EV"}, "chargeMode"),
        ({"chargingEnabled": "yes"}, "chargingEnabled"),
        ({"chargeMode": "DEPARTURE_TIME_EV", **CAR}, "departureTimestamp"),
        (
            {"chargeMode": "DEPARTURE_TIME_EV", "departureTimestamp": "2026-06-16T05:00:00Z"},
            "minRequestedSoc",
        ),
        (
            {
                "chargeMode": "DEPARTURE_TIME_EV",
                "departureTimestamp": "2026-06-16T05:00:00Z",
                "minRequestedSoc": 80,
            },
            "minRequestedSoc",
        ),
        (
            {
                "chargeMode": "DEPARTURE_TIME_EV",
                "departureTimestamp": "2026-06-16T05:00:00Z",
                **CAR,
                "userSoc": 80,
            },
            "minRequestedSoc",
        ),
        ({"departureTimestamp": "07:00"}, "departureTimestamp"),
        (
            {"chargeMode": "DEPARTURE_TIME_EV", "departureTimestamp": "9999-12-31T23:59:59Z"},
            "departureTimestamp",
        ),
        ({"minRequestedSoc": 101}, "minRequestedSoc"),
        ({"userTotalCapacity": 0}, "userTotalCapacity"),
        ({"lockEnabled": True}, "lockEnabled"),
        ({"chargingRemoteControllable": False}, "chargingRemoteControllable"),
        ({"maxChargePower": 8_000}, "maxChargePower"),
        ({"minChargePower": 2_070}, "minChargePower"),
        ({"minChargePowerPerPhase": 1_840}, "minChargePowerPerPhase"),
        ({"evProfileID": "6dd0a658-5828-4d30-bc65-a03c6d6e425f"}, "evProfileID"),
    ],
)
def test_what_would_not_be_kept_to_is_422(driven, path, fields, named):
    details = refused(as_(driven.mara).post(f"/api/{path}", fields))
    assert details[0].startswith(f"{named}: ")
    assert not ChargingPolicy.objects.exists()


@pytest.mark.parametrize("person", ["viewer", "installer", "grid_operator"])
def test_who_may_only_look_configures_nothing(driven, path, send, person):
    send(by=getattr(driven, person), status=403)
    send("patch", by=getattr(driven, person), status=403)
    assert as_(getattr(driven, person)).delete(f"/api/{path}").status_code == 403
    assert as_(getattr(driven, person)).get(f"/api/{path}").status_code == 404


def test_only_a_charging_station_of_the_gateway_is_configured(driven, path, now):
    for gateway, appliance in (
        (driven.gateway, driven.battery),
        (driven.other_gateway, driven.evcs),
    ):
        wrong = f"/api/gateways/{gateway.pk}/appliances/{appliance.pk}/ev/configuration"
        assert as_(driven.staff).post(wrong, {}).status_code == 404
    Appliance.objects.filter(pk=driven.evcs.pk).update(removed_at=now)
    assert as_(driven.staff).post(f"/api/{path}", {}).status_code == 404


def test_it_is_read_by_few_queries(driven, path, send, django_assert_num_queries):
    send()
    with django_assert_num_queries(9):
        read(as_(driven.fleet), path)


def test_a_departure_that_has_gone_by_is_not_told_any_more(driven, path, send, now, monkeypatch):
    send(chargeMode="DEPARTURE_TIME_EV", departureTimestamp=wire(now + HOUR), **CAR)
    monkeypatch.setattr(clock, "now", lambda: now + HOUR)
    assert as_(driven.mara).get(f"/api/{path}").status_code == 404
