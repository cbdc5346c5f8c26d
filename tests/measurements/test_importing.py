"""Recordings of every form, good and bad, and the real ones."""

import gzip
import lzma
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pyarrow
import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count, Max, Min, Sum
from pyarrow import parquet

from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.imports import importing
from measurements.imports.importing import ImportReport, UnableToImport, import_file
from measurements.imports.layouts import (
    Layout,
    UnableToMap,
    parse_duration,
    parse_mapping,
    parse_new_appliance,
)
from measurements.models import ApplianceSlot, DeclaredInterval, DirtySlot, LatestReading, Reading
from measurements.slots import compute_until_clean

pytestmark = pytest.mark.django_db


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.fixture
def load(cast, now, tmp_path):
    """Imports text as a file into the Meyers' system."""

    def load(text: str, *, name: str = "file.csv", skip_bad: bool = False, **layout):
        path = tmp_path / name
        if isinstance(text, str):
            text = text.encode()
        path.write_bytes(text)
        layout["mappings"] = tuple(parse_mapping(one) for one in layout.get("mappings", ()))
        return import_file(
            path=path,
            system=cast.lindenweg,
            layout=Layout(**layout),
            now=now,
            skip_bad=skip_bad,
        )

    return load


def stored(*names: str) -> list[tuple]:
    return list(Reading.objects.order_by("appliance_key", "at").values_list(*names))


LONG = """\
at,appliance,power_w,imported_wh,soc,remark
2020-05-01T10:00:00Z,battery,1200.5,,0.5,x
2020-05-01T12:01:00+02:00,Battery,,,0.55,
2020-05-01T10:00:00Z,grid,-300,1000,,y
"""


def test_a_long_file_names_its_appliances_by_local_id_name_or_uuid(load, cast):
    report = load(LONG + f"2020-05-01T10:05Z,{cast.pv.pk},-5000,,,\n")
    assert (report.lines, report.stored, report.bad, report.silent) == (4, 4, 0, 0)
    assert stored("appliance_key", "at", "power_w", "imported_wh", "soc") == sorted(
        [
            (cast.battery.key, at("2020-05-01T10:00Z"), 1200.5, None, 0.5),
            (cast.battery.key, at("2020-05-01T10:01Z"), None, None, pytest.approx(0.55)),
            (cast.grid_meter.key, at("2020-05-01T10:00Z"), -300.0, 1000.0, None),
            (cast.pv.key, at("2020-05-01T10:05Z"), -5000.0, None, None),
        ],
        key=lambda row: row[:2],
    )
    assert set(Reading.objects.values_list("delay_s", flat=True)) == {None}
    assert report.dirty_slots == DirtySlot.objects.count() == 3


def test_the_same_file_twice_changes_nothing(load):
    load(LONG)
    before = stored("appliance_key", "at", "power_w", "soc")
    declared = list(DeclaredInterval.objects.values())
    DirtySlot.objects.all().delete()
    report = load(LONG)
    assert (report.stored, report.unchanged, report.dirty_slots) == (0, 3, 0)
    assert stored("appliance_key", "at", "power_w", "soc") == before
    assert list(DeclaredInterval.objects.values()) == declared


def test_what_a_file_repeats_was_not_known_before(load, monkeypatch):
    monkeypatch.setattr("measurements.imports.recordings.LINES_AT_ONCE", 2)
    again = LONG + LONG.split("\n", 1)[1]
    report = load(again)
    assert (report.stored, report.unchanged, report.repeated) == (3, 0, 3)
    report = load(again)
    assert (report.stored, report.unchanged, report.repeated) == (0, 3, 3)


def test_of_each_quantity_what_the_whole_file_tells_last_is_the_latest(load, cast, monkeypatch):
    monkeypatch.setattr("measurements.imports.recordings.LINES_AT_ONCE", 2)
    load(
        "at,appliance,power_w,soc\n"
        "2020-05-01T10:03Z,battery,3,\n"
        "2020-05-01T10:01Z,battery,1,0.1\n"
        "2020-05-01T10:02Z,grid,20,\n"
        "2020-05-01T10:02Z,battery,2,0.2\n"
        "2020-05-01T10:00Z,grid,10,\n"
        "2020-05-01T10:00Z,battery,,0\n"
    )
    latest = LatestReading.objects.order_by("appliance_key")
    assert set(latest.values_list("appliance_key", "at", "power_w", "soc", "soc_at")) == {
        (cast.battery.key, at("2020-05-01T10:03Z"), 3, 0.2, at("2020-05-01T10:02Z")),
        (cast.grid_meter.key, at("2020-05-01T10:02Z"), 20, None, None),
    }


SEMICOLONS = """\
at;p;q
2020-05-01T10:00:00Z;1200,5;-7
2020-05-01T10:01:00Z;-1,25;1.5
"""


