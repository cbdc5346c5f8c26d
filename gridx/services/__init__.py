"""The services that gridx stands on: PostgreSQL, Valkey and NATS.

By default they are embedded: the real servers, installed from wheels, started and watched by the
project itself, without root rights and without containers. What they keep lies in the data
directory, `GRIDX_DATA_DIR` or else `.gridx/` in the project's root:

    addresses.json     ports and generated secrets, chosen once (mode 0600)
    supervisor.lock    held by the process that runs the services
    logs/              what each server says; a log over 5 MB is put aside at the next start
    postgres/ valkey/ nats/

Every data directory has servers and ports of its own, so checkouts run side by side. Servers
listen on 127.0.0.1 only, each with a password. A variable replaces a server by one's own, which is
then neither started nor stopped: `DATABASE_URL`, `VALKEY_URL`, `NATS_URL` (together with
`NATS_SYSTEM_URL`, `MQTT_URL` and `NATS_ISSUER_SEED`); `GRIDX_SECRET_KEY` replaces the generated
secret key. `GRIDX_NATS_SYNC` says how often JetStream syncs to disk (default `always`).

    python manage.py run_services          keeps them running until Ctrl-C

    with gridx.services.running() as at:   # the same within a program
        connect(at.database_url)

The first to call `running()` becomes their supervisor: it restarts a server that crashes and stops
all at the end of its block. Others use them meanwhile. A supervisor that is killed takes its
servers along (Linux), and the next start recovers from whatever a crash left behind.

PostgreSQL refuses to run as root. Started by root it runs as `postgres` or `nobody`, and if that
user cannot reach the data directory (a checkout in root's home), its data and a copy of its
programs lie in `/var/lib/gridx/`; the file `postgres.location` in the data directory says where.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from gridx.services.addresses import (
    Addresses,
    UnusableDataDirectory,
    addresses,
    data_directory,
)

__all__ = ["Addresses", "UnusableDataDirectory", "addresses", "data_directory", "running"]


@contextmanager
def running() -> Iterator[Addresses]:
    """Have the embedded services run, and healthy, within the block.

    Starts those that do not run yet for this data directory and stops at the end what it started.
    A kept port that is occupied is exchanged for another one before the start, so take addresses
    from here, or read `addresses()` afterwards; children started within the block see the new one.

    :raises UnableToStart: `gridx.services.processes.UnableToStart`, when a service does not come
        up; quotes its log.
    :raises UnusableDataDirectory: when the data directory is another user's.
    """
    # Late, because the settings import this package, and need neither clients nor supervisor.
    from gridx.services.embedded import run_embedded

    with run_embedded() as at:
        yield at
