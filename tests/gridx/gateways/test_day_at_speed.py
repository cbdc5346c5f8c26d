"""A day of a hundred charging stations at speed: no limit that can be kept is ever broken."""

import json
import logging
import os
import random
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gridx.clock import Clock
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.entries import GatewayEntry, write_entries
from tests.gridx.gateways.day_checker import Day, Limit, Outage, Wish
from tests.gridx.gateways.installation import Installation

logger = logging.getLogger(__name__)

SPEED = 60
# 07:30 in Berlin on a Wednesday: hardly any car is there yet.
START = datetime(2026, 6, 3, 5, 30, tzinfo=UTC)
HOURS = float(os.environ.get("GRIDX_TEST_DAY_HOURS", "2.5"))
SAMPLE_S = 60
# A reading is the mean of the sample before it; the rest is 4 real seconds of the way there.
GRACE = timedelta(seconds=SAMPLE_S + 4 * SPEED)
LEAST_W = 4_140
STATIONS = [13, 13, 13, 13, 12, 12, 12, 12]
SERIALS = [f"GARAGE-{number}" for number in range(len(STATIONS))]
CUT = SERIALS[0]

SEED = """
import json
from gridx import clock
from accounts.models import Account
from inventory.models import System
from inventory.operations import register_gateway
now = clock.now()
account = Account.objects.create(name="Operator AG")
made = []
for serial in {serials!r}:
    system = System.objects.create(account=account, name=serial)
    made.append([serial, register_gateway(system=system, serial=serial, by=None, now=now)[1]])
print(json.dumps(made))
"""
# Each garage: within its fuse and its grid connection two halves, and a corner in the first one.
GROUP = """
from datetime import timedelta
from gridx import clock
from flexibility.emitters import Emitter
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.resolver import EmitterKind
from inventory.models import Appliance, System
from inventory.operations import create_cluster, move_appliance
for system in System.objects.order_by("name"):
    now = clock.now()
    made = dict(system=system, by=None, now=now)
    garage = create_cluster(name="Garage", **made)
    first = create_cluster(name="First half", parent=garage, **made)
    second = create_cluster(name="Second half", parent=garage, **made)
    corner = create_cluster(name="Corner", parent=first, **made)
    stations = Appliance.objects.filter(system=system, kind="ev_charging_station")
    for place, station in enumerate(stations.order_by("local_id")):
        cluster = corner if place < 3 else first if place < 6 else second
        move_appliance(appliance=station, cluster=cluster, by=None, now=clock.now())
    set_limit(
        cluster=garage, draft=LimitDraft(max_w=90_000), by=Emitter(EmitterKind.FUSE),
        now=clock.now(),
    )
    set_limit(
        cluster=corner, draft=LimitDraft(max_w=30_000), by=Emitter(EmitterKind.FUSE),
        now=clock.now(),
    )
    now = clock.now()
    draft = LimitDraft(max_w=85_000, dynamic=True, invalid_at=now + timedelta(days=3))
    set_limit(cluster=garage, draft=draft, by=Emitter(EmitterKind.ACCOUNT_USER), now=now)
"""
# Many people who want different things, and change their minds.
MANAGE = """
import random, time
from datetime import timedelta
from pathlib import Path
from gridx import clock
from flexibility.allotment import Strategy
from flexibility.emitters import Emitter
from flexibility.limits.operations import LimitDraft, set_limit, withdraw_limit
from flexibility.models import Constraint, SharedLimit
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.resolver import EmitterKind
from inventory.models import Appliance, Cluster
stop, chance = Path({stop!r}), random.Random({seed})
stations = list(Appliance.objects.filter(kind="ev_charging_station").order_by("key"))
clusters = list(Cluster.objects.order_by("key"))
KINDS = ["grid_operator", "operator", "account_user", "local_user"]

def span(now):
    valid_at = now + timedelta(seconds=chance.choice([0, 0, 0, chance.randint(30, 1200)]))
    return dict(valid_at=valid_at, invalid_at=valid_at + timedelta(minutes=chance.randint(8, 60)))

def limit_cluster(now):
    by = Emitter(EmitterKind(chance.choice(KINDS[:3])))
    cluster = chance.choice(clusters)
    if SharedLimit.objects.valid(now).filter(cluster=cluster).count() > 5:
        return
    max_w = chance.choice([0, 3_000, *(chance.randint(5_000, 80_000) for _ in range(8))])
    strategy = chance.choice(list(Strategy))
    order = ()
    if strategy is Strategy.SERIES:
        order = tuple(one.pk for one in stations if one.system_id == cluster.system_id)
    draft = LimitDraft(max_w=max_w, strategy=strategy, order=order, **span(now))
    set_limit(cluster=cluster, draft=draft, by=by, now=now)

def constrain_station(now):
    by = Emitter(EmitterKind(chance.choice(KINDS)))
    station = chance.choice(stations)
    standing = Constraint.objects.filter(
        appliance=station, emitter_kind=by.kind, withdrawn_at=None, invalid_at__gt=now
    )
    if standing.count() > 3:
        return
    low, high = chance.randint(4_140, 9_000), chance.randint(9_001, 22_080)
    said = chance.choice([
        dict(max_w=high), dict(max_w=chance.randint(4_140, 22_080)), dict(max_w=low - 2_500),
        dict(min_w=low, max_w=high), dict(set_point_w=low), dict(set_point_w=0),
        dict(set_point_w=high, closest=True),
    ])
    set_constraints(target=station, drafts=[Draft(**said, **span(now))], emitter=by, now=now)

def withdraw(now):
    limits = list(SharedLimit.objects.valid(now).exclude(emitter_kind="fuse").filter(dynamic=False))
    own = list(Constraint.objects.filter(
        appliance__isnull=False, withdrawn_at=None, invalid_at__gt=now, emitter_kind__in=KINDS
    ))
    by = Emitter(EmitterKind.OPERATOR)
    if limits and chance.random() < 0.5:
        withdraw_limit(limit=chance.choice(limits), by=by, now=now)
    elif own:
        withdraw_constraint(constraint=chance.choice(own), by=by, now=now)

done = 0
while not stop.exists():
    act = chance.choice([limit_cluster, constrain_station, constrain_station, withdraw])
    act(clock.now())
    done += 1
    time.sleep(0.15)
print(done, flush=True)
"""
LIMITS = """
    SELECT cluster.id, system.name, priority, max_w, dynamic, emitter_kind, valid_at,
        least(coalesce(invalid_at, 'infinity'), coalesce(withdrawn_at, 'infinity'), %s)
    FROM flexibility_sharedlimit AS shared
    JOIN inventory_cluster AS cluster ON cluster.id = shared.cluster_id
    JOIN inventory_system AS system ON system.id = shared.system_id
"""
WISHES = """
    SELECT key, priority, min_w, max_w, set_point_w, valid_at,
        least(invalid_at, coalesce(withdrawn_at, 'infinity'))
    FROM flexibility_constraint JOIN inventory_appliance AS appliance ON appliance.id = appliance_id
    WHERE emitter_kind NOT IN ('driver', 'cluster_limit')
"""
APPLIANCES = """
    SELECT appliance.key, appliance.kind, appliance.cluster_id, system.name
    FROM inventory_appliance AS appliance JOIN inventory_system AS system ON system.id = system_id
"""
CLUSTERS = "SELECT id, parent_id, name FROM inventory_cluster"
READINGS = "SELECT appliance_key, at, power_w FROM measurements_reading WHERE power_w IS NOT NULL"
DRIVEN = """
    SELECT 1 FROM flexibility_flexibility JOIN inventory_appliance AS appliance
    ON appliance.id = appliance_id WHERE kind = 'ev_charging_station' AND max_w IS NOT NULL
"""


