"""Constraints as pages list them: in words, what became of each, and what may be done with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from flexibility.api import may_be_named
from flexibility.asking import ANY, Side, asked, lasts, moment, side_of, span_words
from flexibility.emitters import Emitter
from flexibility.models import ChargingPolicy, Constraint, Series, SharedLimit
from flexibility.operations import may_restore
from flexibility.policies.sentences import set_by
from flexibility.queries import (
    Explained,
    Now,
    Span,
    explain,
)
from flexibility.resolver import OutcomeKind
from flexibility.sentences import allowed, reason_of
from flexibility.series.operations import may_restore_series
from flexibility.series.sentences import series_words
from flexibility.stretches import outcome_of
from gridx.pages.acting import emitters_or_none, home_of, may_edit, may_withdraw_as
from gridx.pages.again import Again, again_of, first_of_each, later_occurrences, series_among
from gridx.pages.sources import Source, sources_of
from gridx.pages.sources import title_of as asking_title
from gridx.pages.timeline import priority_line
from inventory.models import Appliance, Cluster, SystemPool

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


@dataclass(frozen=True, slots=True)
class Tag:
    """A state: its colour, its word, and what it means."""

    tone: str
    label: str
    detail: str = ""
    code: str = ""


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
    constraints = flexibility.constraints
    rows = [one.row for one in constraints]
    shown = {row.series_id for row in rows if row.series_id}
    later = later_occurrences(shown=shown, now=now, appliance=flexibility.appliance)
    policies = _policies_among(rows)
    people = may_be_named(user, [*rows, *later, *policies.values()])
    groups, series = _groups_in_sight(user, rows), series_among([*rows, *later])
    sources = sources_of([row.pk for row in rows if row.limit_id], user)
    listed = {row.pk for row in first_of_each(rows)}
    lines = []
    for one in (*constraints, *(Explained(row, _LATER, "") for row in later)):
        row = one.row
        if row.pk not in listed and row not in later:
            continue
        group, source = groups.get(row.cluster_id or row.pool_id), sources.get(str(row.pk))
        lines.append(
            ConstraintLine(
                id=row.pk,
                emitter=row.emitter_kind,
                tag=outcome_tag(one),
                title=title_of(row, side, source),
                who=(
                    _policy_set_by(policies[row.policy_id], user, people)
                    if row.policy_id
                    else who_set(row, user, people)
                ),
                priority=priority_line(row.emitter_kind, row.priority),
                when=when_of(row, now=now, zone=zone),
                reason=reason_of(one, flexibility.span, side, zone=zone),
                group=_group_name(row, group, source),
                group_url=group_url(group) if group else source.url if source else "",
                may_withdraw=row.appliance_id is not None and may_withdraw_as(row, emitters),
                edit_url=edit_url(row, emitters) if row.appliance_id else "",
                dimming_url=_dimming_url(row),
                again=again_of(series.get(row.series_id), emitters, now=now),
            )
        )
    return lines


def _group_name(row: Constraint, group: object, source: Source | None) -> str:
    """Where it is set, or whose limit it is a share of, if not on the appliance itself."""
    if group is not None:
        return str(group)
    if source is not None:
        return source.name
    return "" if row.appliance_id else _("a group")


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


def title_of(row: Constraint, side: Side, source: Source | None = None) -> str:
    """ "The fleet manager: at most 11 kW"; of a share, of what it is one (`source`)."""
    title = asking_title(row.emitter_kind, row, side, source)
    if row.fallback:
        alone = (
            _("%(constraint)s, should it not be divided again")
            if row.limit_id
            else _("%(constraint)s, should it not be asked again")
        )
        title = alone % {"constraint": title}
    return title


def when_of(row: Constraint | SharedLimit, *, now: datetime, zone: ZoneInfo) -> str:
    """ "until 18:00", "from tomorrow, 06:00 until tomorrow, 08:00", "until it changes" """
    is_endless = isinstance(row, Constraint) and row.policy_id and row.policy.invalid_at is None
    if row.invalid_at is None or (is_endless and row.valid_at <= now):
        return _("until it changes")
    if is_endless:
        return _("from %(day)s") % {"day": moment(row.valid_at, now=now, zone=zone)}
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


def who_set(row: Constraint | ChargingPolicy, user: User, people: set[UUID]) -> str:
    """The person, where the user may know (`people`: the ids of those who may be named)."""
    if row.emitter_id is None or row.emitter_id not in people:
        return ""
    return _("you") if row.emitter_id == user.pk else str(row.emitter)


def _policies_among(rows: Iterable[Constraint]) -> dict[UUID, ChargingPolicy]:
    """The charging policies that ask by these, with who set them."""
    found = {row.policy_id for row in rows if row.policy_id}
    return ChargingPolicy.objects.select_related("emitter").in_bulk(found) if found else {}


def _policy_set_by(policy: ChargingPolicy, user: User, people: set[UUID]) -> str:
    """ "set by the fleet manager, Jonas": as what always, the person to who may know."""
    who = set_by(policy, user)
    if name := who_set(policy, user, people - {user.pk}):
        who = f"{who}, {name}"
    return _("set by %(who)s") % {"who": who}


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
    found: Appliance,
    spans: Sequence[Span],
    chosen: UUID,
    *,
    sources: Mapping[str, Source],
    now: datetime,
) -> dict[str, Any]:
    """What becomes of one constraint over the timeline, and why."""
    side, zone = side_of(found.kind), found.system.zone
    title, lines = "", []
    shown = [one for one in spans if lasts(one.from_at, one.until_at)]
    for one in explain(shown, zones=repeat(zone)):
        for explained in one.constraints:
            if explained.row.pk != chosen:
                continue
            asking = next(each for each in one.span.inputs if each["id"] == str(chosen))
            title = asking_title(asking["emitter"], asking, side, sources.get(str(chosen)))
            reason = reason_of(explained, one.span, side, zone=zone)
            _join(lines, one.span, OutcomeKind(outcome_of(asking)), reason)
    return {
        "title": title,
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
    return WhyLine(span_words(start, end, now=now, zone=zone), tag_of(kind), f"{reason} {may}")


def _join(lines: list, span: Span, kind: OutcomeKind, reason: str) -> None:
    last = lines[-1] if lines else None
    same = last and not lasts(last[1], span.from_at) and last[2:4] == (kind, reason)
    if same and last[4].boundary == span.boundary:
        lines[-1] = (last[0], span.until_at, kind, reason, span)
    else:
        lines.append((span.from_at, span.until_at, kind, reason, span))


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
