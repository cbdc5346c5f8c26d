"""Sockets of the pages: live fragments of a system or an appliance, rendered on the server.

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
from uuid import UUID
from zoneinfo import ZoneInfo

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone, translation

from accounts.models import User
from gridx import clock
from gridx.pages import appliance, car
from gridx.pages.fragments import figures_mark, render_live
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
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


class LiveConsumer(AsyncWebsocketConsumer):
    """Pushes fragments of a page as soon as its system has news."""

    async def connect(self) -> None:
        self._pushing: asyncio.Task | None = None
        await self.accept()
        self._news = asyncio.Event()
        try:
            _user, thing = await self._admit()
        except Closed as refusal:
            await self._end(refusal.code)
            return
        self._group = group_of(self.system_id(thing))
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
            await self.channel_layer.group_add(self._group, self.channel_name)
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await self._news.wait()
                self._news.clear()
                user, thing = await self._admit()
                html = await self._render(user, thing)
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

    async def _admit(self) -> tuple[User, Any]:
        """The user and what the page is about, through the gate; Closed where it may not be seen
        (any more)."""
        session = self.scope["session"]
        # A session of its own each time: somebody may have signed out or been deactivated.
        fresh = type(session._wrapped)(session.session_key)
        user = await get_user({**self.scope, "session": fresh})
        if not user.is_authenticated:
            raise Closed(SIGNED_OUT)
        thing = await database_sync_to_async(self.find)(user)
        if thing is None:
            raise Closed(NOT_FOUND)
        return user, thing

    @database_sync_to_async
    def _render(self, user: User, thing: Any) -> str:
        with translation.override(_language(self.scope)), timezone.override(self.zone(thing)):
            return self.render(user, thing)

    def find(self, user: User) -> Any:
        """What the page is about, if the user sees it."""
        raise NotImplementedError

    def system_id(self, thing: Any) -> UUID:
        """Whose news matter to it."""
        raise NotImplementedError

    def zone(self, thing: Any) -> ZoneInfo:
        """The zone of its times."""
        raise NotImplementedError

    def render(self, user: User, thing: Any) -> str:
        """Its fragments as they are now."""
        raise NotImplementedError


class SystemConsumer(LiveConsumer):
    """The page of a system."""

    _mark: tuple[float, str] | None = None

    def find(self, user: User) -> System | None:
        visible = System.objects.visible_to(user).select_related("gateway")
        return visible.filter(pk=self.scope["url_route"]["kwargs"]["system_id"]).first()

    def system_id(self, thing: System) -> UUID:
        return thing.pk

    def zone(self, thing: System) -> ZoneInfo:
        return thing.zone

    def render(self, user: User, thing: System) -> str:
        return render_live(thing, user=user, mark=self._mark_of(thing), now=clock.now())

    def _mark_of(self, system: System) -> str:
        """The mark of today's figures, renewed every `CHECK_S`: pages then fetch them anew."""
        at = time.monotonic()
        if self._mark is None or at - self._mark[0] >= CHECK_S:
            self._mark = (at, figures_mark(system, now=clock.now()))
        return self._mark[1]


class ApplianceConsumer(LiveConsumer):
    """The page of an appliance."""

    def find(self, user: User) -> Appliance | None:
        visible = Appliance.objects.visible_to(user).select_related(
            "system__account", "system__gateway", "gateway"
        )
        return visible.filter(pk=self.scope["url_route"]["kwargs"]["appliance_id"]).first()

    def system_id(self, thing: Appliance) -> UUID:
        return thing.system_id

    def zone(self, thing: Appliance) -> ZoneInfo:
        return thing.system.zone

    def render(self, user: User, thing: Appliance) -> str:
        return appliance.render_live(thing, user=user, now=clock.now())


class CarConsumer(ApplianceConsumer):
    """The page of a charging station, for who drives the car."""

    def find(self, user: User) -> Appliance | None:
        found = super().find(user)
        is_station = found is not None and found.kind == ApplianceKind.EV_CHARGING_STATION
        return found if is_station else None

    def render(self, user: User, thing: Appliance) -> str:
        return car.render_live(thing, user=user, now=clock.now())


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
