from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from measurements import formats, words
from measurements.ribbons import Statement


def plain(text) -> str:
    return str(text).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("watts", "english", "german"),
    [
        (0, "0 kW", "0 kW"),
        (4, "0 kW", "0 kW"),
        (620, "0.62 kW", "0,62 kW"),
        (-4_860, "−4.86 kW", "−4,86 kW"),
        (9_996, "10.0 kW", "10,0 kW"),
        (99_960, "100 kW", "100 kW"),
        (1_234_567, "1,235 kW", "1.235 kW"),
        (12_345_678, "12.3 MW", "12,3 MW"),
    ],
)
def test_powers_show_the_digits_that_matter(watts: float, english: str, german: str):
    with translation.override("en"):
        assert plain(formats.power(watts)) == english
    with translation.override("de"):
        assert plain(formats.power(watts)) == german


@pytest.mark.parametrize(
    ("mwh", "text"),
    [
        (0, "0 kWh"),
        (38_342_117, "38.3 kWh"),
        (7_516_000_000, "7,516 kWh"),
        (25_000_000_000, "25.00 MWh"),
    ],
)
def test_energies_show_the_digits_that_matter(mwh: int, text: str):
    assert plain(formats.energy(mwh)) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0 %"),
        (0.000_015, "< 1 %"),
        (0.004_9, "< 1 %"),
        (0.006, "1 %"),
        (0.864, "86 %"),
        (0.994, "99 %"),
        (0.999_985, "> 99 %"),
        (1, "100 %"),
    ],
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_only_all_is_100_per_cent_and_only_nothing_is_0(ratio: float, text: str, language: str):
    with translation.override(language):
        assert plain(formats.percent(ratio)) == text


def test_a_share_too_small_for_a_number_is_no_number_in_a_sentence():
    car = Statement("ev", 4490, "pv", 0.004)
    with translation.override("en"):
        assert plain(words.flow_sentence(car, is_home=True)).endswith("< 1 % of it from the sun.")
    with translation.override("de"):
        assert plain(words.flow_sentence(car, is_home=True)).endswith("davon < 1 % von der Sonne.")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s ago"),
        (89, "89 s ago"),
        (120, "2 min ago"),
        (7200, "2 h ago"),
        (300_000, "3 days ago"),
    ],
)
def test_ages_are_short(seconds: int, text: str):
    now = datetime(2026, 6, 15, 10, tzinfo=UTC)
    assert formats.age(now - timedelta(seconds=seconds), now) == text


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (Statement("ev", 4490, "pv", 1.0), "Your car charges at 4.49 kW, all of it from the sun."),
        (Statement("use", 800, "grid", 0.6), "Your home uses 0.80 kW, 60 % of it from the grid."),
        (Statement("ev", 3700), "Your car charges at 3.70 kW."),
        (Statement("nothing"), "Nothing flows at the moment."),
        (Statement("unknown"), "How much is used is not measured here."),
        (Statement("old"), "How much is used is not known: the meter’s values are old."),
    ],
)
def test_a_sentence_says_what_happens_and_where_it_comes_from(statement: Statement, sentence: str):
    assert plain(words.flow_sentence(statement, is_home=True)) == sentence


def test_the_sentence_about_a_silent_meter_is_german_too():
    with translation.override("de"):
        said = words.flow_sentence(Statement("old"), is_home=True)
    assert said == "Der Verbrauch ist nicht bekannt: Die Werte des Zählers sind alt."


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (Statement("ev", 44_900, "pv", 1.0), "Cars charge at 44.9 kW, all of it from the sun."),
        (Statement("use", 800, "grid", 0.6), "This system uses 0.80 kW, 60 % of it from the grid."),
        (Statement("feed_in", 3000, "pv", 1.0),
         "This system feeds 3.00 kW into the grid, all of it from the sun."),
        (Statement("charge", 3000), "The battery charges at 3.00 kW."),
    ],
)  # fmt: skip
def test_a_sentence_about_others_does_not_call_it_the_readers_home(
    statement: Statement, sentence: str
):
    assert plain(words.flow_sentence(statement, is_home=False)) == sentence
