import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import nats
import pytest
from django.conf import settings
from nats.js.errors import NotFoundError

from gridx import clock, scheduler
from gridx.gateways.codec import decode
from gridx.gateways.consumers import ORDERED, READINGS
from gridx.gateways.database import DatabaseThreads
from gridx.gateways.messages import Message
from gridx.gateways.publisher import Publisher
from gridx.gateways.running import run_link
from gridx.gateways.topics import MQTT_STREAM, Channel, mqtt_topic, parse_topic
from gridx.services.addresses import Addresses
from inventory.operations import rotate_secret
from tests.cast import Cast, make_cast
from tests.gridx.gateways.installation import Installation


class Box:
    """A gateway that signs in as told, sends what it is told, and keeps what it hears."""

    def __init__(self, serial: str, secret: str, *, client_id: str | None = None) -> None:
        broker = urlsplit(settings.ADDRESSES.mqtt_url)
        will = aiomqtt.Will(
            mqtt_topic(serial, Channel.STATUS), b'{"v": 1, "online": false}', 1, retain=True
        )
        self.serial = serial
        self.heard: list[tuple[Channel, Message]] = []
        self.client = aiomqtt.Client(
            broker.hostname,
            broker.port,
            identifier=client_id or serial,
            username=serial,
            password=secret,
            will=will,
            timeout=30,
        )

    async def __aenter__(self) -> "Box":
        await self.client.__aenter__()
        await self.client.subscribe(f"gridx/v1/{self.serial}/down/#", qos=1)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        with suppress(aiomqtt.MqttError):
            await self.client.__aexit__(*exception)

    async def send(self, channel: Channel | str, body: Any, *, serial: str | None = None) -> None:
        """Publish with QoS 1 and wait for the acknowledgement; not bytes are JSON."""
        raw = body if isinstance(body, bytes) else json.dumps({"v": 1} | body).encode()
        topic = f"gridx/v1/{serial or self.serial}/{channel}"
        await self.client.publish(topic, raw, qos=1)

    @property
    def is_cut_off(self) -> bool:
        """Whether the connection has ended, without this box having wanted it."""
        return self._listening.done()

    def lose_connection(self) -> None:
        """Be gone without a farewell."""
        self.client._client.socket().shutdown(socket.SHUT_RDWR)

    async def hears(self, channel: Channel, number: int = 1) -> list[Message]:
        """The messages on a channel, as soon as there are so many."""

        def heard() -> list[Message]:
            return [message for where, message in self.heard if where is channel]

        await until(lambda: len(heard()) >= number)
        return heard()

    async def _listen(self) -> None:
        with suppress(aiomqtt.MqttError):
            async for message in self.client.messages:
                channel = parse_topic(str(message.topic)).channel
                self.heard.append((channel, decode(channel, message.payload)))


class RunningLink:
    """A link in this event loop."""

    def __init__(self, at: Addresses | None = None) -> None:
        self._at = at or settings.ADDRESSES
        self._stop = asyncio.Event()
        self._task: asyncio.Task | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(run_link(at=self._at, stop=self._stop))

    async def end(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self._task, 60)


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Servers beside those of the other tests, to be killed; making them takes long."""
    with Installation() as installation:
        yield installation


async def until(condition: Callable[[], Any], *, within_s: float = 60.0) -> Any:
    """What the condition gives (it may be a coroutine function), as soon as it is true."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.05)


@pytest.fixture
async def in_database(transactional_db) -> AsyncIterator[Callable[..., Any]]:
    """Calls a function in a thread that may use the database."""
    threads = DatabaseThreads(1, "test")
    yield threads.run
    await threads.close()


@pytest.fixture
async def log(transactional_db) -> AsyncIterator[nats.js.JetStreamContext]:
    """The broker's log, empty and unknown to any link; no schedule is left of earlier tests."""
    await _forget_schedules()
    client = await nats.connect(settings.ADDRESSES.nats_url)
    js = client.jetstream()
    with suppress(NotFoundError):
        await js.purge_stream(MQTT_STREAM)
        for consumer in (READINGS, ORDERED):
            with suppress(NotFoundError):
                await js.delete_consumer(MQTT_STREAM, consumer.durable_name)
    yield js
    await client.close()


async def _forget_schedules() -> None:
    """An empty message takes the place of what the broker retains for the cast's gateways."""
    publisher = Publisher(
        mqtt_url=settings.ADDRESSES.mqtt_url, nats_url=settings.ADDRESSES.nats_url
    )
    async with publisher._new_client() as client:
        for serial in ("GX-0001", "GX-0002"):
            topic = mqtt_topic(serial, Channel.SCHEDULE)
            await client.publish(topic, b"", qos=1, retain=True)


@pytest.fixture
async def site(in_database) -> Cast:
    """The cast, committed, so that a link sees it."""
    return await in_database(make_cast)


@pytest.fixture
async def secrets(site, in_database) -> dict[str, str]:
    """The gateways' secrets by serial."""
    return {
        gateway.serial: await in_database(rotate_secret, gateway=gateway, by=None, now=clock.now())
        for gateway in (site.gateway, site.other_gateway)
    }


@pytest.fixture
async def link(log, secrets, caplog) -> AsyncIterator[RunningLink]:
    """A link that lets gateways in."""
    caplog.set_level("INFO", logger="gridx")
    running = RunningLink()
    running.start()
    await until(lambda: "Gateways are let in" in caplog.text)
    yield running
    await running.end()


@pytest.fixture
async def scheduled(transactional_db, monkeypatch) -> AsyncIterator[None]:
    """A scheduler, which does itself what it would tell workers of."""
    monkeypatch.setattr(scheduler, "_hint", lambda task: task())
    stop = Event()
    working = asyncio.create_task(asyncio.to_thread(scheduler.run_scheduler, stop=stop))
    yield
    stop.set()
    await asyncio.wait_for(working, 60)
