"""Constraints set and withdrawn by people: the editor with its preview, and undoing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from flexibility import bars, words
from flexibility.effects import Effect, Loss, effect_of
from flexibility.emitters import Emitter, UnableToConstrain, emitter_of
from flexibility.forms import ConstraintForm, kinds_of
from flexibility.models import Constraint
from flexibility.operations import (
    Draft,
    Target,
    UnableToRestore,
    drafted,
    restore_constraint,
    set_constraints,
    withdraw_constraint,
)
from flexibility.queries import Preview, preview
from flexibility.resolver import Boundary
from flexibility.sentences import (
    ANY,
    GIVE,
    STORE,
    Side,
    allowed,
    asked,
    kilowatts,
    moment,
    side_of,
)
from flexibility.standing import members_of
from gridx import clock
from gridx.pages import appliance as appliance_page
from gridx.pages import groups as groups_page
from gridx.pages.groups import MOST_MEMBERS
from gridx.pages.timeline import timeline_context
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance, Cluster, SystemPool
from measurements.formats import NBSP, number

# So many lines of what would change are shown.
MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Line:
    """When, and what then."""

    when: str
    what: str


@dataclass(frozen=True, slots=True)
class MemberEffect:
    """What would become of one appliance, in words. `state`: follows, partly, bent or not."""

    appliance: Appliance
    state: str
    label: str
    reasons: tuple[Line, ...]
    losses: tuple[Line, ...]
    switches_off: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What the preview shows: a sentence, one appliance drawn, and all that matters of others."""

    summary: str
    tone: str
    shown: Appliance | None
    timeline: Any
    changes: tuple[Line, ...]
    members: tuple[MemberEffect, ...]
    troubled: tuple[MemberEffect, ...]
    losers: tuple[MemberEffect, ...]


