"""What many appliances may do over time, with what became of what is asked of all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import DateTimeField, F, Func, OuterRef, Q, QuerySet, Subquery, Value

from flexibility.models import Constraint, ResolvedBoundary, SharedLimit
from flexibility.queries import Span, spans_kept, spans_of
from flexibility.resolver import EmitterKind
from flexibility.standing import standing_constraints
from flexibility.summed import Summed, summed
from flexibility.tallied import Tally, tallied
from inventory.models import Appliance, Cluster, SystemPool

_INSTANT = DateTimeField()


@dataclass(frozen=True)
class GroupTimeline:
    """The sums, and by thing (id) what becomes of it, and the newest that it said.

    Things are the constraints set on the group itself and, of a cluster, the limits that its
    members share. `said` is as in `queries.Span.inputs`; of a limit its id, emitter and priority.
    """

    sums: Sequence[Summed]
    tallies: Mapping[str, Sequence[Tally]]
    said: Mapping[str, Mapping[str, Any]]
    limits: Mapping[str, SharedLimit]


def group_timeline(
    group: Cluster | SystemPool,
    members: Sequence[Appliance],
    *,
    from_at: datetime,
    until_at: datetime,
    now: datetime,
    most_past: int,
) -> GroupTimeline:
    """What its members of today may do; by a fixed number of queries.

    The past is as it was known then. Of more than `most_past` changes, of each member those are
    told that held at so many even distances.
    """
    timelines = timelines_of(
        members, from_at=from_at, until_at=until_at, now=now, most_past=most_past
    )
    inputs = {one["id"]: one for of in timelines.values() for span in of for one in span.inputs}
    things, limits = _things(group, inputs)
    said = {things[key]: one for key, one in inputs.items() if key in things}
    said |= {
        key: {
            "id": key,
            "emitter": EmitterKind.CLUSTER_LIMIT.value,
            "priority": one.priority,
        }
        for key, one in limits.items()
    }
    return GroupTimeline(summed(timelines.values()), tallied(timelines, things), said, limits)


def timelines_of(
    members: Sequence[Appliance],
    *,
    from_at: datetime,
    until_at: datetime,
    now: datetime,
    most_past: int,
) -> dict[str, list[Span]]:
    """As `queries.timeline_of`, of many (by id), by a fixed number of queries."""
    start = max(from_at, now)
    standing = standing_constraints(members, from_at=start, until_at=until_at)
    past = _past(members, from_at, min(until_at, now), most_past) if from_at < now else {}
    return {
        str(one.pk): [
            *past.get(one.pk, ()),
            *spans_of(standing[one.pk], from_at=start, until_at=until_at),
        ]
        for one in members
    }


def _things(
    group: Cluster | SystemPool, ids: Collection[str]
) -> tuple[dict[str, str], dict[str, SharedLimit]]:
    """For what constraints stand: themselves, or the limit that they are a share of."""
    rows = Constraint.objects.filter(pk__in=ids)
    if isinstance(group, SystemPool):
        own = rows.filter(pool=group).values_list("pk", flat=True)
        return {str(pk): str(pk) for pk in own}, {}
    shared = rows.filter(Q(cluster=group) | Q(limit__isnull=False)).values_list("pk", "limit")
    things = {str(pk): str(limit or pk) for pk, limit in shared}
    limits = SharedLimit.objects.select_related("system", "cluster").in_bulk(
        {limit for _pk, limit in shared if limit}
    )
    return things, {str(pk): one for pk, one in limits.items()}


def _past(
    members: Sequence[Appliance], from_at: datetime, until_at: datetime, most: int
) -> dict[UUID, list[Span]]:
    """What was kept of each, by id."""
    places = {(one.system.key, one.key): one.pk for one in members}
    kept = ResolvedBoundary.objects.filter(
        system_key__in={system for system, _key in places},
        appliance_key__in={key for _system, key in places},
    )
    before = {places[row.system_key, row.appliance_key]: row for row in _held_at(members, from_at)}
    within: dict[UUID, list[ResolvedBoundary]] = {one.pk: [] for one in members}
    for row in _changes(kept, from_at, until_at, most):
        if (pk := places.get((row.system_key, row.appliance_key))) is not None:
            within[pk].append(row)
    return {
        pk: spans_kept(before.get(pk), rows, from_at=from_at, until_at=until_at)
        for pk, rows in within.items()
    }


def _held_at(members: Sequence[Appliance], at: datetime) -> QuerySet[ResolvedBoundary]:
    """The rows that held at an instant."""
    # Of each the newest one before it: an index finds it without reading what is older.
    newest = (
        ResolvedBoundary.objects.filter(
            system_key=OuterRef("system__key"), appliance_key=OuterRef("key"), at__lte=at
        )
        .order_by("-at")
        .values("at")[:1]
    )
    found = list(
        Appliance.objects.filter(pk__in=[one.pk for one in members])
        .annotate(held_since=Subquery(newest))
        .exclude(held_since=None)
        .values_list("system__key", "key", "held_since")
    )
    return ResolvedBoundary.objects.filter(pk__in=found)


def _changes(
    kept: QuerySet[ResolvedBoundary], from_at: datetime, until_at: datetime, most: int
) -> QuerySet[ResolvedBoundary]:
    """The changes within; of more than `most` only the last of each of so many stretches."""
    changes = kept.filter(at__gt=from_at, at__lt=until_at)
    whose = ("system_key", "appliance_key")
    if changes.count() <= most:
        return changes.order_by(*whose, "at")
    step = Value((until_at - from_at) / most)
    stretch = Func(step, F("at"), Value(from_at), function="date_bin", output_field=_INSTANT)
    last = changes.annotate(stretch=stretch).distinct(*whose, "stretch")
    return last.order_by(*whose, "stretch", "-at")
