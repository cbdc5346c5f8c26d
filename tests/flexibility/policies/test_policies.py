"""Charging policies ask for what the sun gives, and meet other constraints in the resolver."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEntry
from flexibility.emitters import UnableToConstrain, emitter_of
from flexibility.models import (
    ChargingPolicy,
    ChargingState,
    Constraint,
    Flexibility,
    GatewaySchedule,
)
from flexibility.operations import Draft, set_constraints
from flexibility.policies.asking import ask_due_policies
from flexibility.policies.operations import (
    PolicyDraft,
    restore_policy,
    set_policy,
    try_policy,
    withdraw_own_policies,
    withdraw_policy,
)
from flexibility.policies.sentences import reasons
from flexibility.policies.standing import policy_asking
from flexibility.policies.terms import Mode
from inventory.kinds import Plug
from inventory.models import Appliance, Cluster
from inventory.operations import move_appliance
from measurements.formats import NBSP
from measurements.models import LatestReading
from tests.household import add_station

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class House:
    """Lindenweg 12 over time: what is read, and what the charging station is told."""

    def __init__(self, cast, now: datetime) -> None:
        self.cast, self.now = cast, now

    def read(self, appliance, **values) -> None:
        LatestReading.objects.update_or_create(
            system_key=self.cast.lindenweg.key,
            appliance_key=appliance.key,
            defaults={"at": self.now, "power_at": self.now, **values},
        )

    def live(self, *, grid_w: float, car_w: float = 0, minutes: float = 0, **car) -> None:
        """Time passes, with these powers read every ten seconds and policies asked."""
        for _step in range(max(1, round(minutes * 6))):
            self.read(self.cast.grid_meter, power_w=grid_w)
            self.read(self.cast.evcs, power_w=car_w, plug_state=Plug.CHARGING, **car)
            ask_due_policies(now=self.now)
            self.now += timedelta(seconds=10)

    def constrain(self, draft: Draft, *, user=None) -> None:
        emitter = emitter_of(user or self.cast.staff)
        set_constraints(target=self.cast.evcs, drafts=[draft], emitter=emitter, now=self.now)

    def told(self) -> Callable[[datetime], dict]:
        """What the newest schedule tells the station, by the instant."""
        body = GatewaySchedule.objects.get(pk=self.cast.gateway.pk).body
        [part] = [part for part in body if part["appliance"] == str(self.cast.evcs.pk)]

        def at(instant: datetime) -> dict:
            ms = instant.timestamp() * 1000
            return next(one for one in part["segments"] if one["start"] <= ms < one["end"])

        return at

    def station(self) -> Flexibility:
        return Flexibility.objects.get(pk=self.cast.evcs.pk)

    def reason(self) -> dict:
        return ChargingState.objects.get(policy__withdrawn_at=None).reason

    def says(self) -> str:
        states = ChargingState.objects.filter(policy__withdrawn_at=None)
        states = states.select_related("appliance__system")
        return reasons(list(states), now=self.now)[self.cast.evcs.pk]

    def set(self, mode: Mode, *, target=None, user=None, **fields) -> ChargingPolicy:
        return set_policy(
            target=target or self.cast.lindenweg,
            draft=PolicyDraft(mode=mode, **fields),
            emitter=emitter_of(user or self.cast.fleet),
            now=self.now,
        )


@pytest.fixture
def house(driven, now) -> House:
    found = House(driven, now)
    found.read(driven.grid_meter, power_w=0)
    found.read(driven.evcs, power_w=0, plug_state=Plug.PLUGGED)
    return found


def test_sun_only_waits_for_sun_and_follows_it(house):
    house.set(Mode.SURPLUS)
    assert (house.station().min_w, house.station().max_w) == (0, 0)
    house.live(grid_w=-6_000, minutes=1)
    assert house.station().max_w == 0  # not for long enough yet
    house.live(grid_w=-6_000, minutes=1)
    assert house.station().max_w == 6_000
    house.live(grid_w=0, car_w=6_000, minutes=1)  # it draws just what there was
    assert house.station().max_w == 6_000
    house.live(grid_w=0, car_w=5_000, minutes=1)
    assert house.station().max_w == 5_000
    house.live(grid_w=4_140, car_w=4_140, minutes=4)
    assert house.station().max_w == 0
    # One row changes in place, and behind it stands what holds where nobody asks again.
    assert Constraint.objects.filter(policy__isnull=False).count() == 2


def test_sun_only_draws_nothing_from_the_grid_for_long_where_the_car_takes_one_phase(house):
    house.set(Mode.SURPLUS)
    house.live(grid_w=-4_500, minutes=2)
    house.live(grid_w=-3_000, car_w=1_500, minutes=6)
    house.live(grid_w=-800, car_w=1_380, minutes=10)
    # The sun gives less than the station's minimum, but more than the car takes of it.
    assert (house.station().max_w, house.reason()["why"]) == (4_140, "surplus")
    house.live(grid_w=2_000, car_w=1_380, minutes=4)
    assert (house.station().max_w, house.reason()["why"]) == (0, "too_little")
    assert "the car needs 1.38 kW" in house.says().replace(NBSP, " ")
    house.live(grid_w=2_000, car_w=1_380, minutes=30)
    assert house.station().max_w == 0


def test_sun_only_offers_a_full_car_nothing_but_sun(house):
    house.set(Mode.SURPLUS)
    house.live(grid_w=-6_000, minutes=8)
    assert (house.station().max_w, house.reason()["why"]) == (4_140, "idle")
    house.live(grid_w=500, minutes=4)
    assert house.station().max_w == 0


def test_minimum_and_sun_never_pauses(house):
    house.set(Mode.MINIMUM_AND_SURPLUS)
    station = house.station()
    assert (station.min_w, station.max_w, station.can_pause) == (4_140, 4_140, False)


@pytest.mark.parametrize(("mode", "set_point_w"), [(Mode.FORCED, 22_000), (Mode.OFF, 0)])
def test_full_power_and_off_are_set_points(house, mode, set_point_w):
    house.set(mode)
    assert house.station().set_point_w == set_point_w


def test_full_power_bends_for_as_long_as_others_leave_less(house):
    house.constrain(Draft(max_w=7_000, invalid_at=house.now + 4 * HOUR))
    house.set(Mode.FORCED)
    assert house.station().set_point_w == 7_000
    [part] = GatewaySchedule.objects.get().body
    told = [(one["max_w"], one["set_point_w"]) for one in part["segments"]]
    assert told == [(7_000, 7_000), (22_000, 22_000)]


def test_a_departure_counts_what_was_charged_since(house):
    departs_at = house.now + HOUR
    house.read(house.cast.evcs, power_w=0, imported_wh=50_000, plug_state=Plug.PLUGGED)
    house.set(Mode.DEPARTURE, energy_wh=10_000, departs_at=departs_at)
    assert house.station().min_w > 10_000
    house.live(grid_w=10_000, car_w=10_000, imported_wh=60_000)
    house.live(grid_w=10_000, car_w=10_000, imported_wh=60_000, minutes=0.5)
    state = ChargingState.objects.get()
    assert (state.reason["why"], state.from_wh) == ("reached", 50_000)
    assert house.station().max_w == 0


def test_what_cannot_be_reached_is_said_at_once(house):
    house.set(Mode.DEPARTURE, energy_wh=60_000, departs_at=house.now + HOUR)
    reason = ChargingState.objects.get().reason
    assert reason["why"] == "unreachable"
    assert reason["missing_wh"] > 30_000
    assert house.station().set_point_w == 22_000


def test_what_the_car_itself_makes_impossible_is_said_in_the_first_minutes(house):
    house.set(Mode.DEPARTURE, energy_wh=80_000, departs_at=house.now + 6 * HOUR)
    assert house.reason()["missing_wh"] is None
    house.live(grid_w=7_360, car_w=7_360, minutes=7)
    left_h = 6 - 7 / 60
    assert house.reason()["missing_wh"] == pytest.approx(80_000 - 7_360 * left_h, abs=50)
    # The next policy knows it from the beginning, and the form that asks for it.
    draft = PolicyDraft(
        mode=Mode.DEPARTURE, energy_wh=50_000, departs_at=house.now + timedelta(hours=left_h)
    )
    by = emitter_of(house.cast.fleet)
    trial = try_policy(appliance=house.cast.evcs, draft=draft, emitter=by, now=house.now)
    missing_wh = pytest.approx(50_000 - 7_360 * left_h, abs=50)
    assert trial.plan.missing_wh == missing_wh
    house.set(Mode.DEPARTURE, energy_wh=50_000, departs_at=draft.departs_at)
    assert house.reason()["missing_wh"] == missing_wh
    # So it is while it waits for its turn.
    house.constrain(Draft(max_w=0, invalid_at=house.now + HOUR))
    house.live(grid_w=0, minutes=3)
    assert house.reason()["missing_wh"] == pytest.approx(50_000 - 7_360 * (left_h - 1), abs=50)
    assert "others leave it less than the 4.14 kW" in house.says().replace(NBSP, " ")


def test_charge_now_outweighs_the_sun_until_the_sun_weighs_more(house):
    house.set(Mode.SURPLUS)
    draft = Draft(set_point_w=22_000, closest=True, invalid_at=house.now + 4 * HOUR)
    set_constraints(
        target=house.cast.evcs, drafts=[draft], emitter=emitter_of(house.cast.mara), now=house.now
    )
    assert house.station().set_point_w == 22_000
    house.live(grid_w=0, car_w=6_000, minutes=2)
    assert house.station().set_point_w == 22_000
    house.set(Mode.SURPLUS, priority=3_000)
    house.live(grid_w=0, car_w=6_000, minutes=2)
    # The resident's wish bends to what the stronger policy leaves.
    assert (house.station().max_w, house.station().set_point_w) == (6_000, 6_000)


def test_policies_meet_in_the_resolver_like_any_two_constraints(house):
    weaker = house.set(Mode.OFF, target=house.cast.evcs, user=house.cast.mara, priority=500)
    assert house.station().set_point_w == 0
    stronger = house.set(Mode.FORCED, priority=800)
    station = house.station()
    assert station.set_point_w == 22_000
    rows = {row.policy_id: str(row.pk) for row in Constraint.objects.filter(policy__isnull=False)}
    outcomes = {one["id"]: one["power"] for one in station.inputs}
    assert outcomes[rows[stronger.pk]]["outcome"] == "binding"
    assert outcomes[rows[weaker.pk]] == {
        "outcome": "discarded",
        "conflicts_with": [rows[stronger.pk]],
    }


def test_the_weaker_policy_goes_on_when_the_stronger_ends_even_where_nobody_can_be_heard(house):
    house.set(Mode.SURPLUS)
    house.set(
        Mode.FORCED,
        target=house.cast.evcs,
        user=house.cast.mara,
        priority=2_000,
        invalid_at=house.now + HOUR,
    )
    told = house.told()
    assert told(house.now)["set_point_w"] == 22_000
    assert told(house.now + HOUR)["max_w"] == 0
    house.live(grid_w=0, minutes=61)
    assert (house.station().set_point_w, house.station().max_w) == (None, 0)


@pytest.mark.parametrize("setter", ["staff", "mara"])
def test_of_two_policies_of_the_same_priority_the_newer_wins_and_the_older_comes_back(
    house, setter
):
    house.set(Mode.OFF)
    house.now += MINUTE
    newer = house.set(Mode.FORCED, user=getattr(house.cast, setter))
    assert house.station().set_point_w == 22_000
    withdraw_policy(policy=newer, by=emitter_of(getattr(house.cast, setter)), now=house.now)
    assert house.station().set_point_w == 0


def test_nobody_but_staff_ends_what_another_kind_of_emitter_set(house):
    policy = house.set(Mode.OFF, user=house.cast.fleet)
    with pytest.raises(PermissionDenied):
        withdraw_policy(policy=policy, by=emitter_of(house.cast.mara), now=house.now)
    withdraw_policy(policy=policy, by=emitter_of(house.cast.staff), now=house.now)
    assert house.station().set_point_w is None


@pytest.mark.parametrize(
    ("mode", "fields", "alone"),
    [
        (Mode.SURPLUS, {}, {"max_w": 0}),
        (Mode.MINIMUM_AND_SURPLUS, {}, {"min_w": 4_140, "max_w": 4_140}),
        (Mode.FORCED, {}, {"set_point_w": 22_000}),
        (Mode.OFF, {}, {"set_point_w": 0}),
    ],
)
def test_where_the_cloud_falls_silent_a_policy_asks_for_what_needs_no_sun(
    house, mode, fields, alone
):
    house.live(grid_w=-9_000, minutes=1)
    house.set(mode, **fields)
    house.live(grid_w=-9_000, minutes=3)
    at = house.told()
    for later in (HOUR, 40 * HOUR):
        told = at(house.now + later)
        assert {name: told[name] for name in alone} == alone


def test_where_the_cloud_falls_silent_a_departure_takes_what_it_needs(house):
    departs_at = house.now + 6 * HOUR
    house.set(Mode.DEPARTURE, energy_wh=12_000, departs_at=departs_at)
    assert house.station().max_w == 0
    told = house.told()
    assert told(house.now + HOUR)["set_point_w"] == 4_140
    assert "set_point_w" not in told(departs_at)


def test_a_policy_without_an_end_is_renewed_long_before_it_would_have_one(house):
    house.set(Mode.OFF)
    [row] = Constraint.objects.filter(policy__isnull=False)
    house.now += timedelta(days=201)
    house.live(grid_w=0)
    row.refresh_from_db()
    assert row.invalid_at - house.now > timedelta(days=399)


def test_a_departure_reckons_with_what_others_leave_it(house):
    departs_at = house.now + 3 * HOUR
    limit = Draft(max_w=5_000, invalid_at=house.now + 12 * HOUR)
    house.constrain(limit)
    house.set(Mode.DEPARTURE, energy_wh=25_000, departs_at=departs_at)
    reason = ChargingState.objects.get().reason
    assert reason["why"] == "unreachable"
    assert reason["missing_wh"] == pytest.approx(10_000)
    assert reason["reachable_at"] == (house.now + 5 * HOUR).isoformat().replace("+00:00", "Z")
    assert (house.station().set_point_w, house.station().max_w) == (5_000, 5_000)


def test_a_departure_hears_of_a_limit_that_comes_later(house):
    house.set(Mode.DEPARTURE, energy_wh=25_000, departs_at=house.now + 3 * HOUR)
    assert ChargingState.objects.get().reason["missing_wh"] is None
    house.constrain(Draft(max_w=5_000, invalid_at=house.now + 12 * HOUR))
    house.live(grid_w=0, minutes=0.5)
    assert ChargingState.objects.get().reason["missing_wh"] > 9_000


def test_a_departure_waits_for_the_end_of_a_pause_and_says_so(house):
    house.constrain(Draft(set_point_w=0, invalid_at=house.now + HOUR))
    house.set(Mode.DEPARTURE, energy_wh=20_000, departs_at=house.now + 3 * HOUR)
    reason = ChargingState.objects.get().reason
    assert (reason["why"], reason["missing_wh"]) == ("held", None)
    assert reason["needed_w"] == pytest.approx(20_000 / (2 - 5 / 60), rel=0.01)


@pytest.fixture
def garage(house) -> Cluster:
    """The car's station and a second one."""
    found = Cluster.objects.create(system=house.cast.lindenweg, name="Garage")
    house.cast.evcs.cluster = found
    house.cast.evcs.save()
    add_station(house.cast, cluster=found)
    return found


