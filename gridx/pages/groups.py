"""Clusters and pools: what their appliances may do together, and what is asked of all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.fragments import render_page_or_part
from accounts.models import User
from flexibility import words
from flexibility.api import may_be_named
from flexibility.asking import ANY, Side, side_of
from flexibility.emitters import Emitter
from flexibility.queries import (
    Delivery,
    Explained,
    Now,
    State,
    constraints_on,
    flexibilities_of,
    state_of,
)
from flexibility.resolver import OutcomeKind
from flexibility.room import once, room_of, total
from flexibility.sentences import allowed
from flexibility.standing import members_of
from flexibility.summed import is_open, least_w
from gridx import clock
from gridx.pages.acting import emitters_or_none, may_withdraw_as
from gridx.pages.again import Again, again_of, first_of_each, series_among
from gridx.pages.appliances import LOOKS
from gridx.pages.deliveries import IN_TRANSIT, delivery_tag, is_asked
from gridx.pages.dimmings import running_in
from gridx.pages.limits import limit_emitters, limit_lines, limit_undo_of
from gridx.pages.lines import Tag, edit_url, group_url, tag_of, title_of, undo_of, when_of, who_set
from gridx.pages.timeline import priority_line
from gridx.pages.together import (
    MOST_WITH_PAST,
    read_together,
    together_timeline,
    why_together,
)
from gridx.pages.visible import uuid_or_none, visible_cluster, visible_pool
from inventory.kinds import CONTROLLABLE, ApplianceKind
from inventory.models import Appliance, Cluster, SystemPool
from measurements.formats import power

# So many members are shown and summed up one by one.
MOST_MEMBERS = 400
PARTS = {
    "group": "pages/_group.html",
    "group-now": "pages/_group_now.html",
    "timeline": "pages/_group_timeline.html",
    "why": "pages/_why.html",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One appliance of a group, as the list shows it."""

    appliance: Appliance
    icon: str
    tone: str
    power: str
    allowed: str
    delivery: Tag | None
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Short:
    """All members together: "0 kW to 88 kW", and how much of that is certain."""

    count: int
    stale: int
    open: int
    says: str
    now: str
    more: str
    less: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A constraint of the group, and how many follow it; `troubled` names those that cannot."""

    id: UUID
    emitter: str
    tag: Tag
    title: str
    who: str
    priority: str
    when: str
    kinds: str
    following: str
    troubled: tuple[tuple[Appliance, str], ...]
    may_withdraw: bool
    edit_url: str
    again: Again | None


@login_required
@never_cache
@gzip_page
@require_GET
def cluster_flexibility(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """What the appliances of a cluster may do, and what is asked of each of them."""
    return _show(request, visible_cluster(request, cluster_id))


@login_required
@never_cache
@gzip_page
@require_GET
def pool_flexibility(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """The same of a pool."""
    return _show(request, visible_pool(request, pool_id))


def _show(request: HttpRequest, group: Cluster | SystemPool) -> HttpResponse:
    """The page; `?constraint=` explains one that it has a bar for."""
    now, user = clock.now(), request.user
    target = request.htmx.target if request.htmx else None
    part = target if target in PARTS else "group"
    is_whole = target not in PARTS or bool(request.htmx.history_restore_request)
    with timezone.override(group.zone):
        context = frame_of(group, now=now)
        found, is_cut = _flexibilities(group, now)
        if is_whole or part in ("group", "group-now"):
            context |= now_context(group, found, is_cut, user=user, now=now)
        is_why = part == "why" and "constraint" in request.GET
        if is_whole or part == "timeline" or is_why:
            context |= ahead_context(request, group, found, user=user, now=now)
        undone = uuid_or_none(request.GET.get("undo"))
        context["undo"] = undo_of(undone, user=user, now=now) or (
            limit_undo_of(undone, user=user, now=now)
        )
        return render_page_or_part(request, "pages/group.html", PARTS[part], context, target=part)


def frame_of(group: Cluster | SystemPool, *, now: datetime) -> dict[str, Any]:
    """What every part of a group's page needs."""
    is_cluster = isinstance(group, Cluster)
    return {
        "group": group,
        "system": group.system if is_cluster else None,
        "is_cluster": is_cluster,
        "url": group_url(group),
        "back_url": (
            reverse("system_inventory", args=[group.system_id])
            if is_cluster
            else reverse("pool_detail", args=[group.pk])
        ),
        "energy_url": reverse("cluster_energy" if is_cluster else "pool_energy", args=[group.pk]),
        "export_url": reverse("cluster_export" if is_cluster else "pool_export", args=[group.pk]),
        "now": now,
    }


