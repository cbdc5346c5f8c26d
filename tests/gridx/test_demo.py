"""The demo, as somebody starts it: one command up, Ctrl-C down."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from django.core.management import CommandError, call_command

from gridx.demo.world import PASSWORD, PEOPLE, SITES
from gridx.services.addresses import addresses
from gridx.services.leftovers import await_end
from tests.gridx.services.conftest import wait_until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_demo(directory: Path) -> tuple[subprocess.Popen, str, str]:
    """The demo's process, its address, and what it printed until it served."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port", str(port), "--history", "3"],
        cwd=ROOT,
        env={**os.environ, "GRIDX_DATA_DIR": str(directory)},
        stdout=subprocess.PIPE,
        text=True,
    )
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "Ctrl-C" in line:
            return process, f"http://127.0.0.1:{port}", "".join(printed)
    raise AssertionError("the demo ended: " + "".join(printed))


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def stop_demo(process: subprocess.Popen, number: signal.Signals) -> float:
    """How many seconds it took; fails where a process is left."""
    children = descendants(process)
    began = time.monotonic()
    process.send_signal(number)
    process.wait(timeout=15)
    took = time.monotonic() - began
    assert not (left := await_end(children, within_s=1)), left
    return took


def sign_in(url: str, email: str) -> httpx.Client:
    client = httpx.Client(base_url=url, follow_redirects=True, timeout=20)
    form = client.get("/sign-in").text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form).group(1)
    page = client.post(
        "/sign-in",
        data={"username": email, "password": PASSWORD, "csrfmiddlewaretoken": token},
        headers={"Referer": url},
    )
    assert page.status_code == 200
    assert "/sign-in" not in str(page.url)
    return client


def live(client: httpx.Client) -> dict:
    [system] = client.get("/api/systems").json()
    return client.get(f"/api/systems/{system['id']}/live").json()


def beats(process: subprocess.Popen) -> list[psutil.Process]:
    """The workers' clock; nothing while it is away."""
    found = []
    for one in descendants(process):
        with suppress(psutil.NoSuchProcess):
            if {"celery", "beat"} <= set(one.cmdline()):
                found.append(one)
    return found


def check_that_a_killed_clock_leaves_nothing_to_be_computed(
    process: subprocess.Popen, directory: Path
) -> None:
    at = addresses({**os.environ, "GRIDX_DATA_DIR": str(directory)})

    def is_computed(until: datetime) -> bool:
        with psycopg.connect(at.database_url) as database:
            query = "SELECT NOT EXISTS (SELECT FROM measurements_dirtyslot WHERE marked_at < %s)"
            return database.execute(query, [until]).fetchone()[0]

    [beat] = beats(process)
    beat.kill()
    # What it asked for before may still be done: what is marked some seconds later counts.
    until = datetime.now(UTC) + timedelta(seconds=5)
    wait_until(lambda: [one for one in beats(process) if one.pid != beat.pid], within_s=30)
    wait_until(lambda: datetime.now(UTC) > until and is_computed(until), within_s=60)


def test_the_demo_starts_fills_serves_and_stops_and_goes_on_where_it_was(tmp_path):
    process, url, printed = start_demo(tmp_path / "data")
    try:
        for person in PEOPLE:
            assert person.email in printed
            sign_in(url, person.email).close()
        resident = sign_in(url, "resident@gridx.example")
        before = live(resident)
        assert before["measuredAt"]
        deadline = time.monotonic() + 30
        while live(resident)["measuredAt"] == before["measuredAt"]:
            assert time.monotonic() < deadline, "the gateways send nothing new"
            time.sleep(0.5)
        admin = sign_in(url, "admin@gridx.example")
        assert len(admin.get("/api/systems").json()) == len(SITES)
    finally:
        assert stop_demo(process, signal.SIGINT) < 10

    process, url, printed = start_demo(tmp_path / "data")
    try:
        assert "Making" not in printed
        assert live(sign_in(url, "resident@gridx.example"))["measuredAt"] > before["measuredAt"]
        check_that_a_killed_clock_leaves_nothing_to_be_computed(process, tmp_path / "data")
    finally:
        assert stop_demo(process, signal.SIGTERM) < 10


def said(directory: Path, port: int) -> str:
    """What a demo that does not start says."""
    result = subprocess.run(
        [sys.executable, "manage.py", "demo", "--port", str(port), "--history", "1"],
        cwd=ROOT,
        env={**os.environ, "GRIDX_DATA_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    return result.stderr


def test_a_port_of_somebody_else_is_refused_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"Port {port} cannot be had" in said(tmp_path / "data", port)


@pytest.mark.parametrize("port", [-1, 0, 65_536, 99_999])
def test_a_port_that_there_is_not_is_refused_before_anything_starts(tmp_path, monkeypatch, port):
    monkeypatch.setenv("GRIDX_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(CommandError, match=f"no port {port}"):
        call_command("demo", port=port)
    assert not (tmp_path / "data").exists()


def test_a_second_demo_of_the_same_data_is_refused(tmp_path):
    lock = tmp_path / "data" / "demo" / "lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "runs already" in said(tmp_path / "data", free_port())
