"""The rows of a day, side by side: as they come to be, those of one system lie far apart.

Slots and hours are stored instant by instant, those of all systems next to each other, so that
whoever reads a day of one of them reads a page for each row. Once a day is settled its rows are
moved together, which makes a page of them some dozen rows. Nothing is changed by it but where they
lie; what is computed again later lies where it finds room.
"""

from functools import cache

from django.db import connection, models, transaction

from measurements.models import ApplianceHour, ApplianceSlot, SystemHour, SystemSlot
from measurements.resolutions import Span
from measurements.slots.claims import claim_system

# Those of which a day has many rows, and whose they are.
_TABLES: dict[type[models.Model], str] = {
    SystemSlot: "system_key",
    SystemHour: "system_key",
    ApplianceSlot: "appliance_key",
    ApplianceHour: "appliance_key",
}
# As many rows of a series have to lie on a page, on average, for them to be left where they are.
_ROWS_A_PAGE = 4


@transaction.atomic
def gather_rows(*, system_key: int, span: Span) -> int:
    """Move a system's rows of these slots and hours together where they lie apart.

    Returns how many were moved. Nobody computes the system meanwhile; who reads it need not wait.
    """
    moved = 0
    claim_system(system_key)
    with connection.cursor() as cursor:
        for table in _TABLES:
            is_scattered, gather = _statements(table)
            asked = [system_key, span.from_at, span.until_at]
            cursor.execute(is_scattered, asked)
            if cursor.fetchone()[0]:
                cursor.execute(gather, asked)
                moved += cursor.rowcount
    return moved


@cache
def _statements(table: type[models.Model]) -> tuple[str, str]:
    """Whether the rows lie apart, and what moves them."""
    name, whose = table._meta.db_table, _TABLES[table]
    where = "WHERE system_key = %s AND start >= %s AND start < %s"
    page = "(ctid::text::point)[0]"  # PostgreSQL has no function for it
    is_scattered = f"""
        SELECT count(DISTINCT ({whose}, {page}))
            > count(DISTINCT {whose}) + count(*) / {_ROWS_A_PAGE}
        FROM {name} {where}
    """  # noqa: S608 - names of our own
    gather = f"""
        WITH gone AS (DELETE FROM {name} {where} RETURNING *)
        INSERT INTO {name} SELECT * FROM gone ORDER BY {whose}, start
    """  # noqa: S608 - names of our own
    return is_scattered, gather