def test_a_decimal_comma_is_read_where_semicolons_separate_the_columns(load):
    load(SEMICOLONS, mappings=["p=battery:power_w", "q=grid:power_w"])
    assert sorted(stored("power_w")) == [(-7.0,), (-1.25,), (1.5,), (1200.5,)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("at;in, kWh;out, kWh\n2020-05-01T10:00Z;1,5;-7\n", "in, kWh"),
        ('at;"in, kWh, old";out\n2020-05-01T10:00Z;1,5;-7\n', "in, kWh, old"),
        ("at\tin, kWh\tout\n2020-05-01T10:00Z\t1.5\t-7\n", "in, kWh"),
        ('at,"in, kWh",out\n2020-05-01T10:00Z,1.5,-7\n', "in, kWh"),
        ('at,"in; a; b; c",out\n2020-05-01T10:00Z,1.5,-7\n', "in; a; b; c"),
        # The second line does not help.
        ("at;in, kWh;out, kWh\n\n2020-05-01T10:00Z;1,5;-7\n", "in, kWh"),
    ],
)
def test_what_separates_columns_is_told_from_what_stands_in_their_names(load, text, name):
    load(text, mappings=[f"{name}=battery:power_w"])
    assert stored("power_w") == [(1.5,)]


def test_lines_are_counted_from_the_first_of_the_file(load):
    with pytest.raises(UnableToImport) as refused:
        load("at,appliance,power_w\nx,grid,1\n\ny,grid,1\n2020-05-01T10:00Z,grid,1\n")
    assert [bad.line for bad in refused.value.report.bad_lines] == [2, 4]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("at;p\n2020-05-01T10:00Z;1.200,5\n", "p: “1.200,5” is not a number; a decimal comma"),
        ("at;p\n2020-05-01T10:00Z;1,2,5\n", "p: “1,2,5” is not a number; a decimal comma"),
        ('at,p\n2020-05-01T10:00Z,"1,5"\n', "p: “1,5” is not a number; a decimal comma is read"),
        ("at;p\n2020-05-01T10:00Z;a,b\n", "p: “a,b” is not a number"),
        ("at;p\n2020-05-01T10:00Z;a\n", "p: “a” is not a number"),
        ("at,p\n2020-05-01T10:00Z,1_000\n", "p: “1_000” is not a number"),
    ],
)
def test_another_comma_is_told_with_what_is_expected(load, text, reason):
    with pytest.raises(UnableToImport) as refused:
        load(text, mappings=["p=battery:power_w"])
    assert refused.value.report.bad_lines[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("file.csv.gz", gzip.compress(LONG.encode(), mtime=0)),
        ("file.csv.xz", lzma.compress(LONG.encode())),
        ("file.CSV", LONG.replace(",", ";").encode("utf-8-sig").replace(b"\n", b"\r\n")),
        ("file.txt", LONG.replace("\n", "\n\n").encode()),
    ],
)
def test_packed_files_and_other_dialects_of_csv_are_read(load, name, content):
    assert load(content, name=name).stored == 3


def test_columns_of_one_quantity_are_added_and_a_sum_with_a_hole_is_missing(load, cast):
    report = load(
        "at,low,high,back,pv\n"
        "2020-05-01T10:00:00Z,100,20,7,1.5\n"
        "2020-05-01T10:01:00Z,101,,7,1.6\n"
        "2020-05-01T10:02:00Z,102,,,\n",
        mappings=[
            "low=grid:imported_wh:1000",
            "high=grid:imported_wh:1000",
            "back=grid:exported_wh",
            "pv=pv:power_w:-1000",
        ],
    )
    assert stored("appliance_key", "imported_wh", "exported_wh", "power_w") == [
        (cast.grid_meter.key, 120_000.0, 7.0, None),
        (cast.grid_meter.key, None, 7.0, None),
        (cast.pv.key, None, None, -1500.0),
        (cast.pv.key, None, None, -1600.0),
    ]
    assert (report.lines, report.silent) == (3, 1)


@pytest.mark.parametrize(("label", "start"), [("start", "10:15"), ("end", "10:00")])
def test_means_of_intervals_become_energies_of_both_directions(load, cast, label, start):
    load(
        "at,in,out\n2020-05-01T10:15:00Z,400,100\n2020-05-01T10:30:00Z,,\n"
        "2020-05-01T10:45:00Z,,8\n",
        mappings=["in=grid:imported_w", "out=grid:exported_w"],
        interval_s=900,
        label_end=label == "end",
    )
    first, second = stored("at", "interval_s", "import_energy_wh", "export_energy_wh", "power_w")
    assert first == (at(f"2020-05-01T{start}Z"), 900, 100.0, 25.0, None)
    assert second[1:] == (900, None, 2.0, None)


def test_a_mean_with_a_sign_is_an_energy_of_one_direction(load):
    load(
        "at,p,soc\n2020-05-01T10:00:00Z,400,0.5\n2020-05-01T10:15:00Z,-80,\n"
        "2020-05-01T10:30:00Z,,0.6\n",
        mappings=["p=battery:power_w", "soc=battery:soc"],
        interval_s=900,
    )
    assert stored("interval_s", "import_energy_wh", "export_energy_wh") == [
        (900, 100.0, 0.0),
        (900, 0.0, 20.0),
        (None, None, None),
    ]


