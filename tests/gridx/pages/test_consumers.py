"""A system's socket: who may join, what is pushed, and when it ends."""

import asyncio
import re
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from channels.consumer import AsyncConsumer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.test import Client
from uvicorn.protocols.utils import ClientDisconnected

from accounts.models import User
from gridx import clock
from gridx.asgi import application
from gridx.pages import consumers
from inventory.models import Gateway
from measurements.announce import announce
from measurements.slots import compute_until_clean
from tests.cast import Cast
from tests.household import read_now

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = (b"origin", b"http://testserver")


@pytest.fixture(autouse=True)
async def no_connection_left():
    """The thread in which coroutines use the database keeps its connection else."""
    yield
    await sync_to_async(connections.close_all)()


def cookies(user: User | None, language: str = "en") -> bytes:
    parts = [f"{settings.LANGUAGE_COOKIE_NAME}={language}"]
    if user is not None:
        client = Client()
        client.force_login(user)
        parts.append(f"sessionid={client.cookies['sessionid'].value}")
    return "; ".join(parts).encode()


async def connect(path: str, user: User | None = None, **options) -> WebsocketCommunicator:
    header = await sync_to_async(cookies)(user, **options)
    socket = WebsocketCommunicator(application, path, headers=[ORIGIN, (b"cookie", header)])
    accepted, _protocol = await socket.connect(timeout=30)
    assert accepted
    return socket


async def refusal(socket: WebsocketCommunicator) -> int:
    message = await socket.receive_output(timeout=30)
    assert message["type"] == "websocket.close"
    return message["code"]


def socket_of(cast: Cast) -> str:
    return f"/ws/systems/{cast.lindenweg.pk}"


async def pushed(socket: WebsocketCommunicator) -> str:
    return await socket.receive_from(timeout=30)


async def test_nobody_is_closed_with_4403(cast: Cast):
    assert await refusal(await connect(socket_of(cast))) == 4403


@pytest.mark.parametrize("person", ["schmidt", "south_admin"])
async def test_who_may_not_see_the_system_is_closed_with_4404(cast: Cast, person: str):
    assert await refusal(await connect(socket_of(cast), getattr(cast, person))) == 4404


@pytest.mark.parametrize(
    "path",
    ["/ws/systems/97af25d0-3791-48cc-857c-14aaac749267", "/ws/systems/1", "/ws", "/elsewhere"],
)
async def test_what_there_is_not_is_closed_with_4404(cast: Cast, path: str):
    assert await refusal(await connect(path, cast.admin)) == 4404


async def test_a_page_of_another_site_is_not_let_in(cast: Cast):
    header = await sync_to_async(cookies)(cast.mara)
    headers = [(b"origin", b"http://evil.example"), (b"cookie", header)]
    socket = WebsocketCommunicator(application, socket_of(cast), headers=headers)
    accepted, _code = await socket.connect(timeout=30)
    assert not accepted


@pytest.mark.parametrize("person", ["mara", "fleet", "grid_operator", "staff"])
async def test_who_sees_the_system_gets_its_fragments_at_once(cast: Cast, person: str):
    socket = await connect(socket_of(cast), getattr(cast, person))
    html = await pushed(socket)
    found = re.findall(r'<(?:p|section)[^>]* id="(\w+)"[^>]*hx-swap-oob="morph"', html)
    assert found == ["seen", "flow", "appliances"]
    await socket.disconnect()


async def test_news_are_pushed_as_the_page_shows_them(cast: Cast):
    socket = await connect(socket_of(cast), cast.mara)
    assert "No values yet" in await pushed(socket)
    await sync_to_async(read_now)(cast, at=clock.now(), pv=-4_860.0, evcs=4_490.0, grid=620.0)
    await announce([cast.lindenweg.pk])
    html = await pushed(socket)
    assert "Your car charges at 4.49\N{NO-BREAK SPACE}kW" in html
    assert "4.86\N{NO-BREAK SPACE}kW" in html
    await socket.disconnect()


async def test_the_neighbours_news_are_not_pushed(cast: Cast):
    socket = await connect(socket_of(cast), cast.mara)
    await pushed(socket)
    await announce([cast.hafenstrasse.pk])
    assert await socket.receive_nothing(timeout=1)
    await socket.disconnect()


