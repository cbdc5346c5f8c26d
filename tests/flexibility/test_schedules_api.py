"""The wire's schedules are constraints of charging stations and of the grid meter."""

from datetime import timedelta

import pytest
from gridx_connector_api.models.get_systems_system_id_power_limit_schedules_schedule_id_response_200 import (  # noqa: E501
    GetSystemsSystemIDPowerLimitSchedulesScheduleIDResponse200 as PowerLimitRead,
)
from gridx_connector_api.models.post_systems_system_id_evcharging_schedules_ev_charging_schedule import (  # noqa: E501
    PostSystemsSystemIDEvchargingSchedulesEVChargingSchedule as ChargingScheduleMade,
)

from flexibility.models import Constraint, Flexibility, Series
from gridx import clock
from inventory.models import Appliance
from tests.flexibility.asking import as_, read, refused, wire
from tests.household import add_station

pytestmark = pytest.mark.usefixtures("stopped_clock")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def charging(driven) -> str:
    return f"systems/{driven.lindenweg.pk}/evcharging-schedules"


@pytest.fixture
def limits(driven) -> str:
    return f"systems/{driven.lindenweg.pk}/power-limit-schedules"


@pytest.fixture
def post(driven):
    """Sets a schedule, by default as the fleet manager."""

    def send(path: str, body: dict, by=None, status=201):
        answer = as_(by or driven.fleet).post(f"/api/{path}", body)
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


@pytest.fixture
def evening(now):
    """A schedule of power limits as a client sends it: evenings of a week, on working days."""
    return lambda **fields: {
        "title": "Evenings",
        "from": wire(now),
        "to": wire(now + 7 * DAY),
        "timezone": "Europe/Berlin",
        "timeframes": [{"from": "17:00", "to": "20:00", "maxPower": 4_200}],
        "recurrence": {"frequency": "DAILY", "byDayOfWeek": ["MO", "TU", "WE", "TH", "FR"]},
        **fields,
    }


def standing(now) -> list[Constraint]:
    rows = Constraint.objects.filter(
        series__isnull=False, withdrawn_at=None, invalid_at__gt=now
    ).order_by("valid_at", "appliance__key")
    return list(rows)


# Of charging stations ----------------------------------------------------------------------------


def test_a_charging_schedule_limits_each_station(driven, charging, post, now):
    second = add_station(driven)
    sent = {"from": wire(now), "to": wire(now + 3 * DAY), "limit": 7_000}
    found = post(charging, sent)
    rows = standing(now)
    assert [(one.appliance, one.max_w) for one in rows] == [
        (driven.evcs, 7_000), (second, 7_000)
    ]  # fmt: skip
    assert {(one.valid_at, one.invalid_at, one.emitter_kind) for one in rows} == {
        (now, now + 3 * DAY, "account_user")
    }
    assert found == {**sent, "id": str(Series.objects.get().pk), "updatedAt": wire(now)}
    assert ChargingScheduleMade.from_dict(found).limit == 7_000
    assert read(as_(driven.viewer), charging) == [found]
    assert read(as_(driven.viewer), f"{charging}/{found['id']}") == found
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 7_000


def test_those_of_the_next_day_are_listed(driven, charging, post, now, monkeypatch):
    for hours in (1, 23, 25):
        at = now + hours * HOUR
        post(charging, {"from": wire(at), "to": wire(at + HOUR), "limit": hours})
    assert [one["limit"] for one in read(as_(driven.fleet), charging)] == [1, 23]
    monkeypatch.setattr(clock, "now", lambda: now + 2 * HOUR)
    assert [one["limit"] for one in read(as_(driven.fleet), charging)] == [23, 25]


