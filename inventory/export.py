"""The inventory as CSV, row by row, however long it is."""

import csv
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from accounts.paging import ids_in_parts
from inventory.queries import Section

_ROWS_AT_ONCE = 2000
_LINES_AT_ONCE = 500

# Spreadsheets take what begins so for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

COLUMNS: dict[Section, tuple[str, ...]] = {
    Section.SYSTEMS: (
        "id",
        "name",
        "account.name",
        "account.id",
        "time_zone",
        "address_line1",
        "postal_code",
        "city",
        "country",
        "latitude",
        "longitude",
        "gateway.serial",
        "gateway.contacted_at",
        "appliance_count",
        "created_at",
    ),
    Section.GATEWAYS: (
        "id",
        "serial",
        "name",
        "state",
        "system.name",
        "system.id",
        "system.account.name",
        "manufacturer",
        "model",
        "firmware",
        "contacted_at",
        "registered_at",
        "clock_offset_s",
        "missing_messages",
        "refused_readings",
    ),
    Section.APPLIANCES: (
        "id",
        "name",
        "kind",
        "system.name",
        "system.id",
        "gateway.serial",
        "cluster.name",
        "room",
        "manufacturer",
        "model",
        "serial_number",
        "firmware",
        "protocol",
        "min_power_w",
        "max_power_w",
        "max_current_a",
        "capacity_wh",
        "interval_s",
        "status",
    ),
    Section.CLUSTERS: (
        "id",
        "name",
        "parent.name",
        "system.name",
        "system.id",
        "appliance_count",
    ),
    Section.POOLS: (
        "id",
        "name",
        "kind",
        "account.name",
        "account.id",
        "time_zone",
        "system_count",
    ),
}


class Echo:
    """A file that hands back what is written."""

    def write(self, text: str) -> str:
        return text


def inventory_csv(rows: QuerySet, section: Section) -> Iterator[str]:
    """The lines of the file, the names of the columns first (`system.name` as `system_name`).

    `rows` are of `queries.inventory`. Instants in ISO 8601, UTC; what is not known is empty.
    """
    writer = csv.writer(Echo())
    columns = COLUMNS[section]
    yield writer.writerow([column.replace(".", "_") for column in columns])
    values = rows.order_by().values_list(*(column.replace(".", "__") for column in columns))
    for ids in ids_in_parts(rows, size=_ROWS_AT_ONCE):
        found = {row[0]: row for row in values.filter(pk__in=ids)}
        for one in ids:
            if one in found:  # else it has gone meanwhile
                yield writer.writerow([cell(value) for value in found[one]])


def csv_file(request: HttpRequest, lines: Iterator[str], name: str) -> StreamingHttpResponse:
    """Lines of CSV as a file, some at a time."""
    parts = iter(lambda: "".join(islice(lines, _LINES_AT_ONCE)), "")
    return streamed(request, parts, name, content_type="text/csv; charset=utf-8")


def streamed(
    request: HttpRequest, parts: Iterator[bytes | str], name: str, *, content_type: str
) -> StreamingHttpResponse:
    """A file to keep under this name, sent while it is made."""
    answer = streaming(request, parts, content_type=content_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def streaming(
    request: HttpRequest, parts: Iterator[bytes | str], *, content_type: str
) -> StreamingHttpResponse:
    """An answer that is sent while it is made, whatever the server.

    Its parts may leave no cursor open from one to the next: an ASGI server is without a connection
    to the database between them, so that clients that do not read on keep none.
    """
    is_asgi = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(
        _one_by_one(parts) if is_asgi else parts, content_type=content_type
    )


async def _one_by_one(parts: Iterator[bytes | str]) -> AsyncIterator[bytes | str]:
    """The same parts for an ASGI server, which would first take all of a plain iterator's."""
    while (part := await sync_to_async(_next_of)(parts)) is not None:
        yield part


def _next_of(parts: Iterator[bytes | str]) -> bytes | str | None:
    """The next part, None after the last; gives back the connection that it was read by."""
    try:
        return next(parts, None)
    finally:
        if not connection.in_atomic_block:  # that of a transaction is its owner's
            connection.close()


def cell(value: Any) -> Any:
    """A value as it may stand in a file that people open with a spreadsheet."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
