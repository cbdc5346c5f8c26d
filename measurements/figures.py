"""The figures of a system: made of its appliances' slots, and summed over time.

Energies are integers in mWh. Coarser figures are sums of slots and of nothing else; rates come
from the sums. Column names are those of the tables, `COLUMNS` in their order, and `FLAGGED` which
slots do without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inventory.kinds import Role
from measurements.amounts import Amounts, Bools, Floats, Ints, floats_to_list, sum_known
from measurements.flags import Flag
from measurements.flows import FLOWS, TOTALS, Balance, balance_of, carry_battery, split
from measurements.resolutions import SLOT_S

SUMMED = tuple(f"{name}_mwh" for name in (*TOTALS, *FLOWS, "grid_via_battery"))
LAST = ("stored_mwh", "stored_from_grid_mwh")
LAST_FLOATS = ("soc", "imported_wh", "exported_wh")
# How much was seen of how much, and what there is to know of it.
QUALITY = ("seen_s", "expected_s", "flags")
COLUMNS = (*SUMMED, *LAST, *LAST_FLOATS, *QUALITY)
# What of that arrived late, and what of the rest was bridged: of slots it follows from their flags,
# of all else it is a sum, as their flags are those of any slot.
FLAGGED = ("recovered_s", "estimated_s")
_AMOUNTS = (*SUMMED, *LAST)
_SECONDS = ("seen_s", "expected_s", *FLAGGED)

# What batteries hold: mWh, and how much of it came from the grid. None where there is none.
Held = tuple[int, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One appliance's slots, aligned with those of its system's other appliances.

    The attributes are those of `measurements.energy.ApplianceSlots`. `capacity_wh` makes stored
    energy of a state of charge where the battery tells none.
    """

    role: Role
    import_mwh: Amounts
    export_mwh: Amounts
    soc: Floats
    stored_wh: Floats
    imported_wh: Floats
    exported_wh: Floats
    seen_s: Ints
    flags: Ints
    capacity_wh: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Figures of consecutive spans of a system, column by column.

    `amounts` holds the integer columns (`SUMMED` and `LAST`, mWh) by name, or those of them that
    are wanted; floats are NaN where absent. `soc`, `stored_*`, `imported_wh` and `exported_wh`
    are those at the end of the span.
    """

    amounts: Mapping[str, Amounts]
    soc: Floats
    imported_wh: Floats
    exported_wh: Floats
    seen_s: Ints
    expected_s: Ints
    flags: Ints
    recovered_s: Ints
    estimated_s: Ints

    def __len__(self) -> int:
        return len(self.seen_s)

    def held_at(self, row: int) -> Held:
        """What the batteries held at the end of a row."""
        stored, from_grid = (self.amounts[name] for name in LAST)
        if not stored.present[row]:
            return None
        return int(stored.values[row]), int(from_grid.values[row])

    def columns(self) -> dict[str, list]:
        """Every column of `COLUMNS` and `FLAGGED` as a list with None where absent."""
        amounts = self.amounts
        columns: dict[str, list] = {n: amounts[n].to_list() for n in _AMOUNTS if n in amounts}
        columns |= {name: floats_to_list(getattr(self, name)) for name in LAST_FLOATS}
        return columns | {n: getattr(self, n).tolist() for n in (*QUALITY, *FLAGGED)}

    def rows(self) -> list[dict[str, int | float | None]]:
        """One mapping a span, by the names of `COLUMNS` and `FLAGGED`."""
        columns = self.columns()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @classmethod
    def joined(cls, parts: Sequence["Figures"]) -> "Figures":
        """One after the other; at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            {n: Amounts.joined([part.amounts[n] for part in parts]) for n in parts[0].amounts},
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in (*LAST_FLOATS, *QUALITY, *FLAGGED)
            ),
        )

    def floats(self) -> dict[str, Floats]:
        """Every figure as a column of floats, NaN where absent; without seconds and flags.

        Exact up to 2**53 mWh, nine terawatt-hours.
        """
        amounts = self.amounts.values()
        present, values = [one.present for one in amounts], [one.values for one in amounts]
        wide = dict(zip(self.amounts, np.where(present, values, np.nan), strict=True))
        return wide | {name: getattr(self, name) for name in LAST_FLOATS}

    @classmethod
    def of_floats(cls, columns: Mapping[str, Floats]) -> "Figures":
        """Figures of columns of numbers as a database gives them, NaN where absent.

        Of the columns of `COLUMNS` and `FLAGGED`, those that nobody wants may be missing.
        """
        length = len(next(iter(columns.values())))
        absent, zero = np.full(length, np.nan), np.zeros(length)
        names = [name for name in _AMOUNTS if name in columns]
        together = Amounts.of_floats(np.array([columns[name] for name in names]))
        amounts = {
            name: Amounts(values, present)
            for name, values, present in zip(names, together.values, together.present, strict=True)
        }
        return cls(
            amounts,
            *(columns.get(name, absent) for name in LAST_FLOATS),
            *(columns.get(name, zero).astype(np.int64) for name in (*QUALITY, *FLAGGED)),
        )


