"""Stations share the sun: who charges comes first, who is full takes nothing from the others."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf, pi, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexibility.policies.charging import ask
from flexibility.policies.sentences import because
from flexibility.policies.terms import Demand, Mode, Reading, Site, Station, Why
from measurements.formats import NBSP

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEP = timedelta(seconds=10)
# A car needs so many steps to follow what it is offered.
LAG = 2
FULL = 0.0


@dataclass
class Parked:
    """A car at its station: it takes at most so much, on so many phases; nothing where it is full.

    `starts`: how often it began to charge.
    """

    most_w: float = 11_000
    drawn_w: float = 0.0
    offered_w: float = 0.0
    phases: int = 3
    starts: int = 0

    @property
    def is_full(self):
        return not self.most_w

    def follow(self, offers_w):
        """Take what it may, once it has been offered that for a while."""
        self.offered_w = offers_w[-1]
        lasting_w = min(offers_w[-LAG:])
        taken_w = min(lasting_w * self.phases / 3, self.most_w)
        self.starts += self.drawn_w == 0 < taken_w
        self.drawn_w = taken_w


class Garage:
    """Cars under “sun only” behind one grid connection, asked every ten seconds.

    `exported_wh`: what was fed in while a hungry car was paused.
    """

    def __init__(self, **cars):
        self.cars = cars
        self.offers_w = {key: [car.drawn_w] * LAG for key, car in cars.items()}
        self.now, self.states, self.wishes = NOON, {}, {}
        self.exported_wh = self.imported_wh = 0.0

    def run(self, minutes, sun_w):
        """So long with so much sun: a number of W, or a function of the minutes passed."""
        for _ in range(round(minutes * 60 / STEP.total_seconds())):
            minute = (self.now - NOON) / timedelta(minutes=1)
            self._step(sun_w(minute) if callable(sun_w) else sun_w)
        return self

    def _step(self, sun_w):
        self.now += STEP
        grid_w = sum(car.drawn_w for car in self.cars.values()) - sun_w
        if grid_w > 0:
            self.imported_wh += grid_w * (STEP / HOUR)
        elif any(not car.is_full and not car.offered_w for car in self.cars.values()):
            self.exported_wh -= grid_w * (STEP / HOUR)
        demands = [
            Demand(
                station=Station(
                    key=key,
                    power=Reading(self.now, car.drawn_w),
                    offered_w=self.offers_w[key][-1],
                ),
                mode=Mode.SURPLUS,
                state=self.states.get(key),
            )
            for key, car in self.cars.items()
        ]
        for answer in ask(demands, Site(Reading(self.now, grid_w)), now=self.now):
            self.states[answer.key], self.wishes[answer.key] = answer.state, answer.wish
            self.offers_w[answer.key].append(answer.wish.asks.max_w)
            self.cars[answer.key].follow(self.offers_w[answer.key])

    def says(self, key):
        """Why its car charges as it does, for people."""
        station = Station(key=key)
        said = because(self.wishes[key].reason, station, now=self.now, zone=UTC)
        return said.replace(NBSP, " ")

    def why(self):
        return {key: wish.reason.why for key, wish in self.wishes.items()}

    def surplus_w(self):
        [surplus_w] = {wish.reason.surplus_w for wish in self.wishes.values()}
        return surplus_w

    def shares_w(self):
        return {key: wish.reason.share_w for key, wish in self.wishes.items()}

    def drawn_w(self):
        return {key: car.drawn_w for key, car in self.cars.items()}


def charging(most_w=11_000, **more):
    return Parked(most_w, drawn_w=4_140, **more)


def changing_sun_w(minute):
    """Between 4 and 12 kW, up and down thrice an hour, with a cloud now and then."""
    return 8_000 + 4_000 * sin(2 * pi * minute / 20) - (3_000 if minute % 17 < 1 else 0)


def test_the_sun_of_twelve_cars_is_not_kept_for_seven_full_ones():
    keys = [f"{number:02}" for number in range(1, 13)]
    cars = {key: Parked(FULL) for key in keys}
    cars |= {key: charging() for key in ("03", "07", "10", "12")} | {"05": Parked()}
    garage = Garage(**cars).run(60, changing_sun_w)
    assert garage.exported_wh < 300  # of 8 kWh of sun
    assert garage.imported_wh < 1_000
    assert sum(car.starts for car in cars.values()) < 6


def test_who_charges_comes_before_a_full_car_that_stands_before_it():
    garage = Garage(a=Parked(FULL), b=charging()).run(10, 6_000)
    assert garage.why() == {"a": Why.TOO_LITTLE, "b": Why.SURPLUS}
    assert garage.drawn_w() == {"a": 0, "b": pytest.approx(6_000, abs=100)}
    assert garage.cars["b"].starts == 0


def test_a_hungry_car_does_not_take_the_share_of_one_that_charges():
    garage = Garage(a=Parked(), b=charging()).run(20, 6_000)
    assert (garage.cars["a"].starts, garage.cars["b"].offered_w) == (0, 6_000)
    # But once there is enough for both, or the other is full.
    garage.run(3, 9_000)
    assert garage.why() == {"a": Why.SURPLUS, "b": Why.SURPLUS}
    garage.run(5, 6_000)
    garage.cars["a" if garage.cars["a"].drawn_w else "b"].most_w = FULL
    garage.run(8, 6_000)
    assert sum(garage.drawn_w().values()) == pytest.approx(6_000, abs=100)


def test_who_just_started_and_does_not_draw_yet_is_not_overtaken():
    garage = Garage(a=Parked(FULL), b=Parked()).run(1, 5_000)
    assert garage.wishes["a"].asks.max_w == 0
    garage.run(10, 5_000)
    assert garage.why() == {"a": Why.TOO_LITTLE, "b": Why.SURPLUS}
    assert garage.cars["b"].starts == 1


def test_after_a_cloud_who_charged_before_it_comes_before_those_that_nobody_knows():
    garage = Garage(a=Parked(FULL), b=charging()).run(5, 6_000).run(5, 0)
    assert garage.cars["b"].offered_w == 0
    garage.run(2, 6_000)
    assert garage.why() == {"a": Why.TOO_LITTLE, "b": Why.SURPLUS}


def test_what_a_car_does_not_take_goes_to_the_next_soon():
    garage = Garage(a=Parked(FULL), b=Parked(FULL), c=Parked()).run(9, 5_000)
    assert garage.drawn_w() == {"a": 0, "b": 0, "c": 5_000}


def test_a_full_car_is_offered_what_the_others_leave_and_goes_on_when_it_gets_hungry():
    garage = Garage(a=Parked(FULL), b=charging()).run(10, 9_000)
    assert garage.why() == {"a": Why.IDLE, "b": Why.SURPLUS}
    # Until it takes it, the other has it.
    assert garage.drawn_w() == {"a": 0, "b": pytest.approx(9_000, abs=100)}
    garage.cars["a"].most_w = 11_000
    garage.run(1, 9_000)
    assert garage.drawn_w() == {
        "a": pytest.approx(4_500, abs=100),
        "b": pytest.approx(4_500, abs=100),
    }


def test_a_full_car_that_gets_hungry_when_the_sun_goes_does_not_take_the_share_of_another():
    garage = Garage(a=Parked(FULL), b=charging()).run(10, 9_000).run(0.5, 6_000)
    assert garage.cars["a"].offered_w == 4_140  # for three minutes
    garage.cars["a"].most_w = 11_000
    garage.run(10, 6_000)
    assert garage.drawn_w() == {"a": 0, "b": pytest.approx(6_000, abs=100)}
    assert (garage.cars["a"].starts, garage.cars["b"].starts) == (1, 0)


def test_a_full_car_that_gets_hungry_while_another_has_all_waits_until_that_one_is_full():
    garage = Garage(a=Parked(FULL), b=charging()).run(10, 9_000).run(10, 6_000)
    garage.cars["a"].most_w = 11_000
    garage.run(10, 6_000)
    assert garage.drawn_w() == {"a": 0, "b": pytest.approx(6_000, abs=100)}
    garage.cars["b"].most_w = FULL
    garage.run(4, 6_000)
    assert garage.drawn_w() == {"a": pytest.approx(6_000, abs=100), "b": 0}


@pytest.mark.parametrize(
    "modest",
    [
        pytest.param(lambda: charging(4_600), id="at its own limit"),
        pytest.param(lambda: Parked(3_680, drawn_w=1_380, phases=1), id="on one phase"),
    ],
)
def test_what_a_modest_car_does_not_take_of_its_share_goes_to_the_other(modest):
    garage = Garage(a=modest(), b=charging(inf)).run(15, 12_000)
    assert sum(garage.drawn_w().values()) > 11_500
    before = garage.drawn_w()
    garage.run(1, 12_000)
    assert garage.drawn_w() == before


def test_shares_are_more_than_the_sun_only_by_what_cars_leave_of_theirs_or_need_for_a_while():
    garage = Garage(a=charging(4_600), b=charging(inf)).run(15, 12_000)
    assert sum(garage.drawn_w().values()) <= garage.surplus_w() < sum(garage.shares_w().values())
    garage = Garage(a=charging()).run(2, 6_000)
    assert garage.shares_w() == {"a": 6_000}
    garage.run(2, 3_000)
    assert (garage.shares_w(), garage.surplus_w()) == ({"a": 4_140}, 3_000)
    garage.run(3, 3_000)
    assert garage.shares_w() == {"a": 0}


def test_a_modest_car_is_offered_what_nobody_else_can_use():
    garage = Garage(a=charging(4_600)).run(15, 12_000)
    assert garage.cars["a"].offered_w == 12_000


def test_a_limit_of_a_car_that_was_but_for_a_while_is_soon_forgotten():
    garage = Garage(a=charging(4_600), b=charging(inf)).run(15, 14_000)
    garage.cars["a"].most_w = 11_000
    garage.run(3, 14_000)
    assert garage.drawn_w()["a"] == pytest.approx(7_000, abs=300)


# What is said of it


def test_who_pauses_because_others_need_the_sun_is_told_so_and_what_is_left():
    garage = Garage(a=Parked(FULL), b=charging()).run(1, 7_020)
    assert garage.says("a") == (
        "Pauses: the sun gives 7.02 kW, others need 4.14 kW of it, so that 2.88 kW are left; "
        "the car needs 4.14 kW."
    )


def test_who_goes_on_although_others_need_the_sun_is_told_so_and_what_is_left():
    garage = Garage(a=charging(), b=charging()).run(1, 5_590)
    assert garage.says("b") == (
        "Goes on with the least, although the sun gives 5.59 kW and others need 4.14 kW of it, so "
        "that only 1.45 kW of the 4.14 kW that the car needs are left; it pauses if that lasts."
    )


def test_who_starts_beside_others_is_told_what_they_leave():
    garage = Garage(a=Parked(), b=charging()).run(0.5, 9_000)
    assert garage.says("a") == (
        "Waits: the sun gives 9.00 kW, others need 4.14 kW of it, so that 4.86 kW are left, which "
        "is enough; it starts if that lasts."
    )


def test_who_waits_for_its_departure_is_told_what_others_need():
    reason = Garage(a=Parked(), b=charging()).run(1, 7_020).wishes["a"].reason
    at_three = NOON + 3 * HOUR
    reason = replace(reason, left_wh=9_000, until=at_three)
    said = because(reason, Station(key="a"), now=NOON, zone=UTC).replace(NBSP, " ")
    assert said.startswith(
        "Pauses: the sun gives 7.02 kW, others need 4.14 kW of it, so that 2.88 kW are left; "
        "the car needs 4.14 kW. From 15:00 at the latest"
    )


def test_who_charges_with_the_least_beside_others_is_told_what_they_need():
    demands = [Demand(station=Station(key=key), mode=Mode.MINIMUM_AND_SURPLUS) for key in "ab"]
    answers = ask(demands, Site(Reading(NOON, -6_000)), now=NOON)
    said = because(answers[0].wish.reason, Station(key="a"), now=NOON, zone=UTC)
    assert said.replace(NBSP, " ") == (
        "Charges with the least, 4.14 kW: the sun gives 6.00 kW, others need 4.14 kW of it, so "
        "that only 1.86 kW are left."
    )


def test_who_is_alone_is_told_of_no_others():
    garage = Garage(a=Parked()).run(1, 2_100)
    assert garage.says("a") == "Pauses: the sun gives 2.10 kW, the car needs 4.14 kW."


@given(st.lists(st.floats(0, 30_000), min_size=1, max_size=8), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_what_is_said_to_be_left_is_less_than_what_a_paused_car_needs(suns_w, charge):
    cars = {f"full{index}": Parked(FULL) for index in range(2)}
    cars |= {f"some{index}": charging() for index in range(charge)} | {"other": Parked()}
    garage = Garage(**cars)
    for sun_w in suns_w:
        garage.run(1.5, sun_w)
        for wish in garage.wishes.values():
            reason = wish.reason
            if reason.why in (Why.TOO_LITTLE, Why.HOLDING):
                assert reason.left_w < reason.least_w
            if reason.why is Why.STARTING:
                assert reason.left_w >= reason.least_w
