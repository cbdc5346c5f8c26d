"""The editor: what is asked for, tried out while it is typed, then set."""

from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from flexibility.bulk.operations import UnableToActOnAll, set_on_each
from flexibility.emitters import Emitter, UnableToConstrain, emitter_of
from flexibility.forms import ConstraintForm, kinds_of
from flexibility.models import Constraint
from flexibility.operations import Draft, drafted, set_constraints
from flexibility.sentences import ANY, GIVE, STORE, Side
from flexibility.tasks import work_soon
from gridx import clock
from gridx.pages import appliance as appliance_page
from gridx.pages import groups as groups_page
from gridx.pages.constraints import subjects
from gridx.pages.constraints.previewing import try_out
from gridx.pages.constraints.subjects import Subject
from inventory.models import Appliance

# So many of those for which it cannot be set are named.
MOST_NAMED = 20


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def appliance_constrain(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """Set a constraint on an appliance."""
    found = appliance_page.visible_appliance(request, appliance_id)
    emitter = emitter_of(request.user)
    if not appliance_page.may_constrain(found, emitter):
        raise Http404
    return _edit(request, subjects.of_appliance(found), emitter)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def cluster_constrain(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Set a constraint on each member of a cluster."""
    cluster = groups_page.visible_cluster(request, cluster_id)
    return _edit(request, subjects.of_group(cluster), emitter_of(request.user))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def pool_constrain(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Set a constraint on each appliance of a pool's systems."""
    pool = groups_page.visible_pool(request, pool_id)
    return _edit(request, subjects.of_group(pool), emitter_of(request.user))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def constraints_new(request: HttpRequest) -> HttpResponse:
    """Set a constraint on each of many appliances: ticked ones, or all that a filter finds."""
    emitter = emitter_of(request.user)
    subject = subjects.of_chosen(request)
    if subject is None:
        messages.info(request, _("Tick appliances, or search for those that you mean."))
        return redirect(reverse("inventory") + "?show=appliances")
    return _edit(request, subject, emitter)


def _edit(request: HttpRequest, subject: Subject, emitter: Emitter) -> HttpResponse:
    """The form; with `preview` among what is sent, what it would do; else it is saved."""
    now = clock.now()
    # Who was chosen from a list comes by POST too, without any of the form's fields.
    is_filled = "begin" in request.POST
    form = ConstraintForm(
        request.POST if is_filled or (not subject.is_many and request.POST) else None,
        emitter=emitter,
        zone=subject.zone,
        now=now,
        side=subject.side,
        kinds=kinds_of(subject.appliances) if subject.is_group and not subject.is_many else (),
    )
    is_preview = "preview" in request.POST
    draft, row = _draft(form, subject, emitter, now)
    obstacles = ()
    if draft is not None and not is_preview:
        try:
            return _save(request, subject, draft, emitter, now)
        except UnableToConstrain as error:
            form.refuse(error)
        except UnableToActOnAll as error:
            obstacles = error.obstacles
            form.add_error(None, str(error))
    with timezone.override(subject.zone):
        concerned = subject.tried if row is None else _concerned(subject.tried, row)
        context = {
            "form": form,
            "subject": subject,
            "target": subject.target,
            "is_group": subject.is_group,
            "side": subject.side,
            "count": len(subject.appliances),
            "left_out": max(len(subject.appliances) - len(subject.tried), 0),
            "obstacles": obstacles[:MOST_NAMED],
            "obstacles_left": max(len(obstacles) - MOST_NAMED, 0),
            "back_url": subject.back_url,
            "tried": try_out(
                concerned,
                row,
                wanted=request.POST.get("member", ""),
                now=now,
                zone=subject.zone,
            ),
            "is_untouched": form.is_bound and is_preview and not _says_something(form),
            "hint": _sign_hint(subject.side),
            "zone": subject.zone.key,
            "now": now,
        }
        is_part = is_preview and request.htmx and request.htmx.target == "preview"
        template = "pages/_preview.html" if is_part else "pages/constraint.html"
        status = 200 if is_preview or not form.is_bound else 422
        return render(request, template, context, status=200 if is_part else status)


def _save(
    request: HttpRequest, subject: Subject, draft: Draft, emitter: Emitter, now: datetime
) -> HttpResponse:
    """Set it at once; of many, begin to. Raises UnableToConstrain and UnableToActOnAll."""
    if subject.target is None:
        action = set_on_each(appliances=subject.appliances, draft=draft, emitter=emitter, now=now)
        work_soon()
        return redirect("bulk_action", action.pk)
    set_constraints(target=subject.target, drafts=[draft], emitter=emitter, now=now)
    messages.success(request, _("The constraint is set."))
    return redirect(subject.back_url)


def _draft(
    form: ConstraintForm, subject: Subject, emitter: Emitter, now: datetime
) -> tuple[Draft | None, Constraint | None]:
    """What is asked for, and the constraint that it would become; the form says what is wrong."""
    if not form.is_bound or not subject.appliances or not form.is_valid():
        return None, None
    target = subject.target or subject.appliances[0]
    try:
        row = drafted(form.draft, target=target, emitter=emitter, now=now)
    except UnableToConstrain as error:
        form.refuse(error)
        return None, None
    return form.draft, row


def _says_something(form: ConstraintForm) -> bool:
    return any(form.data.get(name) for name in ("least", "greatest", "point"))


def _concerned(members, row: Constraint) -> list[Appliance]:
    return [one for one in members if not row.kinds or one.kind in row.kinds]


def _sign_hint(side: Side) -> str:
    if side.family == ANY:
        return _(
            "For each appliance by itself. Negative is what it gives: −5 discharges a battery."
        )
    if side.family == STORE:
        return _("Negative discharges it: −3.")
    return _("What it produces.") if side.family == GIVE else ""
