"""Shared limits of clusters set, changed and withdrawn by people, and that taken back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from flexibility.emitters import Emitter, UnableToConstrain
from flexibility.limits.forms import AMOUNTS, LimitForm
from flexibility.limits.operations import (
    drafted_limit,
    limits_on,
    restore_limit,
    set_limit,
    usual_id,
    withdraw_limit,
)
from flexibility.models import SharedLimit
from flexibility.operations import UnableToRestore
from flexibility.queries import State, state_of
from flexibility.resolver import EmitterKind
from flexibility.room import steered
from flexibility.standing import members_of
from gridx import clock
from gridx.pages.limits import (
    limit_emitters,
    limit_undo_of,
    may_change_limit,
    may_withdraw_limit,
    tried_limit,
)
from gridx.pages.lines import group_url
from gridx.pages.visible import visible_cluster
from inventory.models import Appliance, Cluster

# By whether it is a new one.
_SAID = {
    True: gettext_lazy("The shared limit is set."),
    False: gettext_lazy("The shared limit is changed."),
}
_AS = {
    EmitterKind.OPERATOR: gettext_lazy("as staff"),
    EmitterKind.ACCOUNT_USER: gettext_lazy("as the fleet manager"),
    EmitterKind.LOCAL_USER: gettext_lazy("as the resident"),
    EmitterKind.FUSE: gettext_lazy("what the wiring bears"),
}


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def limit_new(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Limit the sum of a cluster's members; `?as=` says as what."""
    cluster = visible_cluster(request, cluster_id)
    return _edit(request, cluster, _required(limit_emitters(request.user, cluster.system)))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def limit_edit(request: HttpRequest, limit_id: UUID) -> HttpResponse:
    """Change a limit that stands."""
    limit = _visible(request, limit_id)
    emitters = limit_emitters(request.user, limit.system)
    own = _required([one for one in emitters if may_change_limit(limit, one)])
    if state_of(limit, now=clock.now()) not in (State.ACTIVE, State.SCHEDULED):
        messages.info(request, _("It is over already, or withdrawn: set a new one."))
        return redirect(group_url(limit.cluster))
    return _edit(request, limit.cluster, own, changed=limit)


@login_required
@require_POST
def limit_withdraw(request: HttpRequest, limit_id: UUID) -> HttpResponse:
    """End a limit at once; for a while that can be undone."""
    limit, emitter = _own(request, limit_id)
    withdraw_limit(limit=limit, by=emitter, now=clock.now())
    return _answer(request, limit, undo=limit.pk)


@login_required
@require_POST
def limit_restore(request: HttpRequest, limit_id: UUID) -> HttpResponse:
    """Let a limit hold again that was withdrawn just now."""
    limit, emitter = _own(request, limit_id)
    try:
        restore_limit(limit=limit, by=emitter, now=clock.now())
    except (UnableToRestore, UnableToConstrain) as error:
        if not request.htmx:
            messages.error(request, str(error))
        return _answer(request, limit, problem=str(error))
    return _answer(request, limit, is_restored=True)


def _edit(
    request: HttpRequest,
    cluster: Cluster,
    emitters: Sequence[Emitter],
    *,
    changed: SharedLimit | None = None,
) -> HttpResponse:
    """The form; sent, the limit is set."""
    now, zone = clock.now(), cluster.system.zone
    emitter = next((one for one in emitters if one.kind == request.GET.get("as")), emitters[0])
    members = _members(cluster)
    form = LimitForm(
        request.POST if request.method == "POST" else None,
        emitter=emitter,
        members=members,
        zone=zone,
        now=now,
        changed=changed,
    )
    is_preview, tried = "preview" in request.POST, None
    is_part = is_preview and request.htmx and request.htmx.target == "preview"
    if members and form.is_bound and form.is_valid():
        try:
            if not is_preview and not form.refuse_outdated():
                _save(form, cluster, emitter, now)
                messages.success(request, _SAID[changed is None])
                return redirect(group_url(cluster))
            drafted = drafted_limit(form.draft, cluster=cluster, by=emitter, now=now)
            tried = tried_limit(drafted, members, now=now)
        except UnableToConstrain as error:
            form.refuse(error)
    with timezone.override(zone):
        context = {
            "form": form,
            "cluster": cluster,
            "count": len(members),
            "tried": tried,
            "is_untouched": is_preview and not _says_something(form),
            "back_url": group_url(cluster),
            "is_fuse": emitter.kind is EmitterKind.FUSE,
            "emitters": [(one.kind.value, _AS[one.kind], one == emitter) for one in emitters]
            if len(emitters) > 1
            else [],
            "zone": zone.key,
            "is_part": is_part,
        }
        template = "pages/_limit_preview.html" if is_part else "pages/limit.html"
        status = 200 if is_preview or not form.is_bound else 422
        return render(request, template, context, status=status)


def _says_something(form: LimitForm) -> bool:
    return any(form.data.get(name) for name in AMOUNTS)


def _save(form: LimitForm, cluster: Cluster, emitter: Emitter, now: datetime) -> None:
    """Set what was asked for; a first one is that which the API knows, too."""
    draft, usual = form.draft, usual_id(cluster, emitter.kind)
    if draft.id is None and not limits_on(cluster, now=now).filter(pk=usual).exists():
        draft = replace(draft, id=usual)
    set_limit(cluster=cluster, draft=draft, by=emitter, now=now)


def _members(cluster: Cluster) -> list[Appliance]:
    return list(steered(members_of(cluster)).order_by("name", "key"))


def _visible(request: HttpRequest, limit_id: UUID) -> SharedLimit:
    """A limit of a cluster; what came with a dimming is not for anybody to change by hand."""
    visible = SharedLimit.objects.visible_to(request.user).filter(
        cluster__isnull=False, dimming=None
    )
    return get_object_or_404(
        visible.select_related("system__account", "cluster__system__account"), pk=limit_id
    )


def _own(request: HttpRequest, limit_id: UUID) -> tuple[SharedLimit, Emitter]:
    """A limit, and as what the user may end it. Raises PermissionDenied."""
    limit = _visible(request, limit_id)
    emitters = limit_emitters(request.user, limit.system)
    return limit, _required([one for one in emitters if may_withdraw_limit(limit, one)])[0]


def _required(emitters: Sequence[Emitter]) -> Sequence[Emitter]:
    if not emitters:
        raise PermissionDenied
    return emitters


def _answer(
    request: HttpRequest,
    limit: SharedLimit,
    *,
    undo: UUID | None = None,
    is_restored: bool = False,
    problem: str = "",
) -> HttpResponse:
    """Back to the page; for htmx, what can be undone: the page fetches by itself what is new."""
    if not request.htmx:
        query = f"?{urlencode({'undo': undo})}" if undo else ""
        return redirect(f"{group_url(limit.cluster)}{query}")
    told = {
        "undo": limit_undo_of(undo, user=request.user, now=clock.now()),
        "is_restored": is_restored,
        "problem": problem,
    }
    return render(request, "pages/_undo.html", told)
