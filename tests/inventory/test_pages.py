"""The pages of the inventory: what stands on them, and what forms do."""

import csv
import re
import subprocess
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from accounts.access import Role
from accounts.models import Account, AuditEntry, User
from gridx import clock
from gridx.gateways.codec import decode
from gridx.gateways.topics import Channel
from inventory import operations
from inventory.models import (
    Appliance,
    Cluster,
    Gateway,
    GatewayFault,
    System,
    SystemAssignment,
    SystemPool,
)
from measurements.models import LatestReading
from tests.cast import make_cast

FRAGMENT = {"HX-Request": "true", "HX-Target": "results"}


@pytest.fixture
def admin(client, cast):
    client.force_login(cast.admin)
    return client


@pytest.fixture
def bare(cast) -> System:
    """A system of the Meyers without a gateway."""
    return System.objects.create(account=cast.meyers, name="Garden", city="Aachen")


def _text(response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def _inventory(browser, account, headers=None, **query) -> str:
    return _text(browser.get(f"/accounts/{account.pk}/inventory", query, headers=headers))


# The inventory ---------------------------------------------------------------------------------


def test_the_inventory_holds_the_whole_subtree_and_nothing_beside_it(cast, admin):
    assert "Lindenweg 12" in _inventory(admin, cast.operator)
    assert "Hafenstraße 3" in _inventory(admin, cast.operator)
    north = _inventory(admin, cast.north)
    assert "Lindenweg 12" in north
    assert "Hafenstraße 3" not in north


@pytest.mark.parametrize(
    ("show", "found", "missing"),
    [
        ("gateways", "GX-0001", "GX-0002"),
        ("appliances", "Solar inverter", "Hafenstraße"),
        ("clusters", "Garage", "Theirs"),
        ("pools", "Sun sharers", "Others"),
    ],
)
def test_every_kind_of_thing_has_its_table(cast, admin, show, found, missing):
    Cluster.objects.create(system=cast.lindenweg, name="Garage")
    Cluster.objects.create(system=cast.hafenstrasse, name="Theirs")
    SystemPool.objects.create(account=cast.south, name="Others")
    page = _inventory(admin, cast.north, show=show)
    assert found in page
    assert missing not in page


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "linden"}, ["Lindenweg 12"]),
        ({"q": "GX-0002"}, ["Hafenstraße 3"]),
        ({"q": "aachen family"}, ["Lindenweg 12"]),
        ({"q": "Schmidt"}, ["Hafenstraße 3"]),
        ({"q": "100%"}, []),
        ({"sort": "name"}, ["Hafenstraße 3", "Lindenweg 12"]),
        ({"sort": "-name"}, ["Lindenweg 12", "Hafenstraße 3"]),
        ({"sort": "password"}, ["Hafenstraße 3", "Lindenweg 12"]),
        ({"show": "nonsense", "page": "x"}, ["Hafenstraße 3", "Lindenweg 12"]),
    ],
)
def test_systems_are_searched_and_sorted_by_the_address(cast, admin, query, names):
    page = _inventory(admin, cast.operator, headers=FRAGMENT, **query)
    assert "<html" not in page
    assert re.findall(r"/inventory\">([^<]+)</a></th>", page) == names


def test_appliances_are_filtered_by_kind_and_gateways_by_state(cast, admin):
    page = _inventory(admin, cast.operator, show="appliances", kind="battery", headers=FRAGMENT)
    assert page.count("<tr>") == 2
    Gateway.objects.filter(pk=cast.gateway.pk).update(online=True, contacted_at=clock.now())
    page = _inventory(admin, cast.operator, show="gateways", state="online", headers=FRAGMENT)
    assert "GX-0001" in page
    assert "GX-0002" not in page
    # A filter of another table, or nonsense, is left out.
    assert "Lindenweg 12" in _inventory(admin, cast.operator, kind="battery", state="x")


