"""What recordings in the middle of history declare, and that they spoil nothing around them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db.models import Sum

from inventory.models import Appliance
from measurements.flags import Flag
from measurements.imports.cadence import Cadence
from measurements.imports.declaring import Told, superseded, told_by
from measurements.imports.importing import import_file
from measurements.imports.layouts import Layout, parse_mapping
from measurements.ingest import declare_interval
from measurements.models import ApplianceSlot, DeclaredInterval
from measurements.plausibility import EARLIEST
from measurements.resolutions import Resolution, periods
from measurements.slots import compute_until_clean, mark_history
from measurements.slots.checking import compare
from tests.measurements.test_corrections import while_computing

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BEGIN = datetime(2020, 5, 1, tzinfo=UTC)


def every(step: timedelta, *days: int) -> list[datetime]:
    """Instants on these days, counted from the first one of the history."""
    return [BEGIN + day * DAY + n * step for day in days for n in range(DAY // step)]


@pytest.fixture
def battery(cast) -> Appliance:
    return cast.battery


@pytest.fixture
def load(cast, now, tmp_path):
    """Imports what the battery reads at these instants, and computes what follows."""

    def load(instants, value=1000, *, quantity="power_w", computed=True, **layout):
        path = tmp_path / "file.csv"
        value_at = value if callable(value) else lambda _at: value
        lines = (f"{at.isoformat()},{value_at(at)}" for at in instants)
        path.write_text("\n".join(["at,v", *lines]))
        layout["mappings"] = (parse_mapping(f"v=battery:{quantity}"),)
        report = import_file(path=path, system=cast.lindenweg, layout=Layout(**layout), now=now)
        if computed:
            compute_until_clean(now=now)
        return report

    return load


def energy_kwh() -> float:
    return round(ApplianceSlot.objects.aggregate(sum=Sum("import_mwh"))["sum"] / 1e6, 3)


def flags_and_coverage() -> list[tuple]:
    slots = ApplianceSlot.objects.order_by("start")
    return list(slots.values_list("start", "flags", "seen_s"))


def declared() -> list[tuple[timedelta, int]]:
    """How long after the history's begin which interval was declared."""
    rows = DeclaredInterval.objects.order_by("valid_from")
    return [
        (valid_from - BEGIN, interval_s)
        for valid_from, interval_s in rows.values_list("valid_from", "interval_s")
    ]


def assert_a_rebuild_changes_nothing(system, now, *, days: int = 10) -> None:
    span = {"from_at": BEGIN - DAY, "until_at": BEGIN + days * DAY}
    for day in periods(*span.values(), Resolution.DAY, system.zone):
        assert compare(system=system, day=day, now=now).differences == []
    before = list(ApplianceSlot.objects.order_by("pk").values())
    mark_history(system=system, now=now, **span)
    compute_until_clean(now=now)
    assert list(ApplianceSlot.objects.order_by("pk").values()) == before


@pytest.mark.django_db
def test_minutes_in_the_middle_of_hours_take_no_energy_away(load, cast, now):
    load(every(HOUR, *range(6)))
    assert energy_kwh() == 143
    load(every(MINUTE, 2))
    assert energy_kwh() == 143
    assert declared() == [(0 * DAY, 3600), (6 * DAY, 60)]
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_hours_around_minutes_that_were_there_first_are_the_same(load, cast, now):
    load(every(MINUTE, 2))
    load(every(HOUR, *range(6)))
    assert energy_kwh() == 143
    assert declared() == [(0 * DAY, 3600), (6 * DAY, 60)]
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_two_days_of_minutes_in_one_file_leave_the_hours_between_them_alone(load, cast, now):
    load(every(HOUR, *range(8)))
    load(every(MINUTE, 2, 5))
    assert energy_kwh() == 191
    assert declared() == [(0 * DAY, 3600), (8 * DAY, 60)]
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_what_lies_in_a_long_pause_of_a_file_keeps_its_interval(load, cast, now):
    # 20 minutes without a reading are a gap where each minute is read.
    minutes = [at for at in every(MINUTE, 2) if not 10 < at.minute < 30]
    load(minutes)
    of_minutes = energy_kwh()
    load(every(HOUR, 0, 5))
    assert energy_kwh() == round(of_minutes + 2 * 23, 3)
    assert declared() == [
        (0 * DAY, 3600),
        (1 * DAY, 60),
        (5 * DAY, 3600),
        (6 * DAY, 60),
    ]
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_what_held_before_is_restored_although_something_is_declared_later(load, battery):
    for at, interval_s in ((EARLIEST, 900), (BEGIN + 8 * DAY, 10)):
        declare_interval(appliance=battery, interval_s=interval_s, valid_from=at)
    load(every(HOUR, 2, 3))
    assert declared() == [
        (EARLIEST - BEGIN, 900),
        (2 * DAY, 3600),
        (4 * DAY, 900),
        (8 * DAY, 10),
    ]


