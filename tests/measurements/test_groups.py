"""Clusters and pools: what flows in them, each member once."""

import csv
import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db.models import F
from rest_framework.test import APIClient

from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, System, SystemPool
from measurements import clusters
from measurements.batches import Batch
from measurements.clusters import history_of_cluster, past_of_cluster
from measurements.figures import QUALITY, SUMMED
from measurements.flags import Flag
from measurements.history import past_of_appliance, past_of_system
from measurements.ingest import store_readings
from measurements.models import (
    ApplianceDay,
    ApplianceSlot,
    LatestReading,
    SystemDay,
    SystemHour,
    SystemSlot,
)
from measurements.pools import history_of_pool, keys_of_pool, past_of_pool
from measurements.queries import judged_history_of_system
from measurements.resolutions import Resolution, Span, periods
from measurements.slots import compute_until_clean
from measurements.slots.rollups import (
    APPLIANCE_DAYS,
    APPLIANCE_HOURS,
    SYSTEM_DAYS,
    SYSTEM_HOURS,
    SYSTEM_MONTHS,
    roll_up,
)
from measurements.wire.history import pool_history_to_wire
from tests.measurements.arrivals import Device, Site, make_site

pytestmark = pytest.mark.django_db

# The clock is set forward in Berlin on the 29th.
SINCE = datetime(2026, 3, 27, tzinfo=UTC)
UNTIL = datetime(2026, 4, 2, tzinfo=UTC)
HOME = (ApplianceKind.GRID_METER, ApplianceKind.PV_INVERTER, ApplianceKind.BATTERY)
SLOT = timedelta(minutes=15)


def measured_site(zone: str, seed: int, kinds=HOME, *, until: datetime = UNTIL) -> Site:
    """A system that was read hour by hour."""
    site = make_site([Device(kind, interval_s=3600) for kind in kinds], zone)
    rng = np.random.default_rng(seed)
    at_ms = np.arange(SINCE.timestamp() * 1000, until.timestamp() * 1000, 3_600_000)
    for key in site.keys:
        batch = Batch.of(
            system_key=site.system.key,
            appliance_key=key,
            at_ms=at_ms,
            interval_s=3600.0,
            import_energy_wh=rng.uniform(0, 1500, len(at_ms)),
            export_energy_wh=rng.uniform(0, 1500, len(at_ms)),
        )
        store_readings(batch=batch, now=UNTIL, history=True)
    compute_until_clean(now=UNTIL)
    return site


def pool_of(*systems: System, zone: str = "Europe/Berlin") -> SystemPool:
    pool = SystemPool.objects.create(account=systems[0].account, name="All", time_zone=zone)
    pool.systems.set(systems)
    return pool


def sum_up(system: System) -> None:
    """Make the coarser rows of slots that were changed by hand."""
    months = periods(SINCE, UNTIL, Resolution.MONTH, system.zone)
    days = periods(months[0].from_at, months[-1].until_at, Resolution.DAY, system.zone)
    for rollup in (SYSTEM_HOURS, APPLIANCE_HOURS, SYSTEM_DAYS, APPLIANCE_DAYS):
        roll_up(rollup, [(system.key, day) for day in days])
    roll_up(SYSTEM_MONTHS, [(system.key, month) for month in months])


def columns(past) -> dict[str, list]:
    return {name: past.figures.floats()[name].tolist() for name in SUMMED}


# Pools -------------------------------------------------------------------------------------------


@pytest.fixture
def three(db) -> list[System]:
    """Two systems of Berlin and one of Kolkata."""
    zones = ("Europe/Berlin", "Europe/Berlin", "Asia/Kolkata")
    return [measured_site(zone, seed).system for seed, zone in enumerate(zones)]


@pytest.mark.parametrize("resolution", list(Resolution))
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
def test_a_pool_is_the_sum_of_its_systems_in_its_own_time_zone(three, resolution, zone):
    pool = pool_of(*three, zone=zone)
    asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution}
    found = past_of_pool(pool=pool, **asked)
    # By the slots of each system, as if it lay in the pool's time zone.
    slots = {
        at: sum(slot.import_mwh for slot in SystemSlot.objects.filter(start=at))
        for at in SystemSlot.objects.values_list("start", flat=True).distinct()
    }
    imported = columns(found.past)["import_mwh"]
    for index, value in zip(found.past.known.tolist(), imported, strict=True):
        span = found.past.spans[index]
        assert value == sum(v for at, v in slots.items() if span.from_at <= at < span.until_at)
    assert sum(imported) == sum(slots.values())
    assert found.past.total.floats()["import_mwh"].tolist() == [sum(slots.values())]
    assert (found.seen_in_all, found.systems) == (3, 3)
    assert set(found.seen.tolist()) == {3}


