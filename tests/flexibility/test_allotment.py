from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flexibility.allotment import (
    Last,
    Limit,
    Measured,
    Member,
    Node,
    Pace,
    Share,
    Side,
    Strategy,
    UnusableTree,
    Why,
    allot,
    fits,
    headroom,
)

NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EQUALLY, PROPORTIONAL = Strategy.EQUALLY, Strategy.PROPORTIONAL
FIRST_COME, SERIES = Strategy.FIRST_COME_FIRST_SERVE, Strategy.SERIES


def station(key, node="yard", **parts):
    """A charging station of 4.14–22 kW that can pause."""
    return Member(key, node, **{"min_w": 4140, "max_w": 22000, "can_pause": True, **parts})


def heater(key, node="yard", **parts):
    """A heater of 0–3 kW that takes whatever it is given."""
    return Member(key, node, **{"min_w": 0, "max_w": 3000, **parts})


def battery(key, node="yard", **parts):
    return Member(key, node, **{"min_w": -5000, "max_w": 5000, **parts})


def yard(strategy=EQUALLY, **limit):
    return [Node("yard", limit=Limit(strategy=strategy, **limit))]


def allotted(nodes, *members, **how):
    return allot(nodes=nodes, members=members, **{"now": NOW, **how})


def maxima(allotment):
    return {key: share.max_w for key, share in allotment.shares.items()}


def reasons(allotment):
    return {key: share.upper.why for key, share in allotment.shares.items()}


def paused(allotment):
    return {key for key, share in allotment.shares.items() if share.is_paused}


def ago(**time):
    return NOW - timedelta(**time)


# --- strategies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        pytest.param(EQUALLY, {"a": 7000, "b": 7000, "c": 7000}, id="as much for each"),
        pytest.param(PROPORTIONAL, {"a": 11000, "b": 5500, "c": 4500}, id="by the maxima"),
        pytest.param(SERIES, {"a": 4140, "b": 7860, "c": 9000}, id="one after the other"),
        pytest.param(FIRST_COME, {"a": 7860, "b": 4140, "c": 9000}, id="in the order of coming"),
    ],
)
def test_minima_come_first_and_the_strategy_divides_the_rest(strategy, expected):
    members = [
        station("a", max_w=22000, order=3, active_since=ago(minutes=2)),
        station("b", max_w=11000, order=2),
        station("c", max_w=9000, order=1, active_since=ago(minutes=3)),
    ]
    assert maxima(allotted(yard(strategy, max_w=21000), *members)) == pytest.approx(
        expected, abs=0.001
    )


def test_a_minimum_is_a_part_of_an_equal_share():
    shares = allotted(
        yard(max_w=10000), heater("a", min_w=3000, max_w=9000), heater("b", max_w=9000)
    )
    assert maxima(shares) == {"a": 5000, "b": 5000}


def test_what_one_cannot_use_is_there_for_the_others():
    shares = allotted(yard(max_w=20000), heater("a"), station("b"), station("c", max_w=7000))
    assert maxima(shares) == {"a": 3000, "b": 10000, "c": 7000}
    assert reasons(shares) == {"a": Why.FULL, "b": Why.STRATEGY, "c": Why.FULL}


def test_a_member_without_a_maximum_is_proportional_to_the_limit():
    shares = allotted(
        yard(PROPORTIONAL, max_w=9000), heater("a", max_w=9000), heater("b", max_w=None)
    )
    assert maxima(shares) == {"a": 4500, "b": 4500}


def test_without_a_limit_everyone_is_unlimited():
    shares = allotted([Node("yard")], station("a"), heater("b", max_w=None))
    assert maxima(shares) == {"a": None, "b": None}
    assert set(reasons(shares).values()) == {Why.UNLIMITED}


# --- nodes in nodes -----------------------------------------------------------------------------

HALL = [
    Node("hall", limit=Limit(max_w=30000)),
    Node("east", "hall"),
    Node("west", "hall", Limit(max_w=8000)),
]


def test_a_node_between_keeps_its_own_limit_and_leaves_the_rest_to_others():
    shares = allotted(
        HALL, station("a", "east"), station("b", "west"), heater("c", "west", max_w=5000)
    )
    assert maxima(shares) == {"a": 22000, "b": 4140, "c": 3860}
    assert shares.shares["c"].upper.by == "west"


def test_a_node_without_a_limit_makes_no_difference():
    members = [station(key, node) for key, node in (("a", "east"), ("b", "east"), ("c", "hall"))]
    assert maxima(allotted(HALL, *members)) == {"a": 10000, "b": 10000, "c": 10000}


def test_a_childs_limit_never_pushes_its_parent_over_its_own():
    nodes = [Node("hall", limit=Limit(max_w=9000)), Node("west", "hall", Limit(max_w=50000))]
    shares = allotted(nodes, station("a", "west"), station("b", "west"))
    assert maxima(shares) == {"a": 4500, "b": 4500}
    assert shares.shares["a"].upper.by == "hall"
    assert shares.nodes["west"].is_reachable


