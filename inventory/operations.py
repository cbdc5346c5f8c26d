"""Changes of the inventory. What concerns accounts, gateways and access leaves an audit entry."""

import secrets
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts import operations as account_operations
from accounts.access import Role
from accounts.audit import Verb, record_change, save_changes
from accounts.models import Account, User
from accounts.operations import constraint_of
from inventory import queries
from inventory.grouping import UnableToGroup, announce_leaving, hold_clusters, hold_group
from inventory.models import (
    Appliance,
    Cluster,
    Gateway,
    System,
    SystemAssignment,
    SystemPool,
)

SECRET_BYTES = 32


class UnableToRegisterGateway(Exception):
    """The system or the serial number is taken; the message says which."""


class UnableToChangeGateway(Exception):
    """What was asked for this gateway is refused; the message says why."""


class UnableToAssign(Exception):
    """The system cannot be assigned to that user; the message says why."""


def create_system(
    *, account: Account, name: str, by: User | None, now: datetime, **details: Any
) -> System:
    """Add a system of the account. `details` are further fields (time zone, address, place)."""
    with transaction.atomic():
        system = System.objects.create(account=account, name=name, created_at=now, **details)
        record_change(verb=Verb.CREATED, target=system, account=account, by=by, now=now)
    return system


def update_system(*, system: System, by: User | None, now: datetime, **values: Any) -> System:
    """Change name, time zone, address or place. Whose it is, is `move_system`'s."""
    return _update(system, system.account, values, by=by, now=now)


def move_system(*, system: System, account: Account, by: User | None, now: datetime) -> System:
    """Give the system to another account; it leaves the pools that cannot have it any more."""
    with transaction.atomic():
        is_moved = save_changes(
            target=system,
            values={"account": account},
            account=account,
            by=by,
            now=now,
            verb=Verb.MOVED,
        )
        if is_moved:
            _drop_strayed(System.objects.filter(pk=system.pk), by=by, now=now)
    return system


def move_account(
    *, account: Account, new_parent: Account, by: User | None, now: datetime
) -> Account:
    """Move an account (`accounts.operations.move_account`); systems leave the pools behind.

    Raises `accounts.operations.UnableToMoveAccount`.
    """
    with transaction.atomic():
        account_operations.move_account(account=account, new_parent=new_parent, by=by, now=now)
        _drop_strayed(queries.systems_below(account), by=by, now=now)
    return account


def register_gateway(
    *,
    system: System,
    serial: str,
    by: User | None,
    now: datetime,
    name: str = "",
) -> tuple[Gateway, str]:
    """Give the system its gateway; returns it with its secret, which is not kept anywhere.

    Raises UnableToRegisterGateway where the system has one, or the serial number is taken.
    """
    secret, digest = _make_secret()
    refusals = {
        "inventory_gateway_system_id_key": _("%(system)s has a gateway already.")
        % {"system": system},
        "inventory_gateway_serial_key": _("The serial number %(serial)s is registered already.")
        % {"serial": serial},
        "gateway_serial_form": _(
            "A serial number is 3 to 64 of: capital letters, digits, hyphens."
        ),
    }
    try:
        with transaction.atomic():
            gateway = Gateway.objects.create(
                system=system,
                serial=serial,
                name=name,
                secret_digest=digest,
                secret_rotated_at=now,
                registered_at=now,
                created_at=now,
            )
            record_change(
                verb=Verb.REGISTERED, target=gateway, account=system.account, by=by, now=now
            )
    except IntegrityError as error:
        reason = refusals.get(constraint_of(error) or "")
        if reason is None:
            raise
        raise UnableToRegisterGateway(reason) from error
    return gateway, secret


def rotate_secret(*, gateway: Gateway, by: User | None, now: datetime) -> str:
    """Give the gateway a new secret and return it; the old one ends, and so does a revocation.

    A connection that is open ends within seconds (`run_link` sees to that).
    """
    secret, digest = _make_secret()
    with transaction.atomic():
        was_revoked = gateway.revoked_at is not None
        gateway.secret_digest, gateway.secret_rotated_at = digest, now
        gateway.revoked_at = None
        gateway.save(
            update_fields=["secret_digest", "secret_rotated_at", "revoked_at", "updated_at"]
        )
        record_change(
            verb=Verb.SECRET_ROTATED,
            target=gateway,
            account=gateway.system.account,
            by=by,
            now=now,
            changes={"revoked_at": [was_revoked, False]} if was_revoked else {},
        )
    return secret


