"""The messages between gateways and cloud: one schema each, versioned, checked at both ends.

JSON in UTF-8. Powers in W and energies in Wh by the passive sign convention (positive flows INTO
the appliance; a grid meter's import is positive), states of charge 0–1, instants in milliseconds
since the epoch (UTC). An absent or ``null`` value means "no statement", 0 means zero.

``decode`` is the only way in. It never raises anything but MessageRefused, whatever the bytes.
Unknown fields are ignored, so that either end can be the newer one; ``unknown_fields`` names them.

Appliances are named by the gateway's own ``local_id``: it exists before the cloud has ever
answered, so a gateway can buffer from its first second, and its topic says whose local id it is.
Where a message of the gateway names an ``appliance``, the UUID that the cloud answered to
``hello`` is accepted too.
"""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from gridx.gateways.topics import PROTOCOL_VERSION, Channel

VERSION = 1
MAX_BYTES = 512 * 1024
# More than so many with instants of our time do not fit: others cost memory, and say nothing.
MAX_READINGS = 40_000
# What a gateway may send; of a longer message every so many bytes count as one.
MESSAGES_A_MINUTE = 2_000
COUNTED_BYTES = 2048

Version = Literal[1]
Instant = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="ms since epoch, UTC")]
# ``$(?!\n)`` is the end in JSON Schema and in Python, whose ``$`` also matches before a last \n.
# Without control characters: no database takes a NUL, no page a line break in a name.
Text = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$(?!\n)")]
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_./-]{0,63}$(?!\n)")]
LocalId = Annotated[
    str,
    Meta(
        # A UUID is refused, so that a name in a message is never both a local id and a UUID.
        pattern=r"^(?![0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$)"
        r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$(?!\n)",
        description="the gateway's own name of the appliance, for ever the same",
    ),
]
Reference = Annotated[
    str,
    Meta(pattern=r"^[!-~]{1,64}$(?!\n)", description="local id, or the UUID from down/hello"),
]
Revision = Annotated[int, Meta(ge=0, le=2**53)]
SequenceNumber = Annotated[int, Meta(ge=0, le=2**53)]
Column = list[float | None] | None


class PlugState(StrEnum):
    """What a charging station knows of its socket."""

    UNPLUGGED = "unplugged"
    PLUGGED = "plugged"
    CHARGING = "charging"
    PAUSED = "paused"
    FAULT = "fault"


