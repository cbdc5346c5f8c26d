"""Days that were summed up before the rules of their time zone were updated."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gridx.celery import app
from measurements import calendars, tasks
from measurements.models import DayChange, DirtySlot, SystemDay
from measurements.slots import compute, compute_until_clean, mark_history
from tests.measurements.arrivals import (
    BEGIN,
    NOW,
    Site,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store_and_compute,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def sites() -> list[Site]:
    """In zones whose clocks are set forward on the second day, and in one whose is not."""
    sites = []
    for zone in ("Europe/Berlin", "Europe/London", "Asia/Kolkata"):
        devices = draw_devices(np.random.default_rng(5))
        sites.append(make_site(devices, zone))
        store_and_compute(sites[-1], events_of(devices), history=True)
    return sites


def compute_by_former_rules(site: Site, former: str, monkeypatch) -> None:
    """As if the site's time zone had had the rules of another one until now."""
    with monkeypatch.context() as patched:
        patched.setattr(compute, "load_zones", lambda keys: dict.fromkeys(keys, ZoneInfo(former)))
        mark_history(system=site.system, from_at=BEGIN, until_at=NOW, now=NOW)
        compute_until_clean(now=NOW)
    DayChange.objects.all().delete()


@pytest.mark.parametrize(
    "former", ["Europe/London", "Africa/Johannesburg"], ids=["later", "sooner"]
)
def test_days_by_former_rules_are_made_anew_and_no_others(
    sites, former, monkeypatch, django_assert_num_queries
):
    right = [rows_of(site) for site in sites]
    assert calendars.renew_days(now=NOW) == 0
    compute_by_former_rules(sites[0], former, monkeypatch)
    assert rows_of(sites[0]) != right[0]
    assert calendars.renew_days(now=NOW) == 1
    assert set(DirtySlot.objects.values_list("system_key", flat=True)) == {sites[0].system.key}
    # Nothing is left that would have it made anew once more, however long the queue is.
    with django_assert_num_queries(1 + 3):  # the time zones, and the days of each
        assert calendars.renew_days(now=NOW) == 0
    compute_until_clean(now=NOW)
    assert [rows_of(site) for site in sites] == right
    assert calendars.renew_days(now=NOW) == 0
    # Nothing was measured that is not on record already.
    assert not DayChange.objects.exists()


def test_as_far_back_as_there_are_any(sites, settings, monkeypatch):
    compute_by_former_rules(sites[0], "Europe/London", monkeypatch)
    of_system = SystemDay.objects.filter(system_key=sites[0].system.key)
    day = of_system.latest("start")
    day.start = BEGIN - timedelta(days=200)
    settings.RAW_RETENTION = timedelta(days=30)
    SystemDay.objects.bulk_create([day])
    assert calendars.renew_days(now=NOW) == 1
    assert not of_system.exists()


def test_it_is_done_every_night(sites, monkeypatch):
    monkeypatch.setattr("gridx.clock.now", lambda: NOW)
    day = SystemDay.objects.filter(system_key=sites[0].system.key).latest("start")
    SystemDay.objects.filter(pk=day.pk).update(start=day.start - timedelta(hours=1))
    tasks.renew_days()
    assert DirtySlot.objects.exists()
    assert app.conf.beat_schedule["renew days"]["task"] == tasks.renew_days.name