def test_each_node_divides_by_its_own_strategy_what_the_one_above_leaves_it():
    nodes = [
        Node("hall", limit=Limit(max_w=30000)),
        Node("west", "hall", Limit(max_w=25000, strategy=SERIES)),
    ]
    members = [
        station(key, "west", max_w=11000, order=order) for key, order in (("a", 2), ("b", 1))
    ]
    shares = allotted(nodes, *members, station("c", "hall"))
    assert maxima(shares) == {"a": 9000, "b": 11000, "c": 10000}
    assert shares.shares["a"].upper.by == "hall"


# --- pauses -------------------------------------------------------------------------------------


def test_who_cannot_have_the_minimum_is_paused():
    shares = allotted(yard(max_w=10000), station("a"), station("b"), station("c"))
    assert maxima(shares) == {"a": 5000, "b": 5000, "c": 0}
    assert shares.shares["c"].upper.why is Why.PAUSED
    assert shares.shares["c"].paused_since == NOW


def test_pausing_rotates():
    members = [
        station("a", last=Last(NOW, running_since=ago(minutes=20))),
        station("b", last=Last(NOW, running_since=ago(minutes=30))),
        station("c", last=Last(NOW, paused_since=ago(minutes=20))),
    ]
    assert paused(allotted(yard(max_w=10000), *members, pace=Pace(dwell=15 * MINUTE))) == {"b"}


def test_a_turn_lasts_for_the_dwell_time_and_so_does_a_pause():
    members = [
        station("a", last=Last(NOW, running_since=ago(minutes=10))),
        station("b", last=Last(NOW, running_since=ago(minutes=14))),
        station("c", last=Last(NOW, paused_since=ago(minutes=14))),
    ]
    pace = Pace(dwell=15 * MINUTE)
    assert paused(allotted(yard(max_w=10000), *members, pace=pace)) == {"c"}
    roomy = allotted(yard(max_w=20000), *members, pace=pace)
    assert roomy.shares["c"].upper.why is Why.RESTING
    assert paused(allotted(yard(max_w=20000), *members, pace=pace, now=NOW + MINUTE)) == set()


def test_a_turn_goes_on_while_nobody_hears_of_its_member():
    last = Last(NOW, running_since=ago(minutes=5))
    silent = station("a", is_stale=True, holds_max_w=6000, last=last)
    assert allotted(yard(max_w=9000), silent).shares["a"].running_since == ago(minutes=5)
    assert allotted(yard(max_w=5000), silent).shares["a"].paused_since == NOW


def test_a_turn_ends_with_what_it_was_asked_for():
    last = Last(NOW, running_since=ago(minutes=5))
    done = allotted(yard(max_w=9000), station("a", draws=False, last=last)).shares["a"]
    assert (done.max_w, done.running_since, done.paused_since) == (9000, None, None)


def test_a_limit_that_falls_ends_a_turn_at_once():
    member = station("a", last=Last(NOW, running_since=ago(seconds=5)))
    assert paused(allotted(yard(max_w=4000), member, pace=Pace(dwell=15 * MINUTE))) == {"a"}


def test_nobody_small_takes_the_room_that_a_large_one_waits_for():
    waits = Last(NOW, paused_since=ago(minutes=40))
    later = Last(NOW, paused_since=ago(minutes=30))
    small = station("a", min_w=2000, last=Last(NOW, running_since=ago(minutes=1)))
    members = [small, station("b", min_w=9000, last=waits), station("c", min_w=2000, last=later)]
    pace = Pace(dwell=15 * MINUTE)
    assert paused(allotted(yard(max_w=10000), *members, pace=pace)) == {"b", "c"}
    # What never fits waits for nothing, and nobody waits for it.
    assert paused(allotted(yard(max_w=8000), *members, pace=pace)) == {"b"}


def test_a_higher_limit_may_mean_less_where_somebody_can_pause():
    """At 8 kW, b never fits; at 9 kW it waits for the end of a's turn, and c waits for b."""

    def exactly(key, power_w, **last):
        return station(key, min_w=power_w, max_w=power_w, last=Last(NOW, **last))

    members = [
        exactly("a", 2000, running_since=ago(minutes=1)),
        exactly("b", 9000, paused_since=ago(minutes=40)),
        exactly("c", 2000, paused_since=ago(minutes=30)),
    ]
    pace = Pace(dwell=15 * MINUTE)
    sums = {
        limit: sum(maxima(allotted(yard(max_w=limit), *members, pace=pace)).values())
        for limit in (8000, 9000, 11000)
    }
    assert sums == {8000: 4000, 9000: 2000, 11000: 11000}


# --- what asks for nothing, and what is stale ---------------------------------------------------


def test_who_asks_for_nothing_has_what_others_leave():
    idle = station("a", draws=False)
    assert maxima(allotted(yard(max_w=30000), idle, station("b"))) == {"a": 8000, "b": 22000}
    tight = allotted(yard(max_w=25000), idle, station("b"))
    assert maxima(tight) == {"a": 0, "b": 22000}
    assert reasons(tight)["a"] is Why.IDLE
    assert not paused(tight)