class Garages:
    """An installation whose time runs fast, with two processes of gateways."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.folder = installation.directory
        self.clock = Clock(START, SPEED, time.time())
        installation.environ["GRIDX_CLOCK"] = f"{START.isoformat()}*{SPEED}@{self.clock.epoch_s}"
        self.processes: dict[str, subprocess.Popen] = {}
        self.outages: list[Outage] = []

    def register(self) -> None:
        made = json.loads(self.installation.run_code(SEED.format(serials=SERIALS)).splitlines()[-1])
        entries = [
            GatewayEntry(serial=serial, secret=secret, site=_plan(number))
            for number, (serial, secret) in enumerate(made)
        ]
        for name in ("cut", "others"):
            theirs = [one for one in entries if (one.serial == CUT) == (name == "cut")]
            write_entries(self.folder / f"{name}.json", theirs)

    def start(self, name: str) -> None:
        if name == "link":
            self.processes[name] = self.installation.start_link()
            return
        gateways = ["manage.py", "simulate_gateways", "--sample", str(SAMPLE_S)]
        gateways += ["--every", str(SAMPLE_S), "--gateways", str(self.folder / f"{name}.json")]
        worker = ["-m", "celery", "--app", "gridx", "worker", "--concurrency", "2", "--beat"]
        argv = {
            "worker": [*worker, "--schedule", str(self.folder / "beat")],
            "scheduler": ["manage.py", "run_scheduler"],
        }.get(name, [*gateways, "--state", str(self.folder / f"state-{name}")])
        self.processes[name] = self.installation.start(*argv, log=self.folder / f"{name}.log")

    def restart(self, name: str, *, after_s: float) -> None:
        start = self.clock.now()
        self.processes[name].kill()
        self.processes[name].wait(10)
        time.sleep(after_s)
        self.start(name)
        # A process of Django takes some seconds until it works.
        settled = self.clock.now() + timedelta(seconds=5 * SPEED)
        self.outages.append(Outage(start, settled, SERIALS.index(CUT) if name == "cut" else None))

    def day(self) -> Day:
        """All that stood and all that was read so far."""
        rows, now = self.installation.rows, self.clock.now()
        parents = {key: parent for key, parent, _name in rows(CLUSTERS)}
        names = {key: name for key, _parent, name in rows(CLUSTERS)}
        members: dict[object, set[int]] = {key: set() for key in parents}
        sites: dict[int, set[int]] = {}
        meters: dict[int, int] = {}
        for key, kind, cluster, system in rows(APPLIANCES):
            site = SERIALS.index(system)
            if kind == "grid_meter":
                meters[site] = key
            if kind != "ev_charging_station":
                continue
            sites.setdefault(site, set()).add(key)
            while cluster is not None:
                members[cluster].add(key)
                cluster = parents[cluster]
        limits = [
            Limit(
                name=f"{system}/{names[cluster]} ({kind}{', dynamic' if dynamic else ''})",
                site=SERIALS.index(system),
                members=frozenset(members[cluster]),
                priority=priority,
                max_w=max_w,
                fuse=kind == "fuse",
                meter=meters[SERIALS.index(system)] if dynamic else None,
                valid_at=valid_at,
                until=until,
            )
            for cluster, system, priority, max_w, dynamic, kind, valid_at, until in rows(
                LIMITS, now + timedelta(days=1)
            )
        ]
        wishes = [
            Wish(
                station=key,
                priority=priority,
                lower_w=(min_w or 0.0) if set_point_w is None else set_point_w,
                upper_w=max_w if set_point_w is None else set_point_w,
                valid_at=valid_at,
                until=until,
            )
            for key, priority, min_w, max_w, set_point_w, valid_at, until in rows(WISHES)
        ]
        power_w: dict[int, dict[datetime, float]] = {}
        for key, at, power in rows(READINGS):
            power_w.setdefault(key, {})[at] = power
        frozen = {site: frozenset(stations) for site, stations in sites.items()}
        return Day(GRACE, LEAST_W, frozen, limits, wishes, self.outages, power_w)

    def is_driven(self) -> bool:
        return len(self.installation.rows(DRIVEN)) == sum(STATIONS)

    def logs(self) -> str:
        said = [f"{log.name}:\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log")]
        return "\n\n".join(said)


def _plan(number: int) -> SitePlan:
    return SitePlan(
        preset="charging_fleet",
        stations=STATIONS[number],
        seed=number,
        annual_wh=60_000_000,
        fuse_w=250_000,
    )


@pytest.fixture
def garages() -> Iterator[Garages]:
    with Installation() as installation:
        garages = Garages(installation)
        garages.register()
        for name in ("link", "worker", "scheduler", "cut", "others"):
            garages.start(name)
        deadline = time.monotonic() + 60
        while not garages.is_driven():
            assert time.monotonic() < deadline, garages.logs()
            time.sleep(0.5)
        installation.run_code(GROUP)
        yield garages


@pytest.mark.slow
def test_a_day_of_a_hundred_stations_breaks_no_limit(garages: Garages):
    seed = int(os.environ.get("GRIDX_TEST_DAY_SEED", "1"))
    chance = random.Random(seed)
    stop, log = garages.folder / "stop", garages.folder / "manager.log"
    code = MANAGE.format(stop=str(stop), seed=seed)
    run = ("manage.py", "shell", "--no-imports", "-c", code)
    manager = garages.installation.start(*run, log=log)
    end = START + timedelta(hours=HOURS)
    cuts = ["cut", "worker", "link", "scheduler"]
    while (left := (end - garages.clock.now()) / SPEED) > timedelta(seconds=12):
        time.sleep(min(chance.uniform(12, 20), left.total_seconds()))
        assert manager.poll() is None, log.read_text()
        if left > timedelta(seconds=40):
            name = cuts[len(garages.outages) % len(cuts)]
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
    assert replace(day, limits=tighter, checked=defaultdict(int)).violations()
    assert sum(map(len, day.sites.values())) == 100
    assert {outage.site for outage in garages.outages} == {0, None}
    for what in ("limit", "limit nearly used", "limit below a minimum", "station", "connection"):
        assert day.checked[what] > 20, dict(day.checked)
    assert day.checked["charging"] > 1_000


# The checker itself -----------------------------------------------------------------------------

NINE = datetime(2026, 6, 3, 9, 0, tzinfo=UTC)
LONG = {"valid_at": NINE, "until": NINE + timedelta(hours=2)}
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


def test_the_checker_sees_a_station_that_runs_below_its_minimum_but_not_one_whose_car_gets_full():
    assert len(day_of((2_000.0, 0.0), (2_000.0, 0.0), (0.0, 0.0)).violations()) == 1
    assert not day_of((11_000.0, 0.0), (2_000.0, 0.0), (0.0, 0.0)).violations()


def test_the_checker_sees_a_connection_whose_stations_do_not_give_way_to_other_loads():
    connection = replace(HALF, meter=9)
    for powers, is_broken in ((FULL, True), ([(0.0, 0.0)] * 10, False)):
        day = day_of(*powers, limits=[connection])
        day.power_w[9] = dict.fromkeys(day.power_w[1], 16_000.0)
        assert bool(day.violations()) is is_broken


def test_the_checker_gives_no_time_back_for_an_outage_of_another_site():
    at = {"start": NINE + timedelta(minutes=2), "end": NINE + timedelta(minutes=6)}
    assert not day_of(*FULL, limits=[HALF], outages=[Outage(**at, site=0)]).violations()
    assert day_of(*FULL, limits=[HALF], outages=[Outage(**at, site=1)]).violations()