def shares_of(house, *, grid_w: float, minutes: float = 2) -> list[float]:
    """What the stations may take, after a while in which neither takes anything."""
    second = Appliance.objects.get(local_id="evcs-2")
    for _step in range(round(minutes * 6)):
        house.read(second, power_w=0, plug_state=Plug.PLUGGED)
        house.live(grid_w=grid_w)
    return [Flexibility.objects.get(pk=one.pk).max_w for one in (house.cast.evcs, second)]


def test_stations_of_a_cluster_share_one_surplus(house, garage):
    house.set(Mode.SURPLUS, target=garage)
    assert shares_of(house, grid_w=-10_000) == [5_000, 5_000]


def test_of_a_station_that_leaves_a_cluster_its_policy_has_nothing_to_say_any_more(house, garage):
    policy = house.set(Mode.SURPLUS, target=garage)
    second = Appliance.objects.get(local_id="evcs-2")
    assert policy_asking(station=second, now=house.now) == policy
    move_appliance(appliance=second, cluster=None, by=None, now=house.now)
    house.live(grid_w=0, minutes=1)
    assert policy_asking(station=second, now=house.now) is None
    assert policy_asking(station=house.cast.evcs, now=house.now) == policy


@pytest.mark.parametrize("is_first", [True, False])
def test_of_stations_of_a_cluster_the_one_that_charges_keeps_the_sun(house, garage, is_first):
    """The others may be full: here the sun is enough for one."""
    second = Appliance.objects.get(local_id="evcs-2")
    cars_w = (4_140, 0) if is_first else (0, 4_140)
    house.read(house.cast.evcs, power_w=cars_w[0], plug_state=Plug.CHARGING)
    house.read(second, power_w=cars_w[1], plug_state=Plug.CHARGING)
    house.read(house.cast.grid_meter, power_w=-2_880)
    house.set(Mode.SURPLUS, target=garage)
    offers_w = []
    for _step in range(10 * 6):
        house.read(second, power_w=cars_w[1], plug_state=Plug.CHARGING)
        house.live(grid_w=-2_880, car_w=cars_w[0])
        rows = Flexibility.objects.in_bulk([house.cast.evcs.pk, second.pk])
        offers_w.append((rows[house.cast.evcs.pk].max_w, rows[second.pk].max_w))
    assert set(offers_w) == {(7_000, 0) if is_first else (0, 7_000)}


