"""Whatever changes what is asked of appliances ends here: boundaries, audit and schedules anew.

One function for all causes: constraints set and withdrawn, instants that pass, members that come
and go. It divides shared limits first, in the same transaction, so that their sums hold whatever
changed. It holds the rows of the systems while it works, so that of two changes at the same time
the later one sees both. Doing it again changes nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection, transaction

from accounts import outbox
from accounts.rows import update_rows
from flexibility.limits.balancing import balance
from flexibility.models import Constraint, Flexibility, GatewaySchedule, ResolvedBoundary
from flexibility.resolver import (
    Boundary,
    Deciders,
    EmitterKind,
    Outcome,
    OutcomeKind,
    Resolution,
    Segment,
    timeline,
)
from flexibility.schedules import appliance_timeline, is_as_before
from flexibility.standing import as_pure, standing_constraints
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Gateway, System
from measurements.announce import announce

# What a gateway knows in advance, and how much of that must be left before it is told anew.
HORIZON = timedelta(hours=48)
RENEWED_AT = timedelta(hours=24)
SCHEDULE = "schedule"
# Who waits for boundaries and schedules listens to it.
CHANNEL = "flexibility"

_BOUNDARY = ("min_w", "max_w", "set_point_w", "can_pause", "min_wh", "max_wh")
_DECIDED = tuple(one.name for one in fields(Deciders))
_RESOLVED = (*_BOUNDARY, "deciders", "inputs")
# Of hundreds of timelines these are asked for a million times: an enumeration's own ways are slow.
_SCHEDULED, _EXPIRED = OutcomeKind.SCHEDULED, OutcomeKind.EXPIRED
_WITHDRAWN = OutcomeKind.WITHDRAWN
_WORDS = {kind: kind.value for kind in OutcomeKind}
_FAIL_SAFE_KINDS = {
    ApplianceKind.EV_CHARGING_STATION,
    ApplianceKind.HEAT_PUMP,
    ApplianceKind.HEATER,
    ApplianceKind.BATTERY,
}


def resolve_systems(
    *, systems: Collection[UUID], now: datetime, passed: Collection[UUID] = ()
) -> None:
    """Bring the flexibility of all appliances of these systems to `now`, and tell who waits.

    Their gateways get a new schedule where it differs from what they know. `passed` are those that
    were caught up already (`catch_up`).
    """
    with transaction.atomic():
        ids = hold_systems(systems)
        passed = {*passed, *catch_up(ids, now)}
        balance(systems=ids, now=now)
        _resolve(ids, now, passed)


def balance_systems(*, systems: Collection[UUID], now: datetime) -> None:
    """Divide the shared limits of these systems by the newest readings; resolve what changes."""
    with transaction.atomic():
        ids = hold_systems(systems)
        passed = catch_up(ids, now)
        changed = balance(systems=ids, now=now, looks_ahead=False) | passed
        if changed:
            _resolve(sorted(changed), now, passed)


def _resolve(ids: Sequence[UUID], now: datetime, passed: set[UUID]) -> None:
    """`passed`: the systems of which boundaries have passed."""
    appliances = list(
        Appliance.objects.filter(system__in=ids, removed_at=None)
        .select_related("system")
        .order_by("key")
    )
    # What ended a while ago is known, too: an appliance stays named until its gateway's
    # schedule is renewed anyway, so that an end needs no message.
    standing = standing_constraints(appliances, from_at=now - HORIZON, until_at=now + HORIZON)
    segments = {
        one.pk: timeline(map(as_pure, standing[one.pk]), from_at=now, until_at=now + HORIZON)
        for one in appliances
    }
    changed = passed | _save_flexibilities(appliances, standing, segments, now)
    scheduled = _save_schedules(ids, appliances, standing, segments, now)
    if changed or scheduled:
        _tell(changed)


def hold_systems(systems: Collection[UUID]) -> list[UUID]:
    """Hold these systems and their schedules until the transaction ends; returns who is there.

    Always in the same order, so that two who hold many wait for each other, and never both.
    """
    held = System.objects.select_for_update(no_key=True).filter(pk__in=systems)
    ids = list(held.order_by("key").values_list("pk", flat=True))
    schedules = GatewaySchedule.objects.select_for_update(of=("self",))
    list(schedules.filter(gateway__system__in=ids).order_by("pk").values_list("pk"))
    return ids


def resolved_values(resolution: Resolution, rows: Iterable[Constraint]) -> dict[str, Any]:
    """A resolution as it is kept: the boundary, who decides it, and what had a say."""
    return resolved_values_of(resolution, told(rows))


# A constraint's id and what it says, as it is kept with whatever becomes of it.
Told = tuple[str, Mapping[str, Any]]


def told(rows: Iterable[Constraint]) -> list[Told]:
    """What the rows say, the strongest first: once for all of a timeline's segments."""
    said = [(str(row.pk), row) for row in rows]
    said.sort(key=lambda one: (-one[1].priority, one[0]))
    return [(identity, _said(identity, row)) for identity, row in said]


