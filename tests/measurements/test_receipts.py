"""Late data leaves a receipt: which days changed, by how much, why."""

from datetime import UTC, datetime, timedelta

import pytest

from inventory.kinds import ApplianceKind
from measurements.models import Cause, DayChange, DirtySlot, ImportedDay, SystemDay
from measurements.resolutions import to_ms
from measurements.slots import compute, compute_dirty, compute_until_clean, mark_history
from measurements.slots.receipts import forget_imported_days
from tests.measurements.arrivals import BEGIN, Device, make_site, store

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
# `BEGIN` lies in the 28th of March in Berlin; that day ends at 23:00 UTC.
MIDNIGHT = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
DAY_START = MIDNIGHT - 24 * HOUR
TWO_DAYS_LATER = BEGIN + timedelta(days=2)


@pytest.fixture
def site():
    return make_site([Device(ApplianceKind.PV_INVERTER, interval_s=60)], "Europe/Berlin")


def counter(from_s: int, until_s: int, wh: float = 1000.0, step_s: int = 60) -> list:
    return [(0, at, {"exported_wh": wh + at / 60}) for at in range(from_s, until_s, step_s)]


def arrive(site, events: list, now: datetime, *, history: bool = False) -> None:
    store(site, events, history=history, now=now)
    compute_until_clean(now=now)


def receipts(site) -> list[DayChange]:
    return list(DayChange.objects.filter(system_key=site.system.key).order_by("id"))


def test_what_arrives_in_time_leaves_none(site):
    arrive(site, counter(0, 3600), BEGIN + HOUR)
    arrive(site, counter(3600, 7200), BEGIN + 2 * HOUR)
    # The last of a day may still come a little after it is over.
    seconds = (to_ms(MIDNIGHT) - to_ms(BEGIN)) // 1000
    arrive(site, counter(seconds - 600, seconds), MIDNIGHT + HOUR)
    assert receipts(site) == []


def test_late_readings_leave_one_that_says_which_day_how_much_and_why(site):
    arrive(site, counter(0, 3601), BEGIN + HOUR)
    before = SystemDay.objects.get(system_key=site.system.key).pv_mwh
    arrive(site, counter(3600, 7201), TWO_DAYS_LATER)
    after = SystemDay.objects.get(system_key=site.system.key).pv_mwh
    [receipt] = receipts(site)
    assert (receipt.start, receipt.changed_at) == (DAY_START, TWO_DAYS_LATER)
    assert receipt.causes == Cause.READINGS
    assert receipt.changes["pv"] == [before, after] == [60_000, 120_000]


def test_a_day_that_was_unknown_until_then_leaves_one_too(site):
    arrive(site, counter(0, 3601), TWO_DAYS_LATER)
    [receipt] = receipts(site)
    assert receipt.changes["pv"] == [None, 60_000]


def test_what_comes_in_many_batches_is_one_change(site):
    arrive(site, counter(0, 601), BEGIN + HOUR)
    for number in range(1, 6):
        now = TWO_DAYS_LATER + number * timedelta(seconds=30)
        arrive(site, counter(600 * number, 600 * number + 601), now)
    [receipt] = receipts(site)
    assert receipt.changes["pv"] == [10_000, 60_000]
    arrive(site, counter(3600, 4201), TWO_DAYS_LATER + HOUR)
    assert [one.changes["pv"] for one in receipts(site)] == [[10_000, 60_000], [60_000, 70_000]]


def test_what_is_taken_back_at_once_leaves_none(site):
    arrive(site, counter(0, 3601), BEGIN + HOUR)
    arrive(site, [(0, 3600, {"exported_wh": 1050.0})], TWO_DAYS_LATER)
    assert [one.changes["pv"] for one in receipts(site)] == [[60_000, 59_000]]
    arrive(site, [(0, 3600, {"exported_wh": 1060.0})], TWO_DAYS_LATER + timedelta(minutes=1))
    assert receipts(site) == []


