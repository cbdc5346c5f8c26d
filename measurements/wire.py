"""Live and historical figures in the words, units and signs of the wire API. Pure.

Ours are integers in mWh (or W for live values) and positive into the appliance; the wire's are W
and Wh, with `grid` positive for import but `battery.power` positive for discharging, and counters
in Ws. An absent part is left out, never null. Source: `reference/wire-api.md`, section 4.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import numpy as np

from inventory.kinds import ApplianceKind, Plug
from measurements.amounts import Floats, Ints
from measurements.figures import Figures, rate_columns
from measurements.resolutions import Resolution, Span

Row = Mapping[str, float | None]

# At these, a point is the mean power of its window, stamped at the window's end; at all others it
# is the energy of its period, stamped at the period's start.
POWER_RESOLUTIONS = frozenset({Resolution.QUARTER, Resolution.HOUR})

_PER_WH = 1000.0  # mWh
_WS_PER_WH = 3600
PLUG_STATES = {
    Plug.UNPLUGGED: "UNPLUGGED",
    Plug.PLUGGED: "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
    Plug.CHARGING: "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
    Plug.PAUSED: "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE",
}
_RATES = {
    "selfSufficiencyRate": "self_sufficiency_rate",
    "selfConsumptionRate": "self_consumption_rate",
    "directConsumptionRate": "direct_consumption_rate",
}
# The wire's names of figures that stand for themselves, in power and in energy alike.
_FIGURES = {
    "photovoltaic": "pv",
    "production": "pv",
    "consumption": "household",
    "totalConsumption": "consumption",
    "heatPump": "heat_pump",
    "heating": "heater",
    "directConsumption": "direct_consumption",
    "selfConsumption": "self_consumption",
    "selfSupply": "self_supply",
}
_DIRECT = {
    "directConsumptionHousehold": "household_from_pv",
    "directConsumptionHeatPump": "heat_pump_from_pv",
    "directConsumptionEV": "ev_from_pv",
    "directConsumptionHeater": "heater_from_pv",
}
_KEPT = (
    "pv",
    "charge",
    "discharge",
    "ev",
    "heat_pump",
    "heater",
    "import",
    "export",
    "consumption",
    "household",
    "pv_to_load",
    "pv_to_grid",
)
_COUNTERS = (
    ("gridMeterReadingPositive", "imported_wh"),
    ("gridMeterReadingNegative", "exported_wh"),
)
# Names of the wire and the columns behind them, one by one.
_ENERGIES = tuple((name, f"{key}_mwh") for name, key in (_FIGURES | _DIRECT).items())
_GROUPS = {
    "grid": (("feedIn", "export_mwh"), ("supply", "import_mwh")),
    "battery": (("charge", "charge_mwh"), ("discharge", "discharge_mwh")),
    "evChargingStation": (("charge", "ev_mwh"),),
}
# The columns of a system's figures that history is told by.
COLUMNS = (
    *(f"{name}_mwh" for name in (*_KEPT, *_DIRECT.values())),
    "soc",
    "imported_wh",
    "exported_wh",
)
# The lists of the appliances whose history is told one by one.
_LISTS = {
    ApplianceKind.BATTERY: "batteries",
    ApplianceKind.EV_CHARGING_STATION: "evChargingStations",
    ApplianceKind.HEATER: "heaters",
    ApplianceKind.METER: "appliances",
}
LISTED = tuple(_LISTS)


class Device(Protocol):
    """What is asked of an appliance."""

    id: UUID
    kind: str
    capacity_wh: float | None


class Read(Protocol):
    """What is asked of an appliance's newest reading; None where it was not read."""

    imported_wh: float | None
    exported_wh: float | None
    soc: float | None
    energy_wh: float | None
    temperature_c: float | None
    current_l1_a: float | None
    current_l2_a: float | None
    current_l3_a: float | None
    plug_state: int | None


class DeviceNow(Protocol):
    appliance: Device
    reading: Read | None
    power_w: float | None


class LiveFigures(Protocol):
    """`measurements.queries.Live`: `figures` has flows and totals with `_w`, and the rates."""

    measured_at: datetime | None
    figures: Row
    appliances: Sequence[DeviceNow]


class DevicePast(Protocol):
    """`measurements.history.DevicePast`: columns of energies in mWh and of levels, NaN where
    absent, for the spans that `known` names."""

    appliance: Device
    known: Ints
    columns: Mapping[str, Floats]


