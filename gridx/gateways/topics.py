"""The topics between gateways and cloud, as MQTT topics and as NATS subjects.

A gateway owns everything below ``gridx/v1/{serial}/``. NATS maps each ``/`` of an MQTT topic to
a ``.`` and leaves ``-`` alone; a ``.`` inside a level would become ``//``, an empty level ``./``.
Serials hold neither, so one topic has exactly one subject and the mapping is plain. Serials
cannot be a wildcard (``+ # * >``) either, so a serial in a permission grants that serial only.

Source of the mapping: https://docs.nats.io/learn/mqtt/topics-and-subjects; tried with
nats-server 2.15 (tests/gridx/gateways/test_simulator_broker.py).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

PROTOCOL_VERSION = 1
PREFIX = f"gridx/v{PROTOCOL_VERSION}"
SERIAL_PATTERN = r"[A-Z0-9-]{3,64}"

# The JetStream stream in which NATS keeps QoS 1 messages of MQTT clients. The acknowledgement to
# a gateway waits for this stream and for no other, so it is the one the cloud reads.
MQTT_STREAM = "$MQTT_msgs"
MQTT_STREAM_PREFIX = "$MQTT.msgs."

_SERIAL = re.compile(SERIAL_PATTERN)


class Channel(StrEnum):
    """What a message is; the value is the end of its topic, below the gateway's serial."""

    HELLO = "up/hello"
    READINGS = "up/readings"
    CONSTRAINTS = "up/constraints"
    ACK = "up/ack"
    EVENT = "up/event"
    STATUS = "status"
    SCHEDULE = "down/schedule"
    HELLO_ANSWER = "down/hello"
    JOB = "down/job"
    HEARTBEAT = "down/heartbeat"
    ERROR = "down/error"

    @property
    def is_retained(self) -> bool:
        """The broker keeps the newest message for whoever subscribes later."""
        return self in (Channel.STATUS, Channel.SCHEDULE)

    @property
    def is_upward(self) -> bool:
        """The gateway publishes it; all others are published by the cloud."""
        return not self.value.startswith("down/")


class InvalidSerial(ValueError):
    """The text is no gateway serial (``[A-Z0-9-]{3,64}``)."""

    def __init__(self, serial: str) -> None:
        super().__init__(f"not a gateway serial: {serial[:80]!r}")
        self.serial = serial


class UnknownTopic(ValueError):
    """The topic or subject is none of this protocol.

    ``serial`` is the gateway that published it where that much can be read, so that it can be
    told (its right to publish there came from the broker), else None.
    """

    def __init__(self, topic: str, serial: str | None = None) -> None:
        super().__init__(f"not a topic of {PREFIX}: {topic[:200]!r}")
        self.topic = topic
        self.serial = serial


@dataclass(frozen=True, slots=True)
class Address:
    """Which gateway, and which of its channels."""

    serial: str
    channel: Channel


def check_serial(serial: str) -> str:
    """Return the serial; raise InvalidSerial unless it is one."""
    if _SERIAL.fullmatch(serial) is None:
        raise InvalidSerial(serial)
    return serial


def mqtt_topic(serial: str, channel: Channel) -> str:
    """``gridx/v1/{serial}/up/readings``"""
    return f"{PREFIX}/{check_serial(serial)}/{channel.value}"


def nats_subject(serial: str, channel: Channel) -> str:
    """``gridx.v1.{serial}.up.readings``: what NATS clients publish to and subscribe."""
    return mqtt_topic(serial, channel).replace("/", ".")


def stream_subject(serial: str, channel: Channel) -> str:
    """``$MQTT.msgs.gridx.v1.{serial}.up.readings``: the subject inside ``$MQTT_msgs``."""
    return MQTT_STREAM_PREFIX + nats_subject(serial, channel)


def down_filter(serial: str) -> str:
    """The MQTT topic filter with which a gateway subscribes all that is for it.

    Not ``down/#``, which includes ``down`` itself: NATS would need two consumers for it.
    """
    return f"{PREFIX}/{check_serial(serial)}/down/+"


def upward_stream_filters(serial: str | None = None) -> tuple[str, str]:
    """The subjects inside ``$MQTT_msgs`` that the cloud consumes: all ``up/…``, and ``status``.

    Without a serial: those of every gateway.
    """
    one = "*" if serial is None else check_serial(serial)
    root = f"{MQTT_STREAM_PREFIX}{PREFIX.replace('/', '.')}.{one}"
    return f"{root}.up.>", f"{root}.status"


def publishable_subjects(serial: str) -> tuple[str, ...]:
    """The subjects that a gateway may publish to."""
    root = f"{PREFIX.replace('/', '.')}.{check_serial(serial)}"
    return f"{root}.up.>", f"{root}.status"


def subscribable_subjects(serial: str) -> tuple[str, ...]:
    """The subjects that a gateway may subscribe to.

    The two of ``$MQTT`` are what nats-server itself subscribes in the gateway's name for QoS 1.
    """
    root = f"{PREFIX.replace('/', '.')}.{check_serial(serial)}"
    return f"{root}.down", f"{root}.down.>", "$MQTT.sub.>", "$MQTT.deliver.pubrel.>"


def parse_topic(topic: str) -> Address:
    """The address of an MQTT topic; raises UnknownTopic."""
    return _parse(topic, topic.split("/"))


def parse_subject(subject: str) -> Address:
    """The address of a NATS subject, inside ``$MQTT_msgs`` or outside; raises UnknownTopic."""
    return _parse(subject, subject.removeprefix(MQTT_STREAM_PREFIX).split("."))


def _parse(text: str, levels: list[str]) -> Address:
    if len(levels) < 3 or levels[:2] != PREFIX.split("/"):
        raise UnknownTopic(text)
    serial = levels[2]
    if _SERIAL.fullmatch(serial) is None:
        raise UnknownTopic(text)
    try:
        return Address(serial, Channel("/".join(levels[3:])))
    except ValueError:
        raise UnknownTopic(text, serial) from None
