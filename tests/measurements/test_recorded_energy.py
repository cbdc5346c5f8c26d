"""The pure core on recorded data of real households (see the folder's own README)."""

import lzma
from datetime import datetime

import numpy as np
import pytest

from inventory.kinds import Role
from measurements.energy import Nominal, Readings, appliance_slots
from measurements.figures import Part, sum_figures, system_figures
from measurements.flags import Flag
from measurements.resolutions import SLOT_MS, slot_end_ms, slot_start_ms


@pytest.fixture(scope="module")
def columns(recorded):
    """A recorded file as columns: instants in ms, and floats by name (a repeated instant once)."""

    def read(path, *names):
        with lzma.open(recorded / path, "rt") as lines:
            header = next(lines).strip().split(",")
            rows = {line.split(",")[0]: line.strip().split(",") for line in lines}
        at = [round(datetime.fromisoformat(text).timestamp() * 1000) for text in rows]
        table = {n: np.array([float(r[header.index(n)]) for r in rows.values()]) for n in names}
        return np.array(at, np.int64), table

    return read


def made(at, table, nominal):
    span = slot_start_ms(int(at[0])), slot_end_ms(int(at[-1]) + 3_600_001)
    return appliance_slots(Readings(at, table), *span, nominal=nominal)


def part(role, slots):
    names = ("import_mwh", "export_mwh", "soc", "stored_wh", "imported_wh", "exported_wh")
    return Part(role, *(getattr(slots, name) for name in (*names, "seen_s", "flags")))


def kwh(amounts):
    return amounts.values.sum() / 1e6


def test_the_dutch_month_is_the_difference_of_its_counters(columns):
    names = ("import_t1_wh", "import_t2_wh", "export_t1_wh", "export_t2_wh")
    at, raw = columns("nl_home_p1mon/p1_1min_2024-02.csv.xz", *names)
    counters = {
        "imported_wh": raw["import_t1_wh"] + raw["import_t2_wh"],
        "exported_wh": raw["export_t1_wh"] + raw["export_t2_wh"],
    }
    slots = made(at, counters, Nominal(interval_s=60))
    for direction, name in (("import", "imported_wh"), ("export", "exported_wh")):
        total = getattr(slots, f"{direction}_mwh").values.sum() / 1000
        assert abs(total - (counters[name][-1] - counters[name][0])) < 1
    pause = slots.flags & Flag.ESTIMATED > 0
    assert pause.sum() == 45  # 23:01 to 10:10: 43 whole slots and the two at its ends
    assert slots.seen_s[pause].tolist() == [60, *[0] * 43, 300]
    assert not (slots.flags & ~Flag.ESTIMATED).any()


def test_the_german_year_of_intervals_has_its_sums(columns):
    at, raw = columns(
        "de_home_solaredge/house_15min_2018.csv.xz", "import_w", "export_w", "pv_w", "load_w"
    )

    def energy(power):
        return power / 4

    interval = np.full(len(at), 900.0)
    grid = {
        "import_energy_wh": energy(raw["import_w"]),
        "export_energy_wh": energy(raw["export_w"]),
    }
    sun = {"export_energy_wh": energy(raw["pv_w"])}
    grid, sun = (
        made(at, energies | {"interval_s": interval}, Nominal(interval_s=900))
        for energies in (grid, sun)
    )
    assert kwh(grid.import_mwh) == pytest.approx(2123.498, abs=0.03)
    figures = system_figures([part(Role.GRID, grid), part(Role.PV, sun)], len(grid))
    year = sum_figures(figures, np.array([0])).rows()[0]
    for name, expected in (("pv", 7516), ("import", 2123.5), ("export", 5491.9)):
        assert year[f"{name}_mwh"] / 1e6 == pytest.approx(expected, rel=1e-4)
    assert year["consumption_mwh"] / 1e6 == pytest.approx(4147.9, rel=1e-3)
    missing = ~grid.import_mwh.present
    assert 0 < missing.sum() <= 8  # the hour lost in October, and what the span has after the end
    assert set(grid.seen_s.tolist()) == {0, 900}


def test_the_british_days_are_the_differences_of_its_lifetime_counters(columns):
    at, raw = columns(
        "uk_home_givenergy/inverter_2025-06-01_06.csv.xz",
        "pv_w",
        "grid_w",
        "battery_w",
        "soc_pct",
        "total_pv_wh",
        "total_import_wh",
        "total_export_wh",
    )
    assert len(at) == 4919
    nominal = Nominal(interval_s=11)
    grid = made(
        at,
        {
            "power_w": raw["grid_w"],
            "imported_wh": raw["total_import_wh"],
            "exported_wh": raw["total_export_wh"],
        },
        nominal,
    )
    sun = made(at, {"power_w": -raw["pv_w"], "exported_wh": raw["total_pv_wh"]}, nominal)
    battery = made(at, {"power_w": -raw["battery_w"], "soc": raw["soc_pct"] / 100}, nominal)
    midnight = slot_start_ms(int(at[0]))  # the file begins at local midnight, 23:00 UTC
    for amounts, counter in (
        (grid.import_mwh, raw["total_import_wh"]),
        (grid.export_mwh, raw["total_export_wh"]),
        (sun.export_mwh, raw["total_pv_wh"]),
    ):
        for day in range(6):
            today = slice(day * 96, (day + 1) * 96)
            end, start = (midnight + d * 96 * SLOT_MS for d in (day + 1, day))
            within = counter[(at >= start) & (at < end)]
            assert abs(amounts.values[today].sum() / 1000 - (within[-1] - within[0])) <= 100
    parts = [part(Role.GRID, grid), part(Role.PV, sun), part(Role.BATTERY, battery)]
    whole = sum_figures(system_figures(parts, len(grid)), np.array([0])).rows()[0]
    assert whole["pv_to_battery_mwh"] > 0.9 * whole["charge_mwh"]
    assert whole["soc"] == raw["soc_pct"][-1] / 100
