"""Sockets of the pages: a system's live fragments, rendered on the server.

The door is the same as the page's: who is not signed in is closed with 4403, who may not see the
system with 4404, always after the handshake, because browsers hide the code of one that fails.
The gate is asked again with every push, and at least every `CHECK_S`.
"""

import asyncio
import logging
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone, translation

from accounts.models import User
from gridx import clock
from gridx.pages.fragments import figures_mark, render_live
from inventory.models import System
from measurements.announce import group_of

logger = logging.getLogger(__name__)

SIGNED_OUT, NOT_FOUND, SERVER_ERROR = 4403, 4404, 1011
# At most two pushes a second, however many readings arrive.
PAUSE_S = 0.5
# A page without news is renewed so often: what is stale, who may still see it.
CHECK_S = 15.0


# What a server raises at what is sent to a page that was left: an OSError by the specification of
# ASGI, and where it has noticed already, that the socket is closed.
LEFT = (OSError, RuntimeError)


class Closed(Exception):
    """The socket may not go on; `code` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class SystemConsumer(AsyncWebsocketConsumer):
    """Pushes a system's fragments as soon as it has news."""

    async def connect(self) -> None:
        self._pushing: asyncio.Task | None = None
        await self.accept()
        self._news = asyncio.Event()
        self._mark: tuple[float, str] | None = None
        self._group = group_of(self.scope["url_route"]["kwargs"]["system_id"])
        try:
            await self._admit()
        except Closed as refusal:
            await self._end(refusal.code)
            return
        await self.channel_layer.group_add(self._group, self.channel_name)
        # First of all what happened since the page was rendered, or the connection was lost.
        self._news.set()
        self._pushing = asyncio.create_task(self._push())

    async def disconnect(self, code: int) -> None:
        if self._pushing is not None:
            self._pushing.cancel()
            await self.channel_layer.group_discard(self._group, self.channel_name)

    async def system_changed(self, message: dict[str, Any]) -> None:
        """What `measurements.announce` says."""
        self._news.set()

    async def _push(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await self._news.wait()
                self._news.clear()
                user, system = await self._admit()
                html = await self._render(user, system)
                try:
                    await self.send(text_data=html)
                except LEFT:
                    return
                await asyncio.sleep(PAUSE_S)
        except Closed as refusal:
            await self._end(refusal.code)
        except Exception:
            # The browser comes back after a while and gets everything anew.
            logger.exception("The socket of %s ended", self._group)
            await self._end(SERVER_ERROR)

    async def _end(self, code: int) -> None:
        """Close the socket, unless the page was left meanwhile."""
        with suppress(*LEFT):
            await self.close(code)

    async def _admit(self) -> tuple[User, System]:
        """The user and the system, through the gate; Closed where it may not be seen (any more)."""
        session = self.scope["session"]
        # A session of its own each time: somebody may have signed out or been deactivated.
        fresh = type(session._wrapped)(session.session_key)
        user = await get_user({**self.scope, "session": fresh})
        if not user.is_authenticated:
            raise Closed(SIGNED_OUT)
        system = await self._find(user)
        if system is None:
            raise Closed(NOT_FOUND)
        return user, system

    @database_sync_to_async
    def _find(self, user: User) -> System | None:
        visible = System.objects.visible_to(user).select_related("gateway")
        return visible.filter(pk=self.scope["url_route"]["kwargs"]["system_id"]).first()

    @database_sync_to_async
    def _render(self, user: User, system: System) -> str:
        now = clock.now()
        with translation.override(_language(self.scope)), timezone.override(system.zone):
            return render_live(system, user=user, mark=self._mark_of(system), now=now)

    def _mark_of(self, system: System) -> str:
        """The mark of today's figures, renewed every `CHECK_S`: pages then fetch them anew."""
        at = time.monotonic()
        if self._mark is None or at - self._mark[0] >= CHECK_S:
            self._mark = (at, figures_mark(system, now=clock.now()))
        return self._mark[1]


class NoSuchSocket(AsyncWebsocketConsumer):
    """Addresses that there are not."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(NOT_FOUND)


def _language(scope: dict[str, Any]) -> str:
    """The language of the page that opened the socket: its cookie, else what its browser asks."""
    accepted = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
    request = SimpleNamespace(
        COOKIES=scope.get("cookies", {}), META={"HTTP_ACCEPT_LANGUAGE": accepted}
    )
    return translation.get_language_from_request(request)
