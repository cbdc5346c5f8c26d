"""Shared limits set and withdrawn, with an audit entry each, and read.

Whatever is changed here is divided and resolved in the same transaction (`flexibility.resolving`).
"""

from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any
from uuid import UUID, uuid5

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from accounts.access import Action, may
from accounts.audit import Verb, record_change, stated_changes
from accounts.models import User
from flexibility.allotment import PhaseWatts, Strategy
from flexibility.emitters import Emitter, UnableToConstrain, priority_of
from flexibility.limits.balancing import AHEAD
from flexibility.models import Constraint, SharedLimit, not_over
from flexibility.operations import UnableToRestore, is_withdrawn_lately, require_validity
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from flexibility.targets import hold_target
from inventory.kinds import CONTROLLABLE, ApplianceKind
from inventory.models import Appliance, Cluster

MOST_STANDING = 10
_PHASES = 3


@dataclass(frozen=True, kw_only=True)
class LimitDraft:
    """A shared limit as it is asked for: W; None is no statement.

    `priority` and `valid_at` have defaults; only a fuse may leave `invalid_at` open. With the `id`
    of one that stands, it takes its place. `order` (appliances) is that of `SERIES`.
    """

    id: UUID | None = None
    min_w: float | None = None
    max_w: float | None = None
    phase_max_w: PhaseWatts | None = None
    strategy: Strategy = Strategy.EQUALLY
    order: tuple[UUID, ...] = ()
    kinds: tuple[str, ...] = ()
    dynamic: bool = False
    priority: int | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None


def fuse_emitter_of(user: User) -> Emitter:
    """Who says what the wiring bears: whoever manages the inventory. Raises PermissionDenied."""
    if not may(user, Action.MANAGE_INVENTORY):
        raise PermissionDenied
    return Emitter(EmitterKind.FUSE, user)


def set_limit(*, cluster: Cluster, draft: LimitDraft, by: Emitter, now: datetime) -> SharedLimit:
    """Limit the sum of a cluster's members; a fuse where that is what the emitter is.

    Raises UnableToConstrain.
    """
    row = _drafted(draft, cluster, by, now)
    with transaction.atomic():
        hold_target(cluster)
        _require_sense(row, now)
        before = SharedLimit.objects.filter(pk=row.pk).first()
        if before is not None:
            if before.cluster_id != cluster.pk or before.emitter_kind != by.kind:
                raise UnableToConstrain("id", _("This id belongs to another one."))
            row.created_at, row.balanced_at = before.created_at, before.balanced_at
            if before.withdrawn_at is None and _values(before) == _values(row):
                return before
        row.save(force_insert=before is None, force_update=before is not None)
        _require_place(row, now)
        _record(row, Verb.LIMITED, by.user, now, before=before)
        resolve_systems(systems={cluster.system_id}, now=now)
    # What was found of it.
    row.refresh_from_db()
    return row


def drafted_limit(
    draft: LimitDraft, *, cluster: Cluster, by: Emitter, now: datetime
) -> SharedLimit:
    """A limit as `set_limit` would save it, to try it out. Raises UnableToConstrain."""
    row = _drafted(draft, cluster, by, now)
    _require_sense(row, now)
    before = SharedLimit.objects.filter(pk=row.pk).first()
    if before is not None:
        row.created_at, row.balanced_at = before.created_at, before.balanced_at
    return row


def withdraw_limit(*, limit: SharedLimit, by: Emitter, now: datetime) -> SharedLimit:
    """End a shared limit, and all shares of it, at once.

    Withdrawn again changes nothing. Raises PermissionDenied for another kind of emitter than the
    one that set it; staff may withdraw anybody's.
    """
    if by.kind not in (EmitterKind.OPERATOR, limit.emitter_kind):
        raise PermissionDenied
    system = limit.system_id
    with transaction.atomic():
        hold_systems({system})
        withdrawn = SharedLimit.objects.filter(pk=limit.pk, withdrawn_at=None).update(
            withdrawn_at=now, withdrawn_by=by.user
        )
        if withdrawn:
            limit.withdrawn_at, limit.withdrawn_by = now, by.user
            Constraint.objects.filter(limit=limit, withdrawn_at=None).update(withdrawn_at=now)
            _record(limit, Verb.LIMIT_WITHDRAWN, by.user, now)
            resolve_systems(systems={system}, now=now)
    return limit


def restore_limit(*, limit: SharedLimit, by: Emitter, now: datetime) -> SharedLimit:
    """Take back that somebody withdrew a limit, within a minute: it is set again as it was.

    Raises PermissionDenied for another kind of emitter than the one that set it, staff excepted,
    and UnableToRestore where it is too late.
    """
    if by.kind not in (EmitterKind.OPERATOR, limit.emitter_kind):
        raise PermissionDenied
    with transaction.atomic():
        hold_target(limit.target)
        row = SharedLimit.objects.select_related("system__account").get(pk=limit.pk)
        if row.withdrawn_at is None:
            return row
        if not may_restore_limit(row, now=now):
            raise UnableToRestore(_("It was withdrawn too long ago, or is over: set it anew."))
        row.withdrawn_at = row.withdrawn_by = None
        row.due_at = max(row.valid_at - AHEAD, now)
        row.save(update_fields=["withdrawn_at", "withdrawn_by", "due_at"])
        _require_place(row, now)
        _record(row, Verb.LIMITED, by.user, now)
        resolve_systems(systems={row.system_id}, now=now)
    return row


