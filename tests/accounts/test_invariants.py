"""What the database itself keeps of accounts and users, whoever writes."""

import threading
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import ProtectedError

from accounts.access import Role
from accounts.models import Account, User
from tests.cast import make_cast


def test_the_database_makes_the_path(cast):
    meyers = Account.objects.get(pk=cast.meyers.pk)
    assert meyers.path == f"{cast.operator.key}.{cast.north.key}.{meyers.key}."


def test_a_root_is_its_own_path(db):
    root = Account.objects.create(name="Root")
    assert Account.objects.get(pk=root.pk).path == f"{root.key}."


def test_a_customer_has_no_sub_accounts(cast):
    with pytest.raises(IntegrityError, match="a customer has no sub-accounts"):
        Account.objects.create(name="Child", parent=cast.meyers)


def test_an_account_does_not_move_below_a_customer(cast):
    cast.south.parent = cast.meyers
    with pytest.raises(IntegrityError, match="a customer has no sub-accounts"):
        cast.south.save()


def test_an_account_with_children_does_not_become_a_customer(cast):
    with pytest.raises(IntegrityError, match="a customer has no sub-accounts"):
        Account.objects.filter(pk=cast.north.pk).update(kind=Account.Kind.CUSTOMER)


def test_a_customer_has_an_account_above_it(db):
    with pytest.raises(IntegrityError, match="account_root_is_business"):
        Account.objects.create(name="Alone", kind=Account.Kind.CUSTOMER)


def test_an_account_is_not_its_own_parent(cast):
    cast.north.parent = cast.north
    with pytest.raises(IntegrityError, match="cannot move below itself"):
        cast.north.save()


def test_an_account_does_not_move_below_its_child(cast):
    cast.operator.parent = cast.north
    with pytest.raises(IntegrityError, match="cannot move below itself"):
        cast.operator.save()


def test_an_account_does_not_move_below_a_distant_descendant(cast):
    deep = cast.north
    for level in range(5):
        deep = Account.objects.create(name=f"Level {level}", parent=deep)
    with pytest.raises(IntegrityError, match="cannot move below itself"):
        Account.objects.filter(pk=cast.operator.pk).update(parent=deep)


def test_a_move_takes_the_subtree_along(cast):
    cast.north.parent = cast.south
    cast.north.save()
    meyers = Account.objects.get(pk=cast.meyers.pk)
    assert meyers.path == (f"{cast.operator.key}.{cast.south.key}.{cast.north.key}.{meyers.key}.")
    assert Account.objects.below(cast.south).filter(pk=meyers.pk).exists()


def test_an_account_becomes_a_root_and_keeps_its_subtree(cast):
    cast.north.parent = None
    cast.north.save()
    meyers = Account.objects.get(pk=cast.meyers.pk)
    assert meyers.path == f"{cast.north.key}.{meyers.key}."


def test_a_path_cannot_be_written_by_hand_on_insert(cast):
    account = Account.objects.create(name="Sly", parent=cast.south, path=cast.north.path + "1.")
    account.refresh_from_db()
    assert account.path == f"{cast.operator.key}.{cast.south.key}.{account.key}."


def test_an_account_with_children_users_or_systems_is_not_deleted(cast):
    for account in (cast.operator, cast.north, cast.meyers):
        with pytest.raises(ProtectedError):
            account.delete()


def test_the_database_protects_children_from_raw_deletes_too(cast):
    Account.objects.filter(pk=cast.operator.pk)._raw_delete("default")
    # Foreign keys are looked at when the transaction ends.
    with pytest.raises(IntegrityError):
        connection.check_constraints()


def test_e_mails_differ_by_more_than_capitals(cast):
    with pytest.raises(IntegrityError, match="user_email_unique"):
        User.objects.create(email="MARA@meyer.example", account=cast.meyers)


def test_only_staff_is_without_an_account(db):
    with pytest.raises(IntegrityError, match="user_has_account"):
        User.objects.create(email="nobody@nowhere.example")


def test_a_contract_ends_after_it_begins(cast):
    with pytest.raises(IntegrityError, match="user_contract_order"):
        User.objects.create(
            email="late@meyer.example",
            account=cast.meyers,
            role=Role.RESIDENT,
            contract_from="2026-02-01",
            contract_until="2026-01-01",
        )


def _move_in_a_thread(account_id, parent_id, begun, outcome):
    try:
        with transaction.atomic():
            begun.wait(timeout=60)
            account = Account.objects.get(pk=account_id)
            account.parent_id = parent_id
            # As `move_account` does: writing the key too would lock the row against its children.
            account.save(update_fields=["parent"])
        outcome.append("moved")
    except (IntegrityError, OperationalError) as error:
        outcome.append(type(error).__name__)
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_moves_at_once_do_not_make_a_circle():
    cast = make_cast()
    for _round in range(5):
        Account.objects.filter(pk__in=[cast.north.pk, cast.south.pk]).update(parent=cast.operator)
        begun, outcome = threading.Barrier(2), []
        moves = [(cast.north.pk, cast.south.pk), (cast.south.pk, cast.north.pk)]
        threads = [
            threading.Thread(target=_move_in_a_thread, args=(*move, begun, outcome))
            for move in moves
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # At most one goes through; what is left is a tree whose paths are right.
        assert outcome.count("moved") <= 1
        _assert_paths_are_right()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_child_that_is_added_during_a_move_gets_the_right_path():
    cast = make_cast()
    begun, outcome = threading.Barrier(2), []

    def add():
        try:
            begun.wait(timeout=60)
            for number in range(10):
                Account.objects.create(name=f"New {number}", parent_id=cast.north.pk)
        finally:
            connection.close()

    adding = threading.Thread(target=add)
    moving = threading.Thread(
        target=_move_in_a_thread, args=(cast.north.pk, cast.south.pk, begun, outcome)
    )
    for thread in (adding, moving):
        thread.start()
    for thread in (adding, moving):
        thread.join()
    assert outcome == ["moved"]
    assert Account.objects.filter(parent=cast.north).count() == 11
    _assert_paths_are_right()


def _assert_paths_are_right():
    accounts = {account.pk: account for account in Account.objects.all()}
    for account in accounts.values():
        above = accounts[account.parent_id].path if account.parent_id else ""
        assert account.path == f"{above}{account.key}."


def test_an_unknown_parent_is_refused(db):
    with pytest.raises(IntegrityError):
        Account.objects.create(name="Orphan", parent_id=uuid4())
