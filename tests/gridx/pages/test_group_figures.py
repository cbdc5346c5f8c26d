"""From a figure of a pool or a cluster to whose it is: every step adds up, and leads on."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, System, SystemPool
from measurements.batches import Batch
from measurements.flags import Flag
from measurements.models import ApplianceSlot, SystemSlot
from measurements.operations import declare_interval, store_readings
from measurements.resolutions import SLOT_MS, to_ms
from measurements.slots import compute_until_clean
from tests.cast import Cast
from tests.household import measure

MIDNIGHT = datetime(2026, 6, 13, 22, 0, tzinfo=UTC)  # the 14th of June in Berlin
NOON = MIDNIGHT + timedelta(hours=12)
THE_14TH = "date=2026-06-14"
KWH = 1_000_000


@pytest.fixture
def measured(cast: Cast, at_noon: datetime) -> Cast:
    """Lindenweg 12 since the 14th of June, until now; Hafenstraße 3 took 2 kW from the grid."""
    measure(cast, since=MIDNIGHT, until=at_noon, now=at_noon)
    at_ms = np.arange(to_ms(MIDNIGHT), to_ms(at_noon) + 1, SLOT_MS)
    declare_interval(appliance=cast.other_meter, interval_s=900, valid_from=MIDNIGHT)
    store_readings(
        batch=Batch.of(
            system_key=cast.hafenstrasse.key,
            appliance_key=cast.other_meter.key,
            at_ms=at_ms,
            imported_wh=(at_ms - at_ms[0]) / 3_600_000 * 2000.0,
            exported_wh=0.0,
        ),
        now=at_noon,
        history=True,
    )
    compute_until_clean(now=at_noon)
    cast.pool.systems.add(cast.hafenstrasse)
    return cast


@pytest.fixture
def admin(client: Client, measured: Cast) -> Client:
    client.force_login(measured.admin)
    return client


def address(group: Cluster | SystemPool, name: str) -> str:
    page = "cluster_figure" if isinstance(group, Cluster) else "pool_figure"
    return reverse(page, args=[group.pk, name])


def page(client: Client, path: str, **fields) -> str:
    response = client.get(path, **fields)
    assert response.status_code == 200
    return response.content.decode()


def figure(client: Client, group, name: str, asked: str = THE_14TH, **fields) -> str:
    return page(client, f"{address(group, name)}?{asked}", **fields)


def headline(html: str) -> int:
    return int(re.search(r'id="figure">.*?<data value="(-?\d+)">', html, re.DOTALL)[1])


def summed(html: str) -> int:
    return int(re.search(r'id="summed" value="(-?\d+)"', html)[1])


def rows(html: str) -> dict[str, tuple[str, list[int]]]:
    """By name, where a member leads and its amounts."""
    body = re.search(r'id="shares">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)[1]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        head = re.search(r'<th scope="row">(?:<a href="([^"]*)">)?([^<]*)', row)
        amounts = [int(value) for value in re.findall(r'<data value="(-?\d+)">', row)]
        found[unescape(head[2]).strip()] = (unescape(head[1] or ""), amounts)
    return found


# Pools -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zoom", ["day", "week", "month", "year"])
@pytest.mark.parametrize("name", ["pv", "consumption", "import", "pv_to_load", "grid_to_load"])
def test_a_pool_s_figure_is_the_sum_of_its_systems_whose_pages_say_the_same(
    admin: Client, measured: Cast, name: str, zoom: str
):
    html = figure(admin, measured.pool, name, f"resolution={zoom}&{THE_14TH}")
    found = rows(html)
    amounts = [mwh for _url, own in found.values() for mwh in own]
    assert headline(html) == summed(html) == sum(amounts)
    assert "add up" not in html
    assert set(found) == {"Lindenweg 12", "Hafenstraße 3"}
    for url, own in found.values():
        assert url.startswith("/systems/")
        assert own == [] or headline(page(admin, url)) == own[0]


def test_a_pool_s_day_says_how_much_each_system_adds(admin: Client, measured: Cast):
    html = figure(admin, measured.pool, "consumption")
    assert "The sum of what 2 systems tell." in html
    assert {name: own for name, (_url, own) in rows(html).items()} == {
        "Hafenstraße 3": [48 * KWH],
        "Lindenweg 12": [12 * KWH],
    }
    html = figure(admin, measured.pool, "pv")
    assert {name: own for name, (_url, own) in rows(html).items()} == {
        "Lindenweg 12": [48 * KWH],
        "Hafenstraße 3": [],
    }
    assert "no statement" in html


def test_systems_of_other_time_zones_add_what_they_measured_in_the_pool_s_day(
    admin: Client, measured: Cast
):
    System.objects.filter(pk=measured.hafenstrasse.pk).update(time_zone="Asia/Kolkata")
    for zoom in ("day", "week", "month", "year"):
        html = figure(admin, measured.pool, "import", f"resolution={zoom}&{THE_14TH}")
        found = rows(html)
        assert headline(html) == summed(html) == sum(sum(own) for _url, own in found.values())
        assert "What counts are the days of Europe/Berlin." in html
        assert '<span class="soft">Asia/Kolkata</span>' in html
    assert rows(figure(admin, measured.pool, "import"))["Hafenstraße 3"][1] == [48 * KWH]


def test_flags_and_what_was_seen_are_those_of_each_system(admin: Client, measured: Cast):
    SystemSlot.objects.filter(system_key=measured.lindenweg.key, start=MIDNIGHT).update(
        flags=Flag.RESET, seen_s=0
    )
    body = re.search(r"<tbody>.*?</tbody>", figure(admin, measured.pool, "import"), re.DOTALL)[0]
    hafenstrasse, lindenweg = re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    assert "counter reset" in lindenweg
    assert ">99\N{NO-BREAK SPACE}%<" in lindenweg
    assert "counter reset" not in hafenstrasse
    assert ">100\N{NO-BREAK SPACE}%<" in hafenstrasse


def test_many_systems_are_sorted_and_shown_page_by_page_and_all_of_them_add_up(
    admin: Client, measured: Cast
):
    others = System.objects.bulk_create(
        System(account=measured.meyers, name=f"Nothing {number:02}") for number in range(60)
    )
    measured.pool.systems.add(*others)
    first = figure(admin, measured.pool, "import")
    assert list(rows(first))[:2] == ["Hafenstraße 3", "Lindenweg 12"]
    assert len(rows(first)) == 50
    assert headline(first) == summed(first) == 48 * KWH
    second = figure(admin, measured.pool, "import", f"{THE_14TH}&page=2")
    assert len(rows(second)) == 12
    assert summed(second) == 48 * KWH
    assert "Sum of all pages" in second
    by_name = figure(admin, measured.pool, "import", f"{THE_14TH}&sort=-name")
    assert next(iter(rows(by_name))) == "Nothing 59"
    ascending = figure(admin, measured.pool, "import", f"{THE_14TH}&sort=energy")
    assert next(iter(rows(ascending))) == "Lindenweg 12"


def test_the_list_alone_is_sent_to_htmx(admin: Client, measured: Cast):
    html = figure(
        admin, measured.pool, "pv", headers={"HX-Request": "true", "HX-Target": "members"}
    )
    assert "<html" not in html
    assert set(rows(html)) == {"Lindenweg 12", "Hafenstraße 3"}


def test_a_pool_without_systems_says_that_nothing_was_measured(admin: Client, measured: Cast):
    empty = SystemPool.objects.create(account=measured.north, name="New")
    assert "Nothing was measured." in figure(admin, empty, "pv")


# Clusters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "member", "kwh"),
    [
        ("pv", "Roof", 48),
        ("charge", "Battery", 12),
        ("discharge", "Battery", 0),
        ("export", "Grid meter", 24),
    ],
)
def test_a_measured_figure_of_a_cluster_is_the_sum_of_its_appliances(
    admin: Client, cellar: Cluster, name: str, member: str, kwh: int
):
    html = figure(admin, cellar, name)
    assert headline(html) == summed(html) == kwh * KWH
    ((found, (url, amounts)),) = rows(html).items()
    assert (found, amounts) == (member, [kwh * KWH])
    assert f"Measured by {member}." in html
    foot = re.search(r"<tfoot>.*?</tfoot>", page(admin, url), re.DOTALL)[0]
    assert f'<data value="{kwh * KWH}">' in foot


def test_what_follows_from_others_says_its_terms_and_who_measured(
    admin: Client, measured: Cast, cellar: Cluster
):
    html = figure(admin, cellar, "consumption")
    assert "Total consumption = Solar production + From the battery + From the grid" in html
    terms = re.search(r'id="terms">.*?</table>', html, re.DOTALL)[0]
    for term in ("pv", "discharge", "import", "charge", "export"):
        assert f'href="{address(cellar, term)}?{THE_14TH}"' in terms
    assert {name: own for name, (_url, own) in rows(html).items()} == {
        "Battery": [12 * KWH, 0],
        "Grid meter": [0, 24 * KWH],
        "Roof": [0, 48 * KWH],
    }
    day = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    assert rows(html)["Roof"][0] == f"{day}?{THE_14TH}"


ADD_UP_NO_MORE = "Sums of the whole period do not add up to this figure"


def silence_for_an_hour(appliance: Appliance) -> None:
    ApplianceSlot.objects.filter(
        appliance_key=appliance.key, start__gte=NOON, start__lt=NOON + timedelta(hours=1)
    ).delete()


@pytest.mark.parametrize("name", ["consumption", "pv_to_load"])
def test_terms_are_told_only_where_they_add_up(
    admin: Client, measured: Cast, cellar: Cluster, name: str
):
    html = figure(admin, cellar, name)
    assert headline(html) == 12 * KWH
    assert 'id="terms"' in html
    assert " = Solar production " in html
    assert ADD_UP_NO_MORE not in html
    # Without a meter the sun is told all the same, and what became of it is not.
    silence_for_an_hour(measured.grid_meter)
    html = figure(admin, cellar, name)
    assert headline(html) == 11_500_000
    assert 'id="terms"' not in html
    assert " = Solar production " not in html
    assert ADD_UP_NO_MORE in html


def test_beside_a_household_s_meter_the_grid_s_is_named(
    admin: Client, measured: Cast, cellar: Cluster
):
    house = Appliance.objects.create(
        system=measured.lindenweg, cluster=cellar, kind=ApplianceKind.HOUSEHOLD_METER, name="House"
    )
    for day in (THE_14TH, "date=2026-06-01"):
        html = figure(admin, cellar, "export", day)
        assert "Measured by Grid meter." in html
        assert ADD_UP_NO_MORE not in html
    house.refresh_from_db(fields=["key"])
    ApplianceSlot.objects.create(
        system_key=measured.lindenweg.key,
        appliance_key=house.key,
        start=NOON,
        import_mwh=125_000,
        seen_s=900,
    )
    silence_for_an_hour(measured.grid_meter)
    html = figure(admin, cellar, "export")
    assert headline(html) == 23_250_000
    assert "Measured by Grid meter." in html
    assert ADD_UP_NO_MORE in html
    Appliance.objects.filter(pk=measured.grid_meter.pk).update(cluster=None)
    html = figure(admin, cellar, "export")
    assert "this follows from the household" in html
    html = figure(admin, cellar, "export", "date=2026-06-01")
    assert "No appliance of this cluster measures it." in html


def test_what_is_split_slot_by_slot_says_so_and_has_no_terms(admin: Client, cellar: Cluster):
    html = figure(admin, cellar, "pv_to_battery")
    assert headline(html) == 12 * KWH
    assert "is worked out slot by slot" in html
    assert 'id="terms"' not in html
    assert set(rows(html)) == {"Battery", "Grid meter", "Roof"}


def test_without_a_meter_a_cluster_uses_what_its_consumers_use(
    admin: Client, measured: Cast, at_noon: datetime
):
    garage = Cluster.objects.create(system=measured.lindenweg, name="Garage")
    Appliance.objects.filter(pk__in=[measured.evcs.pk, measured.pv.pk]).update(cluster=garage)
    measure(measured, since=MIDNIGHT, until=at_noon, now=at_noon, powers_w={"evcs": 1000.0})
    for name in ("consumption", "unmetered", "ev"):
        html = figure(admin, garage, name)
        assert headline(html) == summed(html) == 24 * KWH
        assert {one: own for one, (_url, own) in rows(html).items()} == {"Car": [24 * KWH]}
    html = figure(admin, garage, "heat_pump")
    assert "No appliance of this cluster measures it." in html


def test_the_kind_of_an_appliance_is_said_where_its_name_does_not_say_it(
    admin: Client, measured: Cast, cellar: Cluster
):
    kind = '<span class="soft">Battery</span>'
    for name, is_said in (("Battery", False), ("Battery in the cellar", False), ("Cell", True)):
        Appliance.objects.filter(pk=measured.battery.pk).update(name=name)
        assert (kind in figure(admin, cellar, "charge")) == is_said


def test_a_longer_figure_of_a_cluster_leads_to_its_days(admin: Client, cellar: Cluster):
    html = figure(admin, cellar, "pv", f"resolution=week&{THE_14TH}")
    assert headline(html) == summed(html) == 48 * KWH
    assert f'href="{address(cellar, "pv")}?{THE_14TH}"' in html
    assert rows(html) == {"Roof": ("", [48 * KWH])}
    html = figure(admin, cellar, "pv", f"resolution=year&{THE_14TH}")
    assert f'href="{address(cellar, "pv")}?resolution=month&amp;date=2026-06-01"' in html


# Both --------------------------------------------------------------------------------------------


def test_every_figure_of_a_group_s_page_leads_to_how_it_came_about(
    admin: Client, measured: Cast, cellar: Cluster
):
    for group, energy in ((measured.pool, "pool_energy"), (cellar, "cluster_energy")):
        html = page(admin, reverse(energy, args=[group.pk]) + f"?resolution=week&{THE_14TH}")
        tiles = re.search(r'id="tiles".*?</section>', html, re.DOTALL)[0]
        foot = re.search(r"<tfoot>.*?</tfoot>", html, re.DOTALL)[0]
        told = re.findall(r'<a href="([^"]*/figures/[^"]*)"[^>]*><data value="(\d+)"', tiles + foot)
        assert len(told) >= 8
        for url, value in told:
            assert headline(page(admin, unescape(url))) == int(value)
        assert f'<a href="{address(group, "pv")}?{THE_14TH}">48.00</a>' in html
        assert reverse(energy, args=[group.pk]) in figure(admin, group, "pv")


def test_groups_of_others_are_not_found(client: Client, measured: Cast, cellar: Cluster):
    client.force_login(measured.schmidt)
    for group in (measured.pool, cellar):
        assert client.get(address(group, "pv")).status_code == 404
    client.force_login(measured.admin)
    assert client.get(address(cellar, "pv").replace("pv", "nonsense")).status_code == 404


def test_a_figure_costs_as_many_queries_however_many_are_in_the_group(
    admin: Client, measured: Cast, cellar: Cluster, django_assert_num_queries
):
    for zoom in ("day", "week", "year"):
        for systems in ([measured.lindenweg], [measured.lindenweg, measured.hafenstrasse]):
            measured.pool.systems.set(systems)
            # Session, user, account; pool; its systems (twice by key, once by name), what they
            # add; sums and who was to be seen (3), who of each of them (2).
            with django_assert_num_queries(14):
                figure(admin, measured.pool, "pv", f"resolution={zoom}")
        for name in ("pv", "consumption"):
            # Cluster; its appliances (three times), who was read, what they measured together and
            # each, who was to be seen (4).
            with django_assert_num_queries(14):
                figure(admin, cellar, name, f"resolution={zoom}")