def test_a_removed_appliance_is_not_in_the_inventory(cast, admin, now):
    Appliance.objects.filter(pk=cast.pv.pk).update(removed_at=now)
    assert "Roof" not in _inventory(admin, cast.operator, show="appliances")
    assert "Roof" not in _text(admin.get(f"/systems/{cast.lindenweg.pk}/inventory"))


def test_a_grid_operator_sees_the_assigned_systems_in_the_inventory(cast, client):
    client.force_login(cast.grid_operator)
    page = _text(client.get("/inventory"))
    assert "Lindenweg 12" in page
    assert "Hafenstraße 3" not in page


def test_a_search_is_kept_by_the_tabs_and_by_the_file(cast, admin):
    page = _inventory(admin, cast.operator, headers=FRAGMENT, q="linden")
    assert 'hx-swap-oob="true"' in page
    assert 'href="?q=linden&amp;show=appliances"' in page
    assert f'href="/accounts/{cast.operator.pk}/inventory.csv?q=linden"' in page


def test_a_browser_that_goes_back_does_not_take_a_part_for_the_page(cast, admin):
    for path in (f"/accounts/{cast.operator.pk}/inventory", "/accounts", "/gateways/new"):
        assert "HX-Request" in admin.get(path).headers["Vary"]


def test_an_empty_table_says_what_to_do_next(cast, admin):
    assert "Nothing found" in _inventory(admin, cast.operator, q="no such thing")
    empty = _inventory(admin, cast.south, show="pools")
    assert "A pool is a collection of systems" in empty
    assert f"/accounts/{cast.south.pk}/pools/new" in empty


@pytest.mark.parametrize("show", ["systems", "gateways", "appliances", "clusters", "pools"])
@pytest.mark.parametrize("count", [3, 30])
def test_a_longer_inventory_asks_the_database_no_more_often(
    cast, admin, show, count, django_assert_max_num_queries
):
    for number in range(count):
        system = System.objects.create(account=cast.meyers, name=f"S{number}")
        gateway = Gateway.objects.create(system=system, serial=f"SN-{number:03}")
        Cluster.objects.create(system=system, name=f"C{number}")
        Appliance.objects.create(system=system, gateway=gateway, kind="meter", name=f"A{number}")
        SystemPool.objects.create(account=cast.north, name=f"P{number}")
    with django_assert_max_num_queries(9):
        _inventory(admin, cast.operator, show=show)


def _csv(response) -> list[dict[str, str]]:
    text = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("show", ["systems", "gateways", "appliances", "clusters", "pools"])
def test_the_file_holds_the_rows_of_the_page_all_of_them(cast, admin, show):
    Cluster.objects.create(system=cast.lindenweg, name="Garage")
    response = admin.get(f"/accounts/{cast.north.pk}/inventory.csv", {"show": show})
    rows = _csv(response)
    counts = {"systems": 1, "gateways": 1, "appliances": 4, "clusters": 1, "pools": 1}
    assert len(rows) == counts[show]
    assert show in response.headers["Content-Disposition"]


def test_the_file_keeps_to_the_filter_and_says_unknown_by_nothing(cast, admin):
    response = admin.get("/inventory.csv", {"show": "appliances", "kind": "pv_inverter"})
    (row,) = _csv(response)
    assert (row["name"], row["system_name"], row["gateway_serial"]) == (
        "Roof", "Lindenweg 12", "GX-0001",
    )  # fmt: skip
    assert (row["min_power_w"], row["max_power_w"], row["capacity_wh"]) == ("-9800.0", "0.0", "")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
async def test_an_asgi_server_sends_the_file_in_parts():
    cast = await sync_to_async(make_cast)()
    client = AsyncClient()
    await client.aforce_login(cast.admin)
    response = await client.get("/inventory.csv?show=appliances")
    parts = [part.decode() async for part in response.streaming_content]
    assert len("".join(parts).splitlines()) == 6
    # The thread that read has a connection of its own, which would outlive the test.
    await sync_to_async(connections.close_all)()


