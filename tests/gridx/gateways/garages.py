"""Garages with a hundred charging stations whose time runs fast, and many who want something."""

import json
import os
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from gridx.clock import Clock
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.entries import GatewayEntry, write_entries
from tests.gridx.gateways.day_checker import Day, Limit, Outage, Wish
from tests.gridx.gateways.installation import Installation
from tests.gridx.gateways.line import Line

SPEED = int(os.environ.get("GRIDX_TEST_DAY_SPEED", "60"))
# 07:30 in Berlin on a Wednesday: hardly any car is there yet.
START = datetime(2026, 6, 3, 5, 30, tzinfo=UTC)
SAMPLE_S = 60
# A reading is the mean of the sample before it; the rest is 4 real seconds of the way there.
GRACE = timedelta(seconds=SAMPLE_S + 4 * SPEED)
LEAST_W, MOST_W = 4_140, 22_080
STATIONS = [13, 13, 13, 13, 12, 12, 12, 12]
SERIALS = [f"GARAGE-{number}" for number in range(len(STATIONS))]
# Whose gateway is killed now and then, and whose line is cut while it lives.
CUT, SEVERED = SERIALS[:2]
# Where charging policies are, and sun for them.
SUNNY = SERIALS[1::4]
# Where the sun adds to a dimming, from the beginning on: by chance alone a short day has few.
DIMMED = SUNNY[-1]
PROCESSES = {"cut": [CUT], "severed": [SEVERED], "others": SERIALS[2:]}

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
from accounts.access import Role
from accounts.models import Account, User
from flexibility.allotment import Strategy
from flexibility.dimming.operations import dim_system, end_dimming
from flexibility.emitters import Emitter
from flexibility.limits.operations import LimitDraft, set_limit, withdraw_limit
from flexibility.models import ChargingPolicy, Constraint, Dimming, SharedLimit
from flexibility.operations import (Draft, set_constraints, withdraw_constraint)
from flexibility.policies.operations import PolicyDraft, set_policy, withdraw_policy
from flexibility.policies.terms import Mode
from flexibility.resolver import EmitterKind
from inventory.kinds import DimmingMode
from inventory.models import Appliance, Cluster, System
grid_operator = User.objects.create(
    account=Account.objects.get(), email="grid@example.com", role=Role.GRID_OPERATOR
)
stop, chance = Path({stop!r}), random.Random({seed})
stations = list(Appliance.objects.filter(kind="ev_charging_station").order_by("key"))
sunny = set(System.objects.filter(name__in={sunny!r}).values_list("pk", flat=True))
under_policies = [one for one in stations if one.system_id in sunny][::2]
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
    said = dict(max_w=max_w)
    if chance.random() < 0.3:
        said = dict(phase_max_w=tuple(chance.randint(4_200, 27_000) for _phase in range(3)))
    draft = LimitDraft(strategy=strategy, order=order, **said, **span(now))
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
    limits = [
        dict(max_w=high), dict(max_w=chance.randint(4_140, 22_080)), dict(max_w=low - 2_500)
    ]
    orders = [
        dict(min_w=low, max_w=high), dict(set_point_w=low), dict(set_point_w=0),
        dict(set_point_w=high, closest=True),
    ]
    said = chance.choice(limits if by.kind is EmitterKind.GRID_OPERATOR else limits + orders)
    set_constraints(target=station, drafts=[Draft(**said, **span(now))], emitter=by, now=now)

# Of one station's policies only the newest stands.
def choose_policy(now):
    by = Emitter(EmitterKind.OPERATOR)
    station = chance.choice(under_policies)
    standing = ChargingPolicy.objects.filter(appliance=station, withdrawn_at=None)
    for policy in standing.select_related("emitter", "appliance"):
        withdraw_policy(policy=policy, by=by, now=now)
    mode = chance.choice(list(Mode))
    departure = {{}}
    if mode is Mode.DEPARTURE:
        departs_at = now + timedelta(minutes=chance.randint(30, 300))
        departure = dict(energy_wh=chance.randint(2_000, 30_000), departs_at=departs_at)
    set_policy(target=station, draft=PolicyDraft(mode=mode, **departure), emitter=by, now=now)

def dim(system, mode, now, **span):
    system.dimming_mode = mode
    system.save(update_fields=["dimming_mode"])
    by = Emitter(EmitterKind.GRID_OPERATOR, grid_operator)
    return dim_system(system=system, emitter=by, now=now, **span)