@pytest.mark.parametrize(
    ("label", "spans"),
    [
        ("start", [("10:00", 600, 8.0), ("10:10", 60, 3.0), ("10:11", 60, 4.0)]),
        ("end", [("09:50", 600, 8.0), ("10:00", 600, 3.0), ("10:10", 60, 4.0)]),
    ],
)
def test_an_interval_is_no_longer_than_to_the_next_instant(load, label, spans):
    load(
        "at,e\n2020-05-01T10:00Z,8\n2020-05-01T10:10Z,3\n2020-05-01T10:11Z,4\n",
        mappings=["e=grid:import_energy_wh"],
        interval_s=600,
        label_end=label == "end",
    )
    assert stored("at", "interval_s", "import_energy_wh") == [
        (at(f"2020-05-01T{start}Z"), length_s, energy_wh) for start, length_s, energy_wh in spans
    ]


@pytest.mark.parametrize(("label", "first"), [("start", "10:00"), ("end", "09:45")])
def test_an_interval_is_not_cut_by_lines_of_another_appliance(load, cast, label, first):
    lines = [f"2020-05-01T10:{m:02}Z,{'' if m % 15 else 1000},-600" for m in range(0, 60, 5)]
    load(
        "\n".join(["at,meter_w,pv_w", *lines]),
        mappings=["meter_w=grid:imported_w", "pv_w=pv:power_w"],
        interval_s=900,
        label_end=label == "end",
    )
    found = stored("appliance_key", "at", "interval_s", "import_energy_wh", "export_energy_wh")
    begin, minute = at(f"2020-05-01T{first}Z"), timedelta(minutes=1)
    assert [row[1:4] for row in found if row[0] == cast.grid_meter.key] == [
        (begin + 15 * n * minute, 900, 250.0) for n in range(4)
    ]
    begin = at(f"2020-05-01T{'10:00' if label == 'start' else '09:55'}Z")
    assert [row[1:] for row in found if row[0] == cast.pv.key] == [
        (begin + 5 * n * minute, 300, 0.0, 50.0) for n in range(12)
    ]


def test_an_interval_is_not_cut_by_a_state_within_it(load, cast):
    load(
        "at,appliance,power_w,soc\n2020-05-01T10:00Z,battery,400,\n"
        "2020-05-01T10:05Z,battery,,0.5\n2020-05-01T10:15Z,Battery,400,\n",
        interval_s=900,
    )
    assert stored("interval_s", "import_energy_wh", "soc") == [
        (900, 100.0, None),
        (None, None, 0.5),
        (900, 100.0, None),
    ]


def test_an_interval_ends_where_the_next_one_is_bad(load):
    load(
        "at,p\n2020-05-01T10:00Z,600\n2020-05-01T10:05Z,many\n2020-05-01T10:10Z,600\n",
        mappings=["p=grid:imported_w"],
        interval_s=600,
        skip_bad=True,
    )
    assert stored("interval_s", "import_energy_wh") == [(300, 50.0), (300, 50.0)]


def test_a_mean_power_counts_for_as_long_as_its_interval(load):
    load(
        "at,appliance,imported_w\n2020-05-01T10:00Z,grid,600\n2020-05-01T10:01Z,Battery,60\n"
        "2020-05-01T10:05Z,grid,60\n",
        interval_s=600,
    )
    assert set(stored("interval_s", "import_energy_wh")) == {(300, 50.0), (600, 10.0), (300, 5.0)}


def test_an_interval_of_energies_marks_every_slot_that_it_covers(load, cast):
    load("at,e\n2020-05-01T10:00:00Z,400\n", mappings=["e=grid:import_energy_wh"], interval_s=3600)
    starts = DirtySlot.objects.order_by("start").values_list("start", flat=True)
    assert list(starts) == [at(f"2020-05-01T10:{minute}Z") for minute in ("00", 15, 30, 45)]


HALVES = "at,e\n2020-05-01T10:00Z,0\n2020-05-01T10:30Z,1000\n"
HOUR = "at,e,soc\n2020-05-01T10:00Z,1000,0.5\n"


@pytest.mark.parametrize("hour_first", [True, False])
def test_hours_and_their_halves_count_once_in_any_order(load, cast, now, hour_first):
    files = [(HALVES, 1800), (HOUR, 3600)]
    for text, interval_s in reversed(files) if hour_first else files:
        load(text, mappings=["e=battery:import_energy_wh"], interval_s=interval_s)
    compute_until_clean(now=now)
    slots = ApplianceSlot.objects.order_by("start").values_list("import_mwh", flat=True)
    assert list(slots) == [0, 0, 500_000, 500_000]


def test_an_hour_tells_what_its_halves_say_nothing_of(load):
    load(HALVES, mappings=["e=battery:import_energy_wh"], interval_s=1800)
    mappings = ["e=battery:import_energy_wh", "soc=battery:soc"]
    report = load(HOUR, mappings=mappings, interval_s=3600)
    assert (report.stored, report.unchanged) == (1, 0)
    assert stored("interval_s", "import_energy_wh", "soc") == [(1800, 0, 0.5), (1800, 1000, None)]
    load(HOUR, mappings=["e=battery:export_energy_wh"], interval_s=3600)
    assert stored("interval_s", "export_energy_wh")[0] == (3600, 1000)


def test_an_hour_fills_the_hole_that_its_quarters_leave(load, now):
    quarters = "at,e\n2020-05-01T10:00Z,100\n2020-05-01T10:15Z,100\n"
    load(quarters, mappings=["e=battery:import_energy_wh"], interval_s=900)
    hour = "at,e\n2020-05-01T10:00Z,400\n"
    load(hour, mappings=["e=battery:import_energy_wh"], interval_s=3600)
    compute_until_clean(now=now)
    slots = ApplianceSlot.objects.order_by("start").values_list("import_mwh", flat=True)
    assert list(slots) == [100_000] * 4