def resolved_values_of(resolution: Resolution, rows: Iterable[Told]) -> dict[str, Any]:
    """As `resolved_values`, of what was told."""
    boundary, deciders, inputs = resolution.boundary, resolution.deciders, []
    for identity, said in rows:
        both = resolution.outcomes[identity]
        power, energy = both.power, both.energy
        if not (_is_staged(power) and _is_staged(energy)):
            had_a_say = dict(said)
            if power is not None:
                had_a_say["power"] = _outcome(power)
            if energy is not None:
                had_a_say["energy"] = _outcome(energy)
            inputs.append(had_a_say)
    named = {part: getattr(deciders, part) for part in _DECIDED}
    return {
        **{name: getattr(boundary, name) for name in _BOUNDARY},
        "deciders": {part: identity for part, identity in named.items() if identity is not None},
        "inputs": inputs,
    }


def _said(identity: str, row: Constraint) -> dict[str, Any]:
    values = {
        "id": identity,
        "priority": row.priority,
        "emitter": row.emitter_kind,
        "by": str(row.emitter) if row.emitter_id else None,
        "min_w": row.min_w,
        "max_w": row.max_w,
        "set_point_w": row.set_point_w,
        "min_wh": row.min_wh,
        "max_wh": row.max_wh,
        "closest": row.closest or None,
        "pausable": row.pausable or None,
        "dims": row.dims or None,
        "policy": str(row.policy_id) if row.policy_id else None,
        "fallback": row.fallback or None,
        "valid_at": row.valid_at.isoformat(),
        "invalid_at": row.invalid_at.isoformat() if row.invalid_at else None,
        **(share_said(row) if row.limit_id else {}),
    }
    return {name: value for name, value in values.items() if value is not None}


def share_said(row: Constraint) -> dict[str, Any]:
    """Of a share of a limit, what decides each side that it bounds (`allotment.Why`).

    And whether it asked for nothing, as a charging station without a car does.
    """
    return {
        "idle": row.share.asks_since is None or None,
        "why_min": None if row.min_w is None else row.share.why_min,
        "why_max": None if row.max_w is None else row.share.why_max,
    }


def _is_staged(outcome: Outcome | None) -> bool:
    """Whether it had no say, or is not of this part at all."""
    if outcome is None:
        return True
    kind = outcome.kind
    return kind is _SCHEDULED or kind is _EXPIRED or kind is _WITHDRAWN


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {"outcome": _WORDS[outcome.kind], "conflicts_with": list(outcome.conflicts_with)}


# What holds now ----------------------------------------------------------------------------------


def catch_up(ids: Sequence[UUID], now: datetime) -> set[UUID]:
    """Record the boundaries that have passed since systems were resolved, each at its instant.

    By what stood then, whatever was set or withdrawn since; whoever changes a constraint in place
    calls it before. Returns the systems of which some have.
    """
    missed = list(
        Flexibility.objects.filter(
            appliance__system__in=ids, appliance__removed_at=None, changes_at__lt=now
        ).select_related("appliance__system")
    )
    if not missed:
        return set()
    standing = standing_constraints(
        [row.appliance for row in missed],
        from_at=min(row.changes_at for row in missed),
        until_at=now,
        with_withdrawn=True,
    )
    records = []
    for row in missed:
        rows = standing[row.appliance_id]
        stood = [
            replace(as_pure(one), withdrawn_at=None, valid_at=max(one.valid_at, one.created_at))
            for one in rows
        ]
        for segment in timeline(stood, from_at=row.changes_at, until_at=now):
            values = resolved_values(segment.resolution, rows)
            if any(getattr(row, name) != values[name] for name in _RESOLVED):
                records.append(_record(row.appliance, segment.from_at, values))
            for name in _RESOLVED:
                setattr(row, name, values[name])
        row.resolved_at, row.changes_at = now, now
    update_rows(missed, [*_RESOLVED, "resolved_at", "changes_at"])
    _save_records(records)
    return {row.appliance.system_id for row in missed}


def _record(appliance: Appliance, at: datetime, values: Mapping[str, Any]) -> ResolvedBoundary:
    return ResolvedBoundary(
        system_key=appliance.system.key, appliance_key=appliance.key, at=at, **values
    )


def _save_records(records: Sequence[ResolvedBoundary]) -> None:
    ResolvedBoundary.objects.bulk_create(
        records,
        update_conflicts=True,
        unique_fields=["system_key", "appliance_key", "at"],
        update_fields=_RESOLVED,
    )


