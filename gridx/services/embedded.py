"""Starts the embedded services of a data directory, once for everybody who needs them."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gridx.services.addresses import (
    Addresses,
    addresses,
    data_directory,
    embedded_services,
    keep,
    move_occupied_ports,
)
from gridx.services.leftovers import stop_leftovers
from gridx.services.nats import check_nats, nats_process
from gridx.services.postgres import check_postgres, postgres_process
from gridx.services.processes import NotReady, Process, Supervisor, UnableToStart
from gridx.services.valkey import check_valkey, valkey_process

logger = logging.getLogger(__name__)

# Somebody else may be starting them: PostgreSQL alone may take two minutes after a crash.
GUEST_WAITS_S = 150.0


@contextmanager
def run_embedded() -> Iterator[Addresses]:
    """See `gridx.services.running`."""
    services = embedded_services()
    if not services:
        yield addresses()
        return
    directory = data_directory()
    keep(directory)
    with open(directory / "supervisor.lock", "a+") as lock:
        if not _become_owner(lock, services):
            yield addresses()
            return
        _stop_all_leftovers(_processes(directory, services))
        for name, port in move_occupied_ports(directory, services).items():
            logger.warning("The port of %s was occupied; it is now %d.", name, port)
        with Supervisor(directory / "logs") as supervisor:
            supervisor.start(*_processes(directory, services))
            yield addresses()


def _become_owner(lock: IO[str], services: tuple[str, ...]) -> bool:
    """Take the lock that a supervisor holds while it lives, or find that its services are healthy.

    The kernel gives the lock back when its holder ends, however it ends.

    :raises UnableToStart: when neither comes about.
    """
    deadline = time.monotonic() + GUEST_WAITS_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = _why_not_healthy(services)
        else:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            return True
        if reason is None:
            return False
        if time.monotonic() > deadline:
            lock.seek(0)
            raise UnableToStart(
                f"Process {lock.read()} runs the services of {data_directory()}, "
                f"but they are not healthy: {reason}"
            )
        time.sleep(0.2)


def _stop_all_leftovers(processes: Sequence[Process]) -> None:
    """Stop what an earlier, killed supervisor has left, before its ports are looked at."""

    def stop(process: Process) -> None:
        stop_leftovers(Path(process.argv[0]).name, process.cwd, process.stop_signal)

    with ThreadPoolExecutor() as pool:
        list(pool.map(stop, processes))


def _why_not_healthy(services: tuple[str, ...]) -> str | None:
    at = addresses()
    checks = {
        "postgres": lambda: check_postgres(at.database_url),
        "valkey": lambda: check_valkey(at.valkey_url),
        "nats": lambda: check_nats(at.nats_url, at.mqtt_url),
    }
    for name in services:
        try:
            checks[name]()
        except NotReady as error:
            return f"{name}: {error}"
    return None


def _processes(directory: Path, services: tuple[str, ...]) -> list[Process]:
    kept, at = keep(directory), addresses()
    make = {
        "postgres": lambda: postgres_process(directory, kept, at.database_url),
        "valkey": lambda: valkey_process(directory, kept, at.valkey_url),
        "nats": lambda: nats_process(
            directory, kept, at.nats_url, at.mqtt_url, at.nats_issuer_seed
        ),
    }
    return [make[name]() for name in services]
