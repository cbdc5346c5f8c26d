"""What an appliance measured: the slots of a day, and the readings that a slot came from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from gridx import clock
from gridx.pages import dates
from gridx.pages.figure_words import appliance_day_url, appliance_name, readings_url
from gridx.pages.figures import day_of
from gridx.pages.shown import Shown, shown
from gridx.pages.tracing_words import energy_sentences, notes_of, source_words
from gridx.pages.visible import visible_system
from inventory.models import Appliance, System
from measurements.amounts import difference_known, sum_known
from measurements.evidence import (
    Evidence,
    appliances_of,
    evidence_of,
    is_any_final,
    received_at,
    slots_of,
    while_there,
)
from measurements.formats import number
from measurements.models import ApplianceDay, ApplianceSlot, Reading
from measurements.resolutions import SLOT, SLOT_S, Span, from_ms, to_ms
from measurements.tracing import Stretch
from measurements.words import flags_in_words

# What of a reading has a column, where any of those shown has it; and with how many decimals.
_QUANTITIES = {
    "power_w": (gettext_lazy("Power, W"), 3),
    "imported_wh": (gettext_lazy("Counter in, Wh"), 3),
    "exported_wh": (gettext_lazy("Counter out, Wh"), 3),
    "import_energy_wh": (gettext_lazy("In its interval, Wh"), 3),
    "export_energy_wh": (gettext_lazy("Out in its interval, Wh"), 3),
    "soc": (gettext_lazy("State of charge"), 4),
    "energy_wh": (gettext_lazy("Stored, Wh"), 1),
}


@dataclass(frozen=True, slots=True)
class SlotLine:
    """A slot of an appliance: energies in mWh, `seen` in 0–1; without `url` nothing is known."""

    heading: str
    url: str = ""
    import_mwh: int | None = None
    export_mwh: int | None = None
    mean_w: float | None = None
    seen: float = 0.0
    flags: str = ""


@dataclass(frozen=True, slots=True)
class ReadingLine:
    """A reading, one of the slot's bounds or where an interval ends, and what it adds to the slot.

    `values` are by the columns that are shown; `added` since the line before it, of import and
    export (mWh), and told by what.
    """

    when: str
    kind: str
    values: tuple[str, ...]
    received: str
    notes: tuple[str, ...]
    added: tuple[int | None, int | None]
    by: str


@login_required
@never_cache
@gzip_page
@require_GET
def appliance_energy(request: HttpRequest, system_id: UUID, appliance_id: UUID) -> HttpResponse:
    """The slots of an appliance on the local day of its system that `?date=` says."""
    system, now = visible_system(request, system_id), clock.now()
    appliance = _measured(system, appliance_id)
    period = shown(resolution=None, day=request.GET.get("date"), zone=system.zone, now=now)
    slots = slots_of(system=system, appliance=appliance, span=period.span)
    counted = while_there(appliance, slots)
    day = ApplianceDay.objects.filter(
        system_key=system.key, appliance_key=appliance.key, start=period.span.from_at
    ).first()
    context = {
        **_named(system, appliance),
        "period": period,
        "title": dates.title_of(period),
        "when": dates.when_of(period),
        "is_final": is_any_final(system=system, span=period.span, appliance=appliance),
        "day": day,
        "sums": [
            sum_known(getattr(slot, f"{side}_mwh") for slot in counted.values()) for side in _SIDES
        ],
        "lines": [
            _slot_line(
                system,
                appliance,
                period,
                span,
                slots.get(span.from_at),
                is_counted=span.from_at in counted,
            )
            for span in period.spans
            if span.from_at < now
        ],
        "previous": period.previous and appliance_day_url(system, appliance, period.previous),
        "next": period.next and appliance_day_url(system, appliance, period.next),
    }
    return render(request, "pages/appliance_energy.html", context)


@login_required
@never_cache
@gzip_page
@require_GET
def readings(
    request: HttpRequest, system_id: UUID, appliance_id: UUID, start: datetime
) -> HttpResponse:
    """The readings that one slot of an appliance came from, and how it follows from them."""
    system = visible_system(request, system_id)
    appliance = _measured(system, appliance_id)
    period, span = day_of(system, start, now=clock.now()), Span(start, start + SLOT)
    evidence = evidence_of(system=system, appliance=appliance, start=start)
    columns = [
        name
        for name in _QUANTITIES
        if any(getattr(reading, name) is not None for reading in evidence.readings)
    ]
    context = {
        **_named(system, appliance),
        "day_title": dates.day_name(period.first_day),
        "day_url": appliance_day_url(system, appliance, period.day),
        "when": dates.span_name(period, span),
        "evidence": evidence,
        "seen": evidence.slot.seen_s / SLOT_S if evidence.slot else 0.0,
        "flags": flags_in_words(evidence.slot.flags) if evidence.slot else "",
        "sentences": energy_sentences(evidence.trace, system.zone) if evidence.trace else [],
        "derived": [evidence.trace and evidence.trace.total_mwh(side) for side in (0, 1)],
        "adds_up": _adds_up(evidence),
        "columns": [_QUANTITIES[name][0] for name in columns],
        "lines": list(_reading_lines(system, evidence, span, columns)),
        "refusals": _refusals(system, appliance, start),
        "previous": readings_url(system, appliance, start - SLOT),
        "next": readings_url(system, appliance, start + SLOT),
    }
    return render(request, "pages/readings.html", context)


_SIDES = ("import", "export")


def _measured(system: System, appliance_id: UUID) -> Appliance:
    return get_object_or_404(appliances_of(system), pk=appliance_id)


def _named(system: System, appliance: Appliance) -> dict[str, Any]:
    return {
        "system": system,
        "appliance": appliance,
        "name": appliance_name(appliance, system),
        "is_here": appliance.system_id == system.pk,
        "zone": system.zone.key,
    }


def _slot_line(
    system: System,
    appliance: Appliance,
    period: Shown,
    span: Span,
    slot: ApplianceSlot | None,
    *,
    is_counted: bool,
) -> SlotLine:
    heading = dates.span_name(period, span)
    if slot is None:
        return SlotLine(heading)
    # A slot after its removal is shown, but in no sum.
    notes = ["" if is_counted else _("removed"), flags_in_words(slot.flags)]
    return SlotLine(
        heading,
        readings_url(system, appliance, span.from_at),
        slot.import_mwh,
        slot.export_mwh,
        _mean_w(slot),
        slot.seen_s / SLOT_S,
        ", ".join(filter(None, notes)),
    )


def _mean_w(slot: ApplianceSlot) -> float | None:
    """What its energies come to, so that both say the same: powers that were read beside a counter
    are only those of single instants. Theirs where no energy is known."""
    mwh = difference_known(slot.import_mwh, slot.export_mwh)
    return slot.mean_w if mwh is None else mwh / 1000 * 3600 / SLOT_S


def _adds_up(evidence: Evidence) -> bool:
    """Whether the readings say what is stored."""
    if evidence.trace is None or evidence.slot is None:
        return True
    stored = (evidence.slot.import_mwh, evidence.slot.export_mwh)
    return stored == tuple(evidence.trace.total_mwh(side) for side in (0, 1))


def _refusals(system: System, appliance: Appliance, start: datetime) -> int:
    """How many messages of the appliance's gateway were refused since the slot began."""
    gateway = appliance.gateway
    if gateway is None or appliance.system_id != system.pk:
        return 0
    return gateway.faults.filter(at__gte=start).count()


