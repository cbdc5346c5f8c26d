"""Why constraints have their outcomes, in sentences: resolved, and told."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from flexibility import words
from flexibility.asking import GIVE, USE, Side
from flexibility.models import Constraint, Share, SharedLimit
from flexibility.queries import spans_of
from flexibility.resolver import EmitterKind

NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
USUAL = {"driver": 2_147_483_647, "grid_operator": 100_000, "operator": 50_000}
USUAL |= {"account_user": 3_000, "local_user": 2_000, "charging_policy": 1_000}


def constraint(emitter, *, age=10, **values):
    values = {"priority": USUAL.get(emitter, 3_000), "invalid_at": NOON + 6 * HOUR} | values
    if emitter == EmitterKind.DRIVER:
        values["invalid_at"] = None
    return Constraint(
        emitter_kind=emitter, created_at=NOON - age * HOUR, valid_at=NOON - 24 * HOUR, **values
    )


def share(limit, **values):
    row = constraint("cluster_limit", limit=limit, **values)
    row.share = Share(why_max="strategy")
    return row


STATION = {"min_w": 4_140, "max_w": 11_000, "pausable": True}


def said(*rows, at=NOON, side=USE, dated=True):
    """By position: why each has its outcome."""
    [span, *_] = spans_of(list(rows), from_at=at, until_at=at + HOUR)
    if dated:
        created = {str(row.pk): row.created_at for row in rows}
        for one in span.inputs:
            one["created_at"] = created[one["id"]]
    return [_told(row, span, side) for row in rows]


def _told(row, span, side):
    own = next(one for one in span.inputs if one["id"] == str(row.pk))
    outcomes = {part: own[part] for part in ("power", "energy") if part in own}
    told = words.reasons(str(row.pk), outcomes, span, zone=BERLIN, side=Side(side))
    return told.replace("\N{NO-BREAK SPACE}", " ")


def test_what_weighs_less_gives_way_to_what_weighs_more():
    _driver, _staff, mine = said(
        constraint("driver", **STATION),
        constraint("operator", max_w=5_000),
        constraint("local_user", min_w=6_000),
    )
    assert mine == "It gives way to staff, which weighs more and leaves it no room."


def test_of_two_that_weigh_the_same_the_newer_one_wins_and_it_is_told_which():
    older, newer = said(
        constraint("local_user", max_w=1_000, age=10),
        constraint("local_user", set_point_w=3_000, closest=True, age=1),
    )
    assert older == (
        "It gives way to the resident (3 kW, or as close as allowed, until Mon 15 Jun, 18:00):"
        " that weighs the same, but was set later."
    )
    assert newer == "It decides the set point."


def test_an_emitter_of_the_same_kind_that_weighs_more_is_said_to():
    _strong, weak = said(
        constraint("local_user", max_w=1_000, priority=2_500),
        constraint("local_user", min_w=3_000, age=1),
    )
    assert weak == (
        "It gives way to the resident (at most 1 kW, until Mon 15 Jun, 18:00),"
        " which weighs more and leaves it no room."
    )


def test_of_two_that_were_set_at_once_neither_is_said_to_be_newer():
    told = said(constraint("operator", max_w=1_000), constraint("operator", min_w=3_000))
    assert any("which comes before it and leaves" in one for one in told)
    assert not any("newer" in one for one in told)


def test_a_share_of_a_dimming_is_the_grid_operators():
    dimming = SharedLimit(emitter_kind="grid_operator")
    *_shares, told = said(
        share(dimming, max_w=0, age=1),
        share(SharedLimit(), max_w=3_000, age=2),
        constraint("account_user", min_w=5_000, priority=10),
    )
    assert told == "It gives way to the grid operator, which weighs more and leaves it no room."


def test_the_end_of_a_share_is_not_told_as_it_is_renewed_before():
    *_shares, told = said(
        share(SharedLimit(), max_w=2_000, age=1),
        share(SharedLimit(), max_w=3_000, age=2),
        constraint("account_user", min_w=5_000, priority=10),
    )
    assert told == (
        "It gives way to a shared limit (at most 2 kW), which weighs more and leaves it no room."
    )


def test_two_that_only_together_leave_no_room_are_told_together():
    asked_for = constraint("driver", **STATION), constraint("operator", max_w=3_000)
    *_two, told = said(*asked_for, constraint("local_user", min_w=1_000))
    assert told == (
        "It gives way to the appliance itself and staff,"
        " which weigh more and together leave it no room."
    )
    *_two, told = said(*asked_for, constraint("operator", min_w=1_000, age=20))
    assert told == (
        "It gives way to the appliance itself and staff (at most 3 kW, until Mon 15 Jun, 18:00),"
        " which come before it and together leave it no room."
    )


def test_what_the_appliance_cannot_do_is_said_to_be_so():
    _driver, told = said(constraint("driver", **STATION), constraint("operator", min_w=15_000))
    assert told == "It asks for what the appliance cannot do."


def test_a_limit_below_what_a_station_needs_is_said_to_switch_it_off():
    driver, told = said(constraint("driver", **STATION), constraint("local_user", max_w=3_000))
    assert told == "It leaves the appliance less than that needs to run: it is off."
    assert driver == "It decides the least power."


def test_of_a_share_below_what_a_stronger_one_demands_it_is_said_that_it_comes_near():
    order = constraint("operator", min_w=6_000)
    _driver, _order, told = said(
        constraint("driver", **STATION), order, share(SharedLimit(), max_w=3_000)
    )
    assert told == "It decides the greatest power, as close as is allowed."


def test_a_closest_set_point_behind_another_one_is_not_said_to_be_kept_to():
    _staff, mine = said(
        constraint("operator", set_point_w=6_000),
        constraint("local_user", set_point_w=11_000, closest=True),
    )
    assert mine == "Another set point comes before it: that of staff."
    _staff, same = said(
        constraint("operator", set_point_w=6_000),
        constraint("local_user", set_point_w=6_000, closest=True),
    )
    assert same == "It is kept to, but others decide."


def test_power_and_energy_are_told_apart_where_they_differ():
    _staff, mine = said(
        constraint("operator", max_w=2_000),
        constraint("local_user", min_w=5_000, max_wh=8_000),
    )
    assert mine == (
        "Power: It gives way to staff, which weighs more and leaves it no room."
        " Energy: It decides the greatest energy."
    )


def test_of_what_produces_the_least_power_is_the_most_that_it_gives():
    [told] = said(constraint("operator", min_w=-5_000), side=GIVE)
    assert told == "It decides the greatest power."


@pytest.mark.parametrize("dated", [True, False])
def test_a_newer_one_is_newer_also_where_only_its_place_tells(dated):
    older, _newer = said(
        constraint("operator", max_w=1_000, age=5),
        constraint("operator", min_w=3_000, age=1),
        dated=dated,
    )
    assert "weighs the same, but was set later" in older


@pytest.mark.parametrize(
    ("asked_for", "others", "text"),
    [
        (9_000, [], "It decides the set point."),
        (0, [], "It decides the set point."),
        (15_000, [], "It decides the set point, as close as is allowed."),
        (1_000, [], "It decides the set point, as close as is allowed."),
        (9_000, [{"max_w": 6_000}], "It decides the set point, as close as is allowed."),
        (9_000, [{"max_w": 2_000}], "It decides the set point, as close as is allowed."),
        (0, [{"min_w": 6_000}], "It decides the set point, as close as is allowed."),
    ],
)
def test_of_a_set_point_that_bends_it_is_said_that_it_does(asked_for, others, text):
    rows = [constraint("operator", **values) for values in others]
    wish = constraint("local_user", set_point_w=asked_for, closest=True)
    assert said(constraint("driver", **STATION), *rows, wish)[-1] == text
