"""Dimming under § 14a EnWG: what each appliance or all together may draw. Pure.

Powers in W, positive into the appliance; a dimming limits what is drawn and never what is given.

Controllable, by the Federal Network Agency's ruling BK6-22-300 (annex 1), is what may draw more
than 4.2 kW and is one of these:

- a charging station (those open to the public are not, and are not handed in);
- a heat pump together with its auxiliary and emergency heaters, as one. Air conditioning counts
  like it; the inventory has no kind of its own for it, and enters it as a heat pump. Several heat
  pumps behind one connection count as one, however small each is;
- a battery, by what it charges with. Its discharge is nobody's business here.

A heater of its own is not controllable, nor are meters and inverters. An appliance of these kinds
whose rating nobody stated counts as controllable, with the least that is guaranteed.

What is guaranteed, whatever the grid operator asks:

- *direct*: each keeps 4.2 kW; a heat pump above 11 kW keeps 40 % of its rating.
- *EMS*: all together keep the larger of 4.2 kW and 40 % of the ratings of the heat pumps above
  11 kW, plus 4.2 kW for each further appliance, times the simultaneity factor of their number.
  What the site itself produces beyond its other loads may come on top, for it is not drawn from
  the grid. How the sum is divided is not decided here. The household's other loads are not dimmed
  and not part of the sum.

Source: design document “Flexibility and constraints”, section “Explaining”; BK6-22-300.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from inventory.kinds import ApplianceKind

_HEATING = (ApplianceKind.HEAT_PUMP, ApplianceKind.HEATER)
_CONTROLLABLE = (
    ApplianceKind.EV_CHARGING_STATION,
    ApplianceKind.HEAT_PUMP,
    ApplianceKind.BATTERY,
)


class Why(StrEnum):
    """Why an appliance, or the sum, is dimmed to what it is, or not at all."""

    FLOOR = "floor"  # keeps what everything controllable keeps
    SHARE = "share"  # a large heat pump: keeps its share of the rating
    NO_RATING = "no_rating"  # keeps the floor, for want of a rating that says more
    SMALL = "small"  # not dimmed: cannot draw more than the floor
    KIND = "kind"  # not dimmed: not of a controllable kind


@dataclass(frozen=True, slots=True)
class Rules:
    """The figures of the ruling. `factors`: for two appliances, three …; the last for all more."""

    floor_w: float = 4_200.0
    large_w: float = 11_000.0
    large_share: float = 0.4
    factors: tuple[float, ...] = (0.80, 0.75, 0.70, 0.65, 0.60, 0.55, 0.50, 0.45)

    def __post_init__(self) -> None:
        if not self.factors or not all(0 <= factor <= 1 for factor in self.factors):
            raise ValueError("Simultaneity factors are between 0 and 1, at least one.")

    def factor(self, count: int) -> float:
        """The simultaneity factor of so many appliances; 1 for a single one."""
        return 1.0 if count < 2 else self.factors[min(count - 2, len(self.factors) - 1)]


BK6_22_300 = Rules()


@dataclass(frozen=True, slots=True)
class Consumer:
    """An appliance of the system.

    `rated_w`: the most that it draws, for a battery that it charges with; None where nobody
    stated it. `part_of`: the key of the heat pump that a heater or heat pump is one with.
    """

    key: str
    kind: ApplianceKind
    rated_w: float | None
    part_of: str | None = None

    def __post_init__(self) -> None:
        if self.rated_w is not None and not isfinite(self.rated_w):
            raise ValueError("A rating is a number.")


@dataclass(frozen=True, slots=True)
class Limit:
    """What one appliance may draw (W) while it is dimmed; None where it is not dimmed."""

    key: str
    max_w: float | None
    why: Why


@dataclass(frozen=True, slots=True)
class SumLimit:
    """What the appliances of these keys may draw together (W), and how that comes about.

    `max_w` is `first_w` (`why` says what that is) plus (`count` − 1) × `factor` × the floor.
    `count` is of what counts as one: a heat pump and its heaters have several keys.
    """

    max_w: float
    first_w: float
    why: Why
    count: int
    factor: float
    keys: tuple[str, ...]


def direct_limits(consumers: Sequence[Consumer], *, rules: Rules = BK6_22_300) -> tuple[Limit, ...]:
    """What each appliance is dimmed to where each is dimmed by itself, in their order."""
    limits: dict[str, Limit] = {}
    for unit in _units(consumers):
        why = _why(unit, rules)
        if why in (Why.SMALL, Why.KIND):
            limits |= {member.key: Limit(member.key, None, why) for member in unit}
        else:
            kept = _divided(_kept_w(unit, rules), unit, rules)
            limits |= {key: Limit(key, max_w, why) for key, max_w in kept.items()}
    return tuple(limits[consumer.key] for consumer in consumers)


def sum_limit(consumers: Sequence[Consumer], *, rules: Rules = BK6_22_300) -> SumLimit | None:
    """What the controllable appliances may draw together; None where there is none."""
    units = [unit for unit in _units(consumers) if _why(unit, rules) not in (Why.SMALL, Why.KIND)]
    if not units:
        return None
    large = sum(_rating(unit) for unit in units if _why(unit, rules) is Why.SHARE)
    share = rules.large_share * large
    first, factor = max(rules.floor_w, share), rules.factor(len(units))
    return SumLimit(
        max_w=first + (len(units) - 1) * factor * rules.floor_w,
        first_w=first,
        why=Why.SHARE if share > rules.floor_w else Why.FLOOR,
        count=len(units),
        factor=factor,
        keys=tuple(member.key for unit in units for member in unit),
    )


def _units(consumers: Sequence[Consumer]) -> list[list[Consumer]]:
    """The appliances by what counts as one: a heat pump with its parts, else each by itself."""
    by_key = {consumer.key: consumer for consumer in consumers}
    if len(by_key) < len(consumers):
        raise ValueError("An appliance is listed twice.")
    units: dict[str, list[Consumer]] = {}
    for consumer in consumers:
        units.setdefault(_head(consumer, by_key), []).append(consumer)
    return list(units.values())


def _head(consumer: Consumer, by_key: Mapping[str, Consumer]) -> str:
    """The key of the heat pump that an appliance is, in the end, a part of; else its own."""
    seen = {consumer.key}
    while consumer.kind in _HEATING and consumer.part_of is not None:
        whole = by_key.get(consumer.part_of)
        if whole is None or whole.kind is not ApplianceKind.HEAT_PUMP:
            break
        if whole.key in seen:
            raise ValueError("An appliance is part of itself.")
        seen.add(whole.key)
        consumer = whole
    return consumer.key


def _rating(unit: Sequence[Consumer]) -> float:
    """What a unit draws at most, as far as it is known."""
    return sum(max(member.rated_w or 0.0, 0.0) for member in unit)


def _why(unit: Sequence[Consumer], rules: Rules) -> Why:
    if not any(member.kind in _CONTROLLABLE for member in unit):
        return Why.KIND
    if unit[0].kind in _HEATING and _rating(unit) > rules.large_w:
        return Why.SHARE
    if _rating(unit) > rules.floor_w:
        return Why.FLOOR
    return Why.NO_RATING if any(member.rated_w is None for member in unit) else Why.SMALL


def _kept_w(unit: Sequence[Consumer], rules: Rules) -> float:
    """What is guaranteed to a controllable unit."""
    if _why(unit, rules) is not Why.SHARE:
        return rules.floor_w
    return max(rules.floor_w, rules.large_share * _rating(unit))


def _divided(kept_w: float, unit: Sequence[Consumer], rules: Rules) -> dict[str, float]:
    """What of it each member may draw: heat pumps first, for they make the most of it."""
    limits, left = {}, kept_w
    heaters = [member for member in unit if member.kind is ApplianceKind.HEATER]
    for members in ([member for member in unit if member not in heaters], heaters):
        # Of a member without a rating, no more is known than what it is guaranteed.
        weights = {
            member.key: rules.floor_w if member.rated_w is None else max(member.rated_w, 0.0)
            for member in members
        }
        whole = sum(weights.values())
        part = min(1.0, left / whole) if whole else 0.0
        limits |= {key: weight * part for key, weight in weights.items()}
        left -= min(left, whole)
    return limits
