"""Recorded readings from a CSV file (.csv, .csv.gz, .csv.xz), as they stand, row by row."""

import csv
import gzip
import lzma
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from gridx.gateways.messages import QUANTITIES, ApplianceReadings, PlugState

SAMPLED_ROWS = 1_000


class UnusableRecording(ValueError):
    """The file, a line of it, or what was said about it cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column is which quantity of which appliance; columns of one quantity are added."""

    column: str
    local_id: str
    quantity: str
    scale: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Mapping":
        """From `COLUMN=LOCAL_ID:QUANTITY[:SCALE]`; raises UnusableRecording."""
        column, equals, target = text.partition("=")
        local_id, _, rest = target.partition(":")
        quantity, _, scale = rest.partition(":")
        if not (column and equals and local_id and quantity):
            raise UnusableRecording(f"{text!r} is not COLUMN=LOCAL_ID:QUANTITY[:SCALE]")
        if quantity not in QUANTITIES:
            known = ", ".join(QUANTITIES)
            raise UnusableRecording(f"{text!r}: no quantity {quantity!r}; there are {known}")
        try:
            return cls(column, local_id, quantity, float(scale or 1))
        except ValueError:
            raise UnusableRecording(f"{text!r}: {scale!r} is no number") from None


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the instant (ms since epoch) and values by (local id, quantity)."""

    at: int
    values: dict[tuple[str, str], float | PlugState | None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A file and what its columns mean."""

    path: Path
    mappings: tuple[Mapping, ...]
    time_column: str = "at"

    @property
    def local_ids(self) -> tuple[str, ...]:
        """The appliances in the file, in the order in which they were mapped."""
        return tuple(dict.fromkeys(mapping.local_id for mapping in self.mappings))

    def rows(self) -> Iterator[Row]:
        """All lines in the file's order, repeated instants too; raises UnusableRecording."""
        try:
            with _opened(self.path) as text:
                lines = csv.DictReader(text)
                missing = self._columns - set(lines.fieldnames or ())
                if missing:
                    raise UnusableRecording(f"{self.path}: no column {', '.join(sorted(missing))}")
                for line in lines:
                    yield self._row(line, lines.line_num)
        except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error) as error:
            raise UnusableRecording(f"{self.path}: {error}") from error

    def interval_s(self) -> float:
        """The usual pause between two rows, from the file's beginning."""
        instants = [row.at for row, _ in zip(self.rows(), range(SAMPLED_ROWS), strict=False)]
        pauses = [later - earlier for earlier, later in pairwise(instants) if later > earlier]
        return median(pauses) / 1000 if pauses else 60.0

    @property
    def _columns(self) -> set[str]:
        return {self.time_column, *(mapping.column for mapping in self.mappings)}

    def _row(self, line: dict[str, Any], number: int) -> Row:
        values: dict[tuple[str, str], float | PlugState | None] = {}
        try:
            instant = datetime.fromisoformat(line[self.time_column])
            if instant.tzinfo is None:
                raise ValueError(f"{line[self.time_column]!r} has no offset from UTC")
            for mapping in self.mappings:
                key = mapping.local_id, mapping.quantity
                value = _value(mapping, line[mapping.column])
                before = values.get(key)
                if isinstance(before, float) and isinstance(value, float):
                    value += before
                values[key] = before if value is None else value
        except (ValueError, TypeError) as error:
            raise UnusableRecording(f"{self.path}, line {number}: {error}") from None
        return Row(round(instant.timestamp() * 1000), values)


def columnar(rows: list[Row]) -> list[ApplianceReadings]:
    """The rows as they stand in a message: appliance by appliance, in columns."""
    columns: dict[str, dict[str, list]] = defaultdict(dict)
    for local_id, quantity in rows[0].values:
        columns[local_id][quantity] = [row.values[local_id, quantity] for row in rows]
    at = [row.at for row in rows]
    return [
        ApplianceReadings(appliance=local_id, at=at, **quantities)
        for local_id, quantities in columns.items()
    ]


def _value(mapping: Mapping, cell: str | None) -> float | PlugState | None:
    if cell is None:
        raise ValueError(f"no cell for {mapping.column!r}")
    if not cell.strip():
        return None
    if mapping.quantity == "plug_state":
        return PlugState(cell.strip())
    # Nine digits undo what a scale such as 0.01 adds to 87.
    return round(float(cell) * mapping.scale, 9)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8", newline="")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
