"""History in the words, units and signs of the wire API. Pure.

Ours are integers in mWh and positive into the appliance; the wire's are W and Wh, with a single
battery's `power` positive for discharging, and counters in Ws. An absent part is left out, never
null. Source: `reference/wire-api.md`, section 4.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import compress, repeat
from typing import Any, Protocol

import numpy as np

from inventory.kinds import ApplianceKind
from measurements.amounts import Floats, Ints, share_of
from measurements.figures import Figures, rate_columns
from measurements.flags import names_of
from measurements.flows import TOTALS
from measurements.resolutions import Resolution, Span
from measurements.wire.names import (
    DIRECT,
    FIGURES,
    RATES,
    WS_PER_WH,
    Device,
    capacity_of,
    reference_to,
)

# At these, a point is the mean power of its window, stamped at the window's end; at all others it
# is the energy of its period, stamped at the period's start.
POWER_RESOLUTIONS = frozenset({Resolution.QUARTER, Resolution.HOUR})

_PER_WH = 1000.0  # mWh
_KEPT = (
    *TOTALS,
    "pv_to_load",
    "pv_to_battery",
    "pv_to_grid",
    "battery_to_load",
    "battery_to_grid",
    "unmetered",
)
# What a point tells: names of the wire and the columns behind them; in groups, and by itself.
_GROUPS = {
    "grid": {"feedIn": "export_mwh", "supply": "import_mwh"},
    "battery": {
        "charge": "charge_mwh",
        "discharge": "discharge_mwh",
        "stateOfCharge": "soc",
        "capacity": "capacity",
        "nominalCapacity": "capacity",
    },
    "evChargingStation": {"charge": "ev_mwh"},
}
_FLAT = {
    **{name: f"{key}_mwh" for name, key in (FIGURES | DIRECT).items()},
    **RATES,
    "gridMeterReadingPositive": "imported_wh",
    "gridMeterReadingNegative": "exported_wh",
}
_TOLD = [key for names in (*_GROUPS.values(), _FLAT) for key in names.values()]
_ENERGIES = np.array([key.endswith("_mwh") for key in _TOLD])
_COUNTERS = np.array([key.endswith("_wh") for key in _TOLD])
# The columns of a system's figures that history is told by.
COLUMNS = (
    *(f"{name}_mwh" for name in (*_KEPT, *DIRECT.values())),
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


class DevicePast(Protocol):
    """`measurements.history.DevicePast`: columns of energies in mWh and of levels, NaN where
    absent, for the spans that `known` names; with flags where quality is told."""

    appliance: Device
    known: Ints
    columns: Mapping[str, Floats]


class Battery(Protocol):
    """`measurements.history.Battery`: what it can hold, and from when until when it was there."""

    capacity_wh: float | None
    from_s: float
    until_s: float


class Past(Protocol):
    """`measurements.history.Past`: spans in order, the figures of those known, and their total."""

    spans: Sequence[Span]
    known: Ints
    figures: Figures
    total: Figures
    devices: Sequence[DevicePast]
    batteries: Sequence[Battery]


def history_to_wire(past: Past, resolution: Resolution) -> dict[str, Any]:
    """The answer of `/historical`: `data`, a point for every span, and `total`, always in Wh.

    Spans of which nothing is known have nothing but `measuredAt`.
    """
    in_power = resolution in POWER_RESOLUTIONS
    units = _units(past.spans, in_power)
    stamps = [span.until_at if in_power else span.from_at for span in past.spans]
    over_all = f"{_text(stamps[0])}/{_text(stamps[-1])}" if stamps else None
    known = past.known.tolist()
    # The total is told like a point, after the last of them.
    told_at = [*(stamps[index] for index in known), *([over_all] if known else [])]
    *told_points, total = _points(_values(past, units[past.known]), told_at) or [{}]
    points = dict(zip(known, told_points, strict=True))
    _list_devices(past.devices, units, points)
    return {
        "data": [points.get(index) or {"measuredAt": at} for index, at in enumerate(stamps)],
        "total": total or {"measuredAt": over_all},
    }


def pool_history_to_wire(
    past: Past, resolution: Resolution, *, seen: Ints, seen_in_all: int, systems: int
) -> dict[str, Any]:
    """The same of a pool, with how many of its systems were seen in each span that is known."""
    wire = history_to_wire(past, resolution)
    for index, count in zip(past.known.tolist(), seen.tolist(), strict=True):
        wire["data"][index]["systemsSeen"] = count
    wire["total"] |= {"systemsSeen": seen_in_all, "systemsCount": systems}
    return wire


def add_quality(
    wire: dict[str, Any],
    past: Past,
    to_see_s: Ints,
    device_shares: Sequence[Sequence[float | None]] = (),
) -> None:
    """Tell of each point of history, and of all, how much of the time was seen, and its flags; the
    same of the items of its lists.

    `to_see_s` are the seconds that were to be seen in each span, known or not, of all appliances
    together. `device_shares` are the shares seen of each of the past's devices (0–1), in the spans
    that it is known of; None where nothing was to be seen.
    """
    flags, seen_s = past.figures.flags.tolist(), past.figures.seen_s.tolist()
    whole_s = to_see_s.tolist()
    for index, seen, bits in zip(past.known.tolist(), seen_s, flags, strict=True):
        wire["data"][index]["quality"] = _quality(share_of(seen, whole_s[index]), bits)
    if flags:
        share = share_of(sum(seen_s), sum(whole_s))
        wire["total"]["quality"] = _quality(share, int(past.total.flags[0]))
    items = _items(wire)
    for device, of_device in zip(past.devices, device_shares, strict=True):
        same = str(device.appliance.id)
        flags = device.columns["flags"].astype(np.int64).tolist()
        for index, share, bits in zip(device.known.tolist(), of_device, flags, strict=True):
            if (item := items.get((index, same))) is not None:
                item["quality"] = _quality(share, bits)


def _items(wire: dict[str, Any]) -> dict[tuple[int, str], dict[str, Any]]:
    """What the lists tell, by the number of the point and the appliance that it is about."""
    return {
        (index, item["applianceID"]): item
        for index, point in enumerate(wire["data"])
        for name in _LISTS.values()
        for item in point.get(name, ())
    }


def _quality(share: float | None, bits: int) -> dict[str, Any]:
    told = {} if share is None else {"coverage": round(share, 4)}
    return told | {"flags": names_of(bits)}


def _units(spans: Sequence[Span], in_power: bool) -> Floats:
    """By what mWh are divided: how many of a span are 1 W on average, or how many are 1 Wh."""
    if not in_power:
        return np.full(len(spans), _PER_WH)
    bounds_s = [span.from_at.timestamp() for span in spans]
    bounds_s += [span.until_at.timestamp() for span in spans[-1:]]
    return np.diff(bounds_s) * 1000 / 3600


def _values(past: Past, units: Floats) -> Floats:
    """The columns of `_TOLD`, one a row: for each of the spans known, and at last of the total.

    mWh are divided, as 1656 / 1000 is 1.656 and times 0.001 is not.
    """
    figures, total = past.figures.floats(), past.total.floats()
    both = np.hstack([[*figures.values()], [total[name] for name in figures]])
    columns = dict(zip(figures, both, strict=True))
    columns |= rate_columns(columns)
    columns["capacity"] = _capacities(past, columns)
    values = np.array([columns[key] for key in _TOLD])
    values[_ENERGIES] /= np.append(units, np.full(len(past.total), _PER_WH))
    values[_COUNTERS] *= WS_PER_WH
    return values


def _capacities(past: Past, columns: Mapping[str, Floats]) -> Floats:
    """What the batteries that there were can hold together, for each of the spans known, and at
    last of the total; NaN where nothing is told of any, or where that of one is not known.

    As the state of charge, it is that of the end: of those that were there then, or if there were
    none any more, of those that stayed the longest.
    """
    ends_s = [past.spans[index].until_at.timestamp() for index in past.known.tolist()]
    ends_s = np.array([*ends_s, *ends_s[-1:]])
    whole_wh, from_s, until_s = (
        np.array([getattr(one, name) for one in past.batteries], np.float64)[:, np.newaxis]
        for name in ("capacity_wh", "from_s", "until_s")
    )
    stayed_s = np.minimum(until_s, ends_s)
    there = stayed_s > from_s
    there &= stayed_s == stayed_s.max(axis=0, where=there, initial=-np.inf)
    together_wh = np.where(there, whole_wh, 0).sum(axis=0)
    told = ~np.isnan([columns[key] for key in ("charge_mwh", "discharge_mwh", "soc")]).all(axis=0)
    return np.where(told & there.any(axis=0), together_wh, np.nan)


def _points(values: Floats, told_at: Sequence[datetime | str]) -> list[dict[str, Any]]:
    """What is told by each column of `values`, and of when."""
    groups, row = {}, 0
    for name, members in _GROUPS.items():
        groups[name] = _dicts(members, values[row : row + len(members)], {})
        row += len(members)
    return _dicts(_FLAT, values[row:], {"measuredAt": told_at, **groups})


def _list_devices(
    devices: Iterable[DevicePast], units: Floats, points: Mapping[int, dict[str, Any]]
) -> None:
    """Add the lists of single appliances to the points, which are given by their spans' index."""
    for device in devices:
        name = _LISTS[ApplianceKind(device.appliance.kind)]
        items = _device_points(device, units[device.known])
        for index, item in zip(device.known.tolist(), items, strict=True):
            if (point := points.get(index)) is not None:
                if name in point:
                    point[name].append(item)
                else:
                    point[name] = [item]


