"""What appliances may do together over time is, at every instant, the sum of what each may."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexibility.resolver import Constraint, EmitterKind, resolve, timeline
from flexibility.summed import least_w, summed

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


def asked(max_w, from_h, hours, number=0, set_point_w=None) -> Constraint:
    return Constraint(
        id=f"asked {number}",
        set_point_w=set_point_w,
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


def test_where_nobody_has_a_limit_there_is_none_and_not_one_of_nothing():
    [found] = summed(lines([], []))
    assert (found.min_w, found.max_w, found.set_point_w) == (None, None, None)
    assert (found.unlimited, found.held) == (2, 0)


def test_set_points_are_summed_of_those_that_have_one():
    station, battery = driver(4_140, 11_000, pausable=True), driver(-5_000, 5_000)
    held = asked(None, 2, 3, set_point_w=6_000)
    found = summed(lines([station, held], [battery]))
    assert [(one.set_point_w, one.held) for one in found] == [(None, 0), (6_000, 1), (None, 0)]
    # Who has a set point does not pause of itself.
    assert [one.min_w for one in found] == [-5_000, -860, -5_000]


def test_of_nothing_there_is_no_sum():
    assert summed([]) == []


@st.composite
def fleets(draw):
    """Appliances with and without a driver, each with some that were asked."""
    fleet = []
    for _each in range(draw(st.integers(1, 5))):
        known = draw(st.sampled_from([[], [driver(4_140, 22_000, pausable=True)], [_BATTERY]]))
        more = []
        for number in range(draw(st.integers(0, 4))):
            is_held = draw(st.booleans())
            watts = draw(st.integers(-6_000, 30_000))
            begin, hours = draw(st.integers(0, 40)), draw(st.integers(1, 20))
            values = (
                (None, begin, hours, number, watts) if is_held else (watts, begin, hours, number)
            )
            more.append(asked(*values))
        fleet.append([*known, *more])
    return fleet


_BATTERY = driver(-5_000, 5_000)


def known(values) -> float | None:
    """Their sum; None of none."""
    found = [one for one in values if one is not None]
    return pytest.approx(sum(found)) if found else None


@given(fleets(), st.integers(0, 47 * 60))
def test_at_every_instant_it_is_the_sum_of_each(fleet, minute):
    at = NOON + minute * HOUR / 60
    found = summed(lines(*fleet))
    [span] = [one for one in found if one.from_at <= at < one.until_at]
    boundaries = [resolve(each, at=at).boundary for each in fleet]
    assert span.min_w == known(map(least_w, boundaries))
    assert span.max_w == known(one.max_w for one in boundaries)
    assert span.set_point_w == known(one.set_point_w for one in boundaries)
    assert span.held == sum(one.set_point_w is not None for one in boundaries)
    assert span.unlimited == sum(one.min_w is None or one.max_w is None for one in boundaries)
    assert (found[0].from_at, found[-1].until_at) == (NOON, UNTIL)
    assert all(one.until_at == after.from_at for one, after in pairwise(found))
    assert all(
        replace(one, from_at=NOON, until_at=UNTIL) != replace(after, from_at=NOON, until_at=UNTIL)
        for one, after in pairwise(found)
    )
