"""Home and the page of a system: what it shows, in which states, to whom, at what cost."""

import csv
import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import brotli
import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from accounts.access import Role
from accounts.models import User
from flexibility.dimming.operations import dim_system, end_dimming
from flexibility.emitters import DIMMING, emitter_of
from gridx.pages.fragments import render_live
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Gateway, System
from measurements.flags import Flag
from measurements.models import LatestReading, SystemDay, SystemSlot
from tests.cast import Cast
from tests.household import measure, read_now

DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 6, 13, 22, 0, tzinfo=UTC)  # the 14th of June in Berlin


@pytest.fixture
def measured(cast: Cast, at_noon: datetime) -> Cast:
    """Lindenweg 12 since the 14th of June, until now."""
    measure(cast, since=MIDNIGHT, until=at_noon, now=at_noon)
    return cast


@pytest.fixture
def mara(client: Client, cast: Cast) -> Client:
    client.force_login(cast.mara)
    return client


def page(client: Client, path: str = "/", **fields) -> str:
    response = client.get(path, **fields)
    assert response.status_code == 200
    return response.content.decode()


def figure(html: str) -> dict:
    found = re.search(r'<script id="history-figure" type="application/json">(.*?)</script>', html)
    return json.loads(found[1])


def tile(html: str, key: str) -> float:
    found = re.search(rf'id="tile-{key}".*?<data value="([^"]*)">', html, re.DOTALL)
    return float(found[1])


def measured_share(html: str) -> str:
    """How many per cent of the period the page says that were measured."""
    return re.search(r"([^>]*?)\N{NO-BREAK SPACE}% measured", html)[1].replace("&lt;", "<")


def test_nobody_is_led_to_the_sign_in(client: Client, cast: Cast):
    for path in ("/", f"/systems/{cast.lindenweg.pk}"):
        response = client.get(path)
        assert response.status_code == 302
        assert response["Location"].startswith(reverse("sign_in"))


@pytest.mark.parametrize("person", ["schmidt", "south_admin"])
def test_another_ones_system_is_not_found(client: Client, measured: Cast, person: str):
    client.force_login(getattr(measured, person))
    for path in (
        f"/systems/{measured.lindenweg.pk}",
        reverse("system_export", args=[measured.lindenweg.pk]),
    ):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "person", ["mara", "fleet", "installer", "viewer", "admin", "grid_operator", "staff"]
)
def test_who_sees_the_system_sees_its_page(client: Client, measured: Cast, person: str):
    client.force_login(getattr(measured, person))
    assert "Lindenweg 12" in page(client, f"/systems/{measured.lindenweg.pk}")
    assert client.get(reverse("system_export", args=[measured.lindenweg.pk])).status_code == 200


def test_a_resident_gets_their_home(mara: Client, measured: Cast):
    html = page(mara)
    assert "<h1>Lindenweg 12</h1>" in html
    assert "Aachen" in html
    assert f'ws-connect="/ws/systems/{measured.lindenweg.pk}"' in html


def test_a_resident_of_several_systems_chooses(mara: Client, measured: Cast):
    other = System.objects.create(account=measured.meyers, name="Ferienhaus")
    html = page(mara)
    assert f'href="/systems/{measured.lindenweg.pk}"' in html
    assert f'href="/systems/{other.pk}"' in html


def test_a_manager_finds_systems_by_name_place_account_and_serial_number(
    client: Client, measured: Cast
):
    client.force_login(measured.admin)
    html = page(client)
    assert {"Lindenweg 12", "Hafenstraße 3"} <= set(re.findall(r">([^<]+)</a>", html))
    for word in ("linden", "aach", "Family Mey", "GX-0001"):
        found = page(client, f"/?q={word}")
        assert "Lindenweg 12" in found
        assert "Hafenstraße 3" not in found
    assert "Nothing found" in page(client, "/?q=nowhere")


