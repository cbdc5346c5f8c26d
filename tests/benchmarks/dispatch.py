"""One constraint on 1,000 stations of 1,000 systems until all schedules are at the broker."""

import os
from datetime import UTC, datetime, timedelta
from time import perf_counter

from accounts.access import Role
from accounts.models import Account, OutboxMessage, User
from flexibility.emitters import emitter_of
from flexibility.models import GatewaySchedule
from flexibility.operations import Draft, DriverLimits, set_constraints, set_driver_limits
from gridx import clock
from gridx.gateways.dispatch import publish_schedules
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Gateway, System, SystemPool
from tests.benchmarks.ground import server_settings

SYSTEMS = 1000
BAR_S = 5
_REPEATS = 3
_HOUR = timedelta(hours=1)


def measure(*, scale: float) -> dict:
    """Seconds, the median of three, for `1000 * scale` systems with one station each.

    The bare limit is the same number of rows, each with a body of a schedule's size, written and
    read back in one transaction.
    """
    count = max(1, round(SYSTEMS * scale))
    pool, user = _make(count)
    runs = [_run(pool, user, number) for number in range(_REPEATS)]
    runs.sort(key=lambda run: run["saved"] + run["published"])
    middle = runs[len(runs) // 2]
    bare_s = _bare(count)
    took = middle["saved"] + middle["published"]
    return {
        "workload": {
            "systems": count,
            "nats_sync": os.environ.get("GRIDX_NATS_SYNC", "always"),
            **server_settings(),
        },
        "bar_s": BAR_S,
        "bare_s": round(bare_s, 3),
        "saved_and_resolved_s": round(middle["saved"], 3),
        "published_s": round(middle["published"], 3),
        "took_s": round(took, 3),
        "ratio": round(took / bare_s, 1),
    }


def _run(pool: SystemPool, user: User, number: int) -> dict[str, float]:
    begun = perf_counter()
    draft = Draft(max_w=11_000 - number * 1_000, invalid_at=clock.now() + _HOUR)
    set_constraints(target=pool, drafts=[draft], emitter=emitter_of(user), now=clock.now())
    saved = perf_counter()
    while publish_schedules(now=clock.now()):
        pass
    published = perf_counter()
    waiting = OutboxMessage.objects.filter(sent_at=None).count()
    if waiting:
        raise RuntimeError(f"{waiting} schedules were not sent")
    return {"saved": saved - begun, "published": published - saved}


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


def _make(count: int) -> tuple[SystemPool, User]:
    account = Account.objects.create(name="Fleet")
    user = User.objects.create(
        email="fleet@benchmark.example", account=account, role=Role.FLEET_MANAGER
    )
    systems = System.objects.bulk_create(
        System(account=account, name=f"System {number}") for number in range(count)
    )
    gateways = Gateway.objects.bulk_create(
        Gateway(system=system, serial=f"BENCH-{number:05}") for number, system in enumerate(systems)
    )
    stations = Appliance.objects.bulk_create(
        Appliance(
            system=gateway.system,
            gateway=gateway,
            local_id="ev",
            kind=ApplianceKind.EV_CHARGING_STATION,
            name="Station",
        )
        for gateway in gateways
    )
    pool = SystemPool.objects.create(account=account, name="All")
    pool.systems.add(*systems)
    limits = DriverLimits(min_w=4_140, max_w=22_000, pausable=True)
    set_driver_limits(limits={one.pk: limits for one in stations}, now=clock.now())
    return pool, user
