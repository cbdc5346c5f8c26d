"""History and readings as files: opened again, they say what the API says."""

import csv
import io
import tempfile
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import product, repeat
from pathlib import Path

import numpy as np
import openpyxl
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from gridx import clock
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance, Cluster, System, SystemPool
from measurements.batches import Batch
from measurements.exports import api, files
from measurements.exports.files import Format, encoded
from measurements.exports.tables import Column, Kind, Table, history_table, readings_table
from measurements.figures import SUMMED
from measurements.flags import Flag
from measurements.ingest import store_readings
from measurements.models import Reading, SystemDay, SystemHour, SystemSlot
from measurements.partitions import existing_weeks
from measurements.resolutions import Resolution, Span
from measurements.slots import compute_until_clean
from measurements.wire.readings import COLUMNS
from tests.cast import make_cast
from tests.measurements.arrivals import Device, Site, make_site, store_one

pytestmark = pytest.mark.django_db

# The clock is set forward in Berlin on the 29th.
SINCE = datetime(2026, 3, 27, tzinfo=UTC)
UNTIL = datetime(2026, 4, 2, tzinfo=UTC)
NOW = UNTIL + timedelta(days=30)
ALL = f"{SINCE:%Y-%m-%dT%H:%M:%SZ}/{UNTIL:%Y-%m-%dT%H:%M:%SZ}"
# What /historical serves at most of each resolution.
WITHIN = {
    Resolution.QUARTER: "2026-03-29T00:00:00+01:00/2026-03-30T00:00:00+02:00",
    Resolution.HOUR: "2026-03-27T00:00:00+01:00/2026-04-02T00:00:00+02:00",
}
HOME = (ApplianceKind.GRID_METER, ApplianceKind.PV_INVERTER, ApplianceKind.BATTERY)
MB = 1_000_000


