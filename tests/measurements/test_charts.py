import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest

from measurements import charts
from measurements.flags import Flag
from measurements.resolutions import Resolution, next_period, period_start, periods
from measurements.words import grade_in_words

BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = {series.column for series in (*charts.BY_ORIGIN, *charts.BY_SIDE)}
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def figures(**values) -> SimpleNamespace:
    """Figures of one span; energies that are not given are absent."""
    given = dict.fromkeys(COLUMNS) | {
        "seen_s": 900, "expected_s": 900, "to_see_s": 900, "flags": 0,
        "recovered_s": 0, "estimated_s": 0,
    }  # fmt: skip
    return SimpleNamespace(**(given | values))


def number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}"


def spans_of(day: date, resolution=Resolution.DAY, parts=Resolution.QUARTER, zone=BERLIN):
    start = period_start(datetime(day.year, day.month, day.day, 12, tzinfo=zone), resolution, zone)
    return periods(start, next_period(start, resolution, zone), parts, zone)


def day_figure(day: date, slots=None, now=LATER, zone=BERLIN):
    spans = spans_of(day, zone=zone)
    return charts.day_figure(
        spans,
        slots or [figures(grid_to_load_mwh=250_000)] * len(spans),
        zone=zone,
        now=now,
        number=number,
        now_label="now",
    )


def test_a_quarter_of_an_hour_is_drawn_as_power_upwards_by_origin_and_downwards_stored():
    spans = spans_of(date(2026, 6, 15))
    slot = figures(
        pv_to_load_mwh=300_000,
        battery_to_load_mwh=0,
        grid_to_load_mwh=125_000,
        charge_mwh=500_000,
        export_mwh=1_000_000,
    )
    drawn = day_figure(date(2026, 6, 15), [slot] + [None] * (len(spans) - 1))
    bars = {trace["name"]: trace for trace in drawn["data"]}
    assert {name: trace["y"][0] for name, trace in bars.items()} == {
        "pv_to_load": 1.2,
        "battery_to_load": 0,
        "grid_to_load": 0.5,
        "charge": -2,
        "export": -4,
    }
    assert bars["pv_to_load"]["y"][1:] == [None] * 95
    assert bars["export"]["marker"]["color"] == "var(--feed-in)"


@pytest.mark.parametrize(
    ("day", "length", "noon"),
    [(date(2026, 3, 29), 92, 44), (date(2026, 6, 15), 96, 48), (date(2026, 10, 25), 100, 52)],
)
def test_a_day_of_23_or_25_hours_is_drawn_as_it_is(day: date, length: int, noon: int):
    axis = day_figure(day)["layout"]["xaxis"]
    ticks = dict(zip(axis["ticktext"], axis["tickvals"], strict=True))
    assert axis["range"] == [0, length]
    assert (ticks["00"], ticks["12"], ticks["24"]) == (0, noon, length)


def test_a_phone_has_fewer_hours_on_the_axis():
    layout = day_figure(date(2026, 6, 15))["layout"]
    assert layout["meta"]["narrow"]["xaxis"]["ticktext"] == ["00", "06", "12", "18", "24"]


def test_now_is_a_line_only_on_its_own_day():
    now = datetime(2026, 6, 15, 14, 7, 30, tzinfo=UTC)
    layout = day_figure(date(2026, 6, 15), now=now)["layout"]
    assert layout["shapes"][0]["x0"] == 64.5
    assert layout["annotations"][-1]["text"] == "now"
    assert "shapes" not in day_figure(date(2026, 6, 14), now=now)["layout"]


def test_months_are_bars_of_energy_with_names():
    months = [figures(grid_to_load_mwh=123_456_789)] + [None] * 11
    labels = ["Jan", *[""] * 11]
    drawn = charts.period_figure(months, labels=labels, narrow_labels=labels, number=number)
    assert drawn["data"][0]["y"][0] == 123
    assert drawn["layout"]["xaxis"]["tickvals"] == [0.5]
    assert drawn["layout"]["annotations"][0]["text"] == "kWh"


def test_the_vertical_axis_has_round_steps_and_no_signs():
    slot = figures(grid_to_load_mwh=1_700_000, export_mwh=1_300_000)
    axis = day_figure(date(2026, 6, 15), [slot] * 96)["layout"]["yaxis"]
    assert axis["tickvals"] == [-4, -2, 0, 2, 4, 6]
    assert axis["ticktext"] == ["4", "2", "0", "2", "4", "6"]