def test_the_list_alone_is_sent_to_htmx(client: Client, measured: Cast):
    client.force_login(measured.admin)
    html = page(client, "/?q=linden", headers={"HX-Request": "true", "HX-Target": "systems"})
    assert "<html" not in html
    assert "Lindenweg 12" in html


def test_the_day_is_told_in_tiles_chart_and_table_by_the_same_figures(mara: Client, measured: Cast):
    html = page(mara, "/?resolution=day&date=2026-06-14")
    assert tile(html, "produced") == 48_000_000
    assert tile(html, "used") == 12_000_000
    bars = {trace["name"]: trace["y"] for trace in figure(html)["data"]}
    assert len(bars["pv_to_load"]) == 96
    assert sum(bars["pv_to_load"]) / 4 * 1e6 == tile(html, "used")
    assert sum(bars["export"]) / 4 == -24
    foot = re.search(r"<tfoot>.*</tfoot>", html, re.DOTALL)[0]
    assert [int(v) for v in re.findall(r'<data value="(\d+)"', foot)][:2] == [
        48_000_000,
        12_000_000,
    ]
    assert "48.0\N{NO-BREAK SPACE}kWh produced, 12.0\N{NO-BREAK SPACE}kWh used" in html


def test_the_first_hour_of_a_day_keeps_clear_of_the_zero_beside_it(mara: Client, measured: Cast):
    hours = figure(page(mara, "/?resolution=day&date=2026-06-14"))["layout"]["xaxis"]
    assert (hours["ticks"], hours["ticklen"]) == ("outside", 6)


def test_the_picked_day_is_written_as_everywhere(mara: Client, measured: Cast):
    assert ">14 Jun 2026</span>" in page(mara, "/?date=2026-06-14")
    german = page(mara, "/?date=2026-06-14", headers={"Accept-Language": "de"})
    assert ">14. Juni 2026</span>" in german


def test_the_page_agrees_with_the_api(mara: Client, measured: Cast):
    html = page(mara, "/?resolution=day&date=2026-06-14")
    interval = "2026-06-14T00:00:00+02:00/2026-06-15T00:00:00+02:00"
    answer = mara.get(
        f"/api/systems/{measured.lindenweg.pk}/historical",
        {"interval": interval, "resolution": "1d"},
    ).json()
    assert answer["total"]["photovoltaic"] * 1000 == tile(html, "produced")
    assert answer["total"]["totalConsumption"] * 1000 == tile(html, "used")


@pytest.mark.parametrize(
    ("address", "title", "bars", "produced_kwh"),
    [
        ("/", "Today", 96, 24),
        ("/?date=2026-06-14", "Yesterday", 96, 48),
        ("/?resolution=week", "Week 25, 2026", 7, 24),
        ("/?resolution=week&date=2026-06-14", "Week 24, 2026", 7, 48),
        ("/?resolution=month", "June 2026", 30, 72),
        ("/?resolution=year", "2026", 12, 72),
    ],
)
def test_every_zoom_sums_the_same_slots(
    mara: Client, measured: Cast, address: str, title: str, bars: int, produced_kwh: int
):
    html = page(mara, address)
    assert f"<h2>{title}</h2>" in html
    assert {len(trace["y"]) for trace in figure(html)["data"]} == {bars}
    assert tile(html, "produced") == produced_kwh * 1_000_000


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2025-10-26", 25)])
def test_a_day_of_23_or_25_hours_is_told_as_it_is(
    mara: Client, cast: Cast, at_noon: datetime, day: str, hours: int
):
    noon = datetime.fromisoformat(f"{day}T12:00:00+01:00")
    measure(cast, since=noon - 2 * DAY, until=noon + 2 * DAY, now=at_noon)
    html = page(mara, f"/?date={day}")
    assert {len(trace["y"]) for trace in figure(html)["data"]} == {4 * hours}
    assert tile(html, "produced") == hours * 2_000_000
    assert html.count('<th scope="row">') == 4 * hours + 1
    assert ("02:15 CEST–02:30 CEST" in html, "02:15 CET–02:30 CET" in html) == (
        hours == 25,
        hours == 25,
    )


