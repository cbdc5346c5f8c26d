"""How a car charges, in words: why as it does, the policies that ask there, “charge now”."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.models import User
from flexibility.emitters import Emitter
from flexibility.models import ChargingPolicy, ChargingState, Constraint, SharedLimit
from flexibility.policies.operations import may_end, may_restore_policy
from flexibility.policies.sentences import because, does, energy, set_by, weighed
from flexibility.policies.terms import NEARLY, Mode, Reason, Station, Why
from flexibility.queries import Now, Span
from flexibility.resolver import EmitterKind, OutcomeKind, most_w
from flexibility.sentences import kilowatts, moment
from gridx.pages.acting import may_withdraw
from gridx.pages.appliance import emitter_or_none
from inventory.kinds import Plug
from inventory.models import Appliance, Cluster, System
from measurements.ribbons import REST_W


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """A policy that concerns the station, in words, and whether it is followed, or why it waits."""

    id: UUID
    mode: str
    details: tuple[str, ...]
    is_followed: bool
    waits: str
    url: str
    may_end: bool


@dataclass(frozen=True, slots=True)
class ChargeNow:
    """A “charge now” that stands; `power` is empty where it asks for all that there is."""

    id: UUID
    power: str
    until: str
    who: str
    may_stop: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The policies that concern a station, the one that weighs most first, and why they ask so.

    `deciding` is the one whose wish decides what the station may do; where none does, the one that
    weighs most.
    """

    policies: Sequence[ChargingPolicy]
    reasons: Mapping[UUID, Reason]
    deciding: ChargingPolicy | None

    @property
    def reason(self) -> Reason | None:
        return None if self.deciding is None else self.reasons.get(self.deciding.pk)


def asked_of(flexibility: Now, policies: Sequence[ChargingPolicy]) -> Asked:
    """What these policies ask of a station."""
    states = ChargingState.objects.filter(appliance=flexibility.appliance, policy__in=policies)
    reasons = {
        one.policy_id: weighed([one])[one.appliance_id][0]
        for one in states.select_related("appliance__system")
    }
    return Asked(policies, reasons, _deciding(flexibility, policies))


def _deciding(flexibility: Now, policies: Sequence[ChargingPolicy]) -> ChargingPolicy | None:
    """Of several policies the one whose wish decides; else the one that weighs most."""
    by_constraint = {str(one.row.pk): one.row.policy_id for one in flexibility.constraints}
    for part in ("set_point_w", "max_w", "min_w"):
        decider = by_constraint.get(flexibility.span.deciders.get(part))
        for policy in policies:
            if policy.pk == decider:
                return policy
    return policies[0] if policies else None


# Why it charges as it does -----------------------------------------------------------------------


class Story:
    """Why the car charges as it does, in sentences: what is asked for, and what limits that."""

    def __init__(
        self,
        flexibility: Now,
        station: Station,
        asked: Asked,
        user: User,
        now: datetime,
        zone: ZoneInfo,
    ) -> None:
        self.flexibility, self.station, self.reason = flexibility, station, asked.reason
        self.policy, self.user, self.now, self.zone = asked.deciding, user, now, zone
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
            if one["set_point_w"] < self.station.max_w:
                return _("You asked for %(power)s%(until)s.") % values
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
        if self._is_own(one):
            said = _("You do not let it charge%(until)s.")
            return (said if watts <= 0 else _("You allow at most %(power)s%(until)s.")) % values
        if watts <= 0:
            return _STOPS[kind]() % values
        return _LIMITS[kind]() % values

    def _policy_wins(self) -> str:
        """A policy outweighs what somebody asked for."""
        if self.policy is None or self.reason is None:
            return _("But a charging policy weighs more.")
        return _("But the charging policy “%(mode)s” of %(who)s weighs more. %(why)s") % {
            "mode": self.policy.get_mode_display(),
            "who": whose(self.policy, self.user),
            "why": self._policy_says(self.policy, self.reason),
        }

    def _policy_says(self, policy: ChargingPolicy, reason: Reason) -> str:
        if reason.why is Why.UNPLUGGED:
            return does(Mode(policy.mode), self.station)
        return because(reason, self.station, now=self.now, zone=self.zone)

    def _of_the_car(self) -> list[str]:
        """Where the car takes less than it may."""
        power_w, boundary = self.flexibility.power_w, self.span.boundary
        if power_w is None:
            return []
        if self.flexibility.reading.plug_state not in (Plug.PLUGGED, Plug.CHARGING, Plug.PAUSED):
            return []
        may_w = most_w(boundary)
        if may_w is None:
            may_w = self.station.max_w
        if power_w > max(may_w / NEARLY, REST_W):
            return [_("The station has not followed yet.")]
        if may_w < self.station.min_w or power_w >= NEARLY * may_w:
            return []
        if power_w < REST_W:
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


# Policies ----------------------------------------------------------------------------------------


