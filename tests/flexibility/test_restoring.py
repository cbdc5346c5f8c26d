"""A withdrawal is taken back: for a minute, by who may withdraw."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEntry
from flexibility.emitters import emitter_of
from flexibility.local import set_local_wishes
from flexibility.models import Constraint, Flexibility, GatewaySchedule
from flexibility.operations import (
    Draft,
    UnableToRestore,
    restore_constraint,
    set_constraints,
    withdraw_constraint,
)

pytestmark = pytest.mark.django_db
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def withdrawn(driven, now) -> Constraint:
    """The fleet manager's limit of 11 kW, withdrawn at `now`."""
    fleet = emitter_of(driven.fleet)
    draft = Draft(max_w=11_000, invalid_at=now + HOUR)
    [row] = set_constraints(target=driven.evcs, drafts=[draft], emitter=fleet, now=now - HOUR)
    return withdraw_constraint(constraint=row, by=fleet, now=now)


def greatest_w(driven) -> float:
    return Flexibility.objects.get(pk=driven.evcs.pk).max_w


def test_within_a_minute_it_holds_again_and_the_gateway_is_told(driven, withdrawn, now):
    assert greatest_w(driven) == 22_000
    revision = GatewaySchedule.objects.get(pk=driven.gateway.pk).revision
    by = emitter_of(driven.fleet)
    row = restore_constraint(constraint=withdrawn, by=by, now=now + 59 * SECOND)
    assert (row.withdrawn_at, row.withdrawn_by) == (None, None)
    assert greatest_w(driven) == 11_000
    assert GatewaySchedule.objects.get(pk=driven.gateway.pk).revision == revision + 1
    [entry] = AuditEntry.objects.filter(verb="constraint_restored")
    assert (entry.by, entry.target_id) == (driven.fleet, driven.evcs.pk)


def test_one_that_stands_is_left_as_it_is(driven, withdrawn, now):
    by = emitter_of(driven.fleet)
    for _again in range(2):
        restore_constraint(constraint=withdrawn, by=by, now=now + SECOND)
    assert AuditEntry.objects.filter(verb="constraint_restored").count() == 1


def test_after_a_minute_it_is_too_late(driven, withdrawn, now):
    with pytest.raises(UnableToRestore, match="too long ago"):
        restore_constraint(constraint=withdrawn, by=emitter_of(driven.fleet), now=now + 60 * SECOND)
    assert greatest_w(driven) == 22_000


def test_one_that_would_be_over_does_not_hold_again(driven, now):
    fleet = emitter_of(driven.fleet)
    draft = Draft(max_w=11_000, invalid_at=now + 30 * SECOND)
    [row] = set_constraints(target=driven.evcs, drafts=[draft], emitter=fleet, now=now)
    withdraw_constraint(constraint=row, by=fleet, now=now)
    with pytest.raises(UnableToRestore):
        restore_constraint(constraint=row, by=fleet, now=now + 30 * SECOND)


def test_another_kind_of_emitter_may_not_but_staff_may(driven, withdrawn, now):
    with pytest.raises(PermissionDenied):
        restore_constraint(constraint=withdrawn, by=emitter_of(driven.mara), now=now)
    restore_constraint(constraint=withdrawn, by=emitter_of(driven.staff), now=now)
    assert greatest_w(driven) == 11_000


def test_what_a_gateway_has_replaced_does_not_come_back(driven, now):
    for power_w in (7_000, 9_000):
        draft = Draft(set_point_w=power_w, closest=True, invalid_at=now + HOUR)
        set_local_wishes(wishes={driven.evcs.pk: [draft]}, now=now)
    replaced = Constraint.objects.get(set_point_w=7_000)
    with pytest.raises(UnableToRestore):
        restore_constraint(constraint=replaced, by=emitter_of(driven.mara), now=now)
