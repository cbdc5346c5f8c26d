"""History computed once more, by command."""

from datetime import timedelta
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.evidence import evidence_of
from measurements.management.commands import rebuild_measurements
from measurements.models import ApplianceSlot, DirtySlot, FinalSpan, SystemDay, SystemSlot
from measurements.partitions import maintain_partitions
from measurements.resolutions import SLOT
from measurements.slots import (
    Computed,
    compute_dirty,
    compute_until_clean,
    mark_history,
    waiting_slots,
)
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

pytestmark = pytest.mark.django_db


def rebuild(site: Site, **options: str) -> str:
    out = StringIO()
    options = {"from_at": "2026-03-01", "until_at": "2026-05-01"} | options
    call_command(
        "rebuild_measurements", system=str(site.system.pk), stdout=out, verbosity=0, **options
    )
    return out.getvalue()


@pytest.fixture
def devices():
    return draw_devices(np.random.default_rng(21))


@pytest.fixture
def site(devices):
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    return site


def test_rebuilding_what_is_right_changes_nothing(site):
    before = rows_of(site)
    assert "Days that were over and have other energies now: 0." in rebuild(site)
    assert rows_of(site) == before
    assert not DirtySlot.objects.exists()


def test_what_was_damaged_is_made_good(site):
    before = rows_of(site)
    ApplianceSlot.objects.filter(start__gte=BEGIN + timedelta(hours=3)).update(import_mwh=5)
    SystemSlot.objects.filter(start__lt=BEGIN + timedelta(hours=5)).delete()
    rebuild(site)
    assert rows_of(site) == before


def test_what_changed_is_told_whoever_computed_it(site, monkeypatch):
    days = SystemDay.objects.filter(system_key=site.system.key)
    first, *_others, last = days.order_by("start")
    assert first.start < last.start
    days.filter(start=first.start).update(import_mwh=5)

    def computed_by_a_worker(*, now, system_key):
        compute_until_clean(now=now)
        return Computed(0)

    monkeypatch.setattr(rebuild_measurements, "compute_dirty", computed_by_a_worker)
    assert "Days that were over and have other energies now: 1." in rebuild(site)


def test_what_arrives_of_a_day_that_is_not_over_is_no_change_of_the_past(monkeypatch):
    site = make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin")
    now = BEGIN + timedelta(hours=2)
    store(site, [(0, at, {"power_w": 100.0}) for at in range(0, 7200, 60)], history=True, now=now)
    monkeypatch.setattr(rebuild_measurements.clock, "now", lambda: now)
    assert "Days that were over and have other energies now: 0." in rebuild(
        site, until_at=now.isoformat()
    )
    assert SystemSlot.objects.filter(system_key=site.system.key).exists()


def test_slots_that_are_final_are_told_apart(site):
    marked = mark_history(system=site.system, from_at=BEGIN, until_at=NOW, now=NOW)
    compute_until_clean(now=NOW)
    assert marked.slots > marked.final == 0
    first = ApplianceSlot.objects.order_by("appliance_key", "start")[0]
    day = first.start + timedelta(days=1)
    spans = [(first.start - SLOT, first.start + 2 * SLOT), (first.start + SLOT, day + SLOT)]
    FinalSpan.objects.bulk_create(
        FinalSpan(
            system_key=site.system.key,
            appliance_key=first.appliance_key,
            from_at=from_at,
            until_at=until_at,
        )
        for from_at, until_at in spans
    )
    again = mark_history(system=site.system, from_at=BEGIN, until_at=NOW, now=NOW)
    marks = DirtySlot.objects.filter(appliance_key=first.appliance_key)
    starts = [mark.start + n * SLOT for mark in marks for n in range(mark.slots)]
    assert again == (marked.slots, sum(at < day + SLOT for at in starts))
    compute_until_clean(now=NOW)
    slots = f"{marked.slots - again.final} slots were computed again; {again.final} are final"
    assert slots in rebuild(site)


def test_slots_that_wait_are_counted_by_their_marks(site):
    assert waiting_slots() == 0
    system = site.system
    marked = mark_history(system=system, from_at=BEGIN - timedelta(days=30), until_at=NOW, now=NOW)
    assert waiting_slots() == waiting_slots(system_key=system.key) == marked.slots
    assert marked.slots > DirtySlot.objects.count()
    assert waiting_slots(system_key=system.key + 1) == 0


def test_only_the_given_span_is_rebuilt(site):
    first = ApplianceSlot.objects.earliest("start").start
    ApplianceSlot.objects.update(temperature_c=-1)
    rebuild(site, until_at=(first - timedelta(days=1)).isoformat())
    assert ApplianceSlot.objects.filter(temperature_c=-1).count() == ApplianceSlot.objects.count()


def test_a_system_whose_clock_changed_gets_the_days_and_months_of_its_new_zone(site, devices):
    moved = make_site(devices, "Asia/Kolkata")
    store_and_compute(moved, events_of(devices), history=True)
    site.system.time_zone = "Asia/Kolkata"
    site.system.save()
    maintain_partitions(now=NOW + timedelta(days=400))  # even of slots that are final
    rebuild(site)
    assert rows_of(site) == rows_of(moved)


def test_an_appliance_of_another_kind_takes_its_new_part_in_the_past(site):
    Appliance.objects.filter(key__in=site.keys).update(kind=ApplianceKind.METER)
    rebuild(site)
    assert set(
        SystemSlot.objects.filter(system_key=site.system.key).values_list("seen_s", flat=True)
    ) == {0}


def test_other_systems_are_left_to_the_workers(site, devices):
    other = make_site(devices, "Europe/Berlin")
    store(other, events_of(devices), history=True)
    rebuild(site)
    assert set(DirtySlot.objects.values_list("system_key", flat=True)) == {other.system.key}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"from_at": "yesterday"}, "no ISO 8601"),
        ({"from_at": "2026-05-02"}, "nothing between"),
    ],
)
def test_wrong_bounds_are_told(site, options, words):
    with pytest.raises(CommandError, match=words):
        rebuild(site, **options)


def test_an_unknown_system_is_told():
    with pytest.raises(CommandError, match="no system"):
        call_command("rebuild_measurements", system="7", from_at="2026-01-01")


def test_history_is_marked_by_the_day_and_its_slots_are_claimed_some_at_a_time(site, monkeypatch):
    begin, end = BEGIN - timedelta(days=1), BEGIN + timedelta(days=30)
    before = rows_of(site)
    slots, _final = mark_history(system=site.system, from_at=begin, until_at=end, now=NOW)
    marks = DirtySlot.objects.all()
    assert slots == sum(mark.slots for mark in marks) >= ApplianceSlot.objects.count()
    assert all(mark.start.date() == (mark.start + (mark.slots - 1) * SLOT).date() for mark in marks)
    amid = marks.latest("slots").start + SLOT
    appliance = Appliance.objects.get(key=marks.latest("slots").appliance_key)
    assert evidence_of(system=site.system, appliance=appliance, start=amid).is_waiting
    monkeypatch.setattr("measurements.slots.compute.SLOTS_AT_MOST", 10)
    first = compute_dirty(now=NOW).claimed
    assert 10 <= first < min(10 + 96, slots)
    assert first + compute_until_clean(now=NOW) == slots
    assert not evidence_of(system=site.system, appliance=appliance, start=amid).is_waiting
    assert rows_of(site) == before
