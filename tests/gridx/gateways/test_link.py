"""A link between real servers: what a gateway sends, what is stored, what it hears."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from threading import Event
from urllib.parse import urlsplit

import aiomqtt
import pytest
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection
from nats.js import JetStreamContext

from gridx import clock
from gridx.gateways import consumers, handlers, hints, readings
from gridx.gateways import link as link_module
from gridx.gateways.arrivals import Arrival, Outcome
from gridx.gateways.consumers import ORDERED, READINGS, pending_of
from gridx.gateways.ordered import apply_arrivals
from gridx.gateways.topics import MQTT_STREAM, Channel, parse_subject
from inventory.models import Appliance, Gateway, GatewayFault
from inventory.operations import revoke_gateway, rotate_secret
from measurements.announce import group_of
from measurements.models import Reading
from tests.gridx.gateways.conftest import Box, RunningLink, until
from tests.gridx.gateways.line import Line

pytestmark = pytest.mark.alone

# One instant for all, so that readings of different ages never fall onto the same second.
STARTED_S = int(time.time())


def reading(appliance: str, power_w: float, *, seq: int = 1, age_s: int = 0) -> dict:
    at = (STARTED_S - age_s) * 1000
    return {
        "seq": seq,
        "sent_at": int(time.time() * 1000),
        "appliances": [{"appliance": appliance, "at": [at], "power_w": [power_w]}],
    }


def hello(*appliances: dict) -> dict:
    return {
        "protocol": 1,
        "model": "Box",
        "firmware": "1",
        "sent_at": int(time.time() * 1000),
        "appliances": list(appliances),
    }


METER = {"local_id": "meter", "kind": "meter", "interval_s": 10}


def powers() -> list[float]:
    return sorted(Reading.objects.values_list("power_w", flat=True))


def faults() -> set[tuple[str, str]]:
    return set(GatewayFault.objects.values_list("topic", "reason"))


async def is_empty(log: JetStreamContext) -> bool:
    return (await log.stream_info(MQTT_STREAM)).state.messages == 0


@pytest.fixture
def box(secrets) -> Callable[[str], Box]:
    """Makes the box of GX-0001 or GX-0002, with its secret."""
    return lambda serial="GX-0001": Box(serial, secrets[serial])


@pytest.fixture
def most_a_minute(settings) -> int:
    """How many messages of a gateway are no flood to a link that starts after this."""
    settings.GATEWAY_MESSAGES_A_MINUTE = 50
    return settings.GATEWAY_MESSAGES_A_MINUTE


async def test_readings_are_stored_and_then_leave_the_log(link, log, box, in_database):
    async with box() as gateway:
        for number in range(20):
            await gateway.send(Channel.READINGS, reading("grid", number, seq=number, age_s=number))
        await until(lambda: in_database(lambda: Reading.objects.count() == 20))
        assert await in_database(powers) == list(range(20))
        await until(lambda: is_empty(log))


async def test_pages_are_told_of_new_values(link, site, box):
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group_of(site.lindenweg.pk), channel)
    async with box() as gateway:
        await gateway.send(Channel.READINGS, reading("grid", 500))
        event = await asyncio.wait_for(layer.receive(channel), 60)
    assert event == {"type": "system.changed", "system": str(site.lindenweg.pk)}
    await layer.group_discard(group_of(site.lindenweg.pk), channel)


async def test_workers_are_told_of_what_came_late(link, box, in_database, monkeypatch):
    told = []
    monkeypatch.setattr(hints, "_hint", lambda: told.append("compute") or True)
    async with box() as gateway:
        await gateway.send(Channel.READINGS, reading("grid", 2, age_s=3600))
        await until(lambda: told)
        # When they are told of it, it can be seen.
        assert await in_database(powers) == [2]


async def test_a_hello_is_answered_and_readings_right_behind_it_are_stored(link, box, in_database):
    async with box() as gateway:
        await gateway.send(Channel.HELLO, hello(METER))
        await gateway.send(Channel.READINGS, reading("meter", 42))
        (answer,) = await gateway.hears(Channel.HELLO_ANSWER)
        meter = await in_database(lambda: Appliance.objects.get(local_id="meter"))
        assert [(one.local_id, one.appliance) for one in answer.appliances] == [("meter", meter.pk)]
        await until(lambda: in_database(lambda: powers() == [42]))
        assert await in_database(faults) == set()


async def test_hellos_are_answered_in_their_order(link, box, in_database):
    async with box() as gateway:
        names = [f"meter-{name}" for name in "ABCDEFGH"]
        for name in names:
            await gateway.send(Channel.HELLO, hello(METER | {"local_id": name}))

        def answered() -> list[str]:
            return [
                message.appliances[0].local_id
                for channel, message in gateway.heard
                if channel is Channel.HELLO_ANSWER
            ]

        await until(lambda: answered()[-1:] == names[-1:])
        # Of several at once only the last is answered; none out of turn.
        assert answered() == sorted(answered())


async def test_bad_messages_are_counted_and_answered_and_their_neighbours_stored(
    link, site, box, in_database
):
    async with box() as gateway:
        await gateway.send(Channel.READINGS, b"garbage")
        await gateway.send(Channel.READINGS, b'{"v": 99}')
        await gateway.send(Channel.READINGS, b" " * 700_000)
        await gateway.send(Channel.HELLO, b"garbage")
        await gateway.send("up/nonsense", b"{}")
        await gateway.send(Channel.READINGS, reading(str(site.other_meter.pk), 1))
        await gateway.send(Channel.READINGS, reading("grid", 500))
        errors = await gateway.hears(Channel.ERROR, 6)
        expected = {
            ("up/readings", "malformed"),
            ("up/readings", "unknown_version"),
            ("up/readings", "too_large"),
            ("up/hello", "malformed"),
            ("up/nonsense", "unknown_topic"),
            ("up/readings", "unknown_appliance"),
        }
        assert {(error.channel, error.reason) for error in errors} == expected
        await until(lambda: in_database(lambda: faults() == expected))
        assert await in_database(powers) == [500]


@pytest.mark.parametrize("size", [2, 5_000])
async def test_a_topic_that_nats_py_takes_for_two_harms_nobody(link, log, box, in_database, size):
    # The only white space that the broker lets pass; beyond 4 kB its client waited for more.
    topic = "up/non\vsense"
    async with box("GX-0002") as other, box() as gateway:
        await gateway.send(topic, b" " * size)
        await other.send(Channel.READINGS, reading("grid", 500))
        await until(lambda: in_database(lambda: powers() == [500]), within_s=10)
        await until(lambda: in_database(lambda: faults() == {(topic, "unknown_topic")}))
        (error,) = await gateway.hears(Channel.ERROR)
        assert (error.channel, error.reason) == ("up/non\ufffdsense", "unknown_topic")
        # The next sign-in is answered as well.
        async with box():
            await until(lambda: is_empty(log))


async def test_a_message_too_large_for_the_broker_ends_its_connection_only(link, box, in_database):
    async with box("GX-0002") as other, box() as gateway:
        # It is never acknowledged.
        sending = asyncio.create_task(gateway.send(Channel.READINGS, b" " * 1_100_000))
        await until(lambda: gateway.is_cut_off)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await until(lambda: in_database(lambda: faults() == {("connection", "too_large")}))
        await other.send(Channel.READINGS, reading("grid", 2))
        await until(lambda: in_database(lambda: powers() == [2]))


async def test_a_message_that_fails_here_comes_again_when_the_mistake_is_mended(
    link, box, in_database, monkeypatch
):
    mend = asyncio.Event()
    store = readings.store_readings

    def fail_until_mended(**options):
        if not mend.is_set():
            raise RuntimeError("a mistake of ours")
        return store(**options)

    monkeypatch.setattr(readings, "store_readings", fail_until_mended)
    monkeypatch.setattr(link_module, "_FIRST_RETRY_S", 0.5)
    async with box() as gateway:
        await gateway.send(Channel.READINGS, reading("grid", 500))
        await until(lambda: in_database(lambda: faults() == {("up/readings", "internal_error")}))
        mend.set()
        await until(lambda: in_database(lambda: powers() == [500]))


async def test_a_message_that_fails_here_is_kept_and_stops_nobody(
    link, box, in_database, monkeypatch
):
    def fail(received):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setitem(handlers.HANDLERS, Channel.EVENT, fail)
    monkeypatch.setitem(handlers.HANDLERS, Channel.CONSTRAINTS, fail)
    async with box() as gateway:
        await gateway.send(Channel.EVENT, {"at": 0, "type": "restart"})
        await gateway.send(Channel.CONSTRAINTS, {"at": 0})
        await gateway.send(Channel.HELLO, hello(METER))
        await gateway.send(Channel.READINGS, reading("grid", 500))
        await gateway.hears(Channel.HELLO_ANSWER)
        await until(lambda: in_database(lambda: powers() == [500]))
        expected = {("up/event", "internal_error"), ("up/constraints", "internal_error")}
        await until(lambda: in_database(lambda: faults() == expected))


@pytest.fixture
def places(monkeypatch) -> int:
    """How many messages may be with links that start after this, not acknowledged yet."""
    monkeypatch.setattr(READINGS, "max_ack_pending", 6)
    return READINGS.max_ack_pending


async def test_messages_that_fail_here_stop_nobody_however_many_they_are(
    places, link, log, box, in_database, monkeypatch, caplog
):
    def fail(received):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setitem(handlers.HANDLERS, Channel.EVENT, fail)
    event = {"at": 0, "type": "restart"}
    async with box() as gateway:
        await gateway.send(Channel.EVENT, event)
        await until(lambda: in_database(lambda: faults() == {("up/event", "internal_error")}))
        for _ in range(2 * places):
            await gateway.send(Channel.EVENT, event)
        await gateway.send(Channel.READINGS, reading("grid", 500))
        await until(lambda: in_database(lambda: powers() == [500]), within_s=20)

    async def some_are_kept() -> bool:
        return 1 <= await pending_of(log, READINGS) <= places // 2

    await until(some_are_kept)
    assert "given up" in caplog.text
    # What is given up is on record.
    await until(lambda: in_database(lambda: GatewayFault.objects.get().count == 1 + 2 * places))
    fault = await in_database(GatewayFault.objects.get)
    assert fault.detail == "RuntimeError: a mistake of ours"
    assert json.loads(fault.body) == {"v": 1} | event


async def test_a_gateway_reaches_nobody_elses_topics(link, box, in_database):
    async with box("GX-0001") as mine, box("GX-0002") as theirs:
        await mine.client.subscribe("gridx/v1/GX-0002/#", qos=1)
        await mine.client.subscribe("gridx/v1/+/down/#", qos=1)
        await mine.send(Channel.READINGS, reading("grid", 666), serial="GX-0002")
        await mine.send(Channel.HELLO_ANSWER, {"sent_at": 0, "appliances": []}, serial="GX-0002")
        await theirs.send(Channel.READINGS, reading("grid", 2))
        await theirs.send(Channel.HELLO, hello(METER))
        await theirs.hears(Channel.HELLO_ANSWER)
        await until(lambda: in_database(lambda: powers() == [2]))
        answers = await theirs.hears(Channel.HELLO_ANSWER)
        assert [len(answer.appliances) for answer in answers] == [1]
        assert mine.heard == []


@pytest.mark.parametrize(
    ("serial", "secret", "client_id"),
    [
        ("GX-0001", "wrong", None),
        ("GX-0001", None, "GX-0002"),
        ("GX-0404", "wrong", None),
    ],
)
async def test_whoever_is_not_that_gateway_is_refused(link, secrets, serial, secret, client_id):
    with pytest.raises(aiomqtt.MqttError, match="135"):
        await Box(serial, secret or secrets[serial], client_id=client_id).client.__aenter__()


async def test_nobody_is_let_in_without_a_link(log, box):
    with pytest.raises(aiomqtt.MqttError):
        await box().client.__aenter__()


async def test_the_status_and_the_last_will_show_who_is_online(link, box, in_database):
    def is_online() -> bool:
        return Gateway.objects.get(serial="GX-0001").online

    def contacted_at() -> datetime | None:
        return Gateway.objects.get(serial="GX-0001").contacted_at

    async with box() as gateway:
        await gateway.send(Channel.STATUS, {"online": True})
        await until(lambda: in_database(is_online))
        heard_at = await in_database(contacted_at)
        await asyncio.sleep(1)
        gateway.lose_connection()
        await until(lambda: in_database(lambda: not is_online()))
        # Its last will comes from the broker: nobody has heard of the gateway itself.
        assert await in_database(contacted_at) == heard_at


@pytest.mark.parametrize("change", [revoke_gateway, rotate_secret])
async def test_a_connection_ends_within_seconds_when_its_right_ends(
    link, site, box, secrets, in_database, change
):
    async with box("GX-0002") as other, box() as gateway:
        now = clock.now()
        await in_database(change, gateway=site.gateway, by=None, now=now)
        await until(lambda: gateway.is_cut_off, within_s=5)
        with pytest.raises(aiomqtt.MqttError, match="135"):
            await box().client.__aenter__()
        assert not other.is_cut_off


async def test_a_new_secret_lets_in_and_the_connection_lasts(link, site, box, in_database):
    async with box() as gateway:
        secret = await in_database(rotate_secret, gateway=site.gateway, by=None, now=clock.now())
        await until(lambda: gateway.is_cut_off)
    async with Box("GX-0001", secret) as gateway:
        await asyncio.sleep(4)  # longer than the link looks for connections with the old one
        assert not gateway.is_cut_off


async def test_a_revocation_while_no_link_ran_is_made_up_for(log, site, box, in_database, caplog):
    caplog.set_level("INFO", logger="gridx")
    first = RunningLink()
    first.start()
    await until(lambda: "Gateways are let in" in caplog.text)
    async with box() as gateway:
        await first.end()
        await in_database(revoke_gateway, gateway=site.gateway, by=None, now=clock.now())
        second = RunningLink()
        second.start()
        await until(lambda: gateway.is_cut_off)
    await second.end()


async def test_another_link_takes_over_what_keeps_its_order(link, box, in_database, caplog):
    second = RunningLink()
    second.start()
    await until(lambda: "Gateways are let in" in caplog.text)
    async with box() as gateway:
        await gateway.send(Channel.HELLO, hello(METER))
        await gateway.hears(Channel.HELLO_ANSWER)
        await link.end()
        await gateway.send(Channel.HELLO, hello(METER))
        await gateway.send(Channel.READINGS, reading("meter", 7))
        await gateway.hears(Channel.HELLO_ANSWER, 2)
        await until(lambda: in_database(lambda: powers() == [7]))
    await second.end()


async def is_out(log: JetStreamContext, number: int) -> bool:
    """Whether so many messages are with a link that keeps their order, not acknowledged yet."""
    return await pending_of(log, ORDERED) == number


@pytest.fixture
def line() -> Iterator[Line]:
    """A cable to the broker's port for links."""
    at = urlsplit(settings.ADDRESSES.nats_url)
    line = Line(at.hostname, at.port)
    yield line
    line.close()


