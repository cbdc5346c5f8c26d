"""Dividing the limits of ten car parks with 100 stations each, from rows to rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from flexibility.models import Constraint, GatewaySchedule, SharedLimit
from flexibility.resolver import PHYSICAL
from flexibility.resolving import balance_systems, resolve_systems
from inventory.models import Appliance, Cluster, Gateway, System
from measurements.models import LatestReading

SYSTEMS, STATIONS = 10, 100
_REPEATS = 5
_NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)


def measure(*, scale: float) -> dict:
    """Milliseconds for all of them when nothing changed, and when every share does.

    The latter includes resolving: boundaries, their audit, and a new schedule for each gateway.
    """
    systems = _car_parks(max(1, round(SYSTEMS * scale)))
    at = _Clock()

    def balance() -> None:
        balance_systems(systems=systems, now=at.now)

    def change() -> None:
        _confirm()
        for limit in SharedLimit.objects.all():
            limit.max_w = 500_000.0 if limit.max_w < 500_000 else 450_000.0
            limit.save(update_fields=["max_w"])

    resolve_systems(systems=systems, now=at.now)
    _confirm()
    at.step()
    balance()
    unchanged_ms = _timed(balance, before=at.step)
    with CaptureQueriesContext(connection) as queries:
        balance()
    changed_ms = _timed(balance, before=lambda: (change(), at.step()))
    return {
        "workload": {"systems": len(systems), "members": len(systems) * STATIONS},
        "unchanged_ms": unchanged_ms,
        "unchanged_queries": len(queries),
        "changed_ms": changed_ms,
    }


class _Clock:
    """Ten seconds later, with every station read anew."""

    def __init__(self) -> None:
        self.now = _NOW

    def step(self) -> None:
        self.now += timedelta(seconds=10)
        LatestReading.objects.update(at=self.now, power_at=self.now)


def _car_parks(count: int) -> list[UUID]:
    account = Account.objects.create(name="Operator")
    systems = []
    for number in range(count):
        system = System.objects.create(account=account, name=f"Car park {number}")
        gateway = Gateway.objects.create(system=system, serial=f"GX-{number:04}")
        cluster = Cluster.objects.create(system=system, name="All")
        stations = Appliance.objects.bulk_create(
            Appliance(
                system=system,
                gateway=gateway,
                cluster=cluster,
                local_id=f"{each}",
                kind="ev_charging_station",
                name=f"{each}",
            )
            for each in range(STATIONS)
        )
        Constraint.objects.bulk_create(
            Constraint(
                appliance=one,
                priority=PHYSICAL,
                min_w=4140,
                max_w=11_000,
                pausable=True,
                valid_at=_NOW,
                created_at=_NOW,
                emitter_kind="driver",
            )
            for one in stations
        )
        LatestReading.objects.bulk_create(
            LatestReading(
                system_key=system.key,
                appliance_key=one.key,
                at=_NOW,
                power_at=_NOW,
                power_w=4_500.0,
                plug_state=1,
            )
            for one in stations
        )
        SharedLimit.objects.create(
            system=system,
            cluster=cluster,
            max_w=500_000,
            priority=3_000,
            valid_at=_NOW,
            due_at=_NOW,
            invalid_at=_NOW + timedelta(days=1),
            emitter_kind="account_user",
        )
        systems.append(system.pk)
    return systems


def _confirm() -> None:
    """All gateways keep to what they were told."""
    GatewaySchedule.objects.update(acknowledged_revision=F("revision"))


def _timed(run: Callable[[], None], *, before: Callable[[], object]) -> float:
    took = []
    for _ in range(_REPEATS):
        before()
        begun = perf_counter()
        run()
        took.append((perf_counter() - begun) * 1000)
    return round(median(took), 1)
