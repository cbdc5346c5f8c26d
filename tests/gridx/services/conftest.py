import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gridx.services.addresses import PROJECT_ROOT
from gridx.services.leftovers import find_leftovers, stop_leftovers

VARIABLES = (
    "DATABASE_URL",
    "VALKEY_URL",
    "NATS_URL",
    "NATS_SYSTEM_URL",
    "MQTT_URL",
    "NATS_ISSUER_SEED",
    "GRIDX_SECRET_KEY",
    "GRIDX_NATS_SYNC",
)


def postgres_home(directory: Path) -> Path:
    note = directory / "postgres.location"
    return Path(note.read_text()) if note.exists() else directory / "postgres"


def servers(directory: Path) -> dict[str, list[psutil.Process]]:
    """The processes of this data directory, found without the supervisor's help."""
    return {
        "postgres": find_leftovers("postgres", postgres_home(directory) / "data"),
        "valkey": find_leftovers("valkey-server", directory / "valkey"),
        "nats": find_leftovers("nats-server", directory / "nats"),
    }


def main_process(directory: Path, name: str) -> psutil.Process:
    """The server itself, not one of the processes that it has started."""
    found = servers(directory)[name]
    for process in found:
        # Those that a server starts come and go meanwhile.
        with suppress(psutil.NoSuchProcess):
            if process.parent() not in found:
                return process
    raise AssertionError(f"there is no {name}")


def wait_until(condition: Callable[[], object], *, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def none_left(directory: Path) -> bool:
    return not any(servers(directory).values())


def remove(directory: Path) -> None:
    home = postgres_home(directory)
    for program, place in (
        ("postgres", home / "data"),
        ("valkey-server", directory / "valkey"),
        ("nats-server", directory / "nats"),
    ):
        stop_leftovers(program, place, signal.SIGINT)
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(directory)


@pytest.fixture
def make_data_directory() -> Iterator[Callable[..., Path]]:
    """Makes data directories that PostgreSQL's user can reach (pytest's own are closed).

    With `parent` they lie there instead.
    """
    made = []

    def make(parent: Path | None = None) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="gridx-test-", dir=parent))
        directory.chmod(0o711)
        made.append(directory)
        return directory

    yield make
    for directory in made:
        remove(directory)


@pytest.fixture
def data_directory(
    make_data_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty data directory that this test's services use."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    directory = make_data_directory()
    monkeypatch.setenv("GRIDX_DATA_DIR", str(directory))
    return directory


class Supervisor:
    """`manage.py run_services` in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = ""
        self.popen = subprocess.Popen(
            [sys.executable, str(PROJECT_ROOT / "manage.py"), "run_services"],
            env={**os.environ, "GRIDX_DATA_DIR": str(directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in self.popen.stdout:
            self.output += line
            if "Ctrl-C" in line:
                return
        raise AssertionError(self.output)

    def end(self, number: signal.Signals) -> int:
        self.popen.send_signal(number)
        code = self.popen.wait(20)
        self.output += self.popen.stdout.read()
        self.popen.stdout.close()
        return code


@pytest.fixture
def supervise(data_directory: Path) -> Iterator[Callable[[], Supervisor]]:
    started = []

    def start() -> Supervisor:
        started.append(Supervisor(data_directory))
        return started[-1]

    yield start
    for supervisor in started:
        if supervisor.popen.poll() is None:
            supervisor.end(signal.SIGTERM)


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Runs code in an interpreter of its own and returns what it prints."""

    def run(code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return run
