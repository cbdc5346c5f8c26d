"""All that is in sight at once: what needs somebody, what it does, today too, and what it could."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.access import Action, may
from accounts.fragments import render_page_or_part
from accounts.models import User
from accounts.paging import page_of
from flexibility import attention
from flexibility.asking import ANY, Side, kilowatts, moments
from flexibility.models import BulkItem, Constraint, Flexibility, GatewaySchedule, SharedLimit
from flexibility.together import Together, together
from gridx import clock
from gridx.pages.lines import group_url, title_of
from gridx.pages.shown import today_of
from inventory.kinds import CONTROLLABLE, ApplianceKind
from inventory.models import Appliance, Gateway, System
from inventory.queries import GatewayState
from measurements.formats import Quantity, age, energy, number, power
from measurements.models import SystemDay

# So many of each kind are shown on the overview.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that needs somebody: its name, where it is shown, and what is the matter."""

    name: str
    url: str
    where: str
    says: str


@dataclass(frozen=True, slots=True)
class Matter:
    """Things of one kind that need somebody: the first few, and where all of them are listed."""

    key: str
    tone: str
    icon: str
    title: str
    count: str
    items: tuple[Item, ...]
    more: str
    url: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure of all together."""

    tone: str
    icon: str
    label: str
    value: Quantity
    note: str


@login_required
@never_cache
@gzip_page
@require_GET
def fleet(request: HttpRequest) -> HttpResponse:
    """The overview of all that is in sight."""
    context = fleet_context(request.user, now=clock.now())
    return render_page_or_part(
        request, "pages/fleet.html", "pages/_fleet.html", context, target="fleet"
    )


@login_required
@never_cache
@gzip_page
@require_GET
def matter(request: HttpRequest, key: str) -> HttpResponse:
    """All things of one kind that need somebody."""
    kind, now = _KINDS_OF_MATTERS.get(key), clock.now()
    if kind is None:
        raise Http404
    page = page_of(kind.rows(request.user, now=now), request.GET.get("page"))
    context = {
        "title": kind.title,
        "items": list(kind.items(page.rows, request.user, now)),
        "page": page,
    }
    return render_page_or_part(
        request, "pages/matter.html", "pages/_matter.html", context, target="results"
    )


def fleet_context(user: User, *, now: datetime) -> dict[str, Any]:
    """By a fixed number of queries, however many things there are."""
    sums = together(Appliance.objects.visible_to(user), now=now)
    undone, matters = _undone(user, now), list(_matters(user, now))
    return {
        "undone": undone,
        "matters": matters,
        "calm": "" if undone or matters else " ".join(_calm(user, now)),
        "now_tiles": [*_now_tiles(sums), *_room_tiles(sums)],
        "today_tiles": _today_tiles(user, now),
        "has_any": bool(sums),
        "now": now,
    }


# What needs somebody -----------------------------------------------------------------------------


def _undone(user: User, now: datetime) -> str:
    """What was due and is not done, for who steers; empty where all is."""
    found = attention.overdue(user, now=now) if may(user, Action.CONSTRAIN) else None
    if found is None:
        return ""
    kinds = (
        (
            found.boundaries,
            ngettext(
                "%(n)s change of what an appliance may do",
                "%(n)s changes of what appliances may do",
                found.boundaries,
            ),
        ),
        (found.limits, ngettext("%(n)s shared limit", "%(n)s shared limits", found.limits)),
        (
            found.policies,
            ngettext("%(n)s charging policy", "%(n)s charging policies", found.policies),
        ),
    )
    what = ", ".join(text % {"n": number(count, 0)} for count, text in kinds if count)
    return _(
        "What was due %(age)s is not done yet: %(what)s. The workers do not answer, or do not get "
        "it done: whoever runs the platform has to look after them. Gateways go on by the "
        "schedules that they have."
    ) % {"age": age(found.due_at, now), "what": what}


def _matters(user: User, now: datetime) -> Iterator[Matter]:
    """What there is, the most urgent first."""
    for key, kind in _KINDS_OF_MATTERS.items():
        page = page_of(kind.rows(user, now=now), None, size=SHOWN)
        if not page.total:
            continue
        left = page.total - len(page.rows)
        more = ""
        if page.is_longer:
            more = _("and more than %(n)s others") % {"n": number(left, 0)}
        elif left:
            more = ngettext("and %(n)s other", "and %(n)s others", left) % {"n": number(left, 0)}
        count = _("more than %(n)s") if page.is_longer else "%(n)s"
        yield Matter(
            key=key,
            tone=kind.tone,
            icon=kind.icon,
            title=str(kind.title),
            count=count % {"n": number(page.total, 0)},
            items=tuple(kind.items(page.rows, user, now)),
            more=more,
            url=reverse("matter", args=[key]),
        )


def _calm(user: User, now: datetime) -> Iterator[str]:
    """What may be claimed where nothing needs anybody: no more than is so at this moment."""
    if unseen := attention.unseen_gateways(user, now=now).count():
        told = ngettext(
            "%(n)s gateway has not been there yet; every other is heard.",
            "%(n)s gateways have not been there yet; every other is heard.",
            unseen,
        )
        yield told % {"n": number(unseen, 0)}
    else:
        yield _("Every gateway is heard.")
    if coming := attention.unconfirmed(user, now=now).count():
        told = ngettext(
            "%(n)s schedule is not confirmed yet.",
            "%(n)s schedules are not confirmed yet.",
            coming,
        )
        yield told % {"n": number(coming, 0)}
    else:
        yield _("Every schedule is confirmed.")
    yield _("No limit is seen to be exceeded.")


def _lost(rows: Sequence[Gateway], _user: User, now: datetime) -> Iterator[Item]:
    for row in rows:
        is_offline = row.state == GatewayState.OFFLINE
        said = _("offline, last heard %(age)s") if is_offline else _("last heard %(age)s")
        said %= {"age": age(row.contacted_at, now)}
        url = reverse("gateway_detail", args=[row.pk])
        yield Item(row.serial, url, row.system.name, said)


def _undelivered(rows: Sequence[GatewaySchedule], _user: User, now: datetime) -> Iterator[Item]:
    for row in rows:
        yield _schedule(row, now)


def _schedule(row: GatewaySchedule, now: datetime) -> Item:
    gateway = row.gateway
    if row.refusal:
        said = _("refused: %(reason)s") % {"reason": row.refusal_detail or row.refusal}
    elif row.is_unsent:
        said = _("not sent yet, asked for %(age)s") % {"age": age(row.made_at, now)}
    elif row.is_late:
        said = _("not confirmed, asked for %(age)s") % {"age": age(row.waiting_since, now)}
    elif row.is_refusing:
        said = _("refused for an appliance")
    else:
        said = _("not confirmed for an appliance since what it may do changed")
    url = reverse("gateway_detail", args=[gateway.pk])
    return Item(gateway.serial, url, gateway.system.name, said)


def _failing_station(row: Appliance) -> Item:
    said = _("it reports a fault")
    return Item(row.name, reverse("appliance", args=[row.pk]), row.system.name, said)


def _broken_limit(row: SharedLimit) -> Item:
    over = [tally["over_w"] for tally in row.tallies if tally["over_w"] != 0]
    if any(tally["blind"] for tally in row.tallies):
        said = _("nothing is given out: its meter is not heard, or measures no phases")
    elif None in over:
        said = _("nobody knows by how much it is exceeded: a member is not heard")
    else:
        said = _("exceeded by up to %(power)s whatever is done") % {"power": kilowatts(max(over))}
    return Item(_limit_name(row), limit_url(row), row.system.name, said)


def _exceeding(row: Flexibility) -> Item:
    is_above = row.max_w is not None and row.power_w > row.max_w
    told = {
        "power": str(power(abs(row.power_w))),
        "limit": kilowatts(abs(row.max_w if is_above else row.min_w)),
    }
    if is_above:
        said = _("it draws %(power)s, and may draw %(limit)s") % told
    else:
        said = _("it gives %(power)s, and may give %(limit)s") % told
    one = row.appliance
    return Item(one.name, reverse("appliance", args=[one.pk]), one.system.name, said)


def _nearly_reached(row: SharedLimit) -> Item:
    said = _("%(drawn)s of %(limit)s are drawn") % {
        "drawn": kilowatts(round(row.drawn_w, -2)),
        "limit": kilowatts(round(row.room_w, -2)),
    }
    return Item(_limit_name(row), limit_url(row), row.system.name, said)


def _limit_name(row: SharedLimit) -> str:
    """Of what, and how much: a cluster may have many limits."""
    if row.max_w is None:
        return str(row.target)
    told = {"name": row.target, "power": kilowatts(row.max_w)}
    return _("%(name)s, at most %(power)s") % told


def limit_url(row: SharedLimit) -> str:
    """Where it is shown what a limit is for."""
    if row.dimming_id:
        return reverse("dimming", args=[row.dimming_id])
    return group_url(row.cluster) if row.cluster else reverse("system", args=[row.system_id])


def _ending(rows: Sequence[Constraint], user: User, now: datetime) -> Iterator[Item]:
    """Those that end, and of those that were set together how many appliances they are on."""
    standing = BulkItem.objects.filter(
        action__in={row.action for row in rows} - {None},
        appliance__in=Appliance.objects.visible_to(user),
        constraint__withdrawn_at=None,
        constraint__invalid_at__gt=now,
    )
    counts = dict(standing.order_by().values_list("action").annotate(Count("pk")))
    ends = moments([(row.invalid_at, row.zone) for row in rows], now=now)
    for row, when in zip(rows, ends, strict=True):
        said = _("%(what)s, ends %(when)s") % {"what": title_of(row, Side(ANY)), "when": when}
        target, count = row.target, counts.get(row.action, 1)
        if count > 1:
            name = ngettext("%(n)d appliance", "%(n)d appliances", count) % {"n": count}
            yield Item(name, reverse("bulk_action", args=[row.action]), "", said)
        elif isinstance(target, Appliance):
            url = reverse("appliance", args=[target.pk])
            yield Item(target.name, url, target.system.name, said)
        else:
            yield Item(target.name, group_url(target), str(getattr(target, "system", "")), said)


def _ending_limits(rows: Sequence[SharedLimit], _user: User, now: datetime) -> Iterator[Item]:
    ends = moments([(row.invalid_at, row.system.zone) for row in rows], now=now)
    for row, when in zip(rows, ends, strict=True):
        said = _("ends %(when)s") % {"when": when}
        yield Item(_limit_name(row), limit_url(row), row.system.name, said)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of things that need somebody: which there are, and what is told of each."""

    tone: str
    icon: str
    title: Promise
    rows: Callable[..., QuerySet]
    items: Callable[[Sequence[Any], User, datetime], Iterable[Item]]


