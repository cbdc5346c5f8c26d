"""What each appliance does now: the context of the appliances' fragment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _

from gridx.gateways.messages import PlugState
from gridx.gateways.readings import PLUG_STATES
from inventory.kinds import ROLES, ApplianceKind, Role
from measurements.formats import Quantity, number, percent
from measurements.models import LatestReading
from measurements.queries import ApplianceNow, Live
from measurements.ribbons import REST_W

KIND = ApplianceKind
# In the order of the page: what gives, what stores, what takes, what only measures.
LOOKS: dict[ApplianceKind, tuple[str, str]] = {
    KIND.PV_INVERTER: ("solar-panel-2", "sun"),
    KIND.HYBRID_INVERTER: ("solar-panel", "sun"),
    KIND.BATTERY: ("battery-3", "battery"),
    KIND.EV_CHARGING_STATION: ("charging-pile", "car"),
    KIND.HEAT_PUMP: ("air-conditioning", "heat"),
    KIND.HEATER: ("flame", "heater"),
    KIND.HOUSEHOLD_METER: ("home", "house"),
    KIND.METER: ("gauge", "house"),
    KIND.GRID_METER: ("circuit-ammeter", "grid"),
}


@dataclass(frozen=True, slots=True)
class Band:
    """What an appliance can do: its least and greatest power, and where it stands between them.

    Positions are per cent of the band's width; `now` is None without a fresh reading. Producers
    are shown by what they give, as positive powers.
    """

    least: str
    greatest: str
    zero: float
    now: float | None

    @property
    def fill_from(self) -> float:
        return min(self.zero, self.zero if self.now is None else self.now)

    @property
    def fill_width(self) -> float:
        return 0.0 if self.now is None else round(abs(self.now - self.zero), 2)


@dataclass(frozen=True, slots=True)
class Card:
    """An appliance as the page shows it; `power_w` without sign, its direction is in `state`."""

    id: UUID
    name: str
    icon: str
    tone: str
    state: str
    is_busy: bool
    details: tuple[str, ...]
    power_w: float | None
    seen_at: datetime | None
    is_stale: bool
    band: Band | None


def cards_of(live: Live) -> list[Card]:
    """The appliances of a system, in the order of `LOOKS`."""
    order = {kind: at for at, kind in enumerate(LOOKS)}
    return [
        _card(each)
        for each in sorted(live.appliances, key=lambda one: order[KIND(one.appliance.kind)])
    ]


def _card(each: ApplianceNow) -> Card:
    kind = KIND(each.appliance.kind)
    icon, tone = LOOKS[kind]
    return Card(
        id=each.appliance.pk,
        name=each.appliance.name,
        icon=icon,
        tone=tone,
        state=_state(each, kind),
        is_busy=each.power_w is not None and abs(each.power_w) >= REST_W,
        details=tuple(_details(each, kind)),
        power_w=None if each.power_w is None else abs(each.power_w),
        seen_at=None if each.reading is None else each.reading.at,
        is_stale=each.is_stale,
        band=_band(each, kind),
    )


def _state(each: ApplianceNow, kind: ApplianceKind) -> str:
    """One or two words for what it does."""
    if each.reading is None:
        return _("no reading yet")
    if each.power_w is None:
        return _("no fresh reading")
    if kind is KIND.EV_CHARGING_STATION:
        return _charging_state(each.power_w, each.reading)
    into, out = each.power_w >= REST_W, each.power_w <= -REST_W
    match ROLES[kind]:
        case Role.PV:
            return _("producing") if out else _("resting")
        case Role.BATTERY:
            return _("charging") if into else _("discharging") if out else _("resting")
        case Role.GRID:
            return _("from the grid") if into else _("into the grid") if out else _("balanced")
        case Role.HEAT_PUMP | Role.HEATER:
            return _("on") if into else _("off")
    return _("feeding in") if out else _("in use") if into else _("resting")


def _charging_state(power_w: float, reading: LatestReading) -> str:
    number_ = reading.plug_state
    plug = PLUG_STATES[number_] if number_ is not None and number_ < len(PLUG_STATES) else None
    if plug is PlugState.FAULT:
        return _("fault")
    if power_w >= REST_W:
        return _("charging")
    if power_w <= -REST_W:
        return _("discharging")
    return {
        None: _("resting"),
        PlugState.UNPLUGGED: _("no car plugged in"),
        PlugState.PLUGGED: _("car plugged in"),
        PlugState.CHARGING: _("car plugged in"),
        PlugState.PAUSED: _("paused"),
    }[plug]


def _details(each: ApplianceNow, kind: ApplianceKind) -> Sequence[str]:
    """What else is known: how full, how warm."""
    found = []
    reading = each.reading
    if reading is None or each.is_stale:
        return found
    if reading.soc is not None:
        found.append(_full(reading.soc, each.appliance.capacity_wh))
    if reading.temperature_c is not None and kind in (KIND.HEAT_PUMP, KIND.HEATER):
        found.append(f"{number(reading.temperature_c, 0)}\N{NO-BREAK SPACE}°C")
    return found


def _full(soc: float, capacity_wh: float | None) -> str:
    if capacity_wh is None:
        return _("%(share)s full") % {"share": percent(soc)}
    return _("%(share)s of %(capacity)s kWh") % {
        "share": percent(soc),
        "capacity": number(capacity_wh / 1000, 1 if capacity_wh % 1000 else 0),
    }


def _band(each: ApplianceNow, kind: ApplianceKind) -> Band | None:
    """The nominal limits around the power of now; None where nobody stated them."""
    least, greatest = each.appliance.min_power_w, each.appliance.max_power_w
    if ROLES[kind] is Role.GRID or ROLES[kind] is Role.HOUSE or ROLES[kind] is Role.NONE:
        return None
    now = each.power_w
    if ROLES[kind] is Role.PV:
        least, greatest = (_negative(greatest), _negative(least))
        now = _negative(now)
    least = 0.0 if least is None else min(least, 0.0)
    if greatest is None or greatest <= least:
        return None

    def position(watts: float) -> float:
        return round(100 * min(max((watts - least) / (greatest - least), 0.0), 1.0), 2)

    return Band(
        least=_limit(least),
        greatest=_limit(greatest),
        zero=position(0.0),
        now=None if now is None else position(now),
    )


def _limit(watts: float) -> str:
    """A nominal power, as it stands on a data sheet: "5 kW", "4.6 kW"."""
    kilowatts = round(watts / 1000, 1)
    return str(Quantity(number(kilowatts, 0 if kilowatts == round(kilowatts) else 1), "kW"))


def _negative(watts: float | None) -> float | None:
    return None if watts is None else -watts
