"""An appliance: what it may do now and why, what is asked of it, and for how long."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zlib import crc32
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.access import Action, may
from accounts.fragments import render_page_or_part
from accounts.models import User
from flexibility import words
from flexibility.api import may_be_named
from flexibility.bars import outcome_of, sides
from flexibility.emitters import Emitter, emitter_of
from flexibility.models import Constraint, GatewaySchedule, Series
from flexibility.operations import may_restore
from flexibility.queries import (
    Delivery,
    Explained,
    Now,
    Span,
    explain,
    flexibility_of,
    timeline_of,
)
from flexibility.resolver import EmitterKind, OutcomeKind
from flexibility.resolving import HORIZON
from flexibility.schedules import fail_safe_at
from flexibility.sentences import (
    ANY,
    Side,
    allowed,
    asked,
    kilowatts,
    moment,
    reason_of,
    side_of,
    statement,
)
from flexibility.series.operations import may_restore_series
from flexibility.series.sentences import series_words
from gridx import clock
from gridx.pages.acting import emitters_or_none, home_of, may_edit, may_withdraw_as
from gridx.pages.again import Again, again_of, first_of_each, later_occurrences, series_among
from gridx.pages.appliances import Card, cards_of
from gridx.pages.flow import gateway_of, seen_of
from gridx.pages.timeline import priority_line, spans_around, timeline_context
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance, Cluster, SystemPool
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

# How a schedule fares: a colour, a word, and what it means.
_DELIVERIES = {
    Delivery.PENDING: ("info", gettext_lazy("pending"), gettext_lazy("It is about to be sent.")),
    Delivery.SENT: (
        "info",
        gettext_lazy("sent"),
        gettext_lazy("The gateway has not confirmed it yet."),
    ),
    Delivery.APPLIED: ("ok", gettext_lazy("applied"), gettext_lazy("The gateway keeps to it.")),
    Delivery.REFUSED: ("bad", gettext_lazy("refused"), gettext_lazy("The gateway refuses it.")),
    Delivery.TIMED_OUT: (
        "warn",
        gettext_lazy("no answer"),
        gettext_lazy("The gateway gets it as soon as it is back."),
    ),
}
# In the order of what matters.
_OUTCOMES = {
    OutcomeKind.BINDING: ("ok", gettext_lazy("binding")),
    OutcomeKind.DISCARDED: ("warn", gettext_lazy("discarded")),
    OutcomeKind.REDUNDANT: ("", gettext_lazy("redundant")),
    OutcomeKind.SCHEDULED: ("info", gettext_lazy("scheduled")),
    OutcomeKind.EXPIRED: ("", gettext_lazy("over")),
    OutcomeKind.WITHDRAWN: ("", gettext_lazy("withdrawn")),
}
_LATER = {"power": {"outcome": OutcomeKind.SCHEDULED.value, "conflicts_with": []}}
IN_TRANSIT = {Delivery.PENDING, Delivery.SENT}


@dataclass(frozen=True, slots=True)
class Tag:
    """A state: its colour, its word, and what it means."""

    tone: str
    label: str
    detail: str = ""
    code: str = ""


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


@dataclass(frozen=True, slots=True)
class ConstraintLine:
    """A constraint of the list, in words. `group`: where it is set, if not on the appliance."""

    id: UUID
    emitter: str
    tag: Tag
    title: str
    who: str
    priority: str
    when: str
    reason: str
    group: str
    group_url: str
    may_withdraw: bool
    edit_url: str
    dimming_url: str
    again: Again | None


@dataclass(frozen=True, slots=True)
class WhyLine:
    """What became of a constraint for a while."""

    when: str
    tag: Tag
    reason: str


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


def visible_appliance(request: HttpRequest, appliance_id: UUID) -> Appliance:
    visible = Appliance.objects.visible_to(request.user).select_related(
        "system__account", "system__gateway", "gateway"
    )
    return get_object_or_404(visible, pk=appliance_id)


def shown_context(
    request: HttpRequest, found: Appliance, *, user: User, now: datetime
) -> dict[str, Any]:
    """What the address asks for: the timeline, an explanation, a withdrawal to be undone."""
    spans = spans_around(found, now=now)
    chosen = uuid_or_none(request.GET.get("constraint"))
    return {
        "timeline": timeline_context(
            found, spans, now=now, zone=found.system.zone, chosen=chosen and str(chosen)
        ),
        "timeline_url": request.get_full_path(),
        "why": chosen and why_of(found, spans, chosen, user=user, now=now),
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
    own = {str(one.row.pk) for one in flexibility.constraints if one.row.emitter_id == user.pk}
    return {
        "appliance": found,
        "system": found.system,
        "card": card,
        "gateway": gateway_of(found.system),
        "seen": seen_of(found.system, live),
        "flexibility": flexibility,
        "level": _level(found, flexibility, side),
        "figures": _figures(flexibility, card, side),
        "statement": statement(ahead, side, now=now, zone=zone, own=own),
        "delivery": delivery_tag(flexibility, now=now, zone=zone),
        "is_in_transit": flexibility.delivery in IN_TRANSIT,
        "left_alone": _left_alone(found, flexibility, now=now),
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


def uuid_or_none(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


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
    power_w = None if flexibility.is_stale else _power(flexibility)
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


def _power(flexibility: Now) -> float | None:
    return None if flexibility.reading is None else flexibility.reading.power_w


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    value: str
    detail: str = ""


def _figures(flexibility: Now, card: Card | None, side: Side) -> list[Figure]:
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
    reading = flexibility.reading
    if card is not None and reading is not None and reading.soc is not None and not card.is_stale:
        figures.append(Figure(_("Charge"), card.details[0] if card.details else "–"))
    return figures


def delivery_tag(flexibility: Now, *, now: datetime, zone: ZoneInfo) -> Tag | None:
    """How far the gateway is; None where there is nothing for it to keep to."""
    kept = flexibility.kept
    if kept is not None and kept.applied_fail_safe:
        detail = _(
            "The gateway has not heard of the platform for too long, or has no valid schedule, and "
            "keeps to its safe limit."
        )
        return Tag("warn", _("fail-safe"), detail)
    if flexibility.delivery is Delivery.NONE or not _is_asked(flexibility):
        return None
    tone, label, detail = _DELIVERIES[flexibility.delivery]
    if flexibility.delivery is Delivery.REFUSED and kept is not None:
        code = kept.refusal_detail or kept.refusal
        return Tag(tone, str(label), str(detail), code)
    if flexibility.delivery is Delivery.APPLIED and kept is not None and kept.applied_at:
        since = {"when": moment(kept.applied_at, now=now, zone=zone)}
        return Tag(tone, str(label), _("Confirmed by the gateway: %(when)s.") % since)
    return Tag(tone, str(label), str(detail))


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """What a gateway that is out of reach does, and until when the count-down runs."""

    text: str
    falls_back_at: datetime | None = None


def words_of_delivery(delivery: Delivery, *, has_gateway: bool = True) -> Tag:
    """How far a gateway is, in words."""
    if not has_gateway:
        return Tag("warn", _("no gateway"), _("Nobody can tell it: no gateway is connected to it."))
    if delivery is Delivery.NONE:
        detail = _("The gateway is told two days before it begins.")
        return Tag("", _("nothing to send yet"), detail)
    tone, label, detail = _DELIVERIES[delivery]
    return Tag(tone, str(label), str(detail))


def _left_alone(found: Appliance, flexibility: Now, *, now: datetime) -> LeftAlone | None:
    """What a gateway that is out of reach goes on by; None where there is nothing to tell."""
    gateway = found.gateway
    if gateway is None or gateway.online or not _is_asked(flexibility):
        return None
    schedule = GatewaySchedule.objects.filter(pk=gateway.pk).first()
    if schedule is None or not schedule.acknowledged_revision:
        return None
    if schedule.until_at <= now:
        return LeftAlone(_("Its schedule is over: consumers keep to their safe limit."))
    part = next((one for one in schedule.body if one["appliance"] == str(found.pk)), None)
    if part is not None and gateway.contacted_at is not None:
        falls_back_at = fail_safe_at(part, heard_at=gateway.contacted_at, now=now)
        if falls_back_at is not None and falls_back_at <= now:
            return LeftAlone(_("Dimmed and out of contact: it keeps to its safe limit as well."))
        if falls_back_at is not None and falls_back_at - now < COUNTED_DOWN:
            return LeftAlone(_("Dimmed and out of contact: its safe limit joins in"), falls_back_at)
    until = {"when": moment(schedule.until_at, now=now, zone=found.system.zone)}
    return LeftAlone(_("Without contact it keeps to its schedule until %(when)s.") % until)


def _is_asked(flexibility: Now) -> bool:
    """Whether anybody but its own driver asks something of it."""
    return any(one.row.emitter_kind != EmitterKind.DRIVER for one in flexibility.constraints)


# Constraints -------------------------------------------------------------------------------------


def constraint_lines(
    flexibility: Now,
    side: Side,
    *,
    user: User,
    emitters: Sequence[Emitter],
    now: datetime,
    zone: ZoneInfo,
) -> list[ConstraintLine]:
    """The list, in words; names of people only where the user sees them elsewhere too."""
    constraints, deciders = flexibility.constraints, flexibility.span.deciders
    rows = [one.row for one in constraints]
    shown = {row.series_id for row in rows if row.series_id}
    later = later_occurrences(shown=shown, now=now, appliance=flexibility.appliance)
    people = may_be_named(user, [*rows, *later])
    groups, series = _groups_in_sight(user, rows), series_among([*rows, *later])
    listed = {row.pk for row in first_of_each(rows)}
    lines = []
    for one in (*constraints, *(Explained(row, _LATER, "") for row in later)):
        row = one.row
        if row.pk not in listed and row not in later:
            continue
        group = groups.get(row.cluster_id or row.pool_id)
        lines.append(
            ConstraintLine(
                id=row.pk,
                emitter=row.emitter_kind,
                tag=outcome_tag(one),
                title=title_of(row, side),
                who=who_set(row, user, people),
                priority=priority_line(row.emitter_kind, row.priority),
                when=when_of(row, now=now, zone=zone),
                reason=reason_of(one, constraints, deciders, side),
                group=str(group) if group else "" if row.appliance_id else _("a group"),
                group_url=group_url(group) if group else "",
                may_withdraw=row.appliance_id is not None and may_withdraw_as(row, emitters),
                edit_url=edit_url(row, emitters) if row.appliance_id else "",
                dimming_url=_dimming_url(row),
                again=again_of(series.get(row.series_id), emitters, now=now),
            )
        )
    return lines


def _dimming_url(row: Constraint) -> str:
    """The proof of the dimming that it is a part of, be it by a limit."""
    dimming = row.dimming_id or (row.limit.dimming_id if row.limit_id else None)
    return reverse("dimming", args=[dimming]) if dimming else ""


def outcome_tag(one: Explained) -> Tag:
    """What became of it; of power and energy, what matters more."""
    kinds = {outcome["outcome"] for outcome in one.outcomes.values()}
    return tag_of(min(map(OutcomeKind, kinds), key=list(_OUTCOMES).index))


def tag_of(kind: OutcomeKind) -> Tag:
    tone, label = _OUTCOMES[kind]
    return Tag(tone, str(label))


def title_of(row: Constraint, side: Side) -> str:
    """ "The fleet manager: at most 11 kW" """
    title = f"{words.EMITTERS[row.emitter_kind]}: {asked(row, side)}"
    return title[:1].upper() + title[1:]


def when_of(row: Constraint, *, now: datetime, zone: ZoneInfo) -> str:
    """ "until 18:00", "from tomorrow, 06:00 until tomorrow, 08:00", "until it changes" """
    if row.invalid_at is None:
        return _("until it changes")
    until = {"until": moment(row.invalid_at, now=now, zone=zone)}
    if row.valid_at <= now:
        return _("until %(until)s") % until
    start = {"from": moment(row.valid_at, now=now, zone=zone)}
    return _("from %(from)s until %(until)s") % (start | until)


def edit_url(row: Constraint, emitters: Sequence[Emitter]) -> str:
    """Where the user can change a constraint; of a series its own line says so."""
    is_own = row.series_id is None and any(may_edit(row, one) for one in emitters)
    return reverse("constraint_edit", args=[row.pk]) if is_own else ""


def group_url(group: Cluster | SystemPool) -> str:
    name = "cluster_flexibility" if isinstance(group, Cluster) else "pool_flexibility"
    return reverse(name, args=[group.pk])


def who_set(row: Constraint, user: User, people: set[UUID]) -> str:
    """The person, where the user may know (`people`: the ids of those who may be named)."""
    if row.emitter_id is None or row.emitter_id not in people:
        return ""
    return _("you") if row.emitter_id == user.pk else str(row.emitter)


def _groups_in_sight(
    user: User, rows: Iterable[Constraint]
) -> dict[UUID | None, Cluster | SystemPool]:
    clusters = {row.cluster_id for row in rows if row.cluster_id}
    pools = {row.pool_id for row in rows if row.pool_id}
    found: dict[UUID | None, Cluster | SystemPool] = {}
    if clusters:
        found |= Cluster.objects.visible_to(user).in_bulk(clusters)
    if pools:
        found |= SystemPool.objects.visible_to(user).in_bulk(pools)
    return found


def why_of(
    found: Appliance, spans: Sequence[Span], chosen: UUID, *, user: User, now: datetime
) -> dict[str, Any]:
    """What becomes of one constraint over the timeline, and why."""
    side, zone = side_of(found.kind), found.system.zone
    title, lines = "", []
    for one in explain(spans):
        for explained in one.constraints:
            if explained.row.pk != chosen:
                continue
            asking = next(each for each in one.span.inputs if each["id"] == str(chosen))
            title = f"{words.EMITTERS[asking['emitter']]}: {asked(asking, side)}"
            reason = reason_of(explained, one.constraints, one.span.deciders, side)
            _join(lines, one.span, OutcomeKind(outcome_of(asking)), reason)
    return {
        "title": title[:1].upper() + title[1:],
        "lines": [_why_line(*line, now=now, zone=zone, side=side) for line in lines],
    }


def _why_line(
    start: datetime,
    end: datetime,
    kind: OutcomeKind,
    reason: str,
    span: Span,
    *,
    now: datetime,
    zone: ZoneInfo,
    side: Side,
) -> WhyLine:
    may = _("Allowed: %(what)s.") % {"what": allowed(span.boundary, side)}
    return WhyLine(_span_words(start, end, now=now, zone=zone), tag_of(kind), f"{reason} {may}")


def _join(lines: list, span: Span, kind: OutcomeKind, reason: str) -> None:
    last = lines[-1] if lines else None
    same = last and last[1] == span.from_at and last[2:4] == (kind, reason)
    if same and last[4].boundary == span.boundary:
        lines[-1] = (last[0], span.until_at, kind, reason, span)
    else:
        lines.append((span.from_at, span.until_at, kind, reason, span))


def _span_words(start: datetime, end: datetime, *, now: datetime, zone: ZoneInfo) -> str:
    return f"{moment(start, now=now, zone=zone)} – {moment(end, now=now, zone=zone)}"


def undo_of(withdrawn: UUID | None, *, user: User, now: datetime) -> dict[str, Any] | None:
    """A constraint or a series that was withdrawn just now, where the user may set it again."""
    if withdrawn is None:
        return None
    row = Constraint.objects.visible_to(user).filter(pk=withdrawn).first()
    if row is not None:
        side = side_of(row.appliance.kind) if row.appliance_id else Side(ANY)
        what, url, is_recent = asked(row, side), "constraint_restore", may_restore(row, now=now)
    else:
        row = Series.objects.visible_to(user).filter(pk=withdrawn).first()
        if row is None:
            return None
        what, url = series_words(row, now=now), "series_restore"
        is_recent = may_restore_series(row, now=now)
    if not is_recent or not may_withdraw_as(row, emitters_or_none(user, home_of(row))):
        return None
    return {"what": what, "url": reverse(url, args=[row.pk])}
