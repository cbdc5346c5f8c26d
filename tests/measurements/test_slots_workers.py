"""Many workers at a time, and workers that die."""

from threading import Lock

import numpy as np
import pytest
from django.db import OperationalError, connection
from django.db.models import Max, Min

from inventory.kinds import ApplianceKind
from measurements.models import DirtySlot
from measurements.slots import appliances, compute, compute_dirty, compute_until_clean
from tests.measurements.arrivals import (
    NOW,
    Device,
    draw_arrival,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store,
    store_and_compute,
)
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

SITES = 6


@pytest.fixture
def busy(monkeypatch):
    """Notes which systems are being computed; fails when one is by two workers at a time."""
    active: set[int] = set()
    lock = Lock()
    real = compute.compute_appliances

    def noting(dirty, **others):
        systems = {run.system_key for run in dirty}
        with lock:
            assert not systems & active
            active.update(systems)
        try:
            return real(dirty, **others)
        finally:
            with lock:
                active.difference_update(systems)

    monkeypatch.setattr(compute, "compute_appliances", noting)
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 20)


def test_many_workers_beside_many_gateways_give_the_same_and_do_nothing_twice(busy):
    rng = np.random.default_rng(3)
    devices = draw_devices(rng)
    alone = make_site(devices, "Europe/Berlin")
    store_and_compute(alone, events_of(devices), history=False)
    first = DirtySlot.objects.count()
    sites = [make_site(devices, "Europe/Berlin") for _number in range(SITES)]
    arrivals = [draw_arrival(rng, devices) for _site in sites]
    claimed: list[int] = []

    def gateway(half: int):
        for site, arrival in list(zip(sites, arrivals, strict=True))[half::2]:
            for batch in arrival:
                store(site, batch, history=False)

    def worker():
        for _round in range(40):
            claimed.append(compute_dirty(now=NOW).claimed)

    in_threads(lambda: gateway(0), lambda: gateway(1), worker, worker, worker)
    claimed.append(compute_until_clean(now=NOW))
    assert first == 0
    assert not DirtySlot.objects.exists()
    expected = rows_of(alone)
    assert all(rows_of(site) == expected for site in sites)
    assert len([rows for rows in claimed if rows]) > SITES


def test_workers_share_a_queue_without_a_row_taken_twice(busy):
    devices = draw_devices(np.random.default_rng(5))
    sites = [make_site(devices, "Asia/Kolkata") for _number in range(SITES)]
    for site in sites:
        store(site, events_of(devices), history=True)
    marked = DirtySlot.objects.count()
    bounds = DirtySlot.objects.aggregate(first=Min("id"), last=Max("id"))
    claimed: list[int] = []

    def worker():
        while DirtySlot.objects.exists():
            claimed.append(compute_dirty(now=NOW).claimed)

    in_threads(worker, worker, worker)
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM measurements_dirtyslot_id_seq")
        (last,) = cursor.fetchone()
    assert sum(claimed) == marked + last - bounds["last"]


@pytest.mark.parametrize("step", ["compute_appliances", "compute_systems", "roll_up"])
def test_a_worker_that_dies_leaves_its_slots_to_the_next(monkeypatch, step):
    devices = draw_devices(np.random.default_rng(11))
    site, other = make_site(devices, "Europe/London"), make_site(devices, "Europe/London")
    store_and_compute(other, events_of(devices), history=False)
    store(site, events_of(devices), history=False)
    marked = DirtySlot.objects.count()
    real = getattr(compute, step)

    def dying(*arguments, **others):
        real(*arguments, **others)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patched:
        patched.setattr(compute, step, dying)
        with pytest.raises(OperationalError):
            compute_dirty(now=NOW)
    connection.close()
    assert DirtySlot.objects.count() == marked
    assert not any(rows_of(site).values())
    compute_until_clean(now=NOW)
    assert rows_of(site) == rows_of(other)


def test_an_error_in_the_midst_of_reading_leaves_the_connection_usable(monkeypatch):
    devices = draw_devices(np.random.default_rng(11))
    site = make_site(devices, "Europe/London")
    store(site, events_of(devices), history=False)
    marked = DirtySlot.objects.count()
    calls = iter([appliances.appliance_slots])

    def failing(*arguments, **others):
        return next(calls)(*arguments, **others)

    with monkeypatch.context() as patched:
        patched.setattr(appliances, "appliance_slots", failing)
        with pytest.raises(StopIteration):
            compute_dirty(now=NOW)
    assert DirtySlot.objects.count() == marked
    assert compute_until_clean(now=NOW) == marked


def test_a_long_queue_of_one_system_keeps_nobody_from_the_others(monkeypatch):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 50)
    power = {"power_w": 100.0}
    busy_site = make_site([Device(ApplianceKind.GRID_METER)], "UTC")
    quiet_site = make_site([Device(ApplianceKind.GRID_METER)], "UTC")
    store(busy_site, [(0, 900 * number, power) for number in range(1_000)], history=True)
    store(quiet_site, [(0, 0, power)], history=True)
    rounds = 0
    while DirtySlot.objects.filter(system_key=quiet_site.system.key).exists():
        compute_dirty(now=NOW)
        rounds += 1
    assert rounds < 15
    assert DirtySlot.objects.filter(system_key=busy_site.system.key).exists()
