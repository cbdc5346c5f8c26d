"""Live and historical figures in the words, units and signs of the wire API. Pure.

Ours are integers in mWh (or W for live values) and positive into the appliance; the wire's are W
and Wh, with `grid` positive for import but `battery.power` positive for discharging, and counters
in Ws. An absent part is left out, never null. Source: `reference/wire-api.md`, section 4.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from inventory.kinds import ApplianceKind, Plug
from measurements.resolutions import Resolution

Row = Mapping[str, float | None]

# At these, a point is the mean power of its window, stamped at the window's end; at all others it
# is the energy of its period, stamped at the period's start.
POWER_RESOLUTIONS = frozenset({Resolution.QUARTER, Resolution.HOUR})

_PER_WH = 1000  # mWh
_WS_PER_WH = 3600
_PLUG_STATES = {
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
# The kinds of appliances whose history is told one by one.
LISTED = (
    ApplianceKind.BATTERY,
    ApplianceKind.EV_CHARGING_STATION,
    ApplianceKind.HEATER,
    ApplianceKind.METER,
)


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


class DevicePeriod(Protocol):
    """One appliance over a span; energies in mWh, `soc` and counters at its end."""

    appliance: Device
    import_mwh: int | None
    export_mwh: int | None
    soc: float | None
    stored_wh: float | None
    temperature_c: float | None
    imported_wh: float | None


class PeriodFigures(Protocol):
    """`measurements.queries.Period`: `figures` is None where nothing is known of the span."""

    start: datetime
    until: datetime
    figures: Row | None
    appliances: Sequence[DevicePeriod]


class Past(Protocol):
    """`measurements.queries.History`: spans in order, and their total."""

    periods: Sequence[PeriodFigures]
    total: Row | None


def live_to_wire(live: LiveFigures) -> dict[str, Any]:
    """The answer of `/live`: powers in W, rates and states of charge in 0–1, counters in Ws."""
    figures = live.figures
    wire = _named(_FIGURES, figures, "_w", 1) | _named(_RATES, figures, "", 1)
    if figures.get("direct_consumption_w") is not None:
        wire |= {name: figures.get(f"{key}_w") or 0 for name, key in _DIRECT.items()}
    wire["measuredAt"] = _seconds(live.measured_at)
    wire["grid"] = _less(figures.get("import_w"), figures.get("export_w"))
    meters = _of(live.appliances, ApplianceKind.GRID_METER)
    wire |= _counters(
        _sum(_get(meter.reading, "imported_wh") for meter in meters),
        _sum(_get(meter.reading, "exported_wh") for meter in meters),
    )
    wire |= _live_batteries(live) | _live_consumers(live)
    return _present(wire)


def history_to_wire(
    past: Past, resolution: Resolution, *, batteries: Sequence[Device] = ()
) -> dict[str, Any]:
    """The answer of `/historical`: `data`, a point for every span, and `total`, always in Wh.

    Spans of which nothing is known have nothing but `measuredAt`. `batteries` tell the capacity
    where the past comes without single appliances.
    """
    in_power = resolution in POWER_RESOLUTIONS
    data = [_point(period, in_power) for period in past.periods]
    total = _energies(past.total, _PER_WH) if past.total is not None else {}
    if data:
        stamps = [_text(_stamp(period, in_power)) for period in (past.periods[0], past.periods[-1])]
        total["measuredAt"] = "/".join(stamps)
        capacity = _capacity(_devices(past, ApplianceKind.BATTERY) or batteries)
        for point in (*data, total):
            if "battery" in point:
                point["battery"] |= capacity
    return {"data": data, "total": total}


def _stamp(period: PeriodFigures, in_power: bool) -> datetime:
    return period.until if in_power else period.start


def _point(period: PeriodFigures, in_power: bool) -> dict[str, Any]:
    point = {"measuredAt": _stamp(period, in_power)}
    if period.figures is None:
        return point
    # how many mWh of this span are 1 W on average
    per_w = (period.until - period.start).total_seconds() * 1000 / 3600
    unit = per_w if in_power else _PER_WH
    point |= _energies(period.figures, unit)
    return point | _period_devices(period.appliances, unit) if period.appliances else point


def _energies(figures: Row, unit: float) -> dict[str, Any]:
    """A row's figures, mWh divided by `unit`."""
    get = figures.get
    wire = _divided(_ENERGIES, get, unit)
    for name, key in _RATES.items():
        if (rate := get(key)) is not None:
            wire[name] = rate
    for name, columns in _GROUPS.items():
        if group := _divided(columns, get, unit):
            wire[name] = group
    if (soc := get("soc")) is not None:
        wire.setdefault("battery", {})["stateOfCharge"] = soc
    for name, key in _COUNTERS:
        if (counted := get(key)) is not None:
            wire[name] = counted * _WS_PER_WH
    return wire


def _divided(columns: Iterable[tuple[str, str]], get, unit: float) -> dict[str, float]:
    """What there is of some columns, by the names of the wire. Divided, because 1656 / 1000 is
    1.656 and times 0.001 is not."""
    return {name: value / unit for name, key in columns if (value := get(key)) is not None}


def _period_devices(devices: Sequence[DevicePeriod], unit: float) -> dict[str, Any]:
    """The lists of single appliances of one point."""
    lists: dict[str, list] = {}
    for device in devices:
        appliance = device.appliance
        kind = appliance.kind
        if kind not in _LISTS:
            continue
        wire = _device(device)
        taken, given = device.import_mwh, device.export_mwh
        if kind == ApplianceKind.BATTERY:
            power = _less(given, taken)
        elif kind == ApplianceKind.HEATER:
            power = taken
        else:
            power = _less(taken, given)
        if power is not None:
            wire["power"] = power / unit
        wire |= _DETAILS[kind](device)
        lists.setdefault(_LISTS[kind], []).append(wire)
    return lists


def _battery_details(device: DevicePeriod) -> dict[str, Any]:
    remaining = _remaining(device.stored_wh, device.soc, device.appliance)
    levels = _group(stateOfCharge=device.soc, remainingCharge=remaining)
    return levels | _capacity([device.appliance])


_LISTS = {
    ApplianceKind.BATTERY: "batteries",
    ApplianceKind.EV_CHARGING_STATION: "evChargingStations",
    ApplianceKind.HEATER: "heaters",
    ApplianceKind.METER: "appliances",
}
_DETAILS = {
    ApplianceKind.BATTERY: _battery_details,
    ApplianceKind.EV_CHARGING_STATION: lambda device: _group(
        stateOfCharge=device.soc, readingTotal=device.imported_wh
    ),
    ApplianceKind.HEATER: lambda device: _group(temperature=device.temperature_c),
    ApplianceKind.METER: lambda device: {"kind": "METER"},
}


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
            plugState=_PLUG_STATES.get(_get(now.reading, "plug_state")),
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


def _devices(past: Past, kind: ApplianceKind) -> list[Device]:
    found = {
        device.appliance.id: device.appliance
        for period in past.periods
        for device in _of(period.appliances, kind)
    }
    return list(found.values())


def _of(devices: Iterable[Any], kind: ApplianceKind) -> list[Any]:
    return [device for device in devices if device.appliance.kind == kind]


def _device(device: DeviceNow | DevicePeriod) -> dict[str, Any]:
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
