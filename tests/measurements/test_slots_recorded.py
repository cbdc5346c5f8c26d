"""Recorded data of real households: from the file through the workers to what is shown."""

import csv
import lzma
from collections import defaultdict
from datetime import UTC, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command

from accounts.models import Account
from inventory.models import System
from measurements import charts
from measurements.flags import Flag
from measurements.queries import History, history_of_system, judged_history_of_system
from measurements.resolutions import Resolution, Span
from measurements.slots import compute_until_clean

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def load(recorded):
    """Imports a recorded file into a new system and computes its slots."""

    def load(path: str, zone: str, *options: str) -> System:
        account = Account.objects.create(name="Recorded")
        system = System.objects.create(account=account, name="Home", time_zone=zone)
        system.refresh_from_db(fields=["key"])
        call_command(
            "import_readings",
            str(recorded / path),
            "--system",
            str(system.pk),
            "--time-column=ts_utc",
            *options,
            verbosity=0,
        )
        compute_until_clean(now=NOW)
        return system

    return load


def rows_of(path) -> list[dict[str, str]]:
    with lzma.open(path, "rt", newline="") as lines:
        return list(csv.DictReader(lines))


def history(
    system: System, first: str, end: str, resolution: Resolution, read=history_of_system, **more
) -> History:
    bounds = [datetime.fromisoformat(day).replace(tzinfo=system.zone) for day in (first, end)]
    return read(system=system, from_at=bounds[0], until_at=bounds[1], resolution=resolution, **more)


def shares(system: System, first: str, end: str, resolution: Resolution) -> dict[str, float]:
    """How well the spans were seen, in per cent of the time."""
    past = history(system, first, end, resolution, judged_history_of_system, now=NOW)
    spans = [Span(period.start, period.until) for period in past.periods]
    figures = [period.figures and SimpleNamespace(**period.figures) for period in past.periods]
    found = charts.quality(spans, figures, now=NOW).shares
    return {state: round(100 * share, 2) for state, share in found.items()}


def test_a_german_year(load, recorded):
    path = "de_home_solaredge/house_15min_2018.csv.xz"
    system = load(
        path,
        "Europe/Berlin",
        "--interval=15m",
        "--create=Meter:grid_meter",
        "--create=Roof:pv_inverter",
        "--map=import_w=Meter:imported_w",
        "--map=export_w=Meter:exported_w",
        "--map=pv_w=Roof:exported_w",
    )
    year = history(system, "2018-01-01", "2019-01-01", Resolution.YEAR)
    (whole,) = year.periods
    assert whole.figures == year.total
    for name, kwh in (("pv", 7516), ("import", 2123.5), ("export", 5491.9)):
        assert year.total[f"{name}_mwh"] / 1e6 == pytest.approx(kwh, rel=1e-4)
    assert year.total["consumption_mwh"] / 1e6 == pytest.approx(4147.9, rel=1e-3)
    assert year.total["flags"] == 0

    by_month: dict[tuple[str, int], float] = defaultdict(float)
    for row in rows_of(recorded / path):
        at = datetime.fromisoformat(row["ts_utc"]).astimezone(ZoneInfo("Europe/Berlin"))
        for name in ("import", "export", "pv", "load"):
            by_month[name, at.month] += float(row[f"{name}_w"]) / 4
    months = history(system, "2018-01-01", "2019-01-01", Resolution.MONTH).periods
    assert [month.figures is None for month in months] == [True, *[False] * 11]
    for number, month in enumerate(months[1:], 2):
        for name, figure in (("import", "import"), ("export", "export"), ("pv", "pv")):
            expected = by_month[name, number]
            assert month.figures[f"{figure}_mwh"] / 1000 == pytest.approx(expected, abs=2)
        expected = by_month["load", number]
        assert month.figures["consumption_mwh"] / 1000 == pytest.approx(expected, rel=1e-3)
    for resolution in (Resolution.DAY, Resolution.WEEK, Resolution.MONTH):
        finer = history(system, "2018-01-01", "2019-01-01", resolution)
        for name in ("pv_mwh", "import_mwh", "export_mwh", "consumption_mwh", "residual_mwh"):
            assert finer.total[name] == year.total[name]
    quarters = history(system, "2018-10-28", "2018-10-29", Resolution.QUARTER)
    hours = history(system, "2018-10-28", "2018-10-29", Resolution.HOUR)
    (day,) = history(system, "2018-10-28", "2018-10-29", Resolution.DAY).periods
    assert (len(quarters.periods), len(hours.periods)) == (100, 25)
    assert quarters.total == hours.total == day.figures
    # The hour that the file lost is missing, not estimated.
    assert [period.figures is None for period in hours.periods].count(True) == 1
    # So is all before the first reading, in the afternoon of 17 February, at every zoom.
    measured = round(100 * 30463 / 35040, 2)
    for resolution in (Resolution.DAY, Resolution.MONTH, Resolution.YEAR):
        assert shares(system, "2018-01-01", "2019-01-01", resolution)["seen"] == measured
    for resolution in (Resolution.QUARTER, Resolution.DAY):
        february = shares(system, "2018-02-01", "2018-03-01", resolution)
        assert february == {"seen": 40.59, "missing": 59.41}
        week = shares(system, "2018-02-12", "2018-02-19", resolution)
        assert week == {"seen": 19.49, "missing": 80.51}