class Past(Protocol):
    """`measurements.history.Past`: spans in order, the figures of those known, and their total."""

    spans: Sequence[Span]
    known: Ints
    figures: Figures
    total: Figures
    devices: Sequence[DevicePast]


def live_to_wire(live: LiveFigures) -> dict[str, Any]:
    """The answer of `/live`: powers in W, rates and states of charge in 0–1, counters in Ws."""
    meters = _of(live.appliances, ApplianceKind.GRID_METER)
    counters = _counters(
        _sum(_get(meter.reading, "imported_wh") for meter in meters),
        _sum(_get(meter.reading, "exported_wh") for meter in meters),
    )
    return _present(_live_flows(live) | counters | _live_batteries(live) | _live_consumers(live))


def pool_live_to_wire(live: LiveFigures, *, seen: int, systems: int) -> dict[str, Any]:
    """The same of a pool, without single appliances and counters: the sum of those `seen` lately
    of its systems."""
    battery = _live_batteries(live).get("battery")
    return _present(
        _live_flows(live)
        | {"battery": battery, "evChargingStation": _group(power=live.figures.get("ev_w"))}
        | {"systemsSeen": seen, "systemsCount": systems}
    )


def _live_flows(live: LiveFigures) -> dict[str, Any]:
    figures = live.figures
    wire = _named(_FIGURES, figures, "_w", 1) | _named(_RATES, figures, "", 1)
    if figures.get("direct_consumption_w") is not None:
        wire |= {name: figures.get(f"{key}_w") or 0 for name, key in _DIRECT.items()}
    wire["measuredAt"] = _seconds(live.measured_at)
    wire["grid"] = _less(figures.get("import_w"), figures.get("export_w"))
    return wire


def history_to_wire(
    past: Past, resolution: Resolution, *, batteries: Sequence[Device] = ()
) -> dict[str, Any]:
    """The answer of `/historical`: `data`, a point for every span, and `total`, always in Wh.

    Spans of which nothing is known have nothing but `measuredAt`. `batteries` tell the capacity
    where the past comes without single appliances.
    """
    in_power = resolution in POWER_RESOLUTIONS
    units = _units(past.spans, in_power)
    stamps = [span.until_at if in_power else span.from_at for span in past.spans]
    told = _of(past.devices, ApplianceKind.BATTERY)
    capacity = _capacity([device.appliance for device in told] or batteries)
    data: list[dict[str, Any]] = [{"measuredAt": at} for at in stamps]
    lists = {"measuredAt": [stamps[index] for index in past.known]} | _lists(past, units)
    for index, point in zip(
        past.known.tolist(),
        _points(past.figures, units[past.known], lists, capacity),
        strict=True,
    ):
        data[index] = point
    totals = _points(past.total, np.full(len(past.total), _PER_WH), {}, capacity)
    (total,) = totals or [{}]
    if data:
        total["measuredAt"] = f"{_text(stamps[0])}/{_text(stamps[-1])}"
    return {"data": data, "total": total}


def pool_history_to_wire(
    past: Past, resolution: Resolution, *, seen: Ints, seen_in_all: int, systems: int
) -> dict[str, Any]:
    """The same of a pool, with how many of its systems were seen in each span that is known."""
    wire = history_to_wire(past, resolution)
    for index, count in zip(past.known.tolist(), seen.tolist(), strict=True):
        wire["data"][index]["systemsSeen"] = count
    wire["total"] |= {"systemsSeen": seen_in_all, "systemsCount": systems}
    return wire


def _units(spans: Sequence[Span], in_power: bool) -> Floats:
    """By what mWh are divided: how many of a span are 1 W on average, or how many are 1 Wh."""
    if not in_power:
        return np.full(len(spans), _PER_WH)
    lengths_s = [(span.until_at - span.from_at).total_seconds() for span in spans]
    return np.array(lengths_s) * 1000 / 3600


