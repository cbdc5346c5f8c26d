"""Constraints are set, weighed, withdrawn and kept."""

from datetime import timedelta
from itertools import repeat
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEntry, OutboxMessage
from flexibility.emitters import DIMMING, Emitter, UnableToConstrain, emitter_of
from flexibility.local import DriverLimits, set_driver_limits, set_local_wishes
from flexibility.models import (
    Constraint,
    Flexibility,
    GatewaySchedule,
    ResolvedBoundary,
    SystemMark,
)
from flexibility.operations import Draft, may_restore, set_constraints, withdraw_constraint
from flexibility.queries import State, constraints_on, explain, timeline_of
from flexibility.resolver import EmitterKind
from flexibility.sweeping import sweep
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster
from inventory.operations import move_appliance

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def boundary(appliance) -> tuple:
    row = Flexibility.objects.get(pk=appliance.pk)
    return row.min_w, row.max_w, row.set_point_w, row.can_pause


@pytest.fixture
def limit(driven, now):
    """Sets one constraint on the charging station, by default as the fleet manager."""

    def set_one(*, target=None, user=None, emitter=None, at=now, **fields):
        emitter = emitter or emitter_of(user or driven.fleet)
        draft = Draft(**{"invalid_at": now + 4 * HOUR, **fields})
        [row] = set_constraints(
            target=target or driven.evcs, drafts=[draft], emitter=emitter, now=at
        )
        return row

    return set_one


# Who emits as what -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "kind", "default", "ceiling"),
    [
        ("mara", EmitterKind.LOCAL_USER, 2_000, 2_999),
        ("fleet", EmitterKind.ACCOUNT_USER, 3_000, 9_999),
        ("admin", EmitterKind.ACCOUNT_USER, 3_000, 9_999),
        ("staff", EmitterKind.OPERATOR, 50_000, 99_999),
    ],
)
def test_the_kind_of_emitter_and_its_priorities_follow_from_who_asks(
    driven, limit, person, kind, default, ceiling
):
    user = getattr(driven, person)
    assert limit(user=user, max_w=11_000).emitter_kind == kind
    assert limit(user=user, max_w=11_000).priority == default
    assert limit(user=user, max_w=11_000, priority=ceiling).priority == ceiling
    with pytest.raises(UnableToConstrain) as caught:
        limit(user=user, max_w=11_000, priority=ceiling + 1)
    assert (caught.value.field, caught.value.number) == ("priority", 0)


def test_what_has_ended_cannot_be_withdrawn_any_more(driven, limit, now):
    row = limit(max_w=11_000)
    withdraw_constraint(constraint=row, by=emitter_of(driven.fleet), now=now + 5 * HOUR)
    row.refresh_from_db()
    assert row.withdrawn_at is None


@pytest.mark.parametrize("person", ["viewer", "installer", "grid_operator"])
def test_who_may_not_constrain_is_no_emitter(driven, person):
    with pytest.raises(PermissionDenied):
        emitter_of(getattr(driven, person))


def test_a_grid_operator_emits_by_the_scope_of_its_token_alone(driven):
    emitter = emitter_of(driven.grid_operator, scopes={DIMMING})
    assert emitter.kind is EmitterKind.GRID_OPERATOR
    assert emitter_of(driven.fleet, scopes={DIMMING}).kind is EmitterKind.ACCOUNT_USER


