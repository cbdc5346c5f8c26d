"""Any number of workers divide limits: nobody waits for another, and none is divided twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread

import pytest
from django.db import connection, transaction

from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import SharedLimit
from flexibility.resolving import hold_systems
from flexibility.sweeping import balance_all_due
from inventory.models import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
LATER = timedelta(seconds=10)


@contextmanager
def held(system) -> Iterator[None]:
    """Meanwhile somebody else works on the system."""
    is_held, is_over = Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            hold_systems({system.pk})
            is_held.set()
            is_over.wait(timeout=30)
        connection.close()

    other = Thread(target=hold)
    other.start()
    assert is_held.wait(timeout=30)
    try:
        yield
    finally:
        is_over.set()
        other.join(timeout=30)


@pytest.fixture
def limits(cast, now) -> dict[str, SharedLimit]:
    """A limit at each of two systems, divided at `now`."""
    found = {}
    for name, system, user in (
        ("lindenweg", cast.lindenweg, cast.fleet),
        ("hafenstrasse", cast.hafenstrasse, cast.south_admin),
    ):
        cluster = Cluster.objects.create(system=system, name="Garage")
        draft = LimitDraft(max_w=11_000, invalid_at=now + timedelta(hours=1))
        found[name] = set_limit(cluster=cluster, draft=draft, by=emitter_of(user), now=now)
    return found


def test_what_another_works_on_is_left_to_it(cast, now, limits):
    with held(cast.lindenweg):
        assert balance_all_due(now=now + LATER)
        assert not balance_all_due(now=now + LATER)
    for one in limits.values():
        one.refresh_from_db()
    assert limits["lindenweg"].balanced_at == now
    assert limits["hafenstrasse"].balanced_at == now + LATER
    assert balance_all_due(now=now + LATER)
    assert not balance_all_due(now=now + LATER)
