from dataclasses import replace
from datetime import timedelta

import pytest

from gridx.gateways.arrivals import Arrival
from gridx.gateways.authentication import Refusal, judge_and_note
from gridx.gateways.floods import PAUSE, Rates, hold_off
from gridx.gateways.messages import COUNTED_BYTES
from gridx.gateways.topics import Channel, stream_subject
from inventory.models import Gateway, GatewayFault
from inventory.operations import rotate_secret
from tests.gridx.gateways.test_authentication import QUESTION

MOST = 10


@pytest.fixture
def send(now):
    """The serials beyond the limit after so many messages, counted by the same link."""
    rates = Rates(MOST)

    def count(number=1, *, serial="GX-0001", size=100, after=timedelta()):
        subject = stream_subject(serial, Channel.READINGS)
        return rates.beyond([Arrival(subject, b" " * size, now + after)] * number)

    return count


def faults() -> list[tuple[str, str, int]]:
    return list(GatewayFault.objects.values_list("topic", "reason", "count"))


def test_only_a_gateway_beyond_the_limit_is_a_flood(send):
    assert send(MOST) == set()
    assert send(MOST, serial="GX-0002") == set()
    assert send() == {"GX-0001"}


def test_a_long_message_counts_as_several(send):
    assert send(2, size=5 * COUNTED_BYTES) == set()
    assert send() == {"GX-0001"}


def test_each_minute_is_counted_anew(send):
    assert send(MOST) == set()
    assert send(MOST, after=timedelta(minutes=1)) == set()
    assert send(after=timedelta(minutes=1)) == {"GX-0001"}


def test_what_came_in_an_hour_and_is_counted_at_once_is_no_flood(send):
    assert not any(send(MOST, after=timedelta(minutes=minute)) for minute in range(60))


def test_a_topic_that_nobody_knows_counts_as_well(now):
    arrival = Arrival("$MQTT.msgs.gridx.v1.GX-0001.up.wishes", b"{}", now)
    assert Rates(MOST).beyond([arrival] * (MOST + 1)) == {"GX-0001"}


def test_a_flooding_gateway_is_let_in_again_after_a_pause(cast, now):
    secret = rotate_secret(gateway=cast.gateway, by=None, now=now)
    question = replace(QUESTION, password=secret)
    hold_off(serials=["GX-0001"], most=MOST, now=now)
    assert judge_and_note(question, now=now) is Refusal.PAUSED
    assert judge_and_note(question, now=now + PAUSE) is None
    # Whoever only claims to be it learns nothing.
    assert judge_and_note(QUESTION, now=now) is Refusal.WRONG_SECRET


def test_a_flood_is_one_fault_however_long_its_rest_is_being_read(cast, now):
    for second in range(3):
        hold_off(serials=["GX-0001", "GX-0404"], most=MOST, now=now + timedelta(seconds=second))
    assert faults() == [("connection", "too_many_messages", 1)]
    assert Gateway.objects.get(serial="GX-0001").paused_until == now + PAUSE
    hold_off(serials=["GX-0001"], most=MOST, now=now + PAUSE)
    assert faults() == [("connection", "too_many_messages", 2)]
