"""The pages of accounts, users and the audit log: what stands on them, and what forms do."""

import pytest
from django.core.cache import cache

from accounts import operations
from accounts.access import Role
from accounts.models import Account, AuditEntry, OutboxMessage, User


@pytest.fixture(autouse=True)
def _no_attempts():
    cache.clear()


@pytest.fixture
def admin(client, cast):
    client.force_login(cast.admin)
    return client


def _text(response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def test_the_tree_begins_at_the_users_own_account(cast, client):
    client.force_login(cast.fleet)
    page = _text(client.get("/accounts"))
    assert "North" in page
    assert "Operator AG" not in page
    assert "South" not in page


def test_the_tree_opens_down_to_the_account_that_the_address_names(cast, admin, now):
    west = operations.create_account(parent=cast.north, name="West", by=None, now=now)
    operations.create_account(parent=west, name="Depot", by=None, now=now)
    assert "West" not in _text(admin.get("/accounts"))
    page = _text(admin.get("/accounts", {"open": str(west.pk)}))
    assert "West" in page
    assert "Depot" in page


def test_an_account_out_of_sight_or_nonsense_does_not_open_the_tree(cast, client):
    client.force_login(cast.fleet)
    for wanted in (cast.south.pk, "nonsense"):
        assert "South" not in _text(client.get("/accounts", {"open": str(wanted)}))


def test_a_branch_of_the_tree_is_the_part_that_the_page_has(cast, admin, now):
    operations.create_account(parent=cast.north, name="West", by=None, now=now)
    opened = _text(admin.get(f"/accounts/{cast.north.pk}/node", headers={"HX-Request": "true"}))
    assert "West" in opened
    assert "<html" not in opened
    closed = _text(admin.get(f"/accounts/{cast.north.pk}/node?closed=1"))
    assert "West" not in closed


def test_an_account_is_found_by_name(cast, admin):
    page = _text(admin.get("/accounts", {"q": "meyer"}))
    assert "Family Meyer" in page
    assert "Family Schmidt" not in page
    assert "Nothing found" in _text(admin.get("/accounts", {"q": "nobody at all"}))


def test_the_page_of_an_account_shows_its_users_and_the_way_up_as_far_as_it_is_seen(cast, client):
    client.force_login(cast.fleet)
    page = _text(client.get(f"/accounts/{cast.meyers.pk}"))
    assert "Mara Meyer" in page
    assert "North" in page
    assert "Operator AG" not in page


def test_only_who_may_manage_is_offered_to(cast, client):
    for person, is_offered in ((cast.viewer, False), (cast.admin, True)):
        client.force_login(person)
        page = _text(client.get(f"/accounts/{cast.meyers.pk}"))
        assert (f"/accounts/{cast.meyers.pk}/invite" in page) is is_offered
        assert (f"/users/{cast.mara.pk}" in page) is is_offered


def test_an_account_is_added(cast, admin):
    response = admin.post(
        f"/accounts/{cast.north.pk}/new",
        {"kind": "end-user", "name": "Family Weber", "solution": "HOME", "city": "Bonn"},
    )
    weber = Account.objects.get(name="Family Weber")
    assert response.url == f"/accounts/{weber.pk}"
    assert (weber.parent, weber.kind, weber.solution) == (cast.north, "end-user", "HOME")


def test_a_form_that_is_refused_keeps_what_was_typed(cast, admin):
    page = admin.post(
        f"/accounts/{cast.meyers.pk}/new",
        {"kind": "b2b", "name": "Garden shed", "solution": "GENERAL"},
    )
    text = _text(page)
    assert "Family Meyer is a customer" in text
    assert 'value="Garden shed"' in text
    page = admin.post(
        f"/accounts/{cast.north.pk}/edit",
        {"name": "New name", "solution": "GENERAL", "country": "Germany", "email": "x@y"},
    )
    text = _text(page)
    assert 'value="New name"' in text
    assert Account.objects.get(pk=cast.north.pk).name == "North"


def test_an_account_is_changed(cast, admin):
    admin.post(
        f"/accounts/{cast.north.pk}/edit",
        {"name": "Far north", "solution": "CHARGE", "country": "NO"},
    )
    north = Account.objects.get(pk=cast.north.pk)
    assert (north.name, north.solution, north.country) == ("Far north", "CHARGE", "NO")
    assert AuditEntry.objects.get().changes["name"] == ["North", "Far north"]


def test_somebody_is_invited(cast, admin):
    admin.post(
        f"/accounts/{cast.meyers.pk}/invite",
        {"email": "tom@meyer.example", "full_name": "Tom Meyer", "role": "resident",
         "language": "de", "contract_number": "C-77"},
    )  # fmt: skip
    tom = User.objects.get(email="tom@meyer.example")
    assert (tom.account, tom.role, tom.language) == (cast.meyers, "resident", "de")
    assert tom.contract_number == "C-77"
    assert OutboxMessage.objects.get().payload["email"] == tom.email


@pytest.mark.parametrize(
    ("email", "role", "words"),
    [
        ("mara@meyer.example", "resident", "already"),
        ("new@meyer.example", "account_admin", "not one of the available choices"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused_in_words(cast, admin, email, role, words):
    response = admin.post(
        f"/accounts/{cast.meyers.pk}/invite", {"email": email, "role": role, "language": "en"}
    )
    text = _text(response)
    assert words in text
    assert f'value="{email}"' in text
    assert not OutboxMessage.objects.exists()


def test_a_user_is_changed_and_an_admin_does_not_change_their_own_role(cast, admin):
    admin.post(
        f"/users/{cast.fleet.pk}",
        {"full_name": "Fay Fleet", "role": "viewer", "language": "en"},
    )
    fleet = User.objects.get(pk=cast.fleet.pk)
    assert (fleet.full_name, fleet.role) == ("Fay Fleet", "viewer")
    admin.post(f"/users/{cast.admin.pk}", {"full_name": "Ada", "role": "viewer", "language": "en"})
    assert User.objects.get(pk=cast.admin.pk).role == Role.ACCOUNT_ADMIN


def test_an_admin_does_not_touch_staff(cast, admin):
    person = User.objects.create(email="s@north.example", account=cast.north, is_staff=True)
    assert admin.get(f"/users/{person.pk}").status_code == 403
    assert admin.post(f"/users/{person.pk}/deactivate").status_code == 403


def test_a_user_is_deactivated_and_let_in_again(cast, admin):
    page = admin.post(f"/users/{cast.mara.pk}/deactivate", follow=True)
    assert "can no longer sign in" in _text(page)
    assert not User.objects.get(pk=cast.mara.pk).is_active
    assert "Let in again" in _text(admin.get(f"/users/{cast.mara.pk}"))
    admin.post(f"/users/{cast.mara.pk}/reactivate")
    assert User.objects.get(pk=cast.mara.pk).is_active


def test_an_admin_does_not_shut_themselves_out(cast, admin):
    page = admin.post(f"/users/{cast.admin.pk}/deactivate", follow=True)
    assert "You cannot deactivate yourself" in _text(page)


def test_customers_are_found_by_place_and_by_user_and_sorted(cast, admin):
    Account.objects.filter(pk=cast.meyers.pk).update(city="Aachen", postal_code="52062")
    base = f"/accounts/{cast.operator.pk}/customers"
    assert "Family Schmidt" not in _text(admin.get(base, {"q": "aachen"}))
    assert "Family Meyer" in _text(admin.get(base, {"q": "mara@"}))
    page = _text(admin.get(base, {"sort": "-name"}))
    assert page.index("Family Schmidt") < page.index("Family Meyer")
    fragment = _text(admin.get(base, headers={"HX-Request": "true", "HX-Target": "results"}))
    assert "<html" not in fragment
    assert "Family Meyer" in fragment


def test_long_lists_come_page_by_page(cast, admin):
    Account.objects.bulk_create(
        Account(name=f"Family {number:03}", parent=cast.north, kind="end-user")
        for number in range(60)
    )
    base = f"/accounts/{cast.north.pk}/customers"
    first, second = _text(admin.get(base)), _text(admin.get(base, {"page": 2}))
    assert "1–50 of 61" in first
    assert "51–61 of 61" in second
    for nonsense in ("0", "-1", "x", "99999999999999999999", "٣"):
        assert admin.get(base, {"page": nonsense}).status_code == 200


def test_the_audit_log_tells_who_changed_what_and_filters(cast, admin, now):
    operations.update_account(account=cast.north, name="Far north", by=cast.admin, now=now)
    operations.deactivate_user(user=cast.schmidt, by=cast.staff, now=now)
    base = f"/accounts/{cast.operator.pk}/audit"
    page = _text(admin.get(base))
    assert "Far north" in page
    assert "Jo Schmidt" in page
    assert "Jo Schmidt" not in _text(admin.get(base, {"verb": "changed"}))
    assert "Far north" not in _text(admin.get(base, {"kind": "accounts.user"}))
    assert "Jo Schmidt" in _text(admin.get(base, {"q": "staff@operator"}))
    assert "No entry fits" in _text(admin.get(base, {"q": "nobody"}))


def test_the_audit_log_of_a_sibling_is_not_read(cast, client, now):
    operations.update_account(account=cast.north, name="Far north", by=cast.admin, now=now)
    client.force_login(cast.south_admin)
    assert client.get(f"/accounts/{cast.north.pk}/audit").status_code == 404
    assert "Far north" not in _text(client.get(f"/accounts/{cast.south.pk}/audit"))


def test_a_move_is_shown_before_it_is_made(cast, admin):
    base = f"/accounts/{cast.meyers.pk}/move"
    page = _text(admin.get(base, {"new_parent": str(cast.south.pk)}))
    assert "admin@south.example" in page
    assert "fleet@north.example" in page
    assert "Sun sharers" in page
    assert Account.objects.get(pk=cast.meyers.pk).parent == cast.north
    done = admin.post(base, {"new_parent": str(cast.south.pk)}, follow=True)
    assert "now lies below South" in _text(done)
    assert Account.objects.get(pk=cast.meyers.pk).parent == cast.south
    assert not cast.pool.systems.exists()


def test_an_account_is_not_moved_to_where_the_user_sees_nothing(cast, client, now):
    boss = operations.create_user(
        account=cast.north, email="boss@north.example", role=Role.ACCOUNT_ADMIN, by=None, now=now
    )
    client.force_login(boss)
    page = client.post(f"/accounts/{cast.meyers.pk}/move", {"new_parent": str(cast.south.pk)})
    assert "Select a valid choice" in _text(page)
    page = client.post(f"/accounts/{cast.north.pk}/move", {"new_parent": str(cast.meyers.pk)})
    assert page.status_code == 200
    assert Account.objects.get(pk=cast.north.pk).parent == cast.operator


@pytest.mark.parametrize("count", [3, 30])
def test_a_longer_list_asks_the_database_no_more_often(
    cast, admin, count, django_assert_max_num_queries
):
    for number in range(count):
        Account.objects.create(name=f"Family {number}", parent=cast.north, kind="end-user")
        User.objects.create(email=f"u{number}@north.example", account=cast.north)
    with django_assert_max_num_queries(12):
        admin.get(f"/accounts/{cast.north.pk}/customers")
    with django_assert_max_num_queries(12):
        admin.get(f"/accounts/{cast.north.pk}")
    with django_assert_max_num_queries(12):
        admin.get("/accounts")