def system_figures(parts: Sequence[Part], length: int, *, before: Held = None) -> Figures:
    """The figures of `length` consecutive slots of a system from its appliances' slots.

    The parts belong to the system throughout: where one comes or goes, other figures begin.
    `before` is what its batteries held before the first slot, None where there is none. Where
    nothing depends on what else flowed in the slot, rows may be coarser; `expected_s` and `FLAGGED`
    are those of slots all the same.
    """
    balance = balance_of([(p.role, p.import_mwh, p.export_mwh) for p in parts], length)
    amounts = {f"{name}_mwh": amount for name, amount in split(balance).items()}
    amounts |= _battery_figures(parts, balance, amounts["grid_to_battery_mwh"], before)
    in_balance = [part for part in parts if part.role is not Role.NONE]
    flags = np.zeros(length, np.int64)
    for part in in_balance:
        flags = flags | part.flags
    seen_s = sum((part.seen_s for part in in_balance), np.zeros(length, np.int64))
    expected_s = np.full(length, SLOT_S * len(in_balance), np.int64)
    grid = [part for part in parts if part.role is Role.GRID]
    return Figures(
        amounts=amounts,
        soc=_soc([part for part in parts if part.role is Role.BATTERY], length),
        imported_wh=_sum_of_all([part.imported_wh for part in grid], length),
        exported_wh=_sum_of_all([part.exported_wh for part in grid], length),
        seen_s=seen_s,
        expected_s=expected_s,
        flags=flags,
        recovered_s=np.where(flags & Flag.RECOVERED, seen_s, 0),
        estimated_s=np.where(flags & Flag.ESTIMATED, np.maximum(expected_s - seen_s, 0), 0),
    )


def _battery_figures(
    parts: Sequence[Part],
    balance: Balance,
    grid_to_battery: Amounts,
    before: Held,
) -> dict[str, Amounts]:
    length = len(balance.charge)
    batteries = [part for part in parts if part.role is Role.BATTERY]
    read = balance.charge.present | balance.discharge.present
    if not batteries:
        absent = Amounts.absent(length)
        return dict.fromkeys(("grid_via_battery_mwh", *LAST), absent)
    held = _sum_of_all([_stored_wh(part) for part in batteries], length)
    known = ~np.isnan(held)
    measured = Amounts.of(np.rint(np.nan_to_num(held) * 1000).astype(np.int64), known)
    # Once anything is known of the content, it is carried on through slots without a reading.
    begun = np.logical_or.accumulate(read | known) | (before is not None)
    unknown = int(np.count_nonzero(~begun))
    carried = carry_battery(
        balance.charge.values[unknown:],
        balance.discharge.values[unknown:],
        grid_to_battery.values[unknown:],
        Amounts(measured.values[unknown:], measured.present[unknown:]),
        before=before,
    )
    stored, from_grid, via = (np.pad(column, (unknown, 0)) for column in carried)
    return {
        "grid_via_battery_mwh": Amounts.of(via, balance.discharge.present & balance.metered),
        "stored_mwh": Amounts.of(stored, begun),
        "stored_from_grid_mwh": Amounts.of(from_grid, begun),
    }


def _stored_wh(part: Part) -> Floats:
    if part.capacity_wh is None:
        return part.stored_wh
    return np.where(np.isnan(part.stored_wh), part.soc * part.capacity_wh, part.stored_wh)


def _soc(batteries: Sequence[Part], length: int) -> Floats:
    """The state of charge of all batteries together: by capacity where all are known."""
    if len(batteries) == 1:
        return batteries[0].soc
    weights = [part.capacity_wh for part in batteries]
    weights = [1.0] * len(weights) if None in weights else weights
    top, bottom = np.zeros(length), np.zeros(length)
    for part, weight in zip(batteries, weights, strict=True):
        known = ~np.isnan(part.soc)
        top = top + np.where(known, part.soc * weight, 0)
        bottom = bottom + known * weight
    return np.divide(top, bottom, out=np.full(length, np.nan), where=bottom > 0)


def soc_of(batteries: Sequence[tuple[float, float | None]]) -> float | None:
    """The same of one instant, from the state of charge (0–1) and the capacity (Wh) of each battery
    that tells one; None of none."""
    if not batteries:
        return None
    by_capacity = all(capacity_wh for _soc, capacity_wh in batteries)
    weights = [capacity_wh if by_capacity else 1.0 for _soc, capacity_wh in batteries]
    charged = sum(soc * w for (soc, _capacity_wh), w in zip(batteries, weights, strict=True))
    return charged / sum(weights)


def _sum_of_all(columns: Sequence[Floats], length: int) -> Floats:
    """A sum that is absent (NaN) where any of its parts is, or where there are none."""
    return sum(columns[1:], columns[0]) if columns else np.full(length, np.nan)