def test_htmx_gets_the_period_alone_and_links_stay_links(mara: Client, measured: Cast):
    html = page(mara, "/?resolution=week", headers={"HX-Request": "true", "HX-Target": "period"})
    assert html.lstrip().startswith('<div class="content-stack" id="period"')
    links = re.findall(r'<a [^>]*hx-get="[^>]*>', html)
    assert links
    for link in links:
        assert re.search(r'href="([^"]*)"', link)[1] == re.search(r'hx-get="([^"]*)"', link)[1]


def test_a_page_is_kept_apart_from_its_fragment_and_from_others(mara: Client, measured: Cast):
    response = mara.get("/")
    assert {"HX-Request", "Cookie"} <= set(re.split(r",\s*", response["Vary"]))
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?resolution=decade", "asks for a period that there is not"),
        ("/?date=31.12.2025", "asks for a date that there is not"),
        ("/?date=2027-01-01", "lies in the future"),
        ("/?date=1873-01-01", "Nothing was measured that long ago"),
    ],
)
def test_an_address_that_makes_no_sense_shows_the_nearest_and_says_so(
    mara: Client, measured: Cast, address: str, words: str
):
    assert words in page(mara, address)


def test_without_a_gateway_the_page_says_what_comes_next(client: Client, cast: Cast):
    bare = System.objects.create(account=cast.meyers, name="Neubau")
    client.force_login(cast.mara)
    html = page(client, f"/systems/{bare.pk}")
    assert "No gateway yet" in html
    assert "Your installer registers the gateway" in html
    client.force_login(cast.installer)
    assert f'href="{reverse("gateway_register")}?system={bare.pk}"' in page(
        client, f"/systems/{bare.pk}"
    )


def test_before_the_first_reading_the_page_says_that_it_waits(mara: Client, cast: Cast):
    html = page(mara)
    assert "No values yet" in html
    assert "the gateway has not been seen yet" in html
    assert "Nothing was measured here" in html
    assert "no reading yet" in html


def test_a_period_without_values_leads_to_those_there_are(mara: Client, measured: Cast):
    html = page(mara, "/?resolution=month&date=2026-02-03")
    assert "Nothing was measured here" in html
    assert "resolution=month&amp;date=2026-06-14" in html


def test_values_that_are_old_say_their_age(mara: Client, measured: Cast, monkeypatch, now):
    fresh = page(mara)
    assert "flow-card stale" not in fresh
    monkeypatch.setattr("gridx.clock.now", lambda: now + timedelta(hours=3))
    html = page(mara)
    assert "flow-card stale" in html
    assert "3 h ago" in html
    assert "no fresh reading" in html
    assert "2.00\N{NO-BREAK SPACE}kW" in html


def test_a_meter_that_is_silent_is_not_said_to_be_none(mara: Client, cast: Cast, at_noon: datetime):
    Appliance.objects.filter(pk=cast.evcs.pk).update(interval_s=300)
    before = at_noon - timedelta(minutes=12)
    read_now(cast, at=before, now=at_noon, grid=-1000.0, pv=-2000.0, battery=500.0, evcs=0.0)
    read_now(cast, at=at_noon, evcs=0.0)
    assert "the meter’s values are old" in page(mara)
    LatestReading.objects.filter(appliance_key=cast.grid_meter.key).delete()
    assert "How much is used is not measured here" in page(mara)


def test_a_gateway_that_is_not_connected_is_told(mara: Client, measured: Cast, at_noon: datetime):
    gateways = Gateway.objects.filter(system=measured.lindenweg)
    gateways.update(online=True, contacted_at=at_noon - timedelta(seconds=2))
    assert "not connected" not in page(mara)
    gateways.update(online=False)
    assert "not connected" in page(mara)


