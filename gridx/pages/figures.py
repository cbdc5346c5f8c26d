"""How a figure of a system came about: its days, a day's slots, and who measured in a slot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from gridx import clock
from gridx.pages import dates
from gridx.pages.figure_words import (
    NAMED_AT_MOST,
    appliance_day_url,
    appliance_name,
    change_of,
    figure_frame,
    figure_slot_url,
    figure_url,
    formula_words,
    readings_url,
    rule_sentence,
    signs,
)
from gridx.pages.history import read_history
from gridx.pages.shown import Shown, Zoom, shown
from gridx.pages.visible import visible_system
from inventory.kinds import METERS, Role
from inventory.models import Cluster, System
from measurements.amounts import share_of, sum_known
from measurements.derivation import (
    MEASURED,
    NAMES,
    Formula,
    PartOf,
    Rule,
    Term,
    derived_mwh,
    formula_of,
    house_mwh,
)
from measurements.evidence import Measured, is_any_final, measured_in, receipts_of
from measurements.flags import Flag
from measurements.queries import History, Period, Row, history_of_system
from measurements.resolutions import SLOT, SLOT_S, Resolution, Span
from measurements.words import FIGURES, flags_in_words

# With more appliances than these a table would be too wide: each slot's page lists them all.
_COLUMNS_AT_MOST = 5
_CHANGES_AT_MOST = 20
_IN_BALANCE = frozenset(Role) - {Role.NONE}


@dataclass(frozen=True, slots=True)
class Told:
    """One slot of a figure: as stored (mWh), and as it follows from the others by `formula`."""

    span: Span
    figures: Mapping[str, int | None]
    formula: Formula | None
    mwh: int | None
    derived_mwh: int | None
    seen: float | None
    flags: int

    @property
    def adds_up(self) -> bool:
        return self.mwh == self.derived_mwh

    def term_mwh(self, term: Term) -> int | None:
        """What a term comes to in this slot; None where no such term is in its sum."""
        is_own = self.formula is not None and term in self.formula.terms
        return self.figures.get(term.name) if is_own else None


@dataclass(frozen=True, slots=True)
class Cell:
    """A term of a sum, or what one appliance measured (mWh), and where that comes from."""

    mwh: int | None
    url: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: its terms, its figure (mWh), how well it was seen (0–1), flags."""

    heading: str
    url: str
    cells: tuple[Cell, ...]
    mwh: int | None
    seen: float | None
    flags: str
    adds_up: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """What stands in a column, and the sign that it is added with."""

    sign: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Share:
    """What an appliance measured in a slot."""

    name: str
    kind: str
    url: str
    import_mwh: int | None
    export_mwh: int | None
    seen: float
    flags: str


# Pages -------------------------------------------------------------------------------------------


@login_required
@never_cache
@gzip_page
@require_GET
def figure(request: HttpRequest, system_id: UUID, name: str) -> HttpResponse:
    """A figure of the period that the address says, and what it is the sum of."""
    system, now = visible_system(request, system_id), clock.now()
    period = shown(
        resolution=request.GET.get("resolution"),
        day=request.GET.get("date"),
        zone=system.zone,
        now=now,
    )
    is_day = period.zoom is Zoom.DAY
    context = (_of_day if is_day else _of_period)(system, name, period, now)
    context |= figure_frame(system, name, period, context["total"])
    context |= {
        "system": system,
        "home_url": f"{reverse('system', args=[system.pk])}?{period.query}",
        "is_final": is_any_final(system=system, span=period.span),
        "changes": [
            change_of(row, name, system)
            for row in receipts_of(system=system, span=period.span, name=name)[:_CHANGES_AT_MOST]
        ],
    }
    return render(request, "pages/figure.html", context)


@login_required
@never_cache
@require_GET
def figure_slot(request: HttpRequest, system_id: UUID, name: str, start: datetime) -> HttpResponse:
    """One slot of a figure: its sum in numbers, and the appliances that it goes back to."""
    system, span, now = visible_system(request, system_id), Span(start, start + SLOT), clock.now()
    measured = measured_in(system=system, span=span, roles=_IN_BALANCE)
    [slot] = _slots(system, span)
    told = _told(name, slot, measured, now)
    period = day_of(system, start, now=now)
    used = _used(name, told.formula, measured) if told.formula else measured
    terms, most = (told.formula.terms, told.formula.most) if told.formula else ((), ())
    context = {
        "system": system,
        "name": name,
        "told": told,
        "day_title": dates.day_name(period.first_day),
        "day_url": figure_url(system, name, period),
        "when": dates.span_name(period, span),
        "zone": system.zone.key,
        "is_final": is_any_final(system=system, span=span),
        "sentence": told.formula and rule_sentence(told.formula, _who_measured(system, used)),
        "formula": told.formula and formula_words(name, told.formula),
        "terms": _summands(system, told, terms),
        "most": _summands(system, told, most),
        "shares": [_share(system, one, start) for one in used] if start < now else [],
        "flags": flags_in_words(told.flags),
        "previous": figure_slot_url(system, name, start - SLOT),
        "next": figure_slot_url(system, name, start + SLOT),
    }
    return render(request, "pages/figure_slot.html", context)


