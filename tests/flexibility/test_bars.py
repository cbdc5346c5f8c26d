"""Constraints become bars, and what remains a band: where they stand, and what is left out."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility import bars, stretches
from flexibility.bars import MIDDLE, NARROW, WIDE, Measured, Words, draw
from flexibility.queries import Span
from flexibility.resolver import Boundary

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHAPES = [WIDE, MIDDLE, NARROW]
CENTRE = (WIDE.left + WIDE.right) / 2


def one(identity="a", *, emitter="account_user", priority=3_000, outcome="binding"):
    """A constraint in a span."""
    return {
        "id": identity,
        "emitter": emitter,
        "priority": priority,
        "power": {"outcome": outcome, "conflicts_with": []},
    }


def span(begin: float, end: float, *inputs, **boundary) -> Span:
    """From and until so many hours from noon on."""
    return Span(NOON + begin * HOUR, NOON + end * HOUR, Boundary(**boundary), {}, inputs)


def picture(*spans, shape=WIDE, **fields):
    words = Words(
        power=lambda watts: f"{watts:g}", day=lambda day: f"{day:%d.%m.}", asked={"a": "≤ 11 kW"}
    )
    return draw(spans, now=NOON, zone=BERLIN, words=words, shape=shape, **fields)


def test_the_strongest_stands_on_top_and_of_equals_the_newer():
    found = picture(
        span(0, 1, one("b", priority=1), one("c", priority=5), one("d", priority=5), max_w=1)
    )
    assert [lane.bars[0].id for lane in found.lanes] == ["d", "c", "b"]
    heights = [lane.y for lane in found.lanes]
    assert heights == sorted(heights)


def test_a_bar_is_cut_where_its_outcome_changes_and_nowhere_else():
    found = picture(
        span(0, 1, one(outcome="binding"), max_w=1),
        span(1, 2, one(outcome="binding"), max_w=2),
        span(2, 4, one(outcome="discarded"), max_w=3),
    )
    [lane] = found.lanes
    [bar] = lane.bars
    assert [piece.outcome for piece in bar.pieces] == ["binding", "discarded"]
    assert [piece.width for piece in bar.pieces] == [CENTRE - WIDE.left] * 2
    assert (bar.pieces[0].x, bar.pieces[1].x) == (WIDE.left, CENTRE)


@pytest.mark.parametrize("max_w", [5e-324, 1e-9, 0.5, -5e-324])
def test_less_than_a_watt_has_an_axis_as_nothing_has(max_w):
    found = picture(span(0, 1, one("a"), max_w=max_w))
    assert 1 < len(found.powers) < 10


def test_those_that_follow_each_other_share_a_lane():
    found = picture(
        span(0, 1, one("a"), max_w=1), span(1, 2, one("b"), max_w=1), span(2, 3, one("a"), max_w=1)
    )
    assert [[bar.id for bar in lane.bars] for lane in found.lanes] == [["b"], ["a"]]
    found = picture(span(0, 1, one("a"), max_w=1), span(1, 2, one("b"), max_w=1))
    assert [[bar.id for bar in lane.bars] for lane in found.lanes] == [["a", "b"]]


def test_the_shares_of_two_limits_have_lanes_of_their_own():
    found = picture(
        span(0, 1, one("a", emitter="cluster_limit"), max_w=1),
        span(1, 2, one("b", emitter="cluster_limit"), max_w=1),
    )
    assert [[bar.id for bar in lane.bars] for lane in found.lanes] == [["b"], ["a"]]


def test_what_is_tried_out_has_a_lane_of_its_own():
    found = picture(span(0, 1, one("a"), max_w=1), span(1, 2, one("b"), max_w=1), new={"b"})
    assert [(lane.is_new, lane.bars[0].id) for lane in found.lanes] == [(True, "b"), (False, "a")]


def test_new_ones_that_come_again_share_a_lane():
    spans = [span(hour, hour + 1, one(name), max_w=1) for hour, name in enumerate("bcd")]
    found = picture(*spans, new={"b", "c", "d"})
    assert [[bar.id for bar in lane.bars] for lane in found.lanes] == [["b", "c", "d"]]


def test_a_label_stands_in_its_bar_or_behind_it_or_nowhere():
    wide = picture(span(0, 1, one(), max_w=1)).lanes[0].bars[0]
    assert (wide.label_x, wide.label_outcome) == (WIDE.left + 8, "binding")
    thin = picture(span(0, 1, one(), max_w=1), span(1, 40)).lanes[0].bars[0]
    assert thin.label_outcome == ""
    assert thin.label_x > thin.pieces[0].x + thin.pieces[0].width
    last = picture(span(0, 40), span(40, 41, one(), max_w=1)).lanes[0].bars[0]
    assert last.label_x is None


def test_of_too_many_those_that_decide_nothing_are_left_out_but_never_what_is_tried_out():
    weak = [one(f"w{n:02}", priority=9_000 + n, outcome="redundant") for n in range(30)]
    found = picture(
        span(0, 1, *weak, one("b", priority=1), one("n", priority=0, outcome="discarded"), max_w=1),
        new={"n"},
    )
    assert len(found.lanes) == stretches.MOST_LANES
    assert [lane.bars[0].id for lane in found.lanes][-2:] == ["b", "n"]
    assert found.left_out == 32 - stretches.MOST_LANES


def test_a_side_without_a_limit_has_no_edge():
    closed = picture(span(0, 1, min_w=1_000, max_w=3_000)).band
    assert closed.edges.count("M") == 2
    half = picture(span(0, 1, max_w=3_000)).band
    assert half.edges.count("M") == 1
    none = picture(span(0, 1)).band
    assert (none.edges, none.area) == ("", "")
    assert none.open


def test_a_step_is_one_line_and_a_pause_lies_at_zero():
    found = picture(
        span(0, 1, min_w=4_000, max_w=8_000, can_pause=True), span(1, 2, min_w=4_000, max_w=6_000)
    )
    assert found.band.edges.count("M") == 2
    zero = next(tick.at for tick in found.powers if tick.is_strong)
    assert found.band.pause == f"M{WIDE.left},{zero:g}H{CENTRE:g}"


def test_what_produces_is_turned_around():
    boundary = Boundary(min_w=-7_000, max_w=0, set_point_w=-3_000)
    assert bars.sides(boundary, -1) == (0, 7_000, 3_000)
    assert bars.sides(boundary) == (-7_000, 0, -3_000)
    found = picture(span(0, 1, min_w=-7_000, max_w=0), sign=-1)
    assert min(float(tick.text) for tick in found.powers) == 0


def test_the_axis_holds_all_that_is_shown_and_zero():
    found = picture(
        span(0, 1, max_w=11_000),
        measured=[Measured(NOON, NOON + HOUR, -2_500)],
        limits_w=(None, 22_000),
    )
    steps = [float(tick.text) for tick in found.powers]
    assert steps[0] <= -2_500
    assert steps[-1] >= 22_000
    assert 0 in steps


def test_hours_are_those_of_the_system():
    found = picture(span(-4, 20, max_w=1))
    assert [tick.text for tick in found.hours] == ["12", "18", "00", "06"]
    assert [tick.text for tick in found.days] == ["15.06.", "16.06."]


def test_a_day_of_25_hours_is_drawn_as_it_is():
    midnight = datetime(2026, 10, 24, 22, tzinfo=UTC)
    long = Span(midnight, midnight + 25 * HOUR, Boundary(max_w=1), {}, ())
    ticks = [tick.at for tick in picture(long).hours]
    hour = (WIDE.right - WIDE.left) / 25
    assert [round((b - a) / hour, 1) for a, b in pairwise(ticks)] == [7, 6, 6, 6]


def test_the_cursor_stands_where_now_is_unless_all_of_it_is_ahead():
    assert picture(span(-1, 1, max_w=1)).now_x == CENTRE
    assert picture(span(0, 1, max_w=1)).now_x is None


def test_of_thousands_of_short_spans_as_many_are_left_as_can_be_told_apart():
    short = [span(n / 100, (n + 1) / 100, max_w=n) for n in range(2_000)]
    long = span(20, 60, max_w=1)
    found = stretches.thinned([*short, long])
    assert len(found) <= stretches.MOST_SPANS
    assert found[-1] == long
    assert (found[0].from_at, found[-1].until_at) == (short[0].from_at, long.until_at)
    ends = [each.until_at for each in found]
    assert [each.from_at for each in found[1:]] == ends[:-1]
    assert stretches.thinned(short[:10]) == short[:10]


def test_many_bars_of_one_lane_are_gathered():
    spans = [span(n, n + 1, one(f"{n:03}"), max_w=1) for n in range(100)]
    [lane] = picture(*spans).lanes
    assert len(lane.bars) <= stretches.MOST_BARS
    assert lane.bars[0].pieces[0].x == WIDE.left
    last = lane.bars[-1].pieces[-1]
    assert round(last.x + last.width) == WIDE.right


outcomes = st.sampled_from(["binding", "redundant", "discarded"])
powers = st.one_of(st.none(), st.floats(-1e5, 1e5))


@st.composite
def timelines(draw_):
    spans, at = [], 0.0
    for _span in range(draw_(st.integers(1, 8))):
        end = at + draw_(st.floats(0.02, 30))
        low, high = draw_(powers), draw_(powers)
        if low is not None and high is not None and low > high:
            low, high = high, low
        ids = draw_(st.sets(st.sampled_from("abcdefghijklmnopqrstu"), max_size=18))
        inputs = [
            one(each, priority=ord(each) % 5, outcome=draw_(outcomes)) for each in sorted(ids)
        ]
        spans.append(span(at, end, *inputs, min_w=low, max_w=high))
        at = end
    return spans


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@given(spans=timelines())
def test_nothing_lies_outside_of_the_picture_and_bars_of_a_lane_do_not_overlap(shape, spans):
    found = picture(*spans, shape=shape)
    for lane in found.lanes:
        assert 0 <= lane.y <= found.band_top - lane.height
        pieces = [piece for bar in lane.bars for piece in bar.pieces]
        assert all(shape.left <= piece.x for piece in pieces)
        assert all(piece.x + piece.width <= shape.right + 2 for piece in pieces)
    assert all(len(lane.bars) <= stretches.MOST_BARS for lane in found.lanes)
    drawn = {bar.id for lane in found.lanes for bar in lane.bars}
    assert len(drawn) + found.left_out == len({each["id"] for s in spans for each in s.inputs})
    assert all(found.band_top <= tick.at <= found.bottom for tick in found.powers)