def test_a_name_that_a_spreadsheet_would_compute_is_text(cast, admin):
    System.objects.filter(pk=cast.lindenweg.pk).update(name='=HYPERLINK("http://x")')
    (row,) = _csv(admin.get(f"/accounts/{cast.north.pk}/inventory.csv"))
    assert row["name"].startswith("'=")


# Systems, appliances, clusters, pools ----------------------------------------------------------


def test_a_system_is_added_and_its_form_keeps_what_was_typed(cast, admin):
    url = f"/accounts/{cast.meyers.pk}/systems/new"
    text = _text(admin.post(url, {"name": "Hut", "time_zone": "Mars/Base", "latitude": "95"}))
    assert "is not an IANA time zone" in text
    assert 'value="Hut"' in text
    filled = {"name": "Hut", "time_zone": "Europe/Lisbon", "dimming_mode": "ems"}
    response = admin.post(url, filled)
    assert response.url == f"/systems/{System.objects.get(name='Hut').pk}/inventory"


def test_a_system_can_be_added_from_the_whole_inventory(cast, client):
    client.force_login(cast.installer)
    assert 'href="/systems/new"' in _text(client.get("/inventory"))
    assert f'href="/accounts/{cast.north.pk}/systems/new"' in _inventory(client, cast.north)
    client.force_login(cast.fleet)
    assert "/systems/new" not in _text(client.get("/inventory"))


def test_an_installer_without_a_free_system_is_led_to_where_one_is_added(cast, client):
    client.force_login(cast.installer)
    page = _text(client.get("/gateways/new"))
    assert "No system without a gateway" in page
    assert 'href="/systems/new"' in page
    page = _text(client.get("/systems/new"))
    assert "Family Meyer" in page
    assert page.index("Family Meyer") < page.index(">North<")
    assert "South" not in page
    assert f'href="/accounts/{cast.meyers.pk}/systems/new"' in page


def test_the_account_of_a_new_system_is_found_by_name_and_place(cast, admin):
    Account.objects.filter(pk=cast.schmidts.pk).update(city="Bremen", postal_code="28195")
    for search in ("schmidt", "bremen", "281", "family bremen"):
        page = _text(admin.get("/systems/new", {"q": search}, headers=FRAGMENT))
        assert re.findall(r"<b class=\"strong\">([^<]+)<", page) == ["Family Schmidt"]
    assert "Nothing found" in _text(admin.get("/systems/new", {"q": "nowhere"}))


def test_where_there_is_one_account_only_nobody_has_to_choose_it(cast, client):
    boss = User.objects.create(
        email="boss@west.example", account=cast.meyers, role=Role.ACCOUNT_ADMIN
    )
    client.force_login(boss)
    assert client.get("/systems/new").url == f"/accounts/{cast.meyers.pk}/systems/new"


def test_a_resident_changes_the_name_and_nothing_else(cast, client):
    client.force_login(cast.mara)
    client.post(
        f"/systems/{cast.lindenweg.pk}/edit",
        {"name": "Our home", "time_zone": "Asia/Tokyo", "city": "Tokyo"},
    )
    system = System.objects.get(pk=cast.lindenweg.pk)
    assert (system.name, system.time_zone, system.city) == ("Our home", "Europe/Berlin", "Aachen")


def test_a_resident_names_an_appliance_and_a_fleet_manager_groups_it(cast, client):
    garage = Cluster.objects.create(system=cast.lindenweg, name="Garage")
    url = f"/appliances/{cast.evcs.pk}/edit"
    client.force_login(cast.mara)
    client.post(url, {"name": "Wallbox", "room": "Garage", "cluster": str(garage.pk)})
    client.force_login(cast.fleet)
    appliance = Appliance.objects.get(pk=cast.evcs.pk)
    assert (appliance.name, appliance.room, appliance.cluster) == ("Wallbox", "Garage", None)
    client.post(url, {"name": "Mine", "cluster": str(garage.pk)})
    appliance.refresh_from_db()
    assert (appliance.name, appliance.cluster) == ("Wallbox", garage)