def _each(item: Callable[..., Item]) -> Callable[[Sequence[Any], User, datetime], Iterable[Item]]:
    return lambda rows, _user, _now: map(item, rows)


# The most urgent first.
_KINDS_OF_MATTERS = {
    "limits": _Kind(
        *("bad", "gauge", gettext_lazy("Limits that cannot be kept")),
        attention.unreachable_limits,
        _each(_broken_limit),
    ),
    "exceeding": _Kind(
        *("bad", "gauge", gettext_lazy("Limits that are not kept")),
        attention.exceeding,
        _each(_exceeding),
    ),
    "stations": _Kind(
        *("bad", "charging-pile", gettext_lazy("Charging stations in error")),
        attention.failing_stations,
        _each(_failing_station),
    ),
    "schedules": _Kind(
        *("bad", "alert-triangle", gettext_lazy("Schedules refused, not sent or not confirmed")),
        attention.undelivered,
        _undelivered,
    ),
    "gateways": _Kind(
        *("warn", "router", gettext_lazy("Gateways offline or not heard")),
        attention.lost_gateways,
        _lost,
    ),
    "nearly": _Kind(
        *("warn", "gauge", gettext_lazy("Limits nearly reached")),
        attention.limits_nearly_reached,
        _each(_nearly_reached),
    ),
    "ending": _Kind(
        *("", "clock", gettext_lazy("Constraints about to end")),
        attention.ending_constraints,
        _ending,
    ),
    "limits-ending": _Kind(
        *("", "clock", gettext_lazy("Limits about to end")),
        attention.ending_limits,
        _ending_limits,
    ),
}