def may_restore_limit(row: SharedLimit, *, now: datetime) -> bool:
    """Whether a person withdrew it just now, and it would still hold."""
    is_over = row.invalid_at is not None and row.invalid_at <= now
    return is_withdrawn_lately(row, now=now) and not is_over


def usual_id(cluster: Cluster, kind: EmitterKind) -> UUID:
    """The id of the one limit of a cluster that the API knows for each kind of emitter."""
    return uuid5(cluster.pk, f"shared limit of {kind}")


def limits_on(cluster: Cluster, *, now: datetime) -> QuerySet[SharedLimit]:
    """The limits of a cluster itself that hold now or will, the strongest first."""
    standing = SharedLimit.objects.filter(not_over(now), cluster=cluster, withdrawn_at=None)
    return standing.select_related("system__account", "cluster", "emitter").order_by(
        "-priority", "created_at", "pk"
    )


def shares_of(limit: SharedLimit, *, now: datetime) -> QuerySet[Constraint]:
    """What each member has of a limit now, with its appliance and how it gets on (`share`)."""
    standing = Constraint.objects.filter(
        limit=limit, fallback=False, withdrawn_at=None, invalid_at__gt=now
    )
    return standing.select_related("appliance", "share").order_by("appliance__key")


def _drafted(draft: LimitDraft, cluster: Cluster, by: Emitter, now: datetime) -> SharedLimit:
    valid_at = draft.valid_at or now
    return SharedLimit(
        id=draft.id or uuid7(),
        created_at=now,
        system=cluster.system,
        cluster=cluster,
        kinds=sorted(draft.kinds),
        priority=priority_of(by.kind, draft.priority),
        min_w=draft.min_w,
        max_w=draft.max_w,
        phase_max_w=None if draft.phase_max_w is None else list(draft.phase_max_w),
        strategy=draft.strategy.value,
        order=list(draft.order),
        dynamic=draft.dynamic,
        valid_at=valid_at,
        invalid_at=draft.invalid_at,
        emitter_kind=by.kind.value,
        emitter=by.user,
        due_at=max(valid_at - AHEAD, now),
    )


def _require_sense(row: SharedLimit, now: datetime) -> None:
    """Raise UnableToConstrain, with the field at fault, for what could never be kept to."""
    _require_powers(row)
    require_validity(row.valid_at, row.invalid_at, now=now, may_be_endless=row.fuse)
    if not set(row.kinds) <= {kind.value for kind in CONTROLLABLE}:
        raise UnableToConstrain("kinds", _("Only what can be controlled can be limited."))
    own = Appliance.objects.filter(system=row.system_id, removed_at=None)
    if len(set(row.order)) < len(row.order) or (
        own.filter(pk__in=row.order).count() < len(row.order)
    ):
        raise UnableToConstrain("order", _("Name appliances of this system, each once."))
    if row.dynamic and not own.filter(kind=ApplianceKind.GRID_METER).exists():
        reason = _("The system has no meter at its grid connection.")
        raise UnableToConstrain("dynamic", reason)


def _require_place(row: SharedLimit, now: datetime) -> None:
    """Raise UnableToConstrain where too many stand beside it."""
    if limits_on(row.cluster, now=now).count() > MOST_STANDING:
        reason = _("At most %d shared limits stand at a time.") % MOST_STANDING
        raise UnableToConstrain("limit", reason)


def _require_powers(row: SharedLimit) -> None:
    phases = row.phase_max_w
    if row.min_w is row.max_w is phases is None:
        raise UnableToConstrain("max_w", _("It says nothing: give a limit."))
    if phases is not None and len(phases) != _PHASES:
        raise UnableToConstrain("phase_max_w", _("Give three values, one for each phase."))
    for name, values, sign in (
        ("min_w", [row.min_w], -1),
        ("max_w", [row.max_w], 1),
        ("phase_max_w", phases or [], 1),
    ):
        stated = [value for value in values if value is not None]
        if not all(map(isfinite, stated)):
            raise UnableToConstrain(name, _("This is not a number."))
        if any(value * sign < 0 for value in stated):
            reason = _("A shared limit gives no orders: 0 W has to be within it.")
            raise UnableToConstrain(name, reason)


# Audit -------------------------------------------------------------------------------------------

_RECORDED = (
    "priority",
    "min_w",
    "max_w",
    "phase_max_w",
    "strategy",
    "order",
    "kinds",
    "dynamic",
    "valid_at",
    "invalid_at",
)


def _values(row: SharedLimit) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _RECORDED}


def _record(
    row: SharedLimit, verb: str, by: User | None, now: datetime, before: SharedLimit | None = None
) -> None:
    changes = stated_changes({} if before is None else _values(before), _values(row))
    record_change(
        verb=verb,
        target=row.target,
        account=row.system.account,
        by=by,
        now=now,
        changes={"limit": [None, str(row.pk)], **changes},
    )
