"""Columns of numpy into a temporary table, by COPY in binary.

The rows have a fixed width: “not read” travels as NaN (as a marker in integer columns) and
becomes null where the rows are taken out of the staging table. So a whole batch is written by
a few array assignments, without a loop over its rows, and PostgreSQL parses no text.
Layout: PostgreSQL documentation, COPY, “Binary Format”.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
# Binary timestamps count microseconds from 2000-01-01.
EPOCH_2000_MS = 946_684_800_000


@dataclass(frozen=True)
class ColumnType:
    """How a column travels: its SQL type, its binary form, and what stands for null."""

    sql: str
    binary: str
    null: str | None = None


INTEGER = ColumnType("integer", ">i4")
INSTANT = ColumnType("timestamptz", ">i8")
# Where there may be none, the instant 0 stands for it.
MAYBE_INSTANT = ColumnType("timestamptz", ">i8", "'epoch'::timestamptz")
REAL = ColumnType("real", ">f4", "'NaN'::real")
DOUBLE = ColumnType("double precision", ">f8", "'NaN'::double precision")
MAYBE_INTEGER = ColumnType("integer", ">i4", "-1")
MAYBE_SMALL = ColumnType("smallint", ">i2", "-1::smallint")
# Energies, which may be negative (a residual): the marker is a number that none of them reaches.
NO_BIG = -(2**63)
BIG = ColumnType("bigint", ">i8", "'-9223372036854775808'::bigint")


@dataclass(frozen=True)
class StagingTable:
    """A temporary table of the connection; its rows live until the transaction ends."""

    name: str
    columns: Mapping[str, ColumnType]

    def prepare(self, cursor) -> None:
        """Have the table, empty. Needs a transaction."""
        columns = ", ".join(f"{name} {column.sql}" for name, column in self.columns.items())
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.name} ({columns}) ON COMMIT DELETE ROWS"
        )
        cursor.execute(f"TABLE {self.name} LIMIT 1")
        if cursor.fetchone():  # an earlier batch of this transaction
            cursor.execute(f"TRUNCATE {self.name}")

    def copy(self, cursor, columns: Mapping[str, np.ndarray]) -> None:
        """Write the columns' rows (all of one length), in their order; milliseconds as instants."""
        statement = f"COPY {self.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with cursor.copy(statement) as copy:
            copy.write(self.binary_rows(columns))

    def binary_rows(self, columns: Mapping[str, np.ndarray]) -> bytes:
        """What COPY sends for these columns."""
        fields: list[tuple[str, str]] = [("count", ">i2")]
        for name in columns:
            fields += [(f"{name}#", ">i4"), (name, self.columns[name].binary)]
        rows = np.empty(len(next(iter(columns.values()))), dtype=np.dtype(fields))
        rows["count"] = len(columns)
        for name, values in columns.items():
            rows[f"{name}#"] = rows.dtype[name].itemsize
            rows[name] = _encoded(self.columns[name], values)
        return _HEADER + rows.tobytes() + _TRAILER

    def value(self, name: str) -> str:
        """The SQL that takes a column out of the table, with its nulls."""
        null = self.columns[name].null
        return name if null is None else f"NULLIF({name}, {null})"


def _encoded(column: ColumnType, values: np.ndarray) -> np.ndarray:
    if column in (INSTANT, MAYBE_INSTANT):
        return (values - EPOCH_2000_MS) * 1000
    if column in (MAYBE_INTEGER, MAYBE_SMALL) and values.dtype.kind == "f":
        return np.where(np.isnan(values), -1, values)
    return values
