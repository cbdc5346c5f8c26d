"""The dry run for one appliance while somebody types, against a trivial view of the same project.

The whole request by Django's client within this process: middleware, session, form, queries,
resolving, pictures and template count; the network and the web server do not. Each appliance has
20 constraints of its own, 20 by its cluster and 20 by its system's pool.
"""

from datetime import timedelta
from time import perf_counter

from django.contrib.auth.decorators import login_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import include, path, reverse

from accounts.access import Role
from accounts.models import Account, User
from flexibility.local import DriverLimits, set_driver_limits
from flexibility.models import Constraint
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, System, SystemPool
from tests.benchmarks.ground import server_settings
from tests.benchmarks.timing import percentiles

SYSTEMS, APPLIANCES, EACH = 100, 5, 20
REQUESTS = 300
BAR_P95_MS = 80
_HOUR = timedelta(hours=1)


def trivial(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("trivial", login_required(trivial)), path("", include("gridx.urls"))]


def measure(*, scale: float) -> dict:
    """Milliseconds of a preview (p50, p95), and as a multiple of the trivial view, in turns."""
    user = fill()
    client = Client()
    client.force_login(user)
    appliances = list(Appliance.objects.order_by("key"))
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        times: dict[str, list[float]] = {"trivial": [], "preview": []}
        for number in range(max(20, round(REQUESTS * scale)) + 10):
            one = appliances[number * 7 % len(appliances)]
            for name, ask in (("trivial", _trivial), ("preview", _preview)):
                begun = perf_counter()
                ask(client, one, number)
                if number >= 10:  # the first ones warm up
                    times[name].append((perf_counter() - begun) * 1000)
        with CaptureQueriesContext(connection) as queries:
            size = _preview(client, appliances[0], 0)
    figures = {name: _percentiles(column) for name, column in times.items()}
    return {
        "workload": {
            "systems": SYSTEMS,
            "appliances_each": APPLIANCES,
            "constraints_of_one": 3 * EACH + 1,
        },
        "how": "in-process client, one request at a time, whole middleware",
        "requests": len(times["trivial"]),
        "bar_p95_ms": BAR_P95_MS,
        **figures,
        "ratio_p95": round(figures["preview"]["p95_ms"] / figures["trivial"]["p95_ms"], 1),
        "bytes": size,
        "queries": len(queries),
        "settings": server_settings(),
    }


def _trivial(client: Client, one: Appliance, number: int) -> int:
    return _size(client.get("/trivial"))


def _preview(client: Client, one: Appliance, number: int) -> int:
    fields = {"greatest": f"{1 + number % 10}", "begin": "now", "end": "4h", "priority": "3000"}
    return _size(
        client.post(
            reverse("appliance_constrain", args=[one.pk]),
            {**fields, "preview": "1"},
            headers={"HX-Request": "true", "HX-Target": "preview"},
        )
    )


def _size(response: HttpResponse) -> int:
    if response.status_code != 200:
        raise RuntimeError(f"{response.status_code}: {response.content[:200]!r}")
    return len(response.content)


def _percentiles(times: list[float]) -> dict[str, float]:
    p50, p95 = percentiles(times)
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}


def fill() -> User:
    """The systems with all that is asked of them; returns their fleet manager."""
    account = Account.objects.create(name="Workload")
    user = User.objects.create(
        email="fleet@benchmark.example", account=account, role=Role.FLEET_MANAGER
    )
    systems = System.objects.bulk_create(
        System(account=account, name=f"System {number}") for number in range(SYSTEMS)
    )
    clusters = Cluster.objects.bulk_create(Cluster(system=one, name="All") for one in systems)
    appliances = Appliance.objects.bulk_create(
        Appliance(
            system=cluster.system,
            cluster=cluster,
            kind=ApplianceKind.BATTERY,
            name=f"Battery {number}",
            min_power_w=-5_000,
            max_power_w=5_000,
        )
        for cluster in clusters
        for number in range(APPLIANCES)
    )
    pool = SystemPool.objects.create(account=account, name="All")
    pool.systems.set(systems)
    now = clock.now()
    set_driver_limits(
        limits={one.pk: DriverLimits(min_w=-5_000, max_w=5_000) for one in appliances}, now=now
    )
    targets = [{"appliance": one} for one in appliances]
    targets += [{"cluster": one} for one in clusters]
    targets.append({"pool": pool})
    Constraint.objects.bulk_create(
        Constraint(
            created_at=now,
            priority=3_000 + number,
            max_w=(number * 370) % 5_000,
            min_w=-4_000 if number % 3 else None,
            valid_at=now + (number * 2 - 4) * _HOUR,
            invalid_at=now + (number * 2 + 9) * _HOUR,
            emitter_kind="account_user",
            emitter=user,
            **target,
        )
        for target in targets
        for number in range(EACH)
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return user
