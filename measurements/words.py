"""Names and sentences about energy, in the active language."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from measurements.charts import Grade, Quality
from measurements.flags import Flag
from measurements.formats import percent, power
from measurements.models import Cause
from measurements.ribbons import Statement

SERIES: dict[str, str | Promise] = {
    "pv_to_load": gettext_lazy("from the sun"),
    "battery_to_load": gettext_lazy("from the battery"),
    "grid_to_load": gettext_lazy("from the grid"),
    "unmetered": gettext_lazy("of unknown origin"),
    "charge": gettext_lazy("into the battery"),
    "export": gettext_lazy("into the grid"),
    "pv": gettext_lazy("produced"),
    "consumption": gettext_lazy("used"),
}
# A context, since Django abbreviates Sunday as "Sun"; these labels need to be short, too.
PARTS: dict[str, str | Promise] = {
    "pv": pgettext_lazy("energy flow", "Sun"),
    "battery": pgettext_lazy("energy flow", "Battery"),
    "grid": pgettext_lazy("energy flow", "Grid"),
    "household": pgettext_lazy("energy flow", "House"),
    "heat_pump": pgettext_lazy("energy flow", "Heat pump"),
    "heater": pgettext_lazy("energy flow", "Heater"),
    "ev": pgettext_lazy("energy flow", "Car"),
    "unknown": pgettext_lazy("energy flow", "Not measured"),
}
# For who does not live there; it may be an office or a depot as well.
SITE_PARTS = PARTS | {
    "household": pgettext_lazy("energy flow", "Building"),
    "ev": pgettext_lazy("energy flow", "Cars"),
}
QUALITY: dict[str, str | Promise] = {
    "seen": gettext_lazy("measured"),
    "recovered": gettext_lazy("arrived late"),
    "estimated": gettext_lazy("estimated"),
    "missing": gettext_lazy("missing"),
}
_FLAGS = {
    Flag.ESTIMATED: QUALITY["estimated"],
    Flag.RECOVERED: QUALITY["recovered"],
    Flag.RESET: gettext_lazy("counter reset"),
    Flag.IMPLAUSIBLE: gettext_lazy("implausible reading"),
}
# What the figures of a system are called where each stands for itself.
FIGURES: dict[str, str | Promise] = {
    "pv": gettext_lazy("Solar production"),
    "consumption": gettext_lazy("Total consumption"),
    "import": gettext_lazy("From the grid"),
    "export": gettext_lazy("Into the grid"),
    "charge": gettext_lazy("Into the battery"),
    "discharge": gettext_lazy("From the battery"),
    "household": gettext_lazy("Household"),
    "ev": gettext_lazy("Car charging"),
    "heat_pump": gettext_lazy("Heat pump"),
    "heater": gettext_lazy("Heater"),
    "pv_to_load": gettext_lazy("Sun used at once"),
    "battery_to_load": gettext_lazy("Battery used"),
    "grid_to_load": gettext_lazy("Grid used at once"),
    "unmetered": gettext_lazy("Used, of unknown origin"),
    "pv_to_battery": gettext_lazy("Sun into the battery"),
    "pv_to_grid": gettext_lazy("Sun into the grid"),
    "grid_to_battery": gettext_lazy("Grid into the battery"),
    "battery_to_grid": gettext_lazy("Battery into the grid"),
    "residual": gettext_lazy("Residual"),
    "house": gettext_lazy("Household meter"),
}


def flags_in_words(flags: int) -> str:
    """What there is to know about a figure: "estimated, arrived late"; empty where nothing is."""
    return ", ".join(str(word) for flag, word in _FLAGS.items() if flags & flag)


def grade_in_words(grade: Grade) -> str:
    """How well a span was seen: "measured", "4 % estimated, counter reset"."""
    word = str(QUALITY[grade.state])
    is_part = grade.state != "seen" and grade.share < 0.995
    told = f"{percent(grade.share)} {word}" if is_part else word
    return ", ".join(filter(None, (told, flags_in_words(grade.flags))))


def causes_in_words(causes: int) -> str:
    """Why a figure changed: "readings arrived late or were corrected"."""
    return ", ".join(str(cause.label) for cause in Cause if causes & cause)


def flow_sentence(statement: Statement, *, is_home: bool) -> str:
    """The sentence above the flow: "Your car charges at 4.5 kW, all of it from the sun."

    `is_home`: it is told to somebody who lives there.
    """
    what = _flow_subject(statement, is_home)
    origin = _origin(statement)
    return f"{what}, {origin}." if origin else f"{what}."


def _flow_subject(statement: Statement, is_home: bool) -> str:
    amount = {"power": power(statement.power_w)}
    match statement.subject:
        case "ev" if is_home:
            return _("Your car charges at %(power)s") % amount
        case "ev":
            return _("Cars charge at %(power)s") % amount
        case "feed_in" if is_home:
            return _("You feed %(power)s into the grid") % amount
        case "feed_in":
            return _("This system feeds %(power)s into the grid") % amount
        case "charge":
            return _("The battery charges at %(power)s") % amount
        case "use" if is_home:
            return _("Your home uses %(power)s") % amount
        case "use":
            return _("This system uses %(power)s") % amount
        case "nothing":
            return _("Nothing flows at the moment")
        case "unknown":
            return _("How much is used is not measured here")
        case "old":
            return _("How much is used is not known: the meter’s values are old")
    raise ValueError(f"No words for {statement.subject}")


def _origin(statement: Statement) -> str:
    if statement.source is None or statement.share is None:
        return ""
    if statement.is_all:
        return {
            "pv": _("all of it from the sun"),
            "battery": _("all of it from the battery"),
            "grid": _("all of it from the grid"),
        }[statement.source]
    share = {"share": percent(statement.share)}
    return {
        "pv": _("%(share)s of it from the sun") % share,
        "battery": _("%(share)s of it from the battery") % share,
        "grid": _("%(share)s of it from the grid") % share,
    }[statement.source]


def quality_sentence(quality: Quality) -> str:
    """What the ribbon shows: "96 % measured, 4 % estimated"."""
    if not quality.shares:
        return _("Nothing measured yet")
    return ", ".join(
        f"{percent(share)} {QUALITY[state]}" for state, share in quality.shares.items()
    )