def revoke_gateway(*, gateway: Gateway, by: User | None, now: datetime) -> Gateway:
    """Let the gateway in no more; its connection ends within seconds (`run_link` sees to that).

    Raises UnableToChangeGateway when it is revoked already.
    """
    with transaction.atomic():
        revoked = Gateway.objects.filter(pk=gateway.pk, revoked_at=None).update(
            revoked_at=now, secret_digest="", updated_at=now
        )
        if not revoked:
            raise UnableToChangeGateway(_("%(serial)s is revoked already.") % {"serial": gateway})
        gateway.revoked_at, gateway.secret_digest = now, ""
        record_change(
            verb=Verb.REVOKED, target=gateway, account=gateway.system.account, by=by, now=now
        )
    return gateway


def is_secret_of(gateway: Gateway, secret: str) -> bool:
    """Whether a gateway that says so is let in: the right secret, and not revoked."""
    if not gateway.secret_digest or gateway.revoked_at is not None:
        return False
    return secrets.compare_digest(digest_of(secret), gateway.secret_digest)


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return sha256(secret.encode()).hexdigest()


def rename_gateway(*, gateway: Gateway, name: str, by: User | None, now: datetime) -> Gateway:
    """Give the gateway a name; its serial number stays."""
    return _update(gateway, gateway.system.account, {"name": name}, by=by, now=now)


def update_appliance(
    *, appliance: Appliance, by: User | None, now: datetime, **values: Any
) -> Appliance:
    """Change name and room, other descriptions of it, and the cluster that it lies in.

    Raises UnableToGroup for a cluster that it cannot be in, or for one that it cannot leave.
    """
    with transaction.atomic():
        if "cluster" in values:
            _require_movable(appliance, values["cluster"], now)
        return _update(appliance, appliance.system.account, values, by=by, now=now)


def create_cluster(
    *,
    system: System,
    name: str,
    by: User | None,
    now: datetime,
    parent: Cluster | None = None,
) -> Cluster:
    """Add a cluster of the system, within another one of it. Raises UnableToGroup otherwise."""
    if parent is not None and parent.system_id != system.pk:
        raise UnableToGroup(_("A cluster lies within clusters of its own system."))
    with transaction.atomic():
        hold_clusters(system.pk, parent)
        cluster = Cluster.objects.create(system=system, parent=parent, name=name, created_at=now)
        record_change(verb=Verb.CREATED, target=cluster, account=system.account, by=by, now=now)
    return cluster


def update_cluster(
    *, cluster: Cluster, name: str, parent: Cluster | None, by: User | None, now: datetime
) -> Cluster:
    """Rename a cluster, and put it into another one (None: to the top).

    Raises UnableToGroup within itself, within another system's cluster, and where it cannot leave
    the one that it is in.
    """
    if parent is not None and parent.system_id != cluster.system_id:
        raise UnableToGroup(_("A cluster lies within clusters of its own system."))
    try:
        with transaction.atomic():
            hold_clusters(cluster.system_id, cluster, parent)
            announce_leaving(member=cluster, goes_to=parent, now=now)
            values = {"name": name, "parent": parent}
            return _update(cluster, cluster.system.account, values, by=by, now=now)
    except IntegrityError as error:
        if constraint_of(error) not in {"cluster_no_cycle", "cluster_not_own_parent"}:
            raise
        raise UnableToGroup(_("A cluster cannot lie within itself.")) from error


def remove_cluster(*, cluster: Cluster, by: User | None, now: datetime) -> None:
    """Dissolve a cluster: what was in it goes to the cluster around it, or to the top."""
    with transaction.atomic():
        hold_group(cluster)
        # The one around it may have been dissolved since it was loaded.
        cluster.refresh_from_db(fields=["parent"])
        Cluster.objects.filter(parent=cluster).update(parent=cluster.parent, updated_at=now)
        Appliance.objects.filter(cluster=cluster).update(cluster=cluster.parent, updated_at=now)
        record_change(
            verb=Verb.REMOVED, target=cluster, account=cluster.system.account, by=by, now=now
        )
        cluster.delete()


def move_appliance(
    *, appliance: Appliance, cluster: Cluster | None, by: User | None, now: datetime
) -> Appliance:
    """Put the appliance into a cluster of its system, or out of all. Raises UnableToGroup."""
    return update_appliance(appliance=appliance, by=by, now=now, cluster=cluster)


