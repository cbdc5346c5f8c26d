"""Schedules reach gateways, are kept to and acknowledged, whatever happens on the way."""

import asyncio
from datetime import timedelta

import pytest
from django.db import connection

from accounts import outbox
from accounts.models import OutboxMessage
from flexibility.emitters import DIMMING, emitter_of
from flexibility.models import Constraint, Flexibility, GatewaySchedule
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.queries import Delivery, flexibility_of
from gridx import clock
from gridx.gateways import dispatch
from gridx.gateways.publisher import UnableToPublish
from gridx.gateways.topics import Channel
from inventory.models import GatewayFault
from measurements.resolutions import to_ms
from tests.gridx.gateways.conftest import Box, until

MINUTE = timedelta(minutes=1)
DRIVER = {"appliance": "evcs", "min_w": 4_140, "max_w": 22_000, "can_pause": True}

HELLO = {"protocol": 1, "model": "Box", "firmware": "1", "sent_at": 0, "appliances": []}


@pytest.fixture
def box(site, secrets):
    return lambda: Box(site.gateway.serial, secrets[site.gateway.serial])


def limit(site, *, max_w: float, now=None) -> Constraint:
    now = now or clock.now()
    draft = Draft(max_w=max_w, invalid_at=now + 60 * MINUTE)
    [row] = set_constraints(
        target=site.evcs, drafts=[draft], emitter=emitter_of(site.fleet), now=now
    )
    return row


def publish() -> int:
    return dispatch.publish_schedules(now=clock.now())


def delivery(site) -> Delivery:
    return flexibility_of(appliance=site.evcs, now=clock.now()).delivery


async def test_a_schedule_waits_at_the_broker_and_is_acknowledged(link, site, box, in_database):
    async with box() as gateway:
        await gateway.send(Channel.CONSTRAINTS, {"at": 0, "limits": [DRIVER]})
        await until(lambda: in_database(Flexibility.objects.filter(max_w=22_000).exists))
    await in_database(limit, site, max_w=11_000)
    assert await in_database(delivery, site) is Delivery.PENDING
    assert await in_database(publish) == 1
    assert await in_database(delivery, site) is Delivery.SENT
    # It was away meanwhile; the newest is there when it returns.
    async with box() as gateway:
        [schedule] = await gateway.hears(Channel.SCHEDULE)
        assert schedule.revision == 1
        [timeline] = schedule.appliances
        assert (timeline.local_id, timeline.appliance) == ("evcs", site.evcs.pk)
        assert [one.max_w for one in timeline.segments] == [11_000, 22_000]
        applied = {"appliance": "evcs", "max_w": 11_000}
        await gateway.send(Channel.ACK, {"revision": 1, "at": 0, "appliances": [applied]})
        await until(lambda: in_database(lambda: delivery(site) is Delivery.APPLIED))
    kept = await in_database(Flexibility.objects.get, pk=site.evcs.pk)
    assert (kept.applied_max_w, kept.applied_revision) == (11_000, 1)


async def test_a_hello_is_told_the_newest_schedule_that_asks_for_anything(
    link, site, box, in_database
):
    async with box() as gateway:
        await gateway.send(Channel.HELLO, HELLO)
        await gateway.hears(Channel.HELLO_ANSWER)
        row = await in_database(limit, site, max_w=11_000)
        await gateway.send(Channel.HELLO, HELLO)
        await gateway.hears(Channel.HELLO_ANSWER, 2)
        by = emitter_of(site.fleet)
        await in_database(withdraw_constraint, constraint=row, by=by, now=clock.now())
        await gateway.send(Channel.HELLO, HELLO)
        answers = await gateway.hears(Channel.HELLO_ANSWER, 3)
    assert [answer.schedule for answer in answers] == [0, 1, 0]


async def test_a_gateway_that_says_nothing_times_out_and_its_late_word_mends_that(
    link, site, box, in_database
):
    def delivery_in(minutes: int) -> Delivery:
        return flexibility_of(appliance=site.evcs, now=clock.now() + minutes * MINUTE).delivery

    await in_database(limit, site, max_w=11_000)
    await in_database(publish)
    assert await in_database(delivery_in, 1) is Delivery.SENT
    assert await in_database(delivery_in, 3) is Delivery.TIMED_OUT
    async with box() as gateway:
        await gateway.hears(Channel.SCHEDULE)
        await gateway.send(Channel.ACK, {"revision": 1, "at": 0, "appliances": []})
        await until(lambda: in_database(lambda: delivery_in(3) is Delivery.APPLIED))


