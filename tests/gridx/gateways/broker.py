"""A NATS server with MQTT of the tests' own, to be killed at will, and a cloud of a few lines."""

import asyncio
import socket
import subprocess
import sysconfig
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import aiomqtt
import nats

from gridx.gateways.codec import decode, encode
from gridx.gateways.messages import Hello, HelloAnswer, KnownAppliance, Message, Readings
from gridx.gateways.simulator.session import Broker
from gridx.gateways.topics import (
    MQTT_STREAM,
    Address,
    Channel,
    mqtt_topic,
    parse_subject,
    publishable_subjects,
    subscribable_subjects,
    upward_stream_filters,
)

SECRET = "a-secret"
CONFIGURATION = """
server_name: tests
listen: 127.0.0.1:{nats_port}
mqtt {{ listen: 127.0.0.1:{mqtt_port} }}
jetstream {{
  store_dir: "{directory}", sync_interval: always, limits {{ default_max_consumers: -1 }}
}}
accounts {{ GRIDX: {{ jetstream: enabled, users: [
  {{ user: cloud, password: cloud }}
  {gateways}
] }} }}
"""
GATEWAY = """{{ user: "{serial}", password: "{secret}", permissions: {{
  publish: [{publish}], subscribe: [{subscribe}] }} }}"""


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NatsServer:
    """The real server, in which each gateway may use its own topics only."""

    def __init__(self, directory: Path, serials: Iterable[str]) -> None:
        self.nats_port, self.mqtt_port = free_port(), free_port()
        self._configuration = directory / "nats.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                nats_port=self.nats_port,
                mqtt_port=self.mqtt_port,
                directory=directory / "jetstream",
                gateways="\n".join(
                    GATEWAY.format(
                        serial=serial,
                        secret=SECRET,
                        publish=_quoted(publishable_subjects(serial)),
                        subscribe=_quoted(subscribable_subjects(serial)),
                    )
                    for serial in serials
                ),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def broker(self) -> Broker:
        return Broker("127.0.0.1", self.mqtt_port)

    async def start(self) -> None:
        binary = Path(sysconfig.get_path("scripts")) / "nats-server"
        self._process = subprocess.Popen(
            [binary, "-c", self._configuration], stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.mqtt_port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise RuntimeError("nats-server did not come up")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cloud:
    """What the tests need of a cloud: a durable consumer, and answers to hello."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self.messages: list[tuple[Address, Message]] = []

    async def __aenter__(self) -> "Cloud":
        self._nats = await nats.connect(
            f"nats://cloud:cloud@127.0.0.1:{self._server.nats_port}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            error_cb=_ignore,
        )
        await self._make_mqtt_streams()
        self._consumer = await self._nats.jetstream().pull_subscribe_bind("cloud", MQTT_STREAM)
        self.resume()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.pause()
        await self._nats.close()

    async def pause(self) -> None:
        """Stop consuming. Not by cancelling, which a fetch may take for its own timeout."""
        self._is_consuming = False
        await self._task

    def resume(self) -> None:
        self._is_consuming = True
        self._task = asyncio.create_task(self._consume())

    async def _make_mqtt_streams(self) -> None:
        """The server makes `$MQTT_msgs` for the account's first MQTT client."""
        async with self._mqtt():
            pass
        await self._nats.jetstream().add_consumer(
            MQTT_STREAM,
            durable_name="cloud",
            filter_subjects=list(upward_stream_filters()),
            ack_policy="explicit",
            ack_wait=5,
        )

    def _mqtt(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self._server.mqtt_port,
            username="cloud",
            password="cloud",
            protocol=aiomqtt.ProtocolVersion.V311,
        )

    async def send(self, serial: str, channel: Channel, message: Message | bytes) -> None:
        body = message if isinstance(message, bytes) else encode(message)
        async with self._mqtt() as client:
            await client.publish(
                mqtt_topic(serial, channel), body, qos=1, retain=channel.is_retained
            )

    async def _consume(self) -> None:
        while self._is_consuming:
            try:
                batch = await self._consumer.fetch(50, timeout=0.5)
            except TimeoutError:
                continue
            except nats.errors.Error:
                await asyncio.sleep(0.2)
                continue
            for raw in batch:
                address = parse_subject(raw.subject)
                message = decode(address.channel, raw.data)
                self.messages.append((address, message))
                if isinstance(message, Hello):
                    await self._answer(address.serial, message)
                await raw.ack()

    async def _answer(self, serial: str, hello: Hello) -> None:
        known = [
            KnownAppliance(local_id=found.local_id, appliance=uuid5(NAMESPACE_OID, found.local_id))
            for found in hello.appliances
        ]
        answer = HelloAnswer(v=1, sent_at=hello.sent_at, appliances=known)
        await self.send(serial, Channel.HELLO_ANSWER, answer)

    def of(self, serial: str, channel: Channel) -> list[Message]:
        """What came from a gateway on a channel, in order."""
        address = Address(serial, channel)
        return [message for came_from, message in self.messages if came_from == address]

    def readings(self, serial: str) -> dict[int, Readings]:
        """A gateway's readings by sequence number; what came twice must be the same."""
        by_seq: dict[int, Readings] = {}
        for message in self.of(serial, Channel.READINGS):
            assert by_seq.setdefault(message.seq, message) == message
        return by_seq

    async def wait_for(self, serial: str, channel: Channel, count: int = 1) -> list[Message]:
        """Until so many messages have come."""
        async with asyncio.timeout(60):
            while len(self.of(serial, channel)) < count:
                await asyncio.sleep(0.05)
        return self.of(serial, channel)


def _quoted(subjects: Iterable[str]) -> str:
    return ", ".join(f'"{subject}"' for subject in subjects)


async def _ignore(error: Exception) -> None:
    """The tests kill the server; the client says so once for each attempt to come back."""