@pytest.mark.parametrize("slot", [None, figures(), figures(grid_to_load_mwh=0)])
def test_a_day_without_anything_still_has_axes(slot):
    layout = day_figure(date(2026, 6, 15), [slot] * 96)["layout"]
    assert layout["yaxis"]["range"] == [0, 1.06]


def test_where_origins_are_not_known_production_and_use_are_shown():
    slot = figures(pv_mwh=1000, consumption_mwh=None)
    assert [one.key for one in charts.series_of([None, slot])] == ["pv"]
    metered = figures(pv_mwh=1000, pv_to_load_mwh=400, grid_to_load_mwh=0, export_mwh=600)
    keys = [one.key for one in charts.series_of([slot, metered])]
    assert keys == ["pv_to_load", "grid_to_load", "export"]


@pytest.mark.parametrize("length", [4, 7, 12, 31])
def test_figures_are_valid_by_plotlys_own_schema(length: int):
    some = [figures(pv_to_load_mwh=at * 10**6, charge_mwh=10**6) for at in range(length)]
    labels = [str(at) for at in range(length)]
    go.Figure(charts.period_figure(some, labels=labels, narrow_labels=labels, number=number))
    now = datetime(2026, 6, 15, 14, tzinfo=UTC)
    drawn = day_figure(date(2026, 6, 15), now=now)
    go.Figure(drawn)
    go.Figure(drawn["data"], drawn["layout"] | drawn["layout"]["meta"]["narrow"])


def test_a_day_is_small_on_the_wire():
    slot = figures(
        pv_to_load_mwh=312_345,
        battery_to_load_mwh=112_345,
        grid_to_load_mwh=12_345,
        charge_mwh=512_345,
        export_mwh=912_345,
    )
    assert len(json.dumps(day_figure(date(2026, 6, 15), [slot] * 96))) < 6500


def test_rows_end_with_the_running_span_and_keep_exact_energies():
    spans = spans_of(date(2026, 6, 15))
    now = spans[2].from_at + timedelta(minutes=5)
    slots = [figures(grid_to_load_mwh=123_457), None, figures(grid_to_load_mwh=1), *[None] * 93]
    rows = charts.rows_of(spans, slots, charts.series_of(slots), now=now)
    assert [row.cells[0].mwh for row in rows] == [123_457, None, 1]
    assert rows[0].cells[0].mean_w == pytest.approx(493.828)
    assert [row.quality.state for row in rows] == ["seen", "missing", "seen"]


def test_the_ribbon_joins_equal_neighbours_and_ends_now():
    spans = spans_of(date(2026, 6, 15))
    slots = [
        figures(),
        figures(),
        figures(seen_s=300, estimated_s=600),
        figures(recovered_s=900),
        None,
        figures(to_see_s=450),
    ]
    now = spans[5].from_at + timedelta(seconds=450)
    ribbon = charts.quality(spans, slots + [None] * 90, now=now)
    assert [(s.state, s.x, s.width) for s in ribbon.segments] == [
        ("seen", 0, 2.333),
        ("estimated", 2.333, 0.667),
        ("recovered", 3, 1),
        ("missing", 4, 1),
        ("seen", 5, 0.5),
    ]
    assert sum(ribbon.shares.values()) == pytest.approx(1)
    assert ribbon.length == 96


def summed(slots: int, *, to_see: int = 96, seen: float = 1.0, **values) -> SimpleNamespace:
    """Figures of a longer span: of so many slots, of two appliances each, how much was seen; so
    many were to be seen until now."""
    return figures(
        seen_s=round(1800 * slots * seen),
        expected_s=1800 * slots,
        to_see_s=1800 * to_see,
        **values,
    )


def widths(ribbon: charts.Quality) -> list[tuple[str, float]]:
    return [(segment.state, segment.width) for segment in ribbon.segments]


WEEK = spans_of(date(2026, 6, 15), Resolution.WEEK, Resolution.DAY)


def test_a_half_seen_day_is_half_a_stretch():
    days = [summed(96, seen=0.5)] + [None] * 6
    ribbon = charts.quality(WEEK, days, now=WEEK[1].from_at)
    assert widths(ribbon) == [("seen", 0.5), ("missing", 0.5)]
    assert charts.quality_of_span(WEEK[0], days[0], now=LATER) == charts.Grade("missing", 0.5)


