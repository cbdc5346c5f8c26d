"""Clusters and pools, as far as constraints have a say in what becomes of them."""

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from flexibility.models import SharedLimit, not_over
from flexibility.queries import State, constraints_on
from inventory.models import Cluster, SystemPool
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
        if type(group).objects.select_for_update().filter(pk=group.pk).first() is None:
            return
        if _is_asked_something(group, now):
            raise UnableToDissolve(
                _("It has limits or constraints that stand: withdraw them first.")
            )
        if isinstance(group, Cluster):
            remove_cluster(cluster=group, by=by, now=now)
        else:
            remove_pool(pool=group, by=by, now=now)


def _is_asked_something(group: Cluster | SystemPool, now: datetime) -> bool:
    if constraints_on(group, states=[State.ACTIVE, State.SCHEDULED], now=now).exists():
        return True
    limits = SharedLimit.objects.filter(not_over(now), withdrawn_at=None)
    return isinstance(group, Cluster) and limits.filter(cluster=group).exists()
