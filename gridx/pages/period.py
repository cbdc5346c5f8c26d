"""The day, week, month or year that a page shows: its figures, and where one can go from it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Max, Min, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.access import Action, may
from gridx.pages import dates
from gridx.pages.figure_words import FIGURE_PAGES
from gridx.pages.history import Subject, period_figures, read_history
from gridx.pages.shown import Notice, Shown, Zoom, shown
from inventory.models import Appliance, Cluster, System, SystemPool
from measurements.clusters import appliances_within
from measurements.models import ApplianceSlot, SystemSlot
from measurements.queries import Live

Days = tuple[date, date]
EXPORTS = {System: "system_export", Cluster: "cluster_export", SystemPool: "pool_export"}


@dataclass(frozen=True, slots=True)
class Empty:
    """What is said of a period without figures, and a way out; `is_period`: to another period."""

    words: str
    url: str = ""
    label: str = ""
    is_period: bool = False


def period_context(
    request: HttpRequest, subject: Subject, live: Live | None, *, now: datetime
) -> dict[str, Any]:
    """The context of `pages/_period.html`, as the address asks for it."""
    period = shown(
        resolution=request.GET.get("resolution"),
        day=request.GET.get("date"),
        zone=subject.zone,
        now=now,
    )
    days = measured_days(subject)

    def url(zoom: Zoom, day: date | None = None) -> str:
        asked = {"resolution": zoom.value} | ({"date": day.isoformat()} if day else {})
        return f"{request.path}?{urlencode(asked)}"

    asked_day = None if period.is_current and period.day == period.today else period.day
    return {
        "now": now,
        "history": period_figures(read_history(subject, period, now=now), period, live, now=now),
        "period": {
            "shown": period,
            "url": url(period.zoom, asked_day),
            "base_url": request.path,
            "asked": period.query,
            # Where each figure is told how it came about.
            "figure_page": FIGURE_PAGES[type(subject)],
            "subject": subject.pk,
            "renewed_by": _renewed_by(subject, period),
            "choices": [
                {"label": label, "url": url(zoom, asked_day), "current": zoom is period.zoom}
                for zoom, label in dates.zoom_names().items()
            ],
            "previous_url": url(period.zoom, period.previous) if period.previous else None,
            "next_url": url(period.zoom, period.next) if period.next else None,
            "today_url": None if period.is_current else url(period.zoom),
            "first_date": days[0] if days else None,
            "last_date": period.today,
            "empty": _empty(request, subject, period, days, url),
            "export_url": _export_url(subject, period),
            "notices": [_notice_words()[notice] for notice in period.notices],
        },
    }


def measured_days(subject: Subject) -> Days | None:
    """The first and the last local day of which anything is known."""
    of_members = {"system_key": OuterRef("key")}
    match subject:
        case System():
            ends = _ends(System.objects.filter(pk=subject.pk), SystemSlot, of_members)
        case SystemPool():
            ends = _ends(System.objects.filter(pools=subject), SystemSlot, of_members)
        case Cluster():
            keys = [one.key for one in appliances_within(subject)]
            members = {"system_key": subject.system.key, "appliance_key": OuterRef("key")}
            ends = _ends(Appliance.objects.filter(key__in=keys), ApplianceSlot, members)
    if None in ends:
        return None
    return tuple(at.astimezone(subject.zone).date() for at in ends)


def _ends(members: QuerySet, slots: type, of_member: dict[str, Any]) -> list[datetime | None]:
    """When the first and the last slot of all begin: a hop along the index for each member."""
    rows = slots.objects.filter(**of_member)
    first, last = (
        Subquery(rows.order_by(order).values("start")[:1]) for order in ("start", "-start")
    )
    found = members.aggregate(first=Min(first), last=Max(last))
    return [found["first"], found["last"]]


def _renewed_by(subject: Subject, period: Shown) -> str:
    """When a current period is read again: a system's when the page is told of new figures, a
    group's by the clock; a long one, which is much to read and hardly changes, rarely."""
    if isinstance(subject, System):
        return "gridx:figures from:body"
    return "every 60s" if period.zoom is Zoom.DAY else "every 900s"


def _export_url(subject: Subject, period: Shown) -> str:
    """The way to the export, which suggests what is shown."""
    suggested = {
        "first": period.first_day.isoformat(),
        "last": min(period.last_day, period.today).isoformat(),
        "resolution": period.parts.value,
    }
    return f"{reverse(EXPORTS[type(subject)], args=[subject.pk])}?{urlencode(suggested)}"


def _empty(
    request: HttpRequest,
    subject: Subject,
    period: Shown,
    days: Days | None,
    url: Callable[[Zoom, date], str],
) -> Empty:
    if days is None:
        return _never_measured(request, subject)
    if days[0] <= period.last_day and period.first_day <= days[1]:
        return Empty(
            _(
                "There are no values of this time. If its gateway was offline, it sends what it "
                "kept as soon as it is back."
            )
            if isinstance(subject, System)
            else _(
                "There are no values of this time. Gateways that were offline send what they kept "
                "as soon as they are back."
            )
        )
    # The nearest day of which something is known.
    is_before = period.last_day < days[0]
    return Empty(
        _("There are no values of this time."),
        url(period.zoom, days[0] if is_before else days[1]),
        _("To the first values") if is_before else _("To the latest values"),
        is_period=True,
    )


def _never_measured(request: HttpRequest, subject: Subject) -> Empty:
    match subject:
        case Cluster():
            return Empty(
                _("What the appliances in it measure is summed up here."),
                reverse("system_inventory", args=[subject.system_id]),
                _("To the appliances"),
            )
        case SystemPool():
            return Empty(
                _("What the systems in it measure is summed up here."),
                reverse("pool_detail", args=[subject.pk]),
                _("To the systems"),
            )
    words = _("The first figures appear a few seconds after the gateway's first readings.")
    if not may(request.user, Action.MANAGE_INVENTORY):
        return Empty(words)
    return Empty(words, reverse("system_import", args=[subject.pk]), _("Import readings"))


def _notice_words() -> dict[Notice, str]:
    return {
        Notice.RESOLUTION: _("The address asks for a period that there is not. Here is the day."),
        Notice.DATE: _("The address asks for a date that there is not. Here is today."),
        Notice.FUTURE: _("That lies in the future. Here is today."),
        Notice.EARLY: _("Nothing was measured that long ago."),
    }
