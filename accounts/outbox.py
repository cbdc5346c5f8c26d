"""What leaves the process: rows saved with their cause, claimed, sent, confirmed or retried.

A claim is a lease: `FOR UPDATE SKIP LOCKED` gives each row to one worker, counts the attempt and
makes the row due again later. Nothing is locked while something is being sent, and a worker that
dies in between loses nothing: the lease runs out and another one sends. So a message can go out
twice, but never not at all.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from accounts.models import OutboxMessage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a claim lasts, how long to wait after a failure, and when to give up (None: never).

    The pause doubles with every failure, up to the longest.
    """

    lease: timedelta = timedelta(minutes=5)
    first_pause: timedelta = timedelta(minutes=1)
    longest_pause: timedelta = timedelta(hours=6)
    most_attempts: int | None = 10


PATIENT = Patience()
# Beyond, any pause is the longest one.
_MOST_DOUBLINGS = 30


def add_message(
    *, kind: str, payload: Mapping[str, Any], now: datetime, due_at: datetime | None = None
) -> OutboxMessage:
    """Save what is to leave; to be called within the transaction of its cause.

    `payload` is seen by staff, so it holds no secrets: what is secret is made when it is sent.
    """
    return OutboxMessage.objects.create(
        kind=kind, payload=dict(payload), created_at=now, due_at=due_at or now
    )


def add_messages(*, kind: str, payloads: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Save many at once; as `add_message`."""
    OutboxMessage.objects.bulk_create(
        OutboxMessage(kind=kind, payload=dict(payload), created_at=now, due_at=now)
        for payload in payloads
    )


def due(*, kind: str, now: datetime) -> QuerySet[OutboxMessage]:
    """The messages of a kind that are to go out now."""
    return OutboxMessage.objects.filter(kind=kind, due_at__lte=now, sent_at=None, failed_at=None)


def claim_due(
    *, kind: str, now: datetime, limit: int = 50, patience: Patience = PATIENT
) -> list[OutboxMessage]:
    """Lease the due messages of a kind, the longest due first, and count the attempt."""
    with transaction.atomic():
        claimed = list(
            due(kind=kind, now=now).select_for_update(skip_locked=True).order_by("due_at")[:limit]
        )
        OutboxMessage.objects.filter(pk__in=[message.pk for message in claimed]).update(
            due_at=now + patience.lease, attempts=F("attempts") + 1
        )
    for message in claimed:
        message.due_at = now + patience.lease
        message.attempts += 1
    return claimed


def confirm(message: OutboxMessage, *, now: datetime, remark: str = "") -> None:
    """It has left."""
    message.sent_at, message.last_error = now, remark
    message.save(update_fields=["sent_at", "last_error"])


def confirm_all(messages: Iterable[OutboxMessage], *, now: datetime) -> None:
    """They have left."""
    ids = [message.pk for message in messages]
    OutboxMessage.objects.filter(pk__in=ids).update(sent_at=now, last_error="")


def postpone(
    message: OutboxMessage, *, error: str, now: datetime, patience: Patience = PATIENT
) -> None:
    """It could not be sent: due again after a pause that doubles, or given up."""
    message.last_error = error[:2000]
    if patience.most_attempts is not None and message.attempts >= patience.most_attempts:
        message.failed_at = now
    else:
        doublings = min(message.attempts - 1, _MOST_DOUBLINGS)
        pause = min(patience.longest_pause, patience.first_pause * 2**doublings)
        message.due_at = now + pause
    message.save(update_fields=["last_error", "failed_at", "due_at"])


def send_due(
    *, kind: str, send: Callable[[OutboxMessage], str], now: datetime, limit: int = 50
) -> int:
    """Claim and send; returns how many were claimed.

    `send` returns a remark (mostly empty). Whatever it raises postpones that message alone.
    """
    claimed = claim_due(kind=kind, now=now, limit=limit)
    for message in claimed:
        try:
            remark = send(message)
        except Exception as error:
            logger.warning("Outgoing %s %s failed", kind, message.pk, exc_info=True)
            postpone(message, error=f"{type(error).__name__}: {error}", now=now)
        else:
            confirm(message, now=now, remark=remark)
    return len(claimed)


def resend(message: OutboxMessage, *, now: datetime) -> None:
    """Make it due once more, from the first attempt on, whatever became of it before."""
    message.due_at, message.sent_at, message.failed_at = now, None, None
    message.attempts, message.last_error = 0, ""
    message.save(update_fields=["due_at", "sent_at", "failed_at", "attempts", "last_error"])
