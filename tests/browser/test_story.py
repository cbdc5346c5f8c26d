"""Who decides how a car charges, as a fleet manager and a resident live through it.

A garage with twelve charging stations and a sunny roof, behind a simulated gateway; link, worker
and scheduler are processes of their own. All that people do and learn, they do and learn in a
browser; that it is true is asked of the simulated station itself.
"""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from playwright.sync_api import BrowserContext, Locator, Page, expect

from flexibility.models import Flexibility
from gridx import clock
from gridx.gateways.plants.charging import ChargingStation
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry
from gridx.gateways.simulator.fleet import simulate
from gridx.gateways.simulator.session import Broker
from gridx.gateways.simulator.site_gateway import Pace, SiteGateway
from gridx.gateways.simulator.store import Store
from gridx.services.processes import Process, Supervisor
from inventory.models import System
from inventory.operations import register_gateway
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NBSP = "\N{NO-BREAK SPACE}"
# A summer's noon, with all twelve cars of this seed there and hardly a cloud.
NOON = datetime(2026, 6, 16, 10, 0, tzinfo=UTC)
SPEED = 12
GERMANY = ZoneInfo("Europe/Berlin")
WITHIN_S = 120
# What happens shows on open pages within that.
AT_ONCE_MS = 4_000
LEAST_W, FULL_W = 4_140, 22_080
FULL = f"22.08{NBSP}kW"
OURS = "evcs-04"
GARAGE = SitePlan(
    preset="charging_fleet",
    parts=["pv"],
    seed=9,
    annual_wh=2_000_000,
    pv_peak_w=96_000,
    fuse_w=400_000,
    names={"grid": "Grid meter", "pv": "Roof", OURS: "Mara's car"},
)


class Garage:
    """The simulated gateway, in a thread with an event loop of its own."""

    def __init__(self, serial: str, secret: str) -> None:
        self._entry = GatewayEntry(serial=serial, secret=secret, site=GARAGE)
        self._is_there = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._is_there.wait(timeout=20)

    async def _run(self) -> None:
        self._gateway = SiteGateway(
            self._entry,
            broker=Broker.at(settings.ADDRESSES.mqtt_url),
            clock=SimulatedClock(lambda: int(clock.now().timestamp() * 1000), SPEED),
            store=Store(),
            pace=Pace(sample_ms=5_000, message_ms=5_000),
        )
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._is_there.set()
        await simulate([self._gateway], stop=self._stop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=30)

    def power_w(self, local_id: str) -> float:
        """What a station charges with, by what went into its car meanwhile."""
        (began_ms, before), (ended_ms, after) = self._charged(local_id, 0), (0, 0)
        while ended_ms <= began_ms:
            time.sleep(0.2)
            ended_ms, after = self._charged(local_id, began_ms)
        return (after - before) / (ended_ms - began_ms)

    def _charged(self, local_id: str, since_ms: int) -> tuple[int, int]:
        """Until when (ms), and how much (W·ms); of a moment between two steps."""
        station = next(one for one in self._gateway.site.plants if one.local_id == local_id)
        assert isinstance(station, ChargingStation)
        asked = asyncio.run_coroutine_threadsafe(_at_rest(self._gateway, station), self._loop)
        return asked.result(timeout=20)


async def _at_rest(gateway: SiteGateway, station: ChargingStation) -> tuple[int, int]:
    return gateway.site.at_ms or 0, station.delivered


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> str:
    """It is this noon, and time flies; gives what says so to other processes."""
    text = f"{NOON.isoformat()}*{SPEED}@{time.time()}"
    monkeypatch.setattr(clock, "_clock", clock.parse(text))
    return text


@pytest.fixture
def garage(
    noon: str,
    live_site: LiveSite,
    cast: Cast,
    child_environment: dict[str, str],
    tmp_path: Path,
) -> Iterator[Garage]:
    """The garage of the Meyers' house, whose gateway has told what it found."""
    now = clock.now()
    system = System.objects.create(account=cast.meyers, name="Lindenweg garage", city="Aachen")
    # The broker may still keep what it told a gateway of an earlier run, at this noon too.
    serial = f"GX-{uuid4().hex[:12].upper()}"
    _gateway, secret = live_site.run(
        register_gateway, system=system, serial=serial, by=None, now=now
    )
    environment = child_environment | {"GRIDX_CLOCK": noon}

    def process(name: str, *arguments: str) -> Process:
        argv = [sys.executable, *arguments]
        return Process(name=name, argv=argv, env=environment, cwd=ROOT)

    worker = ("-m", "celery", "--app", "gridx", "worker", "--concurrency", "1")
    quiet = ("--without-gossip", "--without-mingle", "--loglevel", "warning")
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(
            process("link", "manage.py", "run_link"),
            process("worker", *worker, *quiet),
            process("scheduler", "manage.py", "run_scheduler"),
        )
        found = Garage(serial, secret)
        known = Flexibility.objects.filter(appliance__system=system, max_w=FULL_W)
        deadline = time.monotonic() + 30
        while live_site.run(known.count) < GARAGE.stations:
            assert time.monotonic() < deadline, "its stations do not become known"
            time.sleep(0.2)
        yield found
        found.close()


