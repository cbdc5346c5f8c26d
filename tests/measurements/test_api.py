from datetime import UTC, datetime, timedelta

import pytest
from rest_framework.test import APIClient

from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster
from measurements.flags import Flag
from measurements.history import DEVICE_COLUMNS, past_of_system
from measurements.models import ApplianceSlot, LatestReading, SystemDay, SystemSlot
from measurements.queries import history_of_system
from measurements.resolutions import Resolution, Span
from measurements.slots import compute_until_clean
from measurements.slots.rollups import APPLIANCE_HOURS, SYSTEM_HOURS, roll_up
from measurements.wire.history import LISTED
from tests.measurements.arrivals import Site, store

DAY = datetime(2026, 6, 14, 22, tzinfo=UTC)  # midnight in Berlin
QUARTER = timedelta(minutes=15)
DAY_LONG = timedelta(days=1)
SLOT = {
    "pv_mwh": 500_000,
    "pv_to_load_mwh": 100_000,
    "pv_to_battery_mwh": 150_000,
    "pv_to_grid_mwh": 250_000,
    "charge_mwh": 150_000,
    "discharge_mwh": 0,
    "import_mwh": 0,
    "export_mwh": 250_000,
    "consumption_mwh": 100_000,
    "household_mwh": 100_000,
    "household_from_pv_mwh": 100_000,
    "soc": 0.5,
    "imported_wh": 1000.0,
    "exported_wh": 2000.0,
    "seen_s": 900,
    "expected_s": 900,
}


@pytest.fixture
def mara(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.mara)
    return client


@pytest.fixture
def morning(cast) -> None:
    """Six hours of slots of Lindenweg 12, from midnight on."""
    SystemSlot.objects.bulk_create(
        SystemSlot(system_key=cast.lindenweg.key, start=DAY + n * QUARTER, **SLOT)
        for n in range(24)
    )
    ApplianceSlot.objects.bulk_create(
        ApplianceSlot(
            system_key=cast.lindenweg.key,
            appliance_key=cast.battery.key,
            start=DAY + n * QUARTER,
            import_mwh=150_000,
            export_mwh=0,
            soc=0.5,
            seen_s=900,
        )
        for n in range(24)
    )
    of_morning = [(cast.lindenweg.key, Span(DAY, DAY + 24 * QUARTER))]
    roll_up(SYSTEM_HOURS, of_morning)
    roll_up(APPLIANCE_HOURS, of_morning)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def history(client: APIClient, cast, *, status: int = 200, **query) -> dict:
    answer = client.get(f"/api/systems/{cast.lindenweg.pk}/historical", query)
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_day_of_quarters_is_power_at_their_ends_and_empty_in_the_future(cast, mara, morning):
    body = history(
        mara,
        cast,
        interval="2026-06-15T00:00:00+02:00/2026-06-16T00:00:00+02:00",
        resolution="15m",
    )
    assert len(body["data"]) == 96
    first, last = body["data"][0], body["data"][-1]
    assert first["measuredAt"] == "2026-06-14T22:15:00Z"
    assert (first["photovoltaic"], first["totalConsumption"]) == (2000, 400)
    assert first["grid"] == {"feedIn": 1000, "supply": 0}
    assert first["battery"] == {
        "charge": 600,
        "discharge": 0,
        "stateOfCharge": 0.5,
        "capacity": 10_000,
        "nominalCapacity": 10_000,
    }
    assert first["batteries"][0]["power"] == -600
    assert first["gridMeterReadingPositive"] == 3_600_000
    assert last == {"measuredAt": "2026-06-15T22:00:00Z"}
    total = body["total"]
    assert total["measuredAt"] == "2026-06-14T22:15:00Z/2026-06-15T22:00:00Z"
    assert total["photovoltaic"] == 24 * 500
    assert total["selfConsumption"] == 24 * 250
    assert total["selfConsumptionRate"] == 0.5


def test_an_hour_is_the_default_and_agrees_with_the_figures(cast, mara, morning):
    until = DAY + timedelta(hours=6)
    body = history(mara, cast, interval=f"{stamp(DAY)}/{stamp(until)}")
    past = history_of_system(
        system=cast.lindenweg, from_at=DAY, until_at=until, resolution=Resolution.HOUR
    )
    assert [point["measuredAt"] for point in body["data"]] == [
        stamp(period.until) for period in past.periods
    ]
    for point, period in zip(body["data"], past.periods, strict=True):
        assert point["photovoltaic"] == period.figures["pv_mwh"] / 1000
    assert body["total"]["grid"]["feedIn"] == past.total["export_mwh"] / 1000


