"""What charging policies do and why, in sentences for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext, pgettext_lazy

from accounts.access import Role
from accounts.models import User
from flexibility import words
from flexibility.allotment import Why as Share
from flexibility.emitters import ceiling, default_priority
from flexibility.models import ChargingPolicy, ChargingState, Constraint, Flexibility
from flexibility.policies.departures import Plan
from flexibility.policies.operations import Trial
from flexibility.policies.site import known_stations
from flexibility.policies.terms import Mode, Reason, Station, Why
from flexibility.resolver import EmitterKind, OutcomeKind
from flexibility.sentences import kilowatts, moment
from measurements.formats import NBSP, number, power

MODES = dict(ChargingPolicy._meta.get_field("mode").flatchoices)
# In the order of the choice: as little from the grid as possible first.
CHOICES = (Mode.SURPLUS, Mode.MINIMUM_AND_SURPLUS, Mode.FORCED, Mode.OFF, Mode.DEPARTURE)
_SETTERS = {
    # Translators: behind "set by", as are the others of this context
    Role.RESIDENT: pgettext_lazy("by", "the resident"),
    Role.FLEET_MANAGER: pgettext_lazy("by", "the fleet manager"),
    Role.ACCOUNT_ADMIN: pgettext_lazy("by", "the fleet manager"),
}


def energy(wh: float) -> str:
    """An amount as people ask for it: "10 kWh", "4.2 kWh"."""
    value = round(wh / 1000, 1)
    return f"{number(value, 0 if value == round(value) else 1)}{NBSP}kWh"


def because(reason: Reason, station: Station, *, now: datetime, zone: ZoneInfo) -> str:
    """Why a policy has the station do what it does: "Pauses: the sun gives 2.1 kW, …"."""
    # What the car takes of the least is enough sun; what others leave must be all of the least.
    least_w = None if reason.why in (Why.HELD, Why.IDLE) else reason.least_w
    values = {
        "sun": power(max(reason.surplus_w or 0, 0)),
        "share": power(max(reason.share_w or 0, 0)),
        "others": power(reason.others_w),
        "left": power(reason.left_w),
        "least": kilowatts(least_w or station.min_w),
        "needed": power(reason.needed_w or 0),
        "missing": energy(reason.missing_wh or 0),
        "when": "" if reason.until is None else moment(reason.until, now=now, zone=zone),
        "ready": (
            "" if reason.reachable_at is None else moment(reason.reachable_at, now=now, zone=zone)
        ),
    }
    return _because(reason) % values


def reasons(states: Sequence[ChargingState], *, now: datetime) -> dict[UUID, str]:
    """Why a policy has stations of one system do what they do, or to whom it gives way there."""
    stations = known_stations([state.appliance for state in states])
    return {
        one: outweighed or because(reason, stations[one], now=now, zone=zone)
        for one, (reason, outweighed, zone) in weighed(states).items()
    }


def weighed(
    states: Sequence[ChargingState],
) -> dict[UUID, tuple[Reason, str | None, ZoneInfo]]:
    """By station why a policy asks so, as far as others let it, to whom it gives way, and its zone.

    One that a shared limit pauses while others have their turn waits for its own.
    """
    stations = {state.appliance_id for state in states}
    wishes = {
        (row.appliance_id, row.policy_id): str(row.pk)
        for row in Constraint.objects.filter(
            policy__in={state.policy_id for state in states},
            appliance__in=stations,
            fallback=False,
            withdrawn_at=None,
        )
    }
    resolved = Flexibility.objects.in_bulk(stations)
    turns_of_others = _turns_of_others(resolved.values())
    found = {}
    for state in states:
        zone = state.appliance.system.zone
        reason, outweighed = msgspec.convert(state.reason, Reason), None
        flexibility = resolved.get(state.appliance_id)
        inputs = {one["id"]: one for one in (flexibility.inputs if flexibility else ())}
        wish = inputs.get(wishes.get((state.appliance_id, state.policy_id)))
        if wish is not None:
            is_stopped = flexibility.max_w == 0 and _most_w(wish) != 0 and reason.why != Why.HELD
            if is_stopped and state.appliance_id in turns_of_others:
                reason = replace(reason, why=Why.TURN)
            else:
                outweighed = _outweighed(wish, flexibility, zone, is_stopped=is_stopped)
        found[state.appliance_id] = reason, outweighed, zone
    return found


def _turns_of_others(resolved: Iterable[Flexibility]) -> set[UUID]:
    """The stations (id) that a limit pauses while others of those that share it have their turn."""
    paused = {
        decider["id"]: row.pk
        for row in resolved
        for decider in row.inputs
        if row.max_w == 0
        and decider["id"] == row.deciders.get("max_w")
        and decider.get("why_max") in (Share.PAUSED, Share.RESTING)
    }
    if not paused:
        return set()
    limits = dict(Constraint.objects.filter(pk__in=list(paused)).values_list("pk", "limit"))
    running = Constraint.objects.filter(
        limit__in=set(limits.values()),
        fallback=False,
        withdrawn_at=None,
        share__running_since__isnull=False,
    )
    busy = set(running.filter(max_w__gt=0).values_list("limit", flat=True))
    return {paused[str(pk)] for pk, limit in limits.items() if limit in busy}


def _outweighed(
    wish: Mapping[str, Any], flexibility: Flexibility, zone: ZoneInfo, *, is_stopped: bool
) -> str | None:
    """To whom a policy gives way, or what they leave of what it wishes for; else None."""
    outcome, most_w = wish["power"], _most_w(wish)
    if outcome["outcome"] == OutcomeKind.DISCARDED:
        return words.reason(wish["id"], "power", outcome, flexibility, zone=zone)
    if is_stopped:
        return _("Waits: others leave it nothing now.")
    if flexibility.set_point_w is not None:
        is_binding = outcome["outcome"] == OutcomeKind.BINDING
        return None if is_binding else _("Waits: others have it do something else.")
    if most_w is None or flexibility.max_w is None or flexibility.max_w >= most_w:
        return None
    return _("Charges with %(most)s at most: others leave it no more.") % {
        "most": kilowatts(flexibility.max_w)
    }


def _most_w(wish: Mapping[str, Any]) -> float | None:
    """The most that a wish lets a station take, in W."""
    return wish.get("set_point_w", wish.get("max_w"))


def _because(reason: Reason) -> str:
    is_waiting = reason.left_wh is not None and reason.until is not None
    match reason.why:
        case Why.FORCED:
            return _("Charges at full power, wherever the power comes from.")
        case Why.OFF:
            return _("Is switched off.")
        case Why.SURPLUS:
            return _("Charges with what the sun leaves for it, %(share)s.")
        case Why.STARTING if reason.others_w:
            return _(
                "Waits: the sun gives %(sun)s, others need %(others)s of it, so that %(left)s are "
                "left, which is enough; it starts if that lasts."
            )
        case Why.STARTING:
            return _("Waits: the sun gives %(sun)s, which is enough; it starts if that lasts.")
        case Why.HOLDING if reason.others_w:
            return _(
                "Goes on with the least, although the sun gives %(sun)s and others need %(others)s "
                "of it, so that only %(left)s of the %(least)s that the car needs are left; it "
                "pauses if that lasts."
            )
        case Why.HOLDING:
            return _(
                "Goes on with the least, although the sun gives only %(sun)s of the %(least)s that "
                "the car needs; it pauses if that lasts."
            )
        case Why.TOO_LITTLE if is_waiting and reason.others_w:
            return _(
                "Pauses: the sun gives %(sun)s, others need %(others)s of it, so that %(left)s are "
                "left; the car needs %(least)s. From %(when)s at the latest it charges all the "
                "same, to be ready in time."
            )
        case Why.TOO_LITTLE if is_waiting:
            return _(
                "Pauses: the sun gives %(sun)s, the car needs %(least)s. From %(when)s at the "
                "latest it charges all the same, to be ready in time."
            )
        case Why.TOO_LITTLE if reason.others_w:
            return _(
                "Pauses: the sun gives %(sun)s, others need %(others)s of it, so that %(left)s are "
                "left; the car needs %(least)s."
            )
        case Why.TOO_LITTLE:
            return _("Pauses: the sun gives %(sun)s, the car needs %(least)s.")
        case Why.UNKNOWN:
            return _("Pauses: nobody knows what the sun leaves; a meter sends no news.")
        case Why.UNPLUGGED:
            return _("Waits for a car to be plugged in.")
        case Why.MINIMUM if reason.surplus_w is None:
            return _("Charges with the least, %(least)s: nobody knows what the sun leaves.")
        case Why.MINIMUM if reason.others_w:
            return _(
                "Charges with the least, %(least)s: the sun gives %(sun)s, others need %(others)s "
                "of it, so that only %(left)s are left."
            )
        case Why.MINIMUM:
            return _("Charges with the least, %(least)s: the sun gives only %(sun)s.")
        case Why.STEADY:
            return _("Charges with %(needed)s, which the time until departure needs.")
        case Why.LATE:
            return _("Charges at full power: nothing less would be ready in time.")
        case Why.UNREACHABLE if reason.reachable_at is None:
            return _("Charges as fast as it may, and even so %(missing)s will be missing.")
        case Why.UNREACHABLE:
            return _(
                "Charges as fast as it may, and even so %(missing)s will be missing; it could be "
                "ready by %(ready)s."
            )
        case Why.HELD if reason.missing_wh and reason.reachable_at is None:
            return _(
                "Pauses: others leave it less than the %(least)s that it needs. %(missing)s will "
                "be missing."
            )
        case Why.HELD if reason.missing_wh:
            return _(
                "Pauses: others leave it less than the %(least)s that it needs. %(missing)s will "
                "be missing; it could be ready by %(ready)s."
            )
        case Why.HELD if reason.left_wh is None:
            return _(
                "Pauses: others leave it less than the %(least)s that it needs. It goes on when "
                "they end."
            )
        case Why.HELD:
            return _(
                "Pauses: others leave it less than the %(least)s that it needs. It goes on when "
                "they end, and will be ready in time."
            )
        case Why.TURN if reason.missing_wh and reason.reachable_at is None:
            return _(
                "Waits for its turn: the limit that it shares is not enough for all at once. "
                "%(missing)s will be missing."
            )
        case Why.TURN if reason.missing_wh:
            return _(
                "Waits for its turn: the limit that it shares is not enough for all at once. "
                "%(missing)s will be missing; it could be ready by %(ready)s."
            )
        case Why.TURN:
            return _("Waits for its turn: the limit that it shares is not enough for all at once.")
        case Why.IDLE:
            return _("The car takes nothing: it may be full. It may go on with %(least)s.")
        case Why.REACHED:
            return _("Pauses: the car has got what was asked for.")


def does(mode: Mode, station: Station) -> str:
    """What a mode does, before anybody chooses it."""
    values = {"least": kilowatts(station.min_w), "most": kilowatts(station.max_w)}
    return _DOES[mode] % values


_DOES = {
    Mode.SURPLUS: gettext_lazy(
        "Charges only with sun that the house leaves. Below %(least)s it pauses."
    ),
    Mode.MINIMUM_AND_SURPLUS: gettext_lazy(
        "Never less than %(least)s, more as soon as the sun gives it. What the sun lacks comes "
        "from the grid."
    ),
    Mode.FORCED: gettext_lazy("As fast as it may, up to %(most)s, wherever the power comes from."),
    Mode.OFF: gettext_lazy("Does not charge until somebody chooses otherwise."),
    Mode.DEPARTURE: gettext_lazy(
        "Sun first; what the sun does not give comes from the grid, as late as it can."
    ),
}


def outlook(trial: Trial, *, now: datetime, zone: ZoneInfo) -> tuple[str, bool]:
    """What would come of a policy as things are now, and whether that is what was asked for."""
    if trial.plan is not None:
        return _of_plan(trial.plan, now, zone), not trial.plan.missing_wh
    return because(trial.answer.wish.reason, trial.station, now=now, zone=zone), True


def _of_plan(plan: Plan, now: datetime, zone: ZoneInfo) -> str:
    if plan.missing_wh and plan.reachable_at is None:
        missing = {"missing": energy(plan.missing_wh)}
        return (
            _("It cannot: %(missing)s would be missing, for others leave it too little.") % missing
        )
    if plan.reachable_at is not None:
        return _("It cannot: %(missing)s would be missing. It could by %(ready)s.") % {
            "missing": energy(plan.missing_wh),
            "ready": moment(plan.reachable_at, now=now, zone=zone),
        }
    values = {
        "needed": power(plan.needed_w),
        "when": moment(plan.latest_start_at, now=now, zone=zone),
    }
    if plan.latest_start_at <= now:
        at_once = _("It can, if it starts at once: %(needed)s are needed all the time until then.")
        return at_once % values
    return (
        _(
            "It can: %(needed)s on average would do. At first with sun alone, from %(when)s at the "
            "latest with whatever it takes."
        )
        % values
    )


def set_by(row: ChargingPolicy | Constraint, user: User) -> str:
    """Who set something, without a name: "you", "the fleet manager"."""
    if row.emitter_id is not None and row.emitter_id == user.pk:
        return pgettext("by", "you")
    if row.emitter is None or row.emitter.is_staff:
        return pgettext("by", "staff")
    return str(_SETTERS.get(row.emitter.role, pgettext("by", "somebody else")))


def policy_priorities(kind: EmitterKind) -> list[tuple[int, str]]:
    """What somebody of this kind may have a policy weigh, the usual one first, in words."""
    usual = default_priority(EmitterKind.CHARGING_POLICY)
    most = min(ceiling(EmitterKind.CHARGING_POLICY), ceiling(kind))
    fleet = default_priority(EmitterKind.ACCOUNT_USER)
    choices = [(usual, _("Usual: residents’ “charge now” wins over it"))]
    if most >= fleet:
        choices.append((fleet, _("Strong: it wins over what residents wish")))
    choices.append((most, _("As strong as I may")))
    return [(value, f"{text} ({number(value, 0)})") for value, text in choices]
