"""How much more and how much less appliances could take now, and why not further.

More is up, whether by consuming more or by producing less; both are W and never negative. What is
not known counts as nothing: a promise of flexibility must be kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from flexibility import words
from flexibility.policies.terms import NEARLY
from flexibility.queries import Now, flexibilities_of
from flexibility.standing import members_of
from inventory.kinds import CONTROLLABLE, ApplianceKind, Plug
from inventory.models import Appliance, Cluster, System, SystemPool

# What is left of a battery's range below that is nothing to promise.
NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Room:
    """What an appliance could take more and less (W), and what ends each, in a sentence."""

    appliance: Appliance
    is_stale: bool
    power_w: float | None
    up_w: float
    down_w: float
    up_reason: str
    down_reason: str


def rooms_of(*, group: Cluster | SystemPool | System, now: datetime) -> list[Room]:
    """The room of each appliance within that can be controlled, by a fixed number of queries."""
    appliances = list(steered(members_of(group)).select_related("system").order_by("key"))
    return [room_of(one) for one in flexibilities_of(appliances=appliances, now=now)]


def room_of(one: Now) -> Room:
    """The room of one appliance, from its flexibility."""
    power_w = one.power_w
    if power_w is None:
        unknown = _("Its power is not known.")
        return Room(one.appliance, one.is_stale, None, 0.0, 0.0, unknown, unknown)
    if one.span.boundary.set_point_w is not None:
        held = _("Its set point is set by %(who)s.") % {"who": _decider(one, "set_point_w")}
        return Room(one.appliance, one.is_stale, power_w, 0.0, 0.0, held, held)
    high_w, up_reason = _ceiling(one)
    low_w, down_reason = _floor(one, power_w)
    return Room(
        one.appliance,
        one.is_stale,
        power_w,
        max(high_w - power_w, 0.0) if high_w < inf else 0.0,
        max(power_w - low_w, 0.0) if low_w > -inf else 0.0,
        up_reason,
        down_reason,
    )


def steered(members: QuerySet[Appliance]) -> QuerySet[Appliance]:
    """Those that can be controlled; a hybrid inverter only where its parts are not there."""
    wholes = members.exclude(parent=None).values("parent")
    return members.filter(kind__in=CONTROLLABLE).exclude(
        kind=ApplianceKind.HYBRID_INVERTER, pk__in=wholes
    )


def once(members: Sequence[Now]) -> list[Now]:
    """As `steered`, of what was read already: each that counts in a sum, once."""
    wholes = {one.appliance.parent_id for one in members}
    return [
        one
        for one in members
        if one.appliance.kind != ApplianceKind.HYBRID_INVERTER or one.appliance.pk not in wholes
    ]


def _ceiling(one: Now) -> tuple[float, str]:
    """The most that it could take (W), and why not more."""
    is_station = one.appliance.kind == ApplianceKind.EV_CHARGING_STATION
    if is_station and one.reading.plug_state == Plug.UNPLUGGED:
        return 0.0, _("No car is plugged in.")
    high_w, reason = _limit(one, "max_w")
    if is_station and one.reading.power_w < NEARLY * high_w:
        return 0.0, _("The car itself takes no more.")
    stored_wh, most_wh = _stored_wh(one), one.span.boundary.max_wh
    is_full = stored_wh is not None and most_wh is not None and stored_wh >= most_wh - _slack(one)
    if high_w > 0 and (is_full or (one.reading.soc or 0) >= 1):
        return 0.0, _("It is full.")
    return high_w, reason


def _floor(one: Now, power_w: float) -> tuple[float, str]:
    """The least that it could take (W), and why not less."""
    if one.appliance.kind == ApplianceKind.PV_INVERTER:
        return power_w, _("The sun gives no more.")
    low_w, reason = _limit(one, "min_w")
    if one.span.boundary.can_pause and low_w > 0:
        return 0.0, _("It can only pause.") if power_w > 0 else _("It uses nothing.")
    stored_wh, least_wh = _stored_wh(one), one.span.boundary.min_wh
    is_empty = (
        stored_wh is not None and least_wh is not None and stored_wh <= least_wh + _slack(one)
    )
    if low_w < 0 and (is_empty or one.reading.soc == 0):
        return 0.0, _("It is empty.")
    return low_w, reason


def _limit(one: Now, side: str) -> tuple[float, str]:
    bound_w = getattr(one.span.boundary, side)
    if bound_w is None:
        return (inf if side == "max_w" else -inf), _("Nobody said how far it can go.")
    return bound_w, _("The limit is set by %(who)s.") % {"who": _decider(one, side)}


def _decider(one: Now, part: str) -> str:
    decider = one.span.deciders.get(part)
    kinds = (each["emitter"] for each in one.span.inputs if each["id"] == decider)
    return str(words.EMITTERS[next(kinds)])


def _slack(one: Now) -> float:
    least_wh, most_wh = one.span.boundary.min_wh, one.span.boundary.max_wh
    return 0.0 if least_wh is None or most_wh is None else NEGLIGIBLE * (most_wh - least_wh)


def _stored_wh(one: Now) -> float | None:
    reading, capacity_wh = one.reading, one.appliance.capacity_wh
    if reading.energy_wh is not None:
        return reading.energy_wh
    if reading.soc is None or capacity_wh is None:
        return None
    return reading.soc * capacity_wh


def total(rooms: Sequence[Room]) -> tuple[float, float]:
    """What all of them could take more, and less, in W."""
    return sum(one.up_w for one in rooms), sum(one.down_w for one in rooms)
