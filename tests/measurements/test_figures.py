from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.kinds import Role
from measurements.amounts import Amounts, floats_to_list
from measurements.figures import (
    COLUMNS,
    FLAGGED,
    LAST,
    SUMMED,
    Part,
    rate_columns,
    rates_of,
    sum_figures,
    system_figures,
)
from measurements.resolutions import SLOT, Resolution, periods
from tests.measurements.by_hand import figures_of


def part(role, taken=None, given=None, *, length=1, **more):
    """An appliance of as many slots as the lists given have."""
    columns = [column for column in (taken, given, *more.values()) if isinstance(column, list)]
    length = len(columns[0]) if columns else length
    empty = [None] * length
    floats = {
        name: np.array(more.pop(name, empty), np.float64)
        for name in ("soc", "stored_wh", "imported_wh", "exported_wh")
    }
    ints = {
        "seen_s": np.array(more.pop("seen_s", [900] * length), np.int64),
        "flags": np.array(more.pop("flags", [0] * length), np.int64),
    }
    taken, given = (Amounts.of_list(column or empty) for column in (taken, given))
    return Part(role, taken, given, **floats, **ints, **more)


def test_a_systems_figures_have_the_columns_of_its_table():
    figures = system_figures([part(Role.GRID, [100], [0])], 1)
    assert tuple(figures.columns()) == (*COLUMNS, *FLAGGED)
    assert tuple(figures.rows()[0]) == (*COLUMNS, *FLAGGED)


def test_columns_come_back_as_they_went():
    figures = system_figures(
        [part(Role.GRID, [100, None], [0, 5], imported_wh=[7.5, None]), part(Role.PV, [0, 0])], 2
    )
    assert figures_of(figures.columns()).rows() == figures.rows()


def test_seen_and_expected_seconds_are_those_of_all_parts_of_the_balance():
    figures = system_figures(
        [
            part(Role.GRID, [1, 1], [0, 0], seen_s=[900, 450], flags=[1, 0]),
            part(Role.PV, [0, 0], [1, 1], flags=[2, 0]),
            part(Role.NONE, [5, 5], [5, 5], flags=[8, 8]),
        ],
        2,
    )
    assert figures.seen_s.tolist() == [1800, 1350]
    assert figures.expected_s.tolist() == [1800, 1800]
    assert figures.flags.tolist() == [3, 0]


def test_counters_of_the_grid_are_added_where_all_are_known():
    figures = system_figures(
        [
            part(Role.GRID, [1, 1], [1, 1], imported_wh=[10, 11], exported_wh=[5, 6]),
            part(Role.GRID, [1, 1], [1, 1], imported_wh=[20, None], exported_wh=[7, 8]),
        ],
        2,
    )
    assert figures.columns()["imported_wh"] == [30, None]
    assert figures.columns()["exported_wh"] == [12, 14]


def test_the_state_of_charge_of_batteries_together_goes_by_capacity():
    one = part(Role.BATTERY, [0], [0], soc=[0.5], capacity_wh=10_000)
    two = part(Role.BATTERY, [0], [0], soc=[0.9], capacity_wh=30_000)
    dead = part(Role.BATTERY, [0], [0], capacity_wh=30_000)
    assert system_figures([one], 1).soc.tolist() == [0.5]
    assert system_figures([one, two], 1).soc.tolist() == [pytest.approx(0.8)]
    assert system_figures([one, dead], 1).soc.tolist() == [0.5]
    assert np.isnan(system_figures([dead, dead], 1).soc).all()


def test_a_batterys_content_is_what_it_tells_or_what_its_charge_means():
    grid = part(Role.GRID, [0] * 3, [0] * 3)
    tells = part(Role.BATTERY, [0] * 3, [0] * 3, stored_wh=[4.0, 4.5, None], soc=[0.1] * 3)
    means = part(Role.BATTERY, [0] * 3, [0] * 3, soc=[0.4, 0.5, None], capacity_wh=10.0)
    for battery in (tells, means):
        stored = system_figures([grid, battery], 3).columns()["stored_mwh"]
        assert stored[0] == 4000
        assert stored[2] == stored[1]


