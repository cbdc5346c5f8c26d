"""Dividing a limit among 1,000 members in 3 levels, against one plain pass over them."""

from datetime import UTC, datetime, timedelta

from flexibility.allotment import Last, Limit, Member, Node, Pace, Strategy, allot
from tests.benchmarks.timing import timed

MEMBERS = 1000
BAR_MS = 20
_HALLS, _ROWS = 10, 5
_NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)
_PACE = Pace(rise_w_per_s=100, dwell=timedelta(minutes=15))


def measure(*, scale: float) -> dict:
    """Milliseconds for `1000 * scale` charging stations, by the strategy of all nodes.

    Two in three have their minimum by turns and one is paused or asks for nothing; one in fifty is
    stale. The bare limit is a sum of the maxima, and each maximum cut to its part of the limit.
    """
    count = max(_HALLS * _ROWS, round(MEMBERS * scale))
    members = _members(count)
    limit_w = count * 3000.0
    bare_ms = timed(lambda: _bare(members, limit_w))
    by_strategy = {}
    for strategy in Strategy:
        nodes = _nodes(limit_w, strategy)
        by_strategy[strategy.value] = timed(
            lambda nodes=nodes: allot(nodes=nodes, members=members, pace=_PACE, now=_NOW)
        )
    slowest_ms = max(each["worked"] for each in by_strategy.values())
    return {
        "workload": {"members": count, "nodes": 1 + _HALLS + _HALLS * _ROWS, "levels": 3},
        "bar_ms": BAR_MS,
        "bare_ms": bare_ms,
        "allot_ms": by_strategy,
        "ratio": round(slowest_ms / bare_ms["worked"], 1),
    }


def _nodes(limit_w: float, strategy: Strategy) -> list[Node]:
    """A site, its halls and their rows, each with a limit; all limits bind somewhere."""
    nodes = [Node("site", None, Limit(max_w=limit_w, strategy=strategy))]
    for hall in range(_HALLS):
        hall_w = limit_w / _HALLS * (0.8 if hall % 2 else 1.6)
        nodes.append(Node(f"{hall}", "site", Limit(max_w=hall_w, strategy=strategy)))
        for row in range(_ROWS):
            row_w = hall_w / _ROWS * (0.8 if row % 2 else 1.6)
            limit = Limit(max_w=row_w, strategy=strategy)
            nodes.append(Node(f"{hall}.{row}", f"{hall}", limit))
    return nodes


def _members(count: int) -> list[Member]:
    return [
        Member(
            f"{number:05}",
            f"{number % _HALLS}.{number // _HALLS % _ROWS}",
            min_w=(1380.0, 4140.0)[number % 2],
            max_w=(7400.0, 11000.0, 22000.0)[number % 3],
            can_pause=True,
            order=number * 37 % count,
            active_since=_NOW - timedelta(seconds=number * 61 % 7200),
            draws=number % 7 != 0,
            is_stale=number % 50 == 0,
            holds_max_w=4140.0,
            last=_last(number),
        )
        for number in range(count)
    ]


def _last(number: int) -> Last:
    at, since = _NOW - timedelta(seconds=10), _NOW - timedelta(seconds=number * 17 % 3600)
    if number % 3 == 0:
        return Last(at, max_w=0.0, paused_since=since)
    return Last(at, max_w=4140.0 + number, running_since=since)


def _bare(members: list[Member], limit_w: float) -> list[float]:
    whole = sum(member.max_w for member in members)
    return [min(member.max_w, limit_w * member.max_w / whole) for member in members]
