"""The check of what is stored against the readings that it was made of."""

import re
from datetime import datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.urls import reverse
from django.utils.formats import date_format

from accounts.models import AuditEntry, User
from measurements import checks
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    Cause,
    DayChange,
    DayCheck,
    DirtySlot,
    Reading,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.partitions import maintain_partitions
from measurements.resolutions import Resolution, Span, next_period, period_start
from measurements.slots import checking, compute, compute_dirty
from measurements.slots.claims import claim_system
from tests.measurements.arrivals import (
    BEGIN,
    NOW,
    TABLES,
    Site,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store,
    store_and_compute,
)
from tests.threads import in_threads

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
# A day of 23 hours, in the middle of what was read.
START = datetime(2026, 3, 29, tzinfo=BERLIN)
DAY = Span(START, next_period(START, Resolution.DAY, BERLIN))
NOON = START.replace(hour=12)
DAY_NAME = date_format(START)


@pytest.fixture
def devices():
    return draw_devices(np.random.default_rng(5))


@pytest.fixture
def site(devices) -> Site:
    site = make_site(devices, "Europe/Berlin")
    store_and_compute(site, events_of(devices), history=True)
    return site


def check(site: Site, **options) -> DayCheck:
    return checks.check_day(system=site.system, day=DAY, now=NOW, **options)


def slot(model):
    """The row of a model that noon lies in."""
    rows = model.objects.filter(start__gte=NOON - timedelta(days=40), start__lte=NOON)
    return model.objects.filter(pk=rows.latest("start").pk)


def test_what_follows_from_the_readings_is_right(site):
    before = rows_of(site)
    found = check(site)
    assert (found.differing, found.changes, found.repaired_at) == (0, {}, None)
    assert found.slots >= 92
    assert rows_of(site) == before
    assert not DirtySlot.objects.exists()


def test_any_figure_that_does_not_follow_is_found_and_kept_until_it_is_repaired(site):
    right = rows_of(site)
    for model, column in [
        (ApplianceSlot, "import_mwh"),
        (ApplianceSlot, "mean_w"),
        (ApplianceSlot, "flags"),
        (ApplianceHour, "seen_s"),
        (ApplianceDay, "max_w"),
        (ApplianceDay, "estimated_s"),
        (SystemSlot, "household_mwh"),
        (SystemHour, "residual_mwh"),
        (SystemDay, "consumption_mwh"),
        (SystemDay, "recovered_s"),
        (SystemMonth, "pv_mwh"),
    ]:
        DayChange.objects.all().delete()
        slot(model).update(**{column: 7})
        wrong = rows_of(site)
        assert wrong != right
        assert check(site).differing >= 1
        assert rows_of(site) == wrong
        assert not DayChange.objects.exists()
        assert check(site, repair=True).repaired_at == NOW
        assert rows_of(site) == right
        assert check(site).differing == 0


def test_what_is_missing_is_found(site):
    right = rows_of(site)
    for model in (ApplianceSlot, SystemSlot, SystemHour, SystemDay, SystemMonth):
        slot(model).delete()
        assert check(site, repair=True).differing >= 1
        assert rows_of(site) == right


def test_readings_that_vanished_are_found(site):
    Reading.objects.filter(at__gte=NOON, at__lt=NOON + timedelta(hours=3)).delete()
    assert check(site).differing >= 1


def test_it_says_which_figures_of_the_day_differ_and_leaves_a_receipt_of_the_repair(site):
    right = SystemDay.objects.get(system_key=site.system.key, start=START).consumption_mwh
    slot(SystemDay).update(consumption_mwh=right + 500_000)
    assert check(site).changes == {"consumption": [right + 500_000, right]}
    check(site, repair=True)
    receipt = DayChange.objects.get()
    assert (receipt.start, receipt.causes) == (START, Cause.REBUILD)
    assert receipt.changes == {"consumption": [right + 500_000, right]}


def test_what_waits_to_be_computed_is_no_difference(site, devices):
    last = max(second for second in devices[0].readings)
    values = {name: value + 1 for name, value in devices[0].readings[last].items()}
    store(site, [(0, last, values)], history=False)
    assert DirtySlot.objects.exists()
    day = period_start(BEGIN + timedelta(seconds=last), Resolution.DAY, BERLIN)
    span = Span(day, next_period(day, Resolution.DAY, BERLIN))
    assert checks.check_day(system=site.system, day=span, now=NOW).differing == 0
    assert not DirtySlot.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_long_queue_is_worked_off_before_and_each_of_its_rounds_is_seen(devices, monkeypatch):
    monkeypatch.setattr(compute, "SLOTS_AT_MOST", 20)
    site = make_site(devices, "Europe/Berlin")
    store(site, events_of(devices), history=True)
    waiting = []

    def compute_and_see(**options):
        # By another connection, which knows what is committed alone.
        in_threads(lambda: waiting.append(DirtySlot.objects.count()))
        return compute_dirty(**options)

    monkeypatch.setattr(checking, "compute_dirty", compute_and_see)
    assert check(site).differing == 0
    assert waiting == sorted(waiting, reverse=True)
    assert waiting[0] > waiting[1] > waiting[2] > waiting[-1] == 0


