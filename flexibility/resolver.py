"""What remains of all constraints of an appliance, at an instant and over time. Pure and total.

Constraints are taken in order: the higher priority first, then the newer, then the smaller id.
Each one narrows what stands; one that has no point in common with it is discarded, whole, and
changes nothing. Power and energy are resolved separately, by the same rule. Powers in W, positive
into the appliance; energies in Wh; None is no statement.

What makes power richer than an interval: a set point is the range of one value, so whatever would
contradict it later is discarded; one that is `closest` bends to the nearest value instead, and so
does a range that `bends`, where no set point stands; and a pausable appliance has a hole, its
feasible set is {0} ∪ [min, max].

Source: design document “Flexibility and constraints”; `manage.py explain` resolves cases by hand.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from math import inf, isfinite
from typing import NamedTuple, Protocol

# The priority of physics, and of nobody else.
PHYSICAL = 2_147_483_647


class EmitterKind(StrEnum):
    """Who sets constraints."""

    DRIVER = "driver"
    FUSE = "fuse"
    GRID_OPERATOR = "grid_operator"
    OPERATOR = "operator"
    ACCOUNT_USER = "account_user"
    CLUSTER_LIMIT = "cluster_limit"
    LOCAL_USER = "local_user"
    CHARGING_POLICY = "charging_policy"


class ContradictoryConstraint(ValueError):
    """The constraint contradicts itself or its emitter; `field` is the one at fault."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A range and/or a set point, for as long as it is valid: [`valid_at`, `invalid_at`).

    A range that `bends` leaves what is nearest to it where stronger ones leave nothing of it. So do
    shares of limits: who is owed more than its share of a limit has that, and no more. And since a
    share is no more than what else is asked for, it decides nothing that another asks for as well.

    Raises ContradictoryConstraint where it could never be kept to.
    """

    id: str
    emitter: EmitterKind
    priority: int
    created_at: datetime
    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    closest: bool = False
    bends: bool = False
    pausable: bool = False
    min_wh: float | None = None
    max_wh: float | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("min_w", "max_w", "set_point_w", "min_wh", "max_wh"):
            value = getattr(self, name)
            if value is not None and not isfinite(value):
                raise ContradictoryConstraint(name, "is not a number")
        if not 0 <= self.priority <= PHYSICAL:
            raise ContradictoryConstraint("priority", f"is not in 0–{PHYSICAL}")
        if (self.emitter is EmitterKind.DRIVER) != (self.priority == PHYSICAL):
            raise ContradictoryConstraint("priority", "the physical one is the driver's, its only")
        if self.pausable and self.emitter is not EmitterKind.DRIVER:
            raise ContradictoryConstraint("pausable", "only a driver knows that")
        if _crossed(self.min_w, self.max_w):
            raise ContradictoryConstraint("min_w", "is above max_w")
        if _crossed(self.min_wh, self.max_wh):
            raise ContradictoryConstraint("min_wh", "is above max_wh")
        if _crossed(self.min_w, self.set_point_w) or _crossed(self.set_point_w, self.max_w):
            raise ContradictoryConstraint("set_point_w", "is outside of its own range")
        if self.valid_at and self.invalid_at and self.valid_at >= self.invalid_at:
            raise ContradictoryConstraint("invalid_at", "is not after valid_at")

    @property
    def speaks_of_power(self) -> bool:
        return self.pausable or not (self.min_w is self.max_w is self.set_point_w is None)

    @property
    def speaks_of_energy(self) -> bool:
        return not (self.min_wh is self.max_wh is None)


class OutcomeKind(StrEnum):
    """What became of a constraint, for power or for energy."""

    BINDING = "binding"
    REDUNDANT = "redundant"
    DISCARDED = "discarded"
    SCHEDULED = "scheduled"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`conflicts_with`: for what is discarded, the ids of those that it gave way to."""

    kind: OutcomeKind
    conflicts_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of one constraint; None for what it says nothing of."""

    power: Outcome | None = None
    energy: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Boundary:
    """What an appliance may do; None is open. `can_pause`: 0 is feasible besides [min, max]."""

    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    can_pause: bool = False
    min_wh: float | None = None
    max_wh: float | None = None


class Bounded(Protocol):
    """A boundary, or what keeps one."""

    max_w: float | None
    set_point_w: float | None


def most_w(boundary: Bounded) -> float | None:
    """The most that an appliance may take, in W; None where nobody bounds that.

    A set point is all that it may, whatever the range is.
    """
    return boundary.max_w if boundary.set_point_w is None else boundary.set_point_w


@dataclass(frozen=True, slots=True)
class Deciders:
    """The ids of the constraints that decide each part of a boundary; None where none does."""

    min_w: str | None = None
    max_w: str | None = None
    set_point_w: str | None = None
    no_pause: str | None = None
    min_wh: str | None = None
    max_wh: str | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """The boundary, who decides it, and for every constraint what became of it."""

    boundary: Boundary
    deciders: Deciders
    outcomes: dict[str, Outcomes] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """What holds in [`from_at`, `until_at`)."""

    from_at: datetime
    until_at: datetime
    resolution: Resolution

    @property
    def boundary(self) -> Boundary:
        return self.resolution.boundary


def resolve(constraints: Iterable[Constraint], *, at: datetime) -> Resolution:
    """What remains of the constraints at an instant."""
    return _Stages(_rules(constraints), at).resolve()


def timeline(
    constraints: Iterable[Constraint], *, from_at: datetime, until_at: datetime
) -> list[Segment]:
    """What remains of them over [`from_at`, `until_at`): a new segment where something changes.

    At every instant it is what `resolve` says.
    """
    segments: list[Segment] = []
    if from_at >= until_at:
        return segments
    for start, end, resolution in _resolutions(_rules(constraints), from_at, until_at):
        if segments and segments[-1].resolution == resolution:
            segments[-1] = Segment(segments[-1].from_at, end, resolution)
        else:
            segments.append(Segment(start, end, resolution))
    return segments


# From constraints to rules: what the loops below need, worked out once ---------------------------


class _Power(NamedTuple):
    """A constraint's range, its own set (of one value with a set point), and what else it says."""

    low: float
    high: float
    own_low: float
    own_high: float
    set_point: float | None
    pausable: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """A constraint as intervals; None for what it says nothing of."""

    constraint: Constraint
    id: str
    power: _Power | None
    energy: tuple[float, float] | None

    def outcomes(self, outcome: Outcome) -> Outcomes:
        """This outcome for all that the constraint speaks of."""
        return Outcomes(
            outcome if self.power is not None else None,
            outcome if self.energy is not None else None,
        )


