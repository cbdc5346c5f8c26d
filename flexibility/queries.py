"""What is asked of appliances, what remains of it, and why: reads for pages and the API."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet

from flexibility import words
from flexibility.limits.members import CONFIRMED_WITHIN
from flexibility.models import Constraint, Flexibility, GatewaySchedule, ResolvedBoundary, not_over
from flexibility.resolver import Boundary, OutcomeKind, Segment, timeline
from flexibility.resolving import HORIZON, Told, boundary_of, resolved_values_of, share_said, told
from flexibility.standing import as_pure, concerns, standing_constraints
from flexibility.summed import Summed, summed
from inventory.models import Appliance, Gateway
from inventory.silence import stale_after
from measurements.models import LatestReading
from measurements.queries import appliance_now

# So far apart may the clocks of a gateway and the cloud be.
SAID_WITHIN = timedelta(seconds=2)


_KEPT_TO = {OutcomeKind.BINDING, OutcomeKind.REDUNDANT}


class Delivery(StrEnum):
    """How far a gateway's newest schedule has come; NONE where there is none."""

    NONE = "none"
    PENDING = "pending"
    SENT = "sent"
    APPLIED = "applied"
    REFUSED = "refused"
    TIMED_OUT = "timedOut"


class State(StrEnum):
    """Where a constraint stands in its life."""

    ACTIVE = "active"
    SCHEDULED = "scheduled"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Explained:
    """A constraint, what became of it by part (`power`, `energy`), and why, in sentences.

    `share`, the end of `reason`, says of a share of a limit why it is as it is.
    """

    row: Constraint
    outcomes: Mapping[str, Mapping[str, Any]]
    reason: str
    share: str = ""


@dataclass(frozen=True)
class Span:
    """What holds in [`from_at`, `until_at`), who decides it, and from what (`models.Resolved`)."""

    from_at: datetime
    until_at: datetime
    boundary: Boundary
    deciders: Mapping[str, str]
    inputs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ExplainedSpan:
    """A span, with what became of each constraint that had a say in it."""

    span: Span
    constraints: Sequence[Explained]


@dataclass(frozen=True)
class Now:
    """An appliance's flexibility: its latest reading, its boundary, and what its gateway does.

    `power_w` is None where no reading is young enough to tell of now.
    `is_sent`: the newest schedule has reached the broker.
    `refusal`: why the gateway refuses what is asked of it, or the whole schedule, in its words.
    `heard_at`: when its gateway was heard last, None where it never was. After `invalid_at` it
    cannot be trusted any more.
    """

    appliance: Appliance
    span: Span
    constraints: Sequence[Explained]
    reading: LatestReading | None
    power_w: float | None
    kept: Flexibility | None
    delivery: Delivery
    is_sent: bool
    refusal: str
    updated_at: datetime | None
    heard_at: datetime | None
    invalid_at: datetime | None
    is_stale: bool

    @property
    def set_point_asked_w(self) -> float | None:
        """What the set point's constraint asked for; it may have been bent."""
        decider = self.span.deciders.get("set_point_w")
        return next((one["set_point_w"] for one in self.span.inputs if one["id"] == decider), None)


def flexibility_of(*, appliance: Appliance, now: datetime) -> Now:
    """One appliance now, with every constraint that is active or scheduled."""
    [found] = flexibilities_of(appliances=[appliance], now=now)
    return found


def flexibilities_of(*, appliances: Sequence[Appliance], now: datetime) -> list[Now]:
    """Many appliances now, in their order, by a fixed number of queries.

    Boundaries are resolved at `now` from what stands, not from what was last swept.
    """
    ids = [one.pk for one in appliances]
    standing = standing_constraints(appliances, from_at=now, until_at=now + HORIZON)
    kept = Flexibility.objects.in_bulk(ids)
    readings = {
        (row.system_key, row.appliance_key): row
        for row in LatestReading.objects.filter(appliance_key__in=[one.key for one in appliances])
    }
    gateway_ids = {one.gateway_id for one in appliances if one.gateway_id}
    gateways = Gateway.objects.in_bulk(gateway_ids)
    schedules = GatewaySchedule.objects.defer("body", "kept_body").in_bulk(gateway_ids)
    return [
        _now(
            one,
            standing[one.pk],
            kept.get(one.pk),
            readings.get((one.system.key, one.key)),
            gateways.get(one.gateway_id),
            schedules.get(one.gateway_id),
            now,
        )
        for one in appliances
    ]


