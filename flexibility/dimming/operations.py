"""Dimming of whole systems by their grid operator (§ 14a EnWG).

`dimming.rules` says what is left. Where each appliance is dimmed by itself, that becomes
constraints of the grid operator; where it is one sum, a shared limit of the whole system, of which
each has its share as of any other.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.audit import Verb, record_change
from flexibility.dimming.rules import Consumer, Limit, SumLimit, direct_limits, sum_limit
from flexibility.emitters import Emitter, UnableToConstrain, default_priority
from flexibility.models import Constraint, Dimming, SharedLimit
from flexibility.operations import require_validity
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from inventory.kinds import ApplianceKind, DimmingMode
from inventory.models import Appliance, System


def dim_system(
    *,
    system: System,
    emitter: Emitter,
    invalid_at: datetime,
    now: datetime,
    valid_at: datetime | None = None,
) -> Dimming:
    """Have each of the system's controllable consumers draw no more than § 14a leaves it.

    Raises UnableToConstrain, naming the field; PermissionDenied for who is no grid operator.
    """
    require_grid_operator(emitter)
    valid_at = valid_at or now
    require_validity(valid_at, invalid_at, now=now)
    with transaction.atomic():
        hold_systems([system.pk])
        consumers = _consumers(system)
        found = Dimming(
            created_at=now,
            system=system,
            mode=system.dimming_mode,
            valid_at=valid_at,
            invalid_at=invalid_at,
            emitter=emitter.user,
        )
        asked: Sequence[Constraint] | SharedLimit | None
        if found.mode == DimmingMode.EMS:
            asked = _as_limit(found, sum_limit(consumers, rules=settings.DIMMING_RULES), emitter)
        else:
            limits = direct_limits(consumers, rules=settings.DIMMING_RULES)
            asked = _as_constraints(found, limits, emitter)
        if not asked:
            raise UnableToConstrain("system", _("There is nothing here that can be dimmed."))
        found.save(force_insert=True)
        if isinstance(asked, SharedLimit):
            asked.save(force_insert=True)
        else:
            Constraint.objects.bulk_create(asked)
        _record(found, Verb.CONSTRAINED, emitter, now)
        resolve_systems(systems=[system.pk], now=now)
    return found


def require_grid_operator(emitter: Emitter) -> None:
    """Raise PermissionDenied for who is none."""
    if emitter.kind is not EmitterKind.GRID_OPERATOR:
        raise PermissionDenied


def end_dimming(*, found: Dimming, emitter: Emitter, now: datetime) -> Dimming:
    """End a dimming at once; one that is over is left as it is.

    Raises PermissionDenied for who is no grid operator.
    """
    require_grid_operator(emitter)
    with transaction.atomic():
        hold_systems([found.system_id])
        standing = Dimming.objects.filter(pk=found.pk, withdrawn_at=None, invalid_at__gt=now)
        if standing.update(withdrawn_at=now):
            found.withdrawn_at = now
            of_it = Q(dimming=found) | Q(limit__dimming=found)
            for rows in (
                Constraint.objects.filter(of_it),
                SharedLimit.objects.filter(dimming=found),
            ):
                rows.filter(withdrawn_at=None).update(withdrawn_at=now, withdrawn_by=emitter.user)
            _record(found, Verb.CONSTRAINT_WITHDRAWN, emitter, now)
            resolve_systems(systems=[found.system_id], now=now)
    return found


def extend_dimmings(*, systems: Collection[UUID], now: datetime) -> None:
    """Dim what came to these systems since a dimming of theirs was asked for.

    Where it is one sum, all share what was guaranteed then: the grid operator counts on that.
    """
    with transaction.atomic():
        held = hold_systems(systems)
        standing = Dimming.objects.filter(system__in=held, withdrawn_at=None, invalid_at__gt=now)
        for found in standing.select_related("system", "emitter").order_by("pk"):
            consumers = _consumers(found.system)
            if found.mode == DimmingMode.EMS:
                _extend_limit(found, sum_limit(consumers, rules=settings.DIMMING_RULES), now)
            else:
                limits = direct_limits(consumers, rules=settings.DIMMING_RULES)
                _extend_constraints(found, limits, now)


def _extend_limit(found: Dimming, limit: SumLimit | None, now: datetime) -> None:
    row = SharedLimit.objects.get(dimming=found)
    new = [] if limit is None else [UUID(key) for key in limit.keys if UUID(key) not in row.members]
    if new:
        row.members = [*row.members, *new]
        row.due_at = now
        row.save(update_fields=["members", "due_at"])


def _extend_constraints(found: Dimming, limits: Sequence[Limit], now: datetime) -> None:
    emitter = Emitter(EmitterKind.GRID_OPERATOR, found.emitter)
    dimmed = set(Constraint.objects.filter(dimming=found).values_list("appliance", flat=True))
    new = [row for row in _as_constraints(found, limits, emitter) if row.appliance_id not in dimmed]
    for row in new:
        row.created_at, row.valid_at = now, max(found.valid_at, now)
    Constraint.objects.bulk_create(new)


def _consumers(system: System) -> list[Consumer]:
    """What the system has. All its heat pumps, and what belongs to them, count as one."""
    appliances = Appliance.objects.filter(system=system, removed_at=None).order_by("key")
    there = {one.pk: one for one in appliances}
    pump = next((one.pk for one in there.values() if one.kind == ApplianceKind.HEAT_PUMP), None)
    found = []
    for one in there.values():
        whole = one.parent_id if one.parent_id in there else None
        if one.kind == ApplianceKind.HEAT_PUMP and one.pk != pump:
            whole = pump
        part_of = None if whole is None else str(whole)
        found.append(Consumer(str(one.pk), ApplianceKind(one.kind), one.max_power_w, part_of))
    return found


def _as_constraints(found: Dimming, limits: Sequence[Limit], emitter: Emitter) -> list[Constraint]:
    """A constraint for each appliance that is dimmed."""
    return [
        Constraint(
            created_at=found.created_at,
            appliance_id=UUID(limit.key),
            dimming=found,
            emitter_kind=emitter.kind.value,
            emitter=emitter.user,
            priority=default_priority(emitter.kind),
            max_w=limit.max_w,
            valid_at=found.valid_at,
            invalid_at=found.invalid_at,
        )
        for limit in limits
        if limit.max_w is not None
    ]


def _as_limit(found: Dimming, limit: SumLimit | None, emitter: Emitter) -> SharedLimit | None:
    """One limit for all that are dimmed; what the site produces itself comes on top."""
    if limit is None:
        return None
    found.terms = asdict(limit)
    return SharedLimit(
        created_at=found.created_at,
        system=found.system,
        dimming=found,
        members=list(map(UUID, limit.keys)),
        net=True,
        priority=default_priority(emitter.kind),
        max_w=limit.max_w,
        valid_at=found.valid_at,
        invalid_at=found.invalid_at,
        emitter_kind=emitter.kind.value,
        emitter=emitter.user,
        due_at=found.valid_at,
    )


def _record(found: Dimming, verb: str, emitter: Emitter, now: datetime) -> None:
    record_change(
        verb=verb,
        target=found.system,
        account=found.system.account,
        by=emitter.user,
        now=now,
        changes={
            "dimming": [None, str(found.pk)],
            "valid_at": [None, found.valid_at.isoformat()],
            "invalid_at": [None, found.ended_at.isoformat()],
        },
    )
