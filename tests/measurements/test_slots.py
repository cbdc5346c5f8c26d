"""Whatever arrives, however it arrives: the slots are those of computing everything at once."""

import tracemalloc
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import reduce
from importlib import import_module
from operator import or_
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements import energy
from measurements.batches import Batch
from measurements.figures import COLUMNS, FLAGGED
from measurements.flags import Flag
from measurements.ingest import store_readings
from measurements.models import ApplianceSlot, DirtySlot, SystemDay, SystemMonth, SystemSlot
from measurements.resolutions import SLOT_MS, Resolution, Span, period_start, to_ms
from measurements.slots import (
    appliances,
    batteries,
    compute,
    compute_dirty,
    compute_until_clean,
    mark_history,
    systems,
)
from measurements.slots.rollups import SYSTEM_MONTHS, roll_up
from tests.measurements import by_hand
from tests.measurements.arrivals import (
    BEGIN,
    NOW,
    TABLES,
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


@in_the_database(5)
@given(seed=seeds, zone=st.sampled_from(ZONES), history=st.booleans())
def test_any_order_of_arrival_gives_the_same(seed, zone, history):
    check_arrival(seed, zone, history)


@pytest.mark.slow
@in_the_database(30)
@given(seed=seeds, zone=st.sampled_from(ZONES), history=st.booleans())
def test_any_order_of_arrival_gives_the_same_many_times(seed, zone, history):
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
    patched.setattr(compute, "SLOTS_AT_MOST", 25)
    patched.setattr(compute, "_SLOTS_AT_ONCE", ((30, 5), (3, None)))
    patched.setattr(systems, "_ROWS_AT_ONCE", 10)
    patched.setattr(systems, "_ONWARD_MS", 2 * SLOT_MS)
    patched.setattr(batteries, "_SLOTS_AT_ONCE", 2)
    patched.setattr(appliances, "_COMPUTED_ONWARD", 2)


@in_the_database(8)
@given(seed=seeds, zone=st.sampled_from(ZONES))
def test_what_is_stored_is_what_the_pure_functions_make_of_all_readings(seed, zone):
    check_against_pure_functions(seed, zone)


def check_against_pure_functions(seed, zone):
    rng = np.random.default_rng(seed)
    devices = draw_devices(rng)
    with undone():
        site = make_site(devices, zone)
        for batch in draw_arrival(rng, devices):
            store_and_compute(site, batch, history=True)
        stored = rows_of(site)
    made = [by_hand.slots_of(device) for device in devices]
    assert stored["ApplianceSlot"] == {
        (number, start): row
        for number, slots in enumerate(made)
        for start, row in by_hand.appliance_rows(slots).items()
    }
    slots = by_hand.system_slots(devices, made)
    assert stored["SystemSlot"] == {
        (start,): {name: row[name] for name in COLUMNS} for start, row in slots.items()
    }
    for table, clock, form in (
        ("SystemHour", "UTC", "%Y-%m-%dT%H"),
        ("SystemDay", zone, "%Y-%m-%d"),
        ("SystemMonth", zone, "%Y-%m"),
    ):
        rows = [row for _start, row in sorted(stored[table].items())]
        assert rows == by_hand.sums_of(slots, ZoneInfo(clock), form)


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


@pytest.mark.parametrize(
    ("table", "resolution", "clock"),
    [
        ("ApplianceHour", Resolution.HOUR, "UTC"),
        ("ApplianceDay", Resolution.DAY, "Australia/Lord_Howe"),
    ],
)
def test_hours_and_days_of_appliances_are_the_sums_of_their_slots(table, resolution, clock):
    devices = draw_devices(np.random.default_rng(7))
    site = make_site(devices, "Australia/Lord_Howe")
    store_and_compute(site, events_of(devices), history=False)
    rows = rows_of(site)
    slots_of = defaultdict(list)
    for (number, start), slot in sorted(rows["ApplianceSlot"].items()):
        removed_s = devices[number].removed_after_s
        if removed_s is None or start < BEGIN + timedelta(seconds=removed_s):
            slots_of[number, period_start(start, resolution, ZoneInfo(clock))].append(slot)
    assert rows[table].keys() == slots_of.keys()
    for where, slots in slots_of.items():
        row = rows[table][where]
        for slot in slots:
            is_late, is_bridged = (slot["flags"] & one for one in (Flag.RECOVERED, Flag.ESTIMATED))
            slot["recovered_s"] = slot["seen_s"] if is_late else 0
            slot["estimated_s"] = 900 - slot["seen_s"] if is_bridged else 0
        for name in ("import_mwh", "export_mwh", "seen_s", "recovered_s", "estimated_s"):
            known = [slot[name] for slot in slots if slot[name] is not None]
            assert row[name] == (sum(known) if known else None)
        for name in ("soc", "stored_wh", "imported_wh", "exported_wh", "temperature_c"):
            known = [slot[name] for slot in slots if slot[name] is not None]
            assert row[name] == (known[-1] if known else None)
        assert row["flags"] == reduce(or_, (slot["flags"] for slot in slots))
        lows = [slot["min_w"] for slot in slots if slot["min_w"] is not None]
        assert row["min_w"] == min(lows, default=None)


def test_a_month_of_very_many_appliances_has_its_seconds():
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    SystemDay.objects.bulk_create(
        SystemDay(
            system_key=1,
            start=begin + timedelta(days=day),
            seen_s=69_500_000,
            expected_s=70_000_000,
            recovered_s=69_500_000,
            estimated_s=500_000,
        )
        for day in range(31)
    )
    assert roll_up(SYSTEM_MONTHS, [(1, Span(begin, begin + timedelta(days=31)))]) == 1
    month = SystemMonth.objects.get(system_key=1)
    assert (month.seen_s, month.expected_s) == (2_154_500_000, 2_170_000_000)
    assert (month.recovered_s, month.estimated_s) == (2_154_500_000, 15_500_000)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_rows_of_before_are_told_for_how_much_of_them_flags_hold(zone):
    devices = draw_devices(np.random.default_rng(5))
    devices[0].removed_after_s = 80_000
    site = make_site(devices, zone)
    store_and_compute(site, events_of(devices), history=False)
    before = rows_of(site)
    for table in TABLES:
        if table not in (ApplianceSlot, SystemSlot):
            for name in FLAGGED:
                assert any(row[name] for row in before[table.__name__].values())
            table.objects.update(**dict.fromkeys(FLAGGED, 0))
    assert rows_of(site) != before
    with connection.cursor() as cursor:
        for statement in import_module("measurements.migrations.0009_flagged_seconds").FORWARD:
            cursor.execute(statement)
    assert rows_of(site) == before


def test_an_appliance_counts_in_the_slot_of_its_removal_however_early_in_it_that_is():
    site = make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin")
    events = [(0, at, {"imported_wh": at / 36}) for at in range(0, 3601, 300)]
    store_and_compute(site, events, history=True)
    removed_at = BEGIN + timedelta(minutes=30, microseconds=500)
    Appliance.objects.filter(key=site.keys[0]).update(removed_at=removed_at)
    compute_until_clean(now=NOW)
    rows = rows_of(site)
    own = [row["import_mwh"] for row in rows["ApplianceHour"].values()]
    assert [row["import_mwh"] for row in rows["SystemHour"].values()] == own == [75_000]


def test_an_interval_that_turns_out_shorter_takes_its_slots_and_days_along():
    site = make_site([Device(ApplianceKind.GRID_METER, interval_s=3600)], "UTC")
    midnight_s = 7 * 3600 - 1800  # half an hour before the first midnight in UTC
    hour = {"interval_s": 3600.0, "import_energy_wh": 400.0}
    store_and_compute(site, [(0, midnight_s, hour)], history=True)
    assert [day["import_mwh"] for day in rows_of(site)["SystemDay"].values()] == [200_000] * 2
    quarter = {"interval_s": 900.0, "import_energy_wh": 100.0}
    store_and_compute(site, [(0, midnight_s, quarter)], history=True)
    rows = rows_of(site)
    assert [slot["import_mwh"] for slot in rows["SystemSlot"].values()] == [100_000]
    assert [day["import_mwh"] for day in rows["SystemDay"].values()] == [100_000]
    assert [day["import_mwh"] for day in rows["ApplianceDay"].values()] == [100_000]
    for table in ("SystemHour", "ApplianceHour"):
        assert [hour["import_mwh"] for hour in rows[table].values()] == [100_000]


def test_an_appliance_is_expected_from_its_first_reading_on_however_late_that_arrives():
    devices = [Device(ApplianceKind.GRID_METER), Device(ApplianceKind.PV_INVERTER)]
    site = make_site(devices, "Europe/Berlin")
    power = {"power_w": 100.0}
    store_and_compute(site, [(0, 900 * number, power) for number in range(12)], history=True)
    store_and_compute(site, [(1, 900 * 10, power)], history=True)

    def expected() -> list[int]:
        return [row["expected_s"] for row in rows_of(site)["SystemSlot"].values()]

    assert expected() == [900] * 10 + [1800] * 2
    store_and_compute(site, [(1, 900 * 2, power)], history=True)
    assert expected() == [900] * 2 + [1800] * 10
    day = next(iter(rows_of(site)["SystemDay"].values()))
    assert day["expected_s"] == 900 * 22


def test_a_battery_remembers_forward_over_days_without_readings():
    devices = [
        Device(ApplianceKind.GRID_METER, interval_s=900),
        Device(ApplianceKind.BATTERY, interval_s=900),
    ]
    site = make_site(devices, "Europe/Berlin")

    charged = {"interval_s": 900.0, "import_energy_wh": 1000.0}
    discharged = {"interval_s": 900.0, "export_energy_wh": 500.0}
    unused = {"interval_s": 900.0, "import_energy_wh": 0.0}
    week_s = 7 * 86_400
    store_and_compute(site, [(0, week_s, unused), (1, week_s, discharged)], history=True)
    store_and_compute(site, [(0, 0, charged), (1, 0, charged)], history=True)
    last = list(rows_of(site)["SystemSlot"].values())[-1]
    assert (last["grid_via_battery_mwh"], last["stored_from_grid_mwh"]) == (500_000, 500_000)


def test_runs_of_one_round_hand_on_their_counters():
    site = make_site([Device(ApplianceKind.GRID_METER, interval_s=300)], "Europe/Berlin")
    counter = [(0, at, {"imported_wh": 100.0 + at / 60}) for at in range(0, 3_600, 300)]
    day_later = [(0, 86_400 + at, {"power_w": 60.0}) for at in range(0, 1_800, 300)]
    store_and_compute(site, counter + day_later, history=True)
    carries = [slot["carry"] for slot in rows_of(site)["ApplianceSlot"].values()]
    assert len(carries) == 6
    assert carries[-1] == carries[3] is not None


def test_a_counter_read_seldom_does_not_drag_all_readings_between_along(monkeypatch):
    site = make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin")
    power = [(0, 60 * number, {"power_w": 600.0}) for number in range(3_000)]
    counter = [(0, at, {"imported_wh": 5 + at / 6}) for at in (-30, 180_030)]
    store_and_compute(site, power + counter, history=True)
    sizes = []

    def noting(readings, *arguments, **others):
        sizes.append(len(readings.at_ms))
        return energy.appliance_slots(readings, *arguments, **others)

    monkeypatch.setattr(appliances, "appliance_slots", noting)
    store_and_compute(site, [(0, 90_030, {"power_w": 700.0})], history=True)
    assert max(sizes) < 150
    store_and_compute(site, [(0, 90_040, {"imported_wh": 15_015.0})], history=True)
    assert max(sizes) > 2_000
    rows = rows_of(site)["SystemSlot"].values()
    assert sum(row["import_mwh"] for row in rows) == 30_010_000


@pytest.mark.slow
def test_an_appliance_read_far_more_often_than_it_says_needs_little_memory():
    site = make_site([Device(ApplianceKind.GRID_METER, interval_s=3600)], "Europe/Berlin")
    seconds = np.arange(3 * 86_400)
    for part in np.array_split(seconds, 6):
        batch = Batch.of(
            system_key=site.system.key,
            appliance_key=site.keys[0],
            at_ms=to_ms(BEGIN) + 1000 * part,
            power_w=1800.0,
            imported_wh=part / 2,
        )
        store_readings(batch=batch, now=NOW)
    tracemalloc.start()
    try:
        compute_until_clean(now=NOW)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6
    rows = rows_of(site)
    assert sum(day["import_mwh"] for day in rows["SystemDay"].values()) == 500 * seconds[-1]
    assert [slot["seen_s"] for slot in rows["SystemSlot"].values()] == [900] * 287 + [899]


def test_a_counter_that_comes_after_all_else_is_counted_from_slot_to_slot():
    # Far more slots than are computed at a time: none knows of the counter until now.
    quarters = range(19 * 96)
    exported = {900 * n: {"exported_wh": 100.0 * n} for n in quarters}
    imported = {900 * n + 300: {"imported_wh": 250.0 * n} for n in quarters[:-40]}
    devices = [Device(ApplianceKind.GRID_METER, interval_s=900)]
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, [(0, at, values) for at, values in exported.items()], history=True)
    store_and_compute(site, [(0, at, values) for at, values in imported.items()], history=True)
    rows = ApplianceSlot.objects.filter(appliance_key=site.keys[0])
    sums = rows.aggregate(exported=Sum("export_mwh"), imported=Sum("import_mwh"))
    assert sums["exported"] == 100_000 * (len(exported) - 1)
    assert sums["imported"] == 250_000 * (len(imported) - 1)


def test_late_readings_of_one_that_moved_on_count_from_its_last_slot_to_theirs():
    minutes = range(10 * 60)
    meter = [(0, 60 * n, {"power_w": 500.0}) for n in minutes]
    pump = [(1, 60 * n, {"power_w": 300.0}) for n in minutes]
    devices = [Device(ApplianceKind.GRID_METER), Device(ApplianceKind.HEAT_PUMP)]
    site, elsewhere = make_site(devices, "Europe/Berlin"), make_site([], "Europe/Berlin")
    store_and_compute(site, meter + pump[:60], history=True)
    Appliance.objects.filter(key=site.keys[1]).update(system=elsewhere.system)
    compute_until_clean(now=NOW)
    store_and_compute(site, pump[-60:], history=True)
    found = rows_of(site)
    mark_history(system=site.system, from_at=BEGIN, until_at=NOW, now=NOW)
    compute_until_clean(now=NOW)
    assert differences(found, rows_of(site)) == []
