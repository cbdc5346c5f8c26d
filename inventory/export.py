"""The inventory as CSV, row by row, however long it is."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from inventory.queries import Section, gateway_state

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


class _Echo:
    """A file that hands back what is written."""

    def write(self, text: str) -> str:
        return text


def inventory_csv(rows: QuerySet, section: Section) -> Iterator[str]:
    """The lines of the file, the names of the columns first (`system.name` as `system_name`).

    Instants in ISO 8601, UTC; what is not known is empty.
    """
    writer = csv.writer(_Echo())
    columns = COLUMNS[section]
    yield writer.writerow([column.replace(".", "_") for column in columns])
    for row in rows.iterator(chunk_size=2000):
        yield writer.writerow([_cell(_value(row, column)) for column in columns])


def _value(row: Any, column: str) -> Any:
    if column == "state":
        return gateway_state(row)
    for name in column.split("."):
        # A system without a gateway has no such attribute; a null foreign key is None.
        row = getattr(row, name, None)
    return row


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
