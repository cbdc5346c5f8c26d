"""Answers of /historical and /live, against trivial views of the same project.

One request at a time, by the project's WSGI application within this process: middleware, sign-in
by token, queries, translation and JSON count, the network and the web server do not. Each request
asks for another system and another stretch of its history. The plain trivial view passes the same
middleware and answers two bytes; the trivial view of the API passes the sign-in by token besides.
As many requests as are measured come before, unmeasured: the database has been up for a while.
At scale 1 the two sizes take about seven minutes, most of it to fill the database.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from time import perf_counter

import orjson
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import Role
from accounts.models import Account, User
from gridx import clock
from gridx.wsgi import application
from inventory.models import System, SystemPool
from measurements.pools import past_of_pool
from measurements.resolutions import Resolution
from measurements.wire.history import COLUMNS, pool_history_to_wire
from tests.benchmarks.filled import DAYS, KINDS, MONTHS, POOLED, fill
from tests.benchmarks.ground import server_settings
from tests.benchmarks.preview import trivial
from tests.benchmarks.timing import percentiles

REQUESTS = 300
SIZES = {"100_systems_2_years": (100, 730), "1000_systems_60_days": (1000, 60)}
UNTIL = datetime(2026, 10, 31, 23, tzinfo=UTC)  # midnight in Berlin
EMAIL, PASSWORD = "reader@benchmark.example", "correct horse battery"


class TrivialOfApi(APIView):
    def get(self, request) -> Response:
        return Response({})


urlpatterns = [
    path("trivial", trivial),
    path("trivial-of-api", TrivialOfApi.as_view()),
    path("api/", include("gridx.api")),
]

# The longest interval that each resolution allows, in days.
LONGEST = {"15m": 1, "1h": 7, "1d": 31, "1w": 31, "1M": 1826, "1y": 3653}


def measure(*, scale: float) -> dict:
    """Milliseconds of each (p50, p95) and as multiples of the trivial views, in turns."""
    return {
        "how": "in-process WSGI, one request at a time, whole middleware",
        "appliances_each": len(KINDS),
        **{
            name: _measure(max(2, round(systems * scale)), days, scale)
            for name, (systems, days) in SIZES.items()
        },
        "settings": server_settings(),
    }


def _measure(systems: int, days: int, scale: float) -> dict:
    account = fill(systems=systems, days=days, until=UNTIL, now=clock.now())
    make_reader(account)
    with override_settings(ROOT_URLCONF=__name__):
        call = caller()
        addresses = _addresses(days)
        runs = {name: lambda at=at: call(next(at)) for name, at in addresses.items()}
        pool = SystemPool.objects.get()
        if pool.systems.count() == POOLED:
            # More than the wire allows at once: what a page or a file of a year needs.
            runs["pool_1d_of_a_year"] = lambda: _pool_year(pool)
        times: dict[str, list[float]] = {name: [] for name in runs}
        sizes: dict[str, dict[str, int]] = {}
        requests = max(20, round(REQUESTS * min(scale, 1)))
        for number in range(2 * requests):
            for name, run in runs.items():
                if number == 0:
                    sizes[name] = _size(run)
                begun = perf_counter()
                run()
                if number >= requests:
                    times[name].append((perf_counter() - begun) * 1000)
    return {
        "systems": systems,
        "days_of_slots": days,
        "requests": len(times["trivial"]),
        **{name: _percentiles(column, times) | sizes[name] for name, column in times.items()},
    }


def _addresses(days: int) -> dict[str, Iterator[str]]:
    """What is asked for, by name: each time of another system, and from another day on."""
    chance = random.Random(1)
    systems = list(System.objects.values_list("pk", flat=True))
    pool = SystemPool.objects.get().pk

    def history(root: str, resolution: str, length: int, there_are: int) -> Iterator[str]:
        while True:
            back = chance.randrange(max(there_are - length, 1))
            until_at = UNTIL - timedelta(days=back)
            interval = f"{stamp(until_at - timedelta(days=length))}/{stamp(until_at)}"
            whose = root.format(chance.choice(systems))
            yield f"{whose}/historical?interval={interval}&resolution={resolution}"

    def live(root: str) -> Iterator[str]:
        while True:
            yield f"{root.format(chance.choice(systems))}/live"

    def always(address: str) -> Iterator[str]:
        while True:
            yield address

    def newest() -> Iterator[str]:
        """The day that most ask for, of which the rows are not gathered yet."""
        interval = f"{stamp(UNTIL - timedelta(days=1))}/{stamp(UNTIL)}"
        while True:
            whose = of_system.format(chance.choice(systems))
            yield f"{whose}/historical?interval={interval}&resolution=15m"

    there_are = {"15m": days, "1h": days, "1d": DAYS, "1w": DAYS, "1M": 30 * MONTHS, "1y": 1}
    of_system, of_pool = "/api/systems/{}", f"/api/systempools/{pool}"
    return {
        "trivial": always("/trivial"),
        "trivial_of_api": always("/trivial-of-api"),
        "live": live(of_system),
        **{
            f"historical_{resolution}": history(
                of_system, resolution, length, there_are[resolution]
            )
            for resolution, length in LONGEST.items()
        },
        "newest_15m": newest(),
        "pool_live": live(of_pool),
        "pool_1d": history(of_pool, "1d", LONGEST["1d"], DAYS),
        "pool_1M_of_a_year": history(of_pool, "1M", 365, DAYS),
    }


def _pool_year(pool: SystemPool) -> bytes:
    """A year of a pool by the day, to the last byte."""
    found = past_of_pool(
        pool=pool,
        from_at=UNTIL - timedelta(days=365),
        until_at=UNTIL,
        resolution=Resolution.DAY,
        columns=[name for name in COLUMNS if name.endswith("_mwh")],
    )
    wire = pool_history_to_wire(
        found.past,
        Resolution.DAY,
        seen=found.seen,
        seen_in_all=found.seen_in_all,
        systems=found.systems,
    )
    return orjson.dumps(wire, option=orjson.OPT_UTC_Z)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _percentiles(times: list[float], all_times: dict[str, list[float]]) -> dict[str, float]:
    p50, p95 = percentiles(times)
    figures = {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}
    for view in ("trivial", "trivial_of_api"):
        than_p50, than_p95 = percentiles(all_times[view])
        figures[f"p50_to_{view}"] = round(p50 / than_p50, 1)
        figures[f"p95_to_{view}"] = round(p95 / than_p95, 1)
    return figures


def caller() -> Callable[[str], bytes]:
    """A function that asks the project's WSGI application, signed in, and reads the answer."""

    def call(address: str, body: bytes = b"", **extra: str) -> bytes:
        path_info, _, query = address.partition("?")
        environ = {
            "REQUEST_METHOD": "POST" if body else "GET",
            "PATH_INFO": path_info.encode().decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": BytesIO(),
            **extra,
        }
        said: list[str] = []
        answer = application(environ, lambda status, headers, *rest: said.append(status))
        try:
            content = b"".join(answer)
        finally:
            answer.close()
        if said != ["200 OK"]:
            raise RuntimeError(f"{address}: {said} {content[:200]!r}")
        return content

    fields = {
        "grant_type": "http://auth0.com/oauth/grant-type/password-realm",
        "username": EMAIL,
        "password": PASSWORD,
        "client_id": "benchmark",
    }
    token = orjson.loads(call("/api/oauth/token", orjson.dumps(fields)))["access_token"]
    return lambda address: call(address, HTTP_AUTHORIZATION=f"Bearer {token}")


def _size(run: Callable[[], bytes]) -> dict[str, int]:
    with CaptureQueriesContext(connection) as queries:
        content = run()
    return {"bytes": len(content), "queries": len(queries)}


def make_reader(account: Account) -> None:
    user, _made = User.objects.get_or_create(email=EMAIL, account=account, role=Role.VIEWER)
    user.set_password(PASSWORD)
    user.save()