def now_context(
    group: Cluster | SystemPool, found: Sequence[Now], is_cut: bool, *, user: User, now: datetime
) -> dict[str, Any]:
    """What its members may do now, and what is asked of them."""
    emitters, zone = _emitters(group, user), group.zone
    limiters = limit_emitters(user, group.system) if isinstance(group, Cluster) else []
    asked = [one for one in found if is_asked(one)]
    return {
        "short": _short(found, is_cut, now),
        "dimmed": running_in(group.system, now=now) if isinstance(group, Cluster) else None,
        "limits": (
            limit_lines(group, found, user=user, emitters=limiters, now=now)
            if isinstance(group, Cluster)
            else []
        ),
        "limit_url": reverse("limit_new", args=[group.pk]) if limiters and found else "",
        "members": [_member(one, now, zone) for one in found],
        "constraints": _lines(group, found, user=user, emitters=emitters, now=now),
        "deliveries": _deliveries(asked, now, zone),
        "is_in_transit": any(one.delivery in IN_TRANSIT for one in asked),
        "constrain_url": constrain_url(group) if emitters and found else "",
    }


def ahead_context(
    request: HttpRequest,
    group: Cluster | SystemPool,
    found: Sequence[Now],
    *,
    user: User,
    now: datetime,
) -> dict[str, Any]:
    """What its members may do over time, and the explanation that the address asks for."""
    members, zone = [one.appliance for one in once(found)], group.zone
    chosen = uuid_or_none(request.GET.get("constraint"))
    is_light = len(members) <= MOST_WITH_PAST
    # A bar that is explained may be one of the past.
    has_past = is_light or chosen is not None or "past" in request.GET
    together = read_together(group, members, with_past=has_past, now=now)
    why = None
    if chosen is not None:
        lines = _lines(group, found, user=user, emitters=_emitters(group, user), now=now)
        why = {
            **why_together(together, members, chosen, now=now, zone=zone),
            "line": next((one for one in lines if one.id == chosen), None),
        }
    return {
        "timeline": together_timeline(together, members, now=now, zone=zone, chosen=chosen),
        "has_past": has_past,
        "is_renewed": is_light or not has_past,
        "timeline_url": request.get_full_path(),
        "why": why,
    }


def _emitters(group: Cluster | SystemPool, user: User) -> list[Emitter]:
    return emitters_or_none(user, group.system if isinstance(group, Cluster) else None)


def constrain_url(group: Cluster | SystemPool) -> str:
    name = "cluster_constrain" if isinstance(group, Cluster) else "pool_constrain"
    return reverse(name, args=[group.pk])


def short_of(group: Cluster | SystemPool, *, now: datetime) -> Short:
    """All members of a group in short."""
    return _short(*_flexibilities(group, now), now)


def _flexibilities(group: Cluster | SystemPool, now: datetime) -> tuple[list[Now], bool]:
    rows = members_of(group).filter(kind__in=CONTROLLABLE).select_related("system")
    appliances = list(rows.order_by("system__name", "name", "key")[: MOST_MEMBERS + 1])
    found = flexibilities_of(appliances=appliances[:MOST_MEMBERS], now=now)
    return found, len(appliances) > MOST_MEMBERS


