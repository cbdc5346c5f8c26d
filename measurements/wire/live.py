"""Live values in the words, units and signs of the wire API. Pure.

Ours and the wire's are W, ours positive into the appliance; there `grid` is positive for import
but `battery.power` for discharging, and counters are in Ws. An absent part is left out, never
null. Source: `reference/wire-api.md`, section 4.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from inventory.kinds import ApplianceKind
from measurements.amounts import difference_known, share_of
from measurements.figures import soc_of
from measurements.wire.names import (
    DIRECT,
    FIGURES,
    PLUG_STATES,
    RATES,
    WS_PER_WH,
    Device,
    capacity_of,
    of_kind,
    present,
    reference_to,
    sum_of_all,
)

Row = Mapping[str, float | None]


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
    is_stale: bool


class LiveFigures(Protocol):
    """`measurements.queries.Live`: `figures` has flows and totals with `_w`, and the rates."""

    measured_at: datetime | None
    figures: Row
    appliances: Sequence[DeviceNow]


def live_to_wire(live: LiveFigures) -> dict[str, Any]:
    """The answer of `/live`: powers in W, rates and states of charge in 0–1, counters in Ws."""
    meters = of_kind(live.appliances, ApplianceKind.GRID_METER)
    counters = _counters(
        sum_of_all(_get(meter.reading, "imported_wh") for meter in meters),
        sum_of_all(_get(meter.reading, "exported_wh") for meter in meters),
    )
    return present(
        **_live_flows(live), **counters, **_live_batteries(live), **_live_consumers(live)
    )


def pool_live_to_wire(live: LiveFigures, *, seen: int, systems: int) -> dict[str, Any]:
    """The same of a pool, without single appliances and counters: the sum of those `seen` lately
    of its systems.

    Where some of them take from the grid and others feed in, `grid` tells neither: both are told.
    """
    return present(
        **_live_flows(live),
        gridSupply=live.figures.get("import_w"),
        gridFeedIn=live.figures.get("export_w"),
        battery=_live_batteries(live).get("battery"),
        evChargingStation=present(power=live.figures.get("ev_w")),
        systemsSeen=seen,
        systemsCount=systems,
    )


def _live_flows(live: LiveFigures) -> dict[str, Any]:
    figures = live.figures
    wire = {name: figures.get(f"{key}_w") for name, key in FIGURES.items()}
    wire |= {name: figures.get(key) for name, key in RATES.items()}
    if figures.get("direct_consumption_w") is not None:
        wire |= {name: figures.get(f"{key}_w") or 0 for name, key in DIRECT.items()}
    wire["measuredAt"] = _seconds(live.measured_at)
    wire["grid"] = difference_known(figures.get("import_w"), figures.get("export_w"))
    return wire


def _live_batteries(live: LiveFigures) -> dict[str, Any]:
    batteries = [
        reference_to(now)
        | present(
            power=_negative(now.power_w),
            stateOfCharge=_get(now.reading, "soc"),
            remainingCharge=_remaining(
                _get(now.reading, "energy_wh"), _get(now.reading, "soc"), now.appliance
            ),
        )
        | capacity_of(now.appliance)
        for now in of_kind(live.appliances, ApplianceKind.BATTERY)
    ]
    together = present(
        power=difference_known(live.figures.get("discharge_w"), live.figures.get("charge_w")),
        charge=live.figures.get("charge_w"),
        discharge=live.figures.get("discharge_w"),
        **{
            name: sum_of_all(battery.get(name) for battery in batteries)
            for name in ("remainingCharge", "capacity", "nominalCapacity")
        },
    )
    together |= present(stateOfCharge=_soc_together(batteries, together))
    return present(battery=together, batteries=batteries)


def _soc_together(
    batteries: Sequence[Mapping[str, Any]], together: Mapping[str, float]
) -> float | None:
    """As each of them tells it; by their energy, where one tells nothing but that."""
    told = [(battery.get("stateOfCharge"), battery.get("capacity")) for battery in batteries]
    if all(soc is not None for soc, _capacity_wh in told):
        return soc_of(told)
    if "remainingCharge" not in together or "capacity" not in together:
        return None
    # A battery may hold more than its nominal capacity.
    return share_of(together["remainingCharge"], together["capacity"])


def _live_consumers(live: LiveFigures) -> dict[str, Any]:
    stations = [
        reference_to(now)
        | present(
            power=now.power_w,
            currentL1=_fresh(now, "current_l1_a"),
            currentL2=_fresh(now, "current_l2_a"),
            currentL3=_fresh(now, "current_l3_a"),
            plugState=PLUG_STATES.get(_fresh(now, "plug_state")),
            readingTotal=_get(now.reading, "imported_wh"),
            stateOfCharge=_get(now.reading, "soc"),
        )
        for now in of_kind(live.appliances, ApplianceKind.EV_CHARGING_STATION)
    ]
    heat_pumps = [
        reference_to(now) | present(power=now.power_w, sgReadyState="UNKNOWN")
        for now in of_kind(live.appliances, ApplianceKind.HEAT_PUMP)
    ]
    heaters = [
        reference_to(now) | present(power=now.power_w, temperature=_fresh(now, "temperature_c"))
        for now in of_kind(live.appliances, ApplianceKind.HEATER)
    ]
    temperatures = [heater["temperature"] for heater in heaters if "temperature" in heater]
    return present(
        evChargingStation=present(power=live.figures.get("ev_w")),
        evChargingStations=stations,
        heatPumps=heat_pumps,
        heaters=heaters,
        heatingTemperature=temperatures[0] if temperatures else None,
    )


def _counters(imported_wh: float | None, exported_wh: float | None) -> dict[str, Any]:
    return {
        "gridMeterReadingPositive": None if imported_wh is None else imported_wh * WS_PER_WH,
        "gridMeterReadingNegative": None if exported_wh is None else exported_wh * WS_PER_WH,
    }


def _remaining(stored_wh: float | None, soc: float | None, appliance: Device) -> float | None:
    if stored_wh is not None or soc is None or appliance.capacity_wh is None:
        return stored_wh
    return soc * appliance.capacity_wh


def _get(reading: Read | None, name: str) -> Any:
    return None if reading is None else getattr(reading, name)


def _fresh(now: DeviceNow, name: str) -> Any:
    """What is true of a moment only; counters and states of charge last longer."""
    return None if now.is_stale else _get(now.reading, name)


def _negative(value: float | None) -> float | None:
    return None if value is None else 0 - value


def _seconds(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC).replace(microsecond=0)
