"""Who groups and who asks something at the same moment: both are answered, and nothing is lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from flexibility.emitters import DIMMING, emitter_of
from flexibility.groups.operations import dissolve
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import Constraint, SharedLimit
from flexibility.operations import Draft, set_constraints
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from flexibility.series.operations import Part as SeriesPart
from flexibility.series.operations import SeriesDraft, set_series
from flexibility.series.recurrence import Frame
from flexibility.targets import TargetGone
from gridx import clock
from inventory import operations as inventory
from inventory.grouping import GroupGone
from inventory.models import Appliance, Cluster, System, SystemPool
from tests.cast import make_cast
from tests.flexibility.asking import as_, refused, wire

HOUR = timedelta(hours=1)


@pytest.fixture
def garage(driven) -> Cluster:
    """A cluster with the charging station in it."""
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=cluster)
    driven.evcs.refresh_from_db()
    return cluster


def ask_of(target, by, now) -> None:
    draft = Draft(max_w=3_000, invalid_at=now + HOUR)
    set_constraints(target=target, drafts=[draft], emitter=emitter_of(by), now=now)


def limit(target, by, now) -> None:
    draft = LimitDraft(max_w=3_000, invalid_at=now + HOUR)
    set_limit(cluster=target, draft=draft, by=emitter_of(by), now=now)


def charge(target, by, now) -> None:
    set_policy(target=target, draft=PolicyDraft(mode=Mode.SURPLUS), emitter=emitter_of(by), now=now)


def repeat(target, by, now) -> None:
    frame = Frame((now + HOUR).time(), (now + 2 * HOUR).time())
    draft = SeriesDraft(
        parts=(SeriesPart(frame=frame, asks=Draft(max_w=3_000)),),
        from_at=now,
        until_at=now + timedelta(days=3),
        time_zone="Europe/Berlin",
    )
    set_series(target=target, draft=draft, emitter=emitter_of(by), now=now)


def put_into(target, by, now) -> None:
    meter = Appliance.objects.exclude(cluster=target).filter(system=target.system).first()
    inventory.move_appliance(appliance=meter, cluster=target, by=by, now=now)


def nest(target, by, now) -> None:
    inventory.create_cluster(system=target.system, parent=target, name="Inner", by=by, now=now)


def rename(target, by, now) -> None:
    inventory.update_cluster(cluster=target, name="Yard", parent=None, by=by, now=now)


@pytest.mark.parametrize("change", [ask_of, limit, repeat, put_into, nest, rename])
def test_a_cluster_that_was_dissolved_meanwhile_is_gone(driven, garage, change, now):
    stale = Cluster.objects.get(pk=garage.pk)
    dissolve(group=garage, by=driven.fleet, now=now)
    with pytest.raises(GroupGone):
        change(stale, driven.fleet, now)


def test_a_charging_policy_of_a_cluster_that_was_dissolved_meanwhile_is_refused(
    driven, garage, now, monkeypatch
):
    stale = Cluster.objects.get(pk=garage.pk)
    dissolve(group=garage, by=driven.fleet, now=now)
    # It had a station when that was looked at.
    monkeypatch.setattr(
        "flexibility.policies.operations.stations_of", lambda _target: Appliance.objects.all()
    )
    with pytest.raises(GroupGone):
        charge(stale, driven.fleet, now)


def add_to(pool, by, now) -> None:
    system = System.objects.visible_to(by).first()
    inventory.add_members(pool=pool, systems=[system], by=by, now=now)


@pytest.mark.parametrize("change", [ask_of, repeat, add_to])
def test_a_pool_that_was_dissolved_meanwhile_is_gone(driven, change, now):
    pool = SystemPool.objects.create(account=driven.operator, name="Plant")
    stale = SystemPool.objects.get(pk=pool.pk)
    dissolve(group=pool, by=driven.admin, now=now)
    with pytest.raises(GroupGone):
        change(stale, driven.admin, now)


def test_an_appliance_that_was_removed_meanwhile_is_gone(driven, now):
    Appliance.objects.filter(pk=driven.evcs.pk).update(removed_at=now)
    with pytest.raises(TargetGone):
        ask_of(driven.evcs, driven.fleet, now)
    assert not Constraint.objects.exclude(emitter_kind="driver").exists()


def test_two_nested_clusters_are_dissolved_at_once(driven, now):
    outer = Cluster.objects.create(system=driven.lindenweg, name="House")
    inner = Cluster.objects.create(system=driven.lindenweg, name="Garage", parent=outer)
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=inner)
    stale = Cluster.objects.select_related("parent").get(pk=inner.pk)
    dissolve(group=outer, by=driven.fleet, now=now)
    dissolve(group=stale, by=driven.fleet, now=now)
    assert Appliance.objects.get(pk=driven.evcs.pk).cluster is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_who_constrains_and_who_dissolves_at_once_both_are_answered():
    cast, barrier = make_cast(), Barrier(2)
    cluster: list[Cluster] = []

    def both(send) -> int:
        barrier.wait()
        try:
            return send(as_(cast.fleet), f"/api/clusters/{cluster[-1].pk}").status_code
        finally:
            connection.close()

    def constrain(client, path: str):
        body = {"maxPower": 3_000, "invalidAt": wire(clock.now() + HOUR)}
        return client.post(f"{path}/constraints", body)

    def remove(client, path: str):
        return client.delete(path)

    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            cluster.append(Cluster.objects.create(system=cast.lindenweg, name=f"C{number}"))
            answers = tuple(pool.map(both, [constrain, remove]))
            assert answers in {(201, 409), (404, 204)}


# What a grid operator limits ---------------------------------------------------------------------


@pytest.fixture
def dimmed(driven, garage, now) -> Constraint:
    """A grid operator's constraint on what is in the garage."""
    emitter = emitter_of(driven.grid_operator, scopes={DIMMING})
    draft = Draft(max_w=4_200, invalid_at=now + HOUR)
    [row] = set_constraints(target=garage, drafts=[draft], emitter=emitter, now=now)
    return row


