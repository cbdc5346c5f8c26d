"""Clusters and pools, as far as constraints have a say in what becomes of them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.dispatch import receiver
from django.utils.translation import gettext as _

from accounts.models import User
from flexibility.models import ChargingPolicy, Constraint, SharedLimit, not_over
from flexibility.queries import State, constraints_on
from flexibility.resolver import EmitterKind
from flexibility.standing import concerns, members_of
from inventory.grouping import GroupGone, UnableToGroup, hold_group, leaving
from inventory.models import Appliance, Cluster, SystemPool
from inventory.operations import remove_cluster, remove_pool


class UnableToDissolve(Exception):
    """Something that was asked of the group still stands; the message says so."""


def dissolve(*, group: Cluster | SystemPool, by: User, now: datetime) -> None:
    """Remove a cluster or a pool, and with it its limits and constraints that have ended.

    Raises UnableToDissolve while others stand: who may group may not lift what a grid operator
    asked for.
    """
    with transaction.atomic():
        # Nobody sets a constraint on it meanwhile; of two who dissolve it one finds it gone.
        try:
            hold_group(group)
        except GroupGone:
            return
        if _is_asked_something(group, now):
            raise UnableToDissolve(
                _("It has limits, constraints or policies that stand: end them first.")
            )
        if isinstance(group, Cluster):
            remove_cluster(cluster=group, by=by, now=now)
        else:
            remove_pool(pool=group, by=by, now=now)


@receiver(leaving)
def keep_what_is_dimmed(
    *, member: Appliance | Cluster, left: Collection[UUID], now: datetime, **_signal: Any
) -> None:
    """Nothing leaves a cluster while a grid operator limits it: that would lift the limit.

    Raises UnableToGroup. Withdrawing is for the grid operator, or for staff.
    """
    standing = Q(not_over(now), cluster__in=left, withdrawn_at=None)
    asked = {"emitter_kind": EmitterKind.GRID_OPERATOR}
    appliances = list(members_of(member))
    for model in (Constraint, SharedLimit):
        for row in model.objects.filter(standing, **asked).select_related("cluster"):
            if any(concerns(row, one) for one in appliances):
                raise UnableToGroup(
                    _(
                        "The grid operator limits what is in %(cluster)s: nothing leaves it"
                        " until that has ended."
                    )
                    % {"cluster": row.cluster}
                )


def _is_asked_something(group: Cluster | SystemPool, now: datetime) -> bool:
    if constraints_on(group, states=[State.ACTIVE, State.SCHEDULED], now=now).exists():
        return True
    if not isinstance(group, Cluster):
        return False
    standing = Q(not_over(now), withdrawn_at=None, cluster=group)
    return any(one.objects.filter(standing).exists() for one in (SharedLimit, ChargingPolicy))