def _save_flexibilities(
    appliances: Sequence[Appliance],
    standing: dict[UUID, list[Constraint]],
    segments: dict[UUID, list[Segment]],
    now: datetime,
) -> set[UUID]:
    """Save what changed, and an audit row for each; returns the systems with news."""
    known = Flexibility.objects.in_bulk([one.pk for one in appliances])
    rows, records, changed = [], [], set()
    for appliance in appliances:
        before = known.get(appliance.pk)
        if before is None and not standing[appliance.pk]:
            continue
        first = segments[appliance.pk][0]
        values = resolved_values(first.resolution, standing[appliance.pk])
        changes_at = _changes_at(first, before, now)
        is_new = before is None or any(getattr(before, name) != values[name] for name in _RESOLVED)
        if is_new:
            changed.add(appliance.system_id)
            records.append(_record(appliance, now, values))
        if is_new or before.changes_at != changes_at:
            rows.append(
                Flexibility(
                    appliance_id=appliance.pk, resolved_at=now, changes_at=changes_at, **values
                )
            )
    Flexibility.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["appliance"],
        update_fields=[*_RESOLVED, "resolved_at", "changes_at"],
    )
    _save_records(records)
    return changed


def _changes_at(first: Segment, before: Flexibility | None, now: datetime) -> datetime:
    """When the next constraint begins or ends; to look again where none does within the horizon."""
    if first.until_at < now + HORIZON:
        return first.until_at
    is_far = before is not None and before.changes_at and before.changes_at > now + RENEWED_AT
    return before.changes_at if is_far else now + HORIZON


# What gateways are to keep to --------------------------------------------------------------------


def _save_schedules(
    systems: Sequence[UUID],
    appliances: Sequence[Appliance],
    standing: dict[UUID, list[Constraint]],
    segments: dict[UUID, list[Segment]],
    now: datetime,
) -> bool:
    """Save the schedules that differ from what is known, to be sent; whether there are any."""
    gateways = list(Gateway.objects.filter(system__in=systems, revoked_at=None).order_by("pk"))
    known = GatewaySchedule.objects.defer("kept_body").in_bulk([one.pk for one in gateways])
    parts: dict[UUID, list[dict]] = {one.pk: [] for one in gateways}
    for one in appliances:
        is_asked = any(row.emitter_kind != EmitterKind.DRIVER for row in standing[one.pk])
        if one.gateway_id in parts and one.local_id and is_asked:
            parts[one.gateway_id].append(_part(one, standing[one.pk], segments[one.pk]))
    rows = []
    for gateway in gateways:
        before, body = known.get(gateway.pk), parts[gateway.pk]
        if before is None and not body:
            continue
        if before is not None and not _is_new(before, body, now):
            continue
        is_waited_for = before is not None and not before.is_confirmed
        rows.append(
            GatewaySchedule(
                gateway=gateway,
                revision=before.revision + 1 if before else 1,
                made_at=now,
                until_at=now + HORIZON,
                body=body,
                unconfirmed_since=(before.unconfirmed_since if is_waited_for else None) or now,
            )
        )
    GatewaySchedule.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["gateway"],
        update_fields=["revision", "made_at", "until_at", "body", "unconfirmed_since"],
    )
    outbox.add_messages(
        kind=SCHEDULE, payloads=({"gateway": str(row.gateway_id)} for row in rows), now=now
    )
    return bool(rows)


def _is_new(before: GatewaySchedule, body: list[dict], now: datetime) -> bool:
    """Whether it is to be told: of what has changed, and of what was too far ahead before."""
    if (before.body or body) and before.until_at - now <= RENEWED_AT:
        return True
    return not is_as_before(before.body, body, from_at=now, until_at=now + HORIZON)


def _part(appliance: Appliance, rows: list[Constraint], segments: list[Segment]) -> dict:
    return appliance_timeline(
        local_id=appliance.local_id,
        appliance=str(appliance.pk),
        segments=segments,
        dimmed_by={str(row.pk) for row in rows if row.dims},
        fail_safe=_fail_safe(appliance, rows),
    )


def _fail_safe(appliance: Appliance, rows: list[Constraint]) -> dict[str, Any] | None:
    """What a consumer falls back to; never below what its physics lets it."""
    if appliance.kind not in _FAIL_SAFE_KINDS:
        return None
    driver = next((row for row in rows if row.emitter_kind == EmitterKind.DRIVER), None)
    can_pause = driver is not None and driver.pausable
    least_w = driver.min_w if driver is not None and driver.min_w is not None else 0
    return {
        "max_w": settings.FAIL_SAFE_MAX_W if can_pause else max(settings.FAIL_SAFE_MAX_W, least_w),
        "can_pause": can_pause,
        "minimum_s": settings.FAIL_SAFE_MINIMUM.total_seconds(),
    }


def _tell(systems: set[UUID]) -> None:
    """Wake those who wait, and open pages; what they find is what is stored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    if systems:
        transaction.on_commit(lambda: async_to_sync(announce)(systems), robust=True)


def boundary_of(row: Flexibility | ResolvedBoundary) -> Boundary:
    """The boundary that a row keeps."""
    return Boundary(**{name: getattr(row, name) for name in _BOUNDARY})
