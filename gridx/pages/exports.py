"""History and readings as files: which days, how finely and in which format."""

from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.widgets import DayInput
from gridx import clock
from gridx.pages.shown import EARLIEST, local_day
from gridx.pages.visible import visible_appliance, visible_cluster, visible_pool, visible_system
from inventory.models import Appliance
from measurements.exports.files import XLSX_ROWS, Format, file_of, fits
from measurements.exports.tables import RAW, Subject, table_of
from measurements.formats import number
from measurements.resolutions import Resolution, Span

RESOLUTIONS = {
    RAW: gettext_lazy("single readings"),
    Resolution.QUARTER: gettext_lazy("15 minutes"),
    Resolution.HOUR: gettext_lazy("hours"),
    Resolution.DAY: gettext_lazy("days"),
    Resolution.WEEK: gettext_lazy("weeks"),
    Resolution.MONTH: gettext_lazy("months"),
    Resolution.YEAR: gettext_lazy("years"),
}
FORMATS = {
    Format.CSV: gettext_lazy("CSV, for any program"),
    Format.XLSX: gettext_lazy("XLSX, for spreadsheets"),
    Format.PARQUET: gettext_lazy("Parquet, for data analysis"),
}
# What is suggested where the page before shows no period.
USUAL = timedelta(days=30)


class ExportForm(forms.Form):
    """Local days, both included; at which resolution, in which format."""

    first = forms.DateField(label=gettext_lazy("From"), widget=DayInput)
    last = forms.DateField(label=gettext_lazy("To"), widget=DayInput)
    resolution = forms.ChoiceField(
        label=gettext_lazy("Resolution"), choices=list(RESOLUTIONS.items())
    )
    format = forms.ChoiceField(label=gettext_lazy("Format"), choices=list(FORMATS.items()))

    def __init__(self, *args: Any, today, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._today = today
        for name in ("first", "last"):
            self.fields[name].widget.attrs |= {"min": str(EARLIEST), "max": str(today)}

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        first, last = found.get("first"), found.get("last")
        if first and first < EARLIEST:
            self.add_error("first", _("Nothing was measured that long ago."))
        elif first and first > self._today:
            self.add_error("first", _("That lies in the future."))
        elif first and last and last < first:
            self.add_error("last", _("It ends before it begins."))
        return found

    def span(self, zone: ZoneInfo) -> Span:
        """The days that were asked for; those of the future are not among them."""
        last = min(self.cleaned_data["last"], self._today)
        return Span(
            local_day(self.cleaned_data["first"], zone).from_at, local_day(last, zone).until_at
        )


@login_required
@never_cache
@require_GET
def system_export(request: HttpRequest, system_id: UUID) -> HttpResponseBase:
    """What flowed in a system, or the single readings of its appliances, as a file; without
    `?format=`, the form that asks for it."""
    system = visible_system(request, system_id)
    return _answer(request, system, reverse("system", args=[system.pk]))


@login_required
@never_cache
@require_GET
def cluster_export(request: HttpRequest, cluster_id: UUID) -> HttpResponseBase:
    """The same of a cluster."""
    cluster = visible_cluster(request, cluster_id)
    return _answer(request, cluster, reverse("cluster_flexibility", args=[cluster.pk]))


@login_required
@never_cache
@require_GET
def pool_export(request: HttpRequest, pool_id: UUID) -> HttpResponseBase:
    """The same of a pool."""
    pool = visible_pool(request, pool_id)
    return _answer(request, pool, reverse("pool_flexibility", args=[pool.pk]))


@login_required
@never_cache
@require_GET
def appliance_export(request: HttpRequest, appliance_id: UUID) -> HttpResponseBase:
    """The same of an appliance."""
    appliance = visible_appliance(request, appliance_id)
    return _answer(request, appliance, reverse("appliance", args=[appliance.pk]))


def _answer(request: HttpRequest, subject: Subject, back_url: str) -> HttpResponseBase:
    now, zone = clock.now(), subject.zone
    today, asked = now.astimezone(zone).date(), request.GET
    usual = {
        "first": str(today - USUAL),
        "last": str(today),
        "resolution": Resolution.HOUR,
        "format": Format.CSV,
    }
    is_asked = "format" in asked
    form = ExportForm(
        asked if is_asked else None,
        initial=usual | asked.dict(),
        today=today,
    )
    if is_asked and form.is_valid():
        resolution, wanted = form.cleaned_data["resolution"], Format(form.cleaned_data["format"])
        span = form.span(zone)
        table = table_of(subject, span, resolution, now=now)
        if fits(table, wanted):
            return file_of(request, subject, table, span, resolution, wanted)
        form.add_error(
            "format",
            _("A sheet holds at most %(rows)s rows. Choose CSV or Parquet, or a shorter period.")
            % {"rows": number(XLSX_ROWS, 0)},
        )
    context = {
        "form": form,
        "subject": subject,
        "back_url": back_url,
        "is_of_many": not isinstance(subject, Appliance),
        "zone": zone.key,
    }
    return render(request, "pages/export.html", context, status=422 if is_asked else 200)
