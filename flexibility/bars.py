"""Constraints over time, as bars, and what remains of them, as a band: where all stands. Pure.

A template draws it. Each constraint is a bar in a lane (`stretches`); the lanes stand in the order
in which constraints are considered, the strongest on top. A bar is cut where its outcome changes.
Below them lies the band of what remains: an area from the least to the greatest power, the line of
the set point, and a line at 0 where the appliance may pause beside it. A side without a limit has
no edge and reaches to the end of the plot.

Spans are read from attributes and mappings (`queries.Span`); powers are W, turned around by
`sign=-1` for what is shown by what it gives. Lengths are user units of the SVG, y grows downwards.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import ceil, floor, log10
from typing import Any
from zoneinfo import ZoneInfo

from flexibility.stretches import Stretch, lanes_of, stretches_of

DRIVER = "driver"


@dataclass(frozen=True, slots=True)
class Shape:
    """Proportions: where the plot lies, and how much room lanes, texts and the band have.

    `name_above`: lanes have their name above the bar, not beside it.
    """

    name: str
    width: int
    left: int
    right: int
    lane: int
    bar: int
    band: int
    every_h: int
    letter: float
    name_above: bool = False


# Left of the plot there is room for the longest names of lanes in German, and for "-1,000".
WIDE = Shape("wide", 1000, 198, 992, lane=27, bar=20, band=150, every_h=6, letter=6.5)
MIDDLE = Shape("middle", 640, 198, 632, lane=25, bar=19, band=140, every_h=6, letter=6.5)
NARROW = Shape(
    "narrow", 360, 50, 352, lane=42, bar=20, band=150, every_h=12, letter=6.9, name_above=True
)
_TOP = 26
_GAP = 20
_FOOT = 40


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar with one outcome: binding, redundant or discarded."""

    x: float
    width: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A constraint. Its label stands in its widest piece, behind it, or nowhere.

    `label_outcome` is that of the piece; empty where the label stands behind the bar.
    """

    id: str
    pieces: tuple[Piece, ...]
    label: str
    label_x: float | None
    label_outcome: str
    is_new: bool
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """Constraints of one kind of emitter and one priority that do not overlap."""

    emitter: str
    priority: int
    is_new: bool
    y: float
    height: float
    name_x: float
    name_y: float
    label_y: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A line with a text: of an hour, of a day, of a power."""

    at: float
    text: str
    is_strong: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """What remains, as SVG paths; `before` is what it was without what is tried out.

    `open` is where there is no limit at all.
    """

    area: str
    open: str
    edges: str
    point: str
    pause: str
    before: str
    measured: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What a template draws. `left_out` counts the constraints without a bar."""

    shape: str
    width: int
    height: int
    left: int
    right: int
    top: float
    band_top: float
    bottom: float
    name_anchor: str
    lanes: tuple[Lane, ...]
    band: Band
    powers: tuple[Tick, ...]
    hours: tuple[Tick, ...]
    days: tuple[Tick, ...]
    now_x: float | None
    now_anchor: str
    left_out: int

    @property
    def plot_width(self) -> int:
        return self.right - self.left

    @property
    def plot_height(self) -> float:
        return round(self.bottom - self.top, 1)


@dataclass(frozen=True, slots=True)
class Words:
    """How a picture writes: a power on the axis, a day, and a constraint (by its id)."""

    power: Callable[[float], str]
    day: Callable[[date], str]
    asked: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """The mean power of [`from_at`, `until_at`)."""

    from_at: datetime
    until_at: datetime
    power_w: float


@dataclass(frozen=True, slots=True)
class _Scale:
    """From instants and powers to places."""

    from_at: datetime
    until_at: datetime
    left: float
    right: float
    low_w: float
    high_w: float
    top: float
    bottom: float

    def x(self, at: datetime) -> float:
        share = (at - self.from_at) / (self.until_at - self.from_at)
        return round(self.left + (self.right - self.left) * min(max(share, 0), 1), 1)

    def y(self, watts: float) -> float:
        share = (watts - self.low_w) / (self.high_w - self.low_w)
        return round(self.bottom - (self.bottom - self.top) * min(max(share, 0), 1), 1)


def draw(
    spans: Sequence[Any],
    *,
    now: datetime,
    zone: ZoneInfo,
    words: Words,
    shape: Shape = WIDE,
    sign: int = 1,
    before: Sequence[Any] = (),
    measured: Sequence[Measured] = (),
    limits_w: Iterable[float | None] = (),
    new: Collection[str] = (),
    chosen: str | None = None,
) -> Picture:
    """The picture of consecutive spans, at least one.

    `before`: the same time without the constraints `new`. `limits_w`: what the appliance was built
    for, so that the axis shows it.
    """
    from_at, until_at = spans[0].from_at, spans[-1].until_at
    rows, left_out = lanes_of(stretches_of(spans), new, chosen)
    band_top = _TOP + len(rows) * shape.lane + (_GAP if rows else 0)
    steps = _steps(
        [
            *(value for span in (*spans, *before) for value in sides(span.boundary, sign)),
            *(sign * one.power_w for one in measured),
            *(sign * value for value in limits_w if value is not None),
        ]
    )
    scale = _Scale(
        *(from_at, until_at, shape.left, shape.right),
        *(steps[0], steps[-1], band_top + 8, band_top + shape.band),
    )
    unlimited = [one for one in spans if one.boundary.min_w is one.boundary.max_w is None]
    limited = [one for one in spans if one not in unlimited]
    now_x = scale.x(now) if from_at < now < until_at else None
    return Picture(
        shape=shape.name,
        width=shape.width,
        height=band_top + shape.band + _FOOT,
        left=shape.left,
        right=shape.right,
        top=_TOP - 8,
        band_top=band_top,
        bottom=band_top + shape.band,
        name_anchor="start" if shape.name_above else "end",
        lanes=tuple(
            _lane(row, number, shape, scale, words, new, chosen) for number, row in enumerate(rows)
        ),
        band=Band(
            area=_area(limited, scale, sign, band_top),
            open=_area(unlimited, scale, sign, band_top),
            edges=_line(spans, scale, sign, 0) + _line(spans, scale, sign, 1),
            point=_line(spans, scale, sign, 2),
            pause=_pauses(spans, scale),
            before="".join(_line(before, scale, sign, side) for side in (0, 1, 2)),
            measured=_curve(measured, scale, sign),
        ),
        powers=tuple(Tick(scale.y(watts), words.power(watts), watts == 0) for watts in steps),
        hours=tuple(_hours(scale, zone, shape)),
        days=tuple(_days(scale, zone, shape, words)),
        now_x=now_x,
        now_anchor="middle" if now_x and now_x - shape.left > 60 else "start",
        left_out=left_out,
    )


def sides(boundary: Any, sign: int = 1) -> tuple[float | None, float | None, float | None]:
    """Least and greatest power and set point, as they are shown."""
    low, high, point = boundary.min_w, boundary.max_w, boundary.set_point_w
    if sign > 0:
        return low, high, point
    return _turned(high), _turned(low), _turned(point)


def _turned(watts: float | None) -> float | None:
    # Adding 0 makes 0 of -0.
    return None if watts is None else -watts + 0


# Bars --------------------------------------------------------------------------------------------


def _lane(
    row: Sequence[Stretch],
    number: int,
    shape: Shape,
    scale: _Scale,
    words: Words,
    new: Collection[str],
    chosen: str | None,
) -> Lane:
    top = _TOP + number * shape.lane
    y = top + (shape.lane - shape.bar if shape.name_above else (shape.lane - shape.bar) / 2)
    middle = y + shape.bar / 2 + 4
    ordered = sorted(row, key=lambda one: one.from_at)
    # Where the next bar begins, there is no room for texts any more.
    ends = [*(scale.x(one.from_at) for one in ordered[1:]), float(shape.right)]
    return Lane(
        emitter=row[0].emitter,
        priority=row[0].priority,
        is_new=row[0].id in new,
        y=y,
        height=shape.bar,
        name_x=shape.left if shape.name_above else shape.left - 12,
        name_y=y - 5 if shape.name_above else middle,
        label_y=middle,
        bars=tuple(
            _bar(one, end, shape, scale, words.asked.get(one.id, ""), new, chosen)
            for one, end in zip(ordered, ends, strict=True)
        ),
    )


def _bar(
    one: Stretch,
    end: float,
    shape: Shape,
    scale: _Scale,
    label: str,
    new: Collection[str],
    chosen: str | None,
) -> Bar:
    pieces = []
    for from_at, until_at, outcome in one.cuts:
        x = scale.x(from_at)
        pieces.append(Piece(x, round(max(scale.x(until_at) - x, 2), 1), outcome))
    widest = max(pieces, key=lambda piece: piece.width)
    needs = len(label) * shape.letter + 8
    last = pieces[-1].x + pieces[-1].width
    label_x, label_outcome = None, ""
    if needs + 6 <= widest.width:
        label_x, label_outcome = round(widest.x + 8, 1), widest.outcome
    elif last + needs <= end:
        label_x = round(last + 6, 1)
    return Bar(
        id=one.id,
        pieces=tuple(pieces),
        label=label,
        label_x=label_x,
        label_outcome=label_outcome,
        is_new=one.id in new,
        is_chosen=one.id == chosen,
    )


# The band ----------------------------------------------------------------------------------------


def _area(spans: Sequence[Any], scale: _Scale, sign: int, top: float) -> str:
    parts = []
    for span in spans:
        low, high, _point = sides(span.boundary, sign)
        above = top if high is None else scale.y(high)
        below = scale.bottom if low is None else scale.y(low)
        x, until = scale.x(span.from_at), scale.x(span.until_at)
        parts.append(f"M{x:g},{above:g}H{until:g}V{below:g}H{x:g}Z")
    return "".join(parts)


def _line(spans: Sequence[Any], scale: _Scale, sign: int, side: int) -> str:
    """A line in steps, broken where there is no statement."""
    parts, last = [], None
    for span in spans:
        watts = sides(span.boundary, sign)[side]
        if watts is not None:
            y = scale.y(watts)
            begin = f"M{scale.x(span.from_at):g},{y:g}" if last is None else f"V{y:g}"
            parts.append(f"{begin}H{scale.x(span.until_at):g}")
        last = watts
    return "".join(parts)


def _pauses(spans: Sequence[Any], scale: _Scale) -> str:
    y = scale.y(0)
    return "".join(
        f"M{scale.x(span.from_at):g},{y:g}H{scale.x(span.until_at):g}"
        for span in spans
        if span.boundary.can_pause
    )


def _curve(measured: Sequence[Measured], scale: _Scale, sign: int) -> str:
    parts, last = [], None
    for one in measured:
        y = scale.y(sign * one.power_w)
        begin = f"V{y:g}" if last == one.from_at else f"M{scale.x(one.from_at):g},{y:g}"
        parts.append(f"{begin}H{scale.x(one.until_at):g}")
        last = one.until_at
    return "".join(parts)


# Axes --------------------------------------------------------------------------------------------


def _steps(values: Iterable[float | None]) -> list[float]:
    """Round powers from below the least to above the greatest value, 0 among them."""
    known = [0.0, *(value for value in values if value is not None)]
    low, high = min(known), max(known)
    # Less than a watt is nothing that an axis could show.
    if high - low < 1:
        high = low + 1000.0
    rough = (high - low) / 4
    power_of_ten = 10.0 ** floor(log10(rough))
    step = next(one * power_of_ten for one in (1, 2, 5, 10) if one * power_of_ten >= rough)
    first, last = floor(low / step), ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _hours(scale: _Scale, zone: ZoneInfo, shape: Shape) -> Iterable[Tick]:
    for midnight, _following in _midnights(scale, zone):
        for hour in range(0, 24, shape.every_h):
            at = midnight.replace(hour=hour).astimezone(UTC)
            if scale.from_at <= at <= scale.until_at:
                yield Tick(scale.x(at), f"{hour:02}", hour == 0)


def _days(scale: _Scale, zone: ZoneInfo, shape: Shape, words: Words) -> Iterable[Tick]:
    """The name of each day at its beginning, where there is room for it."""
    for midnight, following in _midnights(scale, zone):
        x, until = scale.x(midnight), scale.x(following)
        name = words.day(midnight.date())
        if until - x >= len(name) * shape.letter + 10:
            yield Tick(x, name, midnight >= scale.from_at)


def _midnights(scale: _Scale, zone: ZoneInfo) -> Iterable[tuple[datetime, datetime]]:
    first = scale.from_at.astimezone(zone).date()
    count = (scale.until_at.astimezone(zone).date() - first).days + 2
    days = [first + timedelta(days=number) for number in range(count)]
    return pairwise(datetime(day.year, day.month, day.day, tzinfo=zone) for day in days)
