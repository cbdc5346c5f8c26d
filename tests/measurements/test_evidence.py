"""What is told of figures: it is what was computed, to the last mWh."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.kinds import ApplianceKind, Role
from inventory.models import Appliance
from measurements.derivation import NAMES, Rule, derived_mwh, formula_of, house_mwh
from measurements.evidence import evidence_of, is_late, measured_in, received_at
from measurements.flags import Flag
from measurements.models import ApplianceSlot, FinalSpan, SystemSlot
from measurements.resolutions import SLOT, Span, to_ms
from measurements.tracing import Source, Treatment
from tests.measurements.arrivals import (
    BEGIN,
    NOW,
    Device,
    draw_arrival,
    draw_devices,
    events_of,
    make_site,
    store_and_compute,
)

pytestmark = pytest.mark.django_db


def all_of(site, roles=frozenset(Role)):
    return measured_in(system=site.system, span=Span(BEGIN - SLOT, NOW), roles=roles)


def one_meter(readings: dict, **fields):
    """A site with a meter of the grid alone, of which this was read by second since `BEGIN`."""
    devices = [Device(ApplianceKind.GRID_METER, readings=readings, **fields)]
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    return site, Appliance.objects.get(key=site.keys[0])


def told(site, appliance, start=BEGIN):
    return evidence_of(system=site.system, appliance=appliance, start=start)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_readings_say_of_every_slot_what_is_stored(seed: int):
    rng = np.random.default_rng(seed)
    devices = draw_devices(rng)
    site = make_site(devices, "Europe/Berlin")
    for events in draw_arrival(rng, devices):
        store_and_compute(site, events, history=True)
    by_key = {one.key: one for one in Appliance.objects.filter(key__in=site.keys)}
    slots = list(ApplianceSlot.objects.filter(system_key=site.system.key).order_by("start"))
    for slot in slots[:: max(1, len(slots) // 60)]:
        evidence = told(site, by_key[slot.appliance_key], slot.start)
        assert evidence.slot == slot
        assert [evidence.trace.total_mwh(side) for side in (0, 1)] == [
            slot.import_mwh,
            slot.export_mwh,
        ]
        # Beyond the slot, there is a reading for everything that counts.
        known = {round(reading.at.timestamp() * 1000) for reading in evidence.readings}
        assert evidence.trace.outside_ms <= known


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_figure_of_every_slot_follows_from_what_it_is_told_to(seed: int):
    rng = np.random.default_rng(seed)
    devices = draw_devices(rng)
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    measured = all_of(site)
    for slot in SystemSlot.objects.filter(system_key=site.system.key):
        parts = [one.part(slot.start) for one in measured]
        figures = {name: getattr(slot, f"{name}_mwh") for name in (*NAMES, "residual")}
        for name in NAMES:
            assert derived_mwh(name, figures, parts) == figures[name], (name, slot.start)


def test_the_grid_follows_from_the_household_s_meter_where_its_own_was_not_read():
    devices = [
        Device(
            ApplianceKind.HOUSEHOLD_METER,
            readings={at: {"imported_wh": at / 3.6} for at in range(0, 3601, 60)},
        ),
        Device(
            ApplianceKind.PV_INVERTER,
            readings={at: {"exported_wh": at / 7.2} for at in range(0, 3601, 60)},
        ),
    ]
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    slot = SystemSlot.objects.get(system_key=site.system.key, start=BEGIN)
    parts = [one.part(BEGIN) for one in all_of(site)]
    figures = {name: getattr(slot, f"{name}_mwh") for name in (*NAMES, "residual")}
    formula = formula_of("import", figures, parts)
    assert formula.rule is Rule.BY_HOUSE
    # 1 kW in the house, half of it from the sun.
    assert (house_mwh(parts), slot.pv_mwh, slot.import_mwh) == (250_000, 125_000, 125_000)
    assert formula.mwh({**figures, "house": house_mwh(parts)}) == 125_000
    assert formula_of("export", figures, parts).mwh({**figures, "house": 250_000}) == 0


def test_a_counter_is_told_at_both_ends_with_the_readings_around():
    site, meter = one_meter(
        {at: {"imported_wh": 1000.0 + at / 10} for at in range(30, 3600, 600)}, interval_s=600
    )
    start = BEGIN + SLOT
    evidence = told(site, meter, start)
    begin, end = evidence.trace.counters[0]
    assert evidence.trace.counters[1] is None
    # Read at 630 and 1230 s; the slot begins at 900 s.
    assert begin.level_wh == 1090.0
    assert [wh for _ms, wh in (begin.before, begin.after)] == [1063.0, 1123.0]
    assert end.level_wh == 1180.0
    assert evidence.slot.import_mwh == 90_000
    assert [reading.at - BEGIN for reading in evidence.readings] == [
        timedelta(seconds=at) for at in (630, 1230, 1830)
    ]
    assert [one.mwh for one in evidence.trace.stretches] == [(33_000, None), (57_000, None)]


def test_power_tells_what_no_counter_does_and_a_reset_says_so():
    readings = {
        0: {"imported_wh": 5000.0, "power_w": 1200.0},
        300: {"imported_wh": 5100.0, "power_w": 1200.0},
        600: {"imported_wh": 4.0, "power_w": 1200.0},
        900: {"imported_wh": 104.0, "power_w": 1200.0},
    }
    site, meter = one_meter(readings, interval_s=300)
    evidence = told(site, meter)
    assert [one.sources[0] for one in evidence.trace.stretches] == [
        Source.COUNTER,
        Source.POWER,
        Source.COUNTER,
    ]
    assert [one.mwh[0] for one in evidence.trace.stretches] == [100_000, 100_000, 100_000]
    assert evidence.slot.import_mwh == 300_000
    assert set(evidence.trace.treatments.values()) == {Treatment.RESET}
    assert evidence.slot.flags & Flag.RESET
    assert evidence.trace.counters[0] is None


def test_what_is_counted_against_the_stated_power_is_not_called_held_back():
    # 50 kW of a station that is said to take 11 kW; one reading of it is a glitch.
    readings = {at: {"imported_wh": at * 50 / 3.6} for at in range(0, 3601, 300)}
    readings[2550] = {"imported_wh": 1.0}
    site, meter = one_meter(readings, interval_s=300, limit_w=11_000.0)
    evidence = told(site, meter, BEGIN + SLOT)
    assert [one.mwh[0] for one in evidence.trace.stretches] == pytest.approx([4_166_667] * 3, abs=1)
    shown = {evidence.trace.treatments[to_ms(reading.at)] for reading in evidence.readings}
    assert shown == {Treatment.STEEP}
    assert evidence.slot.flags & Flag.IMPLAUSIBLE
    treatments = told(site, meter, BEGIN + 2 * SLOT).trace.treatments
    assert treatments[to_ms(BEGIN + timedelta(seconds=2550))] is Treatment.HELD


def test_a_level_that_nothing_went_on_from_is_not_counted_against_the_stated_power():
    wh = {0: 5_000.0, 300: 5_100.0, 600: 4.0, 840: 1e6, 1200: 3e6, 1500: 3e6 + 1}
    readings = {at: {"imported_wh": value} for at, value in wh.items()}
    site, meter = one_meter(readings, limit_w=11_000.0)
    treatments = told(site, meter, BEGIN + SLOT).trace.treatments
    assert treatments[to_ms(BEGIN + timedelta(seconds=840))] is Treatment.HELD


def test_a_pause_that_ends_beyond_final_slots_is_told_as_it_is_computed():
    site = make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin")
    FinalSpan.objects.create(
        system_key=site.system.key,
        appliance_key=site.keys[0],
        from_at=BEGIN + timedelta(days=7),
        until_at=BEGIN + timedelta(days=14),
    )
    day_s = 86_400
    store_and_compute(site, [(0, 15 * day_s, {"imported_wh": 5_000.0})], history=True)
    store_and_compute(site, [(0, 0, {"imported_wh": 1_000.0})], history=True)
    evidence = told(site, Appliance.objects.get(key=site.keys[0]))
    assert evidence.trace.total_mwh(0) is evidence.slot.import_mwh is None


def test_a_reading_knows_when_it_arrived_and_whether_that_was_late():
    devices = [Device(ApplianceKind.GRID_METER)]
    site = make_site(devices, "Europe/Berlin")
    late = {0: {"power_w": 100.0}, 60: {"power_w": 100.0}}
    store_and_compute(site, [(0, at, values) for at, values in late.items()], history=False)
    evidence = told(site, Appliance.objects.get(key=site.keys[0]))
    assert {received_at(reading) for reading in evidence.readings} == {NOW}
    assert all(map(is_late, evidence.readings))
    assert evidence.slot.flags & Flag.RECOVERED


def test_a_slot_without_anything_says_nothing():
    site, meter = one_meter({0: {"power_w": 1.0}, 60: {"power_w": 1.0}})
    evidence = told(site, meter, BEGIN + timedelta(days=1))
    assert (evidence.slot, evidence.trace, list(evidence.readings)) == (None, None, [])
