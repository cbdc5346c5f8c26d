"""Weeks of readings come in time and go when nobody needs them any more."""

from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection, transaction

from inventory.models import System
from measurements import ingest, partitions, tasks
from measurements.batches import Batch
from measurements.finality import final_rows
from measurements.imports import recordings
from measurements.imports.importing import ImportReport, Overtaken, import_file
from measurements.imports.layouts import Layout, parse_mapping
from measurements.ingest import store_readings
from measurements.models import DirtySlot, LatestReading, Reading
from measurements.partitions import (
    existing_weeks,
    maintain_partitions,
    make_weeks,
    partition_name,
    week_of_ms,
    week_start,
)
from tests.cast import make_cast
from tests.threads import in_threads, until_others_wait

NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)
MONDAY = datetime(2026, 6, 15, tzinfo=UTC)
DAY = timedelta(days=1)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def store(
    at: datetime, *, system_key: int = 3, appliance_key: int = 7, history: bool = False
) -> int:
    batch = Batch.of(system_key=system_key, appliance_key=appliance_key, at_ms=ms(at), power_w=1)
    return store_readings(batch=batch, now=NOW, history=history).stored


def names() -> list[str]:
    return [name for _week, name in existing_weeks()]


@pytest.mark.parametrize(
    ("at", "start", "name"),
    [
        (MONDAY, MONDAY, "measurements_reading_2026w25"),
        (MONDAY - timedelta(milliseconds=1), MONDAY - 7 * DAY, "measurements_reading_2026w24"),
        (
            datetime(2027, 1, 1, tzinfo=UTC),
            datetime(2026, 12, 28, tzinfo=UTC),
            "measurements_reading_2026w53",
        ),
        (
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(1969, 12, 29, tzinfo=UTC),
            "measurements_reading_1970w01",
        ),
    ],
)
def test_a_week_begins_on_monday_at_midnight_utc(at, start, name):
    week = week_of_ms(ms(at))
    assert week_start(week) == start
    assert partition_name(week) == name
    assert week_of_ms(np.array([ms(at)])).tolist() == [week]


@pytest.mark.django_db
def test_this_week_and_four_more_are_made_ahead_and_once():
    done = maintain_partitions(now=NOW)
    expected = [f"measurements_reading_2026w{week}" for week in range(25, 30)]
    assert list(done.made) == expected == names()
    again = maintain_partitions(now=NOW)
    assert (again.made, again.dropped, again.kept) == ((), (), ())


