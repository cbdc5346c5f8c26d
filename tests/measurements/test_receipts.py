"""Late data leaves a receipt: which days changed, by how much, why."""

from datetime import UTC, datetime, timedelta

import pytest

from inventory.kinds import ApplianceKind
from measurements.models import Cause, DayChange, DirtySlot, ImportedDay, SystemDay
from measurements.resolutions import to_ms
from measurements.slots import appliances, compute, compute_dirty, compute_until_clean, mark_history
from measurements.slots.receipts import forget_imported_days
from tests.measurements.arrivals import BEGIN, Device, make_site, store

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY_S = 86_400
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


@pytest.mark.parametrize("at_most", [10_000, 1])  # at once, or cut also at the day's end
def test_what_arrived_in_time_leaves_none_however_late_it_is_computed(site, monkeypatch, at_most):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", at_most)
    arrive(site, counter(0, 3601), BEGIN + HOUR)
    for at in range(3600, 9 * 3600, 900):  # until three hours after midnight
        store(site, counter(at, at + 900), history=False, now=BEGIN + timedelta(seconds=at + 900))
    before = SystemDay.objects.get(system_key=site.system.key).pv_mwh
    compute_until_clean(now=MIDNIGHT + 3 * HOUR)
    assert SystemDay.objects.get(system_key=site.system.key, start=DAY_START).pv_mwh > before
    assert receipts(site) == []


def test_what_arrived_late_leaves_one_also_where_the_rest_had_waited_with_it(site):
    store(site, counter(0, 3601), history=False, now=BEGIN + HOUR)
    store(site, counter(3660, 7201), history=False, now=MIDNIGHT + 2 * HOUR)
    compute_until_clean(now=MIDNIGHT + 3 * HOUR)
    [receipt] = receipts(site)
    assert (receipt.start, receipt.causes) == (DAY_START, Cause.READINGS)


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
    monkeypatch.setattr(appliances, "_COMPUTED_ONWARD", 2)
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


def of_grid(from_s: int, until_s: int) -> list:
    """A grid meter's file, all day long; the roof's tells of some hours of the day."""
    return [(1, at, {"imported_wh": 100 + at / 10}) for at in range(from_s, until_s, 900)]


def of_roof(from_s: int, until_s: int) -> list:
    return [event for event in counter(from_s, until_s, step_s=900) if event[1] % DAY_S >= 43_200]


@pytest.fixture
def home():
    """A site with a roof and a meter, each of which has a file of its own."""
    kinds = (ApplianceKind.PV_INVERTER, ApplianceKind.GRID_METER)
    return make_site([Device(kind, interval_s=900) for kind in kinds], "Europe/Berlin")


def figures_of(site, name: str) -> dict:
    days = SystemDay.objects.filter(system_key=site.system.key)
    return dict(days.values_list("start", f"{name}_mwh"))


@pytest.mark.parametrize("at_most", [10_000, 7])
def test_of_two_files_the_later_one_tells_what_it_adds_to_each_day(home, monkeypatch, at_most):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", at_most)
    later = BEGIN + timedelta(days=20)
    arrive(home, of_roof(0, 5 * DAY_S), later, history=True)
    pv = figures_of(home, "pv")
    arrive(home, of_grid(0, 3 * DAY_S), later + HOUR, history=True)
    told = {one.start: one for one in receipts(home)}
    assert len(told) == len(receipts(home)) == 3
    assert {one.causes for one in told.values()} == {Cause.IMPORT}
    assert figures_of(home, "pv") == pv | dict.fromkeys(figures_of(home, "pv").keys() - pv.keys())
    assert not any("pv" in one.changes for one in told.values())
    for name in ("import", "consumption"):
        now_mwh = figures_of(home, name)
        assert {start: one.changes[name] for start, one in told.items()} == {
            start: [None, now_mwh[start]] for start in pv if now_mwh[start] is not None
        }


@pytest.mark.parametrize("at_most", [97, 48, 7])
@pytest.mark.parametrize("roof_from_s", [0, 3 * DAY_S // 2])  # with the meter, or after it
def test_two_files_that_wait_together_are_one_history(home, monkeypatch, at_most, roof_from_s):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", at_most)
    later = BEGIN + timedelta(days=20)
    store(home, of_grid(0, roof_from_s or 3 * DAY_S), history=True, now=later)
    store(home, of_roof(roof_from_s, 5 * DAY_S), history=True, now=later + HOUR)
    compute_until_clean(now=later + 2 * HOUR)
    assert receipts(home) == []
    # What comes when all of it is computed is told.
    arrive(home, [(1, 0, {"imported_wh": 90.0})], later + 3 * HOUR, history=True)
    assert [one.start for one in receipts(home)] == [DAY_START]


def test_nobody_relied_on_a_day_of_which_a_part_was_still_to_come(home, monkeypatch):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 150)
    later = BEGIN + timedelta(days=20)
    store(home, of_roof(0, 5 * DAY_S), history=True, now=later)
    compute_dirty(now=later)
    [*whole, half] = sorted(figures_of(home, "pv"))
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 7)
    store(home, of_grid(0, 5 * DAY_S), history=True, now=later + HOUR)
    compute_until_clean(now=later + 2 * HOUR)
    assert len(whole) > 1
    assert sorted(one.start for one in receipts(home)) == whole
    assert figures_of(home, "pv")[half] > 0


def test_what_an_import_reaches_across_a_pause_is_not_for_readings_of_now(home):
    live = BEGIN + timedelta(days=9)
    now = BEGIN + timedelta(days=10)
    live_s = (to_ms(live) - to_ms(BEGIN)) // 1000
    for at in range(live_s, live_s + DAY_S, 3600):
        arrive(home, of_grid(at, at + 3600), BEGIN + timedelta(seconds=at + 3600))
    # Its file ends days before; the first of the day after was read in the same round.
    store(home, of_grid(0, 6 * DAY_S), history=True, now=now)
    store(home, of_grid(live_s + DAY_S, live_s + DAY_S + 1), history=False, now=now)
    compute_until_clean(now=now)
    # The pause had no figures before; the day that the readings of now began in had.
    [receipt] = receipts(home)
    assert receipt.start == DAY_START + timedelta(days=9, hours=-1)
    assert receipt.causes == Cause.IMPORT


def test_what_imports_brought_is_forgotten_when_its_marks_are_gone(site):
    arrive(site, counter(0, 3601), TWO_DAYS_LATER, history=True)
    forget_imported_days(now=TWO_DAYS_LATER + timedelta(days=1))
    assert ImportedDay.objects.exists()
    forget_imported_days(now=TWO_DAYS_LATER + timedelta(days=40))
    assert not ImportedDay.objects.exists()
