"""A grid operator dims a home: how fast it is kept to, how long, and what the proof says of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from flexibility.dimming.operations import dim_system
from flexibility.dimming.proof import Proved, proof_of
from flexibility.emitters import DIMMING, emitter_of
from flexibility.models import Dimming, Flexibility
from flexibility.operations import Draft, set_constraints
from gridx import clock
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry
from gridx.gateways.simulator.fleet import simulate
from gridx.gateways.simulator.session import Broker
from gridx.gateways.simulator.site_gateway import Pace, SiteGateway
from gridx.gateways.simulator.store import Store
from inventory.models import Appliance
from measurements.models import LatestReading, Reading
from tests.cast import Cast
from tests.gridx.gateways.conftest import until

pytestmark = pytest.mark.alone

# A winter's evening in Berlin: the car (of this seed) has come home with an empty battery.
EVENING = datetime(2026, 1, 14, 18, 30, tzinfo=UTC)
HOME = SitePlan(
    parts=["battery", "ev", "heat_pump"],
    seed=5,
    battery_capacity_wh=40_000,
    heat_pump_power_w=9_000,
    heat_pump_loss_w_per_kelvin=1_600,
)
FULL_W = {"battery": 5_000, "ev": 11_040, "heat-pump": 9_000}
FLOOR_W = 4_200
# How much faster than the real one the clock runs while a gateway is away.
SPEED = 40


class Line:
    """The wire between a gateway and its broker, which can be cut and mended."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Nothing gets through any more, and nobody says so first."""
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = urlsplit(settings.ADDRESSES.mqtt_url)
        there = await asyncio.open_connection(at.hostname, at.port)
        self._ends |= {writer, there[1]}
        await asyncio.gather(self._pass_on(reader, there[1]), self._pass_on(there[0], writer))

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while sent := await reader.read(65_536):
                writer.write(sent)
                await writer.drain()
        writer.close()


@pytest.fixture
def speed() -> float:
    return 1.0


@pytest.fixture
def evening(monkeypatch, speed) -> SimulatedClock:
    """It is this evening for the platform and its gateways alike."""
    monkeypatch.setattr(clock, "_clock", clock.Clock(EVENING, speed, time.time()))
    return SimulatedClock(lambda: int(clock.now().timestamp() * 1000), speed)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    found = Line()
    await found.mend()
    yield found
    await found.cut()