def test_the_ceilings_are_the_installations_own(driven, limit, settings):
    settings.CONSTRAINT_PRIORITIES = settings.CONSTRAINT_PRIORITIES | {"local_user": (5_000, 6_000)}
    assert limit(user=driven.mara, max_w=11_000).priority == 5_000


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({}, "max_w"),
        ({"max_w": 1_000, "invalid_at": None}, "invalid_at"),
        ({"max_w": 1_000, "invalid_at": timedelta(0)}, "invalid_at"),
        ({"max_w": 1_000, "invalid_at": timedelta(days=400, seconds=1)}, "invalid_at"),
        ({"max_w": 1_000, "valid_at": 5 * HOUR}, "invalid_at"),
        ({"max_w": 1_000, "valid_at": timedelta(days=400)}, "valid_at"),
        ({"max_w": 1_000, "min_w": 1_001}, "min_w"),
        ({"max_w": 1_000, "set_point_w": 1_001}, "set_point_w"),
        ({"max_wh": 1_000, "min_wh": 1_001}, "min_wh"),
        ({"max_w": 1_000, "priority": -1}, "priority"),
        ({"max_w": float("nan")}, "max_w"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_named(limit, now, fields, at_fault):
    fields = {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in fields.items()
    }
    before = Constraint.objects.count()
    with pytest.raises(UnableToConstrain) as caught:
        limit(**fields)
    assert caught.value.field == at_fault
    assert Constraint.objects.count() == before


def test_of_a_batch_all_or_nothing_is_set(driven, now):
    drafts = [
        Draft(max_w=11_000, invalid_at=now + HOUR),
        Draft(max_w=9_000, min_w=10_000, invalid_at=now + HOUR),
    ]
    with pytest.raises(UnableToConstrain) as caught:
        set_constraints(
            target=driven.evcs, drafts=drafts, emitter=emitter_of(driven.fleet), now=now
        )
    assert (caught.value.field, caught.value.number) == ("min_w", 1)
    assert boundary(driven.evcs) == (4_140, 22_000, None, True)
    assert not Constraint.objects.filter(emitter_kind="account_user").exists()


def test_no_more_than_250_stand_at_a_time(driven, now):
    drafts = [Draft(max_w=11_000, invalid_at=now + HOUR) for _ in range(50)]
    emitter = emitter_of(driven.fleet)
    for _ in range(5):
        set_constraints(target=driven.evcs, drafts=drafts, emitter=emitter, now=now)
    with pytest.raises(UnableToConstrain, match="250"):
        set_constraints(target=driven.evcs, drafts=drafts[:1], emitter=emitter, now=now)
    # Nobody takes the grid operator's place.
    dimmer = emitter_of(driven.grid_operator, scopes={DIMMING})
    set_constraints(target=driven.evcs, drafts=drafts[:1], emitter=dimmer, now=now)


# What follows ------------------------------------------------------------------------------------


def test_a_constraint_changes_the_flexibility_and_leaves_its_trace(driven, limit, now):
    row = limit(max_w=11_000)
    assert boundary(driven.evcs) == (4_140, 11_000, None, True)
    flexibility = Flexibility.objects.get(pk=driven.evcs.pk)
    assert flexibility.deciders["max_w"] == str(row.pk)
    assert flexibility.changes_at == row.invalid_at
    [entry] = AuditEntry.objects.filter(verb="constrained")
    assert (entry.by, entry.target_id) == (driven.fleet, driven.evcs.pk)
    assert entry.changes["max_w"] == [None, 11_000]
    assert entry.account == driven.meyers


def test_a_limit_of_0_is_in_the_audit_log(driven, limit):
    limit(max_w=0)
    [entry] = AuditEntry.objects.filter(verb="constrained")
    assert entry.changes["max_w"] == [None, 0]
    assert "min_w" not in entry.changes


def test_withdrawing_revives_what_it_had_outweighed(driven, limit, now):
    limit(max_w=6_000)
    strong = limit(min_w=8_000, priority=3_001)
    assert boundary(driven.evcs) == (8_000, 22_000, None, False)
    withdraw_constraint(constraint=strong, by=emitter_of(driven.fleet), now=now + HOUR)
    assert boundary(driven.evcs) == (4_140, 6_000, None, True)
    assert AuditEntry.objects.filter(verb="constraint_withdrawn").count() == 1
    withdraw_constraint(constraint=strong, by=emitter_of(driven.fleet), now=now + HOUR)
    assert AuditEntry.objects.filter(verb="constraint_withdrawn").count() == 1


def test_only_the_same_kind_of_emitter_and_staff_withdraw(driven, limit, now):
    row = limit(max_w=11_000)
    with pytest.raises(PermissionDenied):
        withdraw_constraint(constraint=row, by=emitter_of(driven.mara), now=now)
    withdraw_constraint(constraint=row, by=emitter_of(driven.staff), now=now)
    driver = Constraint.objects.get(appliance=driven.evcs, emitter_kind="driver")
    with pytest.raises(PermissionDenied):
        withdraw_constraint(constraint=driver, by=emitter_of(driven.staff), now=now)


def test_with_the_id_of_one_that_stands_a_constraint_takes_its_place(driven, limit, now):
    row = limit(max_w=11_000, id=uuid4())
    limit(max_w=7_000, id=row.pk, at=now + HOUR)
    assert Constraint.objects.get(emitter_kind="account_user", withdrawn_at=None).max_w == 7_000
    assert boundary(driven.evcs)[1] == 7_000
    with pytest.raises(UnableToConstrain):
        limit(max_w=7_000, id=row.pk, target=driven.battery)
    with pytest.raises(UnableToConstrain):
        limit(max_w=7_000, id=row.pk, user=driven.mara)


def test_what_another_took_the_place_of_stays_on_record(driven, limit, now):
    row = limit(max_w=11_000, id=uuid4())
    limit(max_w=7_000, id=row.pk, user=driven.admin, at=now + HOUR)
    former, present = Constraint.objects.filter(emitter_kind="account_user").order_by("max_w")[::-1]
    assert (former.max_w, former.version_of, former.emitter) == (11_000, row.pk, driven.fleet)
    assert (former.withdrawn_at, former.withdrawn_by) == (now + HOUR, driven.admin)
    assert (present.pk, present.emitter, present.withdrawn_at) == (row.pk, driven.admin, None)
    # Why at an instant names who had set it then.
    spans = timeline_of(
        appliance=driven.evcs, from_at=now, until_at=now + 2 * HOUR, now=now + 2 * HOUR
    )
    told = explain(spans, zones=repeat(driven.lindenweg.zone))
    decided = [
        (one.row.emitter, one.row.pk)
        for span in told
        for one in span.constraints
        if str(one.row.pk) == span.span.deciders.get("max_w")
    ]
    assert decided == [(driven.fleet, row.pk), (driven.admin, row.pk)]
    # It does not come back beside the one in its place, and its id is nobody's to use.
    assert not may_restore(former, now=now + HOUR)
    with pytest.raises(UnableToConstrain):
        limit(max_w=5_000, id=former.pk, at=now + HOUR)


def test_what_was_withdrawn_before_it_was_set_again_is_still_told_as_withdrawn(driven, limit, now):
    row = limit(max_w=11_000, id=uuid4())
    withdraw_constraint(constraint=row, by=emitter_of(driven.fleet), now=now + HOUR)
    limit(max_w=7_000, id=row.pk, at=now + 2 * HOUR)
    [former] = constraints_on(driven.evcs, states=[State.WITHDRAWN], now=now + 2 * HOUR)
    assert (former.max_w, former.withdrawn_at) == (11_000, now + HOUR)


def test_the_same_again_changes_nothing(driven, limit, now):
    row = limit(max_w=11_000, id=uuid4())
    revision = GatewaySchedule.objects.get(pk=driven.gateway.pk).revision
    again = limit(max_w=11_000, id=row.pk, at=now + timedelta(minutes=1))
    assert (again.created_at, again.valid_at) == (now, now)
    assert GatewaySchedule.objects.get(pk=driven.gateway.pk).revision == revision
    assert AuditEntry.objects.filter(verb="constrained").count() == 1
    assert not Constraint.objects.exclude(version_of=None).exists()


# Groups ------------------------------------------------------------------------------------------


def test_a_clusters_constraint_is_for_each_member_present_and_future(driven, limit, now):
    outer = Cluster.objects.create(system=driven.lindenweg, name="House")
    inner = Cluster.objects.create(system=driven.lindenweg, name="Garage", parent=outer)
    limit(target=outer, max_w=11_000)
    assert boundary(driven.evcs)[1] == 22_000
    move_appliance(appliance=driven.evcs, cluster=inner, by=None, now=now)
    sweep(now=now)
    assert boundary(driven.evcs)[1] == 11_000
    move_appliance(appliance=driven.evcs, cluster=None, by=None, now=now)
    sweep(now=now + timedelta(seconds=1))
    assert boundary(driven.evcs)[1] == 22_000
    assert not SystemMark.objects.exists()


def test_a_pools_constraint_is_for_members_of_the_chosen_kinds(driven, limit, now):
    limit(target=driven.pool, max_w=3_000, kinds=(ApplianceKind.BATTERY,))
    assert boundary(driven.battery)[1] == 3_000
    assert boundary(driven.evcs)[1] == 22_000
    driven.pool.systems.clear()
    sweep(now=now)
    assert boundary(driven.battery)[1] == 5_000


# Time --------------------------------------------------------------------------------------------


def test_instants_that_pass_change_the_flexibility_and_are_kept(driven, limit, now):
    limit(max_w=11_000, valid_at=now + HOUR, invalid_at=now + 2 * HOUR)
    assert sweep(now=now) == now + HOUR
    assert boundary(driven.evcs)[1] == 22_000
    assert sweep(now=now + HOUR) == now + 2 * HOUR
    assert boundary(driven.evcs)[1] == 11_000
    assert sweep(now=now + 2 * HOUR) > now + 24 * HOUR, "nothing comes: it is looked at again"
    assert boundary(driven.evcs)[1] == 22_000
    kept = ResolvedBoundary.objects.filter(appliance_key=driven.evcs.key).order_by("at")
    assert list(kept.values_list("at", "max_w")) == [
        (now, 22_000),
        (now + HOUR, 11_000),
        (now + 2 * HOUR, 22_000),
    ]


def test_a_passing_instant_needs_no_new_schedule(driven, limit, now):
    limit(max_w=11_000, valid_at=now + HOUR, invalid_at=now + 2 * HOUR)
    revision = GatewaySchedule.objects.get(pk=driven.gateway.pk).revision
    sweep(now=now + HOUR)
    sweep(now=now + 2 * HOUR)
    assert GatewaySchedule.objects.get(pk=driven.gateway.pk).revision == revision


def test_a_schedule_is_renewed_before_it_runs_out(driven, limit, now):
    limit(max_w=11_000, invalid_at=now + 100 * HOUR)
    first = GatewaySchedule.objects.get(pk=driven.gateway.pk)
    sweep(now=now + 23 * HOUR)
    assert GatewaySchedule.objects.get(pk=driven.gateway.pk).revision == first.revision
    sweep(now=now + 24 * HOUR)
    renewed = GatewaySchedule.objects.get(pk=driven.gateway.pk)
    assert renewed.revision == first.revision + 1
    assert renewed.until_at == now + 72 * HOUR


def test_what_comes_into_sight_after_the_schedules_end_is_told_with_the_next_change(
    driven, limit, now
):
    limit(max_w=11_000, invalid_at=now + 100 * HOUR)
    first = GatewaySchedule.objects.get(pk=driven.gateway.pk)
    later = now + 20 * HOUR
    draft = Draft(max_w=8_000, valid_at=now + 60 * HOUR, invalid_at=now + 64 * HOUR)
    emitter = emitter_of(driven.fleet)
    set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter, now=later)
    told = GatewaySchedule.objects.get(pk=driven.gateway.pk)
    assert (told.revision, told.until_at) == (first.revision + 1, later + 48 * HOUR)
    assert [one["max_w"] for one in told.body[0]["segments"]] == [11_000, 8_000, 11_000]


