"""A cluster's shared limit on the wire API."""

from datetime import timedelta

import pytest

from flexibility.local import DriverLimits, set_driver_limits
from flexibility.models import SharedLimit
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster
from tests.flexibility.asking import as_, read, reading, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)


@pytest.fixture
def garage(driven, now) -> Cluster:
    """The charging station and the battery of Lindenweg 12 in a cluster, both just read."""
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    for one in (driven.evcs, driven.battery):
        Appliance.objects.filter(pk=one.pk).update(cluster=cluster)
        reading(one, now, power_w=0)
    return cluster


@pytest.fixture
def path(garage) -> str:
    return f"clusters/{garage.pk}/limit"


@pytest.fixture
def put(driven, path, now):
    """Sets a limit, by default as the fleet manager."""

    def send(by=None, status=200, **fields):
        body = {"maxPower": 10_000, "invalidAt": wire(now + HOUR), **fields}
        answer = as_(by or driven.fleet).put(f"/api/{path}", body, format="json")
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


def test_a_limit_says_who_has_what_of_it_and_why(driven, garage, path, put, now):
    found = put(strategy="SERIES", order=[str(driven.evcs.pk)])
    assert found == read(as_(driven.fleet), path)
    assert found["clusterID"] == str(garage.pk)
    assert (found["strategy"], found["priority"], found["state"]) == ("SERIES", 3_000, "active")
    assert found["emitter"] == {
        "kind": "accountUser",
        "id": str(driven.fleet.pk),
        "name": str(driven.fleet),
    }
    assert (found["reachable"], found["dividedAt"]) == (True, wire(now))
    assert found["tallies"] == [
        {
            "side": "max",
            "phase": None,
            "limit": 10_000,
            "allotted": 10_000,
            "over": 0,
            "by": [],
            "blind": False,
        }
    ]
    shares = {one["applianceID"]: one for one in found["shares"]}
    assert shares[str(driven.evcs.pk)]["maxPower"] == 10_000
    assert shares[str(driven.evcs.pk)]["minPower"] is None
    assert shares[str(driven.evcs.pk)]["maxReason"] == "strategy"
    assert shares[str(driven.evcs.pk)]["confirmed"] is False
    assert shares[str(driven.battery.pk)]["maxPower"] == 0


@pytest.mark.parametrize("how", ["now", "ahead", "past"])
def test_a_share_says_of_which_limit_it_is_and_why(driven, garage, put, now, monkeypatch, how):
    limit = put(maxPower=6_000, strategy="SERIES", order=[str(driven.evcs.pk)])
    path, client = f"appliances/{driven.evcs.pk}/flexibility", as_(driven.fleet)
    if how == "now":
        told = read(client, path)["constraints"]
    else:
        from_at = now
        if how == "past":
            monkeypatch.setattr(clock, "now", lambda: now + HOUR / 2)
        else:
            from_at = now + HOUR / 4
        query = f"from={wire(from_at)}&until={wire(from_at + HOUR / 4)}"
        told = read(client, f"{path}/timeline?{query}")[0]["constraints"]
    [share] = [one for one in told if one["emitter"]["kind"] == "clusterLimit"]
    assert (share["limitID"], share["clusterID"]) == (limit["id"], str(garage.pk))
    assert share["reason"] == "It decides the greatest power. It has its part of the limit."


def test_what_keeps_it_from_being_reached_is_named(driven, put, now):
    limits = DriverLimits(min_w=11_000, max_w=22_000)
    set_driver_limits(limits={driven.evcs.pk: limits}, now=now)
    found = put()
    assert found["reachable"] is False
    assert found["tallies"][0]["over"] == 1_000
    assert found["tallies"][0]["by"] == [{"applianceID": str(driven.evcs.pk), "power": 11_000}]


def test_each_kind_of_emitter_has_its_own_and_there_is_a_fuse(driven, path, put):
    put()
    put(by=driven.admin, maxPower=9_000)
    put(by=driven.mara, maxPower=8_000)
    put(by=driven.installer, maxPower=20_000, fuse=True, invalidAt=None)
    assert SharedLimit.objects.count() == 3
    seen = {
        person: read(as_(getattr(driven, person)), path)["maxPower"]
        for person in ("fleet", "admin", "mara", "viewer", "installer")
    }
    assert seen == {
        "fleet": 9_000, "admin": 9_000, "mara": 8_000, "viewer": 20_000, "installer": 20_000
    }  # fmt: skip
    assert read(as_(driven.fleet), f"{path}?fuse=true")["fuse"] is True


