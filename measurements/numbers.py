"""Columns of numbers out of the database into numpy, for reads that must be quick.

What `measurements.extraction` does for long results by COPY, this does within any statement: the
rows of a subquery come as one value, without a Python object for each number. Layout: PostgreSQL's
`array_send`.
"""

import struct
from collections.abc import Iterable, Sequence

import numpy as np
import psycopg
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Model, QuerySet
from psycopg.pq import Format

from measurements.amounts import Floats

# Dimensions, whether there are nulls, the type; then of each dimension length and first index.
_HEADER = struct.Struct(">iiIiiii")
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">f8")])


def numbers(expressions: Iterable[str], *, order: str) -> str:
    """SQL of what a query of many rows has to select, to be read by `columns_of`."""
    row = ", ".join(f"coalesce(({one})::float8, 'NaN')" for one in expressions)
    return f"array_send(array_agg(ARRAY[{row}] ORDER BY {order}))"


def columns_of(sent: bytes | None, count: int) -> Floats:
    """The columns, one a row; NaN where null. Whole numbers are exact up to 2**53."""
    if sent is None:
        return np.zeros((count, 0))
    values = np.frombuffer(sent, _ELEMENT, offset=_HEADER.size)["value"]
    return values.reshape(-1, count).T.astype(np.float64)


class _Cursor(psycopg.Cursor):
    """Django's own cursors read text, and have every query planned anew."""

    def __init__(self, *, prepared: bool) -> None:
        super().__init__(connection.connection)
        self.format = Format.BINARY
        self._is_prepared = prepared

    def execute(self, query, params=None):
        return super().execute(query, params, prepare=self._is_prepared)


def fetch(query: str, parameters: Sequence | dict, *, prepared: bool = False) -> list[tuple]:
    """The rows of a query, read in binary.

    To plan a long query takes as long as to run it. One of few texts, whose best plan is the same
    whatever its parameters, is to be `prepared`: each connection keeps its plan.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    with wrap(_Cursor(prepared=prepared)) as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def fetch_one(queryset: QuerySet, *names: str) -> Model | None:
    """The object that a query finds, with these of its fields alone; None where there is none.

    It takes half the time of the query's own `get`, as its plan is kept: for queries of few shapes.
    """
    try:
        query = queryset.values_list(*names).query.sql_with_params()
    except EmptyResultSet:
        return None
    for row in fetch(*query, prepared=True):
        return queryset.model.from_db(queryset.db, names, row)
    return None
