import pytest
from django.core.exceptions import ValidationError

from accounts import mails, operations
from accounts.access import Role
from accounts.models import Account, AuditEntry, OutboxMessage, User
from inventory.models import System


def _last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("id")


def test_an_account_is_added_below_another_one_with_an_entry(cast, now):
    account = operations.create_account(
        parent=cast.north, name="Depot", by=cast.admin, now=now, city="Bonn"
    )
    assert account.path.startswith(cast.north.path)
    assert account.city == "Bonn"
    entry = _last_entry()
    assert (entry.verb, entry.by, entry.account, entry.target_id, entry.at) == (
        "created", cast.admin, account, account.pk, now,
    )  # fmt: skip


def test_an_account_below_a_customer_is_refused_in_words(cast, now):
    with pytest.raises(operations.UnableToCreateAccount, match="Family Meyer is a customer"):
        operations.create_account(parent=cast.meyers, name="Room", by=cast.admin, now=now)


def test_a_customer_without_an_account_above_is_refused(db, now):
    with pytest.raises(operations.UnableToCreateAccount, match="above it"):
        operations.create_account(
            parent=None, name="Alone", kind=Account.Kind.CUSTOMER, by=None, now=now
        )


def test_a_changed_account_tells_what_changed(cast, now):
    operations.update_account(account=cast.north, name="Far north", by=cast.admin, now=now)
    assert Account.objects.get(pk=cast.north.pk).name == "Far north"
    assert _last_entry().changes == {"name": ["North", "Far north"]}


def test_a_change_that_changes_nothing_leaves_no_entry(cast, now):
    operations.update_account(account=cast.north, name="North", by=cast.admin, now=now)
    assert not AuditEntry.objects.exists()


def test_a_move_takes_customers_and_their_visibility_along(cast, now):
    operations.move_account(account=cast.meyers, new_parent=cast.south, by=cast.admin, now=now)
    assert cast.lindenweg in System.objects.visible_to(cast.south_admin)
    assert cast.lindenweg not in System.objects.visible_to(cast.fleet)
    assert _last_entry().changes == {"parent": ["North", "South"]}


@pytest.mark.parametrize(
    ("account", "new_parent", "words"),
    [
        ("north", "meyers", "Family Meyer is a customer"),
        ("operator", "north", "cannot lie below itself"),
        ("north", "north", "cannot lie below itself"),
        ("north", "operator", "is below Operator AG already"),
    ],
)
def test_a_move_that_the_tree_does_not_take_is_refused_in_words(
    cast, now, account, new_parent, words
):
    with pytest.raises(operations.UnableToMoveAccount, match=words):
        operations.move_account(
            account=getattr(cast, account),
            new_parent=getattr(cast, new_parent),
            by=None,
            now=now,
        )
    assert Account.objects.get(pk=cast.north.pk).parent == cast.operator
    assert not AuditEntry.objects.exists()


def test_nobody_moves_the_account_that_they_belong_to(cast, now):
    with pytest.raises(operations.UnableToMoveAccount, match="that you belong to"):
        operations.move_account(
            account=cast.operator, new_parent=cast.north, by=cast.admin, now=now
        )


def test_an_invitation_saves_the_user_and_the_mail_together(cast, now):
    user = operations.invite_user(
        account=cast.north,
        email="New@North.example",
        role=Role.INSTALLER,
        full_name="Nia New",
        by=cast.admin,
        now=now,
    )
    assert not user.has_usable_password()
    message = OutboxMessage.objects.get()
    assert message.payload == {"letter": mails.INVITATION, "email": user.email}
    assert message.due_at == now


def test_an_invitation_with_a_known_e_mail_is_refused_and_mails_nothing(cast, now):
    with pytest.raises(operations.UnableToCreateUser, match="signs in with this e-mail"):
        operations.invite_user(
            account=cast.north, email="MARA@meyer.example", role=Role.VIEWER, by=None, now=now
        )
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize(
    ("account", "role"),
    [("meyers", Role.ACCOUNT_ADMIN), ("meyers", Role.FLEET_MANAGER), ("north", Role.RESIDENT)],
)
def test_residents_live_at_customers_and_nobody_else_does(cast, now, account, role):
    with pytest.raises(operations.UnableToCreateUser, match="residents"):
        operations.create_user(
            account=getattr(cast, account), email="x@example.org", role=role, by=None, now=now
        )


def test_a_role_is_changed_with_an_entry(cast, now):
    operations.change_role(user=cast.viewer, role=Role.INSTALLER, by=cast.admin, now=now)
    assert User.objects.get(pk=cast.viewer.pk).role == Role.INSTALLER
    entry = _last_entry()
    assert (entry.verb, entry.changes) == ("role_changed", {"role": ["viewer", "installer"]})


def test_nobody_changes_their_own_role_or_shuts_themselves_out(cast, now):
    with pytest.raises(operations.UnableToChangeUser, match="your own role"):
        operations.change_role(user=cast.admin, role=Role.VIEWER, by=cast.admin, now=now)
    with pytest.raises(operations.UnableToChangeUser, match="deactivate yourself"):
        operations.deactivate_user(user=cast.admin, by=cast.admin, now=now)


def test_a_refused_role_leaves_the_rest_unchanged(cast, now):
    with pytest.raises(operations.UnableToChangeUser):
        operations.update_user(
            user=cast.mara, role=Role.ACCOUNT_ADMIN, full_name="Mara M.", by=cast.admin, now=now
        )
    assert User.objects.get(pk=cast.mara.pk).full_name == "Mara Meyer"


def test_a_deactivated_user_is_signed_out_at_once_and_comes_back(cast, now, client):
    client.force_login(cast.mara)
    assert client.get("/profile").status_code == 200
    operations.deactivate_user(user=cast.mara, by=cast.admin, now=now)
    assert client.get("/profile").status_code == 302
    operations.reactivate_user(user=cast.mara, by=cast.admin, now=now)
    assert User.objects.get(pk=cast.mara.pk).is_active
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["deactivated", "reactivated"]


def test_deactivating_twice_leaves_one_entry(cast, now):
    for _time in range(2):
        operations.deactivate_user(user=cast.mara, by=cast.admin, now=now)
    assert AuditEntry.objects.count() == 1


def test_who_has_signed_in_is_not_invited_again(cast, now):
    cast.mara.last_login = now
    with pytest.raises(operations.UnableToChangeUser, match="signed in before"):
        operations.invite_again(user=cast.mara, by=cast.admin, now=now)


def test_asking_for_a_new_password_saves_the_same_for_every_address(cast, now):
    for email in ("mara@meyer.example", "nobody@nowhere.example"):
        operations.request_password_reset(email=email, now=now)
    assert [message.payload["letter"] for message in OutboxMessage.objects.all()] == [
        mails.PASSWORD_RESET,
        mails.PASSWORD_RESET,
    ]


def test_the_country_is_two_capitals():
    account = Account(name="X", country="germany")
    with pytest.raises(ValidationError) as error:
        account.clean_fields(exclude=["path", "key"])
    assert "country" in error.value.message_dict