def dim_or_end(now):
    dimmed = list(Dimming.objects.filter(withdrawn_at=None, invalid_at__gt=now))
    endable = [one for one in dimmed if one != first]
    if len(endable) > 2:
        by = Emitter(EmitterKind.GRID_OPERATOR, grid_operator)
        end_dimming(found=chance.choice(endable), emitter=by, now=now)
        return
    free = System.objects.exclude(pk__in=[one.system_id for one in dimmed]).order_by("name")
    mode = chance.choice([DimmingMode.EMS, DimmingMode.EMS, DimmingMode.DIRECT])
    dim(chance.choice(list(free)), mode, now, **span(now))

def withdraw(now):
    limits = list(SharedLimit.objects.valid(now).exclude(emitter_kind="fuse").filter(
        dynamic=False, dimming=None
    ))
    own = list(Constraint.objects.filter(
        appliance__isnull=False, withdrawn_at=None, invalid_at__gt=now, emitter_kind__in=KINDS,
        dimming=None,
    ))
    by = Emitter(EmitterKind.OPERATOR)
    if limits and chance.random() < 0.5:
        withdraw_limit(limit=chance.choice(limits), by=by, now=now)
    elif own:
        withdraw_constraint(constraint=chance.choice(own), by=by, now=now)

done, now = 0, clock.now()
dimmed = System.objects.get(name={dimmed!r})
first = dim(dimmed, DimmingMode.EMS, now, invalid_at=now + timedelta(hours=2))
while not stop.exists():
    usual = [limit_cluster, constrain_station, constrain_station, withdraw]
    act = chance.choice([*(6 * usual), choose_policy, choose_policy, dim_or_end])
    act(clock.now())
    done += 1
    time.sleep(0.15)
print(done, flush=True)
"""
LIMITS = """
    SELECT cluster_id, members, system.name, priority, max_w, phase_max_w, dynamic, net,
        emitter_kind, shared.created_at, valid_at,
        least(coalesce(invalid_at, 'infinity'), coalesce(withdrawn_at, 'infinity'), %s)
    FROM flexibility_sharedlimit AS shared
    JOIN inventory_system AS system ON system.id = shared.system_id
"""
WISHES = """
    SELECT key, priority, min_w, max_w, set_point_w, constrained.created_at, valid_at,
        least(invalid_at, coalesce(withdrawn_at, 'infinity'))
    FROM flexibility_constraint AS constrained JOIN inventory_appliance AS appliance
    ON appliance.id = appliance_id
    WHERE emitter_kind NOT IN ('driver', 'cluster_limit', 'charging_policy')
"""
# What a policy asks for follows the sun; that of one which is off never does.
POLICIES = """
    SELECT key, priority, NULL, NULL, CASE mode WHEN 'off' THEN 0 ELSE %s END,
        policy.created_at, valid_at,
        least(coalesce(invalid_at, 'infinity'), coalesce(withdrawn_at, 'infinity'), %s)
    FROM flexibility_chargingpolicy AS policy JOIN inventory_appliance AS appliance
    ON appliance.id = appliance_id
"""
APPLIANCES = """
    SELECT appliance.id, appliance.key, appliance.kind, appliance.cluster_id, system.name
    FROM inventory_appliance AS appliance JOIN inventory_system AS system ON system.id = system_id
"""
CLUSTERS = "SELECT id, parent_id, name FROM inventory_cluster"
READINGS = """
    SELECT appliance_key, at, power_w, current_l1_a, current_l2_a, current_l3_a
    FROM measurements_reading WHERE power_w IS NOT NULL
