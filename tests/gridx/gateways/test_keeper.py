from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridx.gateways.codec import encode
from gridx.gateways.messages import ApplianceSchedule, FailSafe, Schedule, Segment
from gridx.gateways.plants.span import FREE, Limits
from gridx.gateways.simulator.keeper import Asked, Keeper, Verdict, stricter

APPLIANCE = UUID("0197f3a0-0000-7000-8000-000000000001")
NOON = 1_763_899_200_000
MINUTE = 60_000
SAFE = FailSafe(max_w=4_200, can_pause=True, minimum_s=120)
SAFE_LIMITS = Limits(max_w=4_200, can_pause=True)


def schedule(*segments: Segment, revision: int = 1, fail_safe: FailSafe | None = SAFE) -> bytes:
    timeline = ApplianceSchedule(
        local_id="ev", appliance=APPLIANCE, segments=list(segments), fail_safe=fail_safe
    )
    return encode(Schedule(v=1, revision=revision, issued_at=NOON, appliances=[timeline]))


def segment(start_min: int, end_min: int, **what: object) -> Segment:
    return Segment(start=NOON + start_min * MINUTE, end=NOON + end_min * MINUTE, **what)


def asked(keeper: Keeper, minute: float) -> Asked:
    return keeper.asked(int(NOON + minute * MINUTE))["ev"]


def test_nothing_is_asked_before_the_first_schedule():
    assert Keeper().asked(NOON) == {}


def test_each_segment_holds_from_its_start_to_before_its_end():
    keeper = Keeper()
    body = schedule(segment(0, 10, max_w=11_000), segment(10, 20, max_w=6_000))
    assert keeper.receive(body, NOON) is Verdict.TAKEN
    assert asked(keeper, -1) == Asked(Limits(max_w=11_000)), "a clock that is slow sets nobody free"
    assert asked(keeper, 0) == Asked(Limits(max_w=11_000))
    assert asked(keeper, 9.99) == Asked(Limits(max_w=11_000))
    assert asked(keeper, 10) == Asked(Limits(max_w=6_000))


def test_after_the_end_of_its_timeline_an_appliance_fails_safe():
    keeper = Keeper()
    keeper.receive(schedule(segment(0, 10, max_w=11_000)), NOON)
    assert asked(keeper, 10) == Asked(SAFE_LIMITS, is_fail_safe=True)
    assert asked(keeper, 100_000) == Asked(SAFE_LIMITS, is_fail_safe=True)


def test_without_a_fail_safe_the_end_leaves_an_appliance_to_itself():
    keeper = Keeper()
    keeper.receive(schedule(segment(0, 10, max_w=11_000), fail_safe=None), NOON)
    assert asked(keeper, 10) == Asked(FREE)


def test_a_newer_schedule_replaces_an_older_one_but_not_the_other_way_round():
    keeper = Keeper()
    old, new = schedule(segment(0, 9, max_w=1)), schedule(segment(0, 9, max_w=2), revision=2)
    assert keeper.receive(new, NOON) is Verdict.TAKEN
    assert keeper.receive(new, NOON) is Verdict.KNOWN
    assert keeper.receive(old, NOON) is Verdict.OUTDATED
    assert keeper.revision == 2
    assert asked(keeper, 1) == Asked(Limits(max_w=2))


def test_a_missing_heartbeat_brings_the_stricter_of_schedule_and_fail_safe():
    keeper = Keeper()
    keeper.receive(schedule(segment(0, 60, max_w=11_000, heartbeat_s=120)), NOON)
    assert asked(keeper, 2) == Asked(Limits(max_w=11_000))
    assert asked(keeper, 2.1) == Asked(SAFE_LIMITS, is_fail_safe=True)


def test_a_heartbeat_ends_the_fail_safe_after_its_minimum_time():
    keeper = Keeper()
    keeper.receive(schedule(segment(0, 60, max_w=11_000, heartbeat_s=120)), NOON)
    assert asked(keeper, 3).is_fail_safe
    keeper.hear(NOON + 4 * MINUTE, NOON + 4 * MINUTE)
    assert asked(keeper, 4.5).is_fail_safe
    assert asked(keeper, 5) == Asked(Limits(max_w=11_000))


