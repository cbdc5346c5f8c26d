"""What constraints ask for, and amounts and instants, in words for people.

Powers are said as they are shown: of what produces, by what it gives (`Side.sign`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import get_language, pgettext
from django.utils.translation import gettext as _

from flexibility.bars import sides
from flexibility.models import Constraint
from flexibility.resolver import Boundary, EmitterKind
from inventory.kinds import ApplianceKind
from measurements.formats import NBSP, number

USE, STORE, GIVE, ANY = "use", "store", "give", "any"
_FAMILIES = {
    ApplianceKind.PV_INVERTER: GIVE,
    ApplianceKind.BATTERY: STORE,
    ApplianceKind.HYBRID_INVERTER: STORE,
}
# They are renewed before they end.
RENEWED = {EmitterKind.FUSE, EmitterKind.CLUSTER_LIMIT, EmitterKind.CHARGING_POLICY}


@dataclass(frozen=True, slots=True)
class Side:
    """From which side an appliance is looked at: what it takes, or (`sign` −1) what it gives."""

    family: str

    @property
    def sign(self) -> int:
        return -1 if self.family == GIVE else 1

    def part(self, name: str) -> str:
        """Which part of a boundary (`min_w`, `max_w`) is meant by the least or the greatest."""
        if self.sign > 0:
            return name
        return {"min_w": "max_w", "max_w": "min_w"}.get(name, name)


def side_of(kind: str) -> Side:
    """The side from which this kind of appliance is looked at."""
    return Side(_FAMILIES.get(ApplianceKind(kind), USE))


# Amounts and instants ----------------------------------------------------------------------------


def kilowatts(watts: float) -> str:
    """A power as it is set: "11 kW", "4.14 kW"."""
    return f"{digits(watts)}{NBSP}kW"


def kilowatt_hours(watt_hours: float) -> str:
    """An energy as it is set: "8 kWh"."""
    return f"{digits(watt_hours)}{NBSP}kWh"


def digits(watts: float) -> str:
    """The same without its unit."""
    return _digits(round(watts / 1000, 3) + 0, get_language())


@lru_cache(maxsize=4096)
def _digits(value: float, language: str | None) -> str:
    """A page says the same few amounts again and again; how is the language's affair."""
    decimals = next(one for one in range(4) if round(value, one) == value)
    return number(value, decimals)


def span_words(start: datetime, end: datetime, *, now: datetime, zone: ZoneInfo) -> str:
    """ "18:00 – tomorrow, 06:00"; within a minute "18:00:05 – 18:00:09"."""
    [words] = spans_words([(start, end)], now=now, zone=zone)
    return words


def spans_words(
    spans: Sequence[tuple[datetime, datetime]], *, now: datetime, zone: ZoneInfo
) -> list[str]:
    """The same of many: an instant that one of them tells to the second, all of them tell so."""
    minutes = {at: moment(at, now=now, zone=zone) for span in spans for at in span}
    exact = {at for span in spans if len({minutes[at] for at in span}) == 1 for at in span}
    words = minutes | {at: moment(at, now=now, zone=zone, to_s=True) for at in exact}
    return [f"{words[start]} – {words[end]}" for start, end in spans]


def lasts(start: datetime, end: datetime) -> bool:
    """Whether the words of a span tell its ends apart, which they do to the second."""
    return start.replace(microsecond=0) != end.replace(microsecond=0)


def moments(instants: Sequence[tuple[datetime, ZoneInfo]], *, now: datetime) -> list[str]:
    """Instants, each by the clock of its zone; which one that is is said where they differ."""
    is_said = len({zone.key for _at, zone in instants}) > 1
    return [
        moment(at, now=now, zone=zone) + (f" ({zone.key})" if is_said else "")
        for at, zone in instants
    ]