def test_a_longer_interval_corrects_shorter_ones_that_leave_gaps(load):
    quarters = "at,e\n2020-05-01T10:00Z,10\n2020-05-01T10:15Z,20\n"
    load(quarters, mappings=["e=battery:import_energy_wh"], interval_s=300)
    load(quarters, mappings=["e=battery:import_energy_wh"], interval_s=900)
    assert stored("interval_s", "import_energy_wh") == [(900, 10), (900, 20)]


MIXED = """\
at,appliance,power_w,soc,interval_s,import_energy_wh,export_energy_wh
2020-05-01T10:00Z,grid,4000,,900,1000,
2020-05-01T10:15Z,grid,0,,900,0,0
2020-05-01T10:15Z,battery,-250,0.5,,,
"""


def test_lines_of_a_long_file_may_be_of_intervals_of_their_own_length(load, cast):
    report = load(MIXED)
    assert (report.lines, report.stored, report.bad) == (3, 3, 0)
    values = ("interval_s", "import_energy_wh", "export_energy_wh", "power_w", "soc")
    assert stored("appliance_key", *values) == sorted(
        [
            (cast.grid_meter.key, 900, 1000.0, None, None, None),
            (cast.grid_meter.key, 900, 0.0, 0.0, None, None),
            (cast.battery.key, None, None, None, -250.0, 0.5),
        ],
        key=lambda row: row[0],
    )


@pytest.mark.parametrize(
    ("line", "power_w"),
    [
        ("4000,900,1000,", None),
        ("-1333,900,,333.33", None),
        ("266.7,900,100,33.333", None),
        ("-70,900,1000,", -70.0),
        ("-70,900,,", -70.0),
        ("0,900,500,100", 0.0),
    ],
)
def test_beside_an_interval_s_energies_power_is_an_instant_s_unless_it_is_their_mean(
    load, line, power_w
):
    names = "at,appliance,power_w,interval_s,import_energy_wh,export_energy_wh"
    load(f"{names}\n2020-05-01T10:00Z,grid,{line}\n")
    assert stored("power_w") == [(power_w,)]


def test_energies_of_an_interval_that_has_no_length_are_bad(load):
    report = load(
        "at,appliance,power_w,interval_s,import_energy_wh\n2020-05-01T10:00Z,grid,4000,,1000\n"
        "2020-05-01T10:15Z,grid,,7200,7\n2020-05-01T10:30Z,grid,,0.5,7\n"
        "2020-05-01T10:45Z,grid,,long,7\n2020-05-01T11:00Z,grid,5,,\n",
        skip_bad=True,
    )
    assert [bad.line for bad in report.bad_lines] == [2, 3, 4, 5]
    for bad, part in zip(
        report.bad_lines,
        (
            "import_energy_wh is of an interval: say how long it is.",
            "whole seconds, from 1 to 3600",
            "whole seconds, from 1 to 3600",
            "interval_s: “long” is not a number",
        ),
        strict=True,
    ):
        assert part in bad.reason
    assert stored("power_w", "interval_s") == [(5.0, None)]
    with pytest.raises(UnableToImport, match="One line is bad"):
        load("at,appliance,power_w,imported_w\n2020-05-01T10:00Z,grid,40,1000\n")


BAD = """\
at,appliance,power_w
2020-05-01T10:00:00Z,battery,100
yesterday,battery,100
2020-05-01T10:02:00Z,battery,many
2020-05-01T10:03:00Z,toaster,100
2020-05-01T10:04:00Z,battery
2020-05-01T10:05:00Z,battery,nan
2020-05-01T10:06:00Z,battery,900000
2020-05-01T10:07:00,battery,100
2036-05-01T10:08:00Z,battery,100
1980-05-01T10:08:00Z,battery,100
2020-05-01T10:09:00Z,battery,
2020-05-01T10:10:00Z,battery,200
"""


def test_bad_lines_are_told_by_number_and_reason_and_only_they_are_left_out(load):
    report = load(BAD, skip_bad=True)
    assert [bad.line for bad in report.bad_lines] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    reasons = [bad.reason for bad in report.bad_lines]
    for reason, part in zip(
        reasons,
        (
            "“yesterday” is no ISO 8601 instant",
            "power_w: “many” is not a number",
            "“toaster” is no appliance of Lindenweg 12",
            "has 2 cells where the first line names 3 columns",
            "The reading of Battery is not a finite number",
            "The reading of Battery is more than the appliance can do",
            "has no offset, and no time zone was given",
            "The reading of Battery lies in the future",
            "The reading of Battery is older than what is kept",
        ),
        strict=True,
    ):
        assert part in reason
    assert (report.lines, report.bad, report.silent, report.stored) == (12, 9, 1, 2)
    assert stored("power_w") == [(100.0,), (200.0,)]


def test_one_bad_line_is_enough_for_nothing_to_be_stored(load):
    with pytest.raises(UnableToImport, match="9 lines are bad") as refused:
        load(BAD, create=(parse_new_appliance("New:meter"),))
    assert refused.value.report.bad == 9
    assert not Reading.objects.exists()
    assert not DirtySlot.objects.exists()
    assert not Appliance.objects.filter(name="New").exists()