@pytest.mark.django_db
def test_what_a_file_alone_reads_has_its_interval_whatever_was_declared_there(load, battery):
    for day, interval_s in ((0, 900), (2, 3600), (3, 10)):
        declare_interval(
            appliance=battery, interval_s=interval_s, valid_from=BEGIN + day * DAY + 6 * HOUR
        )
    load(every(MINUTE, 2, 3, 4))
    assert declared() == [(6 * HOUR, 900), (2 * DAY, 60), (5 * DAY, 10)]


@pytest.mark.django_db
def test_slots_between_the_readings_of_a_file_follow_from_its_interval_at_once(load, cast, now):
    load([at for at in every(MINUTE, 2) if not 10 < at.minute < 30])
    assert energy_kwh() == 15.983
    report = load(every(2 * HOUR, 1, 2, 3))
    # Those that new readings lie in, and all of the day on which another pause is bridged.
    assert (report.stored, report.dirty_slots) == (24, 24 + 96)
    assert energy_kwh() == 70
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db(transaction=True)
def test_who_computes_at_that_moment_leaves_nothing_of_the_interval_before(
    load, cast, now, monkeypatch
):
    load([at for at in every(MINUTE, 2) if not 10 < at.minute < 30], computed=False)
    coarse = every(2 * HOUR, 1, 2, 3)
    while_computing(lambda: load(coarse, computed=False), monkeypatch, now=now)
    assert energy_kwh() == 15.983
    compute_until_clean(now=now)
    assert energy_kwh() == 70
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_readings_before_all_declarations_keep_the_appliance_s_own_interval(
    load, cast, battery, now
):
    minutes = [at for at in every(MINUTE, 0) if not 10 < at.minute < 30]
    load(minutes)
    DeclaredInterval.objects.all().delete()
    before = energy_kwh()
    load(every(HOUR, 3))
    assert energy_kwh() == round(before + 23, 3)
    assert declared() == [(EARLIEST - BEGIN, 60), (3 * DAY, 3600), (4 * DAY, 60)]
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_temperatures_and_intervals_say_nothing_of_how_often_power_is_read(
    load, cast, battery, now
):
    battery.interval_s = 1800
    battery.save()
    load(every(HOUR / 2, *range(3)), lambda at: (at - BEGIN) / HOUR, quantity="imported_wh")
    intervals, slots = declared(), flags_and_coverage()
    seconds = [BEGIN + DAY + 9 * HOUR + timedelta(seconds=10 * n) for n in range(1, 360)]
    load(seconds, 21, quantity="temperature_c")
    load(
        [at + 5 * MINUTE for at in every(HOUR / 4, 1)],
        2,
        quantity="export_energy_wh",
        interval_s=900,
    )
    assert declared() == intervals
    assert flags_and_coverage() == slots
    assert not any(flags & Flag.ESTIMATED for _start, flags, _seen_s in slots)
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_the_same_files_once_more_change_nothing(load, cast, now):
    files = [every(MINUTE, 2, 4), every(HOUR, *range(4)), every(HOUR / 4, 3, 6)]
    for instants in files:
        load(instants)
    before, energy = declared(), energy_kwh()
    for instants in files:
        assert load(instants).dirty_slots == 0
    assert (declared(), energy_kwh()) == (before, energy)
    assert_a_rebuild_changes_nothing(cast.lindenweg, now)


@pytest.mark.django_db
def test_what_is_read_too_seldom_to_be_bridged_declares_nothing(load):
    load(every(6 * HOUR, *range(9)), lambda at: (at - BEGIN) / HOUR, quantity="imported_wh")
    assert declared() == []


def cadence_of(*at_s: int) -> Cadence:
    at_ms = 1000 * np.array(at_s)
    cadence = Cadence(int(at_ms[0]), int(at_ms[0]))
    for part in np.array_split(at_ms, 3):
        cadence.note(np.sort(part))
    return cadence


def test_a_recording_tells_of_its_stretches_only_in_whatever_order_it_is_read():
    hours = [*range(0, 36_000, 3600), *range(90_000, 100_000, 3600)]
    told = [Told(0, 36_000_000, 3600), Told(90_000_000, 100_800_000, 3600)]
    assert told_by(cadence_of(*hours)) == told
    assert told_by(cadence_of(*hours[::-1])) == told


def test_a_stretch_takes_the_place_of_what_was_declared_in_it():
    before = [(0, 60), (50, 300), (200, 900)]
    assert superseded(before, [Told(40, 100, 10)], []) == [
        (0, 60),
        (40, 10),
        (100, 300),
        (200, 900),
    ]
    assert superseded([(50, 300)], [Told(10, 20, 60)], []) == [(10, 60), (20, 300)]
