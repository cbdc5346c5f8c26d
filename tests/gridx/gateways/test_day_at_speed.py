"""A day of a hundred charging stations at speed: no limit that can be kept is ever broken."""

import logging
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.gridx.gateways.day_checker import Day, Limit, Outage, Wish
from tests.gridx.gateways.garages import (
    DIMMED,
    GROUP,
    LEAST_W,
    MANAGE,
    PROCESSES,
    SPEED,
    START,
    SUNNY,
    Garages,
)
from tests.gridx.gateways.installation import Installation

logger = logging.getLogger(__name__)

# What has to have been checked often, or the day proves little.
OFTEN = [
    "limit",
    "limit nearly used",
    "limit below a minimum",
    "station",
    "connection",
    "phase",
    "net",
    "cut off",
]
HOURS = float(os.environ.get("GRIDX_TEST_DAY_HOURS", "2"))


@pytest.fixture
def garages() -> Iterator[Garages]:
    with Installation() as installation:
        garages = Garages(installation)
        garages.register()
        for name in ("link", "worker", "beat", "scheduler", *PROCESSES):
            garages.start(name)
        deadline = time.monotonic() + 60
        while not garages.is_driven():
            assert time.monotonic() < deadline, garages.logs()
            time.sleep(0.5)
        installation.run_code(GROUP)
        yield garages
        garages.line.close()


@pytest.mark.alone
def test_a_day_of_a_hundred_stations_breaks_no_limit(garages: Garages):
    seed = int(os.environ.get("GRIDX_TEST_DAY_SEED", "1"))
    chance = random.Random(seed)
    stop, log = garages.folder / "stop", garages.folder / "manager.log"
    code = MANAGE.format(stop=str(stop), seed=seed, sunny=SUNNY, dimmed=DIMMED)
    run = ("manage.py", "shell", "--no-imports", "-c", code)
    manager = garages.installation.start(*run, log=log)
    end = START + timedelta(hours=HOURS)
    cuts = ["line", "cut", "worker", "link", "scheduler"]
    while (left := (end - garages.clock.now()) / SPEED) > timedelta(seconds=12):
        time.sleep(min(chance.uniform(12, 20), left.total_seconds()))
        assert manager.poll() is None, log.read_text()
        if left > timedelta(seconds=40):
            name = cuts[len(garages.outages) % len(cuts)]
            if name == "line":
                garages.sever(silently=chance.random() < 0.5, for_s=chance.uniform(5, 10))
            else:
                garages.restart(name, after_s=6 if name == "cut" else 1)
    stop.touch()
    assert manager.wait(60) == 0, log.read_text()
    for name, process in garages.processes.items():
        assert process.poll() is None, f"{name} has ended: {garages.logs()}"
    day = garages.day()
    violations = day.violations()
    numbers = {**day.checked, "limits": len(day.limits), "wishes": len(day.wishes)}
    logger.info("%s; %s violations", numbers, len(violations))
    assert not violations, "\n".join(violations[:60])
    # Had the limits been a little tighter, the same readings would have broken them.
    tighter = [replace(limit, max_w=0.8 * limit.max_w) for limit in day.limits]
    broken = replace(day, limits=tighter, checked=defaultdict(int)).violations()
    logger.info("%s violations of limits that are a fifth tighter", len(broken))
    assert broken
    assert sum(map(len, day.sites.values())) == 100
    assert {outage.site for outage in garages.outages} == {0, 1, None}
    for what in OFTEN:
        assert day.checked[what] > 20, dict(day.checked)
    assert day.checked["charging"] > 1_000


# The checker itself -----------------------------------------------------------------------------

NINE = datetime(2026, 6, 3, 9, 0, tzinfo=UTC)
LONG = {"created_at": NINE, "valid_at": NINE, "until": NINE + timedelta(hours=2)}
HALF = Limit(name="half", site=0, members=frozenset({1, 2}), max_w=15_000, priority=3_000, **LONG)
CAP = Wish(station=1, upper_w=5_000, priority=3_000, **LONG)


def day_of(*powers_w: tuple[float, float], limits=(), wishes=(), outages=()) -> Day:
    """Two stations, read each minute from nine on."""
    instants = [NINE + timedelta(minutes=number) for number in range(len(powers_w))]
    read = {
        station: {at: powers[station - 1] for at, powers in zip(instants, powers_w, strict=True)}
        for station in (1, 2)
    }
    sites = {0: frozenset({1, 2})}
    return Day(
        timedelta(minutes=5), LEAST_W, sites, list(limits), list(wishes), list(outages), read
    )


FULL = [(11_000.0, 11_000.0)] * 10


def test_the_checker_sees_a_sum_above_its_limit_once_the_time_to_ramp_down_is_over():
    found = day_of(*FULL, limits=[HALF]).violations()
    assert len(found) == 5
    assert found[0] == "03. 09:05:00 half: 22000 W of 15000 W"
    assert not day_of(*FULL[:5], limits=[HALF]).violations()
    assert not day_of(*FULL, limits=[replace(HALF, max_w=22_000)]).violations()


