"""Pages that say what went wrong, as an ASGI server makes them: in threads of no request."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from channels.testing import HttpCommunicator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection, connections
from django.test import Client, RequestFactory

from gridx import error_pages
from tests.cast import make_cast


def signed_in() -> bytes:
    """The cookie of the cast's resident."""
    client = Client()
    client.force_login(make_cast().mara)
    connections.close_all()
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}".encode()


def end_connections() -> None:
    """As a restart of the database does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connections.close_all()


async def asked(path: str, cookie: bytes) -> int:
    headers = [(b"cookie", cookie), (b"host", b"localhost")]
    page = HttpCommunicator(get_asgi_application(), "GET", path, headers=headers)
    answer = await page.get_response(timeout=10)
    await page.wait()
    return answer["status"]


@pytest.mark.slow
async def test_error_pages_keep_no_connections_and_outlive_those_that_end(few_connections):
    cookie = await sync_to_async(signed_in)()

    async def nowhere() -> set[int]:
        many = (asked("/nothing-here", cookie) for _ in range(few_connections + 3))
        return set(await asyncio.gather(*many))

    assert await nowhere() == {404}
    assert await asked("/profile", cookie) == 200
    await sync_to_async(end_connections)()
    assert await nowhere() == {404}
    assert await asked("/profile", cookie) == 200


@pytest.mark.parametrize(
    ("page", "number"),
    [
        (error_pages.not_found, 404),
        (error_pages.permission_denied, 403),
        (error_pages.bad_request, 400),
    ],
)
def test_error_pages_ask_the_database_nothing(page, number):
    # Without the mark of a test that uses it, asking raises.
    answer = page(RequestFactory().get("/"), ValueError("secret"))
    assert answer.status_code == number
    assert f">{number}</p>" in answer.content.decode()
    assert "secret" not in answer.content.decode()


def test_what_fails_while_an_error_page_is_made_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(error_pages, "render_to_string", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        error_pages.not_found(RequestFactory().get("/"), ValueError())
    [record] = caplog.records
    assert record.exc_info[0] is ZeroDivisionError
