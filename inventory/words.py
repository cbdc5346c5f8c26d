"""Why messages of gateways were refused, in words for people.

The codes are those of the link, of `inventory.discovery` and of `measurements.plausibility`;
gateways read them in their answers, so they stay as they are.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from inventory.models import GatewayFault

REASONS: dict[str, str | Promise] = {
    # The message, or the connection, as a whole
    "too_large": _("The message is too large"),
    "malformed": _("The message cannot be read"),
    "unknown_version": _("The message has a version that is not known here"),
    "invalid": _("A field of the message is missing or has a wrong value"),
    "unknown_topic": _("The message came on a topic that there is not"),
    "unknown_field": _("Fields that nobody knows were left out; the rest was taken"),
    "internal_error": _("A mistake on our side kept the message from being handled"),
    "protocol_violation": _("The gateway broke the rules of MQTT and was disconnected"),
    "slow_receiver": _("The gateway took its messages too slowly and was disconnected"),
    "too_many_messages": _("The gateway sent too many messages and was cut off for a while"),
    "wrong_secret": _("The gateway signed in with a wrong secret"),
    "revoked": _("The gateway is revoked and was not let in"),
    # An appliance
    "unknown_appliance": _("The gateway has not told of this appliance"),
    "removed_appliance": _("The appliance was removed from the inventory"),
    "unknown_kind": _("The kind of the appliance is not known here"),
    "invalid_limits": _("The nominal limits of the appliance contradict each other"),
    "invalid_interval": _("The appliance is read less often than hourly, or too often"),
    "invalid_text": _("A text about the appliance is too long"),
    "removed": _("The appliance was removed from the inventory"),
    "too_many": _("The gateway has too many appliances"),
    "replaced": _("The appliance took the place of another device, which is removed"),
    "unknown_parent": _("The appliance that this one is part of is not known"),
    "invalid_constraint": _("A limit or a wish makes no sense"),
    # A reading
    "other_system": _("The gateway was at another system when it read this"),
    "empty": _("The reading says nothing"),
    "not_finite": _("A value of the reading is not a number"),
    "future": _("The reading lies in the future"),
    "too_old": _("The reading is older than what is kept"),
    "out_of_range": _("A value of the reading is out of range"),
    "half_interval": _("The reading has an interval without energies, or the reverse"),
    "implausible_power": _("The power is more than the appliance can do"),
}
TOPICS: dict[str, str | Promise] = {
    "up/hello": _("Hello, with its appliances"),
    "up/readings": _("Readings"),
    "up/constraints": _("Limits and wishes"),
    "up/ack": _("Acknowledgement"),
    "up/event": _("Event"),
    "status": _("State"),
    "connection": _("Connection"),
    "sign-in": _("Sign-in"),
}
# How the link says what a refusal is about; any other detail is for who knows the protocol.
_ABOUT = re.compile(r"appliance (?P<appliance>\S+)(?: at (?P<at>\S+))?")


@dataclass(frozen=True, slots=True)
class FaultInWords:
    """A refusal in words, and what it is about, where it is about one appliance or its reading."""

    reason: str | Promise
    topic: str | Promise
    appliance: str = ""
    at: datetime | None = None


def fault_in_words(fault: GatewayFault) -> FaultInWords:
    """The refusal as a page shows it; a code that is not known stands for itself."""
    about = _ABOUT.fullmatch(fault.detail)
    return FaultInWords(
        REASONS.get(fault.reason, fault.reason),
        TOPICS.get(fault.topic, fault.topic),
        about["appliance"] if about else "",
        _instant(about["at"]) if about else None,
    )


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
