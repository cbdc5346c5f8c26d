"""What is divided, among whom, and what comes of it. Pure.

Powers in W, positive into the appliance; None is no statement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Self

from flexibility.allotment import Limit, PhaseWatts, Tally, Why
from flexibility.resolver import Constraint
from inventory.kinds import ApplianceKind


class Span(NamedTuple):
    """A range of power that is bounded on some sides, or on none."""

    min_w: float | None = None
    max_w: float | None = None

    def narrowed(self, other: Self) -> Self:
        """What both allow."""
        return Span(_of(max, self.min_w, other.min_w), _of(min, self.max_w, other.max_w))

    def widened(self, other: Self) -> Self:
        """What one of them allows, and all between."""
        return Span(
            None if None in (self.min_w, other.min_w) else min(self.min_w, other.min_w),
            None if None in (self.max_w, other.max_w) else max(self.max_w, other.max_w),
        )


OPEN = Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A shared limit (`key`) of a cluster, or of a whole system, and when it was divided last.

    It is for `members` only, where there are any. With `net`, own production adds to it.
    """

    key: str
    cluster: str | None
    limit: Limit
    priority: int
    created_at: datetime
    kinds: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    dynamic: bool = False
    net: bool = False
    order: tuple[str, ...] = ()
    balanced_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A share, the widest that may be in force in its place, and what turns go by.

    By all schedules that may be in force, `wide` is the widest until the first instant of `ahead`,
    which tells the same from each of its instants on.
    `unconfirmed_since`: since when its gateway has not confirmed the newest that it was told.
    `unused_since`: since when a car takes nothing of it.
    """

    span: Span
    wide: Span = OPEN
    ahead: Mapping[datetime, Span] = field(default_factory=dict)
    paused_since: datetime | None = None
    running_since: datetime | None = None
    asks_since: datetime | None = None
    unused_since: datetime | None = None
    unconfirmed_since: datetime | None = None
    why_min: str = Why.UNLIMITED
    why_max: str = Why.UNLIMITED

    def widest_at(self, at: datetime) -> Span:
        """The widest that may be in force at an instant."""
        begun = [each for each in self.ahead if each <= at]
        return self.ahead[max(begun)] if begun else self.wide

    def confirmed(self, later: Mapping[datetime, Span], ends_at: datetime) -> "Kept":
        """The same where the newest schedule is confirmed, so that no other one may be in force:
        this share until the first instant of `later`, those until its end."""
        return replace(self, wide=self.span, ahead={**later, ends_at: OPEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """An appliance, in a cluster or in none, and all that is known of it.

    `constraints` are all that hold or will hold, but shares; `rated` is what it can do where no
    driver says so. `is_steered`: its gateway takes schedules, and it refused none; `is_confirmed`:
    the gateway has confirmed the newest. `kept` are its shares by limit.
    """

    key: str
    cluster: str | None
    kind: ApplianceKind
    place: int = 0
    constraints: tuple[Constraint, ...] = ()
    rated: Span = OPEN
    draws: bool = True
    is_stale: bool = False
    is_steered: bool = True
    is_confirmed: bool = True
    power_w: float | None = None
    phases_w: PhaseWatts | None = None
    phases: tuple[int, ...] = ()
    kept: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Division:
    """Shares by limit and taker, and what was found of each limit.

    `ahead`: the shares from later instants on, in their order, where they are to be others then.
    """

    shares: dict[tuple[str, str], Kept] = field(default_factory=dict)
    tallies: dict[str, tuple[Tally, ...]] = field(default_factory=dict)
    ahead: dict[tuple[str, str], list[tuple[datetime, Kept]]] = field(default_factory=dict)


def _of(choose, one: float | None, other: float | None) -> float | None:
    stated = [each for each in (one, other) if each is not None]
    return choose(stated) if stated else None


def or_inf(bound_w: float | None, sign: int = 1) -> float:
    return sign * float("inf") if bound_w is None else bound_w