def policy_lines(
    asked: Asked,
    flexibility: Now,
    *,
    user: User,
    emitter: Emitter | None,
    charge: ChargeNow | None,
    now: datetime,
    zone: ZoneInfo,
) -> list[PolicyLine]:
    """In words; `charge` is the “charge now” that decides in their place."""

    def when(at: datetime) -> str:
        return moment(at, now=now, zone=zone)

    lines = []
    for policy in asked.policies:
        is_own, reason = policy.appliance_id is not None, asked.reasons.get(policy.pk)
        details = [_("set by %(who)s") % {"who": set_by(policy, user)}]
        if not is_own:
            details.append(_("for all stations of %(group)s") % {"group": policy.target})
        if policy.departs_at is not None:
            goal = {"energy": energy(policy.energy_wh), "when": when(policy.departs_at)}
            details.append(_("%(energy)s by %(when)s") % goal)
            if reason is not None and reason.left_wh is not None:
                details.append(_("%(energy)s to go") % {"energy": energy(reason.left_wh)})
        elif policy.invalid_at is not None:
            details.append(_("until %(until)s") % {"until": when(policy.invalid_at)})
        waits = _why_it_waits(policy, asked, flexibility, user, charge)
        lines.append(
            PolicyLine(
                id=policy.pk,
                mode=policy.get_mode_display(),
                details=tuple(details),
                is_followed=not waits,
                waits=waits,
                url="" if is_own else policy_url(policy.target),
                may_end=emitter is not None and is_own and may_end(policy, emitter),
            )
        )
    return lines


def _why_it_waits(
    policy: ChargingPolicy,
    asked: Asked,
    flexibility: Now,
    user: User,
    charge: ChargeNow | None,
) -> str:
    """Whose wish stands in its way; empty where it is followed."""
    own = [
        one
        for one in flexibility.constraints
        if one.row.policy_id == policy.pk and not one.row.fallback
    ]
    found = own[0].outcomes.get("power", {}) if own else {}
    outcome, against = found.get("outcome"), found.get("conflicts_with", ())
    if charge is not None and str(charge.id) in against:
        return _("Goes on at %(when)s, after “charge now”.") % {"when": charge.until}
    by = {str(one.row.pk): one.row.policy_id for one in flexibility.constraints}
    stronger = asked.policies[: asked.policies.index(policy)]
    if outcome == OutcomeKind.REDUNDANT and asked.deciding in stronger:
        first = asked.deciding
    elif outcome == OutcomeKind.DISCARDED:
        first = next((one for one in stronger if one.pk in map(by.get, against)), None)
        if first is None:
            return _("Waits: what somebody else asked for weighs more.")
    else:
        return ""
    who = {"mode": first.get_mode_display(), "who": whose(first, user)}
    if first.priority > policy.priority:
        return _("Waits: “%(mode)s” of %(who)s weighs more.") % who
    return _("Waits: “%(mode)s” of %(who)s is newer.") % who


def undo_of_policy(ended: UUID | None, *, user: User, now: datetime) -> dict[str, Any] | None:
    """A policy that was ended just now, where the user may have it go on."""
    rows = ChargingPolicy.objects.visible_to(user).select_related("emitter")
    row = rows.filter(pk=ended).first() if ended else None
    emitter = emitter_or_none(user)
    if row is None or emitter is None or not may_end(row, emitter):
        return None
    if not may_restore_policy(row, now=now):
        return None
    return {
        "what": row.get_mode_display(),
        "url": reverse("charging_policy_restore", args=[row.pk]),
    }


def whose(policy: ChargingPolicy, user: User) -> str:
    is_own = policy.emitter_id == user.pk
    return pgettext("by", "yours") if is_own else set_by(policy, user)


def policy_url(target: Cluster | System | Appliance) -> str:
    """The page on which a target's policy is shown."""
    if isinstance(target, Appliance):
        return reverse("car", args=[target.pk])
    name = "cluster_policy" if isinstance(target, Cluster) else "system_policy"
    return reverse(name, args=[target.pk])


# Charge now --------------------------------------------------------------------------------------


def charge_now_rows(found: Appliance, now: datetime) -> list[Constraint]:
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


def charge_now(
    row: Constraint,
    station: Station,
    user: User,
    emitter: Emitter | None,
    now: datetime,
    zone: ZoneInfo,
) -> ChargeNow:
    return ChargeNow(
        id=row.pk,
        power=kilowatts(row.set_point_w) if row.set_point_w < station.max_w else "",
        until=moment(row.invalid_at, now=now, zone=zone),
        who=_asked_by(row, user),
        may_stop=may_withdraw(row, emitter),
    )


def _asked_by(row: Constraint, user: User) -> str:
    """A resident who pressed the station's own button has no name."""
    is_local = row.emitter_id is None and row.emitter_kind == EmitterKind.LOCAL_USER
    return pgettext("by", "the resident") if is_local else set_by(row, user)
