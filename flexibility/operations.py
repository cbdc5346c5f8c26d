"""Constraints set and withdrawn, by people and the program; with an audit entry each.

Whatever is changed here is resolved in the same transaction (`flexibility.resolving`).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from accounts.audit import Verb, record_change, stated_changes
from accounts.models import User
from flexibility import resolver, words
from flexibility.emitters import (
    Emitter,
    UnableToConstrain,
    priority_of,
)
from flexibility.models import ChargingPolicy, Constraint, Series, SharedLimit, not_over
from flexibility.resolver import ContradictoryConstraint, EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from flexibility.standing import as_pure, members_of
from flexibility.targets import account_of, fields_of, hold_target, systems_of
from inventory.models import Appliance, Cluster, SystemPool

Target = Appliance | Cluster | SystemPool

LONGEST_VALIDITY = timedelta(days=400)
MOST_AT_ONCE = 50
MOST_STANDING = 250
RESTORED_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A constraint as it is asked for: W, Wh; None is no statement.

    `priority` and `valid_at` have defaults. With the `id` of one that stands, it takes its place.
    `kinds` (of appliances) are for clusters and pools.
    """

    id: UUID | None = None
    priority: int | None = None
    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    closest: bool = False
    min_wh: float | None = None
    max_wh: float | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    kinds: tuple[str, ...] = ()


def drafted(draft: Draft, *, target: Target, emitter: Emitter, now: datetime) -> Constraint:
    """The constraint that a draft would become, not saved. Raises UnableToConstrain."""
    row = Constraint(
        id=draft.id or uuid7(),
        created_at=now,
        priority=priority_of(emitter.kind, draft.priority),
        valid_at=draft.valid_at or now,
        emitter_kind=emitter.kind.value,
        emitter=emitter.user,
        kinds=list(draft.kinds),
        **fields_of(target),
    )
    for name in ("min_w", "max_w", "set_point_w", "closest", "min_wh", "max_wh", "invalid_at"):
        setattr(row, name, getattr(draft, name))
    require_validity(row.valid_at, row.invalid_at, now=now)
    pure = checked(row)
    if emitter.kind is EmitterKind.GRID_OPERATOR and asks_for_use(row):
        raise UnableToConstrain("min_w", _("A grid operator limits; it asks nobody to use power."))
    if not pure.speaks_of_power and not pure.speaks_of_energy:
        raise UnableToConstrain("max_w", _("It says nothing: give a limit or a set point."))
    return row


def require_validity(
    valid_at: datetime,
    until_at: datetime | None,
    *,
    now: datetime,
    until: str = "invalid_at",
    may_be_endless: bool = False,
) -> None:
    """Raise UnableToConstrain, naming the instant at fault, unless it will hold some time soon.

    `until` is the name of the field that says until when.
    """
    ahead = _("At most %d days ahead.") % LONGEST_VALIDITY.days
    if valid_at >= now + LONGEST_VALIDITY:
        raise UnableToConstrain("valid_at", ahead)
    if until_at is None and may_be_endless:
        return
    if until_at is None:
        raise UnableToConstrain(until, _("Say until when it is to hold."))
    if until_at <= now:
        raise UnableToConstrain(until, _("It would be over already."))
    if until_at > now + LONGEST_VALIDITY:
        raise UnableToConstrain(until, ahead)
    if until_at <= valid_at:
        raise UnableToConstrain(until, _("It ends before it begins."))


def asks_for_use(row: Constraint) -> bool:
    """Whether it wants anything but less: a least power taken or given, a set point, an energy."""
    asked = (row.set_point_w, row.min_wh, row.max_wh)
    return (row.min_w or 0) > 0 or (row.max_w or 0) < 0 or any(one is not None for one in asked)


