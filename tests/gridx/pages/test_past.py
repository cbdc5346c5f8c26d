"""What held at a past instant, as it was known then, whatever became of it since."""

import csv
import re
from datetime import UTC, datetime, timedelta

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
    assert '<a class="button" rel="next" href="?at=2026-06-15T13%3A00%3A01%2B02%3A00">' in html
    assert 'rel="prev" href="?at=2026-06-15T12%3A00%3A01%2B02%3A00">' in html
    assert "15 June 2026, 13:00:00" in html


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-03-29T03:30:00", "29 March 2026, 03:30:00"),
        ("2026-06-15T10:30:00Z", "15 June 2026, 12:30:00"),
        ("2025-10-26T02:30:00+02:00", "26 October 2025, 02:30:00"),
        ("2025-10-26T02:30:00+01:00", "26 October 2025, 02:30:00"),
        ("2025-10-26T02:30", "26 October 2025, 02:30:00"),
    ],
)
def test_each_instant_can_be_asked_for(fleet, history, at, told):
    html = page(fleet, history, at)
    assert told in html
    assert re.search(r'value="20\d\d-\d\d-\d\dT\d\d:30:00"', html)


def test_of_a_time_that_comes_twice_both_instants_are_led_to(fleet, history, monkeypatch):
    [row] = ResolvedBoundary.objects.filter(
        appliance_key=history.evcs.key, at__gt=datetime(2026, 6, 15, 10, 30, tzinfo=UTC)
    )
    for hour in (0, 1):
        row.at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
        row.max_w = 1_000.0 * (8 + hour)
        row.save(force_insert=True)
    monkeypatch.setattr("gridx.clock.now", lambda: datetime(2026, 10, 26, tzinfo=UTC))
    html = page(fleet, history)
    for offset, most in (("02", "8 kW"), ("01", "9 kW")):
        assert f"?at=2026-10-25T02%3A30%3A01%2B{offset}%3A00" in html
        then = page(fleet, history, f"2026-10-25T02:30:01+{offset}:00").split("All changes")[0]
        assert f"Allowed: 4.14 kW to {most}, or off" in then


@pytest.mark.parametrize("at", ["2026-03-29T02:30:00", "yesterday", "0001-01-01T00:00:00"])
def test_what_is_no_instant_is_refused_in_words(fleet, history, at):
    html = page(fleet, history, at, status=422)
    assert ("There is no such time" in html) == (at[:4] == "2026")


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
    assert "Give a day and a time." in html
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
