"""Files brought to a page: kept, read by workers, each once and all or nothing of it, then gone."""

import gzip
import lzma
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connections, transaction
from django.urls import reverse
from django.utils import translation

from accounts.models import AuditEntry, OutboxMessage, User
from accounts.queries import audit_line
from inventory.discovery import FoundAppliance, apply_hello
from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.imports import importing, operations, recordings
from measurements.imports.importing import import_file
from measurements.imports.kept import layout_of_json, layout_to_json
from measurements.imports.layouts import ColumnMapping, Layout, NewAppliance
from measurements.imports.operations import (
    KEPT_UNUSED,
    UnableToBegin,
    begin_import,
    cancel_import,
    forget_files,
    preview_of,
    receive_file,
    work_due,
)
from measurements.imports.progress import read_progress
from measurements.imports.recordings import UnableToRead
from measurements.models import DeclaredInterval, Reading, RecordingImport
from tests.cast import Cast
from tests.threads import in_threads, until_others_wait

LONG = """\
at,appliance,power_w,soc
2020-05-01T10:00:00Z,battery,1200.5,0.5
2020-05-01T10:01:00Z,Battery,,0.55
2020-05-01T10:00:00Z,grid,-300,
"""
BAD = LONG + "2020-05-01T10:02:00Z,nobody,1,\nyesterday,grid,x\0y,\n"
WORKER = """
import sys
from datetime import datetime

import django

django.setup()
from measurements.imports.operations import work_due

work_due(now=datetime.fromisoformat(sys.argv[1]))
"""
LONG_AGO = timedelta(days=2)


@pytest.fixture
def bring(cast: Cast, uploads: Path, now: datetime):
    """Brings a file to the Meyers' system, as the operator's admin."""

    def bring(content: str | bytes, *, name: str = "file.csv") -> RecordingImport:
        content = content.encode() if isinstance(content, str) else content
        return receive_file(
            system=cast.lindenweg, file=ContentFile(content, name), by=cast.admin, now=now
        )

    return bring


@pytest.fixture
def begun(bring, cast: Cast, now: datetime):
    """Brings a file and has it imported."""

    def begin(content=LONG, *, name: str = "file.csv", skip_bad: bool = False, **layout):
        job = bring(content, name=name)
        begin_import(job=job, layout=Layout(**layout), skip_bad=skip_bad, by=cast.admin, now=now)
        return job

    return begin


def many_lines(count: int) -> Iterator[str]:
    """A line a minute."""
    for minute in range(count):
        yield f"{datetime(2020, 5, 1, tzinfo=UTC) + timedelta(minutes=minute)},grid,{minute}\n"


def work(now: datetime) -> None:
    while work_due(now=now):
        pass


def is_kept(job: RecordingImport) -> bool:
    return storages["recordings"].exists(job.stored_as)


def stored() -> list[tuple]:
    rows = Reading.objects.order_by("appliance_key", "at")
    return list(rows.values_list("appliance_key", "at", "power_w", "soc", "import_energy_wh"))


