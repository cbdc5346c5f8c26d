"""My car: whether it charges, how fast and why, and how it is to charge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from accounts.fragments import render_page_or_part
from accounts.models import User
from flexibility.emitters import Emitter, UnableToConstrain, ceiling, emitter_of
from flexibility.models import ChargingPolicy, ChargingState, Constraint, SharedLimit
from flexibility.operations import Draft, drafted, set_constraints, withdraw_constraint
from flexibility.policies.charging import Mode, Reason, Station, Why
from flexibility.policies.forms import ChargeNowForm, ModeForm
from flexibility.policies.operations import policies_of, set_policy, station_of, try_policy
from flexibility.policies.sentences import MODES, because, does, energy, outlook, set_by
from flexibility.queries import Now, Span, preview
from flexibility.resolver import EmitterKind
from flexibility.sentences import kilowatts, moment
from gridx import clock
from gridx.pages import appliance as appliance_page
from gridx.pages.acting import may_withdraw
from gridx.pages.appliance import emitter_or_none, uuid_or_none
from gridx.pages.lines import undo_of
from gridx.pages.navigation import show_in_navigation
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance, Cluster, System
from measurements.ribbons import REST_W

NOW, BOOST = "pages/_car_now.html", "pages/_car_boost.html"
PUSHED = ("pages/_appliance_seen.html", NOW, BOOST)
ICONS = {
    Mode.SURPLUS: "sun",
    Mode.MINIMUM_AND_SURPLUS: "leaf",
    Mode.FORCED: "bolt",
    Mode.OFF: "x",
    Mode.DEPARTURE: "clock",
}
# Of what it may take; a car that takes less than that limits itself.
NEARLY = 0.85


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """A policy that concerns the station, in words; the first of them is the one that asks."""

    id: UUID
    mode: str
    details: tuple[str, ...]
    is_asking: bool
    why_not: str
    url: str
    may_end: bool


@dataclass(frozen=True, slots=True)
class ChargeNow:
    """A “charge now” that stands."""

    id: UUID
    until: str
    who: str
    may_stop: bool


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
    for row in _charge_now_rows(found, now):
        if may_withdraw(row, emitter):
            ended = withdraw_constraint(constraint=row, by=emitter, now=now).pk
    if not request.htmx:
        query = f"?undo={ended}" if ended else ""
        return redirect(f"{reverse('car', args=[found.pk])}{query}")
    undo = undo_of(ended, user=request.user, now=now)
    return render(request, "pages/_undo.html", {"undo": undo})


def _station(request: HttpRequest, appliance_id: UUID) -> Appliance:
    found = appliance_page.visible_appliance(request, appliance_id)
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
        context["undo"] = undo_of(undone, user=user, now=now)
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
    policies = policies_of(station=found, now=now)
    state = ChargingState.objects.filter(pk=found.pk).first()
    is_asked = state is not None and policies and state.policy_id == policies[0].pk
    reason = msgspec.convert(state.reason, Reason) if is_asked and state.reason else None
    deciding = flexibility.span.deciders.get("set_point_w")
    charges = [_charge_now(row, user, emitter, now, zone) for row in _charge_now_rows(found, now)]
    first = next((one for one in charges if str(one.id) == deciding), None)
    story = _Story(flexibility, station, reason, policies[0] if policies else None, user, now, zone)
    context |= {
        "mark": "",
        "station": station,
        "policy": policies[0] if policies else None,
        "policies": _policy_lines(policies, user, emitter, reason, first, now, zone),
        "because": story.told(),
        "is_unplugged": flexibility.reading is not None
        and flexibility.reading.plug_state == Plug.UNPLUGGED,
        "charges": charges,
        "choices": _charge_choices(found, now),
        "would": "" if emitter is None or charges else _would(found, station, emitter, now, zone),
    }
    return context


def render_live(found: Appliance, *, user: User, now: datetime) -> str:
    """The fragments as they are now, each to be put in place of the one in the page."""
    context = live_context(found, user=user, now=now) | {"is_pushed": True}
    shown = PUSHED if context["may_constrain"] else PUSHED[:-1]
    return "".join(render_to_string(template, context) for template in shown)


class _Story:
    """Why the car charges as it does, in sentences: what is asked for, and what limits that."""

    def __init__(
        self,
        flexibility: Now,
        station: Station,
        reason: Reason | None,
        policy: ChargingPolicy | None,
        user: User,
        now: datetime,
        zone: ZoneInfo,
    ) -> None:
        self.flexibility, self.station, self.reason = flexibility, station, reason
        self.policy, self.user, self.now, self.zone = policy, user, now, zone
        self.span: Span = flexibility.span

    def told(self) -> list[str]:
        said = []
        point, limiter = self._decider("set_point_w"), self._decider("max_w")
        if point is not None and point["emitter"] != EmitterKind.CHARGING_POLICY:
            said.append(self._wish(point))
            wished = point["set_point_w"]
            is_bent = wished != self.span.boundary.set_point_w
            if is_bent and limiter is not None and limiter["emitter"] != EmitterKind.DRIVER:
                said.append(self._limit(limiter, is_bent=True))
        else:
            if self.policy is not None and self.reason is not None:
                said.append(self._policy_says(self.policy, self.reason))
            if limiter is not None and limiter["emitter"] not in _NO_LIMIT:
                said.append(self._limit(limiter, is_bent=False))
            elif not said:
                said.append(
                    _("Nobody limits it: it takes what the car asks for, up to %(most)s.")
                    % {"most": kilowatts(self.station.max_w)}
                )
        return said + self._of_the_car()

    def _decider(self, part: str) -> Mapping[str, Any] | None:
        identity = self.span.deciders.get(part)
        return next((one for one in self.span.inputs if one["id"] == identity), None)

    def _wish(self, one: Mapping[str, Any]) -> str:
        values = {"power": kilowatts(one["set_point_w"]), "until": self._until(one)}
        if self._is_own(one):
            return _("You asked for full power, %(power)s%(until)s.") % values
        told = {
            EmitterKind.LOCAL_USER: _("The resident asked for %(power)s%(until)s."),
            EmitterKind.ACCOUNT_USER: _("The fleet manager asked for %(power)s%(until)s."),
            EmitterKind.OPERATOR: _("Staff asked for %(power)s%(until)s."),
            EmitterKind.GRID_OPERATOR: _("The grid operator asked for %(power)s%(until)s."),
        }
        return told.get(one["emitter"], _("%(power)s were asked for%(until)s.")) % values

    def _limit(self, one: Mapping[str, Any], *, is_bent: bool) -> str:
        kind, watts = one["emitter"], self.span.boundary.max_w or 0
        values = {"power": kilowatts(watts), "until": self._until(one), "cluster": ""}
        if kind == EmitterKind.CHARGING_POLICY:
            return self._policy_wins()
        if kind == EmitterKind.CLUSTER_LIMIT:
            limit = _limit_of(one)
            if limit is not None and limit.emitter_kind == EmitterKind.GRID_OPERATOR:
                return (
                    _("The grid operator dims what is here: its share is %(power)s%(until)s.")
                    % values
                )
            if limit is not None:
                values["cluster"] = str(limit.target)
                return (
                    _("It shares the limit of “%(cluster)s” with others: its share is %(power)s.")
                    % values
                )
            return _("It shares a limit with others: its share is %(power)s.") % values
        if watts <= 0:
            return _STOPS[kind]() % values
        return _LIMITS[kind]() % values

    def _policy_wins(self) -> str:
        """A policy outweighs what somebody asked for."""
        if self.policy is None or self.reason is None:
            return _("But a charging policy weighs more.")
        return _("But the charging policy “%(mode)s” of %(who)s weighs more. %(why)s") % {
            "mode": self.policy.get_mode_display(),
            "who": _whose(self.policy, self.user),
            "why": self._policy_says(self.policy, self.reason),
        }

    def _policy_says(self, policy: ChargingPolicy, reason: Reason) -> str:
        if reason.why is Why.UNPLUGGED:
            return does(Mode(policy.mode), self.station)
        return because(reason, self.station, now=self.now, zone=self.zone)

    def _of_the_car(self) -> list[str]:
        """Where the car takes less than it may."""
        reading, boundary = self.flexibility.reading, self.span.boundary
        if self.flexibility.is_stale or reading is None or reading.power_w is None:
            return []
        if reading.plug_state not in (Plug.PLUGGED, Plug.CHARGING, Plug.PAUSED):
            return []
        may_w = boundary.set_point_w
        if may_w is None:
            may_w = self.station.max_w if boundary.max_w is None else boundary.max_w
        if reading.power_w > max(may_w / NEARLY, REST_W):
            return [_("The station has not followed yet.")]
        if may_w < self.station.min_w or reading.power_w >= NEARLY * may_w:
            return []
        if reading.power_w < REST_W:
            return [_("The car itself takes nothing: it may be full, or wait by a timer.")]
        return [_("The car itself takes no more.")]

    def _until(self, one: Mapping[str, Any]) -> str:
        """ " until 18:00"; empty where the end is a mere precaution."""
        if one.get("invalid_at") is None or one["emitter"] in _ENDLESS:
            return ""
        at = datetime.fromisoformat(one["invalid_at"])
        return _(" until %(when)s") % {"when": moment(at, now=self.now, zone=self.zone)}

    def _is_own(self, one: Mapping[str, Any]) -> bool:
        rows = (each.row for each in self.flexibility.constraints)
        return any(str(row.pk) == one["id"] and row.emitter_id == self.user.pk for row in rows)


_NO_LIMIT = {EmitterKind.DRIVER, EmitterKind.CHARGING_POLICY}
_ENDLESS = {EmitterKind.CLUSTER_LIMIT, EmitterKind.CHARGING_POLICY, EmitterKind.FUSE}
_LIMITS = {
    EmitterKind.FUSE: lambda: _("The wiring bears at most %(power)s for it."),
    EmitterKind.GRID_OPERATOR: lambda: _("The grid operator dims it to %(power)s%(until)s."),
    EmitterKind.OPERATOR: lambda: _("Staff allow at most %(power)s%(until)s."),
    EmitterKind.ACCOUNT_USER: lambda: _("The fleet manager allows at most %(power)s%(until)s."),
    EmitterKind.LOCAL_USER: lambda: _("The resident allows at most %(power)s%(until)s."),
}
_STOPS = {
    EmitterKind.FUSE: lambda: _("The wiring leaves it nothing."),
    EmitterKind.GRID_OPERATOR: lambda: _("The grid operator does not let it charge%(until)s."),
    EmitterKind.OPERATOR: lambda: _("Staff do not let it charge%(until)s."),
    EmitterKind.ACCOUNT_USER: lambda: _("The fleet manager does not let it charge%(until)s."),
    EmitterKind.LOCAL_USER: lambda: _("The resident does not let it charge%(until)s."),
}


def _limit_of(one: Mapping[str, Any]) -> SharedLimit | None:
    row = (
        Constraint.objects.filter(pk=one["id"])
        .select_related("limit__cluster", "limit__system")
        .first()
    )
    return None if row is None else row.limit


def _whose(policy: ChargingPolicy, user: User) -> str:
    is_own = policy.emitter_id == user.pk
    return pgettext("by", "yours") if is_own else set_by(policy, user)


def _policy_lines(
    policies: Sequence[ChargingPolicy],
    user: User,
    emitter: Emitter | None,
    reason: Reason | None,
    charge: ChargeNow | None,
    now: datetime,
    zone: ZoneInfo,
) -> list[PolicyLine]:
    """In words; `charge` is the “charge now” that decides in their place."""
    lines = []
    for number, policy in enumerate(policies):
        is_own = policy.appliance_id is not None
        details = [_("set by %(who)s") % {"who": set_by(policy, user)}]
        if not is_own:
            details.append(_("for all stations of %(group)s") % {"group": policy.target})
        if policy.departs_at is not None:
            details.append(
                _("%(energy)s by %(when)s")
                % {
                    "energy": energy(policy.energy_wh),
                    "when": moment(policy.departs_at, now=now, zone=zone),
                }
            )
            if number == 0 and reason is not None and reason.left_wh is not None:
                details.append(_("%(energy)s to go") % {"energy": energy(reason.left_wh)})
        elif policy.invalid_at is not None:
            at = moment(policy.invalid_at, now=now, zone=zone)
            details.append(_("until %(until)s") % {"until": at})
        lines.append(
            PolicyLine(
                id=policy.pk,
                mode=policy.get_mode_display(),
                details=tuple(details),
                is_asking=number == 0 and charge is None,
                why_not=(
                    _why_not(policy, policies[0], user)
                    if number
                    else _("Goes on at %(when)s, after “charge now”.") % {"when": charge.until}
                    if charge is not None
                    else ""
                ),
                url="" if is_own else policy_url(policy.target),
                may_end=emitter is not None and is_own and policy.priority <= ceiling(emitter.kind),
            )
        )
    return lines


def _why_not(policy: ChargingPolicy, first: ChargingPolicy, user: User) -> str:
    who = {"mode": first.get_mode_display(), "who": _whose(first, user)}
    if first.priority > policy.priority:
        return _("Waits: “%(mode)s” of %(who)s weighs more.") % who
    return _("Waits: “%(mode)s” of %(who)s is newer.") % who


def policy_url(target: Cluster | System | Appliance) -> str:
    """The page on which a target's policy is shown."""
    if isinstance(target, Appliance):
        return reverse("car", args=[target.pk])
    name = "cluster_policy" if isinstance(target, Cluster) else "system_policy"
    return reverse(name, args=[target.pk])


