"""Clusters and pools, as far as constraints have a say in what becomes of them."""

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from flexibility.queries import State, constraints_on
from inventory.models import Cluster, SystemPool
from inventory.operations import remove_cluster, remove_pool


class UnableToDissolve(Exception):
    """Constraints of the group still stand; the message says so."""


def dissolve(*, group: Cluster | SystemPool, by: User, now: datetime) -> None:
    """Remove a cluster or a pool, and with it its constraints that have ended.

    Raises UnableToDissolve while others stand: who may group may not lift what a grid operator
    asked for.
    """
    with transaction.atomic():
        # Nobody sets a constraint on it meanwhile; of two who dissolve it one finds it gone.
        if type(group).objects.select_for_update().filter(pk=group.pk).first() is None:
            return
        standing = constraints_on(group, states=[State.ACTIVE, State.SCHEDULED], now=now)
        if standing.exists():
            raise UnableToDissolve(_("It has constraints that stand: withdraw them first."))
        if isinstance(group, Cluster):
            remove_cluster(cluster=group, by=by, now=now)
        else:
            remove_pool(pool=group, by=by, now=now)
