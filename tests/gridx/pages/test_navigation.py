import re

import pytest
from django.test import Client
from django.urls import resolve, reverse

from gridx.pages.lines import group_url
from inventory.models import Appliance, Cluster
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


def marked(html: str) -> list[str]:
    return re.findall(r'<a href="([^"]*)" aria-current="page">\s*<svg', html)


def test_the_page_where_one_is_is_marked(client: Client, cast: Cast):
    client.force_login(cast.admin)
    assert marked(client.get("/inventory").content.decode()) == ["/inventory"]


def test_where_a_constraint_is_set_and_changed_the_same_is_marked_as_where_it_is_shown(
    client: Client, driven: Cast, limit
):
    client.force_login(driven.fleet)
    cluster = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=cluster)
    for target, section in ((driven.evcs, "/"), (cluster, "/inventory")):
        shown = group_url(cluster) if target == cluster else f"/appliances/{target.pk}"
        new = shown.replace("/flexibility", "") + "/constraints/new"
        change = reverse("constraint_edit", args=[limit(target=target, max_w=9_000).pk])
        for answer in (*map(client.get, (shown, new, change)), client.post(change, {})):
            assert marked(answer.content.decode()) == [section], answer.request["PATH_INFO"]
        assert answer.status_code == 422


def test_only_staff_are_led_to_the_admin(client: Client, cast: Cast):
    for person, expected in (("admin", False), ("staff", True)):
        client.force_login(getattr(cast, person))
        assert ('href="/admin/"' in client.get("/").content.decode()) == expected
    assert resolve("/admin/").url_name == "index"


def test_who_is_signed_out_gets_no_navigation(client: Client, db):
    assert 'aria-label="Main"' not in client.get("/sign-in").content.decode()