def test_a_pool_of_one_has_what_its_system_has(three):
    for resolution in Resolution:
        asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution}
        pooled = past_of_pool(pool=pool_of(three[0]), **asked).past
        alone = past_of_system(system=three[0], **asked)
        np.testing.assert_equal(columns(pooled), columns(alone))
        assert pooled.known.tolist() == alone.known.tolist()


def test_a_system_of_the_same_clock_is_summed_from_its_months_whatever_its_time_zone_is_called():
    systems = [measured_site(zone, 1).system for zone in ("Europe/Berlin", "Europe/Vienna")]
    asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": Resolution.MONTH}
    own = [past_of_system(system=system, **asked).total.rows()[0] for system in systems]
    for table in (SystemHour, SystemSlot):
        table.objects.all().delete()
    found = past_of_pool(pool=pool_of(*systems), **asked)
    for name in SUMMED:
        known = [row[name] for row in own if row[name] is not None]
        assert found.past.total.rows()[0][name] == (sum(known) if known else None)
    assert (found.seen.tolist(), found.seen_in_all) == ([2, 2], 2)


def test_a_system_is_summed_from_its_own_days_only_where_all_of_them_are_the_pools():
    # In Jerusalem the clock is set forward on the 27th already, and in Athens on the 29th.
    system = measured_site("Asia/Jerusalem", 1).system
    pool = pool_of(system, zone="Europe/Athens")
    first, second = (datetime(2026, 3, day, 22, tzinfo=UTC) for day in (25, 26))
    for from_at, until_at, resolution, is_near in (
        (first, second, Resolution.DAY, True),
        (first, UNTIL, Resolution.DAY, False),
        # The one day that begins where it should, and ends an hour earlier.
        (second, second + timedelta(hours=1), Resolution.DAY, False),
        (first, UNTIL, Resolution.WEEK, True),
        (first, UNTIL, Resolution.MONTH, True),
    ):
        spans = periods(from_at, until_at, resolution, pool.zone)
        assert keys_of_pool(pool, resolution, spans)["near"] == [system.key] * is_near
        found = past_of_pool(pool=pool, from_at=from_at, until_at=until_at, resolution=resolution)
        slots = SystemSlot.objects.filter(
            start__gte=spans[0].from_at, start__lt=spans[-1].until_at
        ).values_list("start", "import_mwh")
        assert columns(found.past)["import_mwh"] == [
            sum(mwh for at, mwh in slots if spans[index].from_at <= at < spans[index].until_at)
            for index in found.past.known.tolist()
        ]


def test_a_pool_says_how_many_of_its_systems_it_saw():
    half = SINCE + timedelta(days=2)
    systems = [
        measured_site("Europe/Berlin", 1).system,
        measured_site("Europe/Berlin", 2, until=half).system,
        measured_site("Asia/Kolkata", 3, until=half).system,
        make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin").system,
    ]
    pool = pool_of(*systems)
    for resolution, seen in (
        (Resolution.HOUR, [3] * 48 + [1] * 96),
        (Resolution.DAY, [3, 3, 3, 1, 1, 1, 1]),
        (Resolution.WEEK, [3, 1]),
        (Resolution.MONTH, [3, 1]),
        (Resolution.YEAR, [3]),
    ):
        found = past_of_pool(pool=pool, from_at=SINCE, until_at=UNTIL, resolution=resolution)
        assert found.seen.tolist() == seen, resolution
        assert (found.seen_in_all, found.systems) == (3, 4)


def test_days_of_a_calendar_that_has_changed_since_are_days_all_the_same(three):
    pool = pool_of(*three)
    day = datetime(2026, 3, 30, 22, tzinfo=UTC)
    asked = {"pool": pool, "from_at": SINCE, "until_at": UNTIL, "resolution": Resolution.DAY}
    before = past_of_pool(**asked)
    # As if it had begun an hour earlier by the rules that it was summed up with.
    SystemDay.objects.filter(system_key=three[0].key, start=day).update(
        start=day - timedelta(hours=1)
    )
    found = past_of_pool(**asked)
    assert found.past.known.tolist() == before.past.known.tolist()
    assert len(found.seen) == len(found.past.known)
    assert found.seen.max() == found.systems == 3
    np.testing.assert_equal(found.past.total.rows(), before.past.total.rows())
    history = history_of_pool(now=UNTIL, **asked)
    assert [period.figures["systems_seen"] for period in history.periods] == found.seen.tolist()
    pool_history_to_wire(
        found.past,
        Resolution.DAY,
        seen=found.seen,
        seen_in_all=found.seen_in_all,
        systems=found.systems,
    )


