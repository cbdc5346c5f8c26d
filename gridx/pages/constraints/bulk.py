"""What became of one thing done to many appliances, and how far their gateways are with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.fragments import render_page_or_part
from accounts.hints import run_soon
from accounts.models import User
from accounts.paging import page_of
from flexibility.asking import ANY, Side, asked, moment, moments, side_of
from flexibility.bulk.operations import may_restore_each, restore_each, withdraw_each
from flexibility.bulk.stored import draft_of_json
from flexibility.emitters import UnableToConstrain, emitter_of
from flexibility.models import BulkAction, BulkItem, Constraint, Series, not_over
from flexibility.operations import Draft, UnableToRestore
from flexibility.resolver import EmitterKind
from flexibility.series.sentences import series_words
from flexibility.standing import members_of
from flexibility.tasks import work_bulk_actions
from gridx import clock
from gridx.pages.acting import may_withdraw
from gridx.pages.appliance import emitter_or_none
from gridx.pages.constraints import subjects
from gridx.pages.deliveries import deliveries
from gridx.pages.lines import title_of, when_of
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance

DONE, REFUSED = BulkItem.State.DONE, BulkItem.State.REFUSED
# So many that were refused are named.
MOST_REFUSED = 50
# So many different constraints are told before they are withdrawn.
MOST_TOLD = 12
# For whom nothing of an action is in sight.
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is asked of so many appliances in the same words."""

    title: str
    when: str
    count: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A bulk action in the list: how many of its appliances are done, refused, and still to do."""

    action: BulkAction
    what: str
    begun: str
    counts: Mapping[str, int]
    is_by_me: bool


@login_required
@never_cache
@require_GET
def bulk_actions(request: HttpRequest) -> HttpResponse:
    """Those in sight, the newest first."""
    now = clock.now()
    rows = BulkAction.objects.visible_to(request.user).select_related("by")
    page = page_of(rows.order_by("-created_at", "pk"), request.GET.get("page"))
    counts: dict[UUID, dict[str, int]] = {row.pk: {} for row in page.rows}
    visible = Appliance.objects.visible_to(request.user)
    items = BulkItem.objects.filter(action__in=list(counts), appliance__in=visible)
    first = items.order_by("action", "pk").distinct("action").select_related("appliance__system")
    zones = {row.action_id: row.appliance.system.zone for row in first}
    for action, state, count in items.values_list("action", "state").annotate(Count("pk")):
        counts[action][state] = count
    begun = moments([(row.created_at, zones.get(row.pk, UTC)) for row in page.rows], now=now)
    context = {
        "page": page,
        "lines": [
            Listed(
                action=row,
                what=_asked_of_many(row),
                begun=when,
                counts=counts[row.pk],
                is_by_me=row.by_id == request.user.pk,
            )
            for row, when in zip(page.rows, begun, strict=True)
        ],
    }
    return render_page_or_part(
        request, "pages/bulk_actions.html", "pages/_bulk_actions.html", context, target="results"
    )


@login_required
@never_cache
@require_GET
def bulk_action(request: HttpRequest, action_id: UUID) -> HttpResponse:
    """How far it is, what was refused and why, and which gateways know of it."""
    action = _visible(request, action_id)
    now = clock.now()
    items = _items(action, request.user)
    zone = _zone(items)
    with timezone.override(zone):
        context = _context(action, items, user=request.user, zone=zone, now=now)
        shown = request.GET.get("state", "")
        # An appliance may have had many constraints that were withdrawn together.
        done = {one.appliance_id: one.appliance for one in items.filter(state=DONE)}
        context["deliveries"] = deliveries(done.values(), now=now, shown=shown)
        return render_page_or_part(
            request, "pages/bulk.html", "pages/_bulk.html", context, target="bulk"
        )


@login_required
@require_POST
def bulk_withdraw(request: HttpRequest, action_id: UUID) -> HttpResponse:
    """Withdraw all that stands of what was set together."""
    action = _visible(request, action_id)
    emitter = emitter_of(request.user)
    if emitter.kind not in (action.emitter_kind, EmitterKind.OPERATOR):
        raise PermissionDenied
    now = clock.now()
    items = _items(action, request.user).filter(state=DONE)
    constraints = _standing(items, now)
    series = Series.objects.filter(pk__in=items.values("series"), withdrawn_at=None)
    try:
        begun = withdraw_each(
            constraints=list(constraints), series=list(series), emitter=emitter, now=now
        )
    except UnableToConstrain:
        messages.info(request, _("None of it stands any more."))
        return redirect("bulk_action", action.pk)
    run_soon(work_bulk_actions)
    return redirect("bulk_action", begun.pk)


@login_required
@require_POST
def bulk_undo(request: HttpRequest, action_id: UUID) -> HttpResponse:
    """Have what was withdrawn together hold again."""
    action, now = _visible(request, action_id), clock.now()
    try:
        begun = restore_each(withdrawal=action, emitter=emitter_of(request.user), now=now)
    except UnableToRestore as error:
        messages.info(request, str(error))
        return redirect("bulk_action", action.pk)
    run_soon(work_bulk_actions)
    return redirect("bulk_action", begun.pk)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def constraints_withdraw(request: HttpRequest) -> HttpResponse:
    """Withdraw what people of one's own kind set on many appliances: look first, then `confirm`."""
    emitter = emitter_of(request.user)
    subject = subjects.of_chosen(request)
    if subject is None:
        messages.info(request, _("Tick appliances, or search for those that you mean."))
        return redirect(reverse("inventory") + "?show=appliances")
    now = clock.now()
    rows = Constraint.objects.filter(
        not_over(now), appliance__in=subject.appliances, withdrawn_at=None, series=None
    ).select_related("appliance")
    series = Series.objects.filter(
        appliance__in=subject.appliances, withdrawn_at=None, until_at__gt=now
    ).select_related("appliance")
    own = [row for row in rows if row.dimming_id is None and may_withdraw(row, emitter)]
    own_series = [one for one in series if one.emitter_kind == emitter.kind]
    if "confirm" in request.POST and (own or own_series):
        begun = withdraw_each(constraints=own, series=own_series, emitter=emitter, now=now)
        run_soon(work_bulk_actions)
        return redirect("bulk_action", begun.pk)
    with timezone.override(subject.zone):
        context = {
            "subject": subject,
            "count": len(own) + len(own_series),
            "on": len({one.appliance_id for one in (*own, *own_series)}),
            "standing": _told(own, now, subject.zone)[:MOST_TOLD],
            "series_count": len(own_series),
            "back_url": subject.back_url,
        }
        return render(request, "pages/constraints_withdraw.html", context)


