"""A gateway's MQTT connection: sign-in, hello, sending in order, receiving, coming back."""

import asyncio
import hashlib
import logging
import math
import random
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import msgspec

from gridx.gateways.codec import MessageRefused, decode, encode
from gridx.gateways.messages import (
    VERSION,
    Error,
    Event,
    FoundAppliance,
    Hello,
    HelloAnswer,
    Job,
    Message,
    Status,
)
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.outbox import Outbox
from gridx.gateways.topics import (
    PROTOCOL_VERSION,
    Channel,
    UnknownTopic,
    down_filter,
    mqtt_topic,
    parse_topic,
)
from gridx.gateways.waiting import is_set_within

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0
HELLO_AGAIN_S = 15.0
ACKNOWLEDGED_S = 10.0
FAREWELL_S = 2.0
MODEL = "SIM-BOX"
FIRMWARE = "1.0.0"
ASKS_FOR_HELLO = frozenset({"unknown_appliance", "foreign_appliance"})


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the gateways sign in. `mqtts` = TLS with the system's certificates."""

    host: str
    port: int
    is_encrypted: bool = False

    @classmethod
    def at(cls, url: str) -> "Broker":
        """From `mqtt://host:1883` or `mqtts://host:8883`; raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            raise ValueError(f"not the address of an MQTT broker: {url!r}")
        is_encrypted = parts.scheme == "mqtts"
        return cls(parts.hostname, parts.port or (8883 if is_encrypted else 1883), is_encrypted)


class RestartWanted(Exception):
    """The cloud asked for a restart."""


class Session:
    """Keeps one gateway connected, for ever.

    Readings leave the outbox only after the cloud answered a `hello` with these appliances (once;
    the answer is remembered over restarts): the cloud would refuse readings of what it does not
    know. `receive` gets the raw messages that are the gateway's own business (schedule,
    heartbeat); `greet` is called after each answered hello.
    """

    def __init__(
        self,
        *,
        serial: str,
        secret: str,
        broker: Broker,
        clock: SimulatedClock,
        outbox: Outbox,
        found: list[FoundAppliance],
        receive: Callable[[Channel, bytes], None],
        greet: Callable[[], None],
        reset: Callable[[], None],
        remember: Callable[[dict[str, Any]], None],
        remembered: dict[str, Any],
        in_flight: int = 10,
    ) -> None:
        self.serial = serial
        self.is_online = False
        self._secret = secret
        self._broker = broker
        self._clock = clock
        self._outbox = outbox
        self._found = found
        self._receive_own = receive
        self._greet = greet
        self._reset = reset
        self._remember = remember
        self._in_flight = in_flight
        self._fingerprint = hashlib.sha256(msgspec.json.encode(found)).hexdigest()[:16]
        self._is_known = asyncio.Event()
        self._hello_wanted = asyncio.Event()
        self._answered = asyncio.Event()
        self._control: asyncio.Queue[tuple[Channel, Message]] = asyncio.Queue()
        self._jobs: set[str] = set()
        self.refused: frozenset[str] = frozenset()
        self.newest_schedule = 0
        if remembered.get("fingerprint") == self._fingerprint:
            self.refused = frozenset(remembered["refused"])
            self._is_known.set()

    def post(self, channel: Channel, message: Message) -> None:
        """Send a message that is of now: lost when offline, said anew after the next hello."""
        if self.is_online:
            self._control.put_nowait((channel, message))

    async def run(self) -> None:
        """Connect, again and again, until cancelled."""
        wait_s = FIRST_RETRY_S
        while True:
            try:
                await self._connect()
            except* (aiomqtt.MqttError, OSError) as failures:
                log.info("%s is offline: %s", self.serial, _first_of(failures))
            except* RestartWanted:
                log.info("%s restarts", self.serial)
            wait_s = FIRST_RETRY_S if self.is_online else min(wait_s * 2, LAST_RETRY_S)
            self.is_online = False
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # not all at once

    async def _connect(self) -> None:
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self.serial,
            password=self._secret,
            identifier=self.serial,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            will=aiomqtt.Will(
                mqtt_topic(self.serial, Channel.STATUS),
                encode(Status(v=VERSION, online=False)),
                qos=1,
                retain=True,
            ),
            tls_context=ssl.create_default_context() if self._broker.is_encrypted else None,
            max_inflight_messages=self._in_flight + 5,
        )
        async with client:
            self.is_online = True
            self._control = asyncio.Queue()
            self._outbox.start_over()
            granted = await client.subscribe(down_filter(self.serial), qos=1)
            if _is_refused(granted):
                raise aiomqtt.MqttError("the broker refuses the subscription")
            await self._publish(client, Channel.STATUS, self._status(online=True))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._receive(client))
                    group.create_task(self._introduce(client))
                    group.create_task(self._send_control(client))
                    group.create_task(self._send_readings(client))
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError, TimeoutError):
                    await self._publish(
                        client, Channel.STATUS, self._status(online=False), within_s=FAREWELL_S
                    )
                raise

    def _status(self, *, online: bool) -> Status:
        return Status(v=VERSION, online=online, at=self._clock.now())

    async def _publish(
        self,
        client: aiomqtt.Client,
        channel: Channel,
        message: Message,
        *,
        within_s: float = ACKNOWLEDGED_S,
    ) -> None:
        topic = mqtt_topic(self.serial, channel)
        # Not by the client's own timeout: its `asyncio.wait_for` loses, in Python 3.11, a
        # cancellation that comes together with the acknowledgement.
        async with asyncio.timeout(within_s):
            await client.publish(
                topic, encode(message), qos=1, retain=channel.is_retained, timeout=math.inf
            )

    async def _introduce(self, client: aiomqtt.Client) -> None:
        """Say hello, again until it is answered, and again when somebody asks."""
        while True:
            self._hello_wanted.clear()
            self._answered = asyncio.Event()
            wait_s = HELLO_AGAIN_S
            while not self._answered.is_set():
                await self._publish(client, Channel.HELLO, self._hello())
                await is_set_within(self._answered, wait_s)
                wait_s = min(wait_s * 2, 8 * HELLO_AGAIN_S)
            self._greet()
            await self._hello_wanted.wait()

    def _hello(self) -> Hello:
        return Hello(
            v=VERSION,
            protocol=PROTOCOL_VERSION,
            model=MODEL,
            firmware=FIRMWARE,
            sent_at=self._clock.now(),
            appliances=self._found,
        )

    async def _send_control(self, client: aiomqtt.Client) -> None:
        while True:
            channel, message = await self._control.get()
            await self._publish(client, channel, message)

    async def _send_readings(self, client: aiomqtt.Client) -> None:
        """In order, with at most `in_flight` messages waiting for their acknowledgement."""
        await self._is_known.wait()
        window = asyncio.Semaphore(self._in_flight)
        async with asyncio.TaskGroup() as group:
            while True:
                await window.acquire()
                seq, body = await self._outbox.take()
                group.create_task(self._deliver(client, window, seq, body))

    async def _deliver(
        self, client: aiomqtt.Client, window: asyncio.Semaphore, seq: int, body: bytes
    ) -> None:
        await client.publish(mqtt_topic(self.serial, Channel.READINGS), body, qos=1)
        await self._outbox.settle(seq)
        window.release()

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for incoming in client.messages:
            body = incoming.payload if isinstance(incoming.payload, bytes) else b""
            try:
                channel = parse_topic(str(incoming.topic)).channel
                if channel in (Channel.SCHEDULE, Channel.HEARTBEAT):
                    self._receive_own(channel, body)
                else:
                    await self._obey(decode(channel, body))
            except (MessageRefused, UnknownTopic) as refused:
                log.warning("%s cannot use a message: %s", self.serial, refused)
                self._tell("message_refused", severity="warning", text=str(refused)[:200])

    async def _obey(self, message: Message) -> None:
        if isinstance(message, HelloAnswer):
            self._take_answer(message)
        elif isinstance(message, Job):
            await self._do(message)
        elif isinstance(message, Error):
            log.warning("%s was refused: %s", self.serial, message)
            if message.reason in ASKS_FOR_HELLO:
                self._hello_wanted.set()

    def _take_answer(self, answer: HelloAnswer) -> None:
        """Only an answer to what was found now counts; one that waited may be of long ago."""
        answers = {known.local_id: known for known in answer.appliances}
        if any(found.local_id not in answers for found in self._found):
            return
        self.refused = frozenset(
            found.local_id for found in self._found if answers[found.local_id].appliance is None
        )
        self.newest_schedule = answer.schedule
        for local_id in self.refused:
            log.warning("%s: %s is refused: %s", self.serial, local_id, answers[local_id].refused)
        self._remember({"fingerprint": self._fingerprint, "refused": sorted(self.refused)})
        self._is_known.set()
        self._answered.set()

    async def _do(self, job: Job) -> None:
        now = self._clock.now()
        if str(job.id) in self._jobs or (job.valid_until and job.valid_until < now):
            return
        self._jobs.add(str(job.id))
        self._tell("job", job=job.id, job_state="received")
        if job.type == "scan":
            self._hello_wanted.set()
        elif job.type == "reset":
            self._reset()
        self._tell("job", job=job.id, job_state="done")
        if job.type != "scan":
            while not self._control.empty():
                await asyncio.sleep(0.05)
            raise RestartWanted

    def _tell(self, what: str, **details: Any) -> None:
        self.post(Channel.EVENT, Event(v=VERSION, at=self._clock.now(), type=what, **details))


def _is_refused(granted: Sequence[Any]) -> bool:
    """A SUBACK's codes: 0 to 2 is the granted quality of service, 128 a refusal."""
    return any(getattr(code, "value", code) >= 128 for code in granted)


def _first_of(failures: BaseExceptionGroup) -> BaseException:
    first = failures.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
