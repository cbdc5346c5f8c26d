"""What arrives from gateways, and what comes of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gridx.gateways.codec import MessageRefused, decode, sequence_number, unknown_fields
from gridx.gateways.messages import VERSION, Error, Message
from gridx.gateways.topics import Channel, UnknownTopic, parse_subject
from inventory.models import Gateway

UNKNOWN_TOPIC = "unknown_topic"
UNKNOWN_FIELD = "unknown_field"
INTERNAL_ERROR = "internal_error"
# More answers than that to one gateway at once help nobody.
MOST_ERRORS_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message of the log: the subject says who sent it, `at` when the broker took it.

    `number` is its place in the log.
    """

    subject: str
    body: bytes
    at: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Upward:
    """A message that could be read, and who sent it on which channel.

    `ignored` are the fields in it that nobody knows.
    """

    serial: str
    channel: Channel
    message: Message
    arrival: Arrival
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One that could not. `topic` is the part below the serial, which may be any text.

    `seq` is the number that its gateway gave it, where it is readings and that much can be read.
    """

    serial: str
    topic: str
    reason: str
    detail: str
    arrival: Arrival
    location: str | None = None
    seq: int | None = None


class GatewayRow(NamedTuple):
    """What the link needs to know of a gateway for each of its messages."""

    id: UUID
    serial: str
    system_id: UUID
    system_key: int
    here_since: datetime | None


@dataclass(slots=True)
class Answers:
    """What is to be said to gateways, once what they said is stored."""

    messages: list[tuple[str, Channel, Message]] = field(default_factory=list)
    _errors: dict[str, int] = field(default_factory=dict)

    def add(self, serial: str, channel: Channel, message: Message) -> None:
        self.messages.append((serial, channel, message))

    def add_error(self, serial: str, error: Error) -> None:
        """Say what was wrong, unless this gateway is told a lot already."""
        told = self._errors.get(serial, 0)
        if told < MOST_ERRORS_AT_ONCE:
            self._errors[serial] = told + 1
            self.add(serial, Channel.ERROR, error)


@dataclass(slots=True)
class Outcome:
    """What came of a batch: answers, systems (ids) with news, and counts for the log.

    Of its messages, by their numbers, `deferred` were left for later, and `failed` are those that
    this program could not handle. `late`: readings of slots that are over are among what is new.
    """

    answers: Answers = field(default_factory=Answers)
    deferred: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    news: set[UUID] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    late: bool = False

    def count(self, name: str, number: int = 1) -> None:
        if number:
            self.counts[name] = self.counts.get(name, 0) + number

    def join(self, other: "Outcome") -> None:
        """Take over what came of another part of the batch."""
        self.answers.messages += other.answers.messages
        self.deferred |= other.deferred
        self.failed |= other.failed
        self.news |= other.news
        self.late |= other.late
        for name, number in other.counts.items():
            self.count(name, number)


def read(arrival: Arrival) -> Upward | Unreadable | None:
    """The message, or why it cannot be read. None where not even its sender is known."""
    try:
        address = parse_subject(arrival.subject)
    except UnknownTopic as error:
        if error.serial is None:
            return None
        _, _, topic = arrival.subject.partition(f".{error.serial}.")
        return Unreadable(
            error.serial, topic.replace(".", "/"), UNKNOWN_TOPIC, topic[:200], arrival
        )
    try:
        message = decode(address.channel, arrival.body)
    except MessageRefused as error:
        return Unreadable(
            address.serial,
            address.channel.value,
            error.reason.value,
            error.detail,
            arrival,
            error.field,
            sequence_number(arrival.body) if address.channel is Channel.READINGS else None,
        )
    ignored = unknown_fields(address.channel, arrival.body)
    return Upward(address.serial, address.channel, message, arrival, ignored)


def find_gateways(serials: Iterable[str]) -> dict[str, GatewayRow]:
    """The registered gateways among these serial numbers."""
    rows = Gateway.objects.filter(serial__in=set(serials)).values_list(
        "id", "serial", "system_id", "system__key", "here_since"
    )
    return {row[1]: GatewayRow(*row) for row in rows}


def error_about(unreadable: Unreadable) -> Error:
    """What a gateway is told about a message of its that could not be read."""
    return Error(
        v=VERSION,
        reason=unreadable.reason,
        channel=_plain(unreadable.topic),
        field=_plain(unreadable.location),
        detail=_plain(unreadable.detail),
    )


def _plain(text: str | None) -> str | None:
    """What may stand in a message: short, and without control characters."""
    if text is None:
        return None
    return "".join(char if char >= " " else "\ufffd" for char in text[:200])
