import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gridx.services.addresses import PROJECT_ROOT
from gridx.services.processes import (
    LOG_BYTES,
    NotReady,
    Process,
    Supervisor,
    UnableToStart,
    interruptible,
)
from tests.gridx.services.conftest import gone, wait_until


def shell(name: str, script: str, **options: object) -> Process:
    return Process(name=name, argv=["/bin/sh", "-c", script], **options)


def sleeper(name: str, **options: object) -> Process:
    return Process(name=name, argv=["sleep", "600"], **options)


def file_is_there(file: Path) -> Callable[[], None]:
    def check() -> None:
        if not file.exists():
            raise NotReady(f"{file.name} is missing")

    return check


def test_start_returns_when_every_process_is_ready(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(
            shell("one", f"sleep 0.3; touch {one}; exec sleep 600", ready=file_is_there(one)),
            shell("other", f"touch {other}; exec sleep 600", ready=file_is_there(other)),
        )

        assert one.exists()
        assert other.exists()
        assert set(supervisor.pids()) == {"one", "other"}


def test_stages_stop_in_reverse_order(tmp_path):
    record = tmp_path / "record"
    script = "trap 'echo {0} >> {1}; exit' TERM; touch {2}; while :; do sleep 0.05; done"
    with Supervisor(tmp_path / "logs") as supervisor:
        for name in ("database", "worker", "web"):
            ready = tmp_path / f"{name}.ready"
            supervisor.start(
                shell(name, script.format(name, record, ready), ready=file_is_there(ready))
            )

    assert record.read_text().split() == ["web", "worker", "database"]


def test_a_process_that_crashes_is_restarted_and_the_log_says_so(tmp_path, caplog):
    with Supervisor(tmp_path / "logs") as supervisor, caplog.at_level(logging.ERROR):
        supervisor.start(sleeper("worker"))
        first = supervisor.pids()["worker"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.pids().get("worker", first) != first)

    assert "worker ended (killed by SIGKILL), restarting" in caplog.text


def test_the_pause_grows_while_a_process_keeps_crashing(tmp_path, caplog):
    with Supervisor(tmp_path / "logs") as supervisor, caplog.at_level(logging.ERROR):
        supervisor.start(shell("worker", "exit 3"))
        wait_until(lambda: len(caplog.records) >= 3)

    pauses = [message.split(" in ")[1].split(" s.")[0] for message in caplog.messages[:3]]
    assert pauses == ["0.2", "0.4", "0.8"]


def test_preparation_runs_before_every_start(tmp_path):
    prepared = []
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(sleeper("worker", prepare=lambda: prepared.append(1)))
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)
        wait_until(lambda: len(prepared) == 2)


def test_a_preparation_that_fails_is_the_reason_of_the_failed_start(tmp_path):
    def prepare() -> None:
        raise PermissionError("no way in")

    with Supervisor(tmp_path) as supervisor, pytest.raises(PermissionError, match="no way in"):
        supervisor.start(sleeper("worker", prepare=prepare))


def test_wait_returns_a_process_that_ended_and_is_not_to_be_restarted(tmp_path):
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(sleeper("web"), shell("once", "sleep 0.2", restart=False))

        assert supervisor.wait().name == "once"
        assert set(supervisor.pids()) == {"web"}


def test_a_process_that_never_becomes_ready_is_reported_with_its_log(tmp_path):
    check = file_is_there(tmp_path / "nothing")
    with Supervisor(tmp_path / "logs") as supervisor, pytest.raises(UnableToStart) as caught:
        supervisor.start(
            shell("worker", "echo hm; exec sleep 600", ready=check, ready_within_s=0.3)
        )

    assert "worker: not ready within 0 s: nothing is missing" in str(caught.value)
    assert str(caught.value).endswith("hm")