def _points(
    figures: Figures, units: Floats, lists: Mapping[str, list], capacity: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Each row's figures; mWh are divided, as 1656 / 1000 is 1.656 and times 0.001 is not."""
    columns = figures.floats()
    columns |= rate_columns(columns)
    flat = {name: columns[key] / units for name, key in _ENERGIES}
    flat |= {name: columns[key] for name, key in _RATES.items()}
    flat |= {name: columns[key] * _WS_PER_WH for name, key in _COUNTERS}
    groups = {}
    for name, members in _GROUPS.items():
        group = {member: columns[key] / units for member, key in members}
        if name == "battery":
            group["stateOfCharge"] = columns["soc"]
        groups[name] = _dicts(group, {}, len(units))
    if capacity:
        for battery in filter(None, groups["battery"]):
            battery.update(capacity)
    return _dicts(flat, {**lists, **groups}, len(units))


def _lists(past: Past, units: Floats) -> dict[str, list[list[dict] | None]]:
    """The lists of single appliances, for each of the spans known."""
    place = {index: number for number, index in enumerate(past.known.tolist())}
    lists: dict[str, list] = {}
    for device in past.devices:
        name = _LISTS[ApplianceKind(device.appliance.kind)]
        of_kind = lists.setdefault(name, [None] * len(place))
        points = _device_points(device, units[device.known])
        for index, point in zip(device.known.tolist(), points, strict=True):
            if (number := place.get(index)) is None:
                continue
            if of_kind[number] is None:
                of_kind[number] = [point]
            else:
                of_kind[number].append(point)
    return lists


def _device_points(device: DevicePast, units: Floats) -> list[dict[str, Any]]:
    """One appliance at each of its spans."""
    columns, appliance = device.columns, device.appliance
    taken, given = columns["import_mwh"], columns["export_mwh"]
    told: dict[str, Floats] = {}
    same = _device(device)
    match appliance.kind:
        case ApplianceKind.BATTERY:
            told["power"] = _differences(given, taken)
            told["stateOfCharge"] = columns["soc"]
            told["remainingCharge"] = columns["stored_wh"]
            if appliance.capacity_wh is not None:
                by_charge = columns["soc"] * appliance.capacity_wh
                unread = np.isnan(columns["stored_wh"])
                told["remainingCharge"] = np.where(unread, by_charge, columns["stored_wh"])
            same |= _capacity([appliance])
        case ApplianceKind.EV_CHARGING_STATION:
            told["power"] = _differences(taken, given)
            told["stateOfCharge"] = columns["soc"]
            told["readingTotal"] = columns["imported_wh"]
        case ApplianceKind.HEATER:
            told["power"] = taken
            told["temperature"] = columns["temperature_c"]
        case ApplianceKind.METER:
            told["power"] = _differences(taken, given)
            same["kind"] = "METER"
    told["power"] = told["power"] / units
    length = len(units)
    return _dicts(told, {name: [value] * length for name, value in same.items()}, length)


def _differences(one: Floats, other: Floats) -> Floats:
    """`_less` of columns."""
    neither = np.isnan(one) & np.isnan(other)
    return np.where(neither, np.nan, np.nan_to_num(one) - np.nan_to_num(other))


def _dicts(
    columns: Mapping[str, Floats], others: Mapping[str, list], length: int
) -> list[dict[str, Any]]:
    """A mapping for each row, without what is absent (NaN, None or nothing) in it."""
    matrix = np.array([*columns.values()]).reshape(len(columns), length)
    absent = np.isnan(matrix)
    told = ~absent.all(axis=1)
    others = {name: column for name, column in others.items() if any(column)}
    names = [*others, *(name for name, is_told in zip(columns, told, strict=True) if is_told)]
    if not names:
        return [{} for _row in range(length)]
    rows = zip(*others.values(), *matrix[told].tolist(), strict=True)
    if all(map(all, others.values())) and not absent[told].any():
        return [dict(zip(names, row, strict=True)) for row in rows]
    return [
        {
            name: value
            for name, value in zip(names, row, strict=True)
            if value == value and value is not None and value != {}
        }
        for row in rows
    ]


def _live_batteries(live: LiveFigures) -> dict[str, Any]:
    batteries = [
        _device(now)
        | _group(
            power=_negative(now.power_w),
            stateOfCharge=_get(now.reading, "soc"),
            remainingCharge=_remaining(
                _get(now.reading, "energy_wh"), _get(now.reading, "soc"), now.appliance
            ),
        )
        | _capacity([now.appliance])
        for now in _of(live.appliances, ApplianceKind.BATTERY)
    ]
    together = _group(
        power=_less(live.figures.get("discharge_w"), live.figures.get("charge_w")),
        charge=live.figures.get("charge_w"),
        discharge=live.figures.get("discharge_w"),
        **{
            name: _sum_of_all(battery.get(name) for battery in batteries)
            for name in ("remainingCharge", "capacity", "nominalCapacity")
        },
    )
    if "remainingCharge" in together and together.get("capacity"):
        together["stateOfCharge"] = together["remainingCharge"] / together["capacity"]
    elif batteries:
        shares = [battery.get("stateOfCharge") for battery in batteries]
        whole = _sum_of_all(shares)
        together |= _group(stateOfCharge=None if whole is None else whole / len(shares))
    return _filled(battery=together, batteries=batteries)


def _live_consumers(live: LiveFigures) -> dict[str, Any]:
    stations = [
        _device(now)
        | _group(
            power=now.power_w,
            currentL1=_get(now.reading, "current_l1_a"),
            currentL2=_get(now.reading, "current_l2_a"),
            currentL3=_get(now.reading, "current_l3_a"),
            plugState=PLUG_STATES.get(_get(now.reading, "plug_state")),
            readingTotal=_get(now.reading, "imported_wh"),
            stateOfCharge=_get(now.reading, "soc"),
        )
        for now in _of(live.appliances, ApplianceKind.EV_CHARGING_STATION)
    ]
    heat_pumps = [
        _device(now) | _group(power=now.power_w, sgReadyState="UNKNOWN")
        for now in _of(live.appliances, ApplianceKind.HEAT_PUMP)
    ]
    heaters = [
        _device(now) | _group(power=now.power_w, temperature=_get(now.reading, "temperature_c"))
        for now in _of(live.appliances, ApplianceKind.HEATER)
    ]
    temperatures = [heater["temperature"] for heater in heaters if "temperature" in heater]
    return _filled(
        evChargingStation=_group(power=live.figures.get("ev_w")),
        evChargingStations=stations,
        heatPumps=heat_pumps,
        heaters=heaters,
    ) | _group(heatingTemperature=temperatures[0] if temperatures else None)


def _named(names: Mapping[str, str], figures: Row, suffix: str, unit: float) -> dict[str, Any]:
    return {wire: _in(figures.get(f"{key}{suffix}"), unit) for wire, key in names.items()}


def _counters(imported_wh: float | None, exported_wh: float | None) -> dict[str, Any]:
    return {
        "gridMeterReadingPositive": None if imported_wh is None else imported_wh * _WS_PER_WH,
        "gridMeterReadingNegative": None if exported_wh is None else exported_wh * _WS_PER_WH,
    }


def _capacity(appliances: Sequence[Device]) -> dict[str, float]:
    whole = _sum_of_all(appliance.capacity_wh for appliance in appliances)
    return {} if whole is None else {"capacity": whole, "nominalCapacity": whole}


def _remaining(stored_wh: float | None, soc: float | None, appliance: Device) -> float | None:
    if stored_wh is not None or soc is None or appliance.capacity_wh is None:
        return stored_wh
    return soc * appliance.capacity_wh


def _of(devices: Iterable[Any], kind: ApplianceKind) -> list[Any]:
    return [device for device in devices if device.appliance.kind == kind]


def _device(device: DeviceNow | DevicePast) -> dict[str, Any]:
    return {"applianceID": str(device.appliance.id)}


def _get(reading: Read | None, name: str) -> Any:
    return None if reading is None else getattr(reading, name)


def _present(wire: dict[str, Any]) -> dict[str, Any]:
    """Without what has no value, and without groups that have none."""
    return {name: value for name, value in wire.items() if value is not None and value != {}}


def _group(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _filled(**lists: Any) -> dict[str, Any]:
    return {name: value for name, value in lists.items() if value}


def _in(value: float | None, unit: float) -> float | None:
    """How many units a value is. Divided, because 1656 / 1000 is 1.656 and times 0.001 is not."""
    return None if value is None else value / unit


def _negative(value: float | None) -> float | None:
    return None if value is None else 0 - value


def _less(value: float | None, other: float | None) -> float | None:
    """The difference; None only where neither is known."""
    return None if value is None and other is None else (value or 0) - (other or 0)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_of_all(values: Iterable[float | None]) -> float | None:
    """The sum; None where one of them is not known, or there are none."""
    values = list(values)
    return None if not values or None in values else sum(values)


def _seconds(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC).replace(microsecond=0)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
