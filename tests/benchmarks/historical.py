"""Answers of /historical and /live, against a trivial view of the same project.

One request at a time, by the project's WSGI application within this process: middleware, sign-in
by token, queries, translation and JSON count, the network and the web server do not. The trivial
view passes the same middleware and answers two bytes.
"""

from collections.abc import Callable
from io import BytesIO
from statistics import median, quantiles
from time import perf_counter

import orjson
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpRequest, HttpResponse
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import include, path

from accounts.access import Role
from accounts.models import Account, User
from inventory.models import Appliance, System
from measurements.models import (
    ApplianceDay,
    ApplianceSlot,
    LatestReading,
    SystemDay,
    SystemMonth,
    SystemSlot,
)
from tests.benchmarks.ground import server_settings
from tests.benchmarks.workload import APPLIANCES, SYSTEMS, make_inventory

REQUESTS = 300
MONTH = ("2026-02-28T23:00Z", "2026-03-31T22:00Z")  # March in Berlin
EMAIL, PASSWORD = "reader@benchmark.example", "correct horse battery"


def trivial(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("trivial", trivial), path("api/", include("gridx.api"))]

HISTORY = {
    "historical_15m_day": ("2026-03-10T00:00:00+01:00/2026-03-11T00:00:00+01:00", "15m"),
    "historical_1h_week": ("2026-03-09T00:00:00+01:00/2026-03-16T00:00:00+01:00", "1h"),
    "historical_1d_month": ("2026-03-01T00:00:00+01:00/2026-04-01T00:00:00+02:00", "1d"),
    "historical_1M_year": ("2026-01-01T00:00:00+01:00/2027-01-01T00:00:00+01:00", "1M"),
}


def measure(*, scale: float) -> dict:
    """Milliseconds of each (p50, p95) and as a multiple of the trivial view, in turns."""
    make_inventory()
    _fill()
    system = System.objects.get(key=1)
    _person(system.account)
    with override_settings(ROOT_URLCONF=__name__):
        call = _caller()
        requests = _requests(system)
        times: dict[str, list[float]] = {name: [] for name in requests}
        for number in range(max(20, round(REQUESTS * scale)) + 10):
            for name, address in requests.items():
                begun = perf_counter()
                call(address)
                if number >= 10:  # the first ones warm up
                    times[name].append((perf_counter() - begun) * 1000)
        sizes = {name: _size(call, address) for name, address in requests.items()}
    return {
        "workload": {"systems": SYSTEMS, "appliances_each": APPLIANCES, "slots_of_days": 31},
        "how": "in-process WSGI, one request at a time, whole middleware",
        "requests": len(times["trivial"]),
        "trivial": _percentiles(times["trivial"]),
        **{
            name: _percentiles(column, times["trivial"]) | sizes[name]
            for name, column in times.items()
            if name != "trivial"
        },
        "settings": server_settings(),
    }


def _requests(system: System) -> dict[str, str]:
    root = f"/api/systems/{system.pk}"
    past = {
        name: f"{root}/historical?interval={interval.replace('+', '%2B')}&resolution={resolution}"
        for name, (interval, resolution) in HISTORY.items()
    }
    return {"trivial": "/trivial", "user": "/api/user", "live": f"{root}/live", **past}


def _percentiles(times: list[float], trivial: list[float] | None = None) -> dict:
    p50, p95 = median(times), quantiles(times, n=20)[-1]
    figures = {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}
    if trivial is not None:
        figures["ratio_p50"] = round(p50 / median(trivial), 1)
        figures["ratio_p95"] = round(p95 / quantiles(trivial, n=20)[-1], 1)
    return figures


def _caller() -> Callable[[str], bytes]:
    """A function that asks the project's WSGI application, signed in, and reads the answer."""
    application = get_wsgi_application()

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


def _size(call: Callable[[str], bytes], address: str) -> dict[str, int]:
    with CaptureQueriesContext(connection) as queries:
        content = call(address)
    return {"bytes": len(content), "queries": len(queries)}


def _person(account: Account) -> None:
    user = User(email=EMAIL, account=account, role=Role.VIEWER)
    user.set_password(PASSWORD)
    user.save()


def _fill() -> None:
    """A month of slots and days, and a year of months, of every system and appliance."""
    systems = f"generate_series(1, {SYSTEMS}) AS system_key"
    appliances = f"{systems}, generate_series(1, {APPLIANCES}) AS number"
    slots = "generate_series(%s::timestamptz, %s::timestamptz - '1 s'::interval, '15 min')"
    days = "generate_series(%s::timestamptz, %s::timestamptz - '1 s'::interval, '1 day')"
    months = "generate_series('2025-12-31 23:00Z'::timestamptz, '2026-11-30 23:00Z', '1 month')"
    key = f"(system_key - 1) * {APPLIANCES} + number"
    with connection.cursor() as cursor:
        for model, spans, bounds in (
            (SystemSlot, slots, MONTH),
            (SystemDay, days, MONTH),
            (SystemMonth, months, ()),
        ):
            cursor.execute(_insert(model, f"{spans} AS start, {systems}", "system_key"), bounds)
        for model, spans in ((ApplianceSlot, slots), (ApplianceDay, days)):
            sql = _insert(model, f"{spans} AS start, {appliances}", f"system_key, {key}")
            cursor.execute(sql, MONTH)
        cursor.execute("VACUUM ANALYZE")
    LatestReading.objects.bulk_create(
        LatestReading(
            system_key=appliance.system.key,
            appliance_key=appliance.key,
            at=appliance.created_at,
            power_at=appliance.created_at,
            power_w=853,
            soc=0.5,
        )
        for appliance in Appliance.objects.select_related("system")
    )


def _insert(model: type[models.Model], source: str, keys: str) -> str:
    """An INSERT of one made-up row for each span and key; figures of a plausible size."""
    key_names = ["system_key"] + (["appliance_key"] if "," in keys else [])
    made_up = {
        "IntegerField": "900",
        "SmallIntegerField": "0",
        "BigIntegerField": "(random() * 500000)::bigint",
        "FloatField": "random()",
    }
    columns = {
        field.column: made_up[field.get_internal_type()]
        for field in model._meta.concrete_fields
        if field.column not in {*key_names, "start"} and field.get_internal_type() in made_up
    }
    return (
        f"INSERT INTO {model._meta.db_table} ({', '.join([*key_names, 'start', *columns])})"
        f" SELECT {keys}, start, {', '.join(columns.values())} FROM {source}"
    )
