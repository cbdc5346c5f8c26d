"""Where it was agreed, a grid operator limits the sum of what all controllable consumers draw."""

from datetime import timedelta

import pytest

from flexibility.delivery import Acknowledgement, Applied, record_acknowledgements
from flexibility.dimming.operations import dim_system, end_dimming
from flexibility.dimming.proof import keep_proofs, proof_of
from flexibility.emitters import DIMMING, UnableToConstrain, emitter_of
from flexibility.models import Constraint, DimmingProof, Flexibility, GatewaySchedule, SharedLimit
from flexibility.operations import Draft, set_constraints
from flexibility.resolving import balance_systems
from flexibility.sweeping import sweep
from inventory.kinds import ApplianceKind, DimmingMode
from inventory.models import Appliance, System
from tests.household import add_station, read_now

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
# A battery and a charging station: 4.2 kW and 0.8 x 4.2 kW.
GUARANTEED_W = 7_560


@pytest.fixture
def operator(driven):
    return emitter_of(driven.grid_operator, scopes={DIMMING})


@pytest.fixture
def home(driven) -> System:
    System.objects.filter(pk=driven.lindenweg.pk).update(dimming_mode=DimmingMode.EMS)
    driven.lindenweg.refresh_from_db()
    return driven.lindenweg


@pytest.fixture
def dim(home, operator, now):
    def dim_it(**span):
        asked = {"invalid_at": now + HOUR, **span}
        return dim_system(system=home, emitter=operator, now=now, **asked)

    return dim_it


def allowed_w(cast) -> dict[str, float | None]:
    rows = Flexibility.objects.filter(appliance__system=cast.lindenweg)
    return {row.appliance.local_id: row.max_w for row in rows.select_related("appliance")}


def confirm(cast, now) -> None:
    """The gateway takes over what it was told."""
    schedule = GatewaySchedule.objects.get(pk=cast.gateway.pk)
    record_acknowledgements(
        acknowledgements=[
            Acknowledgement(
                gateway=cast.gateway.pk,
                revision=schedule.revision,
                applied={
                    row.pk: Applied(min_w=row.min_w, max_w=row.max_w)
                    for row in Flexibility.objects.filter(appliance__gateway=cast.gateway)
                },
            )
        ],
        now=now,
    )


def settle(cast, now, **powers_w: float):
    """Half an hour, a reading every 10 s, the gateway confirming whatever it is told."""
    for _step in range(180):
        now += 10 * SECOND
        read_now(cast, at=now, **powers_w)
        confirm(cast, now)
        balance_systems(systems={cast.lindenweg.pk}, now=now)
    return now


def test_the_sum_is_divided_among_what_is_controllable(dim, driven, now):
    read_now(driven, at=now, evcs=11_000, battery=4_000, grid=16_000, pv=0)
    found = dim(invalid_at=now + 2 * HOUR)
    assert found.mode == DimmingMode.EMS
    assert (found.terms["max_w"], found.terms["count"], found.terms["factor"]) == (7_560, 2, 0.8)
    assert set(
        Constraint.objects.filter(limit__dimming=found).values_list("appliance", flat=True)
    ) == {
        driven.evcs.pk,
        driven.battery.pk,
    }
    at_once = allowed_w(driven)
    assert at_once["evcs"] + at_once["battery"] <= GUARANTEED_W
    settle(driven, now, evcs=4_200, battery=3_300, grid=8_500, pv=0)
    later = allowed_w(driven)
    assert later["evcs"] + later["battery"] == pytest.approx(GUARANTEED_W, abs=100)
    assert later["evcs"] >= 4_140


def test_what_is_in_no_cluster_and_what_is_in_one_share_it(dim, driven, now):
    garage = driven.lindenweg.clusters.create(name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=garage)
    dim()
    assert allowed_w(driven)["evcs"] + allowed_w(driven)["battery"] <= GUARANTEED_W


