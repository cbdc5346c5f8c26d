"""What flows now: the context of the header's and the flow's fragments."""

from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace

from django.utils.translation import gettext as _

from accounts.access import Role
from accounts.models import User
from inventory.models import Gateway, System
from inventory.silence import silent_after, stale_after
from measurements import ribbons
from measurements.queries import Live, last_flows
from measurements.words import flow_sentence


@dataclass(frozen=True, slots=True)
class Flow:
    """The flow at one instant: pictures for wide and narrow screens, and a sentence.

    `is_stale`: it is the last that is known, and no longer what flows now. `is_home`: its words
    are for somebody who lives there.
    """

    measured_at: datetime | None
    is_stale: bool
    is_home: bool
    stale_after_s: int
    pictures: tuple[ribbons.Picture, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Seen:
    """When a system was last heard of, and whether it is within reach; if not, what is known.

    `silent_after_s`: from which age on it is not, though no news of that comes to an open page.
    """

    at: datetime | None
    is_online: bool
    trouble: str = ""
    silent_after_s: int | None = None


def is_home_of(system: System, user: User) -> bool:
    """Whether the user lives there; everybody else looks at a system of others."""
    return user.role == Role.RESIDENT and user.account_id == system.account_id


def flow_of(live: Live, *, is_home: bool) -> Flow:
    """The flow of the newest readings; without fresh ones, that of the last there are."""
    powers = SimpleNamespace(**(last_flows(live.appliances) if live.is_stale else live.figures))
    pictures = tuple(ribbons.draw(powers, shape=s) for s in (ribbons.WIDE, ribbons.NARROW))
    said = ribbons.statement(powers, is_meter_old=live.is_meter_old)
    longest = max((each.appliance.interval_s for each in live.appliances), default=0)
    has_nodes = any(picture.nodes for picture in pictures)
    return Flow(
        measured_at=live.measured_at,
        is_stale=live.is_stale,
        is_home=is_home,
        stale_after_s=int(stale_after(longest).total_seconds()),
        pictures=pictures if live.measured_at is not None and has_nodes else (),
        sentence=flow_sentence(said, is_home=is_home),
    )


def seen_of(system: System, live: Live, *, now: datetime) -> Seen:
    """From the gateway's contact; a system whose readings were imported has none.

    The broker's word that a gateway is connected is not enough: it says nothing where it is itself
    out of reach.
    """
    gateway, trouble = gateway_of(system), ""
    intervals_s = (one.appliance.interval_s for one in live.appliances)
    says_status = gateway is None or gateway.online is not None
    allowed = silent_after(intervals_s, says_status=says_status)
    if gateway is None or gateway.contacted_at is None:
        at = live.measured_at
        if live.is_stale:
            trouble = _("not connected")
    else:
        at = gateway.contacted_at
        if gateway.online is False:
            trouble = _("not connected")
        elif allowed is not None and now - at > allowed:
            trouble = _("no news")
    return Seen(at, not trouble, trouble, allowed and int(allowed.total_seconds()))


def gateway_of(system: System) -> Gateway | None:
    """The system's gateway; None until it is commissioned."""
    return getattr(system, "gateway", None)