def test_appliances_tell_what_they_do_between_their_limits(
    mara: Client, measured: Cast, at_noon: datetime
):
    Appliance.objects.filter(pk=measured.evcs.pk).update(interval_s=60)
    html = page(mara)
    for words in ("producing", "charging", "64\N{NO-BREAK SPACE}% of 10 kWh", "into the grid"):
        assert words in html
    assert "−5\N{NO-BREAK SPACE}kW" in html
    assert "9.8\N{NO-BREAK SPACE}kW" in html
    assert 'cx="55.0%"' in html  # the battery: 0.5 kW between −5 and 5
    read_now(measured, at=at_noon, evcs=7_400.0)
    assert "Your car charges at 7.40\N{NO-BREAK SPACE}kW" in page(mara)


def test_the_batteries_hold_what_those_hold_that_tell_how_full_they_are(
    mara: Client, measured: Cast
):
    assert "6.4 of 10 kWh" in page(mara)
    Appliance.objects.create(
        system=measured.lindenweg, kind=ApplianceKind.BATTERY, name="Mute", capacity_wh=5_000
    )
    assert "6.4 of 10 kWh" in page(mara)


def test_only_who_lives_there_is_told_of_a_home(client: Client, measured: Cast, at_noon: datetime):
    read_now(measured, at=at_noon, pv=-200.0, battery=0.0, grid=0.0)
    guest = User.objects.create(
        email="guest@meyer.example", account=measured.meyers, role=Role.VIEWER
    )
    for person, language, words in (
        (measured.mara, "en", ("Your home uses", "House")),
        (measured.mara, "de", ("Ihr Zuhause verbraucht", "Haus")),
        (measured.admin, "en", ("This system uses", "Building")),
        (measured.staff, "de", ("Diese Anlage verbraucht", "Gebäude")),
        (guest, "en", ("This system uses", "Building")),
    ):
        client.force_login(person)
        html = page(
            client,
            f"/systems/{measured.lindenweg.pk}",
            headers={"Accept-Language": language},
        )
        sentence, house = words
        assert f"{sentence} 0" in html
        assert f">{house}</text>" in html


def test_what_is_pushed_speaks_to_the_same_reader_as_the_page(measured: Cast, at_noon: datetime):
    read_now(measured, at=at_noon, evcs=7_400.0)
    for person, words in ((measured.mara, "Your car charges"), (measured.fleet, "Cars charge")):
        assert words in render_live(measured.lindenweg, user=person, mark="", now=at_noon)


def test_the_export_suggests_the_period_that_is_shown(mara: Client, measured: Cast):
    html = page(mara, "/?resolution=week&date=2026-06-14")
    (query,) = re.findall(r'href="/systems/[^/"]*/export\?([^"]*)"', html)
    assert unescape(query) == "first=2026-06-08&last=2026-06-14&resolution=1d"


def test_what_was_not_measured_is_missing_at_every_zoom(
    mara: Client, cast: Cast, at_noon: datetime
):
    measure(cast, since=MIDNIGHT + timedelta(hours=18), until=at_noon, now=at_noon)
    shares = {
        zoom: measured_share(page(mara, f"/?resolution={zoom}&date=2026-06-14"))
        for zoom in ("day", "week", "month", "year")
    }
    # 6 of 24 hours; of 7 days; and with the next day until noon, of 14.5 days and of 165.5.
    assert shares == {"day": "25", "week": "4", "month": "5", "year": "<\N{NO-BREAK SPACE}1"}
    content = mara.get(
        reverse("system_export", args=[cast.lindenweg.pk]),
        {"first": "2026-06-14", "last": "2026-06-30", "resolution": "1d", "format": "csv"},
    ).getvalue()
    # The running day is whole until now, and no other has begun.
    rows = csv.DictReader(content.decode().splitlines())
    assert [row["measured_share"] for row in rows] == ["0.25", "1.0"]


