"""What one system's rows say holds up no other: it is told, and tried again."""

from datetime import timedelta

import pytest

from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import (
    ChargingPolicy,
    Constraint,
    Flexibility,
    GatewaySchedule,
    ResolvedBoundary,
    SharedLimit,
    SystemMark,
)
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.policies.asking import EVERY, ask_due_policies
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from flexibility.sweeping import balance_all_due, sweep
from gridx import clock
from gridx.tasks import ask_policies
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, Gateway

HOUR = timedelta(hours=1)


@pytest.fixture
def neighbour(driven, now):
    """A charging station in the other home."""
    return Appliance.objects.create(
        system=driven.hafenstrasse,
        gateway=driven.other_gateway,
        local_id="evcs",
        kind=ApplianceKind.EV_CHARGING_STATION,
        name="Car",
    )


@pytest.fixture
def limited(driven, neighbour, now):
    """Both homes' stations are limited for an hour."""
    draft = Draft(max_w=11_000, invalid_at=now + HOUR)
    emitter = emitter_of(driven.staff)
    for appliance in (driven.evcs, neighbour):
        set_constraints(target=appliance, drafts=[draft], emitter=emitter, now=now)
    return driven


@pytest.fixture
def poison(driven):
    """Makes the rows of one home unreadable, and readable again."""
    row = GatewaySchedule.objects.filter(gateway=driven.gateway)

    def set_poison(on: bool) -> None:
        row.update(body=[{"broken": True}] if on else [])

    return set_poison


def limit_of(appliance: Appliance) -> float | None:
    return Flexibility.objects.get(pk=appliance.pk).max_w


def test_boundaries_pass_where_they_can_and_the_rest_is_tried_again(
    limited, neighbour, poison, now, caplog
):
    poison(True)
    assert sweep(now=now + HOUR) > now + 24 * HOUR, "what failed is not tried again at once"
    assert (limit_of(limited.evcs), limit_of(neighbour)) == (11_000, None)
    [told] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert str(limited.lindenweg.pk) in told.getMessage()
    assert told.exc_info
    poison(False)
    sweep(now=now + HOUR)
    assert limit_of(limited.evcs) == 22_000


def test_boundaries_that_passed_while_nobody_swept_are_recorded_at_their_instants(driven, now):
    emitter, minute = emitter_of(driven.staff), timedelta(minutes=1)
    first = Draft(max_w=9_000, valid_at=now + minute, invalid_at=now + 3 * minute)
    second = Draft(max_w=7_000, valid_at=now + 2 * minute, invalid_at=now + HOUR)
    rows = set_constraints(target=driven.evcs, drafts=[first, second], emitter=emitter, now=now)
    # Withdrawn only when all that had happened.
    withdraw_constraint(constraint=rows[1], by=emitter, now=now + 5 * minute)
    kept = ResolvedBoundary.objects.filter(appliance_key=driven.evcs.key, at__gt=now)
    assert [(row.at - now, row.max_w) for row in kept.order_by("at")] == [
        (minute, 9_000),
        (2 * minute, 7_000),
        (3 * minute, 7_000),
        (5 * minute, 22_000),
    ]
    assert limit_of(driven.evcs) == 22_000


def test_what_is_set_late_for_earlier_changes_nothing_of_the_past(driven, now):
    emitter, minute = emitter_of(driven.staff), timedelta(minutes=1)
    first = Draft(max_w=9_000, invalid_at=now + minute)
    set_constraints(target=driven.evcs, drafts=[first], emitter=emitter, now=now)
    late = Draft(max_w=7_000, valid_at=now, invalid_at=now + HOUR)
    set_constraints(target=driven.evcs, drafts=[late], emitter=emitter, now=now + 2 * minute)
    kept = ResolvedBoundary.objects.filter(appliance_key=driven.evcs.key, at__gt=now)
    assert [(row.at - now, row.max_w) for row in kept.order_by("at")] == [
        (minute, 22_000),
        (2 * minute, 7_000),
    ]


def test_a_boundary_in_days_passes_though_no_gateway_is_there_to_be_told(driven, now):
    draft = Draft(max_w=7_000, invalid_at=now + 72 * HOUR)
    emitter = emitter_of(driven.staff)
    set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter, now=now)
    Gateway.objects.update(revoked_at=now)
    looked = []
    while now < draft.invalid_at:
        now = sweep(now=now)
        looked.append(now)
    sweep(now=now)
    assert limit_of(driven.evcs) == 22_000
    assert now == draft.invalid_at
    assert len(looked) <= 3, "it is looked at once in two days"
    [ended] = ResolvedBoundary.objects.filter(appliance_key=driven.evcs.key, max_w=22_000)
    assert ended.at == draft.invalid_at


def test_changes_of_members_are_acted_on_where_they_can_be(limited, neighbour, poison, now):
    SystemMark.objects.create(system_id=limited.lindenweg.pk)
    SystemMark.objects.create(system_id=limited.hafenstrasse.pk)
    poison(True)
    sweep(now=now + HOUR)
    assert [one.system_id for one in SystemMark.objects.all()] == [limited.lindenweg.pk]
    assert limit_of(neighbour) is None
    poison(False)
    sweep(now=now + HOUR)
    assert not SystemMark.objects.exists()


def test_limits_are_divided_where_they_can_be(driven, neighbour, now):
    emitter, draft = emitter_of(driven.staff), LimitDraft(max_w=8_000, invalid_at=now + HOUR)
    limits = {}
    for member in (driven.evcs, neighbour):
        cluster = Cluster.objects.create(system=member.system, name="Garage")
        Appliance.objects.filter(pk=member.pk).update(cluster=cluster)
        limits[member] = set_limit(cluster=cluster, draft=draft, by=emitter, now=now)
    SharedLimit.objects.filter(pk=limits[driven.evcs].pk).update(strategy="BY_WHIM")
    later = now + timedelta(minutes=1)
    assert balance_all_due(now=later) == 2
    assert list(SharedLimit.objects.filter(due_at__lte=later)) == [limits[driven.evcs]]


def test_policies_ask_where_they_can(driven, neighbour, poison, now):
    draft, emitter = PolicyDraft(mode=Mode.FORCED, invalid_at=now + HOUR), emitter_of(driven.staff)
    for member in (driven.evcs, neighbour):
        set_policy(target=member, draft=draft, emitter=emitter, now=now)
    asking = Constraint.objects.filter(emitter_kind="charging_policy", withdrawn_at=None)
    assert asking.count() == 2
    poison(True)
    assert ask_due_policies(now=now + HOUR) == 2
    assert [one.appliance for one in asking] == [driven.evcs]


def test_policies_that_fall_due_while_others_are_asked_wait_for_the_next_run(
    driven, now, monkeypatch
):
    draft = PolicyDraft(mode=Mode.OFF, invalid_at=now + HOUR)
    set_policy(target=driven.evcs, draft=draft, emitter=emitter_of(driven.staff), now=now)
    # Each look at the clock takes longer than a policy waits; a task without an end fails.
    instants = iter([now + step * 2 * EVERY for step in range(9)])
    monkeypatch.setattr(clock, "now", lambda: next(instants))
    for asked_at in (now + 2 * EVERY, now + 8 * EVERY):
        ask_policies()
        [policy] = ChargingPolicy.objects.all()
        assert policy.asked_at == asked_at
