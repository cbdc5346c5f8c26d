"""Whatever arrives, however it arrives: the slots are those of computing everything at once."""

from contextlib import contextmanager

import numpy as np
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.kinds import ApplianceKind
from measurements.models import ApplianceSlot, DirtySlot
from measurements.resolutions import SLOT_MS
from measurements.slots import compute, compute_dirty, compute_until_clean, systems
from tests.measurements.arrivals import (
    NOW,
    ZONES,
    Device,
    draw_arrival,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store,
    store_and_compute,
)

pytestmark = pytest.mark.django_db


def in_the_database(examples: int):
    """Hypothesis with few examples, that may take as long as a database does."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


seeds = st.integers(0, 2**32 - 1)


@contextmanager
def undone():
    """What happens in here is rolled back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def differences(one: dict, other: dict) -> list:
    """Where two results of `rows_of` differ: table, where, column and both values."""
    found = []
    for table in one:
        for where in sorted(one[table].keys() | other[table].keys(), key=str):
            mine, theirs = one[table].get(where), other[table].get(where)
            if mine is None or theirs is None:
                found.append((table, where, mine, theirs))
                continue
            found += [
                (table, where, name, mine[name], theirs[name])
                for name in mine
                if mine[name] != theirs[name]
            ]
    return found


@in_the_database(25)
@given(seed=seeds, zone=st.sampled_from(ZONES), history=st.booleans())
def test_any_order_of_arrival_gives_the_same(seed, zone, history):
    check_arrival(seed, zone, history)


def check_arrival(seed, zone, history):
    rng = np.random.default_rng(seed)
    devices = draw_devices(rng)
    with undone(), pytest.MonkeyPatch.context() as patched:
        at_once, bit_by_bit = make_site(devices, zone), make_site(devices, zone)
        store_and_compute(at_once, events_of(devices), history=history)
        if rng.random() < 0.5:
            make_rounds_small(patched)
        for batch in draw_arrival(rng, devices):
            store(bit_by_bit, batch, history=history)
            for _round in range(rng.integers(0, 3)):
                compute_dirty(now=NOW)
        compute_until_clean(now=NOW)
        assert differences(rows_of(bit_by_bit), rows_of(at_once)) == []
        assert not DirtySlot.objects.exists()


def make_rounds_small(patched):
    """Cut everything in far smaller pieces than need be."""
    patched.setattr(compute, "ROWS_AT_MOST", 7)
    patched.setattr(compute, "_SLOTS_AT_ONCE", (3,))
    patched.setattr(systems, "_ROWS_AT_ONCE", 10)
    patched.setattr(systems, "_ONWARD_MS", 2 * SLOT_MS)


def test_a_counter_that_only_history_tells_of_is_found():
    site = make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin")
    store(site, [(0, 90_000, {"power_w": 100.0})], history=False)
    store(
        site, [(0, 0, {"imported_wh": 1_000.0}), (0, 5_400, {"imported_wh": 1_600.0})], history=True
    )
    compute_until_clean(now=NOW)
    store(site, [(0, 3_600, {"imported_wh": 1_100.0})], history=True)
    compute_until_clean(now=NOW)
    slots = ApplianceSlot.objects.filter(system_key=site.system.key, import_mwh__isnull=False)
    assert list(slots.order_by("start").values_list("import_mwh", flat=True)) == [
        25_000,
        25_000,
        25_000,
        25_000,
        250_000,
        250_000,
    ]
