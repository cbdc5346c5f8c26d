"""What survives a restart: each gateway's state, and its readings that nobody acknowledged."""

import json
import sqlite3
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    serial TEXT NOT NULL, part TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (serial, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (
    serial TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (serial, seq)
) WITHOUT ROWID;
"""


class StoreInUse(Exception):
    """Another process simulates with this state directory."""


class Store:
    """One SQLite file for all gateways of a process; without a directory, memory.

    State and new messages are written in one transaction, before anything is sent: after a
    kill -9 no sequence number comes twice with other content, and no counter goes back.
    """

    def __init__(self, directory: Path | None = None) -> None:
        path = ":memory:"
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            path = str(directory / "gateways.sqlite3")
        self._database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise StoreInUse(f"{path}: {error}") from error

    def load(self, serial: str) -> dict[str, Any]:
        """The parts of the gateway's state by name; empty where there is none."""
        rows = self._database.execute("SELECT part, value FROM state WHERE serial = ?", (serial,))
        return {part: json.loads(value) for part, value in rows}

    def pending(self, serial: str) -> list[tuple[int, bytes]]:
        """The messages that were not acknowledged, oldest first."""
        return self._database.execute(
            "SELECT seq, body FROM pending WHERE serial = ? ORDER BY seq", (serial,)
        ).fetchall()

    def save(
        self, serial: str, parts: dict[str, Any], *, new: tuple[int, bytes] | None = None
    ) -> None:
        """These parts of the state, and the message that goes with them, all or nothing."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO state VALUES (?, ?, ?)"
            " ON CONFLICT (serial, part) DO UPDATE SET value = excluded.value",
            [(serial, part, json.dumps(value)) for part, value in parts.items()],
        )
        if new is not None:
            self._database.execute("INSERT INTO pending VALUES (?, ?, ?)", (serial, *new))
        self._database.execute("COMMIT")

    def forget(self, serial: str, seq: int) -> None:
        """The message was acknowledged, or given up."""
        self._database.execute("DELETE FROM pending WHERE serial = ? AND seq = ?", (serial, seq))

    def close(self) -> None:
        self._database.close()