def test_a_wish_that_is_outweighed_takes_its_share_of_the_surplus_and_no_more(house, garage):
    draft = Draft(set_point_w=22_000, closest=True, invalid_at=house.now + 4 * HOUR)
    set_constraints(
        target=house.cast.evcs, drafts=[draft], emitter=emitter_of(house.cast.mara), now=house.now
    )
    house.set(Mode.SURPLUS, target=garage, priority=3_000)
    assert shares_of(house, grid_w=-10_000) == [5_000, 5_000]
    assert house.station().set_point_w == 5_000


def test_withdrawing_leaves_the_station_to_itself(house):
    policy = house.set(Mode.OFF, priority=3_000)
    with pytest.raises(PermissionDenied):
        withdraw_policy(policy=policy, by=emitter_of(house.cast.mara), now=house.now)
    withdraw_policy(policy=policy, by=emitter_of(house.cast.fleet), now=house.now)
    assert house.station().set_point_w is None
    assert AuditEntry.objects.filter(verb="constraint_withdrawn").count() == 1


def test_each_kind_of_emitter_has_one_a_target(house):
    for user, priority in (
        (house.cast.fleet, 3_000),
        (house.cast.mara, 2_000),
        (house.cast.admin, 1_500),
    ):
        house.set(Mode.OFF, user=user, priority=priority)
    standing = ChargingPolicy.objects.filter(withdrawn_at=None).order_by("-priority")
    assert [one.emitter for one in standing] == [house.cast.mara, house.cast.admin]
    withdraw_own_policies(
        target=house.cast.lindenweg, by=emitter_of(house.cast.mara), now=house.now
    )
    assert [one.emitter for one in standing.all()] == [house.cast.admin]
    withdraw_own_policies(
        target=house.cast.lindenweg, by=emitter_of(house.cast.staff), now=house.now
    )
    assert not standing.all().exists()