def test_a_batterys_content_goes_on_from_the_slot_before():
    parts = [
        part(Role.GRID, [0, 0], [0, 0]),
        part(Role.BATTERY, [None, 0], [None, 400]),
    ]
    figures = system_figures(parts, 2, before=(1000, 500)).columns()
    assert figures["stored_mwh"] == [1000, 600]
    assert figures["stored_from_grid_mwh"] == [500, 300]
    assert figures["grid_via_battery_mwh"] == [None, 200]


def test_a_batterys_content_begins_where_anything_is_known_of_it():
    def battery(charge, discharge, stored_wh):
        return part(Role.BATTERY, charge, discharge, stored_wh=stored_wh)

    grid = part(Role.GRID, [None, 40], [None, 0])
    whole = system_figures([grid, battery([None, 40], [None, 20], [None, 1.0])], 2)
    later = system_figures([part(Role.GRID, [40], [0]), battery([40], [20], [1.0])], 1, before=None)
    assert whole.rows()[1] == later.rows()[0]
    assert whole.rows()[0]["stored_mwh"] is None


def test_a_battery_of_which_nothing_is_known_has_no_content():
    parts = [part(Role.GRID, [0, 0], [0, 0]), part(Role.BATTERY, [None, 7], [None, 0])]
    assert system_figures(parts, 2).columns()["stored_mwh"] == [None, 7]


def test_sums_keep_absent_apart_from_zero_and_take_the_last_of_levels():
    slots = system_figures(
        [
            part(Role.GRID, [10, None, 30, None], [0, None, None, None], flags=[1, 0, 4, 0]),
            part(Role.BATTERY, [5, 0, 0, 0], [0, 0, 0, 0], soc=[0.5, None, None, None]),
        ],
        4,
    )
    sums = sum_figures(slots, np.array([0, 3])).columns()
    assert sums["import_mwh"] == [40, None]
    assert sums["export_mwh"] == [0, None]
    assert sums["ev_mwh"] == [None, None]
    assert sums["charge_mwh"] == [5, 0]
    assert sums["soc"] == [0.5, None]
    assert sums["stored_mwh"] == [5, 5]
    assert sums["flags"] == [5, 0]
    assert sums["seen_s"] == [5400, 1800]


def test_flags_hold_for_their_slots_and_for_no_others_of_a_sum():
    grid = part(Role.GRID, [1] * 4, [0] * 4, seen_s=[300, 600, 900, 0], flags=[3, 0, 2, 1])
    slots = system_figures([grid, part(Role.PV, [0] * 4, [1] * 4)], 4)
    sums = sum_figures(slots, np.array([0, 3])).columns()
    assert sums["flags"] == [3, 1]
    assert sums["recovered_s"] == [1200 + 1800, 0]
    assert sums["estimated_s"] == [600, 900]


RATED = (
    "pv_to_load",
    "pv_to_battery",
    "pv_to_grid",
    "battery_to_load",
    "battery_to_grid",
    "import",
    "consumption",
    "unmetered",
)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param(
            {"pv_to_grid": 250, "pv_to_load": 500, "pv_to_battery": 250, "import": 100,
             "consumption": 800, "battery_to_load": 190, "battery_to_grid": 10},
            (750, 500, 700, 0.875, 0.75, 0.5),
            id="a day",
        ),
        pytest.param(
            {"pv_to_grid": 250, "pv_to_load": 500, "pv_to_battery": 250, "import": 100,
             "consumption": 1800, "unmetered": 1000, "battery_to_load": 200},
            (750, 500, 700, 0.875, 0.75, 0.5),
            id="a day of which the meter was silent for a part",
        ),
        pytest.param(
            {"consumption": 1800, "unmetered": 1800},
            (None,) * 6,
            id="a day without a meter",
        ),
        pytest.param(
            {"pv_to_grid": 0, "pv_to_load": 0, "import": 100, "consumption": 100},
            (0, 0, 0, 0, None, None),
            id="a night",
        ),
        pytest.param(
            {"import": 120, "consumption": 100},
            (None, None, None, 0, None, None),
            id="no sun at all, and clamped",
        ),
        pytest.param(
            {},
            (None,) * 6,
            id="nothing known",
        ),
    ],
)  # fmt: skip
def test_rates_come_from_the_flows(figures, expected):
    for suffix in ("_mwh", "_w"):
        rates = rates_of({f"{name}{suffix}": figures.get(name) for name in RATED}, suffix)
        assert tuple(rates.values()) == expected
        assert list(rates)[:3] == [
            f"{name}{suffix}" for name in ("self_consumption", "direct_consumption", "self_supply")
        ]


