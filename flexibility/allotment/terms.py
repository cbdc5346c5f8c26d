"""What goes into an allotment and what comes out of it.

Powers are in W, positive into the appliance; `None` is no statement. Instants are UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

# The same quantity on each of the phases 1, 2 and 3.
PhaseWatts = tuple[float, float, float]
# Who takes less takes nothing: so much a car or a device may take at rest, too.
IN_USE_W = 250.0


class Strategy(StrEnum):
    """How a limit is divided beyond the minima."""

    EQUALLY = "equally"
    PROPORTIONAL = "proportional"
    FIRST_COME_FIRST_SERVE = "first_come_first_serve"
    SERIES = "series"


class Side(StrEnum):
    """Which end of a range: `MAX` is about drawing power, `MIN` about feeding in."""

    MAX = "max"
    MIN = "min"

    @property
    def sign(self) -> int:
        """What turns a power of this side positive."""
        return 1 if self is Side.MAX else -1


class Why(StrEnum):
    """What decides one side of a share."""

    UNLIMITED = "unlimited"  # no node above it has a limit on this side
    FULL = "full"  # all that its own boundary allows
    STRATEGY = "strategy"  # its part of the limit
    MINIMUM = "minimum"  # the least it can have; there is not more
    SET_POINT = "set_point"  # one that is stronger than the limit
    PAUSED = "paused"  # its minimum does not fit, or it is another's turn
    RESTING = "resting"  # there would be room, but its pause is not over yet
    RAMPING = "ramping"  # on its way up
    IDLE = "idle"  # asks for nothing, and this is what others leave
    STALE = "stale"  # nobody knows what it does


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit for the sum of the members' power, as a whole and on each phase.

    `max_w` bounds what they draw together, `min_w` (negative) what they feed in together. A
    `max_w` below 0 or a `min_w` above, as `headroom` may give, leaves nothing to allot.
    """

    min_w: float | None = None
    max_w: float | None = None
    strategy: Strategy = Strategy.EQUALLY
    phase_min_w: PhaseWatts | None = None
    phase_max_w: PhaseWatts | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A cluster, in the one above it; one without a limit only holds others together."""

    key: str
    parent: str | None = None
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Last:
    """What a member had at the last allotment (`Share.last`); None was no limit."""

    at: datetime
    min_w: float | None = None
    max_w: float | None = None
    paused_since: datetime | None = None
    running_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance at a node, with its boundary as it is without shares.

    The boundary (`min_w`, `max_w`, `can_pause`: 0 is feasible besides, `set_point_w`) follows
    from constraints that are stronger than the limits.

    - `phases`: those it is connected to, its power spread evenly. None known: all of its power may
      be on any of them.
    - `order`: its place in `SERIES`, lowest first. `active_since`: since when it has asked for
      power, for `FIRST_COME_FIRST_SERVE`; those of which it is unknown come last.
    - `draws`, `feeds`: whether it asks to draw power (a car is plugged in), or to feed in.
    - `is_stale`, `measured_w`, `measured_phases_w`: its newest readings.
    - `holds_min_w`, `holds_max_w`: the share that holds even if its gateway stays silent: one that
      was acknowledged and lasts until the next allotment; where several may be in force, the
      widest of them. None: there is none.
    - `last`: what it had at the last allotment, None if it took part in none.
    """

    key: str
    node: str
    min_w: float | None = None
    max_w: float | None = None
    can_pause: bool = False
    set_point_w: float | None = None
    phases: tuple[int, ...] = ()
    order: int = 0
    active_since: datetime | None = None
    draws: bool = True
    feeds: bool = True
    is_stale: bool = False
    measured_w: float | None = None
    measured_phases_w: PhaseWatts | None = None
    holds_min_w: float | None = None
    holds_max_w: float | None = None
    last: Last | None = None

    def facing(self, side: Side) -> tuple[float | None, float | None, float | None]:
        """Minimum, maximum and set point, with the powers of a side positive."""
        if side is Side.MAX:
            return self.min_w, self.max_w, self.set_point_w
        return _negative(self.max_w), _negative(self.min_w), _negative(self.set_point_w)

    def worst_w(self, side: Side) -> float | None:
        """The most power (≥ 0) that it may have on a side while nobody hears of it; None: any.

        Its readings were of another time, and whatever was sent since may have reached it or not.
        What is left is its boundary, and the share that holds. But a share that would contradict
        its minimum or set point is discarded by them, and then it does not bound at all.
        """
        least, most, set_point = self.facing(side)
        held = self.holds_max_w if side is Side.MAX else _negative(self.holds_min_w)
        kept = max(0.0 if self.can_pause else least or 0.0, set_point or 0.0)
        bounds = [] if most is None else [most]
        if held is not None and held >= kept:
            bounds.append(held)
        return max(0.0, min(bounds)) if bounds else None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things change.

    `rise_w_per_s`: how fast a share may grow, None at once. `dwell`: how long a member keeps its
    turn, and how long a pause lasts at least. A limit that falls ends a turn at once. `rest`: how
    long a pause lasts at least where there is room for all who ask; None: as long as others.
    """

    rise_w_per_s: float | None = None
    dwell: timedelta = timedelta(0)
    rest: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a share: the power (None: no limit), what decides it, and at which node.

    `by` is the node whose limit decides, or the nearest one with a limit where none does.
    """

    w: float | None
    why: Why
    by: str | None


@dataclass(frozen=True, slots=True)
class Share:
    """What one member has of the limits above it.

    One that the limits pause is at 0. `running_since`: since when it has had its turn; only those
    that can pause take turns. `paused_since`: since when it waits for one, be it because something
    else than the limits holds it at 0. A stale member is told this, but counted with
    `Member.worst_w`.
    """

    key: str
    lower: Bound
    upper: Bound
    is_paused: bool = False
    paused_since: datetime | None = None
    running_since: datetime | None = None

    @property
    def min_w(self) -> float | None:
        """The most it may feed in, as a power ≤ 0."""
        return self.lower.w

    @property
    def max_w(self) -> float | None:
        """The most it may draw."""
        return self.upper.w

    def last(self, at: datetime) -> Last:
        """What to hand in at the next allotment; `at` is the instant of this one."""
        return Last(at, self.min_w, self.max_w, self.paused_since, self.running_since)


@dataclass(frozen=True, slots=True)
class Tally:
    """How one limit of a node (on one phase, where it is one) and its members get on.

    `allotted_w` is what they are counted with, `over_w` (≥ 0) by how much that is beyond the
    limit; None where a stale member may have any power. `by` are those who cannot be brought down
    and what they have, the largest first. Without any, what is measured beside the members
    alone is too much. `blind`: nobody knows what the load beside the members leaves, so nothing is
    given out.
    """

    side: Side
    phase: int | None
    limit_w: float
    allotted_w: float | None
    over_w: float | None = 0.0
    by: tuple[tuple[str, float | None], ...] = ()
    blind: bool = False


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """A node with a limit, and whether it can be kept."""

    key: str
    tallies: tuple[Tally, ...]

    @property
    def is_reachable(self) -> bool:
        """Whether all of its limits are kept, whatever the members do."""
        return all(tally.over_w == 0 for tally in self.tallies)


@dataclass(frozen=True, slots=True)
class Allotment:
    """The shares of all members, and the outcomes of all nodes with a limit, by key."""

    shares: Mapping[str, Share] = field(default_factory=dict)
    nodes: Mapping[str, NodeOutcome] = field(default_factory=dict)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
