from datetime import timedelta
from itertools import pairwise

import pytest

from flexibility.resolver import Constraint, EmitterKind, timeline
from flexibility.schedules import HEARTBEAT_S, appliance_timeline, fail_safe_at

MINUTE = timedelta(minutes=1)
FAIL_SAFE = {"max_w": 4200.0, "can_pause": True, "minimum_s": 7200.0}


@pytest.fixture
def part(now):
    """Nothing asked for an hour, then half an hour dimmed, then nothing until tomorrow."""
    borders = [now, now + 60 * MINUTE, now + 90 * MINUTE, now + timedelta(days=1)]
    first, dimmed, last = (
        {"start": at.timestamp() * 1000, "end": until.timestamp() * 1000}
        for at, until in pairwise(borders)
    )
    dimmed["heartbeat_s"] = HEARTBEAT_S
    return {"segments": [first, dimmed, last], "fail_safe": FAIL_SAFE}


@pytest.mark.parametrize(
    ("heard", "asked", "falls_back"),
    [
        pytest.param(0, 1, 62, id="cut off before the dimming: two minutes after it begins"),
        pytest.param(61, 62, 63, id="cut off within the dimming: two minutes after"),
        pytest.param(61, 80, 63, id="asked later: since then"),
        pytest.param(89, 90, 24 * 60, id="the dimming ends before: at the schedule's end"),
        pytest.param(89, 89, 24 * 60, id="not two minutes left of it: at the schedule's end"),
        pytest.param(0, 24 * 60 + 5, 24 * 60, id="the schedule is over: since its end"),
    ],
)
def test_a_gateway_that_is_cut_off_falls_back(part, now, heard, asked, falls_back):
    found = fail_safe_at(part, heard_at=now + heard * MINUTE, now=now + asked * MINUTE)
    assert found == now + falls_back * MINUTE


def test_what_has_no_fail_safe_never_falls_back(part, now):
    assert fail_safe_at(part | {"fail_safe": None}, heard_at=now, now=now) is None


def test_what_is_shorter_than_a_gateway_is_told_is_left_out(now):
    ends = [now + timedelta(seconds=11, microseconds=us) for us in (100_100, 100_400, 200_000)]
    stood = [
        Constraint(
            id=str(number),
            created_at=now,
            valid_at=now,
            invalid_at=end,
            emitter=EmitterKind.LOCAL_USER,
            priority=2_000,
            max_w=7_000 + number,
        )
        for number, end in enumerate(ends)
    ]
    segments = timeline(stood, from_at=now, until_at=now + timedelta(hours=1))
    assert len(segments) == 4
    told = appliance_timeline(
        local_id="ev", appliance="ev", segments=segments, dimmed_by=(), fail_safe=None
    )["segments"]
    assert [one.get("max_w") for one in told] == [7_000, 7_002, None]
    assert all(one["start"] < one["end"] for one in told)
    assert all(one["end"] == other["start"] for one, other in pairwise(told))
