"""What clusters, pools and systems may do together on the wire API, now and over time."""

from datetime import timedelta

import pytest

from flexibility.models import Constraint
from inventory.models import Appliance, Cluster, Gateway
from tests.flexibility.asking import as_, read, reading, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)


@pytest.fixture
def garage(driven) -> Cluster:
    """A cluster with the charging station and the battery in it."""
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    for one in (driven.evcs, driven.battery):
        Appliance.objects.filter(pk=one.pk).update(cluster=cluster)
    return cluster


@pytest.fixture(autouse=True)
def heard(driven, now) -> None:
    """The gateway said something just now."""
    Gateway.objects.update(contacted_at=now)


@pytest.fixture
def groups(driven, garage) -> dict[str, tuple[str, str]]:
    """By the field of its id where each kind of group is found."""
    return {
        "clusterID": ("clusters", str(garage.pk)),
        "systemID": ("systems", str(driven.lindenweg.pk)),
        "systemPoolID": ("systempools", str(driven.pool.pk)),
    }


@pytest.fixture
def ask(driven, groups):
    def ask(field: str = "clusterID", **query: str) -> dict:
        kind, identity = groups[field]
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return read(as_(driven.fleet), f"{kind}/{identity}/flexibility?{text}")

    return ask


@pytest.mark.parametrize("field", ["clusterID", "systemID", "systemPoolID"])
def test_each_kind_of_group_names_itself_and_all_within_it(driven, ask, groups, field):
    found = ask(field)
    assert found[field] == groups[field][1]
    assert {"clusterID", "systemID", "systemPoolID"} & set(found) == {field}
    controlled = {str(driven.evcs.pk), str(driven.battery.pk)}
    controlled |= set() if field == "clusterID" else {str(driven.pv.pk)}
    assert {one["applianceID"] for one in found["appliances"]} == controlled
    assert (found["counted"], found["stale"]) == (len(controlled), 0)


def test_the_sum_changes_where_something_is_asked(driven, ask, garage, now):
    limit = {"maxPower": 7_000, "validAt": wire(now + HOUR), "invalidAt": wire(now + 3 * HOUR)}
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    assert as_(driven.fleet).post(path, limit).status_code == 201
    found = ask()["timeline"]
    assert [(one["minPower"], one["maxPower"]) for one in found] == [
        (-5_000, 27_000),
        (-5_000, 12_000),
        (-5_000, 27_000),
    ]
    assert [one["from"] for one in found] == [wire(now + h * HOUR) for h in (0, 1, 3)]
    assert found[-1]["until"] == wire(now + 48 * HOUR)
    assert {one["unlimited"] for one in found} == {0}


def test_set_points_have_a_sum_of_their_own(driven, ask, now):
    path = f"/api/appliances/{driven.evcs.pk}/constraints"
    asked = {"power": 6_000, "invalidAt": wire(now + HOUR)}
    assert as_(driven.fleet).post(path, asked).status_code == 201
    first, second = ask()["timeline"]
    assert (first["setPoint"], first["withSetPoint"]) == (6_000, 1)
    assert (second["setPoint"], second["withSetPoint"]) == (None, 0)


def test_where_nobody_has_a_limit_it_is_null(driven, ask):
    Constraint.objects.filter(emitter_kind="driver").delete()
    [found] = ask()["timeline"]
    assert (found["minPower"], found["maxPower"], found["setPoint"]) == (None, None, None)
    assert found["unlimited"] == 2


def test_up_and_down_are_told_from_the_present_power(driven, ask, now):
    reading(driven.evcs, now, power_w=20_000, plug_state=3)
    reading(driven.battery, now, power_w=-1_000, soc=0.5)
    found = ask()
    assert (found["upPower"], found["downPower"]) == (2_000 + 6_000, 20_000 + 4_000)


def test_those_without_news_are_counted_and_promise_nothing(driven, ask, now):
    reading(driven.evcs, now, power_w=11_000, plug_state=3)
    Gateway.objects.update(contacted_at=now - HOUR)
    found = ask()
    assert (found["counted"], found["stale"]) == (2, 2)
    assert (found["upPower"], found["downPower"]) == (0, 0)
    assert all(one["stale"] and one["power"] is None for one in found["appliances"])


def test_an_interval_is_cut_at_now(ask, now):
    found = ask(interval=f"{wire(now + HOUR)}/{wire(now + 2 * HOUR)}")["timeline"]
    assert [(one["from"], one["until"]) for one in found] == [
        (wire(now + HOUR), wire(now + 2 * HOUR))
    ]
    [found] = ask(interval=f"{wire(now - HOUR)}/{wire(now + HOUR)}")["timeline"]
    assert (found["from"], found["until"]) == (wire(now), wire(now + HOUR))


@pytest.mark.parametrize("field", ["clusterID", "systemID", "systemPoolID"])
@pytest.mark.parametrize(
    "hours",
    [(0, 49), (-3, -1), (-1, 0), (2, 1), (1, 1)],
    ids=lambda hours: f"{hours[0]}-{hours[1]}",
)
def test_a_span_that_makes_no_sense_is_422(driven, groups, now, field, hours):
    kind, identity = groups[field]
    start, end = (wire(now + hour * HOUR) for hour in hours)
    address = f"/api/{kind}/{identity}/flexibility?interval={start}/{end}"
    [detail] = refused(as_(driven.fleet).get(address))
    assert detail.startswith("interval: ")


@pytest.mark.parametrize("text", ["x", "2026-01-01/2026-01-02", "a/b", "/", "1h"])
def test_what_is_no_span_is_422(driven, groups, text):
    kind, identity = groups["clusterID"]
    address = f"/api/{kind}/{identity}/flexibility?interval={text}"
    [detail] = refused(as_(driven.fleet).get(address))
    assert detail.startswith("interval: ")


def test_a_foreign_group_is_not_found(driven, groups):
    foreign = Cluster.objects.create(system=driven.hafenstrasse, name="Foreign")
    for path in (f"clusters/{foreign.pk}", f"systems/{driven.hafenstrasse.pk}"):
        assert as_(driven.fleet).get(f"/api/{path}/flexibility").status_code == 404
