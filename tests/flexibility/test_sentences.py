"""What constraints ask, and what holds and why, in the words that people read."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation

from flexibility.asking import (
    Side,
    asked,
    asked_briefly,
    kilowatts,
    moment,
    side_of,
    span_words,
    spans_words,
)
from flexibility.queries import Span
from flexibility.resolver import Boundary, EmitterKind
from flexibility.sentences import allowed, outlook, priority_choices, priority_words, statement

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
TAKES, STORES, GIVES = Side("use"), Side("store"), Side("give")


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def one(identity, emitter, **values):
    power = {"outcome": "binding", "conflicts_with": []}
    return {"id": identity, "emitter": emitter, "priority": 1, "power": power, **values}


DRIVER = one("d", "driver", min_w=4_140, max_w=22_000, pausable=True)


def span(begin, end, *inputs, deciders=None, **boundary):
    times = NOON + begin * HOUR, NOON + end * HOUR
    return Span(*times, Boundary(**boundary), deciders or {}, inputs)


@pytest.mark.parametrize(
    ("watts", "text"),
    [
        (11_000, "11 kW"),
        (4_140, "4.14 kW"),
        (4_200.0, "4.2 kW"),
        (0, "0 kW"),
        (-0.0, "0 kW"),
        (-2_500, "−2.5 kW"),
        (1_234.5678, "1.235 kW"),
    ],
)
def test_powers_are_written_as_they_are_set(watts, text):
    assert plain(kilowatts(watts)) == text


@pytest.mark.parametrize(
    ("values", "long", "short"),
    [
        ({"max_w": 11_000}, "at most 11 kW", "≤ 11 kW"),
        ({"min_w": 4_000}, "at least 4 kW", "≥ 4 kW"),
        ({"min_w": 0, "max_w": 7_000}, "0 kW to 7 kW", "0 … 7 kW"),
        ({"set_point_w": 7_000}, "exactly 7 kW", "= 7 kW"),
        ({"set_point_w": 7_000, "closest": True}, "7 kW, or as close as allowed", "≈ 7 kW"),
        (
            {"min_w": 4_140, "max_w": 22_000, "pausable": True},
            "4.14 kW to 22 kW, or off",
            "4.14 … 22 kW or off",
        ),
        ({"max_wh": 8_000}, "at most 8 kWh", "at most 8 kWh"),
        ({"pausable": True}, "anything, or off", "anything"),
    ],
)
def test_what_is_asked_is_said_long_and_short(values, long, short):
    assert plain(asked(values, TAKES)) == long
    assert plain(asked_briefly(values, TAKES)) == short


def test_what_produces_is_spoken_of_by_what_it_gives():
    assert side_of("pv_inverter") == GIVES
    assert plain(asked({"min_w": -7_000}, GIVES)) == "at most 7 kW"
    assert plain(allowed(Boundary(min_w=-7_000, max_w=0), GIVES)) == "0 kW to 7 kW"


def test_what_is_allowed_tells_of_energy_too():
    held = Boundary(max_w=3_000, min_wh=4_000)
    assert plain(allowed(held, TAKES)) == "at most 3 kW, holding at least 4 kWh"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON + 6 * HOUR, "18:00"),
        (NOON + 20 * HOUR, "tomorrow, 08:00"),
        (NOON - 24 * HOUR, "yesterday, 12:00"),
        (NOON + 72 * HOUR, "Thu 18 Jun, 12:00"),
        (datetime(2027, 1, 4, 11, tzinfo=UTC), "Mon 4 Jan 2027, 12:00"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Sun 25 Oct, 02:30 CET"),
    ],
)
def test_instants_are_those_of_the_systems_clock(at, text):
    assert moment(at, now=NOON, zone=BERLIN) == text


def test_a_span_within_a_minute_is_told_to_the_second():
    begin = NOON + 20 * HOUR

    def words(seconds: int) -> str:
        return span_words(begin, begin + timedelta(seconds=seconds), now=NOON, zone=BERLIN)

    assert words(60) == "tomorrow, 08:00 – tomorrow, 08:01"
    assert words(9) == "tomorrow, 08:00:00 – tomorrow, 08:00:09"


def test_rows_that_touch_tell_the_same_instant():
    at = [NOON + timedelta(seconds=seconds) for seconds in (0, 603, 616, 900)]
    assert spans_words(list(pairwise(at)), now=NOON, zone=BERLIN) == [
        "12:00 – 12:10:03",
        "12:10:03 – 12:10:16",
        "12:10:16 – 12:15",
    ]


def says(*spans, side=TAKES, own=()):
    found = statement(spans, side, now=NOON, zone=BERLIN, own=own)
    return plain(f"{found.says} {found.then}".strip())


def test_a_limit_says_until_when_and_who_set_it_and_what_comes_then():
    limit = one("f", "account_user", max_w=11_000)
    spans = (
        span(0, 6, DRIVER, limit, deciders={"max_w": "f"}, min_w=4_140, max_w=11_000),
        span(6, 48, DRIVER, deciders={"max_w": "d"}, min_w=4_140, max_w=22_000, can_pause=True),
    )
    assert says(*spans) == (
        "May use at most 11 kW until 18:00, because the fleet manager set it."
        " From 18:00: 4.14 kW to 22 kW, or off."
    )
    assert "because you set it" in says(*spans, own={"f"})


def test_a_set_point_that_bends_names_who_bends_it():
    wish = one("r", "local_user", set_point_w=11_000, closest=True)
    dimming = one("g", "grid_operator", max_w=4_200)
    deciders = {"set_point_w": "r", "max_w": "g", "min_w": "d"}
    bent = {"min_w": 4_140, "max_w": 4_200, "set_point_w": 4_200}
    found = span(0, 2, DRIVER, dimming, wish, deciders=deciders, **bent)
    assert says(found, own={"r"}) == (
        "Is to use 4.2 kW, because the grid operator asks for it; 11 kW were asked for."
    )
    kept = span(0, 2, DRIVER, wish, deciders={"set_point_w": "r"}, set_point_w=11_000)
    assert says(kept, own={"r"}) == "Is to use 11 kW, because you set it."


def test_without_anybodys_limit_it_may_do_what_it_can():
    free = span(0, 48, DRIVER, deciders={"max_w": "d", "min_w": "d"}, min_w=0, max_w=22_000)
    assert says(free) == "Nobody limits it: it may do what it can, 0 kW to 22 kW."
    assert says(span(0, 48)) == "Nobody has set a limit, and what it can do is not known."


def test_beyond_the_horizon_a_limit_holds_as_long_as_its_constraint_is_valid():
    end = (NOON + 96 * HOUR).isoformat()
    limit = one("f", "grid_operator", max_w=4_200, invalid_at=end)
    told = says(span(0, 48, limit, deciders={"max_w": "f"}, max_w=4_200))
    assert told == (
        "May use at most 4.2 kW until Fri 19 Jun, 12:00, because the grid operator asks for it."
    )


@pytest.mark.parametrize(
    ("side", "boundary", "part", "text"),
    [
        (STORES, {"min_w": -2_000, "max_w": 5_000}, "min_w", "May discharge with at most 2 kW"),
        (STORES, {"min_w": -5_000, "max_w": 0}, "max_w", "Must not charge"),
        (STORES, {"min_w": 1_000, "max_w": 5_000}, "min_w", "Must charge with at least 1 kW"),
        (GIVES, {"min_w": -7_000, "max_w": 0}, "min_w", "May produce at most 7 kW"),
        (GIVES, {"min_w": 0, "max_w": 0}, "min_w", "Is not to produce"),
        (TAKES, {"min_w": 0, "max_w": 0}, "max_w", "Is to pause"),
        (TAKES, {"min_w": 6_000, "max_w": 9_000}, "min_w", "Must use at least 6 kW"),
        (TAKES, {"set_point_w": 7_000}, "set_point_w", "Is to use 7 kW"),
        (STORES, {"set_point_w": -3_000}, "set_point_w", "Is to discharge with 3 kW"),
    ],
)
def test_each_kind_of_appliance_has_its_own_verbs(side, boundary, part, text):
    asking = one("x", "local_user")
    told = says(span(0, 48, asking, deciders={part: "x"}, **boundary), side=side)
    assert told == f"{text}, because the resident set it."


def test_an_appliance_that_only_its_own_limits_switch_off_is_said_to_be_off():
    off = span(0, 48, DRIVER, deciders={"max_w": "d"}, min_w=0, max_w=0)
    assert says(off) == "Is to pause, because it can do no other."


def test_that_a_policy_might_not_be_asked_again_is_no_news():
    sun = one("s", "charging_policy", max_w=6_000, policy="p", invalid_at=None)
    dark = one("f", "charging_policy", max_w=0, policy="p", fallback=True)
    spans = [
        span(0, 1, DRIVER, sun, deciders={"max_w": "s", "min_w": "d"}, min_w=4_140, max_w=6_000),
        span(1, 48, DRIVER, dark, deciders={"max_w": "f", "min_w": "f"}, min_w=0, max_w=0),
    ]
    said = statement(spans, TAKES, now=NOON, zone=BERLIN)
    assert plain(said.says) == "May use at most 6 kW, because of a charging policy."
    assert said.then == ""
    other = [
        spans[0],
        span(1, 48, DRIVER, dark | {"policy": "q"}, deciders={"max_w": "f"}, max_w=0),
    ]
    assert statement(other, TAKES, now=NOON, zone=BERLIN).then != ""


def test_what_a_policy_will_ask_is_not_foretold():
    wish = one("w", "local_user", set_point_w=22_000, invalid_at=NOON + 2 * HOUR)
    dark = one("f", "charging_policy", max_w=0, policy="p", fallback=True)
    spans = [
        span(0, 2, DRIVER, wish, deciders={"set_point_w": "w"}, set_point_w=22_000),
        span(2, 48, DRIVER, dark, deciders={"max_w": "f", "min_w": "f"}, min_w=0, max_w=0),
    ]
    said = statement(spans, TAKES, now=NOON, zone=BERLIN)
    assert said.then == "From 14:00: as its charging policy asks then."
    told = plain(outlook(spans, TAKES, now=NOON, zone=BERLIN))
    assert told == "Now exactly 22 kW; from 14:00: as its charging policy asks then."
    # Once it was not asked again, it is no forecast any more.
    assert says(spans[1]) == "Is to pause, because of a charging policy."


def test_the_outlook_tells_the_next_changes():
    spans = [span(hour, hour + 1, max_w=1_000 * (1 + hour)) for hour in range(6)]
    told = plain(outlook(spans, TAKES, now=NOON, zone=BERLIN))
    assert told.startswith("Now at most 1 kW; from 13:00: at most 2 kW; ")
    assert told.endswith("and 2 further changes.")
    still = plain(outlook(spans[:1], TAKES, now=NOON, zone=BERLIN))
    assert still == "As far as is known nothing changes: at most 1 kW."


def test_priorities_mean_who_gives_way_to_whom():
    choices = priority_choices(EmitterKind.ACCOUNT_USER)
    assert [value for value, _text in choices] == [3_000, 9_999, 1_999, 999]
    assert choices[0][1] == "Usual: above the resident, below staff (3,000)"
    assert choices[2][1] == "Weaker: it gives way to the resident (1,999)"
    assert [value for value, _text in priority_choices(EmitterKind.LOCAL_USER)] == [
        2_000,
        2_999,
        999,
    ]
    assert priority_words("driver", 2_147_483_647) == "physical"
    assert priority_words("account_user", 3_001) == "3,001, above the usual one"


def test_german_sentences_are_german():
    limit = one("f", "account_user", max_w=11_500)
    with translation.override("de"):
        told = says(span(0, 6, limit, deciders={"max_w": "f"}, max_w=11_500), span(6, 48))
        usual = priority_choices(EmitterKind.ACCOUNT_USER)[0][1]
    assert "11,5 kW" in told
    assert "Flotten" in told
    assert usual == "Üblich: darunter steht der Bewohner, darüber das gridx-Team (3.000)"


def test_a_second_clause_goes_on_in_the_same_sentence():
    staff = one("s", "operator", min_w=0, max_w=2_000)
    deciders = {"min_w": "s", "max_w": "s"}
    found = span(0, 48, staff, deciders=deciders, min_w=0, max_w=2_000)
    assert says(found, side=STORES) == (
        "May charge with at most 2 kW, because staff set it;"
        " must not discharge, because staff set it."
    )


def test_a_single_value_is_said_once():
    mine = one("r", "local_user", min_w=5_000, max_w=5_000)
    deciders = {"min_w": "r", "max_w": "r", "no_pause": "r"}
    found = span(0, 48, DRIVER, mine, deciders=deciders, min_w=5_000, max_w=5_000)
    assert says(found, own={"r"}) == "Is to use 5 kW, because you set it."


def test_a_set_point_below_what_it_can_do_is_bent_to_a_pause_by_its_least_power():
    mine = one("r", "local_user", set_point_w=1_000, closest=True)
    deciders = {"min_w": "d", "max_w": "d", "set_point_w": "r"}
    can = {"min_w": 4_140, "max_w": 22_000, "can_pause": True}
    found = span(0, 48, DRIVER, mine, deciders=deciders, set_point_w=0, **can)
    assert says(found, own={"r"}) == (
        "Is to pause, because it can do no other; 1 kW were asked for."
    )


def test_a_limit_of_the_energy_is_said_too():
    staff = one("s", "operator", min_wh=1_000, max_wh=5_000)
    deciders = {"min_wh": "s", "max_wh": "s"}
    found = span(0, 48, staff, deciders=deciders, min_wh=1_000, max_wh=5_000)
    assert says(found, side=STORES) == (
        "May hold at most 5 kWh, because staff set it;"
        " must hold at least 1 kWh, because staff set it."
    )
