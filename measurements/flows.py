"""What flowed from where to where in a system: the split of a slot or of live powers.

Energies are integers in mWh, so that flows add up to their totals exactly; the same split serves
live powers in mW. Absent is not zero: a system without a battery has no battery figures.

The balance of a slot, and what holds for it to the last mWh (absent counts as 0):

- `pv = pv_to_load + pv_to_battery + pv_to_grid`, `discharge = battery_to_load + battery_to_grid`,
  `import = grid_to_load + grid_to_battery`;
- each of `pv_to_load`, `battery_to_load`, `grid_to_load` is the sum of what household, EV, heat
  pump and heater have from it;
- `consumption = household + ev + heat_pump + heater`; the part of it of which no origin is known is
  `unmetered`;
- `pv + discharge + import = consumption + charge + export + residual`. The residual is 0 or
  negative: what was fed in, stored or used beyond what any source gave, because clocks differ
  between appliances or a part was not read. Sinks exceed the flows into them by just that much.

A PV inverter or battery that was not read counts as 0 in the balance (inverters sleep at night);
`seen_s` beside `expected_s` in the system's figures says that it is missing. Where neither the
grid's nor the household's meter was read in a slot, nothing is said about flows: its consumption is
what its known consumers used, and all of that is unmetered. So sums of slots with and without a
meter tell both, and what is made of them (`measurements.figures.rates_of`) keeps them apart. What
an EV or heat pump gives back is not a source here.

Within the load, EV, heat pump, heater and at last the household take PV, in that order. What each
of them still needs it has from battery and grid in the same proportion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from inventory.kinds import Role
from measurements.amounts import Amounts, Bools, Ints

CONSUMERS = ("ev", "heat_pump", "heater", "household")
SOURCES = ("pv", "battery", "grid")
TOTALS = (
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
)
FLOWS = (
    "pv_to_load",
    "pv_to_battery",
    "pv_to_grid",
    "battery_to_load",
    "battery_to_grid",
    "grid_to_load",
    "grid_to_battery",
    *(f"{consumer}_from_{source}" for consumer in CONSUMERS for source in SOURCES),
    "residual",
    "unmetered",
)


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """What a system's appliances took and gave: the input of the split.

    `metered` says where the grid's or the household's meter was read.
    """

    pv: Amounts
    charge: Amounts
    discharge: Amounts
    ev: Amounts
    heat_pump: Amounts
    heater: Amounts
    grid_import: Amounts
    grid_export: Amounts
    house: Amounts
    metered: Bools = field(init=False)

    def __post_init__(self) -> None:
        metered = self.grid_import.present | self.grid_export.present | self.house.present
        object.__setattr__(self, "metered", metered)


def balance_of(parts: Sequence[tuple[Role, Amounts, Amounts]], length: int) -> Balance:
    """The balance of appliances, each with its role, what it took and what it gave."""

    def total(role: Role, side: int) -> Amounts:
        return Amounts.total([part[side] for part in parts if part[0] is role], length)

    taken, given = total(Role.HOUSE, 1), total(Role.HOUSE, 2)
    return Balance(
        pv=total(Role.PV, 2),
        charge=total(Role.BATTERY, 1),
        discharge=total(Role.BATTERY, 2),
        ev=total(Role.EV, 1),
        heat_pump=total(Role.HEAT_PUMP, 1),
        heater=total(Role.HEATER, 1),
        grid_import=total(Role.GRID, 1),
        grid_export=total(Role.GRID, 2),
        house=Amounts.of(np.maximum(taken.values - given.values, 0), taken.present),
    )


def split(balance: Balance) -> dict[str, Amounts]:
    """Totals and flows (`TOTALS` and `FLOWS`, without suffix) of a balance."""
    b = balance
    pv, charge, discharge = b.pv.values, b.charge.values, b.discharge.values
    known = b.ev.values + b.heat_pump.values + b.heater.values
    bought, fed = _exchange(b, known)
    metered = b.metered

    battery_to_grid = np.minimum(discharge, np.maximum(0, fed.values - pv))
    pv_to_grid = np.minimum(pv, fed.values - battery_to_grid)
    pv_left = pv - pv_to_grid
    grid_to_battery = np.minimum(bought.values, np.maximum(0, charge - pv_left))
    pv_to_battery = np.minimum(pv_left, charge - grid_to_battery)
    to_load = {
        "pv": pv_left - pv_to_battery,
        "battery": discharge - battery_to_grid,
        "grid": bought.values - grid_to_battery,
    }
    consumption = np.maximum(to_load["pv"] + to_load["battery"] + to_load["grid"], known)
    residual = pv + discharge + bought.values - charge - fed.values - consumption

    has_pv, has_battery = b.pv.present & metered, b.charge.present | b.discharge.present
    has_battery = has_battery & metered
    has_grid = bought.present
    unmetered = (b.ev.present | b.heat_pump.present | b.heater.present) & ~metered
    flows = {
        "pv": b.pv,
        "charge": b.charge,
        "discharge": b.discharge,
        "ev": b.ev,
        "heat_pump": b.heat_pump,
        "heater": b.heater,
        "import": bought,
        "export": fed,
        "consumption": Amounts.of(np.where(metered, consumption, known), metered | unmetered),
        "household": Amounts.of(consumption - known, metered),
        "pv_to_load": Amounts.of(to_load["pv"], has_pv),
        "pv_to_battery": Amounts.of(pv_to_battery, has_pv & has_battery),
        "pv_to_grid": Amounts.of(pv_to_grid, has_pv),
        "battery_to_load": Amounts.of(to_load["battery"], has_battery),
        "battery_to_grid": Amounts.of(battery_to_grid, has_battery),
        "grid_to_load": Amounts.of(to_load["grid"], has_grid),
        "grid_to_battery": Amounts.of(grid_to_battery, has_grid & has_battery),
        "residual": Amounts.of(residual, metered),
        "unmetered": Amounts.of(known, unmetered),
    }
    present = {"pv": has_pv, "battery": has_battery, "grid": has_grid}
    return flows | _origins(flows, to_load, present)


def _exchange(b: Balance, known: Ints) -> tuple[Amounts, Amounts]:
    """Import and export: the grid meter's, else what the household's meter leaves over."""
    by_grid = b.grid_import.present | b.grid_export.present
    by_house = b.house.present & ~by_grid
    if not by_house.any():
        return b.grid_import, b.grid_export
    rest = b.house.values + known + b.charge.values - b.pv.values - b.discharge.values
    bought = np.where(by_house, np.maximum(rest, 0), b.grid_import.values)
    fed = np.where(by_house, np.maximum(-rest, 0), b.grid_export.values)
    return (
        Amounts(bought, b.grid_import.present | by_house),
        Amounts(fed, b.grid_export.present | by_house),
    )


def _origins(
    flows: Mapping[str, Amounts], to_load: Mapping[str, Ints], present: Mapping[str, Bools]
) -> dict[str, Amounts]:
    """What each consumer has from PV, battery and grid; each source's parts add up to it."""
    needs = {name: flows[name].values for name in CONSUMERS}
    taken: dict[str, dict[str, Ints]] = {"pv": {}}
    left = to_load["pv"]
    for name in CONSUMERS:
        taken["pv"][name] = np.minimum(needs[name], left)
        left = left - taken["pv"][name]
        needs[name] = needs[name] - taken["pv"][name]
    for source in ("battery", "grid"):
        taken[source] = _shares(to_load[source], needs)
        needs = {name: needs[name] - taken[source][name] for name in CONSUMERS}
    return {
        f"{name}_from_{source}": Amounts.of(
            taken[source][name], flows[name].present & present[source]
        )
        for name in CONSUMERS
        for source in SOURCES
    }


