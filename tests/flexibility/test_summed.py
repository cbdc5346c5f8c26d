"""What appliances may do together over time is, at every instant, the sum of what each may."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility.resolver import Constraint, EmitterKind, resolve, timeline
from flexibility.summed import summed

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNTIL = NOON + 48 * HOUR


def driver(min_w, max_w, *, pausable=False) -> Constraint:
    return Constraint(
        id="driver",
        emitter=EmitterKind.DRIVER,
        priority=2_147_483_647,
        created_at=NOON,
        valid_at=NOON - HOUR,
        min_w=min_w,
        max_w=max_w,
        pausable=pausable,
    )


def asked(max_w, from_h, hours, number=0) -> Constraint:
    return Constraint(
        id=f"asked {number}",
        emitter=EmitterKind.ACCOUNT_USER,
        priority=3_000,
        created_at=NOON,
        valid_at=NOON + from_h * HOUR,
        invalid_at=NOON + (from_h + hours) * HOUR,
        max_w=max_w,
    )


def lines(*appliances):
    return [timeline(each, from_at=NOON, until_at=UNTIL) for each in appliances]


def test_where_one_changes_the_sum_changes():
    station, battery = driver(4_140, 11_000, pausable=True), driver(-5_000, 5_000)
    found = summed(lines([station, asked(7_000, 2, 3)], [battery]))
    assert [(one.min_w, one.max_w) for one in found] == [
        (-5_000, 16_000),
        (-5_000, 12_000),
        (-5_000, 16_000),
    ]
    assert [one.from_at for one in found] == [NOON, NOON + 2 * HOUR, NOON + 5 * HOUR]
    assert found[-1].until_at == UNTIL


def test_what_cancels_out_is_no_change():
    one, other = driver(0, 10_000), driver(0, 10_000)
    found = summed(lines([one, asked(4_000, 0, 3)], [other, asked(4_000, 3, 45)]))
    assert [(each.from_at, each.max_w) for each in found] == [(NOON, 14_000)]


def test_what_is_not_limited_is_counted_and_adds_nothing():
    found = summed(lines([driver(0, 10_000)], []))
    assert [(one.max_w, one.unlimited) for one in found] == [(10_000, 1)]


def test_of_nothing_there_is_no_sum():
    assert summed([]) == []


constraints = st.lists(
    st.builds(
        asked,
        st.integers(0, 30_000),
        st.integers(0, 40),
        st.integers(1, 20),
        st.integers(0, 1_000_000),
    ),
    max_size=4,
    unique_by=lambda one: one.id,
)


@given(st.lists(constraints, min_size=1, max_size=5), st.integers(0, 47))
def test_at_every_instant_it_is_the_sum_of_each(fleet, hour):
    fleet = [[driver(4_140, 22_000, pausable=True), *each] for each in fleet]
    at = NOON + hour * HOUR
    found = summed(lines(*fleet))
    [span] = [one for one in found if one.from_at <= at < one.until_at]
    boundaries = [resolve(each, at=at).boundary for each in fleet]
    assert span.max_w == pytest.approx(sum(one.max_w for one in boundaries))
    assert span.min_w == 0
    assert all(one.until_at == after.from_at for one, after in pairwise(found))
