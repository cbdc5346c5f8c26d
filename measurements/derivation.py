"""By which rule a figure of a system follows from others, or from its appliances. Pure.

`measurements.flows` computes; this module tells it backwards, one slot at a time, as sums that can
be checked with pencil and paper: signed terms, not below `least`, and not above the sum of `most`.
Names are those of `measurements.flows`; all energies are whole mWh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from inventory.kinds import Role
from measurements.amounts import sum_known
from measurements.flows import TOTALS

# What can be told of: what is measured or follows from it, and where each source went.
NAMES = (
    *TOTALS,
    "pv_to_load",
    "pv_to_battery",
    "pv_to_grid",
    "battery_to_load",
    "battery_to_grid",
    "grid_to_load",
    "grid_to_battery",
    "unmetered",
)
# The role of those who measure a figure, and which of their two energies it is.
MEASURED: dict[str, tuple[Role, str]] = {
    "pv": (Role.PV, "export_mwh"),
    "charge": (Role.BATTERY, "import_mwh"),
    "discharge": (Role.BATTERY, "export_mwh"),
    "ev": (Role.EV, "import_mwh"),
    "heat_pump": (Role.HEAT_PUMP, "import_mwh"),
    "heater": (Role.HEATER, "import_mwh"),
    "import": (Role.GRID, "import_mwh"),
    "export": (Role.GRID, "export_mwh"),
}


class Rule(StrEnum):
    """How a figure comes about."""

    MEASURED = "measured"  # the sum of what its appliances measured
    BY_HOUSE = "by_house"  # what the household's meter leaves over for the grid
    BALANCE = "balance"  # what came in, less what went out
    CONSUMERS = "consumers"  # the known consumers, where no meter was read
    REST = "rest"  # a total less its other parts
    SPLIT = "split"  # where a source went, by the order of the flows


class Term(NamedTuple):
    """One figure in a sum."""

    sign: int
    name: str


@dataclass(frozen=True, slots=True)
class Formula:
    """A rule, and the sum that it is of; without terms its appliances' energies add up."""

    rule: Rule
    terms: tuple[Term, ...] = ()
    least: int | None = None
    most: tuple[Term, ...] = ()

    def mwh(self, figures: Mapping[str, int | None]) -> int:
        """What it says of these figures, by name; what is absent counts as nothing."""
        value = _sum(self.terms, figures)
        if self.least is not None:
            value = max(self.least, value)
        return min(value, _sum(self.most, figures)) if self.most else value


def _sum(terms: Sequence[Term], figures: Mapping[str, int | None]) -> int:
    return sum(sign * (figures.get(name) or 0) for sign, name in terms)


def _terms(text: str) -> tuple[Term, ...]:
    """Of a text as in "+pv -export"."""
    return tuple(Term(1 if word[0] == "+" else -1, word[1:]) for word in text.split())


_MEASURED = Formula(Rule.MEASURED)
_BY_HOUSE = {
    "import": Formula(
        Rule.BY_HOUSE, _terms("+house +ev +heat_pump +heater +charge -pv -discharge"), least=0
    ),
    "export": Formula(
        Rule.BY_HOUSE, _terms("+pv +discharge -house -ev -heat_pump -heater -charge"), least=0
    ),
}
_CONSUMERS = Formula(Rule.CONSUMERS, _terms("+ev +heat_pump +heater"))
_DERIVED = {
    "consumption": Formula(
        Rule.BALANCE, _terms("+pv +discharge +import -charge -export -residual")
    ),
    "unmetered": _CONSUMERS,
    "household": Formula(Rule.REST, _terms("+consumption -ev -heat_pump -heater")),
    "pv_to_load": Formula(Rule.REST, _terms("+pv -pv_to_grid -pv_to_battery")),
    "battery_to_load": Formula(Rule.REST, _terms("+discharge -battery_to_grid")),
    "grid_to_load": Formula(Rule.REST, _terms("+import -grid_to_battery")),
    "battery_to_grid": Formula(
        Rule.SPLIT, _terms("+export -pv"), least=0, most=_terms("+discharge")
    ),
    "pv_to_grid": Formula(Rule.SPLIT, _terms("+export -battery_to_grid"), most=_terms("+pv")),
    "grid_to_battery": Formula(
        Rule.SPLIT, _terms("+charge -pv +pv_to_grid"), least=0, most=_terms("+import")
    ),
    "pv_to_battery": Formula(
        Rule.SPLIT, _terms("+charge -grid_to_battery"), most=_terms("+pv -pv_to_grid")
    ),
}


class PartOf(NamedTuple):
    """What an appliance took and gave in a slot (mWh), None where nothing tells of it."""

    role: Role
    import_mwh: int | None
    export_mwh: int | None


def formula_of(name: str, figures: Mapping[str, int | None], parts: Sequence[PartOf]) -> Formula:
    """By which formula the figure `name` of a slot came about.

    `figures` are the slot's totals and flows by name, `parts` those who measured in it: of the
    grid's and the household's meters at least. Raises KeyError for another name than `NAMES`.
    """
    if name in _BY_HOUSE and is_by_house(parts):
        return _BY_HOUSE[name]
    if name in MEASURED:
        return _MEASURED
    if name == "consumption" and figures.get("household") is None:
        return _CONSUMERS
    return _DERIVED[name]


def is_by_house(parts: Sequence[PartOf]) -> bool:
    """Whether the grid follows from the household's meter, because its own was not read."""
    by_grid = any(mwh is not None for part in parts if part.role is Role.GRID for mwh in part[1:])
    return not by_grid and house_mwh(parts) is not None


def measured_mwh(name: str, parts: Sequence[PartOf]) -> int | None:
    """What the appliances of a measured figure add up to; None where none of them tells."""
    role, side = MEASURED[name]
    return sum_known(getattr(part, side) for part in parts if part.role is role)


def derived_mwh(
    name: str, figures: Mapping[str, int | None], parts: Sequence[PartOf]
) -> int | None:
    """The figure as it follows from the others and from the parts: to be held against the stored.

    None where the slot makes no statement of it.
    """
    formula = formula_of(name, figures, parts)
    if formula.rule is Rule.MEASURED:
        return measured_mwh(name, parts)
    if figures.get(name) is None:
        return None
    return formula.mwh({**figures, "house": house_mwh(parts)})


def house_mwh(parts: Sequence[PartOf]) -> int | None:
    """What the household took by its own meter, None where that was not read."""
    taken = [part for part in parts if part.role is Role.HOUSE and part.import_mwh is not None]
    if not taken:
        return None
    houses = [part for part in parts if part.role is Role.HOUSE]
    return max(0, sum((one.import_mwh or 0) - (one.export_mwh or 0) for one in houses))