def test_days_are_energies_at_their_starts(cast, mara):
    SystemDay.objects.create(system_key=cast.lindenweg.key, start=DAY, **SLOT)
    body = history(
        mara, cast, interval="2026-06-15T00:00:00+02:00/2026-06-17T00:00:00+02:00", resolution="1d"
    )
    first, second = body["data"]
    assert (first["measuredAt"], first["photovoltaic"]) == ("2026-06-14T22:00:00Z", 500)
    assert second == {"measuredAt": "2026-06-15T22:00:00Z"}


def test_how_much_of_a_figure_was_seen_is_told_where_it_is_asked_for(cast, mara, morning):
    SystemSlot.objects.filter(start=DAY).update(
        seen_s=675, expected_s=900, flags=Flag.ESTIMATED | Flag.RECOVERED
    )
    half_past = {"interval": f"{stamp(DAY)}/{stamp(DAY + 2 * QUARTER)}", "resolution": "15m"}
    body = history(mara, cast, **half_past, quality="true")
    first, second = (point["quality"] for point in body["data"])
    assert first == {"coverage": 0.75, "flags": ["ESTIMATED", "RECOVERED"]}
    assert second == {"coverage": 1, "flags": []}
    assert body["total"]["quality"] == {"coverage": 0.875, "flags": ["ESTIMATED", "RECOVERED"]}
    assert "quality" not in str(history(mara, cast, **half_past))
    [refusal] = history(mara, cast, **half_past, quality="very", status=422)["details"]
    assert refusal == "quality: is true or false"


def test_how_much_of_each_appliance_was_seen_is_told_where_it_is_asked_for(cast, mara, morning):
    ApplianceSlot.objects.filter(start=DAY).update(seen_s=675, flags=Flag.RESET | Flag.IMPLAUSIBLE)
    hour = {"interval": f"{stamp(DAY)}/{stamp(DAY + 4 * QUARTER)}"}
    body = history(mara, cast, **hour, resolution="15m", quality="true")
    first, second, *_rest = (point["batteries"][0]["quality"] for point in body["data"])
    assert first == {"coverage": 0.75, "flags": ["RESET", "IMPLAUSIBLE"]}
    assert second == {"coverage": 1, "flags": []}
    assert body["data"][0]["quality"]["flags"] == []  # the system's own
    # An hour is what its slots are together.
    roll_up(APPLIANCE_HOURS, [(cast.lindenweg.key, Span(DAY, DAY + 4 * QUARTER))])
    [point] = history(mara, cast, **hour, quality="true")["data"]
    [battery] = point["batteries"]
    assert battery["quality"] == {"coverage": 0.9375, "flags": ["RESET", "IMPLAUSIBLE"]}
    del point["quality"], battery["quality"]
    assert history(mara, cast, **hour)["data"] == [point]


def test_a_clusters_appliances_tell_how_much_of_them_was_seen_too(cast, mara, morning):
    ApplianceSlot.objects.filter(start=DAY).update(seen_s=675, flags=Flag.ESTIMATED)
    cellar = Cluster.objects.create(system=cast.lindenweg, name="Cellar")
    cellar.appliances.add(cast.battery)
    query = {"interval": f"{stamp(DAY)}/{stamp(DAY + QUARTER)}", "resolution": "15m"}
    url = f"/api/clusters/{cellar.pk}/historical"
    [asked] = mara.get(url, query | {"quality": "true"}).json()["data"]
    assert asked["batteries"][0].pop("quality") == {"coverage": 0.75, "flags": ["ESTIMATED"]}
    assert asked.pop("quality") == {"coverage": 0.75, "flags": ["ESTIMATED"]}
    assert mara.get(url, query).json()["data"] == [asked]


def test_of_appliances_no_more_is_read_than_is_told(cast, morning):
    asked = {"from_at": DAY, "until_at": DAY + QUARTER, "resolution": Resolution.QUARTER}
    [battery] = past_of_system(system=cast.lindenweg, kinds=LISTED, **asked).devices
    assert tuple(battery.columns) == DEVICE_COLUMNS


def test_what_is_missing_of_a_day_is_no_part_of_what_was_seen(cast, mara, morning):
    day = "2026-06-15T00:00:00+02:00/2026-06-16T00:00:00+02:00"
    SystemDay.objects.create(
        system_key=cast.lindenweg.key, start=DAY, **SLOT | {"expected_s": 21_600, "seen_s": 21_600}
    )
    body = history(mara, cast, interval=day, resolution="1d", quality="true")
    assert body["data"][0]["quality"] == {"coverage": 0.25, "flags": []}


