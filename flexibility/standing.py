"""Which constraints concern which appliances: their own, their clusters', their pools'."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from flexibility import resolver
from flexibility.models import Constraint, SharedLimit, not_over
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance, Cluster, System, SystemPool

_VALUES = ("min_w", "max_w", "set_point_w", "closest", "pausable", "min_wh", "max_wh")


def standing_constraints(
    appliances: Sequence[Appliance],
    *,
    from_at: datetime,
    until_at: datetime,
    with_withdrawn: bool = False,
) -> dict[UUID, list[Constraint]]:
    """By appliance (id) the constraints that may take part within [`from_at`, `until_at`).

    `with_withdrawn`: also those that were withdrawn in that time.
    """
    standing = _within(from_at, until_at, with_withdrawn=with_withdrawn)
    found: dict[UUID, list[Constraint]] = {appliance.pk: [] for appliance in appliances}
    for row in standing.filter(appliance__in=list(found)):
        found[row.appliance_id].append(row)
    clusters = _clusters_around(appliances)
    pools = _pools_around(appliances)
    of_group: dict[UUID, list[Constraint]] = {}
    groups = Q(cluster__in={one for around in clusters.values() for one in around})
    groups |= Q(pool__in={one for around in pools.values() for one in around})
    for row in standing.filter(groups):
        of_group.setdefault(row.cluster_id or row.pool_id, []).append(row)
    if of_group:
        for appliance in appliances:
            around = (*clusters.get(appliance.pk, ()), *pools.get(appliance.system_id, ()))
            for row in (row for group in around for row in of_group.get(group, ())):
                if concerns(row, appliance):
                    found[appliance.pk].append(row)
    return found


def concerns(row: Constraint | SharedLimit, appliance: Appliance) -> bool:
    """Whether a group's constraint is meant for a member of this kind."""
    return appliance.kind in (row.kinds or CONTROLLABLE)


def as_pure(row: Constraint) -> resolver.Constraint:
    """A row as the resolver takes it."""
    return resolver.Constraint(
        id=str(row.pk),
        emitter=resolver.EmitterKind(row.emitter_kind),
        priority=row.priority,
        created_at=row.created_at,
        valid_at=row.valid_at,
        invalid_at=row.invalid_at,
        withdrawn_at=row.withdrawn_at,
        bends=row.limit_id is not None,
        **{name: getattr(row, name) for name in _VALUES},
    )


def members_of(target: Appliance | Cluster | SystemPool | System) -> QuerySet[Appliance]:
    """The appliances that a constraint on this target may be meant for, each once."""
    present = Appliance.objects.filter(removed_at=None)
    if isinstance(target, System):
        return present.filter(system=target)
    if isinstance(target, Appliance):
        return present.filter(pk=target.pk)
    if isinstance(target, SystemPool):
        return present.filter(system__in=target.systems.all())
    return present.filter(cluster__in=_below(target))


def _within(from_at: datetime, until_at: datetime, *, with_withdrawn: bool) -> QuerySet[Constraint]:
    there = Q(withdrawn_at=None)
    if with_withdrawn:
        there |= Q(withdrawn_at__gt=from_at)
    return (
        Constraint.objects.filter(there, not_over(from_at), valid_at__lt=until_at)
        .select_related("emitter", "limit", "share", "policy")
        .defer("limit__tallies", "limit__order")
    )


def _clusters_around(appliances: Iterable[Appliance]) -> dict[UUID, list[UUID]]:
    """By appliance the clusters that it lies in, the innermost first."""
    inside = [one for one in appliances if one.cluster_id is not None]
    if not inside:
        return {}
    parents = dict(
        Cluster.objects.filter(system__in={one.system_id for one in inside}).values_list(
            "pk", "parent"
        )
    )
    found = {}
    for appliance in inside:
        around, step = [], appliance.cluster_id
        while step is not None:
            around.append(step)
            step = parents[step]
        found[appliance.pk] = around
    return found


def _pools_around(appliances: Iterable[Appliance]) -> dict[UUID, list[UUID]]:
    """By system the pools that it is in."""
    found: dict[UUID, list[UUID]] = {}
    members = SystemPool.systems.through.objects.filter(
        system__in={one.system_id for one in appliances}
    )
    for system_id, pool_id in members.values_list("system", "systempool"):
        found.setdefault(system_id, []).append(pool_id)
    return found


def _below(cluster: Cluster) -> list[UUID]:
    """The cluster and all that lie within it."""
    children: dict[UUID | None, list[UUID]] = {}
    for pk, parent in Cluster.objects.filter(system=cluster.system_id).values_list("pk", "parent"):
        children.setdefault(parent, []).append(pk)
    found = [cluster.pk]
    for one in found:
        found += children.get(one, [])
    return found
