"""Hours of UTC that are kept, and local hours of the clock, which are mostly made of them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from inventory.kinds import ApplianceKind
from inventory.models import System
from measurements.figures import SUMMED
from measurements.history import appliance_table, past_of_system, system_table
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    DayChange,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.pools import past_of_pool
from measurements.resolutions import Resolution, period_start, periods
from measurements.slots import compute_until_clean
from tests.measurements.arrivals import Device, Site, make_site, store_intervals

YEAR = 2026
LATER = datetime(YEAR + 1, 1, 1, tzinfo=UTC)
# The local days on which the clocks change.
CHANGES = {
    "Europe/Berlin": ((3, 29), (10, 25)),
    "Australia/Lord_Howe": ((4, 5), (10, 4)),
    "America/St_Johns": ((3, 8), (11, 1)),
    "Asia/Kolkata": ((3, 29), (10, 25)),  # nothing changes
}


def local_day(zone: str, month: int, day: int) -> tuple[datetime, datetime]:
    begin = datetime(YEAR, month, day, tzinfo=ZoneInfo(zone))
    return begin, begin + timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "day", "is_kept"),
    [
        ("Europe/Berlin", (1, 15), True),
        ("Europe/Berlin", (3, 29), True),
        ("Europe/Berlin", (10, 25), True),
        ("Asia/Kolkata", (1, 15), False),
        ("Asia/Kathmandu", (1, 15), False),
        ("America/St_Johns", (3, 8), False),
        ("America/St_Johns", (7, 1), False),
        # Eleven hours from UTC in summer, ten and a half in winter.
        ("Australia/Lord_Howe", (1, 15), True),
        ("Australia/Lord_Howe", (7, 1), False),
        ("Australia/Lord_Howe", (4, 5), False),
        ("Australia/Lord_Howe", (10, 4), False),
    ],
)
def test_kept_hours_are_read_only_where_they_are_the_hours_of_the_clock(zone, day, is_kept):
    spans = periods(*local_day(zone, *day), Resolution.HOUR, ZoneInfo(zone))
    assert system_table(Resolution.HOUR, spans) is (SystemHour if is_kept else SystemSlot)
    assert appliance_table(Resolution.HOUR, spans) is (ApplianceHour if is_kept else ApplianceSlot)
    days = periods(*local_day(zone, *day), Resolution.DAY, ZoneInfo(zone))
    assert system_table(Resolution.DAY, days) is SystemDay


@pytest.fixture(params=CHANGES)
def measured(request, db) -> Site:
    """A household that is read quarter by quarter on the days on which its clock changes, with a
    hole of some hours in each."""
    kinds = (ApplianceKind.GRID_METER, ApplianceKind.PV_INVERTER, ApplianceKind.BATTERY)
    site = make_site([Device(kind, interval_s=900) for kind in kinds], request.param)
    rng = np.random.default_rng(3)
    for day in CHANGES[request.param]:
        begin, end = (round(at.timestamp() * 1000) for at in local_day(request.param, *day))
        at_ms = np.arange(begin, end, 900_000)
        at_ms = np.delete(at_ms, slice(30, 43))
        store_intervals(site, at_ms, interval_s=900, rng=rng, now=LATER)
    compute_until_clean(now=LATER)
    return site


def test_hours_of_the_clock_are_their_quarters_to_the_unit(measured):
    zone = measured.system.time_zone
    hours_a_day = []
    for day in CHANGES[zone]:
        begin, end = local_day(zone, *day)
        asked = {"system": measured.system, "from_at": begin, "until_at": end}
        asked |= {"kinds": (ApplianceKind.BATTERY,)}
        hours = past_of_system(resolution=Resolution.HOUR, **asked)
        hours_a_day.append(len(hours.spans))
        slots = dict(
            SystemSlot.objects.filter(system_key=measured.system.key).values_list("start", "pv_mwh")
        )
        charged = dict(
            ApplianceSlot.objects.filter(
                system_key=measured.system.key, appliance_key=measured.keys[2]
            ).values_list("start", "import_mwh")
        )
        told = dict(zip(hours.known.tolist(), hours.figures.floats()["pv_mwh"], strict=True))
        (battery,) = hours.devices
        of_battery = dict(zip(battery.known.tolist(), battery.columns["import_mwh"], strict=True))
        for index, span in enumerate(hours.spans):
            within = [v for at, v in slots.items() if span.from_at <= at < span.until_at]
            assert told.get(index) == (sum(within) if within else None)
            within = [v for at, v in charged.items() if span.from_at <= at < span.until_at]
            assert of_battery.get(index) == (sum(within) if within else None)
            local = span.from_at.astimezone(measured.system.zone)
            assert local.minute == 0 or zone == "Australia/Lord_Howe"
        assert sum(told.values()) > 0
    # On Lord Howe half an hour is skipped or comes twice, a period of its own.
    expected = {"Europe/Berlin": [23, 25], "America/St_Johns": [23, 25], "Asia/Kolkata": [24, 24]}
    assert hours_a_day == expected.get(zone, [25, 24])


def test_a_week_of_whole_hours_needs_no_slots(measured):
    zone = measured.system.time_zone
    begin, end = local_day(zone, *CHANGES[zone][0])
    asked = {"system": measured.system, "from_at": begin, "until_at": end}
    before = past_of_system(resolution=Resolution.HOUR, **asked)
    SystemSlot.objects.all().delete()
    after = past_of_system(resolution=Resolution.HOUR, **asked)
    assert len(before.known) > 18
    assert len(after.known) == (len(before.known) if zone == "Europe/Berlin" else 0)


def test_systems_elsewhere_are_summed_in_a_pool_from_hours_where_it_has_whole_ones(measured):
    system = measured.system
    (begin, _), (_, end) = (local_day(system.time_zone, *day) for day in CHANGES[system.time_zone])
    slots = SystemSlot.objects.filter(system_key=system.key).values_list("start", *SUMMED)
    for zone in ("Europe/London", "Asia/Kolkata", "Australia/Lord_Howe"):
        pool = system.account.pools.create(name=zone, time_zone=zone)
        pool.systems.add(system)
        for resolution in Resolution:
            past = past_of_pool(pool=pool, from_at=begin, until_at=end, resolution=resolution).past
            columns = [past.figures.floats()[name] for name in SUMMED]
            known = zip(past.known.tolist(), *columns, strict=True)
            told = {past.spans[index]: figures for index, *figures in known}
            sums = {span: [0] * len(SUMMED) for span in told}
            for at, *figures in slots:
                (span,) = [span for span in told if span.from_at <= at < span.until_at]
                sums[span] = [a + (b or 0) for a, b in zip(sums[span], figures, strict=True)]
            assert {span: np.nan_to_num(row).tolist() for span, row in told.items()} == sums


def test_days_and_months_are_made_anew_when_the_time_zone_of_a_system_is_corrected(measured):
    system = measured.system
    whole = SystemSlot.objects.filter(system_key=system.key).values_list("import_mwh", flat=True)
    for zone in ("Asia/Kolkata", "Europe/Berlin"):
        System.objects.filter(pk=system.pk).update(time_zone=zone)
        compute_until_clean(now=LATER)
        for model, resolution in ((SystemDay, Resolution.DAY), (SystemMonth, Resolution.MONTH)):
            rows = model.objects.filter(system_key=system.key)
            assert sum(one or 0 for one in rows.values_list("import_mwh", flat=True)) == sum(
                one or 0 for one in whole
            )
            for start in rows.values_list("start", flat=True):
                assert period_start(start, resolution, ZoneInfo(zone)) == start
        days = ApplianceDay.objects.filter(system_key=system.key)
        assert set(days.values_list("start", flat=True)) == set(
            SystemDay.objects.filter(system_key=system.key).values_list("start", flat=True)
        )
    assert not DayChange.objects.filter(system_key=system.key).exists()


def test_kept_hours_stay_right_when_the_time_zone_of_a_system_changes(measured):
    begin, end = local_day("Europe/Berlin", *CHANGES[measured.system.time_zone][0])
    measured.system.time_zone = "Europe/Berlin"
    measured.system.save()
    hours = past_of_system(
        system=measured.system, from_at=begin, until_at=end, resolution=Resolution.HOUR
    )
    quarters = SystemSlot.objects.filter(
        system_key=measured.system.key, start__gte=begin, start__lt=end
    )
    (together,) = hours.total.floats()["import_mwh"]
    assert together == sum(quarters.values_list("import_mwh", flat=True)) > 0
