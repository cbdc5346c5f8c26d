from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flexibility.policies.cars import learn
from flexibility.policies.terms import UNKNOWN_CAR, Car, Reading, Station

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STATION = Station(key="a", min_w=4_140, max_w=22_000)


def watch(*looks, car=UNKNOWN_CAR):
    """What is known of a car after minutes in which it took so much of so much, in W."""
    now = NOON
    for minutes, drawn_w, offered_w in looks:
        for _ in range(minutes + 1):
            station = replace(STATION, power=Reading(now, drawn_w), offered_w=offered_w)
            car = learn(car, station, now=now)
            now += MINUTE
    return car


@pytest.mark.parametrize(
    ("looks", "part", "most_w", "is_idle"),
    [
        pytest.param([(9, 10_900, 11_000)], 1, None, False, id="it takes what it is offered"),
        pytest.param([(4, 3_000, 22_000)], 1, None, False, id="a while is nothing"),
        pytest.param([(5, 11_000, 22_000)], 1, 11_000, False, id="a limit of its own"),
        pytest.param([(5, 1_400, 4_200)], 1 / 3, None, False, id="one phase of three"),
        pytest.param([(5, 3_000, 9_000)], 1 / 3, None, False, id="of more, too"),
        pytest.param([(5, 2_760, 4_140)], 2 / 3, None, False, id="two phases"),
        pytest.param([(5, 7_360, 22_000)], 1, 7_360, False, id="not yet known to be one phase"),
        pytest.param(
            [(5, 7_360, 22_000), (5, 1_400, 4_200)], 1 / 3, 7_360, False, id="but then it is"
        ),
        pytest.param([(5, 1_400, 4_200), (5, 3_680, 22_000)], 1, 3_680, False, id="a weak one"),
        pytest.param([(5, 4_000, 11_000), (0, 5_000, 22_000)], 1, 5_000, False, id="it can"),
        pytest.param([(5, 1_000, 4_140)], 1 / 3, 1_000, False, id="nearly full"),
        pytest.param([(5, 30, 4_140)], 1, None, True, id="it takes nothing"),
        pytest.param([(5, 30, 4_140), (0, 1_400, 4_140)], 1, None, False, id="it goes on"),
        pytest.param([(9, 30, 0)], 1, None, False, id="nobody lets it"),
        pytest.param([(9, 30, 4_140), (9, 0, 0)], 1, None, True, id="a pause tells nothing new"),
        pytest.param([(1, 30, 4_140), (9, 0, 0)], 1, None, False, id="nor of what was not sure"),
        pytest.param([(9, 30, None)], 1, None, False, id="an offer that nobody knows"),
        pytest.param(
            [(5, 3_000, 11_000), (5, 10_800, 11_000)], 1, None, False, id="it takes more after all"
        ),
        pytest.param(
            [(5, 1_400, 4_200), (5, 4_140, 4_200)], 1, None, False, id="another car, on three"
        ),
    ],
)
def test_what_readings_tell_of_a_car(looks, part, most_w, is_idle):
    car = watch(*looks)
    assert (car.part, car.most_w, car.is_idle) == (pytest.approx(part), most_w, is_idle)


def test_a_car_that_charged_is_known_to_until_it_takes_nothing():
    charged, paused, full = (0, 4_140, 4_140), (9, 0, 0), (2, 0, 4_140)
    assert not watch(paused).has_charged
    assert watch(charged, paused).has_charged
    assert not watch(charged, paused, full).has_charged


def test_what_is_known_goes_with_the_car():
    car = Car(1 / 3, 3_680, is_idle=True)
    assert learn(car, replace(STATION, plugged=False), now=NOON) == UNKNOWN_CAR


def test_old_readings_tell_nothing():
    old = replace(STATION, power=Reading(NOON - 3 * MINUTE, 0), offered_w=4_140)
    assert learn(Car(odd_since=NOON - 9 * MINUTE), old, now=NOON) == UNKNOWN_CAR