def test_an_appliance_is_not_put_into_a_cluster_of_another_system(cast, admin):
    theirs = Cluster.objects.create(system=cast.hafenstrasse, name="Theirs")
    page = admin.post(
        f"/appliances/{cast.evcs.pk}/edit", {"name": "Car", "cluster": str(theirs.pk)}
    )
    assert "Select a valid choice" in _text(page)


def test_clusters_are_added_nested_and_dissolved(cast, admin):
    admin.post(f"/systems/{cast.lindenweg.pk}/clusters/new", {"name": "Hall"})
    hall = Cluster.objects.get(name="Hall")
    admin.post(
        f"/systems/{cast.lindenweg.pk}/clusters/new", {"name": "Row", "parent": str(hall.pk)}
    )
    row = Cluster.objects.get(name="Row")
    assert row.parent == hall
    text = _text(
        admin.post(f"/clusters/{hall.pk}/edit", {"name": "Big hall", "parent": str(row.pk)})
    )
    assert "cannot lie within itself" in text
    assert 'value="Big hall"' in text
    page = _text(admin.get(f"/systems/{cast.lindenweg.pk}/inventory"))
    assert "Hall /" in page
    admin.post(f"/clusters/{hall.pk}/remove")
    assert Cluster.objects.get().parent is None


def test_the_page_of_a_system_tells_admins_who_sees_it_and_why(cast, client):
    url = f"/systems/{cast.lindenweg.pk}/inventory"
    client.force_login(cast.admin)
    page = _text(client.get(url))
    assert "Who sees this system" in page
    assert "Fleet manager of North" in page
    assert "grid@operator.example" in page
    client.force_login(cast.mara)
    page = _text(client.get(url))
    assert "Who sees this system" not in page
    assert "fleet@north.example" not in page


def test_a_grid_operator_in_sight_is_assigned_and_sent_away_again(cast, client):
    client.force_login(cast.south_admin)
    base = f"/systems/{cast.hafenstrasse.pk}/assignments"
    text = _text(client.post(base, {"operator": str(cast.viewer.pk)}))
    assert "Select a valid choice" in text
    client.post(base, {"operator": str(cast.grid_operator.pk)})
    assignment = SystemAssignment.objects.get(system=cast.hafenstrasse)
    text = _text(client.post(base, {"operator": str(cast.grid_operator.pk)}))
    assert "looks after" in text
    client.post(f"{base}/{assignment.pk}/end")
    assert not SystemAssignment.objects.filter(system=cast.hafenstrasse).exists()


def test_an_assignment_of_another_system_is_not_ended_by_the_way(cast, admin):
    assignment = SystemAssignment.objects.get(system=cast.lindenweg)
    response = admin.post(f"/systems/{cast.hafenstrasse.pk}/assignments/{assignment.pk}/end")
    assert response.status_code == 404
    assert SystemAssignment.objects.filter(pk=assignment.pk).exists()


def test_a_pool_is_made_filled_and_dissolved(cast, admin, bare):
    admin.post(
        f"/accounts/{cast.north.pk}/pools/new",
        {"name": "Plant", "kind": "VIRTUAL_POWER_PLANT", "time_zone": "Europe/Berlin"},
    )
    pool = SystemPool.objects.get(name="Plant")
    page = _text(admin.get(f"/pools/{pool.pk}", {"q": "garden"}))
    assert "Garden" in page
    assert "Hafenstraße" not in page
    admin.post(f"/pools/{pool.pk}/add", {"system": [str(bare.pk), str(cast.lindenweg.pk)]})
    assert set(pool.systems.all()) == {bare, cast.lindenweg}
    admin.post(f"/pools/{pool.pk}/drop", {"system": [str(bare.pk)]})
    assert set(pool.systems.all()) == {cast.lindenweg}
    admin.post(f"/pools/{pool.pk}/remove")
    assert not SystemPool.objects.filter(pk=pool.pk).exists()


