"""Files that are sent while they are made, to clients that do not read on."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connections
from django.test import Client

from flexibility.models import ResolvedBoundary
from gridx import clock
from gridx.pages import past
from inventory import export
from measurements import raw_api
from measurements.batches import Batch
from measurements.exports import tables
from measurements.ingest import store_readings
from measurements.resolutions import Resolution
from tests.cast import Cast, make_cast

pytestmark = pytest.mark.slow

# The first minutes of a day.
SINCE = datetime(2026, 6, 15, tzinfo=UTC)
MINUTES = 20
DAY = "interval=2026-06-15T00:00:00Z/2026-06-16T00:00:00Z"


@pytest.fixture
def short_parts(monkeypatch):
    """Few rows make many parts."""
    monkeypatch.setattr(clock, "now", lambda: SINCE + timedelta(days=1))
    for module, name in (
        (export, "_LINES_AT_ONCE"),
        (export, "_ROWS_AT_ONCE"),
        (past, "_ROWS_AT_ONCE"),
        (raw_api, "AT_ONCE"),
        (tables, "READINGS_AT_ONCE"),
        (tables, "_SYSTEMS_AT_ONCE"),
    ):
        monkeypatch.setattr(module, name, 2)
    monkeypatch.setitem(tables._SPANS, Resolution.QUARTER, 8)


class Download:
    """A request to the ASGI server, whose client takes so many parts and then reads no more."""

    def __init__(self, address: str, cookie: str, *, takes: int) -> None:
        path, _mark, query = address.partition("?")
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"cookie", cookie.encode()), (b"host", b"localhost")],
        }
        self._takes = takes
        self._is_asked = False
        self._goes_on = asyncio.Event()
        self.stalled = asyncio.Event()
        self.status = 0
        self.parts: list[bytes] = []

    async def run(self) -> None:
        await get_asgi_application()(self._scope, self._receive, self._send)

    def read_on(self) -> None:
        self._goes_on.set()

    async def _receive(self) -> dict:
        if self._is_asked:
            await asyncio.Future()
        self._is_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.parts.append(message.get("body", b""))
        if len(self.parts) == self._takes:
            self.stalled.set()
            await self._goes_on.wait()


def signed_in() -> tuple[Cast, str]:
    """The cast, with what is kept of the roof, and the cookie of their administrator."""
    cast = make_cast()
    batch = Batch.of(
        system_key=cast.lindenweg.key,
        appliance_key=cast.pv.key,
        at_ms=SINCE.timestamp() * 1000 + np.arange(MINUTES) * 60_000,
        power_w=-1.0,
    )
    store_readings(batch=batch, now=SINCE + timedelta(days=1))
    ResolvedBoundary.objects.bulk_create(
        ResolvedBoundary(
            system_key=cast.lindenweg.key,
            appliance_key=cast.pv.key,
            at=SINCE + timedelta(minutes=minute),
            set_point_w=-1.0,
        )
        for minute in range(MINUTES)
    )
    client = Client()
    client.force_login(cast.admin)
    connections.close_all()
    name = settings.SESSION_COOKIE_NAME
    return cast, f"{name}={client.cookies[name].value}"


# Whatever is read from the database while it is sent.
ADDRESSES = {
    "readings of a system": "/api/systems/{system}/export?{day}&resolution=raw",
    "readings of a pool": "/api/systempools/{pool}/export?{day}&resolution=raw",
    "slots": "/api/systems/{system}/export?{day}&resolution=15m",
    "readings of an appliance": (
        "/api/gateways/{gateway}/appliances/{appliance}/measurements/appliance?{day}"
    ),
    "readings with boundaries": "/api/gateways/{gateway}/appliances/{appliance}/measurements?{day}",
    "boundaries": "/appliances/{appliance}/past.csv",
    "the inventory": "/inventory.csv?show=appliances&sort=-system",
}


@pytest.mark.parametrize("what", list(ADDRESSES))
async def test_pages_answer_while_more_downloads_stall_than_there_are_connections(
    few_connections, short_parts, what
):
    cast, cookie = await sync_to_async(signed_in)()
    address = ADDRESSES[what].format(
        system=cast.lindenweg.pk,
        pool=cast.pool.pk,
        gateway=cast.gateway.pk,
        appliance=cast.pv.pk,
        day=DAY,
    )
    downloads = [Download(address, cookie, takes=3) for _ in range(few_connections + 2)]
    running = [asyncio.create_task(one.run()) for one in downloads]
    try:
        await asyncio.gather(*(asyncio.wait_for(one.stalled.wait(), 10) for one in downloads))
        page = Download("/inventory", cookie, takes=0)
        await page.run()
    finally:
        for one in downloads:
            one.read_on()
        await asyncio.gather(*running)
    assert page.status == 200
    whole = Download(address, cookie, takes=0)
    await whole.run()
    assert {b"".join(one.parts) for one in downloads} == {b"".join(whole.parts)}
    assert len(whole.parts) > 3
