"""The things that something can be asked of: one appliance, or all of a cluster, pool or system."""

from uuid import UUID

from django.http import Http404

from accounts.models import Account
from flexibility.resolving import hold_systems
from inventory.grouping import hold_group
from inventory.models import Appliance, Cluster, System, SystemPool

Target = Appliance | Cluster | SystemPool | System

_NAMES = {Appliance: "appliance", Cluster: "cluster", SystemPool: "pool", System: "system"}


def fields_of(target: Target) -> dict[str, Target]:
    """The foreign key by which a row is about the target, by name."""
    return {_NAMES[type(target)]: target}


def account_of(target: Target) -> Account:
    """Whose account a target is of."""
    return (target if isinstance(target, System | SystemPool) else target.system).account


def systems_of(target: Target) -> set[UUID]:
    """The systems that what is asked of a target concerns."""
    if isinstance(target, System):
        return {target.pk}
    if isinstance(target, SystemPool):
        return set(target.systems.values_list("pk", flat=True))
    return {target.system_id}


class TargetGone(Http404):
    """The appliance was removed at that moment."""


def hold_target(target: Target) -> list[UUID]:
    """Hold a target and its systems until the transaction ends; returns the systems (ids).

    Of two who ask something of it at once one goes first: else both would make the row of an id
    that is new, or wait for each other's rows. Nobody dissolves it or takes something out of it
    meanwhile. Raises GroupGone, and TargetGone.
    """
    if isinstance(target, Cluster | SystemPool):
        hold_group(target)
    systems = hold_systems(systems_of(target))
    if isinstance(target, Appliance) and (
        not Appliance.objects.filter(pk=target.pk, removed_at=None).exists()
    ):
        raise TargetGone(f"{target} was removed")
    return systems
