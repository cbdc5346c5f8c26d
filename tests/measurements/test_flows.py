import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.kinds import Role
from measurements.amounts import Amounts
from measurements.flows import (
    CONSUMERS,
    FLOWS,
    TOTALS,
    balance_of,
    carry_battery,
    live_figures_of_many,
    split,
)

KWH = 1_000_000


def part(role, taken=None, given=None):
    return role, Amounts.of_list([taken]), Amounts.of_list([given])


def flows_of(*parts):
    """Figures of one slot that are present, by name."""
    split_up = split(balance_of(parts, 1))
    assert set(split_up) == {*TOTALS, *FLOWS}
    values = {name: amount.to_list()[0] for name, amount in split_up.items()}
    return {name: value for name, value in values.items() if value is not None}


def picked(flows, expected):
    return {name: flows.get(name) for name in expected}


GRID, PV, BATTERY, HOUSE = Role.GRID, Role.PV, Role.BATTERY, Role.HOUSE


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(
            [part(GRID, 0, 59), part(PV, 0, 1512), part(BATTERY, 853, 0)],
            {
                "consumption": 600,
                "household": 600,
                "pv_to_load": 600,
                "pv_to_battery": 853,
                "pv_to_grid": 59,
                "battery_to_load": 0,
                "grid_to_load": 0,
                "residual": 0,
            },
            id="a sunny slot",
        ),
        pytest.param(
            [part(GRID, 300, 200), part(PV, 0, 1000), part(BATTERY, 0, 0)],
            {"consumption": 1100, "pv_to_grid": 200, "pv_to_load": 800, "grid_to_load": 300},
            id="import and export share a slot",
        ),
        pytest.param(
            [part(GRID, 0, 700), part(PV, 0, 500), part(BATTERY, 0, 900)],
            {"battery_to_grid": 200, "pv_to_grid": 500, "battery_to_load": 700, "consumption": 700},
            id="the battery feeds in what PV cannot have",
        ),
        pytest.param(
            [part(GRID, 2500, 0), part(PV, 0, 100), part(BATTERY, 2000, 0)],
            {
                "grid_to_battery": 1900,
                "pv_to_battery": 100,
                "pv_to_load": 0,
                "grid_to_load": 600,
                "consumption": 600,
            },
            id="the grid charges what PV does not",
        ),
        pytest.param(
            [part(GRID, 0, 1010), part(PV, 0, 1000)],
            {"consumption": 0, "household": 0, "pv_to_grid": 1000, "residual": -10, "export": 1010},
            id="more fed in than made: a residual",
        ),
        pytest.param(
            [part(GRID, 1000, 0), part(Role.EV, 1100)],
            {
                "consumption": 1100,
                "household": 0,
                "ev": 1100,
                "ev_from_grid": 1000,
                "residual": -100,
            },
            id="more charged than bought: a residual",
        ),
        pytest.param(
            [
                part(GRID, 300, 0),
                part(PV, 0, 500),
                part(BATTERY, 0, 300),
                part(Role.EV, 400),
                part(Role.HEAT_PUMP, 200),
                part(Role.HEATER, 100),
            ],
            {
                "household": 400,
                "ev_from_pv": 400,
                "heat_pump_from_pv": 100,
                "heater_from_pv": 0,
                "household_from_pv": 0,
                "heat_pump_from_battery": 50,
                "heat_pump_from_grid": 50,
                "heater_from_battery": 50,
                "heater_from_grid": 50,
                "household_from_battery": 200,
                "household_from_grid": 200,
            },
            id="large consumers take PV first, all share the rest",
        ),
        pytest.param(
            [part(HOUSE, 700), part(PV, 0, 1000), part(Role.EV, 100)],
            {"import": 0, "export": 200, "household": 700, "consumption": 800, "residual": 0},
            id="a household's meter instead of the grid's",
        ),
        pytest.param(
            [part(GRID, None, None), part(HOUSE, 700), part(PV, 0, 100)],
            {"import": 600, "export": 0, "consumption": 700},
            id="a household's meter where the grid's was not read",
        ),
        pytest.param(
            [part(GRID, 50, 0), part(HOUSE, 700)],
            {"import": 50, "consumption": 50},
            id="the grid's meter comes first",
        ),
        pytest.param(
            [part(GRID, 50, 0), part(PV, None, None)],
            {"consumption": 50, "pv": None, "pv_to_load": None, "grid_to_load": 50},
            id="a sleeping inverter counts as nothing and says nothing",
        ),
        pytest.param(
            [part(GRID, 50, 0), part(GRID, 25, 5), part(PV, 0, 10), part(PV, 3, 10)],
            {"import": 75, "export": 5, "pv": 20, "consumption": 90},
            id="several meters and inverters",
        ),
    ],
)
def test_how_a_slot_is_split(parts, expected):
    assert picked(flows_of(*parts), expected) == expected


