"""What held at a past instant, as it was known then, whatever became of it since."""

import csv
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.emitters import Emitter, emitter_of
from flexibility.models import ResolvedBoundary
from flexibility.operations import withdraw_constraint
from flexibility.resolver import EmitterKind
from tests.cast import Cast

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


@pytest.fixture
def history(driven: Cast, limit, at_noon, monkeypatch):
    """At noon in UTC minus two (10:00) a resident's 7 kW; an hour later they are withdrawn."""
    row = limit(max_w=7_000, emitter=Emitter(EmitterKind.LOCAL_USER, driven.mara))
    limit(max_w=9_000)
    withdraw_constraint(constraint=row, by=emitter_of(driven.mara), now=at_noon + HOUR)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + 5 * HOUR)
    return driven


def page(client: Client, cast: Cast, at: str = "", status: int = 200) -> str:
    address = reverse("appliance_past", args=[cast.evcs.pk])
    response = client.get(address, {"at": at} if at else {})
    assert response.status_code == status
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def test_what_held_then_is_told_with_all_that_had_a_say(fleet, history):
    html = page(fleet, history, "2026-06-15T12:30:00")
    assert "Allowed: 4.14 kW to 7 kW, or off" in html
    assert "The resident: at most 7 kW" in html
    assert "The fleet manager: at most 9 kW" in html
    assert "15 June 2026, 12:30:00" in html
    assert "Europe/Berlin" in html


def test_after_a_withdrawal_the_weaker_one_held(fleet, history):
    html = page(fleet, history, "2026-06-15T13:30:00")
    assert "Allowed: 4.14 kW to 9 kW, or off" in html
    assert "The resident" not in html


def test_before_anything_was_known_nothing_was_asked(fleet, history):
    assert "Nothing was asked of it then." in page(fleet, history, "2026-06-14T12:00:00")


def test_one_goes_from_change_to_change(fleet, history):
    html = page(fleet, history, "2026-06-15T12:30:00")
    assert '<a class="button" rel="next" href="?at=2026-06-15T13%3A00%3A01">' in html
    assert 'rel="prev" href="?at=2026-06-15T12%3A00%3A01">' in html
    assert "15 June 2026, 13:00:00" in html


def test_what_changes_nothing_in_words_is_no_change(fleet, history, at_noon):
    [row] = ResolvedBoundary.objects.filter(appliance_key=history.evcs.key, at=at_noon)
    for seconds in (1, 2, 4):
        row.at = at_noon + seconds * HOUR / 3_600
        row.save(force_insert=True)
    changes = page(fleet, history).split("All changes")[1]
    assert "15 June 2026, 12:00:00" in changes
    assert "15 June 2026, 12:00:0" not in changes.replace("12:00:00", "")
    assert changes.count(">4.14 kW to 7 kW, or off<") == 1
    assert "the resident and the appliance itself" in changes


def test_what_is_no_instant_is_said_and_now_is_shown(fleet, history):
    html = page(fleet, history, "yesterday", status=422)
    assert "Enter a valid date/time." in html
    assert 'value="yesterday"' in html


def test_the_future_is_not_known_yet(fleet, history):
    assert "15 June 2026, 17:00:00" in page(fleet, history, "2027-01-01T00:00:00")


def test_the_file_holds_every_change_with_its_inputs(fleet, history):
    address = reverse("appliance_past_file", args=[history.evcs.pk])
    content = b"".join(fleet.get(address).streaming_content).decode()
    rows = list(csv.DictReader(content.splitlines()))
    last = [row for row in rows if row["at"] == rows[-1]["at"]]
    assert {row["constraint_emitter"] for row in last} == {"driver", "account_user"}
    assert {row["max_w"] for row in last} == {"9000.0"}
    [asked] = [row for row in last if row["constraint_emitter"] == "account_user"]
    assert (asked["constraint_max_w"], asked["power_outcome"]) == ("9000.0", "binding")


def test_the_appliances_page_leads_there(fleet, driven):
    html = fleet.get(reverse("appliance", args=[driven.evcs.pk])).content.decode()
    assert reverse("appliance_past", args=[driven.evcs.pk]) in html