def test_the_table_says_what_there_is_to_know_of_a_span(mara: Client, measured: Cast):
    SystemDay.objects.filter(start=MIDNIGHT).update(flags=Flag.RESET | Flag.IMPLAUSIBLE)
    SystemSlot.objects.filter(start=MIDNIGHT).update(flags=Flag.RESET, seen_s=0)
    week = page(mara, "/?resolution=week&date=2026-06-14")
    assert "<td>measured, counter reset, implausible reading</td>" in week
    day = page(mara, "/?date=2026-06-14")
    assert "<td>missing, counter reset</td>" in day
    assert day.count("counter reset") == 1
    german = page(mara, "/?date=2026-06-14", headers={"Accept-Language": "de"})
    assert "<td>fehlend, Zähler zurückgesetzt</td>" in german


def test_what_was_used_while_the_meter_was_silent_is_shown_and_explained(
    mara: Client, measured: Cast
):
    SystemSlot.objects.filter(start=MIDNIGHT).update(unmetered_mwh=100_000)
    html = page(mara, "/?date=2026-06-14")
    assert "of unknown origin" in html
    assert "unmetered" in [bars["name"] for bars in figure(html)["data"]]
    (address,) = set(re.findall(r'href="(/systems/[^"]*/figures/unmetered[^"]*)"', html))
    assert "Used, of unknown origin" in page(mara, unescape(address))


def test_the_page_speaks_the_viewers_language(mara: Client, measured: Cast):
    assert "24,0" in page(mara, headers={"Accept-Language": "de"})


def test_the_system_s_time_zone_is_said(mara: Client, measured: Cast):
    assert 'data-zone="Europe/Berlin"' in page(mara)


def test_a_dimming_is_told_while_it_holds(mara: Client, driven: Cast, at_noon: datetime):
    operator = emitter_of(driven.grid_operator, scopes={DIMMING})
    until = at_noon + timedelta(hours=2)
    found = dim_system(system=driven.lindenweg, emitter=operator, invalid_at=until, now=at_noon)
    html = page(mara)
    assert "The grid operator dims what can be controlled here, until 14:00." in html
    assert f'href="{reverse("dimming", args=[found.pk])}">Why?' in html
    later = {"user": driven.mara, "mark": "", "now": until}
    assert "dims" in render_live(driven.lindenweg, **later | {"now": until - timedelta(seconds=1)})
    assert "dims" not in render_live(driven.lindenweg, **later)
    end_dimming(found=found, emitter=operator, now=at_noon + timedelta(minutes=1))
    assert "dims" not in page(mara)


@pytest.mark.parametrize("resolution", ["day", "week", "month", "year"])
def test_a_home_page_costs_few_queries(
    mara: Client, measured: Cast, resolution: str, django_assert_num_queries
):
    # Session, user, account; system; mark, newest readings, figures, first and last,
    # whether it is dimmed, and ever was; and since when which appliances are to be seen.
    with django_assert_num_queries(12):
        page(mara, f"/?resolution={resolution}")


def test_a_list_of_systems_costs_as_many_queries_as_one_of_them(
    client: Client, measured: Cast, django_assert_num_queries
):
    for number in range(5):
        System.objects.create(account=measured.meyers, name=f"Reihenhaus {number}")
    client.force_login(User.objects.get(pk=measured.admin.pk))
    # Session, user, account; count, systems; newest readings.
    with django_assert_num_queries(6):
        page(client)


@pytest.mark.slow
def test_the_first_sight_of_home_is_light(mara: Client, measured: Cast):
    response = mara.get("/", headers={"Accept-Encoding": "gzip"})
    assert response["Content-Encoding"] == "gzip"
    html = gzip.decompress(response.content).decode()
    # What the page names, each once, as WhiteNoise sends it.
    names = set(re.findall(r'(?:src|href)="/static/([^"#]+)', html))
    assert {"gridx.css", "vendor/plotly-basic.min.js", "vendor/tabler-icons.svg"} <= names
    wire = sum(len(brotli.compress(Path(finders.find(name)).read_bytes())) for name in names)
    assert len(response.content) <= 30_000
    assert wire + len(response.content) <= 450_000