def test_a_pool_takes_no_system_from_outside_in_words(cast, admin):
    page = admin.post(f"/pools/{cast.pool.pk}/add", {"system": [str(cast.hafenstrasse.pk)]})
    assert "does not lie in North" in _text(page)
    assert "Tick at least one" in _text(admin.post(f"/pools/{cast.pool.pk}/add", {}))


# Gateways --------------------------------------------------------------------------------------


def test_the_page_of_a_gateway_tells_what_is_wrong_with_it(cast, admin, now):
    Gateway.objects.filter(pk=cast.gateway.pk).update(
        online=True,
        contacted_at=clock.now(),
        clock_offset_s=-95.5,
        last_sequence=41,
        missing_messages=7,
    )
    GatewayFault.objects.create(
        gateway=cast.gateway, at=now, topic="up/readings", reason="malformed", detail="<b>x</b>"
    )
    page = _text(admin.get(f"/gateways/{cast.gateway.pk}"))
    assert "online" in page
    assert "-95.5" in page
    assert "clock is wrong" in page
    assert "malformed" in page
    assert "&lt;b&gt;x" in page


def test_a_refusal_is_told_in_words_and_its_code_stands_apart(cast, admin, now):
    GatewayFault.objects.create(
        gateway=cast.gateway,
        at=now,
        topic="up/hello",
        reason="invalid",
        detail="appliances: Expected `array`, got `int`",
    )
    page = _text(admin.get(f"/gateways/{cast.gateway.pk}"))
    words, technical = page.split('<details class="technical">')
    assert "A field of the message is missing or has a wrong value" in words
    assert "invalid" not in words
    assert "got `int`" not in words
    assert "up/hello invalid" in technical
    german = _text(admin.get(f"/gateways/{cast.gateway.pk}", headers={"Accept-Language": "de"}))
    assert "Ein Feld der Nachricht fehlt oder hat einen falschen Wert" in german
    arrivals = _text(admin.get(f"/gateways/{cast.gateway.pk}/arrivals"))
    assert "A field of the message is missing or has a wrong value" in arrivals


def test_what_was_refused_again_and_again_says_since_when(cast, admin, now):
    fault = GatewayFault(gateway=cast.gateway, at=now, topic="up/readings", reason="malformed")
    fault.save()
    assert "since <time" not in _text(admin.get(f"/gateways/{cast.gateway.pk}"))
    fault.since = now - timedelta(hours=3)
    fault.save()
    page = _text(admin.get(f"/gateways/{cast.gateway.pk}"))
    last, first = (page.index(f"15 Jun 2026, {time}") for time in ("10:00:00", "07:00:00"))
    assert last < page.index("since <time") < first


def test_systems_without_a_gateway_are_offered_for_registration(cast, client, bare):
    client.force_login(cast.installer)
    page = _text(client.get("/gateways/new"))
    assert "Garden" in page
    assert "Lindenweg" not in page
    assert "No system without a gateway" in _text(client.get("/gateways/new", {"q": "nowhere"}))


def test_a_gateway_is_registered_and_its_secret_shown_once(cast, client, bare):
    client.force_login(cast.installer)
    assert "Serial number" in _text(client.get("/gateways/new", {"system": str(bare.pk)}))
    response = client.post("/gateways/new", {"system": str(bare.pk), "serial": "GX-77"})
    page = _text(response)
    gateway = Gateway.objects.get(serial="GX-77")
    secret = re.search(r'id="secret">([^<]+)<', page).group(1)
    assert operations.is_secret_of(gateway, secret)
    assert "no-store" in response.headers["Cache-Control"]
    for url in (f"/gateways/{gateway.pk}", f"/gateways/{gateway.pk}/arrivals", "/gateways/new"):
        assert secret not in _text(client.get(url))
    assert secret not in str(list(AuditEntry.objects.values()))
    assert secret not in str(dict(client.session))


