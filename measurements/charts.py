"""Figures over time: plotly figures, table rows and data quality of the same spans. Pure.

A chart shows consecutive spans of one system, cluster or pool: the slots of a day (as power, kW),
the days of a week or month, the months of a year (as energy, kWh). Upwards stands what was used, by
origin; downwards what went into the battery and the grid.

Figures are read from attributes named as in the tables (`pv_to_load_mwh`, …): integers in mWh,
None where there is no statement. They say for how long appliances were to be seen until now
(`to_see_s`, all together), and for how long they were; as flags of a few slots or appliances would
stand for all, also how much of what was seen arrived late (`recovered_s`), and how much of what was
not seen was bridged (`estimated_s`).

Colours and fonts are names of the stylesheet's variables ("var(--sun)"), filled in by the browser;
they are valid in plotly's own schema. The horizontal axis counts spans, so a day of 23 or 25 hours
is drawn as it is. `layout.meta.narrow` holds what differs on a phone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor, log10
from typing import Any
from zoneinfo import ZoneInfo

from measurements.amounts import MWH_PER_KWH
from measurements.flags import Flag
from measurements.resolutions import SLOT, Span

Number = Callable[[float, int], str]
"""Writes a number with so many decimals, in the reader's language."""


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of the bars: what it shows, and on which side of zero."""

    key: str
    tone: str
    column: str
    down: bool = False


BY_ORIGIN = (
    Series("pv_to_load", "sun", "pv_to_load_mwh"),
    Series("battery_to_load", "battery", "battery_to_load_mwh"),
    Series("grid_to_load", "grid", "grid_to_load_mwh"),
    Series("unmetered", "house", "unmetered_mwh"),
    Series("charge", "battery-in", "charge_mwh", down=True),
    Series("export", "feed-in", "export_mwh", down=True),
)
# Without a meter nobody knows where power comes from: then this is what there is to show.
TOTALS = (
    Series("pv", "sun", "pv_mwh"),
    Series("consumption", "house", "consumption_mwh"),
)
BY_SIDE = (
    *TOTALS,
    Series("charge", "battery-in", "charge_mwh", down=True),
    Series("export", "feed-in", "export_mwh", down=True),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a row: exact energy, and the mean power of its span; None without a statement."""

    key: str
    tone: str
    mwh: int | None
    mean_w: float | None


