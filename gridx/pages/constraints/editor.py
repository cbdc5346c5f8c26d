"""The editor: what is asked for, tried out while it is typed, then set; or changed later on."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.hints import run_soon
from flexibility.asking import ANY, GIVE, STORE, Side, moment
from flexibility.bulk.operations import UnableToActOnAll, obstacles_of, set_on_each
from flexibility.emitters import Emitter, UnableToConstrain, emitters_of
from flexibility.forms import ConstraintForm, kinds_of
from flexibility.models import Constraint, Series
from flexibility.operations import LONGEST_VALIDITY, Draft, drafted, set_constraints
from flexibility.queries import State, state_of
from flexibility.resolver import EmitterKind
from flexibility.series.operations import SeriesDraft, drafted_series, set_series
from flexibility.series.sentences import series_words
from flexibility.tasks import work_bulk_actions
from gridx import clock
from gridx.pages import appliance as appliance_page
from gridx.pages.acting import home_of, is_editable, may_edit
from gridx.pages.constraints import subjects
from gridx.pages.constraints.previewing import try_out
from gridx.pages.constraints.subjects import Subject
from gridx.pages.navigation import show_under
from gridx.pages.visible import visible_appliance, visible_cluster, visible_pool
from inventory.models import Appliance

# So many of those for which it cannot be set are named.
MOST_NAMED = 20
_AS = {
    EmitterKind.ACCOUNT_USER: gettext_lazy("as the fleet manager"),
    EmitterKind.LOCAL_USER: gettext_lazy("as the resident"),
}
_AMOUNTS = ("least", "greatest", "point", "least_energy", "greatest_energy")


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def appliance_constrain(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """Set a constraint on an appliance."""
    found = visible_appliance(request, appliance_id)
    emitters = emitters_of(request.user, home=found.system)
    if not appliance_page.may_constrain(found, emitters[0]):
        raise Http404
    return _edit(request, subjects.of_appliance(found), emitters)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def cluster_constrain(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Set a constraint on each member of a cluster."""
    cluster = visible_cluster(request, cluster_id)
    emitters = emitters_of(request.user, home=cluster.system)
    return _edit(request, subjects.of_group(cluster), emitters)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def pool_constrain(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Set a constraint on each appliance of a pool's systems."""
    pool = visible_pool(request, pool_id)
    return _edit(request, subjects.of_group(pool), emitters_of(request.user))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def constraints_new(request: HttpRequest) -> HttpResponse:
    """Set a constraint on each of many appliances: ticked ones, or all that a filter finds."""
    emitters = emitters_of(request.user)
    subject = subjects.of_chosen(request)
    if subject is None:
        messages.info(request, _("Tick appliances, or search for those that you mean."))
        return redirect(reverse("inventory") + "?show=appliances")
    return _edit(request, subject, emitters)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def constraint_edit(request: HttpRequest, constraint_id: UUID) -> HttpResponse:
    """Change a constraint that stands; what held until now stays known as it was."""
    visible = Constraint.objects.visible_to(request.user).select_related(
        "appliance__system__account", "cluster__system__account", "pool", "series"
    )
    row = get_object_or_404(visible, pk=constraint_id)
    if row.series_id is not None:
        return redirect("series_edit", row.series_id)
    return _change(request, row)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def series_edit(request: HttpRequest, series_id: UUID) -> HttpResponse:
    """Change a series from now on."""
    visible = Series.objects.visible_to(request.user).select_related(
        "appliance__system__account", "cluster__system__account", "pool", "system"
    )
    series = get_object_or_404(visible, pk=series_id)
    if not is_editable(series):
        raise Http404
    return _change(request, series)


def _change(request: HttpRequest, changed: Constraint | Series) -> HttpResponse:
    subject = subjects.of_target(changed.target)
    own = [
        one
        for one in emitters_of(request.user, home=home_of(changed))
        if one.kind == changed.emitter_kind and may_edit(changed, one)
    ]
    if not own:
        raise PermissionDenied
    if not _stands(changed, clock.now()):
        messages.info(request, _("It is over already, or withdrawn: set a new one."))
        return redirect(subject.back_url)
    return _edit(request, subject, own, changed=changed)


def _stands(changed: Constraint | Series, now: datetime) -> bool:
    if isinstance(changed, Series):
        return changed.withdrawn_at is None and changed.until_at > now
    return state_of(changed, now=now) in (State.ACTIVE, State.SCHEDULED)


def _edit(
    request: HttpRequest,
    subject: Subject,
    emitters: Sequence[Emitter],
    *,
    changed: Constraint | Series | None = None,
) -> HttpResponse:
    """The form; with `preview` among what is sent, what it would do; else it is saved."""
    show_under(request, subject.back_url)
    now = clock.now()
    emitter = next((one for one in emitters if one.kind == request.GET.get("as")), emitters[0])
    # Who was chosen from a list comes by POST too, without any of the form's fields.
    is_chosen = subject.is_many and "begin" not in request.POST
    form = ConstraintForm(
        request.POST if request.method == "POST" and not is_chosen else None,
        emitter=emitter,
        zone=subject.zone,
        now=now,
        side=subject.side,
        kinds=kinds_of(subject.appliances) if subject.is_group and not subject.is_many else (),
        changed=changed,
    )
    is_preview = "preview" in request.POST
    is_part = is_preview and request.htmx and request.htmx.target == "preview"
    draft, rows = _draft(form, subject, emitter, now)
    obstacles = ()
    if draft is not None and not is_preview and not form.refuse_outdated():
        try:
            return _save(request, subject, draft, emitter, changed, now)
        except UnableToConstrain as error:
            form.refuse(error)
        except UnableToActOnAll as error:
            obstacles = error.obstacles
            form.add_error(None, str(error))
    with timezone.override(subject.zone):
        context = {
            "form": form,
            "subject": subject,
            "target": subject.target,
            "is_group": subject.is_group,
            "count": len(subject.appliances),
            "left_out": max(len(subject.appliances) - len(subject.tried), 0),
            "obstacles": obstacles[:MOST_NAMED],
            "obstacles_left": max(len(obstacles) - MOST_NAMED, 0),
            "back_url": subject.back_url,
            "tried": try_out(
                _concerned(subject.tried, rows),
                rows,
                wanted=request.POST.get("member", ""),
                user=request.user,
                now=now,
                zone=subject.zone,
                without=_occurrences(changed, now),
                obstacles=obstacles_of(subject.tried, emitter.kind, now=now)
                if subject.is_many and rows
                else (),
            ),
            "weekly": _weekly(draft, now),
            "is_untouched": form.is_bound and is_preview and not _says_something(form),
            "hint": _sign_hint(subject.side),
            "emitters": [(one.kind.value, _AS[one.kind], one == emitter) for one in emitters]
            if len(emitters) > 1
            else [],
            "zone": subject.zone.key,
            "now": now,
            "is_part": is_part,
        }
        template = "pages/_preview.html" if is_part else "pages/constraint.html"
        status = 200 if is_preview or not form.is_bound else 422
        return render(request, template, context, status=200 if is_part else status)


def _save(
    request: HttpRequest,
    subject: Subject,
    draft: Draft | SeriesDraft,
    emitter: Emitter,
    changed: Constraint | Series | None,
    now: datetime,
) -> HttpResponse:
    """Set it at once; of many, begin to. Raises UnableToConstrain and UnableToActOnAll."""
    if subject.target is None:
        action = set_on_each(appliances=subject.appliances, draft=draft, emitter=emitter, now=now)
        run_soon(work_bulk_actions)
        return redirect("bulk_action", action.pk)
    if isinstance(draft, SeriesDraft):
        set_series(target=subject.target, draft=draft, emitter=emitter, now=now, series=changed)
    else:
        set_constraints(target=subject.target, drafts=[draft], emitter=emitter, now=now)
    said = _("The constraint is set.") if changed is None else _("The constraint is changed.")
    messages.success(request, said)
    return redirect(subject.back_url)


def _draft(
    form: ConstraintForm, subject: Subject, emitter: Emitter, now: datetime
) -> tuple[Draft | SeriesDraft | None, list[Constraint]]:
    """What is asked for, and the constraints that it would become; the form says what is wrong."""
    if not form.is_bound or not subject.appliances or not form.is_valid():
        return None, []
    target, draft = subject.target or subject.appliances[0], form.asked
    try:
        if isinstance(draft, SeriesDraft):
            return draft, drafted_series(target=target, draft=draft, emitter=emitter, now=now)
        return draft, [drafted(draft, target=target, emitter=emitter, now=now)]
    except UnableToConstrain as error:
        form.refuse(error)
        return None, []


def _says_something(form: ConstraintForm) -> bool:
    return any(form.data.get(name) for name in _AMOUNTS)


def _weekly(draft: Draft | SeriesDraft | None, now: datetime) -> dict[str, str]:
    """When it comes again; where it goes on for longer than is set in advance, until when it is."""
    if not isinstance(draft, SeriesDraft):
        return {}
    known = now + LONGEST_VALIDITY
    is_longer = draft.until_at > known
    until = moment(known, now=now, zone=ZoneInfo(draft.time_zone)) if is_longer else ""
    return {"words": series_words(draft, now=now), "known_until": until}


def _occurrences(changed: Constraint | Series | None, now: datetime) -> list[UUID]:
    """What of a series that is changed does not stand any more then."""
    if not isinstance(changed, Series):
        return []
    standing = Constraint.objects.filter(series=changed, withdrawn_at=None, invalid_at__gt=now)
    return list(standing.values_list("pk", flat=True))


def _concerned(members: Sequence[Appliance], rows: Sequence[Constraint]) -> Sequence[Appliance]:
    kinds = rows[0].kinds if rows else ()
    return [one for one in members if not kinds or one.kind in kinds]


def _sign_hint(side: Side) -> str:
    if side.family == ANY:
        return _(
            "For each appliance by itself. Negative is what it gives: −5 discharges a battery."
        )
    if side.family == STORE:
        return _("Negative discharges it: −3.")
    return _("What it produces.") if side.family == GIVE else ""
