"""Whatever is killed under load: no acknowledged reading is lost, none is counted twice."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.gridx.gateways.installation import Gateway, Installation
from tests.gridx.services.conftest import main_process

pytestmark = pytest.mark.alone

COMPUTE = """
import json
from gridx import clock
from inventory.models import Appliance
from measurements.models import ApplianceSlot
from measurements.slots.compute import compute_until_clean
compute_until_clean(now=clock.now())
sums = {}
for slot in ApplianceSlot.objects.all():
    sums[slot.appliance_key] = sums.get(slot.appliance_key, 0) + (slot.import_mwh or 0)
print(json.dumps(sums))
"""
GATEWAYS = """
import json
from inventory.models import Gateway
print(json.dumps(list(Gateway.objects.values_list(
    "serial", "last_sequence", "missing_messages", "refused_readings"
))))
"""


async def until(condition: Callable[[], bool], *, within_s: float, about: Installation) -> None:
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, about.log()[-5000:]
        await asyncio.sleep(0.3)


@asynccontextmanager
async def load(gateways: list[Gateway]) -> AsyncIterator[None]:
    """The gateways send within the block; at its end all that they sent is acknowledged."""
    stop = asyncio.Event()
    sending = [asyncio.create_task(gateway.send(stop)) for gateway in gateways]
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*sending)


def acknowledged(gateways: list[Gateway]) -> int:
    return sum(len(gateway.acknowledged) for gateway in gateways)


async def expect_all_once(installation: Installation, gateways: list[Gateway]) -> None:
    """Every acknowledged reading is stored, no other one is, and the energies are right."""
    sent = {
        (gateway.appliance_key, gateway.instant_of(number))
        for gateway in gateways
        for number in gateway.acknowledged
    }

    def is_stored() -> bool:
        return len(installation.stored(*gateways)) >= len(sent)

    await until(is_stored, within_s=90, about=installation)
    assert await asyncio.to_thread(installation.stored, *gateways) == sent

    sums = json.loads(await asyncio.to_thread(installation.run_code, COMPUTE))
    for gateway in gateways:
        assert sums[str(gateway.appliance_key)] == 1000 * max(gateway.acknowledged)
    states = {
        serial: state
        for serial, *state in json.loads(await asyncio.to_thread(installation.run_code, GATEWAYS))
    }
    for gateway in gateways:
        assert states[gateway.serial] == [max(gateway.acknowledged), 0, 0]


async def test_the_link_is_killed_under_load(installation):
    gateways = installation.register("LINK-1", "LINK-2", "LINK-3")
    link = installation.start_link()
    async with load(gateways):
        await until(
            lambda: len(installation.stored(*gateways)) > 200, within_s=90, about=installation
        )
        link.kill()
        link.wait(10)
        before = acknowledged(gateways)
        # The broker goes on taking readings from gateways that are signed in.
        await until(lambda: acknowledged(gateways) > before + 200, within_s=90, about=installation)
        link = await asyncio.to_thread(installation.start_link)
        await asyncio.sleep(1)
    await expect_all_once(installation, gateways)
    link.terminate()
    assert link.wait(10) == 0


@pytest.mark.parametrize("name", ["nats", "postgres"])
async def test_a_server_is_killed_under_load(installation, name):
    gateways = installation.register(*(f"{name.upper()}-{number}" for number in (1, 2, 3)))
    link = installation.start_link()
    async with load(gateways):
        await until(
            lambda: len(installation.stored(*gateways)) > 200, within_s=90, about=installation
        )
        main_process(installation.directory, name).kill()
        before = acknowledged(gateways)
        # Its supervisor starts it again, and all goes on by itself.
        await until(lambda: acknowledged(gateways) > before + 300, within_s=90, about=installation)
    await expect_all_once(installation, gateways)
    link.terminate()
    assert link.wait(10) == 0
