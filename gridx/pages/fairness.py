"""Whom a cluster's limits held back, for how long, and what each got all the same."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.fragments import render_page_or_part
from flexibility.fairness import Held, held_back
from flexibility.standing import members_of
from gridx import clock
from gridx.pages.groups import MOST_MEMBERS
from gridx.pages.visible import visible_cluster
from inventory.export import Echo, cell, csv_file
from inventory.kinds import CONTROLLABLE
from inventory.models import Cluster
from measurements.formats import energy, number

# The spans that can be chosen, in days.
DAYS = (1, 7, 30)
COLUMNS = ("appliance_id", "appliance", "held_back_h", "paused_h", "pauses", "drawn_kwh")
_WIDTH = 1000
# Less would be said as 0.0 h.
_LEAST_SAID = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Line:
    """How one appliance fared; widths of the bar's parts are of `_WIDTH`, the whole span."""

    held: Held
    held_back: str
    paused: str
    drawn: str
    slowed_width: float
    paused_width: float


@login_required
@never_cache
@require_GET
def cluster_fairness(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Who was held back most, first."""
    cluster, now = visible_cluster(request, cluster_id), clock.now()
    days = _days(request)
    found = _held(cluster, days, now)
    context = {
        "group": cluster,
        "days": days,
        "choices": DAYS,
        "lines": [_line(one, days) for one in found],
        "summary": _summary(found),
        "width": _WIDTH,
    }
    return render_page_or_part(
        request, "pages/fairness.html", "pages/_fairness.html", context, target="fairness"
    )


@login_required
@never_cache
@require_GET
def cluster_fairness_file(request: HttpRequest, cluster_id: UUID) -> HttpResponseBase:
    """The same as CSV."""
    cluster, now = visible_cluster(request, cluster_id), clock.now()
    lines = _csv(_held(cluster, _days(request), now))
    return csv_file(request, lines, "gridx-fairness.csv")


def _days(request: HttpRequest) -> int:
    asked = request.GET.get("days", "")
    return int(asked) if asked in map(str, DAYS) else DAYS[1]


def _held(cluster: Cluster, days: int, now: datetime) -> list[Held]:
    members = members_of(cluster).filter(kind__in=CONTROLLABLE).select_related("system")
    appliances = list(members.order_by("name", "key")[:MOST_MEMBERS])
    found = held_back(appliances, from_at=now - timedelta(days=days), until_at=now)
    return sorted(found, key=lambda one: one.held_back, reverse=True)


def _line(one: Held, days: int) -> Line:
    whole = timedelta(days=days)
    return Line(
        held=one,
        held_back=_hours(one.held_back),
        paused=_hours(one.paused),
        drawn="–" if one.drawn_wh is None else str(energy(round(one.drawn_wh * 1000))),
        slowed_width=round(_WIDTH * (one.slowed / whole), 1),
        paused_width=round(_WIDTH * (one.paused / whole), 1),
    )


def _hours(span: timedelta) -> str:
    return _("%(n)s h") % {"n": number(span / timedelta(hours=1), 1)}


def _summary(found: Sequence[Held]) -> str:
    """Whom it hit most, and whom least."""
    hit = [one for one in found if one.held_back >= _LEAST_SAID]
    if not hit:
        return _briefly(found)
    most, least = found[0], found[-1]
    if len(found) == 1:
        return _("%(name)s was held back for %(time)s.") % {
            "name": most.appliance.name,
            "time": _hours(most.held_back),
        }
    return _(
        "%(most)s was held back longest, for %(most_time)s; %(least)s least, for %(time)s."
    ) % {
        "most": most.appliance.name,
        "most_time": _hours(most.held_back),
        "least": least.appliance.name,
        "time": _hours(least.held_back),
    }


def _briefly(found: Sequence[Held]) -> str:
    """That nobody was held back; where the table tells of pauses all the same, of these."""
    if pauses := sum(one.pauses for one in found):
        return ngettext(
            "Nobody was held back for long: there was %(n)d short pause.",
            "Nobody was held back for long: there were %(n)d short pauses.",
            pauses,
        ) % {"n": pauses}
    return _("Nobody was held back.")


def _csv(found: Sequence[Held]) -> Iterator[str]:
    writer, hour = csv.writer(Echo()), timedelta(hours=1)
    yield writer.writerow(COLUMNS)
    for one in found:
        row = (
            one.appliance.pk,
            one.appliance.name,
            round(one.held_back / hour, 4),
            round(one.paused / hour, 4),
            one.pauses,
            None if one.drawn_wh is None else round(one.drawn_wh / 1000, 3),
        )
        yield writer.writerow(map(cell, row))
