"""Where the services are, and the secrets to sign in to them."""

import fcntl
import json
import os
import random
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import nkeys

HOST = "127.0.0.1"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
# Below the ports that systems hand out to outgoing connections, so that none of those sits on a
# kept port when the services start again.
PORTS = range(20_000, 32_000)


class UnusableDataDirectory(Exception):
    """The data directory belongs to another user, or what it holds cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Addresses with sign-ins, ready for the clients. An empty string means "not configured"."""

    database_url: str
    valkey_url: str
    nats_url: str
    nats_system_url: str
    mqtt_url: str
    nats_issuer_seed: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class Ports:
    postgres: int
    valkey: int
    nats: int
    mqtt: int


@dataclass(frozen=True, kw_only=True)
class Secrets:
    postgres: str
    valkey: str
    nats_link: str
    nats_system: str
    nats_issuer_seed: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What `addresses.json` holds: chosen once, the same at every start."""

    ports: Ports
    secrets: Secrets


def data_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`GRIDX_DATA_DIR`, else `.gridx` in the project's root; absolute, not necessarily there."""
    return Path(environ.get("GRIDX_DATA_DIR") or PROJECT_ROOT / ".gridx").expanduser().resolve()


def embedded_services(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The names of the services that are not replaced by a server of one's own."""
    replaced_by = {"postgres": "DATABASE_URL", "valkey": "VALKEY_URL", "nats": "NATS_URL"}
    return tuple(name for name, variable in replaced_by.items() if not environ.get(variable))


def addresses(environ: Mapping[str, str] = os.environ) -> Addresses:
    """The addresses of all services, embedded or not. Starts nothing.

    Ports and secrets of the embedded services are chosen at the first call and kept in the data
    directory (`addresses.json`, mode 0600); it is not touched where the environment says all.

    :raises UnusableDataDirectory: when the data directory is somebody else's.
    """
    given = {name: environ.get(name.upper(), "") for name in Addresses.__dataclass_fields__}
    given["secret_key"] = environ.get("GRIDX_SECRET_KEY", "")
    # The companions of the embedded NATS would be wrong for a server of one's own.
    own_nats = ("nats_url", "nats_system_url", "mqtt_url", "nats_issuer_seed")
    needed = [name for name in given if not (given["nats_url"] and name in own_nats)]
    if all(given[name] for name in needed):
        return Addresses(**given)
    embedded = asdict(_embedded_addresses(keep(data_directory(environ))))
    return Addresses(**given | {name: given[name] or embedded[name] for name in needed})


def _embedded_addresses(kept: Kept) -> Addresses:
    ports, own = kept.ports, kept.secrets
    return Addresses(
        database_url=f"postgresql://gridx:{own.postgres}@{HOST}:{ports.postgres}/gridx",
        valkey_url=f"redis://:{own.valkey}@{HOST}:{ports.valkey}/0",
        nats_url=f"nats://link:{own.nats_link}@{HOST}:{ports.nats}",
        nats_system_url=f"nats://system:{own.nats_system}@{HOST}:{ports.nats}",
        mqtt_url=f"mqtt://{HOST}:{ports.mqtt}",
        nats_issuer_seed=own.nats_issuer_seed,
        secret_key=own.secret_key,
    )


def keep(directory: Path) -> Kept:
    """Read the kept ports and secrets; choose and write them where there are none yet."""
    file = directory / "addresses.json"
    if not file.exists():
        make_directory(directory)
        with _write_lock(directory):
            if not file.exists():
                _write(file, _choose())
    return _read(file)


def move_occupied_ports(directory: Path, services: tuple[str, ...]) -> dict[str, int]:
    """Choose and keep another port for each of these services that finds its own occupied.

    To be called while none of them runs. Returns the new ports by name.
    """
    names = [name for name in Ports.__dataclass_fields__ if _service_of(name) in services]
    kept = keep(directory)
    with _write_lock(directory):
        taken = set(asdict(kept.ports).values())
        moved = {}
        for name in names:
            if not _is_free(getattr(kept.ports, name)):
                moved[name] = _free_port(taken)
                taken.add(moved[name])
        if moved:
            _write(directory / "addresses.json", replace(kept, ports=replace(kept.ports, **moved)))
    return moved


def _service_of(port_name: str) -> str:
    return "nats" if port_name == "mqtt" else port_name


def make_directory(directory: Path) -> None:
    """Make a directory of ours; what it holds is for its owner alone.

    Root's may be passed through, because PostgreSQL runs as another user there.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)


def write_private(file: Path, content: str) -> None:
    """Write a file with secrets: never readable for others, not even for a moment."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(content)


def _choose() -> Kept:
    taken: set[int] = set()
    ports = {}
    for name in Ports.__dataclass_fields__:
        ports[name] = _free_port(taken)
        taken.add(ports[name])
    own = {name: secrets.token_urlsafe(24) for name in Secrets.__dataclass_fields__}
    own["nats_issuer_seed"] = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT).decode()
    own["secret_key"] = secrets.token_urlsafe(48)
    return Kept(ports=Ports(**ports), secrets=Secrets(**own))


def _free_port(taken: set[int]) -> int:
    # At random, so that data directories whose services rest now rarely choose the same one.
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if port not in taken and _is_free(port):
            return port
    raise UnusableDataDirectory(f"No port from {PORTS.start} to {PORTS.stop - 1} is free.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: connections that have just ended do not occupy a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _read(file: Path) -> Kept:
    try:
        owner, text = file.stat().st_uid, file.read_text()
    except PermissionError as error:
        raise UnusableDataDirectory(f"{file} belongs to another user.") from error
    if owner != os.geteuid():
        # Servers started now would leave files behind that the owner's next start cannot read.
        raise UnusableDataDirectory(
            f"{file} belongs to user {owner}, this process runs as user {os.geteuid()}. "
            "Run as that user, or set GRIDX_DATA_DIR to another directory."
        )
    try:
        content = json.loads(text)
        return Kept(ports=Ports(**content["ports"]), secrets=Secrets(**content["secrets"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableDataDirectory(f"{file} cannot be understood: {error!r}") from error


def _write(file: Path, kept: Kept) -> None:
    """Replace the file in one step: it is there whole, or as it was before."""
    draft = file.with_suffix(".new")
    with suppress(FileNotFoundError):
        draft.unlink()
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(asdict(kept), stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


@contextmanager
def _write_lock(directory: Path) -> Iterator[None]:
    with open(directory / "addresses.lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