@pytest.mark.parametrize(
    ("mode", "told"),
    [(Mode.OFF, {"set_point_w": 0}), (Mode.SURPLUS, {"max_w": 0}), (Mode.FORCED, {})],
)
def test_a_policy_that_begins_later_is_told_beforehand(house, mode, told):
    begins, ends = house.now + HOUR, house.now + 3 * HOUR
    house.set(mode, valid_at=begins, invalid_at=ends)
    assert house.station().set_point_w is None
    at = house.told()
    assert at(begins - MINUTE).get("max_w") == 22_000
    assert told.items() <= at(begins).items()
    assert at(ends).get("set_point_w") is None
    house.live(grid_w=0, minutes=61)
    rows = Constraint.objects.filter(policy__isnull=False, withdrawn_at=None)
    assert {row.fallback for row in rows} == ({False, True} if mode is Mode.SURPLUS else {False})
    assert ChargingState.objects.get().reason["why"] == (
        "too_little" if mode is Mode.SURPLUS else mode.value
    )


def test_what_a_stronger_constraint_holds_back_takes_no_sun_from_others(house, garage):
    house.set(Mode.SURPLUS, target=garage)
    house.constrain(Draft(max_w=1_000, invalid_at=house.now + 4 * HOUR))
    assert shares_of(house, grid_w=-5_000) == [0, 5_000]


