"""Whoever deletes: what was measured keeps its appliance and its system."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from accounts.models import Account
from accounts.operations import constraint_of
from flexibility.models import Flexibility
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, System
from measurements.ingest import Batch, store_readings
from measurements.models import ApplianceSlot, Reading
from measurements.slots import compute_until_clean

pytestmark = pytest.mark.django_db


@pytest.fixture
def measured(cast, now):
    """The cast, with a reading and a slot of the roof at Lindenweg, and of nothing else."""
    for appliance in (cast.pv, cast.evcs):
        appliance.refresh_from_db()
    cast.lindenweg.refresh_from_db()
    store_readings(
        batch=Batch.of(
            system_key=cast.lindenweg.key,
            appliance_key=cast.pv.key,
            at_ms=[int(now.timestamp() * 1000) - 60_000],
            power_w=[-500.0],
        ),
        now=now,
    )
    compute_until_clean(now=now)
    # What hands do not delete, and would hide why it stays.
    Flexibility.objects.create(appliance=cast.pv, resolved_at=now)
    return cast


@pytest.fixture
def staff(client, cast):
    client.force_login(cast.staff)
    return client


def refusal(delete) -> str | None:
    """The constraint for which the database refuses to delete."""
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        delete()
    return constraint_of(refused.value)


def by_hand(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("left", [Reading, ApplianceSlot])
def test_one_with_a_reading_or_a_slot_is_not_deleted_in_any_way(measured, left):
    for model in {Reading, ApplianceSlot} - {left}:
        model.objects.all().delete()
    roof = Appliance.objects.filter(pk=measured.pv.pk)
    for delete in (
        measured.pv.delete,
        roof.delete,
        Appliance.objects.filter(system=measured.lindenweg).delete,
        lambda: by_hand("inventory_appliance"),
    ):
        assert refusal(delete) == "appliance_measured"
    for delete in (
        lambda: System.objects.filter(pk=measured.lindenweg.pk)._raw_delete("default"),
        lambda: by_hand("inventory_system"),
    ):
        assert refusal(delete) == "system_measured"
    assert roof.exists()


def test_a_system_whose_appliances_went_elsewhere_keeps_their_history(measured):
    measured.lindenweg.appliances.update(system=measured.hafenstrasse, gateway=None)
    measured.gateway.delete()
    assert refusal(measured.lindenweg.delete) == "system_measured"


def test_what_was_never_measured_is_deleted(measured, now):
    measured.evcs.delete()
    system = System.objects.create(account=measured.meyers, name="Hut")
    Appliance.objects.create(system=system, kind=ApplianceKind.METER, name="Meter").delete()
    system.delete()
    assert not Appliance.objects.filter(pk=measured.evcs.pk).exists()
    assert not System.objects.filter(name="Hut").exists()


def test_nothing_around_it_takes_it_along(measured):
    cluster = Cluster.objects.create(system=measured.lindenweg, name="Garage")
    Appliance.objects.filter(pk=measured.pv.pk).update(cluster=cluster)
    for around in (cluster, measured.gateway, measured.lindenweg, measured.meyers):
        with pytest.raises(IntegrityError), transaction.atomic():
            type(around).objects.filter(pk=around.pk).delete()
    assert Account.objects.filter(pk=measured.meyers.pk).exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("pv", "say on its page since when it is removed"), ("lindenweg", "revoke its gateway")],
)
def test_staff_is_told_why_and_what_to_do_instead(measured, staff, name, words):
    row = getattr(measured, name)
    model = f"admin:inventory_{row._meta.model_name}"
    for sent in ({}, {"post": "yes"}):
        page = staff.post(reverse(f"{model}_delete", args=[row.pk]), sent)
        text = page.content.decode()
        assert words in text
        assert reverse(f"{model}_change", args=[row.pk]) in text
        assert "Yes, I’m sure" not in text
    assert type(row).objects.filter(pk=row.pk).exists()


def test_so_they_are_of_several_of_which_none_goes(measured, staff):
    chosen = [str(measured.pv.pk), str(measured.evcs.pk)]
    sent = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    page = staff.post(reverse("admin:inventory_appliance_changelist"), sent)
    text = page.content.decode()
    assert "say on its page since when it is removed" in text
    assert text.count("what was measured of it stays") == 1
    assert Appliance.objects.filter(pk__in=chosen).count() == 2


def test_what_was_never_measured_staff_deletes(measured, staff):
    staff.post(reverse("admin:inventory_appliance_delete", args=[measured.evcs.pk]), {"post": "y"})
    assert not Appliance.objects.filter(pk=measured.evcs.pk).exists()


def test_staff_reads_what_a_correction_means_before_it_is_made(measured, staff):
    page = staff.get(reverse("admin:inventory_appliance_change", args=[measured.pv.pk]))
    assert "A device in its place is another appliance." in page.content.decode()
