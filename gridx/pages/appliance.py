"""An appliance: what it may do now and why, what is asked of it, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zlib import crc32

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.access import Action, may
from accounts.fragments import render_page_or_part
from accounts.models import User
from flexibility.asking import Side, energy_held, kilowatts, moment, side_of
from flexibility.bars import sides
from flexibility.emitters import Emitter, emitter_of
from flexibility.models import GatewaySchedule
from flexibility.queries import Delivery, Now, flexibility_of, timeline_of
from flexibility.resolver import Boundary, EmitterKind
from flexibility.resolving import HORIZON
from flexibility.schedules import fail_safe_at, segment_at
from flexibility.sentences import allowed, statement
from gridx import clock
from gridx.pages.acting import emitters_or_none
from gridx.pages.appliances import Card, cards_of
from gridx.pages.deliveries import IN_TRANSIT, delivery_tag, is_asked
from gridx.pages.flow import gateway_of, seen_of
from gridx.pages.lines import constraint_lines, undo_of, why_of
from gridx.pages.sources import shares_in, sources_of
from gridx.pages.timeline import spans_around, timeline_context
from gridx.pages.visible import uuid_or_none, visible_appliance
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance
from measurements.formats import power
from measurements.queries import live_of_system

PARTS = {
    "flexibility": "pages/_flexibility.html",
    "timeline": "pages/_timeline.html",
    "why": "pages/_why.html",
    "constraints": "pages/_constraints.html",
}
PUSHED = ("pages/_appliance_seen.html", PARTS["flexibility"], PARTS["constraints"])
# The cursor of the timeline moves at least so often.
CURSOR_S = 300
# A fall to the safe limit that is so near is counted down to.
COUNTED_DOWN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Level:
    """The band from what it can do at least to what it can at most; positions in per cent."""

    least: str
    greatest: str
    zero: float
    allowed_from: float
    allowed_width: float
    now: float | None
    point: float | None
    may_pause: bool


# The page ----------------------------------------------------------------------------------------


@login_required
@never_cache
@gzip_page
@require_GET
def appliance(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """One appliance; `?constraint=` explains one of those that touch it."""
    found = visible_appliance(request, appliance_id)
    now = clock.now()
    target = request.htmx.target if request.htmx else None
    part = target if target in PARTS else "flexibility"
    is_whole = target not in PARTS or bool(request.htmx.history_restore_request)
    with timezone.override(found.system.zone):
        context: dict[str, Any] = {"appliance": found, "system": found.system, "now": now}
        if is_whole or part in ("flexibility", "constraints"):
            context |= live_context(found, user=request.user, now=now)
        if is_whole or part in ("timeline", "why"):
            context |= shown_context(request, found, user=request.user, now=now)
        return render_page_or_part(
            request, "pages/appliance.html", PARTS[part], context, target=part
        )


def shown_context(
    request: HttpRequest, found: Appliance, *, user: User, now: datetime
) -> dict[str, Any]:
    """What the address asks for: the timeline, an explanation, a withdrawal to be undone."""
    spans = spans_around(found, now=now)
    sources = sources_of(shares_in(spans), user)
    chosen = uuid_or_none(request.GET.get("constraint"))
    return {
        "timeline": timeline_context(
            found,
            spans,
            now=now,
            zone=found.system.zone,
            chosen=chosen and str(chosen),
            sources=sources,
        ),
        "timeline_url": request.get_full_path(),
        "why": chosen and why_of(found, spans, chosen, sources=sources, now=now),
        "undo": undo_of(uuid_or_none(request.GET.get("undo")), user=user, now=now),
    }


def live_context(found: Appliance, *, user: User, now: datetime) -> dict[str, Any]:
    """The context of what is pushed: whatever is true of it now."""
    flexibility = flexibility_of(appliance=found, now=now)
    live = live_of_system(system=found.system, now=now)
    side, zone = side_of(found.kind), found.system.zone
    [*ahead] = timeline_of(appliance=found, from_at=now, until_at=now + HORIZON, now=now)
    card = next((one for one in cards_of(live) if one.id == found.pk), None)
    emitter = emitter_or_none(user)
    alone = _alone(found, flexibility)
    own = {str(one.row.pk) for one in flexibility.constraints if one.row.emitter_id == user.pk}
    return {
        "appliance": found,
        "system": found.system,
        "card": card,
        "gateway": gateway_of(found.system),
        "seen": seen_of(found.system, live, now=now),
        "flexibility": flexibility,
        "level": _level(found, flexibility, side),
        "figures": _figures(flexibility, card, side, alone=alone, now=now),
        "statement": statement(ahead, side, now=now, zone=zone, own=own),
        "delivery": delivery_tag(flexibility, now=now, zone=zone),
        "is_in_transit": flexibility.delivery in IN_TRANSIT,
        "left_alone": _left_alone(alone, flexibility, now=now),
        "constraints": constraint_lines(
            flexibility,
            side,
            user=user,
            emitters=emitters_or_none(user, found.system),
            now=now,
            zone=zone,
        ),
        "mark": _mark(flexibility, now),
        "may_constrain": may_constrain(found, emitter),
        "may_name": may(user, Action.NAME) or may(user, Action.MANAGE_GROUPS),
        "now": now,
    }


def render_live(found: Appliance, *, user: User, now: datetime) -> str:
    """The fragments as they are now, each to be put in place of the one in the page."""
    context = live_context(found, user=user, now=now) | {"is_pushed": True}
    return "".join(render_to_string(template, context) for template in PUSHED)


def emitter_or_none(user: User) -> Emitter | None:
    """As what the user sets constraints by hand; None for those who may not."""
    try:
        return emitter_of(user)
    except PermissionDenied:
        return None


def may_constrain(found: Appliance, emitter: Emitter | None) -> bool:
    return emitter is not None and found.removed_at is None and found.kind in CONTROLLABLE


def _mark(flexibility: Now, now: datetime) -> str:
    """A short text that changes whenever the timeline does."""
    seen = [
        (str(one.row.pk), one.row.created_at, one.row.valid_at, one.row.invalid_at)
        for one in flexibility.constraints
    ]
    what = (seen, flexibility.span.boundary, int(now.timestamp() // CURSOR_S))
    return f"{crc32(repr(what).encode()):08x}"


# What holds now ----------------------------------------------------------------------------------


def _level(found: Appliance, flexibility: Now, side: Side) -> Level | None:
    boundary = flexibility.span.boundary
    low, high, point = sides(boundary, side.sign)
    power_w = flexibility.power_w
    now_w = None if power_w is None else side.sign * power_w
    known = [0.0, *(one for one in (low, high, point, now_w) if one is not None)]
    for one in flexibility.span.inputs:
        if one["emitter"] == EmitterKind.DRIVER:
            known += [side.sign * one[name] for name in ("min_w", "max_w") if name in one]
    nominal = (found.min_power_w, found.max_power_w)
    known += [side.sign * one for one in nominal if one is not None]
    least, greatest = min(known), max(known)
    if least == greatest:
        return None

    def position(watts: float) -> float:
        return round(100 * (watts - least) / (greatest - least), 2)

    begin = position(least if low is None else max(low, least))
    end = position(greatest if high is None else min(high, greatest))
    return Level(
        least=kilowatts(least),
        greatest=kilowatts(greatest),
        zero=position(0),
        allowed_from=begin,
        allowed_width=round(max(end - begin, 0.6), 2),
        now=None if now_w is None else position(now_w),
        point=None if point is None else position(point),
        may_pause=boundary.can_pause,
    )


@dataclass(frozen=True, slots=True)
class Alone:
    """What a gateway goes on by that has not confirmed the newest, or is out of reach.

    `part`: the appliance's part of the schedule that it took over last, which ends at `until_at`.
    """

    part: Mapping[str, Any] | None
    until_at: datetime
    is_out_of_reach: bool


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    value: str
    detail: str = ""


def _figures(
    flexibility: Now, card: Card | None, side: Side, *, alone: Alone | None, now: datetime
) -> list[Figure]:
    """The exact figures below the band."""
    boundary = flexibility.span.boundary
    low, high, point = sides(boundary, side.sign)
    figures = [
        Figure(
            _("Now"),
            "–" if card is None or card.power_w is None else str(power(card.power_w)),
            "" if card is None else card.state,
        ),
        Figure(
            _("At least"),
            _("no limit") if low is None else kilowatts(low),
            _("or off") if boundary.can_pause else "",
        ),
        Figure(_("At most"), _("no limit") if high is None else kilowatts(high)),
    ]
    if point is None:
        figures.append(Figure(_("Set point"), "–", _("it follows its own control")))
    else:
        wanted = flexibility.set_point_asked_w
        is_bent = wanted is not None and wanted != boundary.set_point_w
        detail = _("%(power)s were asked for") % {"power": kilowatts(side.sign * (wanted or 0))}
        figures.append(Figure(_("Set point"), kilowatts(point), detail if is_bent else ""))
    if energy := energy_held(boundary.min_wh, boundary.max_wh):
        figures.append(Figure(_("Energy to hold"), energy))
    if keeps_to := _keeps_to(flexibility, side, alone=alone, now=now):
        figures.append(keeps_to)
    reading = flexibility.reading
    if card is not None and reading is not None and reading.soc is not None and not card.is_stale:
        figures.append(Figure(_("Charge"), card.details[0] if card.details else "–"))
    return figures


def _keeps_to(flexibility: Now, side: Side, *, alone: Alone | None, now: datetime) -> Figure | None:
    """What the gateway keeps to, where that is another thing than is asked of it now.

    What it said last is no longer so when a boundary of its schedule has passed since: then that
    says what it keeps to, though nobody has heard of it.
    """
    kept, label = flexibility.kept, _("The gateway keeps to")
    if kept is None or kept.applied_at is None:
        return None
    segment = alone and alone.part and segment_at(alone.part, now=now)
    heard_at = max(flexibility.heard_at or kept.applied_at, kept.applied_at)
    if segment and segment[0] > heard_at:
        since = {"when": moment(heard_at, now=now, zone=flexibility.appliance.system.zone)}
        detail = _("by its schedule; nothing was heard since %(when)s") % since
        return Figure(label, allowed(segment[1], side), detail)
    if kept.is_applied:
        return None
    said = Boundary(
        min_w=kept.applied_min_w,
        max_w=kept.applied_max_w,
        set_point_w=kept.applied_set_point_w,
    )
    return Figure(label, allowed(said, side))


def _alone(found: Appliance, flexibility: Now) -> Alone | None:
    """None where it is in reach and keeps to what it was told, or took no schedule over yet."""
    gateway = found.gateway
    if gateway is None or flexibility.delivery is Delivery.NONE:
        return None
    is_out_of_reach = flexibility.is_stale or gateway.online is False
    if flexibility.delivery is Delivery.APPLIED and not is_out_of_reach:
        return None
    schedules = GatewaySchedule.objects.filter(pk=gateway.pk, kept_until_at__isnull=False)
    schedule = schedules.only("kept_until_at", "kept_body").first()
    if schedule is None:
        return None
    parts = (one for one in schedule.kept_body if one["appliance"] == str(found.pk))
    return Alone(next(parts, None), schedule.kept_until_at, is_out_of_reach)


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """What a gateway that is out of reach does, and until when the count-down runs."""

    text: str
    falls_back_at: datetime | None = None


def _left_alone(alone: Alone | None, flexibility: Now, *, now: datetime) -> LeftAlone | None:
    """What a gateway that is out of reach goes on by; None where there is nothing to tell."""
    if alone is None or not alone.is_out_of_reach or not is_asked(flexibility):
        return None
    if alone.until_at <= now:
        return LeftAlone(_("Its schedule is over: consumers keep to their safe limit."))
    if alone.part is not None and flexibility.heard_at is not None:
        falls_back_at = fail_safe_at(alone.part, heard_at=flexibility.heard_at, now=now)
        if falls_back_at is not None and falls_back_at <= now:
            return LeftAlone(_("Dimmed and out of contact: it keeps to its safe limit as well."))
        if falls_back_at is not None and falls_back_at - now < COUNTED_DOWN:
            return LeftAlone(_("Dimmed and out of contact: its safe limit joins in"), falls_back_at)
    zone = flexibility.appliance.system.zone
    until = {"when": moment(alone.until_at, now=now, zone=zone)}
    return LeftAlone(_("Without contact it keeps to its schedule until %(when)s.") % until)
