from types import SimpleNamespace

from django.utils import translation

from gridx.pages.summary import origin_parts, summary

NAMES = (
    "pv_mwh",
    "consumption_mwh",
    "export_mwh",
    "pv_to_load_mwh",
    "battery_to_load_mwh",
    "grid_to_load_mwh",
    "unmetered_mwh",
)
KWH = 1_000_000


def figures(**kwh: float) -> SimpleNamespace:
    given = {f"{name}_mwh": round(value * KWH) for name, value in kwh.items()}
    return SimpleNamespace(**(dict.fromkeys(NAMES) | given))


def said(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_home_with_everything_in_two_sentences():
    day = figures(
        pv=38.3,
        consumption=34.6,
        export=12,
        pv_to_load=24.9,
        battery_to_load=4.85,
        grid_to_load=4.85,
    )
    assert said(summary(day)) == (
        "38.3 kWh produced, 34.6 kWh used: 72 % from the sun, 14 % from the battery,"
        " 14 % from the grid. 12.0 kWh went into the grid."
    )
    assert said(" · ".join(origin_parts(day))) == "72 % sun · 14 % battery · 14 % grid"


def test_an_origin_of_next_to_nothing_is_not_told_as_a_per_cent():
    day = figures(consumption=100, pv_to_load=0.0015, grid_to_load=99.9985)
    assert said(" · ".join(origin_parts(day))) == "< 1 % sun · > 99 % grid"


def test_a_single_origin_is_all_of_it():
    assert said(summary(figures(consumption=3, grid_to_load=3, export=0))) == (
        "3.00 kWh used: all of it from the grid."
    )


def test_what_was_used_while_the_meter_was_silent_is_of_unknown_origin():
    day = figures(consumption=4, pv_to_load=1, grid_to_load=2, unmetered=1)
    assert said(summary(day)) == (
        "4.00 kWh used: 25 % from the sun, 50 % from the grid, 25 % of unknown origin."
    )
    assert said(" · ".join(origin_parts(day))) == "25 % sun · 50 % grid · 25 % of unknown origin"
    assert origin_parts(figures(consumption=4, unmetered=4)) == ()


def test_what_is_not_measured_is_not_said():
    assert said(summary(figures(pv=2))) == "2.00 kWh produced."
    assert said(summary(figures(consumption=2))) == "2.00 kWh used."
    assert summary(figures()) == "Too little is measured here for a summary."
    assert summary(None) == "Nothing was measured."
    assert origin_parts(figures(consumption=0, grid_to_load=0)) == ()


def test_numbers_are_in_the_readers_language():
    with translation.override("de"):
        assert "1,50" in summary(figures(pv=1.5, consumption=1))