def _short(found: Sequence[Now], is_cut: bool, now: datetime) -> Short:
    rooms = [room_of(one) for one in once(found)]
    known = [one.power_w for one in rooms if one.power_w is not None]
    more_w, less_w = total(rooms)
    boundaries = [one.span.boundary for one in once(found)]
    low = sum(least_w(one) or 0 for one in boundaries)
    high = sum(one.max_w or 0 for one in boundaries)
    unlimited = sum(map(is_open, boundaries))
    says = _("%(low)s to %(high)s") % {"low": power(low), "high": power(high)}
    return Short(
        count=len(found),
        stale=sum(one.is_stale for one in found),
        open=unlimited,
        says=says,
        now=str(power(sum(known))) if known else "–",
        more=str(power(more_w)),
        less=str(power(less_w)),
        is_cut=is_cut,
    )


def _member(one: Now, now: datetime, zone: ZoneInfo) -> Member:
    icon, tone = LOOKS[ApplianceKind(one.appliance.kind)]
    side = side_of(one.appliance.kind)
    return Member(
        appliance=one.appliance,
        icon=icon,
        tone=tone,
        power="–" if one.power_w is None else str(power(side.sign * one.power_w + 0)),
        allowed=allowed(one.span.boundary, side),
        delivery=delivery_tag(one, now=now, zone=zone),
        is_stale=one.is_stale,
    )


def _deliveries(asked: Sequence[Now], now: datetime, zone: ZoneInfo) -> list[Tag]:
    """How many of those that are asked something are how far."""
    counts = Counter(one.delivery for one in asked if one.delivery is not Delivery.NONE)
    found = []
    for delivery, count in counts.items():
        example = next(one for one in asked if one.delivery is delivery)
        tag = delivery_tag(example, now=now, zone=zone)
        if tag is not None:
            found.append(Tag(tag.tone, f"{count} {tag.label}"))
    return found


def _lines(
    group: Cluster | SystemPool,
    found: Sequence[Now],
    *,
    user: User,
    emitters: Sequence[Emitter],
    now: datetime,
) -> list[GroupLine]:
    rows = first_of_each(constraints_on(group, states=[State.ACTIVE, State.SCHEDULED], now=now))
    series = series_among(rows)
    people = may_be_named(user, rows)
    by_id: dict[UUID, list[tuple[Appliance, Explained]]] = {}
    for one in found:
        for each in one.constraints:
            by_id.setdefault(each.row.pk, []).append((one.appliance, each))
    side, zone = Side(ANY), group.zone
    kinds = dict(Appliance._meta.get_field("kind").flatchoices)
    lines = []
    for row in sorted(rows, key=lambda row: -row.priority):
        concerned = by_id.get(row.pk, [])
        is_scheduled = state_of(row, now=now) is State.SCHEDULED
        troubled = [
            (appliance, one.reason)
            for appliance, one in concerned
            if any(each["outcome"] == OutcomeKind.DISCARDED for each in one.outcomes.values())
        ]
        lines.append(
            GroupLine(
                id=row.pk,
                emitter=row.emitter_kind,
                tag=(
                    tag_of(OutcomeKind.SCHEDULED)
                    if is_scheduled
                    else Tag("warn" if troubled else "ok", _("in force"))
                ),
                title=title_of(row, side),
                who=who_set(row, user, people),
                priority=priority_line(row.emitter_kind, row.priority),
                when=when_of(row, now=now, zone=zone),
                kinds=words.listed([str(kinds[kind]) for kind in row.kinds]),
                following=(
                    ""
                    if is_scheduled
                    else ngettext(
                        "%(n)d of %(all)d appliance can follow",
                        "%(n)d of %(all)d appliances can follow",
                        len(concerned),
                    )
                    % {"n": len(concerned) - len(troubled), "all": len(concerned)}
                ),
                troubled=tuple(troubled),
                may_withdraw=may_withdraw_as(row, emitters),
                edit_url=edit_url(row, emitters),
                again=again_of(series.get(row.series_id), emitters, now=now),
            )
        )
    return lines
