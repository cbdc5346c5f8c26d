"""For how long no news is no news: the one rule for readings, appliances and gateways. Pure."""

from collections.abc import Iterable
from datetime import timedelta

from inventory.kinds import LONGEST_INTERVAL_S

# A reading older than this many of its intervals, but never younger than the shortest, is stale.
STALE_INTERVALS = 3
STALE_AT_LEAST = timedelta(minutes=2)
# What is read beside the power, as a state of charge, may come more seldom than that: at least as
# often as an appliance must be read at all, and some minutes for its way.
BESIDE_STALE_AT_LEAST = timedelta(seconds=LONGEST_INTERVAL_S, minutes=5)


def stale_after(interval_s: int) -> timedelta:
    """From which age on a reading of an appliance that is read so often is stale."""
    return max(STALE_AT_LEAST, STALE_INTERVALS * timedelta(seconds=interval_s))


def beside_stale_after(interval_s: int) -> timedelta:
    """From which age on what is read beside its power is stale."""
    return max(BESIDE_STALE_AT_LEAST, stale_after(interval_s))


def silent_after(intervals_s: Iterable[int], *, says_status: bool) -> timedelta | None:
    """For how long a gateway may not be heard and still be said to be there; None: for ever.

    `intervals_s` are of its appliances: that which is read most often is missed first. One without
    any has nothing to say, and is there as long as nobody says that it is gone: one that never says
    that (`says_status`) is not. For many gateways the database decides it (`queries.with_state`).
    """
    shortest_s = min(intervals_s, default=None if says_status else 0)
    return None if shortest_s is None else stale_after(shortest_s)