# Figures -----------------------------------------------------------------------------------------

_KINDS = (
    (ApplianceKind.PV_INVERTER, "sun", "solar-panel", -1),
    (ApplianceKind.BATTERY, "battery", "battery-3", 1),
    (ApplianceKind.EV_CHARGING_STATION, "car", "charging-pile", 1),
    (ApplianceKind.HEAT_PUMP, "heat", "air-conditioning", 1),
    (ApplianceKind.GRID_METER, "grid", "transfer", 1),
)


def _now_tiles(sums: Mapping[ApplianceKind, Together]) -> list[Tile]:
    tiles = []
    for kind, tone, icon, sign in _KINDS:
        one = sums.get(kind)
        if one is None:
            continue
        label = _labels(one.power_w)[kind]
        shown_w = sign * one.power_w if sign < 0 else abs(one.power_w)
        # Of whom nobody is seen nothing is known, and that is not 0.
        value = power(shown_w + 0) if one.seen else Quantity("–", "")
        tiles.append(Tile(tone, icon, label, value, _seen(one.seen, one.count)))
    return tiles


def _labels(power_w: float) -> dict[ApplianceKind, str]:
    return {
        ApplianceKind.PV_INVERTER: _("Sun, now"),
        ApplianceKind.BATTERY: _("Batteries charge") if power_w >= 0 else _("Batteries give"),
        ApplianceKind.EV_CHARGING_STATION: _("Cars charge"),
        ApplianceKind.HEAT_PUMP: _("Heat pumps"),
        ApplianceKind.GRID_METER: _("From the grid") if power_w >= 0 else _("To the grid"),
    }


