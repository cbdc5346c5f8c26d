"""What of a gateway's messages was refused: counted, shown, kept for 7 days.

However much a gateway sends, its faults stay few: one that equals another of the last MERGED_WITHIN
joins its row, which says how often, since when and when at last; of the rest only the newest
MOST_ROWS are kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from gridx.gateways.arrivals import UNKNOWN_FIELD, GatewayRow, Unreadable, Upward
from inventory.models import GatewayFault

KEPT_FOR = timedelta(days=7)
MERGED_WITHIN = timedelta(hours=1)
MOST_ROWS = 500
MOST_BODY_BYTES = 4096
_SHOWN_DETAIL = 500
_GREATEST_COUNT = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One refusal: on which topic (below the serial), why, and the message as it came."""

    gateway_id: UUID
    topic: str
    reason: str
    detail: str = ""
    count: int = 1
    body: bytes = b""


def record_faults(*, faults: Iterable[Fault], now: datetime) -> None:
    """Keep the faults; to be called within the transaction of what was done about them.

    The first of equal ones is the example that is kept.
    """
    merged: dict[tuple[UUID, str, str], Fault] = {}
    for fault in faults:
        key = (fault.gateway_id, fault.topic[:20], fault.reason[:40])
        known = merged.get(key)
        merged[key] = fault if known is None else replace(known, count=known.count + fault.count)
    if not merged:
        return
    recent = {
        (row.gateway_id, row.topic, row.reason): row.pk
        for row in GatewayFault.objects.filter(
            gateway__in={key[0] for key in merged}, at__gt=now - MERGED_WITHIN
        )
        .order_by("at")
        .only("gateway_id", "topic", "reason")
    }
    again = {recent[key]: fault.count for key, fault in merged.items() if key in recent}
    _count_more(again, now)
    new = [_row(key, fault, now) for key, fault in merged.items() if key not in recent]
    if new:
        GatewayFault.objects.bulk_create(new)
        _drop_beyond(MOST_ROWS, {row.gateway_id for row in new})


def fault_of(item: Unreadable, gateway: GatewayRow) -> Fault:
    """What is kept of a message that could not be read."""
    place = f"{item.location}: " if item.location else ""
    return Fault(
        gateway_id=gateway.id,
        topic=item.topic,
        reason=item.reason,
        detail=f"{place}{item.detail}",
        body=item.arrival.body,
    )


def faults_of_ignored(item: Upward, gateway: GatewayRow) -> list[Fault]:
    """Fields that nobody knows cost nothing: the message was taken without them."""
    if not item.ignored:
        return []
    return [
        Fault(
            gateway_id=gateway.id,
            topic=item.channel.value,
            reason=UNKNOWN_FIELD,
            detail=", ".join(item.ignored),
            body=item.arrival.body,
        )
    ]


def drop_old_faults(*, now: datetime) -> int:
    """Delete what is older than KEPT_FOR; returns how many rows."""
    return GatewayFault.objects.filter(at__lt=now - KEPT_FOR).delete()[0]


def _row(key: tuple[UUID, str, str], fault: Fault, now: datetime) -> GatewayFault:
    gateway_id, topic, reason = key
    return GatewayFault(
        gateway_id=gateway_id,
        at=now,
        topic=topic,
        reason=reason,
        detail=fault.detail[:_SHOWN_DETAIL].replace("\x00", "\ufffd"),
        count=fault.count,
        body=fault.body[:MOST_BODY_BYTES],
    )


def _count_more(counts: dict[UUID, int], now: datetime) -> None:
    """It happened again: the row keeps its first time, and comes to the top of the list."""
    if not counts:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE inventory_gatewayfault AS f
            SET count = LEAST(f.count::bigint + more.count, %s),
                since = COALESCE(f.since, f.at), at = GREATEST(f.at, %s)
            FROM unnest(%s::uuid[], %s::bigint[]) AS more (id, count)
            WHERE f.id = more.id
            """,
            [_GREATEST_COUNT, now, list(counts), list(counts.values())],
        )


def _drop_beyond(most: int, gateway_ids: set[UUID]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM inventory_gatewayfault WHERE id IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY gateway_id ORDER BY at DESC, id DESC)
                    FROM inventory_gatewayfault WHERE gateway_id = ANY(%s)
                ) AS ranked (id, place)
                WHERE place > %s
            )
            """,
            [list(gateway_ids), most],
        )