def test_the_same_once_more_and_a_rebuild_that_changes_nothing_leave_none(site):
    arrive(site, counter(0, 3601), BEGIN + HOUR)
    arrive(site, counter(0, 3601), TWO_DAYS_LATER)
    mark_history(system=site.system, from_at=BEGIN, until_at=BEGIN + HOUR, now=TWO_DAYS_LATER)
    compute_until_clean(now=TWO_DAYS_LATER)
    assert receipts(site) == []


def test_a_rebuild_that_changes_something_says_that_it_was_one(site):
    arrive(site, counter(0, 3601), BEGIN + HOUR)
    SystemDay.objects.filter(system_key=site.system.key).update(pv_mwh=5)
    mark_history(system=site.system, from_at=BEGIN, until_at=BEGIN + HOUR, now=TWO_DAYS_LATER)
    compute_until_clean(now=TWO_DAYS_LATER)
    [receipt] = receipts(site)
    assert (receipt.causes, receipt.changes["pv"]) == (Cause.REBUILD, [5, 60_000])


def test_imported_history_leaves_one_only_where_it_changes_what_was_known(site):
    arrive(site, counter(0, 3601), TWO_DAYS_LATER, history=True)
    assert receipts(site) == []
    arrive(site, counter(3600, 7201), TWO_DAYS_LATER + HOUR, history=True)
    [receipt] = receipts(site)
    assert (receipt.causes, receipt.changes["pv"]) == (Cause.IMPORT, [60_000, 120_000])


def test_an_import_leaves_none_in_however_many_parts_it_is_stored_and_computed(site, monkeypatch):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 3)
    for part in range(4):
        store(site, counter(4000 * part, 4000 * part + 4001), history=True, now=TWO_DAYS_LATER)
        for n in range(3):  # Workers go on meanwhile, and one was stopped and begun anew.
            compute_dirty(now=TWO_DAYS_LATER + (part + n) * HOUR)
    compute_until_clean(now=TWO_DAYS_LATER + 9 * HOUR)
    assert SystemDay.objects.filter(system_key=site.system.key, start=DAY_START).exists()
    assert receipts(site) == []
    arrive(site, [(0, 0, {"exported_wh": 990.0})], TWO_DAYS_LATER + 24 * HOUR, history=True)
    [receipt] = receipts(site)
    assert (receipt.start, receipt.causes) == (DAY_START, Cause.IMPORT)


def test_what_follows_from_an_import_is_of_it(site, monkeypatch):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 2)
    midnight_s = (to_ms(MIDNIGHT) - to_ms(BEGIN)) // 1000
    later = TWO_DAYS_LATER + 24 * HOUR
    store(site, counter(midnight_s, midnight_s + 7200), history=True, now=later)
    compute_until_clean(now=later + HOUR)
    # The day before, whose counter ends higher: the next one begins anew then.
    store(site, counter(midnight_s - 7200, midnight_s - 3600, wh=2000.0), history=True, now=later)
    marked_at = set()
    while compute_dirty(now=later + 2 * HOUR).claimed:
        following = DirtySlot.objects.filter(cause=Cause.FOLLOWING)
        marked_at.update(following.values_list("marked_at", flat=True))
    assert marked_at == {later}
    assert receipts(site) == []


def test_live_readings_of_the_same_round_leave_days_of_an_import_alone(site):
    later = BEGIN + timedelta(days=10)
    live_s = (to_ms(later) - to_ms(BEGIN)) // 1000 - 60
    store(site, counter(0, 3601), history=True, now=later)
    store(site, [(0, live_s, {"power_w": -100.0})], history=False, now=later)
    compute_until_clean(now=later)
    assert receipts(site) == []


def test_what_imports_brought_is_forgotten_when_its_marks_are_gone(site):
    arrive(site, counter(0, 3601), TWO_DAYS_LATER, history=True)
    forget_imported_days(now=TWO_DAYS_LATER + timedelta(days=1))
    assert ImportedDay.objects.exists()
    forget_imported_days(now=TWO_DAYS_LATER + timedelta(days=40))
    assert not ImportedDay.objects.exists()
