"""One limit for many: how the limits of clusters are divided among their members. Pure.

`allot` takes nodes (clusters, in trees), their limits, and the members (appliances) as they are
*without* shares; it gives every member its share and says why. `headroom` makes a dynamic limit
out of what a meter measures. Positive power flows into the appliance.

What holds
----------
- At every node, on every phase: what the members beneath are counted with never adds up to more
  than a limit that can be reached. Inside, powers are whole mW (on phases, sixths of a mW), so
  this is exact; what does not divide evenly, less than 1 mW a member, stays unallotted.
- The order of nodes and members makes no difference, and the same input gives the same shares.
- A share always leaves 0 W within it: it takes room away and never gives an order. Nobody is made
  to feed in because of a limit on consumption, or the other way round.

How a limit is divided
----------------------
Both sides are alike: `max_w` bounds the sum of what members draw, `min_w` the sum of what they
feed in, each by itself. What a member feeds in makes no room for others to draw: a battery may be
empty and a cloud may come within the second. (A meter sees it: a dynamic limit grows with what
is fed in by those who are *not* members.)

1. First comes what cannot be helped: minima of those that cannot pause, set points, and members
   that are stale, with their worst case (`Member.worst_w`). Where that alone is more than a limit,
   the limit is unreachable: the node says by how much and by whom, they keep theirs, and everyone
   else gets the least there is, a minimum or a pause.
2. Then the minima of those that can pause, by turns (`turns`); who gets none is paused.
3. Then the rest, from the root down. A node's strategy divides what the node has among *all*
   members beneath it, as if there were no nodes between, except that each node between keeps its
   own limit; a node between with another strategy then divides its members' sum by its own.
4. Those that ask for nothing (no car is plugged in) have what all others leave. They are not let
   loose: where nothing is left, they are held at 0 until they ask.

`EQUALLY` and `PROPORTIONAL` make whole shares equal, or proportional to the maxima, and not only
what lies above the minima: a minimum counts as a part of the share. `FIRST_COME_FIRST_SERVE` and
`SERIES` fill one member after the other, each to its maximum. All four fill what there is: nothing
is left while somebody could have it. Only where phases bind at several nodes one above the
other, or indivisible minima do not fit, may some be left.

Several limits of one cluster are a chain of nodes, one above the other. Limits of different
priority go through `allot` one after the other, the strongest first, since a member's minimum
may be stronger than one and weaker than another; the shares of one are part of the boundary
at the next, and what a weaker one would leave is part of it at a stronger one.

Over time
---------
A share falls at once and rises by no more than `Pace.rise_w_per_s`, except for the step from a
pause to the minimum, as there is nothing between. Meanwhile others have what the rising one cannot
have yet. Without any limit above it, a member is unlimited at once. Whoever sends shares out sends
those that fall before those that rise.

A higher limit means no smaller sum, unless somebody can pause: minima do not come in parts, and one
whose turn it is may first become possible by the higher limit, and then others wait for it.
"""

from flexibility.allotment.allotting import allot, fits
from flexibility.allotment.headroom import Measured, headroom
from flexibility.allotment.places import UnusableTree
from flexibility.allotment.terms import (
    IN_USE_W,
    Allotment,
    Bound,
    Last,
    Limit,
    Member,
    Node,
    NodeOutcome,
    Pace,
    PhaseWatts,
    Share,
    Side,
    Strategy,
    Tally,
    Why,
)

__all__ = [
    "IN_USE_W",
    "Allotment",
    "Bound",
    "Last",
    "Limit",
    "Measured",
    "Member",
    "Node",
    "NodeOutcome",
    "Pace",
    "PhaseWatts",
    "Share",
    "Side",
    "Strategy",
    "Tally",
    "UnusableTree",
    "Why",
    "allot",
    "fits",
    "headroom",
]