def test_a_heartbeat_that_waited_at_the_broker_counts_from_when_it_was_sent():
    keeper = Keeper()
    keeper.receive(schedule(segment(0, 60, max_w=11_000, heartbeat_s=120)), NOON)
    keeper.hear(NOON + 1 * MINUTE, NOON + 10 * MINUTE)
    assert asked(keeper, 10).is_fail_safe


def test_a_heartbeat_is_missed_only_where_a_segment_asks_for_it():
    keeper = Keeper()
    body = schedule(segment(0, 30, max_w=9_000), segment(30, 60, max_w=5_000, heartbeat_s=120))
    keeper.receive(body, NOON)
    assert asked(keeper, 29) == Asked(Limits(max_w=9_000))
    assert asked(keeper, 31) == Asked(Limits(max_w=5_000))
    assert asked(keeper, 33).is_fail_safe


def test_a_missing_heartbeat_prolongs_no_dimming():
    keeper = Keeper()
    body = schedule(segment(0, 3, max_w=9_000, heartbeat_s=120), segment(3, 60, max_w=11_000))
    keeper.receive(body, NOON)
    assert asked(keeper, 2.9).is_fail_safe
    assert asked(keeper, 3) == Asked(Limits(max_w=11_000))
    assert asked(keeper, 20) == Asked(Limits(max_w=11_000))


def test_what_also_failed_safe_for_another_reason_does_so_for_its_minimum_time():
    keeper = Keeper()
    body = schedule(segment(0, 3, max_w=9_000, heartbeat_s=120), segment(3, 60, max_w=11_000))
    keeper.receive(body, NOON)
    assert asked(keeper, 2.9).is_fail_safe
    keeper.receive(b"garbage", NOON + 3 * MINUTE)
    assert asked(keeper, 3).is_fail_safe
    keeper.receive(schedule(segment(3, 60, max_w=11_000), revision=2), NOON + 4 * MINUTE)
    assert asked(keeper, 4).is_fail_safe
    assert asked(keeper, 4.9) == Asked(Limits(max_w=11_000))


@pytest.mark.parametrize("body", [b"", b"garbage", b'{"v":9}', b'{"v":1,"revision":2}'])
def test_while_the_newest_schedule_is_broken_the_fail_safe_holds_beside_the_last_good_one(body):
    keeper = Keeper()
    keeper.receive(schedule(segment(0, 60, set_point_w=11_000)), NOON)
    assert keeper.receive(body, NOON) is Verdict.BROKEN
    assert keeper.refusal
    assert asked(keeper, 1) == Asked(
        Limits(max_w=4_200, set_point_w=4_200, can_pause=True), is_fail_safe=True
    )
    keeper.receive(schedule(segment(0, 60, set_point_w=6_000), revision=2), NOON)
    assert asked(keeper, 2).is_fail_safe  # for its minimum time
    assert asked(keeper, 4) == Asked(Limits(set_point_w=6_000))


def test_a_broken_schedule_where_there_was_none_brings_the_fail_safe_of_the_installation():
    keeper = Keeper({"ev": SAFE})
    assert keeper.asked(NOON) == {}
    assert keeper.receive(b"garbage", NOON) is Verdict.BROKEN
    assert (keeper.asked(NOON), keeper.revision) == ({"ev": Asked(SAFE_LIMITS, True)}, 0)
    keeper.receive(schedule(segment(0, 10, max_w=11_000)), NOON)
    assert asked(keeper, 1) == Asked(Limits(max_w=11_000))
    keeper.forget()
    assert keeper.asked(NOON) == {}