# The first battery is removed on Wednesday at noon; the second is read from two hours later on.
WEDNESDAY = datetime(2026, 6, 16, 22, tzinfo=UTC)
NOON = WEDNESDAY + timedelta(hours=12)
AFTER = NOON + timedelta(hours=2)


@pytest.fixture
def swapped(cast) -> Cluster:
    """A battery of 10 kWh, later one of 8 kWh in its place, read every quarter for five days from
    Monday on; both are of one cluster. On Friday nothing came of the second, only of the meter."""
    cellar = Cluster.objects.create(system=cast.lindenweg, name="Cellar")
    second = Appliance.objects.create(
        system=cast.lindenweg, kind=ApplianceKind.BATTERY, name="New", capacity_wh=8_000
    )
    second.refresh_from_db(fields=["key"])
    Appliance.objects.filter(pk=cast.battery.pk).update(removed_at=NOON)
    Appliance.objects.filter(pk__in=[cast.battery.pk, second.pk]).update(cluster=cellar)
    ends = {cast.grid_meter: (0, 5), cast.battery: (0, 2.5), second: (2.5 + 2 / 24, 4)}
    site = Site(cast.lindenweg, [appliance.key for appliance in ends], WEDNESDAY - 2 * DAY_LONG)
    told = {"interval_s": 900.0, "import_energy_wh": 10.0, "export_energy_wh": 5.0, "soc": 0.5}
    events = [
        (number, at_s, told)
        for number, (first, last) in enumerate(ends.values())
        for at_s in range(round(first * 86_400), round(last * 86_400), 900)
    ]
    store(site, events, history=True, now=WEDNESDAY + 9 * DAY_LONG)
    compute_until_clean(now=WEDNESDAY + 9 * DAY_LONG)
    return cellar


@pytest.mark.parametrize(
    ("resolution", "begins", "days", "capacities"),
    [
        ("15m", WEDNESDAY - DAY_LONG, 1, [10_000] * 96),
        ("15m", WEDNESDAY, 1, [10_000] * 48 + [None] * 8 + [8_000] * 40),
        ("1h", WEDNESDAY, 1, [10_000] * 12 + [None] * 2 + [8_000] * 10),
        ("1h", WEDNESDAY + timedelta(hours=10), 2 / 24, [10_000] * 2),
        ("1d", WEDNESDAY - DAY_LONG, 1, [10_000]),
        ("1d", WEDNESDAY, 1, [8_000]),
        ("1d", WEDNESDAY - 2 * DAY_LONG, 4, [10_000] * 2 + [8_000] * 2),
        ("1w", WEDNESDAY, 1, [8_000]),
        ("1M", WEDNESDAY, 1, [8_000]),
        ("1y", WEDNESDAY, 1, [8_000]),
    ],
)
def test_a_capacity_is_that_of_the_batteries_then_at_every_zoom(
    cast, mara, swapped, resolution, begins, days, capacities
):
    query = {
        "interval": f"{stamp(begins)}/{stamp(begins + days * DAY_LONG)}", "resolution": resolution
    }  # fmt: skip
    body = history(mara, cast, **query)
    told = [point.get("battery", {}).get("capacity") for point in body["data"]]
    assert told == capacities
    assert body["total"]["battery"]["capacity"] == capacities[-1]
    url = f"/api/clusters/{swapped.pk}/historical"
    of_cluster = mara.get(url, query).json()
    told = [point.get("battery", {}).get("capacity") for point in of_cluster["data"]]
    assert told == capacities
    assert of_cluster["total"]["battery"]["capacity"] == capacities[-1]


def test_a_battery_that_moved_on_holds_nothing_of_its_former_home_from_then_on(cast, mara, swapped):
    Appliance.objects.filter(pk=cast.battery.pk).update(
        system=cast.hafenstrasse, gateway=None, removed_at=None, cluster=None
    )
    week = {"interval": f"{stamp(WEDNESDAY - 2 * DAY_LONG)}/{stamp(WEDNESDAY + 2 * DAY_LONG)}"}
    days = history(mara, cast, **week, resolution="1d")["data"]
    assert [day["battery"]["capacity"] for day in days] == [10_000] * 2 + [8_000] * 2
    [month] = history(mara, cast, **week, resolution="1M")["data"]
    assert month["battery"]["capacity"] == 8_000


@pytest.mark.parametrize("resolution", ["15m", "1h", "1d", "1w", "1M", "1y"])
def test_every_resolution_is_served_even_without_data(cast, mara, resolution):
    body = history(
        mara, cast, interval="2026-06-15T00:00:00Z/2026-06-15T01:00:00Z", resolution=resolution
    )
    assert body["data"]
    assert all(set(point) == {"measuredAt"} for point in body["data"])
    assert set(body["total"]) == {"measuredAt"}