@pytest.mark.django_db
def test_storing_makes_the_week_that_is_missing():
    assert names() == []
    assert store(MONDAY) == 1
    assert store(MONDAY - timedelta(milliseconds=1)) == 1
    assert names() == ["measurements_reading_2026w24", "measurements_reading_2026w25"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM measurements_reading_2026w24")
        assert cursor.fetchone() == (1,)


@pytest.mark.django_db
def test_retention_drops_whole_weeks_that_lie_past_it(settings):
    settings.RAW_RETENTION = timedelta(days=14)
    make_weeks(weeks=[week_of_ms(ms(MONDAY)) - back for back in (1, 2, 3, 4)])
    assert maintain_partitions(now=NOW, weeks_ahead=0).dropped == (
        "measurements_reading_2026w21",
        "measurements_reading_2026w22",
    )
    # The week that ended exactly two weeks ago was kept for as long as its last reading is.
    assert names()[0] == "measurements_reading_2026w23"


@pytest.mark.django_db
def test_a_week_is_kept_until_its_slots_are_computed():
    old = MONDAY - 52 * 7 * DAY
    store(old + 3 * DAY, history=True)
    done = maintain_partitions(now=NOW, weeks_ahead=0)
    assert (done.dropped, done.kept) == ((), ("measurements_reading_2025w25",))
    DirtySlot.objects.all().delete()
    # What was measured at the edges of the week takes part in its neighbours' slots.
    for start in (old - timedelta(minutes=15), old + 7 * DAY):
        slot = DirtySlot.objects.create(system_key=3, appliance_key=7, start=start, marked_at=NOW)
        assert maintain_partitions(now=NOW, weeks_ahead=0).dropped == ()
        slot.delete()
    assert maintain_partitions(now=NOW, weeks_ahead=0).dropped == ("measurements_reading_2025w25",)
    assert not Reading.objects.exists()


@pytest.mark.django_db
def test_no_week_goes_before_an_older_one():
    old = MONDAY - 52 * 7 * DAY
    for weeks in (0, 2, 4):
        store(old + weeks * 7 * DAY, history=True)
    waiting = old + 2 * 7 * DAY
    DirtySlot.objects.exclude(start=waiting).delete()
    done = maintain_partitions(now=NOW, weeks_ahead=0)
    assert done.dropped == ("measurements_reading_2025w25",)
    assert done.kept == ("measurements_reading_2025w27", "measurements_reading_2025w29")
    DirtySlot.objects.all().delete()
    assert maintain_partitions(now=NOW, weeks_ahead=0).dropped == done.kept


@pytest.mark.django_db
def test_the_command_and_the_task_do_the_same(monkeypatch):
    monkeypatch.setattr("gridx.clock.now", lambda: NOW)
    out = StringIO()
    call_command("maintain_partitions", "--ahead=1", stdout=out)
    assert out.getvalue().splitlines() == [
        "made: measurements_reading_2026w25",
        "made: measurements_reading_2026w26",
    ]
    tasks.maintain_partitions()
    assert len(names()) == 5
    out = StringIO()
    call_command("maintain_partitions", stdout=out)
    assert out.getvalue() == "Nothing to do.\n"


# With connections of their own -----------------------------------------------------------------


@pytest.fixture
def weeks_of_their_own(transactional_db):
    """The test's partitions stay until they are dropped here."""
    before = set(names())
    yield
    with connection.cursor() as cursor:
        for name in set(names()) - before:
            cursor.execute(f"DROP TABLE {name}")


@pytest.mark.slow
def test_many_may_make_and_fill_the_same_weeks_at_once(weeks_of_their_own):
    def job(number: int) -> None:
        for week in range(6):
            store(MONDAY - (7 * week + 1) * DAY + timedelta(seconds=number))
            maintain_partitions(now=NOW)

    in_threads(*[partial(job, number) for number in range(6)])
    assert Reading.objects.count() == 36


@pytest.mark.slow
def test_many_may_drop_the_same_weeks_at_once(weeks_of_their_own, settings):
    settings.RAW_RETENTION = timedelta(days=14)
    this_week = week_of_ms(ms(MONDAY))
    old = [this_week - back for back in range(4, 24)]
    with transaction.atomic():
        make_weeks(weeks=[*old, this_week])
    in_threads(*[partial(maintain_partitions, now=NOW, weeks_ahead=0)] * 6)
    maintain_partitions(now=NOW, weeks_ahead=0)  # what had to stay while others waited for a lock
    assert not {partition_name(week) for week in old} & set(names())


@pytest.mark.slow
def test_a_week_into_which_somebody_stores_is_not_dropped(weeks_of_their_own):
    old = MONDAY - 52 * 7 * DAY
    store(old, history=True)
    DirtySlot.objects.all().delete()
    seen = []
    with transaction.atomic():
        store(old + DAY, history=True)
        in_threads(lambda: seen.append(maintain_partitions(now=NOW, weeks_ahead=0).kept))
    assert seen == [("measurements_reading_2025w25",)]
    assert Reading.objects.count() == 2


@pytest.mark.slow
def test_a_week_is_kept_once_it_is_clear_that_its_slots_are_not_final(
    weeks_of_their_own, monkeypatch
):
    old = MONDAY - 52 * 7 * DAY
    store(old, history=True)
    DirtySlot.objects.all().delete()
    kept = []

    def drop_then(*batch, **options):
        final = final_rows(*batch, **options)
        in_threads(lambda: kept.extend(maintain_partitions(now=NOW, weeks_ahead=0).kept))
        return final

    monkeypatch.setattr(ingest, "final_rows", drop_then)
    assert store(old + timedelta(minutes=1), history=True) == 1
    assert kept == ["measurements_reading_2025w25"]
    assert Reading.objects.count() == 2


@pytest.mark.slow
def test_a_week_is_kept_where_an_import_turns_to_it_just_then(weeks_of_their_own):
    old = MONDAY - 52 * 7 * DAY
    store(old, history=True)
    DirtySlot.objects.all().delete()
    has_begun, kept = Event(), []

    def load() -> None:
        with transaction.atomic():
            store(old + 14 * DAY, history=True)
            has_begun.set()
            until_others_wait("relation", within_s=3.0)
            store(old + DAY, history=True)  # waits for the drop, which waits for this one

    def drop() -> None:
        has_begun.wait(timeout=30)
        kept.extend(maintain_partitions(now=NOW, weeks_ahead=0).kept)

    in_threads(load, drop)
    assert "measurements_reading_2025w25" in kept
    assert Reading.objects.count() == 3


@pytest.mark.slow
def test_making_a_week_does_not_wait_for_readers_and_writers_of_others(weeks_of_their_own):
    store(MONDAY)
    made = []
    with transaction.atomic():
        store(MONDAY + timedelta(hours=1))
        assert Reading.objects.count() == 2
        in_threads(lambda: made.append(store(MONDAY - 8 * DAY, appliance_key=8)))
    assert made == [1]


@pytest.mark.slow
def test_gateways_store_while_a_long_import_is_on_its_way(weeks_of_their_own):
    maintain_partitions(now=NOW)
    store(MONDAY)
    stored = []
    with transaction.atomic():
        store(MONDAY - 100 * 7 * DAY, history=True)
        in_threads(lambda: stored.append(store(MONDAY + timedelta(minutes=1))))
    assert stored == [1]


def store_within(seconds: int, at: datetime, **options) -> int:
    """Store like `store`; raises OperationalError where it has to wait for somebody for longer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{seconds}s"])
    return store(at, **options)


def import_days(
    days: int, path: Path, *, progress, last: datetime = MONDAY - 365 * DAY
) -> ImportReport:
    """Import a file with a reading of each of these days, the last first, of the grid's meter."""
    lines = [f"{last - number * DAY:%Y-%m-%dT%H:%MZ},100" for number in range(days)]
    path.write_text("\n".join(["at,meter", *lines]))
    return import_file(
        path=path,
        system=System.objects.get(name="Lindenweg 12"),
        layout=Layout(mappings=(parse_mapping("meter=grid:power_w"),)),
        now=NOW,
        progress=progress,
    )


@pytest.mark.slow
def test_gateways_make_weeks_while_a_long_import_makes_others(
    weeks_of_their_own, tmp_path, monkeypatch
):
    monkeypatch.setattr(recordings, "CHARACTERS_AT_ONCE", 400)
    late = iter(MONDAY - 7 * week * DAY for week in range(1, 100))
    stored = []

    def progress(done: int, total: int) -> None:
        in_threads(lambda: stored.append(store_within(2, next(late))))

    make_cast()
    report = import_days(100, tmp_path / "days.csv", progress=progress)
    assert report.stored == 100
    assert len(stored) > 3
    assert set(stored) == {1}
    assert Reading.objects.count() == 100 + len(stored)


@pytest.mark.slow
@pytest.mark.parametrize("known", [None, MONDAY - 400 * DAY], ids=["never", "long-ago"])
def test_gateways_store_what_an_import_is_the_first_to_tell_of(
    weeks_of_their_own, tmp_path, monkeypatch, known
):
    monkeypatch.setattr(recordings, "CHARACTERS_AT_ONCE", 400)
    maintain_partitions(now=NOW)
    meter = make_cast().grid_meter
    of_meter = {"system_key": meter.system.key, "appliance_key": meter.key}
    if known is not None:
        store(known, **of_meter)
    newer = iter(MONDAY + timedelta(minutes=minute) for minute in range(100))
    stored = []

    def progress(done: int, total: int) -> None:
        in_threads(lambda: stored.append(store_within(2, next(newer), **of_meter)))

    report = import_days(100, tmp_path / "days.csv", progress=progress, last=MONDAY - DAY)
    assert report.stored == 100
    assert len(stored) > 3
    assert set(stored) == {1}
    latest = LatestReading.objects.get(**of_meter)
    assert (latest.at, latest.power_w) == (MONDAY + timedelta(minutes=len(stored) - 1), 1)


@pytest.mark.slow
def test_an_import_gives_up_where_those_who_wait_for_it_keep_it_from_a_week(
    weeks_of_their_own, tmp_path, monkeypatch
):
    monkeypatch.setattr(recordings, "CHARACTERS_AT_ONCE", 400)
    monkeypatch.setattr(partitions, "_ATTACH_TIMEOUT", "500ms")
    maintain_partitions(now=NOW)
    meter = make_cast().grid_meter
    last = MONDAY - 365 * DAY
    stored, threads = [], []

    def correct() -> None:
        """Makes a week, then has another value for an instant that the import stored as well."""
        of_meter = {"system_key": meter.system.key, "appliance_key": meter.key}
        try:
            with transaction.atomic():
                store(MONDAY - 7 * DAY, appliance_key=8)
                stored.append(store(last, history=True, **of_meter))
        finally:
            connection.close()

    def progress(done: int, total: int) -> None:
        if not threads:
            threads.append(Thread(target=correct))
            threads[0].start()
            until_others_wait("transactionid")

    with pytest.raises(Overtaken, match="once more"):
        import_days(100, tmp_path / "days.csv", progress=progress)
    threads[0].join(timeout=30)
    assert stored == [1]
    assert Reading.objects.count() == 2


@pytest.mark.slow
def test_weeks_of_history_that_was_not_stored_after_all_are_dropped_by_retention(
    weeks_of_their_own,
):
    with transaction.atomic():
        store(MONDAY - 364 * DAY, history=True)
        store(MONDAY - 378 * DAY, history=True)
        transaction.set_rollback(True)
    left = {"measurements_reading_2025w23", "measurements_reading_2025w25"}
    assert left <= set(names())
    assert not Reading.objects.exists()
    maintain_partitions(now=NOW, weeks_ahead=0)
    assert not left & set(names())