def test_what_has_a_row_but_was_not_read_is_not_seen(cast):
    figures = {"pv_mwh": 1000, "expected_s": 86_400}
    start = datetime(2026, 6, 14, 22, tzinfo=UTC)
    SystemDay.objects.create(system_key=cast.lindenweg.key, start=start, seen_s=0, **figures)
    found = past_of_pool(
        pool=cast.pool,
        from_at=start,
        until_at=start + timedelta(days=1),
        resolution=Resolution.DAY,
    )
    assert (found.seen.tolist(), found.seen_in_all) == ([0], 0)


@pytest.fixture
def admin(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.admin)
    return client


DAY = {"interval": "2026-06-15T00:00:00+02:00/2026-06-16T00:00:00+02:00"}


def test_the_history_of_a_pool_on_the_wire(cast, admin, django_assert_num_queries):
    midnight = datetime(2026, 6, 14, 22, tzinfo=UTC)
    cast.pool.systems.add(cast.hafenstrasse)
    for key, pv in ((cast.lindenweg.key, 500_000), (cast.hafenstrasse.key, 250_000)):
        SystemSlot.objects.create(
            system_key=key,
            start=midnight,
            pv_mwh=pv,
            soc=0.5,
            imported_wh=1.0,
            seen_s=900,
            expected_s=900,
        )
    with django_assert_num_queries(3):  # the pool, its members, their slots
        body = admin.get(
            f"/api/systempools/{cast.pool.pk}/historical", DAY | {"resolution": "15m"}
        ).json()
    first, second = body["data"][:2]
    assert first == {
        "measuredAt": "2026-06-14T22:15:00Z",
        "photovoltaic": 3000,
        "production": 3000,
        "systemsSeen": 2,
    }
    assert second == {"measuredAt": "2026-06-14T22:30:00Z"}
    assert body["total"] == {
        "measuredAt": "2026-06-14T22:15:00Z/2026-06-15T22:00:00Z",
        "photovoltaic": 750,
        "production": 750,
        "systemsSeen": 2,
        "systemsCount": 2,
    }


def test_a_pool_without_systems_has_nothing(cast, admin):
    cast.pool.systems.clear()
    root = f"/api/systempools/{cast.pool.pk}"
    body = admin.get(f"{root}/historical", DAY).json()
    assert all(set(point) == {"measuredAt"} for point in body["data"])
    assert body["total"]["systemsCount"] == 0
    assert admin.get(f"{root}/live").json() == {"systemsSeen": 0, "systemsCount": 0}


def test_a_pool_is_live_with_those_systems_that_were_read_lately(
    cast, admin, django_assert_num_queries
):
    cast.pool.systems.add(cast.hafenstrasse)
    read(cast.grid_meter, power_w=-500)
    read(cast.pv, power_w=-1500)
    read(cast.battery, power_w=300, soc=0.5)
    read(cast.other_meter, power_w=400)
    with django_assert_num_queries(3):  # the pool, its members, their newest readings
        body = admin.get(f"/api/systempools/{cast.pool.pk}/live").json()
    assert (body["systemsSeen"], body["systemsCount"]) == (2, 2)
    assert (body["grid"], body["photovoltaic"], body["totalConsumption"]) == (-100, 1500, 1100)
    assert (body["gridSupply"], body["gridFeedIn"]) == (400, 500)
    # 400 of 1100 W come from the grid, though in all more is fed in than bought.
    assert body["selfSufficiencyRate"] == pytest.approx(1 - 400 / 1100)
    assert body["battery"] == {
        "power": -300,
        "charge": 300,
        "discharge": 0,
        "remainingCharge": 5000,
        "capacity": 10_000,
        "nominalCapacity": 10_000,
        "stateOfCharge": 0.5,
    }
    assert not {"batteries", "evChargingStations", "gridMeterReadingPositive"} & set(body)
    LatestReading.objects.filter(system_key=cast.hafenstrasse.key).update(
        at=clock.now() - timedelta(hours=1), power_at=clock.now() - timedelta(hours=1)
    )
    body = admin.get(f"/api/systempools/{cast.pool.pk}/live").json()
    assert (body["systemsSeen"], body["systemsCount"]) == (1, 2)
    assert (body["grid"], body["totalConsumption"]) == (-500, 700)


# Clusters ----------------------------------------------------------------------------------------


