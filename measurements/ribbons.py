"""The energy flow of one instant, as ribbons from sources to sinks whose width is the power.

Pure geometry: a template draws it. Sources (sun, battery, grid) stand on the left, sinks (car, heat
pump, heater, house, battery, grid) on the right, always in the same order. Every part of a system
is on the picture exactly once or, while power runs through it both ways, on both sides; a part
without power rests, drawn small. So nothing comes and goes between two pictures of one system,
and the height depends only on its parts.

Powers are W under the names of the live figures (`pv_w`, `ev_from_pv_w`, …), read from attributes;
None is no statement. Lengths are user units of the SVG, y grows downwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Powers below this are drawn as rest: meters are never quite still.
REST_W = 5
# Pictures of little power stay thin: the full height is not reached below this.
FULL_HEIGHT_W = 2000
# What no flow explains is shown only when it matters: beside clock skew, always some W.
UNEXPLAINED_W = 50
UNEXPLAINED_SHARE = 0.05

SOURCES = ("pv", "battery", "grid", "unknown")
# Consumers in the order in which they take from the sun, so that few ribbons cross.
SINKS = ("ev", "heat_pump", "heater", "household", "battery", "grid", "unknown")
TONES = {
    "pv": "sun",
    "battery": "battery",
    "grid": "grid",
    "household": "house",
    "heat_pump": "heat",
    "heater": "heater",
    "ev": "car",
    "unknown": "missing",
}
_SINK_TONES = TONES | {"battery": "battery-in", "grid": "feed-in"}
_GIVEN = {"pv": "pv_w", "battery": "discharge_w", "grid": "import_w"}
_TAKEN = {
    "ev": "ev_w",
    "heat_pump": "heat_pump_w",
    "heater": "heater_w",
    "household": "household_w",
    "battery": "charge_w",
    "grid": "export_w",
}
_TO_STORE_AND_GRID = (
    ("pv", "battery"),
    ("pv", "grid"),
    ("battery", "grid"),
    ("grid", "battery"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Proportions of a picture: where the bars stand and how much room a label needs."""

    name: str
    width: int
    left: int
    right: int
    bar: int
    label_gap: int
    slot: int
    gap: int
    room: int

    def height(self, rows: int) -> int:
        """The height for so many nodes on the fuller side."""
        return rows * (self.slot + self.gap) + self.room


WIDE = Shape("wide", 1000, 150, 850, 8, 16, slot=46, gap=10, room=96)
NARROW = Shape("narrow", 360, 84, 272, 6, 9, slot=42, gap=9, room=88)


@dataclass(frozen=True, slots=True)
class Node:
    """A source or a sink: a bar with a name and a power beside it.

    `y` is the top of the bar, `middle` the height at which the texts are centred, `text_x` where
    they begin (sinks) or end (sources).
    """

    key: str
    side: str
    tone: str
    power_w: float
    resting: bool
    x: float
    y: float
    width: float
    height: float
    middle: float
    text_x: float

    @property
    def anchor(self) -> str:
        """The SVG text-anchor of its texts."""
        return "end" if self.side == "source" else "start"

    @property
    def label_y(self) -> float:
        """The baseline of its name."""
        return round(self.middle - 4, 1)

    @property
    def value_y(self) -> float:
        """The baseline of its power."""
        return round(self.middle + 16, 1)


