"""The durable consumers of the stream `$MQTT_msgs`, and pulling from them.

The acknowledgement to a gateway (PUBACK) waits for this stream and no other. Its retention is by
interest: a message stays until every consumer that it concerns has acknowledged it, and is gone
at once where there is none. So no gateway is let in before these consumers exist.

- READINGS: everything below `up/`; shared by all links, acknowledged one by one, order irrelevant.
- ORDERED: what must keep its order; one link at a time pulls it and acknowledges “all up to here”.
  The server hands out again what was not acknowledged as its time comes, in whatever order, and
  counts its deliveries: a number left out is a message that got lost on the way. Nothing behind it
  may be handled, let alone acknowledged; all that is open is handed out again from the beginning,
  as it is when a link takes over (`hand_out_again`).
"""

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from gridx.gateways.topics import MQTT_STREAM, Channel, stream_subject, upward_stream_filters
from gridx.gateways.waiting import is_set_within

logger = logging.getLogger(__name__)

ORDERED_ACK_WAIT_S = 10.0

_UPWARD, _STATUS = upward_stream_filters()


def _of_all(channel: Channel) -> str:
    return stream_subject("AAA", channel).replace("AAA", "*")


READINGS = ConsumerConfig(
    durable_name="link",
    description="All that gateways send; shared by the links",
    filter_subjects=[_UPWARD],
    deliver_policy=DeliverPolicy.ALL,
    ack_policy=AckPolicy.EXPLICIT,
    # Longer than a batch takes, so that a message comes again only when its link is gone.
    ack_wait=15.0,
    max_ack_pending=20_000,
)
ORDERED = ConsumerConfig(
    durable_name="link-ordered",
    description="Where a gateway's order counts; one link at a time",
    filter_subjects=[
        *(_of_all(channel) for channel in (Channel.HELLO, Channel.CONSTRAINTS, Channel.ACK)),
        _STATUS,
    ],
    deliver_policy=DeliverPolicy.ALL,
    ack_policy=AckPolicy.ALL,
    ack_wait=ORDERED_ACK_WAIT_S,
    max_ack_pending=1_000,
)

_EXPIRES_S = 5.0
# A request of which nothing was heard for so much longer than it lives got lost on the way.
_LOST_AFTER_S = 2.0
# No messages, request expired, limits reached.
_ENDS = frozenset({"404", "408", "409"})


async def ensure_consumers(js: JetStreamContext) -> None:
    """Have both consumers. The server makes their stream for its first MQTT client: wait for it."""
    waited = 0.0
    while True:
        try:
            await js.stream_info(MQTT_STREAM)
            break
        except (NotFoundError, nats.errors.TimeoutError, nats.errors.NoRespondersError):
            await asyncio.sleep(0.2)
            waited += 0.2
            if waited % 10 < 0.2:
                logger.info("Waiting for the stream %s", MQTT_STREAM)
    for config in (READINGS, ORDERED):
        await js.add_consumer(MQTT_STREAM, config)


class UnableToPull(Exception):
    """The consumer is not there, or what it handed out got lost: it is to be begun with again."""


@dataclass(frozen=True, kw_only=True)
class Portion:
    """How much is asked for at a time, and of it handled at once.

    A value costs some hundred bytes from its decoding to its row: `values` bound the memory that
    a batch takes, unless it is a single message. `bytes` must be more than any message has: the
    server would never hand that one out.
    """

    messages: int = 500
    bytes: int = 2 * 1024 * 1024
    values: int = 100_000


