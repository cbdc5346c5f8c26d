"""Charging policies under a limit that stations share: what they reckon with, and what they say."""

from datetime import timedelta
from math import inf

import pytest

from flexibility.emitters import emitter_of
from flexibility.models import ChargingState
from flexibility.policies.asking import ask_due_policies
from flexibility.policies.dividing import turns
from flexibility.policies.operations import PolicyDraft, set_policy, try_policy
from flexibility.policies.sentences import reasons
from flexibility.policies.terms import Mode
from flexibility.resolving import balance_systems
from inventory.kinds import Plug
from measurements.formats import NBSP
from tests.flexibility.limits.test_limits import Garage

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("limit_w", "others_w", "turn_w", "part"),
    [
        pytest.param(15_000, [], 15_000, 1, id="alone it has the whole"),
        pytest.param(15_000, [inf, inf], 5_000, 1, id="an equal part"),
        pytest.param(15_000, [3_000, inf], 6_000, 1, id="and of what one leaves"),
        pytest.param(15_000, [0, 0], 15_000, 1, id="who takes nothing leaves all"),
        pytest.param(5_000, [inf, inf], 5_000, 1 / 3, id="one at a time"),
        pytest.param(10_000, [inf, inf], 5_000, 2 / 3, id="two at a time"),
        pytest.param(4_140, [inf], 4_140, 1 / 2, id="just enough for one"),
        pytest.param(4_000, [inf], 2_000, 1, id="enough for none"),
        pytest.param(4_000, [], 4_000, 1, id="not even alone"),
        pytest.param(inf, [inf], inf, 1, id="no limit"),
    ],
)
def test_what_a_station_may_expect_of_a_limit_that_it_shares(limit_w, others_w, turn_w, part):
    assert turns(limit_w, others_w, 4_140) == (turn_w, pytest.approx(part))


class CarPark(Garage):
    """Three charging stations under a fleet manager's policy, and the cars that stand there."""

    def __init__(self, cast, now) -> None:
        super().__init__(cast, now)
        self.drawn_w = [0.0, 0.0, 0.0]
        self.park(3)

    def park(self, cars: int) -> None:
        """So many cars stand there, at the first stations."""
        for number, one in enumerate(self.stations):
            state = Plug.PLUGGED if number < cars else Plug.UNPLUGGED
            self.read(self.drawn_w[number], appliances=[one], plug_state=state)

    def set(self, mode: Mode, *, target=None, **fields):
        draft = PolicyDraft(mode=mode, **fields)
        by = emitter_of(self.cast.fleet)
        return set_policy(target=target or self.cluster, draft=draft, emitter=by, now=self.now)

    def depart(self, energy_wh: float, hours: float, *, target=None):
        departs_at = self.now + hours * HOUR
        return self.set(Mode.DEPARTURE, energy_wh=energy_wh, departs_at=departs_at, target=target)

    def try_departure(self, energy_wh: float, hours: float):
        draft = PolicyDraft(
            mode=Mode.DEPARTURE, energy_wh=energy_wh, departs_at=self.now + hours * HOUR
        )
        by = emitter_of(self.cast.fleet)
        return try_policy(appliance=self.stations[0], draft=draft, emitter=by, now=self.now)

    def live(self, minutes: float, *, sun_w: float = 0, cars_w=(11_000, 11_000, 11_000)) -> None:
        """Time passes in steps of 20 s, in which each car takes all that it may, up to so much."""
        for _step in range(round(minutes * 3)):
            self.now += timedelta(seconds=20)
            self.read(sum(self.drawn_w) - sun_w, appliances=[self.cast.grid_meter])
            self.read(*self.drawn_w)
            ask_due_policies(now=self.now)
            balance_systems(systems={self.cast.lindenweg.pk}, now=self.now)
            self.confirm()
            self.drawn_w = [
                min(may_w, car_w) for may_w, car_w in zip(self.shares(), cars_w, strict=True)
            ]

    def reasons(self) -> list[dict]:
        by_station = {row.appliance_id: row.reason for row in ChargingState.objects.all()}
        return [by_station[one.pk] for one in self.stations if one.pk in by_station]

    def says(self) -> list[str]:
        states = list(ChargingState.objects.select_related("appliance__system"))
        said = reasons(states, now=self.now)
        return [said[one.pk].replace(NBSP, " ") for one in self.stations]


@pytest.fixture
def cars(cast, now) -> CarPark:
    return CarPark(cast, now)


@pytest.mark.django_db
@pytest.mark.parametrize("limit_w", [None, 15_000, 40_000])
def test_a_departure_waits_for_the_sun_under_a_limit_as_it_does_without(cars, limit_w):
    cars.park(1)
    if limit_w is not None:
        cars.limit(limit_w)
    cars.depart(5_000, 10)
    for _ in range(10):
        cars.live(1)
        reason = cars.reasons()[0]
        assert (reason["why"], reason["missing_wh"], cars.drawn_w[0]) == ("too_little", None, 0)


@pytest.mark.django_db
def test_where_the_cloud_falls_silent_a_departure_has_its_part_of_the_limit(cars):
    cars.park(1)
    cars.limit(15_000)
    cars.depart(5_000, 10)
    cars.live(2)
    assert cars.told_w(cars.stations[0], cars.now) == 0
    assert cars.told_w(cars.stations[0], cars.now + HOUR) >= 4_140


