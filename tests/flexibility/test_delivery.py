"""Schedules on their way: from when on a gateway is late."""

from datetime import datetime, timedelta

import pytest

from flexibility.delivery import (
    Acknowledgement,
    record_acknowledgements,
    record_published,
    resend_schedules,
)
from flexibility.emitters import emitter_of
from flexibility.models import GatewaySchedule
from flexibility.operations import Draft, set_constraints
from flexibility.queries import Delivery, delivery_of
from tests.cast import Cast

SECOND = timedelta(seconds=1)


@pytest.fixture
def ask(driven: Cast, now: datetime):
    """Ask for another power, so that there is a new revision; `is_sent` at once."""

    def ask_once(*, after_s: int, is_sent: bool = True) -> None:
        at = now + after_s * SECOND
        draft = Draft(max_w=9_000 - after_s, invalid_at=now + timedelta(hours=4))
        emitter = emitter_of(driven.fleet)
        set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter, now=at)
        if is_sent:
            newest = GatewaySchedule.objects.get()
            record_published(revisions={newest.pk: newest.revision}, now=at)

    return ask_once


@pytest.fixture
def acknowledge(now: datetime):
    def acknowledge_once(revision: int, *, after_s: int) -> None:
        gateway = GatewaySchedule.objects.get().pk
        said = [Acknowledgement(gateway=gateway, revision=revision)]
        record_acknowledgements(acknowledgements=said, now=now + after_s * SECOND)

    return acknowledge_once


@pytest.fixture
def delivery(now: datetime):
    def delivery_after(seconds: int) -> Delivery:
        return delivery_of(GatewaySchedule.objects.get(), None, now=now + seconds * SECOND)

    return delivery_after


def test_revisions_that_follow_each_other_do_not_make_a_silent_gateway_less_late(ask, delivery):
    for after_s in range(0, 121, 20):
        ask(after_s=after_s)
    assert delivery(120) is Delivery.SENT
    assert delivery(121) is Delivery.TIMED_OUT


def test_who_follows_is_not_late_however_many_revisions_it_is_behind(ask, acknowledge, delivery):
    for after_s in range(0, 121, 20):
        ask(after_s=after_s)
    acknowledge(5, after_s=100)
    assert delivery(121) is Delivery.SENT
    assert delivery(221) is Delivery.TIMED_OUT


def test_who_only_says_the_same_once_more_is_late(ask, acknowledge, delivery):
    ask(after_s=0)
    acknowledge(1, after_s=1)
    ask(after_s=10)
    acknowledge(1, after_s=100)
    assert delivery(130) is Delivery.SENT
    assert delivery(131) is Delivery.TIMED_OUT


def test_who_has_confirmed_is_waited_for_from_the_next_revision_on(ask, acknowledge, delivery):
    ask(after_s=0)
    acknowledge(1, after_s=1)
    assert delivery(500) is Delivery.APPLIED
    ask(after_s=500)
    assert delivery(620) is Delivery.SENT
    assert delivery(621) is Delivery.TIMED_OUT


def test_what_is_not_even_sent_is_late_too(ask, delivery):
    ask(after_s=0, is_sent=False)
    assert delivery(120) is Delivery.PENDING
    assert delivery(121) is Delivery.TIMED_OUT


def test_what_is_sent_again_is_waited_for_anew_where_it_was_confirmed(
    driven, now, ask, acknowledge, delivery
):
    ask(after_s=0)
    acknowledge(1, after_s=1)
    later = now + 500 * SECOND
    resend_schedules(gateways=[driven.gateway.pk], by=driven.staff, now=later)
    assert delivery(501) is Delivery.PENDING
    assert delivery(621) is Delivery.TIMED_OUT
    record_published(revisions={driven.gateway.pk: 1}, now=later)
    assert delivery(621) is Delivery.APPLIED