def test_a_bad_line_at_the_end_of_a_long_file_takes_back_all_before_it(load, monkeypatch):
    monkeypatch.setattr("measurements.imports.recordings.LINES_AT_ONCE", 2)
    with pytest.raises(UnableToImport, match="One line is bad"):
        load(LONG + "2020-05-01T10:05Z,battery,x,,,\n" + LONG.split("\n", 1)[1])
    assert not Reading.objects.exists()


def test_a_quotation_mark_that_is_not_closed_spoils_its_line_alone(load):
    report = load(
        'at,appliance,power_w\n2020-05-01T10:00:00Z,grid,1\n2020-05-01T10:01:00Z,grid,"2\n'
        '"2020-05-01T10:02:00Z","grid","3"\n2020-05-01T10:03:00Z,"grid"s,4\n'
        "2020-05-01T10:04:00Z,grid,5\n",
        skip_bad=True,
    )
    assert [bad.line for bad in report.bad_lines] == [3, 5]
    assert all("quotation marks have to be closed" in bad.reason for bad in report.bad_lines)
    assert stored("power_w") == [(1.0,), (3.0,), (5.0,)]


def test_a_line_that_names_nobody_is_of_nobody(load, cast):
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(local_id="")
    with pytest.raises(UnableToImport, match="One line is bad") as refused:
        load("at,appliance,power_w\n2020-05-01T10:00:00Z,,1\n2020-05-01T10:00:00Z,battery,1\n")
    assert (refused.value.report.unknown, Reading.objects.count()) == ([], 0)


def test_one_appliances_bad_reading_leaves_the_lines_other_appliances(load, cast):
    report = load(
        "at,b,g\n2020-05-01T10:00:00Z,999999,300\n",
        mappings=["b=battery:power_w", "g=grid:power_w"],
        skip_bad=True,
    )
    assert (report.bad, report.stored) == (1, 1)
    assert stored("appliance_key") == [(cast.grid_meter.key,)]


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_a_day_of_25_hours_has_the_energy_of_25_hours(load, is_newest_first):
    names = sorted([f"2020-10-25T{hour:02}:00" for hour in (*range(24), 2)])
    lines = [f"{name},1000" for name in names]
    report = load(
        "\n".join(["at,p", *(reversed(lines) if is_newest_first else lines)]),
        mappings=["p=grid:imported_w"],
        zone=ZoneInfo("Europe/Berlin"),
        interval_s=3600,
    )
    assert (report.stored, report.repeated, report.bad) == (25, 0, 0)
    begin = at("2020-10-24T22:00Z")
    assert stored("at", "interval_s", "import_energy_wh") == [
        (begin + timedelta(hours=hour), 3600, 1000.0) for hour in range(25)
    ]


