"""Files of recorded data, read piece by piece: CSV (also .gz and .xz) and Parquet."""

import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from django.utils.translation import gettext as _

LINES_AT_ONCE = 10_000
# So many characters are enough at a time, however long the lines are.
CHARACTERS_AT_ONCE = 8_000_000
LONGEST_LINE = 1_000_000
# Readings are packed ten or a hundred times as small. What unpacks to more is there to do harm.
MOST_UNPACKED_RATIO = 400
HARMLESS_UNPACKED = 16_000_000
# The likelier ones first: where a line can be read with several of them, it is those that no unit
# and no decimal number has.
_DELIMITERS = ";\t,"
TEXT_ENDINGS = (".csv", ".tsv", ".txt")
PACKED_ENDINGS = (".gz", ".xz")
PARQUET_ENDINGS = (".parquet", ".pq")
# What names of files end in; of a packed one, what is packed is text.
ENDINGS = (*TEXT_ENDINGS, *PACKED_ENDINGS, *PARQUET_ENDINGS)
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


class UnableToRead(Exception):
    """The file is not what its name says, or is damaged; the message says what and where."""


class Piece(Protocol):
    """Some lines of a recording. `faults` says of single lines why they cannot be read."""

    lines: np.ndarray
    faults: list[tuple[int, str]]

    def texts(self, column: str) -> list[str]:
        """The cells of a column as they are written; empty where there is nothing."""

    def numbers(self, column: str) -> tuple[np.ndarray, dict[int, str]]:
        """The numbers of a column, NaN in empty cells, and by row the texts that are none."""

    def instants(self, column: str) -> list[str | datetime]:
        """The cells of a column of instants: texts, or instants where the format has them."""


class Recording(Protocol):
    """A file of columns with names."""

    columns: list[str]

    def pieces(self, at_once: int = LINES_AT_ONCE) -> Iterator[Piece]:
        """Its lines in order, some at a time. Raises UnableToRead."""

    def position(self) -> int:
        """How much of the file is read, on the scale of `size`."""

    @property
    def size(self) -> int:
        """The whole of the file."""


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """The recording in this file, by the ending of its name. Raises UnableToRead, OSError."""
    if path.suffix.lower() in PARQUET_ENDINGS:
        yield ParquetRecording(path)
        return
    with path.open("rb") as raw:
        opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix.lower(), io.BufferedReader)
        with io.TextIOWrapper(
            opener(raw), encoding="utf-8-sig", errors="replace", newline=""
        ) as text:
            yield CsvRecording(text, raw, path.stat().st_size)