async def test_many_news_at_once_are_pushed_together(cast: Cast):
    socket = await connect(socket_of(cast), cast.mara)
    await pushed(socket)
    for _each in range(50):
        await announce([cast.lindenweg.pk])
    await pushed(socket)
    # What came while that was rendered is one more push, and then it is quiet.
    if not await socket.receive_nothing(timeout=2 * consumers.PAUSE_S):
        await pushed(socket)
    assert await socket.receive_nothing(timeout=2 * consumers.PAUSE_S)
    await socket.disconnect()


async def test_fragments_speak_the_language_of_the_page(cast: Cast):
    await sync_to_async(read_now)(cast, at=clock.now(), evcs=4_490.0)
    socket = await connect(socket_of(cast), cast.mara, language="de")
    assert "4,49\N{NO-BREAK SPACE}kW" in await pushed(socket)
    await socket.disconnect()


async def test_who_is_deactivated_gets_nothing_more(cast: Cast):
    socket = await connect(socket_of(cast), cast.mara)
    await pushed(socket)
    await User.objects.filter(pk=cast.mara.pk).aupdate(is_active=False)
    await announce([cast.lindenweg.pk])
    assert await refusal(socket) == 4403


async def test_who_signs_out_gets_nothing_more(cast: Cast):
    socket = await connect(socket_of(cast), cast.mara)
    await pushed(socket)
    await sync_to_async(SessionStore.get_model_class().objects.all().delete)()
    await announce([cast.lindenweg.pk])
    assert await refusal(socket) == 4403


async def test_who_loses_sight_of_the_system_gets_nothing_more(cast: Cast):
    socket = await connect(socket_of(cast), cast.mara)
    await pushed(socket)
    await User.objects.filter(pk=cast.mara.pk).aupdate(account=cast.schmidts)
    await announce([cast.lindenweg.pk])
    assert await refusal(socket) == 4404


async def test_access_is_checked_without_news_as_well(cast: Cast, monkeypatch):
    monkeypatch.setattr(consumers, "CHECK_S", 0.2)
    socket = await connect(socket_of(cast), cast.mara)
    await pushed(socket)
    await User.objects.filter(pk=cast.mara.pk).aupdate(is_active=False)
    while (message := await socket.receive_output(timeout=30))["type"] == "websocket.send":
        pass
    assert message["code"] == 4403


async def test_the_mark_of_the_figures_changes_when_they_are_looked_at_again(
    cast: Cast, monkeypatch
):
    monkeypatch.setattr(consumers, "CHECK_S", 0.2)
    socket = await connect(socket_of(cast), cast.mara)
    before = re.search(r'data-figures="(\w+)"', await pushed(socket))[1]
    now = clock.now()
    for minutes in (2, 1, 0):
        await sync_to_async(read_now)(
            cast, at=now - timedelta(minutes=minutes), now=now, pv=-2_000.0, grid=-1_000.0
        )
    await sync_to_async(compute_until_clean)(now=now)
    async with asyncio.timeout(30):
        while re.search(r'data-figures="(\w+)"', await pushed(socket))[1] == before:
            pass
    await socket.disconnect()


@pytest.mark.parametrize("who", ["mara", "schmidt"])
@pytest.mark.parametrize("error", [ClientDisconnected, RuntimeError])
async def test_a_page_that_is_left_while_something_is_sent_to_it_is_no_error(
    cast: Cast, monkeypatch, caplog, error: type[Exception], who: str
):
    tried = asyncio.Event()
    send = AsyncConsumer.send

    async def send_to_nobody(consumer: AsyncConsumer, message: dict) -> None:
        if message["type"] == "websocket.accept":
            await send(consumer, message)
        else:
            tried.set()
            raise error

    monkeypatch.setattr(AsyncConsumer, "send", send_to_nobody)
    socket = await connect(socket_of(cast), getattr(cast, who))
    async with asyncio.timeout(30):
        await tried.wait()
    await socket.disconnect()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_gateway_that_leaves_is_told(cast: Cast):
    await Gateway.objects.filter(pk=cast.gateway.pk).aupdate(online=True, contacted_at=clock.now())
    socket = await connect(socket_of(cast), cast.mara)
    assert "not connected" not in await pushed(socket)
    await Gateway.objects.filter(pk=cast.gateway.pk).aupdate(online=False)
    await announce([cast.lindenweg.pk])
    assert "not connected" in await pushed(socket)
    await socket.disconnect()
