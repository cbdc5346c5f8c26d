"""A link from start to end: its connections, its loops, and what it does now and then."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client

from gridx import clock
from gridx.gateways.authentication import ACCOUNT, SignInDesk
from gridx.gateways.consumers import ensure_consumers
from gridx.gateways.control_lines import read_as_specified
from gridx.gateways.database import UNREACHABLE, DatabaseThreads
from gridx.gateways.disconnects import DisconnectNotes
from gridx.gateways.faults import drop_old_faults
from gridx.gateways.hints import Hints
from gridx.gateways.link import Link
from gridx.gateways.publisher import Publisher
from gridx.gateways.revocation import Watch
from gridx.gateways.servers import Servers
from gridx.gateways.tally import Tally
from gridx.gateways.tokens import Issuer
from gridx.gateways.waiting import is_set_within
from gridx.services import Addresses

logger = logging.getLogger(__name__)

# Loops that store readings side by side: while one waits for the database, the other decodes.
STORING_LOOPS = 2
REPORT_S = 60.0
ROUNDS_S = 300.0
CLEANING_S = 3600.0
_FAREWELL_S = 8.0


async def run_link(*, at: Addresses, stop: asyncio.Event) -> None:
    """Run until `stop` is set: finish what was begun, acknowledge it, and leave."""
    read_as_specified()
    tally = Tally()
    database = DatabaseThreads(STORING_LOOPS + 1, "storing")
    sign_in_database = DatabaseThreads(4, "sign-in")
    broker = _Broker(at, tally)
    client, system = await broker.connect(stop)
    if client is None or system is None:
        return
    publisher = Publisher(mqtt_url=at.mqtt_url, nats_url=at.nats_url)
    servers = Servers(system)
    watch = Watch(servers=servers, database=sign_in_database, tally=tally)
    hints = Hints()
    link = Link(
        client=client,
        database=database,
        publisher=publisher,
        hints=hints,
        tally=tally,
        ready=broker.ready,
        stop=stop,
    )
    desk = SignInDesk(
        issuer=Issuer(at.nats_issuer_seed, ACCOUNT),
        cluster=servers,
        database=sign_in_database,
        tally=tally,
        is_open=broker.ready.is_set,
    )
    background = [
        asyncio.create_task(publisher.run(), name="publisher"),
        asyncio.create_task(watch.run(), name="watch"),
        asyncio.create_task(broker.keep_ready(watch.make_rounds), name="ready"),
        asyncio.create_task(_now_and_then(tally, watch, database), name="now and then"),
    ]
    hints.start()
    try:
        await desk.attend(client)
        await DisconnectNotes(sign_in_database).attend(system)
        loops = [link.store_readings() for _ in range(STORING_LOOPS)]
        await _until_stopped(stop, [*loops, link.keep_order(watch.leads)], background)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        hints.stop()
        await broker.close()
        tally.report()
        await database.close()
        await sign_in_database.close()


class _Broker:
    """The two connections to NATS, and whether all is there that gateways need."""

    def __init__(self, at: Addresses, tally: Tally) -> None:
        self._at, self._tally = at, tally
        self._clients: list[Client] = []
        self._connected = asyncio.Event()
        self._is_closing = False
        self.ready = asyncio.Event()

    async def connect(self, stop: asyncio.Event) -> tuple[Client | None, Client | None]:
        """Both connections, as soon as the broker is there; None when `stop` comes first."""
        client = await self._connect(
            self._at.nats_url,
            stop,
            disconnected_cb=self._lost,
            reconnected_cb=self._regained,
        )
        system = await self._connect(self._at.nats_system_url, stop)
        self._connected.set()
        return client, system

    async def keep_ready(self, make_rounds: Callable[[], Awaitable[None]]) -> None:
        """After each (re)connection see to the consumers; only then gateways are let in."""
        while True:
            await self._connected.wait()
            self._connected.clear()
            while not self.ready.is_set():
                try:
                    await ensure_consumers(self._clients[0].jetstream())
                except (nats.errors.Error, nats.js.errors.Error) as error:
                    logger.warning("The log's consumers are not there: %s", error)
                    await asyncio.sleep(1.0)
                    continue
                self.ready.set()
                logger.info("Gateways are let in.")
            await make_rounds()

    async def close(self) -> None:
        """Send what is still to be sent, and leave."""
        self._is_closing = True
        for client in self._clients:
            with suppress(nats.errors.Error):
                await client.flush(timeout=2)
            await client.close()

    async def _connect(self, url: str, stop: asyncio.Event, **callbacks: Any) -> Client | None:
        while not stop.is_set():
            try:
                client = await nats.connect(
                    url,
                    name="gridx link",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.5,
                    error_cb=self._note,
                    **callbacks,
                )
            except (nats.errors.Error, OSError) as error:
                logger.warning("The broker is out of reach: %s", error)
                await is_set_within(stop, 1.0)
            else:
                self._clients.append(client)
                return client
        return None

    async def _lost(self) -> None:
        if self._is_closing:
            return
        self.ready.clear()
        logger.warning("The connection to the broker is lost.")

    async def _regained(self) -> None:
        logger.warning("The connection to the broker is back.")
        self._connected.set()

    async def _note(self, error: Exception) -> None:
        self._tally.count("broker errors", example=str(error) or type(error).__name__)


async def _until_stopped(
    stop: asyncio.Event,
    loops: list[Coroutine[Any, Any, None]],
    background: list[asyncio.Task],
) -> None:
    """Run the loops until `stop`, then until each has finished its batch.

    Whatever ends before is a mistake in this program: raises it, so that the process is replaced.
    """
    tasks = [asyncio.create_task(loop) for loop in loops]
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait(
            [*tasks, *background, stopping], return_when=asyncio.FIRST_COMPLETED
        )
        if stopping in done:
            _, unfinished = await asyncio.wait(tasks, timeout=_FAREWELL_S)
            if unfinished:
                logger.warning("A batch is left to the next link.")
        for task in done - {stopping}:
            task.result()
    finally:
        stop.set()
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)


async def _now_and_then(tally: Tally, watch: Watch, database: DatabaseThreads) -> None:
    """Report, make rounds, drop what is old. In real time, however fast the clock runs."""
    due = {"rounds": time.monotonic() + ROUNDS_S, "cleaning": time.monotonic()}
    while True:
        await asyncio.sleep(REPORT_S)
        tally.report()
        if not watch.leads.is_set():
            continue
        if time.monotonic() >= due["rounds"]:
            due["rounds"] = time.monotonic() + ROUNDS_S
            await watch.make_rounds()
        if time.monotonic() >= due["cleaning"]:
            due["cleaning"] = time.monotonic() + CLEANING_S
            try:
                await database.run(drop_old_faults, now=clock.now())
            except UNREACHABLE as error:
                logger.warning("Old faults stay for now: %s", str(error).strip())
