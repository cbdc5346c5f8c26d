"""What time and others bring about: boundaries that pass, members that came, horizons that move.

Rows say what is due, so a sweep that is missed is caught up by the next, and two at once share.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min

from flexibility.limits.balancing import due_limits, next_due
from flexibility.models import Flexibility, GatewaySchedule
from flexibility.resolving import RENEWED_AT, balance_systems, resolve_systems
from inventory.models import System

# How many systems are held at a time.
AT_ONCE = 100
BALANCED_AT_ONCE = 20

_CLAIM_MARKS = """
DELETE FROM flexibility_systemmark WHERE id IN (
    SELECT id FROM flexibility_systemmark ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING system_id
"""


def sweep(*, now: datetime) -> datetime | None:
    """Do all that is due; returns the instant at which the next constraint begins or ends."""
    while _resolve_marked(now):
        pass
    _resolve_all(_passing(now), now)
    _resolve_all(_running_out(now), now)
    coming = Flexibility.objects.aggregate(next=Min("changes_at"))["next"], next_due(now=now)
    return min((at for at in coming if at is not None), default=None)


def balance_due(*, now: datetime) -> bool:
    """Divide some of the shared limits that are due, for as many workers as there are.

    Returns whether there were any that nobody else works on.
    """
    with transaction.atomic():
        due = due_limits(now=now).values_list("cluster__system", flat=True)
        free = System.objects.select_for_update(no_key=True, skip_locked=True)
        held = free.filter(pk__in=set(due)).order_by("key").values_list("pk", flat=True)
        # Another one may have had them while this one came.
        systems = set(due.filter(cluster__system__in=list(held[:BALANCED_AT_ONCE])))
        if systems:
            balance_systems(systems=systems, now=now)
    return bool(systems)


def _resolve_marked(now: datetime) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM_MARKS, [AT_ONCE])
        systems = {system_id for (system_id,) in cursor.fetchall()}
        if systems:
            resolve_systems(systems=systems, now=now)
    return bool(systems)


def _passing(now: datetime) -> Iterable[UUID]:
    return Flexibility.objects.filter(changes_at__lte=now, appliance__removed_at=None).values_list(
        "appliance__system", flat=True
    )


def _running_out(now: datetime) -> Iterable[UUID]:
    return (
        GatewaySchedule.objects.filter(until_at__lte=now + RENEWED_AT, gateway__revoked_at=None)
        .exclude(body=[])
        .values_list("gateway__system", flat=True)
    )


def _resolve_all(systems: Iterable[UUID], now: datetime) -> None:
    due = sorted(set(systems))
    for first in range(0, len(due), AT_ONCE):
        resolve_systems(systems=due[first : first + AT_ONCE], now=now)
