"""From a fleet manager's wish to what a battery does, and back: all of it, with real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from django.conf import settings

from flexibility.emitters import DIMMING, emitter_of
from flexibility.models import Flexibility, GatewaySchedule
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.queries import Delivery, flexibility_of
from gridx import clock
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry
from gridx.gateways.simulator.fleet import simulate
from gridx.gateways.simulator.session import Broker
from gridx.gateways.simulator.site_gateway import Pace, SiteGateway
from gridx.gateways.simulator.store import Store
from measurements.models import LatestReading, Reading
from tests.gridx.gateways.conftest import RunningLink, until

pytestmark = pytest.mark.alone

FULL_W = 5_000


@pytest.fixture
async def gateway(link, site, secrets) -> AsyncIterator[SiteGateway]:
    """A virtual gateway at Lindenweg 12, which reads its battery every second."""
    serial = site.gateway.serial
    plan = SitePlan(parts=["battery"], battery_power_w=FULL_W, seed=3)
    found = SiteGateway(
        GatewayEntry(serial=serial, secret=secrets[serial], site=plan),
        broker=Broker.at(settings.ADDRESSES.mqtt_url),
        clock=SimulatedClock.faster(1.0),
        store=Store(),
        pace=Pace(sample_ms=1_000, message_ms=1_000),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(simulate([found], stop=stop))
    yield found
    stop.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(running, 60)


@pytest.fixture
def battery(site, gateway, in_database):
    """Waits for what is so of the battery in the database."""

    async def until_so(condition: Callable[[], bool]) -> None:
        await until(lambda: in_database(condition))

    return until_so


def ask(site, *, user=None, emitter=None, for_s: float = 600, **fields):
    now = clock.now()
    draft = Draft(invalid_at=now + timedelta(seconds=for_s), **fields)
    emitter = emitter or emitter_of(user or site.fleet)
    [row] = set_constraints(target=site.battery, drafts=[draft], emitter=emitter, now=now)
    return row


def power_w(site) -> float | None:
    reading = LatestReading.objects.filter(appliance_key=site.battery.key).first()
    return None if reading is None else reading.power_w


def knows_limits(site) -> bool:
    return Flexibility.objects.filter(pk=site.battery.pk, max_w=FULL_W).exists()


def powers_since(site, at: datetime) -> list[tuple[datetime, float]]:
    rows = Reading.objects.filter(appliance_key=site.battery.key, at__gt=at).order_by("at")
    return list(rows.values_list("at", "power_w"))


async def test_a_wish_is_done_reported_and_withdrawn(site, scheduled, battery, in_database):
    await battery(lambda: knows_limits(site))
    row = await in_database(ask, site, set_point_w=1_500)
    await battery(lambda: power_w(site) == pytest.approx(1_500, abs=1))
    kept = await in_database(lambda: flexibility_of(appliance=site.battery, now=clock.now()))
    assert (kept.delivery, kept.kept.applied_set_point_w) == (Delivery.APPLIED, 1_500)
    emitter = emitter_of(site.fleet)
    await in_database(lambda: withdraw_constraint(constraint=row, by=emitter, now=clock.now()))
    await battery(lambda: power_w(site) != pytest.approx(1_500, abs=1))


async def test_a_dimming_arrives_within_two_seconds(site, scheduled, battery, in_database):
    await battery(lambda: knows_limits(site))
    await in_database(ask, site, set_point_w=FULL_W, closest=True)
    await battery(lambda: power_w(site) == pytest.approx(FULL_W, abs=1))
    began = clock.now()
    emitter = emitter_of(site.grid_operator, scopes={DIMMING})
    await in_database(ask, site, emitter=emitter, max_w=2_000)
    await battery(lambda: Flexibility.objects.filter(applied_max_w=2_000).exists())
    kept = await in_database(Flexibility.objects.get, pk=site.battery.pk)
    assert kept.applied_at - began < timedelta(seconds=2)
    assert kept.applied_set_point_w == 2_000
    await battery(lambda: power_w(site) == pytest.approx(2_000, abs=1))


async def test_while_the_cloud_is_away_the_gateway_ends_it_on_time(
    link, site, scheduled, battery, in_database
):
    await battery(lambda: knows_limits(site))
    row = await in_database(ask, site, set_point_w=1_500, for_s=8)
    await battery(lambda: power_w(site) == pytest.approx(1_500, abs=1))
    await link.end()
    await asyncio.sleep(max(0.0, clock.seconds_until(row.invalid_at)) + 3)
    again = RunningLink()
    again.start()
    try:
        since = row.invalid_at - timedelta(seconds=2)
        end = row.invalid_at + timedelta(seconds=2)
        await battery(lambda: any(at > end for at, _power in powers_since(site, since)))
        powers = await in_database(powers_since, site, since)
    finally:
        await again.end()
    assert all(
        (power == pytest.approx(1_500, abs=1)) == (at <= row.invalid_at)
        for at, power in powers
        if abs(at - row.invalid_at) > timedelta(seconds=1)
    )


async def test_no_gateway_ends_with_an_older_schedule_than_the_newest(
    site, scheduled, battery, in_database, gateway
):
    await battery(lambda: knows_limits(site))
    for number in range(10):
        await in_database(ask, site, max_w=4_000 - 100 * number)

    def is_newest() -> bool:
        row = GatewaySchedule.objects.get(pk=site.gateway.pk)
        return row.acknowledged_revision == row.revision

    await battery(is_newest)
    row = await in_database(GatewaySchedule.objects.get, pk=site.gateway.pk)
    assert gateway.keeper.revision == row.revision
    kept = await in_database(Flexibility.objects.get, pk=site.battery.pk)
    assert (kept.max_w, kept.applied_max_w) == (3_100, 3_100)