def test_a_dutch_month_of_two_tariffs_and_a_night_without_readings(load, recorded):
    path = "nl_home_p1mon/p1_1min_2024-02.csv.xz"
    system = load(
        path,
        "Europe/Amsterdam",
        "--create=Meter:grid_meter",
        *(
            f"--map={direction}_t{tariff}_wh=Meter:{direction}ed_wh"
            for direction in ("import", "export")
            for tariff in (1, 2)
        ),
    )
    month = history(system, "2024-02-01", "2024-03-04", Resolution.DAY)
    rows = rows_of(recorded / path)
    for direction in ("import", "export"):
        names = [f"{direction}_t{tariff}_wh" for tariff in (1, 2)]
        first, last = (sum(float(row[name]) for name in names) for row in (rows[0], rows[-1]))
        assert month.total[f"{direction}_mwh"] / 1000 == pytest.approx(last - first, abs=1)
        assert month.total[f"{direction}ed_wh"] == last
    # Nothing is known of the eleven hours before the first reading: they are no estimate.
    for resolution in (Resolution.QUARTER, Resolution.DAY, Resolution.MONTH):
        february = shares(system, "2024-02-01", "2024-03-01", resolution)
        assert february == pytest.approx(
            {"seen": 96.81, "estimated": 1.6, "missing": 1.58}, abs=0.011
        )
    # The night from 24 to 25 February is in the days' sums, estimated, and was not seen.
    quarters = history(system, "2024-02-24", "2024-02-26", Resolution.QUARTER).periods
    estimated = [quarter.figures for quarter in quarters if quarter.figures["flags"]]
    assert len(estimated) == 45
    assert {figures["flags"] for figures in estimated} == {Flag.ESTIMATED}
    assert sum(figures["seen_s"] for figures in estimated) < 900
    assert all(figures["import_mwh"] is not None for figures in estimated)
    for resolution in Resolution:
        assert history(system, "2024-02-05", "2024-02-12", resolution).total is not None
    week = history(system, "2024-02-05", "2024-02-12", Resolution.WEEK).total
    for resolution in (Resolution.QUARTER, Resolution.HOUR, Resolution.DAY):
        assert history(system, "2024-02-05", "2024-02-12", resolution).total == week


def of_tariffs(quantity: str) -> list[str]:
    """Maps two tariffs of each direction to a counter or an energy of it."""
    return [
        f"--map={direction}_t{tariff}_wh=Meter:{quantity.format(direction)}"
        for direction in ("import", "export")
        for tariff in (1, 2)
    ]


GRID, ROOF = "--create=Meter:grid_meter", "--create=Roof:pv_inverter"
HOUSE, BATTERY = "--create=House:household_meter", "--create=Battery:battery"
ENERGIES = [f"--map={way}_wh=Meter:{way}_energy_wh" for way in ("import", "export")]


