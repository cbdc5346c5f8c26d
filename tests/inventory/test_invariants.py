"""What the database itself keeps of the inventory, whoever writes."""

import threading

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.db.models import ProtectedError

from inventory.models import Appliance, Cluster, Gateway, System
from tests.cast import make_cast


@pytest.fixture
def clusters(cast) -> list[Cluster]:
    """Four clusters of Lindenweg, each within the one before."""
    chain: list[Cluster] = []
    for name in "ABCD":
        parent = chain[-1] if chain else None
        chain.append(Cluster.objects.create(system=cast.lindenweg, name=name, parent=parent))
    return chain


def _refuses_at_the_end(name: str) -> None:
    """Composite foreign keys are looked at when the transaction ends."""
    with pytest.raises(IntegrityError, match=name):
        connection.check_constraints()


def test_a_cluster_is_not_its_own_parent(clusters):
    clusters[0].parent = clusters[0]
    with pytest.raises(IntegrityError, match=r"cluster_not_own_parent|cannot lie within itself"):
        clusters[0].save()


def test_two_clusters_do_not_hold_each_other(clusters):
    clusters[0].parent = clusters[1]
    with pytest.raises(IntegrityError, match="cannot lie within itself"):
        clusters[0].save()


def test_a_long_circle_of_clusters_is_refused(clusters):
    with pytest.raises(IntegrityError, match="cannot lie within itself"):
        Cluster.objects.filter(pk=clusters[0].pk).update(parent=clusters[3])


def test_a_cluster_moves_to_another_branch(clusters):
    clusters[3].parent = clusters[0]
    clusters[3].save()
    assert Cluster.objects.get(pk=clusters[3].pk).parent == clusters[0]


def test_a_cluster_lies_within_clusters_of_its_own_system(cast, clusters):
    Cluster.objects.create(system=cast.hafenstrasse, name="Theirs", parent=clusters[0])
    _refuses_at_the_end("cluster_parent_in_system")


def test_an_appliance_lies_in_a_cluster_of_its_own_system(cast, clusters):
    Appliance.objects.filter(pk=cast.other_meter.pk).update(cluster=clusters[0])
    _refuses_at_the_end("appliance_cluster_in_system")


def test_an_appliance_hangs_on_the_gateway_of_its_own_system(cast):
    Appliance.objects.filter(pk=cast.other_meter.pk).update(gateway=cast.gateway, local_id="x")
    _refuses_at_the_end("appliance_gateway_in_system")


def test_an_appliance_is_part_of_one_of_its_own_system(cast):
    Appliance.objects.filter(pk=cast.other_meter.pk).update(parent=cast.pv)
    _refuses_at_the_end("appliance_parent_in_system")


def test_an_appliance_does_not_leave_its_cluster_behind_by_changing_systems(cast, clusters):
    Appliance.objects.filter(pk=cast.pv.pk).update(cluster=clusters[0], gateway=None)
    Appliance.objects.filter(pk=cast.pv.pk).update(system=cast.hafenstrasse)
    _refuses_at_the_end("appliance_cluster_in_system")


def test_a_cluster_does_not_change_systems_with_appliances_in_it(cast, clusters):
    Appliance.objects.filter(pk=cast.pv.pk).update(cluster=clusters[3])
    Cluster.objects.filter(pk=clusters[3].pk).update(system=cast.hafenstrasse, parent=None)
    _refuses_at_the_end("appliance_cluster_in_system")


@pytest.mark.parametrize("name", ["system", "serial"])
def test_a_gateway_stays_what_it_was_registered_as(cast, name):
    empty = System.objects.create(account=cast.meyers, name="Empty")
    Appliance.objects.filter(gateway=cast.gateway).update(gateway=None)
    changed = {"system": empty, "serial": "GX-0009"}[name]
    with pytest.raises(IntegrityError, match="not moved, but registered anew"):
        Gateway.objects.filter(pk=cast.gateway.pk).update(**{name: changed})


def test_a_system_has_one_gateway_at_most(cast):
    with pytest.raises(IntegrityError, match="inventory_gateway_system_id_key"):
        Gateway.objects.create(system=cast.lindenweg, serial="GX-9")


@pytest.mark.parametrize(
    "serial", ["gx-1", "GX", "GX.1", "GX/1", "GX 1", "+", "#", "A" * 65, "GX1\n"]
)
def test_a_serial_number_can_never_be_a_wildcard(cast, serial):
    empty = System.objects.create(account=cast.meyers, name="Empty")
    with pytest.raises(DatabaseError, match=r"gateway_serial_form|too long"):
        Gateway.objects.create(system=empty, serial=serial)


def test_a_local_id_is_an_appliance_of_its_gateway_once(cast):
    with pytest.raises(IntegrityError, match="appliance_local_id_unique"):
        Appliance.objects.create(
            system=cast.lindenweg, gateway=cast.gateway, local_id="pv", kind="meter", name="Twin"
        )


def test_appliances_without_a_local_id_are_as_many_as_there_are(cast):
    for name in ("One", "Two"):
        Appliance.objects.create(
            system=cast.lindenweg, gateway=cast.gateway, kind="meter", name=name
        )


def test_the_least_power_is_not_above_the_greatest(cast):
    with pytest.raises(IntegrityError, match="appliance_power_order"):
        Appliance.objects.filter(pk=cast.pv.pk).update(min_power_w=5, max_power_w=-5)


@pytest.mark.parametrize("interval_s", [0, 3601])
def test_an_interval_is_from_a_second_to_an_hour(cast, interval_s):
    with pytest.raises(IntegrityError, match="appliance_interval_range"):
        Appliance.objects.filter(pk=cast.pv.pk).update(interval_s=interval_s)


def test_what_holds_something_is_not_deleted(cast, clusters):
    for thing in (cast.lindenweg, cast.gateway, cast.meyers, clusters[0]):
        with pytest.raises(ProtectedError):
            thing.delete()


def _within(cluster_id, parent_id, begun, outcome):
    try:
        with transaction.atomic():
            begun.wait(timeout=60)
            Cluster.objects.filter(pk=cluster_id).update(parent_id=parent_id)
        outcome.append("moved")
    except (IntegrityError, OperationalError) as error:
        outcome.append(type(error).__name__)
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_clusters_that_move_into_each_other_at_once_make_no_circle():
    cast = make_cast()
    one = Cluster.objects.create(system=cast.lindenweg, name="One")
    two = Cluster.objects.create(system=cast.lindenweg, name="Two")
    for _round in range(5):
        Cluster.objects.update(parent=None)
        begun, outcome = threading.Barrier(2), []
        threads = [
            threading.Thread(target=_within, args=(inner.pk, outer.pk, begun, outcome))
            for inner, outer in ((one, two), (two, one))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcome.count("moved") == 1
        assert Cluster.objects.filter(parent=None).count() == 1