def test_a_plus_that_arrives_as_a_space_is_a_plus(cast, mara, morning):
    url = f"/api/systems/{cast.lindenweg.pk}/historical"
    raw = mara.get(f"{url}?interval=2026-06-15T00:00:00+02:00/2026-06-15T06:00:00+02:00")
    assert raw.status_code == 200
    assert raw.json()["data"][0]["measuredAt"] == "2026-06-14T23:00:00Z"


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ({}, "interval", "<start>/<end>"),
        ({"interval": ""}, "interval", "<start>/<end>"),
        ({"interval": "today"}, "interval", "<start>/<end>"),
        ({"interval": "2026-06-15T00:00:00/2026-06-16T00:00:00"}, "interval", "offset"),
        ({"interval": "2026-06-15\x0000:00:00Z/2026-06-16T00:00:00Z"}, "interval", "no instant"),
        ({"interval": " 2026-06-15T00:00:00Z/2026-06-16T00:00:00Z"}, "interval", "no instant"),
        ({"interval": "2026-06-16T00:00:00Z/2026-06-15T00:00:00Z"}, "interval", "before"),
        (
            {"interval": "2026-06-14T00:00:00Z/2026-06-16T00:00:00Z", "resolution": "15m"},
            "interval",
            "1 day",
        ),
        ({"interval": "2026-06-01T00:00:00Z/2026-06-16T00:00:00Z"}, "interval", "1 week"),
        (
            {"interval": "2026-01-01T00:00:00Z/2026-06-16T00:00:00Z", "resolution": "1d"},
            "interval",
            "1 month",
        ),
        (
            {"interval": "2016-01-01T00:00:00Z/2026-06-16T00:00:00Z", "resolution": "1M"},
            "interval",
            "5 years",
        ),
        (
            {"interval": "2026-06-15T00:00:00Z/2026-06-15T01:00:00Z", "resolution": "1s"},
            "resolution",
            "15m, 1h, 1d, 1w, 1M, 1y",
        ),
        (
            {"interval": "2026-06-15T00:00:00Z/2026-06-15T01:00:00Z", "resolution": "1m\x00"},
            "resolution",
            "is one of",
        ),
    ],
)
def test_what_does_not_fit_is_422_naming_the_field(cast, mara, query, field, said):
    body = history(mara, cast, status=422, **query)
    (detail,) = body["details"]
    assert detail.startswith(f"{field}: ")
    assert said in detail


def test_all_years_that_may_be_asked_for_are_answered(cast, mara):
    body = history(
        mara, cast, interval="1990-01-01T00:00:00Z/2099-12-31T00:00:00Z", resolution="1y"
    )
    assert len(body["data"]) == 110


def test_history_takes_few_queries_however_long_it_is(
    cast, mara, morning, django_assert_num_queries
):
    for resolution in Resolution:
        with django_assert_num_queries(2):  # the system; all of its rows
            day = "2026-06-15T00:00:00Z/2026-06-16T00:00:00Z"
            history(mara, cast, interval=day, resolution=resolution)


def test_live_is_what_was_read_last(cast, mara, django_assert_num_queries):
    now = clock.now()
    readings = {
        cast.grid_meter: {"power_w": -59, "imported_wh": 2_053_700, "exported_wh": 3_911_600},
        cast.pv: {"power_w": -1512},
        cast.battery: {"power_w": 853, "soc": 0.77, "energy_wh": 7700},
    }
    for appliance, read in readings.items():
        LatestReading.objects.create(
            system_key=cast.lindenweg.key,
            appliance_key=appliance.key,
            at=now,
            power_at=now,
            **read,
        )
    with django_assert_num_queries(2):  # the system; all newest readings
        body = mara.get(f"/api/systems/{cast.lindenweg.pk}/live").json()
    assert body["measuredAt"] == stamp(now)
    assert (body["photovoltaic"], body["grid"], body["consumption"]) == (1512, -59, 600)
    assert body["battery"]["power"] == -853
    assert body["batteries"][0]["applianceID"] == str(cast.battery.pk)
    assert body["gridMeterReadingPositive"] == 7_393_320_000


def test_live_of_a_system_that_nobody_read_says_only_what_there_is(cast, mara):
    answer = mara.get(f"/api/systems/{cast.lindenweg.pk}/live")
    assert answer.json() == {
        "battery": {"capacity": 10_000, "nominalCapacity": 10_000},
        "batteries": [
            {"applianceID": str(cast.battery.pk), "capacity": 10_000, "nominalCapacity": 10_000}
        ],
        "evChargingStations": [{"applianceID": str(cast.evcs.pk)}],
    }