# Charge now --------------------------------------------------------------------------------------


def _charge_now_rows(found: Appliance, now: datetime) -> list[Constraint]:
    rows = Constraint.objects.filter(
        appliance=found,
        withdrawn_at=None,
        valid_at__lte=now,
        invalid_at__gt=now,
        emitter_kind__in=[
            EmitterKind.LOCAL_USER,
            EmitterKind.ACCOUNT_USER,
            EmitterKind.OPERATOR,
        ],
        set_point_w__gt=0,
        closest=True,
    )
    return list(rows.select_related("emitter").order_by("-priority", "-created_at"))


def _charge_now(
    row: Constraint, user: User, emitter: Emitter | None, now: datetime, zone: ZoneInfo
) -> ChargeNow:
    return ChargeNow(
        id=row.pk,
        until=moment(row.invalid_at, now=now, zone=zone),
        who=_asked_by(row, user),
        may_stop=may_withdraw(row, emitter),
    )


def _asked_by(row: Constraint, user: User) -> str:
    """A resident who pressed the station's own button has no name."""
    is_local = row.emitter_id is None and row.emitter_kind == EmitterKind.LOCAL_USER
    return pgettext("by", "the resident") if is_local else set_by(row, user)


def _charge_choices(found: Appliance, now: datetime) -> list[tuple[str, str]]:
    form = ChargeNowForm(zone=found.system.zone, now=now)
    morning = form.morning().replace(tzinfo=found.system.zone)
    at = moment(morning, now=now, zone=found.system.zone)
    return [("1h", _("1 h")), ("2h", _("2 h")), ("morning", _("until %(until)s") % {"until": at})]