def read(appliance: Appliance, **values: float) -> None:
    at = clock.now()
    LatestReading.objects.create(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        at=at,
        power_at=at,
        **values,
    )


@pytest.fixture
def depot(cast) -> Cluster:
    """A cluster of charging stations of Lindenweg 12, with another one within it."""
    outer = Cluster.objects.create(system=cast.lindenweg, name="Depot")
    inner = Cluster.objects.create(system=cast.lindenweg, name="Row 1", parent=outer)
    Appliance.objects.filter(pk=cast.evcs.pk).update(cluster=inner)
    Appliance.objects.create(
        system=cast.lindenweg,
        cluster=outer,
        kind=ApplianceKind.EV_CHARGING_STATION,
        name="Van",
    )
    return outer


def test_a_cluster_is_live_with_all_that_is_nested_in_it(
    cast, admin, depot, django_assert_num_queries
):
    read(cast.evcs, power_w=7000)
    read(Appliance.objects.select_related("system").get(name="Van"), power_w=4000)
    read(cast.pv, power_w=-1500)
    with django_assert_num_queries(2):  # the cluster, all newest readings
        body = admin.get(f"/api/clusters/{depot.pk}/live").json()
    assert body["evChargingStation"] == {"power": 11_000}
    assert [one["power"] for one in body["evChargingStations"]] == [7000, 4000]
    assert body["totalConsumption"] == 11_000
    assert not {"photovoltaic", "grid", "selfSufficiencyRate"} & set(body)
    row = depot.children.get()
    assert admin.get(f"/api/clusters/{row.pk}/live").json()["evChargingStation"] == {"power": 7000}


def test_the_history_of_a_cluster_sums_its_appliances_slot_by_slot(cast, admin, depot):
    midnight = datetime(2026, 6, 14, 22, tzinfo=UTC)
    van = Appliance.objects.get(name="Van")
    slots = [(cast.evcs, 0, 500_000), (cast.evcs, 1, 250_000), (van, 1, 1_000_000), (van, 5, 1000)]
    for appliance, number, energy in slots:
        ApplianceSlot.objects.create(
            system_key=cast.lindenweg.key,
            appliance_key=appliance.key,
            start=midnight + number * SLOT,
            import_mwh=energy,
            seen_s=900,
        )
    roll_up(APPLIANCE_HOURS, [(cast.lindenweg.key, Span(midnight, midnight + 8 * SLOT))])
    body = admin.get(f"/api/clusters/{depot.pk}/historical", DAY).json()
    first, second, third = body["data"][:3]
    assert first["evChargingStation"] == {"charge": 1750}
    assert first["totalConsumption"] == 1750
    assert [one["power"] for one in first["evChargingStations"]] == [750, 1000]
    assert second["evChargingStation"] == {"charge": 1}
    assert third == {"measuredAt": "2026-06-15T01:00:00Z"}
    assert body["total"]["evChargingStation"] == {"charge": 1751}


def test_how_much_was_seen_of_a_group_is_told_where_it_is_asked_for(cast, admin, depot):
    midnight = datetime(2026, 6, 14, 22, tzinfo=UTC)
    slots = [(cast.evcs, 0, 900), (cast.evcs, 1, 450), (cast.evcs, 8, 900)]
    for appliance, number, seen_s in slots:
        ApplianceSlot.objects.create(
            system_key=cast.lindenweg.key,
            appliance_key=appliance.key,
            start=midnight + number * SLOT,
            import_mwh=1,
            seen_s=seen_s,
            flags=Flag.ESTIMATED,
        )
        SystemSlot.objects.create(
            system_key=cast.lindenweg.key,
            start=midnight + number * SLOT,
            seen_s=seen_s,
            expected_s=900,
        )
    hours = Span(midnight, midnight + 12 * SLOT)
    roll_up(APPLIANCE_HOURS, [(cast.lindenweg.key, hours)])
    roll_up(SYSTEM_HOURS, [(cast.lindenweg.key, hours)])
    pool = cast.north.pools.create(name="All", time_zone="Europe/Berlin")
    pool.systems.add(cast.lindenweg)
    asked = DAY | {"quality": "true"}
    for path, flags in ((f"clusters/{depot.pk}", ["ESTIMATED"]), (f"systempools/{pool.pk}", [])):
        told = admin.get(f"/api/{path}/historical", asked).json()["data"]
        # A quarter and a half of four; a whole quarter of four, after an hour without any.
        assert told[0]["quality"] == {"coverage": 0.375, "flags": flags}
        assert told[2]["quality"] == {"coverage": 0.25, "flags": flags}
        assert "quality" not in told[1]
        assert "quality" not in str(admin.get(f"/api/{path}/historical", DAY).json())