def test_slots_of_which_nothing_is_stored_are_missing_from_a_day():
    days = [summed(24)] + [None] * 6
    ribbon = charts.quality(WEEK, days, now=WEEK[1].from_at)
    assert widths(ribbon) == [("seen", 0.25), ("missing", 0.75)]
    assert charts.quality_of_span(WEEK[0], days[0], now=LATER) == charts.Grade("missing", 0.75)


def test_a_counter_bridges_the_slots_that_are_stored_and_no_others():
    # Another appliance was silent in half of what is stored.
    days = [summed(48, seen=0.5, flags=Flag.ESTIMATED, estimated_s=1800 * 6)] + [None] * 6
    ribbon = charts.quality(WEEK, days, now=WEEK[1].from_at)
    assert ribbon.shares == {"seen": 0.25, "estimated": 0.0625, "missing": 0.6875}


def test_what_a_running_slot_has_to_come_is_not_missing_from_its_day():
    now = WEEK[0].from_at + timedelta(minutes=65)
    day = figures(expected_s=4500, to_see_s=3600, seen_s=3000, estimated_s=900)
    ribbon = charts.quality(WEEK, [day] + [None] * 6, now=now)
    assert ribbon.shares == pytest.approx({"seen": 5 / 6, "estimated": 1 / 6})


def test_a_span_says_what_its_ribbon_does_not_show():
    flags = Flag.RECOVERED | Flag.RESET | Flag.IMPLAUSIBLE
    for late in (24, 1):
        day = summed(96, flags=flags, recovered_s=1800 * late)
        found = charts.quality(WEEK, [day] + [None] * 6, now=WEEK[1].from_at)
        assert found.shares == pytest.approx({"seen": 1 - late / 96, "recovered": late / 96})
        grade = charts.quality_of_span(WEEK[0], day, now=LATER)
        # A quarter of an hour of a day is too little to tell of.
        told = ("recovered", 0.25) if late == 24 else ("seen", 1 - late / 96)
        assert grade == charts.Grade(*told, Flag.RESET | Flag.IMPLAUSIBLE)
    assert charts.quality_of_span(WEEK[0], None, now=LATER) == charts.Grade("missing", 1)


@pytest.mark.parametrize(
    ("grade", "words"),
    [
        (charts.Grade("seen", 1), "measured"),
        (charts.Grade("seen", 0.99), "measured"),
        (charts.Grade("missing", 1), "missing"),
        (charts.Grade("missing", 0.04), "4\N{NO-BREAK SPACE}% missing"),
        (charts.Grade("seen", 1, Flag.RESET), "measured, counter reset"),
        (
            charts.Grade("estimated", 0.25, Flag.IMPLAUSIBLE),
            "25\N{NO-BREAK SPACE}% estimated, implausible reading",
        ),
    ],
)
def test_how_well_a_span_was_seen_is_said_in_few_words(grade: charts.Grade, words: str):
    assert grade_in_words(grade) == words


def test_what_is_to_come_of_a_running_day_is_not_missing():
    # Noon is over, and of the slot after it a part is stored.
    now = WEEK[0].from_at + timedelta(hours=12, minutes=7)
    running = summed(49, to_see=48, seen=48.3 / 49)
    ribbon = charts.quality(WEEK, [running] + [None] * 6, now=now)
    assert ribbon.shares == {"seen": 1}
    holes = summed(24, to_see=48)
    ribbon = charts.quality(WEEK, [holes] + [None] * 6, now=now)
    assert ribbon.shares == {"seen": 0.5, "missing": 0.5}


def test_a_day_that_has_just_begun_is_seen_as_soon_as_anything_is():
    now = WEEK[0].from_at + timedelta(minutes=5)
    ribbon = charts.quality(WEEK, [summed(1, to_see=0, seen=0.3)] + [None] * 6, now=now)
    assert ribbon.shares == {"seen": 1}


def test_of_a_running_slot_its_elapsed_part_is_judged():
    spans = spans_of(date(2026, 6, 15))
    now = spans[0].from_at + timedelta(minutes=10)
    running = figures(seen_s=300, to_see_s=600)
    assert charts.quality_of_span(spans[0], running, now=now) == charts.Grade("missing", 0.5)


def test_nothing_begun_has_an_empty_ribbon():
    spans = spans_of(date(2026, 6, 15))
    ribbon = charts.quality(spans, [None] * 96, now=spans[0].from_at)
    assert (ribbon.segments, ribbon.shares) == ((), {})