# What is taken, and what is not ---------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("file.csv", LONG.encode()),
        ("FILE.CSV.GZ", gzip.compress(LONG.encode(), mtime=0)),
        ("file.gz", gzip.compress(LONG.encode(), mtime=0)),
        ("file.csv.xz", lzma.compress(LONG.encode())),
    ],
)
def test_a_file_is_kept_and_its_first_lines_are_seen(bring, name, content):
    job = bring(content, name=name)
    assert is_kept(job)
    path = Path(storages["recordings"].path(job.stored_as))
    assert path.stat().st_mode & 0o077 == 0
    preview = preview_of(job)
    assert preview.columns == ["at", "appliance", "power_w", "soc"]
    assert preview.lines[0] == ("2020-05-01T10:00:00Z", "battery", "1200.5", "0.5")
    assert (preview.is_long, preview.time_column) == (True, "at")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("report.pdf", b"%PDF-1.7\n", "ends in .csv"),
        ("archive.zip", b"PK\3\4", "ends in .csv"),
        ("report.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "has to name columns"),
        ("noise.csv", b"\x00\x01,\x02\x00,\n1,2,3\n", "is it a CSV"),
        ("empty.csv", b"", "empty"),
        ("empty.csv.gz", gzip.compress(b"", mtime=0), "empty"),
        ("alone.csv", b"at,power\n", "no lines"),
        ("fake.csv.gz", b"at,power\n1,2\n", "damaged"),
        ("cut.csv.xz", lzma.compress(LONG.encode())[:30], "damaged"),
        ("fake.parquet", b"at,power\n1,2\n", "no Parquet"),
        ("wide.csv", ",".join(f"c{n}" for n in range(500)).encode() + b"\n", "500 columns"),
        ("long.csv", b"a" * 1_500_000, "more than 1000000 characters"),
    ],
)
def test_what_can_be_no_recording_is_told_and_not_kept(bring, uploads, name, content, reason):
    with pytest.raises(UnableToRead, match=reason):
        bring(content, name=name)
    assert not RecordingImport.objects.exists()
    assert not list(uploads.iterdir())


@pytest.mark.django_db
def test_a_bomb_is_never_unpacked_as_a_whole(bring, begun, now, monkeypatch):
    read = 0
    real = recordings._check_unpacked

    def noting(unpacked, packed):
        nonlocal read
        read = max(read, unpacked)
        real(unpacked, packed)

    monkeypatch.setattr(recordings, "_check_unpacked", noting)
    monkeypatch.setattr(recordings, "HARMLESS_UNPACKED", 100_000)
    one_line = gzip.compress(bytes(20_000_000))
    with pytest.raises(UnableToRead):
        bring(one_line, name="bomb.csv.gz")
    assert read == 0
    # Looks like a recording at first, then goes on for ever with nothing.
    lines = gzip.compress(LONG.encode() + b"\n" * 3_000_000)
    job = begun(lines, name="bomb.csv.gz")
    work(now)
    job.refresh_from_db()
    assert (job.state, Reading.objects.count()) == ("refused", 0)
    assert "unpacks to far more" in job.reason
    assert 100_000 < read < 2_000_000


# What becomes of it ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_all_of_it_is_stored_and_told_and_the_file_is_gone(begun, uploads, cast, now):
    job = begun(LONG)
    work(now)
    job.refresh_from_db()
    assert (job.state, job.stored_as, job.reason) == ("done", "", "")
    report = job.report
    assert (report["lines"], report["stored"], report["unchanged"], report["bad"]) == (3, 3, 0, 0)
    assert report["first_at"] == "2020-05-01T10:00:00+00:00"
    assert report["last_at"] == "2020-05-01T10:01:00+00:00"
    assert Reading.objects.count() == 3
    assert not list(uploads.iterdir())
    entry = AuditEntry.objects.get(verb="imported")
    assert (entry.by, entry.account, entry.target_name) == (cast.admin, cast.meyers, "file.csv")
    assert audit_line(entry).changes == [
        ("system", None, "Lindenweg 12"),
        ("readings", None, 3),
    ]
    assert OutboxMessage.objects.get().sent_at == now


WIDE = "ts;in;out\n2020-05-01 10:15;0.4;0.1\n2020-05-01 10:30;;0.2\n2020-05-01 10:45;1.5;\n"
WIDE_LAYOUT = Layout(
    mappings=(
        ColumnMapping("in", "Cellar", "imported_w", 1000.0),
        ColumnMapping("out", "Cellar", "exported_w", 1000.0),
    ),
    time_column="ts",
    zone=ZoneInfo("Europe/Berlin"),
    interval_s=900,
    label_end=True,
    create=(NewAppliance("Cellar", ApplianceKind.GRID_METER),),
)