# Two of each, and what measures again what others measure.
TWICE = (*HOME, ApplianceKind.EV_CHARGING_STATION, ApplianceKind.HEAT_PUMP) * 2
TWICE = (*TWICE, ApplianceKind.METER)


def whole(site: Site) -> Cluster:
    """A cluster of all appliances of a site."""
    cluster = Cluster.objects.create(system=site.system, name="All of it")
    Appliance.objects.filter(key__in=site.keys).update(cluster=cluster)
    return cluster


@pytest.mark.parametrize("kinds", [HOME, TWICE], ids=["one of each", "two of each"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_a_cluster_of_a_whole_system_has_what_the_system_has(zone, kinds):
    site = measured_site(zone, 5, kinds)
    cluster = whole(site)
    for resolution in Resolution:
        asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution}
        clustered = past_of_cluster(cluster=cluster, **asked)
        alone = past_of_system(system=site.system, **asked)
        assert clustered.known.tolist() == alone.known.tolist()
        for one, other in ((clustered.figures, alone.figures), (clustered.total, alone.total)):
            np.testing.assert_equal(one.floats(), other.floats())
            np.testing.assert_equal(one.seen_s, other.seen_s)
            np.testing.assert_equal(one.expected_s, other.expected_s)
            np.testing.assert_equal(one.flags, other.flags)


def test_however_little_of_a_clusters_history_is_read_at_a_time_it_is_the_same(monkeypatch):
    cluster = whole(measured_site("Europe/Berlin", 7, TWICE))
    for resolution in Resolution:
        asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution}
        asked["kinds"] = [ApplianceKind.BATTERY]
        at_once = past_of_cluster(cluster=cluster, **asked)
        with monkeypatch.context() as patched:
            patched.setattr(clusters, "_AT_ONCE", timedelta(hours=6))
            bit_by_bit = past_of_cluster(cluster=cluster, **asked)
        np.testing.assert_equal(bit_by_bit.figures.rows(), at_once.figures.rows())
        np.testing.assert_equal(bit_by_bit.total.rows(), at_once.total.rows())
        assert [one.columns.keys() for one in bit_by_bit.devices] == [
            one.columns.keys() for one in at_once.devices
        ]


def test_without_a_meter_a_clusters_hours_and_days_are_the_sums_of_its_slots():
    site = measured_site("Europe/Berlin", 6, WITHOUT_METER)
    cluster = Cluster.objects.create(system=site.system, name="Cellar")
    Appliance.objects.filter(key__in=site.keys).update(cluster=cluster)
    quarters = past_of_cluster(
        cluster=cluster, from_at=SINCE, until_at=UNTIL, resolution=Resolution.QUARTER
    )
    for resolution in list(Resolution)[1:]:
        coarse = past_of_cluster(
            cluster=cluster, from_at=SINCE, until_at=UNTIL, resolution=resolution
        )
        for name in ("ev_mwh", "charge_mwh", "discharge_mwh", "heater_mwh", "consumption_mwh"):
            assert (
                np.nansum(coarse.figures.floats()[name])
                == np.nansum(quarters.figures.floats()[name])
                > 0
            )
        figures = coarse.figures
        assert sum(figures.seen_s) == sum(quarters.figures.seen_s)
        assert (figures.seen_s <= figures.expected_s).all()


def test_a_clusters_slots_are_read_of_those_days_alone_on_which_a_meter_was_there(
    django_assert_num_queries,
):
    removed_at = datetime(2026, 3, 29, 10, 20, tzinfo=UTC)
    kinds = (ApplianceKind.EV_CHARGING_STATION, ApplianceKind.BATTERY, ApplianceKind.GRID_METER)
    site = measured_site("Europe/Berlin", 9, kinds)
    Appliance.objects.filter(key=site.keys[-1]).update(removed_at=removed_at)
    compute_until_clean(now=UNTIL)
    cluster = whole(site)
    days = periods(SINCE, UNTIL, Resolution.DAY, site.system.zone)
    asked = {"cluster": cluster, "resolution": Resolution.DAY}
    whole_span = {"from_at": SINCE, "until_at": UNTIL}
    before = past_of_cluster(**whole_span, **asked)
    after = [day for day in days if day.from_at > removed_at]
    ApplianceSlot.objects.filter(start__gte=after[0].from_at).delete()
    told = past_of_cluster(**whole_span, **asked)
    assert told.known.tolist() == before.known.tolist() == list(range(len(days)))
    np.testing.assert_equal(columns(told), columns(before))
    is_metered = ~np.isnan(told.figures.floats()["grid_to_load_mwh"])
    assert is_metered.tolist() == [True] * 3 + [False] * 4
    # The same is told of a day whatever else is asked for.
    for day, row in zip(days, told.figures.rows(), strict=True):
        with django_assert_num_queries(3):  # its appliances, when they came, their sums
            alone = past_of_cluster(from_at=day.from_at, until_at=day.until_at, **asked)
        [figures] = alone.figures.rows()
        # But for what batteries carry on from the days before.
        names = {*SUMMED, *QUALITY} - {"grid_via_battery_mwh"}
        assert {name: figures[name] for name in names} == {name: row[name] for name in names}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("others", [(), (ApplianceKind.GRID_METER,)], ids=["alone", "with a meter"])
