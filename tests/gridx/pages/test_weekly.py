"""Constraints of every week: tried out, set, listed in words, withdrawn and changed."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.bulk.operations import work_due
from flexibility.emitters import emitter_of
from flexibility.models import Constraint, Series
from inventory.models import Appliance
from tests.cast import Cast

# The tests' noon is a Monday, the 15th of June 2026, in Berlin.
WEEKLY = {
    "repeats": "weekly",
    "begin": "now",
    "end": "4h",
    "weekdays": ["0", "1", "2", "3", "4"],
    "starts": "17:00",
    "stops": "20:00",
    "first_day": "2026-06-15",
    "last_day": "2026-12-31",
    "priority": "3000",
}


@pytest.fixture
def fleet(client: Client, driven: Cast) -> Client:
    client.force_login(driven.fleet)
    return client


def text(response, status: int = 200) -> str:
    assert response.status_code == status, response.content
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def editor(appliance: Appliance) -> str:
    return reverse("appliance_constrain", args=[appliance.pk])


def page(client: Client, appliance: Appliance) -> str:
    return text(client.get(reverse("appliance", args=[appliance.pk])))


def set_weekly(client: Client, appliance: Appliance, **fields) -> Series:
    answer = client.post(editor(appliance), {**WEEKLY, "greatest": "7", **fields})
    assert answer.status_code == 302, answer.content
    return Series.objects.latest("created_at")


def test_it_is_tried_out_with_its_days_in_words(fleet: Client, driven: Cast):
    html = text(fleet.post(editor(driven.evcs), {**WEEKLY, "greatest": "7", "preview": "1"}))
    assert "every Mon–Fri, 17:00–20:00, until 31 Dec" in html
    assert "It will be kept to." in html
    assert "17:00 – 20:00" in html
    assert "tomorrow, 17:00 – tomorrow, 20:00" in html
    assert not Series.objects.exists()


def test_one_that_begins_later_is_shown_when_it_begins(fleet: Client, driven: Cast):
    weekend = {**WEEKLY, "weekdays": ["5"], "greatest": "7", "preview": "1"}
    html = text(fleet.post(editor(driven.evcs), weekend))
    assert "The two days from Sat 20 Jun, 16:00 on:" in html
    assert "every Sat, 17:00–20:00" in html
    assert "It will be kept to." in html


def test_it_is_set_and_listed_once_in_words(fleet: Client, driven: Cast):
    series = set_weekly(fleet, driven.evcs)
    assert (series.weekdays, series.time_zone) == ([0, 1, 2, 3, 4], "Europe/Berlin")
    first = Constraint.objects.filter(series=series).earliest("valid_at")
    assert (first.valid_at, first.max_w) == (datetime(2026, 6, 15, 15, tzinfo=UTC), 7_000)
    html = page(fleet, driven.evcs)
    assert html.count("every Mon–Fri, 17:00–20:00, until 31 Dec") == 1
    assert "Withdraw this one" in html
    assert reverse("series_withdraw", args=[series.pk]) in html
    assert reverse("series_edit", args=[series.pk]) in html


def test_one_whose_next_time_is_far_is_listed_too(fleet: Client, driven: Cast):
    set_weekly(fleet, driven.evcs, weekdays=["5"])
    html = page(fleet, driven.evcs)
    assert "every Sat, 17:00–20:00, until 31 Dec" in html
    assert "from Sat 20 Jun, 17:00 until Sat 20 Jun, 20:00" in html


def test_what_goes_on_after_midnight_ends_on_the_day_after_the_last(fleet: Client, driven: Cast):
    series = set_weekly(fleet, driven.evcs, starts="22:00", stops="06:00", last_day="2026-06-16")
    rows = Constraint.objects.filter(series=series).order_by("valid_at")
    assert [row.invalid_at.astimezone(driven.lindenweg.zone).isoformat() for row in rows] == [
        "2026-06-16T06:00:00+02:00",
        "2026-06-17T06:00:00+02:00",
    ]
    assert "every Mon–Fri, 22:00–06:00, until 16 Jun" in page(fleet, driven.evcs)


def test_one_that_lasts_for_longer_than_400_days_says_how_far_it_is_set(
    fleet: Client, driven: Cast
):
    long = {**WEEKLY, "last_day": "2028-12-31", "greatest": "7", "preview": "1"}
    html = text(fleet.post(editor(driven.evcs), long))
    assert "it is set until Tue 20 Jul 2027, 12:00" in html


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weekdays": []}, "Choose at least one day."),
        ({"starts": ""}, "Give a time of the day."),
        ({"stops": "25:00"}, "Enter a valid time."),
        ({"last_day": ""}, "Give a day."),
        ({"last_day": "0001-01-01"}, "Give a day."),
        ({"last_day": "2026-06-01"}, "It ends before it begins."),
        ({"first_day": "2029-01-01", "last_day": "2029-02-01"}, "At most 400 days ahead."),
        ({"weekdays": ["5"], "last_day": "2026-06-16"}, "It never occurs."),
        ({"weekdays": ["9"]}, "Select a valid choice."),
        ({"greatest": ""}, "It says nothing"),
    ],
)
def test_mistakes_are_told_and_nothing_is_lost(fleet: Client, driven: Cast, fields, said):
    sent = {**WEEKLY, "greatest": "7", **fields}
    html = text(fleet.post(editor(driven.evcs), sent), 422)
    assert said in html
    assert re.search(r'name="repeats" value="weekly"[^>]*checked', html)
    assert not Series.objects.exists()


def test_the_whole_series_is_withdrawn_and_that_taken_back(fleet: Client, driven: Cast):
    series = set_weekly(fleet, driven.evcs)
    answer = fleet.post(reverse("series_withdraw", args=[series.pk]))
    html = text(fleet.get(answer.url))
    assert "Withdrawn: every Mon–Fri, 17:00–20:00, until 31 Dec." in html
    assert not Constraint.objects.filter(series=series, withdrawn_at=None).exists()
    fleet.post(reverse("series_restore", args=[series.pk]))
    assert Constraint.objects.filter(series=series, withdrawn_at=None).count() == 144


def test_after_a_minute_a_series_stays_withdrawn(
    fleet: Client, driven: Cast, at_noon: datetime, monkeypatch
):
    series = set_weekly(fleet, driven.evcs)
    fleet.post(reverse("series_withdraw", args=[series.pk]))
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(minutes=1))
    headers = {"HX-Request": "true"}
    html = text(fleet.post(reverse("series_restore", args=[series.pk]), headers=headers))
    assert "too long ago" in html


def test_one_occurrence_is_withdrawn_alone(fleet: Client, driven: Cast):
    series = set_weekly(fleet, driven.evcs)
    first = Constraint.objects.filter(series=series).earliest("valid_at")
    fleet.post(reverse("constraint_withdraw", args=[first.pk]))
    assert Constraint.objects.filter(series=series, withdrawn_at=None).count() == 143
    assert "from tomorrow, 17:00 until tomorrow, 20:00" in page(fleet, driven.evcs)
    # With the series it comes back only where it went with it.
    fleet.post(reverse("series_withdraw", args=[series.pk]))
    fleet.post(reverse("series_restore", args=[series.pk]))
    first.refresh_from_db()
    assert Constraint.objects.filter(series=series, withdrawn_at=None).count() >= 143


def test_a_series_is_changed_from_now_on(fleet: Client, driven: Cast):
    series = set_weekly(fleet, driven.evcs, stops="21:00")
    first = Constraint.objects.filter(series=series).earliest("valid_at")
    assert fleet.get(reverse("constraint_edit", args=[first.pk])).url == reverse(
        "series_edit", args=[series.pk]
    )
    html = text(fleet.get(reverse("series_edit", args=[series.pk])))
    for shown in (
        'name="greatest" value="7"',
        'name="starts" value="17:00"',
        'name="stops" value="21:00"',
        'name="last_day" value="2026-12-31"',
    ):
        assert shown in html
    assert 'name="repeats"' not in html
    answer = fleet.post(
        reverse("series_edit", args=[series.pk]), {**WEEKLY, "greatest": "6", "stops": "21:00"}
    )
    assert answer.status_code == 302
    standing = Constraint.objects.filter(series=series, withdrawn_at=None)
    assert set(standing.values_list("max_w", flat=True)) == {6_000}
    assert Series.objects.count() == 1


def test_a_groups_series_is_one_line(fleet: Client, driven: Cast):
    kinds = ["battery", "ev_charging_station"]
    where = reverse("pool_constrain", args=[driven.pool.pk])
    answer = fleet.post(where, {**WEEKLY, "greatest": "4", "kinds": kinds})
    html = text(fleet.get(answer.url))
    assert html.count("every Mon–Fri, 17:00–20:00, until 31 Dec") == 1
    assert "Withdraw all of them" in html


def test_many_appliances_get_a_series_each(fleet: Client, driven: Cast, at_noon: datetime):
    chosen = [str(driven.evcs.pk), str(driven.battery.pk)]
    answer = fleet.post("/constraints/new", {**WEEKLY, "greatest": "4", "appliance": chosen})
    while work_due(now=at_noon):
        pass
    assert {one.appliance for one in Series.objects.all()} == {driven.evcs, driven.battery}
    assert "At most 4 kW, every Mon–Fri, 17:00–20:00" in text(fleet.get(answer.url))


def test_who_did_not_set_it_neither_changes_nor_withdraws_it(fleet: Client, driven: Cast):
    series = set_weekly(fleet, driven.evcs)
    fleet.force_login(driven.mara)
    html = page(fleet, driven.evcs)
    assert "every Mon–Fri" in html
    assert "Withdraw all of them" not in html
    assert fleet.get(reverse("series_edit", args=[series.pk])).status_code == 403
    assert fleet.post(reverse("series_withdraw", args=[series.pk])).status_code == 403
    fleet.force_login(driven.schmidt)
    assert fleet.get(reverse("series_edit", args=[series.pk])).status_code == 404
    assert fleet.post(reverse("series_withdraw", args=[series.pk])).status_code == 404
    assert emitter_of(driven.mara).kind == "local_user"