async def test_what_a_broken_connection_swallowed_is_handled_before_what_comes_next(
    log, box, line, monkeypatch, caplog
):
    handled = []

    def apply(*, arrivals: list[Arrival], now: datetime) -> Outcome:
        handled.extend(parse_subject(arrival.subject).channel for arrival in arrivals)
        return apply_arrivals(arrivals=arrivals, now=now)

    monkeypatch.setattr(link_module, "apply_arrivals", apply)
    # A request is made every 2 s and lives for a minute: one is open all the time.
    monkeypatch.setattr(consumers, "_EXPIRES_S", 60.0)
    monkeypatch.setattr(consumers, "_LOST_AFTER_S", -58.0)
    caplog.set_level("INFO", logger="gridx")
    url = settings.ADDRESSES.nats_url
    url_by_line = url.replace(f":{urlsplit(url).port}", f":{line.port}")
    link = RunningLink(replace(settings.ADDRESSES, nats_url=url_by_line))
    link.start()
    await until(lambda: "Gateways are let in" in caplog.text)
    async with box() as gateway:
        await gateway.send(Channel.STATUS, {"online": True})
        await until(lambda: handled)
        await until(lambda: is_out(log, 0))
        line.cut(silently=True)
        await gateway.send(Channel.HELLO, hello(METER))
        await until(lambda: is_out(log, 1))
        line.cut(silently=False)
        await asyncio.to_thread(line.mend)
        await gateway.send(Channel.STATUS, {"online": True})
        await gateway.hears(Channel.HELLO_ANSWER)
        await until(lambda: is_out(log, 0))
    assert handled[:3] == [Channel.STATUS, Channel.HELLO, Channel.STATUS]
    await link.end()