# --- properties ---------------------------------------------------------------------------------

amounts = st.one_of(st.none(), st.integers(0, 10_000))


@st.composite
def tables(draw):
    """Figures of some slots of a system with meter, sun, battery and a car."""
    length = draw(st.integers(1, 24))

    def column():
        return draw(st.lists(amounts, min_size=length, max_size=length))

    roles = draw(st.sets(st.sampled_from([Role.GRID, Role.PV, Role.BATTERY, Role.EV])))
    parts = [part(role, column(), column()) for role in sorted(roles)]
    return system_figures(parts, length)


def cuts(draw, length):
    return np.array(sorted({0, *draw(st.sets(st.integers(0, length - 1)))}), np.int64)


@given(table=tables(), data=st.data())
def test_sums_of_sums_are_the_sums_of_the_slots(table, data):
    hours = cuts(data.draw, len(table))
    days = cuts(data.draw, len(hours))
    stepwise = sum_figures(sum_figures(table, hours), days)
    assert stepwise.rows() == sum_figures(table, hours[days]).rows()


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"],
)
@pytest.mark.parametrize("year", [2026, 2028])
def test_quarters_add_up_to_every_coarser_period_of_the_zone(zone, year):
    zone = ZoneInfo(zone)
    span = periods(
        datetime(year, 7, 1, tzinfo=UTC), datetime(year, 7, 2, tzinfo=UTC), Resolution.YEAR, zone
    )[0]
    start, length = span.from_at, (span.until_at - span.from_at) // SLOT
    assert length == (365 + (year == 2028)) * 96
    random = np.random.default_rng(year)

    def column():
        values = random.integers(0, 10**6, length)
        return Amounts.of(values, random.random(length) < 0.9)

    empty, seen = np.full(length, np.nan), np.full(length, 900)
    parts = [
        Part(role, column(), column(), empty, empty, empty, empty, seen, np.zeros(length, int))
        for role in (Role.GRID, Role.PV, Role.BATTERY, Role.EV)
    ]
    quarters = system_figures(parts, length)

    def at_starts(resolution, of):
        starts = [(p.from_at - start) // SLOT for p in periods(*of, resolution, zone)]
        return np.array(starts)

    year_of_quarters = sum_figures(quarters, np.array([0])).rows()
    for resolution in (Resolution.HOUR, Resolution.DAY, Resolution.MONTH):
        starts = at_starts(resolution, span)
        sums = sum_figures(quarters, starts)
        assert sum_figures(sums, np.array([0])).rows() == year_of_quarters
        days = at_starts(Resolution.DAY, span)
        if resolution is Resolution.HOUR:
            by_hours = sum_figures(sums, np.searchsorted(starts, days)).rows()
            assert by_hours == sum_figures(quarters, days).rows()


@given(table=tables(), data=st.data())
def test_a_sum_is_that_of_the_rows_that_state_something(table, data):
    starts = cuts(data.draw, len(table))
    rows, sums = table.rows(), sum_figures(table, starts).rows()
    for k, (first, last) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True)):
        group = rows[first:last]
        for name in SUMMED:
            stated = [row[name] for row in group if row[name] is not None]
            assert sums[k][name] == (sum(stated) if stated else None)
        for name in LAST:
            stated = [row[name] for row in group if row[name] is not None]
            assert sums[k][name] == (stated[-1] if stated else None)


@given(table=tables())
def test_rates_are_within_0_and_1_or_absent(table):
    for row in table.rows():
        rates = list(rates_of(row).values())[3:]
        assert all(rate is None or 0 <= rate <= 1 for rate in rates)


energy = st.none() | st.integers(0, 10**9)


@given(st.lists(st.tuples(*[energy] * len(RATED)), min_size=1, max_size=8))
def test_rates_are_the_same_column_by_column(rows):
    names = [f"{name}_mwh" for name in RATED]
    columns = {
        name: np.array(column, np.float64)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    expected = [rates_of(dict(zip(names, row, strict=True))) for row in rows]
    for name, column in rate_columns(columns).items():
        assert floats_to_list(column) == [row[name] for row in expected]