def test_a_policy_ends_by_itself(house):
    house.set(Mode.OFF, invalid_at=house.now + HOUR)
    [row] = Constraint.objects.filter(policy__isnull=False)
    assert row.invalid_at == house.now + HOUR


def test_a_policy_that_is_over_is_asked_once_more_and_never_again(house):
    house.set(Mode.SURPLUS, invalid_at=house.now + MINUTE)
    house.now += 2 * MINUTE
    assert ask_due_policies(now=house.now) == 1
    assert ask_due_policies(now=house.now + HOUR) == 0


@pytest.mark.parametrize(
    ("until", "minutes", "knows"),
    [
        pytest.param("replaced", 0, True, id="replaced"),
        pytest.param("restored", 0, True, id="restored"),
        pytest.param("withdrawn", 5, True, id="withdrawn"),
        pytest.param("over", 5, True, id="over"),
        pytest.param("withdrawn", 16, False, id="withdrawn long ago"),
    ],
)
def test_a_car_that_is_known_to_be_full_stays_so_when_its_policy_ends(house, until, minutes, knows):
    fleet = emitter_of(house.cast.fleet)
    ends = {"invalid_at": house.now + 8 * MINUTE} if until == "over" else {}
    policy = house.set(Mode.SURPLUS, **ends)
    house.live(grid_w=-6_000, minutes=7)
    assert house.reason()["why"] == "idle"
    if until in ("withdrawn", "restored"):
        withdraw_policy(policy=policy, by=fleet, now=house.now)
    if until == "restored":
        restore_policy(policy=policy, by=fleet, now=house.now + timedelta(seconds=9))
    else:
        house.live(grid_w=-6_000, minutes=minutes)
        policy = house.set(Mode.SURPLUS)
    house.live(grid_w=-6_000, minutes=1.5)
    reason = ChargingState.objects.get(policy=policy).reason
    assert (reason["why"] == "idle") == knows
    assert ChargingState.objects.count() == (1 if until == "restored" or not knows else 2)