async def test_an_acknowledgement_of_long_ago_makes_no_link_deaf(log, box, monkeypatch, caplog):
    handled, go_on = [], Event()

    def apply(*, arrivals: list[Arrival], now: datetime) -> Outcome:
        handled.extend(arrivals)
        assert go_on.wait(30)
        return apply_arrivals(arrivals=arrivals, now=now)

    monkeypatch.setattr(link_module, "apply_arrivals", apply)
    monkeypatch.setattr(ORDERED, "ack_wait", 1.0)
    monkeypatch.setattr(link_module, "ORDERED_ACK_WAIT_S", 1.0)
    caplog.set_level("INFO", logger="gridx")
    link = RunningLink()
    link.start()
    await until(lambda: "Gateways are let in" in caplog.text)
    async with box() as gateway:
        await gateway.send(Channel.STATUS, {"online": True})
        await until(lambda: handled)
        # From before all was handed out again: its number is higher than those of now.
        delivery = f"1.{handled[0].number}.1000.1795898526394484626.0"
        await log._nc.publish(f"$JS.ACK.{MQTT_STREAM}.{ORDERED.durable_name}.{delivery}")
        await until(lambda: is_out(log, 0))
        go_on.set()
        await gateway.send(Channel.STATUS, {"online": True})
        await until(lambda: len(handled) == 2)
        await until(lambda: is_out(log, 0), within_s=20)
    await link.end()


