"""The file that says which gateways there are: a JSON list of serial, secret and site."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.topics import InvalidSerial, check_serial


class GatewayEntry(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One virtual gateway.

    `state`: where its site begins (`Site.state`), such as the end of a history that was made
    with it; what the state directory knows is newer and wins.
    """

    serial: str
    secret: str
    site: SitePlan = SitePlan()
    state: dict[str, Any] | None = None


class UnusableEntries(ValueError):
    """The file does not say which gateways there are, and why not."""


def read_entries(path: Path) -> list[GatewayEntry]:
    """All entries of the file; raises UnusableEntries."""
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[GatewayEntry])
        serials = [check_serial(entry.serial) for entry in entries]
    except (OSError, msgspec.DecodeError, InvalidSerial) as error:
        raise UnusableEntries(f"{path}: {error}") from error
    if len(set(serials)) < len(serials):
        raise UnusableEntries(f"{path}: a serial stands twice")
    return entries


def write_entries(path: Path, entries: list[GatewayEntry]) -> None:
    """Write the file, readable by its owner alone: it holds secrets."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1))