@pytest.mark.parametrize(
    ("path", "zone", "options", "kwh"),
    [
        # 343 hours are missing: the counters tell what went through meanwhile.
        (
            "nl_home_p1mon/p1_hourly_2021-03_2022-06.csv.xz",
            "Europe/Amsterdam",
            [GRID, *of_tariffs("{}ed_wh")],
            {"import": 5_854.477, "export": 4_560.292},
        ),
        # Its exporter counted the night hour of 27 October twice: right were 749 Wh less, which
        # nothing in the file tells. They are of two hours, and both are kept.
        (
            "nl_home_zonneplan_epex/house_hourly_2024.csv.xz",
            "Europe/Amsterdam",
            ["--interval=1h", GRID, *ENERGIES],
            {"import": 5_201.686, "export": 2_239.591},
        ),
        # Power adds up to 178.6 kWh of sun, over a hole of seven hours; the lifetime counter, which
        # went on meanwhile, to 171.9. Those of the day fall to 0 each night and are left out.
        (
            "uk_home_givenergy/inverter_2025-06-01_06.csv.xz",
            "Europe/London",
            [
                *(GRID, ROOF, BATTERY),
                "--map=grid_w=Meter:power_w",
                "--map=total_import_wh=Meter:imported_wh",
                "--map=total_export_wh=Meter:exported_wh",
                "--map=pv_w=Roof:power_w:-1",
                "--map=total_pv_wh=Roof:exported_wh",
                "--map=battery_w=Battery:power_w:-1",
                "--map=soc_pct=Battery:soc:0.01",
            ],
            {"pv": 171.9, "import": 0.7, "export": 108.5},
        ),
        # Without a word from the inverter at night, nothing is known of the night: not even 0.
        (
            "fr_home_emhass/house_30min_2024-02_2025-02.csv.xz",
            "Europe/Paris",
            [
                *("--interval=30m", HOUSE, ROOF),
                "--map=load_w=House:imported_w",
                "--map=pv_w=Roof:exported_w",
            ],
            {"pv": 5_203.468, "consumption": 7_674.271},
        ),
        # States of a power, whenever it changed.
        (
            "fr_home_emhass/ha_history_events_2022-10-19.csv.xz",
            "Europe/Paris",
            [HOUSE, "--map=load_w=House:power_w"],
            {"consumption": 16.229},
        ),
        # The first quarter says “No consumption”: it is missing.
        (
            "be_home_fluvius/house_15min_2023-10_2023-12.csv.xz",
            "Europe/Brussels",
            ["--interval=15m", GRID, *ENERGIES],
            {"import": 1_462.321, "export": 124.93},
        ),
        # The counter falls by 6 Wh once, and stands until that is passed again.
        (
            "eu_meter_exports/nl_ha_counter_import_t1_2025.csv.xz",
            "Europe/Amsterdam",
            [GRID, "--map=import_wh=Meter:imported_wh"],
            {"import": 3_310.383},
        ),
        # Its last day is of single minutes, not of ten.
        *(
            (
                f"eu_meter_exports/shelly_em3_phase{phase}_10min_2024-2025.csv.xz",
                "Europe/Amsterdam",
                ["--interval=10m", GRID, *ENERGIES],
                {"import": imported, "export": 0},
            )
            for phase, imported in (("a", 1_770.332), ("b", 1_510.347), ("c", 2_107.1))
        ),
        # Of 277 quarters the utility says that it estimated them; it has no other figure.
        (
            "eu_meter_exports/pt_eredes_load_15min_2024-09_2025-09.csv.xz",
            "Europe/Lisbon",
            ["--interval=15m", HOUSE, "--map=load_w=House:imported_w"],
            {"consumption": 12_632.109},
        ),
        # 30 hours are missing, and energies of intervals tell nothing of them.
        (
            "eu_meter_exports/nl_dsmrreader_house_hourly_2024.csv.xz",
            "Europe/Amsterdam",
            ["--interval=1h", GRID, *of_tariffs("{}_energy_wh")],
            {"import": 3_743.131, "export": 2_128.383},
        ),
        # No power at night; the lifetime counter stands.
        (
            "eu_meter_exports/sma_pv_5min_2025-07.csv.xz",
            "Europe/Amsterdam",
            [ROOF, "--map=pv_total_wh=Roof:exported_wh", "--map=pv_w=Roof:power_w:-1"],
            {"pv": 600.502},
        ),
        (
            "eu_meter_exports/solaredge_pv_hourly_2024-06_2025-06.csv.xz",
            "Europe/Berlin",
            ["--interval=1h", ROOF, "--map=pv_wh=Roof:export_energy_wh"],
            {"pv": 9_849.051},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and ".csv" in value else "",
)
def test_every_recorded_meter_comes_to_its_documented_total(load, path, zone, options, kwh):
    system = load(path, zone, *options)
    for resolution in (Resolution.YEAR, Resolution.DAY):
        total = history(system, "2021-01-01", "2026-01-01", resolution).total
        found = {name: total[f"{name}_mwh"] / 1e6 for name in kwh}
        assert found == pytest.approx(kwh, rel=1e-5, abs=1e-3)