async def test_the_link_outlasts_broken_database_connections(link, box, in_database):
    def end_all_others() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    async with box() as gateway:
        await gateway.send(Channel.READINGS, reading("grid", 1, age_s=2))
        await until(lambda: in_database(lambda: powers() == [1]))
        await in_database(end_all_others)
        await gateway.send(Channel.READINGS, reading("grid", 2))
        await gateway.send(Channel.HELLO, hello(METER))
        await until(lambda: in_database(lambda: powers() == [1, 2]))
        await gateway.hears(Channel.HELLO_ANSWER)


async def test_a_gateway_that_floods_is_cut_off_and_harms_nobody(
    most_a_minute, link, box, in_database
):
    acknowledged = set()

    async def flood(gateway: Box) -> None:
        for number in range(most_a_minute * 10):
            await gateway.send(Channel.READINGS, reading("grid", number, seq=number, age_s=number))
            acknowledged.add(number)

    async with box("GX-0002") as other:
        async with box() as gateway:
            flooding = asyncio.create_task(flood(gateway))
            await until(lambda: gateway.is_cut_off)
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
        assert len(acknowledged) > most_a_minute
        with pytest.raises(aiomqtt.MqttError, match="135"):
            await box().client.__aenter__()
        await other.send(Channel.READINGS, reading("grid", -1))
        await until(lambda: in_database(lambda: {-1} | acknowledged <= set(powers())))
        assert await in_database(faults) == {("connection", "too_many_messages")}
        # Still within its minute, so one more message would be too many again.
        await in_database(lambda: Gateway.objects.update(paused_until=clock.now()))
        async with box() as gateway:
            assert not gateway.is_cut_off
        assert not other.is_cut_off


async def test_both_consumers_are_there_before_gateways_are_let_in(link, log):
    for consumer in (READINGS, ORDERED):
        info = await log.consumer_info(MQTT_STREAM, consumer.durable_name)
        assert info.config.ack_policy == consumer.ack_policy
    assert (await log.stream_info(MQTT_STREAM)).config.retention == "interest"
