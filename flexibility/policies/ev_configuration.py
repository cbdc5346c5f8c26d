"""The wire's configuration of a charging station: a charging policy of it, in the wire's words."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from flexibility.emitters import Emitter, UnableToConstrain, kind_of
from flexibility.models import ChargingPolicy, ChargingState, Flexibility
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.standing import policies_on, policy_asking
from flexibility.policies.terms import Mode
from flexibility.resolver import most_w
from flexibility.series.recurrence import next_time
from inventory.models import Appliance


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a client says; None is no statement.

    Only the time of the day counts of `departure`. The states of charge (%) and the capacity (Wh)
    say how much energy a departure needs.
    """

    enabled: bool | None = None
    mode: Mode | None = None
    departure: datetime | None = None
    soc_asked: float | None = None
    soc: float | None = None
    capacity_wh: float | None = None


@dataclass(frozen=True)
class Configuration:
    """A policy that concerns a station, what it does there (None: another one asks), its limit."""

    station: Appliance
    policy: ChargingPolicy
    state: ChargingState | None
    max_w: float | None


def configuration_of(*, station: Appliance, now: datetime) -> Configuration | None:
    """What asks at a station now, wherever it was set; else what is set on it for later."""
    policy = policy_asking(station=station, now=now)
    policy = policy or policies_on(target=station, now=now).first()
    return None if policy is None else _configuration(station, policy)


def configure(
    *,
    station: Appliance,
    wish: Wish,
    emitter: Emitter,
    now: datetime,
    before: Configuration | None = None,
) -> Configuration:
    """Set the station's policy; what the wish does not state is as `before`.

    Raises UnableToConstrain, naming the field of the policy.
    """
    before = _resumed(wish, station, before)
    draft = _draft(wish, station, before, now)
    if before is not None and before.state is not None and _is_same(before.policy, draft, emitter):
        return before
    policy = set_policy(target=station, draft=draft, emitter=emitter, now=now)
    return _configuration(station, policy)


def _configuration(station: Appliance, policy: ChargingPolicy) -> Configuration:
    states = ChargingState.objects.filter(appliance=station, policy=policy)
    state = states.select_related("appliance__system").first()
    boundary = Flexibility.objects.filter(pk=station.pk).first()
    return Configuration(station, policy, state, boundary and most_w(boundary))


def _resumed(wish: Wish, station: Appliance, before: Configuration | None) -> Configuration | None:
    """What was before; of one that is switched on again, before it was switched off."""
    if not wish.enabled or wish.mode is not None or before is None:
        return before
    if before.policy.mode != Mode.OFF:
        return before
    own = ChargingPolicy.objects.filter(appliance=station).exclude(mode=Mode.OFF)
    last = own.order_by("-created_at", "-pk").first()
    return None if last is None else Configuration(station, last, None, before.max_w)


def _draft(
    wish: Wish, station: Appliance, before: Configuration | None, now: datetime
) -> PolicyDraft:
    mode = wish.mode or (Mode.FORCED if before is None else Mode(before.policy.mode))
    if wish.enabled is False:
        mode = Mode.OFF
    if mode is not Mode.DEPARTURE:
        return PolicyDraft(mode=mode)
    is_kept = before is not None and before.policy.mode == Mode.DEPARTURE
    departs_at = before.policy.departs_at if is_kept else None
    energy_wh = before.policy.energy_wh if is_kept else None
    if wish.departure is not None:
        departs_at = _next_departure(wish.departure, station.system.zone, now)
        if is_kept and before.state is not None:
            energy_wh = before.state.reason["left_wh"]
    if {wish.soc_asked, wish.soc, wish.capacity_wh} != {None}:
        energy_wh = _energy_wh(wish)
    return PolicyDraft(mode=mode, departs_at=departs_at, energy_wh=energy_wh)


def _next_departure(departure: datetime, zone: ZoneInfo, now: datetime) -> datetime:
    try:
        time_of_day = departure.astimezone(zone).time()
    except OverflowError as error:
        # The first or the last day that there is.
        raise UnableToConstrain("departs_at", _("This is no time of a day.")) from error
    return next_time(time_of_day, zone=zone, after=now)


def _energy_wh(wish: Wish) -> float:
    if wish.soc_asked is None or wish.soc is None or wish.capacity_wh is None:
        reason = _("Say how much is to be in it, how much is, and how much it holds.")
        raise UnableToConstrain("energy_wh", reason)
    if wish.soc_asked <= wish.soc:
        raise UnableToConstrain("energy_wh", _("There is as much in it already."))
    return (wish.soc_asked - wish.soc) / 100 * wish.capacity_wh


def _is_same(policy: ChargingPolicy, draft: PolicyDraft, emitter: Emitter) -> bool:
    is_own = policy.emitter is not None and kind_of(policy.emitter) == emitter.kind
    values = (policy.mode, policy.energy_wh, policy.departs_at)
    return (
        is_own
        and policy.appliance_id is not None
        and values == (draft.mode, draft.energy_wh, draft.departs_at)
    )
