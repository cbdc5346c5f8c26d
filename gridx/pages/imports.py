"""Recorded readings brought to a system: a file, what its columns mean, and what became of it."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import Action, require
from accounts.fragments import render_page_or_part
from accounts.hints import run_soon
from accounts.paging import page_of
from flexibility.asking import moment
from gridx import clock
from gridx.pages.visible import visible_system
from inventory.export import Echo, cell, csv_file
from inventory.models import System
from measurements.imports.forms import LayoutForm, UploadForm
from measurements.imports.kept import layout_of_json
from measurements.imports.operations import (
    UnableToBegin,
    begin_import,
    cancel_import,
    preview_of,
    receive_file,
)
from measurements.imports.progress import read_progress
from measurements.imports.recordings import UnableToRead
from measurements.models import RecordingImport
from measurements.tasks import work_imports


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def system_import(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """Choose a file."""
    system = _managed_system(request, system_id)
    is_sent = request.method == "POST"
    form = UploadForm(request.POST, request.FILES) if is_sent else UploadForm()
    if form.is_valid():
        try:
            job = receive_file(
                system=system, file=form.cleaned_data["file"], by=request.user, now=clock.now()
            )
        except UnableToRead as error:
            form.add_error("file", str(error))
        else:
            return redirect("recording_import_mapping", job.pk)
    context = {"form": form, "system": system, "most_mb": settings.MOST_UPLOADED_MB}
    status = 422 if is_sent else 200
    return render(request, "pages/import_file.html", context, status=status)


@login_required
@never_cache
@require_GET
def system_imports(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """What was imported into a system, the newest first."""
    system = _managed_system(request, system_id)
    rows = RecordingImport.objects.filter(system=system).select_related("by")
    page = page_of(rows.order_by("-created_at", "pk"), request.GET.get("page"))
    now = clock.now()
    context = {
        "system": system,
        "page": page,
        "lines": [
            {"job": row, "begun": moment(row.created_at, now=now, zone=system.zone)}
            for row in page.rows
        ],
    }
    return render_page_or_part(
        request, "pages/imports.html", "pages/_imports.html", context, target="results"
    )


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def recording_import_mapping(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """Say what the columns of the file mean, and begin."""
    job = _managed_import(request, import_id)
    if not job.is_mappable:
        return redirect("recording_import", job.pk)
    try:
        preview = preview_of(job)
    except UnableToRead as error:
        messages.error(request, str(error))
        return redirect("system_import", job.system_id)
    form = LayoutForm(
        request.POST if request.method == "POST" else None,
        system=job.system,
        preview=preview,
        layout=layout_of_json(job.layout) if job.layout else None,
        unknown=(job.report or {}).get("unknown", []),
        skip_bad=job.skip_bad,
    )
    if form.is_bound and form.is_valid():
        try:
            begin_import(
                job=job,
                layout=form.layout,
                skip_bad=form.cleaned_data["skip_bad"],
                by=request.user,
                now=clock.now(),
            )
        except UnableToBegin as error:
            messages.info(request, str(error))
        else:
            run_soon(work_imports)
        return redirect("recording_import", job.pk)
    context = {"job": job, "system": job.system, "preview": preview, "form": form}
    status = 422 if form.is_bound else 200
    return render(request, "pages/import_mapping.html", context, status=status)


@login_required
@never_cache
@require_GET
def recording_import(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """How far it is, and then what was found in the file."""
    job = _managed_import(request, import_id)
    if job.state == RecordingImport.State.CHOSEN:
        return redirect("recording_import_mapping", job.pk)
    with timezone.override(job.system.zone):
        return render_page_or_part(
            request,
            "pages/import.html",
            "pages/_import.html",
            _context(job, now=clock.now()) | {"is_by_me": job.by_id == request.user.pk},
            target="import",
        )


@login_required
@require_POST
def recording_import_cancel(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """Stop it; nothing of it is stored."""
    job = _managed_import(request, import_id)
    if not cancel_import(job=job, now=clock.now()):
        messages.info(request, _("It was over already."))
    return redirect("recording_import", job.pk)


@login_required
@never_cache
@require_GET
def recording_import_refused(request: HttpRequest, import_id: UUID) -> HttpResponseBase:
    """The refused lines with their reasons, as CSV."""
    job = _managed_import(request, import_id)
    return csv_file(request, _csv((job.report or {}).get("bad_lines", [])), "gridx-refused.csv")


def _managed_system(request: HttpRequest, system_id: UUID) -> System:
    system = visible_system(request, system_id)
    require(request.user, Action.MANAGE_INVENTORY, system)
    return system


def _managed_import(request: HttpRequest, import_id: UUID) -> RecordingImport:
    visible = RecordingImport.objects.visible_to(request.user)
    job = get_object_or_404(visible.select_related("system", "by", "message"), pk=import_id)
    require(request.user, Action.MANAGE_INVENTORY, job.system)
    return job


def _context(job: RecordingImport, *, now: datetime) -> dict[str, Any]:
    report, zone, share = job.report or {}, job.system.zone, read_progress(job.pk)
    span = [
        moment(datetime.fromisoformat(report[name]), now=now, zone=zone)
        for name in ("first_at", "last_at")
        if report.get(name)
    ]
    told = report.get("bad_lines", [])
    return {
        "job": job,
        "system": job.system,
        "report": report,
        "is_done": job.state == RecordingImport.State.DONE,
        "is_refused": job.state == RecordingImport.State.REFUSED,
        "begun": moment(job.created_at, now=now, zone=zone),
        "span": span,
        "is_waiting": share is None,
        "percent": round(100 * (share or 0)),
        "has_problem": bool(job.message and job.message.last_error),
        "told": told,
        "untold": report.get("bad", 0) - len({line for line, _reason in told}),
    }


def _csv(bad_lines: list) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(["line", "reason"])
    for line, reason in bad_lines:
        yield writer.writerow([line, cell(reason)])
