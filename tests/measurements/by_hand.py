"""What a system's tables should hold, made of all its readings by the pure functions alone."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np

from inventory.kinds import ROLES
from measurements.amounts import Amounts, Floats
from measurements.carry import CARRY_SIZE
from measurements.energy import ApplianceSlots, Nominal, Readings, appliance_slots
from measurements.figures import Figures, Part, sum_figures, system_figures
from measurements.resolutions import SLOT_MS, from_ms, slot_start_ms, to_ms
from tests.measurements.arrivals import BEGIN, Device

# Longer than any history here, so that everything has an end within.
_SPAN_MS = 30 * 24 * 3_600_000
# Columns of the table of readings in single precision.
_SINGLE = {"power_w", "soc", "energy_wh", "temperature_c"}
_FLOATS = (
    "imported_wh",
    "exported_wh",
    "mean_w",
    "min_w",
    "max_w",
    "soc",
    "stored_wh",
    "temperature_c",
)


def slots_of(device: Device, *, begin: datetime = BEGIN) -> ApplianceSlots:
    """All slots of thirty days, of readings that came as history."""
    instants = sorted(device.readings)
    names = sorted({name for values in device.readings.values() for name in values})
    columns = {}
    for name in names:
        column = np.array([device.readings[at].get(name, np.nan) for at in instants], np.float64)
        single = name in _SINGLE
        columns[name] = column.astype(np.float32).astype(np.float64) if single else column
    from_ms_ = slot_start_ms(to_ms(begin))
    return appliance_slots(
        Readings(to_ms(begin) + 1000 * np.array(instants, np.int64), columns),
        from_ms_,
        from_ms_ + _SPAN_MS,
        nominal=Nominal(device.interval_s, device.limit_w, device.limit_w),
    )


def appliance_rows(slots: ApplianceSlots) -> dict[datetime, dict]:
    """The slots of which anything is known, as rows of the table."""
    rows = {}
    energies = {name: getattr(slots, name).to_list() for name in ("import_mwh", "export_mwh")}
    for index in np.flatnonzero(slots.known):
        floats = {name: float(getattr(slots, name)[index]) for name in _FLOATS}
        rows[from_ms(slots.start_ms[index])] = (
            {name: column[index] for name, column in energies.items()}
            | {name: None if np.isnan(value) else value for name, value in floats.items()}
            | {name: int(getattr(slots, name)[index]) for name in ("seen_s", "flags")}
            | {"carry": pack_carry(slots.carry[index])}
        )
    return rows


def pack_carry(carry: Floats) -> bytes | None:
    """A carry as the table of slots has it, None when no counter was ever read."""
    if np.isnan(carry).all():
        return None
    half = CARRY_SIZE // 2
    ordinary = np.isnan(carry[half:]).all()
    return carry[: half if ordinary else CARRY_SIZE].astype("<f8").tobytes()


def system_slots(
    devices: list[Device], made: list[ApplianceSlots], *, begin: datetime = BEGIN
) -> dict[datetime, dict]:
    """The figures of a system of these devices, slot by slot, where any of them tells of it."""
    firsts = [int(np.flatnonzero(slots.known)[0]) for slots in made]
    lasts = [
        len(slots)
        if device.removed_after_s is None
        else -(-(to_ms(begin) + device.removed_after_s * 1000 - slots.start_ms[0]) // SLOT_MS)
        for device, slots in zip(devices, made, strict=True)
    ]

    def present(index: int) -> tuple[int, ...]:
        return tuple(n for n in range(len(made)) if firsts[n] <= index < lasts[n])

    rows: dict[datetime, dict] = {}
    held = None
    for members, group in groupby(range(len(made[0])), key=present):
        indexes = list(group)
        span = slice(indexes[0], indexes[-1] + 1)
        figures = system_figures(
            [_part(devices[n], made[n], span) for n in members], len(indexes), before=held
        )
        known = np.any([made[n].known[span] for n in members] or [[False]], axis=0)
        for row, is_known, index in zip(figures.rows(), known, indexes, strict=False):
            if is_known:
                rows[from_ms(made[0].start_ms[index])] = row
                stored = row["stored_mwh"]
                held = None if stored is None else (stored, row["stored_from_grid_mwh"])
    return rows


def _part(device: Device, slots: ApplianceSlots, span: slice) -> Part:
    def amounts(name: str) -> Amounts:
        whole = getattr(slots, name)
        return Amounts(whole.values[span], whole.present[span])

    return Part(
        ROLES[device.kind],
        amounts("import_mwh"),
        amounts("export_mwh"),
        *(getattr(slots, name)[span] for name in ("soc", "stored_wh")),
        *(getattr(slots, name)[span] for name in ("imported_wh", "exported_wh")),
        *(getattr(slots, name)[span] for name in ("seen_s", "flags")),
        capacity_wh=device.capacity_wh,
    )


def figures_of(columns: Mapping[str, Sequence[float | None]]) -> Figures:
    """Figures of columns with None where absent: the inverse of `Figures.columns`."""
    return Figures.of_floats(
        {name: np.array(column, np.float64) for name, column in columns.items()}
    )


def sums_of(rows: dict[datetime, dict], zone: ZoneInfo, form: str) -> list[dict]:
    """The sums of slots by their local day or month (`form` of the date), in order."""
    ordered = sorted(rows.items())
    if not ordered:
        return []
    figures = figures_of({name: [row[name] for _at, row in ordered] for name in ordered[0][1]})
    labels = [at.astimezone(zone).strftime(form) for at, _row in ordered]
    starts = [0, *(n for n in range(1, len(labels)) if labels[n] != labels[n - 1])]
    return sum_figures(figures, np.array(starts)).rows()
