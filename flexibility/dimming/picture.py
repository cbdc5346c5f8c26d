"""What was measured of a dimming as a picture: the power over time below its limit. Pure.

A template draws it. Powers in W; lengths are user units of the SVG, y grows downwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor, log10
from zoneinfo import ZoneInfo

from flexibility.dimming.evidence import LONGEST_GAP, Sample

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 700, 12, 168
_TICKS = [timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440)]
_MOST_TICKS = 8
# Points closer than this could not be told apart.
_MOST_POINTS = 2 * (RIGHT - LEFT)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line with a text: of a time, or of a power."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """`curve` is an SVG path; the dimming lasts `dimmed_width` from `from_x`, below `limit_y`."""

    curve: str
    from_x: float
    dimmed_width: float
    limit_y: float
    times: tuple[Tick, ...]
    powers: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    plot_height: int = BOTTOM - TOP


def draw(
    samples: Sequence[Sample],
    limit_w: float,
    *,
    started_at: datetime,
    ended_at: datetime,
    zone: ZoneInfo,
    power: Callable[[float], str],
) -> Picture | None:
    """The picture, with a tenth of the time before and after it; None where nothing was measured.

    `power` writes a power on the axis.
    """
    margin = max((ended_at - started_at) / 20, timedelta(seconds=30))
    from_at, until_at = started_at - margin, ended_at + margin
    shown = [(at, watts) for at, watts in samples if from_at <= at <= until_at]
    known = [watts for _, watts in shown if watts is not None]
    if not known:
        return None
    steps = _steps(min(0.0, *known), max(limit_w, *known))

    def x(at: datetime) -> float:
        return round(LEFT + (RIGHT - LEFT) * ((at - from_at) / (until_at - from_at)), 1)

    def y(watts: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (watts - steps[0]) / (steps[-1] - steps[0]), 1)

    return Picture(
        curve=_curve(shown, x, y),
        from_x=x(started_at),
        dimmed_width=round(x(ended_at) - x(started_at), 1),
        limit_y=y(limit_w),
        times=tuple(Tick(x(at), f"{at:%H:%M}") for at in _times(from_at, until_at, zone)),
        powers=tuple(Tick(y(watts), power(watts)) for watts in steps),
    )


def _curve(
    samples: Sequence[Sample], x: Callable[[datetime], float], y: Callable[[float], float]
) -> str:
    """A line from sample to sample, broken where nothing was measured for too long."""
    every = max(1, ceil(len(samples) / _MOST_POINTS))
    parts, last = [], None
    for start in range(0, len(samples), every):
        # Of several in one place the highest: a thinned picture hides no excess.
        at, watts = max(samples[start : start + every], key=lambda one: one[1] or 0.0)
        if watts is None:
            last = None
            continue
        is_broken = last is None or at - last > LONGEST_GAP
        parts.append(f"{'M' if is_broken else 'L'}{x(at):g},{y(watts):g}")
        last = at
    return "".join(parts)


def _steps(low_w: float, high_w: float) -> list[float]:
    """Round powers from below the least to above the greatest."""
    rough = max(high_w - low_w, 1.0) / 4
    ten = 10.0 ** floor(log10(rough))
    step = next(one * ten for one in (1, 2, 5, 10) if one * ten >= rough)
    return [number * step for number in range(floor(low_w / step), ceil(high_w / step) + 1)]


def _times(from_at: datetime, until_at: datetime, zone: ZoneInfo) -> list[datetime]:
    """Round times of the day within a span, in the zone."""
    step = next((one for one in _TICKS if (until_at - from_at) / one <= _MOST_TICKS), _TICKS[-1])
    local = from_at.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + step * ceil((local - midnight) / step)
    found = []
    while at.astimezone(until_at.tzinfo) <= until_at:
        found.append(at)
        at += step
    every = ceil(len(found) / _MOST_TICKS) if found else 1
    return found[::every]