class CsvRecording:
    """Lines of text, the first of which names the columns. No cell goes on in another line, so a
    quotation mark that is not closed spoils its own line alone.

    Where columns are separated by semicolons, a comma in a number is that of its decimals.
    """

    def __init__(self, text: io.TextIOBase, raw: io.BufferedIOBase, size: int) -> None:
        self._text = text
        self._raw = raw
        self._characters = 0
        self._line = 0
        self.size = size
        self._lines = self._read_lines()
        with _readable(lambda: self._line):
            first, second = next(self._lines, ""), next(self._lines, "")
        # `_line` is that of the second until the third is read.
        self._lines = chain([second] if second else [], self._lines)
        self._delimiter = _delimiter_of(first, second)
        self._has_decimal_commas = self._delimiter == ";"
        try:
            self.columns = [name.strip() for name in self._cells(first)]
        except csv.Error as error:
            raise UnableToRead(_("The first line is no line of a CSV: %s") % error) from error

    def position(self) -> int:
        return min(self._raw.tell(), self.size)

    def pieces(self, at_once: int = LINES_AT_ONCE) -> Iterator["CsvPiece"]:
        while True:
            lines: list[int] = []
            rows: list[list[str]] = []
            faults: list[tuple[int, str]] = []
            ended = not self._fill(lines, rows, faults, at_once)
            _check_unpacked(self._characters, self._raw.tell())
            if rows or faults:
                cells = zip(*rows, strict=True) if rows else [()] * len(self.columns)
                columns = dict(zip(self.columns, cells, strict=True))
                yield CsvPiece(
                    np.array(lines, dtype=np.int64), columns, faults, self._has_decimal_commas
                )
            if ended:
                return

    def _cells(self, line: str) -> list[str]:
        """Raises csv.Error."""
        return _cells(line, self._delimiter)

    def _read_lines(self) -> Iterator[str]:
        """Line by line, as long as they are those of readings."""
        while line := self._text.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise UnableToRead(
                    _("A line has more than %(most)s characters; is it a CSV?")
                    % {"most": LONGEST_LINE}
                )
            self._characters += len(line)
            self._line += 1
            yield line

    def _fill(
        self,
        lines: list[int],
        rows: list[list[str]],
        faults: list[tuple[int, str]],
        at_once: int,
    ) -> bool:
        """Read some lines; says whether there may be more."""
        enough = self._characters + CHARACTERS_AT_ONCE
        with _readable(lambda: self._line):
            for seen, text in enumerate(self._lines, start=1):
                try:
                    row = self._row(text)
                except ValueError as error:
                    faults.append((self._line, str(error)))
                else:
                    if row:  # an empty line is none
                        lines.append(self._line)
                        rows.append(row)
                if seen >= at_once or self._characters >= enough:
                    return True
        return False

    def _row(self, line: str) -> list[str]:
        """The cells of a line. Raises ValueError, with the reason for people."""
        try:
            row = self._cells(line)
        except csv.Error as error:
            reason = _("is no line of a CSV (%s): quotation marks have to be closed in it")
            raise ValueError(reason % error) from error
        if row and len(row) != len(self.columns):
            reason = _("has %(found)s cells where the first line names %(wanted)s columns")
            raise ValueError(reason % {"found": len(row), "wanted": len(self.columns)})
        return row


def _cells(line: str, delimiter: str) -> list[str]:
    """Raises csv.Error."""
    return next(csv.reader((line,), delimiter=delimiter, strict=True), [])


def _delimiter_of(first: str, second: str) -> str:
    """What separates the cells of these two lines: what makes as many of the one as of the other,
    or else, where nothing does, most of the first."""

    def count(line: str, delimiter: str) -> int:
        try:
            return len(_cells(line, delimiter))
        except csv.Error:
            return 0

    counts = {one: count(first, one) for one in _DELIMITERS}
    fitting = (one for one in _DELIMITERS if counts[one] > 1 and counts[one] == count(second, one))
    return next(fitting, max(_DELIMITERS, key=counts.__getitem__))


@dataclass
class CsvPiece:
    """Some lines of a CSV file."""

    lines: np.ndarray
    cells: dict[str, tuple[str, ...]]
    faults: list[tuple[int, str]]
    has_decimal_commas: bool = False

    def texts(self, column: str) -> list[str]:
        return [text.strip() for text in self.cells[column]]

    def numbers(self, column: str) -> tuple[np.ndarray, dict[int, str]]:
        cells = self.cells[column]
        if not self.has_decimal_commas:
            return _parsed(cells)
        values, wrong = _parsed([_with_decimal_point(cell) for cell in cells])
        return values, {row: cells[row] for row in wrong}

    def instants(self, column: str) -> list[str | datetime]:
        return self.texts(column)


