"""Whole lists in parts: each row once, in order."""

import pytest

from accounts.models import Account
from accounts.paging import ids_in_parts, parts_by_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def accounts(cast) -> list[Account]:
    """All of them, in the order of their keys."""
    found = list(Account.objects.order_by("key"))
    assert len(found) == 5
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_parts_by_key_are_all_rows_in_order(accounts, size):
    parts = list(parts_by_key(Account.objects.all(), "key", size=size))
    assert [one for part in parts for one in part] == accounts
    assert {len(part) for part in parts[:-1]} <= {size}
    parts = parts_by_key(Account.objects.values("key", "name"), "key", size=size)
    assert [one["name"] for part in parts for one in part] == [one.name for one in accounts]


def test_parts_by_key_of_nothing_are_none(cast):
    assert list(parts_by_key(Account.objects.none(), "key", size=2)) == []
    assert list(ids_in_parts(Account.objects.none(), size=2)) == []


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_ids_come_once_and_in_the_order_at_the_beginning(accounts, size):
    rows = Account.objects.order_by("-name", "pk")
    expected = list(rows.values_list("pk", flat=True))
    parts = ids_in_parts(rows, size=size)
    found = next(parts)
    Account.objects.filter(pk__in=found).update(name="!")
    Account.objects.exclude(pk__in=found).update(name="~")
    assert [*found, *(one for part in parts for one in part)] == expected