@pytest.mark.django_db
def test_the_form_promises_a_goal_under_a_limit_that_leaves_enough(cars):
    free = cars.try_departure(5_000, 10)
    cars.limit(15_000)
    cars.set(Mode.SURPLUS)
    cars.live(1)
    assert cars.shares() == [0, 0, 0]  # all of them wait for the sun
    bound = cars.try_departure(5_000, 10)
    assert (free.plan.missing_wh, bound.plan.missing_wh) == (0, 0)
    assert bound.plan.needed_w == free.plan.needed_w


@pytest.mark.django_db
@pytest.mark.parametrize("minutes", [1, 20, 40])
def test_who_takes_turns_is_told_what_its_turns_leave_missing(cars, minutes):
    """5 kW among three that need 4.14 kW each: 5 kW for two of six hours."""
    cars.limit(5_000)
    cars.depart(25_000, 6)
    cars.live(minutes)
    cars_wh = [reason["missing_wh"] for reason in cars.reasons()]
    left = 6 * HOUR - minutes * MINUTE
    assert cars_wh == pytest.approx([25_000 - 5_000 / 3 * (left / HOUR)] * 3, abs=5)
    assert sum(share > 0 for share in cars.shares()) == 1


@pytest.mark.django_db
def test_who_takes_turns_begins_early_enough(cars):
    cars.limit(5_000)
    cars.depart(6_000, 6)
    cars.live(1)
    for reason in cars.reasons():
        assert (reason["why"], reason["missing_wh"]) == ("too_little", None)
        # At a third of the time with 4.14 kW, and five minutes before departure.
        assert reason["until"] < (cars.now + 1.6 * HOUR).isoformat()


@pytest.mark.django_db
def test_a_limit_below_the_least_of_a_station_leaves_nothing(cars):
    cars.limit(3_000)
    cars.depart(5_000, 6)
    cars.live(1)
    for reason in cars.reasons():
        assert (reason["why"], reason["missing_wh"]) == ("held", 5_000)
        assert reason["reachable_at"] is not None  # the limit ends after a day


@pytest.mark.django_db
def test_who_is_switched_off_leaves_all_and_who_charges_an_equal_part(cars):
    cars.limit(15_000)
    for other in cars.stations[1:]:
        cars.set(Mode.OFF, target=other)
    cars.live(1)
    assert cars.try_departure(60_000, 6).plan.missing_wh == 0
    for other in cars.stations[1:]:
        cars.set(Mode.FORCED, target=other)
    cars.live(1)
    assert cars.try_departure(60_000, 6).plan.missing_wh == pytest.approx(30_000)


@pytest.mark.django_db
@pytest.mark.parametrize("mode", [Mode.SURPLUS, Mode.MINIMUM_AND_SURPLUS])
def test_whom_a_limit_pauses_is_not_idle_but_waits_for_its_turn(cars, mode):
    cars.limit(5_000)
    cars.set(mode)
    had_turns = set()
    for _ in range(5):
        cars.live(4, sun_w=20_000)
        [running] = [number for number, share in enumerate(cars.shares()) if share]
        had_turns.add(running)
        assert [reason["why"] for reason in cars.reasons()] == ["surplus"] * 3
        assert [reason["share_w"] for reason in cars.reasons()] == [5_000] * 3
        for number, said in enumerate(cars.says()):
            if number == running:
                assert said.startswith("Charges with what the sun leaves for it")
            else:
                assert said.startswith("Waits for its turn: the limit that it shares")
    assert len(had_turns) == 2  # a turn is a quarter of an hour


@pytest.mark.django_db
def test_who_waits_for_its_turn_says_what_will_be_missing_all_the_same(cars):
    cars.limit(5_000)
    cars.depart(25_000, 6)
    cars.live(1)
    waiting = [said for said in cars.says() if said.startswith("Waits for its turn")]
    assert len(waiting) == 2
    for said in waiting:
        assert "15 kWh will be missing; it could be ready by" in said


HELD = "Pauses: others leave it less than the 4.14 kW that it needs. It goes on when they end."


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("limit_w", "mode", "said"),
    [
        (15_000, Mode.SURPLUS, "Charges with 5 kW at most: others leave it no more."),
        (15_000, Mode.MINIMUM_AND_SURPLUS, "Charges with 5 kW at most: others leave it no more."),
        (3_000, Mode.FORCED, HELD),
        (3_000, Mode.SURPLUS, HELD),
        (15_000, Mode.OFF, "Is switched off."),
        (5_000, Mode.OFF, "Is switched off."),
    ],
)
def test_a_policy_says_what_a_limit_leaves_of_its_wish(cars, limit_w, mode, said):
    cars.limit(limit_w)
    cars.set(mode)
    cars.live(3, sun_w=40_000)
    assert cars.says() == [said] * 3


@pytest.mark.django_db
@pytest.mark.parametrize("mode", [Mode.SURPLUS, Mode.FORCED])
def test_whom_the_load_of_the_house_leaves_nothing_waits_for_no_turn(cars, mode):
    cars.set(mode)
    cars.live(2, sun_w=30_000)
    cars.limit(15_000, dynamic=True)
    cars.read(sum(cars.drawn_w) + 14_000, appliances=[cars.cast.grid_meter])
    balance_systems(systems={cars.cast.lindenweg.pk}, now=cars.now)
    assert cars.shares() == [0, 0, 0]
    assert cars.says() == ["Waits: others leave it nothing now."] * 3