@dataclass(frozen=True, slots=True)
class Grade:
    """How well a span was seen: the worst of what holds for a noticeable part of it, how large that
    part is (0–1), and the flags that no such word tells of (`RESET`, `IMPLAUSIBLE`)."""

    state: str
    share: float
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One span of the chart as a line of its table."""

    span: Span
    cells: tuple[Cell, ...]
    quality: Grade


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the data-quality ribbon, in spans: seen, estimated, recovered or missing."""

    state: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How well the spans until now were seen: stretches, and the share of the time of each."""

    segments: tuple[Segment, ...]
    shares: dict[str, float]
    length: int


def series_of(figures: Sequence[Any | None]) -> tuple[Series, ...]:
    """The colours that these figures need: those that any of them makes a statement about."""
    known = [figure for figure in figures if figure is not None]

    def stated(series: Series) -> bool:
        return any(getattr(figure, series.column) is not None for figure in known)

    origins = any(map(stated, BY_ORIGIN[:3]))
    return tuple(filter(stated, BY_ORIGIN if origins else BY_SIDE))


def rows_of(
    spans: Sequence[Span],
    figures: Sequence[Any | None],
    columns: Sequence[Series],
    *,
    now: datetime,
) -> list[Row]:
    """A row for every span that has begun, with a cell for each of the columns, of None
    where it was not measured."""
    return [
        Row(
            span,
            tuple(_cell(one, figure, span) for one in columns),
            quality_of_span(span, figure, now=now),
        )
        for span, figure in zip(spans, figures, strict=True)
        if span.from_at < now
    ]


def _cell(series: Series, figure: Any | None, span: Span) -> Cell:
    mwh = getattr(figure, series.column) if figure is not None else None
    hours = (span.until_at - span.from_at) / timedelta(hours=1)
    return Cell(series.key, series.tone, mwh, None if mwh is None else mwh / 1000 / hours)


# Figures -------------------------------------------------------------------------------------


def day_figure(
    spans: Sequence[Span],
    figures: Sequence[Any | None],
    *,
    zone: ZoneInfo,
    now: datetime,
    number: Number,
    now_label: str,
) -> dict[str, Any]:
    """The slots of one local day as stacked bars of power, with a line at `now`.

    `spans` are all slots of the day in order, `figures` theirs (None: nothing stored).
    """
    per_slot = timedelta(hours=1) / SLOT / MWH_PER_KWH
    figure = _stacked(figures, scale=per_slot, gap=0.1, number=number, unit="kW")
    layout = figure["layout"]
    layout["xaxis"] |= _hours(spans, zone, every=3)
    layout["meta"]["narrow"]["xaxis"] = _hours(spans, zone, every=6)
    if spans[0].from_at < now < spans[-1].until_at:
        at = round((now - spans[0].from_at) / SLOT, 2)
        layout["shapes"] = [_now_line(at)]
        layout["annotations"].append(_now_text(at, len(spans), now_label))
    return figure


def period_figure(
    figures: Sequence[Any | None],
    *,
    labels: Sequence[str],
    narrow_labels: Sequence[str],
    number: Number,
) -> dict[str, Any]:
    """The days of a week or month, or the months of a year, as stacked bars of energy.

    `labels` name the spans below the axis; an empty one leaves its place free.
    """
    gap = 0.42 if len(figures) < 10 else 0.28
    figure = _stacked(figures, scale=1 / MWH_PER_KWH, gap=gap, number=number, unit="kWh")
    layout = figure["layout"]
    layout["xaxis"] |= _names(labels)
    layout["meta"]["narrow"]["xaxis"] = _names(narrow_labels)
    return figure


def _stacked(
    figures: Sequence[Any | None], *, scale: float, gap: float, number: Number, unit: str
) -> dict[str, Any]:
    columns = []
    for series in series_of(figures):
        mwh = [None if f is None else getattr(f, series.column) for f in figures]
        sign = -scale if series.down else scale
        columns.append((series, [None if v is None else _short(v * sign) for v in mwh]))
    low, high = _extent([values for _series, values in columns], len(figures))
    return {
        "data": [_bars(series, values) for series, values in columns],
        "layout": _layout(len(figures), gap) | _vertical(low, high, number, unit),
    }


def _short(value: float) -> float:
    """Three significant digits are finer than a pixel."""
    if not value:
        return 0
    rounded = round(value, max(0, 2 - floor(log10(abs(value)))))
    return int(rounded) if rounded == int(rounded) else rounded


def _extent(columns: Sequence[Sequence[float | None]], length: int) -> tuple[float, float]:
    """The lowest and highest ends of the stacked bars."""
    up = [sum(max(c[at] or 0, 0) for c in columns) for at in range(length)]
    down = [sum(min(c[at] or 0, 0) for c in columns) for at in range(length)]
    return min(down, default=0), max(up, default=0)


def _bars(series: Series, values: Sequence[float | None]) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": series.key,
        "x0": 0.5,
        "dx": 1,
        "y": list(values),
        "marker": {"color": f"var(--{series.tone})", "line": {"width": 0}},
        "hoverinfo": "none",
    }


def _layout(length: int, gap: float) -> dict[str, Any]:
    return {
        "barmode": "relative",
        "bargap": gap,
        "barcornerradius": 2 if length > 31 else 4,
        "showlegend": False,
        "dragmode": False,
        "hovermode": "x",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var(--font)", "size": 12, "color": "var(--soft)"},
        "xaxis": {
            "range": [0, length],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
            "tickangle": 0,
            "showspikes": True,
            "spikemode": "across",
            "spikesnap": "data",
            "spikedash": "solid",
            "spikethickness": 1,
            "spikecolor": "var(--edge)",
        },
        "annotations": [],
        "meta": {"narrow": {}},
    }


def _vertical(low: float, high: float, number: Number, unit: str) -> dict[str, Any]:
    """The vertical axis: round steps, numbers without signs (down is told by the colour)."""
    high = high if high or low else 1
    step = _step(high - low)
    first, last = ceil(low / step - 0.1), floor(high / step + 0.1)
    ticks = [round(at * step, 6) for at in range(first, last + 1)]
    decimals = max(0, -floor(log10(step)))
    texts = [number(abs(tick), decimals) for tick in ticks]
    # As wide as the longest number, and never narrower than the unit above it.
    left = max(34, 14 + 7 * max(map(len, texts)))
    return {
        "margin": {"l": left, "r": 12, "t": 22, "b": 26},
        "yaxis": {
            "range": [_short(low * 1.06), _short(high * 1.06)],
            "fixedrange": True,
            "gridcolor": "var(--line)",
            "zerolinecolor": "var(--edge)",
            "zerolinewidth": 1,
            "tickvals": ticks,
            "ticktext": texts,
        },
        "annotations": [
            {
                "text": unit,
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "y": 1,
                "xanchor": "right",
                "yanchor": "bottom",
                "xshift": -6,
                "yshift": 4,
                "showarrow": False,
            }
        ],
    }


def _step(extent: float) -> float:
    """A round distance (1, 2 or 5 times a power of ten) that cuts an extent into 4 to 8 parts."""
    rough = extent / 6
    power = 10.0 ** floor(log10(rough))
    return min((1, 2, 5, 10), key=lambda m: abs(log10(m * power / rough))) * power


def _hours(spans: Sequence[Span], zone: ZoneInfo, *, every: int) -> dict[str, Any]:
    """A tick at each full hour that is a multiple of `every`, and at the day's end."""
    at = []
    for index, span in enumerate(spans):
        local = span.from_at.astimezone(zone)
        if local.minute == 0 and local.hour % every == 0:
            at.append((index, f"{local.hour:02}"))
    at.append((len(spans), "24"))
    return {"tickvals": [index for index, _hour in at], "ticktext": [hour for _index, hour in at]}