def test_whoever_was_removed_counts_until_then_whoever_is_asked(zone, others):
    site = measured_site(zone, 8, (ApplianceKind.EV_CHARGING_STATION, *others))
    cluster = whole(site)
    # Said afterwards: what it was read since stays stored, but counts no more.
    Appliance.objects.filter(key=site.keys[0]).update(
        removed_at=datetime(2026, 3, 29, 10, 20, tzinfo=UTC)
    )
    compute_until_clean(now=UNTIL)
    station = Appliance.objects.select_related("system").get(key=site.keys[0])
    slots = ApplianceSlot.objects.filter(appliance_key=station.key)
    counted = list(slots.filter(start__lt=datetime(2026, 3, 29, 10, 30, tzinfo=UTC)))
    assert len(counted) < slots.count()
    charged_mwh = sum(slot.import_mwh for slot in counted)
    kinds = [ApplianceKind.EV_CHARGING_STATION]
    columns = ("import_mwh", "export_mwh", "seen_s")
    for resolution in Resolution:
        asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution}
        listing = {"kinds": kinds, "device_columns": columns}
        of_system = past_of_system(system=site.system, **asked, **listing)
        of_cluster = past_of_cluster(cluster=cluster, **asked, **listing)
        devices = [*of_system.devices, *of_cluster.devices]
        devices.append(past_of_appliance(appliance=station, **asked))
        for past in (of_system, of_cluster):
            assert np.nansum(past.figures.floats()["ev_mwh"]) == charged_mwh
        for device in devices:
            assert device.columns["import_mwh"].sum() == charged_mwh
            assert device.columns["seen_s"].sum() == sum(slot.seen_s for slot in counted)
            assert device.known.tolist() == devices[0].known.tolist()
        history = history_of_cluster(cluster=cluster, now=UNTIL, **asked)
        for period in history.periods:
            assert not period.figures or period.figures["seen_s"] <= period.figures["to_see_s"]


@pytest.mark.parametrize("kind", [ApplianceKind.GRID_METER, ApplianceKind.EV_CHARGING_STATION])
def test_what_a_cluster_tells_of_a_day_is_the_same_whatever_else_is_asked_for(kind):
    site = make_site([Device(kind, interval_s=3600)] * 2, "Europe/Berlin")
    # One is exchanged: silent since the day before, and removed three hours after the other came.
    noon, hour = datetime(2026, 3, 30, 10, tzinfo=UTC), timedelta(hours=1)
    for key, since, until in (
        (site.keys[0], SINCE, noon - 24 * hour),
        (site.keys[1], noon, UNTIL),
    ):
        at_ms = np.arange(since.timestamp() * 1000, until.timestamp() * 1000, 3_600_000)
        batch = Batch.of(
            system_key=site.system.key,
            appliance_key=key,
            at_ms=at_ms,
            imported_wh=100.0 * np.arange(len(at_ms)),
        )
        store_readings(batch=batch, now=UNTIL, history=True)
    Appliance.objects.filter(key=site.keys[0]).update(removed_at=noon + 3 * hour)
    compute_until_clean(now=UNTIL)
    days = periods(SINCE, UNTIL, Resolution.DAY, site.system.zone)
    for resolution in (Resolution.QUARTER, Resolution.DAY):
        asked = {"cluster": whole(site), "resolution": resolution, "now": UNTIL}
        whole_span = {"from_at": days[0].from_at, "until_at": days[-1].until_at}
        all_of_it = history_of_cluster(**whole_span, **asked)
        told = {period.start: period.figures for period in all_of_it.periods}
        for day in days:
            alone = history_of_cluster(from_at=day.from_at, until_at=day.until_at, **asked)
            for period in alone.periods:
                assert period.figures == told[period.start]
    is_metered = kind is ApplianceKind.GRID_METER
    expected_h = [told[day.from_at]["expected_s"] / 3600 for day in days[:4]]
    # With a meter it is that of the slots in which anything was read.
    assert expected_h == ([23, 24, 10.25, 12 + 3] if is_metered else [23, 24, 23, 12 + 15])
    if is_metered:
        assert None not in [told[day.from_at]["imported_wh"] for day in days]


