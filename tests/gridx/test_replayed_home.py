"""A recorded household replayed through the whole chain: simulator, MQTT, link, slots."""

import csv
import json
import lzma
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gridx import clock
from gridx.services.processes import Process, Supervisor
from inventory.kinds import ApplianceKind
from inventory.models import System
from inventory.operations import register_gateway
from measurements.models import Reading
from measurements.queries import history_of_system
from measurements.resolutions import Resolution, period_start
from measurements.slots import compute_until_clean
from tests.cast import Cast, make_cast

ROOT = Path(__file__).resolve().parents[2]
ZONE = ZoneInfo("Europe/London")
# The column of the lifetime counter, and our figure that it must agree with.
COUNTERS = {
    "total_pv_wh": "pv_mwh",
    "total_import_wh": "import_mwh",
    "total_export_wh": "export_mwh",
}
MAPPINGS = (
    "pv_w=pv:power_w:-1",
    "total_pv_wh=pv:exported_wh",
    "grid_w=grid:power_w",
    "total_import_wh=grid:imported_wh",
    "total_export_wh=grid:exported_wh",
    # Positive is discharging in this file; inside, positive flows into the appliance.
    "battery_w=battery:power_w:-1",
    "soc_pct=battery:soc:0.01",
)
KINDS = {
    "pv": ApplianceKind.PV_INVERTER,
    "grid": ApplianceKind.GRID_METER,
    "battery": ApplianceKind.BATTERY,
}

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def recording(recorded) -> Path:
    return recorded / "uk_home_givenergy" / "inverter_2025-06-01_06.csv.xz"


@pytest.fixture
def environment(child_environment) -> dict[str, str]:
    """That of processes which keep readings as old as the recording."""
    return child_environment | {"GRIDX_RAW_RETENTION_DAYS": "36500"}


def replay(recording: Path, serial: str, secret: str, environment: dict[str, str]) -> dict:
    """What the simulated gateway reports after the file was acknowledged."""
    command = [sys.executable, "manage.py", "simulate_gateways", "--serial", serial, "--once"]
    command += ["--profile", str(recording), "--time-column", "ts_utc", "--interval", "900"]
    command += [part for mapping in MAPPINGS for part in ("--map", mapping)]
    command += [part for k, v in KINDS.items() for part in ("--appliance", f"{k}:{v}")]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "GRIDX_GATEWAY_SECRET": secret},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def counters_at_midnights(recording: Path) -> dict[datetime, dict[str, float]]:
    """Each lifetime counter at the local midnights, interpolated, by the midnight in UTC."""
    with lzma.open(recording, "rt") as file:
        rows = [(datetime.fromisoformat(row["ts_utc"]), row) for row in csv.DictReader(file)]
    found = {}
    for (before, first), (after, second) in pairwise(rows):
        midnight = period_start(after, Resolution.DAY, ZONE)
        if before < midnight <= after:
            share = (midnight - before) / (after - before)
            found[midnight] = {
                name: float(first[name]) + share * (float(second[name]) - float(first[name]))
                for name in COUNTERS
            }
    return found


def stored_instants(system: System) -> int:
    return Reading.objects.filter(system_key=system.key).values("at").distinct().count()


def make_house(cast: Cast) -> tuple[System, str]:
    system = System.objects.create(account=cast.meyers, name="Terrace", time_zone=ZONE.key)
    _gateway, secret = register_gateway(
        system=system, serial="GX-LONDON", by=cast.admin, now=clock.now()
    )
    return system, secret


def test_a_recorded_week_arrives_whole_and_its_days_equal_the_counters(
    recording, environment, tmp_path
):
    system, secret = make_house(make_cast())
    link = Process(
        name="link",
        argv=[sys.executable, "manage.py", "run_link"],
        env=environment,
        cwd=ROOT,
    )
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(link)
        report = replay(recording, "GX-LONDON", secret, environment)
        assert report["rows"] == 4_927
        # What was acknowledged is in the log; the link may still be taking it out.
        deadline = time.monotonic() + 30
        while stored_instants(system) < 4_919 and time.monotonic() < deadline:
            time.sleep(0.2)
    assert stored_instants(system) == 4_919

    compute_until_clean(now=clock.now())
    midnights = counters_at_midnights(recording)
    for day, until in pairwise(sorted(midnights)):
        history = history_of_system(
            system=system,
            from_at=day,
            until_at=until - timedelta(hours=1),
            resolution=Resolution.DAY,
        )
        [period] = history.periods
        assert period.start.astimezone(UTC) == day
        for counter, figure in COUNTERS.items():
            expected_wh = midnights[until][counter] - midnights[day][counter]
            assert period.figures[figure] / 1000 == pytest.approx(expected_wh, abs=100)