def test_readings_that_arrive_meanwhile_make_it_compare_again(site, monkeypatch):
    arrivals = iter([True, True, False])

    def compute(**options):
        done = compute_dirty(**options)
        # As if a gateway had stored some between being marked and being computed.
        if done.causes & Cause.REBUILD and next(arrivals):
            return checking.Computed(done.claimed, 1, 0, 0, done.causes | Cause.READINGS)
        return done

    monkeypatch.setattr(checking, "compute_dirty", compute)
    assert check(site).differing == 0
    arrivals = iter([True] * 9)
    with pytest.raises(checking.KeptChanging):
        check(site)
    assert not DirtySlot.objects.exists()


def neighbours(site: Site) -> list[Span]:
    """The days beside the one that is compared, of the same month."""
    starts = [START - timedelta(days=1), DAY.until_at]
    return [Span(start, next_period(start, Resolution.DAY, BERLIN)) for start in starts]


def test_a_wrong_day_leaves_the_right_ones_of_its_month_right(site):
    day_rows = [
        SystemDay.objects.filter(start=START),
        SystemHour.objects.filter(start=NOON),
        ApplianceDay.objects.filter(start=START),
    ]
    for rows in day_rows:
        rows.update(flags=8)
        assert check(site).differing >= 1
        for day in neighbours(site):
            assert checks.check_day(system=site.system, day=day, now=NOW).differing == 0
        check(site, repair=True)


def test_slots_of_a_wrong_day_leave_the_right_ones_of_its_month_right(site):
    SystemSlot.objects.filter(start=NOON).update(residual_mwh=987)
    assert check(site).differing == 1
    for day in neighbours(site):
        assert checks.check_day(system=site.system, day=day, now=NOW).differing == 0


def test_a_wrong_month_is_told_of_its_days_until_one_of_them_is_repaired(site):
    slot(SystemMonth).update(pv_mwh=7)
    days = [DAY, *neighbours(site)]
    for day in days:
        assert checks.check_day(system=site.system, day=day, now=NOW).differing == 1
    check(site, repair=True)
    assert not DayCheck.objects.wrong().exists()
    assert DayCheck.objects.exclude(repaired_at=None).get().start == START


@pytest.mark.django_db(transaction=True)
def test_others_have_their_turn_while_wrong_days_are_compared_again(site, monkeypatch):
    slot(SystemMonth).update(pv_mwh=7)
    for day in [DAY, *neighbours(site)]:
        wrong = checks.check_day(system=site.system, day=day, now=NOW)
    staff = User.objects.create_superuser(email="staff@check.example", password="a-long-one")
    claimed = []

    def claim() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            claim_system(site.system.key)
        claimed.append(True)

    def compare_and_claim(*, day, **options):
        if day.from_at != wrong.start:
            in_threads(claim)
        return checking.compare(day=day, **options)

    monkeypatch.setattr(checks, "compare", compare_and_claim)
    assert checks.repair_day(check=wrong, by=staff, now=NOW).repaired_at == NOW
    assert len(claimed) == 2
    assert not DayCheck.objects.wrong().exists()


def test_when_a_day_was_repaired_stays_known(site, settings):
    slot(SystemDay).update(pv_mwh=7)
    check(site, repair=True)
    later = NOW + timedelta(days=1)
    found = checks.check_day(system=site.system, day=DAY, now=later)
    assert (found.differing, found.checked_at) == (0, later)
    assert DayCheck.objects.get().repaired_at == NOW
    checks.forget_old_checks(now=NOW + settings.RAW_RETENTION)
    assert DayCheck.objects.exists()


# By night -----------------------------------------------------------------------------------------


def test_each_night_the_day_before_is_checked_and_the_one_that_was_not_for_the_longest_time(site):
    before = START - timedelta(days=1)
    assert checks.check_due(now=START + timedelta(hours=1), for_s=60) == 0  # not settled yet
    first, second = START.replace(hour=4), START.replace(day=30, hour=4)
    assert checks.check_due(now=first, for_s=60) == 1
    assert checks.check_due(now=first + timedelta(minutes=2), for_s=60) == 0
    assert dict(DayCheck.objects.values_list("start", "checked_at")) == {before: first}
    assert checks.check_due(now=second, for_s=60) == 2
    assert dict(DayCheck.objects.values_list("start", "checked_at")) == {
        before: second,
        START: second,
    }


def test_a_day_of_which_nothing_was_computed_is_checked_too(site):
    for model in TABLES:
        model.objects.all().delete()
    assert checks.check_due(now=START.replace(day=30, hour=4), for_s=60) == 1
    assert DayCheck.objects.get().differing > 92


