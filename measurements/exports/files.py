"""Tables as files that people open elsewhere, part by part: CSV, Parquet, XLSX.

However long a table is, a file takes little memory: CSV and XLSX hold some thousand rows at a time,
Parquet a hundred thousand at most, and less than a byte of each row that was sent.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.text import slugify
from xlsxwriter import Workbook

from inventory.export import cell, streamed
from measurements.exports.tables import Kind, Piece, Subject, Table
from measurements.resolutions import Resolution, Span

# What a sheet can hold, without the row of the names.
XLSX_ROWS = 1_048_575
# The rows of a group of Parquet are in memory together, and what its end tells of each group (some
# 40 kB) until all is sent: groups grow with the file, as parts of the rows before them.
_FEWEST_ROWS_A_GROUP = 8_192
_MOST_ROWS_A_GROUP = 131_072
_PART_A_GROUP = 32
_PART = 65_536


class Format(StrEnum):
    """The formats; the values are those of addresses, and how names of files end."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def fits(table: Table, wanted: Format) -> bool:
    """Whether the format can hold so many rows."""
    return wanted is not Format.XLSX or table.count_rows(XLSX_ROWS) <= XLSX_ROWS


def file_of(
    request: HttpRequest,
    subject: Subject,
    table: Table,
    span: Span,
    resolution: str,
    wanted: Format,
) -> StreamingHttpResponse:
    """The table as a file to keep, sent while it is read."""
    day = f"{span.from_at.astimezone(subject.zone):%Y-%m-%d}"
    # Names of files may not tell "1m" from "1M".
    told = {Resolution.MONTH: "month", Resolution.QUARTER: "15min"}.get(resolution, resolution)
    name = "-".join(filter(None, ["gridx", slugify(subject.name), day, told]))
    return streamed(
        request, encoded(table, wanted), f"{name}.{wanted}", content_type=CONTENT_TYPES[wanted]
    )


def encoded(table: Table, wanted: Format) -> Iterator[bytes]:
    """The file, in parts that are made when they are asked for."""
    return {Format.CSV: _csv, Format.PARQUET: _parquet, Format.XLSX: _xlsx}[wanted](table)


def _csv(table: Table) -> Iterator[bytes]:
    """RFC 4180; a text that a spreadsheet would compute is marked as text."""
    kinds = [column.kind for column in table.columns]
    yield _lines([[column.name for column in table.columns]])
    for piece in table.pieces:
        columns = [
            column if kind in (Kind.NUMBER, Kind.COUNT) else map(cell, column)
            for kind, column in zip(kinds, piece, strict=True)
        ]
        yield _lines(zip(*columns, strict=True))


def _lines(rows) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


# Parquet -----------------------------------------------------------------------------------------

_ARROW = {
    Kind.TEXT: pa.string(),
    Kind.INSTANT: pa.timestamp("us", tz="UTC"),
    Kind.NUMBER: pa.float64(),
    Kind.COUNT: pa.int64(),
}


class _Outbox(io.RawIOBase):
    """A file that is sent while it is written: `take` is what came since the last time."""

    def __init__(self) -> None:
        self._waiting = io.BytesIO()
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data) -> int:
        length = self._waiting.write(data)
        self._length += length
        return length

    def take(self) -> bytes:
        taken, self._waiting = self._waiting, io.BytesIO()
        return taken.getvalue()


def _parquet(table: Table) -> Iterator[bytes]:
    """Group of rows by group; between them the parts are empty, as those of a sheet are."""
    schema = pa.schema([(column.name, _ARROW[column.kind]) for column in table.columns])
    outbox = _Outbox()
    waiting: list[pa.RecordBatch] = []
    rows, written, enough = 0, 0, _FEWEST_ROWS_A_GROUP
    with pq.ParquetWriter(outbox, schema) as writer:
        for piece in table.pieces:
            if piece[0]:
                waiting.append(_batch(piece, schema))
                rows += waiting[-1].num_rows
            if rows >= enough:
                _write_group(writer, waiting)
                written += rows
                waiting, rows = [], 0
                enough = max(_FEWEST_ROWS_A_GROUP, written // _PART_A_GROUP)
                enough = min(enough, _MOST_ROWS_A_GROUP)
            yield outbox.take()
        if rows:
            _write_group(writer, waiting)
    yield outbox.take()


def _batch(piece: Piece, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(column, each.type) for column, each in zip(piece, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _write_group(writer: pq.ParquetWriter, batches: Sequence[pa.RecordBatch]) -> None:
    """Write them as one group."""
    rows = pa.Table.from_batches(batches, writer.schema)
    writer.write_table(rows, row_group_size=rows.num_rows)


# XLSX --------------------------------------------------------------------------------------------


def _xlsx(table: Table) -> Iterator[bytes]:
    """One sheet; instants of UTC as dates that can be computed with, local ones as texts.

    A zip archive tells its contents at its end, and its sheet is compressed as a whole: it is
    written to a file on disk, and sent from there. Until the last row is read the parts are empty:
    between them, who sends them can stop where nobody waits any more.
    """
    with TemporaryDirectory(prefix="gridx-export-") as folder:
        path = Path(folder) / "table.xlsx"
        # Rows go to disk as the next one begins. Left unclosed, a book is not packed.
        book = Workbook(str(path), {"constant_memory": True, "tmpdir": folder})
        for _piece in _write_sheet(book, table):
            yield b""
        book.close()
        with path.open("rb") as file:
            while part := file.read(_PART):
                yield part


def _write_sheet(book: Workbook, table: Table) -> Iterator[None]:
    """Write it piece by piece."""
    sheet = book.add_worksheet("gridx")
    heading = book.add_format({"bold": True})
    instant = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    for number, column in enumerate(table.columns):
        is_wide = column.kind in (Kind.TEXT, Kind.INSTANT)
        sheet.set_column(number, number, 26 if is_wide else max(len(column.name), 10))
    sheet.freeze_panes(1, 0)
    for number, column in enumerate(table.columns):
        sheet.write_string(0, number, column.name, heading)
    # By kind, since guessing would take a text for a formula or an address.
    writers = {
        Kind.TEXT: sheet.write_string,
        Kind.NUMBER: sheet.write_number,
        Kind.COUNT: sheet.write_number,
        Kind.INSTANT: lambda row, column, at: sheet.write_datetime(
            row, column, at.astimezone(UTC).replace(tzinfo=None), instant
        ),
    }
    write: Sequence = [writers[column.kind] for column in table.columns]
    at = 0
    for piece in table.pieces:
        for values in zip(*piece, strict=True):
            at += 1
            for number, value in enumerate(values):
                if value is not None:
                    write[number](at, number, value)
        yield
