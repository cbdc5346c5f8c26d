"""A period's figures: the context of the tiles, the chart and its table.

All of them are made of one read, so that a figure is the same wherever it stands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from gridx.pages import dates
from gridx.pages.shown import Shown, Zoom
from gridx.pages.summary import origin_parts, origin_shares, summary, systems_seen
from inventory.kinds import ApplianceKind
from inventory.models import Cluster, System, SystemPool
from measurements import charts
from measurements.clusters import history_of_cluster
from measurements.formats import Quantity, energy, number, percent, percentage
from measurements.pools import history_of_pool
from measurements.queries import History, Live, judged_history_of_system
from measurements.resolutions import Span
from measurements.words import quality_sentence

# What has a history of its energies.
Subject = System | Cluster | SystemPool
MIX_TONES = {"pv": "sun", "battery": "battery", "grid": "grid", "unmetered": "house"}
# The width of the bar of origins, in its own units, and the room between two parts.
MIX_WIDTH, MIX_GAP = 1000.0, 12.0


@dataclass(frozen=True, slots=True)
class Total:
    """A column's name, colour and sum (mWh)."""

    key: str
    tone: str
    mwh: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: its heading, a cell a column, and how well it was seen.

    `asked` is what an address has to ask for to show this span by itself; empty for a slot. `seen`
    says of a pool how many of its systems were seen.
    """

    heading: str
    cells: tuple[charts.Cell, ...]
    quality: charts.Grade
    asked: str
    seen: int


@dataclass(frozen=True, slots=True)
class MixPart:
    """A stretch of the bar of origins."""

    tone: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: `raw` is it exactly (mWh, or a ratio of 0–1), `quantity` as people read it.

    `notes` stand below it, each whole on one line. `figure` is what it is called where it is told
    how it came about; empty where it is no energy.
    """

    key: str
    label: str
    icon: str
    tone: str
    raw: float | int
    quantity: Quantity
    notes: tuple[str, ...] = ()
    mix: tuple[MixPart, ...] = ()
    figure: str = ""


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """What there is to show of a period; `chart` is None where nothing was measured.

    `seen` says of a pool how many of its `systems` were seen; None of all else.
    """

    title: str
    when: str
    summary: str
    tiles: tuple[Tile, ...]
    legend: tuple[Total, ...]
    columns: tuple[Total, ...]
    rows: tuple[Line, ...]
    span_label: str
    as_power: bool
    chart: dict[str, Any] | None
    quality: charts.Quality
    quality_sentence: str
    seen: int | None
    systems: int | None


def read_history(subject: Subject, shown: Shown, *, now: datetime) -> History:
    """The stored figures of the period, with what tells how much of it is missing."""
    asked = {
        "from_at": shown.span.from_at,
        "until_at": shown.span.until_at,
        "resolution": shown.parts,
        "now": now,
    }
    if isinstance(subject, Cluster):
        return history_of_cluster(cluster=subject, **asked)
    if isinstance(subject, SystemPool):
        return history_of_pool(pool=subject, **asked)
    return judged_history_of_system(system=subject, **asked)


def period_figures(
    history: History, shown: Shown, live: Live | None, *, now: datetime
) -> PeriodFigures:
    """The figures of a period, ready for the templates; without `live`, none of this instant."""
    spans = shown.spans
    figures = [_of(period.figures) for period in history.periods]
    total = _of(history.total)
    quality = charts.quality(spans, figures, now=now)
    series = charts.series_of(figures)
    columns = _columns(series, total)
    return PeriodFigures(
        title=dates.title_of(shown),
        when=dates.when_of(shown),
        summary=" ".join(filter(None, (summary(total), systems_seen(total)))),
        tiles=tuple(_tiles(total, quality, shown, live)),
        legend=tuple(_total(one, total) for one in series),
        columns=tuple(_total(one, total) for one in columns),
        rows=tuple(_lines(spans, figures, columns, shown, now)),
        span_label=dates.spans_name(shown),
        as_power=shown.zoom is Zoom.DAY,
        chart=None if total is None else _chart(spans, figures, shown, now),
        quality=quality,
        quality_sentence=quality_sentence(quality),
        seen=getattr(total, "systems_seen", None),
        systems=getattr(total, "systems", None),
    )


def _of(row: Any | None) -> SimpleNamespace | None:
    """A row of figures, for those who read attributes."""
    return None if row is None else SimpleNamespace(**row)


# Chart and table -------------------------------------------------------------------------------


def _columns(series: Sequence[charts.Series], total: Any | None) -> tuple[charts.Series, ...]:
    """The table's columns: what was made and used, then what the chart shows of it."""
    shown = {one.key for one in series}
    first = [
        one
        for one in charts.TOTALS
        if one.key not in shown and total is not None and getattr(total, one.column) is not None
    ]
    return (*first, *series)


def _total(series: charts.Series, total: Any | None) -> Total:
    mwh = None if total is None else getattr(total, series.column)
    return Total(series.key, series.tone, mwh)


def _lines(
    spans: Sequence[Any],
    figures: Sequence[Any | None],
    columns: Sequence[charts.Series],
    shown: Shown,
    now: datetime,
) -> Iterator[Line]:
    rows = charts.rows_of(spans, figures, columns, now=now)
    for row, figure in zip(rows, figures, strict=False):  # what is to come has no row
        yield Line(
            dates.span_name(shown, row.span),
            row.cells,
            row.quality,
            _asked(shown, row.span),
            getattr(figure, "systems_seen", 0),
        )