class Message(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What every message has."""

    v: Version


class Part(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A part of a message."""


# Gateway to cloud


class NominalLimits(Part):
    """What the appliance was built for; None = not known.

    ``min_power_w`` is its strongest production or discharge (negative), 0 for a consumer.
    ``min_running_w``: what it needs at least when it runs; then it may also pause (0).
    """

    min_power_w: float | None = None
    max_power_w: float | None = None
    min_running_w: float | None = None
    capacity_wh: Annotated[float, Meta(ge=0)] | None = None
    max_current_a: Annotated[float, Meta(ge=0)] | None = None
    phases: Annotated[int, Meta(ge=1, le=3)] | None = None


class FoundAppliance(Part):
    """One appliance in the gateway's network.

    ``kind`` is one of inventory's kinds; the cloud refuses an unknown one alone, in its answer,
    not the whole ``hello``. ``interval_s``: how often it is read. Of another kind, or with another
    serial number, than was told of this ``local_id`` before, it is another device in that place.
    """

    local_id: LocalId
    kind: Code
    interval_s: Annotated[float, Meta(gt=0, le=86_400)]
    type: Text | None = None
    name: Text | None = None
    manufacturer: Text | None = None
    model: Text | None = None
    serial_number: Text | None = None
    firmware: Text | None = None
    protocol: Text | None = None
    parent: LocalId | None = None
    limits: NominalLimits | None = None


class Hello(Message):
    """up/hello: who the gateway is and what it found. ``sent_at`` shows how its clock goes.

    A ``protocol`` that is newer than this document is refused like a message of another version.
    """

    protocol: Annotated[int, Meta(ge=1, le=PROTOCOL_VERSION)]
    model: Text
    firmware: Text
    sent_at: Instant
    appliances: Annotated[list[FoundAppliance], Meta(max_length=512)]

    def __post_init__(self) -> None:
        if len({found.local_id for found in self.appliances}) < len(self.appliances):
            raise ValueError("appliances: a local_id stands twice")


class ApplianceReadings(Part):
    """One appliance's readings, in columns: each list has one value per instant in ``at``.

    ``imported_wh``, ``exported_wh``: cumulative counters. ``energy_wh``: what is stored.
    ``null`` in a list = not read at that instant; an absent list = never read.
    """

    appliance: Reference
    at: list[Instant]
    power_w: Column = None
    imported_wh: Column = None
    exported_wh: Column = None
    soc: Column = None
    energy_wh: Column = None
    temperature_c: Column = None
    current_l1_a: Column = None
    current_l2_a: Column = None
    current_l3_a: Column = None
    plug_state: list[PlugState | None] | None = None

    def __post_init__(self) -> None:
        expected = len(self.at)
        for column in QUANTITIES:
            values = getattr(self, column)
            if values is not None and len(values) != expected:
                raise ValueError(
                    f"appliance {self.appliance!r}: {column} has {len(values)} values"
                    f" for {expected} instants"
                )


QUANTITIES = ApplianceReadings.__struct_fields__[2:]


class Readings(Message):
    """up/readings. ``seq`` counts the gateway's readings messages, so that holes show.

    Sent again with the same ``seq`` when its acknowledgement was not seen. Numbers that JSON
    cannot say (NaN, 1e999) arrive as non-finite floats, to be refused one by one.
    """

    seq: SequenceNumber
    appliances: Annotated[list[ApplianceReadings], Meta(max_length=512)]
    sent_at: Instant | None = None

    def __post_init__(self) -> None:
        if (count := sum(len(part.at) for part in self.appliances)) > MAX_READINGS:
            raise ValueError(f"appliances: {count} readings, at most {MAX_READINGS}")


class Status(Message):
    """status (retained). The last will says ``online: false`` and cannot know the instant."""

    online: bool
    at: Instant | None = None


class DriverLimits(Part):
    """Physical limits as they are now; ``can_pause``: 0 is feasible besides [min, max]."""

    appliance: Reference
    min_w: float | None = None
    max_w: float | None = None
    min_wh: float | None = None
    max_wh: float | None = None
    can_pause: bool = False


class LocalWish(Part):
    """What someone asked for at the device itself, until ``invalid_at``."""

    appliance: Reference
    invalid_at: Instant
    valid_at: Instant | None = None
    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    closest: bool = True


class Constraints(Message):
    """up/constraints: each appliance named replaces what the gateway said of it before."""

    at: Instant
    limits: list[DriverLimits] = []
    wishes: list[LocalWish] = []


class Applied(Part):
    """What an appliance keeps to now. ``refused``: why it does not do what the schedule says."""

    appliance: Reference
    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    fail_safe: bool = False
    refused: Code | None = None
    detail: Text | None = None


class Ack(Message):
    """up/ack: sent for a new schedule, and again whenever what is applied changes.

    ``refused``: the schedule as a whole was not taken over, and why.
    """

    revision: Revision
    at: Instant
    appliances: list[Applied] = []
    refused: Code | None = None
    detail: Text | None = None


class Event(Message):
    """up/event: something happened, at a gateway's appliance or with a job of the cloud."""

    at: Instant
    type: Code
    severity: Literal["info", "warning", "error"] = "info"
    appliance: Reference | None = None
    text: Text | None = None
    job: UUID | None = None
    job_state: Literal["received", "started", "done", "error", "cancelled"] | None = None


# Cloud to gateway


class KnownAppliance(Part):
    """The answer for one appliance: its UUID, or why the cloud does not take it."""

    local_id: str
    appliance: UUID | None = None
    refused: Code | None = None


class HelloAnswer(Message):
    """down/hello: the cloud's clock, and its UUIDs of the appliances.

    ``schedule``: the newest revision, where that asks for anything. A gateway that keeps to none
    nevertheless, a minute later, falls back to the fail-safe that it was installed with.
    """

    sent_at: Instant
    appliances: list[KnownAppliance]
    schedule: Revision = 0


class Segment(Part):
    """What holds in [``start``, ``end``); ``can_pause``: 0 is feasible besides [min, max].

    ``heartbeat_s``: where set, the fail-safe joins when no heartbeat came for that long.
    """

    start: Instant
    end: Instant
    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    min_wh: float | None = None
    max_wh: float | None = None
    can_pause: bool = False
    heartbeat_s: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError("start: not before the end")
        if _crossed(self.min_w, self.max_w) or _crossed(self.min_wh, self.max_wh):
            raise ValueError("min: above the max")


class FailSafe(Part):
    """What holds after the schedule's end and without heartbeats, for at least ``minimum_s``.

    Where it joined for want of a heartbeat alone, it ends with the segments that ask for one.
    """

    min_w: float | None = None
    max_w: float | None = None
    can_pause: bool = False
    minimum_s: Annotated[float, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if _crossed(self.min_w, self.max_w):
            raise ValueError("min_w: above max_w")


class ApplianceSchedule(Part):
    """One appliance's timeline: consecutive segments, each after the one before."""

    local_id: str
    appliance: UUID
    segments: list[Segment]
    fail_safe: FailSafe | None = None

    def __post_init__(self) -> None:
        for earlier, later in zip(self.segments, self.segments[1:], strict=False):
            if later.start < earlier.end:
                raise ValueError(f"segments of {self.local_id!r} overlap at {later.start}")


class Schedule(Message):
    """down/schedule (retained): all that the gateway is to keep to, replacing what was before.

    An appliance that is not named is left to itself.
    """

    revision: Revision
    issued_at: Instant
    appliances: list[ApplianceSchedule]


class Job(Message):
    """down/job: look for appliances and say hello again, restart, or back to the factory."""

    id: UUID
    type: Literal["scan", "restart", "reset"]
    valid_until: Instant | None = None


class Heartbeat(Message):
    """down/heartbeat: the cloud is there."""

    at: Instant


class Error(Message):
    """down/error: why a message, or some of its readings, were not taken."""

    reason: Code
    channel: Text | None = None
    field: Text | None = None
    detail: Text | None = None
    seq: int | None = None
    refused: dict[str, int] | None = None


MESSAGES: dict[Channel, type[Message]] = {
    Channel.HELLO: Hello,
    Channel.READINGS: Readings,
    Channel.CONSTRAINTS: Constraints,
    Channel.ACK: Ack,
    Channel.EVENT: Event,
    Channel.STATUS: Status,
    Channel.SCHEDULE: Schedule,
    Channel.HELLO_ANSWER: HelloAnswer,
    Channel.JOB: Job,
    Channel.HEARTBEAT: Heartbeat,
    Channel.ERROR: Error,
}


def _crossed(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high