def test_a_charging_schedule_is_withdrawn_by_who_set_it(driven, charging, post, now):
    found = post(charging, {"from": wire(now), "to": wire(now + HOUR), "limit": 0})
    path = f"/api/{charging}/{found['id']}"
    assert as_(driven.mara).delete(path).status_code == 403
    assert as_(driven.fleet).delete(path).status_code == 204
    assert as_(driven.fleet).delete(path).status_code == 404
    assert standing(now) == []
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 22_000


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": None}, "limit"),
        ({"from": "2026-06-15"}, "from"),
        ({"from": "2026-06-15T12:00:00Z"}, "to"),
        ({"to": "2026-06-15T10:00:00Z", "from": "2026-06-14T10:00:00Z"}, "to"),
        ({"to": "2027-09-01T00:00:00Z"}, "to"),
        ({"to": "9999-12-31T23:59:59Z"}, "to"),
    ],
)
def test_a_charging_schedule_that_makes_no_sense_is_422(driven, charging, now, changed, named):
    sent = {"from": wire(now), "to": wire(now + HOUR), "limit": 7_000, **changed}
    details = refused(as_(driven.fleet).post(f"/api/{charging}", sent))
    assert details[0].startswith(f"{named}: ")
    assert not Series.objects.exists()


def test_without_stations_or_meter_there_is_nothing_to_limit(driven, post, evening, now):
    system = f"systems/{driven.hafenstrasse.pk}"
    sent = {"from": wire(now), "to": wire(now + HOUR), "limit": 7_000}
    answer = as_(driven.staff).post(f"/api/{system}/evcharging-schedules", sent)
    assert refused(answer)[0].startswith("systemID: ")
    Appliance.objects.filter(pk=driven.other_meter.pk).update(removed_at=now)
    answer = as_(driven.staff).post(f"/api/{system}/power-limit-schedules", evening())
    assert refused(answer)[0].startswith("systemID: ")


# Of grid connections -----------------------------------------------------------------------------


def test_a_power_limit_recurs_on_the_grid_meter(driven, limits, post, evening, now):
    found = post(limits, evening())
    rows = standing(now)
    assert {(one.appliance, one.max_w, one.min_w) for one in rows} == {
        (driven.grid_meter, 4_200, None)
    }
    # Monday to Friday from 17:00 to 20:00 in Berlin.
    assert [f"{one.valid_at:%a %H}-{one.invalid_at:%H}" for one in rows] == [
        "Mon 15-18", "Tue 15-18", "Wed 15-18", "Thu 15-18", "Fri 15-18"
    ]  # fmt: skip
    series = Series.objects.get()
    assert found == {
        **evening(),
        "id": str(series.pk),
        "status": "UPCOMING",
        "createdAt": wire(now),
        "updatedAt": wire(now),
    }
    assert PowerLimitRead.from_dict(found).to_dict().keys() == found.keys()
    assert read(as_(driven.viewer), limits) == [found]
    assert read(as_(driven.mara), f"{limits}/{found['id']}") == found


def test_its_status_follows_the_clock(driven, limits, post, evening, now, monkeypatch):
    path = f"{limits}/{post(limits, evening())['id']}"
    for at, status in (
        (now + 6 * HOUR, "ACTIVE"),
        (now + 10 * HOUR, "UPCOMING"),
        (now + 6 * DAY, "OUTDATED"),
    ):
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        assert read(as_(driven.fleet), path)["status"] == status


def test_zone_and_days_have_defaults(driven, limits, post, evening, now):
    sent = evening(timeframes=[{"from": "22:00", "to": "24:00", "maxPower": 0}])
    del sent["timezone"], sent["recurrence"]
    found = post(limits, sent)
    assert (found["timezone"], found["recurrence"]) == ("Europe/Berlin", {"frequency": "DAILY"})
    assert found["timeframes"] == [{"from": "22:00", "to": "00:00", "maxPower": 0}]
    assert len(standing(now)) == 7


def test_changing_replaces_what_is_to_come(driven, limits, post, evening, now, monkeypatch):
    path = f"/api/{limits}/{post(limits, evening())['id']}"
    later = now + 6 * HOUR  # 18:00 in Berlin
    monkeypatch.setattr(clock, "now", lambda: later)
    sent = {"timeframes": [{"from": "17:00", "to": "19:00", "maxPower": 3_000}]}
    answer = as_(driven.admin).patch(path, sent)
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert (found["title"], found["status"], found["updatedAt"]) == (
        "Evenings", "ACTIVE", wire(later)
    )  # fmt: skip
    assert found["timeframes"] == sent["timeframes"]
    first, *rest = standing(later)
    assert (first.valid_at, first.invalid_at, first.max_w) == (later, later + HOUR, 3_000)
    assert len(rest) == 4
    # What was in force until then is kept as it was.
    [before] = Constraint.objects.filter(withdrawn_at=later, valid_at__lt=later)
    assert before.max_w == 4_200
    assert as_(driven.admin).patch(path, {"title": "Nights"}).json()["title"] == "Nights"
    assert as_(driven.mara).patch(path, {"title": "Mine"}).status_code == 403


