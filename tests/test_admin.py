"""Django's admin as staff finds it: everything opens, searches, and refuses in words."""

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.forms import ModelChoiceField
from django.urls import reverse

from accounts import operations, outbox
from accounts.access import Role
from accounts.models import Account, AuditEntry, OutboxMessage, User
from gridx import clock
from inventory.models import (
    Appliance,
    Cluster,
    Gateway,
    GatewayFault,
    System,
    SystemAssignment,
    SystemPool,
)
from inventory.operations import is_secret_of

OURS = [
    model for model in admin.site._registry if model._meta.app_label in {"accounts", "inventory"}
]
WRITABLE = [model for model in OURS if model not in (AuditEntry, OutboxMessage, GatewayFault)]
# What of each model's form is another row, or several.
RELATIONS = [
    (model, name) for model in WRITABLE for name in admin.site._registry[model].autocomplete_fields
]
# Addresses of lists that nobody's clicks lead to.
STRAY_ADDRESSES = [
    {"q": "\0"},
    {"pk__in": "xx"},
    {"id__exact": "abc"},
    {"id__range": "1"},
    {"pk__isnull": "abc"},
    {"account__id__exact": "abc"},
    {"name__regex": "("},
    {"kind__exact": "\0"},
    {"at__year": "9" * 20},
    {"at__year": "9999", "at__month": "12"},
    {"p": "9" * 20},
]
# A word that each list is searched for, and how many of the cast it finds.
SEARCHES = {
    Account: ("meyer", 1),
    User: ("mara@", 1),
    AuditEntry: ("Lindenweg", 1),
    OutboxMessage: ("jo@schmidt", 1),
    System: ("GX-0001", 1),
    Gateway: ("GX-0002", 1),
    Appliance: ("GX-0001", 4),
    Cluster: ("Garage", 1),
    SystemPool: ("sharers", 1),
    SystemAssignment: ("Lindenweg", 1),
    GatewayFault: ("GX-0001", 1),
}


@pytest.fixture
def filled(cast, now):
    """The cast, and one of everything else that has a list."""
    Cluster.objects.create(system=cast.lindenweg, name="Garage")
    GatewayFault.objects.create(
        gateway=cast.gateway, at=now, topic="up/readings", reason="malformed", body=b"\xff{"
    )
    AuditEntry.objects.create(
        at=now,
        verb="created",
        target_kind="inventory.system",
        target_id=cast.lindenweg.pk,
        target_name="Lindenweg 12",
    )
    outbox.add_message(
        kind="mail", payload={"letter": "password_reset", "email": "jo@schmidt.example"}, now=now
    )
    return cast


@pytest.fixture
def staff(client, cast):
    """A browser of somebody who is staff, and not a superuser."""
    person = User.objects.create(email="support@operator.example", is_staff=True)
    client.force_login(person)
    return client


def _url(model, page: str, *args) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def _values(response) -> dict:
    """What the form of a page would send if nothing were changed."""
    values = {}
    form = response.context["adminform"].form
    for name, bound in ((name, form[name]) for name in form.fields):
        value = bound.value()
        if value is None or value is False:
            continue
        if bound.field.widget.__class__.__name__ == "AdminSplitDateTime":
            continue
        values[name] = "on" if value is True else value
    return values


def _save(browser, model, url: str, **changes):
    values = {**_values(browser.get(url)), **changes}
    return browser.post(url, {name: value for name, value in values.items() if value is not None})


def test_tokens_and_groups_are_not_for_hands(staff):
    assert {model._meta.app_label for model in admin.site._registry} == {
        "accounts",
        "inventory",
        "flexibility",
        "measurements",
    }
    assert "oauth" not in staff.get(reverse("admin:index")).content.decode().lower()


def test_every_list_has_its_search_in_this_test():
    assert set(SEARCHES) == set(OURS)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
def test_a_list_opens_and_searches(filled, staff, model):
    word, count = SEARCHES[model]
    assert staff.get(_url(model, "changelist")).status_code == 200
    found = staff.get(_url(model, "changelist"), {"q": word})
    assert found.context["cl"].result_count == count
    assert staff.get(_url(model, "changelist"), {"q": "no such thing"}).status_code == 200


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
@pytest.mark.parametrize("address", STRAY_ADDRESSES, ids=str)
def test_a_list_outlasts_an_address_that_means_nothing(filled, staff, model, address):
    response = staff.get(_url(model, "changelist"), address)
    assert response.status_code in (200, 302, 400)
    assert staff.get(_url(model, "changelist"), {"e": 1}).status_code == 200


