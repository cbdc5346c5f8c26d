"""A grid operator dims a whole system, and what was measured meanwhile is kept as proof."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEntry
from flexibility.dimming.operations import dim_system, end_dimming
from flexibility.dimming.proof import Proved, Verdict, keep_proofs, proof_of
from flexibility.emitters import DIMMING, UnableToConstrain, emitter_of
from flexibility.models import (
    Constraint,
    Dimming,
    DimmingProof,
    Flexibility,
    GatewaySchedule,
)
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.sweeping import sweep
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import Reading
from measurements.resolutions import to_ms
from tests.household import add_station

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def operator(driven):
    return emitter_of(driven.grid_operator, scopes={DIMMING})


@pytest.fixture
def dim(driven, operator, now):
    def dim_it(*, hours: float = 1, valid_at=None, emitter=operator, system=driven.lindenweg):
        return dim_system(
            system=system,
            emitter=emitter,
            valid_at=valid_at,
            invalid_at=(valid_at or now) + hours * HOUR,
            now=now,
        )

    return dim_it


def read(cast, at, power_w: float) -> None:
    batch = Batch.of(
        system_key=cast.lindenweg.key,
        appliance_key=cast.evcs.key,
        at_ms=to_ms(at),
        power_w=power_w,
    )
    store_readings(batch=batch, now=at + SECOND)


def test_what_may_draw_more_keeps_4200_w_and_the_rest_is_left_alone(driven, dim):
    dim()
    station = Flexibility.objects.get(pk=driven.evcs.pk)
    assert (station.max_w, station.can_pause) == (4_200, True)
    assert Flexibility.objects.get(pk=driven.battery.pk).max_w == 4_200
    assert not Constraint.objects.filter(appliance=driven.pv).exists()
    [part, *_others] = GatewaySchedule.objects.get(pk=driven.gateway.pk).body
    assert part["segments"][0]["heartbeat_s"] == 120
    [entry] = AuditEntry.objects.filter(verb="constrained")
    assert (entry.by, entry.target_id) == (driven.grid_operator, driven.lindenweg.pk)


def test_what_comes_during_a_dimming_is_dimmed_from_then_on(driven, dim, now):
    found = dim(hours=2)
    late = add_station(driven, max_power_w=11_000)
    sweep(now=now + HOUR)
    assert Flexibility.objects.get(pk=late.pk).max_w == 4_200
    added = Constraint.objects.get(dimming=found, appliance=late)
    assert (added.valid_at, added.invalid_at) == (now + HOUR, found.invalid_at)
    assert Constraint.objects.filter(dimming=found, appliance=driven.evcs).count() == 1
    assert len(proof_of(found, now=now + HOUR)) == 2
    [*_others, second] = proof_of(found, now=now + 1.5 * HOUR)
    assert (second.appliance, second.limit_w) == (late, 4_200)


def test_nobody_below_a_grid_operator_lifts_it(driven, dim, now):
    draft = Draft(set_point_w=11_000, closest=True, priority=9_999, invalid_at=now + HOUR)
    set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter_of(driven.fleet), now=now)
    dim()
    station = Flexibility.objects.get(pk=driven.evcs.pk)
    assert (station.max_w, station.set_point_w) == (4_200, 4_200)


def test_a_part_of_a_dimming_goes_with_it_and_in_no_other_way(driven, dim, operator, now):
    dim()
    for by in (operator, emitter_of(driven.staff)):
        for row in Constraint.objects.filter(dimming__isnull=False):
            with pytest.raises(PermissionDenied, match="dimming"):
                withdraw_constraint(constraint=row, by=by, now=now)


def test_nobody_puts_another_one_in_the_place_of_a_part_of_a_dimming(driven, dim, operator, now):
    dim()
    part = Constraint.objects.get(dimming__isnull=False, appliance=driven.battery)
    draft = Draft(id=part.pk, max_w=11_000, invalid_at=now + HOUR)
    with pytest.raises(UnableToConstrain, match="belongs to another one"):
        set_constraints(target=driven.battery, drafts=[draft], emitter=operator, now=now)
    assert Flexibility.objects.get(pk=driven.battery.pk).max_w == 4_200


def test_only_grid_operators_dim(driven, dim, now):
    for person in (driven.staff, driven.fleet, driven.mara):
        with pytest.raises(PermissionDenied):
            dim(emitter=emitter_of(person))
    found = dim()
    with pytest.raises(PermissionDenied):
        end_dimming(found=found, emitter=emitter_of(driven.staff), now=now)


def test_where_nothing_can_be_dimmed_it_is_said(driven, dim):
    with pytest.raises(UnableToConstrain) as caught:
        dim(system=driven.hafenstrasse)
    assert caught.value.field == "system"
    assert not Dimming.objects.exists()


@pytest.mark.parametrize("hours", [-1, 0, 401 * 24])
def test_a_dimming_ends_in_the_future_and_not_too_far(dim, hours):
    with pytest.raises(UnableToConstrain) as caught:
        dim(hours=hours)
    assert caught.value.field == "invalid_at"


def test_it_ends_when_the_operator_says_so(driven, dim, operator, now):
    found = dim()
    for _again in range(2):
        end_dimming(found=found, emitter=operator, now=now + HOUR / 2)
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 22_000
    assert found.ended_at == now + HOUR / 2
    assert AuditEntry.objects.filter(verb="constraint_withdrawn").count() == 1


def test_the_proof_says_how_fast_and_how_well_it_was_kept(driven, dim, now):
    found = dim()
    for seconds in range(-60, 3_600, 30):
        power_w = 11_000 if seconds < 60 else 4_150
        read(driven, now + seconds * SECOND, power_w)
    [_battery, station] = proof_of(found, now=now + HOUR)
    assert station.appliance == driven.evcs
    assert (station.limit_w, station.reaction_s, station.highest_w) == (4_200, 60, 4_150)
    assert station.measured_share == pytest.approx(1, abs=0.02)
    assert station.verdict is Verdict.KEPT


def test_what_was_never_measured_proves_nothing(driven, dim, now):
    [_battery, station] = proof_of(dim(), now=now + HOUR)
    assert (station.reaction_s, station.highest_w, station.measured_share) == (None, None, 0)
    assert station.verdict is Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("reaction_s", "highest_w", "share", "is_over", "verdict"),
    [
        (None, None, 0.0, False, Verdict.NOT_MEASURED),
        (None, None, 0.0, True, Verdict.NOT_MEASURED),
        (None, 11_000.0, 1.0, False, Verdict.NOT_KEPT_YET),
        (None, 11_000.0, 1.0, True, Verdict.NOT_KEPT),
        (None, 11_000.0, 0.1, True, Verdict.NOT_KEPT),
        (30.0, 4_100.0, 1.0, False, Verdict.KEPT_SO_FAR),
        (30.0, 4_100.0, 0.94, False, Verdict.KEPT_SO_FAR),
        (30.0, 4_100.0, 0.95, True, Verdict.KEPT),
        (30.0, 4_100.0, 0.94, True, Verdict.KEPT_AS_MEASURED),
    ],
)
def test_a_verdict_says_no_more_than_is_known(reaction_s, highest_w, share, is_over, verdict):
    assert Proved(None, 4_200, reaction_s, highest_w, share, is_over=is_over).verdict is verdict


def test_a_proof_outlives_the_readings(driven, dim, now):
    found = dim()
    read(driven, now + 10 * SECOND, 4_150)
    read(driven, now + 20 * SECOND, 4_150)
    assert keep_proofs(now=now + 1.5 * HOUR) == 0  # late readings still count
    before = proof_of(found, now=now + 2 * HOUR)
    assert keep_proofs(now=now + 2 * HOUR) == 1
    assert keep_proofs(now=now + 2 * HOUR) == 0
    Reading.objects.all().delete()
    assert proof_of(found, now=now + 2 * HOUR) == before
    assert DimmingProof.objects.count() == 2


def test_what_was_called_off_before_it_began_needs_no_proof(driven, dim, operator, now):
    found = dim(valid_at=now + HOUR)
    end_dimming(found=found, emitter=operator, now=now)
    assert proof_of(found, now=now + 9 * HOUR) == []
    assert keep_proofs(now=now + 9 * HOUR) == 0