"""
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
        broker = urlsplit(installation.at.mqtt_url)
        self.line = Line(broker.hostname, broker.port)

    def register(self) -> None:
        made = json.loads(self.installation.run_code(SEED.format(serials=SERIALS)).splitlines()[-1])
        entries = [
            GatewayEntry(serial=serial, secret=secret, site=_plan(number))
            for number, (serial, secret) in enumerate(made)
        ]
        for name, serials in PROCESSES.items():
            theirs = [one for one in entries if one.serial in serials]
            write_entries(self.folder / f"{name}.json", theirs)

    def start(self, name: str) -> None:
        if name == "link":
            self.processes[name] = self.installation.start_link()
            return
        gateways = ["manage.py", "simulate_gateways", "--sample", str(SAMPLE_S)]
        gateways += ["--every", str(SAMPLE_S), "--gateways", str(self.folder / f"{name}.json")]
        if name == "severed":
            gateways += ["--broker", f"mqtt://127.0.0.1:{self.line.port}"]
        celery = ["-m", "celery", "--app", "gridx"]
        argv = {
            "worker": [*celery, "worker", "--concurrency", "2"],
            "beat": [*celery, "beat", "--schedule", str(self.folder / "beat")],
            "scheduler": ["manage.py", "run_scheduler"],
        }.get(name, [*gateways, "--state", str(self.folder / f"state-{name}")])
        self.processes[name] = self.installation.start(*argv, log=self.folder / f"{name}.log")

    def restart(self, name: str, *, after_s: float) -> None:
        start = self.clock.now()
        self.processes[name].kill()
        self.processes[name].wait(10)
        time.sleep(after_s)
        self.start(name)
        self._settle(start, SERIALS.index(CUT) if name == "cut" else None)

    def sever(self, *, silently: bool, for_s: float) -> None:
        """Cut a line to a gateway that goes on without it, and mend it."""
        start = self.clock.now()
        self.line.cut(silently=silently)
        time.sleep(for_s)
        self.line.mend()
        self._settle(start, SERIALS.index(SEVERED))

    def _settle(self, start: datetime, site: int | None) -> None:
        # A process of Django takes some seconds until it works.
        settled = self.clock.now() + timedelta(seconds=5 * SPEED)
        self.outages.append(Outage(start, settled, site))

    def day(self) -> Day:
        """All that stood and all that was read so far."""
        rows, now = self.installation.rows, self.clock.now()
        parents = {key: parent for key, parent, _name in rows(CLUSTERS)}
        names = {key: name for key, _parent, name in rows(CLUSTERS)}
        members: dict[object, set[int]] = {key: set() for key in parents}
        sites: dict[int, set[int]] = {}
        meters: dict[int, int] = {}
        keys: dict[object, int] = {}
        for pk, key, kind, cluster, system in rows(APPLIANCES):
            site = SERIALS.index(system)
            keys[pk] = key
            if kind == "grid_meter":
                meters[site] = key
            if kind != "ev_charging_station":
                continue
            sites.setdefault(site, set()).add(key)
            while cluster is not None:
                members[cluster].add(key)
                cluster = parents[cluster]
        limits = []
        for row in rows(LIMITS, now + timedelta(days=1)):
            cluster, only, system, priority, max_w, phase_max_w, dynamic, net, kind, *span = row
            whose = members[cluster] if cluster else {keys[pk] for pk in only}
            limit = Limit(
                name=f"{system}/{names[cluster] if cluster else 'dimming'} ({kind})",
                site=SERIALS.index(system),
                members=frozenset(whose),
                priority=priority,
                max_w=max_w,
                fuse=kind == "fuse",
                meter=meters[SERIALS.index(system)] if dynamic or net else None,
                net=net,
                created_at=span[0],
                valid_at=span[1],
                until=span[2],
            )
            limits += [limit] if max_w is not None else []
            limits += [
                replace(limit, max_w=watts, phase=phase, name=f"{limit.name}, phase {phase}")
                for phase, watts in enumerate(phase_max_w or (), start=1)
            ]
        wishes = [
            Wish(
                station=key,
                priority=priority,
                lower_w=(min_w or 0.0) if set_point_w is None else set_point_w,
                upper_w=max_w if set_point_w is None else set_point_w,
                created_at=created_at,
                valid_at=valid_at,
                until=until,
            )
            for key, priority, min_w, max_w, set_point_w, created_at, valid_at, until in [
                *rows(WISHES),
                *rows(POLICIES, MOST_W, now + timedelta(days=1)),
            ]
        ]
        power_w: dict[int, dict[datetime, float]] = {}
        phase_w: dict[tuple[int, int], dict[datetime, float]] = {}
        for key, at, power, *currents_a in rows(READINGS):
            power_w.setdefault(key, {})[at] = power
            for phase, current_a in enumerate(currents_a, start=1):
                share = current_a / sum(currents_a) if current_a else 0.0
                phase_w.setdefault((key, phase), {})[at] = power * share
        frozen = {site: frozenset(stations) for site, stations in sites.items()}
        return Day(GRACE, LEAST_W, frozen, limits, wishes, self.outages, power_w, phase_w)

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
        parts=["pv"] if SERIALS[number] in SUNNY else [],
        pv_peak_w=120_000,
        annual_wh=60_000_000,
        fuse_w=250_000,
    )