def test_who_begins_to_ask_need_not_wait_for_the_end_of_a_pause():
    first = allotted(yard(max_w=25000), station("a", draws=False), station("b"))
    came = station("a", last=first.shares["a"].last(NOW))
    after = allotted(yard(max_w=25000), came, station("b"), pace=Pace(dwell=15 * MINUTE))
    assert maxima(after) == {"a": 12500, "b": 12500}


def test_a_stale_member_counts_with_all_that_it_might_draw():
    shares = allotted(yard(max_w=30000), station("a", is_stale=True), station("b"), station("c"))
    assert maxima(shares) == {"a": 22000, "b": 8000, "c": 0}
    assert reasons(shares)["a"] is Why.STALE


def test_a_share_that_holds_bounds_what_a_stale_member_might_draw():
    silent = station("a", is_stale=True, holds_max_w=6000)
    assert maxima(allotted(yard(max_w=30000), silent, station("b"))) == {"a": 6000, "b": 22000}


def test_a_share_that_a_stronger_minimum_contradicts_holds_nothing():
    silent = heater("a", is_stale=True, min_w=2500, holds_max_w=1000)
    assert silent.worst_w(Side.MAX) == 3000
    assert replace(silent, holds_max_w=2600).worst_w(Side.MAX) == 2600
    assert replace(silent, set_point_w=2700, holds_max_w=2600).worst_w(Side.MAX) == 3000
    assert replace(silent, max_w=None).worst_w(Side.MAX) is None


def test_a_stale_members_share_never_rises():
    had = Last(ago(seconds=10), max_w=6000)
    shares = allotted(yard(max_w=30000), station("a", is_stale=True, last=had), station("b"))
    assert maxima(shares) == {"a": 6000, "b": 8000}


def test_where_a_stale_member_might_draw_too_much_all_have_the_least():
    shares = allotted(
        yard(max_w=20000), station("a", is_stale=True), station("b"), heater("c", min_w=1000)
    )
    assert maxima(shares) == {"a": 0, "b": 0, "c": 1000}
    (tally,) = shares.nodes["yard"].tallies
    assert (tally.over_w, tally.by) == (3000, (("a", 22000), ("c", 1000)))


def test_a_stale_member_without_a_maximum_leaves_nothing():
    shares = allotted(yard(max_w=20000), heater("a", max_w=None, is_stale=True), heater("b"))
    (tally,) = shares.nodes["yard"].tallies
    assert (tally.allotted_w, tally.over_w, tally.by) == (None, None, (("a", None),))
    assert not shares.nodes["yard"].is_reachable
    assert maxima(shares) == {"a": 0, "b": 0}


# --- what is stronger than a limit --------------------------------------------------------------


def test_stronger_set_points_can_make_a_limit_unreachable():
    shares = allotted(
        yard(max_w=10000),
        station("a", set_point_w=11000),
        heater("b", min_w=1500),
        heater("c"),
        station("d"),
    )
    assert maxima(shares) == {"a": 11000, "b": 1500, "c": 0, "d": 0}
    assert reasons(shares) == {
        "a": Why.SET_POINT,
        "b": Why.MINIMUM,
        "c": Why.MINIMUM,
        "d": Why.PAUSED,
    }
    assert not shares.nodes["yard"].is_reachable
    (tally,) = shares.nodes["yard"].tallies
    assert (tally.limit_w, tally.allotted_w, tally.over_w) == (10000, 12500, 2500)
    assert tally.by == (("a", 11000), ("b", 1500))


def test_an_unreachable_node_takes_from_its_parent_what_it_needs():
    members = [station("a", "west", set_point_w=11000), station("b", "east"), station("c", "west")]
    shares = allotted(HALL, *members)
    assert maxima(shares) == {"a": 11000, "b": 19000, "c": 0}
    assert not shares.nodes["west"].is_reachable
    assert shares.nodes["hall"].is_reachable


def test_a_set_point_counts_with_what_it_is():
    assert maxima(allotted(yard(max_w=10000), station("a", set_point_w=0), station("b"))) == {
        "a": 0,
        "b": 10000,
    }


def test_what_feeds_in_makes_no_room_for_others():
    shares = allotted(yard(max_w=10000), battery("a", set_point_w=-5000), station("b"))
    assert maxima(shares) == {"a": 0, "b": 10000}


# --- feeding in ---------------------------------------------------------------------------------


def test_feeding_in_is_limited_likewise():
    panels = Member("a", "yard", min_w=-20000, max_w=0)
    shares = allotted(yard(PROPORTIONAL, min_w=-10000), panels, battery("b"), heater("c"))
    assert {key: share.min_w for key, share in shares.shares.items()} == {
        "a": -8000,
        "b": -2000,
        "c": 0,
    }
    assert maxima(shares) == {"a": None, "b": None, "c": None}
    assert shares.nodes["yard"].tallies[0].allotted_w == -10000


def test_both_sides_are_limited_each_by_itself():
    shares = allotted(yard(min_w=-4000, max_w=6000), battery("a"), battery("b"))
    assert {(share.min_w, share.max_w) for share in shares.shares.values()} == {(-2000, 3000)}