@dataclass(frozen=True, slots=True)
class Ribbon:
    """Power from a source to a sink: an outline, and lines along which it is seen to move."""

    source: str
    sink: str
    tone: str
    power_w: float
    path: str
    streams: tuple[str, ...]
    pace: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What a template draws."""

    shape: str
    width: int
    height: int
    nodes: tuple[Node, ...]
    ribbons: tuple[Ribbon, ...]


@dataclass(frozen=True, slots=True)
class _Link:
    source: str
    sink: str
    power_w: float


def draw(powers: Any, *, shape: Shape = WIDE) -> Picture:
    """The picture of the powers of one instant."""
    links = _links(powers)
    sources = _column(powers, links, SOURCES, _GIVEN, "source")
    sinks = _column(powers, links, SINKS, _TAKEN, "sink")
    height = shape.height(_rows(powers))
    scale = _scale(links, (sources, sinks), height, shape)
    nodes = [
        *_placed(sources, links, scale, height, shape, "source"),
        *_placed(sinks, links, scale, height, shape, "sink"),
    ]
    return Picture(
        shape.name, shape.width, height, tuple(nodes), tuple(_ribbons(links, nodes, scale))
    )


def _links(powers: Any) -> list[_Link]:
    links = []
    for source in ("pv", "battery", "grid"):
        for sink in ("household", "heat_pump", "heater", "ev"):
            links.append(_Link(source, sink, _w(powers, f"{sink}_from_{source}_w")))
    for source, sink in _TO_STORE_AND_GRID:
        links.append(_Link(source, sink, _w(powers, f"{source}_to_{sink}_w")))
    links += _unexplained(powers, links)
    order = {key: at for at, key in enumerate(SINKS)}
    seen = [link for link in links if link.power_w >= REST_W]
    return sorted(seen, key=lambda link: (SOURCES.index(link.source), order[link.sink]))


def _unexplained(powers: Any, links: Sequence[_Link]) -> Iterator[_Link]:
    """Power whose other end is not known: no meter, or clocks that differ."""
    least = max(UNEXPLAINED_W, UNEXPLAINED_SHARE * sum(link.power_w for link in links))
    for sink, name in _TAKEN.items():
        rest = _w(powers, name) - sum(link.power_w for link in links if link.sink == sink)
        if rest > least:
            yield _Link("unknown", sink, rest)
    for source, name in _GIVEN.items():
        rest = _w(powers, name) - sum(link.power_w for link in links if link.source == source)
        if rest > least:
            yield _Link(source, "unknown", rest)


def _w(powers: Any, name: str) -> float:
    return max(0.0, float(getattr(powers, name, None) or 0))


def _column(
    powers: Any, links: Sequence[_Link], keys: Sequence[str], names: dict[str, str], side: str
) -> list[tuple[str, float]]:
    """The nodes of a side with their powers: those that are linked, and those that rest there."""
    column = []
    for key in keys:
        linked = [link for link in links if getattr(link, side) == key]
        if linked:
            stated = _w(powers, names[key]) if key in names else 0.0
            column.append((key, stated or sum(link.power_w for link in linked)))
        elif _rests(powers, links, key, side):
            column.append((key, 0.0))
    return column


def _rests(powers: Any, links: Sequence[_Link], key: str, side: str) -> bool:
    if key == "unknown":
        return False
    if key in ("battery", "grid"):  # both source and sink: it rests on the left
        known = any(getattr(powers, names[key], None) is not None for names in (_GIVEN, _TAKEN))
        busy = any(key in (link.source, link.sink) for link in links)
        return side == "source" and known and not busy
    names = _GIVEN if side == "source" else _TAKEN
    return key in names and getattr(powers, names[key], None) is not None


def _rows(powers: Any) -> int:
    """How many nodes the fuller side of this system's pictures can have."""

    def stated(names: dict[str, str]) -> int:
        return sum(getattr(powers, name, None) is not None for name in names.values())

    return max(stated(_GIVEN), stated(_TAKEN), 2)


def _thickness(link: _Link, scale: float) -> float:
    return max(link.power_w * scale, 1.5)


def _bar_height(key: str, links: Sequence[_Link], scale: float, side: str) -> float:
    return sum(_thickness(link, scale) for link in links if getattr(link, side) == key)


def _scale(
    links: Sequence[_Link],
    columns: tuple[list[tuple[str, float]], list[tuple[str, float]]],
    height: int,
    shape: Shape,
) -> float:
    """User units per W, the largest at which both columns fit: found by halving."""
    total = sum(link.power_w for link in links)
    low, high = 0.0, height / max(total, FULL_HEIGHT_W)
    for _ in range(40):
        scale = (low + high) / 2
        fits = all(
            sum(
                max(_bar_height(key, links, scale, side), shape.slot) + shape.gap
                for key, _power in column
            )
            <= height
            for column, side in zip(columns, ("source", "sink"), strict=True)
        )
        low, high = (scale, high) if fits else (low, scale)
    return low


def _placed(
    column: Sequence[tuple[str, float]],
    links: Sequence[_Link],
    scale: float,
    height: int,
    shape: Shape,
    side: str,
) -> Iterator[Node]:
    """The nodes from top to bottom, with even room between their slots, and little around them."""
    bars = [max(_bar_height(key, links, scale, side), 3.0) for key, _power in column]
    slots = [max(bar, shape.slot) for bar in bars]
    spare = max(0.0, height - sum(slots))
    edge = min(shape.gap, spare / (len(slots) + 1)) if len(slots) > 1 else spare / 2
    room = (spare - 2 * edge) / (len(slots) - 1) if len(slots) > 1 else 0.0
    left = side == "source"
    x = shape.left - shape.bar if left else shape.right
    text_x = x - shape.label_gap if left else x + shape.bar + shape.label_gap
    tones = TONES if left else _SINK_TONES
    y = edge
    for (key, power), bar, slot in zip(column, bars, slots, strict=True):
        middle = y + slot / 2
        yield Node(
            key=key,
            side=side,
            tone=tones[key],
            power_w=power,
            resting=power < REST_W,
            x=x,
            y=round(middle - bar / 2, 1),
            width=shape.bar,
            height=round(bar, 1),
            middle=round(middle, 1),
            text_x=text_x,
        )
        y += slot + room


