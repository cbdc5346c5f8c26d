"""Clusters and pools on the wire API, with what is asked of their members."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import AuditEntry
from flexibility.models import Constraint, SharedLimit
from flexibility.sweeping import sweep
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, Gateway, System, SystemPool
from measurements.models import LatestReading
from tests.flexibility.asking import as_, read, reading, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)


@pytest.fixture
def limit(now) -> dict:
    return {"maxPower": 3_000, "invalidAt": wire(now + 4 * HOUR)}


@pytest.fixture
def garage(driven) -> Cluster:
    """A cluster with the charging station in it."""
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=cluster)
    return cluster


# Clusters ----------------------------------------------------------------------------------------


def test_clusters_nest(driven, now):
    fleet, system = as_(driven.fleet), str(driven.lindenweg.pk)
    outer = fleet.post("/api/clusters", {"name": "House", "systemID": system}).json()
    assert (outer["name"], outer["systemID"]) == ("House", system)
    assert set(outer) == {"id", "createdAt", "updatedAt", "name", "systemID"}
    answer = fleet.post("/api/clusters", {"name": "Garage", "parentID": outer["id"]})
    assert answer.status_code == 201
    inner = answer.json()
    assert (inner["parentID"], inner["systemID"]) == (outer["id"], system)
    assert read(fleet, f"clusters/{inner['id']}") == inner
    assert read(fleet, "clusters") == read(fleet, f"systems/{system}/clusters") == [outer, inner]
    assert read(fleet, f"clusters?systemID={system}") == [outer, inner]
    assert read(fleet, f"clusters?systemID={uuid4()}") == []
    assert AuditEntry.objects.filter(verb="created", by=driven.fleet).count() == 2


def test_a_cluster_within_itself_is_422(driven, now):
    fleet = as_(driven.fleet)
    outer, middle, inner = (
        Cluster.objects.create(system=driven.lindenweg, name=name) for name in "abc"
    )
    path = "/api/clusters/{}"
    for child, parent in ((middle, outer), (inner, middle)):
        answer = fleet.patch(path.format(child.pk), {"parentID": str(parent.pk)})
        assert answer.json()["parentID"] == str(parent.pk)
    for parent in (outer, inner):
        answer = fleet.patch(path.format(outer.pk), {"parentID": str(parent.pk)})
        assert refused(answer) == ["parentID: A cluster cannot lie within itself."]
    answer = fleet.patch(path.format(middle.pk), {"parentID": None, "name": "Middle"})
    assert "parentID" not in answer.json()
    assert answer.json()["name"] == "Middle"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x"}, "systemID"),
        ({"name": "x", "systemID": "abc"}, "systemID"),
        ({"name": "x", "systemID": 7}, "systemID"),
        ({"name": "x", "systemID": "hafenstrasse"}, "systemID"),
        ({"name": "x", "systemID": "lindenweg", "parentID": "foreign"}, "parentID"),
    ],
)
def test_a_cluster_that_does_not_fit_is_422(driven, now, fields, named):
    foreign = Cluster.objects.create(system=driven.hafenstrasse, name="Foreign")
    known = {
        "hafenstrasse": str(driven.hafenstrasse.pk),
        "lindenweg": str(driven.lindenweg.pk),
        "foreign": str(foreign.pk),
    }
    sent = {name: known.get(value, value) for name, value in fields.items()}
    details = refused(as_(driven.fleet).post("/api/clusters", sent))
    assert details[0].startswith(f"{named}: ")
    assert Cluster.objects.count() == 1


def test_a_cluster_of_another_system_is_no_parent(driven, now):
    foreign = Cluster.objects.create(system=driven.hafenstrasse, name="Foreign")
    sent = {"name": "x", "systemID": str(driven.lindenweg.pk), "parentID": str(foreign.pk)}
    details = refused(as_(driven.staff).post("/api/clusters", sent))
    assert details == ["parentID: A cluster lies within clusters of its own system."]


def test_a_cluster_stays_in_its_system(driven, garage):
    path, staff = f"/api/clusters/{garage.pk}", as_(driven.staff)
    assert refused(staff.patch(path, {"systemID": str(driven.hafenstrasse.pk)}))
    assert staff.patch(path, {"systemID": str(driven.lindenweg.pk)}).status_code == 200


def test_an_unreadable_filter_is_422(driven):
    answer = as_(driven.fleet).get("/api/clusters?systemID=abc")
    assert refused(answer)[0].startswith("systemID: ")


def test_appliances_are_put_into_clusters_and_taken_out(driven, garage, now):
    fleet, path = as_(driven.fleet), f"/api/clusters/{garage.pk}/appliances"
    assert fleet.put(f"{path}/{driven.battery.pk}").status_code == 204
    members = read(fleet, f"clusters/{garage.pk}/flexibilities")
    assert {one["applianceID"] for one in members} == {
        str(driven.battery.pk),
        str(driven.evcs.pk),
    }
    assert fleet.delete(f"{path}/{driven.battery.pk}").status_code == 204
    assert fleet.delete(f"{path}/{driven.battery.pk}").status_code == 404
    assert fleet.put(f"{path}/{driven.other_meter.pk}").status_code == 404
    details = refused(as_(driven.staff).put(f"{path}/{driven.other_meter.pk}"))
    assert details == ["applianceID: An appliance lies in clusters of its own system."]


def test_flexibilities_of_a_cluster_are_those_of_all_within_it(driven, garage):
    outer = Cluster.objects.create(system=driven.lindenweg, name="House")
    Cluster.objects.filter(pk=garage.pk).update(parent=outer)
    Appliance.objects.filter(pk=driven.battery.pk).update(cluster=outer)
    found = read(as_(driven.mara), f"clusters/{outer.pk}/flexibilities")
    assert [one["applianceID"] for one in found] == [str(driven.battery.pk), str(driven.evcs.pk)]


def test_a_clusters_constraint_is_for_each_member(driven, garage, limit, now):
    fleet, path = as_(driven.fleet), f"clusters/{garage.pk}/constraints"
    found = fleet.post(f"/api/{path}", limit).json()
    assert (found["clusterID"], found["kinds"]) == (str(garage.pk), [])
    assert not {"applianceID", "systemPoolID"} & set(found)
    assert read(fleet, path) == [found]
    [member] = read(fleet, f"clusters/{garage.pk}/flexibilities")
    assert (member["minPower"], member["maxPower"]) == (0, 0)
    assert read(fleet, f"appliances/{driven.evcs.pk}/constraints?state=active") != [found]
    # The cluster is the resident's, too.
    assert read(as_(driven.mara), f"constraints/{found['id']}")["clusterID"] == str(garage.pk)
    assert as_(driven.mara).delete(f"/api/constraints/{found['id']}").status_code == 403
    assert fleet.delete(f"/api/constraints/{found['id']}").status_code == 204


def test_a_clusters_constraint_may_be_for_some_kinds_only(driven, garage, limit, now):
    fleet, path = as_(driven.fleet), f"/api/clusters/{garage.pk}/constraints"
    found = fleet.post(path, [limit | {"kinds": ["BATTERY", "HEAT_PUMP"]}]).json()
    assert found[0]["kinds"] == ["BATTERY", "HEAT_PUMP"]
    [member] = read(fleet, f"clusters/{garage.pk}/flexibilities")
    assert member["maxPower"] == 22_000
    for kinds in (["battery"], ["TOASTER"], "BATTERY", [5], [None], [["BATTERY"]]):
        assert refused(fleet.post(path, limit | {"kinds": kinds}))[0].startswith("kinds")


def test_a_dry_run_on_a_cluster_tells_of_each_member_and_stores_nothing(driven, garage, limit, now):
    Appliance.objects.filter(pk=driven.battery.pk).update(cluster=garage)
    before = Constraint.objects.count()
    path = f"/api/clusters/{garage.pk}/constraints?dryRun=true"
    answer = as_(driven.fleet).post(path, limit)
    assert answer.status_code == 200
    assert [(one["applianceID"], one["after"][0]["maxPower"]) for one in answer.json()] == [
        (str(driven.battery.pk), 3_000),
        (str(driven.evcs.pk), 0),
    ]
    answer = as_(driven.fleet).post(path, limit | {"kinds": ["BATTERY"]})
    assert [one["applianceID"] for one in answer.json()] == [str(driven.battery.pk)]
    assert Constraint.objects.count() == before


def test_a_dry_run_on_a_cluster_is_told_page_by_page(driven, garage, limit, now):
    Appliance.objects.filter(pk=driven.battery.pk).update(cluster=garage)
    path, seen = f"/api/clusters/{garage.pk}/constraints?dryRun=true&per_page=1", []
    while path:
        answer = as_(driven.fleet).post(path, limit)
        assert (answer.status_code, answer["X-Total-Count"]) == (200, "2")
        seen += [one["applianceID"] for one in answer.json()]
        following = re.search(r'<([^>]*)>; rel="next"', answer["Link"])
        path = following and following[1]
    assert seen == [str(driven.battery.pk), str(driven.evcs.pk)]
    path = f"/api/clusters/{garage.pk}/constraints?per_page=1"
    assert refused(as_(driven.fleet).post(path, limit)) == ["per_page: is no parameter of this"]


def test_a_cluster_with_standing_constraints_is_not_dissolved(driven, garage, limit, now):
    fleet, path = as_(driven.fleet), f"/api/clusters/{garage.pk}"
    found = fleet.post(f"{path}/constraints", limit).json()
    answer = fleet.delete(path)
    assert answer.status_code == 409
    assert answer.json() == {
        "message": "It has limits, constraints or policies that stand: end them first."
    }
    fleet.delete(f"/api/constraints/{found['id']}")
    assert fleet.delete(path).status_code == 204
    assert fleet.get(path).status_code == 404
    driven.evcs.refresh_from_db()
    assert driven.evcs.cluster is None


def test_a_cluster_with_a_standing_policy_is_not_dissolved(driven, garage):
    path, fleet = f"/api/clusters/{garage.pk}", as_(driven.fleet)
    assert fleet.put(f"{path}/charging-policy", {"mode": "off"}).status_code == 200
    assert fleet.delete(path).status_code == 409
    assert fleet.delete(f"{path}/charging-policy").status_code == 204
    assert fleet.delete(path).status_code == 204


def test_a_cluster_with_a_standing_limit_is_not_dissolved(driven, garage, now):
    limit = SharedLimit.objects.create(
        system=garage.system,
        cluster=garage,
        max_w=11_000,
        priority=3_000,
        emitter_kind="account_user",
        valid_at=now,
        invalid_at=now + HOUR,
        due_at=now,
    )
    path = f"/api/clusters/{garage.pk}"
    assert as_(driven.fleet).delete(path).status_code == 409
    SharedLimit.objects.filter(pk=limit.pk).update(withdrawn_at=now)
    assert as_(driven.fleet).delete(path).status_code == 204


@pytest.mark.parametrize("person", ["mara", "viewer", "grid_operator"])
def test_who_may_not_group_is_403(driven, garage, person):
    client, path = as_(getattr(driven, person)), f"/api/clusters/{garage.pk}"
    assert client.get(path).status_code == 200
    assert client.post("/api/clusters", {}).status_code == 403
    assert client.patch(path, {}).status_code == 403
    assert client.delete(path).status_code == 403
    assert client.put(f"{path}/appliances/{driven.battery.pk}").status_code == 403
    assert client.delete(f"{path}/appliances/{driven.evcs.pk}").status_code == 403


def test_an_installer_groups_and_does_not_constrain(driven, garage, limit):
    client, path = as_(driven.installer), f"/api/clusters/{garage.pk}"
    assert client.patch(path, {"name": "Yard"}).json()["name"] == "Yard"
    assert client.post(f"{path}/constraints", limit).status_code == 403


# Pools -------------------------------------------------------------------------------------------


def test_pools_are_made_changed_and_dissolved(driven, now):
    admin, north = as_(driven.admin), str(driven.north.pk)
    answer = admin.post("/api/systempools", {"name": "Plant", "kind": "VIRTUAL_POWER_PLANT"})
    assert answer.status_code == 201
    own = answer.json()
    assert own["accountID"] == str(driven.operator.pk)
    assert (own["kind"], own["timeZone"]) == ("VIRTUAL_POWER_PLANT", "Europe/Berlin")
    sent = {"name": "North", "accountID": north, "timeZone": "Europe/Paris"}
    other = admin.post("/api/systempools", sent).json()
    assert (other["accountID"], other["kind"]) == (north, "COMMUNITY")
    assert read(admin, f"systempools/{other['id']}") == other
    names = {one["name"] for one in read(admin, "systempools")}
    assert names == {"Sun sharers", "Plant", "North"}
    path = f"/api/systempools/{other['id']}"
    changed = admin.patch(path, {"name": "Far north", "kind": "VIRTUAL_POWER_PLANT"}).json()
    assert (changed["name"], changed["kind"]) == ("Far north", "VIRTUAL_POWER_PLANT")
    assert changed["timeZone"] == "Europe/Paris"
    assert admin.delete(path).status_code == 204
    assert admin.get(path).status_code == 404


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "name"),
        ({"name": "x", "kind": "GANG"}, "kind"),
        ({"name": "x", "timeZone": "Mars/Olympus"}, "timeZone"),
        ({"name": "x", "timeZone": 5}, "timeZone"),
        ({"name": "x", "accountID": "abc"}, "accountID"),
        ({"name": "x", "accountID": "south"}, "accountID"),
        ({"name": "x", "accountID": "operator"}, "accountID"),
    ],
)
def test_a_pool_that_does_not_fit_is_422(driven, now, fields, named):
    known = {"south": str(driven.south.pk), "operator": str(driven.operator.pk)}
    sent = {name: known.get(value, value) for name, value in fields.items()}
    details = refused(as_(driven.fleet).post("/api/systempools", sent))
    assert details[0].startswith(f"{named}: ")
    assert SystemPool.objects.count() == 1


def test_staff_says_of_which_account_a_pool_is(driven):
    answer = as_(driven.staff).post("/api/systempools", {"name": "x"})
    assert refused(answer) == ["accountID: Say of which account it is."]


def test_a_pool_stays_with_its_account(driven):
    path = f"/api/systempools/{driven.pool.pk}"
    answer = as_(driven.admin).patch(path, {"accountID": str(driven.operator.pk)})
    assert refused(answer) == ["accountID: This cannot be changed."]


def test_systems_come_into_pools_and_go(driven, now):
    path, admin = f"/api/systempools/{driven.pool.pk}/systems", as_(driven.admin)
    new = System.objects.create(account=driven.north, name="New")
    uuids = {"uuids": [str(new.pk), str(driven.lindenweg.pk)]}
    assert admin.put(path, uuids).status_code == 204
    assert [one["id"] for one in admin.get(path).json()] == [str(driven.lindenweg.pk), str(new.pk)]
    assert admin.put(path, uuids).status_code == 204
    assert admin.delete(path, {"uuids": [str(new.pk)]}).status_code == 204
    assert admin.delete(path, {"uuids": [str(new.pk)]}).status_code == 204
    assert [one["name"] for one in read(as_(driven.viewer), path[5:])] == ["Lindenweg 12"]


@pytest.mark.parametrize(
    "sent", [{}, [], {"uuids": []}, {"uuids": "x"}, {"uuids": [5]}, {"uuids": ["unknown"]}]
)
def test_members_that_make_no_sense_are_422(driven, sent):
    path = f"/api/systempools/{driven.pool.pk}/systems"
    if sent == {"uuids": ["unknown"]}:
        sent = {"uuids": [str(uuid4())]}
    for method in ("put", "delete"):
        assert refused(getattr(as_(driven.admin), method)(path, sent))
    assert driven.pool.systems.count() == 1


def test_members_lie_below_the_pools_account(driven):
    path = f"/api/systempools/{driven.pool.pk}/systems"
    details = refused(as_(driven.admin).put(path, {"uuids": [str(driven.hafenstrasse.pk)]}))
    assert details[0].startswith("uuids: ")
    details = refused(as_(driven.fleet).put(path, {"uuids": [str(driven.hafenstrasse.pk)]}))
    assert details == [f"uuids: There is no {driven.hafenstrasse.pk}."]


def test_a_pools_constraint_is_for_each_member(driven, limit, now):
    fleet, path = as_(driven.fleet), f"systempools/{driven.pool.pk}/constraints"
    found = fleet.post(f"/api/{path}", limit | {"kinds": ["BATTERY"]}).json()
    assert (found["systemPoolID"], found["kinds"]) == (str(driven.pool.pk), ["BATTERY"])
    assert read(fleet, path) == [found]
    assert read(fleet, f"appliances/{driven.battery.pk}/flexibility")["maxPower"] == 3_000
    assert read(fleet, f"appliances/{driven.evcs.pk}/flexibility")["maxPower"] == 22_000
    answer = fleet.delete(f"/api/systempools/{driven.pool.pk}")
    assert answer.status_code == 409
    # A resident feels it, is told of it, and does not see the pool.
    told = read(as_(driven.mara), f"appliances/{driven.battery.pk}/flexibility")["constraints"]
    assert found["id"] in {one["id"] for one in told}
    assert as_(driven.mara).get(f"/api/constraints/{found['id']}").status_code == 404


def test_a_constraint_that_ended_does_not_keep_a_pool(driven, limit, now, monkeypatch):
    fleet, path = as_(driven.fleet), f"/api/systempools/{driven.pool.pk}"
    assert fleet.post(f"{path}/constraints", limit).status_code == 201
    assert fleet.post(f"{path}/constraints", limit | {"validAt": wire(now + HOUR)})
    monkeypatch.setattr(clock, "now", lambda: now + 4 * HOUR)
    assert fleet.delete(path).status_code == 204
    sweep(now=now + 4 * HOUR)
    assert read(fleet, f"appliances/{driven.battery.pk}/flexibility")["maxPower"] == 5_000


# What a pool could take --------------------------------------------------------------------------


@pytest.fixture
def room(driven, now):
    """What the pool could take more and less, and the room of one appliance."""
    Gateway.objects.filter(pk=driven.gateway.pk).update(contacted_at=now)

    def find(appliance: Appliance) -> tuple:
        found = read(as_(driven.fleet), f"systempools/{driven.pool.pk}/flexibility")
        assert found["upPower"] == sum(one["upPower"] for one in found["appliances"])
        assert found["timeline"][0]["from"] == found["at"]
        assert found["downPower"] == sum(one["downPower"] for one in found["appliances"])
        [own] = [one for one in found["appliances"] if one["applianceID"] == str(appliance.pk)]
        return own["upPower"], own["downPower"], own["upReason"], own["downReason"]

    return find


LIMITED = "The limit is set by the appliance itself."


def test_a_battery_could_charge_or_discharge_more(driven, room, now):
    reading(driven.battery, now, power_w=-1_000, soc=0.5)
    assert room(driven.battery) == (6_000, 4_000, LIMITED, LIMITED)


@pytest.mark.parametrize(
    ("quantities", "expected"),
    [
        ({"soc": 1.0}, (1_000, 4_000, "It is full.", LIMITED)),
        ({"energy_wh": 10_000}, (1_000, 4_000, "It is full.", LIMITED)),
        ({"energy_wh": 0}, (6_000, 0, LIMITED, "It is empty.")),
        ({"energy_wh": 60}, (6_000, 0, LIMITED, "It is empty.")),
    ],
)
def test_what_is_full_takes_no_more_and_what_is_empty_gives_no_more(
    driven, room, now, quantities, expected
):
    reading(driven.battery, now, power_w=-1_000, **quantities)
    assert room(driven.battery) == expected


def test_what_was_full_long_ago_may_not_be_so_now(driven, room, now):
    reading(driven.battery, now, power_w=-1_000, soc=1.0, soc_at=now - 2 * HOUR)
    assert room(driven.battery) == (6_000, 4_000, LIMITED, LIMITED)


def test_the_sun_gives_no_more_and_may_be_curtailed(driven, room, limit, now):
    reading(driven.pv, now, power_w=-3_000)
    unlimited = "Nobody said how far it can go."
    assert room(driven.pv) == (0, 0, unlimited, "The sun gives no more.")
    path = f"/api/appliances/{driven.pv.pk}/constraints"
    assert as_(driven.fleet).post(path, limit | {"maxPower": 0}).status_code == 201
    by = "The limit is set by the fleet manager."
    assert room(driven.pv) == (3_000, 0, by, "The sun gives no more.")


def test_a_charging_station_may_pause_and_needs_a_car(driven, room, now):
    reading(driven.evcs, now, power_w=11_000, plug_state=3)
    takes = "The car itself takes no more."
    assert room(driven.evcs) == (0, 11_000, takes, "It can only pause.")
    LatestReading.objects.update(power_w=20_000)
    assert room(driven.evcs) == (2_000, 20_000, LIMITED, "It can only pause.")
    LatestReading.objects.update(power_w=0, plug_state=3)
    assert room(driven.evcs) == (0, 0, takes, "It uses nothing.")
    LatestReading.objects.update(power_w=0, plug_state=0)
    assert room(driven.evcs) == (0, 0, "No car is plugged in.", "It uses nothing.")


def test_a_set_point_holds_an_appliance(driven, room, limit, now):
    reading(driven.battery, now, power_w=2_000, soc=0.5)
    path = f"/api/appliances/{driven.battery.pk}/constraints"
    as_(driven.mara).post(path, limit | {"power": 2_000})
    held = "Its set point is set by the resident."
    assert room(driven.battery) == (0, 0, held, held)


def test_what_is_not_known_counts_as_nothing(driven, room, now):
    unknown = (0, 0, "Its power is not known.", "Its power is not known.")
    assert room(driven.battery) == unknown
    reading(driven.battery, now - HOUR, power_w=1_000)
    assert room(driven.battery) == unknown
    reading(driven.evcs, now, power_w=20_000)
    assert room(driven.evcs)[:2] == (2_000, 20_000)
    Gateway.objects.update(contacted_at=now - HOUR)
    assert room(driven.evcs) == unknown


def test_each_appliance_counts_once_and_meters_never(driven, room, now):
    hybrid = Appliance.objects.create(
        system=driven.lindenweg,
        gateway=driven.gateway,
        kind=ApplianceKind.HYBRID_INVERTER,
        name="Hybrid",
    )
    path = f"systempools/{driven.pool.pk}/flexibility"

    def counted() -> set:
        return {one["applianceID"] for one in read(as_(driven.fleet), path)["appliances"]}

    parts = {str(one.pk) for one in (driven.pv, driven.battery, driven.evcs)}
    assert counted() == parts | {str(hybrid.pk)}
    Appliance.objects.filter(pk=driven.battery.pk).update(parent=hybrid)
    assert counted() == parts


# Many --------------------------------------------------------------------------------------------


def test_lists_take_as_many_queries_however_long_they_are(
    driven, garage, limit, now, django_assert_num_queries
):
    fleet: APIClient = as_(driven.fleet)
    system, pool = driven.lindenweg, driven.pool

    def grow(number: int) -> None:
        gateway = driven.gateway
        for step in range(number):
            inner = Cluster.objects.create(system=system, name=f"Cluster {step}", parent=garage)
            one = Appliance.objects.create(
                system=system,
                gateway=gateway,
                cluster=inner,
                kind=ApplianceKind.HEATER,
                name="Heater",
            )
            other = System.objects.create(account=driven.meyers, name=f"System {step}")
            pool.systems.add(other)
            SystemPool.objects.create(account=driven.north, name="More").systems.add(system)
            reading(one, now, power_w=100)
            for target in (f"appliances/{one.pk}", f"appliances/{driven.evcs.pk}"):
                fleet.post(f"/api/{target}/constraints", limit)
                as_(driven.mara).post(f"/api/{target}/constraints", limit)

    fleet.post(f"/api/clusters/{garage.pk}/constraints", limit)
    fleet.post(f"/api/systempools/{pool.pk}/constraints", limit)
    for _round in range(2):
        grow(3)
        for path, queries in (
            (f"systems/{system.pk}/flexibilities", 12),
            (f"clusters/{garage.pk}/flexibilities", 13),
            (f"appliances/{driven.evcs.pk}/flexibility/timeline", 7),
            (f"appliances/{driven.evcs.pk}/constraints", 4),
            (f"clusters/{garage.pk}/constraints", 3),
            (f"systempools/{pool.pk}/constraints", 3),
            ("clusters", 2),
            (f"systems/{system.pk}/clusters", 3),
            ("systempools", 2),
            (f"systempools/{pool.pk}/systems", 3),
            (f"systempools/{pool.pk}/flexibility", 14),
        ):
            with django_assert_num_queries(queries):
                read(fleet, f"{path}?per_page=100")