def test_local_times_follow_the_zone_through_both_changes_of_the_clock(load):
    lines = [
        "2020-10-25T01:45,1",
        "2020-10-25T02:00,2",
        "2020-10-25T02:30,3",
        "2020-10-25T02:00,4",
        "2020-10-25T02:30,5",
        "2020-10-25T03:00,6",
        "2020-03-29T02:30,7",
    ]
    report = load(
        "\n".join(["at,p", *lines]),
        mappings=["p=battery:power_w"],
        zone=ZoneInfo("Europe/Berlin"),
        skip_bad=True,
    )
    assert [bad.line for bad in report.bad_lines] == [8]
    assert "the clock was set forward" in report.bad_lines[0].reason
    assert stored("at", "power_w") == [
        (at("2020-10-24T23:45Z"), 1.0),
        (at("2020-10-25T00:00Z"), 2.0),
        (at("2020-10-25T00:30Z"), 3.0),
        (at("2020-10-25T01:00Z"), 4.0),
        (at("2020-10-25T01:30Z"), 5.0),
        (at("2020-10-25T02:00Z"), 6.0),
    ]


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        ("", {}, "“at” is missing"),
        ("at,power_w\n", {}, "“appliance” is missing"),
        ("at,appliance,power_w\n", {}, "The file has no lines but"),
        ("at,appliance,watts\n", {}, "None of the file's columns is a quantity"),
        ("at,at,appliance,power_w\n", {}, "“at” stands twice"),
        (
            "at,appliance,imported_w,import_energy_wh\n",
            {},
            "import_energy_wh, imported_w say the same",
        ),
        ("at,appliance,soc,interval_s,interval_s\n", {}, "“interval_s” stands twice"),
        ("at,x\n", {"mappings": ["y=battery:power_w"]}, "“y” is missing"),
        ("at,x\n", {"mappings": ["x=toaster:power_w"]}, "“toaster” is no appliance"),
        ("at,x\n", {"create": (parse_new_appliance("Battery:meter"),)}, "already"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_at_once(load, text, layout, message):
    with pytest.raises(UnableToImport, match=message):
        load(text, **layout)


def test_damaged_and_absent_files_are_refused_and_leave_nothing(load, tmp_path, cast, now):
    whole = gzip.compress((LONG * 1).encode())
    with pytest.raises(UnableToImport, match="damaged"):
        load(whole[: len(whole) // 2], name="half.csv.gz")
    for packed in ("other.csv.xz", "other.csv.gz"):
        with pytest.raises(UnableToImport) as refused:
            load(LONG, name=packed)
        assert str(refused.value) == (
            "The file cannot be unpacked: it is damaged, or is not what its name ends in."
        )
    with pytest.raises(UnableToImport, match="no Parquet"):
        load(b"no parquet", name="other.parquet")
    with pytest.raises(UnableToImport, match="cannot be read"):
        import_file(path=tmp_path / "none.csv", system=cast.lindenweg, layout=Layout(), now=now)
    assert not Reading.objects.exists()


def test_of_a_damaged_file_it_is_told_how_far_it_can_be_read(load):
    chance = Random(1)
    lines = [f"2020-05-01T10:00:00Z,{chance.random()}" for _line in range(30_000)]
    whole = gzip.compress("\n".join(["at,p", *lines]).encode())
    with pytest.raises(UnableToImport, match="damaged after line") as refused:
        load(whole[: len(whole) // 2], mappings=["p=battery:power_w"], name="half.csv.gz")
    assert 13_000 < int(re.search(r"line (\d+)", str(refused.value))[1]) < 17_000


def test_appliances_are_made_once_and_with_the_interval_of_the_file(load, cast):
    layout = {
        "mappings": ["e=Cellar:import_energy_wh"],
        "create": (parse_new_appliance("Cellar:heat_pump"),),
        "interval_s": 1800,
    }
    text = "at,e\n2020-05-01T10:00:00Z,400\n"
    assert load(text, **layout).created == ["Cellar"]
    assert load(text, **layout).created == []
    cellar = Appliance.objects.get(name="Cellar")
    assert (cellar.kind, cellar.interval_s, cellar.local_id) == ("heat_pump", 1800, "Cellar")
    declared = DeclaredInterval.objects.values_list("appliance_key", "valid_from", "interval_s")
    assert list(declared) == [(cellar.key, at("2020-05-01T10:00Z"), 1800)]


def test_what_a_local_id_names_is_not_made_again(load, cast):
    text = "at,p\n2020-05-01T10:00:00Z,400\n"
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(local_id="meter1")
    layout = {"mappings": ["p=meter1:power_w"]}
    with pytest.raises(UnableToImport, match="has an appliance “meter1” already"):
        load(text, create=(parse_new_appliance("meter1:battery"),), **layout)
    report = load(text, create=(parse_new_appliance("meter1:grid_meter"),), **layout)
    assert (report.created, stored("appliance_key")) == ([], [(cast.grid_meter.key,)])
    assert not Appliance.objects.filter(name="meter1").exists()


def test_what_several_are_called_is_neither_made_nor_guessed(load, cast):
    Appliance.objects.filter(pk__in=(cast.battery.pk, cast.grid_meter.pk)).update(name="Twin")
    with pytest.raises(UnableToImport, match="“Twin” names several appliances"):
        load("at,p\n", create=(parse_new_appliance("Twin:battery"),))


def test_a_removed_appliance_is_not_taken_for_a_new_one_but_has_its_history(load, cast, now):
    Appliance.objects.filter(pk=cast.battery.pk).update(removed_at=now)
    text = "at,p\n2020-05-01T10:00:00Z,400\n"
    create = (parse_new_appliance("Battery:battery"),)
    with pytest.raises(UnableToImport, match=f"was removed.*its UUID, {cast.battery.pk}"):
        load(text, mappings=["p=Battery:power_w"], create=create)
    load(text, mappings=[f"p={cast.battery.pk}:power_w"])
    assert stored("appliance_key") == [(cast.battery.key,)]


def test_the_usual_distance_is_declared_for_the_time_of_the_recording_only(load, cast):
    lines = [f"2020-05-01T10:{minute:02}:00Z,{minute}" for minute in (0, 5, 10, 25, 30)]
    load("\n".join(["at,p", *lines]), mappings=["p=battery:power_w"])
    declared = DeclaredInterval.objects.order_by("valid_from")
    assert list(declared.values_list("appliance_key", "valid_from", "interval_s")) == [
        (cast.battery.key, at("2020-05-01T10:00Z"), 300),
        (cast.battery.key, at("2020-05-01T10:35Z"), 60),
    ]


def test_another_resolution_is_declared_from_the_instant_on_at_which_it_begins(
    load, cast, monkeypatch
):
    monkeypatch.setattr("measurements.imports.recordings.LINES_AT_ONCE", 1000)
    begin, change = at("2020-05-01T10:00Z"), at("2020-05-04T13:00Z")
    end = at("2020-05-06T00:00Z")
    minute = timedelta(minutes=1)
    instants = [begin + n * minute for n in range(int((change - begin) / minute))]
    # Single gaps, one of them of hours, change nothing.
    instants = [one for n, one in enumerate(instants) if n % 50 and not 300 < n < 700]
    quarters = [change + 15 * n * minute for n in range(int((end - change) / minute) // 15)]
    text = "\n".join(["at,p", *(f"{one.isoformat()},1" for one in (*instants, *quarters))])
    load(text, mappings=["p=battery:power_w"])
    declared = DeclaredInterval.objects.order_by("valid_from")
    expected = [
        (cast.battery.key, instants[0], 60),
        (cast.battery.key, change, 900),
        (cast.battery.key, end, 60),
    ]
    assert list(declared.values_list("appliance_key", "valid_from", "interval_s")) == expected
    load(text, mappings=["p=battery:power_w"])
    assert list(declared.values_list("appliance_key", "valid_from", "interval_s")) == expected


def test_parquet_is_read_with_its_own_types(load, cast):
    sink = pyarrow.BufferOutputStream()
    table = pyarrow.table(
        {
            "at": pyarrow.array(
                [datetime(2020, 5, 1, 10, minute, tzinfo=UTC) for minute in range(3)],
                type=pyarrow.timestamp("ns", tz="UTC"),
            ),
            "appliance": ["battery", "battery", "nobody"],
            "power_w": pyarrow.array([100, None, 3], type=pyarrow.int32()),
            "soc": ["0.5", "0.25", None],
        }
    )
    parquet.write_table(table, sink)
    report = load(sink.getvalue().to_pybytes(), name="file.parquet", skip_bad=True)
    assert [bad.line for bad in report.bad_lines] == [3]
    assert stored("at", "power_w", "soc") == [
        (at("2020-05-01T10:00Z"), 100.0, 0.5),
        (at("2020-05-01T10:01Z"), None, 0.25),
    ]


def test_what_no_float_and_no_calendar_holds_spoils_its_row_of_parquet_alone(load, cast):
    sink = pyarrow.BufferOutputStream()
    usual = 1_588_327_200_000_000  # 2020-05-01T10:00Z
    table = pyarrow.table(
        {
            "at": pyarrow.array(
                [usual, usual + 60_000_000, 10**18], type=pyarrow.timestamp("us", tz="UTC")
            ),
            "appliance": ["battery"] * 3,
            "imported_wh": pyarrow.array([5, 2**63 - 1, 7], type=pyarrow.int64()),
        }
    )
    parquet.write_table(table, sink)
    report = load(sink.getvalue().to_pybytes(), name="file.parquet", skip_bad=True)
    assert [bad.line for bad in report.bad_lines] == [2, 3]
    assert "is no ISO 8601 instant" in report.bad_lines[1].reason
    assert stored("imported_wh") == [(5.0,)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b:soc", ("a", "b", "soc", 1.0)),
        ("grid kW=My: meter:power_w:-1e3", ("grid kW", "My: meter", "power_w", -1000.0)),
        ("a=b:c:soc", ("a", "b:c", "soc", 1.0)),
    ],
)
def test_a_mapping_is_read(text, expected):
    mapping = parse_mapping(text)
    assert (mapping.column, mapping.appliance, mapping.quantity, mapping.scale) == expected


@pytest.mark.parametrize(
    "text", ["a", "a=b", "=b:soc", "a=:soc", "a=b:", "a=b:soc:0", "a=b:soc:inf"]
)
def test_a_mapping_that_makes_no_sense_is_refused(text):
    with pytest.raises(UnableToMap):
        parse_mapping(text)


@pytest.mark.parametrize(
    ("mappings", "interval_s", "message"),
    [
        (["a=b:watts"], None, "none of the quantities"),
        (["a=b:imported_w"], None, "say how long it is"),
        (["a=b:imported_wh"], 900, "leave out the interval"),
        (["a=b:power_w", "c=b:imported_w"], 900, "say the same"),
        (["a=b:power_w"], 0, "between 1 second and 1 hour"),
        (["a=b:power_w"], 7200, "between 1 second and 1 hour"),
    ],
)
def test_quantities_that_do_not_fit_together_are_refused(mappings, interval_s, message):
    with pytest.raises(UnableToMap, match=message):
        Layout(mappings=tuple(map(parse_mapping, mappings)), interval_s=interval_s)


def test_intervals_and_new_appliances_are_read():
    assert [parse_duration(text) for text in ("15m", "30s", "1h", "900")] == [900, 30, 3600, 900]
    with pytest.raises(UnableToMap):
        parse_duration("soon")
    assert parse_new_appliance("My: pump:heat_pump").kind is ApplianceKind.HEAT_PUMP
    with pytest.raises(UnableToMap):
        parse_new_appliance("Toaster:toaster")
    assert parse_new_appliance(f"{'x' * 200}:meter").name == "x" * 200
    with pytest.raises(UnableToMap, match="more than 200 characters"):
        parse_new_appliance(f"{'x' * 201}:meter")


def run(path: Path, system, *options: str) -> str:
    out = StringIO()
    call_command(
        "import_readings", str(path), *options, system=str(system.pk), verbosity=0, stdout=out
    )
    return out.getvalue()


def test_a_year_of_recorded_quarters_is_imported_whole(cast, recorded):
    path = recorded / "de_home_solaredge" / "house_15min_2018.csv.xz"
    options = (
        "--time-column=ts_utc",
        "--interval=15m",
        "--create=Meter:grid_meter",
        "--create=Sun:pv_inverter",
        "--map=import_w=Meter:imported_w",
        "--map=export_w=Meter:exported_w",
        "--map=pv_w=Sun:exported_w",
    )
    told = run(path, cast.hafenstrasse, *options)
    assert "30463 lines read, 0 of them refused, 0 empty." in told
    meter, sun = (Appliance.objects.get(name=name) for name in ("Meter", "Sun"))
    sums = Reading.objects.filter(system_key=cast.hafenstrasse.key).values("appliance_key")
    assert list(
        sums.annotate(
            count=Count("at"),
            imported=Sum("import_energy_wh"),
            exported=Sum("export_energy_wh"),
            first=Min("at"),
            last=Max("at"),
        )
        .order_by("appliance_key")
        .values_list("appliance_key", "count", "imported", "exported", "first", "last")
    ) == [
        (
            key,
            30_463,
            imported_wh and pytest.approx(imported_wh, abs=50),
            pytest.approx(exported_wh, abs=50),
            at("2018-02-17T14:15Z"),
            at("2018-12-31T22:45Z"),
        )
        for key, imported_wh, exported_wh in (
            (meter.key, 2_123_500, 5_491_900),
            (sun.key, None, 7_516_000),
        )
    ]
    assert "0 readings are new or changed, 60926 were known, 0 are" in run(
        path, cast.hafenstrasse, *options
    )


def test_recorded_counters_of_two_tariffs_are_imported_as_one(cast, recorded):
    told = run(
        recorded / "nl_home_p1mon" / "p1_1min_2024-02.csv.xz",
        cast.hafenstrasse,
        "--time-column=ts_utc",
        "--map=import_t1_wh=grid:imported_wh",
        "--map=import_t2_wh=grid:imported_wh",
        "--map=export_t1_wh=grid:exported_wh",
        "--map=export_t2_wh=grid:exported_wh",
    )
    assert "43980 lines read, 0 of them refused, 0 empty." in told
    rows = Reading.objects.filter(appliance_key=cast.other_meter.key).order_by("at")
    assert rows.count() == 43_980
    first, last = rows.first(), rows.last()
    assert (first.imported_wh, first.exported_wh) == (21_013_822, 13_808_328)
    assert (last.imported_wh, last.exported_wh) == (21_676_264, 13_918_956)
    assert list(
        DeclaredInterval.objects.values_list("appliance_key", "valid_from", "interval_s")
    ) == [(cast.other_meter.key, at("2024-02-01T10:02Z"), 60)]


def test_the_command_says_what_is_wrong(cast, tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("at,p\n2020-05-01T10:00:00Z,1\nnever,2\n")
    with pytest.raises(CommandError, match="There is no system"):
        call_command("import_readings", str(path), system="home")
    with pytest.raises(CommandError, match="not an IANA time zone"):
        run(path, cast.lindenweg, "--time-zone=Berlin")
    with pytest.raises(CommandError, match="does not read COLUMN"):
        run(path, cast.lindenweg, "--map=p")
    errors = StringIO()
    with pytest.raises(CommandError, match="One line is bad, so nothing was stored"):
        call_command(
            "import_readings",
            str(path),
            "--map=p=battery:power_w",
            system=str(cast.lindenweg.pk),
            verbosity=0,
            stderr=errors,
        )
    assert errors.getvalue() == "line 3: “never” is no ISO 8601 instant\n"


def test_a_report_tells_so_many_lines_and_counts_the_others():
    report = ImportReport()
    report.refuse((line, "bad") for line in range(2_500))
    report.refuse([(9_000, "bad"), (9_000, "worse")])
    assert (report.bad, len(report.bad_lines)) == (2_501, 1_000)


def test_the_command_waits_until_others_have_computed_the_energies(cast, tmp_path, monkeypatch):
    path = tmp_path / "file.csv"
    path.write_text("at,p\n2020-05-01T10:00:00Z,1\n2020-05-01T11:00:00Z,1\n")
    module = "measurements.management.commands.import_readings"
    monkeypatch.setattr(f"{module}.sleep", lambda _s: DirtySlot.objects.first().delete())
    run(path, cast.lindenweg, "--map=p=battery:power_w", "--wait")
    assert not DirtySlot.objects.exists()

    seconds = iter(range(0, 10_000, 50))
    monkeypatch.setattr(f"{module}.sleep", lambda _s: None)
    monkeypatch.setattr(f"{module}.monotonic", lambda: next(seconds))
    path.write_text("at,p\n2020-05-01T10:00:00Z,2\n")
    with pytest.raises(CommandError, match="1 slots are still to be computed"):
        run(path, cast.lindenweg, "--map=p=battery:power_w", "--wait")
    # A mark of a day, as those of history have, is of many slots.
    DirtySlot.objects.update(slots=96)
    with pytest.raises(CommandError, match="96 slots are still to be computed"):
        run(path, cast.lindenweg, "--map=p=battery:power_w", "--wait")


def test_the_command_says_what_to_do_where_a_gateway_found_the_same_meanwhile(
    cast, tmp_path, monkeypatch
):
    def find_then_check(*given):
        Appliance.objects.create(
            system=cast.lindenweg, gateway=cast.gateway, local_id="shed", kind="meter"
        )
        check(*given)

    check = importing._check_created
    monkeypatch.setattr(importing, "_check_created", find_then_check)
    path = tmp_path / "file.csv"
    path.write_text("at,appliance,power_w\n2020-05-01T10:00Z,shed,1\n")
    with pytest.raises(CommandError, match=r"found “shed” meanwhile.* Begin the import once more"):
        run(path, cast.lindenweg, "--create", "shed:meter")
    assert not Reading.objects.exists()