def _names(labels: Sequence[str]) -> dict[str, Any]:
    at = [(index + 0.5, label) for index, label in enumerate(labels) if label]
    return {"tickvals": [x for x, _label in at], "ticktext": [label for _x, label in at]}


def _now_line(at: float) -> dict[str, Any]:
    line = {"color": "var(--soft)", "width": 1, "dash": "2px,3px"}
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1.03, "line": line}


def _now_text(at: float, length: int, text: str) -> dict[str, Any]:
    late = at > length * 0.85
    return {
        "text": text,
        "x": at,
        "yref": "paper",
        "y": 1.03,
        "yanchor": "middle",
        "xanchor": "right" if late else "left",
        "xshift": -6 if late else 6,
        "showarrow": False,
    }


# Data quality --------------------------------------------------------------------------------


def quality_of_span(span: Span, figure: Any | None, *, now: datetime) -> Grade:
    """How well a whole span was seen."""
    parts = _parts(span, figure, now)
    flags = (0 if figure is None else figure.flags or 0) & (Flag.RESET | Flag.IMPLAUSIBLE)
    for state in ("missing", "estimated", "recovered"):
        if parts.get(state, 0) > 0.02:
            return Grade(state, parts[state], flags)
    return Grade("seen", parts.get("seen", 0.0), flags)


def quality(spans: Sequence[Span], figures: Sequence[Any | None], *, now: datetime) -> Quality:
    """The data-quality ribbon of the spans that have begun."""
    stretches: list[Segment] = []
    seconds = dict.fromkeys(("seen", "recovered", "estimated", "missing"), 0.0)
    for at, (span, figure) in enumerate(zip(spans, figures, strict=True)):
        if span.from_at >= now:
            break
        elapsed = (min(span.until_at, now) - span.from_at).total_seconds()
        share = elapsed / (span.until_at - span.from_at).total_seconds()
        x = float(at)
        for state, part in _parts(span, figure, now).items():
            seconds[state] += part * elapsed
            _extend(stretches, state, x, part * share)
            x += part * share
    whole = sum(seconds.values())
    shares = {state: value / whole for state, value in seconds.items() if whole and value}
    return Quality(tuple(stretches), shares, len(spans))


def _parts(span: Span, figure: Any | None, now: datetime) -> dict[str, float]:
    """Shares of the elapsed part of a span, by state; they add up to 1.

    What was seen counts as recovered where it arrived late; what was not seen counts as estimated
    where a counter bridged the pause, else it is missing, like slots of which nothing is stored.
    """
    if figure is None or not figure.expected_s:
        return {"missing": 1.0}
    stored_s = min(figure.expected_s, figure.to_see_s)
    stored, covered = _ratio(stored_s, figure.to_see_s), _ratio(figure.seen_s, stored_s)
    # Readings come at intervals: the last one before now is always a little old.
    if now < span.until_at and covered > 0.5 and _is_slot(span):
        covered = 1.0
    covered = 1.0 if covered > 0.99 else covered
    late = _ratio(figure.recovered_s, figure.seen_s) if figure.recovered_s else 0.0
    unseen_s = stored_s - figure.seen_s
    bridged = _ratio(figure.estimated_s, unseen_s) if figure.estimated_s else 0.0
    unseen = stored * (1 - covered)
    parts = {
        "seen": stored * covered * (1 - late),
        "recovered": stored * covered * late,
        "missing": 1 - stored + unseen * (1 - bridged),
        "estimated": unseen * bridged,
    }
    return {state: part for state, part in parts.items() if part > 0}


def _is_slot(span: Span) -> bool:
    return span.until_at - span.from_at <= SLOT


def _ratio(part: float, whole: float) -> float:
    """At most 1, which it also is of nothing."""
    return min(1.0, part / whole) if whole > 0 else 1.0


def _extend(stretches: list[Segment], state: str, x: float, width: float) -> None:
    """Append a stretch, joined to the one before where both say the same."""
    if stretches and stretches[-1].state == state:
        last = stretches.pop()
        x, width = last.x, x + width - last.x
    stretches.append(Segment(state, round(x, 3), round(width, 3)))