def test_a_schedule_that_the_cloud_told_of_and_that_does_not_come_is_missing():
    keeper = Keeper({"ev": SAFE})
    keeper.expect(0, NOON)
    assert (keeper.asked(NOON + MINUTE), keeper.next_change_ms(NOON)) == ({}, None)
    keeper.expect(3, NOON)
    keeper.expect(3, NOON + MINUTE // 2)  # said again, it waits no longer
    assert keeper.asked(NOON + MINUTE - 1) == {}
    assert keeper.next_change_ms(NOON) == NOON + MINUTE
    restarted = Keeper({"ev": SAFE})
    restarted.restore(keeper.state)
    for one in (keeper, restarted):
        assert one.asked(NOON + MINUTE) == {"ev": Asked(SAFE_LIMITS, True)}
        assert one.next_change_ms(NOON + MINUTE) is None
    keeper.receive(schedule(segment(0, 10, max_w=11_000), revision=3), NOON + 2 * MINUTE)
    assert asked(keeper, 2) == Asked(Limits(max_w=11_000))
    keeper.expect(4, NOON + 2 * MINUTE)
    assert asked(keeper, 5) == Asked(Limits(max_w=11_000))


@given(
    ends=st.lists(st.integers(1, 240), min_size=1, max_size=5, unique=True),
    heartbeats=st.lists(st.booleans(), min_size=5, max_size=5),
    heard=st.lists(st.integers(0, 240), max_size=4),
)
def test_nothing_changes_by_itself_but_at_the_instants_that_it_names(ends, heartbeats, heard):
    begins = [0, *sorted(ends)]
    segments = [
        Segment(
            start=NOON + start * 1_000,
            end=NOON + end * 1_000,
            max_w=4_000 + start,
            heartbeat_s=30 if asks else None,
        )
        for (start, end), asks in zip(pairwise(begins), heartbeats, strict=False)
    ]
    stepping, watching = Keeper(), Keeper()
    for one in (stepping, watching):
        one.receive(schedule(*segments), NOON)
    now, next_ms = NOON, stepping.next_change_ms(NOON)
    known = stepping.asked(now)
    for second in range(400):
        now = NOON + second * 1_000
        while next_ms is not None and next_ms <= now:
            known = stepping.asked(next_ms)
            watching.asked(next_ms)
            next_ms = stepping.next_change_ms(next_ms)
        if second in heard:
            for one in (stepping, watching):
                one.hear(now, now)
            known = stepping.asked(now)
        assert watching.asked(now) == known
        next_ms = stepping.next_change_ms(now)


def test_the_state_goes_on_over_a_restart():
    keeper, copy = Keeper(), Keeper()
    keeper.receive(schedule(segment(0, 60, max_w=11_000, heartbeat_s=120)), NOON)
    keeper.hear(NOON + MINUTE, NOON + MINUTE)
    asked(keeper, 10)
    copy.restore(keeper.state)
    assert copy.state == keeper.state
    for minute in (0, 2, 3.5, 11, 70):
        assert asked(copy, minute) == asked(keeper, minute)


@pytest.mark.parametrize(
    ("scheduled", "fail_safe", "both"),
    [
        (FREE, SAFE_LIMITS, SAFE_LIMITS),
        (Limits(max_w=2_000), Limits(max_w=4_200), Limits(max_w=2_000)),
        (Limits(min_w=1_000), Limits(max_w=4_200), Limits(min_w=1_000, max_w=4_200)),
        (Limits(min_w=6_000), Limits(max_w=4_200), Limits(max_w=4_200)),
        (Limits(set_point_w=9_000), Limits(max_w=4_200), Limits(max_w=4_200, set_point_w=4_200)),
        (Limits(set_point_w=-9_000), Limits(min_w=-500), Limits(min_w=-500, set_point_w=-500)),
        (
            Limits(set_point_w=0, can_pause=True),
            Limits(min_w=4_140, max_w=4_200),
            Limits(min_w=4_140, max_w=4_200, set_point_w=0, can_pause=True),
        ),
    ],
)
def test_the_stricter_of_two_limits(scheduled, fail_safe, both):
    assert stricter(scheduled, fail_safe) == both


ranges = st.tuples(
    st.none() | st.integers(-12_000, 12_000), st.none() | st.integers(-12_000, 12_000)
).filter(lambda ends: None in ends or ends[0] <= ends[1])


@given(ranges, ranges, st.none() | st.integers(-12_000, 12_000), st.integers(-12_000, 12_000))
def test_what_the_fail_safe_forbids_is_never_done(scheduled, fail_safe, point, wanted):
    limits = stricter(
        Limits(min_w=scheduled[0], max_w=scheduled[1], set_point_w=point),
        Limits(min_w=fail_safe[0], max_w=fail_safe[1]),
    )
    power = limits.bend(wanted)
    assert fail_safe[0] is None or power >= fail_safe[0]
    assert fail_safe[1] is None or power <= fail_safe[1]
