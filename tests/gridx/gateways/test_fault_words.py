"""Whatever the link refuses has words for people."""

from datetime import UTC, datetime

import pytest
from django.utils import translation

from gridx.gateways import arrivals, authentication, disconnects, floods, handlers, readings
from gridx.gateways.authentication import Refusal as Refused
from gridx.gateways.codec import Reason
from gridx.gateways.topics import Channel
from inventory.discovery import Remark, UnableToAdd
from inventory.models import GatewayFault
from inventory.words import REASONS, TOPICS, fault_in_words
from measurements.plausibility import Refusal


def test_every_reason_and_every_channel_has_words():
    reasons = {
        *Reason,
        *(arrivals.UNKNOWN_TOPIC, arrivals.UNKNOWN_FIELD, arrivals.INTERNAL_ERROR),
        *(handlers.UNKNOWN_APPLIANCE, handlers.INVALID_CONSTRAINT),
        *(readings.REMOVED_APPLIANCE, readings.OTHER_SYSTEM),
        *(Refused.WRONG_SECRET, Refused.REVOKED, floods.TOO_MANY),
        *disconnects._REASONS.values(),
        *UnableToAdd.values,
        *Remark.values,
        *Refusal.values,
    }
    assert reasons <= set(REASONS)
    upward = {channel.value for channel in Channel if channel.is_upward}
    assert upward | {disconnects.TOPIC, authentication.FAULT_TOPIC} <= set(TOPICS)


@pytest.mark.parametrize(
    ("detail", "appliance", "at"),
    [
        ("appliance heat-pump", "heat-pump", None),
        (
            "appliance grid at 2026-06-15T10:00:00+00:00",
            "grid",
            datetime(2026, 6, 15, 10, tzinfo=UTC),
        ),
        ("appliance grid at noon", "grid", None),
        ("appliances: Expected `array`, got `int`", "", None),
        ("", "", None),
    ],
)
def test_what_a_refusal_is_about_is_told_apart(detail: str, appliance: str, at: datetime | None):
    words = fault_in_words(GatewayFault(topic="up/readings", reason="future", detail=detail))
    assert (words.appliance, words.at) == (appliance, at)


def test_a_reason_is_told_in_the_readers_language_and_a_new_one_by_its_code():
    fault = GatewayFault(topic="up/readings", reason="unknown_appliance")
    with translation.override("de"):
        words = fault_in_words(fault)
        assert str(words.reason) == "Dieses Gerät hat das Gateway nicht gemeldet"
        assert str(words.topic) == "Messwerte"
    assert fault_in_words(GatewayFault(topic="up/x", reason="brand_new")).reason == "brand_new"