@pytest.fixture
async def home(evening, link, site: Cast, secrets, scheduled, line, in_database):
    """The Schmidts' home with its virtual gateway: everything takes what it can."""
    serial = site.other_gateway.serial
    pace_ms = max(1_000, int(250 * evening.speed))
    gateway = SiteGateway(
        GatewayEntry(serial=serial, secret=secrets[serial], site=HOME),
        broker=Broker("127.0.0.1", line.port),
        clock=evening,
        store=Store(),
        pace=Pace(sample_ms=pace_ms, message_ms=pace_ms),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(simulate([gateway], stop=stop))
    await until(lambda: in_database(knows_limits))
    await in_database(take_all, site)
    await until(lambda: in_database(lambda: powers_w() == pytest.approx(FULL_W, abs=1)))
    yield gateway
    stop.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(running, 60)


def appliances() -> dict[str, Appliance]:
    found = Appliance.objects.filter(gateway__serial="GX-0002", local_id__in=FULL_W)
    return {one.local_id: one for one in found.select_related("system")}


def knows_limits() -> bool:
    known = Flexibility.objects.filter(pk__in=[one.pk for one in appliances().values()])
    return {one.max_w for one in known} == set(FULL_W.values())


def take_all(site: Cast) -> None:
    """Those who look after the South have all of it run at full power."""
    now = clock.now()
    draft = Draft(set_point_w=12_000, closest=True, invalid_at=now + timedelta(hours=2))
    for one in appliances().values():
        set_constraints(target=one, drafts=[draft], emitter=emitter_of(site.south_admin), now=now)


def powers_w() -> dict[str, float]:
    return {
        local_id: reading.power_w
        for local_id, one in appliances().items()
        for reading in LatestReading.objects.filter(appliance_key=one.key)
    }


def dim(site: Cast, minutes: float) -> Dimming:
    now = clock.now()
    return dim_system(
        system=site.hafenstrasse,
        emitter=emitter_of(site.grid_operator, scopes={DIMMING}),
        invalid_at=now + timedelta(minutes=minutes),
        now=now,
    )


def kept() -> dict[str, Flexibility]:
    """By appliance what its gateway said that it keeps to, where that is the dimming."""
    found = Flexibility.objects.filter(applied_max_w=FLOOR_W).select_related("appliance")
    return {row.appliance.local_id: row for row in found}


def proved(dimming: Dimming) -> dict[str, Proved]:
    return {one.appliance.local_id: one for one in proof_of(dimming, now=clock.now())}


def powers_between(start: datetime, end: datetime) -> dict[str, list[float]]:
    return {
        local_id: list(
            Reading.objects.filter(
                appliance_key=one.key, at__gte=start, at__lt=end, power_w__isnull=False
            ).values_list("power_w", flat=True)
        )
        for local_id, one in appliances().items()
    }


async def test_a_dimming_reaches_every_controllable_appliance_within_two_seconds(
    home: SiteGateway, site: Cast, in_database: Callable[..., Any]
):
    dimming = await in_database(dim, site, 5)
    await until(lambda: in_database(lambda: set(kept()) == set(FULL_W)))
    for row in (await in_database(kept)).values():
        assert row.applied_at - dimming.valid_at < timedelta(seconds=2)
    await until(lambda: in_database(lambda: max(powers_w().values()) <= FLOOR_W))
    proof = await in_database(proved, dimming)
    assert set(proof) == set(FULL_W)
    for one in proof.values():
        assert (one.limit_w, one.highest_w) == (FLOOR_W, FLOOR_W)
        assert 0 < one.reaction_s < 2


@pytest.mark.parametrize("speed", [SPEED])
async def test_a_gateway_that_is_cut_off_keeps_to_a_dimming_and_ends_it_on_time_by_itself(
    home: SiteGateway, site: Cast, line: Line, in_database: Callable[..., Any]
):
    dimming = await in_database(dim, site, 8)
    await until(lambda: in_database(lambda: set(kept()) == set(FULL_W)))
    await line.cut()
    cut_at = clock.now()
    silence = timedelta(minutes=10)
    await asyncio.sleep(clock.seconds_until(cut_at + silence))
    assert not home.session.is_online
    # Nobody knows yet how the end of it went; the proof shows it as not measured.
    before = await in_database(proved, dimming)
    assert all(one.measured_share < 0.5 for one in before.values())
    await line.mend()

    back_at = clock.now()
    await until(lambda: in_database(lambda: min(map(len, since(back_at).values())) > 0))
    await until(lambda: len(home.outbox) <= 1)
    # Until a sample later it may still be so, and a sample long it may take to begin.
    sample = timedelta(milliseconds=home._pace.sample_ms)
    during, after = await in_database(
        lambda: (
            powers_between(dimming.valid_at + 2 * sample, dimming.invalid_at),
            powers_between(dimming.invalid_at + 2 * sample, cut_at + silence),
        )
    )
    for local_id, full_w in FULL_W.items():
        assert max(during[local_id]) <= FLOOR_W
        assert min(after[local_id]) == pytest.approx(full_w, abs=1)
    proof = await in_database(proved, dimming)
    assert set(proof) == set(FULL_W)
    for one in proof.values():
        assert (one.limit_w, one.highest_w) == (FLOOR_W, FLOOR_W)
        assert one.reaction_s is not None
        assert one.measured_share > 0.99
    page = await in_database(page_of, site, dimming)
    assert page.count("at most 4.2 kW; within it after") == len(FULL_W)


def since(at: datetime) -> dict[str, list[float]]:
    return powers_between(at, clock.now() + timedelta(days=1))


def page_of(site: Cast, dimming: Dimming) -> str:
    """The proof as the residents see it."""
    client = Client()
    client.force_login(site.schmidt)
    response = client.get(reverse("dimming", args=[dimming.pk]))
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")
