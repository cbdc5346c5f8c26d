"""Charging policies on the API: what is set on stations, clusters and systems, and what it does."""

from datetime import timedelta
from uuid import uuid4

import pytest

from accounts.models import AuditEntry
from flexibility.models import ChargingPolicy, Constraint, Flexibility
from gridx import clock
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance, Cluster
from tests.flexibility.asking import as_, read, reading, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)


@pytest.fixture
def station(driven) -> str:
    return f"appliances/{driven.evcs.pk}/charging-policy"


@pytest.fixture
def system(driven) -> str:
    return f"systems/{driven.lindenweg.pk}/charging-policy"


@pytest.fixture
def put(driven, station):
    """Sets a policy, by default of the station, as the fleet manager."""

    def send(by=None, of=station, status=200, **fields):
        answer = as_(by or driven.fleet).put(f"/api/{of}", fields)
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


def test_a_policy_is_told_with_what_it_does_and_why(driven, station, put, now):
    reading(driven.grid_meter, now, power_w=-6_000)
    reading(driven.evcs, now, power_w=0, plug_state=Plug.PLUGGED)
    found = put(mode="minimumAndSurplus")
    [told] = found.pop("stations")
    policy = ChargingPolicy.objects.get()
    assert found == {
        "id": str(policy.pk),
        "applianceID": str(driven.evcs.pk),
        "mode": "minimumAndSurplus",
        "energy": None,
        "departsAt": None,
        "priority": 1_000,
        "validAt": wire(now),
        "invalidAt": None,
        "emitter": {
            "kind": "accountUser", "id": str(driven.fleet.pk), "name": str(driven.fleet)
        },
        "createdAt": wire(now),
    }  # fmt: skip
    assert told == {
        "applianceID": str(driven.evcs.pk),
        "why": "surplus",
        "reason": "Charges with what the sun leaves for it, 6.00\N{NO-BREAK SPACE}kW.",
        "surplusPower": 6_000,
        "sharePower": 6_000,
        "neededPower": None,
        "energyLeft": None,
        "energyMissing": None,
        "reachableAt": None,
        "until": None,
        "askedAt": wire(now),
    }
    assert read(as_(driven.viewer), station)["stations"] == [told]
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 6_000


def test_a_departure_that_is_out_of_reach_is_said_at_once(put, now):
    found = put(mode="departure", energy=60_000, departsAt=wire(now + HOUR))
    assert (found["departsAt"], found["invalidAt"]) == (wire(now + HOUR), wire(now + HOUR))
    [told] = found["stations"]
    assert (told["why"], told["energyMissing"]) == ("unreachable", 38_000)
    assert told["reachableAt"].startswith("2026-06-15T12:43:38")
    assert told["reason"].startswith(
        "Charges as fast as it may, and even so 38\N{NO-BREAK SPACE}kWh"
    )


def test_a_station_tells_of_what_asks_there_wherever_it_was_set(driven, station, system, put, now):
    put(mode="off", validAt=wire(now + HOUR))
    found = read(as_(driven.fleet), station)
    assert (found["applianceID"], found["mode"], found["stations"]) == (
        str(driven.evcs.pk), "off", []
    )  # fmt: skip
    put(of=system, mode="forced", priority=2_000)
    found = read(as_(driven.fleet), station)
    assert "applianceID" not in found
    assert (found["systemID"], found["mode"]) == (str(driven.lindenweg.pk), "forced")
    assert found["stations"][0]["why"] == "forced"


def test_what_is_set_again_replaces_it_and_what_another_kind_set_stays(
    driven, station, put, now, monkeypatch
):
    put(mode="surplus", priority=3_000)
    put(mode="off", priority=2_500)
    put(by=driven.mara, mode="forced")
    assert read(as_(driven.fleet), station)["mode"] == "off"
    assert ChargingPolicy.objects.filter(withdrawn_at=None).count() == 2
    for _again in range(2):
        assert as_(driven.admin).delete(f"/api/{station}").status_code == 204
    assert read(as_(driven.fleet), station)["mode"] == "forced"
    assert as_(driven.staff).delete(f"/api/{station}").status_code == 204
    assert as_(driven.fleet).get(f"/api/{station}").status_code == 404
    assert AuditEntry.objects.filter(verb="constraint_withdrawn").count() == 2


