"""One constraint on 1,000 stations of 1,000 systems until all their gateways keep to it.

The gateways are simulated ones, each with a connection of its own, which also go on sending their
readings; link and gateways run in processes of their own.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from django.conf import settings
from django.db.models import F

from accounts.access import Role
from accounts.models import Account, OutboxMessage, User
from flexibility.emitters import emitter_of
from flexibility.models import Flexibility, GatewaySchedule
from flexibility.operations import Draft, set_constraints
from gridx import clock
from gridx.gateways.dispatch import publish_schedules
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.entries import GatewayEntry, write_entries
from inventory.kinds import ApplianceKind
from inventory.models import Gateway, System, SystemPool
from inventory.operations import register_gateway
from tests.benchmarks.ground import server_settings
from tests.benchmarks.site import LINK, processes

SYSTEMS = 1000
BAR_S, ACKNOWLEDGED_BAR_S = 5, 10
_REPEATS = 3
_HOUR = timedelta(hours=1)
_PATIENCE_S = 180
_EVERY_MINUTE = ["--sample", "60", "--every", "60"]


def measure(*, scale: float) -> dict:
    """Seconds, the median of three, for `1000 * scale` systems with one station each.

    The bare limit is the same number of rows, each with a body of a schedule's size, written and
    read back in one transaction.
    """
    count = max(1, round(SYSTEMS * scale))
    pool, user, entries = _make(count)
    with _running(entries):
        _wait(lambda: Flexibility.objects.filter(max_w__isnull=False).count() >= count)
        runs = [_run(pool, user, number) for number in range(_REPEATS)]
    runs.sort(key=lambda run: run["acknowledged"])
    middle = runs[len(runs) // 2]
    bare_s = _bare(count)
    return {
        "workload": {
            "systems": count,
            "nats_sync": os.environ.get("GRIDX_NATS_SYNC", "always"),
            "load": round(os.getloadavg()[0], 1),
            **server_settings(),
        },
        "bar_s": BAR_S,
        "acknowledged_bar_s": ACKNOWLEDGED_BAR_S,
        "bare_s": round(bare_s, 3),
        "saved_and_resolved_s": round(middle["saved"], 3),
        "took_s": round(middle["published"], 3),
        "acknowledged_s": round(middle["acknowledged"], 3),
        "slowest_acknowledged_s": round(runs[-1]["acknowledged"], 3),
        "ratio": round(middle["published"] / bare_s, 1),
    }


def _run(pool: SystemPool, user: User, number: int) -> dict[str, float]:
    """Seconds from the wish until it is saved, all schedules are published, and acknowledged."""
    begun = perf_counter()
    max_w = 11_000 - number * 1_000
    draft = Draft(max_w=max_w, invalid_at=clock.now() + _HOUR)
    set_constraints(target=pool, drafts=[draft], emitter=emitter_of(user), now=clock.now())
    saved = perf_counter()
    while publish_schedules(now=clock.now()):
        pass
    published = perf_counter()
    waiting = OutboxMessage.objects.filter(sent_at=None).count()
    if waiting:
        raise RuntimeError(f"{waiting} schedules were not sent")
    behind = GatewaySchedule.objects.exclude(acknowledged_revision=F("revision"))
    _wait(lambda: not behind.exists())
    acknowledged = perf_counter()
    stations = Flexibility.objects.filter(
        appliance__kind=ApplianceKind.EV_CHARGING_STATION
    ).exclude(applied_max_w=max_w)
    if stations.exists():
        raise RuntimeError(f"{stations.count()} stations do not keep to it")
    return {
        "saved": saved - begun,
        "published": published - begun,
        "acknowledged": acknowledged - begun,
    }


def _wait(condition) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {_PATIENCE_S} s")
        time.sleep(0.1)


@contextmanager
def _running(entries: list[GatewayEntry]) -> Iterator[None]:
    """A link on the benchmark's database, and the gateways."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateways.json"
        write_entries(file, entries)
        simulator = ["manage.py", "simulate_gateways", "--gateways", str(file)]
        simulator += ["--broker", settings.ADDRESSES.mqtt_url, *_EVERY_MINUTE]
        with processes({"link": LINK, "gateways": simulator}):
            yield


def _bare(count: int) -> float:
    body = GatewaySchedule.objects.first().body
    gateways = list(Gateway.objects.order_by("pk")[:count])
    GatewaySchedule.objects.all().delete()
    now = datetime.now(UTC)
    begun = perf_counter()
    GatewaySchedule.objects.bulk_create(
        GatewaySchedule(gateway=one, made_at=now, until_at=now, body=body) for one in gateways
    )
    list(GatewaySchedule.objects.values_list("body"))
    return perf_counter() - begun


def _make(count: int) -> tuple[SystemPool, User, list[GatewayEntry]]:
    account = Account.objects.create(name="Fleet")
    user = User.objects.create(
        email="fleet@benchmark.example", account=account, role=Role.FLEET_MANAGER
    )
    systems = System.objects.bulk_create(
        System(account=account, name=f"System {number}") for number in range(count)
    )
    entries = []
    for number, system in enumerate(systems):
        serial = f"BENCH-{number:05}"
        _gateway, secret = register_gateway(system=system, serial=serial, by=None, now=clock.now())
        plan = SitePlan(parts=["ev"], seed=number)
        entries.append(GatewayEntry(serial=serial, secret=secret, site=plan))
    pool = SystemPool.objects.create(account=account, name="All")
    pool.systems.add(*systems)
    return pool, user, entries