def test_a_generator_that_cannot_feed_in_its_least_is_paused():
    engine = Member("a", "yard", min_w=-5000, max_w=-3000, can_pause=True)
    shares = allotted(yard(min_w=-2000, max_w=9000), engine)
    assert (shares.shares["a"].min_w, shares.shares["a"].max_w) == (0, 0)
    assert paused(shares) == {"a"}


# --- ramps --------------------------------------------------------------------------------------


def test_a_share_falls_at_once_and_rises_slowly_while_others_have_the_rest():
    low, high = Last(ago(seconds=10), max_w=5000), Last(ago(seconds=10), max_w=15000)
    members = [station("a", last=low), station("b", last=high)]
    shares = allotted(yard(max_w=20000), *members, pace=Pace(rise_w_per_s=100))
    assert maxima(shares) == {"a": 6000, "b": 14000}
    assert reasons(shares)["a"] is Why.RAMPING
    assert maxima(allotted(yard(max_w=9000), *members, pace=Pace(rise_w_per_s=100))) == {
        "a": 4500,
        "b": 4500,
    }


def test_after_a_pause_a_share_begins_with_the_minimum():
    last = Last(ago(seconds=10), max_w=0, paused_since=ago(minutes=20))
    shares = allotted(yard(max_w=20000), station("a", last=last), pace=Pace(rise_w_per_s=1))
    assert maxima(shares) == {"a": 4140}


# --- phases and dynamic limits ------------------------------------------------------------------


def test_each_phase_has_its_own_limit():
    nodes = yard(max_w=24000, phase_max_w=(8000, 8000, 3000))
    members = [
        station("a", phases=(1, 2, 3), max_w=11000),
        station("b", phases=(1,), min_w=1380, max_w=7400),
        station("c", phases=(3,), min_w=1380, max_w=7400),
    ]
    shares = allotted(nodes, *members)
    # Phase 3: a third of a, and c. Phase 1: a third of a, and b, which has what phase 3 spares.
    assert maxima(shares) == pytest.approx({"a": 4140, "b": 6620, "c": 1620}, abs=0.001)
    assert [tally.phase for tally in shares.nodes["yard"].tallies] == [None, 1, 2, 3]


def test_a_member_whose_phases_are_unknown_counts_on_each_of_them():
    shares = allotted(yard(phase_max_w=(9000, 9000, 9000)), station("a"), station("b", phases=(2,)))
    assert maxima(shares) == {"a": 4500, "b": 4500}


CONNECTION = Limit(max_w=25000, min_w=-10000)


@pytest.mark.parametrize(
    ("meter", "member", "max_w", "min_w"),
    [
        pytest.param(12000, {"measured_w": 7000}, 20000, -15000, id="the load beside takes room"),
        pytest.param(-3000, {"measured_w": 7000}, 35000, 0, id="panels beside make room"),
        pytest.param(30000, {"measured_w": 0}, -5000, -40000, id="the load beside is too much"),
        pytest.param(12000, {"is_stale": True, "measured_w": 7000}, 13000, 0, id="a stale member"),
        pytest.param(12000, {"max_w": None}, 13000, 0, id="nothing measured, nothing known"),
        pytest.param(None, {"measured_w": 7000}, 0, 0, id="a stale meter"),
    ],
)
def test_a_dynamic_limit_is_less_the_load_beside_the_members(meter, member, max_w, min_w):
    measured = None if meter is None else Measured(meter)
    left = headroom(CONNECTION, meter=measured, members=[station("a", **member)])
    assert (left.max_w, left.min_w) == (max_w, min_w)


def test_a_stale_member_leaves_as_little_as_it_might():
    # Whether it charges with 22 kW is unknown: then the load beside is less, but was it so?
    left = headroom(CONNECTION, meter=Measured(5000), members=[station("a", is_stale=True)])
    assert left.max_w == 20000
    assert left.min_w == -10000 - 5000 + 22000


def test_what_is_not_stated_stays_so():
    assert headroom(Limit(), meter=None, members=[]) == Limit()


def test_each_phase_has_its_own_headroom():
    limit = Limit(max_w=24000, phase_max_w=(8000, 8000, 8000), strategy=SERIES)
    members = [
        station("a", phases=(1, 2, 3), measured_w=6000),
        station("b", phases=(1,), measured_w=1500),
        station("c", measured_w=3000, measured_phases_w=(0, 3000, 0)),
        station("d", measured_w=1000),
    ]
    left = headroom(limit, meter=Measured(13000, (5000, 6000, 2000)), members=members)
    assert left == replace(limit, max_w=22500, phase_max_w=(6500, 7000, 8000))


def test_a_meter_without_phases_leaves_nothing_to_limits_on_phases():
    left = headroom(Limit(max_w=9000, phase_max_w=(3000,) * 3), meter=Measured(1000), members=[])
    assert (left.max_w, left.phase_max_w) == (8000, (0, 0, 0))