def test_what_the_wiring_bears_gives_way_to_nobody(put, driven):
    [detail] = put(by=driven.installer, fuse=True, priority=999_999, status=422)["details"]
    assert detail.startswith("priority: From 1000000 to 1999999")


def test_withdrawing_ends_the_callers_own_and_may_be_said_twice(driven, path, put):
    put()
    put(by=driven.installer, fuse=True)
    for _again in range(2):
        assert as_(driven.fleet).delete(f"/api/{path}").status_code == 204
    assert read(as_(driven.fleet), path)["fuse"] is True
    assert as_(driven.fleet).delete(f"/api/{path}?fuse=true").status_code == 403
    assert as_(driven.installer).delete(f"/api/{path}?fuse=true").status_code == 204
    assert as_(driven.fleet).get(f"/api/{path}").status_code == 404


@pytest.mark.parametrize(
    ("person", "may_limit", "may_fuse"),
    [
        ("staff", 200, 200),
        ("admin", 200, 200),
        ("fleet", 200, 403),
        ("mara", 200, 403),
        ("installer", 403, 200),
        ("viewer", 403, 403),
        ("grid_operator", 403, 403),
        ("schmidt", 404, 404),
        ("south_admin", 404, 404),
    ],
)
def test_who_may_limit_and_who_may_set_fuses(driven, put, person, may_limit, may_fuse):
    put(by=getattr(driven, person), status=may_limit)
    put(by=getattr(driven, person), status=may_fuse, fuse=True)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"maxPower": None}, "maxPower"),
        ({"maxPower": -1}, "maxPower"),
        ({"maxPower": "1"}, "maxPower"),
        ({"minPower": 1}, "minPower"),
        ({"phaseMaxPower": [1, 2]}, "phaseMaxPower"),
        ({"phaseMaxPower": [1, 2, -1]}, "phaseMaxPower"),
        ({"strategy": "RANDOMLY"}, "strategy"),
        ({"order": ["d5b6ca1c-50b1-4d4e-8f0a-6d76a4bd8a5d"]}, "order"),
        ({"kinds": [ApplianceKind.GRID_METER.upper()]}, "kinds"),
        ({"priority": 10_000}, "priority"),
        ({"invalidAt": None}, "invalidAt"),
        ({"dynamic": 1}, "dynamic"),
        ({"fuse": "yes"}, "fuse"),
    ],
)
def test_what_makes_no_sense_is_422_with_the_wires_field(put, fields, named):
    [detail, *_rest] = put(status=422, **fields)["details"]
    assert detail.startswith(named)
    assert not SharedLimit.objects.exists()


def test_a_number_that_is_none_names_its_field(driven, path):
    sent = '{"maxPower": NaN, "invalidAt": "2026-06-15T11:00:00Z"}'
    answer = as_(driven.fleet).put(f"/api/{path}", sent, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["details"] == ["maxPower: This is not a number."]


def test_without_a_meter_there_is_no_dynamic_limit(driven, path, now):
    Appliance.objects.filter(pk=driven.grid_meter.pk).update(removed_at=now)
    body = {"maxPower": 1, "invalidAt": wire(now + HOUR), "dynamic": True}
    [detail] = refused(as_(driven.fleet).put(f"/api/{path}", body, format="json"))
    assert detail.startswith("dynamic")


def test_an_id_that_is_sent_is_that_of_the_limit(driven, garage, path, put):
    own = put()["id"]
    assert put(id=own, maxPower=9_000)["id"] == own
    assert put(id=None, maxPower=8_000)["id"] == own
    fuse = put(by=driven.installer, fuse=True)["id"]
    assert put(by=driven.installer, fuse=True, id=fuse, maxPower=20_000)["id"] == fuse
    for other in (fuse, str(garage.pk), "mine", 1):
        [detail] = put(id=other, maxPower=1_000, status=422)["details"]
        assert detail.startswith("id: ")
    assert read(as_(driven.fleet), path)["maxPower"] == 8_000
