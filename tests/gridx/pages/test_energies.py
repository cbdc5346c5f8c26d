"""Energies of clusters and pools over time: the same pieces as a system's, and who was seen."""

import json
import re
from datetime import UTC, date, datetime
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from gridx.pages.period import measured_days
from inventory.models import Cluster, SystemPool
from measurements.flags import Flag
from measurements.models import SystemDay, SystemSlot
from tests.cast import Cast
from tests.household import measure

MIDNIGHT = datetime(2026, 6, 13, 22, 0, tzinfo=UTC)  # the 14th of June in Berlin
THE_14TH = "?date=2026-06-14"


@pytest.fixture
def measured(cast: Cast, at_noon: datetime) -> Cast:
    """Lindenweg 12 since the 14th of June, until now; Hafenstraße 3, in the pool too, never."""
    measure(cast, since=MIDNIGHT, until=at_noon, now=at_noon)
    cast.pool.systems.add(cast.hafenstrasse)
    return cast


@pytest.fixture
def admin(client: Client, measured: Cast) -> Client:
    client.force_login(measured.admin)
    return client


def energy(group: Cluster | SystemPool) -> str:
    name = "cluster" if isinstance(group, Cluster) else "pool"
    return reverse(f"{name}_energy", args=[group.pk])


def page(client: Client, path: str, **fields) -> str:
    response = client.get(path, **fields)
    assert response.status_code == 200
    return response.content.decode()


def text(client: Client, path: str, **fields) -> str:
    return page(client, path, **fields).replace("\N{NO-BREAK SPACE}", " ")


def bars(html: str) -> dict[str, list]:
    found = re.search(r'<script id="history-figure" type="application/json">(.*?)</script>', html)
    return {trace["name"]: trace["y"] for trace in json.loads(found[1])["data"]}


def tiles(html: str) -> dict[str, str]:
    return dict(re.findall(r'id="tile-([\w-]+)".*?<data value="([^"]*)">', html, re.DOTALL))


@pytest.mark.parametrize("zoom", ["day", "week", "month", "year"])
def test_a_pool_of_one_measured_system_tells_what_the_system_tells(
    admin: Client, measured: Cast, zoom: str
):
    asked = f"?resolution={zoom}&date=2026-06-14"
    of_pool = page(admin, energy(measured.pool) + asked)
    of_system = page(admin, reverse("system", args=[measured.lindenweg.pk]) + asked)
    assert bars(of_pool) == bars(of_system)
    shown = {"produced", "used", "import", "battery"}
    assert {key: tiles(of_pool)[key] for key in shown} == {
        key: tiles(of_system)[key] for key in shown
    }


def test_a_pool_says_how_many_of_its_systems_were_seen(admin: Client, measured: Cast):
    html = text(admin, energy(measured.pool) + "?resolution=week&date=2026-06-14")
    assert "48.0 kWh produced, 12.0 kWh used" in html
    assert "1 of 2 systems seen." in html
    table = re.search(r"<tbody>(.*?)</tbody>", html, re.DOTALL)[1]
    # Monday to Saturday nothing, on Sunday one.
    assert re.findall(r'<td class="number">(\d+)</td>', table) == ["0"] * 6 + ["1"]
    assert re.search(r"<tfoot>.*>1 of 2</td>", html, re.DOTALL)
    german = text(admin, energy(measured.pool) + THE_14TH, headers={"Accept-Language": "de"})
    assert "1 von 2 Anlagen gesehen." in german


def test_a_pools_days_are_those_of_its_own_time_zone(admin: Client, measured: Cast):
    SystemPool.objects.filter(pk=measured.pool.pk).update(time_zone="Asia/Kolkata")
    html = text(admin, energy(measured.pool) + THE_14TH)
    assert 'data-zone="Asia/Kolkata"' in html
    # The roof's 2 kW from 3:30 in Kolkata on, which is midnight in Berlin.
    assert tiles(html)["produced"] == str(int(20.5 * 2_000_000))


def test_the_measured_days_of_a_pool_are_those_of_its_time_zone(measured: Cast):
    SystemPool.objects.filter(pk=measured.pool.pk).update(time_zone="America/New_York")
    pool = SystemPool.objects.get(pk=measured.pool.pk)
    # There it is six in the evening at midnight in Berlin, and still the morning of the 15th.
    assert measured_days(pool) == (date(2026, 6, 13), date(2026, 6, 15))


def test_a_cluster_is_told_with_those_nested_in_it_and_no_others(admin: Client, cellar: Cluster):
    html = text(admin, energy(cellar) + THE_14TH)
    assert "48.0 kWh produced, 12.0 kWh used" in html
    assert "seen." not in html
    assert tiles(html)["produced"] == "48000000"
    inner = text(admin, energy(Cluster.objects.get(parent=cellar)) + THE_14TH)
    assert "produced" not in tiles(inner)