def test_without_headroom_there_are_only_minima_and_pauses():
    limit = headroom(CONNECTION, meter=Measured(30000), members=[heater("a", measured_w=0)])
    shares = allotted([Node("yard", limit=limit)], heater("a", min_w=500), station("b"))
    assert maxima(shares) == {"a": 500, "b": 0}
    upper = shares.nodes["yard"].tallies[0]
    assert (upper.limit_w, upper.over_w) == (-5000, 5500)


# --- what cannot be divided ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "members", "message"),
    [
        ([Node("a"), Node("a")], [], "more than one node a"),
        ([Node("a", "b")], [], "a is in b, which there is not"),
        ([Node("a", "b"), Node("b", "a")], [], "round and round"),
        ([Node("a")], [heater("h", "b")], "members of b, which there is not"),
        ([Node("a")], [heater("h", "a"), heater("h", "a")], "more than one member h"),
    ],
)
def test_nodes_and_members_that_make_up_no_tree_are_refused(nodes, members, message):
    with pytest.raises(UnusableTree, match=message):
        allotted(nodes, *members)


# --- properties ---------------------------------------------------------------------------------

watts = st.one_of(
    st.sampled_from([0, 1380, 4140, 11000, 22000]),
    st.integers(0, 30_000),
    st.floats(0, 30_000, allow_nan=False).map(lambda value: round(value, 4)),
)
kinds = st.sampled_from(["consumer", "station", "battery", "panels", "engine", "open"])
instants = st.integers(0, 3600).map(lambda seconds: NOW - timedelta(seconds=seconds))
paces = st.builds(
    Pace,
    st.one_of(st.none(), st.integers(0, 500)),
    st.sampled_from([timedelta(0), 5 * MINUTE, 15 * MINUTE]),
)


def optional(strategy):
    return st.one_of(st.none(), strategy)


def negative(value):
    return None if value is None else -value


@st.composite
def limits(draw, *, phases=True):
    three = optional(st.tuples(watts, watts, watts)) if phases else st.none()
    below, above = draw(optional(watts)), draw(optional(watts.map(lambda value: 2 * value)))
    phase_min_w = draw(three)
    return Limit(
        negative(below),
        above,
        draw(st.sampled_from(Strategy)),
        phase_min_w and tuple(-value for value in phase_min_w),
        draw(three),
    )


@st.composite
def trees(draw, **how):
    count = draw(st.integers(1, 5))
    nodes = [
        Node(
            f"n{number}",
            draw(optional(st.sampled_from([f"n{n}" for n in range(number)]))) if number else None,
            draw(optional(limits(**how))),
        )
        for number in range(count)
    ]
    return draw(st.permutations(nodes))


@st.composite
def histories(draw):
    last = Last(draw(instants), negative(draw(optional(watts))), draw(optional(watts)))
    since, state = draw(instants), draw(st.sampled_from(["paused", "running", "neither"]))
    if state == "paused":
        return replace(last, min_w=0, max_w=0, paused_since=since)
    return replace(last, running_since=since) if state == "running" else last


@st.composite
def boundaries(draw):
    low, high = sorted([draw(watts), draw(watts)])
    kind = draw(kinds)
    return {
        "consumer": {"min_w": low, "max_w": high},
        "station": {"min_w": low, "max_w": high, "can_pause": True},
        "battery": {"min_w": -low, "max_w": high},
        "panels": {"min_w": -high, "max_w": 0},
        "engine": {"min_w": -high, "max_w": -low, "can_pause": True},
        "open": {"min_w": draw(st.sampled_from([None, low])), "can_pause": draw(st.booleans())},
    }[kind]


@st.composite
def plain_members(draw, nodes, kinds_of=boundaries):
    """Members that are read, ask for power and have no history."""
    count = draw(st.integers(1, 7))
    return [
        Member(
            f"m{number}",
            draw(st.sampled_from([node.key for node in nodes])),
            **draw(kinds_of()),
            phases=draw(st.sampled_from([(), (1,), (2,), (1, 3), (1, 2, 3)])),
            order=draw(st.integers(0, 3)),
            active_since=draw(optional(instants)),
        )
        for number in range(count)
    ]


@st.composite
def members_with_pasts(draw, nodes):
    return [
        replace(
            member,
            set_point_w=draw(
                st.one_of(st.none(), st.none(), st.sampled_from([member.min_w, member.max_w]))
            ),
            draws=draw(st.booleans()),
            feeds=draw(st.booleans()),
            is_stale=draw(st.sampled_from([False, False, True])),
            holds_min_w=negative(draw(optional(watts))),
            holds_max_w=draw(optional(watts)),
            last=draw(optional(histories())),
        )
        for member in draw(plain_members(nodes))
    ]


@st.composite
def cases(draw):
    nodes = draw(trees())
    return nodes, draw(members_with_pasts(nodes)), draw(paces)


def facing(value, side):
    return None if value is None else side.sign * value


def least_and_most(member, side):
    ends = facing(member.min_w, side), facing(member.max_w, side)
    return ends if side is Side.MAX else ends[::-1]


def exact(value):
    """A power as it is written: 0.1 W is a tenth."""
    return Fraction(str(value))