@pytest.fixture
def residents_page(browser, live_site: LiveSite, problems: list[str]) -> Iterator[Page]:
    """Mara's phone."""
    context: BrowserContext = browser.new_context(
        base_url=live_site.url,
        viewport={"width": 390, "height": 844},
        locale="en-GB",
        timezone_id="Europe/Berlin",
    )
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()


def kilowatts_in(found: Locator) -> float:
    """The first power that a sentence names, in W."""
    said = re.search(rf"([\d.]+){NBSP}kW", found.inner_text())
    assert said, found.inner_text()
    return float(said[1]) * 1000


def set_sun_only(page: Page, how_strong: str) -> None:
    """Have all stations charge with the sun alone, on the page of the garage's policy."""
    page.get_by_text("sun only", exact=True).last.click()
    page.get_by_label(how_strong).check()
    page.get_by_role("button", name="Set for all of them").click()
    expect(page.get_by_text("The charging policy is set.")).to_be_visible()


def test_the_sun_for_all_a_wish_of_one_and_who_wins(
    page: Page, residents_page: Page, garage: Garage, cast: Cast
):
    manager, resident = page, residents_page
    began = time.monotonic()

    # The fleet manager finds the garage, and has its twelve stations charge with the sun alone.
    sign_in(manager, cast.fleet.email)
    manager.get_by_role("link", name="Lindenweg garage").first.click()
    stations = manager.get_by_role("link", name=re.compile("Charging station \\d|Mara's car"))
    expect(stations).to_have_count(12)
    manager.get_by_role("link", name="Charging policy").click()
    expect(manager.locator(".page-header")).to_contain_text("12 charging stations")
    set_sun_only(manager, "Usual: residents’ “charge now” wins over it")
    expect(manager.locator(".policy-list")).to_contain_text("set by you")
    policy_url = manager.url

    # The resident sees it on the page of their own station: what it takes, whose wish that is.
    sign_in(resident, cast.mara.email)
    resident.get_by_role("link", name="Lindenweg garage").first.click()
    resident.locator("#appliances").get_by_role("link", name="Mara's car").click()
    because, policies = resident.locator(".because"), resident.locator(".policies")
    expect(because).to_contain_text("Charges with what the sun leaves for it", timeout=20_000)
    expect(policies).to_contain_text("sun only")
    expect(policies).to_contain_text("set by the fleet manager")
    expect(policies).to_contain_text("for all stations of Lindenweg garage")
    share_w = kilowatts_in(because)
    assert 4_140 <= share_w < FULL_W / 2
    settles(garage, below_w=FULL_W / 2)

    # They are in a hurry.
    until = (clock.now() + timedelta(minutes=7)).astimezone(GERMANY)
    until = until.replace(second=0, microsecond=0)
    resident.get_by_text("Another time").click()
    resident.get_by_label("Charge until").fill(until.strftime("%Y-%m-%dT%H:%M"))
    resident.get_by_role("button", name="Charge until then").click()
    expect(because).to_contain_text(f"You asked for full power, {FULL} until {until:%H:%M}.")
    expect(policies).to_contain_text(f"Goes on at {until:%H:%M}, after “charge now”.")
    settles(garage, at_w=FULL_W)
    expect(resident.locator("#car-now .figure")).to_have_text(f"22.1{NBSP}kW")

    # The fleet manager sees that too, and insists.
    watching = manager.context.new_page()
    watching.goto(policy_url)
    watching.get_by_role("link", name="Mara's car").click()
    watched = watching.locator(".because")
    expect(watched).to_contain_text(f"The resident asked for {FULL} until {until:%H:%M}.")
    set_sun_only(manager, "Strong: it wins over what residents wish")

    # Both pages say so by themselves, and the car follows.
    wins = "But the charging policy “sun only” of {} weighs more. Charges with what the sun leaves"
    expect(because).to_contain_text(wins.format("the fleet manager"))
    expect(watched).to_contain_text(wins.format("yours"))
    settles(garage, below_w=FULL_W / 2)
    assert clock.now() < until, "it was over before it could be outweighed"

    # In the end nobody wishes anything else any more, and it goes on as before.
    left_ms = 1_000 * clock.seconds_until(until)
    expect(because).not_to_contain_text("You asked for", timeout=left_ms + AT_ONCE_MS)
    assert clock.now() >= until
    expect(watched).not_to_contain_text("The resident asked for")
    expect(because).to_contain_text("Charges with what the sun leaves for it")
    settles(garage, below_w=FULL_W / 2)
    assert time.monotonic() - began < WITHIN_S


def settles(garage: Garage, *, at_w: float = 0, below_w: float = FULL_W) -> None:
    """Wait until our station charges with so much by its own word."""
    least_w = at_w or LEAST_W
    until = time.monotonic() + 15
    while not least_w <= (power_w := garage.power_w(OURS)) <= below_w:
        assert time.monotonic() < until, f"it charges with {power_w:.0f} W"
