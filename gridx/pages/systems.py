"""The list of the systems in a user's sight, with what each does now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gridx.pages.flow import Seen, seen_of
from inventory.models import System
from measurements.amounts import difference_known
from measurements.queries import Live, live_of_systems


@dataclass(frozen=True, slots=True)
class SystemLine:
    """A system of the list. Powers in W; `grid_w` is positive from the grid."""

    system: System
    seen: Seen
    is_fresh: bool
    pv_w: float | None
    consumption_w: float | None
    grid_w: float | None
    soc: float | None


def lines_of(systems: Sequence[System], *, now: datetime) -> list[SystemLine]:
    """The lines of these systems, which come with their gateways; two statements for all."""
    live = live_of_systems(systems=systems, now=now)
    return [_line(system, live[system.key], now) for system in systems]


def _line(system: System, live: Live, now: datetime) -> SystemLine:
    figures = live.figures
    return SystemLine(
        system=system,
        seen=seen_of(system, live, now=now),
        is_fresh=not live.is_stale,
        pv_w=figures["pv_w"],
        consumption_w=figures["consumption_w"],
        grid_w=difference_known(figures["import_w"], figures["export_w"]),
        soc=live.soc,
    )
