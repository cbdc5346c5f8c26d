import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measurements.carry import CARRY_SIZE, open_since, unpack_carry
from measurements.energy import (
    Nominal,
    Readings,
    appliance_slots,
)
from measurements.flags import Flag
from measurements.resolutions import SLOT_MS, slot_end_ms, slot_start_ms
from tests.measurements.by_hand import pack_carry

T0 = 1_780_000_200_000  # a slot's start
MIN = 60_000
ABSENT = None
MINUTELY = Nominal(interval_s=60)


def slots(readings, *, nominal=MINUTELY, count=None, carry=None):
    """Slots of readings given as {minute: {quantity: value}}, from T0 on."""
    minutes = sorted(readings)
    names = {name for reading in readings.values() for name in reading}
    table = Readings(
        np.array([T0 + round(minute * MIN) for minute in minutes], np.int64),
        {n: np.array([readings[m].get(n, np.nan) for m in minutes], float) for n in names},
    )
    count = count or int(max(minutes) // 15 + 1)
    return appliance_slots(table, T0, T0 + count * SLOT_MS, nominal=nominal, carry=carry)


def counter(levels, name="imported_wh"):
    return {minute: {name: level} for minute, level in levels.items()}


def power(values):
    return {minute: {"power_w": value} for minute, value in values.items()}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        pytest.param({0: 100, 15: 160, 30: 190}, [60_000, 30_000, None], id="at the bounds"),
        pytest.param({5: 100, 10: 130}, [30_000], id="only between first and last"),
        pytest.param({10: 100, 20: 130}, [15_000, 15_000], id="in line between two readings"),
        pytest.param({10: 100, 40: 101}, [167, 500, 333], id="rounded once at each bound"),
        pytest.param({5: 100}, [None], id="one reading is no energy"),
        pytest.param({1: 9000, 2: 8990, 16: 8995, 29: 9030}, [0, 30_000], id="a dip"),
        pytest.param({1: 9000, 5: 0, 14: 9010}, [10_000], id="a glitch"),
        pytest.param({1: 9000, 5: 3, 14: 10}, [7_000], id="a reset"),
        pytest.param({1: 9000, 14: 3, 16: 10}, [3_500, 3_500], id="a reset, known a slot later"),
        pytest.param({1: 9000, 16: 3}, [None, None], id="a fall that nothing confirms yet"),
    ],
)
def test_energy_by_a_counter(levels, expected):
    assert slots(counter(levels)).import_mwh.to_list() == expected


def test_a_counter_comes_before_power_and_directions_go_their_own_ways():
    made = slots(
        {minute: {"imported_wh": 100 + minute, "power_w": -600} for minute in (0, 5, 10, 15)},
        count=1,
    )
    assert made.import_mwh.to_list() == [15_000]
    assert made.export_mwh.to_list() == [150_000]
    assert made.mean_w.tolist() == [-600]
    assert made.imported_wh.tolist() == [115]
    assert np.isnan(made.exported_wh).all()


@pytest.mark.parametrize(
    ("values", "imported", "exported"),
    [
        pytest.param({0: 600, 5: 600, 10: 600, 15: 600}, 150_000, 0, id="constant"),
        pytest.param({0: 0, 5: 600, 10: 0}, 50_000, 0, id="trapezoids"),
        pytest.param({0: 300, 4: -900, 5: -900}, 2_500, 37_500, id="crossing zero"),
        pytest.param({0: 600, 6: 600}, None, None, id="a pause longer than the gap"),
        pytest.param({0: 600, 5: 600, 14: 600}, 50_000, 0, id="up to the pause"),
        pytest.param({0: 600, 1: float("nan"), 5: 600}, 50_000, 0, id="one not read"),
        pytest.param({0: 600, 1: float("inf"), 5: 600}, 50_000, 0, id="one not finite"),
    ],
)
def test_energy_by_power(values, imported, exported):
    made = slots(power(values), count=1)
    assert made.import_mwh.to_list() == [imported]
    assert made.export_mwh.to_list() == [exported]


@pytest.mark.parametrize(
    ("interval_s", "gap_minutes"), [(1, 5), (60, 5), (300, 15), (900, 45), (3600, 180), (7200, 180)]
)
def test_the_gap_is_three_intervals_within_bounds(interval_s, gap_minutes):
    nominal = Nominal(interval_s=interval_s)
    assert slots(power({0: 60, gap_minutes: 60}), nominal=nominal).import_mwh.present[0]
    assert not slots(power({0: 60, gap_minutes + 0.1: 60}), nominal=nominal).import_mwh.present[0]