@pytest.mark.django_db
def test_a_wide_file_is_stored_as_the_command_stores_it(bring, cast, now, tmp_path):
    assert layout_of_json(layout_to_json(WIDE_LAYOUT)) == WIDE_LAYOUT
    job = bring(WIDE)
    begin_import(job=job, layout=WIDE_LAYOUT, skip_bad=False, by=cast.admin, now=now)
    work(now)
    job.refresh_from_db()
    assert (job.state, job.report["created"]) == ("done", ["Cellar"])
    assert ("added", None, "Cellar") in audit_line(AuditEntry.objects.get()).changes
    values = ("at", "interval_s", "import_energy_wh", "export_energy_wh", "power_w")
    by_page = list(Reading.objects.order_by("at").values_list(*values))
    assert len(by_page) == 3
    Reading.objects.all().delete()
    DeclaredInterval.objects.all().delete()
    Appliance.objects.filter(name="Cellar").delete()
    path = tmp_path / "file.csv"
    path.write_text(WIDE)
    import_file(path=path, system=cast.lindenweg, layout=WIDE_LAYOUT, now=now)
    assert list(Reading.objects.order_by("at").values_list(*values)) == by_page


@pytest.mark.django_db
def test_bad_lines_are_told_and_nothing_is_stored_until_they_are_left_out(begun, cast, now):
    with translation.override("de"):
        job = begun(BAD)
    work(now)
    job.refresh_from_db()
    assert (job.state, Reading.objects.count(), job.report["bad"]) == ("refused", 0, 2)
    assert job.reason.startswith("2 Zeilen")
    assert [line for line, _reason in job.report["bad_lines"]] == [5, 6]
    assert "nobody" in job.report["bad_lines"][0][1]
    assert not AuditEntry.objects.exists()
    # The file is still there: once more, without them.
    assert is_kept(job)
    begin_import(job=job, layout=Layout(), skip_bad=True, by=cast.admin, now=now)
    work(now)
    job.refresh_from_db()
    assert (job.state, job.report["stored"], job.report["bad"]) == ("done", 3, 2)
    assert not job.stored_as


@pytest.mark.django_db
def test_the_same_file_twice_changes_nothing(begun, now):
    begun(LONG)
    work(now)
    before, declared = stored(), list(DeclaredInterval.objects.values())
    again = begun(LONG)
    work(now)
    again.refresh_from_db()
    assert (again.state, again.report["stored"], again.report["unchanged"]) == ("done", 0, 3)
    assert (stored(), list(DeclaredInterval.objects.values())) == (before, declared)


@pytest.mark.django_db
def test_it_begins_only_once(begun, cast, now):
    job = begun(LONG)
    with pytest.raises(UnableToBegin):
        begin_import(job=job, layout=Layout(), skip_bad=False, by=cast.admin, now=now)
    assert OutboxMessage.objects.count() == 1


@pytest.mark.django_db
def test_who_may_not_any_more_imports_nothing(begun, cast, now):
    job = begun(LONG)
    User.objects.filter(pk=cast.admin.pk).update(role="viewer")
    work(now)
    job.refresh_from_db()
    assert (job.state, Reading.objects.count()) == ("refused", 0)
    assert "may not import" in job.reason


@pytest.mark.django_db
def test_what_fails_again_and_again_is_given_up(begun, now, monkeypatch):
    def fail(**_given):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(operations, "import_file", fail)
    job = begun(LONG)
    for hour in range(operations.PATIENCE.most_attempts):
        job.refresh_from_db()
        assert job.is_at_work
        work(now + timedelta(hours=hour))
    job.refresh_from_db()
    assert (job.state, job.is_mappable) == ("refused", True)
    assert "the disk is full" in job.reason


@pytest.mark.django_db
def test_what_each_worker_dies_of_is_given_up(begun, now, monkeypatch):
    def die(**_said):
        raise SystemExit

    monkeypatch.setattr(operations, "import_file", die)
    job = begun(LONG)
    for hour in range(operations.PATIENCE.most_attempts):
        with pytest.raises(SystemExit):
            work(now + timedelta(hours=hour))
    work(now + timedelta(days=1))
    job.refresh_from_db()
    assert (job.state, job.is_mappable) == ("refused", True)
    assert "each worker that tried it died" in job.reason
    assert OutboxMessage.objects.get().failed_at


# Beside what a gateway finds ---------------------------------------------------------------------

