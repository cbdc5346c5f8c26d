import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridx.services.leftovers import find_leftovers, stop_leftovers
from tests.gridx.services.conftest import gone, wait_until

START = Callable[..., subprocess.Popen]


@pytest.fixture
def start() -> Iterator[START]:
    started = []

    def start(directory: Path, *argv: str) -> subprocess.Popen:
        directory.mkdir(exist_ok=True)
        started.append(subprocess.Popen(argv, cwd=directory))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_process_of_the_program_in_the_directory_is_stopped(tmp_path, start):
    left = start(tmp_path / "own", "sleep", "600")

    stop_leftovers("sleep", tmp_path / "own", signal.SIGTERM)

    assert gone(left.pid)


def test_one_that_does_not_stop_is_killed(tmp_path, start):
    program = tmp_path / "deaf"
    shutil.copy("/bin/sh", program)
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"
    left = start(tmp_path / "own", str(program), "-c", script)
    wait_until(ready.exists)

    stop_leftovers("deaf", tmp_path / "own", signal.SIGTERM, within_s=0.3)

    assert gone(left.pid)


def test_strangers_are_left_alone(tmp_path, start):
    elsewhere = start(tmp_path / "elsewhere", "sleep", "600")
    other_program = start(tmp_path / "own", "tail", "-f", "/dev/null")

    stop_leftovers("sleep", tmp_path / "own", signal.SIGKILL)

    assert elsewhere.poll() is None
    assert other_program.poll() is None


def test_the_directory_itself_counts_and_not_its_name(tmp_path, start):
    own = tmp_path / "own"
    before = start(own, "sleep", "600")
    own.rename(tmp_path / "moved")
    own.mkdir()

    assert find_leftovers("sleep", own) == []
    assert [found.pid for found in find_leftovers("sleep", tmp_path / "moved")] == [before.pid]


def test_a_directory_that_is_not_there_has_no_leftovers(tmp_path):
    assert find_leftovers("sleep", tmp_path / "nothing") == []
