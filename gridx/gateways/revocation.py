"""Ends the connections of gateways whose right to be signed in has ended.

The database tells of every change of a secret or a revocation as it commits (trigger of
migration `0002_sign_in_notice`), and of a gateway that is held off (`gridx.gateways.floods`), so a
connection ends at once, and no link asks again and again.
What was changed while nobody listened is found by going through all connections.

The same connection to the database holds the lock by which one of the links, and one at a time,
handles the messages whose order counts: it ends with the process, however that ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import nats.errors
import psycopg
from django.db import connections

from gridx import clock
from gridx.gateways.contacts import mark_offline
from gridx.gateways.database import UNREACHABLE, DatabaseThreads
from gridx.gateways.servers import Connection, Servers
from gridx.gateways.tally import Tally
from inventory.models import Gateway
from measurements.announce import announce

logger = logging.getLogger(__name__)

NOTICE = "gateway_sign_in"
# An arbitrary number of our own among the database's advisory locks.
_ORDERED_LOCK = 0x67726478
# A sign-in that was being decided while the right ended is through by then.
_SECOND_LOOK_S = 3.0
_PAUSE_S = 1.0
_MOST_AT_ONCE = 20
_SILENCE = timedelta(minutes=5)


class Watch:
    """Listens to the database; tells whether this link is the one that keeps the order."""

    def __init__(self, *, servers: Servers, database: DatabaseThreads, tally: Tally) -> None:
        self._servers, self._database, self._tally = servers, database, tally
        self._at_work: set[asyncio.Task] = set()
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self.leads = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled, with a new connection whenever one breaks."""
        try:
            while True:
                try:
                    async with await self._connect() as connection:
                        await self._listen(connection)
                except psycopg.Error as error:
                    logger.warning("Not listening to the database: %s", str(error).strip())
                finally:
                    self.leads.clear()
                await asyncio.sleep(_PAUSE_S)
        finally:
            for task in self._at_work:
                task.cancel()
            await asyncio.gather(*self._at_work, return_exceptions=True)

    async def _connect(self) -> psycopg.AsyncConnection:
        parameters = connections["default"].get_connection_params()
        given = ("dbname", "user", "password", "host", "port", "sslmode", "sslrootcert")
        return await psycopg.AsyncConnection.connect(
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            **{name: parameters[name] for name in given if name in parameters},
        )

    async def _listen(self, connection: psycopg.AsyncConnection) -> None:
        await connection.execute(f"LISTEN {NOTICE}")
        self._begin(self._look_through_all)
        while True:
            if not self.leads.is_set():
                cursor = await connection.execute(
                    "SELECT pg_try_advisory_lock(%s)", [_ORDERED_LOCK]
                )
                if (await cursor.fetchone())[0]:
                    self.leads.set()
            else:
                await connection.execute("SELECT 1")
            async for notice in connection.notifies(timeout=_PAUSE_S):
                self._begin(partial(self._end_of, notice.payload))

    def _begin(self, work: Callable[[], Awaitable[None]], *, after_s: float = 0.0) -> None:
        task = asyncio.create_task(self._carefully(work, after_s))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _carefully(self, work: Callable[[], Awaitable[None]], after_s: float) -> None:
        await asyncio.sleep(after_s)
        async with self._slots:
            try:
                await work()
            except (nats.errors.Error, *UNREACHABLE) as error:
                # When what is missing is back, all connections are looked through again.
                logger.warning("Connections could not be looked through: %s", error)

    async def _end_of(self, serial: str) -> None:
        """End the connections of a gateway that began before now; look twice.

        Which secret a connection came with is not known: one that came with the new secret in the
        very same moment is ended too, and simply comes back.
        """
        open_now, servers_now = await self._servers.connections_of(serial)
        await self._end(open_now)
        self._begin(partial(self._look_again, serial, servers_now), after_s=_SECOND_LOOK_S)

    async def _look_again(self, serial: str, began_before: datetime | None) -> None:
        still_open, _servers_now = await self._servers.connections_of(serial)
        await self._end(
            one for one in still_open if began_before is None or one.started_at <= began_before
        )

    async def make_rounds(self) -> None:
        """Go through all connections: end those without a right, and note which gateways have none.

        A broker that dies publishes no last wills, so some gateways may be thought to be online.
        """
        self._begin(self._look_through_all)

    async def _look_through_all(self) -> None:
        connected: set[str] = set()
        async for page in self._servers.all_connections():
            await self._end(await self._database.run(_without_a_right, page, now=clock.now()))
            connected |= {one.username for one in page}
        gone = await self._database.run(_note_the_silent, connected, now=clock.now())
        if gone:
            self._tally.count("gateways found gone", len(gone))
            await announce(gone)

    async def _end(self, ended: Iterable[Connection]) -> None:
        for connection in ended:
            self._tally.count("connections ended", example=connection.username)
            await self._servers.end(connection)


def _without_a_right(page: list[Connection], *, now: datetime) -> list[Connection]:
    """Those of the connections whose gateways are gone, revoked, paused, or have a newer secret."""
    rows = Gateway.objects.filter(serial__in={one.username for one in page}).values_list(
        "serial", "revoked_at", "secret_rotated_at", "paused_until"
    )
    rights = {serial: right for serial, *right in rows}

    def has_none(one: Connection) -> bool:
        if one.username not in rights:
            return True
        revoked_at, rotated_at, paused_until = rights[one.username]
        return (
            revoked_at is not None
            or (rotated_at is not None and rotated_at > one.started_at)
            or (paused_until is not None and now < paused_until)
        )

    return [one for one in page if has_none(one)]


def _note_the_silent(connected: set[str], *, now: datetime) -> set[UUID]:
    """Mark as offline who has no connection and was silent for a while; returns their systems."""
    silent = Gateway.objects.filter(online=True, contacted_at__lt=now - _SILENCE)
    serials = set(silent.values_list("serial", flat=True)) - connected
    return mark_offline(serials=serials) if serials else set()
