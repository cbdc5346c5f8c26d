"""Points of storing and of computing at which something is killed, and processes that get there.

The processes are the real ones: `manage.py run_link`, and a worker of Celery. They are forked from
one that has loaded the program already, so that killing many of them takes little time.
"""

import functools
import importlib
import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from gridx.services.addresses import PROJECT_ROOT
from tests.gridx.gateways.installation import Installation
from tests.gridx.services.conftest import gone, servers, wait_until

ITSELF = "itself"
# A message comes again so soon after its link was killed; in earnest it is 15 s.
ACK_WAIT_S = 1.0


@dataclass(frozen=True)
class Point:
    """A call, as `module:name`: it is over, or (`before`) about to begin, for the `nth` time."""

    call: str
    nth: int = 1
    before: bool = False


LINK = {
    "a message has come": Point("gridx.gateways.link:store_arrivals", before=True),
    "it is validated": Point("measurements.ingest:judge"),
    "its readings are staged": Point("measurements.staging:StagingTable.copy"),
    "they are stored and their slots marked": Point("measurements.ingest:_store"),
    "the gateway's contact is noted": Point("gridx.gateways.readings:record_contacts"),
    "the latest ones are kept": Point("gridx.gateways.readings:keep_latest"),
    "all is done but the commit": Point("gridx.gateways.readings:_Intake.store"),
    "it is committed": Point("gridx.gateways.link:store_arrivals"),
    "a part is acknowledged": Point("nats.aio.msg:Msg.ack"),
    "all is acknowledged": Point("gridx.gateways.link:Link._tell", before=True),
    "it is announced": Point("gridx.gateways.link:announce"),
}
# Weeks and years are sums that are made when somebody looks.
WORKER = {
    "a worker is told": Point("measurements.slots:compute_dirty", before=True),
    "slots are claimed": Point("measurements.slots.compute:claim_slots"),
    "they are computed": Point("measurements.slots.appliances:_write", before=True),
    "they are stored": Point("measurements.slots.compute:compute_appliances"),
    "they are carried to appliances' hours": Point("measurements.slots.compute:roll_up"),
    "they are carried to appliances' days": Point("measurements.slots.compute:roll_up", nth=2),
    "systems' slots are stored": Point("measurements.slots.compute:compute_systems"),
    "they are carried to systems' hours": Point("measurements.slots.compute:roll_up", nth=3),
    "they are carried to systems' days": Point("measurements.slots.compute:roll_up", nth=4),
    "all is done but the commit": Point("measurements.slots.compute:roll_up", nth=5),
    "it is committed": Point("measurements.slots:compute_dirty"),
}
POINTS = {"link": LINK, "worker": WORKER}

# What is killed where: (name of the point, name of the victim).
Plan = Sequence[tuple[str, str]]


class Forge:
    """Makes processes of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._directory = installation.directory
        self._numbers = itertools.count()
        with (self._directory / "forged.log").open("a") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", __name__],
                env=installation.environ | {"OPENBLAS_NUM_THREADS": "1"},
                cwd=PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> "Forge":
        return self

    def __exit__(self, *exception: object) -> None:
        self._popen.stdin.close()  # with it end all that it has made
        self._popen.wait(10)
        self._popen.stdout.close()

    def start(self, role: str, plan: Plan = ()) -> int:
        """A link or a worker that kills according to plan; returns its process id."""
        return self._order({"role": role, "plan": list(plan)})

    def call(self, function: Callable, **arguments):
        """What a function of a module returns that is called in a process with Django."""
        answer = self._directory / f"answer-{next(self._numbers)}.json"
        name = f"{function.__module__}:{function.__name__}"
        pid = self._order({"call": name, "arguments": arguments, "answer": str(answer)})
        wait_until(lambda: gone(pid), within_s=60)
        assert answer.exists(), self.log()
        return json.loads(answer.read_text())

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: gone(pid))

    def allow(self, role: str) -> None:
        """Let processes of this role go on in their plan by one victim."""
        with (self._directory / f"allowed-{role}").open("a") as file:
            file.write(".")

    def struck(self, role: str) -> int:
        """How often processes of this role have killed something."""
        return _count(self._directory / f"struck-{role}")

    def log(self) -> str:
        return (self._directory / "forged.log").read_text()[-8000:]

    def _order(self, order: dict) -> int:
        print(json.dumps(order), file=self._popen.stdin, flush=True)
        return int(self._popen.stdout.readline())


def _count(file: Path) -> int:
    return len(file.read_text()) if file.exists() else 0


def _arm(role: str, plan: Plan, directory: Path) -> None:
    """Kill the next victim of the plan when its point is reached and it is allowed."""
    left = list(plan)
    struck, allowed = directory / f"struck-{role}", directory / f"allowed-{role}"

    def reached(name: str) -> None:
        if not left or left[0][0] != name:
            return
        if _count(struck) >= _count(allowed):
            return
        _name, victim = left.pop(0)
        with struck.open("a") as file:
            file.write(".")
        if victim == ITSELF:
            os.kill(os.getpid(), signal.SIGKILL)
        _kill_server(directory, victim)

    for name in dict.fromkeys(name for name, _victim in plan):
        _watch(POINTS[role][name], functools.partial(reached, name))


def _kill_server(directory: Path, name: str) -> None:
    """All of its processes: what they were doing stays undone."""
    for process in servers(directory)[name]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _watch(point: Point, reached: Callable[[], None]) -> None:
    module, _colon, path = point.call.partition(":")
    *holders, name = path.split(".")
    holder = functools.reduce(getattr, holders, importlib.import_module(module))
    real = getattr(holder, name)
    calls = itertools.count(1)

    def note() -> None:
        if next(calls) >= point.nth:
            reached()

    @functools.wraps(real)
    def watched(*arguments, **others):
        if point.before:
            note()
        result = real(*arguments, **others)
        if not point.before:
            note()
        return result

    @functools.wraps(real)
    async def watched_later(*arguments, **others):
        if point.before:
            note()
        result = await real(*arguments, **others)
        if not point.before:
            note()
        return result

    setattr(holder, name, watched_later if inspect.iscoroutinefunction(real) else watched)


def _work(order: dict, directory: Path) -> None:
    from django.core.management import call_command

    from gridx.celery import app
    from gridx.gateways import consumers

    if "call" in order:
        module, _colon, name = order["call"].partition(":")
        result = getattr(importlib.import_module(module), name)(**order["arguments"])
        part = Path(order["answer"] + ".part")
        part.write_text(json.dumps(result))
        part.rename(order["answer"])
        return
    _arm(order["role"], order["plan"], directory)
    if order["role"] == "link":
        consumers.READINGS.ack_wait = ACK_WAIT_S
        call_command("run_link")
    else:
        quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        app.worker_main(["worker", "--pool", "solo", *quiet])


def _forge(orders: Iterable[str]) -> None:
    import django

    django.setup()
    for module in ("gridx.gateways.running", "measurements.tasks", "gridx.celery"):
        importlib.import_module(module)
    directory = Path(os.environ["GRIDX_DATA_DIR"])
    # Nobody waits for them before the end, so that no process id is given out again.
    made = []
    for line in orders:
        pid = os.fork()
        if pid:
            made.append(pid)
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            continue
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        code = 1
        try:
            _work(json.loads(line), directory)
            code = 0
        except Exception:
            import traceback

            traceback.print_exc()
        os._exit(code)
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    _forge(iter(sys.stdin.readline, ""))
