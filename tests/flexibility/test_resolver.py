"""What remains of constraints: worked-out cases, and what must hold whatever they are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexibility.resolver import (
    PHYSICAL,
    Boundary,
    Constraint,
    ContradictoryConstraint,
    EmitterKind,
    Outcome,
    OutcomeKind,
    Segment,
    resolve,
    timeline,
)

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STAGED = {OutcomeKind.SCHEDULED, OutcomeKind.EXPIRED, OutcomeKind.WITHDRAWN}


def driver(**fields) -> Constraint:
    return Constraint(
        **{
            "id": "driver",
            "emitter": EmitterKind.DRIVER,
            "priority": PHYSICAL,
            "created_at": NOON - 2 * HOUR,
            **fields,
        }
    )


def fleet(id: str, priority: int, **fields) -> Constraint:
    return Constraint(
        **{
            "id": id,
            "emitter": EmitterKind.ACCOUNT_USER,
            "priority": priority,
            "created_at": NOON - HOUR,
            **fields,
        }
    )


STATION = driver(min_w=4_140, max_w=22_000, pausable=True)


def kinds(constraints, at=NOON) -> dict[str, str]:
    outcomes = resolve(constraints, at=at).outcomes
    return {name: one.power.kind.value for name, one in outcomes.items() if one.power}


# Tables ------------------------------------------------------------------------------------------


def test_without_any_constraint_everything_is_open():
    assert resolve([], at=NOON).boundary == Boundary()


def test_of_two_drivers_the_newer_replaces_the_older_though_it_is_wider():
    hot = driver(id="hot", min_w=-2_000, max_w=2_000, created_at=NOON - 2 * HOUR)
    cool = driver(id="cool", min_w=-5_000, max_w=5_000, created_at=NOON - HOUR)
    found = resolve([hot, cool], at=NOON)
    assert (found.boundary.min_w, found.boundary.max_w) == (-5_000, 5_000)
    assert kinds([hot, cool]) == {"cool": "binding", "hot": "withdrawn"}


def test_a_driver_that_is_not_valid_any_more_leaves_its_place_to_the_older():
    hot = driver(id="hot", max_w=2_000)
    brief = driver(id="brief", max_w=5_000, created_at=NOON - HOUR, invalid_at=NOON)
    assert resolve([hot, brief], at=NOON).boundary.max_w == 2_000


def test_who_decides_each_side_is_named():
    found = resolve(
        [
            driver(min_w=-5_000, max_w=5_000, min_wh=0, max_wh=10_000),
            fleet("feed", 9, min_w=-2_000),
            fleet("go", 8, set_point_w=1_500),
            fleet("reserve", 7, min_wh=2_000),
        ],
        at=NOON,
    )
    deciders = found.deciders
    assert (deciders.min_w, deciders.max_w, deciders.set_point_w) == ("feed", "driver", "go")
    assert (deciders.min_wh, deciders.max_wh) == ("reserve", "driver")
    assert deciders.no_pause is None


def test_what_forbids_a_pause_is_named():
    found = resolve([STATION, fleet("keep", 9, min_w=1_000)], at=NOON)
    assert found.deciders.no_pause == "keep"
    assert found.boundary == Boundary(min_w=4_140, max_w=22_000)


def test_where_only_both_sides_leave_no_room_both_are_named():
    constraints = [
        STATION,
        fleet("limit", 9, max_w=3_000),
        fleet("late", 8, min_w=2_000, max_w=5e3),
    ]
    outcome = resolve(constraints, at=NOON).outcomes["late"].power
    assert outcome == Outcome(OutcomeKind.DISCARDED, ("driver", "limit"))


def test_a_pausable_appliance_whose_range_holds_0_has_no_hole():
    both_ways = driver(min_w=-5_000, max_w=5_000, pausable=True)
    found = resolve([both_ways, fleet("charge", 9, min_w=1_000)], at=NOON)
    assert found.boundary == Boundary(min_w=1_000, max_w=5_000)
    assert found.deciders.no_pause is None


@pytest.mark.parametrize(
    ("asked", "given"),
    [(-100, 0), (0, 0), (2_069, 0), (2_070, 0), (2_071, 4_140), (30_000, 22_000), (7e3, 7e3)],
)
def test_closest_takes_the_nearest_value_and_of_two_the_one_nearer_0(asked, given):
    wish = fleet("wish", 5, set_point_w=asked, closest=True)
    assert resolve([STATION, wish], at=NOON).boundary.set_point_w == given


def test_a_range_that_bends_leaves_the_least_that_a_stronger_one_asks_for():
    runs = driver(min_w=4_140, max_w=22_080, pausable=True)
    order = fleet("order", 9, min_w=4_641, max_w=11_334)
    share = fleet("share", 3, max_w=0, bends=True)
    found = resolve([runs, order, share], at=NOON)
    assert (found.boundary.min_w, found.boundary.max_w) == (4_641, 4_641)
    assert (found.deciders.min_w, found.deciders.max_w) == ("order", "share")
    assert not found.boundary.can_pause
    # Where it may pause it does, and where a set point stands there is nothing to bend.
    paused = resolve([runs, share], at=NOON).boundary
    assert (paused.min_w, paused.max_w) == (0, 0)
    point = fleet("point", 9, set_point_w=9_000)
    assert resolve([runs, point, share], at=NOON).outcomes["share"].power.kind == "discarded"


def test_where_only_a_pause_is_left_what_bends_decides_nothing():
    feeds = driver(max_w=-2_000, pausable=True)
    order = fleet("order", 9, min_w=-1_000, max_w=0)
    share = fleet("share", 3, max_w=-500, bends=True)
    found, bent = resolve([feeds, order], at=NOON), resolve([feeds, order, share], at=NOON)
    assert (bent.boundary, bent.deciders) == (found.boundary, found.deciders)
    assert (bent.boundary.min_w, bent.boundary.max_w) == (0, 0)
    assert bent.outcomes["share"].power.kind == "redundant"


def test_a_share_decides_nothing_that_another_asks_for_as_well():
    share = fleet("share", 9, min_w=0, max_w=4_200, bends=True)
    dimming = fleet("dimming", 5, max_w=4_200)
    found = resolve([STATION, share, dimming], at=NOON)
    assert found.deciders.max_w == "dimming"
    assert found.outcomes["share"].power.kind == "redundant"
    narrower = resolve([STATION, share, fleet("wish", 5, max_w=5_000)], at=NOON)
    assert narrower.deciders.max_w == "share"


def test_closest_bends_within_its_own_range():
    wish = fleet("wish", 5, min_w=5_000, max_w=8_000, set_point_w=8_000, closest=True)
    found = resolve([STATION, fleet("limit", 9, max_w=6_000), wish], at=NOON)
    assert found.boundary.set_point_w == 6_000
    assert (found.boundary.min_w, found.boundary.can_pause) == (5_000, False)


def test_a_set_point_of_something_else_than_power_does_not_exist():
    found = resolve([driver(min_wh=0, max_wh=100), fleet("low", 5, max_wh=-1)], at=NOON)
    assert found.outcomes["low"].energy == Outcome(OutcomeKind.DISCARDED, ("driver",))
    assert found.outcomes["low"].power is None


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"min_w": 2, "max_w": 1}, "min_w"),
        ({"min_wh": 2, "max_wh": 1}, "min_wh"),
        ({"set_point_w": 3, "max_w": 1}, "set_point_w"),
        ({"set_point_w": 0, "min_w": 1}, "set_point_w"),
        ({"valid_at": NOON, "invalid_at": NOON}, "invalid_at"),
        ({"max_w": float("nan")}, "max_w"),
        ({"max_w": float("inf")}, "max_w"),
        ({"priority": PHYSICAL}, "priority"),
        ({"priority": -1}, "priority"),
        ({"pausable": True}, "pausable"),
    ],
)
def test_what_contradicts_itself_is_refused_and_says_where(fields, at_fault):
    with pytest.raises(ContradictoryConstraint) as caught:
        fleet("x", **{"priority": 5, **fields})
    assert caught.value.field == at_fault


def test_a_driver_has_the_physical_priority_and_no_other():
    with pytest.raises(ContradictoryConstraint):
        driver(priority=5)


def test_a_segment_begins_only_where_something_changes():
    limit = fleet("limit", 5, max_w=11_000, valid_at=NOON + HOUR, invalid_at=NOON + 2 * HOUR)
    found = timeline([STATION, limit], from_at=NOON, until_at=NOON + 48 * HOUR)
    assert [(one.from_at, one.until_at, one.resolution.boundary.max_w) for one in found] == [
        (NOON, NOON + HOUR, 22_000),
        (NOON + HOUR, NOON + 2 * HOUR, 11_000),
        (NOON + 2 * HOUR, NOON + 48 * HOUR, 22_000),
    ]
    assert timeline([STATION], from_at=NOON, until_at=NOON) == []


# Properties --------------------------------------------------------------------------------------

# Few values, so that bounds coincide, touch and cross.
values = st.integers(-6, 6)
maybe = st.none() | values
instants = st.none() | st.integers(-3, 3).map(lambda hours: NOON + hours * HOUR)
moments = st.integers(-4, 4).map(lambda halves: NOON + halves * HOUR / 2)


@st.composite
def ranges(draw, middle=None):
    low, high = draw(maybe), draw(maybe)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return low, high


@st.composite
def constraints(draw):
    """A driver mostly, and up to eight others."""
    found = []
    if draw(st.integers(0, 3)):
        low, high = draw(ranges())
        least, most = draw(ranges())
        pausable = draw(st.booleans())
        found.append(driver(min_w=low, max_w=high, min_wh=least, max_wh=most, pausable=pausable))
    for number in range(draw(st.integers(0, 8))):
        low, high = draw(ranges())
        least, most = draw(ranges())
        valid_at, invalid_at = draw(instants), draw(instants)
        if valid_at and invalid_at and valid_at >= invalid_at:
            valid_at = None
        point = draw(maybe)
        inside = point is None or (
            (low is None or low <= point) and (high is None or point <= high)
        )
        found.append(
            fleet(
                f"c{number}",
                draw(st.integers(0, 4)),
                created_at=NOON - draw(st.integers(0, 1)) * HOUR,
                min_w=low,
                max_w=high,
                set_point_w=point if inside else None,
                closest=draw(st.booleans()),
                bends=draw(st.booleans()),
                min_wh=least,
                max_wh=most,
                valid_at=valid_at,
                invalid_at=invalid_at,
                withdrawn_at=draw(st.none() | st.none() | instants),
            )
        )
    return found


# A grid that holds every bound, what lies between, and something beyond on either side.
GRID = [step / 4 for step in range(-32, 33)]


def in_order(given):
    return sorted(given, key=lambda one: (-one.priority, -one.created_at.timestamp(), one.id))


def takes_part(one, at) -> bool:
    return (
        (one.valid_at is None or one.valid_at <= at)
        and (one.invalid_at is None or at < one.invalid_at)
        and (one.withdrawn_at is None or at < one.withdrawn_at)
    )


def by_sets(given, at):
    """The rule of the design, said once more with sets of points: (feasible set, discarded)."""

    def of_range(one):
        return {
            value
            for value in GRID
            if (one.min_w is None or one.min_w <= value)
            and (one.max_w is None or value <= one.max_w)
        }

    stands, has_point, discarded = set(GRID), False, set()
    for one in in_order(given):
        if not takes_part(one, at) or not one.speaks_of_power:
            continue
        own = of_range(one) | ({0.0} if one.pausable else set())
        if one.set_point_w is not None and not one.closest:
            own = {float(one.set_point_w)}
        if not stands & own and one.bends and not has_point:
            own = {min(stands, key=lambda value: (_apart(value, own), abs(value)))}
        if not stands & own:
            discarded.add(one.id)
            continue
        stands &= own
        if one.set_point_w is not None and not has_point:
            has_point = True
            stands = {min(stands, key=lambda value: (abs(value - one.set_point_w), abs(value)))}
    return stands, has_point, discarded


def _apart(value, own) -> float:
    return min(abs(value - each) for each in own)


@given(constraints(), moments)
@settings(max_examples=600)
def test_a_constraint_is_discarded_just_where_it_has_nothing_in_common_with_what_stood(given_, at):
    found = resolve(given_, at=at)
    stands, has_point, discarded = by_sets(given_, at)
    powers = {name: one.power for name, one in found.outcomes.items() if one.power}
    assert {n for n, one in powers.items() if one.kind is OutcomeKind.DISCARDED} == discarded
    boundary = found.boundary
    if has_point:
        assert stands == {boundary.set_point_w}
    else:
        assert boundary.set_point_w is None
        inside = {
            value
            for value in GRID
            if (boundary.min_w is None or boundary.min_w <= value)
            and (boundary.max_w is None or value <= boundary.max_w)
        }
        assert stands == inside | ({0.0} if boundary.can_pause else set())


@given(constraints(), st.randoms(), moments)
def test_the_order_of_the_input_never_matters(given_, random, at):
    shuffled = list(given_)
    random.shuffle(shuffled)
    assert resolve(shuffled, at=at) == resolve(given_, at=at)


@given(constraints(), moments)
def test_the_result_is_never_outside_of_what_a_driver_allows(given_, at):
    boundary = resolve(given_, at=at).boundary
    for one in given_:
        if one.emitter is not EmitterKind.DRIVER:
            continue
        paused = one.pausable and boundary.min_w == boundary.max_w == 0
        for value in (boundary.min_w, boundary.max_w, boundary.set_point_w):
            if value is None:
                continue
            assert (
                (one.pausable and value == 0) or paused or one.min_w is None or value >= one.min_w
            )
            assert (
                (one.pausable and value == 0) or paused or one.max_w is None or value <= one.max_w
            )
        assert one.min_w is None or boundary.min_w is not None
        assert one.max_w is None or boundary.max_w is not None


@given(constraints(), ranges(), maybe, st.booleans(), moments)
def test_the_weakest_never_changes_what_becomes_discarded_of_the_stronger(
    given_, range_, point, closest, at
):
    low, high = range_
    inside = point is None or ((low is None or low <= point) and (high is None or point <= high))
    weakest = fleet(
        "zz",
        0,
        created_at=NOON - 9 * HOUR,
        min_w=low,
        max_w=high,
        set_point_w=point if inside else None,
        closest=closest,
    )

    def discarded(constraints_):
        outcomes = resolve(constraints_, at=at).outcomes
        return {
            (name, part, one.conflicts_with)
            for name, both in outcomes.items()
            for part, one in (("power", both.power), ("energy", both.energy))
            if name != "zz" and one and one.kind is OutcomeKind.DISCARDED
        }

    assert discarded([*given_, weakest]) == discarded(given_)


@given(constraints(), moments)
@settings(max_examples=300)
def test_removing_what_decides_nothing_changes_nothing(given_, at):
    found = resolve(given_, at=at)
    ordered = in_order(given_)
    named = {
        name
        for both in found.outcomes.values()
        for one in (both.power, both.energy)
        if one
        for name in one.conflicts_with
    }
    for one in given_:
        both = [
            part for part in (found.outcomes[one.id].power, found.outcomes[one.id].energy) if part
        ]
        if one.emitter is EmitterKind.DRIVER or any(
            part.kind is OutcomeKind.BINDING for part in both
        ):
            continue
        # Others conflict with it, or may have bent to it.
        weaker = ordered[ordered.index(one) + 1 :]
        matters = one.id in named or any(other.closest or other.bends for other in weaker)
        if matters and any(part.kind is OutcomeKind.REDUNDANT for part in both):
            continue
        without = resolve([other for other in given_ if other is not one], at=at)
        assert without.boundary == found.boundary
        assert without.deciders == found.deciders


@given(constraints(), moments)
def test_withdrawing_or_expiring_revives_what_it_had_discarded(given_, at):
    before = resolve(given_, at=at)
    for one in given_:
        gone = [other for other in given_ if other is not one]
        without = resolve(gone, at=at)
        for ended in (replace(one, withdrawn_at=at), replace(one, valid_at=None, invalid_at=at)):
            found = resolve([*gone, ended], at=at)
            assert found.boundary == without.boundary
            for name, outcomes in without.outcomes.items():
                assert found.outcomes[name] == outcomes
            staged = found.outcomes[one.id]
            assert {part.kind for part in (staged.power, staged.energy) if part} <= STAGED
    assert resolve(given_, at=at) == before


@given(constraints(), moments)
def test_at_every_instant_the_timeline_is_what_resolving_says(given_, at):
    from_at, until_at = NOON - 4 * HOUR, NOON + 4 * HOUR
    segments = timeline(given_, from_at=from_at, until_at=until_at)
    assert segments[0].from_at == from_at
    assert segments[-1].until_at == until_at
    for earlier, later in pairwise(segments):
        assert earlier.until_at == later.from_at
        assert earlier.resolution != later.resolution
    [holding] = [one for one in segments if one.from_at <= at < one.until_at]
    assert holding == Segment(holding.from_at, holding.until_at, resolve(given_, at=at))


@given(constraints(), moments)
def test_who_decides_is_who_is_binding(given_, at):
    found = resolve(given_, at=at)
    deciders = found.deciders
    of_power = {deciders.min_w, deciders.max_w, deciders.set_point_w, deciders.no_pause} - {None}
    of_energy = {deciders.min_wh, deciders.max_wh} - {None}
    for part, named in (("power", of_power), ("energy", of_energy)):
        binding = {
            name
            for name, both in found.outcomes.items()
            if (one := getattr(both, part)) and one.kind is OutcomeKind.BINDING
        }
        assert binding == named
    for side in ("min_w", "max_w", "min_wh", "max_wh", "set_point_w"):
        value, decider = getattr(found.boundary, side), getattr(deciders, side)
        assert (decider is None) == (value is None)