@login_required
@never_cache
@require_GET
def constraint_delivery(request: HttpRequest, constraint_id: UUID) -> HttpResponse:
    """How far the gateways are with what one constraint asks for."""
    visible = Constraint.objects.visible_to(request.user).select_related(
        "appliance__system", "cluster__system", "pool"
    )
    row = get_object_or_404(visible, pk=constraint_id)
    now = clock.now()
    members = members_of(row.target).filter(kind__in=row.kinds or CONTROLLABLE)
    if not row.appliance_id:
        members = members.filter(pk__in=Appliance.objects.visible_to(request.user))
    side = side_of(row.appliance.kind) if row.appliance_id else Side(ANY)
    with timezone.override(row.zone):
        found = members.select_related("system")
        context = {
            "row": row,
            "title": title_of(row, side),
            "when": when_of(row, now=now, zone=row.zone),
            "back_url": subjects.page_of(row.target),
            "deliveries": deliveries(found, now=now, shown=request.GET.get("state", "")),
            "now": now,
        }
        return render_page_or_part(
            request, "pages/delivery.html", "pages/_delivery.html", context, target="delivery"
        )


def _visible(request: HttpRequest, action_id: UUID) -> BulkAction:
    visible = BulkAction.objects.visible_to(request.user).select_related("by", "message")
    return get_object_or_404(visible, pk=action_id)


def _items(action: BulkAction, user: User) -> QuerySet[BulkItem]:
    """Its parts; of appliances that went out of sight nothing is told."""
    visible = Appliance.objects.visible_to(user)
    rows = action.items.filter(appliance__in=visible).order_by("pk")
    return rows.select_related("appliance__system")


