import re

import pytest
from django.test import Client
from django.urls import resolve

from tests.cast import Cast


def ways(html: str) -> list[str]:
    found = re.search(r'<nav aria-label="Main".*?</nav>', html, re.DOTALL)[0]
    return re.findall(r'<a href="([^"]*)"', found)


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ("mara", ["/", "#period", "#appliances"]),
        ("viewer", ["/fleet", "/", "/inventory", "/accounts"]),
        ("fleet", ["/fleet", "/", "/inventory", "/accounts"]),
        ("installer", ["/fleet", "/", "/inventory", "/gateways/new", "/accounts"]),
        ("admin", ["/fleet", "/", "/inventory", "/gateways/new", "/accounts"]),
        ("staff", ["/fleet", "/", "/inventory", "/gateways/new", "/accounts"]),
    ],
)
def test_everybody_is_led_where_their_work_is(
    client: Client, cast: Cast, person: str, expected: list[str]
):
    client.force_login(getattr(cast, person))
    found = ways(client.get("/").content.decode())
    assert found == expected
    for way in found:
        if way.startswith("/"):
            assert client.get(way).status_code == 200, way


def test_the_page_where_one_is_is_marked(client: Client, cast: Cast):
    client.force_login(cast.admin)
    html = client.get("/inventory").content.decode()
    current = re.findall(r'<a href="([^"]*)" aria-current="page">\s*<svg', html)
    assert current == ["/inventory"]


def test_only_staff_are_led_to_the_admin(client: Client, cast: Cast):
    for person, expected in (("admin", False), ("staff", True)):
        client.force_login(getattr(cast, person))
        assert ('href="/admin/"' in client.get("/").content.decode()) == expected
    assert resolve("/admin/").url_name == "index"


def test_who_is_signed_out_gets_no_navigation(client: Client, db):
    assert 'aria-label="Main"' not in client.get("/sign-in").content.decode()
