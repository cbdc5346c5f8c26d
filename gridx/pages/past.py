"""What held for an appliance at any past instant, as it was known then; and all changes of it."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.paging import page_of, parts_by_key
from flexibility.api import may_be_named
from flexibility.asking import Side, side_of
from flexibility.fields import instant_of
from flexibility.models import ResolvedBoundary
from flexibility.queries import Explained, ExplainedSpan, explain, timeline_of
from flexibility.resolving import boundary_of
from flexibility.sentences import allowed, reason_of
from gridx import clock
from gridx.pages.lines import Tag, outcome_tag, who_set
from gridx.pages.sources import Source, shares_in, sources_of, title_of
from gridx.pages.timeline import deciders_of, priority_line
from gridx.pages.visible import visible_appliance
from inventory.export import Echo, cell, csv_file
from inventory.models import Appliance

_ROWS_AT_ONCE = 500
_AN_INSTANT = timedelta(microseconds=1)
# What the file tells of each constraint that had a say, beside the boundary (W, Wh).
_BOUNDARY = ("min_w", "max_w", "set_point_w", "can_pause", "min_wh", "max_wh")
_ASKED = (
    "id",
    "emitter",
    "priority",
    "min_w",
    "max_w",
    "set_point_w",
    "min_wh",
    "max_wh",
    "valid_at",
    "invalid_at",
)
COLUMNS = (
    "at",
    *_BOUNDARY,
    *(f"constraint_{name}" for name in _ASKED),
    "power_outcome",
    "energy_outcome",
)


class InstantField(forms.DateTimeField):
    """An instant with its offset, or a local time: of one that comes twice, the first one."""

    widget = forms.DateTimeInput(
        format="%Y-%m-%dT%H:%M:%S", attrs={"type": "datetime-local", "step": "1"}
    )

    def to_python(self, value: str) -> datetime:
        zone = timezone.get_current_timezone()
        try:
            given = datetime.fromisoformat(value)
            at = given.astimezone(UTC) if given.tzinfo else instant_of(given, zone)
            return at.astimezone(zone)
        except (ValueError, OverflowError):
            raise ValidationError(_("Give a day and a time.")) from None

    def prepare_value(self, value: Any) -> Any:
        """As a local time, which is all that the browser's field can show."""
        if isinstance(value, str):
            try:
                value = self.to_python(value)
            except ValidationError:
                return value
        return super().prepare_value(value)


class InstantForm(forms.Form):
    """The instant that is shown, in the time of the system."""

    at = InstantField(label=gettext_lazy("Instant"))


@dataclass(frozen=True, slots=True)
class Line:
    """A constraint as it was known then, and what became of it."""

    emitter: str
    tag: Tag
    title: str
    who: str
    priority: str
    reason: str
    source: Source | None


@dataclass(frozen=True, slots=True)
class Change:
    """From when on what held and who decided it, and the address of that instant."""

    when: str
    what: str
    by: str
    url: str