def _charge_now_draft(
    found: Appliance, emitter: Emitter, invalid_at: datetime, now: datetime
) -> Draft:
    """It takes the place of the one that this kind of emitter has set before."""
    own = [one for one in _charge_now_rows(found, now) if one.emitter_kind == emitter.kind]
    return Draft(
        id=own[0].pk if own else None,
        set_point_w=station_of(found).max_w,
        closest=True,
        invalid_at=invalid_at,
    )


def _would(
    found: Appliance, station: Station, emitter: Emitter, now: datetime, zone: ZoneInfo
) -> str:
    """What “charge now” would do, before it is asked for."""
    until = ChargeNowForm(zone=zone, now=now).morning().replace(tzinfo=zone)
    draft = drafted(
        _charge_now_draft(found, emitter, until, now), target=found, emitter=emitter, now=now
    )
    [one] = preview(appliances=[found], drafts=[draft], now=now)
    first = one.after[0]
    watts = first.boundary.set_point_w
    if first.deciders.get("set_point_w") != str(draft.pk) or not watts:
        return _("It would not help now: something stronger leaves the car nothing.")
    if watts < station.max_w:
        return _("It would get %(power)s, not %(most)s: others limit it.") % {
            "power": kilowatts(watts),
            "most": kilowatts(station.max_w),
        }
    return _("It would charge with %(power)s, wherever the power comes from.") % {
        "power": kilowatts(watts)
    }


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
            trial = try_policy(
                appliance=found,
                draft=form.draft,
                emitter=emitter,
                now=now,
                most_w=_left_by_others(found, now),
            )
        except UnableToConstrain as error:
            form.refuse(error)
            return tried
        tried["outlook"], tried["is_possible"] = outlook(trial, now=now, zone=zone)
        if trial.stronger is not None:
            tried["stronger"] = _(
                "It would wait all the same: “%(mode)s” of %(who)s weighs more."
            ) % {
                "mode": trial.stronger.get_mode_display(),
                "who": _whose(trial.stronger, emitter.user),
            }
        elif _charge_now_rows(found, now):
            tried["stronger"] = _("“Charge now” goes on first, then this.")
    return tried


def _left_by_others(found: Appliance, now: datetime) -> float | None:
    """The greatest power that others allow now, beside policies and “charge now”."""
    own = Constraint.objects.filter(appliance=found, withdrawn_at=None, policy__isnull=False)
    gone = [*own.values_list("pk", flat=True), *(one.pk for one in _charge_now_rows(found, now))]
    [one] = preview(appliances=[found], drafts=[], now=now, without=gone)
    return one.after[0].boundary.max_w