def test_a_month_of_a_cluster_tells_what_its_batteries_hold(cast, admin):
    cluster = Cluster.objects.create(system=cast.lindenweg, name="Cellar")
    Appliance.objects.filter(pk=cast.battery.pk).update(cluster=cluster)
    for table in (ApplianceSlot, ApplianceDay):
        table.objects.create(
            system_key=cast.lindenweg.key,
            appliance_key=cast.battery.key,
            start=datetime(2026, 6, 14, 22, tzinfo=UTC),
            import_mwh=2_000_000,
            export_mwh=500_000,
            soc=0.5,
            seen_s=86_400,
        )
    body = admin.get(f"/api/clusters/{cluster.pk}/historical", DAY | {"resolution": "1M"}).json()
    assert body["total"]["battery"] == {
        "charge": 2000,
        "discharge": 500,
        "stateOfCharge": 0.5,
        "capacity": 10_000,
        "nominalCapacity": 10_000,
    }
    assert body["data"][0]["batteries"][0]["power"] == -1500


def test_an_empty_cluster_has_nothing(cast, admin):
    cluster = Cluster.objects.create(system=cast.lindenweg, name="Nothing yet")
    assert admin.get(f"/api/clusters/{cluster.pk}/live").json() == {}
    body = admin.get(f"/api/clusters/{cluster.pk}/historical", DAY).json()
    assert all(set(point) == {"measuredAt"} for point in body["data"])


@pytest.mark.parametrize("what", ["clusters/{}", "systempools/{}"])
def test_intervals_have_the_same_limits_for_groups(cast, admin, depot, what):
    group = depot.pk if "cluster" in what else cast.pool.pk
    answer = admin.get(
        f"/api/{what.format(group)}/historical",
        {"interval": "2026-06-14T00:00:00Z/2026-06-16T00:00:00Z", "resolution": "15m"},
    )
    assert answer.status_code == 422
    (detail,) = answer.json()["details"]
    assert detail.startswith("interval: ")
    assert "1 day" in detail


# How well groups were seen -----------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("resolution", [Resolution.QUARTER, Resolution.DAY, Resolution.WEEK])
def test_a_flag_of_one_system_holds_for_its_part_of_the_pool_alone(zone, resolution):
    late, punctual = (measured_site("Europe/Berlin", seed).system for seed in (1, 2))
    SystemSlot.objects.filter(system_key=late.key).update(flags=Flag.RECOVERED)
    SystemSlot.objects.filter(system_key=punctual.key).update(flags=0)
    for system in (late, punctual):
        sum_up(system)
    asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution, "now": UNTIL}
    history = history_of_pool(pool=pool_of(late, punctual, zone=zone), **asked)
    for period in history.periods:
        if period.figures is not None:
            assert period.figures["flags"] == Flag.RECOVERED
            assert period.figures["recovered_s"] * 2 == period.figures["seen_s"]
            assert period.figures["estimated_s"] == 0
            assert period.figures["systems_seen"] == 2
    assert (history.total["systems_seen"], history.total["systems"]) == (2, 2)


WITHOUT_METER = (ApplianceKind.EV_CHARGING_STATION, ApplianceKind.BATTERY, ApplianceKind.HEATER)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_a_flag_of_a_slot_holds_for_that_slot_alone_however_long_the_span_is(zone):
    site = measured_site("Europe/Berlin", 6, WITHOUT_METER)
    cluster, pool = whole(site), pool_of(site.system, zone=zone)
    # Half of each of two slots was seen, and that late.
    noon = datetime(2026, 3, 30, 10, tzinfo=UTC)
    for table in (SystemSlot, ApplianceSlot):
        table.objects.update(flags=0)
        two = table.objects.filter(start__in=(noon, noon + 5 * SLOT))
        two.update(flags=Flag.RECOVERED | Flag.ESTIMATED, seen_s=F("seen_s") / 2)
    sum_up(site.system)
    for resolution in Resolution:
        asked = {"from_at": SINCE, "until_at": UNTIL, "resolution": resolution, "now": UNTIL}
        for history in (
            judged_history_of_system(system=site.system, **asked),
            history_of_pool(pool=pool, **asked),
            history_of_cluster(cluster=cluster, **asked),
        ):
            rows = [period.figures for period in history.periods if period.figures]
            for name in ("recovered_s", "estimated_s"):
                assert sum(row[name] for row in rows) == history.total[name] == 3 * 900


