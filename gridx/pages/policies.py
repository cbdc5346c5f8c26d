"""Charging policies of clusters and systems: how all of their stations charge."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from flexibility.emitters import Emitter, UnableToConstrain, emitter_of
from flexibility.models import ChargingPolicy
from flexibility.operations import UnableToRestore
from flexibility.policies.forms import GroupPolicyForm
from flexibility.policies.operations import may_end, restore_policy, set_policy, withdraw_policy
from flexibility.policies.sentences import does, set_by
from flexibility.policies.site import station_of
from flexibility.policies.standing import policies_on, stations_of
from flexibility.policies.terms import Mode
from flexibility.sentences import moment
from gridx import clock
from gridx.pages.car import ICONS
from gridx.pages.charging_words import policy_url, undo_of_policy
from gridx.pages.lines import group_url
from gridx.pages.visible import uuid_or_none, visible_cluster, visible_system
from inventory.models import Cluster, System
from measurements.formats import number

# So many stations are named.
MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """A policy that stands, in words; of several the first asks."""

    id: UUID
    mode: str
    details: tuple[str, ...]
    is_first: bool
    may_end: bool


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def cluster_policy(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """How the stations of a cluster charge."""
    return _edit(request, visible_cluster(request, cluster_id))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def system_policy(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """How the stations of a system charge."""
    return _edit(request, visible_system(request, system_id))


@login_required
@require_POST
def policy_end(request: HttpRequest, policy_id: UUID) -> HttpResponse:
    """End a policy of a station, a cluster or a system at once; for a while that can be undone."""
    policy = _found(request, policy_id)
    now = clock.now()
    withdraw_policy(policy=policy, by=emitter_of(request.user), now=now)
    if request.htmx:
        undo = undo_of_policy(policy.pk, user=request.user, now=now)
        return render(request, "pages/_undo.html", {"undo": undo})
    return redirect(f"{policy_url(policy.target)}?undo={policy.pk}")


@login_required
@require_POST
def policy_restore(request: HttpRequest, policy_id: UUID) -> HttpResponse:
    """Have a policy go on that was ended just now."""
    policy = _found(request, policy_id)
    told: dict[str, Any] = {"is_restored": True}
    try:
        restore_policy(policy=policy, by=emitter_of(request.user), now=clock.now())
    except UnableToRestore as error:
        told = {"problem": str(error)}
    if request.htmx:
        return render(request, "pages/_undo.html", told)
    if problem := told.get("problem"):
        messages.error(request, problem)
    return redirect(policy_url(policy.target))


def _found(request: HttpRequest, policy_id: UUID) -> ChargingPolicy:
    visible = ChargingPolicy.objects.visible_to(request.user).select_related(
        "appliance", "cluster", "system"
    )
    return get_object_or_404(visible, pk=policy_id)


def _edit(request: HttpRequest, target: Cluster | System) -> HttpResponse:
    emitter, now = emitter_of(request.user), clock.now()
    system = target if isinstance(target, System) else target.system
    policies = list(policies_on(target=target, now=now))
    form = GroupPolicyForm(
        request.POST if request.method == "POST" else None,
        initial={"mode": policies[0].mode} if policies else {},
        emitter=emitter,
        zone=system.zone,
        now=now,
    )
    if form.is_bound and form.is_valid():
        try:
            set_policy(target=target, draft=form.draft, emitter=emitter, now=now)
        except UnableToConstrain as error:
            form.refuse(error)
        else:
            messages.success(request, _("The charging policy is set."))
            return redirect(policy_url(target))
    with timezone.override(system.zone):
        stations = list(stations_of(target).select_related("system"))
        context = {
            "target": target,
            "system": system,
            "is_cluster": isinstance(target, Cluster),
            "back_url": (
                group_url(target)
                if isinstance(target, Cluster)
                else reverse("system_inventory", args=[target.pk])
            ),
            "form": form,
            "modes": [
                (
                    radio,
                    ICONS[Mode(radio.data["value"])],
                    does(Mode(radio.data["value"]), station_of(stations[0])) if stations else "",
                )
                for radio in form["mode"]
            ],
            "stations": stations[:MOST_NAMED],
            "count": len(stations),
            "more": max(len(stations) - MOST_NAMED, 0),
            "policies": [
                _line(policy, number_, emitter, now, system.zone)
                for number_, policy in enumerate(policies)
            ],
            "undo": undo_of_policy(
                uuid_or_none(request.GET.get("undo")), user=request.user, now=now
            ),
            "zone": system.zone.key,
        }
        status = 422 if form.is_bound else 200
        return render(request, "pages/charging_policy.html", context, status=status)


def _line(
    policy: ChargingPolicy, place: int, emitter: Emitter, now: datetime, zone: ZoneInfo
) -> GroupPolicy:
    end = _("until somebody ends it")
    if policy.invalid_at is not None:
        end = _("until %(until)s") % {"until": moment(policy.invalid_at, now=now, zone=zone)}
    return GroupPolicy(
        id=policy.pk,
        mode=policy.get_mode_display(),
        details=(
            _("set by %(who)s") % {"who": set_by(policy, emitter.user)},
            _("priority %(priority)s") % {"priority": number(policy.priority, 0)},
            end,
        ),
        is_first=place == 0,
        may_end=may_end(policy, emitter),
    )