async def test_a_refusal_is_kept_with_its_reason(link, site, box, in_database):
    await in_database(limit, site, max_w=11_000)
    await in_database(publish)
    async with box() as gateway:
        await gateway.hears(Channel.SCHEDULE)
        applied = {"appliance": "evcs", "refused": "beyond_limits", "detail": "too little"}
        await gateway.send(Channel.ACK, {"revision": 1, "at": 0, "appliances": [applied]})
        await until(lambda: in_database(lambda: delivery(site) is Delivery.REFUSED))
    kept = await in_database(Flexibility.objects.get, pk=site.evcs.pk)
    assert (kept.refusal, kept.refusal_detail) == ("beyond_limits", "too little")


async def test_of_a_wrong_limit_the_gateway_hears_and_the_others_stand(
    link, site, box, in_database
):
    async with box() as gateway:
        wrong = {"appliance": "battery", "min_w": 5, "max_w": -5}
        stranger = {"appliance": "toaster", "max_w": 5}
        limits = [wrong, stranger, DRIVER]
        await gateway.send(Channel.CONSTRAINTS, {"at": 0, "limits": limits})
        errors = await gateway.hears(Channel.ERROR, 2)
    assert {error.reason for error in errors} == {"invalid_constraint", "unknown_appliance"}
    drivers = await in_database(lambda: list(Constraint.objects.values_list("appliance", "max_w")))
    assert drivers == [(site.evcs.pk, 22_000)]
    assert await in_database(GatewayFault.objects.count) == 2


async def test_a_wish_at_the_device_becomes_a_residents_constraint(link, site, box, in_database):
    async with box() as gateway:
        wish = {
            "appliance": "evcs",
            "set_point_w": 7_000,
            "invalid_at": to_ms(clock.now() + 60 * MINUTE),
        }
        await gateway.send(Channel.CONSTRAINTS, {"at": 0, "limits": [DRIVER], "wishes": [wish]})
        await until(lambda: in_database(Flexibility.objects.filter(set_point_w=7_000).exists))
    row = await in_database(Constraint.objects.get, emitter_kind="local_user")
    assert (row.priority, row.closest, row.from_gateway) == (2_000, True, True)


async def test_who_sends_an_older_schedule_last_sends_the_newest_again(
    link, site, box, in_database, monkeypatch
):
    await in_database(limit, site, max_w=11_000)
    send, sent = dispatch._send, []

    async def overtaken(messages):
        """While the first one is on its way, a newer one is saved, sent and confirmed."""
        if not sent:
            sent.append(messages)
            await asyncio.to_thread(publish_another)
        await send(messages)

    def publish_another():
        try:
            limit(site, max_w=9_000)
            publish()
        finally:
            connection.close()

    monkeypatch.setattr(dispatch, "_send", overtaken)
    await in_database(publish)
    async with box() as gateway:
        [schedule, *_more] = await gateway.hears(Channel.SCHEDULE)
    assert schedule.revision == 2
    assert not await in_database(OutboxMessage.objects.filter(sent_at=None).exists)


@pytest.mark.django_db
def test_what_cannot_be_sent_stays_due(cast, monkeypatch):
    async def fail(messages):
        raise UnableToPublish("nobody there")

    monkeypatch.setattr(dispatch, "_send", fail)
    now = clock.now()
    limit(cast, max_w=11_000, now=now)
    for attempt in range(1, 20):
        message = OutboxMessage.objects.get(kind="schedule")
        assert dispatch.publish_schedules(now=message.due_at) == 1
        message.refresh_from_db()
        assert (message.attempts, message.failed_at, message.sent_at) == (attempt, None, None)
    assert message.due_at - now < timedelta(minutes=20)
    assert GatewaySchedule.objects.get().published_revision == 0


async def test_gateways_that_are_dimmed_hear_heartbeats(link, site, box, in_database):
    def dim() -> None:
        now = clock.now()
        emitter = emitter_of(site.grid_operator, scopes={DIMMING})
        draft = Draft(max_w=4_200, invalid_at=now + 60 * MINUTE)
        set_constraints(target=site.evcs, drafts=[draft], emitter=emitter, now=now)

    def beat() -> int:
        return dispatch.send_heartbeats(now=clock.now())

    assert await in_database(beat) == 0
    await in_database(dim)
    async with box() as gateway:
        assert await in_database(beat) == 1
        await gateway.hears(Channel.HEARTBEAT)


async def test_a_schedule_that_is_not_fit_to_be_sent_holds_up_no_other(link, site, in_database):
    def publish_both() -> tuple[str, Delivery]:
        limit(site, max_w=11_000)
        now, other = clock.now(), site.other_gateway
        GatewaySchedule.objects.create(
            gateway=other, revision=1, made_at=now, until_at=now, body=[{"odd": 1}]
        )
        outbox.add_message(kind="schedule", payload={"gateway": str(other.pk)}, now=now - MINUTE)
        publish()
        late = OutboxMessage.objects.get(sent_at=None, kind="schedule")
        assert late.payload["gateway"] == str(other.pk)
        return late.last_error, delivery(site)

    error, sent = await in_database(publish_both)
    assert sent is Delivery.SENT
    assert "local_id" in error