def test_a_declared_interval_holds_from_its_instant():
    nominal = Nominal(interval_s=((T0 - 1, 60), (T0 + 20 * MIN, 900)))
    made = slots(power({0: 60, 15: 60, 30: 60, 60: 60}), nominal=nominal, count=4)
    assert made.import_mwh.to_list() == [None, None, 15_000, 15_000]


def test_a_long_pause_of_a_counter_is_spread_evenly_estimated_and_not_seen():
    made = slots(counter({0: 0, 5: 10, 10: 20, 65: 570, 70: 580, 75: 590}), count=5)
    assert made.import_mwh.to_list() == [70_000, 150_000, 150_000, 150_000, 70_000]
    assert made.flags.tolist() == [Flag.ESTIMATED] * 5
    assert made.seen_s.tolist() == [600, 0, 0, 0, 600]


def test_power_read_in_a_counters_pause_counts_as_seen():
    readings = {minute: {"power_w": 600.0} for minute in range(0, 31, 5)}
    readings[0]["imported_wh"], readings[30]["imported_wh"] = 0, 310
    made = slots(readings, count=2)
    assert made.import_mwh.to_list() == [155_000, 155_000]
    assert made.seen_s.tolist() == [900, 900]
    assert made.flags.tolist() == [Flag.ESTIMATED, Flag.ESTIMATED]


def test_power_fills_in_where_a_counter_says_nothing_yet():
    readings = {minute: {"power_w": 600.0} for minute in range(0, 16, 5)}
    readings[5]["imported_wh"], readings[10]["imported_wh"] = 100, 101
    assert slots(readings, count=1).import_mwh.to_list() == [101_000]


def interval(seconds, imported=np.nan, exported=np.nan):
    return {
        "interval_s": seconds,
        "import_energy_wh": imported,
        "export_energy_wh": exported,
    }


@pytest.mark.parametrize("zeros", [(20,), (20, 25), (20, 25, 30)])
@pytest.mark.parametrize("beside", [{}, {"power_w": 3_000.0}, interval(300, 250)])
def test_what_flows_while_a_counter_reads_zero_counts_once(zeros, beside):
    readings = {
        minute: beside | {"imported_wh": 0 if minute in zeros else 1e6 + 50 * minute}
        for minute in range(0, 61, 5)
    }
    made = slots(readings, count=4, nominal=Nominal(interval_s=300))
    assert sum(made.import_mwh.values) == 3_000_000


def test_what_a_counter_that_began_anew_with_zero_leaves_open_was_not_seen():
    readings = {minute: {"power_w": 3_000.0} for minute in range(31)}
    readings[13]["imported_wh"], readings[14]["imported_wh"] = 9_000, 9_050
    for minute in range(15, 31):
        readings[minute]["imported_wh"] = 50 * (minute - 15)
    made = slots(readings, count=2, nominal=Nominal(interval_s=60))
    assert made.import_mwh.to_list() == [700_000, 750_000]
    assert made.seen_s.tolist() == [840, 900]


def test_power_tells_of_a_long_pause_before_a_counter_began_anew_with_zero():
    readings = {minute: {"power_w": 3_000.0} for minute in range(46)}
    readings[0]["imported_wh"] = 9_000
    for minute in (30, 45):
        readings[minute]["imported_wh"] = 50 * (minute - 30)
    made = slots(readings, count=3, nominal=Nominal(interval_s=60))
    assert made.import_mwh.to_list() == [750_000] * 3
    assert made.seen_s.tolist() == [900] * 3


def test_nothing_is_said_across_a_reset_and_its_slots_are_flagged():
    readings = counter({0: 9000, 5: 9010, 40: 3, 45: 8, 50: 13, 55: 18, 60: 23})
    made = slots(readings, count=4)
    assert made.import_mwh.to_list() == [10_000, None, 5_000, 15_000]
    assert made.flags.tolist() == [Flag.RESET, Flag.RESET, Flag.RESET, 0]
    assert made.imported_wh[2:].tolist() == [8, 23]


def test_a_dropped_reading_is_flagged_where_it_was():
    made = slots(counter({6: 9000, 8: 0, 11: 9010, 16: 9020}))
    assert made.flags.tolist() == [Flag.IMPLAUSIBLE, 0]


