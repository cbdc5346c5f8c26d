"""Schedules and heartbeats on their way to gateways: claimed from the outbox, sent, confirmed.

A schedule is published whole and retained, so a gateway that was away gets the newest when it
returns. Whoever sends an older one late learns so when it says what it sent, and sends the newest
once more: the last word at the broker is always the newest.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.conf import settings

from accounts import outbox
from accounts.models import OutboxMessage
from flexibility.delivery import record_published
from flexibility.models import Flexibility, GatewaySchedule
from flexibility.resolving import SCHEDULE
from gridx.gateways.messages import VERSION, ApplianceSchedule, Heartbeat, Message, Schedule
from gridx.gateways.publisher import Publisher, UnableToPublish
from gridx.gateways.topics import Channel
from inventory.models import Gateway
from measurements.resolutions import to_ms

logger = logging.getLogger(__name__)

# A schedule is wanted within seconds, and for as long as it takes.
PROMPT = outbox.Patience(
    lease=timedelta(seconds=30),
    first_pause=timedelta(seconds=1),
    longest_pause=timedelta(seconds=60),
    most_attempts=None,
)
AT_ONCE = 500
_PATIENCE_S = 20.0


def publish_schedules(*, now: datetime) -> int:
    """Send the schedules that are due; returns how many messages were claimed."""
    claimed = outbox.claim_due(kind=SCHEDULE, now=now, limit=AT_ONCE, patience=PROMPT)
    if not claimed:
        return 0
    try:
        unfit = _publish_newest(_still_to_send(claimed), now)
    except UnableToPublish as error:
        logger.warning("%d schedules could not be sent: %s", len(claimed), error)
        unfit = {_gateway_of(one): str(error) for one in claimed}
    for message in claimed:
        if (error := unfit.get(_gateway_of(message))) is not None:
            outbox.postpone(message, error=error, now=now, patience=PROMPT)
    outbox.confirm_all((one for one in claimed if _gateway_of(one) not in unfit), now=now)
    return len(claimed)


def send_heartbeats(*, now: datetime) -> int:
    """Tell the gateways that a grid operator dims that the cloud is there; returns how many."""
    dimmed = Flexibility.objects.filter(
        inputs__contains=[{"dims": True}],
        appliance__removed_at=None,
        appliance__gateway__revoked_at=None,
    )
    serials = dimmed.values_list("appliance__gateway__serial", flat=True).distinct()
    beat = Heartbeat(v=VERSION, at=to_ms(now))
    messages = [(serial, Channel.HEARTBEAT, beat) for serial in serials if serial]
    if messages:
        asyncio.run(_send(messages))
    return len(messages)


def schedule_of(row: GatewaySchedule) -> Schedule:
    """The message that a row stands for."""
    return Schedule(
        v=VERSION,
        revision=row.revision,
        issued_at=to_ms(row.made_at),
        appliances=msgspec.convert(row.body, list[ApplianceSchedule]),
    )


def _still_to_send(claimed: Collection[OutboxMessage]) -> set[UUID]:
    """The gateways of these messages, but those that have the newest already.

    What was tried before may have got lost half way, so that is sent whatever is known.
    """
    tried = {_gateway_of(one) for one in claimed if one.attempts > 1}
    fresh = {_gateway_of(one) for one in claimed} - tried
    known = GatewaySchedule.objects.only("revision", "published_revision").in_bulk(fresh)
    return tried | {pk for pk, row in known.items() if row.published_revision < row.revision}


def _gateway_of(message: OutboxMessage) -> UUID:
    return UUID(message.payload["gateway"])


def _publish_newest(gateways: set[UUID], now: datetime) -> dict[UUID, str]:
    """Publish until the last word of each is its newest. Raises UnableToPublish.

    Returns those of whose rows no message can be made, and why: they hold up nobody else.
    """
    unfit: dict[UUID, str] = {}
    while gateways:
        rows = GatewaySchedule.objects.filter(
            pk__in=gateways, gateway__in=Gateway.objects.filter(revoked_at=None)
        )
        rows = rows.select_related("gateway").defer("kept_body")
        found = list(rows)
        messages: list[tuple[str, Channel, Message]] = []
        for row in found:
            try:
                messages.append((row.gateway.serial, Channel.SCHEDULE, schedule_of(row)))
            except msgspec.ValidationError as error:
                logger.exception("The schedule of gateway %s is not fit to be sent", row.gateway)
                unfit[row.pk] = str(error)
        if messages:
            asyncio.run(_send(messages))
        sent = {row.pk: row.revision for row in found if row.pk not in unfit}
        gateways = record_published(revisions=sent, now=now)
    return unfit


async def _send(messages: Sequence[tuple[str, Channel, Message]]) -> None:
    at = settings.ADDRESSES
    publisher = Publisher(mqtt_url=at.mqtt_url, nats_url=at.nats_url)
    connection = asyncio.create_task(publisher.run())
    try:
        await publisher.publish(messages, patience_s=_PATIENCE_S)
    finally:
        connection.cancel()
        await asyncio.gather(connection, return_exceptions=True)
