"""Arrays out of the database, as the database knows them."""

from contextlib import closing

import numpy as np
import pytest
from django.db import connection, transaction

from measurements.extraction import extract

pytestmark = pytest.mark.django_db


def rows_of(query: str, parameters=()) -> list[list[list]]:
    with connection.cursor() as cursor:
        return [[column.tolist() for column in row] for row in extract(cursor, query, parameters)]


@pytest.mark.parametrize(
    ("array", "values", "kind"),
    [
        ("ARRAY[1, -2, 2147483647]", [1, -2, 2**31 - 1], np.int64),
        ("ARRAY[-9223372036854775808]::bigint[]", [-(2**63)], np.int64),
        ("ARRAY[7, -1]::smallint[]", [7, -1], np.int64),
        ("ARRAY[0.1, 1e300]::float8[]", [0.1, 1e300], np.float64),
        ("ARRAY[0.5, 'NaN']::real[]", [0.5, np.nan], np.float64),
        ("ARRAY['1970-01-01Z', '2026-03-29 01:00:00.25Z']::timestamptz[]",
         [0, 1774746000250], np.int64),
        ("ARRAY['1969-12-31 23:59:59.5Z']::timestamptz[]", [-500], np.int64),
        ("NULL::int[]", [], np.float64),
        ("'{}'::int[]", [], np.float64),
    ],
)  # fmt: skip
def test_arrays_of_numbers_and_instants_come_as_they_are(array, values, kind):
    with connection.cursor() as cursor:
        ((column,),) = extract(cursor, f"SELECT {array}")
    np.testing.assert_array_equal(column, np.array(values))
    assert column.dtype == kind


def test_each_row_has_its_columns_in_order():
    query = (
        "SELECT ARRAY[n], array_agg(m), array_agg(m / 2.0::float8)"
        " FROM generate_series(1, %s) AS n, generate_series(1, n) AS m GROUP BY n ORDER BY n"
    )
    assert rows_of(query, [3]) == [
        [[1], [1], [0.5]],
        [[2], [1, 2], [0.5, 1.0]],
        [[3], [1, 2, 3], [0.5, 1.0, 1.5]],
    ]


def test_no_rows_are_no_rows():
    assert rows_of("SELECT ARRAY[1] WHERE FALSE") == []


def test_large_arrays_arrive_whole():
    ((numbers,),) = rows_of("SELECT array_agg(n) FROM generate_series(1, 300000) AS n")
    assert numbers == list(range(1, 300_001))


@pytest.mark.parametrize("array", ["ARRAY['a']", "ARRAY[[1], [2]]", "ARRAY[1, NULL]"])
def test_anything_else_is_refused(array):
    with pytest.raises(ValueError, match="Not a plain array"):
        rows_of(f"SELECT {array}")


def test_a_closed_generator_frees_the_connection():
    query = "SELECT ARRAY[n] FROM generate_series(1, 1000000) AS n"
    with connection.cursor() as cursor, transaction.atomic():
        with closing(extract(cursor, query)) as rows:
            assert next(rows)[0].tolist() == [1]
        transaction.set_rollback(True)
    assert rows_of("SELECT ARRAY[2]") == [[[2]]]
