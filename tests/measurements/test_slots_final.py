"""What retention has dropped is final: its slots stay, whatever comes later."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from measurements.batches import Batch
from measurements.ingest import StoreReport, store_readings
from measurements.models import ApplianceSlot, DirtySlot, FinalSpan, Reading
from measurements.partitions import existing_weeks, maintain_partitions, week_of_ms
from measurements.plausibility import Refusal
from measurements.resolutions import Span, to_ms
from measurements.slots import compute_until_clean, mark_history
from measurements.slots.checking import Comparison, compare
from tests.measurements.arrivals import (
    BEGIN,
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

DAY_S = 86_400
# The week in which `BEGIN` lies ends 31 hours later.
MONDAY_S = 31 * 3600
LONG_AFTER = BEGIN + timedelta(days=120)


@pytest.fixture
def site():
    return make_site(
        [
            Device(ApplianceKind.GRID_METER, interval_s=900),
            Device(ApplianceKind.PV_INVERTER, interval_s=900),
            Device(ApplianceKind.BATTERY, interval_s=3600),
        ],
        "Europe/Berlin",
    )


def read(from_s: int, until_s: int, *, step_s: int = 420) -> list:
    """A meter with counters, an inverter with power alone, a battery with intervals."""
    events = []
    for at in range(from_s, until_s, step_s):
        events += [
            (0, at, {"imported_wh": 1e5 + at / 36, "exported_wh": 5e4 + at / 90}),
            (1, at, {"power_w": -1000.0 - at % 777}),
        ]
    for at in range(from_s - from_s % 3600, until_s, 3600):
        events.append((2, at, {"interval_s": 3600.0, "import_energy_wh": 200.0}))
    return events


def drop_first_week() -> None:
    """Retention comes by when the first week is old enough, and no other."""
    week = week_of_ms(to_ms(BEGIN))
    maintain_partitions(now=BEGIN + timedelta(days=2 + 90, hours=12))
    weeks = [number for number, _name in existing_weeks()]
    assert week not in weeks
    assert week + 1 in weeks


def drop_everything() -> None:
    """Retention comes by long after."""
    maintain_partitions(now=LONG_AFTER)
    assert week_of_ms(to_ms(BEGIN)) not in [number for number, _name in existing_weeks()]


def rebuild(site: Site) -> None:
    mark_history(system=site.system, from_at=BEGIN, until_at=LONG_AFTER, now=LONG_AFTER)
    compute_until_clean(now=LONG_AFTER)


def state_greatest_powers(site: Site) -> None:
    Appliance.objects.filter(key__in=site.keys).update(max_power_w=30_000)
    compute_until_clean(now=LONG_AFTER)


def correct_time_zone(site: Site) -> None:
    """To another one, and back."""
    for zone in ("Asia/Kolkata", site.system.time_zone):
        System.objects.filter(key=site.system.key).update(time_zone=zone)
        compute_until_clean(now=LONG_AFTER)


whatever_is_computed_anew = pytest.mark.parametrize(
    "compute_anew", [rebuild, state_greatest_powers, correct_time_zone]
)


def imported_wh(site: Site) -> float:
    """What its appliances took, by all slots that are stored of them."""
    slots = ApplianceSlot.objects.filter(system_key=site.system.key)
    return slots.aggregate(mwh=Sum("import_mwh"))["mwh"] / 1000


def hourly_meter(hours) -> Site:
    """A meter whose counter is read every hour, half past, and rises by 1 kWh each."""
    site = make_site([Device(ApplianceKind.GRID_METER, interval_s=3600)], "Europe/Berlin")
    counted = [(0, 3600 * hour + 1800, {"imported_wh": 1000.0 * hour}) for hour in hours]
    store(site, counted, history=True, now=LONG_AFTER)
    compute_until_clean(now=LONG_AFTER)
    return site


def drop_weeks(count: int) -> None:
    """Retention comes by when so many weeks are old enough, from that of `BEGIN` on."""
    end = BEGIN + timedelta(seconds=MONDAY_S, weeks=count - 1)
    maintain_partitions(now=end + timedelta(days=90, hours=1))
    assert not Reading.objects.filter(at__lt=end).exists()


@whatever_is_computed_anew
def test_nothing_is_lost_where_counters_are_read_across_weeks(compute_anew):
    site = hourly_meter(range(4 * 7 * 24))
    before = rows_of(site)
    assert imported_wh(site) == 1000 * (4 * 7 * 24 - 1)
    drop_everything()
    assert not Reading.objects.exists()
    compute_anew(site)
    assert rows_of(site) == before


@whatever_is_computed_anew
@pytest.mark.parametrize("dropped", [1, 4])
def test_a_pause_of_weeks_keeps_its_energy(dropped, compute_anew):
    site = hourly_meter([*range(24), *range(21 * 24, 22 * 24)])
    before = rows_of(site)
    drop_weeks(dropped)
    compute_anew(site)
    assert rows_of(site) == before


@whatever_is_computed_anew
@pytest.mark.parametrize("dropped", [1, 2, 3])
def test_so_it_does_where_power_is_read_meanwhile(dropped, compute_anew):
    site = make_site([Device(ApplianceKind.GRID_METER, interval_s=900)], "Europe/Berlin")
    week_s = 7 * DAY_S
    events = [
        (0, 0, {"imported_wh": 0.0}),
        *((0, week_s + at, {"power_w": 500.0}) for at in range(0, DAY_S, 600)),
        (0, 2 * week_s, {"imported_wh": 140_000.0}),
    ]
    store_and_compute(site, events, history=True)
    before = rows_of(site)
    assert imported_wh(site) == 140_000
    drop_weeks(dropped)
    compute_anew(site)
    assert rows_of(site) == before


def test_what_still_comes_from_within_a_pause_counts_until_its_end_is_dropped(site):
    site = hourly_meter([0, 1, 200])
    drop_weeks(1)
    halfway = Batch.of(
        system_key=site.system.key,
        appliance_key=site.keys[0],
        at_ms=to_ms(BEGIN) + 3_600_000 * 101,
        imported_wh=190_000.0,
    )
    assert store_readings(batch=halfway, now=LONG_AFTER, history=True).stored == 1
    compute_until_clean(now=LONG_AFTER)
    late = ApplianceSlot.objects.filter(start__gte=BEGIN + timedelta(hours=101))
    assert late.aggregate(mwh=Sum("import_mwh"))["mwh"] == 10_000_000
    before = rows_of(site)
    drop_everything()
    again = store_readings(batch=halfway, now=LONG_AFTER, history=True)
    assert again.refusals == {Refusal.TOO_OLD: 1}
    rebuild(site)
    assert rows_of(site) == before


def test_a_span_begins_with_the_pause_that_its_first_counter_closes():
    site = hourly_meter([0, 1, 200, 201])
    drop_everything()
    spans = FinalSpan.objects.filter(system_key=site.system.key).order_by("from_at")
    first_ends = BEGIN + timedelta(hours=1, minutes=45)
    assert list(spans.values_list("from_at", "until_at")) == [
        (BEGIN + timedelta(minutes=30), first_ends),
        (first_ends, BEGIN + timedelta(hours=201, minutes=45)),
    ]


def test_what_was_never_read_between_two_spans_may_still_be_imported():
    site = make_site([Device(ApplianceKind.PV_INVERTER, interval_s=900)], "Europe/Berlin")
    powers = [(0, at, {"power_w": -900.0}) for at in (0, 600, 14 * DAY_S, 14 * DAY_S + 600)]
    store_and_compute(site, powers, history=True)
    drop_everything()
    between = [(0, at, {"power_w": -900.0}) for at in range(7 * DAY_S, 8 * DAY_S, 600)]
    store_and_compute(site, between, history=True)
    assert ApplianceSlot.objects.filter(start__gte=BEGIN + timedelta(days=7)).count() > 90


@pytest.mark.parametrize("seed", range(8))
def test_any_household_stays_as_it_was_computed_whatever_is_dropped(seed):
    rng = np.random.default_rng(seed)
    devices = draw_devices(rng)
    site = make_site(devices, "Europe/Berlin")
    # Of pauses of hours and days some reach from week to week.
    slower = int(rng.choice([10, 40]))
    events = [(n, slower * at, values) for n, at, values in events_of(devices)]
    store(site, events, history=True, now=LONG_AFTER)
    compute_until_clean(now=LONG_AFTER)
    before = rows_of(site)
    for weeks in (1, 2, 3, 12):
        drop_weeks(weeks)
        rebuild(site)
        assert rows_of(site) == before


def test_nothing_changes_when_readings_go(site):
    store_and_compute(site, read(0, 3 * DAY_S), history=True)
    before = rows_of(site)
    drop_first_week()
    mark_history(
        system=site.system, from_at=BEGIN, until_at=BEGIN + timedelta(days=10), now=LONG_AFTER
    )
    compute_until_clean(now=LONG_AFTER)
    assert rows_of(site) == before
    assert not DirtySlot.objects.exists()


def test_what_comes_beside_a_final_span_is_computed_and_the_span_is_not(site):
    whole = make_site([Device(ApplianceKind.GRID_METER, interval_s=900)], "Europe/Berlin")
    store_and_compute(site, read(0, 2 * 3600), history=True)
    final = rows_of(site)["ApplianceSlot"]
    drop_everything()
    later = read(3 * 3600, 5 * 3600)
    store_and_compute(site, later, history=True)
    rows = rows_of(site)["ApplianceSlot"]
    assert {at: rows[at] for at in final} == final
    # The counter goes on from where it was: over the pause and to its last reading.
    store_and_compute(whole, [e for e in read(0, 2 * 3600) + later if e[0] == 0], history=True)
    beside = {at: row for at, row in rows.items() if at[0] == 0 and at not in final}
    expected = rows_of(whole)["ApplianceSlot"]
    assert beside == {at: expected[at] for at in beside}
    assert len(beside) == len(expected) - len([at for at in final if at[0] == 0])


def test_older_history_ends_where_final_slots_begin(site):
    store_and_compute(site, read(10 * 3600, 12 * 3600), history=True)
    final = rows_of(site)["ApplianceSlot"]
    drop_everything()
    store_and_compute(site, read(0, 4 * 3600), history=True)
    store_and_compute(site, read(15 * DAY_S, 15 * DAY_S + 3600), history=True)
    store_and_compute(site, [(0, 4 * 3600 - 10, {"imported_wh": 1e5 + 401})], history=True)
    rows = rows_of(site)["ApplianceSlot"]
    assert {at: rows[at] for at in final} == final
    # Nothing is spread from the old readings to those that come weeks after the final ones.
    alone = make_site([Device(ApplianceKind.GRID_METER, interval_s=900)], "Europe/Berlin")
    only = [event for event in read(0, 4 * 3600) if event[0] == 0]
    store_and_compute(alone, [*only, (0, 4 * 3600 - 10, {"imported_wh": 1e5 + 401})], history=True)
    expected = rows_of(alone)["ApplianceSlot"]
    until = BEGIN + timedelta(hours=10)
    assert {at: row for at, row in rows.items() if at[0] == 0 and at[1] < until} == expected


def test_a_correction_between_the_counters_of_older_history_knows_of_them(site):
    live = [(0, 15 * DAY_S + at, {"power_w": 500.0}) for at in range(0, 7200, 420)]
    store_and_compute(site, live, history=True)
    drop_everything()
    hours = [(0, at, {"imported_wh": 1e5 + at / 6}) for at in range(0, 4 * 3600 + 1, 3600)]
    between = [(0, at, {"power_w": 100.0}) for at in range(420, 4 * 3600, 420)]
    store_and_compute(site, hours + between, history=True)
    energy = {at: row["import_mwh"] for at, row in rows_of(site)["ApplianceSlot"].items()}
    store_and_compute(site, [(0, 5880, {"power_w": 200.0})], history=True)
    again = {at: row["import_mwh"] for at, row in rows_of(site)["ApplianceSlot"].items()}
    assert again == energy


def test_a_span_reaches_from_the_first_reading_to_what_the_last_ones_tell(site):
    store_and_compute(site, read(600, MONDAY_S + 2 * 3600), history=True)
    drop_first_week()
    monday = datetime(2026, 3, 30, tzinfo=UTC)
    spans = FinalSpan.objects.filter(system_key=site.system.key).order_by("appliance_key")
    quarter = timedelta(minutes=15)
    assert list(spans.values_list("from_at", "until_at")) == [
        (BEGIN, monday),  # a counter goes on from what the last slot carries
        (BEGIN, monday + quarter),  # the first power of the week closes a pause
        (BEGIN, monday),
    ]


def test_of_a_day_without_readings_no_slot_is_compared_with_them(site):
    store_and_compute(site, read(0, 4 * DAY_S), history=True)
    drop_everything()
    monday = BEGIN + timedelta(seconds=MONDAY_S)
    # It begins in the week before, by the local calendar, and is final from both sides.
    day = Span(monday - timedelta(hours=2), monday + timedelta(hours=22))
    assert compare(system=site.system, day=day, now=LONG_AFTER) == Comparison(slots=0)


def test_a_round_in_small_pieces_leaves_final_slots_alone(site, monkeypatch):
    store_and_compute(site, read(0, 2 * DAY_S), history=True)
    before = rows_of(site)
    drop_first_week()
    monkeypatch.setattr("measurements.slots.compute._SLOTS_AT_ONCE", ((2, None),))
    late = MONDAY_S + 60
    store_and_compute(site, [(0, late, {"imported_wh": 1e5 + late / 36 - 1})], history=True)
    after = rows_of(site)
    changed = {
        at
        for at in before["ApplianceSlot"]
        if before["ApplianceSlot"][at] != after["ApplianceSlot"][at]
    }
    assert changed
    assert min(start for _number, start in changed) >= BEGIN + timedelta(seconds=MONDAY_S)


def test_history_that_comes_too_late_for_its_slots_is_refused(site):
    store_and_compute(site, read(0, 2 * 3600), history=True)
    drop_everything()
    batch = Batch.of(
        system_key=site.system.key,
        appliance_key=[site.keys[0], site.keys[0], site.keys[0], site.keys[1]],
        at_ms=to_ms(BEGIN) + 1000 * np.array([-60, 3600, 7200, 7199]),
        power_w=1.0,
    )
    report = store_readings(batch=batch, now=LONG_AFTER, history=True)
    assert report.reasons.astype(bool).tolist() == [False, True, False, True]
    assert report.refusals == {Refusal.TOO_OLD: 2}


def read_live(site: Site, at: datetime, *, now: datetime) -> StoreReport:
    """What becomes of a reading of the first appliance that a gateway delivers."""
    batch = Batch.of(
        system_key=site.system.key, appliance_key=site.keys[0], at_ms=to_ms(at), power_w=1.0
    )
    return store_readings(batch=batch, now=now)


def test_a_gateway_is_told_what_comes_too_late_because_retention_was_shorter(site, settings):
    store_and_compute(site, read(0, 2 * 3600), history=True)
    settings.RAW_RETENTION, usual = timedelta(days=7), settings.RAW_RETENTION
    now = BEGIN + timedelta(days=10)
    maintain_partitions(now=now)
    settings.RAW_RETENTION = usual
    final = FinalSpan.objects.get(appliance_key=site.keys[0])
    quarter = timedelta(minutes=15)
    assert read_live(site, final.from_at - quarter, now=now).stored == 1
    assert read_live(site, final.from_at, now=now).refusals == {Refusal.TOO_OLD: 1}
    assert read_live(site, final.until_at - quarter, now=now).refusals == {Refusal.TOO_OLD: 1}
    assert read_live(site, final.until_at, now=now).stored == 1


def test_and_of_the_first_slots_behind_a_week_that_was_dropped(site):
    powers = [(0, MONDAY_S + at, {"power_w": 500.0}) for at in (-600, 7_200)]
    Appliance.objects.filter(key=site.keys[0]).update(interval_s=3600)
    store_and_compute(site, powers, history=True)
    monday = BEGIN + timedelta(seconds=MONDAY_S)
    now = monday + timedelta(days=90, hours=1)
    maintain_partitions(now=now)
    late = monday + timedelta(hours=1, minutes=30)
    assert read_live(site, late, now=now).refusals == {Refusal.TOO_OLD: 1}
    assert read_live(site, monday + timedelta(hours=2), now=now).refusals == {}


def test_a_usual_batch_asks_for_no_final_slots(site):
    def asked(age: timedelta) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert read_live(site, LONG_AFTER - age, now=LONG_AFTER).stored == 1
        return sum("measurements_finalspan" in query["sql"] for query in queries)

    assert asked(timedelta(minutes=1)) == asked(timedelta(days=5)) == 0
    assert asked(timedelta(days=8)) == 1


def test_a_clock_that_was_never_set_asks_for_no_final_slots(site):
    with CaptureQueriesContext(connection) as queries:
        refused = read_live(site, datetime(1999, 1, 1, tzinfo=UTC), now=LONG_AFTER).refusals
    assert refused == {Refusal.TOO_OLD: 1}
    assert not any("measurements_finalspan" in query["sql"] for query in queries)