def test_without_any_meter_consumption_is_what_known_consumers_used():
    assert flows_of(part(Role.EV, 700), part(Role.EV, 300), part(PV, 0, 100)) == {
        "pv": 100,
        "ev": 1000,
        "consumption": 1000,
        "unmetered": 1000,
    }


def test_where_the_meter_was_not_read_nothing_is_said_about_flows():
    flows = flows_of(part(GRID), part(PV, 0, 100), part(Role.EV, 30))
    assert flows == {"pv": 100, "ev": 30, "consumption": 30, "unmetered": 30}


def test_where_neither_meter_nor_consumer_was_read_nothing_is_said_of_consumption():
    assert flows_of(part(GRID), part(PV, 0, 100), part(Role.EV)) == {"pv": 100}


def test_a_system_without_a_part_has_no_figure_of_it():
    flows = flows_of(part(GRID, 100, 0))
    assert set(flows) == {
        "import",
        "export",
        "consumption",
        "household",
        "grid_to_load",
        "household_from_grid",
        "residual",
    }


def test_an_appliance_without_a_role_takes_no_part():
    assert flows_of(part(GRID, 100, 0), part(Role.NONE, 70, 70)) == flows_of(part(GRID, 100, 0))


def test_live_powers_are_split_by_the_same_function():
    (live,) = live_figures_of_many(
        [[(GRID, -59.0), (PV, -1512.0), (BATTERY, 853.0), (Role.HEATER, None)]]
    )
    assert live["household_w"] == live["pv_to_load_w"] == 600
    assert (live["pv_to_grid_w"], live["export_w"], live["charge_w"]) == (59, 59, 853)
    assert live["heater_w"] is None
    assert live["ev_w"] is None


def memory(charge, discharge, from_grid, measured, before=None):
    columns = [np.array(column, np.int64) for column in (charge, discharge, from_grid)]
    made = carry_battery(*columns, Amounts.of_list(measured), before=before)
    return [column.tolist() for column in made]


def test_a_battery_remembers_what_came_from_the_grid():
    stored, from_grid, via = memory([1000, 0, 0], [0, 500, 900], [500, 0, 0], [None] * 3, (0, 0))
    assert stored == [1000, 500, 0]
    assert from_grid == [500, 250, 0]
    assert via == [0, 250, 250]


def test_what_a_battery_loses_keeps_the_share_from_the_grid():
    stored, from_grid, via = memory([0, 0], [0, 400], [0, 0], [800, 400], (1000, 500))
    assert stored == [800, 400]
    assert from_grid == [400, 200]
    assert via == [0, 200]


def test_at_the_beginning_nothing_in_a_battery_is_from_the_grid():
    stored, from_grid, _ = memory([100], [0], [100], [5000])
    assert stored == [5000]
    assert from_grid == [100]


def test_a_battery_that_turns_out_fuller_did_not_get_that_from_the_grid():
    assert memory([0], [0], [0], [5000], (100, 100))[1] == [100]


def test_a_battery_only_ever_charged_by_sun_has_nothing_from_the_grid():
    assert memory([10, 0], [0, 5], [0, 0], [10, 5]) == [[10, 5], [0, 0], [0, 0]]


# --- properties ---------------------------------------------------------------------------------