# Schedules ---------------------------------------------------------------------------------------


def test_a_gateway_is_told_what_holds_for_two_days(driven, limit, now):
    limit(max_w=11_000, valid_at=now + HOUR)
    schedule = GatewaySchedule.objects.get(pk=driven.gateway.pk)
    [part] = schedule.body
    assert (part["local_id"], part["appliance"]) == ("evcs", str(driven.evcs.pk))
    assert [(one["max_w"], one["can_pause"]) for one in part["segments"]] == [
        (22_000, True),
        (11_000, True),
        (22_000, True),
    ]
    ends = [one["end"] for one in part["segments"]]
    assert ends[-1] == round((now + 48 * HOUR).timestamp() * 1000)
    assert part["fail_safe"] == {"max_w": 4_200, "can_pause": True, "minimum_s": 7_200}
    [message] = OutboxMessage.objects.filter(kind="schedule")
    assert message.payload == {"gateway": str(driven.gateway.pk)}


def test_what_only_its_driver_limits_is_left_to_itself(driven, limit, now):
    assert not GatewaySchedule.objects.exists()
    row = limit(max_w=11_000)
    withdraw_constraint(constraint=row, by=emitter_of(driven.fleet), now=now)
    schedule = GatewaySchedule.objects.get(pk=driven.gateway.pk)
    assert (schedule.revision, schedule.body) == (2, [])


