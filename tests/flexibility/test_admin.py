"""Staff look at all of flexibility, and do by hand only what is an operation."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.urls import reverse

from accounts.models import AuditEntry, OutboxMessage, User
from flexibility.bulk.operations import set_on_each
from flexibility.dimming.operations import dim_system
from flexibility.dimming.proof import keep_proofs
from flexibility.emitters import DIMMING, emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import Constraint, Dimming, GatewaySchedule, SharedLimit
from flexibility.operations import Draft, set_constraints
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from flexibility.series.operations import Part, SeriesDraft, set_series
from flexibility.series.wire import ALL_DAY
from inventory.models import Appliance, Cluster

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stopped_clock")]
HOUR = timedelta(hours=1)
OURS = [model for model in admin.site._registry if model._meta.app_label == "flexibility"]


@pytest.fixture
def filled(driven, now):
    """One of everything that has a list."""
    fleet, later = emitter_of(driven.fleet), now + HOUR
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=garage)
    draft = Draft(max_w=9_000, invalid_at=later)
    for target in (driven.evcs, garage, driven.pool):
        set_constraints(target=target, drafts=[draft], emitter=fleet, now=now)
    limit = LimitDraft(max_w=8_000, invalid_at=later)
    set_limit(cluster=garage, draft=limit, by=fleet, now=now)
    set_policy(target=garage, draft=PolicyDraft(mode=Mode.SURPLUS), emitter=fleet, now=now)
    operator = emitter_of(driven.grid_operator, scopes={DIMMING})
    dim_system(system=driven.lindenweg, emitter=operator, invalid_at=now, now=now - HOUR)
    keep_proofs(now=now + 2 * HOUR)
    set_on_each(
        appliances=[driven.pv], draft=Draft(min_w=-1, invalid_at=later), emitter=fleet, now=now
    )
    series = SeriesDraft(
        parts=(Part(frame=ALL_DAY, asks=Draft(max_w=9_000)),),
        from_at=now,
        until_at=later,
        time_zone="Europe/Berlin",
    )
    set_series(target=driven.evcs, draft=series, emitter=fleet, now=now)
    return driven


@pytest.fixture
def staff(client, driven):
    """A browser of somebody who is staff, and not a superuser."""
    client.force_login(User.objects.create(email="support@operator.example", is_staff=True))
    return client


def address(model, page: str, *args) -> str:
    return reverse(f"admin:flexibility_{model._meta.model_name}_{page}", args=args)


def act(browser, model, action: str, *rows):
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return browser.post(address(model, "changelist"), chosen, follow=True).content.decode()


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
def test_everything_can_be_looked_at_and_nothing_edited(filled, staff, model):
    rows = list(model.objects.all())
    assert rows
    assert staff.get(address(model, "changelist"), {"q": "Lindenweg"}).status_code == 200
    for row in rows:
        assert staff.get(address(model, "change", row.pk)).status_code == 200
    assert staff.post(address(model, "change", rows[0].pk), {}).status_code == 403
    assert staff.get(address(model, "add")).status_code == 403
    assert staff.post(address(model, "delete", rows[0].pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
def test_a_list_takes_as_many_queries_however_long_it_is(
    filled, staff, model, django_assert_max_num_queries
):
    with django_assert_max_num_queries(8):
        staff.get(address(model, "changelist"))


@pytest.mark.parametrize("state", ["standing", "over", "withdrawn"])
def test_lists_show_what_stands_is_over_or_was_withdrawn(filled, staff, now, state):
    expected = {"standing": 0, "over": 1, "withdrawn": 0}
    found = staff.get(address(Dimming, "changelist"), {"standing": state})
    assert found.context["cl"].result_count == expected[state]


def test_constraints_are_withdrawn_by_the_operation_and_logged(filled, staff):
    row = Constraint.objects.get(appliance=filled.evcs, emitter_kind="account_user", series=None)
    assert "1 is withdrawn." in act(staff, Constraint, "withdraw", row)
    row.refresh_from_db()
    assert row.withdrawn_at is not None
    entry = AuditEntry.objects.filter(verb="constraint_withdrawn").latest("at")
    assert entry.by.email == "support@operator.example"


def test_what_an_appliance_can_do_is_not_withdrawn(filled, staff):
    driver = Constraint.objects.get(appliance=filled.evcs, emitter_kind="driver", withdrawn_at=None)
    assert "is not for people to say" in act(staff, Constraint, "withdraw", driver)
    driver.refresh_from_db()
    assert driver.withdrawn_at is None


def test_a_shared_limit_goes_with_its_shares(filled, staff):
    limit = SharedLimit.objects.get(dimming=None)
    assert "1 is withdrawn." in act(staff, SharedLimit, "withdraw", limit)
    assert not Constraint.objects.filter(limit=limit, withdrawn_at=None).exists()


def test_a_schedule_is_sent_again_and_logged(filled, staff):
    OutboxMessage.objects.all().delete()
    row = GatewaySchedule.objects.get(pk=filled.gateway.pk)
    GatewaySchedule.objects.update(published_revision=row.revision)
    assert "1 schedule is sent again." in act(staff, GatewaySchedule, "resend", row)
    row.refresh_from_db()
    assert row.published_revision == 0
    assert OutboxMessage.objects.get().payload == {"gateway": str(filled.gateway.pk)}
    assert AuditEntry.objects.filter(verb="resent", target_id=filled.gateway.pk).count() == 1