def moment(at: datetime, *, now: datetime, zone: ZoneInfo, to_s: bool = False) -> str:
    """An instant in the zone: "18:00", "tomorrow, 06:00", "Thu 26 Nov, 18:00"."""
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    clock = _clock(local, to_s)
    if local.date() == today:
        return clock
    if local.date() == today + timedelta(days=1):
        return _("tomorrow, %(clock)s") % {"clock": clock}
    if local.date() == today - timedelta(days=1):
        return _("yesterday, %(clock)s") % {"clock": clock}
    day = _day(local)
    if local.year != now.astimezone(zone).year:
        day = f"{day} {local.year}"
    return f"{day}, {clock}"


def instant(at: datetime, *, zone: ZoneInfo) -> str:
    """The same for who reads it at any time: "Thu 26 Nov, 18:00"."""
    local = at.astimezone(zone)
    return f"{_day(local)}, {_clock(local)}"


def _day(local: datetime) -> str:
    # Translators: as in "Thu 26 Nov"; Django's date format characters
    return date_format(local.date(), pgettext("date format", "D j M"))


def _clock(local: datetime, to_s: bool = False) -> str:
    """The time of day; where the clock shows it twice that day, with the zone's abbreviation."""
    clock = f"{local:%H:%M:%S}" if to_s else f"{local:%H:%M}"
    is_twice = local.replace(fold=1 - local.fold).utcoffset() != local.utcoffset()
    return f"{clock} {local.tzname()}" if is_twice else clock


# What a constraint asks for ----------------------------------------------------------------------


def asked(one: Mapping[str, Any] | Constraint, side: Side) -> str:
    """ "at most 11 kW", "4.14 kW to 22 kW, or off", "7 kW, or as close as allowed"."""
    low, high, point, closest, pausable = _values(one, side)
    said = []
    if low is not None and high is not None:
        span = {"low": kilowatts(low), "high": kilowatts(high)}
        said.append(kilowatts(low) if low == high else _("%(low)s to %(high)s") % span)
    elif high is not None:
        said.append(_("at most %(power)s") % {"power": kilowatts(high)})
    elif low is not None:
        said.append(_("at least %(power)s") % {"power": kilowatts(low)})
    if pausable:
        said += [_("or off")] if said else [_("anything"), _("or off")]
    if point is not None:
        exact = _("%(power)s, or as close as allowed") if closest else _("exactly %(power)s")
        said.append(exact % {"power": kilowatts(point)})
    if energy := energy_held(_get(one, "min_wh"), _get(one, "max_wh")):
        said.append(energy)
    return ", ".join(said) or _("anything")


def asked_briefly(one: Mapping[str, Any] | Constraint, side: Side) -> str:
    """The same for a bar: "≤ 11 kW"."""
    low, high, point, closest, pausable = _values(one, side)
    if point is not None:
        return f"{'≈' if closest else '='} {kilowatts(point)}"
    if low is None and high is None:
        return energy_held(_get(one, "min_wh"), _get(one, "max_wh")) or _("anything")
    if low is None:
        return f"≤ {kilowatts(high)}"
    if high is None:
        return f"≥ {kilowatts(low)}"
    found = f"{digits(low)} … {kilowatts(high)}"
    return f"{found} {_('or off')}" if pausable else found


def _values(one: Mapping[str, Any] | Constraint, side: Side) -> tuple:
    boundary = Boundary(_get(one, "min_w"), _get(one, "max_w"), _get(one, "set_point_w"))
    return *sides(boundary, side.sign), _get(one, "closest"), _get(one, "pausable")


def _get(one: Mapping[str, Any] | Constraint, name: str) -> Any:
    return one.get(name) if isinstance(one, Mapping) else getattr(one, name)


def energy_held(low: float | None, high: float | None) -> str:
    """What is asked of the energy that is held, in Wh: "4 kWh to 9 kWh"; empty if nothing is."""
    if low is not None and high is not None:
        span = {"low": kilowatt_hours(low), "high": kilowatt_hours(high)}
        return _("%(low)s to %(high)s") % span
    if high is not None:
        return _("at most %(power)s") % {"power": kilowatt_hours(high)}
    return "" if low is None else _("at least %(power)s") % {"power": kilowatt_hours(low)}
