"""The things that something can be asked of: one appliance, or all of a cluster, pool or system."""

from uuid import UUID

from accounts.models import Account
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
