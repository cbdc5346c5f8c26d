"""Messages whose order counts, one gateway's after the other: hello, constraints, ack, status.

One link at a time handles them (`gridx.gateways.link`), in the order of the log.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from flexibility.delivery import Acknowledgement, record_acknowledgements
from flexibility.resolving import hold_systems
from gridx.gateways.arrivals import (
    Arrival,
    GatewayRow,
    Outcome,
    Unreadable,
    Upward,
    error_about,
    find_gateways,
    read,
)
from gridx.gateways.contacts import Contact, gather, hold_gateways, record_contacts
from gridx.gateways.faults import Fault, fault_of, faults_of_ignored, record_faults
from gridx.gateways.handlers import HANDLERS, Reaction, Received
from gridx.gateways.messages import Status
from gridx.gateways.topics import Channel

# What changes or reports what appliances keep to.
_STEERING = frozenset({Channel.CONSTRAINTS, Channel.ACK})


@transaction.atomic
def apply_arrivals(*, arrivals: Sequence[Arrival], now: datetime) -> Outcome:
    """Handle the messages one by one, in one transaction; to do so again changes nothing more.

    Acknowledgements are recorded at the end, all together: a change for a whole fleet brings one
    of each of its gateways.
    """
    outcome = Outcome()
    outcome.count("messages", len(arrivals))
    items = [item for arrival in arrivals if (item := read(arrival)) is not None]
    gateways = find_gateways(item.serial for item in items)
    # At once and in order, or two that change the same systems might wait for each other.
    hold_systems(
        {
            gateways[item.serial].system_id
            for item in items
            if isinstance(item, Upward) and item.channel in _STEERING and item.serial in gateways
        }
    )
    # A hello changes its gateway before all are written at the end.
    hold_gateways({gateway.id for gateway in gateways.values()})
    contacts: dict[UUID, Contact] = {}
    faults: list[Fault] = []
    acknowledgements: list[Acknowledgement] = []
    last_hello = {item.serial: item for item in items if _is_hello(item)}
    for item in items:
        gateway = gateways.get(item.serial)
        if gateway is None:
            outcome.count("from unknown gateways")
            continue
        contact = gather(contacts, gateway.id)
        if not _is_farewell(item):
            contact.touch(item.arrival.at)
        # Each says all that its gateway has found: of several at once the last one counts, so
        # that a gateway that floods the link with them does not keep the others waiting.
        if _is_hello(item) and item is not last_hello[item.serial]:
            outcome.count("hellos overtaken")
            continue
        reaction = _apply(item, gateway, contact, faults, outcome, now)
        if reaction is not None and reaction.acknowledgement is not None:
            acknowledgements.append(reaction.acknowledgement)
    record_acknowledgements(acknowledgements=acknowledgements, now=now)
    record_contacts(contacts)
    record_faults(faults=faults, now=now)
    return outcome


def _is_farewell(item: Upward | Unreadable) -> bool:
    """Whether it says that a gateway is gone: its last will, which the broker sends long after."""
    return isinstance(item, Upward) and isinstance(item.message, Status) and not item.message.online


def _is_hello(item: Upward | Unreadable) -> bool:
    return isinstance(item, Upward) and item.channel is Channel.HELLO


def _apply(
    item: Upward | Unreadable,
    gateway: GatewayRow,
    contact: Contact,
    faults: list[Fault],
    outcome: Outcome,
    now: datetime,
) -> Reaction | None:
    if isinstance(item, Unreadable):
        outcome.count("unreadable")
        outcome.answers.add_error(item.serial, error_about(item))
        faults.append(fault_of(item, gateway))
        return None
    faults += faults_of_ignored(item, gateway)
    reaction = HANDLERS[item.channel](Received(gateway, item.message, item.arrival, now))
    reaction.into(outcome, faults, gateway)
    if not _is_farewell(item):
        contact.touch(item.arrival.at, reaction.sent_at_ms)
    if reaction.online is not None:
        contact.online = reaction.online
    return reaction