def _shares(amount: Ints, needs: Mapping[str, Ints]) -> dict[str, Ints]:
    """`amount` shared by needs (their sum is no less), in whole numbers that add up to it.

    By rounding the running sum, no share is negative or above its need.
    """
    whole = sum(needs.values())
    part = amount / np.maximum(whole, 1)
    shares, running, before = {}, np.zeros_like(amount), np.zeros_like(amount)
    for name, need in needs.items():
        running = running + need
        upto = np.where(running == whole, amount, np.floor(running * part + 0.5).astype(np.int64))
        shares[name], before = upto - before, upto
    return shares


def carry_battery(
    charge: Ints,
    discharge: Ints,
    grid_to_battery: Ints,
    measured: Amounts,
    *,
    before: tuple[int, int] | None,
) -> tuple[Ints, Ints, Ints]:
    """What a battery holds at the end of each slot, and how much of it came from the grid.

    All in mWh. `measured` is its energy at the slot's end where the battery tells it; elsewhere
    it follows from charge and discharge. `before` is (stored, stored from grid) at the end of
    the slot before the first, None at the beginning of history: then nothing in it is from the
    grid. Returns stored, stored from grid, and the part of the discharge that came from the
    grid. Everything in a battery is mixed: what it gives, loses and keeps has the same share.

    Sequential: a slot depends on the one before, and on nothing earlier. After a change it is
    enough to go on until stored and stored from grid are what they were.
    """
    if measured.present.all() and not (before and before[1]) and not grid_to_battery.any():
        nothing = np.zeros_like(charge)
        return measured.values, nothing, nothing
    stored, from_grid = before or (_at_first(charge, discharge, measured), 0)
    stored_at, from_grid_at, via = [], [], []
    for taken, given, bought, known, level in zip(
        charge.tolist(),
        discharge.tolist(),
        grid_to_battery.tolist(),
        measured.present.tolist(),
        measured.values.tolist(),
        strict=True,
    ):
        held, held_from_grid = max(stored + taken, given), from_grid + bought
        left, given_from_grid = held - given, _portion(given, held_from_grid, held)
        stored = level if known else left
        via.append(given_from_grid)
        from_grid = held_from_grid - given_from_grid
        if stored < 2 * left:  # losses and a gauge that steps keep the share; what is found is new
            from_grid = _portion(stored, from_grid, left)
        stored_at.append(stored)
        from_grid_at.append(from_grid)
    return tuple(np.array(column, np.int64) for column in (stored_at, from_grid_at, via))


