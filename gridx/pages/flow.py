"""What flows now: the context of the header's and the flow's fragments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace

from inventory.kinds import ROLES, ApplianceKind
from inventory.models import Gateway, System
from measurements import ribbons
from measurements.flows import live_figures
from measurements.queries import STALE_AT_LEAST, STALE_INTERVALS, Live
from measurements.words import flow_sentence


@dataclass(frozen=True, slots=True)
class Flow:
    """The flow at one instant: pictures for wide and narrow screens, and a sentence.

    `is_stale`: it is the last that is known, and no longer what flows now.
    """

    measured_at: datetime | None
    is_stale: bool
    stale_after_s: int
    pictures: tuple[ribbons.Picture, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Seen:
    """When a system was last heard of, and whether it is within reach."""

    at: datetime | None
    is_online: bool


def flow_of(live: Live) -> Flow:
    """The flow of the newest readings; without fresh ones, that of the last there are."""
    powers = SimpleNamespace(**(_last_powers(live) if live.is_stale else live.figures))
    pictures = tuple(ribbons.draw(powers, shape=s) for s in (ribbons.WIDE, ribbons.NARROW))
    has_nodes = any(picture.nodes for picture in pictures)
    return Flow(
        measured_at=live.measured_at,
        is_stale=live.is_stale,
        stale_after_s=_stale_after_s(live),
        pictures=pictures if live.measured_at is not None and has_nodes else (),
        sentence=flow_sentence(ribbons.statement(powers)),
    )


def seen_of(system: System, live: Live) -> Seen:
    """From the gateway's contact; a system whose readings were imported has none."""
    gateway = gateway_of(system)
    if gateway is None or gateway.contacted_at is None:
        return Seen(live.measured_at, not live.is_stale)
    return Seen(gateway.contacted_at, gateway.online)


def gateway_of(system: System) -> Gateway | None:
    """The system's gateway; None until it is commissioned."""
    return getattr(system, "gateway", None)


def _last_powers(live: Live) -> dict[str, float | None]:
    return live_figures(
        [
            (
                ROLES[ApplianceKind(each.appliance.kind)],
                None if each.reading is None else each.reading.power_w,
            )
            for each in live.appliances
        ]
    )


def _stale_after_s(live: Live) -> int:
    """From which age on the flow is no longer that of now."""
    longest = max((each.appliance.interval_s for each in live.appliances), default=0)
    return int(max(STALE_AT_LEAST, STALE_INTERVALS * timedelta(seconds=longest)).total_seconds())
