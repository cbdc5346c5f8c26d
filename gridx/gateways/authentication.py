"""Who may sign in to the broker: it asks, this answers (NATS auth callout).

Gateways sign in by MQTT with their serial number as user name and as client id, and their secret
as password. What they may then publish and subscribe lies below their own serial number.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from django.db import transaction
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from gridx import clock
from gridx.gateways.database import UNREACHABLE, DatabaseThreads
from gridx.gateways.faults import Fault, record_faults
from gridx.gateways.tally import Tally
from gridx.gateways.tokens import Grant, InvalidToken, Issuer, Question, read_question
from gridx.gateways.topics import (
    InvalidSerial,
    check_serial,
    publishable_subjects,
    subscribable_subjects,
)
from inventory.models import Gateway
from inventory.operations import is_secret_of

logger = logging.getLogger(__name__)

SUBJECT = "$SYS.REQ.USER.AUTH"
QUEUE = "sign-in"
# The account in the broker's configuration in which gateways are.
ACCOUNT = "GRIDX"
FAULT_TOPIC = "sign-in"
# More questions at once are left unanswered; their gateways ask again.
_MOST_AT_ONCE = 200


class Refusal(StrEnum):
    """Why a client is not let in."""

    NOT_MQTT = "not_mqtt"
    NO_SERIAL = "no_serial"
    CLIENT_ID = "client_id_is_not_the_serial"
    UNKNOWN = "unknown_gateway"
    REVOKED = "revoked"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a reason, not a secret
    PAUSED = "paused"


class Cluster(Protocol):
    """What is known of the broker's servers."""

    async def is_server(self, server_id: str) -> bool:
        """Whether this is one of the cluster's own servers."""


def judge(question: Question, *, now: datetime) -> Refusal | None:
    """Why the client is not let in, None where it is. A refusal is a fault of its gateway."""
    if not question.is_mqtt:
        return Refusal.NOT_MQTT
    try:
        serial = check_serial(question.username)
    except InvalidSerial:
        return Refusal.NO_SERIAL
    # A second session under the gateway's name would take the first one over.
    if question.client_id != serial:
        return Refusal.CLIENT_ID
    gateway = Gateway.objects.filter(serial=serial).first()
    # Unknown serials take as long as wrong secrets.
    is_right = is_secret_of(gateway or Gateway(secret_digest="0" * 64), question.password)
    if gateway is None:
        return Refusal.UNKNOWN
    if gateway.revoked_at is not None:
        return Refusal.REVOKED
    if not is_right:
        return Refusal.WRONG_SECRET
    # It sent too much (`gridx.gateways.floods`).
    is_paused = gateway.paused_until is not None and now < gateway.paused_until
    return Refusal.PAUSED if is_paused else None


def judge_and_note(question: Question, *, now: datetime) -> Refusal | None:
    """`judge`, and keep a refusal where its gateway's page shows it; the secret is never kept."""
    refusal = judge(question, now=now)
    if refusal in (Refusal.REVOKED, Refusal.WRONG_SECRET):
        with transaction.atomic():
            gateway_id = Gateway.objects.values_list("pk", flat=True).get(serial=question.username)
            fault = Fault(
                gateway_id=gateway_id,
                topic=FAULT_TOPIC,
                reason=refusal.value,
                detail=f"from {question.address}",
            )
            record_faults(faults=[fault], now=now)
    return refusal


def grant_for(serial: str) -> Grant:
    """What a gateway may do at the broker."""
    return Grant(
        name=serial,
        publish=publishable_subjects(serial),
        subscribe=subscribable_subjects(serial),
    )


class SignInDesk:
    """Answers the broker's questions; any number of desks share them."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        cluster: Cluster,
        database: DatabaseThreads,
        tally: Tally,
        is_open: Callable[[], bool],
    ) -> None:
        self._issuer, self._cluster, self._database = issuer, cluster, database
        self._tally, self._is_open = tally, is_open
        self._answering: set[asyncio.Task] = set()

    async def attend(self, client: Client) -> None:
        """Take questions from now on."""
        await client.subscribe(SUBJECT, queue=QUEUE, cb=self._take)

    async def _take(self, message: Msg) -> None:
        if len(self._answering) >= _MOST_AT_ONCE:
            self._tally.count("sign-ins left unanswered")
            return
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            question = read_question(message.data)
        except InvalidToken as error:
            self._tally.count("sign-in questions that are forged", example=str(error))
            return
        try:
            if not await self._cluster.is_server(question.server_id):
                self._tally.count(
                    "sign-in questions of unknown servers", example=question.server_id
                )
                return
            await message.respond(await self._verdict(question))
        except NatsError as error:
            # The broker is gone, and with it the client that asked.
            logger.info("A sign-in could not be answered: %s", error)

    async def _verdict(self, question: Question) -> bytes:
        at_s = int(time.time())
        if not self._is_open():
            self._tally.count("sign-ins before the link is ready")
            return self._issuer.refuse(question, "the link is not ready", at_s=at_s)
        try:
            refusal = await self._database.run(judge_and_note, question, now=clock.now())
        except UNREACHABLE as error:
            logger.warning("Nobody can sign in without the database: %s", str(error).strip())
            return self._issuer.refuse(question, "the database is out of reach", at_s=at_s)
        if refusal is None:
            self._tally.count("sign-ins")
            return self._issuer.allow(question, grant_for(question.username), at_s=at_s)
        self._tally.count(
            f"sign-ins refused, {refusal}",
            example=f"{question.username[:64]!r} from {question.address}",
        )
        return self._issuer.refuse(question, refusal.value, at_s=at_s)
