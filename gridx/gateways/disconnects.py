"""Connections that the broker itself ended, because of what the gateway sent: shown at the gateway.

A message beyond the broker's greatest size never reaches the log; the broker ends the connection
instead, and tells the system account why.
"""

import json
import logging
from datetime import datetime

from django.db import transaction
from nats.aio.client import Client
from nats.aio.msg import Msg

from gridx import clock
from gridx.gateways.arrivals import find_gateways
from gridx.gateways.authentication import ACCOUNT
from gridx.gateways.codec import Reason
from gridx.gateways.database import UNREACHABLE, DatabaseThreads
from gridx.gateways.faults import Fault, record_faults

logger = logging.getLogger(__name__)

SUBJECT = f"$SYS.ACCOUNT.{ACCOUNT}.DISCONNECT"
QUEUE = "disconnects"
TOPIC = "connection"
# The broker's words, by the reason that pages show.
_REASONS = {
    "Maximum Message Payload Exceeded": Reason.TOO_LARGE.value,
    "Protocol Violation": "protocol_violation",
    "Slow Consumer (Write Deadline)": "slow_receiver",
    "Slow Consumer (Pending Bytes)": "slow_receiver",
}


class DisconnectNotes:
    """Takes note of them; any number of links share that."""

    def __init__(self, database: DatabaseThreads) -> None:
        self._database = database

    async def attend(self, system: Client) -> None:
        """Take note from now on."""
        await system.subscribe(SUBJECT, queue=QUEUE, cb=self._take)

    async def _take(self, message: Msg) -> None:
        event = json.loads(message.data)
        what, serial = event.get("reason", ""), event["client"].get("user", "")
        if what not in _REASONS:
            return
        try:
            await self._database.run(_note, serial, what, now=clock.now())
        except UNREACHABLE as error:
            logger.warning("%s was cut off (%s); not noted: %s", serial, what, error)


def _note(serial: str, what: str, *, now: datetime) -> None:
    with transaction.atomic():
        gateway = find_gateways([serial]).get(serial)
        if gateway is not None:
            fault = Fault(gateway_id=gateway.id, topic=TOPIC, reason=_REASONS[what], detail=what)
            record_faults(faults=[fault], now=now)