def counted(member, share, side):
    """What a member is counted with on a side, in W as a fraction; None for anything."""
    if member.is_stale:
        worst = member.worst_w(side)
        return None if worst is None else exact(worst)
    told = facing(share.max_w if side is Side.MAX else share.min_w, side)
    return exact(told)


def cannot_be_helped(member, side):
    least, _ = least_and_most(member, side)
    if member.is_stale:
        return member.worst_w(side)
    if member.set_point_w is not None:
        return max(0, facing(member.set_point_w, side))
    return 0 if member.can_pause else max(0, least or 0)


def limits_of(nodes):
    """Each limit: node, side, phase (None: the sum), and how high it is as a power ≥ 0."""
    for node in (node for node in nodes if node.limit):
        for side in Side:
            of_sum, of_phases = (
                (node.limit.max_w, node.limit.phase_max_w)
                if side is Side.MAX
                else (node.limit.min_w, node.limit.phase_min_w)
            )
            if of_sum is not None:
                yield node.key, side, None, facing(of_sum, side)
            for phase, limit in enumerate(of_phases or (), start=1):
                yield node.key, side, phase, facing(limit, side)


def beneath(nodes, members, key):
    parents = {node.key: node.parent for node in nodes}
    for member in members:
        node = member.node
        while node not in (None, key):
            node = parents[node]
        if node == key:
            yield member


def part_on(member, phase):
    if phase is None or not member.phases:
        return Fraction(1)
    return Fraction(phase in member.phases, len(member.phases))


def check_limits(nodes, members, allotment):
    """Reachable limits hold, and those are unreachable that cannot be reached."""
    tallies = {
        (key, tally.side, tally.phase): tally
        for key, outcome in allotment.nodes.items()
        for tally in outcome.tallies
    }
    stated = list(limits_of(nodes))
    assert set(tallies) == {one[:3] for one in stated}
    milliwatt = Fraction(1, 1000)
    for key, side, phase, limit in stated:
        below = [member for member in beneath(nodes, members, key) if part_on(member, phase)]
        tally = tallies[key, side, phase]
        needs = [(cannot_be_helped(member, side), part_on(member, phase)) for member in below]
        if any(need is None for need, _ in needs):
            assert tally.over_w is None
            continue
        limit, needed = exact(limit), sum(exact(need) * part for need, part in needs)
        amounts = [
            counted(member, allotment.shares[member.key], side) * part_on(member, phase)
            for member in below
        ]
        if tally.over_w == 0:
            assert sum(amounts) <= limit
            assert needed <= limit
        else:
            assert needed > limit - milliwatt * (len(below) + 1)
            assert tally.by
            assert tally.over_w == pytest.approx(float(needed - limit), abs=0.01)


@given(case=cases())
def test_what_is_counted_never_exceeds_a_reachable_limit_at_any_node_on_any_phase(case):
    nodes, members, pace = case
    check_limits(nodes, members, allotted(nodes, *members, pace=pace))


@given(case=cases(), data=st.data())
def test_the_order_of_nodes_and_members_makes_no_difference(case, data):
    nodes, members, pace = case
    again = allotted(
        data.draw(st.permutations(nodes)), *data.draw(st.permutations(members)), pace=pace
    )
    assert again == allotted(nodes, *members, pace=pace)


@given(case=cases())
def test_a_share_is_within_the_boundary_and_never_in_the_hole(case):
    nodes, members, pace = case
    shares = allotted(nodes, *members, pace=pace).shares
    for member, side in ((member, side) for member in members for side in Side):
        share = shares[member.key]
        told = facing(share.max_w if side is Side.MAX else share.min_w, side)
        if told is None:
            continue
        least, most = least_and_most(member, side)
        assert told >= 0
        if least is not None and least > 0:
            assert told >= least or (member.can_pause and told == 0)
        if most is not None and (least is None or most - least > 0.001):
            assert told <= max(most, 0) + (0.001 if member.is_stale or member.set_point_w else 0)
        if share.is_paused:
            assert (told, member.can_pause) == (0, True)


@given(case=cases())
def test_a_share_never_rises_faster_than_the_ramp(case):
    nodes, members, pace = case
    shares = allotted(nodes, *members, pace=pace).shares
    for member, side in ((member, side) for member in members for side in Side):
        share, last = shares[member.key], member.last
        told = facing(share.max_w if side is Side.MAX else share.min_w, side)
        had = last and facing(last.max_w if side is Side.MAX else last.min_w, side)
        if told is None or had is None or pace.rise_w_per_s is None:
            continue
        rise = 0 if member.is_stale else pace.rise_w_per_s * (NOW - last.at).total_seconds()
        least = least_and_most(member, side)[0] or 0
        stronger = facing(member.set_point_w, side) or 0
        assert told <= max(had + rise, least, stronger) + 0.001


@given(case=cases())
def test_without_limits_everyone_is_unlimited(case):
    nodes, members, pace = case
    nodes = [replace(node, limit=None) for node in nodes]
    allotment = allotted(nodes, *members, pace=pace)
    assert not allotment.nodes
    for share in allotment.shares.values():
        assert (share.min_w, share.max_w, share.is_paused) == (None, None, False)
        assert {share.upper.why, share.lower.why} == {Why.UNLIMITED}