def _device_points(device: DevicePast, units: Floats) -> list[dict[str, Any]]:
    """One appliance at each of its spans."""
    columns, appliance = device.columns, device.appliance
    taken, given = columns["import_mwh"], columns["export_mwh"]
    told: dict[str, Floats] = {}
    same = reference_to(device)
    match appliance.kind:
        case ApplianceKind.BATTERY:
            told["power"] = _differences(given, taken)
            told["stateOfCharge"] = columns["soc"]
            told["remainingCharge"] = columns["stored_wh"]
            if appliance.capacity_wh is not None:
                by_charge = columns["soc"] * appliance.capacity_wh
                unread = np.isnan(columns["stored_wh"])
                told["remainingCharge"] = np.where(unread, by_charge, columns["stored_wh"])
            same |= capacity_of(appliance)
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
    others = {name: [value] * len(units) for name, value in same.items()}
    return _dicts(told, np.array([*told.values()]), others)


def _differences(one: Floats, other: Floats) -> Floats:
    """The differences; absent only where neither is known."""
    both = np.array([one, other])
    absent = np.isnan(both)
    both[absent] = 0
    return np.where(absent.all(axis=0), np.nan, both[0] - both[1])


def _dicts(
    names: Iterable[str], values: Floats, others: Mapping[str, list]
) -> list[dict[str, Any]]:
    """A mapping for each column of `values`, which has a row for each of the names; after the
    others, which have a list each. Without what is absent (NaN, None or nothing) in it."""
    present = ~np.isnan(values)
    ever = present.any(axis=1)
    present, values = present[ever], values[ever]
    others = {name: column for name, column in others.items() if any(column)}
    names = [*others, *compress(names, ever.tolist())]
    if not names:
        return [{} for _column in range(values.shape[1])]
    pairs = map(zip, repeat(names), zip(*others.values(), *values.tolist(), strict=True))
    if present.all() and all(map(all, others.values())):
        return list(map(dict, pairs))
    told = zip(*others.values(), *present.tolist(), strict=True)
    return list(map(dict, map(compress, pairs, told)))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
