"""Whatever is killed while schedules are on their way: all of them arrive, and the newest stays."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec
import pytest

from gridx.gateways.messages import Schedule
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.entries import GatewayEntry, write_entries
from tests.gridx.gateways.installation import Installation
from tests.gridx.services.conftest import main_process

pytestmark = pytest.mark.alone

SERIALS = [f"EV-{number:02}" for number in range(30)]
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
# A fleet manager who changes their mind every moment, and tries again where that fails.
CHANGE = """
import itertools, sys, time
from datetime import timedelta
from pathlib import Path
from django.db import DatabaseError, connection
from gridx import clock
from flexibility.emitters import Emitter
from flexibility.operations import (Draft, set_constraints)
from flexibility.resolver import EmitterKind
from inventory.models import Appliance
stop = Path({stop!r})
stations = list(Appliance.objects.filter(kind="ev_charging_station").order_by("key"))
ids = {{}}
for number in itertools.count():
    is_last = stop.exists()
    for place, station in enumerate(stations):
        max_w = 5_000 + (number * 37 + place * 11) % 5_000
        while True:
            try:
                now = clock.now()
                span = {{"invalid_at": now + timedelta(hours=3)}}
                draft = Draft(id=ids.get(station.pk), max_w=max_w, **span)
                emitter = Emitter(EmitterKind.ACCOUNT_USER)
                [row] = set_constraints(target=station, drafts=[draft], emitter=emitter, now=now)
                ids[station.pk] = row.pk
                break
            except DatabaseError as error:
                print(type(error).__name__, file=sys.stderr, flush=True)
                connection.close()
                time.sleep(0.3)
    if is_last:
        break
    time.sleep(0.3)
print(number, flush=True)
"""
SCHEDULES = """
    SELECT serial, revision, published_revision, acknowledged_revision, refusal
    FROM flexibility_gatewayschedule JOIN inventory_gateway ON id = gateway_id
"""
KEPT_TO = """
    SELECT serial, max_w, applied_max_w FROM flexibility_flexibility
    JOIN inventory_appliance AS appliance ON appliance.id = appliance_id
    JOIN inventory_gateway AS gateway ON gateway.id = gateway_id
    WHERE appliance.kind = 'ev_charging_station'
"""


class Fleet:
    """Charging stations with a gateway each, and all that stands between them and a wish."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._folder = installation.directory
        self._entries, self._state = self._folder / "gateways.json", self._folder / "state"
        self.processes: dict[str, subprocess.Popen] = {}

    def register(self) -> None:
        made = json.loads(self.installation.run_code(SEED.format(serials=SERIALS)).splitlines()[-1])
        plan = SitePlan(parts=["ev"])
        write_entries(
            self._entries,
            [GatewayEntry(serial=serial, secret=secret, site=plan) for serial, secret in made],
        )

    def start(self, name: str) -> None:
        if name == "link":
            self.processes[name] = self.installation.start_link()
            return
        celery = ["-m", "celery", "--app", "gridx"]
        argv = {
            "worker": [*celery, "worker", "--concurrency", "2"],
            "beat": [*celery, "beat", "--schedule", str(self._folder / "beat")],
            "scheduler": ["manage.py", "run_scheduler"],
            "gateways": ["manage.py", "simulate_gateways", "--gateways", str(self._entries)],
        }
        more = {"gateways": ["--state", str(self._state)]}
        self.processes[name] = self.installation.start(
            *argv[name], *more.get(name, ()), log=self.log_of(name)
        )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(10)

    def look_after(self) -> None:
        """Start again what has ended: some workers do not survive that their broker is killed."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.start(name)

    def log_of(self, name: str):
        return self._folder / f"{name}.log"

    def is_driven(self) -> bool:
        """Whether every station has said what it can do."""
        return len(self.installation.rows(KEPT_TO)) == len(SERIALS)

    def is_settled(self) -> bool:
        """Whether every gateway has taken over its newest schedule and says that it keeps to it."""
        schedules = self.installation.rows(SCHEDULES)
        return len(schedules) == len(SERIALS) and all(
            revision == published == acknowledged and not refusal
            for _serial, revision, published, acknowledged, refusal in schedules
        )

    def kept(self) -> dict[str, Schedule]:
        """The schedules that the gateways themselves have stored."""
        with closing(sqlite3.connect(self._state / "gateways.sqlite3")) as store:
            rows = store.execute("SELECT serial, value FROM state WHERE part = 'keeper'").fetchall()
        return {
            serial: msgspec.convert(json.loads(value)["schedule"], Schedule)
            for serial, value in rows
        }


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with Installation() as installation:
        fleet = Fleet(installation)
        fleet.register()
        for name in ("link", "worker", "beat", "scheduler", "gateways"):
            fleet.start(name)
        until(fleet.is_driven, within_s=60, about=fleet)
        yield fleet


def until(condition: Callable[[], bool], *, within_s: float, about: Fleet) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            logs = sorted(about.installation.directory.rglob("*.log"))
            said = [f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs]
            pytest.fail("\n\n".join([str(about.installation.rows(SCHEDULES)), *said]))
        about.look_after()
        time.sleep(0.5)


def test_every_plug_is_pulled_and_the_newest_schedules_arrive(fleet):
    stop, log = fleet.installation.directory / "stop", fleet.log_of("manager")
    code = CHANGE.format(stop=str(stop))
    manager = fleet.installation.start("manage.py", "shell", "--no-imports", "-c", code, log=log)
    until(
        lambda: any(row[3] > 3 for row in fleet.installation.rows(SCHEDULES)),
        within_s=30,
        about=fleet,
    )
    for name in ("link", "worker", "beat", "scheduler", "gateways"):
        fleet.kill(name)
        time.sleep(1.5)
        fleet.start(name)
        time.sleep(2)
    for name in ("nats", "valkey", "postgres"):
        # Its supervisor starts it again.
        main_process(fleet.installation.directory, name).kill()
        time.sleep(4)
    assert manager.poll() is None, log.read_text()
    stop.touch()
    assert manager.wait(60) == 0, log.read_text()
    until(fleet.is_settled, within_s=60, about=fleet)
    schedules = {serial: revision for serial, revision, *_ in fleet.installation.rows(SCHEDULES)}
    assert min(schedules.values()) > 10  # it was a stream, not a trickle

    def is_applied() -> bool:
        return all(max_w == applied for _serial, max_w, applied in fleet.installation.rows(KEPT_TO))

    until(is_applied, within_s=20, about=fleet)
    wanted = {serial: max_w for serial, max_w, _applied in fleet.installation.rows(KEPT_TO)}
    fleet.kill("gateways")
    kept = fleet.kept()
    assert {serial: schedule.revision for serial, schedule in kept.items()} == schedules
    for serial, schedule in kept.items():
        [station] = [one for one in schedule.appliances if one.local_id.startswith("ev")]
        assert station.segments[0].max_w == wanted[serial]