def test_the_checker_lets_only_what_is_stronger_than_the_limit_break_it_but_never_a_fuse():
    strong = Wish(station=1, upper_w=22_000, lower_w=22_000, priority=50_000, **LONG)
    powers = [(22_000.0, 0.0)] * 10
    assert not day_of(*powers, limits=[HALF], wishes=[strong]).violations()
    assert day_of(*powers, limits=[HALF], wishes=[replace(strong, priority=2_000)]).violations()
    fuse = replace(HALF, fuse=True, priority=1_000_000)
    assert day_of(*powers, limits=[fuse], wishes=[strong]).violations()


def test_the_checker_sees_a_station_above_the_strongest_that_it_was_told():
    weak = replace(CAP, upper_w=22_000, priority=2_000)
    assert len(day_of(*FULL, wishes=[CAP, weak]).violations()) == 5
    assert not day_of(*FULL, wishes=[replace(weak, priority=9_000), CAP]).violations()


def test_the_checker_takes_of_two_that_weigh_the_same_the_one_that_was_set_later():
    planned = replace(CAP, created_at=NINE - timedelta(minutes=9))
    latest = replace(CAP, upper_w=22_000, valid_at=NINE - timedelta(minutes=5))
    assert not day_of(*FULL, wishes=[planned, latest]).violations()
    latest = replace(latest, created_at=planned.created_at - timedelta(minutes=1))
    assert day_of(*FULL, wishes=[planned, latest]).violations()


def test_the_checker_sees_a_station_that_runs_below_its_minimum_but_not_one_whose_car_gets_full():
    assert len(day_of((2_000.0, 0.0), (2_000.0, 0.0), (0.0, 0.0)).violations()) == 1
    assert not day_of((11_000.0, 0.0), (2_000.0, 0.0), (0.0, 0.0)).violations()


def test_the_checker_sees_a_connection_whose_stations_do_not_give_way_to_other_loads():
    connection = replace(HALF, meter=9)
    for powers, is_broken in ((FULL, True), ([(0.0, 0.0)] * 10, False)):
        day = day_of(*powers, limits=[connection])
        day.power_w[9] = dict.fromkeys(day.power_w[1], 16_000.0)
        assert bool(day.violations()) is is_broken


def test_the_checker_gives_stations_the_time_to_ramp_down_as_other_loads_rise():
    connection = replace(HALF, meter=9)
    for minutes, is_broken in ((0, False), (3, False), (5, False), (6, True), (9, True)):
        # By 1 kW a minute, which the stations follow so many minutes later.
        powers = [(15_000.0 - 1_000 * max(number - minutes, 0), 0.0) for number in range(10)]
        day = day_of(*powers, limits=[connection])
        day.power_w[9] = {
            at: power_w + 1_000 * number
            for number, (at, power_w) in enumerate(day.power_w[1].items())
        }
        assert bool(day.violations()) is is_broken


def test_the_checker_lets_stations_not_give_way_that_are_told_to_charge_by_what_is_stronger():
    connection = replace(HALF, meter=9)
    for lower_w, is_broken in ((4_000.0, True), (11_000.0, False)):
        told = [
            Wish(station=one, upper_w=11_000, lower_w=lower_w, priority=50_000, **LONG)
            for one in (1, 2)
        ]
        day = day_of(*FULL, limits=[connection], wishes=told)
        day.power_w[9] = dict.fromkeys(day.power_w[1], 22_000.0)
        assert bool(day.violations()) is is_broken


def test_the_checker_sees_a_phase_above_its_limit():
    phase = replace(HALF, phase=2, max_w=7_000)
    for share, is_broken in ((1 / 3, True), (0.3, False)):
        day = day_of(*FULL, limits=[phase])
        day.phase_w = {
            (station, 2): {at: share * power_w for at, power_w in read.items()}
            for station, read in day.power_w.items()
        }
        assert bool(day.violations()) is is_broken


def test_the_checker_adds_to_a_net_limit_what_the_site_produces_beyond_its_other_loads():
    dimming = replace(HALF, meter=9, net=True)
    for imported_w, is_broken in ((22_000.0, True), (16_000.0, True), (14_000.0, False)):
        day = day_of(*FULL, limits=[dimming])
        day.power_w[9] = dict.fromkeys(day.power_w[1], imported_w)
        assert bool(day.violations()) is is_broken


def test_the_checker_gives_no_time_back_for_an_outage_of_another_site():
    at = {"start": NINE + timedelta(minutes=2), "end": NINE + timedelta(minutes=6)}
    assert not day_of(*FULL, limits=[HALF], outages=[Outage(**at, site=0)]).violations()
    assert day_of(*FULL, limits=[HALF], outages=[Outage(**at, site=1)]).violations()
