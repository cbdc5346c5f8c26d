"""What live values and history are called on the wire API, and what they have in common. Pure."""

from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID

from inventory.kinds import ApplianceKind, Plug

WS_PER_WH = 3600
PLUG_STATES = {
    Plug.UNPLUGGED: "UNPLUGGED",
    Plug.PLUGGED: "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
    Plug.CHARGING: "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
    Plug.PAUSED: "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
}
RATES = {
    "selfSufficiencyRate": "self_sufficiency_rate",
    "selfConsumptionRate": "self_consumption_rate",
    "directConsumptionRate": "direct_consumption_rate",
}
# The wire's names of figures that stand for themselves, in power and in energy alike.
FIGURES = {
    "photovoltaic": "pv",
    "production": "pv",
    "consumption": "household",
    "totalConsumption": "consumption",
    "unmeteredConsumption": "unmetered",
    "heatPump": "heat_pump",
    "heating": "heater",
    "directConsumption": "direct_consumption",
    "selfConsumption": "self_consumption",
    "selfSupply": "self_supply",
}
DIRECT = {
    "directConsumptionHousehold": "household_from_pv",
    "directConsumptionHeatPump": "heat_pump_from_pv",
    "directConsumptionEV": "ev_from_pv",
    "directConsumptionHeater": "heater_from_pv",
}


class Device(Protocol):
    """What is asked of an appliance."""

    id: UUID
    kind: str
    capacity_wh: float | None


class OfDevice(Protocol):
    """What tells something of one appliance."""

    appliance: Device


def reference_to(device: OfDevice) -> dict[str, Any]:
    """Which appliance an item of a list is about."""
    return {"applianceID": str(device.appliance.id)}


def of_kind(devices: Iterable[Any], kind: ApplianceKind) -> list[Any]:
    """Those of the devices that are about an appliance of this kind."""
    return [device for device in devices if device.appliance.kind == kind]


def capacity_of(battery: Device) -> dict[str, float]:
    """What a battery can hold; nothing where that is not known."""
    whole = battery.capacity_wh
    return {} if whole is None else {"capacity": whole, "nominalCapacity": whole}


def present(**values: Any) -> dict[str, Any]:
    """Without what has no value: None, and groups and lists in which there is nothing."""
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


def sum_of_all(values: Iterable[float | None]) -> float | None:
    """The sum; None where one of them is not known, or there are none."""
    values = list(values)
    return None if not values or None in values else sum(values)