def set_constraints(
    *, target: Target, drafts: Sequence[Draft], emitter: Emitter, now: datetime
) -> list[Constraint]:
    """Set constraints on an appliance, or on each member of a cluster or a pool: all or none.

    Raises UnableToConstrain, with the place of the draft at fault.
    """
    if not 1 <= len(drafts) <= MOST_AT_ONCE:
        raise UnableToConstrain("constraints", _("From 1 to %d at once.") % MOST_AT_ONCE)
    rows = []
    for number, draft in enumerate(drafts):
        try:
            rows.append(drafted(draft, target=target, emitter=emitter, now=now))
        except UnableToConstrain as error:
            raise UnableToConstrain(error.field, error.reason, number=number) from error
    if len({row.pk for row in rows}) < len(rows):
        raise UnableToConstrain("id", _("An id stands twice."))
    with transaction.atomic():
        hold_target(target)
        for number, row in enumerate(rows):
            _save(row, number=number, emitter=emitter, now=now)
        _require_room(target, emitter.kind, now)
        _resolve(target, now)
    return rows


def withdraw_constraint(*, constraint: Constraint, by: Emitter, now: datetime) -> Constraint:
    """End a constraint at once; what it had outweighed revives.

    One that has ended already is left as it is. Raises PermissionDenied for another kind of
    emitter than the one that set it; staff may withdraw anybody's. What a driver says, and what is
    a part of something (a limit, a policy, a dimming), nobody withdraws by itself.
    """
    require_own(constraint, by)
    with transaction.atomic():
        hold_systems(systems_of(constraint.target))
        standing = Constraint.objects.filter(pk=constraint.pk, withdrawn_at=None)
        withdrawn = standing.filter(not_over(now)).update(withdrawn_at=now, withdrawn_by=by.user)
        if withdrawn:
            constraint.withdrawn_at, constraint.withdrawn_by = now, by.user
            record_constraint(constraint, Verb.CONSTRAINT_WITHDRAWN, by.user, now)
            _resolve(constraint.target, now)
    return constraint


class UnableToRestore(Exception):
    """It is too late for this constraint to hold again; the message says why."""


def restore_constraint(*, constraint: Constraint, by: Emitter, now: datetime) -> Constraint:
    """Take back that somebody withdrew a constraint, within a minute.

    One that stands is left as it is. Raises PermissionDenied as `withdraw_constraint` does, and
    UnableToRestore where it is too late.
    """
    require_own(constraint, by)
    with transaction.atomic():
        hold_target(constraint.target)
        row = Constraint.objects.select_for_update(of=("self",)).get(pk=constraint.pk)
        if row.withdrawn_at is None:
            return row
        if not may_restore(row, now=now):
            raise UnableToRestore(_("It was withdrawn too long ago, or is over: set it anew."))
        row.withdrawn_at = row.withdrawn_by = None
        row.save(update_fields=["withdrawn_at", "withdrawn_by"])
        _require_room(row.target, EmitterKind(row.emitter_kind), now)
        record_constraint(row, Verb.CONSTRAINT_RESTORED, by.user, now)
        _resolve(row.target, now)
    return row


def may_restore(row: Constraint, *, now: datetime) -> bool:
    """Whether a person withdrew it just now, and it would still hold.

    What another one took the place of does not come back beside that.
    """
    is_theirs = is_withdrawn_lately(row, now=now) and row.version_of is None
    return is_theirs and row.invalid_at > now


def is_withdrawn_lately(
    row: Constraint | Series | SharedLimit | ChargingPolicy,
    *,
    now: datetime,
    within: timedelta = RESTORED_WITHIN,
) -> bool:
    """Whether a person withdrew it just now."""
    if row.withdrawn_at is None or row.withdrawn_by_id is None:
        return False
    return now - row.withdrawn_at < within


def require_own(row: Constraint | Series, by: Emitter) -> None:
    """Let pass who may change it. Raises PermissionDenied, with the reason."""
    if isinstance(row, Constraint):
        _require_set_by_hand(row)
    if by.kind is not EmitterKind.OPERATOR and row.emitter_kind != by.kind:
        raise PermissionDenied(_("Somebody else set it."))