# The editor --------------------------------------------------------------------------------------


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def appliance_constrain(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """Set a constraint on an appliance."""
    found = appliance_page.visible_appliance(request, appliance_id)
    emitter = emitter_of(request.user)
    if not appliance_page.may_constrain(found, emitter):
        raise Http404
    return _edit(request, found, [found], emitter, zone=found.system.zone)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def cluster_constrain(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Set a constraint on each member of a cluster."""
    cluster = groups_page.visible_cluster(request, cluster_id)
    emitter = emitter_of(request.user)
    return _edit(request, cluster, _members(cluster), emitter, zone=cluster.system.zone)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def pool_constrain(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Set a constraint on each appliance of a pool's systems."""
    pool = groups_page.visible_pool(request, pool_id)
    emitter = emitter_of(request.user)
    return _edit(request, pool, _members(pool), emitter, zone=pool.zone)


def _members(target: Cluster | SystemPool) -> list[Appliance]:
    members = members_of(target).filter(kind__in=CONTROLLABLE).select_related("system")
    return list(members.order_by("system__name", "name", "key")[:MOST_MEMBERS])


def _edit(
    request: HttpRequest,
    target: Target,
    members: Sequence[Appliance],
    emitter: Emitter,
    *,
    zone: ZoneInfo,
) -> HttpResponse:
    """The form; with `preview` among what is sent, what it would do; else it is saved."""
    now = clock.now()
    is_group = not isinstance(target, Appliance)
    side = Side(ANY) if is_group else side_of(target.kind)
    form = ConstraintForm(
        request.POST or None,
        emitter=emitter,
        zone=zone,
        now=now,
        side=side,
        kinds=kinds_of(members) if is_group else (),
    )
    is_preview = "preview" in request.POST
    draft, row = _draft(form, target, emitter, now)
    if draft is not None and not is_preview:
        try:
            set_constraints(target=target, drafts=[draft], emitter=emitter, now=now)
        except UnableToConstrain as error:
            form.refuse(error)
        else:
            messages.success(request, _("The constraint is set."))
            return redirect(_page_of(target))
    with timezone.override(zone):
        concerned = members if row is None else _concerned(members, row)
        context = {
            "form": form,
            "target": target,
            "is_group": is_group,
            "side": side,
            "count": len(members),
            "back_url": _page_of(target),
            "tried": _tried(request, concerned, row, side, now=now, zone=zone),
            "is_untouched": form.is_bound and is_preview and not _says_something(form),
            "hint": _sign_hint(target, side),
            "zone": zone.key,
            "now": now,
        }
        is_part = is_preview and request.htmx and request.htmx.target == "preview"
        template = "pages/_preview.html" if is_part else "pages/constraint.html"
        status = 200 if is_preview or not form.is_bound else 422
        return render(request, template, context, status=200 if is_part else status)


def _draft(
    form: ConstraintForm, target: Target, emitter: Emitter, now: datetime
) -> tuple[Draft | None, Constraint | None]:
    """What is asked for, and the constraint that it would become; the form says what is wrong."""
    if not form.is_bound or not form.is_valid():
        return None, None
    try:
        return form.draft, drafted(form.draft, target=target, emitter=emitter, now=now)
    except UnableToConstrain as error:
        form.refuse(error)
        return None, None


def _says_something(form: ConstraintForm) -> bool:
    return any(form.data.get(name) for name in ("least", "greatest", "point"))


def _concerned(members: Sequence[Appliance], row: Constraint) -> list[Appliance]:
    return [one for one in members if not row.kinds or one.kind in row.kinds]


def _sign_hint(target: Target, side: Side) -> str:
    if side.family == ANY:
        return _(
            "For each appliance by itself. Negative is what it gives: −5 discharges a battery."
        )
    if side.family == STORE:
        return _("Negative discharges it: −3.")
    return _("What it produces.") if side.family == GIVE else ""


def _page_of(target: Target) -> str:
    if isinstance(target, Appliance):
        return reverse("appliance", args=[target.pk])
    return appliance_page.group_url(target)


# The preview -------------------------------------------------------------------------------------


def _tried(
    request: HttpRequest,
    members: Sequence[Appliance],
    row: Constraint | None,
    side: Side,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> Tried | None:
    """What a constraint would do; without one, how things are. None where there is nobody."""
    if not members:
        return None
    drafts = [] if row is None else [row]
    new = {str(one.pk) for one in drafts}
    previews = {
        one.appliance.pk: one for one in preview(appliances=members, drafts=drafts, now=now)
    }
    effects = [
        _member_effect(one, effect_of(found.before, found.after, new=new), now, zone)
        for one in members
        for found in [previews[one.pk]]
    ]
    troubled = tuple(one for one in effects if one.state != "follows") if drafts else ()
    losers = tuple(one for one in effects if one.losses)
    shown = _shown(request, members, [*troubled, *losers])
    found = previews[shown.pk]
    return Tried(
        summary=_summary(effects, row, now, zone),
        tone="warning" if troubled else "success",
        shown=shown,
        timeline=timeline_context(
            shown,
            found.after,
            now=now,
            zone=zone,
            before=found.before if drafts else (),
            new=new,
            # Beside the form there is no room for a wide one.
            shapes=(bars.MIDDLE, bars.NARROW),
        ),
        changes=tuple(_changes(found, new, shown, now, zone)),
        members=tuple(effects),
        troubled=troubled,
        losers=losers,
    )


def _shown(
    request: HttpRequest, members: Sequence[Appliance], interesting: Sequence[MemberEffect]
) -> Appliance:
    """Which of them is drawn: the one that is asked for, else the first that matters."""
    wanted = request.POST.get("member", "")
    chosen = next((one for one in members if str(one.pk) == wanted), None)
    if chosen is not None:
        return chosen
    return interesting[0].appliance if interesting else members[0]


def _member_effect(one: Appliance, effect: Effect, now: datetime, zone: ZoneInfo) -> MemberEffect:
    side = side_of(one.kind)
    if effect.bent_w is not None:
        state, label = "bent", _("gets %(power)s") % {"power": kilowatts(side.sign * effect.bent_w)}
    elif not effect.refusals:
        state, label = "follows", _("follows")
    elif effect.holds:
        state, label = "partly", _("partly")
    else:
        state, label = "not", _("cannot")
    return MemberEffect(
        appliance=one,
        state=state,
        label=label,
        reasons=tuple(
            Line(
                _when(refusal, now, zone),
                _("it gives way to %(who)s (%(what)s)")
                % {
                    "who": words.listed(
                        [str(words.EMITTERS[each["emitter"]]) for each in refusal.against]
                    ),
                    "what": words.listed([asked(each, side) for each in refusal.against]),
                },
            )
            for refusal in effect.refusals[:MOST_LINES]
        ),
        losses=tuple(_loss(loss, side, now, zone) for loss in effect.losses[:MOST_LINES]),
        switches_off=any(
            _is_off(change.after) and not _is_off(change.before) for change in effect.changes
        ),
    )


def _is_off(boundary: Boundary) -> bool:
    return boundary.set_point_w == 0 or boundary.min_w == boundary.max_w == 0


def _loss(loss: Loss, side: Side, now: datetime, zone: ZoneInfo) -> Line:
    who = str(words.EMITTERS[loss.loser["emitter"]])
    who = who[:1].upper() + who[1:]
    what = asked(loss.loser, side)
    when = _when(loss, now, zone)
    if loss.before_w is None or loss.after_w is None:
        return Line(when, _("%(who)s loses “%(what)s”.") % {"who": who, "what": what})
    told = _("%(who)s gets %(after)s in place of %(before)s") % {
        "who": who,
        "after": kilowatts(side.sign * loss.after_w),
        "before": kilowatts(side.sign * loss.before_w),
    }
    energy_kwh = number((loss.energy_wh or 0) / 1000, 1)
    energy = _("%(energy)s less") % {"energy": f"{energy_kwh}{NBSP}kWh"}
    return Line(when, f"{told}: {energy}.")


def _changes(found: Preview, new: set[str], shown: Appliance, now: datetime, zone: ZoneInfo):
    side = side_of(shown.kind)
    effect = effect_of(found.before, found.after, new=new)
    for change in effect.changes[:MOST_LINES]:
        before, after = allowed(change.before, side), allowed(change.after, side)
        if before != after:
            told = _("%(after)s in place of %(before)s") % {"after": after, "before": before}
            yield Line(_when(change, now, zone), told)


def _when(stretch: Any, now: datetime, zone: ZoneInfo) -> str:
    start = moment(stretch.from_at, now=now, zone=zone)
    return f"{start} – {moment(stretch.until_at, now=now, zone=zone)}"


def _summary(
    effects: Sequence[MemberEffect], row: Constraint | None, now: datetime, zone: ZoneInfo
) -> str:
    if row is None:
        return ""
    follow = sum(one.state in ("follows", "bent") for one in effects)
    off = sum(one.switches_off for one in effects)
    if len(effects) == 1:
        told = {
            "follows": _("It will be kept to."),
            "bent": _("It will be kept to as closely as is allowed."),
            "partly": _("It can be kept to for a part of the time only."),
            "not": _("It cannot be kept to: something stronger leaves it no room."),
        }[effects[0].state]
        return f"{told} {_('It switches off for that.')}" if off else told
    told = ngettext(
        "%(follow)d of %(all)d appliance can follow.",
        "%(follow)d of %(all)d appliances can follow.",
        len(effects),
    ) % {"follow": follow, "all": len(effects)}
    if not off:
        return told
    switches = ngettext("%(n)d switches off for that.", "%(n)d switch off for that.", off)
    return f"{told} {switches % {'n': off}}"


# Withdrawing -------------------------------------------------------------------------------------


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
    try:
        restore_constraint(constraint=row, by=emitter, now=clock.now())
    except UnableToRestore as error:
        if not request.htmx:
            messages.error(request, str(error))
        return _answer(request, row, problem=str(error))
    except UnableToConstrain as error:
        return _answer(request, row, problem=error.reason)
    return _answer(request, row, is_restored=True)


def _found(request: HttpRequest, constraint_id: UUID) -> tuple[Constraint, Emitter]:
    visible = Constraint.objects.visible_to(request.user).select_related(
        "appliance__system", "cluster__system", "pool"
    )
    return get_object_or_404(visible, pk=constraint_id), emitter_of(request.user)


def _answer(
    request: HttpRequest,
    row: Constraint,
    *,
    undo: UUID | None = None,
    is_restored: bool = False,
    problem: str = "",
) -> HttpResponse:
    """Back to the page; for htmx, what can be undone: the page fetches by itself what is new."""
    if not request.htmx:
        query = f"?{urlencode({'undo': undo})}" if undo else ""
        return redirect(f"{_page_of(row.target)}{query}")
    told = {
        "undo": appliance_page.undo_of(undo, user=request.user, now=clock.now()),
        "is_restored": is_restored,
        "problem": problem,
    }
    return render(request, "pages/_undo.html", told)