def test_deleting_withdraws_it(driven, limits, post, evening, now):
    path = f"/api/{limits}/{post(limits, evening())['id']}"
    assert as_(driven.mara).delete(path).status_code == 403
    assert as_(driven.staff).delete(path).status_code == 204
    assert as_(driven.fleet).get(path).status_code == 404
    assert (standing(now), read(as_(driven.fleet), limits)) == ([], [])


def test_a_title_stands_once_in_a_system(driven, limits, post, evening, now):
    first = post(limits, evening())
    assert "title" in post(limits, evening(), by=driven.mara, status=422)["details"][0]
    post(limits, evening(title="Other"))
    path = f"/api/{limits}/{first['id']}"
    assert as_(driven.fleet).patch(path, {"title": "Other"}).status_code == 422
    assert as_(driven.fleet).patch(path, {"title": "Evenings"}).status_code == 200


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"title": ""}, "title"),
        ({"title": None}, "title"),
        ({"to": "2026-06-14T10:00:00Z"}, "to"),
        ({"timezone": "Mars/North"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timeframes": []}, "timeframes"),
        ({"timeframes": [{"from": "17:00", "to": "20:00"}]}, "timeframes.0.maxPower"),
        (
            {"timeframes": [{"from": "5pm", "to": "20:00", "maxPower": 1}]},
            "timeframes.0.from",
        ),
        (
            {"timeframes": [{"from": 17, "to": "20:00", "maxPower": 1}]},
            "timeframes.0.from",
        ),
        (
            {
                "timeframes": [
                    {"from": "17:00", "to": "20:00", "maxPower": 1},
                    {"from": "19:00", "to": "21:00", "maxPower": 2},
                ]
            },
            "timeframes.1",
        ),
        (
            {"timeframes": [{"from": "17:00", "to": "20:00", "maxPower": -1}]},
            "timeframes.0.maxPower",
        ),
        ({"recurrence": {"frequency": "YEARLY"}}, "recurrence.frequency"),
        ({"recurrence": {"frequency": "DAILY", "byDayOfWeek": ["XX"]}}, "recurrence.byDayOfWeek"),
    ],
)
def test_a_power_limit_that_makes_no_sense_is_422(
    driven, limits, post, evening, now, changed, named
):
    details = refused(as_(driven.fleet).post(f"/api/{limits}", evening(**changed)))
    assert details[0].startswith(named)
    path = f"/api/{limits}/{post(limits, evening())['id']}"
    assert refused(as_(driven.fleet).patch(path, changed))[0].startswith(named)
    assert len(standing(now)) == 5


@pytest.mark.parametrize("person", ["viewer", "installer", "grid_operator"])
def test_who_may_only_look_sets_none(driven, charging, limits, post, evening, now, person):
    path = f"/api/{limits}/{post(limits, evening())['id']}"
    client = as_(getattr(driven, person))
    post(limits, evening(title="Mine"), by=getattr(driven, person), status=403)
    post(charging, {}, by=getattr(driven, person), status=403)
    assert client.patch(path, {}).status_code == 403
    assert client.delete(path).status_code == 403
    assert client.get(path).status_code == 200


def test_one_kind_is_not_found_as_the_other(driven, charging, limits, post, evening, now):
    found = post(limits, evening())
    assert as_(driven.fleet).get(f"/api/{charging}/{found['id']}").status_code == 404
    other = f"systems/{driven.hafenstrasse.pk}/power-limit-schedules"
    assert as_(driven.staff).get(f"/api/{other}/{found['id']}").status_code == 404


def test_lists_take_as_many_queries_however_long_they_are(
    driven, charging, limits, post, evening, now, django_assert_num_queries
):
    for number in range(3):
        post(limits, evening(title=f"Evenings {number}"))
        post(charging, {"from": wire(now), "to": wire(now + HOUR), "limit": number})
        for path in (charging, limits):
            with django_assert_num_queries(2):
                assert len(read(as_(driven.fleet), path)) == number + 1
