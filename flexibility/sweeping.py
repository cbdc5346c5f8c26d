"""What time and others bring about: boundaries that pass, members that came, horizons that move.

Rows say what is due, so a sweep that is missed is caught up by the next, and two at once share.
What cannot be worked is left due, for the next sweep and not for this one.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min, QuerySet

from flexibility.dimming.operations import extend_dimmings
from flexibility.isolated import isolated
from flexibility.limits.balancing import due_limits, next_due
from flexibility.models import Flexibility, GatewaySchedule, SystemMark
from flexibility.resolving import RENEWED_AT, balance_systems, resolve_systems
from inventory.models import System

# How many systems are held at a time.
AT_ONCE = 100
BALANCED_AT_ONCE = 20

_CLAIM_MARKS = """
DELETE FROM flexibility_systemmark WHERE id IN (
    SELECT id FROM flexibility_systemmark WHERE NOT system_id = ANY(%s)
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING system_id
"""


def sweep(*, now: datetime) -> datetime | None:
    """Do all that is due; returns when after `now` the next constraint begins or ends."""
    failed: set[UUID] = set()
    while _resolve_marked(failed, now):
        pass
    _resolve_all(_passing(now), failed, now)
    _resolve_all(_running_out(now), failed, now)
    changes = Flexibility.objects.filter(changes_at__gt=now).aggregate(next=Min("changes_at"))
    coming = changes["next"], next_due(now=now)
    return min((at for at in coming if at is not None), default=None)


def due_boundaries(*, now: datetime) -> QuerySet[Flexibility]:
    """What remains where a constraint has begun or ended since, or where to look again."""
    return Flexibility.objects.filter(changes_at__lte=now, appliance__removed_at=None)


def balance_all_due(*, now: datetime) -> int:
    """Divide the shared limits that are due, for as many workers as there are.

    Returns of how many systems, without those that somebody else works on.
    """
    done, failed = 0, set[UUID]()
    while systems := _balance_some(failed, now):
        done += len(systems)
    return done


def _balance_some(failed: set[UUID], now: datetime) -> set[UUID]:
    with transaction.atomic():
        due = due_limits(now=now).exclude(system__in=failed)
        due_systems = due.values_list("system", flat=True)
        free = System.objects.select_for_update(no_key=True, skip_locked=True)
        held = free.filter(pk__in=set(due_systems)).order_by("key").values_list("pk", flat=True)
        # Another one may have had them while this one came.
        systems = set(due_systems.filter(system__in=list(held[:BALANCED_AT_ONCE])))
        if systems:
            failed |= isolated(lambda some: balance_systems(systems=some, now=now), systems)
    return systems


def _resolve_marked(failed: set[UUID], now: datetime) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM_MARKS, [list(failed), AT_ONCE])
        systems = {system_id for (system_id,) in cursor.fetchall()}
        if systems:
            now_failed = isolated(lambda some: _take_in(some, now), systems)
            SystemMark.objects.bulk_create(SystemMark(system_id=one) for one in now_failed)
            failed |= now_failed
    return bool(systems)


def _take_in(systems: Collection[UUID], now: datetime) -> None:
    extend_dimmings(systems=systems, now=now)
    resolve_systems(systems=systems, now=now)


def _passing(now: datetime) -> Collection[UUID]:
    return due_boundaries(now=now).values_list("appliance__system", flat=True)


def _running_out(now: datetime) -> Collection[UUID]:
    return (
        GatewaySchedule.objects.filter(until_at__lte=now + RENEWED_AT, gateway__revoked_at=None)
        .exclude(body=[])
        .values_list("gateway__system", flat=True)
    )


def _resolve_all(systems: Collection[UUID], failed: set[UUID], now: datetime) -> None:
    due = sorted(set(systems) - failed)
    for first in range(0, len(due), AT_ONCE):
        failed |= _resolve(due[first : first + AT_ONCE], now)


def _resolve(systems: Collection[UUID], now: datetime) -> set[UUID]:
    return isolated(lambda some: resolve_systems(systems=some, now=now), systems)
