"""The pages of dimmings: what was asked, whether it was kept to, and the same as a file."""

import csv
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.dimming.operations import dim_system, end_dimming
from flexibility.dimming.proof import keep_proofs
from flexibility.emitters import DIMMING, emitter_of
from inventory.kinds import DimmingMode
from inventory.models import System
from tests.cast import Cast
from tests.household import read_now

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def mara(client: Client, cast: Cast) -> Client:
    client.force_login(cast.mara)
    return client


@pytest.fixture
def operator(driven: Cast):
    return emitter_of(driven.grid_operator, scopes={DIMMING})


@pytest.fixture
def dimmed(driven: Cast, operator, now):
    """Dimmed for the last hour; the car needed a minute, the battery never heard of it."""
    began = now - HOUR
    found = dim_system(system=driven.lindenweg, emitter=operator, invalid_at=now, now=began)
    for seconds in range(-60, 3_600, 30):
        at = began + seconds * SECOND
        car_w = 11_000 if seconds < 60 else 4_150
        read_now(driven, at=at, evcs=car_w, battery=5_000)
    return found


def text_of(client: Client, name: str, *args, **query) -> str:
    response = client.get(reverse(name, args=args), query)
    assert response.status_code == 200, response.content
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def rows_of(client: Client, name: str, *args) -> list[dict]:
    response = client.get(reverse(name, args=args))
    lines = b"".join(response.streaming_content).decode().splitlines()
    return list(csv.DictReader(lines))


def test_the_proof_says_what_was_asked_and_how_it_was_kept(mara, dimmed, driven):
    page = text_of(mara, "dimming", dimmed.pk)
    assert "Car: at most 4.2 kW; within it after 60 seconds, then 4.15 kW at the most." in page
    assert "Battery: at most 4.2 kW; it was above it, at 5 kW at the most." in page
    assert page.count('<svg class="proof-picture"') == 2
    assert "each controllable consumer by itself" in page
    assert f"<dd>{driven.grid_operator.email}</dd>" in page


def test_a_system_that_is_named_by_its_address_is_told_once(mara, dimmed, driven):
    system = System.objects.filter(pk=driven.lindenweg.pk)
    system.update(address_line1=driven.lindenweg.name, postal_code="50735", city="Köln")
    assert f"<dd>{driven.lindenweg.name}, 50735 Köln</dd>" in text_of(mara, "dimming", dimmed.pk)
    system.update(address_line1="Hinterhaus 3")
    page = text_of(mara, "dimming", dimmed.pk)
    assert f"<dd>{driven.lindenweg.name}, Hinterhaus 3, 50735 Köln</dd>" in page


def test_the_list_tells_before_and_after_the_proof_is_made(mara, dimmed, now, monkeypatch):
    assert "proof is final after 13:00" in text_of(mara, "dimmings")
    assert "proof is final after 13:00" in text_of(mara, "dimming", dimmed.pk)
    keep_proofs(now=now + 2 * HOUR)
    assert "not kept to" in text_of(mara, "dimmings")


def test_the_list_shows_the_days_that_are_asked_for(mara, dimmed, now):
    line = reverse("dimming", args=[dimmed.pk])
    assert line in text_of(mara, "dimmings", first="2026-06-15", last="2026-06-15")
    assert line not in text_of(mara, "dimmings", first="2026-06-16")
    assert line not in text_of(mara, "dimmings", last="2026-06-14")
    assert "no grid operator has dimmed" in text_of(mara, "dimmings", first="2026-06-16")
    page = text_of(mara, "dimmings", first="2026-06-16", last="2026-06-01")
    assert "It ends before it begins." in page
    assert "Enter a valid date." in text_of(mara, "dimmings", first="tomorrow")


def test_what_is_out_of_sight_is_not_there(client, dimmed, cast):
    client.force_login(cast.south_admin)
    assert reverse("dimming", args=[dimmed.pk]) not in text_of(client, "dimmings")
    assert rows_of(client, "dimmings_file") == []


def test_the_files_hold_a_line_for_each_appliance(mara, dimmed):
    rows = rows_of(mara, "dimmings_file")
    assert rows == rows_of(mara, "dimming_file", dimmed.pk)
    assert [(row["appliance"], row["reaction_s"]) for row in rows] == [
        ("Battery", ""),
        ("Car", "60.0"),
    ]


def test_one_sum_shows_how_it_comes_about(mara, driven, operator, now):
    System.objects.filter(pk=driven.lindenweg.pk).update(dimming_mode=DimmingMode.EMS)
    driven.lindenweg.refresh_from_db()
    found = dim_system(
        system=driven.lindenweg, emitter=operator, invalid_at=now + HOUR, now=now - HOUR
    )
    for minutes in range(60):
        at = now - HOUR + minutes * 60 * SECOND
        read_now(driven, at=at, evcs=4_000, battery=1_000, grid=6_000)
    page = text_of(mara, "dimming", found.pk)
    assert "4.2 kW + 1 × 0.80 × 4.2 kW = 7.56 kW" in page
    assert "All together, from the grid: at most 7.56 kW; within it after 0 seconds" in page
    assert "dimmed now" in page
    # It goes on, so nobody knows yet.
    assert "kept to so far" in page


@pytest.mark.parametrize(
    ("minutes", "said"), [(60, "kept to"), (40, "kept to as far as measured"), (0, "not measured")]
)
def test_a_verdict_is_for_as_long_as_was_measured(mara, driven, operator, now, minutes, said):
    began = now - HOUR
    found = dim_system(system=driven.lindenweg, emitter=operator, invalid_at=now, now=began)
    for seconds in range(-60, 60 * minutes, 30) if minutes else ():
        read_now(driven, at=began + seconds * SECOND, evcs=4_100, battery=1_000)
    assert f"{said}</span>" in text_of(mara, "dimming", found.pk)
    keep_proofs(now=now + 2 * HOUR)
    assert f"{said}</span>" in text_of(mara, "dimmings")


def test_a_proof_is_named_by_the_clock_of_its_system(mara, dimmed):
    answer = mara.get(reverse("dimming_file", args=[dimmed.pk]))
    assert 'filename="gridx-dimming-2026-06-15-1100.csv"' in answer["Content-Disposition"]


def test_what_was_called_off_before_it_began_is_not_listed(mara, driven, operator, now):
    found = dim_system(
        system=driven.lindenweg,
        emitter=operator,
        valid_at=now + HOUR,
        invalid_at=now + 2 * HOUR,
        now=now,
    )
    assert "to come" in text_of(mara, "dimmings")
    end_dimming(found=found, emitter=operator, now=now)
    assert "Nothing was dimmed" in text_of(mara, "dimmings")
    assert "called off" in text_of(mara, "dimming", found.pk)


def test_the_way_to_the_proof_leads_from_the_home_and_the_appliance(mara, driven, operator, now):
    home = reverse("system", args=[driven.lindenweg.pk])
    assert "Dimmings" not in mara.get(home).content.decode()
    found = dim_system(system=driven.lindenweg, emitter=operator, invalid_at=now + HOUR, now=now)
    assert f"{reverse('dimmings')}?system={driven.lindenweg.pk}" in mara.get(home).content.decode()
    car = mara.get(reverse("appliance", args=[driven.evcs.pk])).content.decode()
    assert reverse("dimming", args=[found.pk]) in car


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_days_that_are_shown_are_told_as_browsers_take_them(mara: Client, language: str):
    html = mara.get(reverse("dimmings"), headers={"Accept-Language": language}).content.decode()
    assert re.search(r'type="date" name="first" value="\d{4}-\d\d-\d\d"', html)
