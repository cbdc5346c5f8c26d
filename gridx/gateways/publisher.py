"""What the cloud says to gateways, through MQTT so that QoS 1 and retaining mean what they say.

A message that a NATS client publishes reaches MQTT subscribers with QoS 0 only. The link's MQTT
client is also the first of all: for it the server makes the streams of its MQTT side.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

import aiomqtt

from gridx.gateways.codec import encode
from gridx.gateways.messages import Message
from gridx.gateways.topics import Channel, mqtt_topic

logger = logging.getLogger(__name__)

_PATIENCE_S = 10.0
_MOST_AT_ONCE = 10


class UnableToPublish(Exception):
    """The broker could not be reached in time; whether some of it arrived is not known."""


class Publisher:
    """One MQTT connection with the sign-in of `nats_url`, for ever connected anew."""

    def __init__(self, *, mqtt_url: str, nats_url: str) -> None:
        self._at, self._sign_in = urlsplit(mqtt_url), urlsplit(nats_url)
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause_s = 0.2
        while True:
            try:
                async with self._new_client() as client:
                    self._client, pause_s = client, 0.2
                    self._connected.set()
                    async for _message in client.messages:
                        logger.debug("A message that nobody asked for")
            except aiomqtt.MqttError as error:
                logger.warning("The link's MQTT connection ended: %s", error)
            finally:
                self._connected.clear()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)

    async def publish(
        self, messages: Iterable[tuple[str, Channel, Message]], *, patience_s: float = _PATIENCE_S
    ) -> None:
        """Publish with QoS 1 and return when the broker has acknowledged all of it.

        Raises UnableToPublish.
        """
        slots = asyncio.Semaphore(_MOST_AT_ONCE)

        async def send(serial: str, channel: Channel, message: Message) -> None:
            async with slots:
                await self._client.publish(
                    mqtt_topic(serial, channel),
                    encode(message),
                    qos=1,
                    retain=channel.is_retained,
                )

        try:
            async with asyncio.timeout(patience_s):
                await self._connected.wait()
                await asyncio.gather(*(send(*message) for message in messages))
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise UnableToPublish(str(error) or type(error).__name__) from error

    def _new_client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self._at.hostname,
            self._at.port or 1883,
            username=unquote(self._sign_in.username or ""),
            password=unquote(self._sign_in.password or ""),
            # Two clients with the same name would throw each other out.
            identifier=f"gridx-link-{secrets.token_hex(8)}",
            clean_session=True,
            timeout=_PATIENCE_S,
            max_concurrent_outgoing_calls=_MOST_AT_ONCE,
        )