def timeline_of(
    *,
    appliance: Appliance,
    from_at: datetime,
    until_at: datetime,
    now: datetime,
    most_past: int | None = None,
) -> list[Span]:
    """What held and what will: the past as it was known then, from `now` on what stands says.

    Of more than `most_past` changes in the past, those are told that held at even distances.
    """
    past = _past(appliance, from_at, min(until_at, now), most_past) if from_at < now else []
    start = max(from_at, now)
    rows = standing_constraints([appliance], from_at=start, until_at=until_at)[appliance.pk]
    return past + spans_of(rows, from_at=start, until_at=until_at)


def summed_timeline(
    *, appliances: Sequence[Appliance], from_at: datetime, until_at: datetime | None = None
) -> list[Summed]:
    """What appliances may do together, by default for two days; by a fixed number of queries."""
    until_at = until_at or from_at + HORIZON
    standing = standing_constraints(appliances, from_at=from_at, until_at=until_at)
    # One by one: of hundreds, all segments at once would be a burden to the garbage collector.
    return summed(
        timeline(map(as_pure, standing.pop(one.pk)), from_at=from_at, until_at=until_at)
        for one in appliances
    )


def explain(
    spans: Sequence[Span], *, zones: Iterable[ZoneInfo], drafts: Iterable[Constraint] = ()
) -> list[ExplainedSpan]:
    """What became of constraints span by span, as they were then; `drafts` are not saved.

    `zones`, one for each span: by which clock it is told until when constraints hold.

    Who set them, and for whom, is read from what is stored, by one query for all.
    """
    ids = {one["id"] for span in spans for one in span.inputs}
    stored = Constraint.objects.filter(Q(pk__in=ids) | Q(version_of__in=ids))
    stored = stored.select_related("emitter", "limit").defer("limit__tallies", "limit__order")
    versions: dict[str, list[Constraint]] = defaultdict(list)
    for row in sorted((*stored, *drafts), key=lambda row: row.created_at):
        versions[str(row.version_of or row.pk)].append(row)
    return [
        ExplainedSpan(span, _explained_then(span, _known_in(span, versions), zone))
        for span, zone in zip(spans, zones, strict=False)
    ]


def _known_in(span: Span, versions: Mapping[str, Sequence[Constraint]]) -> dict[str, Constraint]:
    """By id, of those that had a say, the version that stood: the last that was set by then."""
    ids = (one["id"] for one in span.inputs)
    return {
        identity: next((row for row in reversed(rows) if row.created_at <= span.from_at), rows[0])
        for identity in ids
        if (rows := versions.get(identity))
    }


@dataclass(frozen=True)
class Preview:
    """An appliance over the next two days, without and with what is not saved yet."""

    appliance: Appliance
    before: Sequence[Span]
    after: Sequence[Span]


def preview(
    *,
    appliances: Sequence[Appliance],
    drafts: Sequence[Constraint],
    now: datetime,
    until_at: datetime | None = None,
    without: Iterable[UUID] = (),
) -> Iterator[Preview]:
    """What drafts (`operations.drafted`) would do to each appliance; `without` these (ids).

    One by one: of hundreds, all spans at once would be a burden to the garbage collector.
    """
    until_at = until_at or now + HORIZON
    gone = {*without, *(draft.pk for draft in drafts)}
    standing = standing_constraints(appliances, from_at=now, until_at=until_at)
    for one in appliances:
        rows = standing.pop(one.pk)
        meant = [draft for draft in drafts if draft.appliance_id or concerns(draft, one)]
        changed = [*(row for row in rows if row.pk not in gone), *meant]
        yield Preview(
            one,
            spans_of(rows, from_at=now, until_at=until_at),
            spans_of(changed, from_at=now, until_at=until_at),
        )