class Pull:
    """Fetches from a consumer: one request at a time, so what waits here is bounded.

    A batch is whatever has arrived: one message at once when it is quiet, up to a portion under
    load. nats-py's own `fetch` waits for a full batch once it has begun, and knows no limit in
    bytes.
    """

    def __init__(
        self,
        client: Client,
        consumer: ConsumerConfig,
        portion: Portion,
        *,
        first: int | None = None,
    ) -> None:
        """`first`: the number of the first delivery, where none may be left out."""
        self._client, self._next = client, first
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{MQTT_STREAM}.{consumer.durable_name}"
        self._portion = portion
        self._arrived: deque[Msg] = deque()
        self._arrived_bytes = 0
        self._signal = asyncio.Event()
        self._open = 0
        self._requested_at = 0.0
        self._failure: str | None = None

    async def __aenter__(self) -> "Pull":
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)
        return self

    async def __aexit__(self, *exception: object) -> None:
        with suppress(nats.errors.Error):
            await self._subscription.unsubscribe()

    async def next_batch(self) -> list[Msg]:
        """What has arrived, waiting for a first message up to a second; may be empty.

        Raises UnableToPull.
        """
        if self._failure is not None:
            raise UnableToPull(self._failure)
        await self._keep_requested()
        if not self._arrived:
            self._signal.clear()
            await is_set_within(self._signal, 1.0)
        batch = self._take_portion()
        # The next ones may come while these are being worked on.
        await self._keep_requested()
        return batch

    def _take_portion(self) -> list[Msg]:
        batch: list[Msg] = []
        values = 0
        while self._arrived and len(batch) < self._portion.messages:
            values += _values_at_most(self._arrived[0])
            if batch and values > self._portion.values:
                break
            message = self._arrived.popleft()
            self._arrived_bytes -= len(message.data)
            batch.append(message)
        return batch

    def waiting(self) -> list[Msg]:
        """What arrived and was not taken yet; it is forgotten here."""
        rest, self._arrived = list(self._arrived), deque()
        self._arrived_bytes = 0
        return rest

    async def _receive(self, message: Msg) -> None:
        status = message.headers.get("Status") if message.headers else None
        if status is None:
            self._open -= 1
            if self._is_in_turn(message):
                self._arrived.append(message)
                self._arrived_bytes += len(message.data)
        else:
            # The request is over: it expired, or the next message would exceed its bytes.
            self._open = 0
            what = message.headers.get("Description", "")
            if status not in _ENDS or "deleted" in what.lower():
                self._failure = f"{status} {what}"
        self._signal.set()

    def _is_in_turn(self, message: Msg) -> bool:
        """Whether nothing got lost before it; from then on nothing is in turn any more."""
        if self._next is None:
            return True
        number = message.metadata.sequence.consumer
        if self._failure is None and number != self._next:
            self._failure = f"delivery {number} came in place of {self._next}"
        self._next += 1
        return self._failure is None

    async def _keep_requested(self) -> None:
        lost = time.monotonic() > self._requested_at + _EXPIRES_S + _LOST_AFTER_S
        enough = (
            len(self._arrived) >= self._portion.messages
            or self._arrived_bytes >= self._portion.bytes // 2
        )
        if enough or (self._open > 0 and not lost):
            return
        request = {
            "batch": self._portion.messages,
            "max_bytes": self._portion.bytes,
            "expires": int(_EXPIRES_S * 1e9),
        }
        self._open, self._requested_at = self._portion.messages, time.monotonic()
        await self._client.publish(self._subject, json.dumps(request).encode(), self._inbox)


def _values_at_most(message: Msg) -> int:
    """How many values a message holds, without decoding it: in JSON, commas stand between them."""
    return message.data.count(b",") + 1


async def pending_of(js: JetStreamContext, consumer: ConsumerConfig) -> int:
    """How many messages were given out and not acknowledged yet."""
    info = await js.consumer_info(MQTT_STREAM, consumer.durable_name)
    return info.num_ack_pending or 0


async def number_of_next(js: JetStreamContext, consumer: ConsumerConfig) -> int | None:
    """The number that its next delivery has; None while something is out, not acknowledged yet."""
    info = await js.consumer_info(MQTT_STREAM, consumer.durable_name)
    return None if info.num_ack_pending else info.delivered.consumer_seq + 1


async def hand_out_again(js: JetStreamContext, consumer: ConsumerConfig) -> None:
    """Have all handed out that is not acknowledged, in the log's order, and numbered from 1.

    Needs nats-server 2.14.
    """
    await js.reset_consumer(MQTT_STREAM, consumer.durable_name)


async def is_handled_up_to(js: JetStreamContext, consumer: ConsumerConfig, number: int) -> bool:
    """Whether the consumer has acknowledged all that concerns it up to this place in the log."""
    info = await js.consumer_info(MQTT_STREAM, consumer.durable_name)
    is_idle = not info.num_pending and not info.num_ack_pending
    return is_idle or info.ack_floor.stream_seq >= number
