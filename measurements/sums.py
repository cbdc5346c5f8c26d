"""Stored figures summed over spans by the database: how history is read.

Energies are integers, so their sums are the same to the last mWh wherever they are made;
`measurements.figures.sum_figures` is the same sum in memory. What is absent (null) in some rows is
the sum of the others, and absent where it is absent in all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Model

from inventory.kinds import ApplianceKind
from measurements.figures import LAST, LAST_FLOATS, SUMMED
from measurements.models import (
    ApplianceDay,
    ApplianceSlot,
    SystemDay,
    SystemMonth,
    SystemSlot,
)
from measurements.resolutions import Resolution, Span

Row = Mapping[str, int | float | None]

# Which tables hold the rows that a resolution's figures are the sum of.
SYSTEM_TABLES: dict[Resolution, type[Model]] = {
    Resolution.QUARTER: SystemSlot,
    Resolution.HOUR: SystemSlot,
    Resolution.DAY: SystemDay,
    Resolution.WEEK: SystemDay,
    Resolution.MONTH: SystemMonth,
    Resolution.YEAR: SystemMonth,
}
APPLIANCE_TABLES: dict[Resolution, type[Model]] = {
    resolution: ApplianceSlot if table is SystemSlot else ApplianceDay
    for resolution, table in SYSTEM_TABLES.items()
}


def _last(name: str) -> str:
    return f"(array_agg({name} ORDER BY start DESC) FILTER (WHERE {name} IS NOT NULL))[1]"


# How each column of a system's rows, and of an appliance's, is summed over time.
SYSTEM_SUMS = (
    {name: f"sum({name})::bigint" for name in SUMMED}
    | {name: _last(name) for name in (*LAST, *LAST_FLOATS)}
    | {name: f"sum({name})" for name in ("seen_s", "expected_s")}
    | {"flags": "bit_or(flags)"}
)
APPLIANCE_SUMS = {name: f"sum({name})::bigint" for name in ("import_mwh", "export_mwh")} | {
    name: _last(name) for name in ("soc", "stored_wh", "temperature_c", "imported_wh")
}


class Measured(NamedTuple):
    """What there is to know of an appliance beside its figures."""

    id: UUID
    kind: str
    capacity_wh: float | None


@dataclass(frozen=True, slots=True)
class Sums:
    """The rows of the spans of which anything is known, by the span's index, and of all."""

    by_span: Mapping[int, Row] = field(default_factory=dict)
    total: Row | None = None


def sums_of_system(
    *,
    key: int,
    spans: Sequence[Span],
    resolution: Resolution,
    columns: Collection[str] = tuple(SYSTEM_SUMS),
) -> Sums:
    """The figures of a system over consecutive spans of a resolution, in one statement.

    `columns` names those of `SYSTEM_SUMS` that are wanted.
    """
    table = SYSTEM_TABLES[resolution]._meta.db_table
    summed = ", ".join(SYSTEM_SUMS[name] for name in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT span, {summed} FROM (
                SELECT width_bucket(start, %s::timestamptz[]) - 1 AS span, start,
                    {", ".join(columns)}
                FROM {table} WHERE system_key = %s AND start >= %s AND start < %s
            ) AS row GROUP BY GROUPING SETS ((span), ()) HAVING count(*) > 0
            """,  # noqa: S608 - names of our own
            [_bounds(spans), key, spans[0].from_at, spans[-1].until_at],
        )
        rows = {row[0]: dict(zip(columns, row[1:], strict=True)) for row in cursor.fetchall()}
    return Sums(rows, rows.pop(None, None))


# Hops from one appliance to the next along the primary key: whoever was measured in the system,
# wherever it is now.
_APPLIANCES = """
WITH RECURSIVE measured AS (
    (SELECT appliance_key AS key FROM {table} WHERE system_key = %(system)s
        ORDER BY appliance_key LIMIT 1)
    UNION ALL
    SELECT (SELECT appliance_key FROM {table}
        WHERE system_key = %(system)s AND appliance_key > measured.key
        ORDER BY appliance_key LIMIT 1)
    FROM measured WHERE measured.key IS NOT NULL
)
SELECT appliance.id, appliance.kind, appliance.capacity_wh, row.*
FROM measured
JOIN inventory_appliance AS appliance
    ON appliance.key = measured.key AND appliance.kind = ANY(%(kinds)s)
CROSS JOIN LATERAL (
    SELECT width_bucket(start, %(bounds)s::timestamptz[]) - 1 AS span, {summed} FROM {table}
    WHERE system_key = %(system)s AND appliance_key = measured.key
        AND start >= %(from_at)s AND start < %(until_at)s
    GROUP BY span
) AS row
ORDER BY appliance.key, span
"""


def sums_of_appliances(
    *,
    system_key: int,
    spans: Sequence[Span],
    resolution: Resolution,
    kinds: Collection[str] = tuple(ApplianceKind),
) -> list[tuple[Measured, int, Sequence]]:
    """What each appliance of some kinds took and gave in a system: itself, the index of the span,
    and the columns of `APPLIANCE_SUMS`; by appliance and span. History stays with the system
    where it was measured, so an appliance that has moved on is found where its rows are."""
    summed = ", ".join(f"{how} AS {name}" for name, how in APPLIANCE_SUMS.items())
    with connection.cursor() as cursor:
        cursor.execute(
            _APPLIANCES.format(table=APPLIANCE_TABLES[resolution]._meta.db_table, summed=summed),
            {
                "system": system_key,
                "kinds": list(kinds),
                "bounds": _bounds(spans),
                "from_at": spans[0].from_at,
                "until_at": spans[-1].until_at,
            },
        )
        return [(Measured(*row[:3]), row[3], row[4:]) for row in cursor.fetchall()]


def _bounds(spans: Sequence[Span]) -> str:
    """Where the spans begin, as an array of instants is written in SQL."""
    return f"{{{','.join(span.from_at.isoformat() for span in spans)}}}"
