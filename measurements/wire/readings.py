"""Single readings in the words, units and signs of the wire API. Pure.

Whole numbers of thousandths: mW, mA; counters in Ws, temperatures in °C, states of charge in
percent. Powers are positive into meters, stations, heat pumps and heaters, as with us, but out of
inverters and batteries. What was not read is left out. Source: `reference/wire-api.md`, 4.4.
"""

from collections.abc import Callable, Mapping
from typing import Any

from inventory.kinds import ApplianceKind, Plug
from measurements import batches
from measurements.wire.names import PLUG_STATES, WS_PER_WH, present

# What is read of one appliance at one instant, by the names of `measurements.models.Reading`.
Raw = Mapping[str, Any]
COLUMNS = ("at", *batches.COLUMNS)


def raw_to_wire(kind: str, capacity_wh: float | None, raw: Raw) -> dict[str, Any]:
    """One reading of an appliance of this kind."""
    return present(measuredAt=raw["at"], **_SHAPES[ApplianceKind(kind)](raw, capacity_wh))


def outward(kind: str) -> bool:
    """Whether the wire counts this kind's power as positive out of the appliance."""
    return kind in _OUTWARD


_OUTWARD = frozenset(
    {ApplianceKind.PV_INVERTER, ApplianceKind.BATTERY, ApplianceKind.HYBRID_INVERTER}
)


def power_w_of(raw: Raw) -> float | None:
    """The power, or of a reading that tells an interval's energies their mean."""
    if raw["power_w"] is not None or raw["interval_s"] is None:
        return raw["power_w"]
    taken, given = raw["import_energy_wh"], raw["export_energy_wh"]
    if taken is None and given is None:
        return None
    return ((taken or 0) - (given or 0)) * 3600 / raw["interval_s"]


def _milli(value: float | None, sign: int = 1) -> int | None:
    return None if value is None else round(value * 1000 * sign)


def _ws(value: float | None) -> int | None:
    return None if value is None else round(value * WS_PER_WH)


def _meter(raw: Raw, _capacity_wh: float | None) -> dict[str, Any]:
    return {
        "sumActivePower": _milli(power_w_of(raw)),
        "sumActivePowerReadingPositive": _ws(raw["imported_wh"]),
        "sumActivePowerReadingNegative": _ws(raw["exported_wh"]),
    } | _currents(raw, "l{}Current")


def _inverter(raw: Raw, _capacity_wh: float | None) -> dict[str, Any]:
    return {"acActivePower": _milli(power_w_of(raw), -1)} | _currents(raw, "l{}ACCurrent")


def _battery(raw: Raw, capacity_wh: float | None) -> dict[str, Any]:
    power = _milli(power_w_of(raw))
    battery = present(
        measuredAt=raw["at"],
        capacity=capacity_wh and round(capacity_wh),
        nominalCapacity=capacity_wh and round(capacity_wh),
        stateOfCharge=None if raw["soc"] is None else round(raw["soc"] * 100),
        temperature=raw["temperature_c"] and round(raw["temperature_c"]),
        presentCharge=None if power is None else max(power, 0),
        presentDischarge=None if power is None else max(-power, 0),
    )
    return _inverter(raw, capacity_wh) | {"battery": battery}


def _station(raw: Raw, _capacity_wh: float | None) -> dict[str, Any]:
    plug = raw["plug_state"]
    return {
        "realPower": _milli(power_w_of(raw)),
        "stateOfCharge": None if raw["soc"] is None else raw["soc"] * 100,
        "plugState": PLUG_STATES.get(plug),
        "pluggedIn": None if plug in (None, Plug.FAULT) else plug != Plug.UNPLUGGED,
    } | _currents(raw, "l{}Current")


def _heat_pump(raw: Raw, _capacity_wh: float | None) -> dict[str, Any]:
    return {
        "power": _milli(power_w_of(raw)),
        "operationStatus": "UNKNOWN",
        "readyState": "UNKNOWN",
        "controlledTemperature": raw["temperature_c"],
    }


def _heater(raw: Raw, _capacity_wh: float | None) -> dict[str, Any]:
    return {
        "power": _milli(power_w_of(raw)),
        "readingPositive": _ws(raw["imported_wh"]),
        "outflowTemperature": raw["temperature_c"],
    }


def _currents(raw: Raw, name: str) -> dict[str, int | None]:
    return {name.format(phase): _milli(raw[f"current_l{phase}_a"]) for phase in (1, 2, 3)}


_SHAPES: dict[ApplianceKind, Callable[[Raw, float | None], dict[str, Any]]] = {
    ApplianceKind.GRID_METER: _meter,
    ApplianceKind.HOUSEHOLD_METER: _meter,
    ApplianceKind.METER: _meter,
    ApplianceKind.PV_INVERTER: _inverter,
    ApplianceKind.BATTERY: _battery,
    ApplianceKind.HYBRID_INVERTER: _inverter,
    ApplianceKind.EV_CHARGING_STATION: _station,
    ApplianceKind.HEAT_PUMP: _heat_pump,
    ApplianceKind.HEATER: _heater,
}