@pytest.fixture(autouse=True)
def _later(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def staff(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.staff)
    return client


@pytest.fixture
def site(cast) -> Site:
    """A home that was read every quarter of an hour, but for six hours of its first day."""
    site = make_site([Device(kind, interval_s=900) for kind in HOME], "Europe/Berlin")
    rng = np.random.default_rng(4)
    at_ms = np.arange(SINCE.timestamp() * 1000, UNTIL.timestamp() * 1000, 900_000)
    at_ms = at_ms[(np.arange(len(at_ms)) < 12) | (np.arange(len(at_ms)) >= 36)]
    for key in site.keys:
        batch = Batch.of(
            system_key=site.system.key,
            appliance_key=key,
            at_ms=at_ms,
            interval_s=900.0,
            import_energy_wh=rng.uniform(0, 1500, len(at_ms)),
            export_energy_wh=rng.uniform(0, 1500, len(at_ms)),
        )
        store_readings(batch=batch, now=NOW, history=True)
    compute_until_clean(now=NOW)
    return site


@pytest.fixture
def subjects(site) -> dict:
    """What can be exported of the home, by the path of its address."""
    cluster = Cluster.objects.create(system=site.system, name="All of it")
    Appliance.objects.filter(system=site.system).update(cluster=cluster)
    pool = SystemPool.objects.create(account=site.system.account, name="Sun")
    pool.systems.set([site.system])
    return {"systems": site.system, "clusters": cluster, "systempools": pool}


def export(client: APIClient, path: str, **query: str) -> bytes:
    answer = client.get(f"/api/{path}/export", query)
    assert answer.status_code == 200, answer.content
    return answer.getvalue()


def rows_of_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def refused(client: APIClient, path: str, **query: str) -> list[str]:
    answer = client.get(f"/api/{path}/export", query)
    assert answer.status_code == 422
    return answer.json()["details"]


def import_again(content: bytes, system: System, file: Path, **options) -> None:
    file.write_bytes(content)
    call_command("import_readings", str(file), system=str(system.pk), **options)


# Figures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", list(Resolution))
@pytest.mark.parametrize("kind", ["systems", "clusters", "systempools"])
def test_a_file_has_the_figures_of_the_api(staff, subjects, kind, resolution):
    path = f"{kind}/{subjects[kind].pk}"
    asked = {"interval": WITHIN.get(resolution, ALL), "resolution": str(resolution)}
    told = staff.get(f"/api/{path}/historical", asked).json()["data"]
    rows = rows_of_csv(export(staff, path, **asked))
    assert len(rows) == len(told)
    in_power = resolution in (Resolution.QUARTER, Resolution.HOUR)
    for row, point in zip(rows, told, strict=True):
        from_at, until_at = (datetime.fromisoformat(row[name]) for name in ("from", "until"))
        stamp = until_at if in_power else from_at
        assert datetime.fromisoformat(point["measuredAt"]) == stamp
        hours = (until_at - from_at) / timedelta(hours=1) if in_power else 1
        values = {
            "pv_wh": point.get("photovoltaic"),
            "consumption_wh": point.get("totalConsumption"),
            "import_wh": point.get("grid", {}).get("supply"),
            "export_wh": point.get("grid", {}).get("feedIn"),
            "charge_wh": point.get("battery", {}).get("charge"),
            "self_supply_wh": point.get("selfSupply"),
        }
        for name, value in values.items():
            expected = None if value is None else pytest.approx(value * hours)
            assert (float(row[name]) if row[name] else None) == expected, name
        rate = point.get("selfSufficiencyRate")
        assert row["self_sufficiency_rate"] == ("" if rate is None else repr(rate))


@pytest.mark.parametrize("resolution", list(Resolution))
def test_an_appliances_energies_are_those_that_its_system_tells_of_it(staff, site, resolution):
    battery = Appliance.objects.get(key=site.keys[2])
    days = staff.get(
        f"/api/systems/{site.system.pk}/historical", {"interval": ALL, "resolution": "1d"}
    ).json()["data"]
    rows = rows_of_csv(
        export(staff, f"appliances/{battery.pk}", interval=ALL, resolution=str(resolution))
    )
    given = sum(float(row["export_wh"]) - float(row["import_wh"]) for row in rows if row["seen_s"])
    assert given == pytest.approx(sum(day["batteries"][0]["power"] for day in days))
    assert sum(int(row["seen_s"]) for row in rows if row["seen_s"]) == (6 * 24 - 6) * 3600


def test_the_three_formats_say_the_same(staff, subjects):
    asked = {"interval": ALL, "resolution": "15m"}
    path = f"systems/{subjects['systems'].pk}"
    by_csv = rows_of_csv(export(staff, path, **asked))
    table = pq.read_table(io.BytesIO(export(staff, path, **asked, format="parquet")))
    assert table.column_names == list(by_csv[0])
    by_parquet = table.to_pylist()
    book = openpyxl.load_workbook(io.BytesIO(export(staff, path, **asked, format="xlsx")))
    names, *lines = book.active.iter_rows(values_only=True)
    by_xlsx = [dict(zip(names, line, strict=True)) for line in lines]
    assert list(names) == table.column_names
    assert len(by_csv) == len(by_parquet) == len(by_xlsx) == 6 * 96
    for text, row, line in zip(by_csv, by_parquet, by_xlsx, strict=True):
        assert datetime.fromisoformat(text["from_utc"]) == row["from_utc"]
        assert line["from_utc"].replace(tzinfo=UTC) == row["from_utc"]
        assert datetime.fromisoformat(row["from"]) == row["from_utc"]
        assert text["from"] == row["from"] == line["from"]
        for name in ("pv_wh", "import_wh", "soc", "measured_share", "seen_s"):
            value = None if text[name] == "" else float(text[name])
            assert value == row[name]
            # XLSX has 16 digits of a number.
            assert line[name] == (None if value is None else pytest.approx(value, rel=1e-14))
        assert (text["flags"] or None) == (row["flags"] or None) == (line["flags"] or None)


def test_a_gap_is_empty_and_not_0(staff, site):
    rows = rows_of_csv(export(staff, f"systems/{site.system.pk}", interval=ALL, resolution="15m"))
    gap, seen = rows[12:36], rows[40]
    for row in gap:
        told = {name for name, value in row.items() if value}
        assert told == {"name", "from", "until", "from_utc", "until_utc"}
    assert float(seen["pv_wh"]) > 0
    assert (seen["measured_share"], seen["seen_s"], seen["expected_s"]) == ("1.0", "2700", "2700")
    assert seen["soc"] == ""


def test_hours_are_local_where_the_clock_is_set_forward(staff, site):
    rows = rows_of_csv(
        export(
            staff,
            f"systems/{site.system.pk}",
            interval="2026-03-29T00:00:00+01:00/2026-03-30T00:00:00+02:00",
            resolution="1h",
        )
    )
    assert len(rows) == 23
    assert [row["from"] for row in rows[:3]] == [
        "2026-03-29T00:00:00+01:00",
        "2026-03-29T01:00:00+01:00",
        "2026-03-29T03:00:00+02:00",
    ]


def test_a_coarse_span_says_how_much_of_it_was_measured(staff, site):
    first, second = rows_of_csv(
        export(
            staff,
            f"systems/{site.system.pk}",
            interval="2026-03-27T12:00:00Z/2026-03-28T12:00:00Z",
            resolution="1d",
        )
    )
    # Of the first day in Berlin one hour is before the readings, and six are missing.
    assert float(first["measured_share"]) == pytest.approx(17 / 24)
    assert second["measured_share"] == "1.0"


def test_what_has_not_begun_is_left_out(staff, cast, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: SINCE + timedelta(minutes=20))
    rows = rows_of_csv(
        export(staff, f"systems/{cast.lindenweg.pk}", interval=ALL, resolution="15m")
    )
    assert [row["from_utc"][11:16] for row in rows] == ["00:00", "00:15"]


def test_flags_are_words(staff, site):
    for table in (SystemSlot, SystemHour, SystemDay):
        rows = table.objects.filter(system_key=site.system.key)
        first = rows.order_by("start").first().start
        rows.filter(start=first).update(flags=Flag.ESTIMATED | Flag.RECOVERED)
    for resolution in ("15m", "1h", "1d", "1w"):
        path = f"systems/{site.system.pk}"
        first, *_rest = rows_of_csv(export(staff, path, interval=ALL, resolution=resolution))
        assert first["flags"] == "estimated recovered", resolution


def test_a_pool_says_how_many_of_its_systems_were_seen(staff, site, subjects):
    silent = make_site([Device(ApplianceKind.GRID_METER)], "Asia/Kolkata").system
    subjects["systempools"].systems.add(silent)
    SystemSlot.objects.filter(system_key=site.system.key, start=SINCE).update(flags=Flag.RESET)
    rows = rows_of_csv(
        export(staff, f"systempools/{subjects['systempools'].pk}", interval=ALL, resolution="15m")
    )
    assert (rows[0]["systems_seen"], rows[0]["systems"]) == ("1", "2")
    assert (rows[0]["flags"], rows[1]["flags"]) == ("reset", "")
    assert (rows[0]["seen_s"], rows[0]["expected_s"]) == ("2700", "2700")


def test_clusters_and_pools_say_how_much_of_a_day_was_measured(staff, site, subjects):
    for group in ("clusters", "systempools"):
        first, second = rows_of_csv(
            export(
                staff,
                f"{group}/{subjects[group].pk}",
                interval="2026-03-27T12:00:00Z/2026-03-28T12:00:00Z",
                resolution="1d",
            )
        )
        # The hour before the first reading is missing, and six later.
        assert float(first["measured_share"]) == pytest.approx(17 / 24), group
        assert second["measured_share"] == "1.0"


@pytest.mark.parametrize("kind", ["systems", "clusters"])
def test_what_goes_on_from_slot_to_slot_is_told_of_systems_alone(staff, subjects, kind):
    asked = {"interval": ALL, "resolution": "1d"}
    first, *_rest = rows_of_csv(export(staff, f"{kind}/{subjects[kind].pk}", **asked))
    carried = {"stored_wh", "stored_from_grid_wh", "grid_via_battery_wh"}
    assert carried & set(first) == (carried if kind == "systems" else set())
    assert float(first["charge_wh"]) > 0


# Readings ----------------------------------------------------------------------------------------


def test_readings_are_those_of_the_api(staff, cast):
    at = SINCE + timedelta(milliseconds=250)
    store_one(cast.battery, at, power_w=853.5, soc=0.77)
    store_one(cast.battery, at + timedelta(days=2), now=NOW, interval_s=900, export_energy_wh=100.0)
    rows = rows_of_csv(
        export(staff, f"appliances/{cast.battery.pk}", interval=ALL, resolution="raw")
    )
    told = [
        reading
        for day in (SINCE, SINCE + timedelta(days=2))
        for reading in orjson.loads(
            staff.get(
                f"/api/gateways/{cast.gateway.pk}/appliances/{cast.battery.pk}"
                "/measurements/appliance",
                {"interval": f"{day.isoformat()}/{(day + timedelta(days=1)).isoformat()}"},
            ).getvalue()
        )
    ]
    assert len(rows) == len(told) == 2
    for row, reading in zip(rows, told, strict=True):
        assert datetime.fromisoformat(row["at_utc"]) == datetime.fromisoformat(
            reading["measuredAt"]
        )
        assert float(row["power_w"]) * -1000 == reading["acActivePower"]
    assert rows[0]["at"] == "2026-03-27T01:00:00.250000+01:00"
    assert (rows[0]["soc"], rows[1]["soc"], rows[0]["imported_wh"]) == ("0.77", "", "")
    assert (rows[0]["delay_s"], rows[1]["export_energy_wh"]) == ("60", "100.0")


def test_a_plug_is_told_by_its_name_in_every_format(staff, cast):
    store_one(cast.evcs, SINCE, power_w=0.0, plug_state=Plug.UNPLUGGED)
    asked = {"interval": ALL, "resolution": "raw"}
    path = f"appliances/{cast.evcs.pk}"
    (row,) = rows_of_csv(export(staff, path, **asked))
    assert (row["plug_state"], row["power_w"]) == ("unplugged", "0.0")
    (row,) = pq.read_table(io.BytesIO(export(staff, path, **asked, format="parquet"))).to_pylist()
    assert (row["plug_state"], row["power_w"], row["soc"]) == ("unplugged", 0.0, None)


def test_readings_of_a_home_come_appliance_by_appliance_in_order_of_time(staff, cast):
    for minutes in (2, 0, 1):
        for one in (cast.pv, cast.battery):
            store_one(one, SINCE + timedelta(minutes=minutes), power_w=float(minutes))
    store_one(cast.other_meter, SINCE, power_w=1.0)
    rows = rows_of_csv(
        export(staff, f"systems/{cast.lindenweg.pk}", interval=ALL, resolution="raw")
    )
    for row, (one, minutes) in zip(rows, product((cast.pv, cast.battery), (0, 1, 2)), strict=True):
        assert (row["appliance"], row["appliance_id"]) == (one.name, str(one.pk))
        assert row["kind"] == one.kind
        assert row["at"] == f"2026-03-27T01:0{minutes}:00+01:00"
        assert row["power_w"] == f"{minutes}.0"


def test_readings_of_a_cluster_are_those_of_its_nested_members_too_and_no_others(staff, cast):
    outer = Cluster.objects.create(system=cast.lindenweg, name="Cellar")
    inner = Cluster.objects.create(system=cast.lindenweg, parent=outer, name="Meters")
    for one, cluster in ((cast.battery, outer), (cast.grid_meter, inner), (cast.pv, None)):
        Appliance.objects.filter(pk=one.pk).update(cluster=cluster)
        store_one(one, SINCE, power_w=1.0)
    rows = rows_of_csv(export(staff, f"clusters/{outer.pk}", interval=ALL, resolution="raw"))
    assert [row["appliance"] for row in rows] == ["Grid meter", "Battery"]


def test_readings_of_a_pool_name_the_system_and_have_the_pool_s_clock(staff, cast):
    SystemPool.objects.filter(pk=cast.pool.pk).update(time_zone="Asia/Kolkata")
    cast.pool.systems.add(cast.hafenstrasse)
    for one in (cast.other_meter, cast.pv, cast.grid_meter):
        store_one(one, SINCE, power_w=1.0)
    rows = rows_of_csv(export(staff, f"systempools/{cast.pool.pk}", interval=ALL, resolution="raw"))
    assert [(row["system"], row["appliance"]) for row in rows] == [
        ("Lindenweg 12", "Grid meter"),
        ("Lindenweg 12", "Roof"),
        ("Hafenstraße 3", "Grid meter"),
    ]
    assert rows[2]["system_id"] == str(cast.hafenstrasse.pk)
    assert {row["at"] for row in rows} == {"2026-03-27T05:30:00+05:30"}


def test_readings_stay_with_the_home_where_they_were_read_but_not_the_name(staff, site):
    left = Appliance.objects.get(key=site.keys[2])
    elsewhere = make_site([Device(ApplianceKind.GRID_METER)], "Europe/Berlin").system
    Appliance.objects.filter(pk=left.pk).update(system=elsewhere, name="Of others")
    asked = {"interval": ALL, "resolution": "raw"}
    rows = rows_of_csv(export(staff, f"systems/{site.system.pk}", **asked))
    told = [row for row in rows if row["appliance_id"] == str(left.pk)]
    assert len(told) == 6 * 96 - 24
    assert {(row["appliance"], row["kind"]) for row in told} == {("", left.kind)}
    assert rows_of_csv(export(staff, f"systems/{elsewhere.pk}", **asked)) == []


@pytest.mark.parametrize("wanted", ["csv", "parquet"])
def test_a_file_of_readings_can_be_imported_again(staff, cast, tmp_path, wanted):
    store_one(cast.pv, SINCE, power_w=-853.5, exported_wh=1234.5)
    store_one(cast.battery, SINCE + timedelta(minutes=1), power_w=250.0, soc=0.5)
    for minutes, energy_wh in ((0, 1000.0), (15, 0.0)):
        at = SINCE + timedelta(minutes=minutes)
        store_one(cast.grid_meter, at, now=NOW, interval_s=900, import_energy_wh=energy_wh)
    # An instant's power beside the energies of an interval that begins then.
    at = SINCE + timedelta(minutes=30)
    energies = {"interval_s": 900, "import_energy_wh": 500.0, "export_energy_wh": 100.0}
    store_one(cast.grid_meter, at, now=NOW, power_w=-70.0, **energies)
    content = export(
        staff, f"systems/{cast.lindenweg.pk}", interval=ALL, resolution="raw", format=wanted
    )
    before = list(Reading.objects.order_by("appliance_key", "at").values(*COLUMNS))
    Reading.objects.all().delete()
    import_again(content, cast.lindenweg, tmp_path / f"readings.{wanted}")
    assert list(Reading.objects.order_by("appliance_key", "at").values(*COLUMNS)) == before


@pytest.mark.parametrize("wanted", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["grid", "Grid meter", "+PV"])
def test_readings_go_back_to_their_appliance_whatever_others_are_called(
    staff, cast, tmp_path, wanted, name
):
    # One that was replaced by another, which took over its local id.
    old = Appliance.objects.create(
        system=cast.lindenweg, name=name, kind=cast.pv.kind, removed_at=NOW
    )
    Appliance.objects.filter(pk=cast.pv.pk).update(name=name)
    for at, one in enumerate((old, cast.pv, cast.grid_meter)):
        store_one(one, SINCE + timedelta(minutes=at), power_w=-1.0)
    before = list(Reading.objects.order_by("appliance_key", "at").values(*COLUMNS))
    exported = export(
        staff, f"systems/{cast.lindenweg.pk}", interval=ALL, resolution="raw", format=wanted
    )
    for _stored in ("as they are", "not at all"):
        import_again(exported, cast.lindenweg, tmp_path / f"readings.{wanted}")
        assert list(Reading.objects.order_by("appliance_key", "at").values(*COLUMNS)) == before
        Reading.objects.all().delete()


def test_of_a_pool_s_file_a_system_takes_its_own_readings_alone(staff, cast, tmp_path):
    cast.pool.systems.add(cast.hafenstrasse)
    for one in (cast.grid_meter, cast.other_meter):
        store_one(one, SINCE, power_w=1.0)
    exported = export(staff, f"systempools/{cast.pool.pk}", interval=ALL, resolution="raw")
    Reading.objects.all().delete()
    file = tmp_path / "readings.csv"
    with pytest.raises(CommandError, match="One line is bad, so nothing was stored"):
        import_again(exported, cast.lindenweg, file)
    # Whoever removes the ids of appliances goes by their names.
    by_name = exported.replace(str(cast.grid_meter.pk).encode(), b"").replace(
        str(cast.other_meter.pk).encode(), b""
    )
    for content in (exported, by_name):
        said = StringIO()
        import_again(content, cast.lindenweg, file, skip_bad=True, stderr=said)
        assert said.getvalue() == (
            f"line 3: system_id: “{cast.hafenstrasse.pk}” is another system; leave bad lines out to"
            f" store those of {cast.lindenweg} alone.\n"
        )
        assert Reading.objects.get().appliance_key == cast.grid_meter.key
        Reading.objects.all().delete()


def test_an_id_that_a_system_does_not_have_is_a_fault_whatever_the_name(staff, cast, tmp_path):
    store_one(cast.other_meter, SINCE, power_w=1.0)
    asked = {"interval": ALL, "resolution": "raw"}
    exported = export(staff, f"systems/{cast.hafenstrasse.pk}", **asked)
    said = StringIO()
    with pytest.raises(CommandError, match="One line is bad"):
        import_again(exported, cast.lindenweg, tmp_path / "readings.csv", stderr=said)
    assert said.getvalue() == (
        f"line 2: appliance_id: “{cast.other_meter.pk}” is no appliance of {cast.lindenweg};"
        " without this column, lines go by “appliance”.\n"
    )


@pytest.mark.parametrize("wanted", list(Format))
def test_readings_of_many_are_the_same_in_every_format(staff, cast, wanted):
    for one in (cast.pv, cast.evcs):
        store_one(one, SINCE, power_w=-1.5, plug_state=Plug.UNPLUGGED)
    content = export(
        staff, f"systempools/{cast.pool.pk}", interval=ALL, resolution="raw", format=str(wanted)
    )
    if wanted is Format.CSV:
        rows = rows_of_csv(content)
    elif wanted is Format.PARQUET:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    else:
        names, *lines = openpyxl.load_workbook(io.BytesIO(content)).active.values
        rows = [dict(zip(names, line, strict=True)) for line in lines]
    assert list(rows[0])[:7] == [
        "system",
        "system_id",
        "appliance",
        "appliance_id",
        "kind",
        "at",
        "at_utc",
    ]
    assert [(row["appliance"], float(row["power_w"]), row["plug_state"]) for row in rows] == [
        ("Roof", -1.5, "unplugged"),
        ("Car", -1.5, "unplugged"),
    ]


@pytest.mark.parametrize("wanted", list(Format))
def test_nothing_is_a_file_with_the_names_of_its_columns(staff, cast, wanted):
    content = export(
        staff, f"appliances/{cast.pv.pk}", interval=ALL, resolution="raw", format=str(wanted)
    )
    if wanted is Format.CSV:
        names, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    elif wanted is Format.PARQUET:
        table = pq.read_table(io.BytesIO(content))
        names, rows = table.column_names, table.to_pylist()
    else:
        names, *rows = openpyxl.load_workbook(io.BytesIO(content)).active.values
    assert list(names[:4]) == ["name", "at", "at_utc", "power_w"]
    assert rows == []


CENTURY = Span(datetime(1990, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))


def test_only_weeks_that_are_stored_are_looked_into(cast):
    for weeks in (0, 1, 60):
        store_one(cast.pv, SINCE - timedelta(weeks=weeks), power_w=-1.0)
    with CaptureQueriesContext(connection) as asked:
        pieces = list(readings_table(cast.pv, CENTURY).pieces)
    assert [at for piece in pieces for at in piece[2]] == [
        SINCE - timedelta(weeks=weeks) for weeks in (60, 1, 0)
    ]
    assert len(asked) == len(existing_weeks()) + 1


def test_a_week_that_the_span_cuts_is_not_read_beyond_it(cast):
    for hours in range(-2, 3):
        store_one(cast.pv, SINCE + timedelta(hours=hours), now=NOW, power_w=-1.0)
    span = Span(SINCE - timedelta(hours=1), SINCE + timedelta(hours=2))
    instants = [at for piece in readings_table(cast.pv, span).pieces for at in piece[2]]
    assert instants == [SINCE + timedelta(hours=hours) for hours in range(-1, 2)]


@pytest.mark.parametrize("wanted", list(Format))
def test_readings_that_nobody_waits_for_any_more_are_not_looked_for(cast, wanted):
    cast.pool.systems.add(cast.hafenstrasse)
    store_one(cast.other_meter, SINCE, now=NOW, power_w=1.0)
    with CaptureQueriesContext(connection) as asked:
        counts = [len(asked) for _part in encoded(readings_table(cast.pool, CENTURY), wanted)]
    # One appliance after the other: what is told of the pool's systems, or of a system, is little.
    assert max(np.diff([0, *counts])) <= len(existing_weeks()) + 4
    assert counts[-1] >= 5 * len(existing_weeks())


# What files are ----------------------------------------------------------------------------------


def test_a_name_that_a_spreadsheet_would_compute_is_text(staff, site):
    System.objects.filter(pk=site.system.pk).update(name='=HYPERLINK("http://x"),"a\nb')
    asked = {"interval": ALL, "resolution": "1M"}
    path = f"systems/{site.system.pk}"
    content = export(staff, path, **asked)
    assert content.count(b"\r\n") == 3
    assert rows_of_csv(content)[0]["name"] == '\'=HYPERLINK("http://x"),"a\nb'
    book = openpyxl.load_workbook(io.BytesIO(export(staff, path, **asked, format="xlsx")))
    found = book.active["A2"]
    assert (found.value, found.data_type) == ('=HYPERLINK("http://x"),"a\nb', "s")


def test_a_file_has_a_name_and_a_type(staff, cast):
    for wanted, content_type in files.CONTENT_TYPES.items():
        answer = staff.get(
            f"/api/systems/{cast.lindenweg.pk}/export",
            {"interval": ALL, "resolution": "1M", "format": str(wanted)},
        )
        assert answer["Content-Type"] == content_type
        assert answer["Content-Disposition"] == (
            f'attachment; filename="gridx-lindenweg-12-2026-03-27-month.{wanted}"'
        )
        assert answer.getvalue()


def test_what_does_not_fit_is_422_naming_each_field(staff, cast):
    said = refused(
        staff,
        f"systems/{cast.lindenweg.pk}",
        interval="today",
        resolution="2h",
        format="xls",
    )
    assert {one.split(":")[0] for one in said} == {"interval", "resolution", "format"}
    assert "resolution: is one of raw, 15m, 1h, 1d, 1w, 1M, 1y" in said
    assert "format: is one of csv, parquet, xlsx" in said


def test_more_rows_than_a_sheet_has_are_refused(staff, cast, monkeypatch):
    for module in (files, api):
        monkeypatch.setattr(module, "XLSX_ROWS", 576)
    path = f"systems/{cast.lindenweg.pk}"
    asked = {"interval": ALL, "resolution": "15m", "format": "xlsx"}
    assert export(staff, path, **asked)
    longer = ALL.replace("2026-04-02T00:00", "2026-04-02T00:15")
    (said,) = refused(staff, path, **asked | {"interval": longer})
    assert said.startswith("format: xlsx holds at most 576 rows; take csv or parquet")
    assert export(staff, path, **asked | {"interval": longer, "format": "csv"})


def test_a_sheet_has_as_many_rows_as_the_format_allows():
    assert files.XLSX_ROWS + 1 == 2**20


def test_readings_are_counted_before_they_are_put_on_a_sheet(staff, cast, monkeypatch):
    for module in (files, api):
        monkeypatch.setattr(module, "XLSX_ROWS", 1)
    for minutes in (0, 1):
        store_one(cast.pv, SINCE + timedelta(minutes=minutes), power_w=-1.0)
    asked = {"interval": ALL, "resolution": "raw", "format": "xlsx"}
    (said,) = refused(staff, f"appliances/{cast.pv.pk}", **asked)
    assert said.startswith("format: xlsx holds at most 1 rows")


def test_readings_of_all_appliances_are_counted_together(staff, cast, monkeypatch):
    for module in (files, api):
        monkeypatch.setattr(module, "XLSX_ROWS", 1)
    asked = {"interval": ALL, "resolution": "raw", "format": "xlsx"}
    paths = (f"systems/{cast.lindenweg.pk}", f"systempools/{cast.pool.pk}")
    store_one(cast.pv, SINCE, power_w=-1.0)
    for path in paths:
        assert export(staff, path, **asked)
    store_one(cast.battery, SINCE, power_w=1.0)
    for path in paths:
        (said,) = refused(staff, path, **asked)
        assert said.startswith("format: xlsx holds at most 1 rows; take csv or parquet")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("wanted", list(Format))
async def test_an_asgi_server_sends_the_file_in_parts(wanted):
    cast = await sync_to_async(make_cast)()
    client = AsyncClient()
    await client.aforce_login(cast.mara)
    answer = await client.get(
        f"/api/systems/{cast.lindenweg.pk}/export?resolution=15m&format={wanted}"
        "&interval=2025-10-01T00:00:00Z/2026-04-01T00:00:00Z"
    )
    assert answer.is_async
    parts = [part async for part in answer.streaming_content]
    assert len(parts) > 1
    content = b"".join(parts)
    if wanted is Format.CSV:
        assert len(rows_of_csv(content)) == 182 * 96
    # The thread that read has a connection of its own, which would outlive the test.
    await sync_to_async(connections.close_all)()


def narrow(rows: int, *, at_once: int = 4_000) -> Table:
    """So many readings of one column."""
    piece = [[1.0] * at_once]
    columns = [Column("power_w", Kind.NUMBER)]
    return Table(columns, repeat(piece, rows // at_once), lambda most: rows)


def test_a_long_parquet_has_few_groups_of_rows_and_none_is_large():
    """What the end of the file tells of each is in memory until then, as the rows of one are."""
    groups = {}
    for rows in (200_000, 4_000_000):
        content = b"".join(encoded(narrow(rows), Format.PARQUET))
        about = pq.read_metadata(io.BytesIO(content))
        assert about.num_rows == rows
        groups[rows] = [about.row_group(at).num_rows for at in range(about.num_row_groups)]
    assert max(groups[200_000]) < 13_000
    assert max(groups[4_000_000]) < 140_000
    assert len(groups[4_000_000]) < 130


def test_a_sheet_that_nobody_waits_for_any_more_is_not_written_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    read = []

    def pieces():
        for piece in range(1_000):
            read.append(piece)
            yield [[float(piece)] * 10]

    table = Table([Column("power_w", Kind.NUMBER)], pieces(), lambda most: 10_000)
    parts = encoded(table, Format.XLSX)
    assert [next(parts), next(parts)] == [b"", b""]
    assert [*tmp_path.iterdir()]
    parts.close()
    assert (read, [*tmp_path.iterdir()]) == ([0, 1], [])


# Memory ------------------------------------------------------------------------------------------


def fill(systems: Iterable[System], since: datetime, days: int) -> None:
    """Slots of these systems that say something in every column."""
    with connection.cursor() as cursor:
        for system in systems:
            cursor.execute(
                f"""
                INSERT INTO measurements_systemslot
                    (system_key, start, {", ".join(SUMMED)}, seen_s, expected_s, flags)
                SELECT %s, start, {", ".join("1656 + n" for _ in SUMMED)}, 900, 900, 0
                FROM generate_series(0, %s) AS n,
                    LATERAL (SELECT %s::timestamptz + n * interval '15 minutes' AS start) AS slot
                """,
                [system.key, days * 96 - 1, since],
            )


def peaks(table, wanted: Format) -> tuple[int, int]:
    """How many bytes Python, and how many Arrow, had in memory at most."""
    pa.array([0.0])  # the first one imports pandas
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        assert sum(map(len, encoded(table, wanted))) > 0
        return tracemalloc.get_traced_memory()[1], pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


# Spreadsheets are slow to trace: four times as much tells as well that memory stays.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "most_days"), [(Format.CSV, 365), (Format.PARQUET, 365), (Format.XLSX, 124)]
)
def test_a_year_of_slots_takes_no_more_memory_than_a_month(cast, wanted, most_days):
    since = datetime(2025, 3, 1, tzinfo=UTC)
    cast.pool.systems.add(cast.hafenstrasse)
    fill([cast.lindenweg, cast.hafenstrasse], since, days=most_days)
    short, long = (
        peaks(
            history_table(
                cast.pool, Span(since, since + timedelta(days=days)), Resolution.QUARTER, now=NOW
            ),
            wanted,
        )
        for days in (31, most_days)
    )
    assert long[0] < short[0] + 3 * MB, (short, long)
    assert long[0] < 12 * MB
    # A month is less than a group of rows of Parquet, and a year more.
    assert long[1] < 40 * MB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "hours"),
    [(Format.CSV, (3, 12)), (Format.PARQUET, (6, 24)), (Format.XLSX, (2, 6))],
)
def test_days_of_seconds_take_no_more_memory_than_hours(cast, wanted, hours):
    seconds = 86_400
    cast.pool.systems.add(cast.hafenstrasse)
    for day, one in enumerate((cast.pv, cast.pv, cast.other_meter)):
        batch = Batch.of(
            system_key=one.system.key,
            appliance_key=one.key,
            at_ms=(SINCE + timedelta(days=day % 2)).timestamp() * 1000 + np.arange(seconds) * 1000,
            power_w=-np.arange(seconds) / 100,
        )
        store_readings(batch=batch, now=NOW, history=True)
    short, long = (
        peaks(readings_table(cast.pool, Span(SINCE, SINCE + timedelta(hours=some))), wanted)
        for some in hours
    )
    assert long[0] < short[0] + 2 * MB, (short, long)
    assert long[1] < short[1] + 2 * MB, (short, long)
    assert long[0] < 12 * MB
