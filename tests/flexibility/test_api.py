"""Flexibilities and constraints on the wire API."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import connection
from rest_framework.test import APIClient

from accounts.access import DIMMING, Role
from accounts.models import AuditEntry, User
from flexibility.emitters import emitter_of
from flexibility.models import Constraint, Flexibility, GatewaySchedule, ResolvedBoundary
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.queries import flexibility_of
from gridx import clock
from inventory.models import Appliance, Cluster, Gateway
from tests.cast import PASSWORD, make_cast
from tests.flexibility.asking import as_, read, reading, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)
ANOTHER = "c0ffee00-0000-4000-8000-000000000000"


@pytest.fixture
def body(now):
    """A constraint as a client sends it: of four hours, unless it says otherwise."""
    return lambda **fields: {"invalidAt": wire(now + 4 * HOUR), **fields}


@pytest.fixture
def post(driven, body):
    """Sends one constraint, by default for the charging station, as the fleet manager."""

    def send(*, by=None, of=None, status=201, **fields):
        path = of or f"appliances/{driven.evcs.pk}/constraints"
        answer = as_(by or driven.fleet).post(f"/api/{path}", body(**fields))
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


@pytest.fixture
def heard(driven, now):
    """The gateway was heard a moment ago."""
    Gateway.objects.filter(pk=driven.gateway.pk).update(contacted_at=now - timedelta(seconds=5))
    return driven


# Flexibility -------------------------------------------------------------------------------------


def test_an_old_reading_tells_nothing_of_now(heard, now):
    reading(heard.evcs, now - timedelta(hours=12), power_w=9_000)
    found = flexibility_of(appliance=heard.evcs, now=now)
    assert (found.is_stale, found.reading.power_w, found.power_w) == (False, 9_000, None)


def test_a_flexibility_tells_state_boundaries_and_set_point(heard, post, now):
    reading(heard.evcs, now - timedelta(seconds=20), power_w=7_200)
    strong = post(maxPower=11_000, priority=5_000)
    asked = post(power=16_000, closest=True)
    weak = post(minPower=12_000, priority=2_500)
    found = read(as_(heard.fleet), f"appliances/{heard.evcs.pk}/flexibility")
    told = {one.pop("id"): one for one in found.pop("constraints")}
    assert found == {
        "applianceID": str(heard.evcs.pk),
        "updatedAt": wire(now),
        "invalidAt": wire(now + timedelta(seconds=175)),
        "stale": False,
        "power": 7_200,
        "energy": None,
        "stateOfCharge": None,
        "measuredAt": wire(now - timedelta(seconds=20)),
        "minPower": 4_140,
        "maxPower": 11_000,
        "canPause": True,
        "minEnergy": None,
        "maxEnergy": None,
        "setPoint": 11_000,
        "setPointAsked": 16_000,
        "setPointState": "pending",
        "setPointAppliedAt": None,
        "applied": None,
    }
    assert told[strong["id"]]["outcome"] == {"power": "binding"}
    assert told[strong["id"]]["reason"] == "It decides the greatest power."
    assert told[asked["id"]]["outcome"] == {"power": "binding"}
    assert told[weak["id"]] == {
        "priority": 2_500,
        "emitter": {
            "kind": "accountUser",
            "id": str(heard.fleet.pk),
            "name": "fleet@north.example",
        },
        "validAt": wire(now),
        "invalidAt": wire(now + 4 * HOUR),
        "outcome": {"power": "discarded"},
        "conflictsWith": [asked["id"]],
        "limitID": None,
        "clusterID": None,
        "reason": (
            "It gives way to the fleet manager (16\N{NO-BREAK SPACE}kW, or as close as allowed,"
            " until Mon 15 Jun, 16:00), which weighs more and leaves it no room."
        ),
    }
    [driver] = [one for one in told.values() if one["emitter"]["kind"] == "driver"]
    assert driver["emitter"] == {"kind": "driver", "id": None, "name": "the appliance itself"}
    assert driver["invalidAt"] is None


def test_of_two_that_weigh_the_same_the_newer_is_said_to_be_newer(heard, post, now, monkeypatch):
    older = post(by=heard.mara, maxPower=1_000)
    monkeypatch.setattr("gridx.clock.now", lambda: now + timedelta(seconds=1))
    post(by=heard.mara, power=9_000)
    found = read(as_(heard.mara), f"appliances/{heard.evcs.pk}/flexibility")
    told = {one["id"]: one["reason"] for one in found["constraints"]}
    assert told[older["id"]] == (
        "It gives way to the resident (exactly 9\N{NO-BREAK SPACE}kW, until Mon 15 Jun, 16:00):"
        " that weighs the same, but was set later."
    )


def test_what_nobody_limits_is_open_and_never_zero(cast, now):
    found = read(as_(cast.mara), f"appliances/{cast.pv.pk}/flexibility")
    sides = {name: found[name] for name in ("minPower", "maxPower", "minEnergy", "maxEnergy")}
    assert set(sides.values()) == {None}
    assert (found["setPoint"], found["setPointState"], found["constraints"]) == (None, None, [])
    assert (found["power"], found["measuredAt"]) == (None, None)


def test_a_gateway_that_is_not_heard_leaves_its_appliances_stale(heard, now):
    assert read(as_(heard.mara), f"appliances/{heard.evcs.pk}/flexibility")["stale"] is False
    Gateway.objects.filter(pk=heard.gateway.pk).update(contacted_at=now - HOUR)
    found = read(as_(heard.mara), f"appliances/{heard.evcs.pk}/flexibility")
    assert found["stale"] is True
    assert found["invalidAt"] < wire(now)


def test_a_set_point_is_applied_when_its_gateway_says_so(heard, post, now):
    post(power=9_000)
    GatewaySchedule.objects.update(
        published_revision=1, published_at=now, acknowledged_revision=1, acknowledged_at=now
    )
    station = Flexibility.objects.filter(pk=heard.evcs.pk)
    station.update(applied_at=now, applied_revision=1, applied_set_point_w=9_000)
    path = f"appliances/{heard.evcs.pk}/flexibility"
    found = read(as_(heard.fleet), path)
    assert (found["setPointState"], found["setPointAppliedAt"]) == ("applied", wire(now))
    assert found["applied"] == {
        "at": wire(now),
        "minPower": None,
        "maxPower": None,
        "setPoint": 9_000,
        "failSafe": False,
    }
    # What it said was about what held before a boundary passed.
    station.update(applied_at=now - HOUR, applied_set_point_w=None)
    assert read(as_(heard.fleet), path)["setPointState"] == "sent"


def test_who_set_a_constraint_is_named_to_those_who_see_them(driven, post):
    post(by=driven.mara, maxPower=11_000)
    post(by=driven.fleet, maxPower=12_000)
    post(by=driven.staff, maxPower=13_000)
    path = f"appliances/{driven.evcs.pk}/flexibility"

    def named(user: User) -> dict:
        told = [one["emitter"] for one in read(as_(user), path)["constraints"]]
        return {one["kind"]: (one["id"], one["name"]) for one in told}

    hidden = {"accountUser": (None, "the fleet manager"), "operator": (None, "staff")}
    mara, fleet = (str(driven.mara.pk), "Mara Meyer"), (str(driven.fleet.pk), "fleet@north.example")
    assert named(driven.mara).items() >= (hidden | {"localUser": mara}).items()
    assert named(driven.fleet)["localUser"] == mara
    assert named(driven.fleet)["accountUser"] == fleet
    assert named(driven.grid_operator)["localUser"] == (None, "the resident")


def test_reasons_speak_the_clients_language(driven, post):
    post(maxPower=11_000)
    path = f"/api/appliances/{driven.evcs.pk}/flexibility"
    found = as_(driven.fleet).get(path, headers={"accept-language": "de"}).json()
    reasons = [one["reason"] for one in found["constraints"]]
    assert "Bestimmt die größte Leistung." in reasons


def test_a_systems_flexibilities_are_those_of_its_appliances(driven, now):
    Appliance.objects.filter(pk=driven.pv.pk).update(removed_at=now)
    found = read(as_(driven.mara), f"systems/{driven.lindenweg.pk}/flexibilities")
    ids = [str(one.pk) for one in (driven.grid_meter, driven.battery, driven.evcs)]
    assert [one["applianceID"] for one in found] == ids
    assert found[2] == read(as_(driven.mara), f"appliances/{driven.evcs.pk}/flexibility")


def test_flexibilities_come_in_pages(driven):
    url = f"/api/systems/{driven.lindenweg.pk}/flexibilities?per_page=3&page=2"
    answer = as_(driven.mara).get(url)
    assert [one["applianceID"] for one in answer.json()] == [str(driven.evcs.pk)]
    assert answer["X-Total-Count"] == "4"


# Timelines ---------------------------------------------------------------------------------------


def test_a_timeline_reaches_from_now_over_two_days(driven, post, now):
    limit = post(maxPower=11_000, validAt=wire(now + HOUR))
    segments = read(as_(driven.fleet), f"appliances/{driven.evcs.pk}/flexibility/timeline")
    assert [(one["from"], one["until"], one["maxPower"]) for one in segments] == [
        (wire(now), wire(now + HOUR), 22_000),
        (wire(now + HOUR), wire(now + 4 * HOUR), 11_000),
        (wire(now + 4 * HOUR), wire(now + 48 * HOUR), 22_000),
    ]
    first, during, _after = segments
    assert {one["emitter"]["kind"] for one in first["constraints"]} == {"driver"}
    [told] = [one for one in during["constraints"] if one["id"] == limit["id"]]
    assert told["outcome"] == {"power": "binding"}
    assert told["emitter"] == limit["emitter"]
    assert (told["validAt"], told["invalidAt"]) == (limit["validAt"], limit["invalidAt"])
    assert set(during) - {"from", "until", "constraints"} == {
        "minPower", "maxPower", "canPause", "minEnergy", "maxEnergy", "setPoint"
    }  # fmt: skip


def test_the_past_is_told_as_it_was_known_then(driven, now, monkeypatch):
    """A limit that was withdrawn half-way still stands in the past."""
    emitter = emitter_of(driven.fleet)
    draft = Draft(max_w=11_000, invalid_at=now + 4 * HOUR)
    [row] = set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter, now=now)
    withdraw_constraint(constraint=row, by=emitter, now=now + 2 * HOUR)
    monkeypatch.setattr(clock, "now", lambda: now + 3 * HOUR)
    interval = f"{wire(now - HOUR)}/{wire(now + 5 * HOUR)}"
    path = f"appliances/{driven.evcs.pk}/flexibility/timeline?interval={interval}"
    segments = read(as_(driven.fleet), path)
    assert [(one["from"], one["maxPower"]) for one in segments] == [
        (wire(now - HOUR), None),
        (wire(now), 11_000),
        (wire(now + 2 * HOUR), 22_000),
        (wire(now + 3 * HOUR), 22_000),
    ]
    [told] = [one for one in segments[1]["constraints"] if one["id"] == str(row.pk)]
    assert told["outcome"] == {"power": "binding"}
    assert told["emitter"]["name"] == "fleet@north.example"


@pytest.mark.parametrize(
    "interval",
    [
        "2026-06-15T00:00:00Z",
        "2026-06-15T00:00:00/2026-06-16T00:00:00",
        "2026-06-16T00:00:00Z/2026-06-15T00:00:00Z",
        "2026-06-01T00:00:00Z/2026-07-02T00:00:01Z",
        "nonsense/nonsense",
    ],
)
def test_an_interval_that_makes_no_sense_or_is_too_long_is_422(driven, interval):
    path = f"/api/appliances/{driven.evcs.pk}/flexibility/timeline?interval={interval}"
    answer = as_(driven.fleet).get(path)
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith("interval: ")


def test_an_interval_may_be_31_days_and_its_offset_unescaped(driven):
    interval = "2026-06-01T00:00:00+02:00/2026-07-02T00:00:00+02:00"
    read(as_(driven.fleet), f"appliances/{driven.evcs.pk}/flexibility/timeline?interval={interval}")


# Setting constraints -----------------------------------------------------------------------------


def test_one_object_sets_one_constraint(driven, post, now):
    found = post(maxPower=11_000.5, minPower=None, power=8_000, closest=True, priority=4_000)
    row = Constraint.objects.get(pk=found["id"])
    assert found == {
        "id": str(row.pk),
        "applianceID": str(driven.evcs.pk),
        "power": 8_000,
        "closest": True,
        "minPower": None,
        "maxPower": 11_000.5,
        "minEnergy": None,
        "maxEnergy": None,
        "priority": 4_000,
        "validAt": wire(now),
        "invalidAt": wire(now + 4 * HOUR),
        "emitter": {
            "kind": "accountUser",
            "id": str(driven.fleet.pk),
            "name": "fleet@north.example",
        },
        "createdAt": wire(now),
        "state": "active",
    }
    assert read(as_(driven.fleet), f"constraints/{row.pk}") == found
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 11_000.5


def test_an_offset_is_turned_into_utc(post, now):
    berlin = (now + 2 * HOUR).isoformat().replace("12:00:00+00:00", "14:00:00+02:00")
    assert post(maxPower=1, invalidAt=berlin)["invalidAt"] == wire(now + 2 * HOUR)


def test_an_array_sets_all_or_none(driven, body):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.fleet).post(path, [body(maxPower=8_000), body(minPower=5_000)])
    assert answer.status_code == 201
    assert [one["maxPower"] for one in answer.json()] == [8_000, None]
    before = Constraint.objects.count()
    answer = as_(driven.fleet).post(path, [body(maxPower=9_000), body(minPower=9, maxPower=8)])
    assert answer.status_code == 422
    assert answer.json()["details"] == ["1.minPower: The least power is above the greatest."]
    assert Constraint.objects.count() == before


def test_a_known_id_replaces_the_constraint(driven, post, now):
    identity = str(uuid4())
    assert post(id=identity, maxPower=11_000)["id"] == identity
    post(id=identity, maxPower=8_000)
    assert Constraint.objects.get(pk=identity).max_w == 8_000
    post(id=identity, maxPower=8_000, by=driven.mara, status=422)
    post(id=identity, maxPower=8_000, of=f"appliances/{driven.battery.pk}/constraints", status=422)


@pytest.mark.django_db(transaction=True)
def test_who_send_the_same_ids_at_the_same_moment_are_all_answered(body):
    cast, ids, barrier = make_cast(), [str(uuid4()) for _ in range(20)], Barrier(4)

    def send(number: int) -> int:
        # Every other one in the opposite order, so that they would wait for each other.
        sent = [body(id=each, maxPower=9_000 + number) for each in ids[:: (-1) ** number]]
        barrier.wait()
        try:
            path = f"/api/appliances/{cast.evcs.pk}/constraints"
            return as_(cast.fleet).post(path, sent).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for _round in range(2):
            assert list(pool.map(send, range(4))) == [201] * 4
    standing = Constraint.objects.filter(withdrawn_at=None)
    assert standing.count() == 20
    assert len(set(standing.values_list("max_w", flat=True))) == 1


@pytest.mark.parametrize("count", [0, 51])
def test_an_array_has_1_to_50(driven, body, count):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.fleet).post(path, [body(maxPower=1)] * count)
    assert answer.status_code == 422
    assert answer.json()["details"] == ["constraints: From 1 to 50 at once."]


def test_fifty_at_once_are_set(driven, body):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.fleet).post(path, [body(maxPower=9_000 + number) for number in range(50)])
    assert answer.status_code == 201
    assert len(answer.json()) == 50


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "maxPower"),
        ({"maxPower": 1, "invalidAt": None}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15T10:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15T14:00:00"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": 1_781_524_800}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2027-07-21T10:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "9999-12-31T23:59:59-23:00"}, "invalidAt"),
        ({"maxPower": 1, "validAt": "0001-01-01T00:00:00+14:00"}, "validAt"),
        ({"maxPower": 1, "validAt": "0001-01-01T00:00:00Z"}, "validAt"),
        ({"maxPower": 1, "validAt": "1999-12-31T23:59:59Z"}, "validAt"),
        ({"maxPower": 1, "validAt": "2201-01-01T00:00:00Z"}, "validAt"),
        ({"maxPower": 1, "validAt": "soon"}, "validAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15T14:00:00\0Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15T14:00:00 Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15T14:00:00Z\n"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15\U0001f69714:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-31T14:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "2026-06-15T25:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "invalidAt": "２０２６-06-15T14:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "validAt": "2026-06-15T15:00:00Z"}, "invalidAt"),
        ({"maxPower": 1, "minPower": 2}, "minPower"),
        ({"maxPower": 1, "power": 2}, "power"),
        ({"maxEnergy": 1, "minEnergy": 2}, "minEnergy"),
        ({"maxPower": "1"}, "maxPower"),
        ({"maxPower": True}, "maxPower"),
        ({"maxPower": [1]}, "maxPower"),
        ({"maxPower": {"W": 1}}, "maxPower"),
        ({"maxPower": 10**400}, "maxPower"),
        ({"maxPower": float("nan")}, "maxPower"),
        ({"minEnergy": float("-inf")}, "minEnergy"),
        ({"maxPower": 1, "priority": 10**30}, "priority"),
        ({"maxPower": 1, "priority": -1}, "priority"),
        ({"maxPower": 1, "priority": 10_000}, "priority"),
        ({"maxPower": 1, "priority": 2_147_483_647}, "priority"),
        ({"maxPower": 1, "priority": "3000"}, "priority"),
        ({"maxPower": 1, "priority": 1.5}, "priority"),
        ({"maxPower": 1, "priority": True}, "priority"),
        ({"power": 1, "closest": "yes"}, "closest"),
        ({"power": 1, "closest": 1}, "closest"),
        ({"maxPower": 1, "id": "abc"}, "id"),
        ({"maxPower": 1, "id": 7}, "id"),
        ({"maxPower": 1, "id": 10**60}, "id"),
        ({"maxPower": 1, "kinds": ["BATTERY"]}, "kinds"),
        ({"maxPower": 9_000, "maxpower": 5}, "maxpower"),
        ({"maxPower": 9_000, "prority": 9_999}, "prority"),
        ({"maxPower": 9_000, "applianceID": ANOTHER}, "applianceID"),
        ({"maxPower": 9_000, "clusterID": ANOTHER}, "clusterID"),
    ],
)
def test_what_does_not_fit_is_422_naming_the_wires_field(driven, body, fields, named):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    before = Constraint.objects.count()
    for query in ("", "?dryRun=true"):
        for sent, place in ((body(**fields), ""), ([body(maxPower=1), body(**fields)], "1.")):
            answer = as_(driven.fleet).post(
                path + query, json.dumps(sent), content_type="application/json"
            )
            assert answer.status_code == 422, answer.content
            assert answer.json()["details"][0].startswith(f"{place}{named}: ")
    assert Constraint.objects.count() == before


@pytest.mark.parametrize(
    "end",
    [
        "2026-06-15T14:00Z",
        "2026-06-15T14:00:00.000000000Z",
        "2026-06-15T16:00:00,0+02:00",
        "2026-06-15T16:00:00+0200",
    ],
)
def test_an_instant_may_be_written_as_iso_8601_has_it(post, end):
    assert post(maxPower=1, invalidAt=end)["invalidAt"] == "2026-06-15T14:00:00Z"


@pytest.mark.parametrize(
    ("name", "told"), [("maxpower", "maxpower"), ("a.b", "a.b"), (r"\u00fc", "ü"), (r"\ud800", "?")]
)
def test_an_unknown_field_is_named_whatever_it_is_called(driven, name, told):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    sent = f'{{"maxPower": 1, "{name}": 5}}'
    answer = as_(driven.fleet).post(path, sent, content_type="application/json")
    assert refused(answer) == [f"{told}: There is no such field."]


def test_what_was_read_can_be_sent_again_as_it_is(driven, post):
    sent = post(maxPower=9_000)
    again = post(**sent | {"maxPower": 8_000})
    assert again == sent | {"maxPower": 8_000}


@pytest.mark.parametrize(
    ("field", "value"),
    [("maxpower", 5), ("clusterID", ANOTHER), ("applianceID", ANOTHER), ("systemID", ANOTHER)],
)
def test_limits_and_policies_pass_over_nothing_that_was_sent(driven, now, field, value):
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Car park")
    end = wire(now + HOUR)
    for path, sent in (
        (f"clusters/{cluster.pk}/limit", {"maxPower": 1, "invalidAt": end}),
        (f"clusters/{cluster.pk}/charging-policy", {"mode": "off"}),
        (f"appliances/{driven.evcs.pk}/charging-policy", {"mode": "off"}),
        (f"systems/{driven.lindenweg.pk}/charging-policy", {"mode": "off"}),
    ):
        [told] = refused(as_(driven.fleet).put(f"/api/{path}", {**sent, field: value}))
        assert told.startswith(f"{field}: "), path


def test_a_body_may_repeat_what_the_address_names(driven, now):
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Car park")
    limit = {"maxPower": 1_000, "invalidAt": wire(now + HOUR), "clusterID": str(cluster.pk)}
    policy = {"mode": "off", "applianceID": str(driven.evcs.pk)}
    client = as_(driven.fleet)
    assert client.put(f"/api/clusters/{cluster.pk}/limit", limit).status_code == 200
    path = f"/api/appliances/{driven.evcs.pk}/charging-policy"
    assert client.put(path, policy).status_code == 200


def test_groups_name_a_field_that_they_do_not_have(driven):
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Car park")
    answer = as_(driven.fleet).patch(f"/api/clusters/{cluster.pk}", {"nmae": "Garage"})
    assert refused(answer) == ["nmae: There is no such field."]


def test_an_instant_of_another_age_is_422_of_whatever_is_set(driven, now):
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Car park")
    age, end = "0001-01-01T00:00:00Z", wire(now + HOUR)
    for path, sent in (
        (f"clusters/{cluster.pk}/limit", {"maxPower": 1, "strategy": "EQUALLY"}),
        (f"clusters/{cluster.pk}/charging-policy", {"mode": "off"}),
        (f"appliances/{driven.evcs.pk}/charging-policy", {"mode": "off"}),
    ):
        answer = as_(driven.fleet).put(f"/api/{path}", {**sent, "validAt": age, "invalidAt": end})
        assert answer.status_code == 422, answer.content
        assert answer.json()["details"] == ["validAt: This is not in the years 2000 to 2200."]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400])
def test_a_number_that_is_none_is_422_and_never_breaks(driven, number):
    sent = f'{{"maxPower": {number}, "invalidAt": "2026-06-15T11:00:00Z"}}'
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.fleet).post(path, sent, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["details"] == ["maxPower: This is not a number."]


@pytest.mark.parametrize("sent", ["5", '"text"', "null", "[5]", "[null]", "[[]]"])
def test_a_body_that_is_no_object_is_422(driven, sent):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.fleet).post(path, sent, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["details"]


def test_what_is_no_json_is_400(driven):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.fleet).post(path, "{", content_type="application/json")
    assert answer.status_code == 400


def test_refusals_speak_the_clients_language(driven, body):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    german = {"accept-language": "de"}
    answer = as_(driven.fleet).post(path, body(maxPower=1, minPower=2), headers=german)
    reason = "Die kleinste Leistung liegt über der größten."
    assert answer.json()["details"] == [f"minPower: {reason}"]


def test_a_removed_appliance_takes_no_constraints(driven, post, now):
    Appliance.objects.filter(pk=driven.evcs.pk).update(removed_at=now)
    assert post(maxPower=1, status=422)["details"] == ["applianceID: This appliance was removed."]


def test_two_hundred_and_fifty_may_stand(driven, body):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    many = [body(maxPower=9_000)] * 50
    for _round in range(5):
        assert as_(driven.fleet).post(path, many).status_code == 201
    answer = as_(driven.fleet).post(path, body(maxPower=9_000))
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith("constraints: ")


# Who asks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "kind", "priority"),
    [
        ("mara", "localUser", 2_000),
        ("fleet", "accountUser", 3_000),
        ("admin", "accountUser", 3_000),
        ("staff", "operator", 50_000),
    ],
)
def test_the_emitter_follows_from_who_asks_and_not_from_the_body(
    driven, post, person, kind, priority
):
    sent = {"kind": "driver", "id": str(uuid4()), "name": "Nobody"}
    found = post(by=getattr(driven, person), maxPower=11_000, emitter=sent)
    assert (found["emitter"]["kind"], found["priority"]) == (kind, priority)
    assert found["emitter"]["id"] == str(getattr(driven, person).pk)


@pytest.mark.parametrize("emitter", [5, "localUser", None, [], {"kind": 5}, {"kind": ["x"]}, {}])
def test_whatever_else_a_body_says_of_the_emitter_is_ignored(post, emitter):
    assert post(maxPower=11_000, emitter=emitter)["emitter"]["kind"] == "accountUser"


@pytest.mark.parametrize("person", ["viewer", "installer", "grid_operator"])
def test_who_may_only_look_is_403(driven, post, person):
    assert post(by=getattr(driven, person), maxPower=1, status=403)["message"]
    # Before anything is said of the body.
    assert post(by=getattr(driven, person), maxPower="x", status=403)["message"]


@pytest.mark.parametrize("person", ["schmidt", "south_admin"])
def test_who_does_not_see_the_appliance_is_404(driven, post, person):
    assert post(by=getattr(driven, person), maxPower=1, status=404)["message"]


@pytest.fixture
def at_home(driven) -> User:
    """An account admin who lives at Lindenweg 12: bound to the customer itself."""
    return User.objects.create(
        email="boss@meyer.example", account=driven.meyers, role=Role.ACCOUNT_ADMIN
    )


def test_an_account_user_may_ask_to_act_as_the_resident_where_they_live(driven, post, at_home):
    assert post(by=at_home, maxPower=9_000)["emitter"]["kind"] == "accountUser"
    asked = post(by=at_home, maxPower=9_000, emitter={"kind": "localUser"})
    assert (asked["emitter"]["kind"], asked["priority"]) == ("localUser", 2_000)
    refused = post(by=driven.fleet, maxPower=9_000, emitter={"kind": "localUser"}, status=422)
    assert "emitter" in str(refused)
    viewer = User.objects.create(email="v@meyer.example", account=driven.meyers, role=Role.VIEWER)
    post(by=viewer, maxPower=9_000, emitter={"kind": "localUser"}, status=403)


def test_who_acts_as_the_resident_withdraws_as_such(post, at_home):
    asked = post(by=at_home, maxPower=9_000, emitter={"kind": "localUser"})
    assert as_(at_home).delete(f"/api/constraints/{asked['id']}").status_code == 204


def test_an_array_is_the_residents_where_all_of_it_asks_to_be(driven, at_home, body):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    local = body(maxPower=9_000, emitter={"kind": "localUser"})
    for sent, kind in (([local, local], "localUser"), ([local, body(maxPower=1)], "accountUser")):
        found = as_(at_home).post(path, sent).json()
        assert {one["emitter"]["kind"] for one in found} == {kind}


@pytest.mark.parametrize(
    ("scope", "status"), [(f"openid {DIMMING}", 201), ("openid email", 403), (None, 403)]
)
def test_a_grid_operator_dims_by_the_scope_of_its_token_alone(cast, scope, status):
    cache.clear()
    client = APIClient()
    sign_in = {
        "grant_type": "http://auth0.com/oauth/grant-type/password-realm",
        "username": "grid@operator.example",
        "password": PASSWORD,
        "client_id": "any",
        "scope": scope,
    }
    tokens = client.post("/api/oauth/token", sign_in).json()
    limit = {"maxPower": 4_200, "invalidAt": wire(clock.now() + HOUR)}
    for name in ("access_token", "id_token"):
        headers = {"authorization": f"Bearer {tokens[name]}"}
        path = f"/api/appliances/{cast.evcs.pk}/constraints"
        answer = client.post(path, limit, headers=headers)
        assert answer.status_code == status, answer.content
    if status == 201:
        assert answer.json()["emitter"]["kind"] == "gridOperator"
        assert answer.json()["priority"] == 100_000
        for asked in ({"minPower": 1}, {"power": 0}, {"maxPower": -1}):
            answer = client.post(path, {**limit, "maxPower": None, **asked}, headers=headers)
            assert answer.status_code == 422
            [reason] = answer.json()["details"]
            assert "A grid operator limits" in reason
        policy = f"/api/appliances/{cast.evcs.pk}/charging-policy"
        assert client.put(policy, {"mode": "forced"}, headers=headers).status_code == 403
        path = f"/api/appliances/{cast.other_meter.pk}/constraints"
        assert client.post(path, limit, headers=headers).status_code == 404


def test_a_session_needs_its_token_against_forgery(driven, body):
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(driven.fleet)
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    assert browser.post(path, body(maxPower=1)).status_code == 403
    assert not Constraint.objects.filter(emitter=driven.fleet).exists()


# Dry runs ----------------------------------------------------------------------------------------


def try_out(client: APIClient, appliance: Appliance, sent) -> dict:
    answer = client.post(f"/api/appliances/{appliance.pk}/constraints?dryRun=true", sent)
    assert answer.status_code == 200, answer.content
    return answer.json()


def kept() -> list:
    models = (Constraint, ResolvedBoundary, AuditEntry, GatewaySchedule, Flexibility)
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_a_dry_run_tells_before_and_after_and_stores_nothing(driven, post, body, now):
    standing = post(maxPower=11_000)
    before = kept()
    found = try_out(as_(driven.fleet), driven.evcs, body(maxPower=6_000, validAt=wire(now + HOUR)))
    assert kept() == before
    assert set(found) == {"before", "after", "constraints", "movedShares", "brokenLimits"}
    assert [(one["from"], one["maxPower"]) for one in found["before"]] == [
        (wire(now), 11_000),
        (wire(now + 4 * HOUR), 22_000),
    ]
    assert [(one["from"], one["maxPower"]) for one in found["after"]] == [
        (wire(now), 11_000),
        (wire(now + HOUR), 6_000),
        (wire(now + 4 * HOUR), 22_000),
    ]
    told = {one["id"]: one for one in found["constraints"]}
    assert told.pop(standing["id"])["outcome"] == {"power": "redundant"}
    outcomes = {one["emitter"]["kind"]: one["outcome"] for one in told.values()}
    assert outcomes == {"driver": {"power": "binding"}, "accountUser": {"power": "binding"}}
    [new] = [one for one in told.values() if one["emitter"]["kind"] == "accountUser"]
    assert new["emitter"]["id"] == str(driven.fleet.pk)


def test_a_dry_run_says_who_loses(driven, post, body):
    dimmed = post(by=driven.staff, maxPower=6_000)
    [lost] = [
        one
        for one in try_out(as_(driven.mara), driven.evcs, body(power=11_000))["constraints"]
        if one["emitter"]["kind"] == "localUser"
    ]
    assert lost["outcome"] == {"power": "discarded"}
    assert lost["conflictsWith"] == [dimmed["id"]]
    assert lost["reason"].startswith("It gives way to staff")


def test_a_dry_run_of_one_that_begins_later_says_so(driven, body, now):
    sent = body(maxPower=6_000, validAt=wire(now + 60 * HOUR), invalidAt=wire(now + 61 * HOUR))
    found = try_out(as_(driven.fleet), driven.evcs, sent)
    assert found["before"] == found["after"]
    outcomes = [one["outcome"] for one in found["constraints"]]
    assert outcomes == [{"power": "scheduled"}]


def test_a_dry_run_replaces_the_one_with_its_id(driven, post, body):
    standing = post(maxPower=6_000)
    found = try_out(as_(driven.fleet), driven.evcs, [body(id=standing["id"], maxPower=9_000)])
    assert found["before"][0]["maxPower"] == 6_000
    assert found["after"][0]["maxPower"] == 9_000
    assert Constraint.objects.get(pk=standing["id"]).max_w == 6_000


def test_a_dry_run_refuses_what_would_be_refused(driven, post, body):
    taken = post(maxPower=6_000)["id"]
    path = f"/api/appliances/{driven.battery.pk}/constraints?dryRun=true"
    answer = as_(driven.fleet).post(path, body(id=taken, maxPower=1))
    assert answer.status_code == 422
    assert answer.json()["details"] == ["id: This id belongs to another one."]
    for person in (driven.viewer, driven.installer):
        assert as_(person).post(path, body(maxPower=1)).status_code == 403


@pytest.mark.parametrize("said", ["perhaps", "yes", "", " "])
def test_what_is_neither_a_dry_run_nor_none_is_422_and_stores_nothing(driven, body, said):
    before = Constraint.objects.count()
    path = f"/api/appliances/{driven.evcs.pk}/constraints?dryRun={said}"
    answer = as_(driven.fleet).post(path, body(maxPower=1))
    assert answer.status_code == 422
    assert answer.json()["details"] == ["dryRun: is true or false"]
    assert Constraint.objects.count() == before


@pytest.mark.parametrize("name", ["dryrun", "dry_run", "dryRun[]", "dryRun ", "what"])
def test_a_parameter_that_is_not_known_is_refused_and_nothing_stored(driven, body, name):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    answer = as_(driven.staff).post(f"{path}?{urlencode({name: 'true'})}", body(maxPower=7_000))
    assert answer.status_code == 422
    assert answer.json()["details"] == [f"{name}: is no parameter of this"]
    assert as_(driven.staff).post(f"{path}?dryRun=true&dryRun=false", body()).status_code == 422
    assert not Constraint.objects.exclude(emitter_kind="driver").exists()


# Reading and withdrawing -------------------------------------------------------------------------


@pytest.fixture
def of_each_state(driven, post, now) -> dict[str, str]:
    """A constraint in each state, by its state."""
    past = emitter_of(driven.fleet)
    drafts = [Draft(max_w=9_000, invalid_at=now - HOUR)]
    [over] = set_constraints(target=driven.evcs, drafts=drafts, emitter=past, now=now - 2 * HOUR)
    ids = {
        "active": post(maxPower=9_000)["id"],
        "scheduled": post(maxPower=9_000, validAt=wire(now + HOUR))["id"],
        "expired": str(over.pk),
        "withdrawn": post(maxPower=9_000)["id"],
    }
    as_(driven.fleet).delete(f"/api/constraints/{ids['withdrawn']}")
    return ids


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("", {"active", "scheduled"}),
        ("?state=", {"active", "scheduled"}),
        ("?state=active", {"active"}),
        ("?state=scheduled", {"scheduled"}),
        ("?state=expired", {"expired"}),
        ("?state=withdrawn", {"withdrawn"}),
        ("?state=all", {"active", "scheduled", "expired", "withdrawn"}),
    ],
)
def test_constraints_are_listed_by_their_state(driven, of_each_state, query, states):
    found = read(as_(driven.viewer), f"appliances/{driven.evcs.pk}/constraints{query}")
    own = [one for one in found if one["emitter"]["kind"] != "driver"]
    assert {one["state"]: one["id"] for one in own} == {
        state: of_each_state[state] for state in states
    }
    assert len(own) == len(states)


def test_an_unknown_state_is_422(driven):
    answer = as_(driven.fleet).get(f"/api/appliances/{driven.evcs.pk}/constraints?state=lost")
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith("state: ")


def test_a_withdrawn_constraint_ends_and_stays_in_the_history(driven, post, now):
    limit = post(maxPower=9_000)
    answer = as_(driven.fleet).delete(f"/api/constraints/{limit['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert as_(driven.fleet).delete(f"/api/constraints/{limit['id']}").status_code == 204
    assert read(as_(driven.fleet), f"constraints/{limit['id']}") == limit | {"state": "withdrawn"}
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 22_000


@pytest.mark.parametrize(
    ("person", "status"),
    [("mara", 403), ("viewer", 403), ("installer", 403), ("schmidt", 404), ("staff", 204)],
)
def test_who_else_may_withdraw_a_constraint(driven, post, person, status):
    limit = post(maxPower=9_000)
    answer = as_(getattr(driven, person)).delete(f"/api/constraints/{limit['id']}")
    assert answer.status_code == status


def test_an_appliances_own_limits_are_nobodys_to_withdraw(driven):
    own = Constraint.objects.get(appliance=driven.evcs, emitter_kind="driver")
    assert read(as_(driven.mara), f"constraints/{own.pk}")["invalidAt"] is None
    for person in (driven.mara, driven.fleet, driven.staff):
        assert as_(person).delete(f"/api/constraints/{own.pk}").status_code == 403


def test_residents_see_and_constrain_only_their_own(driven, post, body):
    limit = post(by=driven.mara, maxPower=9_000)
    assert limit["emitter"]["kind"] == "localUser"
    stranger = as_(driven.schmidt)
    assert stranger.get(f"/api/constraints/{limit['id']}").status_code == 404
    assert stranger.delete(f"/api/constraints/{limit['id']}").status_code == 404
    for path in ("flexibility", "flexibility/timeline", "constraints"):
        assert stranger.get(f"/api/appliances/{driven.evcs.pk}/{path}").status_code == 404
        assert (
            as_(driven.mara).get(f"/api/appliances/{driven.other_meter.pk}/{path}").status_code
            == 404
        )