def _zone(items: QuerySet[BulkItem]) -> ZoneInfo:
    first = items.first()
    return first.appliance.system.zone if first else UTC


def _standing(items: QuerySet[BulkItem], now: datetime) -> QuerySet[Constraint]:
    rows = Constraint.objects.filter(pk__in=items.values("constraint"), withdrawn_at=None)
    return rows.filter(not_over(now)).select_related("appliance")


def _context(
    action: BulkAction,
    items: QuerySet[BulkItem],
    *,
    user: User,
    zone: ZoneInfo,
    now: datetime,
) -> dict[str, Any]:
    counts = dict(items.order_by().values_list("state").annotate(Count("pk")))
    total, waiting = sum(counts.values()), counts.get("waiting", 0)
    emitter = emitter_or_none(user)
    is_set = action.verb == BulkAction.Verb.SET
    is_own = emitter is not None and emitter.kind in (action.emitter_kind, EmitterKind.OPERATOR)
    done = items.filter(state=DONE)
    message = action.message
    return {
        "action": action,
        "is_set": is_set,
        "what": _what(action, items, zone, now) if is_set else "",
        "begun": moment(action.created_at, now=now, zone=zone),
        "is_by_me": action.by_id == user.pk,
        "total": total,
        "appliances": items.order_by().values("appliance").distinct().count(),
        "done": counts.get("done", 0),
        "refused": counts.get("refused", 0),
        "worked": total - waiting,
        "is_over": waiting == 0,
        "has_stopped": message is not None and message.failed_at is not None,
        "problem": message.last_error if message is not None else "",
        "refusals": items.filter(state=REFUSED)[:MOST_REFUSED],
        "is_restored": action.verb == BulkAction.Verb.RESTORE,
        "may_undo": is_own and may_restore_each(action, now=now),
        "may_withdraw": is_set
        and is_own
        and waiting == 0
        and (
            _standing(done, now).exists()
            or Series.objects.filter(pk__in=done.values("series"), withdrawn_at=None).exists()
        ),
        "now": now,
    }


def _asked_of_many(action: BulkAction) -> str:
    """What is asked of each, whatever each is: "at most 7 kW"."""
    if action.verb == BulkAction.Verb.WITHDRAW:
        return _("Constraints withdrawn")
    if action.verb == BulkAction.Verb.RESTORE:
        return _("Constraints that hold again")
    draft = draft_of_json(action.draft)
    asks = draft if isinstance(draft, Draft) else draft.parts[0].asks
    names = ("min_w", "max_w", "set_point_w", "closest", "min_wh", "max_wh")
    row = Constraint(**{name: getattr(asks, name) for name in names})
    return asked(row, Side(ANY))


def _what(action: BulkAction, items: QuerySet[BulkItem], zone: ZoneInfo, now: datetime) -> str:
    """What is asked of each: "at most 7 kW until 18:00"."""
    draft = draft_of_json(action.draft)
    kinds = set(items.order_by().values_list("appliance__kind", flat=True).distinct()[:2])
    side = side_of(kinds.pop()) if len(kinds) == 1 else Side(ANY)
    asks = draft if isinstance(draft, Draft) else draft.parts[0].asks
    row = Constraint(
        emitter_kind=action.emitter_kind,
        valid_at=getattr(draft, "valid_at", None) or action.created_at,
        **{name: getattr(asks, name) for name in ("min_w", "max_w", "set_point_w", "closest")},
        min_wh=asks.min_wh,
        max_wh=asks.max_wh,
        invalid_at=draft.invalid_at if isinstance(draft, Draft) else None,
    )
    when = (
        when_of(row, now=now, zone=zone)
        if isinstance(draft, Draft)
        else series_words(draft, now=now)
    )
    return f"{asked(row, side)}, {when}"


def _told(rows: Sequence[Constraint], now: datetime, zone: ZoneInfo) -> list[Standing]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        said = (title_of(row, side_of(row.appliance.kind)), when_of(row, now=now, zone=zone))
        counts[said] = counts.get(said, 0) + 1
    return [Standing(*said, count) for said, count in sorted(counts.items(), key=_count)]


def _count(counted: tuple[tuple[str, str], int]) -> int:
    return -counted[1]
