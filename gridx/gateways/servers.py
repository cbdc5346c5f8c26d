"""The broker's servers, seen through their system account: who is connected, and out they go."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nats.errors
from nats.aio.client import Client

logger = logging.getLogger(__name__)

# How long answers of further servers are waited for after one has answered.
_GATHER_S = 0.5
_FIRST_ANSWER_S = 2.0
_PAGE = 1024


@dataclass(frozen=True, slots=True)
class Connection:
    """A client's connection: at which server, under which number, since when, and who it is."""

    server_id: str
    number: int
    started_at: datetime
    username: str


class Servers:
    """All servers of the broker, one or a cluster."""

    def __init__(self, system: Client) -> None:
        self._system = system
        self._known: frozenset[str] = frozenset()

    async def is_server(self, server_id: str) -> bool:
        """Whether a server with this id is there. Asks when it is new, as after a restart."""
        if server_id not in self._known:
            answers = await self._ask_all("PING", {})
            self._known = frozenset(answer["server"]["id"] for answer in answers)
        return server_id in self._known

    async def connections_of(self, serial: str) -> tuple[list[Connection], datetime | None]:
        """The MQTT connections with this client id, and the servers' time (None: no answer)."""
        answers = await self._ask_all("PING.CONNZ", {"mqtt_client": serial, "auth": True})
        found = [one for answer in answers for one in _connections(answer)]
        times = [_instant(answer["data"]["now"]) for answer in answers]
        return found, max(times, default=None)

    async def all_connections(self) -> AsyncIterator[list[Connection]]:
        """Every gateway's connection, in pages."""
        servers = [answer["server"]["id"] for answer in await self._ask_all("PING", {})]
        for server_id in servers:
            offset = 0
            while True:
                query = {"auth": True, "sort": "cid", "offset": offset, "limit": _PAGE}
                answer = await self._ask(server_id, "CONNZ", query)
                yield _connections(answer)
                offset += _PAGE
                if offset >= answer["data"]["total"]:
                    break

    async def end(self, connection: Connection) -> None:
        """End a connection. That it has ended already is all right."""
        with suppress(nats.errors.TimeoutError, nats.errors.NoRespondersError):
            await self._ask(connection.server_id, "KICK", {"cid": connection.number})

    async def _ask(self, server_id: str, what: str, query: dict[str, Any]) -> dict[str, Any]:
        reply = await self._system.request(
            f"$SYS.REQ.SERVER.{server_id}.{what}", json.dumps(query).encode(), timeout=5.0
        )
        return json.loads(reply.data)

    async def _ask_all(self, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        inbox = self._system.new_inbox()
        subscription = await self._system.subscribe(inbox)
        try:
            await self._system.publish(
                f"$SYS.REQ.SERVER.{what}", json.dumps(query).encode(), reply=inbox
            )
            while len(answers) < max(1, len(self._known)):
                patience_s = _GATHER_S if answers else _FIRST_ANSWER_S
                reply = await subscription.next_msg(timeout=patience_s)
                answers.append(json.loads(reply.data))
        except nats.errors.TimeoutError:
            logger.debug("%d servers answered to %s", len(answers), what)
        finally:
            await subscription.unsubscribe()
        return answers


def _connections(answer: dict[str, Any]) -> list[Connection]:
    server_id = answer["server"]["id"]
    return [
        Connection(
            server_id,
            found["cid"],
            _instant(found["start"]),
            found["authorized_user"],
        )
        for found in answer["data"].get("connections") or []
        # A gateway's client id is its user name; the cloud's own MQTT clients are named otherwise.
        if found.get("mqtt_client") and found["mqtt_client"] == found.get("authorized_user")
    ]


def _instant(text: str) -> datetime:
    # Nanoseconds are more than Python reads.
    main, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{main}.{rest[:6].ljust(6, '0')}+00:00")