def test_a_jump_beyond_the_power_is_held_back_until_it_is_corrected():
    nominal = Nominal(interval_s=60, max_import_w=4_000)
    jump = {0: 9000, 5: 9100, 9: 99_000}
    held, corrected = (slots(counter(jump | more), nominal=nominal) for more in ({}, {10: 9200}))
    assert held.import_mwh.to_list() == [100_000]
    assert corrected.import_mwh.to_list() == [200_000]
    assert held.flags.tolist() == corrected.flags.tolist() == [Flag.IMPLAUSIBLE]


def test_interval_readings_are_shared_over_their_slots_without_a_rest():
    hour = {"interval_s": 3600, "import_energy_wh": 1.001, "export_energy_wh": 0}
    made = slots({0: hour}, count=5)
    assert made.import_mwh.to_list() == [250, 251, 250, 250, None]
    assert made.export_mwh.to_list() == [0, 0, 0, 0, None]
    assert made.seen_s.tolist() == [900, 900, 900, 900, 0]
    assert made.mean_w[0] == pytest.approx(1)


def test_short_intervals_add_up_and_a_missing_one_is_missing():
    five = {"interval_s": 300, "import_energy_wh": 2.5}
    made = slots({0: five, 5: five, 15: five, 20: five, 25: five}, count=3)
    assert made.import_mwh.to_list() == [5_000, 7_500, None]
    assert made.export_mwh.to_list() == [None, None, None]
    assert made.seen_s.tolist() == [600, 900, 0]


@pytest.mark.parametrize(
    ("readings", "imported"),
    [
        pytest.param(
            {0: interval(3600, 4), 15: interval(900, 7)},
            [1_000, 7_000, 1_000, 1_000],
            id="the rest of the longer one counts on",
        ),
        pytest.param(
            {0: interval(3600, 4), 15: interval(900, 7), 30: interval(900, 8)},
            [1_000, 7_000, 8_000, 1_000],
            id="two within",
        ),
        pytest.param(
            {0: interval(1800, 4), 15: interval(3600, 40)},
            [2_000, 2_000, 10_000, 10_000, 10_000],
            id="a longer one begins within",
        ),
        pytest.param(
            {0: interval(3600, 4), 30: interval(3600, 8)},
            [1_000, 1_000, 2_000, 2_000, 2_000, 2_000],
            id="of two as long the later",
        ),
        pytest.param(
            {0: interval(3600, 4), 15: interval(1800, 6), 20: interval(300, 9)},
            [1_000, 11_000, 3_000, 1_000],
            id="three of them",
        ),
        pytest.param(
            {0: interval(3600, 4), 15: interval(900, exported=1)},
            [1_000, 1_000, 1_000, 1_000],
            id="what says nothing of it",
        ),
    ],
)
def test_of_intervals_that_overlap_the_shorter_counts_in_its_place(readings, imported):
    made = slots(readings, count=len(imported))
    assert made.import_mwh.to_list() == imported
    assert made.seen_s.tolist() == [900] * len(imported)


def test_intervals_and_power_do_not_count_the_same_energy_twice():
    readings = {minute: {"power_w": 600.0} for minute in range(0, 31, 5)}
    readings[15.5] = {"interval_s": 300, "import_energy_wh": 10, "export_energy_wh": 1}
    made = slots(readings, count=2)
    assert made.import_mwh.to_list() == [150_000, 110_000]
    assert made.export_mwh.to_list() == [0, 1_000]


@pytest.mark.parametrize("apart_s", [0, 1])
def test_an_interval_leaves_the_power_of_its_instant_where_it_is(apart_s):
    readings = {minute: {"power_w": -1000.0} for minute in range(0, 121, 15)}
    for minute in range(30, 105, 15):
        at = minute + apart_s / 60
        readings[at] = readings.get(at, {}) | interval(900, 100)
    made = slots(readings, count=8, nominal=Nominal(interval_s=900))
    assert made.export_mwh.to_list() == [250_000] * 8
    assert made.import_mwh.to_list()[3:6] == [100_000] * 3
    assert made.seen_s.tolist() == [900] * 8


@pytest.mark.parametrize("energy", [-5.0, float("nan"), float("inf")])
def test_an_energy_that_cannot_be_is_not_read(energy):
    made = slots({0: {"interval_s": 900, "import_energy_wh": energy, "export_energy_wh": 1}})
    assert made.import_mwh.to_list() == [None]


