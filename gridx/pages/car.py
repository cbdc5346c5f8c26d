"""My car: whether it charges, how fast and why, and how it is to charge."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from accounts.fragments import render_page_or_part
from accounts.models import User
from flexibility.emitters import Emitter, UnableToConstrain, emitter_of
from flexibility.limits.balancing import redivide
from flexibility.limits.sentences import broken_words
from flexibility.models import ChargingPolicy
from flexibility.operations import Draft, drafted, set_constraints, withdraw_constraint
from flexibility.policies.forms import ChargeNowForm, ModeForm
from flexibility.policies.operations import set_policy, try_policy
from flexibility.policies.sentences import MODES, does, energy, outlook
from flexibility.policies.site import station_of
from flexibility.policies.standing import policies_of
from flexibility.policies.terms import Mode, Station
from flexibility.queries import preview
from flexibility.sentences import kilowatts, moment
from gridx import clock
from gridx.pages import appliance as appliance_page
from gridx.pages.acting import may_withdraw
from gridx.pages.appliance import emitter_or_none
from gridx.pages.charging_words import (
    Story,
    asked_of,
    charge_now,
    charge_now_rows,
    policy_lines,
    undo_of_policy,
    whose,
)
from gridx.pages.lines import undo_of
from gridx.pages.navigation import show_in_navigation
from gridx.pages.visible import uuid_or_none, visible_appliance
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance

NOW, BOOST = "pages/_car_now.html", "pages/_car_boost.html"
PUSHED = ("pages/_appliance_seen.html", NOW, BOOST)
ICONS = {
    Mode.SURPLUS: "sun",
    Mode.MINIMUM_AND_SURPLUS: "leaf",
    Mode.FORCED: "bolt",
    Mode.OFF: "x",
    Mode.DEPARTURE: "clock",
}


# The page ----------------------------------------------------------------------------------------


@login_required
@never_cache
@gzip_page
@require_GET
def car(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """One charging station, for who drives the car."""
    found = _station(request, appliance_id)
    return _page(request, found, now=clock.now())


@login_required
@require_POST
def car_policy(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """Have the station charge in a mode; with `preview` among what is sent, what that would do."""
    found, emitter = _controlled(request, appliance_id)
    now = clock.now()
    form = ModeForm(request.POST, zone=found.system.zone, now=now)
    is_preview = "preview" in request.POST
    if form.is_valid() and not is_preview:
        try:
            set_policy(target=found, draft=form.draft, emitter=emitter, now=now)
        except UnableToConstrain as error:
            form.refuse(error)
        else:
            messages.success(request, _("From now on: %(mode)s.") % {"mode": _mode_of(form)})
            return redirect("car", found.pk)
    if is_preview and request.htmx:
        with timezone.override(found.system.zone):
            context = {"tried": _tried(found, form, emitter, now), "form": form}
            return render(request, "pages/_car_preview.html", context)
    return _page(request, found, now=now, form=form, status=200 if is_preview else 422)


@login_required
@require_POST
def car_charge_now(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """Charge at full power, or as close to it as allowed, for a while."""
    found, emitter = _controlled(request, appliance_id)
    now = clock.now()
    form = ChargeNowForm(request.POST, zone=found.system.zone, now=now)
    if form.is_valid():
        try:
            draft = _charge_now_draft(found, emitter, form.cleaned_data["invalid_at"], now)
            set_constraints(target=found, drafts=[draft], emitter=emitter, now=now)
        except UnableToConstrain as error:
            form.add_error("until_at", error.reason)
        else:
            if request.htmx:
                return render(request, "pages/_undo.html", {})
            return redirect("car", found.pk)
    return _page(request, found, now=now, charge_form=form, status=422)


@login_required
@require_POST
def car_stop(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """End “charge now”; for a while that can be undone."""
    found, emitter = _controlled(request, appliance_id)
    now, ended = clock.now(), None
    for row in charge_now_rows(found, now):
        if may_withdraw(row, emitter):
            ended = withdraw_constraint(constraint=row, by=emitter, now=now).pk
    if not request.htmx:
        query = f"?undo={ended}" if ended else ""
        return redirect(f"{reverse('car', args=[found.pk])}{query}")
    undo = undo_of(ended, user=request.user, now=now)
    return render(request, "pages/_undo.html", {"undo": undo})


def _station(request: HttpRequest, appliance_id: UUID) -> Appliance:
    found = visible_appliance(request, appliance_id)
    if found.kind != ApplianceKind.EV_CHARGING_STATION:
        raise Http404
    return found


def _controlled(request: HttpRequest, appliance_id: UUID) -> tuple[Appliance, Emitter]:
    """A station and as what the user controls it. Raises PermissionDenied."""
    found, emitter = _station(request, appliance_id), emitter_of(request.user)
    if not appliance_page.may_constrain(found, emitter):
        raise Http404
    return found, emitter


def _page(
    request: HttpRequest,
    found: Appliance,
    *,
    now: datetime,
    form: ModeForm | None = None,
    charge_form: ChargeNowForm | None = None,
    status: int = 200,
) -> HttpResponse:
    show_in_navigation(request, found.system)
    zone, user = found.system.zone, request.user
    with timezone.override(zone):
        context = live_context(found, user=user, now=now)
        if context["may_constrain"]:
            form = form or ModeForm(initial=_initial(context, zone), zone=zone, now=now)
            context |= {
                "form": form,
                "modes": [(radio, ICONS[Mode(radio.data["value"])]) for radio in form["mode"]],
                "tried": _tried(found, form, emitter_of(user), now),
                "charge_form": charge_form or ChargeNowForm(zone=zone, now=now),
            }
        undone = uuid_or_none(request.GET.get("undo"))
        context["undo"] = undo_of(undone, user=user, now=now) or undo_of_policy(
            undone, user=user, now=now
        )
        context["zone"] = zone.key
        response = render_page_or_part(
            request, "pages/car.html", "pages/_car_live.html", context, target="car-now"
        )
    response.status_code = status
    return response


def _initial(context: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """What the form of modes shows first: the policy that asks, where there is one."""
    policy: ChargingPolicy | None = context["policy"]
    if policy is None:
        return {}
    if policy.mode != Mode.DEPARTURE:
        return {"mode": policy.mode}
    return {
        "mode": policy.mode,
        "energy": energy(policy.energy_wh).split("\N{NO-BREAK SPACE}")[0],
        "ready_at": policy.departs_at.astimezone(zone).replace(tzinfo=None),
    }


def _mode_of(form: ModeForm) -> str:
    return str(MODES[form.cleaned_data["mode"]])


# What holds now ----------------------------------------------------------------------------------


def live_context(found: Appliance, *, user: User, now: datetime) -> dict[str, Any]:
    """The context of what is pushed: whatever is true of it now."""
    context = appliance_page.live_context(found, user=user, now=now)
    flexibility, zone = context["flexibility"], found.system.zone
    station, emitter = station_of(found), emitter_or_none(user)
    asked = asked_of(flexibility, policies_of(station=found, now=now))
    deciding = flexibility.span.deciders.get("set_point_w")
    charges = [
        charge_now(row, station, user, emitter, now, zone) for row in charge_now_rows(found, now)
    ]
    first = next((one for one in charges if str(one.id) == deciding), None)
    story = Story(flexibility, station, asked, user, now, zone)
    context |= {
        "mark": "",
        "station": station,
        "policy": asked.deciding,
        "policies": policy_lines(
            asked, flexibility, user=user, emitter=emitter, charge=first, now=now, zone=zone
        ),
        "because": story.told(),
        "is_unplugged": flexibility.reading is not None
        and flexibility.reading.plug_state == Plug.UNPLUGGED,
        "charges": charges,
        "choices": _charge_choices(found, now),
    }
    if emitter is not None and not charges:
        context["would"], context["broken"] = _would(found, station, emitter, now, zone)
    return context


def render_live(found: Appliance, *, user: User, now: datetime) -> str:
    """The fragments as they are now, each to be put in place of the one in the page."""
    context = live_context(found, user=user, now=now) | {"is_pushed": True}
    shown = PUSHED if context["may_constrain"] else PUSHED[:-1]
    return "".join(render_to_string(template, context) for template in shown)


# Charge now --------------------------------------------------------------------------------------


def _charge_choices(found: Appliance, now: datetime) -> list[tuple[str, str]]:
    form = ChargeNowForm(zone=found.system.zone, now=now)
    morning = form.morning().replace(tzinfo=found.system.zone)
    at = moment(morning, now=now, zone=found.system.zone)
    return [("1h", _("1 h")), ("2h", _("2 h")), ("morning", _("until %(until)s") % {"until": at})]


def _charge_now_draft(
    found: Appliance, emitter: Emitter, invalid_at: datetime, now: datetime
) -> Draft:
    """It takes the place of the one that this kind of emitter has set before."""
    own = [one for one in charge_now_rows(found, now) if one.emitter_kind == emitter.kind]
    return Draft(
        id=own[0].pk if own else None,
        set_point_w=station_of(found).max_w,
        closest=True,
        invalid_at=invalid_at,
    )


def _would(
    found: Appliance, station: Station, emitter: Emitter, now: datetime, zone: ZoneInfo
) -> tuple[str, list[str]]:
    """What “charge now” would do, before it is asked for, and which limits could not be kept."""
    until = ChargeNowForm(zone=zone, now=now).morning().replace(tzinfo=zone)
    draft = drafted(
        _charge_now_draft(found, emitter, until, now), target=found, emitter=emitter, now=now
    )
    [one] = preview(appliances=[found], drafts=[draft], now=now)
    first = one.after[0]
    watts = first.boundary.set_point_w
    if first.deciders.get("set_point_w") != str(draft.pk) or not watts:
        return _("It would not help now: something stronger leaves the car nothing."), []
    limits = redivide(appliances=[found], drafts=[draft], now=now)
    broken = [broken_words(each, now=now, zone=zone) for each in limits.broken]
    if watts < station.max_w:
        told = _("It would get %(power)s, not %(most)s: others limit it.")
    else:
        told = _("It would charge with %(power)s, wherever the power comes from.")
    return told % {"power": kilowatts(watts), "most": kilowatts(station.max_w)}, broken


# What a mode would do ----------------------------------------------------------------------------


def _tried(
    found: Appliance, form: ModeForm, emitter: Emitter, now: datetime
) -> dict[str, Any] | None:
    """What the chosen mode would do; None where none is chosen, or what is asked for is wrong."""
    zone = found.system.zone
    mode = form["mode"].value() if "mode" not in form.errors else None
    if not mode:
        return None
    station = station_of(found)
    tried: dict[str, Any] = {"does": does(Mode(mode), station), "is_possible": True}
    if form.is_bound and form.is_valid():
        try:
            trial = try_policy(appliance=found, draft=form.draft, emitter=emitter, now=now)
        except UnableToConstrain as error:
            form.refuse(error)
            return tried
        tried["outlook"], tried["is_possible"] = outlook(trial, now=now, zone=zone)
        if trial.stronger is not None:
            tried["stronger"] = _(
                "It would wait all the same: “%(mode)s” of %(who)s weighs more."
            ) % {
                "mode": trial.stronger.get_mode_display(),
                "who": whose(trial.stronger, emitter.user),
            }
        elif charge_now_rows(found, now):
            tried["stronger"] = _("“Charge now” goes on first, then this.")
    return tried