def create_pool(
    *, account: Account, name: str, by: User | None, now: datetime, **details: Any
) -> SystemPool:
    """Add a pool of the account, still without members."""
    with transaction.atomic():
        pool = SystemPool.objects.create(account=account, name=name, created_at=now, **details)
        record_change(verb=Verb.CREATED, target=pool, account=account, by=by, now=now)
    return pool


def update_pool(*, pool: SystemPool, by: User | None, now: datetime, **values: Any) -> SystemPool:
    """Change a pool's name, kind or time zone."""
    return _update(pool, pool.account, values, by=by, now=now)


def add_members(
    *, pool: SystemPool, systems: Collection[System], by: User | None, now: datetime
) -> int:
    """Make these systems members too; returns how many were not.

    Raises UnableToGroup, and adds none, where one does not lie in the subtree of the pool's
    account.
    """
    for system in systems:
        if not system.account.path.startswith(pool.account.path):
            raise UnableToGroup(
                _("%(system)s does not lie in %(account)s, whose pool this is.")
                % {"system": system, "account": pool.account}
            )
    with transaction.atomic():
        hold_group(pool)
        present = set(pool.systems.filter(pk__in=[one.pk for one in systems]).values_list("pk"))
        added = [system for system in systems if (system.pk,) not in present]
        pool.systems.add(*added)
        if added:
            _record_members(pool, by, now, added=[system.name for system in added])
    return len(added)


def remove_members(
    *, pool: SystemPool, systems: Collection[System], by: User | None, now: datetime
) -> int:
    """Take these systems out of the pool; returns how many were in it."""
    with transaction.atomic():
        members = pool.systems.through.objects.filter(
            systempool=pool, system__in=[system.pk for system in systems]
        )
        removed = list(members.values_list("system__name", flat=True))
        members.delete()
        if removed:
            _record_members(pool, by, now, removed=removed)
    return len(removed)


def remove_pool(*, pool: SystemPool, by: User | None, now: datetime) -> None:
    """Dissolve a pool; its systems stay as they are."""
    with transaction.atomic():
        record_change(verb=Verb.REMOVED, target=pool, account=pool.account, by=by, now=now)
        pool.delete()


def assign_system(
    *, system: System, operator: User, by: User | None, now: datetime
) -> SystemAssignment:
    """Let a grid operator look after the system. Raises UnableToAssign for other roles."""
    if operator.role != Role.GRID_OPERATOR:
        raise UnableToAssign(_("%(name)s is not a grid operator.") % {"name": operator})
    with transaction.atomic():
        assignment, is_new = SystemAssignment.objects.get_or_create(system=system, user=operator)
        if not is_new:
            raise UnableToAssign(
                _("%(name)s looks after %(system)s already.") % {"name": operator, "system": system}
            )
        record_change(
            verb=Verb.ASSIGNED,
            target=system,
            account=system.account,
            by=by,
            now=now,
            changes={"grid_operator": [None, operator.email]},
        )
    return assignment


def end_assignment(*, assignment: SystemAssignment, by: User | None, now: datetime) -> None:
    """The grid operator no longer sees the system."""
    system = assignment.system
    with transaction.atomic():
        record_change(
            verb=Verb.UNASSIGNED,
            target=system,
            account=system.account,
            by=by,
            now=now,
            changes={"grid_operator": [assignment.user.email, None]},
        )
        assignment.delete()


def _make_secret() -> tuple[str, str]:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return secret, digest_of(secret)


def _require_movable(appliance: Appliance, cluster: Cluster | None, now: datetime) -> None:
    if cluster is not None and cluster.system_id != appliance.system_id:
        raise UnableToGroup(_("An appliance lies in clusters of its own system."))
    hold_clusters(appliance.system_id, cluster)
    announce_leaving(member=appliance, goes_to=cluster, now=now)


def _update(
    target: Any, account: Account, values: dict[str, Any], *, by: User | None, now: datetime
) -> Any:
    save_changes(target=target, values=values, account=account, by=by, now=now)
    return target


def _drop_strayed(systems: QuerySet[System], *, by: User | None, now: datetime) -> None:
    for member in queries.strayed_members(systems):
        _record_members(member.systempool, by, now, removed=[member.system.name])
        member.delete()


def _record_members(pool: SystemPool, by: User | None, now: datetime, **systems: list[str]) -> None:
    record_change(
        verb=Verb.MEMBERS_CHANGED,
        target=pool,
        account=pool.account,
        by=by,
        now=now,
        changes=systems,
    )
