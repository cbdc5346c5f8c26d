"""What becomes of each message that is not a reading.

A handler runs within the transaction of its batch and sees a gateway's messages in their order
(events excepted), each at least once. It raises nothing for what a gateway did wrong: that is a
fault and an answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from flexibility.delivery import Acknowledgement, Applied
from flexibility.local import DriverLimits, set_driver_limits, set_local_wishes
from flexibility.operations import Draft
from flexibility.queries import asking_revision
from gridx.gateways.arrivals import Arrival, GatewayRow, Outcome
from gridx.gateways.faults import Fault
from gridx.gateways.messages import (
    VERSION,
    Ack,
    Constraints,
    Error,
    Event,
    FoundAppliance,
    Hello,
    HelloAnswer,
    KnownAppliance,
    LocalWish,
    Message,
    Status,
)
from gridx.gateways.topics import Channel
from inventory import discovery
from inventory.models import Appliance, Gateway
from measurements.ingest import declare_interval
from measurements.models import Cause, DeclaredInterval
from measurements.moving import move_readings
from measurements.plausibility import EARLIEST
from measurements.resolutions import Span, from_ms, to_ms
from measurements.slots.rebuilding import mark_computed

UNKNOWN_APPLIANCE = "unknown_appliance"
INVALID_CONSTRAINT = "invalid_constraint"


@dataclass(frozen=True, slots=True)
class Received:
    """A message that could be read, its gateway, and the current time."""

    gateway: GatewayRow
    message: Message
    arrival: Arrival
    now: datetime


@dataclass(slots=True)
class Reaction:
    """What a handler found: refusals, answers, whether pages should look again.

    `acknowledgement`: to be recorded with those of the other gateways in the batch.
    """

    channel: Channel
    faults: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[Channel, Message]] = field(default_factory=list)
    has_news: bool = False
    online: bool | None = None
    sent_at_ms: int | None = None
    acknowledgement: Acknowledgement | None = None

    def into(self, outcome: Outcome, faults: list[Fault], gateway: GatewayRow) -> None:
        """Add it to what came of the batch."""
        outcome.count(self.channel.name.lower())
        for reason, detail in self.faults:
            faults.append(
                Fault(gateway_id=gateway.id, topic=self.channel.value, reason=reason, detail=detail)
            )
        for channel, message in self.answers:
            if isinstance(message, Error):
                outcome.answers.add_error(gateway.serial, message)
            else:
                outcome.answers.add(gateway.serial, channel, message)
        if self.has_news:
            outcome.news.add(gateway.system_id)


Handler = Callable[[Received], Reaction]


def apply_hello(received: Received) -> Reaction:
    """Bring the inventory up to date and tell the gateway its appliances' UUIDs."""
    hello: Hello = received.message
    found = discovery.apply_hello(
        gateway=Gateway(pk=received.gateway.id),
        model=hello.model,
        firmware=hello.firmware,
        found=[found_appliance(one) for one in hello.appliances],
        came_at=received.arrival.at,
        now=received.now,
    )
    reaction = Reaction(Channel.HELLO, has_news=True, sent_at_ms=hello.sent_at)
    _declare_intervals(found.intervals_s, received)
    # Those are stored by another loop, which may have been quicker.
    for from_key, to_key in found.replaced.items():
        move_readings(
            system_key=received.gateway.system_key,
            from_key=from_key,
            to_key=to_key,
            since=received.arrival.at,
            now=received.now,
        )
    reaction.faults += [
        (reason.value, f"appliance {local_id}")
        for local_id, reason in (found.refused | found.remarks).items()
    ]
    answer = HelloAnswer(
        v=VERSION,
        sent_at=to_ms(received.now),
        appliances=[
            KnownAppliance(
                local_id=one.local_id,
                appliance=found.known.get(one.local_id),
                refused=found.refused.get(one.local_id),
            )
            for one in hello.appliances
        ],
        schedule=asking_revision(received.gateway.id),
    )
    reaction.answers.append((Channel.HELLO_ANSWER, answer))
    return reaction


def apply_status(received: Received) -> Reaction:
    """The gateway, or its last will, says whether it is there."""
    status: Status = received.message
    return Reaction(Channel.STATUS, online=status.online, has_news=True)


def apply_constraints(received: Received) -> Reaction:
    """The driver's limits and the residents' wishes, of appliances of this gateway."""
    constraints: Constraints = received.message
    named = [one.appliance for one in (*constraints.limits, *constraints.wishes)]
    reaction, known = _find_appliances(received, Channel.CONSTRAINTS, named)
    limits = {
        known[one.appliance]: DriverLimits(
            min_w=one.min_w,
            max_w=one.max_w,
            pausable=one.can_pause,
            min_wh=one.min_wh,
            max_wh=one.max_wh,
        )
        for one in constraints.limits
        if one.appliance in known
    }
    wishes: dict[UUID, list[Draft]] = {}
    for one in constraints.wishes:
        if one.appliance in known:
            wishes.setdefault(known[one.appliance], []).append(_draft(one))
    refused = set_driver_limits(limits=limits, now=received.now) | set_local_wishes(
        wishes=wishes, now=received.now
    )
    for appliance_id, error in refused.items():
        detail = f"appliance {appliance_id}: {error.field}: {error.reason}"
        _refuse(reaction, INVALID_CONSTRAINT, detail)
    return reaction