def test_a_flag_of_one_appliance_holds_for_its_part_of_the_cluster_alone():
    site = measured_site("Europe/Berlin", 1)
    cluster = Cluster.objects.create(system=site.system, name="All")
    Appliance.objects.filter(system=site.system).update(cluster=cluster)
    ApplianceSlot.objects.update(flags=0)
    ApplianceSlot.objects.filter(appliance_key=site.keys[0]).update(
        flags=Flag.ESTIMATED, seen_s=300
    )
    asked = {"from_at": SINCE, "until_at": UNTIL, "now": UNTIL}
    for resolution in (Resolution.QUARTER, Resolution.DAY):
        for period in history_of_cluster(cluster=cluster, resolution=resolution, **asked).periods:
            if (figures := period.figures) is not None:
                # A third of one was seen, and the two others whole: 7 of 9 parts.
                assert figures["estimated_s"] * 7 == figures["seen_s"] * 2
                assert figures["recovered_s"] == 0
                elapsed = min(period.until, UNTIL) - period.start
                assert figures["to_see_s"] == 3 * elapsed.total_seconds()


# How much was seen -------------------------------------------------------------------------------


def test_one_that_came_later_is_judged_from_then_on(cast, admin, depot):
    midnight = datetime(2026, 6, 14, 22, tzinfo=UTC)
    sub_meter = Appliance.objects.create(
        system=cast.lindenweg, cluster=depot, kind=ApplianceKind.METER, name="Lights"
    )
    sub_meter.refresh_from_db()
    for appliance, first in ((cast.grid_meter, 0), (cast.evcs, 48), (sub_meter, 72)):
        ApplianceSlot.objects.bulk_create(
            ApplianceSlot(
                system_key=cast.lindenweg.key,
                appliance_key=appliance.key,
                start=midnight + number * SLOT,
                import_mwh=1,
                seen_s=900,
            )
            for number in range(first, 96)
        )
    day = Span(midnight, midnight + timedelta(days=1))
    roll_up(APPLIANCE_HOURS, [(cast.lindenweg.key, day)])
    roll_up(APPLIANCE_DAYS, [(cast.lindenweg.key, day)])
    whole = {"coverage": 1, "flags": []}
    for resolution, points in (("15m", 48), ("1h", 12), ("1d", 1)):
        asked = DAY | {"resolution": resolution}
        data = admin.get(
            f"/api/clusters/{depot.pk}/historical", asked | {"quality": "true"}
        ).json()["data"]
        known = [point for point in data if "evChargingStations" in point]
        assert len(known) == points
        for point in known:
            assert point["quality"] == point["evChargingStations"][0]["quality"] == whole
        for appliance in (cast.evcs, sub_meter):
            answer = admin.get(f"/api/appliances/{appliance.pk}/export", asked)
            rows = csv.DictReader(io.StringIO(answer.getvalue().decode(), newline=""))
            assert {row["measured_share"] for row in rows if row["seen_s"]} == {"1.0"}


def test_the_same_share_was_seen_at_every_resolution_of_whatever_holds_the_same(cast):
    client = APIClient()
    client.force_authenticate(cast.staff)
    # From half past five on the 27th on.
    system = measured_site("Asia/Kolkata", 1).system
    cluster = Cluster.objects.create(system=system, name="All")
    Appliance.objects.filter(system=system).update(cluster=cluster)
    pool = pool_of(system, zone="Asia/Kolkata")
    day = "2026-03-27T00:00:00+05:30/2026-03-28T00:00:00+05:30"
    month = "2026-03-01T00:00:00+05:30/2026-04-01T00:00:00+05:30"
    for kind, one in (("systems", system), ("clusters", cluster), ("systempools", pool)):
        for interval, resolution, seen_h, whole_h in (
            (day, "15m", 18.5, 24),
            (day, "1h", 18.5, 24),
            (day, "1d", 18.5, 24),
            (month, "1d", 114.5, 31 * 24),
            (month, "1M", 114.5, 31 * 24),
        ):
            query = {"interval": interval, "resolution": resolution, "quality": "true"}
            total = client.get(f"/api/{kind}/{one.pk}/historical", query).json()["total"]
            assert total["quality"]["coverage"] == round(seen_h / whole_h, 4), (kind, resolution)