def test_what_comes_meanwhile_shares_what_was_guaranteed(dim, driven, now):
    found = dim()
    late = add_station(driven, max_power_w=11_000)
    sweep(now=now + SECOND)
    limit = SharedLimit.objects.get(dimming=found)
    assert (limit.members[-1], limit.max_w) == (late.pk, GUARANTEED_W)
    assert sum(allowed_w(driven)[local_id] for local_id in ("evcs", "evcs-2", "battery")) <= (
        GUARANTEED_W
    )


def test_its_shares_ask_for_a_heartbeat_as_any_dimming(dim, driven):
    dim()
    parts = GatewaySchedule.objects.get(pk=driven.gateway.pk).body
    beats = {part["local_id"]: part["segments"][0].get("heartbeat_s") for part in parts}
    assert {beats["evcs"], beats["battery"]} == {120}


def test_own_production_comes_on_top_as_far_as_the_house_leaves_of_it(dim, driven, now):
    dim(invalid_at=now + 2 * HOUR)
    # 6 kW from the roof, 1 kW for the house: 5 kW are left.
    settle(driven, now, evcs=4_000, battery=3_000, pv=-6_000, grid=2_000)
    found = allowed_w(driven)
    assert found["evcs"] + min(found["battery"], 5_000) == pytest.approx(
        GUARANTEED_W + 5_000, abs=200
    )


def test_without_a_word_from_the_meter_nothing_comes_on_top(dim, driven, now):
    dim(invalid_at=now + 2 * HOUR)
    settle(driven, now, evcs=4_000, battery=3_000, pv=-6_000)
    found = allowed_w(driven)
    assert found["evcs"] + found["battery"] <= GUARANTEED_W


def test_nobody_below_a_grid_operator_lifts_it(dim, driven, now):
    draft = Draft(set_point_w=11_000, closest=True, priority=9_999, invalid_at=now + HOUR)
    set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter_of(driven.fleet), now=now)
    dim()
    assert allowed_w(driven)["evcs"] <= GUARANTEED_W


def test_it_ends_with_its_shares_when_the_operator_says_so(dim, driven, operator, now):
    found = dim()
    end_dimming(found=found, emitter=operator, now=now + HOUR / 2)
    assert allowed_w(driven)["evcs"] == 22_000
    assert not Constraint.objects.filter(limit__dimming=found, withdrawn_at=None).exists()
    assert not SharedLimit.objects.filter(withdrawn_at=None).exists()


def test_several_heat_pumps_count_as_one(dim, home, driven):
    Appliance.objects.filter(pk__in=[driven.evcs.pk, driven.battery.pk]).update(max_power_w=3_000)
    for number in range(2):
        Appliance.objects.create(
            system=home, kind=ApplianceKind.HEAT_PUMP, name=f"Pump {number}", max_power_w=3_000
        )
    assert dim().terms["count"] == 1


def test_where_nothing_can_be_dimmed_it_is_said(dim, home, driven):
    Appliance.objects.filter(system=home).update(max_power_w=2_000)
    with pytest.raises(UnableToConstrain) as caught:
        dim()
    assert caught.value.field == "system"
    assert not SharedLimit.objects.exists()


def test_the_proof_is_of_what_is_drawn_from_the_grid(dim, driven, now):
    found = dim()
    for seconds in range(0, 3_600, 30):
        evcs = 11_000 if seconds < 60 else 9_000
        grid = 12_000 if seconds < 60 else 7_000
        at = now + seconds * SECOND
        read_now(driven, at=at, evcs=evcs, battery=500, grid=grid)
    [proved] = proof_of(found, now=now + HOUR)
    assert proved.appliance is None
    assert (proved.limit_w, proved.reaction_s, proved.highest_w) == (GUARANTEED_W, 60, 7_000)
    assert proved.measured_share == pytest.approx(1, abs=0.02)
    assert keep_proofs(now=now + 3 * HOUR) == 1
    assert proof_of(found, now=now + 3 * HOUR) == [proved]
    assert DimmingProof.objects.get().appliance is None
