"""Instants are acted on as they pass, by one scheduler at a time."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event, Thread

import pytest
from django.db import connection

from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import Flexibility, ResolvedBoundary, SystemMark
from flexibility.operations import Draft, set_constraints
from gridx import clock, scheduler
from inventory.models import Cluster
from inventory.operations import move_appliance

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


class Running:
    """A scheduler in a thread."""

    def __init__(self) -> None:
        self._stop = Event()
        self._thread = Thread(target=scheduler.run_scheduler, kwargs={"stop": self._stop})
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()


@pytest.fixture
def hinted(monkeypatch) -> list[str]:
    """The names of the tasks that workers were told of."""
    found: list[str] = []
    monkeypatch.setattr(scheduler, "_hint", lambda task: found.append(task.name))
    return found


@pytest.fixture
def running(hinted) -> Iterator[Callable[[], Running]]:
    """Starts schedulers; they end with the test."""
    started: list[Running] = []

    def start() -> Running:
        started.append(Running())
        return started[-1]

    yield start
    for one in started:
        one.end()


def limit(cast, *, target=None, **fields) -> None:
    set_constraints(
        target=target or cast.evcs,
        drafts=[Draft(**fields)],
        emitter=emitter_of(cast.fleet),
        now=clock.now(),
    )


def until(condition: Callable[[], bool], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.02)


def greatest_w(cast) -> float | None:
    return Flexibility.objects.get(pk=cast.evcs.pk).max_w


def test_what_ends_is_noticed_within_a_second(cast, running):
    running()
    end = clock.now() + timedelta(seconds=3)
    limit(cast, max_w=11_000, invalid_at=end)
    assert greatest_w(cast) == 11_000
    until(lambda: greatest_w(cast) is None)
    [_begun, ended] = ResolvedBoundary.objects.order_by("at")
    assert timedelta(0) <= ended.at - end < timedelta(seconds=1)


def test_what_is_saved_is_sent_at_once(cast, running, hinted):
    running()
    until(lambda: "gridx.tasks.send_heartbeats" in hinted)
    time.sleep(0.5)  # asleep now, for five seconds
    began = time.monotonic()
    limit(cast, max_w=11_000, invalid_at=clock.now() + timedelta(hours=1))
    until(lambda: "gridx.tasks.publish_schedules" in hinted)
    assert time.monotonic() - began < scheduler.SWEEP_S / 2


def test_who_joins_a_cluster_gets_its_constraints_at_once(cast, running):
    cluster = Cluster.objects.create(system=cast.lindenweg, name="Garage")
    limit(cast, target=cluster, max_w=11_000, invalid_at=clock.now() + timedelta(hours=1))
    running()
    move_appliance(appliance=cast.evcs, cluster=cluster, by=None, now=clock.now())
    until(Flexibility.objects.filter(pk=cast.evcs.pk, max_w=11_000).exists)
    until(lambda: not SystemMark.objects.exists())


def test_limits_are_divided_as_soon_as_they_begin(cast, running, hinted):
    running()
    cluster = Cluster.objects.create(system=cast.lindenweg, name="Garage")
    begin = clock.now() + timedelta(seconds=2)
    draft = LimitDraft(max_w=11_000, valid_at=begin, invalid_at=begin + timedelta(hours=1))
    set_limit(cluster=cluster, draft=draft, by=emitter_of(cast.fleet), now=clock.now())
    until(lambda: "gridx.tasks.balance_limits" in hinted)
    assert timedelta(0) <= clock.now() - begin < timedelta(seconds=1)


def holders() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
            " WHERE locktype = 'advisory' AND objid = %s AND granted"
            " AND datname = current_database()",
            [scheduler.LOCK],
        )
        return cursor.fetchone()[0]


def test_one_works_at_a_time_and_another_takes_over(cast, running):
    first = running()
    until(lambda: holders() == 1)
    second = running()
    time.sleep(1)
    assert holders() == 1
    first.end()
    limit(cast, max_w=11_000, invalid_at=clock.now() + timedelta(seconds=2))
    until(lambda: greatest_w(cast) is None)
    assert holders() == 1
    second.end()
    assert holders() == 0


# The listening one alone is noticed while it sleeps, by the driver and not by Django.
@pytest.mark.parametrize("which", ["%", "%pg_try_advisory_lock%"])
def test_a_connection_that_breaks_is_made_again(cast, running, which):
    running()
    until(lambda: holders() == 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query LIKE %s",
            [which],
        )
    limit(cast, max_w=11_000, invalid_at=clock.now() + timedelta(seconds=2))
    until(lambda: greatest_w(cast) is None)