def test_a_departure_that_is_restored_counts_what_was_charged_before(house):
    house.read(house.cast.evcs, power_w=0, imported_wh=50_000, plug_state=Plug.PLUGGED)
    policy = house.set(Mode.DEPARTURE, energy_wh=10_000, departs_at=house.now + HOUR)
    house.live(grid_w=10_000, car_w=10_000, imported_wh=56_000)
    for end in (withdraw_policy, restore_policy):
        end(policy=policy, by=emitter_of(house.cast.fleet), now=house.now)
    assert house.reason()["left_wh"] == 4_000


def test_what_follows_from_the_sun_holds_no_longer_than_the_sun_is_known(house):
    house.set(Mode.SURPLUS)
    row = Constraint.objects.get(policy__isnull=False, fallback=False)
    behind = Constraint.objects.get(policy__isnull=False, fallback=True)
    assert row.invalid_at - house.now <= timedelta(minutes=15)
    assert behind.valid_at == row.invalid_at


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"mode": Mode.DEPARTURE}, "departs_at"),
        ({"mode": Mode.DEPARTURE, "departs_at": HOUR}, "energy_wh"),
        ({"mode": Mode.DEPARTURE, "departs_at": -HOUR, "energy_wh": 1_000}, "departs_at"),
        ({"mode": Mode.DEPARTURE, "departs_at": HOUR, "energy_wh": -1}, "energy_wh"),
        (
            {
                "mode": Mode.DEPARTURE,
                "valid_at": 2 * HOUR,
                "departs_at": HOUR,
                "energy_wh": 1_000,
            },
            "departs_at",
        ),
        ({"mode": Mode.SURPLUS, "energy_wh": 1_000}, "energy_wh"),
        ({"mode": Mode.SURPLUS, "invalid_at": -HOUR}, "invalid_at"),
        ({"mode": Mode.SURPLUS, "invalid_at": timedelta(days=401)}, "invalid_at"),
        ({"mode": Mode.SURPLUS, "priority": 10_000}, "priority"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_named(house, fields, at_fault):
    fields = {
        name: house.now + value if isinstance(value, timedelta) else value
        for name, value in fields.items()
    }
    with pytest.raises(UnableToConstrain) as caught:
        house.set(**fields)
    assert caught.value.field == at_fault
    assert not ChargingPolicy.objects.exists()


def test_a_resident_gives_a_policy_no_more_weight_than_their_own_wishes(house):
    with pytest.raises(UnableToConstrain):
        house.set(Mode.OFF, user=house.cast.mara, priority=3_000)


def test_where_there_is_no_charging_station_there_is_no_policy(house):
    with pytest.raises(UnableToConstrain):
        house.set(Mode.OFF, target=house.cast.hafenstrasse)
