"""The wire's figures of the whole demo, against each other: what holds in the payloads that real
clients recorded (reference/wire-api.md, 4) holds for all that is served here."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from gridx import clock
from gridx.demo.build import build_world, group_stations
from gridx.demo.history import fill_site
from gridx.demo.world import SITES
from inventory.models import Cluster, System, SystemPool
from measurements.models import LatestReading
from measurements.resolutions import Resolution, Span, periods
from measurements.slots import compute_until_clean

# The clock is set forward in Europe on the 29th.
SINCE = datetime(2026, 3, 26, tzinfo=UTC)
NOW = datetime(2026, 4, 2, 13, 0, tzinfo=UTC)
# Figures are whole mWh: so many each quarter of an hour may be lost by rounding.
ROUNDED_MWH = 4
# How much of history is asked for at once.
LENGTHS = {
    Resolution.QUARTER: Resolution.DAY,
    Resolution.HOUR: Resolution.WEEK,
    Resolution.DAY: Resolution.MONTH,
    Resolution.WEEK: Resolution.MONTH,
    Resolution.MONTH: Resolution.YEAR,
    Resolution.YEAR: Resolution.YEAR,
}

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def staff() -> Iterator[APIClient]:
    """Who sees the demo's world, with a week of history."""
    build_world(since=SINCE)
    for site in SITES:
        fill_site(site=site, since=SINCE, now=NOW, progress=lambda quarters: None)
    group_stations(now=NOW)
    compute_until_clean(now=NOW)
    client = APIClient()
    client.force_authenticate(User.objects.get(is_staff=True))
    return client


def test_the_identities_of_the_wire_hold_for_all_that_the_demo_serves(staff):
    served = 0
    for address, zone, kind in subjects():
        for resolution, window in asked(zone):
            body = staff.get(
                f"{address}/historical",
                {
                    "interval": f"{stamp(window.from_at)}/{stamp(window.until_at)}",
                    "resolution": resolution.value,
                },
            ).json()
            spans = periods(*window, resolution, zone)
            for point, span in zip(body["data"], spans, strict=True):
                hours = (span.until_at - span.from_at) / timedelta(hours=1)
                in_power = resolution in (Resolution.QUARTER, Resolution.HOUR)
                assert_identities(point, hours=hours if in_power else 1, quarters=hours * 4)
                served += len(point) > 1
                if kind == "pool" and len(point) > 1:
                    assert 0 <= point["systemsSeen"] <= body["total"]["systemsCount"]
            quarters = (spans[-1].until_at - spans[0].from_at) / timedelta(minutes=15)
            assert_identities(body["total"], hours=1, quarters=quarters)
    assert served > 10_000


def asked(zone: ZoneInfo) -> Iterator[tuple[Resolution, Span]]:
    """All of the history at every resolution, in intervals that may be asked for."""
    for resolution, length in LENGTHS.items():
        for window in periods(SINCE, NOW, length, zone):
            yield resolution, window


def test_the_identities_hold_live(staff, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: NOW)
    LatestReading.objects.update(at=NOW, power_at=NOW)
    for address, _zone, kind in subjects():
        body = staff.get(f"{address}/live").json()
        if "grid" in body:
            grid = body["grid"]
            supply, feed_in = max(grid, 0), max(-grid, 0)
            if kind == "pool":
                supply, feed_in = body["gridSupply"], body["gridFeedIn"]
                assert grid == pytest.approx(supply - feed_in)
            body["grid"] = {"supply": supply, "feedIn": feed_in}
        if "power" in body.get("evChargingStation", {}):
            body["evChargingStation"]["charge"] = body["evChargingStation"]["power"]
        assert_identities(body, hours=1, quarters=2)


def subjects() -> Iterator[tuple[str, ZoneInfo, str]]:
    """The address, time zone and kind of everything that has measurements."""
    for system in System.objects.all():
        yield f"/api/systems/{system.pk}", system.zone, "system"
    for cluster in Cluster.objects.select_related("system"):
        yield f"/api/clusters/{cluster.pk}", cluster.system.zone, "cluster"
    for pool in SystemPool.objects.all():
        yield f"/api/systempools/{pool.pk}", pool.zone, "pool"


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def assert_identities(point: dict, *, hours: float, quarters: float) -> None:
    """What must hold between the figures of one point, to what rounding loses."""
    if set(point) <= {"measuredAt", "systemsSeen", "systemsCount"}:
        return
    near = max(ROUNDED_MWH * quarters, 1) / 1000 / hours

    def same(one: float, other: float) -> None:
        assert one == pytest.approx(other, abs=near, rel=1e-9), point

    def at(name: str, *inner: str) -> float:
        value = point.get(name, {} if inner else 0)
        return value.get(inner[0], 0) if inner else value

    pv, total = at("photovoltaic"), at("totalConsumption")
    bought, fed = at("grid", "supply"), at("grid", "feedIn")
    charge, discharge = at("battery", "charge"), at("battery", "discharge")
    consumers = at("heatPump") + at("heating") + at("evChargingStation", "charge")
    assert at("production") == pv
    same(total, at("consumption") + consumers)
    if "grid" not in point:  # without a meter nothing is said about flows
        assert "selfSufficiencyRate" not in point
        return
    same(pv + discharge + bought, total + charge + fed)
    if "directConsumption" in point:
        direct = point["directConsumption"]
        parts = ("Household", "HeatPump", "EV", "Heater")
        same(direct, sum(at(f"directConsumption{part}") for part in parts))
        same(at("selfSupply"), direct + discharge)
        assert direct <= min(pv, total) + near
        same(at("selfConsumption"), pv - fed)
        same(direct, max(0, min(total, pv - fed - charge)))
        if pv:
            assert point["selfConsumptionRate"] == pytest.approx(at("selfConsumption") / pv)
            assert point["directConsumptionRate"] == pytest.approx(direct / pv)
        else:
            assert "selfConsumptionRate" not in point
            assert "directConsumptionRate" not in point
    if total:
        assert point["selfSufficiencyRate"] == pytest.approx(1 - min(bought / total, 1), abs=1e-9)
    for rate in ("selfSufficiencyRate", "selfConsumptionRate", "directConsumptionRate"):
        assert 0 <= point.get(rate, 0) <= 1