@pytest.mark.parametrize("model", WRITABLE, ids=lambda model: model._meta.model_name)
def test_a_selection_of_nothing_that_could_be_a_row_is_none(filled, staff, model):
    count = model.objects.count()
    page = staff.post(
        _url(model, "changelist"),
        {"action": "delete_selected", "_selected_action": ["abc", "\0"], "post": "yes"},
        follow=True,
    )
    assert page.status_code == 200
    assert model.objects.count() == count


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
def test_the_page_of_a_row_opens(filled, staff, model):
    row = model.objects.order_by("pk").first()
    assert staff.get(_url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", WRITABLE, ids=lambda model: model._meta.model_name)
def test_the_page_to_add_opens(filled, staff, model):
    assert staff.get(_url(model, "add")).status_code == 200


def test_an_address_proposes_values_for_a_new_row_where_it_has_any(filled, staff):
    address = {"system": str(filled.lindenweg.pk), "gateway": "abc", "removed_at": "abc", "x": "y"}
    page = staff.get(_url(Appliance, "add"), address)
    assert page.status_code == 200
    form = page.context["adminform"].form
    assert (form["system"].value(), form["gateway"].value()) == (filled.lindenweg.pk, None)


@pytest.mark.parametrize("model", WRITABLE, ids=lambda model: model._meta.model_name)
def test_a_row_is_saved_as_it_is(filled, staff, model):
    row = model.objects.order_by("pk").first()
    response = _save(staff, model, _url(model, "change", row.pk))
    assert response.status_code == 302, response.context["adminform"].form.errors


@pytest.mark.parametrize("model", [AuditEntry, OutboxMessage, GatewayFault])
def test_what_the_program_writes_is_read_only(filled, staff, model):
    assert staff.get(_url(model, "add")).status_code == 403
    row = model.objects.first()
    assert staff.post(_url(model, "change", row.pk), {}).status_code == 403
    assert staff.post(_url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def _errors(response) -> str:
    assert response.status_code == 200, "saved, though it should not"
    return str(response.context["adminform"].form.errors)


@pytest.mark.parametrize("model", WRITABLE, ids=lambda model: model._meta.model_name)
def test_every_relation_of_a_form_is_found_by_typing(filled, staff, model):
    fields = staff.get(_url(model, "add")).context["adminform"].form.fields
    relations = {name for name, field in fields.items() if isinstance(field, ModelChoiceField)}
    assert relations == {name for of, name in RELATIONS if of is model}


@pytest.mark.parametrize("garbage", ["abc", "\0"])
@pytest.mark.parametrize(("model", "name"), RELATIONS, ids=str)
def test_a_relation_to_nothing_that_could_be_a_row_is_an_error_of_its_field(
    filled, staff, model, name, garbage
):
    row = model.objects.order_by("pk").first()
    for url in (_url(model, "add"), _url(model, "change", row.pk)):
        if name not in staff.get(url).context["adminform"].form.fields:
            assert name in admin.site._registry[model].fixed_fields
            continue
        response = _save(staff, model, url, **{name: garbage})
        assert response.status_code == 200
        (error,) = response.context["adminform"].form.errors[name]
        assert error in response.content.decode()


def test_what_is_right_among_several_stays_chosen(filled, staff):
    url = _url(SystemPool, "change", filled.pool.pk)
    response = _save(staff, SystemPool, url, systems=["abc", str(filled.lindenweg.pk)])
    assert "systems" in response.context["adminform"].form.errors
    assert f'<option value="{filled.lindenweg.pk}" selected' in response.content.decode()


def test_a_sub_account_of_a_customer_is_an_error_of_the_form(filled, staff):
    response = _save(
        staff, Account, _url(Account, "add"), name="Room", parent=str(filled.meyers.pk)
    )
    assert "A customer has no sub-accounts" in _errors(response)
    # What was typed is still there.
    assert b'value="Room"' in response.content


def test_an_account_is_added_and_logged(filled, staff):
    response = _save(staff, Account, _url(Account, "add"), name="East", parent=filled.operator.pk)
    assert response.status_code == 302
    east = Account.objects.get(name="East")
    assert east.path.startswith(filled.operator.path)
    entry = AuditEntry.objects.get(target_id=east.pk)
    assert (entry.verb, entry.by.email) == ("created", "support@operator.example")


def test_an_account_is_not_moved_by_hand(filled, staff):
    page = staff.get(_url(Account, "change", filled.north.pk))
    assert "parent" not in page.context["adminform"].form.fields


def test_a_cluster_within_itself_is_an_error_of_the_form(filled, staff):
    outer = Cluster.objects.get(name="Garage")
    inner = Cluster.objects.create(system=outer.system, parent=outer, name="Left")
    url = _url(Cluster, "change", outer.pk)
    assert "cannot lie within itself" in _errors(_save(staff, Cluster, url, parent=str(inner.pk)))
    assert "its own parent" in _errors(_save(staff, Cluster, url, parent=str(outer.pk)))


def test_a_parent_cluster_of_another_system_is_an_error_of_the_form(filled, staff):
    other = Cluster.objects.create(system=filled.hafenstrasse, name="Theirs")
    url = _url(Cluster, "change", Cluster.objects.get(name="Garage").pk)
    assert "belongs to another system" in _errors(_save(staff, Cluster, url, parent=str(other.pk)))


@pytest.mark.parametrize("part", ["cluster", "gateway", "parent"])
def test_an_appliance_with_a_part_of_another_system_is_an_error_of_the_form(filled, staff, part):
    others = {
        "cluster": Cluster.objects.create(system=filled.hafenstrasse, name="Theirs"),
        "gateway": filled.other_gateway,
        "parent": filled.other_meter,
    }
    url = _url(Appliance, "change", filled.pv.pk)
    response = _save(staff, Appliance, url, **{part: str(others[part].pk)})
    assert "belongs to another system" in _errors(response)
    assert part in response.context["adminform"].form.errors


def test_an_appliance_is_not_removed_in_the_future(filled, staff):
    url = _url(Appliance, "change", filled.pv.pk)
    for days, is_saved in ((1, False), (-1, True)):
        at = clock.now() + timedelta(days=days)
        sent = {"removed_at_0": f"{at:%Y-%m-%d}", "removed_at_1": f"{at:%H:%M:%S}"}
        response = _save(staff, Appliance, url, **sent)
        if not is_saved:
            assert "lies in the future" in _errors(response)
        assert Appliance.objects.filter(pk=filled.pv.pk, removed_at=None).exists() is not is_saved


def test_limits_the_wrong_way_round_are_an_error_of_the_form(filled, staff):
    url = _url(Appliance, "change", filled.pv.pk)
    response = _save(staff, Appliance, url, min_power_w="10", max_power_w="-10")
    assert "above the greatest" in _errors(response)


def test_a_second_gateway_of_a_system_is_an_error_of_the_form(filled, staff):
    response = _save(
        staff, Gateway, _url(Gateway, "add"), system=str(filled.lindenweg.pk), serial="GX-9"
    )
    assert "already exists" in _errors(response)


def test_a_serial_number_that_could_be_a_wildcard_is_an_error_of_the_form(filled, staff):
    system = System.objects.create(account=filled.meyers, name="New")
    response = _save(staff, Gateway, _url(Gateway, "add"), system=str(system.pk), serial="GX.*")
    assert "capital letters" in _errors(response)


def test_a_role_that_does_not_fit_the_account_is_an_error_of_the_form(filled, staff):
    url = _url(User, "change", filled.mara.pk)
    assert "residents or viewers" in _errors(_save(staff, User, url, role=Role.ACCOUNT_ADMIN))


def test_an_e_mail_that_is_taken_is_an_error_of_the_form(filled, staff):
    url = _url(User, "change", filled.mara.pk)
    assert "already" in _errors(_save(staff, User, url, email="JO@schmidt.example"))


def test_a_user_without_an_account_is_an_error_of_the_form(filled, staff):
    url = _url(User, "change", filled.mara.pk)
    assert "Only staff" in _errors(_save(staff, User, url, account=""))


def test_a_pool_takes_no_system_from_outside_of_its_account(filled, staff):
    url = _url(SystemPool, "change", filled.pool.pk)
    response = _save(staff, SystemPool, url, systems=[str(filled.hafenstrasse.pk)])
    assert "Hafenstraße 3" in _errors(response)


def test_only_grid_operators_are_assigned(filled, staff):
    response = _save(
        staff,
        SystemAssignment,
        _url(SystemAssignment, "add"),
        system=str(filled.lindenweg.pk),
        user=str(filled.viewer.pk),
    )
    assert "not a grid operator" in _errors(response)


def test_a_system_that_moves_leaves_the_pool(filled, staff):
    url = _url(System, "change", filled.lindenweg.pk)
    assert _save(staff, System, url, account=str(filled.schmidts.pk)).status_code == 302
    assert not filled.pool.systems.exists()


def test_a_system_with_a_gateway_is_not_deleted(filled, staff):
    page = staff.post(_url(System, "delete", filled.lindenweg.pk), {"post": "yes"})
    assert page.status_code == 200
    assert System.objects.filter(pk=filled.lindenweg.pk).exists()


def _act(browser, model, action: str, *rows):
    return browser.post(
        _url(model, "changelist"),
        {"action": action, "_selected_action": [str(row.pk) for row in rows]},
        follow=True,
    )


def test_a_new_secret_is_shown_once(filled, staff):
    page = _act(staff, Gateway, "rotate_secret", filled.gateway)
    secret = re.search(r"shown only now: ([\w-]{40,})", page.content.decode()).group(1)
    filled.gateway.refresh_from_db()
    assert is_secret_of(filled.gateway, secret)
    again = staff.get(_url(Gateway, "changelist"))
    assert secret not in again.content.decode()


def test_a_gateway_that_is_added_gets_a_secret_and_is_registered_now(
    filled, staff, now, monkeypatch
):
    monkeypatch.setattr(clock, "now", lambda: now)
    system = System.objects.create(account=filled.meyers, name="New")
    response = _save(staff, Gateway, _url(Gateway, "add"), system=str(system.pk), serial="GX-77")
    assert response.status_code == 302
    gateway = Gateway.objects.get(serial="GX-77")
    assert gateway.secret_digest
    assert gateway.registered_at == now


def test_a_gateway_is_revoked(filled, staff, now):
    page = _act(staff, Gateway, "revoke", filled.gateway)
    assert "1 gateway is revoked" in page.content.decode()
    filled.gateway.refresh_from_db()
    assert filled.gateway.revoked_at is not None
    assert "is revoked already" in _act(staff, Gateway, "revoke", filled.gateway).content.decode()


def test_a_mail_is_sent_again(filled, staff, now):
    message = OutboxMessage.objects.get()
    OutboxMessage.objects.update(failed_at=now, attempts=10)
    _act(staff, OutboxMessage, "resend", message)
    message.refresh_from_db()
    assert (message.failed_at, message.attempts) == (None, 0)


def test_a_user_that_staff_adds_is_invited(filled, staff):
    response = _save(
        staff,
        User,
        _url(User, "add"),
        email="new@north.example",
        account=str(filled.north.pk),
        role=Role.VIEWER,
    )
    assert response.status_code == 302
    user = User.objects.get(email="new@north.example")
    assert not user.has_usable_password()
    assert OutboxMessage.objects.filter(payload__email=user.email).exists()


def test_a_link_for_a_new_password_is_mailed(filled, staff):
    _act(staff, User, "send_password_link", filled.mara)
    assert OutboxMessage.objects.filter(payload__email=filled.mara.email).exists()


def _type(browser, term: str, **changes):
    """Type something into the field for the system of a gateway, or another one."""
    field = {"app_label": "inventory", "model_name": "gateway", "field_name": "system"}
    return browser.get(reverse("admin:autocomplete"), {"term": term} | field | changes)


def test_autocomplete_finds_by_the_same_words(filled, staff):
    for term in ("lindenweg", "linden\0weg"):
        response = _type(staff, term)
        assert [one["text"] for one in response.json()["results"]] == ["Lindenweg 12"]


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        ({"field_name": "faults"}, 403),
        ({"field_name": "serial"}, 403),
        ({"model_name": "\0"}, 403),
        ({"app_label": "x"}, 403),
        ({"page": "abc"}, 404),
    ],
    ids=str,
)
def test_autocomplete_of_nothing_that_can_be_filled_in_is_refused(filled, staff, garbage, status):
    assert _type(staff, "a", **garbage).status_code == status


def test_the_admin_of_one_who_is_no_longer_staff_closes(filled, staff):
    User.objects.filter(email="support@operator.example").update(
        is_staff=False, account=filled.north
    )
    assert staff.get("/admin/", follow=True).status_code == 403


def test_an_operation_by_staff_names_them_in_the_log(filled, staff, now):
    operations.update_account(account=filled.north, name="N", by=filled.staff, now=now)
    page = staff.get(_url(AuditEntry, "changelist"), {"q": filled.staff.email})
    assert page.context["cl"].result_count == 1