def _summands(system: System, told: Told, terms: Sequence[Term]) -> list[tuple]:
    """Sign, name, value (mWh) and address of each term of a sum."""
    start = told.span.from_at
    return [
        (sign, term.name, told.figures.get(term.name), _term_url(system, term, start))
        for sign, term in zip(signs(terms), terms, strict=True)
    ]


def day_of(system: System, at: datetime, *, now: datetime) -> Shown:
    """The local day in which an instant lies. Raises Http404 where that is yet to come."""
    day = at.astimezone(system.zone).date()
    period = shown(resolution=None, day=day.isoformat(), zone=system.zone, now=now)
    if period.day != day:
        raise Http404
    return period


# A day: its slots --------------------------------------------------------------------------------


def _of_day(system: System, name: str, period: Shown, now: datetime) -> dict[str, Any]:
    roles = {MEASURED[name][0]} if name in MEASURED else set()
    roles |= METERS if name in ("import", "export") else set()
    measured = measured_in(system=system, span=period.span, roles=roles)
    slots = [_told(name, slot, measured, now) for slot in _slots(system, period.span)]
    day = history_of_system(
        system=system,
        from_at=period.span.from_at,
        until_at=period.span.until_at,
        resolution=Resolution.DAY,
    )
    formulas = list(dict.fromkeys(slot.formula for slot in slots if slot.formula is not None))
    terms = list(dict.fromkeys(term for one in formulas for term in one.terms))
    is_measured = any(one.rule is Rule.MEASURED for one in formulas)
    own = _used(name, Formula(Rule.MEASURED), measured) if is_measured else []
    columns = own if 1 < len(own) <= _COLUMNS_AT_MOST else []
    names = _who_measured(system, own)
    known = [slot for slot in slots if slot.mwh is not None]
    summed = sum(slot.mwh for slot in known)
    return {
        "total": day.total,
        "sentences": [rule_sentence(one, names) for one in formulas],
        "formulas": [words for one in formulas if (words := formula_words(name, one))],
        "appliances": [
            (appliance_name(one, system), appliance_day_url(system, one, period.day))
            for one in (each.appliance for each in own[:NAMED_AT_MOST])
        ],
        "columns": [
            *(
                Column("+" if number else "", appliance_name(one.appliance, system), "")
                for number, one in enumerate(columns)
            ),
            *(
                Column(sign, str(FIGURES[term.name]), _term_day_url(system, term, period))
                for sign, term in zip(signs(terms), terms, strict=True)
            ),
        ],
        "lines": [
            _line(system, name, slot, period, columns, terms)
            for slot in slots
            if slot.span.from_at < now
        ],
        "sums": [
            *(sum_known(_energy(one, name, at) for at in one.slots) for one in columns),
            *(sum_known(slot.term_mwh(term) for slot in known) for term in terms),
        ],
        "summed": summed if known else None,
        "slots_known": len(known),
        "slots_all": len(slots),
        "unlike": sum(not slot.adds_up for slot in slots),
        "late": sum(bool(slot.flags & Flag.RECOVERED) for slot in slots),
        "estimated": sum(bool(slot.flags & Flag.ESTIMATED) for slot in slots),
    }


def _slots(system: System, span: Span) -> Sequence[Period]:
    return history_of_system(
        system=system,
        from_at=span.from_at,
        until_at=span.until_at,
        resolution=Resolution.QUARTER,
    ).periods


