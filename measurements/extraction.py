"""Rows of numbers out of the database into columns of numpy, by COPY in binary.

The counterpart of `measurements.staging`: rows of a fixed width, nulls as markers, so that many
rows arrive by one array operation. Layout: PostgreSQL documentation, COPY, “Binary Format”.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_HEADER_SIZE, _TRAILER_SIZE = 19, 2
_EPOCH_2000_MS = 946_684_800_000


@dataclass(frozen=True)
class Extracted:
    """How a column leaves the database: `sql` casts it, `null` stands for what is absent."""

    sql: str
    binary: str
    null: str | None = None

    def select(self, expression: str) -> str:
        if self.null is None:
            return f"({expression})::{self.sql}"
        return f"COALESCE(({expression})::{self.sql}, {self.null})"


INTEGER = Extracted("integer", ">i4")
INSTANT = Extracted("timestamptz", ">i8")
DOUBLE = Extracted("double precision", ">f8", "'NaN'")
# Energies of appliances are never negative, so -1 says that there is none.
ENERGY = Extracted("bigint", ">i8", "-1")


def extract(
    cursor, columns: Mapping[str, tuple[str, Extracted]], source: str
) -> dict[str, np.ndarray]:
    """The columns, each an SQL expression with its type, of `source` (from FROM on).

    Instants come as int64 milliseconds since the epoch, doubles with NaN for null. `source` must
    be the project's own text: COPY takes no parameters.
    """
    selected = ", ".join(
        f"{kind.select(expression)} AS {name}" for name, (expression, kind) in columns.items()
    )
    chunks = []
    with cursor.copy(f"COPY (SELECT {selected} {source}) TO STDOUT (FORMAT BINARY)") as copy:
        chunks.extend(bytes(chunk) for chunk in copy)
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for name, (_expression, kind) in columns.items():
        fields += [(f"{name}#", ">i4"), (name, kind.binary)]
    body = b"".join(chunks)[_HEADER_SIZE:-_TRAILER_SIZE]
    rows = np.frombuffer(body, dtype=np.dtype(fields))
    return {name: _decoded(kind, rows[name]) for name, (_expression, kind) in columns.items()}


def _decoded(kind: Extracted, values: np.ndarray) -> np.ndarray:
    native = values.astype(values.dtype.newbyteorder("="))
    return native // 1000 + _EPOCH_2000_MS if kind is INSTANT else native
