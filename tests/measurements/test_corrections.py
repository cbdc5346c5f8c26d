"""What is said of an appliance holds of all of its history, whenever that was computed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module
from threading import Event

import numpy as np
import pytest
from django.db import connection, transaction

from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.ingest import declare_interval
from measurements.models import Cause, DayChange, DirtySlot, SystemDay, SystemSlot
from measurements.resolutions import Resolution, periods
from measurements.slots import compute, compute_dirty, compute_until_clean
from measurements.slots.rollups import APPLIANCE_DAYS, APPLIANCE_HOURS, roll_up
from measurements.words import causes_in_words
from tests.measurements.arrivals import (
    BEGIN,
    NOW,
    Device,
    Site,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store,
    store_and_compute,
)
from tests.threads import in_threads, until_others_wait

pytestmark = pytest.mark.django_db

DAY_S = 86_400


def correct(site: Site, number: int, **values) -> None:
    Appliance.objects.filter(key=site.keys[number]).update(**values)


def say(site: Site, number: int, device: Device) -> None:
    """Correct all that is said of an appliance to what the device is."""
    limit_w, removed_s = device.limit_w, device.removed_after_s
    correct(
        site,
        number,
        kind=device.kind,
        interval_s=device.interval_s,
        capacity_wh=device.capacity_wh,
        min_power_w=None if limit_w is None else -limit_w,
        max_power_w=limit_w,
        removed_at=None if removed_s is None else BEGIN + timedelta(seconds=removed_s),
    )


def rows_with(devices: list[Device]) -> dict[str, dict]:
    """What is computed where it was said of the devices from the beginning."""
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    return rows_of(site)


@pytest.fixture
def devices():
    """A meter whose counter jumps once, a roof that pauses for days, and a battery."""
    steps = range(0, 6 * DAY_S, 900)
    sunny = [at for at in steps if not DAY_S < at < 4 * DAY_S]
    charge = np.random.default_rng(3).uniform(0, 1, len(steps)).round(3)
    return [
        Device(
            ApplianceKind.GRID_METER,
            interval_s=900,
            readings={
                at: {"imported_wh": at / 10 + 20_000 * (at > 3 * DAY_S), "exported_wh": at / 20}
                for at in steps
            },
        ),
        Device(
            ApplianceKind.PV_INVERTER,
            interval_s=900,
            readings={at: {"exported_wh": at / 5} for at in sunny},
        ),
        Device(
            ApplianceKind.BATTERY,
            interval_s=900,
            capacity_wh=10_000.0,
            readings={
                at: {"power_w": 2_000.0 * (at // 7_200 % 2) - 1_000, "soc": soc}
                for at, soc in zip(steps, charge.tolist(), strict=True)
            },
        ),
    ]


@pytest.fixture
def site(devices):
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    return site


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"kind": ApplianceKind.HOUSEHOLD_METER}),
        (1, {"kind": ApplianceKind.METER}),
        (1, {"kind": ApplianceKind.BATTERY}),
        (2, {"capacity_wh": 5_000.0}),
        (2, {"capacity_wh": None}),
        (0, {"limit_w": 9_000.0}),
        (2, {"interval_s": 60}),
        (1, {"removed_after_s": 2 * DAY_S + 4_800}),
    ],
    ids=str,
)
def test_history_is_the_same_whenever_it_was_computed(devices, site, number, change):
    before = rows_of(site)
    corrected = [*devices]
    corrected[number] = replace(devices[number], **change)
    say(site, number, corrected[number])
    compute_until_clean(now=NOW)
    assert rows_of(site) == rows_with(corrected) != before
    say(site, number, devices[number])
    compute_until_clean(now=NOW)
    assert rows_of(site) == before


@pytest.mark.parametrize("seed", range(6))
def test_so_it_is_of_any_household(seed):
    devices = draw_devices(np.random.default_rng(seed))
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    corrected = [
        replace(other, readings=device.readings)
        for device, other in zip(devices, devices[::-1], strict=True)
    ]
    for number, device in enumerate(corrected):
        say(site, number, device)
    compute_until_clean(now=NOW)
    assert rows_of(site) == rows_with(corrected)


def test_what_no_figure_depends_on_marks_nothing(site):
    correct(site, 1, name="Barn", room="South", status=Appliance.Status.OK)
    correct(site, 1, kind=ApplianceKind.PV_INVERTER)
    Appliance.objects.get(key=site.keys[1]).save()
    assert not DirtySlot.objects.exists()


def test_an_interval_that_was_declared_holds_whatever_is_said(site):
    appliance = Appliance.objects.get(key=site.keys[2])
    declare_interval(appliance=appliance, interval_s=900, valid_from=BEGIN)
    correct(site, 2, interval_s=60, removed_at=NOW)
    correct(site, 2, interval_s=300)
    assert not DirtySlot.objects.exists()


def test_a_removal_marks_only_what_comes_after(site):
    removed_at = BEGIN + timedelta(days=2, minutes=20)
    correct(site, 2, removed_at=removed_at)
    marks = DirtySlot.objects.filter(appliance_key=site.keys[2])
    assert min(mark.start for mark in marks) == BEGIN + timedelta(days=2, minutes=15)
    compute_until_clean(now=NOW)
    correct(site, 2, removed_at=NOW)
    assert min(mark.start for mark in marks.all()) == BEGIN + timedelta(days=2, minutes=15)


def test_hours_and_days_that_held_what_came_after_a_removal_are_made_anew(site):
    correct(site, 2, removed_at=BEGIN + timedelta(days=2, minutes=20))
    compute_until_clean(now=NOW)
    before = rows_of(site)
    days = periods(BEGIN, NOW, Resolution.DAY, site.system.zone)
    for rollup in (APPLIANCE_HOURS, APPLIANCE_DAYS):
        roll_up(replace(rollup, condition="TRUE"), [(site.system.key, day) for day in days])
    assert rows_of(site) != before
    migration = import_module("measurements.migrations.0007_hours_until_removal")
    with connection.cursor() as cursor:
        cursor.execute(migration.FORWARD)
    assert set(DirtySlot.objects.values_list("appliance_key", flat=True)) == {site.keys[2]}
    compute_until_clean(now=NOW)
    assert rows_of(site) == before


def test_what_is_taken_back_with_its_transaction_marks_nothing(site):
    with transaction.atomic():
        correct(site, 1, kind=ApplianceKind.METER)
        assert DirtySlot.objects.exists()
        transaction.set_rollback(True)
    assert not DirtySlot.objects.exists()


def test_other_appliances_and_systems_are_left_alone(devices, site):
    other = make_site(devices, "Europe/Berlin")
    store_and_compute(other, events_of(devices), history=True)
    correct(site, 1, kind=ApplianceKind.METER)
    marked = DirtySlot.objects.values_list("system_key", "appliance_key", "cause").distinct()
    assert list(marked) == [(site.system.key, site.keys[1], Cause.CORRECTION)]


def test_one_that_goes_to_another_system_counts_in_the_old_one_to_its_last_slot(devices):
    early = {at: values for at, values in devices[1].readings.items() if at <= DAY_S}
    devices[1] = replace(devices[1], readings=early)
    site, other = make_site(devices, "Europe/Berlin"), make_site([], "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    before = rows_of(site)
    correct(site, 1, system=other.system)
    compute_until_clean(now=NOW)
    left = rows_with([devices[0], replace(devices[1], removed_after_s=DAY_S + 900), devices[2]])
    assert rows_of(site) == left != before
    correct(site, 1, system=site.system)
    compute_until_clean(now=NOW)
    assert rows_of(site) == before


def test_the_receipts_of_its_days_say_so(site, devices):
    pv_mwh = dict(SystemDay.objects.values_list("start", "pv_mwh"))
    later = NOW + timedelta(days=1)
    correct(site, 1, kind=ApplianceKind.METER)
    compute_until_clean(now=later)
    receipts = DayChange.objects.order_by("start")
    assert {one.start: one.changes["pv"] for one in receipts} == {
        start: [mwh, None] for start, mwh in pv_mwh.items() if mwh is not None
    }
    assert {(one.causes, one.changed_at) for one in receipts} == {(Cause.CORRECTION, later)}
    assert causes_in_words(receipts[0].causes) == "what is said of an appliance was corrected"


def test_readings_of_the_same_round_are_no_reason_of_days_that_they_are_not_of(site, devices):
    last_s = max(devices[1].readings)
    now = BEGIN + timedelta(seconds=last_s + 900)
    correct(site, 1, kind=ApplianceKind.METER)
    store(site, [(1, last_s + 900, {"exported_wh": last_s / 5 + 10})], history=False, now=now)
    compute_until_clean(now=now)
    assert len(DayChange.objects.values_list("start")) > 4
    assert set(DayChange.objects.values_list("causes", flat=True)) == {Cause.CORRECTION}


def test_the_days_of_an_import_tell_of_it_whatever_the_clock_says(devices):
    # A simulation may be ahead of the database's own clock by years.
    ahead = NOW + timedelta(days=4_000)
    site = make_site(devices, "Europe/Berlin")
    store(site, events_of(devices), history=True, now=ahead)
    compute_until_clean(now=ahead)
    assert not DayChange.objects.exists()
    correct(site, 1, kind=ApplianceKind.METER)
    compute_until_clean(now=ahead)
    assert set(DayChange.objects.values_list("causes", flat=True)) == {Cause.CORRECTION}


@pytest.mark.django_db(transaction=True)
def test_who_computes_at_that_moment_leaves_nothing_of_what_was_said_before(devices, monkeypatch):
    site = make_site(devices, "Europe/Berlin")
    store(site, events_of(devices), history=True)
    while_computing(lambda: correct(site, 1, kind=ApplianceKind.METER), monkeypatch, now=NOW)
    assert SystemSlot.objects.filter(pv_mwh__gt=0).exists()
    compute_until_clean(now=NOW)
    assert not SystemSlot.objects.filter(pv_mwh__gt=0).exists()


def while_computing(job: Callable[[], object], monkeypatch, *, now: datetime) -> None:
    """Do something as soon as a worker has read what it computes from, and before it is done."""
    has_read, is_begun = Event(), Event()
    real = compute.compute_systems

    def slowly(stretches, membership):
        has_read.set()
        is_begun.wait(timeout=30)
        until_others_wait("transactionid", "tuple")
        return real(stretches, membership)

    def meanwhile():
        has_read.wait(timeout=30)
        is_begun.set()
        job()

    with monkeypatch.context() as patched:
        patched.setattr(compute, "compute_systems", slowly)
        in_threads(lambda: compute_dirty(now=now), meanwhile)