def _asked(shown: Shown, span: Span) -> str:
    day = span.from_at.astimezone(shown.zone).date().isoformat()
    match shown.zoom:
        case Zoom.DAY:
            return ""
        case Zoom.YEAR:
            return urlencode({"resolution": Zoom.MONTH.value, "date": day})
    return urlencode({"date": day})


def _chart(
    spans: Sequence[Any], figures: Sequence[Any | None], shown: Shown, now: datetime
) -> dict[str, Any]:
    if shown.zoom is Zoom.DAY:
        figure = charts.day_figure(
            spans,
            figures,
            zone=shown.zone,
            now=now,
            number=number,
            # Translators: beside the line that marks the current time in a chart
            now_label=_("%(time)s now") % {"time": dates.clock_time(now, shown.zone)},
        )
        # The first hour stands below the zero of the other axis, not on top of it.
        room = {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}
        figure["layout"]["xaxis"] |= room
        return figure
    labels, narrow = dates.axis_labels(shown, list(spans))
    return charts.period_figure(figures, labels=labels, narrow_labels=narrow, number=number)


# Tiles -----------------------------------------------------------------------------------------


def _tiles(
    total: Any | None, quality: charts.Quality, shown: Shown, live: Live | None
) -> Iterator[Tile]:
    if total is None:
        return
    if total.pv_mwh is not None:
        yield _produced(total)
    if total.consumption_mwh is not None:
        yield _used(total)
    if total.self_sufficiency_rate is not None:
        yield _self_sufficient(total, quality)
    if total.import_mwh is not None:
        yield _energy_tile(
            "import",
            _("From the grid"),
            "bolt",
            "grid",
            total.import_mwh,
            *_exported(total),
            figure="import",
        )
    battery = _battery(total, shown, live)
    if battery is not None:
        yield battery


def _energy_tile(
    key: str, label: str, icon: str, tone: str, mwh: int, *notes: str, **fields: Any
) -> Tile:
    return Tile(key, label, icon, tone, mwh, energy(mwh), notes, **fields)


def _produced(total: Any) -> Tile:
    rate = total.self_consumption_rate
    notes = [] if rate is None else [_("%(share)s of it used here") % {"share": percent(rate)}]
    return _energy_tile(
        "produced", _("Produced"), "solar-panel-2", "sun", total.pv_mwh, *notes, figure="pv"
    )


def _used(total: Any) -> Tile:
    return _energy_tile(
        "used",
        _("Used"),
        "home-bolt",
        "house",
        total.consumption_mwh,
        *origin_parts(total),
        mix=tuple(_mix(origin_shares(total))),
        figure="consumption",
    )


def _mix(shares: Sequence[tuple[str, float]]) -> Iterator[MixPart]:
    room = MIX_WIDTH - MIX_GAP * (len(shares) - 1)
    x = 0.0
    for origin, share in shares:
        yield MixPart(MIX_TONES[origin], round(x, 1), round(room * share, 1))
        x += room * share + MIX_GAP


def _self_sufficient(total: Any, quality: charts.Quality) -> Tile:
    rate = total.self_sufficiency_rate
    seen = quality.shares.get("seen", 0) + quality.shares.get("recovered", 0)
    return Tile(
        "self-sufficient",
        _("Self-sufficient"),
        "leaf",
        "battery",
        rate,
        percentage(rate),
        (_("%(share)s measured") % {"share": percent(seen)},),
    )


def _exported(total: Any) -> tuple[str, ...]:
    if total.export_mwh is None:
        return ()
    return (_("%(energy)s into the grid") % {"energy": energy(total.export_mwh)},)


def _battery(total: Any, shown: Shown, live: Live | None) -> Tile | None:
    """How full it is now; in the past, what it gave."""
    is_now = shown.zoom is Zoom.DAY and shown.is_current
    if is_now and live is not None and live.soc is not None:
        return Tile(
            "battery",
            _("Battery"),
            "battery-3",
            "battery",
            live.soc,
            percentage(live.soc),
            _stored(live),
        )
    if total.discharge_mwh is None:
        return None
    notes = []
    if total.charge_mwh is not None:
        notes.append(_("%(energy)s stored") % {"energy": energy(total.charge_mwh)})
    return _energy_tile(
        "battery",
        _("From the battery"),
        "battery-3",
        "battery",
        total.discharge_mwh,
        *notes,
        figure="discharge",
    )


def _stored(live: Live) -> tuple[str, ...]:
    """ "6.4 of 10 kWh", of those that tell how full they are, where their capacities are known."""
    batteries = live.of_kind(ApplianceKind.BATTERY)
    capacities = [each.appliance.capacity_wh for each in batteries if each.soc is not None]
    if not capacities or any(capacity is None for capacity in capacities):
        return ()
    whole = sum(capacities)
    text = _("%(stored)s of %(capacity)s kWh") % {
        "stored": number(live.soc * whole / 1000, 1),
        "capacity": number(whole / 1000, 1 if whole % 1000 else 0),
    }
    return (text,)
