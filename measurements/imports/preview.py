"""The first lines of a file of recorded readings, so that one sees what its columns mean."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.utils.translation import gettext as _

from measurements.imports.recordings import ENDINGS, UnableToRead, open_recording
from measurements.imports.transcripts import APPLIANCE_COLUMN, ID_COLUMN

FIRST_LINES = 8
MOST_COLUMNS = 120
_LONGEST_COLUMN = 120
_LONGEST_CELL = 60
_USUAL_TIME_COLUMN = "at"


@dataclass(frozen=True)
class Preview:
    """The columns that have a name of their own, and the texts of the first lines in them.

    `repeated` are the names that several columns have: none of these can be meant.
    """

    columns: list[str]
    lines: list[tuple[str, ...]]
    repeated: list[str]

    @property
    def is_long(self) -> bool:
        """Whether its lines name their appliance, so that nothing has to be said of columns."""
        return APPLIANCE_COLUMN in self.columns

    @property
    def time_column(self) -> str:
        """The column that the instants seem to be in; empty where none does."""
        if _USUAL_TIME_COLUMN in self.columns:
            return _USUAL_TIME_COLUMN
        return next((name for name in self.columns if _are_instants(self.cells(name))), "")

    @property
    def appliances(self) -> list[str]:
        """Whom the first lines know by name alone, as far as that is shown as a whole."""
        if not self.is_long:
            return []
        named = [dict(zip(self.columns, line, strict=True)) for line in self.lines]
        return [
            line[APPLIANCE_COLUMN]
            for line in named
            if not line.get(ID_COLUMN) and 0 < len(line[APPLIANCE_COLUMN]) <= _LONGEST_CELL
        ]

    def cells(self, column: str) -> list[str]:
        """What the first lines have in a column, without empty cells."""
        place = self.columns.index(column)
        return [line[place] for line in self.lines if line[place]]


def ending_of(file_name: str) -> str:
    """The ending by which files are told apart, such as ".gz". Raises UnableToRead."""
    ending = Path(file_name).suffix.lower()
    if ending not in ENDINGS:
        raise UnableToRead(_("Choose a file that ends in %s.") % ", ".join(ENDINGS))
    return ending


def read_preview(path: Path) -> Preview:
    """Its columns and first lines. Raises UnableToRead, also where they cannot be readings."""
    with open_recording(path) as recording:
        counted = Counter(recording.columns)
        columns = [name for name, count in counted.items() if name and count == 1]
        repeated = [name for name, count in counted.items() if name and count > 1]
        _check_names([*columns, *repeated])
        piece = next(recording.pieces(FIRST_LINES), None)
        if piece is None:
            raise UnableToRead(_("The file has no lines but the one that names the columns."))
        try:
            cells = [[_shown(text) for text in piece.texts(name)] for name in columns]
        except (ValueError, OverflowError) as error:  # as of instants that no calendar has
            raise UnableToRead(_("The file has values that cannot be read: %s") % error) from error
        return Preview(columns, list(zip(*cells, strict=True)), repeated)


def _check_names(columns: Sequence[str]) -> None:
    if not columns:
        raise UnableToRead(_("The file is empty."))
    if any("\0" in name or len(name) > _LONGEST_COLUMN for name in columns):
        raise UnableToRead(_("The first line does not name columns; is it a CSV?"))
    if len(columns) < 2:
        raise UnableToRead(
            _("The first line has to name columns, at least one of instants and one of readings.")
        )
    if len(columns) > MOST_COLUMNS:
        raise UnableToRead(
            _("The file has %(count)s columns; at most %(most)s can be said what they are.")
            % {"count": len(columns), "most": MOST_COLUMNS}
        )


def _shown(text: str) -> str:
    text = text.replace("\0", "")
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"


def _are_instants(cells: Sequence[str]) -> bool:
    return bool(cells) and all(map(is_instant, cells))


def is_instant(cell: str) -> bool:
    """Whether a cell is an instant that people would write, with or without an offset."""
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return "-" in cell