class ParquetRecording:
    """A Parquet file; its rows are counted from 1."""

    def __init__(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        self._errors = (pyarrow.ArrowException, OSError)
        packed = path.stat().st_size
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except self._errors as error:
            raise UnableToRead(_("The file is no Parquet: %s") % error) from error
        about = self._file.metadata
        groups = map(about.row_group, range(about.num_row_groups))
        _check_unpacked(sum(group.total_byte_size for group in groups), packed)
        self.columns = list(self._file.schema_arrow.names)
        self.size = about.num_rows
        self._done = 0

    def position(self) -> int:
        return self._done

    def pieces(self, at_once: int = LINES_AT_ONCE) -> Iterator["ParquetPiece"]:
        try:
            for batch in self._file.iter_batches(at_once):
                lines = np.arange(self._done + 1, self._done + 1 + len(batch))
                self._done += len(batch)
                yield ParquetPiece(lines, batch)
        except self._errors as error:
            raise UnableToRead(
                _("The file is damaged after row %(row)s: %(error)s")
                % {"row": self._done, "error": error}
            ) from error


@dataclass
class ParquetPiece:
    """Some rows of a Parquet file."""

    lines: np.ndarray
    batch: Any
    faults: list[tuple[int, str]] = field(default_factory=list)

    def texts(self, column: str) -> list[str]:
        return ["" if cell is None else str(cell) for cell in self.batch.column(column).to_pylist()]

    def numbers(self, column: str) -> tuple[np.ndarray, dict[int, str]]:
        import pyarrow

        cells = self.batch.column(column)
        kind = pyarrow.types
        numeric = (kind.is_integer, kind.is_floating, kind.is_decimal, kind.is_null)
        if not any(is_kind(cells.type) for is_kind in numeric):
            return _parsed(self.texts(column))
        return cells.cast("float64", safe=False).to_numpy(zero_copy_only=False).astype(
            np.float64
        ), {}

    def instants(self, column: str) -> list[str | datetime]:
        import pyarrow

        cells = self.batch.column(column)
        if not pyarrow.types.is_timestamp(cells.type):
            return self.texts(column)
        cells = cells.cast(pyarrow.timestamp("us", tz=cells.type.tz), safe=False)
        return list(map(_instant_of, cells))


def _instant_of(cell: Any) -> str | datetime:
    """The instant of a cell of microseconds; a text where no calendar has it, or none is there."""
    try:
        return cell.as_py() or ""
    except (OverflowError, ValueError):
        return _("%s µs after 1970") % cell.value


def _check_unpacked(unpacked: int, packed: int) -> None:
    """Refuse what unpacks to far more than readings do. Raises UnableToRead."""
    if unpacked > max(HARMLESS_UNPACKED, MOST_UNPACKED_RATIO * packed):
        raise UnableToRead(_("The file unpacks to far more than readings do."))


@contextmanager
def _readable(last_line: Callable[[], int]) -> Iterator[None]:
    """Raise UnableToRead for what cannot be read, after the last line that could (0: none)."""
    try:
        yield
    except _DAMAGED as error:
        if not (line := last_line()):
            raise UnableToRead(
                _("The file cannot be unpacked: it is damaged, or is not what its name ends in.")
            ) from error
        raise UnableToRead(_("The file is damaged after line %s.") % line) from error


def _with_decimal_point(cell: str) -> str:
    """A cell whose only separator is a comma, with a point in its place; others as they are."""
    return cell if "." in cell or cell.count(",") != 1 else cell.replace(",", ".")


def _number(cell: str) -> float:
    """Raises ValueError, also where underscores group the digits, which only programs do."""
    if "_" in cell:
        raise ValueError
    return float(cell)


def _parsed(cells: tuple[str, ...] | list[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Numbers from texts; a text “nan” is one that is not finite, not one that is missing."""
    try:
        values = np.array([_number(cell) if cell else np.nan for cell in cells], dtype=np.float64)
        wrong: dict[int, str] = {}
    except ValueError:
        values = np.full(len(cells), np.nan)
        wrong = {}
        for row, cell in enumerate(cells):
            try:
                values[row] = _number(cell) if cell.strip() else np.nan
            except ValueError:
                wrong[row] = cell
    for row in np.flatnonzero(np.isnan(values)):
        if row not in wrong and cells[row].strip():
            values[row] = np.inf
    return values, wrong