SHED = "at,appliance,power_w\n2020-05-01T10:00:00Z,shed,100\n"
SHED_LAYOUT = {"create": (NewAppliance("shed", ApplianceKind.METER),)}


@pytest.fixture
def find_shed(cast, now):
    """The Meyers' gateway says hello, with a meter in the shed."""
    shed = FoundAppliance(local_id="shed", kind="meter", interval_s=60, name="Shed")

    def find(kind: str = "meter") -> None:
        found = [replace(shed, kind=kind)]
        apply_hello(
            gateway=cast.gateway, model="Box", firmware="1", found=found, came_at=now, now=now
        )

    return find


@pytest.fixture
def at_the_end(monkeypatch):
    """Has something done once, when all of a file is read and nothing is committed."""

    def at_the_end(function: Callable[[], None]) -> None:
        functions = [function]

        def do_then(*given):
            if functions:
                functions.pop()()
            return real(*given)

        real = importing._check_created
        monkeypatch.setattr(importing, "_check_created", do_then)

    return at_the_end


@pytest.mark.django_db(transaction=True)
def test_what_a_gateway_finds_meanwhile_is_no_second_appliance(begun, find_shed, at_the_end, now):
    job = begun(SHED, **SHED_LAYOUT)
    at_the_end(lambda: in_threads(find_shed))
    work(now)
    job.refresh_from_db()
    assert (job.state, Reading.objects.count()) == ("begun", 0)
    work(now + timedelta(minutes=1))
    job.refresh_from_db()
    assert (job.state, job.report["created"]) == ("done", [])
    shed = Appliance.objects.get(local_id="shed")
    assert shed.gateway is not None
    assert Reading.objects.get().appliance_key == shed.key


@pytest.mark.django_db(transaction=True)
def test_what_another_kind_of_appliance_is_called_is_two_whoever_was_first(
    begun, find_shed, at_the_end, now
):
    job = begun(SHED, **SHED_LAYOUT)
    at_the_end(lambda: in_threads(lambda: find_shed("heater")))
    work(now)
    job.refresh_from_db()
    assert (job.state, job.report["created"]) == ("done", ["shed"])
    assert Appliance.objects.filter(local_id="shed").count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_first", [True, False], ids=["hello-first", "import-first"])
def test_a_hello_and_the_end_of_an_import_wait_for_each_other(
    begun, find_shed, monkeypatch, cast, now, is_first
):
    job = begun(SHED, **SHED_LAYOUT)
    has_begun = Event()

    def hello() -> None:
        has_begun.wait(timeout=30)
        with transaction.atomic():
            find_shed()
            if is_first:
                go_on.set()
                until_others_wait("transactionid")

    def check_then_hold(*given):
        if is_first:
            has_begun.set()
            go_on.wait(timeout=30)
        real(*given)
        if not is_first:
            has_begun.set()
            until_others_wait("transactionid")

    go_on, real = Event(), importing._check_created
    monkeypatch.setattr(importing, "_check_created", check_then_hold)
    in_threads(lambda: work(now), hello)
    work(now + timedelta(minutes=1))
    job.refresh_from_db()
    assert job.state == "done"
    shed = Appliance.objects.get(local_id="shed")
    assert shed.gateway == cast.gateway
    assert Reading.objects.get().appliance_key == shed.key


# Cancelled, forgotten, killed -------------------------------------------------------------------


@pytest.mark.django_db
def test_what_is_cancelled_before_it_begins_is_not_done(begun, now):
    job = begun(LONG)
    assert cancel_import(job=job, now=now)
    assert not cancel_import(job=job, now=now)
    work(now)
    job.refresh_from_db()
    assert (job.state, job.stored_as, Reading.objects.count()) == ("cancelled", "", 0)
    assert OutboxMessage.objects.get().sent_at


