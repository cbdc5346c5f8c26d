"""Clusters and pools while they change: who changes one, or asks something of it, holds it."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.dispatch import Signal
from django.http import Http404

from inventory.models import Appliance, Cluster, System, SystemPool

# An appliance, or a cluster, is to leave the clusters `left` (ids): sent in the transaction of the
# change, before it, with `member`, `left` and `now`. Who objects raises UnableToGroup.
leaving = Signal()


class UnableToGroup(Exception):
    """The appliance, cluster or system cannot be there; the message says why."""


class GroupGone(Http404):
    """The cluster or pool was dissolved by somebody else at that moment."""


def hold_group(group: Cluster | SystemPool) -> None:
    """Hold a group until the transaction ends, a cluster with all of its system's.

    Of two who change it, or ask something of it, one waits for the other. Raises GroupGone.
    """
    if isinstance(group, Cluster):
        hold_clusters(group.system_id, group)
        return
    held = SystemPool.objects.select_for_update(no_key=True).filter(pk=group.pk)
    if not held.values_list("pk"):
        raise GroupGone(f"{group} was dissolved")


def hold_clusters(system_id: UUID, *meant: Cluster | None) -> None:
    """Hold all clusters of a system, by its row. Raises GroupGone where one of these is gone."""
    held = System.objects.select_for_update(no_key=True).filter(pk=system_id)
    list(held.values_list("pk"))
    for cluster in meant:
        if cluster is not None and not Cluster.objects.filter(pk=cluster.pk).exists():
            raise GroupGone(f"{cluster} was dissolved")


def announce_leaving(
    *, member: Appliance | Cluster, goes_to: Cluster | None, now: datetime
) -> None:
    """Ask whether a member may leave the clusters around it. Raises UnableToGroup.

    To be called while the clusters are held.
    """
    parents = dict(Cluster.objects.filter(system=member.system_id).values_list("pk", "parent"))
    if isinstance(member, Cluster):
        comes_from = parents.get(member.pk)
    else:
        comes_from = Appliance.objects.values_list("cluster", flat=True).get(pk=member.pk)
    left = {*_around(comes_from, parents)} - {*_around(goes_to and goes_to.pk, parents)}
    if left:
        leaving.send(sender=type(member), member=member, left=left, now=now)


def _around(cluster: UUID | None, parents: dict[UUID, UUID | None]) -> Iterable[UUID]:
    """A cluster and all that it lies in."""
    while cluster is not None:
        yield cluster
        cluster = parents[cluster]
