"""Live values and history as they are read: what is fresh, and what adds up."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.figures import COLUMNS, LAST, LAST_FLOATS, SUMMED
from measurements.history import past_of_system
from measurements.queries import history_of_system, live_of_system, live_of_systems
from measurements.resolutions import Resolution, Span
from measurements.slots import compute_until_clean
from tests.measurements.arrivals import (
    ZONES,
    Device,
    Site,
    events_of,
    make_site,
    store,
    store_intervals,
    store_one,
)

pytestmark = pytest.mark.django_db

YEAR = 2026
LATER = datetime(2027, 6, 1, tzinfo=UTC)
FINE_TO_COARSE = list(Resolution)


# Live ---------------------------------------------------------------------------------------


def test_live_powers_are_those_of_the_newest_readings_and_their_flows(cast, now):
    second = timedelta(seconds=1)
    store_one(
        cast.grid_meter, now - 9 * second, now=now, power_w=-1500, imported_wh=10, exported_wh=7
    )
    store_one(cast.pv, now - 20 * second, now=now, power_w=-5000)
    store_one(cast.battery, now - 30 * second, now=now, power_w=2000, soc=0.4)
    store_one(cast.evcs, now - 50 * second, now=now, power_w=1200)
    live = live_of_system(system=cast.lindenweg, now=now)
    figures = {name: live.figures[f"{name}_w"] for name in ("pv", "export", "charge", "ev")}
    assert figures == {"pv": 5000, "export": 1500, "charge": 2000, "ev": 1200}
    assert live.figures["household_w"] == 300
    assert live.figures["import_w"] == 0
    assert live.figures["self_sufficiency_rate"] == 1
    assert live.figures["self_consumption_rate"] == pytest.approx(0.7)
    assert live.measured_at == now - 9 * second
    assert live.soc == pytest.approx(0.4)
    assert not live.is_stale
    (meter,) = live.of_kind(ApplianceKind.GRID_METER)
    assert (meter.reading.imported_wh, meter.reading.exported_wh) == (10, 7)


def test_a_silent_appliance_counts_no_more_but_is_still_shown(cast, now):
    store_one(cast.grid_meter, now, now=now, power_w=400)
    store_one(cast.pv, now - timedelta(minutes=4), now=now, power_w=-5000)
    store_one(cast.battery, now - timedelta(minutes=4), now=now, power_w=100, soc=0.4)
    live = live_of_system(system=cast.lindenweg, now=now)
    stale = {each.appliance.kind: each.is_stale for each in live.appliances}
    assert stale == {
        "grid_meter": False,
        "pv_inverter": True,
        "battery": True,
        "ev_charging_station": True,
    }
    assert live.figures["pv_w"] is None
    assert live.figures["consumption_w"] == 400
    assert live.soc is None
    (roof,) = live.of_kind(ApplianceKind.PV_INVERTER)
    assert (roof.power_w, roof.reading.power_w) == (None, -5000)


@pytest.mark.parametrize(
    ("interval_s", "age_s", "is_stale"),
    [(1, 120, False), (1, 121, True), (60, 180, False), (60, 181, True), (900, 2700, False)],
)
def test_what_is_stale_depends_on_how_often_an_appliance_reads(
    cast, now, interval_s, age_s, is_stale
):
    Appliance.objects.filter(pk=cast.pv.pk).update(interval_s=interval_s)
    store_one(cast.pv, now - timedelta(seconds=age_s), now=now, power_w=-1)
    live = live_of_system(system=cast.lindenweg, now=now)
    assert live.of_kind(ApplianceKind.PV_INVERTER)[0].is_stale is is_stale


def test_new_quantities_do_not_make_an_old_power_fresh(cast, now):
    store_one(cast.battery, now - timedelta(hours=1), now=now, power_w=900, soc=0.5)
    store_one(cast.battery, now, now=now, soc=0.6)
    live = live_of_system(system=cast.lindenweg, now=now)
    assert live.figures["charge_w"] is None


def test_an_appliance_without_power_is_as_fresh_as_its_newest_reading(cast, now):
    store_one(cast.battery, now, now=now, soc=0.6)
    live = live_of_system(system=cast.lindenweg, now=now)
    (battery,) = live.of_kind(ApplianceKind.BATTERY)
    assert (battery.is_stale, battery.power_w, live.soc) == (False, None, pytest.approx(0.6))


@pytest.mark.parametrize(
    ("interval_s", "age_s", "is_known"),
    [(60, 3900, True), (60, 3901, False), (1800, 5400, True), (1800, 5401, False)],
)
def test_a_new_power_does_not_make_old_levels_fresh(cast, now, interval_s, age_s, is_known):
    Appliance.objects.filter(pk=cast.battery.pk).update(interval_s=interval_s)
    levels = {"soc": 0.2, "energy_wh": 2_000.0, "temperature_c": 25.0, "current_l1_a": 4.0}
    store_one(
        cast.battery, now - timedelta(seconds=age_s), now=now, power_w=1, imported_wh=7, **levels
    )
    store_one(cast.battery, now, now=now, power_w=900)
    live = live_of_system(system=cast.lindenweg, now=now)
    (battery,) = live.of_kind(ApplianceKind.BATTERY)
    told = {name: getattr(battery.reading, name) for name in levels}
    assert told == (levels if is_known else dict.fromkeys(levels))
    assert live.soc == (0.2 if is_known else None)
    assert (battery.power_w, battery.reading.imported_wh) == (900, 7)


def test_of_a_silent_appliance_the_levels_are_shown_that_were_read_with_its_power(cast, now):
    store_one(cast.battery, now - timedelta(days=2), now=now, power_w=1, soc=0.2, energy_wh=2_000)
    store_one(cast.battery, now - timedelta(days=1), now=now, power_w=900, soc=0.4)
    (battery,) = live_of_system(system=cast.lindenweg, now=now).of_kind(ApplianceKind.BATTERY)
    assert (battery.soc, battery.reading.soc, battery.reading.energy_wh) == (None, 0.4, None)


def test_batteries_together_are_as_full_as_their_capacities_say(cast, now):
    small = Appliance.objects.create(
        system=cast.lindenweg, kind=ApplianceKind.BATTERY, name="Small", capacity_wh=2_000
    )
    small.refresh_from_db(fields=["key"])
    store_one(cast.battery, now, now=now, soc=0.5)
    store_one(small, now, now=now, soc=1.0)
    assert live_of_system(system=cast.lindenweg, now=now).soc == pytest.approx(7 / 12)
    Appliance.objects.filter(pk=small.pk).update(capacity_wh=None)
    assert live_of_system(system=cast.lindenweg, now=now).soc == pytest.approx(0.75)


def test_a_system_without_readings_says_nothing(cast, now):
    live = live_of_system(system=cast.lindenweg, now=now)
    assert (live.measured_at, live.soc, live.is_stale) == (None, None, True)
    assert set(live.figures.values()) == {None}


def test_removed_appliances_are_not_live(cast, now):
    store_one(cast.pv, now, now=now, power_w=-1000)
    Appliance.objects.filter(pk=cast.pv.pk).update(removed_at=now)
    live = live_of_system(system=cast.lindenweg, now=now)
    assert live.of_kind(ApplianceKind.PV_INVERTER) == []
    assert live.figures["pv_w"] is None


def test_many_systems_take_one_statement(cast, now, django_assert_num_queries):
    store_one(cast.grid_meter, now, now=now, power_w=1)
    store_one(cast.other_meter, now, now=now, power_w=2)
    with django_assert_num_queries(1):
        found = live_of_systems(systems=[cast.lindenweg, cast.hafenstrasse], now=now)
    imported = {key: live.figures["import_w"] for key, live in found.items()}
    assert imported == {cast.lindenweg.key: 1, cast.hafenstrasse.key: 2}


# History ------------------------------------------------------------------------------------


def clock_changes(zone: ZoneInfo) -> list[datetime]:
    """The instants of the year at which the zone's clock is set forward or back."""
    hours = [datetime(YEAR, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    return [
        after
        for before, after in pairwise(hours)
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset()
    ]


def windows(zone: ZoneInfo) -> list[Span]:
    """Some days around both changes of the clock (where there are any), and the year's end."""
    middles = [*clock_changes(zone), datetime(YEAR + 1, 1, 1, tzinfo=UTC)]
    around = timedelta(days=5)
    return [Span(middle - around, middle + around) for middle in middles]


@pytest.fixture(params=ZONES)
def measured(request) -> Site:
    """A household with a battery in one of the time zones, read hour by hour in the windows."""
    devices = [
        Device(ApplianceKind.GRID_METER, interval_s=3600),
        Device(ApplianceKind.PV_INVERTER, interval_s=3600),
        Device(ApplianceKind.BATTERY, interval_s=3600, capacity_wh=10_000),
    ]
    site = make_site(devices, request.param)
    rng = np.random.default_rng(1)
    for span in windows(site.system.zone):
        begin_ms = round(span.from_at.timestamp() * 1000)
        at_ms = np.arange(begin_ms, begin_ms + 10 * 86_400_000, 3_600_000)
        store_intervals(site, at_ms, interval_s=3600, rng=rng, now=LATER)
    compute_until_clean(now=LATER)
    return site


def last_of(rows: list[dict], name: str):
    return next((row[name] for row in reversed(rows) if row[name] is not None), None)


def test_quarters_add_up_to_every_coarser_period(measured):
    system = measured.system
    known = {
        quarter.start: quarter.figures
        for span in windows(system.zone)
        for quarter in history_of_system(
            system=system,
            from_at=span.from_at,
            until_at=span.until_at + timedelta(days=1),
            resolution=Resolution.QUARTER,
        ).periods
        if quarter.figures
    }
    for span in windows(system.zone):
        for resolution in FINE_TO_COARSE[1:]:
            past = history_of_system(
                system=system,
                from_at=span.from_at,
                until_at=span.until_at,
                resolution=resolution,
            )
            for period in past.periods:
                within = [row for at, row in known.items() if period.start <= at < period.until]
                assert (period.figures is None) is (not within)
                if period.figures is None:
                    continue
                for name in (*SUMMED, "seen_s", "expected_s"):
                    told = [row[name] for row in within if row[name] is not None]
                    assert period.figures[name] == (sum(told) if told else None)
                for name in (*LAST, *LAST_FLOATS):
                    assert period.figures[name] == last_of(within, name)


def test_single_appliances_are_summed_over_the_same_periods(measured):
    for span in windows(measured.system.zone):
        for resolution in FINE_TO_COARSE:
            past = past_of_system(
                system=measured.system,
                from_at=span.from_at,
                until_at=span.until_at,
                resolution=resolution,
                kinds=(ApplianceKind.GRID_METER, ApplianceKind.BATTERY),
            )
            columns = past.figures.floats()
            meter, battery = past.devices
            assert meter.known.tolist() == battery.known.tolist() == past.known.tolist()
            assert meter.columns["import_mwh"].tolist() == columns["import_mwh"].tolist()
            assert battery.columns["import_mwh"].tolist() == columns["charge_mwh"].tolist()
            np.testing.assert_array_equal(battery.columns["soc"], columns["soc"])


def test_local_days_have_the_quarters_of_their_clock(measured):
    system, lengths = measured.system, set()
    for change in clock_changes(system.zone):
        days = history_of_system(
            system=system,
            from_at=change - timedelta(days=2),
            until_at=change + timedelta(days=2),
            resolution=Resolution.DAY,
        ).periods
        for day in days:
            local = day.start.astimezone(system.zone)
            assert (local.hour, local.minute) == (0, 0)
            quarters = history_of_system(
                system=system,
                from_at=day.start,
                until_at=day.until,
                resolution=Resolution.QUARTER,
            )
            lengths.add(len(quarters.periods))
            assert {name: quarters.total[name] for name in COLUMNS} == {
                name: day.figures[name] for name in COLUMNS
            }
    expected = {"Asia/Kolkata": set(), "Australia/Lord_Howe": {94, 96, 98}}
    assert lengths == expected.get(system.time_zone, {92, 96, 100})


def test_the_total_is_that_of_all_periods_and_rates_come_from_sums(measured):
    system = measured.system
    span = windows(system.zone)[-1]
    past = history_of_system(
        system=system, from_at=span.from_at, until_at=span.until_at, resolution=Resolution.DAY
    )
    rows = [period.figures for period in past.periods if period.figures]
    for name in SUMMED:
        told = [row[name] for row in rows if row[name] is not None]
        assert past.total[name] == (sum(told) if told else None)
    kept = past.total["pv_mwh"] - past.total["pv_to_grid_mwh"]
    assert past.total["self_consumption_rate"] == pytest.approx(kept / past.total["pv_mwh"])
    assert all(0 <= row["self_sufficiency_rate"] <= 1 for row in rows)


def steady(power_w: float, *, from_h: int, until_h: int) -> dict[int, dict[str, float]]:
    """Readings of one power, every quarter of an hour since the beginning."""
    quarters = range(from_h * 4, until_h * 4 + 1)
    return {quarter * 900: {"power_w": power_w} for quarter in quarters}


@pytest.mark.parametrize("metered_h", [(0, 12), (12, 24)], ids=["falls silent", "is added"])
@pytest.mark.parametrize("resolution", [Resolution.DAY, Resolution.MONTH, Resolution.YEAR])
def test_what_was_used_while_no_meter_was_read_is_in_no_rate(metered_h, resolution):
    begin = datetime(YEAR, 1, 10, tzinfo=UTC)
    from_h, until_h = metered_h
    devices = [
        Device(
            ApplianceKind.GRID_METER, 900, readings=steady(1000, from_h=from_h, until_h=until_h)
        ),
        Device(ApplianceKind.PV_INVERTER, 900, readings=steady(-600, from_h=0, until_h=24)),
        Device(ApplianceKind.HEAT_PUMP, 900, readings=steady(1200, from_h=0, until_h=24)),
    ]
    site = make_site(devices, "Europe/London", begin=begin)
    store(site, events_of(devices), history=True, now=LATER)
    compute_until_clean(now=LATER)
    past = history_of_system(
        system=site.system,
        from_at=begin,
        until_at=begin + timedelta(days=1),
        resolution=resolution,
    )
    found, day = past.periods[0].figures, 24 * 1_000_000
    assert (found["pv_mwh"], found["heat_pump_mwh"]) == (0.6 * day, 1.2 * day)
    assert (found["import_mwh"], found["household_mwh"]) == (0.5 * day, 0.2 * day)
    assert found["consumption_mwh"] == 1.4 * day
    assert found["unmetered_mwh"] == 0.6 * day
    assert found["self_consumption_mwh"] == 0.3 * day
    assert found["self_consumption_rate"] == found["direct_consumption_rate"] == 1
    assert found["self_sufficiency_rate"] == pytest.approx(1 - 1000 / 1600)


def test_spans_without_measurements_are_empty_and_not_zero(measured):
    past = history_of_system(
        system=measured.system,
        from_at=LATER,
        until_at=LATER + timedelta(days=1),
        resolution=Resolution.QUARTER,
    )
    assert len(past.periods) == 96
    assert past.total is None
    assert {period.figures for period in past.periods} == {None}


def test_no_span_has_no_periods(measured):
    past = history_of_system(
        system=measured.system, from_at=LATER, until_at=LATER, resolution=Resolution.DAY
    )
    assert (list(past.periods), past.total) == ([], None)


def test_history_takes_one_statement(measured, django_assert_num_queries):
    span = windows(measured.system.zone)[0]
    for resolution in Resolution:
        with django_assert_num_queries(1):
            history_of_system(
                system=measured.system,
                from_at=span.from_at,
                until_at=span.until_at,
                resolution=resolution,
            )