@given(case=cases(), more=st.sampled_from([1, 3, 30]))
def test_all_fit_where_everyone_would_have_all_that_it_can(case, more):
    nodes, members, _ = case
    nodes = [replace(node, limit=node.limit and widened(node.limit, more)) for node in nodes]
    members = [
        Member(
            one.key,
            one.node,
            min_w=one.min_w and min(one.min_w, 0),
            max_w=one.max_w and max(one.max_w, 0),
            phases=one.phases,
        )
        for one in members
    ]
    shares = allotted(nodes, *members).shares.values()
    whys = {bound.why for share in shares for bound in (share.lower, share.upper)}
    assert fits(nodes=nodes, members=members) == (whys <= {Why.FULL, Why.UNLIMITED})


def widened(limit, more):
    """The same limit, so many times as much."""
    return Limit(
        limit.min_w and limit.min_w * more,
        limit.max_w and limit.max_w * more,
        limit.strategy,
        limit.phase_min_w and tuple(each * more for each in limit.phase_min_w),
        limit.phase_max_w and tuple(each * more for each in limit.phase_max_w),
    )


def mirrored(case):
    """The same with all powers turned round."""
    nodes, members, pace = case

    def limit(one):
        return one and replace(
            one,
            min_w=negative(one.max_w),
            max_w=negative(one.min_w),
            phase_min_w=one.phase_max_w and tuple(-value for value in one.phase_max_w),
            phase_max_w=one.phase_min_w and tuple(-value for value in one.phase_min_w),
        )

    def member(one):
        last = one.last
        return replace(
            one,
            min_w=negative(one.max_w),
            max_w=negative(one.min_w),
            set_point_w=negative(one.set_point_w),
            draws=one.feeds,
            feeds=one.draws,
            holds_min_w=negative(one.holds_max_w),
            holds_max_w=negative(one.holds_min_w),
            last=last and replace(last, min_w=negative(last.max_w), max_w=negative(last.min_w)),
        )

    nodes = [replace(node, limit=limit(node.limit)) for node in nodes]
    return nodes, [member(one) for one in members], pace


@pytest.mark.parametrize(
    ("range_w", "waits"),
    [((0, 0), True), ((0, None), False), ((None, 0), False), ((0, 9000), False)],
)
def test_who_may_do_nothing_at_all_waits_but_not_who_may_do_the_other(range_w, waits):
    low, high = range_w
    one = Member("a", "yard", min_w=low, max_w=high)
    limit = yard(min_w=-20_000, max_w=20_000)
    assert (allotted(limit, one).shares["a"].paused_since is not None) is waits


@given(case=cases())
def test_drawing_and_feeding_in_are_alike(case):
    nodes, members, pace = case
    straight = allotted(nodes, *members, pace=pace).shares
    nodes, members, pace = mirrored(case)
    for key, share in allotted(nodes, *members, pace=pace).shares.items():
        assert share.upper == replace(straight[key].lower, w=negative(straight[key].min_w))
        assert share.paused_since == straight[key].paused_since


@st.composite
def consumers(draw):
    low, high = sorted([draw(watts), draw(watts)])
    return {"min_w": low, "max_w": high}


@st.composite
def unpausable(draw):
    """Nodes without limits on phases, and members that cannot pause, all drawing power."""
    nodes = draw(trees(phases=False))
    return nodes, draw(plain_members(nodes, kinds_of=consumers))


def total(nodes, members):
    """What all members below limits are allotted together."""
    return sum(value for value in maxima(allotted(nodes, *members)).values() if value is not None)


@given(case=unpausable())
def test_nothing_is_left_while_somebody_could_have_it(case):
    nodes, members = case

    def most(key):
        """The most that can get through to the members of a node, but no less than minima."""
        here = [member for member in members if member.node == key]
        below = [most(node.key) for node in nodes if node.parent == key]
        limit = next(node.limit for node in nodes if node.key == key)
        least = sum(m.min_w for m in here) + sum(one[0] for one in below)
        full = sum(m.max_w for m in here) + sum(one[1] for one in below)
        if limit and limit.max_w is not None:
            full = max(least, min(full, limit.max_w))
        return least, full

    shares = maxima(allotted(nodes, *members))
    unlimited = {key for key, value in shares.items() if value is None}
    free = sum(member.max_w for member in members if member.key in unlimited)
    there = sum(most(node.key)[1] for node in nodes if node.parent is None)
    assert total(nodes, members) == pytest.approx(there - free, abs=0.001 * (len(members) + 5) * 3)


@given(case=unpausable(), more=watts, data=st.data())
def test_a_higher_limit_never_lowers_the_sum_where_nobody_can_pause(case, more, data):
    nodes, members = case
    limited = [node for node in nodes if node.limit and node.limit.max_w is not None]
    assume(limited)
    raised = data.draw(st.sampled_from(limited))
    higher = [
        replace(node, limit=replace(node.limit, max_w=node.limit.max_w + more))
        if node is raised
        else node
        for node in nodes
    ]
    assert total(higher, members) >= total(nodes, members) - 0.001 * (len(members) + 5) * 3