def test_while_a_grid_operator_dims_the_gateway_waits_for_heartbeats(driven, limit, now):
    emitter = emitter_of(driven.grid_operator, scopes={DIMMING})
    limit(emitter=emitter, max_w=4_200, valid_at=now + HOUR, invalid_at=now + 2 * HOUR)
    [part] = GatewaySchedule.objects.get(pk=driven.gateway.pk).body
    assert [one.get("heartbeat_s") for one in part["segments"]] == [None, 120, None]


# Gateways ----------------------------------------------------------------------------------------


def test_a_driver_has_one_constraint_and_the_newer_replaces_the_older(driven, now):
    limits = DriverLimits(min_w=-2_000, max_w=2_000)
    for _again in range(2):
        set_driver_limits(limits={driven.battery.pk: limits}, now=now + HOUR)
    assert boundary(driven.battery)[:2] == (-2_000, 2_000)
    drivers = Constraint.objects.filter(appliance=driven.battery, emitter_kind="driver")
    assert drivers.count() == 2
    assert drivers.get(withdrawn_at=None).max_w == 2_000


def test_a_wish_at_the_device_replaces_the_one_before_and_may_end(driven, now):
    def wish(**fields):
        draft = Draft(**{"invalid_at": now + HOUR, "closest": True, **fields})
        set_local_wishes(wishes={driven.evcs.pk: [draft]}, now=now)
        return boundary(driven.evcs)[2]

    assert wish(set_point_w=7_000) == 7_000
    assert wish(set_point_w=9_000) == 9_000
    assert wish(set_point_w=9_000, invalid_at=now) is None


def test_an_appliance_without_limits_is_open(driven, now):
    pv = Appliance.objects.get(pk=driven.pv.pk)
    emitter = Emitter(EmitterKind.ACCOUNT_USER, driven.fleet)
    draft = Draft(min_w=-7_000, invalid_at=now + HOUR)
    set_constraints(target=pv, drafts=[draft], emitter=emitter, now=now)
    assert boundary(pv) == (-7_000, None, None, False)