def test_what_came_late_is_flagged_where_it_tells_something():
    late, fresh = {"delay_s": 3600.0}, {"delay_s": 1.0}
    made = slots(
        {
            0: {"power_w": 60.0} | fresh,
            30: {"power_w": 60.0} | late,
            60: {"power_w": 60.0} | fresh,
            120: {"power_w": 60.0} | fresh,
        },
        nominal=Nominal(interval_s=1800),
        count=8,
    )
    assert made.flags.tolist() == [Flag.RECOVERED, Flag.RECOVERED, Flag.RECOVERED, 0, 0, 0, 0, 0]


def test_mean_least_and_greatest_power_and_the_last_of_the_rest():
    made = slots(
        {
            0: {"power_w": 0.0, "soc": 0.4, "energy_wh": 4000},
            5: {"power_w": 600.0, "soc": 0.5},
            10: {"power_w": -600.0, "temperature_c": 21.5},
            15: {"power_w": -600.0},
            40: {"power_w": 7.0},
        },
        count=3,
    )
    assert made.mean_w[0] == pytest.approx(-100)
    assert (made.min_w[0], made.max_w[0]) == (-600, 600)
    assert (made.min_w[2], made.max_w[2]) == (7, 7)
    assert np.isnan(made.mean_w[2])
    assert (made.soc[0], made.stored_wh[0], made.temperature_c[0]) == (0.5, 4000, 21.5)
    assert np.isnan(made.soc[1:]).all()


def test_slots_without_anything_are_not_known():
    made = slots({1: {"soc": 0.5}, 31: {"power_w": 3.0}}, count=4)
    assert made.known.tolist() == [True, False, True, False]


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, SLOT_MS), (0, SLOT_MS + 1), (SLOT_MS, 0)])
def test_a_span_that_is_not_of_whole_slots_is_refused(first, last):
    none = Readings(np.zeros(0, np.int64), {})
    with pytest.raises(ValueError, match="whole slots"):
        appliance_slots(none, T0 + first, T0 + last, nominal=MINUTELY)


def test_readings_twice_at_an_instant_or_out_of_order_are_refused():
    for at in ([1, 1], [2, 1]):
        with pytest.raises(ValueError, match="rise strictly"):
            Readings(np.array(at, np.int64), {})


def test_no_readings_say_nothing():
    made = appliance_slots(Readings(np.zeros(0, np.int64), {}), T0, T0 + SLOT_MS, nominal=MINUTELY)
    assert made.import_mwh.to_list() == [None]
    assert not made.known.any()
    assert pack_carry(made.carry[0]) is None


def test_a_carry_survives_storing():
    ordinary = slots(counter({0: 100, 5: 200})).carry[0]
    odd = slots(counter({0: 9000, 5: 3, 6: 5}, "exported_wh")).carry[0]
    for carry in (ordinary, odd):
        np.testing.assert_array_equal(unpack_carry(pack_carry(carry)), carry)
    assert len(pack_carry(ordinary)) == 48
    assert len(pack_carry(odd)) == 8 * CARRY_SIZE
    with pytest.raises(ValueError, match="Not a carry"):
        unpack_carry(b"1234")


def test_a_carry_tells_since_when_a_counter_is_open():
    carry = slots({0: {"imported_wh": 1}, 5: {"exported_wh": 2}}).carry[0]
    assert open_since(carry) == T0
    assert open_since(carry, imported=False) == T0 + 5 * MIN
    assert open_since(None) is None


# --- properties ---------------------------------------------------------------------------------

# Counters that mostly count, and now and then do what counters do.
steps = st.one_of(
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(-1_500, 0),
    st.sampled_from([-(10**9), -50_000, 50_000, 10**7, 10**9]),
)
pauses = st.one_of(
    st.integers(1, 400_000), st.just(5 * MIN), st.just(15 * MIN), st.integers(1, 9_000_000)
)


def maybe(values):
    return st.one_of(values, values, values, st.just(float("nan")))


def walk(start, step_list):
    """Levels by steps; a step below 0 starts anew at 0, an up-and-back is drawn by chance."""
    level, levels = start, []
    for step in step_list:
        level = max(level + step, 0)
        levels.append(float(level))
    return levels