def read_ack(received: Received) -> Reaction:
    """What the gateway says that its appliances keep to."""
    ack: Ack = received.message
    reaction, known = _find_appliances(
        received, Channel.ACK, [one.appliance for one in ack.appliances]
    )
    reaction.acknowledgement = Acknowledgement(
        gateway=received.gateway.id,
        revision=ack.revision,
        applied={
            known[one.appliance]: Applied(
                min_w=one.min_w,
                max_w=one.max_w,
                set_point_w=one.set_point_w,
                fail_safe=one.fail_safe,
                refusal=one.refused or "",
                detail=one.detail or "",
            )
            for one in ack.appliances
            if one.appliance in known
        },
        refusal=ack.refused or "",
        detail=ack.detail or "",
    )
    reaction.has_news = True
    return reaction


def note_event(received: Received) -> Reaction:
    """Something happened at the gateway or at one of its appliances."""
    event: Event = received.message
    named = [] if event.appliance is None else [event.appliance]
    reaction, _known = _find_appliances(received, Channel.EVENT, named)
    return reaction


HANDLERS: dict[Channel, Handler] = {
    Channel.HELLO: apply_hello,
    Channel.STATUS: apply_status,
    Channel.CONSTRAINTS: apply_constraints,
    Channel.ACK: read_ack,
    Channel.EVENT: note_event,
}


def _declare_intervals(
    intervals_s: dict[int, discovery.IntervalChange], received: Received
) -> None:
    """What was read before any hello has the interval of the first one, else that which held.

    Another one holds since its hello came, however late that is handled; what was computed since
    then is so once more.
    """
    system_key, came_at = received.gateway.system_key, received.arrival.at
    of_system = DeclaredInterval.objects.filter(system_key=system_key)
    declared = set(
        of_system.filter(appliance_key__in=intervals_s).values_list("appliance_key", flat=True)
    )
    news = {
        key: change.after_s
        for key, change in intervals_s.items()
        if key not in declared or change.before_s != change.after_s
    }
    for appliance in Appliance.objects.select_related("system").filter(key__in=news):
        interval_s = news[appliance.key]
        if appliance.key not in declared:
            declare_interval(appliance=appliance, interval_s=interval_s, valid_from=EARLIEST)
            continue
        # Where history was imported meanwhile, what held before was declared behind it.
        for valid_from in (came_at, received.now):
            declare_interval(appliance=appliance, interval_s=interval_s, valid_from=valid_from)
        mark_computed(
            system_key=system_key,
            appliance_key=appliance.key,
            spans=[Span(came_at, received.now)],
            cause=Cause.CORRECTION,
            now=received.now,
        )


def found_appliance(one: FoundAppliance) -> discovery.FoundAppliance:
    limits = one.limits
    return discovery.FoundAppliance(
        local_id=one.local_id,
        kind=one.kind,
        interval_s=one.interval_s,
        name=one.name,
        manufacturer=one.manufacturer,
        model=one.model,
        serial_number=one.serial_number,
        firmware=one.firmware,
        protocol=one.protocol,
        parent=one.parent,
        min_power_w=limits.min_power_w if limits else None,
        max_power_w=limits.max_power_w if limits else None,
        max_current_a=limits.max_current_a if limits else None,
        capacity_wh=limits.capacity_wh if limits else None,
    )


def _draft(wish: LocalWish) -> Draft:
    return Draft(
        min_w=wish.min_w,
        max_w=wish.max_w,
        set_point_w=wish.set_point_w,
        closest=wish.closest and wish.set_point_w is not None,
        valid_at=None if wish.valid_at is None else from_ms(wish.valid_at),
        invalid_at=from_ms(wish.invalid_at),
    )


def _find_appliances(
    received: Received, channel: Channel, named: Iterable[str]
) -> tuple[Reaction, dict[str, UUID]]:
    """The appliances (ids) behind a message's references; those of others are refused.

    The rest of the message stands.
    """
    reaction = Reaction(channel)
    references = set(named)
    if not references:
        return reaction, {}
    own: dict[str, UUID] = {}
    for local_id, appliance_id in Appliance.objects.filter(
        gateway=received.gateway.id, removed_at=None
    ).values_list("local_id", "id"):
        own |= {local_id: appliance_id, str(appliance_id): appliance_id}
    known = {
        name: found
        for name in references
        if (found := own.get(name) or own.get(name.lower())) is not None
    }
    unknown = sorted(references - known.keys())
    for name in unknown:
        reaction.faults.append((UNKNOWN_APPLIANCE, f"appliance {name}"))
    if unknown:
        _answer(reaction, UNKNOWN_APPLIANCE, ", ".join(unknown))
    return reaction, known


def _refuse(reaction: Reaction, reason: str, detail: str) -> None:
    reaction.faults.append((reason, detail))
    _answer(reaction, reason, detail)


def _answer(reaction: Reaction, reason: str, detail: str) -> None:
    error = Error(v=VERSION, reason=reason, channel=reaction.channel.value, detail=detail[:200])
    reaction.answers.append((Channel.ERROR, error))
