"""The form that asks for a file, and the file that it leads to."""

import csv
import io
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from gridx.pages import exports
from inventory.models import Appliance, Cluster
from measurements.exports import files
from tests.cast import Cast
from tests.household import measure

DAYS = {"first": "2026-06-14", "last": "2026-06-14", "resolution": "1h", "format": "csv"}


@pytest.fixture
def measured(cast: Cast, at_noon: datetime) -> Cast:
    """A day and a half of Lindenweg 12."""
    measure(cast, since=at_noon - timedelta(hours=36), until=at_noon, now=at_noon)
    return cast


@pytest.fixture
def garage(cast: Cast) -> Cluster:
    found = Cluster.objects.create(system=cast.lindenweg, name="Garage")
    Appliance.objects.filter(pk__in=[cast.pv.pk, cast.battery.pk]).update(cluster=found)
    return found


def address(subject) -> str:
    name = "pool" if subject._meta.model_name == "systempool" else subject._meta.model_name
    return reverse(f"{name}_export", args=[subject.pk])


def rows(response) -> list[dict[str, str]]:
    assert response.status_code == 200, response.content
    text = response.getvalue().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def refusals(client: Client, subject, **asked: str) -> dict[str, list[str]]:
    response = client.get(address(subject), DAYS | asked)
    assert response.status_code == 422
    return response.context["form"].errors


def test_the_form_suggests_what_the_page_before_shows(client: Client, cast: Cast, at_noon):
    client.force_login(cast.mara)
    url = f"{address(cast.lindenweg)}?first=2026-06-08&last=2026-06-14&resolution=1d"
    html = client.get(url).content.decode()
    assert 'name="first" value="2026-06-08"' in html
    assert 'name="last" value="2026-06-14"' in html
    assert '<option value="1d" selected>days</option>' in html
    assert '<option value="raw">single readings</option>' in html
    assert "of one appliance after the other" in html


def test_the_form_suggests_thirty_days_where_nothing_is_shown(client: Client, cast: Cast, at_noon):
    client.force_login(cast.mara)
    html = client.get(address(cast.pv)).content.decode()
    assert 'name="first" value="2026-05-16"' in html
    assert 'name="last" value="2026-06-15"' in html
    assert "of one appliance after the other" not in html


def test_the_pages_lead_to_the_form(client: Client, measured: Cast, garage: Cluster):
    client.force_login(measured.admin)
    for subject, name in (
        (measured.lindenweg, "system"),
        (measured.pv, "appliance"),
        (garage, "cluster_flexibility"),
        (measured.pool, "pool_flexibility"),
        (measured.pool, "pool_detail"),
    ):
        html = client.get(reverse(name, args=[subject.pk])).content.decode()
        assert f'href="{address(subject)}' in html, name
    slots = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    html = client.get(f"{slots}?date=2026-06-14").content.decode()
    asked = "first=2026-06-14&amp;last=2026-06-14&amp;resolution=15m"
    assert f'href="{address(measured.pv)}?{asked}"' in html


def test_a_file_of_a_local_day_has_its_hours(client: Client, measured: Cast):
    client.force_login(measured.mara)
    response = client.get(address(measured.lindenweg), DAYS)
    assert 'filename="gridx-lindenweg-12-2026-06-14-1h.csv"' in response["Content-Disposition"]
    found = rows(response)
    assert len(found) == 24
    assert found[0]["from"] == "2026-06-14T00:00:00+02:00"
    assert found[-1]["until"] == "2026-06-15T00:00:00+02:00"


def test_every_kind_of_thing_has_the_figures_of_the_api(
    client: Client, measured: Cast, garage: Cluster
):
    client.force_login(measured.admin)
    interval = "2026-06-14T00:00:00+02:00/2026-06-15T00:00:00+02:00"
    for subject, path in (
        (measured.lindenweg, "systems"),
        (garage, "clusters"),
        (measured.pool, "systempools"),
        (measured.battery, "appliances"),
    ):
        by_page = rows(client.get(address(subject), DAYS))
        by_api = rows(
            client.get(
                f"/api/{path}/{subject.pk}/export", {"interval": interval, "resolution": "1h"}
            )
        )
        assert by_page == by_api
        assert any(row["seen_s"] for row in by_page)


def test_single_readings_are_those_of_the_api(client: Client, measured: Cast, garage: Cluster):
    client.force_login(measured.admin)
    interval = "2026-06-14T00:00:00+02:00/2026-06-15T00:00:00+02:00"
    for subject, path, names in (
        (measured.lindenweg, "systems", {"Battery", "Car", "Grid meter", "Roof"}),
        (garage, "clusters", {"Battery", "Roof"}),
        (measured.pool, "systempools", {"Battery", "Car", "Grid meter", "Roof"}),
    ):
        by_page = rows(client.get(address(subject), DAYS | {"resolution": "raw"}))
        by_api = rows(
            client.get(
                f"/api/{path}/{subject.pk}/export", {"interval": interval, "resolution": "raw"}
            )
        )
        assert by_page == by_api
        assert {row["appliance"] for row in by_page} == names


def test_a_period_that_reaches_into_the_future_ends_today(client: Client, measured: Cast):
    client.force_login(measured.mara)
    asked = DAYS | {"first": "2026-06-15", "last": "9999-12-31"}
    assert len(rows(client.get(address(measured.lindenweg), asked))) == 12


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"first": "yesterday"}, "first"),
        ({"first": ""}, "first"),
        ({"first": "1999-12-31"}, "first"),
        ({"first": "2026-06-16"}, "first"),
        ({"last": "2026-06-13"}, "last"),
        ({"last": "2026-02-30"}, "last"),
        ({"resolution": "2h"}, "resolution"),
        ({"format": "xls"}, "format"),
        ({"format": ""}, "format"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(
    client: Client, cast: Cast, at_noon, asked: dict, field: str
):
    client.force_login(cast.mara)
    assert list(refusals(client, cast.lindenweg, **asked)) == [field]


def test_more_than_a_sheet_holds_is_refused_with_a_way_out(
    client: Client, cast: Cast, at_noon, monkeypatch
):
    for module in (files, exports):
        monkeypatch.setattr(module, "XLSX_ROWS", 23)
    client.force_login(cast.mara)
    (said,) = refusals(client, cast.lindenweg, format="xlsx")["format"]
    assert said == "A sheet holds at most 23 rows. Choose CSV or Parquet, or a shorter period."
    assert len(rows(client.get(address(cast.lindenweg), DAYS))) == 24