SAYS = "The grid operator limits what is in Garage: nothing leaves it until that has ended."


@pytest.mark.usefixtures("stopped_clock")
def test_nobody_lifts_a_grid_operators_limit_by_taking_a_member_out(driven, garage, dimmed):
    fleet, member = as_(driven.fleet), f"appliances/{driven.evcs.pk}"
    other = Cluster.objects.create(system=driven.lindenweg, name="Yard")
    answer = fleet.delete(f"/api/clusters/{garage.pk}/{member}")
    assert refused(answer) == [f"applianceID: {SAYS}"]
    assert refused(fleet.put(f"/api/clusters/{other.pk}/{member}")) == [f"applianceID: {SAYS}"]
    assert Appliance.objects.get(pk=driven.evcs.pk).cluster == garage
    # Deeper within it is still within it.
    inner = Cluster.objects.create(system=driven.lindenweg, name="Left", parent=garage)
    assert fleet.put(f"/api/clusters/{inner.pk}/{member}").status_code == 204
    answer = fleet.patch(f"/api/clusters/{inner.pk}", {"parentID": None})
    assert refused(answer) == [f"parentID: {SAYS}"]


@pytest.mark.usefixtures("stopped_clock")
def test_what_it_is_not_meant_for_and_what_is_over_holds_nobody(driven, garage, dimmed, now):
    fleet = as_(driven.fleet)
    Constraint.objects.filter(pk=dimmed.pk).update(kinds=["HEAT_PUMP"])
    path = f"/api/clusters/{garage.pk}/appliances/{driven.evcs.pk}"
    assert fleet.delete(path).status_code == 204
    Constraint.objects.filter(pk=dimmed.pk).update(kinds=[], withdrawn_at=now)
    assert fleet.put(path).status_code == fleet.delete(path).status_code == 204


def test_a_grid_operators_shared_limit_holds_its_members_too(driven, garage, now):
    SharedLimit.objects.create(
        system=garage.system,
        cluster=garage,
        max_w=11_000,
        priority=100_000,
        emitter_kind="grid_operator",
        valid_at=now,
        invalid_at=now + HOUR,
        due_at=now,
    )
    with pytest.raises(inventory.UnableToGroup, match="nothing leaves it"):
        inventory.move_appliance(appliance=driven.evcs, cluster=None, by=driven.fleet, now=now)


def test_the_page_of_an_appliance_says_why_it_cannot_leave(driven, garage, dimmed, client, now):
    client.force_login(driven.fleet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: now)
        answer = client.post(f"/appliances/{driven.evcs.pk}/edit", {"cluster": ""})
    assert answer.status_code == 200
    assert SAYS in answer.content.decode()
    assert Appliance.objects.get(pk=driven.evcs.pk).cluster == garage