def _told(name: str, slot: Period, measured: Sequence[Measured], now: datetime) -> Told:
    span = Span(slot.start, slot.until)
    if slot.figures is None:
        return Told(span, {}, None, None, None, None, 0)
    parts = [one.part(slot.start) for one in measured]
    figures = _by_name(slot.figures, parts)
    mwh = figures[name]
    formula = None if mwh is None else formula_of(name, figures, parts)
    seen, flags = slot.figures["seen_s"], slot.figures["flags"]
    expected = slot.figures["expected_s"]
    if formula is not None and formula.rule is Rule.MEASURED:
        own = [one for one in _used(name, formula, measured) if one.is_there(slot.start)]
        rows = [row for one in own if (row := one.slots.get(slot.start)) is not None]
        seen, expected = sum(row.seen_s for row in rows), SLOT_S * len(own)
        flags = 0
        for row in rows:
            flags |= row.flags
    elapsed = min(1.0, (now - span.from_at) / SLOT)
    return Told(
        span,
        figures,
        formula,
        mwh,
        derived_mwh(name, figures, parts),
        min(1.0, seen / (expected * elapsed)) if expected and elapsed > 0 else None,
        flags,
    )


def _by_name(figures: Row, parts: Sequence[PartOf]) -> dict[str, int | None]:
    """The energies by the names of `measurements.derivation`."""
    return {name: figures[f"{name}_mwh"] for name in (*NAMES, "residual")} | {
        "house": house_mwh(parts)
    }


def _used(name: str, formula: Formula, measured: Sequence[Measured]) -> list[Measured]:
    """Those of the measured appliances that a figure goes back to."""
    if formula.rule is Rule.MEASURED:
        return [one for one in measured if one.role is MEASURED[name][0]]
    return list(measured)


def _who_measured(system: System, own: Sequence[Measured]) -> list[str]:
    """The names of those that were not silent throughout."""
    return [appliance_name(one.appliance, system) for one in own if one.slots]


def _energy(one: Measured, name: str, start: datetime) -> int | None:
    slot = one.slots.get(start)
    return None if slot is None else getattr(slot, MEASURED[name][1])


def _line(
    system: System,
    name: str,
    slot: Told,
    period: Shown,
    columns: Sequence[Measured],
    terms: Sequence[Term],
) -> Line:
    start = slot.span.from_at
    cells = [
        *(
            Cell(_energy(one, name, start), readings_url(system, one.appliance, start))
            for one in columns
        ),
        *(Cell(slot.term_mwh(term), _term_url(system, term, start)) for term in terms),
    ]
    return Line(
        dates.span_name(period, slot.span),
        figure_slot_url(system, name, start) if slot.mwh is not None else "",
        tuple(cells),
        slot.mwh,
        slot.seen,
        flags_in_words(slot.flags),
        slot.adds_up,
    )


def _term_url(system: System, term: Term, start: datetime) -> str:
    return figure_slot_url(system, term.name, start) if term.name in NAMES else ""


def _term_day_url(system: System, term: Term, period: Shown) -> str:
    return figure_url(system, term.name, period) if term.name in NAMES else ""


def _share(system: System, one: Measured, start: datetime) -> Share:
    slot = one.slots.get(start)
    return Share(
        appliance_name(one.appliance, system),
        one.appliance.get_kind_display(),
        readings_url(system, one.appliance, start),
        slot and slot.import_mwh,
        slot and slot.export_mwh,
        slot.seen_s / SLOT_S if slot else 0.0,
        flags_in_words(slot.flags) if slot else "",
    )


# A week, month or year: its days or months -------------------------------------------------------


def _of_period(system: System, name: str, period: Shown, now: datetime) -> dict[str, Any]:
    history = read_history(system, period, now=now)
    lines = lines_of_parts(system, name, history, period, now)
    return {
        "total": history.total,
        "lines": lines,
        "summed": sum_known(line.mwh for line in lines),
        "sentences": [
            _("The sum of its months.") if period.zoom is Zoom.YEAR else _("The sum of its days.")
        ],
    }


def lines_of_parts(
    subject: System | Cluster, name: str, history: History, period: Shown, now: datetime
) -> list[Line]:
    """The days or months of a longer period."""
    zoom = Zoom.MONTH if period.zoom is Zoom.YEAR else Zoom.DAY
    lines = []
    for part in history.periods:
        if part.start >= now:
            continue
        figures, span = part.figures, Span(part.start, part.until)
        day = part.start.astimezone(period.zone).date()
        lines.append(
            Line(
                dates.span_name(period, span),
                figure_url(subject, name, period, day=day, zoom=zoom) if figures else "",
                (),
                figures and figures[f"{name}_mwh"],
                share_of(figures["seen_s"], figures["to_see_s"]) if figures else 0.0,
                flags_in_words(figures["flags"]) if figures else "",
            )
        )
    return lines