@st.composite
def histories(draw, intervals=True):
    count = draw(st.integers(1, 24))
    at = T0 + np.cumsum(draw(st.lists(pauses, min_size=count, max_size=count)))

    def column(values):
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), float)

    columns = {}
    if draw(st.booleans()):
        columns["power_w"] = column(maybe(st.floats(-20_000, 20_000)))
    for name in ("imported_wh", "exported_wh"):
        if draw(st.booleans()):
            levels = walk(
                draw(st.integers(0, 10**7)),
                draw(st.lists(steps, min_size=count, max_size=count)),
            )
            unread = column(st.sampled_from([0.0, 0.0, 0.0, np.nan]))
            columns[name] = np.array(levels) + unread
    if intervals and draw(st.booleans()):
        columns["interval_s"] = column(st.sampled_from([np.nan, 60.0, 900.0, 3600.0]))
        columns["import_energy_wh"] = column(maybe(st.floats(0, 5_000)))
        columns["export_energy_wh"] = column(maybe(st.floats(0, 5_000)))
    columns["delay_s"] = column(st.sampled_from([0.0, 5.0, 5000.0]))
    columns["soc"] = column(maybe(st.floats(0, 1)))
    return Readings(at.astype(np.int64), columns)


nominals = st.builds(
    Nominal,
    interval_s=st.sampled_from([10, 300, 3600]),
    max_import_w=st.sampled_from([None, 5_000.0]),
    max_export_w=st.sampled_from([None, 5_000.0]),
)


def whole_span(readings):
    return slot_start_ms(int(readings.at_ms[0])), slot_end_ms(int(readings.at_ms[-1]) + 3_600_001)


def with_context(readings, from_ms, until_ms):
    """Only what the module's text asks for."""
    at, columns = readings.at_ms, readings.columns
    nothing = np.full(len(at), np.nan)
    keep = (at >= from_ms) & (at < until_ms)
    interval_ms = np.nan_to_num(columns.get("interval_s", nothing)) * 1000
    reaching = np.flatnonzero((at < from_ms) & (at + interval_ms > from_ms))
    if len(reaching):
        keep |= (at >= at[reaching[0]]) & (at < from_ms) & (interval_ms > 0)
    has_power = ~np.isnan(columns.get("power_w", nothing))
    keep[np.flatnonzero((at < from_ms) & has_power)[-1:]] = True
    keep[np.flatnonzero((at >= until_ms) & has_power)[:1]] = True
    for name in ("imported_wh", "exported_wh"):
        read = ~np.isnan(columns.get(name, nothing))
        keep[np.flatnonzero((at >= until_ms) & read)[:2]] = True
    return Readings(at[keep], {name: column[keep] for name, column in columns.items()})


COLUMNS = (
    "start_ms",
    "mean_w",
    "min_w",
    "max_w",
    "soc",
    "imported_wh",
    "exported_wh",
    "seen_s",
    "flags",
    "known",
    "carry",
)


def figures(made, rows=slice(None)):
    """All columns of slots, comparable to the bit."""
    plain = {name: getattr(made, name)[rows].tobytes() for name in COLUMNS}
    amounts = {name: getattr(made, name).to_list()[rows] for name in ("import_mwh", "export_mwh")}
    return plain | amounts


@settings(max_examples=300)
@given(readings=histories(), nominal=nominals, data=st.data())
def test_a_part_computed_with_its_context_is_the_part_of_the_whole(readings, nominal, data):
    from_ms, until_ms = whole_span(readings)
    whole = appliance_slots(readings, from_ms, until_ms, nominal=nominal)
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first + 1, len(whole)))
    part = appliance_slots(
        with_context(readings, from_ms + first * SLOT_MS, from_ms + last * SLOT_MS),
        from_ms + first * SLOT_MS,
        from_ms + last * SLOT_MS,
        nominal=nominal,
        carry=whole.carry[first - 1] if first else None,
    )
    assert figures(part) == figures(whole, slice(first, last))


@settings(max_examples=300)
@given(readings=histories(), nominal=nominals)
def test_energies_are_never_negative_and_coverage_is_within_the_slot(readings, nominal):
    made = appliance_slots(readings, *whole_span(readings), nominal=nominal)
    for amounts in (made.import_mwh, made.export_mwh):
        assert (amounts.values >= 0).all()
        assert (amounts.values[~amounts.present] == 0).all()
    assert ((made.seen_s >= 0) & (made.seen_s <= 900)).all()
    known_mean = ~np.isnan(made.min_w) & ~np.isnan(made.mean_w)
    slack = 1e-9 * np.abs(made.mean_w[known_mean]) + 1e-6
    assert (made.min_w[known_mean] <= made.mean_w[known_mean] + slack).all()
    assert (made.mean_w[known_mean] <= made.max_w[known_mean] + slack).all()


