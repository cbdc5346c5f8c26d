"""What of a system's page changes with every reading: its context, and the fragments pushed.

The page includes the same templates when it is first rendered.
"""

from datetime import datetime
from typing import Any
from zlib import crc32

from django.template.loader import render_to_string

from accounts.access import Action, may
from accounts.models import User
from gridx.pages.appliances import cards_of
from gridx.pages.dimmings import running_in
from gridx.pages.flow import flow_of, gateway_of, is_home_of, seen_of
from gridx.pages.shown import today_of
from inventory.models import System
from measurements.models import SystemDay
from measurements.queries import Live, live_of_system

PUSHED = ("pages/_seen.html", "pages/_flow.html", "pages/_appliances.html")


def live_context(
    system: System, live: Live, *, user: User, mark: str, now: datetime
) -> dict[str, Any]:
    """The context of the fragments that live values change; `mark` is that of today's figures."""
    return {
        "system": system,
        "mark": mark,
        "gateway": gateway_of(system),
        "seen": seen_of(system, live, now=now),
        "flow": flow_of(live, is_home=is_home_of(system, user)),
        "appliances": cards_of(live),
        "dimmed": running_in(system, now=now),
        "may_register": may(user, Action.MANAGE_INVENTORY),
        "now": now,
    }


def render_live(system: System, *, user: User, mark: str, now: datetime) -> str:
    """The fragments as they are now, each to be put in place of the one in the page."""
    live = live_of_system(system=system, now=now)
    context = live_context(system, live, user=user, mark=mark, now=now) | {"is_pushed": True}
    return "".join(render_to_string(template, context) for template in PUSHED)


def figures_mark(system: System, *, now: datetime) -> str:
    """A short text that changes whenever the figures of today change."""
    rows = SystemDay.objects.filter(
        system_key=system.key, start=today_of(system.zone, now).from_at
    ).values_list("start", "seen_s", "consumption_mwh", "pv_mwh", "import_mwh", "export_mwh")
    return f"{crc32(repr(list(rows)).encode()):08x}"