def _require_set_by_hand(constraint: Constraint) -> None:
    if constraint.emitter_kind == EmitterKind.DRIVER:
        raise PermissionDenied(_("What an appliance can do is not for people to say."))
    if constraint.limit_id is not None:
        raise PermissionDenied(_("A share goes with its shared limit: end that."))
    if constraint.policy_id is not None:
        raise PermissionDenied(_("It goes with its charging policy: end that."))
    if constraint.dimming_id is not None:
        raise PermissionDenied(_("It goes with its dimming: end that."))


def _save(row: Constraint, *, number: int, emitter: Emitter, now: datetime) -> None:
    """Save a new constraint, or put it in the place of the one with its id, which is kept."""
    before = Constraint.objects.select_for_update(of=("self",)).filter(pk=row.pk).first()
    if before is not None:
        same_target = fields_of(before.target) == fields_of(row.target)
        # What came with a dimming or a series is changed and ended with it, and the past is past.
        parts = (before.dimming_id, before.series_id, before.version_of)
        is_part = any(part is not None for part in parts)
        if not same_target or before.emitter_kind != emitter.kind or is_part:
            raise UnableToConstrain("id", _("This id belongs to another one."), number=number)
        if before.withdrawn_at is None and _is_same(before, row, now):
            row.created_at, row.valid_at = before.created_at, before.valid_at
            return
        _keep_version(before, by=emitter.user, now=now)
    row.save(force_insert=before is None, force_update=before is not None)
    record_constraint(row, Verb.CONSTRAINED, emitter.user, now, before=before)


def _is_same(before: Constraint, row: Constraint, now: datetime) -> bool:
    """Whether it asks for the same; what holds already does not begin once more."""
    was, asked = _values(before), _values(row)
    if before.valid_at <= now and row.valid_at <= now:
        asked["valid_at"] = was["valid_at"]
    return was == asked


def _keep_version(row: Constraint, *, by: User | None, now: datetime) -> None:
    """Keep what a constraint was, by an id of its own; where it still stood, that ends now."""
    version = copy(row)
    version.pk, version.version_of = uuid7(), row.pk
    if row.withdrawn_at is None and row.invalid_at > now:
        version.withdrawn_at, version.withdrawn_by = now, by
    version.save(force_insert=True)


def _require_room(target: Target, kind: EmitterKind, now: datetime) -> None:
    """Each kind of emitter has room of its own: nobody keeps a grid operator from dimming.

    Series have theirs (`flexibility.series`).
    """
    standing = Constraint.objects.filter(
        withdrawn_at=None,
        invalid_at__gt=now,
        emitter_kind=kind,
        series=None,
        **fields_of(target),
    )
    if standing.count() > MOST_STANDING:
        reason = _("At most %d constraints stand at a time.") % MOST_STANDING
        raise UnableToConstrain("constraints", reason)


def checked(row: Constraint, *, number: int | None = None) -> resolver.Constraint:
    """As the resolver takes it. Raises UnableToConstrain where it contradicts itself."""
    try:
        return as_pure(row)
    except ContradictoryConstraint as error:
        reason = words.contradiction(error)
        raise UnableToConstrain(error.field, reason, number=number) from error


_RECORDED = (
    "priority",
    "min_w",
    "max_w",
    "set_point_w",
    "closest",
    "min_wh",
    "max_wh",
    "valid_at",
    "invalid_at",
    "kinds",
)


def _values(row: Constraint) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _RECORDED}


def record_constraint(
    row: Constraint, verb: str, by: User | None, now: datetime, before: Constraint | None = None
) -> None:
    """The audit entry of a constraint that was set, changed or withdrawn."""
    changes = stated_changes({} if before is None else _values(before), _values(row))
    record_change(
        verb=verb,
        target=row.target,
        account=account_of(row.target),
        by=by,
        now=now,
        changes={"constraint": [None, str(row.pk)], **changes},
    )


def _resolve(target: Target, now: datetime) -> None:
    systems = set(members_of(target).values_list("system", flat=True))
    resolve_systems(systems=systems, now=now)
