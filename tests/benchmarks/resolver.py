"""Resolving 250 constraints at one instant and over two days, against one plain pass over them."""

import random
from datetime import UTC, datetime, timedelta

from flexibility.resolver import PHYSICAL, Constraint, EmitterKind, resolve, timeline
from tests.benchmarks.timing import timed

CONSTRAINTS = 250
INSTANT_BAR_MS, TIMELINE_BAR_MS = 1, 20
_NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)
_HORIZON = timedelta(hours=48)


def measure(*, scale: float) -> dict:
    """Milliseconds for `250 * scale` constraints of one appliance, some valid at a time.

    The bare limit is an intersection of the ranges of those that are valid, once for the instant
    and once for each segment of the timeline, without an order, set points or explanations.
    """
    constraints = _constraints(max(2, round(CONSTRAINTS * scale)))
    at = _NOW + timedelta(hours=10)
    segments = timeline(constraints, from_at=_NOW, until_at=_NOW + _HORIZON)
    starts = [segment.from_at for segment in segments]
    bare_ms = {
        "instant": timed(lambda: _intersection(constraints, at)),
        "timeline": timed(lambda: [_intersection(constraints, start) for start in starts]),
    }
    resolved_ms = {
        "instant": timed(lambda: resolve(constraints, at=at)),
        "timeline": timed(lambda: timeline(constraints, from_at=_NOW, until_at=_NOW + _HORIZON)),
    }
    return {
        "workload": {"constraints": len(constraints), "segments": len(segments)},
        "bar_ms": {"instant": INSTANT_BAR_MS, "timeline": TIMELINE_BAR_MS},
        "bare_ms": bare_ms,
        "resolved_ms": resolved_ms,
        "ratio": {
            name: round(resolved_ms[name]["worked"] / bare_ms[name]["worked"], 1)
            for name in bare_ms
        },
    }


def _intersection(constraints: list[Constraint], at: datetime) -> tuple[float, float]:
    low, high = float("-inf"), float("inf")
    for one in constraints:
        if (one.valid_at is None or one.valid_at <= at) and (
            one.invalid_at is None or at < one.invalid_at
        ):
            low = low if one.min_w is None else max(low, one.min_w)
            high = high if one.max_w is None else min(high, one.max_w)
    return low, high


def _constraints(count: int) -> list[Constraint]:
    """A pausable station's driver, and ranges and set points that bind, repeat and conflict."""
    chance = random.Random(1)
    found = [
        Constraint(
            id="driver",
            emitter=EmitterKind.DRIVER,
            priority=PHYSICAL,
            created_at=_NOW,
            min_w=4_140,
            max_w=22_000,
            pausable=True,
        )
    ]
    for number in range(count - 1):
        low, high = sorted(chance.sample(range(0, 25_000), 2))
        kind = number % 5
        valid_at = _NOW + timedelta(minutes=chance.randrange(-600, 2_800))
        found.append(
            Constraint(
                id=f"{number:05}",
                emitter=EmitterKind.ACCOUNT_USER,
                priority=chance.randrange(10_000),
                created_at=_NOW,
                min_w=low if kind in (0, 1) else None,
                max_w=high if kind in (0, 2, 3) else None,
                set_point_w=high if kind == 4 else None,
                closest=kind == 4 and number % 2 == 0,
                valid_at=valid_at,
                invalid_at=valid_at + timedelta(minutes=chance.randrange(15, 3_000)),
            )
        )
    return found