def test_a_process_that_ends_at_every_start_is_reported_with_its_log(tmp_path):
    check = file_is_there(tmp_path / "nothing")
    with Supervisor(tmp_path / "logs") as supervisor, pytest.raises(UnableToStart) as caught:
        supervisor.start(shell("worker", "echo broken >&2; exit 7", ready=check))

    assert "worker: exit code 7" in str(caught.value)
    assert str(caught.value).endswith("broken")


def test_a_program_that_does_not_exist_is_reported(tmp_path):
    process = Process(name="worker", argv=["/no/such/program"], ready=file_is_there(tmp_path / "x"))
    with Supervisor(tmp_path / "logs") as supervisor, pytest.raises(UnableToStart) as caught:
        supervisor.start(process)

    assert str(caught.value).endswith("/no/such/program: No such file or directory")


def test_a_process_that_does_not_stop_is_killed_with_all_its_descendants(tmp_path):
    pids = tmp_path / "pids"
    # A child in its own session, which a signal to the process group does not reach.
    script = f"trap '' TERM; sleep 600 & setsid sleep 601 & echo $! $$ > {pids}; wait; sleep 600"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(shell("stubborn", script, ready=file_is_there(pids), stop_within_s=0.3))
        wait_until(lambda: len(pids.read_text().split()) == 2)
        main = psutil.Process(supervisor.pids()["stubborn"])
        wait_until(lambda: len(main.children(recursive=True)) == 2)
        family = [main, *main.children(recursive=True)]

    assert all(gone(process.pid) for process in family)


def test_descendants_left_by_a_process_that_stops_are_killed(tmp_path):
    ready = tmp_path / "ready"
    script = f"setsid sleep 600 & touch {ready}; trap 'exit 0' TERM; while :; do sleep 0.05; done"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(shell("careless", script, ready=file_is_there(ready)))
        main = psutil.Process(supervisor.pids()["careless"])
        family = main.children(recursive=True)
        assert family

    assert all(gone(process.pid) for process in family)


def test_stop_signal_and_environment_are_those_of_the_process(tmp_path):
    word = tmp_path / "word"
    script = f"trap 'echo $WORD > {word}; exit' INT; while :; do sleep 0.05; done"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(
            shell(
                "worker",
                script,
                env={"PATH": os.defpath, "WORD": "bye"},
                stop_signal=signal.SIGINT,
                # The trap is set when the shell shows up under its own name.
                ready=lambda: time.sleep(0.3),
            )
        )

    assert word.read_text() == "bye\n"


def test_children_do_not_inherit_ignored_signals(tmp_path):
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(
                Process(name="child", argv=[sys.executable, "-c", code], restart=False)
            )
            supervisor.wait()
    finally:
        signal.signal(signal.SIGINT, before)

    assert (tmp_path / "child.log").read_text() == "True\n"


def test_a_large_log_is_put_aside(tmp_path):
    log = tmp_path / "once.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(shell("once", "echo new", restart=False))
        supervisor.wait()

    assert log.read_text() == "new\n"
    assert (tmp_path / "once.log.1").stat().st_size == LOG_BYTES + 1


def test_a_small_log_goes_on(tmp_path):
    for _ in range(2):
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(shell("once", "echo line", restart=False))
            supervisor.wait()

    assert (tmp_path / "once.log").read_text() == "line\nline\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_children_end_with_a_killed_supervisor(tmp_path):
    code = (
        "import pathlib, signal, sys\n"
        "from gridx.services.processes import Process, Supervisor\n"
        "supervisor = Supervisor(pathlib.Path(sys.argv[1]))\n"
        "supervisor.start(Process(name='child', argv=['sleep', '600']))\n"
        "print(supervisor.pids()['child'], flush=True)\n"
        "signal.pause()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    assert not gone(child)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    wait_until(lambda: gone(child))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_interrupts_and_the_second_does_not_break_off_the_stopping(number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stopped = []

    def work() -> None:
        with interruptible():
            try:
                os.kill(os.getpid(), number)
                threading.Event().wait(10)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)
                stopped.append("all")

    with pytest.raises(KeyboardInterrupt):
        work()

    assert stopped == ["all"]
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