@given(
    start=st.integers(0, 10**8),
    rises=st.lists(st.integers(0, 300_000), min_size=2, max_size=30),
    data=st.data(),
)
def test_any_run_of_slots_adds_up_to_the_counters_difference(start, rises, data):
    """The counter in mWh; read at random instants, and at both ends of the run."""
    at = T0 + np.cumsum(data.draw(st.lists(pauses, min_size=len(rises), max_size=len(rises))))
    levels = (start + np.cumsum(rises)) / 1000
    readings = Readings(at.astype(np.int64), {"imported_wh": levels})
    from_ms, until_ms = slot_start_ms(int(at[0])), slot_end_ms(int(at[-1]) + 1)
    made = appliance_slots(readings, from_ms, until_ms, nominal=Nominal(interval_s=60))
    assert made.import_mwh.values.sum() == round(levels[-1] * 1000) - round(levels[0] * 1000)
    first = data.draw(st.integers(0, len(made)))
    last = data.draw(st.integers(first, len(made)))
    run = made.import_mwh.values[first:last].sum()
    here, there = np.interp(
        [from_ms + first * SLOT_MS, from_ms + last * SLOT_MS], at, levels * 1000
    )
    assert abs(run - (there - here)) <= 1


@given(
    energies=st.lists(st.integers(0, 10**7), min_size=1, max_size=30),
    interval_s=st.sampled_from([60, 300, 420, 900, 1800, 3600]),
    offset=st.integers(0, 900),
)
def test_interval_energies_add_up_exactly(energies, interval_s, offset):
    at = T0 + 1000 * (offset + interval_s * np.arange(len(energies), dtype=np.int64))
    readings = Readings(
        at,
        {
            "interval_s": np.full(len(at), float(interval_s)),
            "import_energy_wh": np.array(energies) / 1000,
        },
    )
    made = appliance_slots(readings, *whole_span(readings), nominal=MINUTELY)
    assert made.import_mwh.values.sum() == sum(energies)
    assert made.seen_s.sum() == pytest.approx(interval_s * len(energies), abs=len(made))


interval_lists = st.dictionaries(
    st.integers(0, 120),  # by minute
    st.tuples(
        st.sampled_from([60, 300, 900, 1800, 3600]),
        st.sampled_from([np.nan, 0.0, 2.5, 7.0]),
        st.sampled_from([np.nan, 0.0, 3.0]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300)
@given(intervals=interval_lists)
def test_each_minute_is_told_by_the_shortest_interval_of_it(intervals):
    made = slots({at: interval(*one) for at, one in intervals.items()}, count=12)
    sides = [(made.import_mwh, 1), (made.export_mwh, 2)]
    for amounts, side in sides:
        for index, found in enumerate(amounts.to_list()):
            told = [
                min(
                    (
                        (one[0], -at, one[side] * 60_000 / one[0])
                        for at, one in intervals.items()
                        if at <= minute < at + one[0] // 60 and not np.isnan(one[side])
                    ),
                    default=None,
                )
                for minute in range(15 * index, 15 * index + 15)
            ]
            known = [mwh for _length, _at, mwh in filter(None, told)]
            assert (found is None) == (not known)
            if known:  # rounded at every bound
                assert found == pytest.approx(sum(known), abs=2 * len(intervals))


@settings(max_examples=300)
@given(intervals=interval_lists, data=st.data())
def test_an_interval_changes_nothing_beyond_its_own_span(intervals, data):
    readings = {minute: interval(*one) for minute, one in intervals.items()} | {0: {"soc": 0.5}}
    minute = data.draw(st.sampled_from(sorted(readings)))
    minutes = int(readings[minute].get("interval_s", 0)) // 60
    without = {at: reading for at, reading in readings.items() if at != minute} | {0: {"soc": 0.5}}
    before, after = slots(without, count=12), slots(readings, count=12)
    for index in range(12):
        if index not in range(minute // 15, (minute + minutes - 1) // 15 + 1):
            here = slice(index, index + 1)
            assert figures(after, here) == figures(before, here)
