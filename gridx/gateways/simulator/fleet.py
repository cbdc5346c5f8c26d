"""Many virtual gateways in one process."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from gridx.gateways.simulator.outbox import Outbox
from gridx.gateways.simulator.session import Session

STAGGER_S = 0.005
DRAIN_S = 30.0
# What a session has time for to say that it goes, and to disconnect.
ENDS_WITHIN_S = 15.0


class Gateway(Protocol):
    """What runs here: models or a recording."""

    serial: str
    outbox: Outbox
    session: Session

    async def read(self, until_ms: int | None = None) -> None: ...

    async def send_batch(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the readings messages."""

    gateways: int
    acknowledged: int
    unacknowledged: int
    given_up: int

    @property
    def is_complete(self) -> bool:
        return not self.unacknowledged and not self.given_up


async def simulate(
    gateways: Sequence[Gateway],
    *,
    stop: asyncio.Event,
    until_ms: int | None = None,
    stays: bool = False,
) -> Report:
    """Run the gateways until all have read to their end, or until `stop`.

    At their end they wait for the last acknowledgements (`DRAIN_S` at most) and, unless one
    `stays`, disconnect. When stopped they keep what was not acknowledged in the store.
    """
    tasks = [
        asyncio.create_task(_run_one(gateway, place * STAGGER_S, until_ms=until_ms, stays=stays))
        for place, gateway in enumerate(gateways)
    ]
    everyone = asyncio.gather(*tasks)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({everyone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if everyone.done():
            everyone.result()
    finally:
        stopped.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await everyone
    return Report(
        gateways=len(gateways),
        acknowledged=sum(gateway.outbox.acknowledged for gateway in gateways),
        unacknowledged=sum(len(gateway.outbox) for gateway in gateways),
        given_up=sum(gateway.outbox.given_up for gateway in gateways),
    )


async def _run_one(gateway: Gateway, delay_s: float, *, until_ms: int | None, stays: bool) -> None:
    await asyncio.sleep(delay_s)
    session = asyncio.create_task(gateway.session.run())
    reading = asyncio.create_task(gateway.read(until_ms))
    try:
        # A session never ends by itself: if it does, that is a fault, and it is raised here.
        await asyncio.wait({session, reading}, return_when=asyncio.FIRST_COMPLETED)
        for task in (session, reading):
            if task.done():
                task.result()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await gateway.outbox.wait_until_at_most(0)
        if stays:
            await session
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await gateway.send_batch()
        await _end(session)


async def _end(session: asyncio.Task) -> None:
    """Cancel a session until it ends.

    One that breaks off at the very moment, to restart, hears of that alone and goes on.
    """
    while not session.done():
        session.cancel()
        await asyncio.wait({session}, timeout=ENDS_WITHIN_S)
    await asyncio.gather(session, return_exceptions=True)
