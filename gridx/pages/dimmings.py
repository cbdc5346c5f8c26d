"""Dimmings by grid operators, and the proof of each: to be read, printed, and taken along."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.auth.decorators import login_required
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.fragments import render_page_or_part
from accounts.paging import ids_in_parts, page_of
from accounts.widgets import DayInput
from flexibility.api import may_be_named
from flexibility.asking import digits, kilowatts, moment
from flexibility.dimming.api import proof_csv
from flexibility.dimming.picture import Picture, draw
from flexibility.dimming.proof import (
    PROVED_AFTER,
    Part,
    Proved,
    Verdict,
    as_kept,
    parts_of,
    proof_of,
    samples_of,
)
from flexibility.dimming.rules import Why
from flexibility.models import Dimming
from gridx import clock
from gridx.pages.lines import Tag
from gridx.pages.visible import visible_system
from inventory.export import csv_file
from inventory.kinds import DimmingMode
from inventory.models import System
from measurements.formats import number

# What is shown where no period is asked for.
USUAL = timedelta(days=30)
# So many are read at a time for a file.
_AT_ONCE = 100


class PeriodForm(forms.Form):
    """The days (UTC) that are shown, both included, and the one system, where it is one."""

    system = forms.UUIDField(required=False, widget=forms.HiddenInput)
    first = forms.DateField(label=gettext_lazy("From"), required=False, widget=DayInput)
    last = forms.DateField(label=gettext_lazy("To"), required=False, widget=DayInput)

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        first, last = found.get("first"), found.get("last")
        if first and last and last < first:
            self.add_error("last", _("It ends before it begins."))
        return found


@dataclass(frozen=True, slots=True)
class Line:
    """A dimming in the list."""

    found: Dimming
    when: str
    mode: str
    tag: Tag


@dataclass(frozen=True, slots=True)
class Proof:
    """What a dimming limited, and what was measured of it."""

    name: str
    limit: str
    reaction: str
    highest: str
    measured: str
    tag: Tag
    picture: Picture | None
    summary: str


@login_required
@never_cache
@require_GET
def dimmings(request: HttpRequest) -> HttpResponse:
    """The dimmings of the systems in sight, the newest first."""
    now = clock.now()
    form, found, system = _wanted(request, now)
    page = page_of(found.prefetch_related("proofs"), request.GET.get("page"))
    context = {
        "form": form,
        "system": system,
        "page": page,
        "lines": [_line(one, now) for one in page.rows],
        "file_url": reverse("dimmings_file") if form.is_valid() else "",
    }
    return render_page_or_part(
        request, "pages/dimmings.html", "pages/_dimmings.html", context, target="results"
    )


@login_required
@never_cache
@require_GET
def dimmings_file(request: HttpRequest) -> HttpResponseBase:
    """The proof of all of them, as CSV."""
    now = clock.now()
    _form, found, _system = _wanted(request, now)
    lines = proof_csv((one, proof_of(one, now=now)) for one in _one_by_one(found))
    return csv_file(request, lines, f"gridx-dimmings-{now:%Y-%m-%d}.csv")


@login_required
@never_cache
@require_GET
def dimming(request: HttpRequest, dimming_id: UUID) -> HttpResponse:
    """The proof of one: what was limited to what, how fast and how well it was kept."""
    now, found = clock.now(), _visible(request, dimming_id)
    zone = found.system.zone
    parts = parts_of(found)
    proved = {one.appliance and one.appliance.pk: one for one in proof_of(found, now=now)}
    context = {
        "found": found,
        "line": _line(found, now),
        "begin": _instant(found.valid_at, zone),
        "end": _instant(found.ended_at, zone),
        "lasted": _lasted(found.ended_at - found.valid_at),
        "who": str(found.emitter) if may_be_named(request.user, [found]) else "",
        "mode": found.get_mode_display(),
        "sum": _terms(found),
        "members": [one for part in parts if part.is_sum for one in part.appliances],
        "parts": [
            _proof(found, part, proved.get(part.appliance and part.appliance.pk), now)
            for part in parts
        ],
        "zone": zone.key,
    }
    return render(request, "pages/dimming.html", context)


@login_required
@never_cache
@require_GET
def dimming_file(request: HttpRequest, dimming_id: UUID) -> HttpResponseBase:
    """The proof of one, as CSV."""
    now, found = clock.now(), _visible(request, dimming_id)
    lines = proof_csv([(found, proof_of(found, now=now))])
    begin = found.valid_at.astimezone(found.system.zone)
    return csv_file(request, lines, f"gridx-dimming-{begin:%Y-%m-%d-%H%M}.csv")


@dataclass(frozen=True, slots=True)
class Running:
    """That a system is dimmed at this instant, and the way to how."""

    words: str
    url: str


def running_in(system: System, *, now: datetime) -> Running | None:
    """The dimming of a system that ends last of those that hold now."""
    standing = Dimming.objects.filter(system=system, withdrawn_at=None, valid_at__lte=now)
    found = standing.filter(invalid_at__gt=now).order_by("invalid_at").last()
    if found is None:
        return None
    until = moment(found.invalid_at, now=now, zone=system.zone)
    return Running(
        _("The grid operator dims what can be controlled here, until %(when)s.") % {"when": until},
        reverse("dimming", args=[found.pk]),
    )


def _visible(request: HttpRequest, dimming_id: UUID) -> Dimming:
    visible = Dimming.objects.visible_to(request.user)
    return get_object_or_404(visible.select_related("system__account", "emitter"), pk=dimming_id)


def _wanted(
    request: HttpRequest, now: datetime
) -> tuple[PeriodForm, QuerySet[Dimming], System | None]:
    """The form, the dimmings that it asks for, and the one system, where it is one."""
    asked = {name: value for name, value in request.GET.items() if value}
    form = PeriodForm({"first": (now - USUAL).date(), **asked})
    if not form.is_valid():
        return form, Dimming.objects.none(), None
    found = Dimming.objects.visible_to(request.user).select_related("system")
    first: date = form.cleaned_data["first"]
    last: date | None = form.cleaned_data["last"]
    found = found.filter(Q(withdrawn_at=None) | Q(withdrawn_at__gt=F("valid_at")))
    found = found.filter(invalid_at__date__gte=first)
    if last is not None:
        found = found.filter(valid_at__date__lte=last)
    system = None
    if form.cleaned_data["system"]:
        system = visible_system(request, form.cleaned_data["system"])
        found = found.filter(system=system)
    return form, found.order_by("-valid_at", "pk"), system


def _one_by_one(found: QuerySet[Dimming]) -> Iterator[Dimming]:
    for ids in ids_in_parts(found, size=_AT_ONCE):
        yield from found.filter(pk__in=ids)


# In words ----------------------------------------------------------------------------------------


def _line(found: Dimming, now: datetime) -> Line:
    zone = found.system.zone
    begin = moment(found.valid_at, now=now, zone=zone)
    end = moment(found.ended_at, now=now, zone=zone)
    modes = {DimmingMode.DIRECT: _("each by itself"), DimmingMode.EMS: _("one sum")}
    return Line(found, f"{begin} – {end}", modes[DimmingMode(found.mode)], _state(found, now))


def _state(found: Dimming, now: datetime) -> Tag:
    """How far it is; of one that is over, whether it was kept to, as the kept proofs say."""
    if found.ended_at <= found.valid_at:
        return Tag("", _("called off"))
    if now < found.valid_at:
        return Tag("", _("to come"))
    if now < found.ended_at:
        return Tag("warn", _("dimmed now"))
    proofs = list(found.proofs.all())
    if not proofs:
        final = moment(found.ended_at + PROVED_AFTER, now=now, zone=found.system.zone)
        said = _("proof is final after %(when)s") % {"when": final}
        return Tag("", said, _("Late readings still count for an hour."))
    return _said(min((as_kept(one).verdict for one in proofs), key=list(Verdict).index))


def _said(verdict: Verdict) -> Tag:
    return {
        Verdict.NOT_KEPT: Tag("bad", _("not kept to")),
        Verdict.NOT_KEPT_YET: Tag("bad", _("not kept to yet")),
        Verdict.NOT_MEASURED: Tag("", _("not measured")),
        Verdict.KEPT_AS_MEASURED: Tag("warn", _("kept to as far as measured")),
        Verdict.KEPT_SO_FAR: Tag("info", _("kept to so far")),
        Verdict.KEPT: Tag("ok", _("kept to")),
    }[verdict]


def _proof(found: Dimming, part: Part, proved: Proved | None, now: datetime) -> Proof:
    ended_at = min(found.ended_at, now)
    picture = None
    if proved is not None:
        picture = draw(
            samples_of(found, part, now=now),
            part.limit_w,
            started_at=part.started_at,
            ended_at=ended_at,
            zone=found.system.zone,
            power=digits,
        )
    name = part.appliance.name if part.appliance else _("All together, from the grid")
    values = {"name": name, "limit": kilowatts(part.limit_w)}
    if proved is None or proved.highest_w is None:
        said = _("%(name)s: at most %(limit)s; nothing was measured.") % values
        return Proof(
            name, values["limit"], "–", "–", "–", Tag("", _("not measured")), picture, said
        )
    values["highest"] = kilowatts(round(proved.highest_w, -1))
    values["reaction"] = "" if proved.reaction_s is None else _seconds(proved.reaction_s)
    if proved.reaction_s is None:
        said = _("%(name)s: at most %(limit)s; it was above it, at %(highest)s at the most.")
    else:
        said = _(
            "%(name)s: at most %(limit)s; within it after %(reaction)s,"
            " then %(highest)s at the most."
        )
    return Proof(
        name=name,
        limit=values["limit"],
        reaction=values["reaction"] or "–",
        highest=values["highest"],
        measured=_("%(share)s %%") % {"share": number(100 * proved.measured_share, 0)},
        tag=_said(proved.verdict),
        picture=picture,
        summary=said % values,
    )


def _terms(found: Dimming) -> str:
    """How a sum comes about: "4.2 kW + 2 × 0.75 × 4.2 kW = 10.5 kW"."""
    terms = found.terms
    if not terms:
        return ""
    first, count = kilowatts(terms["first_w"]), terms["count"] - 1
    if terms["why"] == Why.SHARE:
        first = _("%(power)s (40 %% of the heat pumps)") % {"power": first}
    if not count:
        return first
    factor, whole = terms["factor"], terms["max_w"]
    each = kilowatts((whole - terms["first_w"]) / count / factor)
    return f"{first} + {count} × {number(factor, 2)} × {each} = {kilowatts(whole)}"


def _instant(at: datetime, zone: ZoneInfo) -> str:
    """An instant on paper: it says all by itself."""
    local = at.astimezone(zone)
    # Translators: as in "23 November 2026"; Django's date format characters
    day = date_format(local.date(), pgettext("date format", "j F Y"))
    return f"{day}, {local:%H:%M:%S %Z}"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return ngettext("%(n)s second", "%(n)s seconds", round(seconds)) % {"n": round(seconds)}
    return _("%(n)s minutes") % {"n": number(seconds / 60, 0)}


def _lasted(span: timedelta) -> str:
    minutes = max(round(span / timedelta(minutes=1)), 0)
    if minutes < 120:
        return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes}
    return _("%(n)s hours") % {"n": number(minutes / 60, 1)}