@login_required
@never_cache
@require_GET
def appliance_past(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """What held at `?at=`, and why; without it, now."""
    appliance, now = visible_appliance(request, appliance_id), clock.now()
    zone, side = appliance.system.zone, side_of(appliance.kind)
    with timezone.override(zone):
        asked_for = request.GET.get("at")
        form = InstantForm({"at": asked_for} if asked_for else None, initial={"at": now})
        at = now
        if form.is_bound and form.is_valid():
            at = min(form.cleaned_data["at"], now)
        kept = kept_of(appliance)
        page = page_of(kept.order_by("-at"), request.GET.get("page"))
        context = {
            "appliance": appliance,
            "form": form,
            "at": _instant(at, zone),
            "zone": zone.key,
            **_known_then(appliance, at, side, request),
            "earlier": _url(kept.filter(at__lt=at).order_by("-at").first(), zone),
            "later": _url(kept.filter(at__gt=at).order_by("at").first(), zone),
            "page": page,
            "changes": _changes(page.rows, side, zone),
            "file_url": reverse("appliance_past_file", args=[appliance.pk]),
        }
        status = 422 if form.is_bound and not form.is_valid() else 200
        return render(request, "pages/past.html", context, status=status)


@login_required
@never_cache
@require_GET
def appliance_past_file(request: HttpRequest, appliance_id: UUID) -> HttpResponseBase:
    """Every change with all that had a say in it, the oldest first, as CSV."""
    appliance = visible_appliance(request, appliance_id)
    lines = _csv(kept_of(appliance))
    return csv_file(request, lines, "gridx-past.csv")


def kept_of(appliance: Appliance) -> QuerySet[ResolvedBoundary]:
    """What was kept of an appliance: a row whenever something changed."""
    return ResolvedBoundary.objects.filter(
        system_key=appliance.system.key, appliance_key=appliance.key
    )


def _known_then(
    appliance: Appliance, at: datetime, side: Side, request: HttpRequest
) -> dict[str, Any]:
    """What held, and each constraint that had a say, the strongest first."""
    until = at + _AN_INSTANT
    [span] = timeline_of(appliance=appliance, from_at=at, until_at=until, now=until)
    [told] = explain([span], zones=[appliance.system.zone])
    people = may_be_named(request.user, [one.row for one in told.constraints])
    sources = sources_of(shares_in([span]), request.user)
    zone = appliance.system.zone
    return {
        "allowed": allowed(span.boundary, side),
        "is_known": bool(span.inputs),
        "lines": [
            _line(one, told, side, people, sources, zone, request) for one in told.constraints
        ],
    }


def _line(
    one: Explained,
    told: ExplainedSpan,
    side: Side,
    people: set[UUID],
    sources: Mapping[str, Source],
    zone: ZoneInfo,
    request: HttpRequest,
) -> Line:
    span, source = told.span, sources.get(str(one.row.pk))
    said = next(each for each in span.inputs if each["id"] == str(one.row.pk))
    return Line(
        emitter=said["emitter"],
        tag=outcome_tag(one),
        title=title_of(said["emitter"], said, side, source),
        who=who_set(one.row, request.user, people),
        priority=priority_line(said["emitter"], said["priority"]),
        reason=reason_of(one, span, side, zone=zone),
        source=source,
    )


def _changes(rows: Iterable[ResolvedBoundary], side: Side, zone: ZoneInfo) -> list[Change]:
    """Of rows, the newest first, each from which on something else holds in words.

    One is kept for whatever has changed, be it why a share is as it is.
    """
    found: list[Change] = []
    for row in rows:
        what, by = allowed(boundary_of(row), side), deciders_of(row)
        if found and (found[-1].what, found[-1].by) == (what, by):
            found.pop()
        found.append(Change(_instant(row.at, zone), what, by, _url(row, zone)))
    return found


def _instant(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    # Translators: as in "23 November 2026"; Django's date format characters
    day = date_format(local.date(), pgettext("date format", "j F Y"))
    return f"{day}, {local:%H:%M:%S}"


def _url(row: ResolvedBoundary | None, zone: ZoneInfo) -> str:
    """The address of the second in which a change was over."""
    if row is None:
        return ""
    local = (row.at + timedelta(seconds=1)).astimezone(zone).replace(microsecond=0)
    return "?" + urlencode({"at": local.isoformat()})


def _csv(rows: QuerySet[ResolvedBoundary]) -> Iterator[str]:
    """A line for each constraint that had a say in one of an appliance's boundaries, or one line
    where none had; the oldest first."""
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for row in chain.from_iterable(parts_by_key(rows, "at", size=_ROWS_AT_ONCE)):
        boundary = [row.at, *(getattr(row, name) for name in _BOUNDARY)]
        for one in row.inputs or [{}]:
            outcomes = [one.get(part, {}).get("outcome") for part in ("power", "energy")]
            told = [*boundary, *(one.get(name) for name in _ASKED), *outcomes]
            yield writer.writerow(map(cell, told))
