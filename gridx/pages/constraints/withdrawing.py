"""Constraints withdrawn by people, and that taken back."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from flexibility.emitters import Emitter, UnableToConstrain
from flexibility.models import Constraint, Series
from flexibility.operations import UnableToRestore, restore_constraint, withdraw_constraint
from flexibility.series.operations import restore_series, withdraw_series
from gridx import clock
from gridx.pages.acting import acting_on
from gridx.pages.constraints.subjects import page_of
from gridx.pages.lines import undo_of
from inventory.models import System


@login_required
@require_POST
def constraint_withdraw(request: HttpRequest, constraint_id: UUID) -> HttpResponse:
    """End a constraint at once; for a while that can be undone."""
    row, emitter = _found(request, constraint_id)
    withdraw_constraint(constraint=row, by=emitter, now=clock.now())
    return _answer(request, row, undo=row.pk)


@login_required
@require_POST
def constraint_restore(request: HttpRequest, constraint_id: UUID) -> HttpResponse:
    """Let a constraint hold again that was withdrawn just now."""
    row, emitter = _found(request, constraint_id)
    return _restored(
        request, row, lambda: restore_constraint(constraint=row, by=emitter, now=clock.now())
    )


@login_required
@require_POST
def series_withdraw(request: HttpRequest, series_id: UUID) -> HttpResponse:
    """End a series at once: what of it holds now, and all that is still to come."""
    row, emitter = _found_series(request, series_id)
    withdraw_series(series=row, by=emitter, now=clock.now())
    return _answer(request, row, undo=row.pk)


@login_required
@require_POST
def series_restore(request: HttpRequest, series_id: UUID) -> HttpResponse:
    """Let a series hold again that was withdrawn just now."""
    row, emitter = _found_series(request, series_id)
    return _restored(request, row, lambda: restore_series(series=row, by=emitter, now=clock.now()))


def _found(request: HttpRequest, constraint_id: UUID) -> tuple[Constraint, Emitter]:
    visible = Constraint.objects.visible_to(request.user).select_related(
        "appliance__system", "cluster__system", "pool"
    )
    row = get_object_or_404(visible, pk=constraint_id)
    return row, acting_on(row, request.user)


def _found_series(request: HttpRequest, series_id: UUID) -> tuple[Series, Emitter]:
    visible = Series.objects.visible_to(request.user).select_related(
        "appliance__system", "cluster__system", "pool", "system"
    )
    row = get_object_or_404(visible, pk=series_id)
    return row, acting_on(row, request.user)


def _restored(
    request: HttpRequest, row: Constraint | Series, restore: Callable[[], object]
) -> HttpResponse:
    try:
        restore()
    except UnableToRestore as error:
        if not request.htmx:
            messages.error(request, str(error))
        return _answer(request, row, problem=str(error))
    except UnableToConstrain as error:
        return _answer(request, row, problem=error.reason)
    return _answer(request, row, is_restored=True)


def _answer(
    request: HttpRequest,
    row: Constraint | Series,
    *,
    undo: UUID | None = None,
    is_restored: bool = False,
    problem: str = "",
) -> HttpResponse:
    """Back to the page; for htmx, what can be undone: the page fetches by itself what is new."""
    if not request.htmx:
        query = f"?{urlencode({'undo': undo})}" if undo else ""
        return redirect(f"{_page_of(row)}{query}")
    told = {
        "undo": undo_of(undo, user=request.user, now=clock.now()),
        "is_restored": is_restored,
        "problem": problem,
    }
    return render(request, "pages/_undo.html", told)


def _page_of(row: Constraint | Series) -> str:
    if isinstance(row.target, System):
        return reverse("system", args=[row.target.pk])
    return page_of(row.target)
