"""The form of a constraint: powers as people write them, times of the target's zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from django.utils import translation

from flexibility.emitters import Emitter, UnableToConstrain
from flexibility.forms import ConstraintForm
from flexibility.resolver import EmitterKind
from flexibility.sentences import Side

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def form(side="use", kinds=(), ticked=(), **sent) -> ConstraintForm:
    data = QueryDict(mutable=True)
    data.update({"priority": "3000", **sent})
    data.setlist("kinds", ticked)
    return ConstraintForm(
        data,
        emitter=Emitter(EmitterKind.ACCOUNT_USER),
        zone=BERLIN,
        now=NOON,
        side=Side(side),
        kinds=kinds,
    )


def draft(**sent):
    found = form(**sent)
    assert found.is_valid(), found.errors
    return found.draft


@pytest.mark.parametrize(
    ("written", "watts"),
    [("4.2", 4_200), ("11 kW", 11_000), ("4200 W", 4_200), ("-3", -3_000), ("−3", -3_000)],
)
def test_powers_are_kilowatts_unless_watts_are_written(written, watts):
    assert draft(greatest=written).max_w == watts


@pytest.mark.parametrize("written", ["abc", "4,2", "4.2.1", "1e3", "NaN", "99999999"])
def test_what_is_no_power_is_told_at_its_field(written):
    assert list(form(greatest=written).errors) == ["greatest"]


def test_decimals_are_those_of_the_language():
    with translation.override("de"):
        assert draft(greatest="4,2").max_w == 4_200
        assert draft(greatest="4.2").max_w == 4_200


def test_nothing_said_is_no_statement():
    found = draft(least="0")
    assert (found.min_w, found.max_w, found.set_point_w, found.closest) == (0, None, None, False)


def test_a_set_point_bends_where_that_is_ticked():
    assert draft(point="7", bends="on").closest
    assert not draft(point="7").closest


def test_of_what_produces_the_most_is_the_least_in_our_sign():
    found = draft(side="give", greatest="7", point="5")
    assert (found.min_w, found.max_w, found.set_point_w) == (-7_000, None, -5_000)


@pytest.mark.parametrize(
    ("chosen", "until"),
    [
        ("1h", NOON + HOUR),
        ("4h", NOON + 4 * HOUR),
        ("midnight", datetime(2026, 6, 15, 22, tzinfo=UTC)),
        ("morning", datetime(2026, 6, 16, 4, tzinfo=UTC)),
    ],
)
def test_quick_choices_end_at_the_targets_own_clock(chosen, until):
    found = draft(greatest="7", end=chosen)
    assert (found.valid_at, found.invalid_at) == (None, until)


def test_what_begins_later_lasts_from_then_on():
    found = draft(greatest="7", begin="later", begin_at="2026-06-16T08:00", end="1h")
    assert found.valid_at == datetime(2026, 6, 16, 6, tzinfo=UTC)
    assert found.invalid_at == datetime(2026, 6, 16, 7, tzinfo=UTC)


def test_a_time_that_the_clock_skips_is_refused_and_one_that_it_shows_twice_is_the_first():
    skipped = form(greatest="7", end="until", end_at="2027-03-28T02:30")
    assert "clocks go forward" in str(skipped.errors["end_at"])
    twice = draft(greatest="7", end="until", end_at="2026-10-25T02:30")
    assert twice.invalid_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("written", ["", "tomorrow"])
def test_a_time_of_ones_own_has_to_be_given(written):
    assert list(form(greatest="7", end="until", end_at=written).errors) == ["end_at"]


def test_priorities_go_no_further_than_the_words_offered():
    assert draft(greatest="7", priority="1999").priority == 1_999
    assert list(form(greatest="7", priority="50000").errors) == ["priority"]


def test_any_number_up_to_the_ceiling_may_be_given_for_how_strong_it_is():
    assert draft(greatest="7", priority="number", priority_number="2750").priority == 2_750
    assert draft(greatest="7", priority="number", priority_number="9999").priority == 9_999
    # What stands in the field that is not asked for counts for nothing.
    assert draft(greatest="7", priority="3000", priority_number="many").priority == 3_000


@pytest.mark.parametrize("given", ["10000", "-1", ""])
def test_a_priority_beyond_the_ceiling_is_refused_with_the_ceiling_named(given):
    asked = form(greatest="7", priority="number", priority_number=given)
    assert asked.errors == {
        "priority_number": ["Give a number from 0 to 9,999, which is your ceiling."]
    }


KINDS = [("battery", "Battery (1)"), ("ev_charging_station", "Charging station (2)")]


@pytest.mark.parametrize(
    ("ticked", "meant"),
    [(["battery", "ev_charging_station"], ()), (["battery"], ("battery",))],
)
def test_all_kinds_of_a_group_are_those_that_come_later_too(ticked, meant):
    assert draft(kinds=KINDS, greatest="7", ticked=ticked).kinds == meant


def test_at_least_one_kind_is_meant():
    assert list(form(kinds=KINDS, greatest="7").errors) == ["kinds"]


def test_a_refusal_stands_at_the_field_that_shows_it():
    for side, fault, field in (
        ("use", "min_w", "least"),
        ("give", "min_w", "greatest"),
        ("use", "invalid_at", "end_at"),
        ("use", "constraints", "__all__"),
    ):
        found = form(side=side, greatest="7")
        assert found.is_valid()
        found.refuse(UnableToConstrain(fault, "No."))
        assert list(found.errors) == [field]
