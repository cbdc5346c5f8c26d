"""What charging policies do and why, in sentences for people."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext, pgettext_lazy

from accounts.access import Role
from accounts.models import User
from flexibility import words
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
    said = {
        state.appliance_id: because(
            msgspec.convert(state.reason, Reason),
            stations[state.appliance_id],
            now=now,
            zone=state.appliance.system.zone,
        )
        for state in states
    }
    return said | _outweighed(states)


def _outweighed(states: Sequence[ChargingState]) -> dict[UUID, str]:
    """By station to whom a policy gives way, where it does."""
    wishes = {
        (row.appliance_id, row.policy_id): str(row.pk)
        for row in Constraint.objects.filter(
            policy__in={state.policy_id for state in states},
            appliance__in={state.appliance_id for state in states},
            fallback=False,
            withdrawn_at=None,
        )
    }
    found = {}
    resolved = Flexibility.objects.in_bulk([state.appliance_id for state in states])
    for state in states:
        inputs = resolved[state.appliance_id].inputs if state.appliance_id in resolved else ()
        wish = wishes.get((state.appliance_id, state.policy_id))
        outcome = next((one["power"] for one in inputs if one["id"] == wish), None)
        if outcome is None or outcome["outcome"] == OutcomeKind.BINDING:
            continue
        if outcome["outcome"] == OutcomeKind.DISCARDED:
            found[state.appliance_id] = words.reason(
                wish,
                "power",
                outcome,
                resolved[state.appliance_id],
                zone=state.appliance.system.zone,
            )
        elif resolved[state.appliance_id].set_point_w is not None:
            found[state.appliance_id] = _("Waits: others have it do something else.")
    return found


def _because(reason: Reason) -> str:
    is_waiting = reason.left_wh is not None and reason.until is not None
    match reason.why:
        case Why.FORCED:
            return _("Charges at full power, wherever the power comes from.")
        case Why.OFF:
            return _("Is switched off.")
        case Why.SURPLUS:
            return _("Charges with what the sun leaves for it, %(share)s.")
        case Why.STARTING:
            return _("Waits: the sun gives %(sun)s, which is enough; it starts if that lasts.")
        case Why.HOLDING:
            return _(
                "Goes on with the least, although the sun gives only %(sun)s of the %(least)s that "
                "the car needs; it pauses if that lasts."
            )
        case Why.TOO_LITTLE if is_waiting:
            return _(
                "Pauses: the sun gives %(sun)s, the car needs %(least)s. From %(when)s at the "
                "latest it charges all the same, to be ready in time."
            )
        case Why.TOO_LITTLE:
            return _("Pauses: the sun gives %(sun)s, the car needs %(least)s.")
        case Why.UNKNOWN:
            return _("Pauses: nobody knows what the sun leaves; a meter sends no news.")
        case Why.UNPLUGGED:
            return _("Waits for a car to be plugged in.")
        case Why.MINIMUM if reason.surplus_w is None:
            return _("Charges with the least, %(least)s: nobody knows what the sun leaves.")
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
        case Why.HELD:
            return _(
                "Pauses: others leave it less than the %(least)s that it needs. It goes on when "
                "they end, and will be ready in time."
            )
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
