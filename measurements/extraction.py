"""Rows of arrays out of the database into numpy, by COPY in binary.

The counterpart of `measurements.staging`. A query groups many rows into one with an array for
each column (`array_agg`), so thousands of values arrive by one array operation, and a long result
group by group. Layout: PostgreSQL documentation, COPY, “Binary Format”, and `array_send`; the
server sends one message for each row (“Message Formats”, CopyData).
"""

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from measurements.staging import EPOCH_2000_MS

_HEADER_SIZE = 19
_TRAILER = b"\xff\xff"
_LENGTH = struct.Struct(">i")

# By the type's number (pg_type.oid): how one value is written.
_INT2, _INT4, _INT8, _FLOAT4, _FLOAT8, _TIMESTAMPTZ = 21, 23, 20, 700, 701, 1184
_BINARY = {
    _INT2: ">i2",
    _INT4: ">i4",
    _INT8: ">i8",
    _FLOAT4: ">f4",
    _FLOAT8: ">f8",
    _TIMESTAMPTZ: ">i8",
}
_ELEMENTS = {
    oid: np.dtype([("length", ">i4"), ("value", binary)]) for oid, binary in _BINARY.items()
}
# Dimensions, whether there are nulls, the type, the length and the first index.
_ARRAY_HEADER = struct.Struct(">iiIii")
_NO_DIMENSIONS = 12
_NOTHING = np.zeros(0)


def extract(cursor, query: str, parameters: Sequence = ()) -> Iterator[list[np.ndarray]]:
    """The rows of a query whose columns are all arrays, one after the other.

    Arrays of numbers come as int64 or float64, those of instants as int64 milliseconds since the
    epoch; a null instead of an array comes as an empty one. Arrays hold no nulls themselves:
    ValueError. Nothing else can be done on the connection until the last row has been taken or
    the generator is closed: close it (`contextlib.closing`) in case something else goes wrong.
    """
    # Of Django's wrapper the cursor itself: the wrapper that logs queries takes no parameters here.
    with cursor.cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)", parameters) as copy:
        first = True
        for message in copy:
            row = memoryview(message)[_HEADER_SIZE if first else 0 :]
            first = False
            if row != _TRAILER:
                yield list(_columns(row))


def _columns(row: memoryview) -> Iterator[np.ndarray]:
    at = 2  # after the number of columns
    while at < len(row):
        (length,) = _LENGTH.unpack_from(row, at)
        at += _LENGTH.size
        yield _NOTHING if length <= _NO_DIMENSIONS else _array(row[at : at + length])
        at += max(length, 0)


def _array(data: memoryview) -> np.ndarray:
    dimensions, with_nulls, oid, length, _first = _ARRAY_HEADER.unpack_from(data)
    if dimensions != 1 or with_nulls or oid not in _BINARY:
        raise ValueError(f"Not a plain array of numbers: type {oid}, {dimensions} dimensions")
    values = np.frombuffer(data, _ELEMENTS[oid], length, _ARRAY_HEADER.size)["value"]
    if oid == _TIMESTAMPTZ:
        return values.astype(np.int64) // 1000 + EPOCH_2000_MS
    return values.astype(np.float64 if oid in (_FLOAT4, _FLOAT8) else np.int64)