def test_it_goes_on_another_time_where_there_is_too_much_for_one(devices):
    for _n in range(3):
        store_and_compute(make_site(devices, "Europe/Berlin"), events_of(devices), history=True)
    night = START.replace(day=30, hour=2)
    assert [checks.check_due(now=night, for_s=-1) for _n in range(4)] == [1, 1, 1, 0]


def test_what_was_right_is_forgotten_with_its_readings(site, settings):
    check(site)
    slot(SystemDay).update(pv_mwh=1)
    checks.forget_old_checks(now=NOW + settings.RAW_RETENTION)
    assert not DayCheck.objects.exists()
    check(site)
    checks.forget_old_checks(now=NOW + settings.RAW_RETENTION)
    assert DayCheck.objects.get().differing


# By hand ------------------------------------------------------------------------------------------


def command(site: Site, **options) -> str:
    out = StringIO()
    call_command(
        "check_measurements",
        system=str(site.system.pk),
        stdout=out,
        stderr=out,
        verbosity=0,
        **{"from_at": "2026-03-29", "until_at": "2026-03-30"} | options,
    )
    return out.getvalue()


def test_the_command_tells_each_day_that_differs_and_mends_it_when_asked(site):
    assert command(site) == "Days compared: 1; all follow from readings.\n"
    row = slot(SystemDay)
    right = row.get().consumption_mwh
    row.update(consumption_mwh=right + 1_500_000)
    with pytest.raises(CommandError, match="Days that differ: 1 of 1; --repair mends them"):
        command(site)
    told = command(site, repair=True)
    assert re.search(r"2026-03-29: \d+ slots, stored rows that differ: 1\n", told)
    assert f"consumption: {(right + 1_500_000) / 1e6:.3f} kWh stored" in told
    assert "Days compared: 1; differed and are mended: 1." in told
    assert f"system {START.isoformat(timespec='minutes')}: consumption_mwh" in told
    assert f"{right + 1_500_000} stored, {right} from the readings" in told
    assert row.get().consumption_mwh == right


def test_the_command_says_that_there_was_nothing_to_compare_with(site, settings):
    maintain_partitions(now=NOW + settings.RAW_RETENTION + timedelta(days=30))
    assert command(site) == "Days without readings to compare with: 1.\n"


def test_the_command_says_row_by_row_what_differs_and_where_but_not_without_end(site):
    row = slot(ApplianceSlot)
    wrong = row.get()
    right = wrong.min_w
    row.update(min_w=-7.5)
    told = command(site, repair=True)
    place = wrong.start.astimezone(BERLIN).isoformat(timespec="minutes")
    assert re.search(
        rf"  slot of an appliance “Device \d” {re.escape(place)}: min_w -7.5 stored,"
        rf" {'nothing' if right is None else right} from the readings\n",
        told,
    )
    row.delete()
    assert f"{place}: is missing" in command(site, repair=True)
    SystemSlot.objects.update(residual_mwh=7, consumption_mwh=1, pv_mwh=2, import_mwh=3, flags=8)
    lines = command(site, repair=True).splitlines()
    assert len(lines) < 60
    assert any(re.fullmatch(r"  … and \d+ more rows", line) for line in lines)


def test_the_command_says_when_no_day_is_over(site):
    with pytest.raises(CommandError, match="No day between these instants is over"):
        command(site, from_at="2100-01-01", until_at=None)
    with pytest.raises(CommandError, match="no ISO 8601"):
        command(site, from_at="soon")


def test_staff_see_what_differs_and_mend_it(site, client):
    staff = User.objects.create_superuser(email="staff@check.example", password="a-long-one")
    client.force_login(staff)
    row = slot(SystemDay)
    right = row.get().consumption_mwh
    row.update(consumption_mwh=0)
    found = check(site)
    url = reverse("admin:measurements_daycheck_changelist")
    html = client.get(url, {"result": "differs"}).content.decode()
    assert "Total consumption: 0.000 kWh stored" in html
    assert DAY_NAME in html
    assert DAY_NAME not in client.get(url, {"result": "right"}).content.decode()
    answer = client.post(url, {"action": "repair", "_selected_action": [found.pk]}, follow=True)
    assert "1 day follows from its readings now." in answer.content.decode()
    assert row.get().consumption_mwh == right
    entry = AuditEntry.objects.get(verb="computed_anew")
    assert (entry.by, entry.changes) == (staff, {"day": [None, "2026-03-29"]})
    assert DAY_NAME in client.get(url, {"result": "repaired"}).content.decode()
    assert DAY_NAME not in client.get(url, {"result": "differs"}).content.decode()
    client.post(url, {"action": "repair", "_selected_action": [found.pk]})
    assert AuditEntry.objects.filter(verb="computed_anew").count() == 1
    assert client.get(url, {"q": "Site"}).status_code == 200
    assert (
        client.get(reverse("admin:measurements_daycheck_change", args=[found.pk])).status_code
        == 200
    )