amounts = st.one_of(st.none(), st.just(0), st.integers(0, 50), st.integers(0, 5 * KWH))
roles = st.sampled_from([GRID, PV, BATTERY, Role.EV, Role.HEAT_PUMP, Role.HEATER, HOUSE])


@st.composite
def systems(draw):
    length = draw(st.integers(1, 6))
    column = st.lists(amounts, min_size=length, max_size=length).map(Amounts.of_list)
    parts = draw(st.lists(st.tuples(roles, column, column), max_size=7))
    return parts, length


def value(flows, *names):
    return sum(flows[name].values for name in names)


@given(system=systems())
def test_the_balance_of_every_slot_closes_to_its_residual(system):
    parts, length = system
    flows = split(balance_of(parts, length))
    metered = flows["residual"].present
    sources = value(flows, "pv", "discharge", "import")
    sinks = value(flows, "consumption", "charge", "export", "residual")
    assert (sources == sinks)[metered].all()
    assert (flows["residual"].values <= 0).all()


@given(system=systems())
def test_flows_add_up_to_their_totals(system):
    parts, length = system
    flows = split(balance_of(parts, length))
    metered = flows["residual"].present
    for total, ways in (
        ("pv", ("pv_to_load", "pv_to_battery", "pv_to_grid")),
        ("discharge", ("battery_to_load", "battery_to_grid")),
        ("import", ("grid_to_load", "grid_to_battery")),
        ("consumption", CONSUMERS),
        *(
            (f"{source}_to_load", [f"{consumer}_from_{source}" for consumer in CONSUMERS])
            for source in ("pv", "battery", "grid")
        ),
    ):
        parts_of = value(flows, *ways)
        missing = sum(~flows[name].present & (flows[total].values > 0) for name in ways)
        whole = metered & (missing == 0)
        assert (flows[total].values == parts_of)[whole].all(), total
    reached = value(flows, "pv_to_grid", "battery_to_grid", "pv_to_battery", "grid_to_battery")
    reached = reached + value(flows, "pv_to_load", "battery_to_load", "grid_to_load")
    short = value(flows, "export", "charge", "consumption") - reached
    assert (short == -flows["residual"].values)[metered].all()


@given(system=systems())
def test_no_flow_is_negative_and_none_is_zero(system):
    parts, length = system
    for name, amount in split(balance_of(parts, length)).items():
        if name != "residual":
            assert (amount.values >= 0).all(), name
        assert (amount.values[~amount.present] == 0).all(), name


@given(system=systems())
def test_a_slot_is_split_the_same_alone_and_among_others(system):
    parts, length = system
    together = {n: a.to_list() for n, a in split(balance_of(parts, length)).items()}
    for slot in range(length):
        alone = split(
            balance_of(
                [
                    (role, *(Amounts.of_list([side.to_list()[slot]]) for side in (a, b)))
                    for role, a, b in parts
                ],
                1,
            )
        )
        assert {n: a.to_list()[0] for n, a in alone.items()} == {
            n: column[slot] for n, column in together.items()
        }


small = st.integers(0, 3_000)


@given(
    slots=st.lists(
        st.tuples(small, small, st.integers(0, 100), st.one_of(st.none(), small)),
        min_size=1,
        max_size=20,
    ),
    data=st.data(),
)
def test_a_batterys_memory_goes_on_from_what_was_stored(slots, data):
    charge, discharge, share, measured = (list(column) for column in zip(*slots, strict=True))
    from_grid = [c * s // 100 for c, s in zip(charge, share, strict=True)]
    stored, of_grid, via = memory(charge, discharge, from_grid, measured)
    assert all(0 <= g <= s for g, s in zip(of_grid, stored, strict=True))
    assert all(0 <= v <= d for v, d in zip(via, discharge, strict=True))
    cut = data.draw(st.integers(1, len(slots)))
    rest = memory(
        charge[cut:],
        discharge[cut:],
        from_grid[cut:],
        measured[cut:],
        (stored[cut - 1], of_grid[cut - 1]),
    )
    assert rest == [stored[cut:], of_grid[cut:], via[cut:]]