def sum_figures(figures: Figures, starts: Ints) -> Figures:
    """Figures of coarser spans: group k is the rows from `starts[k]` up to the next start.

    Energies and seconds add up (what is absent in some rows is the sum of the others, what is
    absent in all stays absent), flags are joined, `LAST` and `LAST_FLOATS` are the last ones
    present. `starts` begins with 0 and rises strictly; rows are in the order of time.
    """
    summed = [name for name in figures.amounts if name not in LAST]
    amounts = dict(zip(summed, _sums([figures.amounts[n] for n in summed], starts), strict=True))
    return Figures(
        amounts={
            name: amounts[name] if name in amounts else _last(amount, starts)
            for name, amount in figures.amounts.items()
        },
        **{name: last_floats(getattr(figures, name), starts) for name in LAST_FLOATS},
        **{name: np.add.reduceat(getattr(figures, name), starts) for name in _SECONDS},
        flags=np.bitwise_or.reduceat(figures.flags, starts),
    )


def rates_of(figures: Mapping[str, float | None], suffix: str = "_mwh") -> dict[str, float | None]:
    """What a system makes of its sun, from (summed) figures or from live ones (`suffix="_w"`).

    `self_consumption`, `direct_consumption` and `self_supply` carry the suffix and its unit; the
    rates are in 0–1, or None where their denominator is 0 or absent. All follow from the flows, so
    that of sums they tell of the slots in which a meter was read, and of no others.
    """
    direct, stored = figures[f"pv_to_load{suffix}"], figures[f"pv_to_battery{suffix}"]
    to_load, to_grid = (figures[f"battery_to_{to}{suffix}"] for to in ("load", "grid"))
    known, unmetered = figures[f"consumption{suffix}"], figures[f"unmetered{suffix}"]
    kept = None if direct is None else direct + (stored or 0)
    supplied = None if direct is None and to_load is None else sum_known((direct, to_load, to_grid))
    whole = None if kept is None else kept + (figures[f"pv_to_grid{suffix}"] or 0)
    consumption = None if known is None else known - (unmetered or 0)
    bought_rate = _rate(figures[f"import{suffix}"], consumption)
    return {
        f"self_consumption{suffix}": kept,
        f"direct_consumption{suffix}": direct,
        f"self_supply{suffix}": supplied,
        "self_sufficiency_rate": None if bought_rate is None else 1 - bought_rate,
        "self_consumption_rate": _rate(kept, whole),
        "direct_consumption_rate": _rate(direct, whole),
    }


def _rate(part: float | None, whole: float | None) -> float | None:
    if part is None or not whole:
        return None
    return min(max(part / whole, 0.0), 1.0)


def rate_columns(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """What `rates_of` says of each row of energies, column by column; NaN where absent."""
    direct, to_load = columns["pv_to_load_mwh"], columns["battery_to_load_mwh"]
    or_0 = dict(zip(_OR_0, np.nan_to_num([columns[name] for name in _OR_0]), strict=True))
    kept = direct + or_0["pv_to_battery_mwh"]
    whole = kept + or_0["pv_to_grid_mwh"]
    neither = np.isnan(direct) & np.isnan(to_load)
    supplied = or_0["pv_to_load_mwh"] + or_0["battery_to_load_mwh"] + or_0["battery_to_grid_mwh"]
    consumption = columns["consumption_mwh"] - or_0["unmetered_mwh"]
    bought_rate, kept_rate, direct_rate = _rates(
        np.array([columns["import_mwh"], kept, direct]), np.array([consumption, whole, whole])
    )
    return {
        "self_consumption_mwh": kept,
        "direct_consumption_mwh": direct,
        "self_supply_mwh": np.where(neither, np.nan, supplied),
        "self_sufficiency_rate": 1 - bought_rate,
        "self_consumption_rate": kept_rate,
        "direct_consumption_rate": direct_rate,
    }


# What counts as 0 where it is absent.
_OR_0 = (
    "pv_to_load_mwh",
    "pv_to_battery_mwh",
    "pv_to_grid_mwh",
    "battery_to_load_mwh",
    "battery_to_grid_mwh",
    "unmetered_mwh",
)


def _rates(part: Floats, whole: Floats) -> Floats:
    ratio = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return np.clip(ratio, 0.0, 1.0)


def _sums(amounts: Sequence[Amounts], starts: Ints) -> list[Amounts]:
    """The sums of groups of rows, of all amounts at once."""
    if not amounts:
        return []
    values = np.add.reduceat([one.values for one in amounts], starts, axis=1)
    present = np.logical_or.reduceat([one.present for one in amounts], starts, axis=1)
    return list(map(Amounts, values, present))


def _last_index(present: Bools, starts: Ints) -> tuple[Ints, Bools]:
    rows = np.where(present, np.arange(len(present)), -1)
    last = np.maximum.reduceat(rows, starts)
    return last, last >= starts


def _last(amount: Amounts, starts: Ints) -> Amounts:
    last, present = _last_index(amount.present, starts)
    return Amounts.of(amount.values[last], present)


def last_floats(column: Floats, starts: Ints) -> Floats:
    """Of each group of rows the last that is present; NaN where none is."""
    last, present = _last_index(~np.isnan(column), starts)
    return np.where(present, column[last], np.nan)