def _at_first(charge: Ints, discharge: Ints, measured: Amounts) -> int:
    """What was in a battery before its first slot, as far as that slot tells it."""
    if not (len(charge) and measured.present[0]):
        return 0
    return max(0, int(measured.values[0]) - int(charge[0]) + int(discharge[0]))


def _portion(part: int, share: int, whole: int) -> int:
    return part * share // whole if whole else 0


def live_figures_of_many(
    systems: Sequence[Sequence[tuple[Role, float | None]]],
) -> list[dict[str, float | None]]:
    """Totals and flows of one instant in W, by the names of `TOTALS` and `FLOWS` with `_w`.

    Of many systems, in order: those of the same make are split at once. Each is given as the powers
    of its appliances, each with its role: positive into the appliance, None where there is no fresh
    reading.
    """
    makes: dict[tuple[Role, ...], list[int]] = {}
    for number, powers in enumerate(systems):
        makes.setdefault(tuple(role for role, _power in powers), []).append(number)
    found: list[dict[str, float | None]] = [{} for _system in systems]
    for roles, numbers in makes.items():
        flows = split(_live_balance(roles, [systems[number] for number in numbers]))
        names = [f"{name}_w" for name in flows]
        columns = [amount.to_list() for amount in flows.values()]
        for number, row in zip(numbers, zip(*columns, strict=True), strict=True):
            found[number] = {
                name: None if value is None else value / 1000
                for name, value in zip(names, row, strict=True)
            }
    return found


def _live_balance(
    roles: Sequence[Role], systems: Sequence[Sequence[tuple[Role, float | None]]]
) -> Balance:
    """The balance of systems of the same make, one system a slot, in mW."""
    parts = []
    for place, role in enumerate(roles):
        powers = [system[place][1] for system in systems]
        milliwatts = Amounts.of_list([None if w is None else round(w * 1000) for w in powers])
        values, present = milliwatts.values, milliwatts.present
        taken, given = np.maximum(values, 0), np.maximum(-values, 0)
        parts.append((role, Amounts(taken, present), Amounts(given, present)))
    return balance_of(parts, len(systems))
