"""Filters for powers, energies and their names; `measurements.formats` does the work."""

from datetime import datetime
from math import ceil

from django import template
from django.utils.functional import Promise

from measurements import formats, words
from measurements.charts import Grade
from measurements.formats import Quantity

register = template.Library()


@register.filter
def power(watts: float | None) -> Quantity | str:
    """W as a quantity (`.value`, `.unit`); a dash where there is no statement."""
    return "–" if watts is None else formats.power(watts)


@register.filter
def energy(mwh: int | None) -> Quantity | str:
    """mWh as a quantity (`.value`, `.unit`); a dash where there is no statement."""
    return "–" if mwh is None else formats.energy(mwh)


@register.filter
def kwh(mwh: int | None) -> str:
    """mWh as a number of kWh; a dash where there is no statement."""
    return "–" if mwh is None else formats.kilowatt_hours(mwh)


@register.filter
def wh(mwh: int | None) -> str:
    """mWh as an exact number of Wh; a dash where there is no statement."""
    return "–" if mwh is None else formats.watt_hours(mwh)


@register.filter
def figure_name(name: str) -> str | Promise:
    """What a figure of a system is called."""
    return words.FIGURES[name]


@register.filter
def percent(ratio: float | None) -> str:
    """A ratio of 0–1 in per cent; a dash where there is no statement."""
    return "–" if ratio is None else formats.percent(ratio)


@register.filter
def age(at: datetime, now: datetime) -> str:
    """How long before `now` an instant was."""
    return formats.age(at, now)


@register.filter
def left(at: datetime, now: datetime) -> str:
    """How long it is from `now` until an instant, in minutes and seconds: "1:40"."""
    minutes, seconds = divmod(max(0, ceil((at - now).total_seconds())), 60)
    return f"{minutes}:{seconds:02}"


@register.filter
def series_name(key: str) -> str | Promise:
    """The name of a colour of the charts."""
    return words.SERIES[key]


@register.filter
def part_name(key: str, is_home: bool) -> str | Promise:
    """The name of a source or sink of the flow, for who lives there or for others."""
    return (words.PARTS if is_home else words.SITE_PARTS)[key]


@register.filter
def grade(grade: Grade) -> str:
    """How well a span was seen, and what else there is to know of it."""
    return words.grade_in_words(grade)


@register.filter
def quality_name(state: str) -> str | Promise:
    """The name of a state of the data-quality ribbon."""
    return words.QUALITY[state]