@pytest.mark.parametrize(
    ("serial", "words"),
    [
        ("GX-0001", "is registered already"),
        ("gx 1", "capital letters"),
        ("", "required"),
    ],
)
def test_a_registration_that_cannot_be_says_why_and_keeps_the_form(
    cast, admin, bare, serial, words
):
    response = admin.post(
        "/gateways/new", {"system": str(bare.pk), "serial": serial, "name": "Cellar"}
    )
    text = _text(response)
    assert words in text
    assert 'value="Cellar"' in text
    assert not Gateway.objects.filter(system=bare).exists()


def test_nobody_registers_a_gateway_for_a_system_out_of_sight(cast, client):
    far = System.objects.create(account=cast.schmidts, name="Far")
    client.force_login(cast.installer)
    response = client.post("/gateways/new", {"system": str(far.pk), "serial": "GX-77"})
    assert response.status_code == 404
    assert not Gateway.objects.filter(serial="GX-77").exists()


def test_a_second_gateway_of_a_system_is_refused_in_words(cast, admin):
    response = admin.post("/gateways/new", {"system": str(cast.lindenweg.pk), "serial": "GX-77"})
    assert "has a gateway already" in _text(response)


def test_a_new_secret_is_asked_for_and_shown_once(cast, admin):
    url = f"/gateways/{cast.gateway.pk}/secret"
    assert "Make a new secret" in _text(admin.get(url))
    page = _text(admin.post(url))
    secret = re.search(r'id="secret">([^<]+)<', page).group(1)
    assert operations.is_secret_of(Gateway.objects.get(pk=cast.gateway.pk), secret)


def test_a_gateway_is_revoked_and_the_page_says_so(cast, admin):
    page = admin.post(f"/gateways/{cast.gateway.pk}/revoke", follow=True)
    assert "is let in no more" in _text(page)
    assert "revoked" in _text(admin.get(f"/gateways/{cast.gateway.pk}"))
    page = admin.post(f"/gateways/{cast.gateway.pk}/revoke", follow=True)
    assert "is revoked already" in _text(page)


def test_the_first_reading_appears_and_then_the_page_asks_no_more(cast, admin, now):
    url = f"/gateways/{cast.gateway.pk}/arrivals"
    waiting = _text(admin.get(url, headers={"HX-Request": "true"}))
    assert "Waiting for the first reading" in waiting
    assert 'hx-trigger="every 2s"' in waiting
    assert "<html" not in waiting
    LatestReading.objects.create(
        system_key=cast.lindenweg.key, appliance_key=cast.grid_meter.key, at=now, power_w=1250
    )
    arrived = _text(admin.get(url, headers={"HX-Request": "true"}))
    assert "It has arrived" in arrived
    assert "1.25" in arrived
    assert "hx-trigger" not in arrived
    # Without JavaScript the same is a page.
    assert "<html" in _text(admin.get(url))


@pytest.mark.parametrize("broker", ["mqtt://broker.example:1884", "mqtts://broker.example"])
def test_the_example_sends_messages_that_the_cloud_takes(cast, admin, bare, settings, broker):
    """The shell runs it as it stands, with a `mosquitto_pub` that prints what it was given."""
    settings.PUBLIC_MQTT_URL = broker
    response = admin.post("/gateways/new", {"system": str(bare.pk), "serial": "GX-77"})
    example, secret = response.context["example"].text, response.context["secret"]
    script = f'mosquitto_pub() {{ printf "%s " "$@"; echo; cat; echo "=end="; }}\n{example}\n'
    done = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, check=True)
    calls = done.stdout.split("=end=\n")[:-1]
    for call, channel in zip(calls, (Channel.HELLO, Channel.READINGS), strict=True):
        options, body = call.split("\n", 1)
        assert f"-i GX-77 -u GX-77 -P {secret} -t gridx/v1/GX-77/{channel} -s" in options
        assert "-h broker.example" in options
        assert ("-p 8883 --tls-use-os-certs" in options) == broker.startswith("mqtts")
        decode(channel, body.encode())