def test_what_is_over_is_not_told_any_more(driven, station, put, now, monkeypatch):
    put(mode="off", invalidAt=wire(now + HOUR))
    monkeypatch.setattr(clock, "now", lambda: now + HOUR)
    assert as_(driven.fleet).get(f"/api/{station}").status_code == 404


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "mode"),
        ({"mode": "sun"}, "mode"),
        ({"mode": ["off"]}, "mode"),
        ({"mode": None}, "mode"),
        ({"mode": "departure", "energy": 1_000}, "departsAt"),
        ({"mode": "departure", "departsAt": "2026-06-16T06:00:00Z"}, "energy"),
        ({"mode": "departure", "departsAt": "2026-06-16T06:00:00", "energy": 1}, "departsAt"),
        ({"mode": "departure", "departsAt": "2026-06-16T06:00:00Z", "energy": 0}, "energy"),
        ({"mode": "off", "energy": 1_000}, "energy"),
        ({"mode": "off", "invalidAt": "2026-06-15T09:00:00Z"}, "invalidAt"),
        ({"mode": "off", "priority": 10_000}, "priority"),
        ({"mode": "off", "priority": -1}, "priority"),
        ({"mode": "off", "priority": 1.5}, "priority"),
    ],
)
def test_what_makes_no_sense_is_422(driven, station, fields, named):
    details = refused(as_(driven.fleet).put(f"/api/{station}", fields))
    assert details[0].startswith(f"{named}: ")
    assert not ChargingPolicy.objects.exists()


def test_a_resident_gives_it_no_more_weight_than_their_wishes(driven, put):
    assert put(by=driven.mara, mode="off", priority=2_999)["emitter"]["kind"] == "localUser"
    put(by=driven.mara, status=422, mode="off", priority=3_000)


def test_what_is_no_charging_station_is_named(driven, now):
    for path, named in (
        (f"appliances/{driven.battery.pk}", "applianceID"),
        (f"systems/{driven.hafenstrasse.pk}", "systemID"),
    ):
        answer = as_(driven.staff).put(f"/api/{path}/charging-policy", {"mode": "off"})
        assert refused(answer)[0].startswith(f"{named}: ")


@pytest.mark.parametrize("person", ["viewer", "installer", "grid_operator"])
def test_who_may_only_look_sets_none(driven, station, put, person):
    put(by=getattr(driven, person), status=403, mode="off")
    assert as_(getattr(driven, person)).delete(f"/api/{station}").status_code == 403
    assert as_(getattr(driven, person)).get(f"/api/{station}").status_code == 404


def test_a_person_is_named_to_those_who_see_them(driven, station, put):
    put(mode="off")
    emitter = read(as_(driven.mara), station)["emitter"]
    assert emitter == {"kind": "accountUser", "id": None, "name": "the fleet manager"}


def test_what_is_out_of_sight_is_404(driven):
    for path in (f"appliances/{uuid4()}", f"clusters/{uuid4()}", f"systems/{driven.lindenweg.pk}"):
        answer = as_(driven.schmidt).put(f"/api/{path}/charging-policy", {"mode": "off"})
        assert answer.status_code == 404


def test_a_cluster_takes_as_many_queries_however_large_it_is(
    driven, put, django_assert_num_queries
):
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    path = f"clusters/{garage.pk}/charging-policy"
    for number in range(1, 4):
        Appliance.objects.create(
            system=driven.lindenweg,
            gateway=driven.gateway,
            cluster=garage,
            local_id=f"evcs-{number}",
            kind=ApplianceKind.EV_CHARGING_STATION,
            name="Car",
        )
        assert len(put(of=path, mode="off")["stations"]) == number
        with django_assert_num_queries(8):
            assert read(as_(driven.fleet), path)["clusterID"] == str(garage.pk)
    assert Constraint.objects.filter(policy__isnull=False, withdrawn_at=None).count() == 3
