"""Numbers with units as people read them, in the active language. The one place for it."""

from datetime import datetime
from typing import NamedTuple

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from measurements.amounts import MWH_PER_KWH

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


class Quantity(NamedTuple):
    """A number and its unit, apart, so that a page can set them in different sizes."""

    value: str
    unit: str

    def __str__(self) -> str:
        return f"{self.value}{NBSP}{self.unit}"


def number(value: float, decimals: int) -> str:
    """A number with so many decimals, its thousands grouped and a true minus sign."""
    text = number_format(abs(round(value, decimals)), decimals, force_grouping=True)
    return f"{MINUS}{text}" if round(value, decimals) < 0 else text


def power(watts: float) -> Quantity:
    """A power: kW with at most three digits that matter, MW from 10 000 kW on."""
    kilowatts = watts / 1000
    if abs(kilowatts) >= 10_000:
        return Quantity(number(kilowatts / 1000, 1), "MW")
    return Quantity(number(kilowatts, _decimals(kilowatts)), "kW")


def energy(mwh: int) -> Quantity:
    """An energy given in mWh: kWh with at most three digits that matter, MWh from 10 000 kWh on."""
    kilowatt_hours = mwh / MWH_PER_KWH
    if abs(kilowatt_hours) >= 10_000:
        return Quantity(number(kilowatt_hours / 1000, 2), "MWh")
    return Quantity(number(kilowatt_hours, _decimals(kilowatt_hours)), "kWh")


def kilowatt_hours(mwh: int, decimals: int = 2) -> str:
    """An energy given in mWh as a number of kWh, for columns of a table."""
    return number(mwh / MWH_PER_KWH, decimals)


def watt_hours(mwh: int) -> str:
    """An energy given in mWh as a number of Wh, exact: for those who add up."""
    return number(mwh / 1000, 3)


def percentage(ratio: float) -> Quantity:
    """A ratio (0–1) in per cent: whole, but 0 % and 100 % only for nothing and all.

    What would be rounded to them is "< 1 %" or "> 99 %": a number would overstate it many times.
    """
    whole = round(ratio * 100)
    if whole == 0 and ratio > 0:
        return Quantity(f"<{NBSP}1", "%")
    if whole == 100 and ratio < 1:
        return Quantity(f">{NBSP}99", "%")
    return Quantity(number(whole, 0), "%")


def percent(ratio: float) -> str:
    """`percentage` as one text, for sentences."""
    return str(percentage(ratio))


def age(at: datetime, now: datetime) -> str:
    """How long ago an instant was: "5 s ago". The browser goes on counting by `age_words`."""
    seconds = max(0.0, (now - at).total_seconds())
    if seconds < 90:
        return age_words()["seconds"].replace("%s", str(round(seconds)))
    if seconds < 5400:
        return age_words()["minutes"].replace("%s", str(round(seconds / 60)))
    if seconds < 129_600:
        return age_words()["hours"].replace("%s", str(round(seconds / 3600)))
    return age_words()["days"].replace("%s", str(round(seconds / 86_400)))


def age_words() -> dict[str, str]:
    """The words of `age`, with %s for the number."""
    return {
        # Translators: an age, abbreviated; %s is a number
        "seconds": _("%s s ago"),
        "minutes": _("%s min ago"),
        "hours": _("%s h ago"),
        "days": _("%s days ago"),
    }


def _decimals(value: float) -> int:
    if abs(value) < 0.005:
        return 0
    return 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