def _rules(constraints: Iterable[Constraint]) -> list[_Rule]:
    """In the order in which they are considered."""
    ordered = sorted(constraints, key=lambda one: one.id)
    ordered.sort(key=lambda one: (one.priority, one.created_at), reverse=True)
    return [
        _Rule(
            one,
            one.id,
            _power(one) if one.speaks_of_power else None,
            _interval(one.min_wh, one.max_wh) if one.speaks_of_energy else None,
        )
        for one in ordered
    ]


def _power(constraint: Constraint) -> _Power:
    low, high = _interval(constraint.min_w, constraint.max_w)
    asked = constraint.set_point_w
    own = (low, high) if asked is None or constraint.closest else (asked, asked)
    return _Power(low, high, *own, asked, constraint.pausable)


def _interval(low: float | None, high: float | None) -> tuple[float, float]:
    return -inf if low is None else low, inf if high is None else high


def _crossed(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high


# Which of them take part, and when ---------------------------------------------------------------

_BINDING = Outcome(OutcomeKind.BINDING)
_REDUNDANT = Outcome(OutcomeKind.REDUNDANT)
_SCHEDULED = Outcome(OutcomeKind.SCHEDULED)
_EXPIRED = Outcome(OutcomeKind.EXPIRED)
_WITHDRAWN = Outcome(OutcomeKind.WITHDRAWN)
_REDUNDANT_POWER = Outcomes(power=_REDUNDANT)


def _staged(rule: _Rule, at: datetime) -> Outcomes | None:
    """What becomes of a constraint that takes no part at this instant; None where it does."""
    one = rule.constraint
    if one.withdrawn_at is not None and one.withdrawn_at <= at:
        return rule.outcomes(_WITHDRAWN)
    if one.invalid_at is not None and one.invalid_at <= at:
        return rule.outcomes(_EXPIRED)
    if one.valid_at is not None and one.valid_at > at:
        return rule.outcomes(_SCHEDULED)
    return None


class _Stages:
    """Who takes part, and what becomes of the others, as time goes on."""

    def __init__(self, rules: list[_Rule], at: datetime) -> None:
        self._rules = rules
        self.outcomes = {rule.id: _staged(rule, at) for rule in rules}
        self._taking_part = [
            number for number, rule in enumerate(rules) if self.outcomes[rule.id] is None
        ]

    def change(self, number: int, at: datetime) -> None:
        """Something that concerns this rule happens at this instant."""
        rule = self._rules[number]
        before, after = self.outcomes[rule.id], _staged(rule, at)
        self.outcomes[rule.id] = after
        if before is None and after is not None:
            self._taking_part.remove(number)
        elif before is not None and after is None:
            insort(self._taking_part, number)

    def resolve(self) -> Resolution:
        outcomes = self.outcomes.copy()
        standing = [self._rules[number] for number in self._taking_part]
        # An appliance has one driver constraint: a newer one replaces the older.
        while len(standing) > 1 and standing[1].constraint.priority == PHYSICAL:
            older = standing.pop(1)
            outcomes[older.id] = older.outcomes(_WITHDRAWN)
        power, power_by = _narrow_power(standing)
        energy, energy_by = _narrow_energy(standing)
        of_all = zip(standing, power_by.outcomes, energy_by.outcomes, strict=True)
        for rule, of_power, of_energy in of_all:
            # The commonest exist once: a long timeline has a hundred thousand of them.
            if of_power is _REDUNDANT and of_energy is None:
                outcomes[rule.id] = _REDUNDANT_POWER
            else:
                outcomes[rule.id] = Outcomes(of_power, of_energy)
        return Resolution(
            Boundary(*power, *energy), Deciders(*power_by.ids, *energy_by.ids), outcomes
        )


def _resolutions(
    rules: list[_Rule], from_at: datetime, until_at: datetime
) -> Iterator[tuple[datetime, datetime, Resolution]]:
    stages = _Stages(rules, from_at)
    changes: dict[datetime, list[int]] = {from_at: []}
    for number, rule in enumerate(rules):
        one = rule.constraint
        for instant in (one.valid_at, one.invalid_at, one.withdrawn_at):
            if instant is not None and from_at < instant < until_at:
                changes.setdefault(instant, []).append(number)
    for start, end in pairwise([*sorted(changes), until_at]):
        for number in changes[start]:
            stages.change(number, start)
        yield start, end, stages.resolve()


# The rule itself ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """The deciders' ids, and an outcome for each rule (None where it says nothing)."""

    ids: tuple[str | None, ...]
    outcomes: list[Outcome | None]


def _narrow_power(
    rules: list[_Rule],
) -> tuple[tuple[float | None, float | None, float | None, bool], _Found]:
    """(min_w, max_w, set_point_w, can_pause) and who decides them."""
    low, high, point, against_point = -inf, inf, None, None
    # Whether the 0 beside the interval stands. The interval goes on narrowing, and may get empty,
    # where only that 0 is left.
    has_hole = False
    low_by = high_by = point_by = no_pause_by = None
    outcomes: list[Outcome | None] = [None] * len(rules)
    for number, rule in enumerate(rules):
        if rule.power is None:
            continue
        range_low, range_high, own_low, own_high, asked, pausable = rule.power
        holds_zero = own_low <= 0 <= own_high
        if point is not None:
            fits = own_low <= point <= own_high
        else:
            at_least = own_low if own_low > low else low
            at_most = own_high if own_high < high else high
            fits = at_least <= at_most or (has_hole and holds_zero)
            if not fits and rule.constraint.bends:
                range_low, range_high = _bent((own_low, own_high), low, high, has_hole)
                fits = True
        if not fits:
            if point is not None:
                outcomes[number] = against_point
            elif no_pause_by is not None and holds_zero:
                outcomes[number] = _discarded(rules, no_pause_by)
            else:
                sides = _sides(own_low, own_high, low, high, low_by, high_by)
                outcomes[number] = _discarded(rules, *sides)
            continue
        outcomes[number] = _REDUNDANT
        if range_low > low or (range_low == low and _gives_way(rules, low_by, rule)):
            low, low_by = range_low, number
        if range_high < high or (range_high == high and _gives_way(rules, high_by, rule)):
            high, high_by = range_high, number
        if has_hole and not range_low <= 0 <= range_high:
            has_hole, no_pause_by = False, number
        if pausable:
            has_hole = not low <= 0 <= high
        if point is None and asked is not None:
            point = _nearest(asked, low, high, has_hole)
            point_by, against_point = number, _discarded(rules, number)
    deciders = (low_by, high_by, point_by, no_pause_by)
    found = _found(rules, outcomes, deciders)
    if low > high:
        return (0, 0, point, False), found
    return (_stated(low), _stated(high), point, has_hole), found


def _gives_way(rules: list[_Rule], decider: int | None, rule: _Rule) -> bool:
    """Whether who decides a bound leaves that to one that asks for the very same."""
    return decider is not None and rules[decider].constraint.bends and not rule.constraint.bends


def _narrow_energy(
    rules: list[_Rule],
) -> tuple[tuple[float | None, float | None], _Found]:
    """(min_wh, max_wh) and who decides them."""
    low, high = -inf, inf
    low_by = high_by = None
    outcomes: list[Outcome | None] = [None] * len(rules)
    for number, rule in enumerate(rules):
        if rule.energy is None:
            continue
        own_low, own_high = rule.energy
        if max(own_low, low) > min(own_high, high):
            sides = _sides(own_low, own_high, low, high, low_by, high_by)
            outcomes[number] = _discarded(rules, *sides)
            continue
        outcomes[number] = _REDUNDANT
        if own_low > low:
            low, low_by = own_low, number
        if own_high < high:
            high, high_by = own_high, number
    return (_stated(low), _stated(high)), _found(rules, outcomes, (low_by, high_by))


def _sides(own_low, own_high, low, high, low_by, high_by) -> list[int]:
    """Who decides the side that a set lies beyond; both, where only the two leave it no room."""
    against = [high_by] if own_low > high else []
    if own_high < low:
        against.append(low_by)
    return against or [low_by, high_by]


def _discarded(rules: list[_Rule], *against: int) -> Outcome:
    """With the ids of those that it gives way to, the strongest first."""
    first, *others = sorted(set(against))
    ids = (rules[first].id, *(rules[other].id for other in others))
    return Outcome(OutcomeKind.DISCARDED, ids)


def _nearest(asked: float, low: float, high: float, has_hole: bool) -> float:
    """The value of {0} ∪ [low, high] nearest to what is asked; of two the one nearer 0."""
    if low > high:
        return 0
    nearest = min(max(asked, low), high)
    if has_hole and abs(asked) <= abs(asked - nearest):
        return 0
    return nearest


def _bent(own: tuple[float, float], low: float, high: float, has_hole: bool) -> tuple[float, float]:
    """The value of {0} ∪ [low, high] nearest to a range beside it, of two the one nearer 0, as a
    range. Where only the 0 is left, there is nothing to decide."""
    own_low, own_high = own
    if low > high:
        return -inf, inf
    nearest, apart = (low, low - own_high) if own_high < low else (high, own_low - high)
    if has_hole and max(own_low, -own_high) <= apart:
        nearest = 0
    return nearest, nearest


def _found(rules: list[_Rule], outcomes: list[Outcome | None], deciders: tuple) -> _Found:
    for number in deciders:
        if number is not None:
            outcomes[number] = _BINDING
    return _Found(
        tuple(None if number is None else rules[number].id for number in deciders), outcomes
    )


def _stated(bound: float) -> float | None:
    return bound if isfinite(bound) else None