def constraints_on(target, *, states: Iterable[State], now: datetime) -> QuerySet[Constraint]:
    """The constraints set on an appliance, a cluster or a pool itself, the newest first."""
    wanted = Q(pk=None)
    for state in states:
        wanted |= _STATES[State(state)](now)
    field = {"appliance": "appliance", "cluster": "cluster", "systempool": "pool"}
    return (
        Constraint.objects.filter(wanted, **{field[target._meta.model_name]: target})
        .select_related("emitter", "appliance", "cluster", "pool")
        .order_by("-created_at", "pk")
    )


def state_of(row: Constraint, *, now: datetime) -> State:
    """Where a constraint stands in its life."""
    if row.withdrawn_at is not None:
        return State.WITHDRAWN
    if row.invalid_at is not None and row.invalid_at <= now:
        return State.EXPIRED
    return State.SCHEDULED if row.valid_at > now else State.ACTIVE


def delivery_of(
    schedule: GatewaySchedule | None, kept: Flexibility | None, *, now: datetime
) -> Delivery:
    """How far the newest schedule has come, for one of its appliances.

    A boundary that passes needs no new schedule, but it is applied when the gateway says so.
    """
    if schedule is None:
        return Delivery.NONE
    if not (schedule.is_sent and schedule.is_confirmed):
        if now - schedule.waiting_since > CONFIRMED_WITHIN:
            return Delivery.TIMED_OUT
        return Delivery.SENT if schedule.is_sent else Delivery.PENDING
    if schedule.refusal or (kept is not None and kept.refusal):
        return Delivery.REFUSED
    if kept is not None and kept.applied_at is not None and not kept.is_applied:
        # What it said may be about what held before; by a moment, for it has a clock of its own.
        passed_at = kept.resolved_at - SAID_WITHIN
        if kept.applied_at < passed_at:
            return Delivery.TIMED_OUT if now - passed_at > CONFIRMED_WITHIN else Delivery.SENT
    return Delivery.APPLIED


def asking_revision(gateway: UUID) -> int:
    """The revision of a gateway's newest schedule, where that asks for anything; else 0."""
    rows = GatewaySchedule.objects.filter(pk=gateway).exclude(body=[])
    return rows.values_list("revision", flat=True).first() or 0


_STATES = {
    State.ACTIVE: lambda now: Q(withdrawn_at=None, valid_at__lte=now) & not_over(now),
    State.SCHEDULED: lambda now: Q(withdrawn_at=None, valid_at__gt=now),
    State.EXPIRED: lambda now: Q(withdrawn_at=None, invalid_at__lte=now),
    State.WITHDRAWN: lambda now: Q(withdrawn_at__isnull=False),
}


def _now(
    appliance: Appliance,
    rows: list[Constraint],
    kept: Flexibility | None,
    reading: LatestReading | None,
    gateway: Gateway | None,
    schedule: GatewaySchedule | None,
    now: datetime,
) -> Now:
    [first, *_rest] = timeline(map(as_pure, rows), from_at=now, until_at=now + HORIZON)
    contact = None if gateway is None else gateway.contacted_at
    invalid_at = None if contact is None else contact + stale_after(appliance.interval_s)
    is_gone = appliance.removed_at is not None or (gateway and gateway.revoked_at is not None)
    is_stale = bool(is_gone) or invalid_at is None or invalid_at <= now
    read = appliance_now(appliance, reading, now=now)
    return Now(
        appliance=appliance,
        span=_span(first, told(rows)),
        constraints=_explained(first, rows, appliance.system.zone),
        reading=read.reading,
        power_w=None if is_stale else read.power_w,
        kept=kept,
        delivery=delivery_of(schedule, kept, now=now),
        is_sent=schedule is not None and schedule.is_sent,
        refusal=next(
            (one.refusal_detail or one.refusal for one in (kept, schedule) if one and one.refusal),
            "",
        ),
        updated_at=max(filter(None, (contact, kept and kept.resolved_at)), default=None),
        heard_at=contact,
        invalid_at=invalid_at,
        is_stale=is_stale,
    )


