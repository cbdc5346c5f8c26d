"""The audit log: who changed what, when, in the transaction of the change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, AuditEntry, User


class Verb(models.TextChoices):
    """What was done. Apps above may record verbs of their own; these are shown in words."""

    CREATED = "created", _("created")
    CHANGED = "changed", _("changed")
    MOVED = "moved", _("moved")
    REMOVED = "removed", _("removed")
    INVITED = "invited", _("invited")
    ROLE_CHANGED = "role_changed", _("role changed")
    DEACTIVATED = "deactivated", _("deactivated")
    REACTIVATED = "reactivated", _("reactivated")
    REGISTERED = "registered", _("registered")
    SECRET_ROTATED = "secret_rotated", _("secret rotated")
    REVOKED = "revoked", _("revoked")
    ASSIGNED = "assigned", _("assigned")
    UNASSIGNED = "unassigned", _("assignment ended")
    MEMBERS_CHANGED = "members_changed", _("members changed")
    CONSTRAINED = "constrained", _("constraint set")
    CONSTRAINT_WITHDRAWN = "constraint_withdrawn", _("constraint withdrawn")
    LIMITED = "limited", _("shared limit set")
    LIMIT_WITHDRAWN = "limit_withdrawn", _("shared limit withdrawn")
    CONSTRAINT_RESTORED = "constraint_restored", _("constraint set again")
    RESENT = "resent", _("schedule sent again")
    COMPUTED_ANEW = "computed_anew", _("computed anew")
    IMPORTED = "imported", _("readings imported")


# What changed, where it is no field of what it was changed of.
DETAILS = {
    "added": _("added"),
    "removed": _("taken out"),
    "grid_operator": _("grid operator"),
    "readings": _("readings"),
}
# These are names, not values before and after.
LISTS = frozenset({"added", "removed"})


def record_change(
    *,
    verb: str,
    target: models.Model,
    account: Account | None,
    by: User | None,
    now: datetime,
    changes: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write an entry; to be called within the transaction of the change.

    `account` decides who may read it: the admins of that account and of those above it. `changes`
    holds JSON values, for a changed field `[before, after]`; never a secret. `by` is None for what
    the system did by itself.
    """
    return AuditEntry.objects.create(
        at=now,
        by=by,
        account=account,
        verb=verb,
        target_kind=target._meta.label_lower,
        target_id=target.pk,
        target_name=str(target)[:200],
        changes=dict(changes or {}),
    )


def save_changes(
    *,
    target: models.Model,
    values: Mapping[str, Any],
    account: Account | None,
    by: User | None,
    now: datetime,
    verb: str = Verb.CHANGED,
) -> bool:
    """Set these fields, save and record what differs; returns whether anything does.

    `account` is as in `record_change`.
    """
    with transaction.atomic():
        changes = _change_fields(target, values)
        if changes:
            target.save(update_fields=[*changes, "updated_at"])
            record_change(
                verb=verb, target=target, account=account, by=by, now=now, changes=changes
            )
    return bool(changes)


def stated_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """`{field: [before, after]}`, as JSON, of what is said by either; 0 is a statement."""
    return {
        name: [_stated(before.get(name)), _stated(value)]
        for name, value in after.items()
        if not (_says_nothing(before.get(name)) and _says_nothing(value))
    }


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value == []


def _stated(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_stated(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else _as_json(value)


def _change_fields(target: models.Model, values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Set these fields; return what differs, as `{field: [before, after]}` of JSON values."""
    changes = {}
    for name, value in values.items():
        before = getattr(target, name)
        if before != value:
            changes[name] = [_as_json(before), _as_json(value)]
            setattr(target, name, value)
    return changes


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
