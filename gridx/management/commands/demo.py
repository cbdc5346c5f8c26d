"""Everything at once, for a look around: `python manage.py demo`."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from gridx import services
from gridx.demo.world import PASSWORD, PEOPLE
from gridx.services.addresses import data_directory
from gridx.services.processes import (
    NotReady,
    Process,
    Supervisor,
    UnableToStart,
    child_command,
    interruptible,
)

MANAGE = Path(__file__).resolve().parents[3] / "manage.py"
LAST_PORT = 65_535


class Command(BaseCommand):
    help = "Start the services, make a believable world, serve it, and simulate its gateways."
    # Checks may ask the database, which is not there yet.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--history", type=int, default=730, metavar="DAYS")

    def handle(self, *, port: int, history: int, **options) -> None:
        if not 0 < port <= LAST_PORT:
            raise CommandError(f"There is no port {port}: they go from 1 to {LAST_PORT}.")
        directory = data_directory()
        url = f"http://127.0.0.1:{port}"
        demo = directory / "demo"
        demo.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with (
                interruptible(),
                _alone(demo / "lock"),
                services.running(),
                Supervisor(directory / "logs", stop_within_s=6.0) as supervisor,
            ):
                _check_port(port)
                gateways = demo / "gateways.json"
                environment = {
                    **os.environ,
                    "GRIDX_PUBLIC_URL": url,
                    "GRIDX_COLLECTED_STATIC": "1",
                }
                # A process of its own: a port may have changed since this one's settings.
                _run("prepare_demo", str(gateways), "--history", str(history), env=environment)
                supervisor.start(*_processes(port, url, gateways, environment))
                self._invite(url)
                supervisor.wait()
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except (UnableToStart, services.UnusableDataDirectory) as error:
            raise CommandError(error) from error

    def _invite(self, url: str) -> None:
        self.stdout.write(f"\n  {url}\n\n  Sign in with the password {PASSWORD} as\n")
        for person in PEOPLE:
            role = "Django admin" if person.is_staff else person.role.label
            self.stdout.write(f"    {person.email:<26}{role}, {person.account}")
        self.stdout.write("\n  Ctrl-C stops everything.\n")
        self.stdout.flush()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock of this data directory's demo. Raises CommandError where another runs."""
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError("The demo of this checkout runs already.") from None
        yield


def _check_port(port: int) -> None:
    """Raise CommandError where the port is somebody else's."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise CommandError(
            f"Port {port} cannot be had ({error.strerror}); choose another: make demo PORT=8001"
        ) from error


def _run(*arguments: str, env: dict[str, str]) -> None:
    """Run one of the project's commands to its end; when broken off, with all that it started."""
    argv = child_command([sys.executable, str(MANAGE), *arguments], death_signal=signal.SIGKILL)
    child = subprocess.Popen(argv, env=env, start_new_session=True)
    try:
        if child.wait():
            raise CommandError(f"{arguments[0]} failed; see above.")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _processes(port: int, url: str, gateways: Path, environment: dict) -> list[Process]:
    def process(name: str, *argv: str, **options) -> Process:
        return Process(
            name=name,
            argv=[sys.executable, *argv],
            env=environment | options.pop("env", {}),
            cwd=MANAGE.parent,
            **options,
        )

    return [
        process(
            "web",
            *("-m", "uvicorn", "gridx.asgi:application", "--port", str(port)),
            *("--lifespan", "off", "--log-level", "warning"),
            env={"GRIDX_DATABASE_POOL": "20"},
            ready=lambda: _check_web(url),
        ),
        process(
            "worker",
            *("-m", "celery", "--app", "gridx", "worker", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle", "--loglevel", "warning"),
        ),
        process(
            "beat",
            *("-m", "celery", "--app", "gridx", "beat", "--loglevel", "warning"),
            *("--schedule", str(gateways.with_name("beat"))),
        ),
        process("link", str(MANAGE), "run_link"),
        process("scheduler", str(MANAGE), "run_scheduler"),
        process(
            "gateways",
            *(str(MANAGE), "simulate_gateways", "--gateways", str(gateways)),
            *("--state", str(gateways.with_name("state")), "--fill-pauses"),
            *("--sample", "5", "--every", "5"),
        ),
    ]


def _check_web(url: str) -> None:
    try:
        with urllib.request.urlopen(f"{url}/sign-in", timeout=5):  # noqa: S310 - our own address
            pass
    except (OSError, urllib.error.URLError) as error:
        raise NotReady(str(error)) from error