@pytest.mark.django_db(transaction=True)
def test_what_is_cancelled_on_its_way_leaves_nothing(begun, now, monkeypatch):
    monkeypatch.setattr(recordings, "CHARACTERS_AT_ONCE", 20_000)
    many = "at,appliance,power_w\n" + "".join(many_lines(4_000))
    job, shares = begun(many, create=(NewAppliance("Shed", ApplianceKind.METER),)), []

    def store(**given):
        shares.append(read_progress(job.pk))
        if len(shares) == 3:
            # Somebody else's connection: that of the page.
            thread = Thread(target=cancel)
            thread.start()
            thread.join()
        return real(**given)

    def cancel():
        assert cancel_import(job=job, now=now)
        connections.close_all()

    real = importing.store_readings
    monkeypatch.setattr(importing, "store_readings", store)
    work(now)
    assert len(shares) == 3
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1
    job.refresh_from_db()
    assert (job.state, Reading.objects.count()) == ("cancelled", 0)
    assert not Appliance.objects.filter(name="Shed").exists()
    assert read_progress(job.pk) is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_workers_import_goes_on(begun, uploads, now, child_environment):
    job = begun("at,appliance,power_w\n" + "".join(many_lines(60_000)))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, now.isoformat()],
        env={**child_environment, "GRIDX_UPLOADS_DIR": str(uploads)},
    )
    until = time.monotonic() + 60
    while not read_progress(job.pk):
        assert worker.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    # It is alone: nobody else begins, even if they take it for dead.
    assert not work_due(now=now + timedelta(hours=1))
    worker.kill()
    worker.wait()
    assert Reading.objects.count() == 0
    # The server notices the death of its client by itself.
    later = now + timedelta(minutes=1)
    while not work_due(now=later):
        assert time.monotonic() < until
        time.sleep(0.1)
    job.refresh_from_db()
    assert (job.state, job.report["stored"]) == ("done", 60_000)
    assert Reading.objects.count() == 60_000
    assert AuditEntry.objects.filter(verb="imported").count() == 1


@pytest.mark.django_db(transaction=True)
def test_workers_do_one_import_at_a_time_however_long_it_takes(begun, now, monkeypatch):
    first, second = begun(LONG), begun(LONG)
    seen = []

    def store(**given):
        if not seen:
            seen.append(None)
            later = now + timedelta(hours=1)
            thread = Thread(target=lambda: (seen.append(work_due(now=later)), close()))
            thread.start()
            thread.join()
        return real(**given)

    close = connections.close_all
    real = importing.store_readings
    monkeypatch.setattr(importing, "store_readings", store)
    work(now)
    assert seen == [None, False]
    for job in (first, second):
        job.refresh_from_db()
        assert job.state == "done"
    assert AuditEntry.objects.filter(verb="imported").count() == 2


@pytest.mark.django_db
def test_files_that_nobody_used_for_a_day_are_removed(bring, begun, now):
    unused, at_work, refused = bring(LONG), begun(LONG), begun(BAD)
    cache.clear()
    RecordingImport.objects.filter(pk=at_work.pk).update(changed_at=now - LONG_AGO)
    OutboxMessage.objects.filter(payload={"import": str(at_work.pk)}).delete()
    work(now)
    forget_files(now=now + KEPT_UNUSED - timedelta(minutes=1))
    assert is_kept(unused)
    assert is_kept(refused)
    forget_files(now=now + KEPT_UNUSED + timedelta(minutes=1))
    assert not is_kept(unused)
    assert not is_kept(refused)
    assert is_kept(at_work)
    assert set(RecordingImport.objects.all()) == {at_work, refused}
    refused.refresh_from_db()
    assert (refused.stored_as, refused.is_mappable) == ("", False)


@pytest.mark.django_db
def test_staff_looks_at_imports_and_changes_none(client, begun, now):
    job = begun(BAD)
    work(now)
    staff = User.objects.create(email="support@operator.example", is_staff=True)
    client.force_login(staff)
    listed = client.get(reverse("admin:measurements_recordingimport_changelist"), {"q": "file"})
    assert "file.csv" in listed.content.decode()
    page = client.get(reverse("admin:measurements_recordingimport_change", args=[job.pk]))
    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert not admin.site._registry[RecordingImport].has_delete_permission(page.wsgi_request)