@given(
    maxima_w=st.lists(st.integers(1, 30_000), min_size=1, max_size=8),
    limit=st.integers(0, 100_000),
)
def test_proportional_is_proportional_where_nothing_else_binds(maxima_w, limit):
    members = [heater(f"m{i}", max_w=value) for i, value in enumerate(maxima_w)]
    shares = maxima(allotted(yard(PROPORTIONAL, max_w=limit), *members))
    part = min(1, limit / sum(maxima_w))
    for member in members:
        assert shares[member.key] == pytest.approx(part * member.max_w, abs=0.0011)


@given(ranges=st.lists(st.tuples(watts, watts).map(sorted), min_size=1, max_size=8), limit=watts)
def test_equal_shares_differ_only_where_a_boundary_says_so(ranges, limit):
    members = [heater(f"m{i}", min_w=low, max_w=high) for i, (low, high) in enumerate(ranges)]
    shares = maxima(allotted(yard(max_w=limit), *members))
    between = [shares[m.key] for m in members if m.min_w + 0.001 < shares[m.key] < m.max_w - 0.001]
    assert not between or max(between) - min(between) <= 0.0011
    for m in members:
        if between and shares[m.key] <= m.min_w + 0.001 < m.max_w - 0.001:
            assert shares[m.key] >= max(between) - 0.0021


@given(ranges=st.lists(st.tuples(watts, watts).map(sorted), min_size=1, max_size=8), limit=watts)
def test_a_series_fills_one_after_the_other(ranges, limit):
    members = [
        heater(f"m{i}", min_w=low, max_w=high, order=-i) for i, (low, high) in enumerate(ranges)
    ]
    shares = maxima(allotted(yard(SERIES, max_w=limit), *members))
    by_order = sorted(members, key=lambda member: member.order)
    full = [shares[member.key] >= member.max_w - 0.001 for member in by_order]
    least = [shares[member.key] <= member.min_w + 0.001 for member in by_order]
    unfilled = full.index(False) if False in full else len(full)
    assert all(least[unfilled + 1 :])


# --- over time ----------------------------------------------------------------------------------

STEP = 20  # seconds


def lived(nodes_at, members, pace, *, seconds):
    """Allotments one after the other, each from what the one before said; the limits may change."""
    for second in range(0, seconds, STEP):
        now = NOW + timedelta(seconds=second)
        nodes = nodes_at(second)
        allotment = allot(nodes=nodes, members=members, pace=pace, now=now)
        yield now, nodes, members, allotment
        members = [
            replace(member, last=allotment.shares[member.key].last(now)) for member in members
        ]


@st.composite
def stations(draw):
    low = draw(st.sampled_from([1380, 4140, 9000]))
    return {"min_w": low, "max_w": low + draw(watts), "can_pause": True}


@given(data=st.data(), dwell_s=st.sampled_from([0, 60, 120]))
def test_nobody_starves_and_nothing_flaps(data, dwell_s):
    nodes = data.draw(trees())
    members = data.draw(plain_members(nodes, kinds_of=stations))
    ever, since, spans = set(), {}, []
    pace = Pace(100, timedelta(seconds=dwell_s))
    seconds = (len(members) + 1) * (2 * dwell_s + 2 * STEP)
    for now, _, _, allotment in lived(lambda _: nodes, members, pace, seconds=seconds):
        for key, share in allotment.shares.items():
            state, begun = since.get(key, (None, None))
            if share.is_paused != state:
                spans += [] if begun is None else [now - begun]
                since[key] = share.is_paused, now
            ever |= set() if share.is_paused else {key}
    possible = {
        member.key for member in members if not allotted(nodes, member).shares[member.key].is_paused
    }
    assert ever == possible
    assert all(span >= pace.dwell for span in spans)


@given(data=st.data(), pace=paces)
def test_limits_hold_at_every_instant_while_they_change(data, pace):
    nodes = data.draw(trees())
    members = data.draw(plain_members(nodes))
    factors = data.draw(st.lists(st.sampled_from([0, 0.3, 1, 2]), min_size=6, max_size=6))

    def scaled(limit, factor):
        return limit and replace(
            limit,
            min_w=limit.min_w and limit.min_w * factor,
            max_w=limit.max_w and limit.max_w * factor,
        )

    def nodes_at(second):
        factor = factors[second // STEP]
        return [replace(node, limit=scaled(node.limit, factor)) for node in nodes]

    before: dict[str, Share] = {}
    for _, now_nodes, now_members, allotment in lived(
        nodes_at, members, pace, seconds=STEP * len(factors)
    ):
        check_limits(now_nodes, now_members, allotment)
        for member in now_members if pace.rise_w_per_s is not None and before else ():
            had, has = before[member.key].max_w, allotment.shares[member.key].max_w
            if had is not None:
                assert has <= max(had + pace.rise_w_per_s * STEP, member.min_w or 0) + 0.001
        before = allotment.shares
