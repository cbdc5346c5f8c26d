"""What many share decides, at every instant, for whom resolving each of them says so."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flexibility.queries import Span
from flexibility.resolver import Constraint, EmitterKind, OutcomeKind, resolve, timeline
from flexibility.summed import summed
from flexibility.tallied import OUTCOMES, shared_spans, tallied

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNTIL = NOON + 48 * HOUR
SAID = {"all": {"id": "all", "emitter": "account_user", "priority": 3_000}}


def constraint(identity, begin_h, hours, *, priority=3_000, **power) -> Constraint:
    return Constraint(
        id=identity,
        emitter=EmitterKind.OPERATOR if priority > 9_999 else EmitterKind.ACCOUNT_USER,
        priority=priority,
        created_at=NOON,
        valid_at=NOON + begin_h * HOUR,
        invalid_at=NOON + (begin_h + hours) * HOUR,
        **power,
    )


def spans(*constraints) -> list[Span]:
    """An appliance's timeline, as it is read."""
    found = []
    for one in timeline(constraints, from_at=NOON, until_at=UNTIL):
        inputs = [
            {"id": key, "power": {"outcome": both.power.kind.value}}
            for key, both in one.resolution.outcomes.items()
            if both.power.kind in (OUTCOMES)
        ]
        found.append(Span(one.from_at, one.until_at, one.boundary, {}, inputs))
    return found


def told(tallies) -> list[tuple]:
    """Hours from noon, and who is how."""
    return [
        (
            (one.from_at - NOON) / HOUR,
            (one.until_at - NOON) / HOUR,
            *("".join(sorted(getattr(one, outcome))) for outcome in OUTCOMES),
        )
        for one in tallies
    ]


def test_it_says_for_whom_it_decides_and_who_gives_it_no_room():
    for_all = constraint("all", 1, 10, max_w=4_000)
    found = tallied(
        {
            "a": spans(for_all),
            "b": spans(for_all, constraint("more", 3, 2, priority=20_000, min_w=6_000)),
            "c": spans(for_all, constraint("less", 4, 2, max_w=1_000)),
        },
        {"all": "all"},
    )
    assert told(found["all"]) == [
        (1, 3, "abc", "", ""),
        (3, 4, "ac", "b", ""),
        (4, 5, "a", "b", "c"),
        (5, 6, "ab", "", "c"),
        (6, 11, "abc", "", ""),
    ]
    assert [one.count for one in found["all"]] == [3] * 5


def test_shares_of_one_limit_are_one_thing():
    timelines = {
        "a": spans(constraint("share of a", 0, 2, max_w=1_000)),
        "b": spans(constraint("share of b", 1, 2, max_w=1_000)),
    }
    found = tallied(timelines, {"share of a": "limit", "share of b": "limit"})
    assert told(found["limit"]) == [(0, 1, "a", "", ""), (1, 2, "ab", "", ""), (2, 3, "b", "", "")]


def test_what_comes_again_has_a_gap_and_what_nobody_knows_is_left_out():
    again = (constraint("all", 1, 1, max_w=1), constraint("other", 5, 1, max_w=1))
    found = tallied({"a": spans(*again)}, {"all": "all", "other": "all", "unheard of": "x"})
    assert told(found["all"]) == [(1, 2, "a", "", ""), (5, 6, "a", "", "")]
    assert set(found) == {"all"}


def test_it_is_drawn_as_what_matters_most():
    for_all = constraint("all", 1, 2, max_w=4_000)
    stronger = constraint("more", 0, 9, priority=20_000, min_w=6_000)
    timelines = {"a": spans(for_all), "b": spans(for_all, stronger)}
    tallies = tallied(timelines, {"all": "all"})
    found = shared_spans(summed(timelines.values()), tallies, SAID, members=2)
    assert [[one["power"]["outcome"] for one in span.inputs] for span in found] == [
        [],
        ["binding"],
        [],
        [],
    ]
    assert [(one.from_at - NOON) / HOUR for one in found] == [0, 1, 3, 9]
    tallies = tallied({"b": timelines["b"]}, {"all": "all"})
    [span] = [
        one for one in shared_spans(summed([spans()]), tallies, SAID, members=1) if one.inputs
    ]
    assert span.inputs[0]["power"]["outcome"] == "discarded"


def test_a_set_point_is_that_of_all_or_none():
    held = constraint("all", 0, 48, set_point_w=2_000)
    sums = summed([spans(held), spans(held)])
    assert shared_spans(sums, {}, {}, members=2)[0].boundary.set_point_w == 4_000
    sums = summed([spans(held), spans()])
    assert shared_spans(sums, {}, {}, members=2)[0].boundary.set_point_w is None
    assert shared_spans([], {}, {}, members=0) == []


@st.composite
def fleets(draw):
    """Members that share some constraints, and have some of their own."""

    def some(name: str) -> list[Constraint]:
        return [
            constraint(
                f"{name} {number}",
                draw(st.integers(0, 40)),
                draw(st.integers(1, 20)),
                priority=draw(st.sampled_from([1_000, 3_000, 20_000])),
                **{draw(st.sampled_from(["min_w", "max_w"])): draw(st.integers(-5_000, 5_000))},
            )
            for number in range(draw(st.integers(0, 3)))
        ]

    shared = some("all")
    fleet = {f"m{number}": some("own") for number in range(draw(st.integers(1, 4)))}
    return shared, {key: [*shared, *own] for key, own in fleet.items()}


@given(fleets(), st.integers(0, 48 * 60 - 1))
def test_at_every_instant_it_is_what_each_says(found, minute):
    shared, fleet = found
    at = NOON + minute * HOUR / 60
    timelines = {key: spans(*each) for key, each in fleet.items()}
    tallies = tallied(timelines, {one.id: one.id for one in shared})
    now = {key: resolve(each, at=at).outcomes for key, each in fleet.items()}
    for one in shared:
        of_one = tallies.get(one.id, [])
        assert all(tally.from_at < tally.until_at for tally in of_one)
        assert all(a.until_at <= b.from_at for a, b in pairwise(of_one))
        holding = [tally for tally in of_one if tally.from_at <= at < tally.until_at]
        for outcome in OUTCOMES:
            members = {key for key in fleet if now[key][one.id].power.kind == OutcomeKind(outcome)}
            assert members == (set(getattr(holding[0], outcome)) if holding else set())
    drawn = shared_spans(
        summed(timelines.values()),
        tallies,
        {one.id: {"id": one.id, "emitter": "x", "priority": one.priority} for one in shared},
        members=len(fleet),
    )
    assert (drawn[0].from_at, drawn[-1].until_at) == (NOON, UNTIL)
    assert all(one.until_at == after.from_at for one, after in pairwise(drawn))
    [span] = [one for one in drawn if one.from_at <= at < one.until_at]
    for read in span.inputs:
        [tally] = [one for one in tallies[read["id"]] if one.from_at <= at < one.until_at]
        assert read["power"]["outcome"] == tally.outcome
