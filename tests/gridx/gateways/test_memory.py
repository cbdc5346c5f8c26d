"""What a link holds while it catches up fits in little memory, whatever is in the messages."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from gridx.gateways.messages import MAX_BYTES
from gridx.gateways.topics import Channel
from tests.benchmarks.memory import watched
from tests.gridx.gateways.installation import Gateway, Installation
from tests.gridx.gateways.test_kill import until

pytestmark = pytest.mark.alone

MOST_MB = 200
MESSAGES, READINGS = 4, 30_000


def dense(gateway: Gateway, seq: int) -> bytes:
    """As many readings as a message holds, hours of a reading a second."""
    numbers = range(seq * READINGS, (seq + 1) * READINGS)
    part = {
        "appliance": "grid",
        "at": [gateway.instant_of(number) for number in numbers],
        "power_w": [1] * READINGS,
    }
    message = {"v": 1, "seq": seq, "appliances": [part]}
    return json.dumps(message, separators=(",", ":")).encode()


async def test_a_backlog_of_dense_messages_takes_little_memory(installation: Installation):
    gateways = installation.register("DENSE-1", "DENSE-2", "DENSE-3")
    link = installation.start_link()
    async with AsyncExitStack() as signed_in:
        clients = [await signed_in.enter_async_context(gateway.client()) for gateway in gateways]
        link.kill()
        link.wait(10)
        for gateway, client in zip(gateways, clients, strict=True):
            for seq in range(MESSAGES):
                body = dense(gateway, seq)
                assert MAX_BYTES * 0.9 < len(body) <= MAX_BYTES
                await gateway.publish(client, Channel.READINGS, body)
    keys = [gateway.appliance_key for gateway in gateways]
    query = "SELECT count(*) FROM measurements_reading WHERE appliance_key = ANY(%s)"
    link = await asyncio.to_thread(installation.start_link)
    with watched(link.pid) as memory:
        await until(
            lambda: installation.rows(query, keys) == [(len(keys) * MESSAGES * READINGS,)],
            within_s=90,
            about=installation,
        )
    assert memory.most_mb < MOST_MB
    link.terminate()
    assert link.wait(10) == 0