def _today_tiles(user: User, now: datetime) -> list[Tile]:
    """The energies of everybody's own today."""
    visible = System.objects.visible_to(user)
    days = Q()
    for zone in visible.order_by().values_list("time_zone", flat=True).distinct():
        keys = visible.filter(time_zone=zone).order_by().values("key")
        days |= Q(system_key__in=keys, start=today_of(ZoneInfo(zone), now).from_at)
    if not days:
        return []
    columns = {
        "pv_mwh": ("sun", "sun", _("Produced today")),
        "consumption_mwh": ("house", "home-bolt", _("Used today")),
        "import_mwh": ("grid", "transfer", _("From the grid today")),
        "export_mwh": ("grid", "transfer", _("To the grid today")),
    }
    sums = SystemDay.objects.filter(days).aggregate(**{name: Sum(name) for name in columns})
    return [
        Tile(tone, icon, label, energy(int(sums[name])), "")
        for name, (tone, icon, label) in columns.items()
        if sums[name] is not None
    ]


def _room_tiles(sums: Mapping[ApplianceKind, Together]) -> list[Tile]:
    """What all could do beyond now, where anything can be controlled; who is silent promises 0."""
    steered = [one for kind, one in sums.items() if kind in CONTROLLABLE]
    if not steered:
        return []
    more_w, less_w = (sum(getattr(one, side) for one in steered) for side in ("more_w", "less_w"))
    more, less = power(more_w), power(less_w)
    up = more.value if more.unit == less.unit else str(more)
    signs = ("+" if more_w else "", "−" if less_w else "")
    both = Quantity(f"{signs[0]}{up} / {signs[1]}{less.value}", less.unit)
    seen, count = (sum(getattr(one, name) for one in steered) for name in ("seen", "count"))
    return [Tile("grid", "transfer", _("More / less possible now"), both, _seen(seen, count))]


def _seen(seen: int, count: int) -> str:
    return _("seen %(seen)s of %(count)s") % {"seen": number(seen, 0), "count": number(count, 0)}