def _ribbons(links: Sequence[_Link], nodes: Sequence[Node], scale: float) -> Iterator[Ribbon]:
    at = {(node.side, node.key): node for node in nodes}
    begun = {place: node.y for place, node in at.items()}
    for link in links:
        source, sink = at["source", link.source], at["sink", link.sink]
        thick = _thickness(link, scale)
        y0, y1 = begun["source", link.source], begun["sink", link.sink]
        begun["source", link.source] += thick
        begun["sink", link.sink] += thick
        x0, x1 = source.x + source.width, sink.x
        lanes = max(1, min(4, round(thick / 40)))
        middles = [thick * (lane + 0.5) / lanes for lane in range(lanes)]
        yield Ribbon(
            source=link.source,
            sink=link.sink,
            tone=TONES[link.source],
            power_w=link.power_w,
            path=_outline(x0, y0, x1, y1, thick),
            streams=tuple(_curve(x0, y0 + middle, x1, y1 + middle) for middle in middles),
            pace="slow" if link.power_w < 500 else "fast" if link.power_w > 5000 else "even",
        )


def _outline(x0: float, y0: float, x1: float, y1: float, thick: float) -> str:
    half = (x0 + x1) / 2
    return (
        f"M{x0:g},{y0:.1f}C{half:g},{y0:.1f} {half:g},{y1:.1f} {x1:g},{y1:.1f}"
        f"V{y1 + thick:.1f}C{half:g},{y1 + thick:.1f} {half:g},{y0 + thick:.1f} "
        f"{x0:g},{y0 + thick:.1f}Z"
    )


def _curve(x0: float, y0: float, x1: float, y1: float) -> str:
    half = (x0 + x1) / 2
    return f"M{x0:g},{y0:.1f}C{half:g},{y0:.1f} {half:g},{y1:.1f} {x1:g},{y1:.1f}"


# What to say about it ------------------------------------------------------------------------

# From here on, a part is worth the sentence.
WORTH_W = 300
# Shares from here on are "all of it".
ALL = 0.985


@dataclass(frozen=True, slots=True)
class Statement:
    """The one thing to say about an instant; words are made of it elsewhere.

    `subject`: nothing, unknown, old, ev, feed_in, charge, use. `source` (pv, battery, grid) is
    where most of it comes from and `share` how much (0–1); None where the origin is not known.
    """

    subject: str
    power_w: float = 0
    source: str | None = None
    share: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether all of it comes from that one source."""
        return self.share is not None and self.share >= ALL


def statement(powers: Any, *, is_meter_old: bool = False) -> Statement:
    """What matters most at this instant: the car, what is fed in, what is stored, what is used.

    `is_meter_old`: there is a meter of the grid or the household, but its values are not of now.
    """
    ev, export, charge = (_w(powers, name) for name in ("ev_w", "export_w", "charge_w"))
    if ev >= WORTH_W:
        return _from("ev", ev, {key: _w(powers, f"ev_from_{key}_w") for key in SOURCES[:3]})
    if export >= WORTH_W and export >= charge:
        parts = {"pv": _w(powers, "pv_to_grid_w"), "battery": _w(powers, "battery_to_grid_w")}
        return _from("feed_in", export, parts)
    if charge >= WORTH_W:
        parts = {"pv": _w(powers, "pv_to_battery_w"), "grid": _w(powers, "grid_to_battery_w")}
        return _from("charge", charge, parts)
    use = _w(powers, "consumption_w")
    if use < REST_W:
        # Without a meter nobody knows what the household uses.
        if getattr(powers, "household_w", None) is not None:
            return Statement("nothing")
        return Statement("old" if is_meter_old else "unknown")
    return _from("use", use, {key: _w(powers, f"{key}_to_load_w") for key in SOURCES[:3]})


def _from(subject: str, power: float, parts: dict[str, float]) -> Statement:
    whole = sum(parts.values())
    if whole < REST_W:
        return Statement(subject, power)
    source = max(parts, key=lambda key: parts[key])
    return Statement(subject, power, source, parts[source] / whole)