def _explained(segment: Segment, rows: list[Constraint], zone: ZoneInfo) -> list[Explained]:
    span = _dated(_span(segment, told(rows)), {str(row.pk): row for row in rows})
    found = []
    for row in sorted(rows, key=lambda row: (-row.priority, -row.created_at.timestamp())):
        both = segment.resolution.outcomes[str(row.pk)]
        outcomes = {
            part: {"outcome": one.kind.value, "conflicts_with": list(one.conflicts_with)}
            for part, one in (("power", both.power), ("energy", both.energy))
            if one is not None
        }
        because = words.reasons(str(row.pk), outcomes, span, zone=zone)
        found.append(_told(row, outcomes, because, share_said(row) if row.limit_id else {}))
    return found


def _explained_then(span: Span, known: Mapping[str, Constraint], zone: ZoneInfo) -> list[Explained]:
    found, dated = [], _dated(span, known)
    for one in span.inputs:
        stored = known.get(one["id"])
        row = Constraint(
            id=UUID(one["id"]),
            priority=one["priority"],
            emitter_kind=one["emitter"],
            emitter=stored and stored.emitter,
            limit=stored and stored.limit,
            cluster_id=stored and stored.cluster_id,
            valid_at=datetime.fromisoformat(one["valid_at"]),
            invalid_at=one.get("invalid_at") and datetime.fromisoformat(one["invalid_at"]),
        )
        outcomes = {part: one[part] for part in ("power", "energy") if part in one}
        because = words.reasons(one["id"], outcomes, dated, zone=zone)
        found.append(_told(row, outcomes, because, one))
    return found


def _told(
    row: Constraint,
    outcomes: Mapping[str, Mapping[str, Any]],
    because: str,
    said: Mapping[str, Any],
) -> Explained:
    is_kept_to = any(one["outcome"] in _KEPT_TO for one in outcomes.values())
    share = words.share_reason(said) if is_kept_to else ""
    return Explained(row, outcomes, f"{because} {share}".strip(), share)


def _dated(span: Span, known: Mapping[str, Constraint]) -> Span:
    """The same span, whose inputs tell when they were set: of a tie, that decides."""
    inputs = [
        {**one, "created_at": known[one["id"]].created_at} if one["id"] in known else one
        for one in span.inputs
    ]
    return replace(span, inputs=inputs)


def spans_of(rows: list[Constraint], *, from_at: datetime, until_at: datetime) -> list[Span]:
    """What these constraints leave, span by span, with what became of each."""
    segments = timeline(map(as_pure, rows), from_at=from_at, until_at=until_at)
    said = told(rows)
    return [_span(segment, said) for segment in segments]


def _span(segment: Segment, said: Sequence[Told]) -> Span:
    values = resolved_values_of(segment.resolution, said)
    return Span(
        segment.from_at,
        segment.until_at,
        segment.resolution.boundary,
        values["deciders"],
        values["inputs"],
    )


def _past(
    appliance: Appliance, from_at: datetime, until_at: datetime, most: int | None
) -> list[Span]:
    """The boundaries that were kept; before the first of them everything was open."""
    kept = ResolvedBoundary.objects.filter(
        system_key=appliance.system.key, appliance_key=appliance.key
    )
    before = kept.filter(at__lte=from_at).order_by("-at").first()
    changes = kept.filter(at__gt=from_at, at__lt=until_at).order_by("at")
    if most is not None and changes.count() > most:
        step = (until_at - from_at) / most
        # Of each stretch the last: what held at its end.
        last = {(at - from_at) // step: at for at in changes.values_list("at", flat=True)}
        changes = changes.filter(at__in=last.values())
    return spans_kept(before, list(changes), from_at=from_at, until_at=until_at)


def spans_kept(
    before: ResolvedBoundary | None,
    within: Sequence[ResolvedBoundary],
    *,
    from_at: datetime,
    until_at: datetime,
) -> list[Span]:
    """What was kept, as spans: what held at `from_at`, and all changes within, in their order."""
    rows: list[ResolvedBoundary | None] = [before, *within]
    starts = [from_at, *(row.at for row in within), until_at]
    return [
        Span(start, end, Boundary(), {}, ())
        if row is None
        else Span(start, end, boundary_of(row), row.deciders, row.inputs)
        for row, start, end in zip(rows, starts, starts[1:], strict=False)
    ]


def is_binding(outcomes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a constraint decides anything."""
    return any(one["outcome"] == OutcomeKind.BINDING for one in outcomes.values())