# Readings ----------------------------------------------------------------------------------------


def _reading_lines(
    system: System, evidence: Evidence, span: Span, columns: Sequence[str]
) -> Iterator[ReadingLine]:
    """The readings and wherever else the slot is cut, in order of time."""
    by_instant = {to_ms(reading.at): reading for reading in evidence.readings}
    stretches = evidence.trace.stretches if evidence.trace else ()
    ending = {stretch.until_ms: stretch for stretch in stretches}
    bounds = [to_ms(at) for at in span]
    for at_ms in sorted({*by_instant, *bounds, *ending}):
        reading, stretch = by_instant.get(at_ms), ending.get(at_ms)
        if reading is None:
            kind, known = "bound", _at_bound(evidence, at_ms)
        else:
            kind = "inside" if bounds[0] <= at_ms < bounds[1] else "beyond"
            known = {name: getattr(reading, name) for name in columns}
        yield ReadingLine(
            dates.instant_name(from_ms(at_ms), system.zone, beside=span.from_at),
            kind,
            tuple(_number(name, known.get(name)) for name in columns),
            _received(system, reading),
            notes_of(reading, at_ms, evidence.trace, bounds),
            stretch.mwh if stretch else (None, None),
            _by(stretch),
        )


def _at_bound(evidence: Evidence, at_ms: int) -> dict[str, float]:
    """The counters at one of the slot's bounds, as they follow from the readings around it."""
    ends = evidence.trace.counters if evidence.trace else ()
    return {
        name: end.level_wh
        for name, counter in zip(("imported_wh", "exported_wh"), ends, strict=False)
        for end in counter or ()
        if end.at_ms == at_ms
    }


def _number(name: str, value: float | None) -> str:
    return "" if value is None else number(value, _QUANTITIES[name][1])


def _by(stretch: Stretch | None) -> str:
    if stretch is None:
        return ""
    sources = dict.fromkeys(source for source in stretch.sources if source is not None)
    return ", ".join(source_words(source, stretch) for source in sources)


def _received(system: System, reading: Reading | None) -> str:
    if reading is None:
        return ""
    at = received_at(reading)
    if at is None:
        return _("imported")
    # How long it was under way is known in whole seconds.
    return dates.instant_name(at.replace(microsecond=0), system.zone, beside=reading.at)
