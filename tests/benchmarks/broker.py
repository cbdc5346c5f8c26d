"""A broker of a benchmark's own, as the embedded one is but for how often it syncs."""

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import nats

from gridx.gateways.consumers import READINGS, Portion, Pull
from gridx.gateways.topics import MQTT_STREAM
from gridx.services.addresses import Addresses, addresses, keep
from gridx.services.nats import nats_process
from gridx.services.processes import Supervisor
from tests.benchmarks.ground import ROOT

# As the product embeds it (a message survives a power cut), and as the server comes.
SYNCS = {"always": "always", "default": "2m"}
_LOOK_S = 0.02
_PATIENCE_S = 30.0


@contextmanager
def broker(sync: str) -> Iterator[Addresses]:
    """Its addresses, for `environ_of`; its data lie where those of the benchmarks do."""
    parent = os.environ.get("GRIDX_DATA_DIR") or ROOT
    with tempfile.TemporaryDirectory(dir=parent, prefix="broker-") as folder:
        directory = Path(folder)
        at = addresses({"GRIDX_DATA_DIR": folder})
        before = os.environ.get("GRIDX_NATS_SYNC")
        os.environ["GRIDX_NATS_SYNC"] = SYNCS[sync]
        try:
            kept = keep(directory)
            process = nats_process(directory, kept, at.nats_url, at.mqtt_url, at.nats_issuer_seed)
            with Supervisor(directory / "logs") as supervisor:
                supervisor.start(process)
                yield at
        finally:
            if before is None:
                del os.environ["GRIDX_NATS_SYNC"]
            else:
                os.environ["GRIDX_NATS_SYNC"] = before


def environ_of(at: Addresses) -> dict[str, str]:
    """What tells a process of the product to use this broker, whose gateways may flood it."""
    return {
        "NATS_URL": at.nats_url,
        "NATS_SYSTEM_URL": at.nats_system_url,
        "MQTT_URL": at.mqtt_url,
        "NATS_ISSUER_SEED": at.nats_issuer_seed,
        "GRIDX_GATEWAY_MESSAGES_A_MINUTE": "1000000000",
    }


@contextmanager
def bare_consumer(at: Addresses) -> Iterator[None]:
    """A process in the link's place: the same client and consumer; it acknowledges, no more."""
    context = multiprocessing.get_context("spawn")
    is_pulling = context.Event()
    process = context.Process(target=_consume, args=(at.nats_url, is_pulling))
    process.start()
    try:
        if not is_pulling.wait(_PATIENCE_S):
            raise TimeoutError("the bare consumer did not start")
        yield
    finally:
        process.terminate()
        process.join(10)


def wait_until_consumed(at: Addresses, *, within_s: float) -> float:
    """Until the link's consumer has acknowledged all that the broker took; when (monotonic)."""
    return asyncio.run(_wait(at.nats_url, within_s))


async def _wait(url: str, within_s: float) -> float:
    client = await nats.connect(url)
    js = client.jetstream()
    deadline = time.monotonic() + within_s
    try:
        while True:
            info = await js.consumer_info(MQTT_STREAM, READINGS.durable_name)
            now = time.monotonic()
            if not info.num_pending and not info.num_ack_pending:
                return now
            if now > deadline:
                raise TimeoutError(f"{info.num_pending} messages are left after {within_s} s")
            await asyncio.sleep(_LOOK_S)
    finally:
        await client.close()


def _consume(url: str, is_pulling: Event) -> None:
    asyncio.run(_acknowledge_all(url, is_pulling))


async def _acknowledge_all(url: str, is_pulling: Event) -> None:
    client = await nats.connect(url)
    async with Pull(client, READINGS, Portion()) as pull:
        is_pulling.set()
        while True:
            for message in await pull.next_batch():
                await message.ack()
