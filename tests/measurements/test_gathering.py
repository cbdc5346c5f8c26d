"""The rows of a day lie together once it is settled."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import connection

from measurements import checks
from measurements.models import ApplianceHour, ApplianceSlot, SystemHour, SystemSlot
from measurements.resolutions import Resolution, Span, next_period
from measurements.slots import compute_until_clean, mark_history
from measurements.slots.gathering import gather_rows
from tests.measurements.arrivals import (
    NOW,
    Site,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store_and_compute,
)
from tests.measurements.test_corrections import while_computing

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Berlin"))
DAY = Span(START, next_period(START, Resolution.DAY, START.tzinfo))
TABLES = (SystemSlot, SystemHour, ApplianceSlot, ApplianceHour)


@pytest.fixture
def site() -> Site:
    """Computed beside forty others: one instant of all of them after the other."""
    with connection.cursor() as cursor:
        # New files for them: the holes that other tests have left would be filled first.
        cursor.execute(f"TRUNCATE {', '.join(table._meta.db_table for table in TABLES)}")
    devices = draw_devices(np.random.default_rng(8))
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    with connection.cursor() as cursor:
        for table in TABLES:
            name = table._meta.db_table
            columns = [field.column for field in table._meta.concrete_fields if field.column]
            same = ", ".join(column for column in columns if column != "system_key")
            cursor.execute(
                f"WITH gone AS (DELETE FROM {name} RETURNING *)"
                f" INSERT INTO {name} (system_key, {same})"
                f" SELECT system_key + number * 1000, {same}"
                " FROM gone CROSS JOIN generate_series(0, 40) AS number ORDER BY start, number"
            )
    return site


def pages(site: Site) -> list[int]:
    """On how many pages the day's rows lie, by table; of appliances, those of each counted."""
    found = []
    with connection.cursor() as cursor:
        for table in TABLES:
            keys = ", ".join([*table._meta.pk.columns[:-1], "(ctid::text::point)[0]"])
            cursor.execute(
                f"SELECT count(DISTINCT ({keys})) FROM {table._meta.db_table}"
                " WHERE system_key = %s AND start >= %s AND start < %s",
                [site.system.key, DAY.from_at, DAY.until_at],
            )
            found += cursor.fetchone()
    return found


def test_a_day_lies_on_few_pages_and_says_the_same(site):
    before, others = rows_of(site), SystemSlot.objects.exclude(system_key=site.system.key)
    scattered, beside = pages(site), list(others.order_by("system_key", "start").values())
    moved = gather_rows(system_key=site.system.key, span=DAY)
    assert moved > 100
    assert rows_of(site) == before
    assert list(others.order_by("system_key", "start").values()) == beside
    assert all(many > 2 * few for many, few in zip(scattered, pages(site), strict=True))


def test_what_lies_together_is_left_where_it_is(site):
    gather_rows(system_key=site.system.key, span=DAY)
    assert gather_rows(system_key=site.system.key, span=DAY) == 0


def test_days_are_gathered_at_night_when_they_are_checked(site):
    scattered = pages(site)
    assert checks.check_due(now=DAY.until_at + timedelta(hours=4), for_s=60)
    assert all(many > 2 * few for many, few in zip(scattered, pages(site), strict=True))


@pytest.mark.django_db(transaction=True)
def test_who_computes_at_that_moment_is_waited_for(site, monkeypatch):
    before = rows_of(site)
    of_day = {"system_key": site.system.key, "start__gte": DAY.from_at}
    SystemSlot.objects.filter(**of_day).update(import_mwh=5)
    mark_history(system=site.system, from_at=DAY.from_at, until_at=NOW, now=NOW)
    while_computing(lambda: gather_rows(system_key=site.system.key, span=DAY), monkeypatch, now=NOW)
    compute_until_clean(now=NOW)
    assert rows_of(site) == before
    assert gather_rows(system_key=site.system.key, span=DAY) == 0