def test_both_are_reached_from_their_pages_and_lead_back(admin: Client, measured: Cast, cellar):
    pool, cluster = measured.pool, cellar
    for address, group in (
        (reverse("pool_detail", args=[pool.pk]), pool),
        (reverse("pool_flexibility", args=[pool.pk]), pool),
        (reverse("cluster_flexibility", args=[cluster.pk]), cluster),
    ):
        assert f'href="{energy(group)}"' in page(admin, address)
    assert reverse("pool_flexibility", args=[pool.pk]) in page(admin, energy(pool))
    assert reverse("cluster_flexibility", args=[cluster.pk]) in page(admin, energy(cluster))


def test_the_export_suggests_the_period_that_is_shown(admin: Client, measured: Cast, cellar):
    for name, group in (("pool", measured.pool), ("cluster", cellar)):
        html = page(admin, energy(group) + "?resolution=week&date=2026-06-14")
        address = reverse(f"{name}_export", args=[group.pk])
        (query,) = re.findall(rf'href="{address}\?([^"]*)"', html)
        assert unescape(query) == "first=2026-06-08&last=2026-06-14&resolution=1d"


def test_the_period_alone_is_sent_to_htmx(admin: Client, measured: Cast):
    html = page(
        admin,
        energy(measured.pool) + THE_14TH,
        headers={"HX-Request": "true", "HX-Target": "period"},
    )
    assert html.lstrip().startswith('<div class="content-stack" id="period"')


@pytest.mark.parametrize(
    ("zoom", "renewed"),
    [("day", "every 60s"), ("week", "every 900s"), ("month", "every 900s"), ("year", "every 900s")],
)
def test_only_the_current_period_is_looked_at_again_a_long_one_rarely(
    admin: Client, measured: Cast, zoom: str, renewed: str
):
    cluster = Cluster.objects.create(system=measured.lindenweg, name="Cellar")
    for group in (measured.pool, cluster):
        html = page(admin, energy(group) + f"?resolution={zoom}")
        assert re.findall(r'id="period".* hx-trigger="([^"]*)"', html) == [renewed]
    past = page(admin, energy(measured.pool) + f"?resolution={zoom}&date=2025-06-14")
    assert not re.search(r'id="period".* hx-trigger', past)
    of_system = page(admin, reverse("system", args=[measured.lindenweg.pk]) + f"?resolution={zoom}")
    assert 'hx-trigger="gridx:figures from:body"' in of_system


def test_one_late_member_makes_not_all_of_a_pool_late(admin: Client, measured: Cast):
    measured.pool.systems.set([measured.lindenweg, measured.hafenstrasse])
    [row] = SystemDay.objects.filter(start=MIDNIGHT)
    row.system_key, row.flags = measured.hafenstrasse.key, int(Flag.RECOVERED)
    row.recovered_s = row.seen_s
    row.save(force_insert=True)
    html = text(admin, energy(measured.pool) + "?resolution=week&date=2026-06-14")
    assert "<td>50 % arrived late</td>" in html


def test_what_was_not_seen_of_a_group_is_missing(admin: Client, measured: Cast, cellar: Cluster):
    for group in (measured.pool, cellar):
        assert "100 % measured" in text(admin, energy(group))
    SystemSlot.objects.filter(start=MIDNIGHT).update(seen_s=0)
    html = text(admin, energy(measured.pool) + THE_14TH)
    assert "99 % measured" in html
    assert "1 % missing" in html


def test_before_anything_was_measured_a_group_says_what_it_sums(admin: Client, measured: Cast):
    pool = SystemPool.objects.create(account=measured.north, name="New", time_zone="Europe/Berlin")
    cluster = Cluster.objects.create(system=measured.lindenweg, name="New")
    html = page(admin, energy(pool))
    assert "What the systems in it measure is summed up here." in html
    assert f'href="{reverse("pool_detail", args=[pool.pk])}">To the systems' in html
    html = page(admin, energy(cluster))
    assert "What the appliances in it measure is summed up here." in html
    assert reverse("system_inventory", args=[measured.lindenweg.pk]) in html


def test_a_period_without_values_leads_to_the_nearest_that_has_some(
    admin: Client, measured: Cast, cellar: Cluster
):
    for group in (measured.pool, cellar):
        html = unescape(page(admin, energy(group) + "?date=2026-01-01"))
        assert f'href="{energy(group)}?resolution=day&date=2026-06-14"' in html
        assert "To the first values" in html


def test_a_group_costs_as_many_queries_however_many_are_in_it(
    admin: Client, measured: Cast, cellar: Cluster, django_assert_num_queries
):
    for zoom in ("day", "week", "year"):
        for systems in ([measured.lindenweg], [measured.lindenweg, measured.hafenstrasse]):
            measured.pool.systems.set(systems)
            # Session, user, account; pool; first and last; members, sums; who was to be seen (3).
            with django_assert_num_queries(10):
                page(admin, energy(measured.pool) + f"?resolution={zoom}")
        # The same of a cluster: its members are found for each of the three, and who was read.
        with django_assert_num_queries(12):
            page(admin, energy(cellar) + f"?resolution={zoom}")
