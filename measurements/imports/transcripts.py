"""The lines of a recording become readings of a system's appliances."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext as _

from inventory.kinds import LONGEST_INTERVAL_S
from inventory.models import Appliance, System
from measurements.batches import Batch
from measurements.imports.layouts import (
    FLOWS,
    INTERVAL_ONLY,
    POINT_QUANTITIES,
    Instants,
    Layout,
    UnableToMap,
    check_directions,
    interval_values,
)
from measurements.imports.recordings import Piece

APPLIANCE_COLUMN = "appliance"
# What long recordings may have beside it, as exported readings do: whose a line is, by UUID.
ID_COLUMN = "appliance_id"
SYSTEM_COLUMN = "system_id"
# Of a long recording whose lines are not all of intervals, or not of the same length: seconds.
LENGTH_COLUMN = "interval_s"
# By so much a mean power may differ from the energies beside it: whole watts are usual.
_ROUNDED_W = 0.5
# So many names of no appliance are remembered.
MOST_UNKNOWN = 100


@dataclass(frozen=True)
class Transcript:
    """The readings of some lines: row i of the batch is of line `lines[i]`.

    `faults` are lines that cannot be read, with the reason; `silent` lines say nothing.
    """

    batch: Batch
    lines: np.ndarray
    faults: list[tuple[int, str]]
    silent: int


class Transcriber:
    """Knows what the columns mean and which appliance is which; `unknown` are the first of the
    names that are of none."""

    def __init__(self, *, system: System, layout: Layout, columns: list[str]) -> None:
        """`columns`: those of the recording. Raises UnableToMap where the layout does not fit."""
        self._system = system
        self._layout = layout
        self._appliances = list(Appliance.objects.filter(system=system).order_by("created_at"))
        self._ids = {str(appliance.pk) for appliance in self._appliances}
        self.unknown: list[str] = []
        self._found: dict[str, Appliance] = {}
        self._instants = Instants(layout.zone)
        self._quantities = check_columns(columns, layout)
        self._columns = columns
        for mapping in layout.mappings:
            self.find(mapping.appliance)

    def find(self, name: str) -> Appliance:
        """The appliance with this UUID, local id or name. Raises UnableToMap."""
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def transcribe(self, piece: Piece) -> Transcript:
        """The readings of these lines, in their order for each appliance."""
        faults: dict[int, str] = {}
        is_wide = bool(self._layout.mappings)
        whose = [""] * len(piece.lines) if is_wide else self._whose(piece, faults)
        at_ms = self._read_instants(piece, whose, faults)
        placed = _without(faults, len(piece.lines))
        if is_wide:
            spoken = self._wide(piece, faults)
        elif self._layout.interval_s is None:
            spoken = self._mixed(piece, whose, faults)
        else:
            spoken = self._long(piece, whose, faults)
        readable = _without(faults, len(piece.lines))
        batches, rows = [], []
        for appliance_key, columns in spoken:
            begin_ms, values = self._of_intervals(at_ms, placed, appliance_key, columns)
            said = readable & _said(values, len(piece.lines))
            batch = Batch.of(
                system_key=self._system.key, appliance_key=appliance_key, at_ms=begin_ms, **values
            )
            batches.append(batch.take(said))
            rows.append(np.flatnonzero(said))
        told = np.concatenate(rows)
        by_line = [(int(piece.lines[row]), reason) for row, reason in faults.items()]
        return Transcript(
            batch=Batch.joined(batches),
            lines=piece.lines[told],
            faults=piece.faults + by_line,
            silent=int(np.count_nonzero(readable)) - len(np.unique(told)),
        )

    def _whose(self, piece: Piece, faults: dict[int, str]) -> list[str]:
        """Whom each line names: by its UUID where it has one, else as it calls them; whom a line
        that is refused for it names is nobody."""
        whose = piece.texts(APPLIANCE_COLUMN)
        if SYSTEM_COLUMN in self._columns:
            own = {"", str(self._system.pk)}
            for row, told in enumerate(piece.texts(SYSTEM_COLUMN)):
                if told.lower() not in own:
                    whose[row] = ""
                    faults[row] = _(
                        "%(column)s: “%(told)s” is another system; leave bad lines out to store"
                        " those of %(system)s alone."
                    ) % {"column": SYSTEM_COLUMN, "told": told, "system": self._system}
        if ID_COLUMN in self._columns:
            for row, told in enumerate(piece.texts(ID_COLUMN)):
                if told.lower() in self._ids:
                    whose[row] = told
                elif told:
                    whose[row] = ""
                    faults.setdefault(
                        row,
                        _(
                            "%(column)s: “%(told)s” is no appliance of %(system)s; without this"
                            " column, lines go by “appliance”."
                        )
                        % {"column": ID_COLUMN, "told": told, "system": self._system},
                    )
        return whose

    def _look_up(self, name: str) -> Appliance:
        found = appliances_called(name, self._appliances)
        if not found:
            if name and name not in self.unknown and len(self.unknown) < MOST_UNKNOWN:
                self.unknown.append(name)
            known = ", ".join(appliance.name for appliance in self._appliances) or "–"
            raise UnableToMap(
                _("“%(name)s” is no appliance of %(system)s, which has: %(known)s.")
                % {"name": name, "system": self._system, "known": known}
            )
        if len(found) > 1:
            raise several_called(name)
        return found[0]

    def _wide(
        self, piece: Piece, faults: dict[int, str]
    ) -> list[tuple[int, dict[str, np.ndarray]]]:
        """Each appliance's quantities; columns of the same quantity are added."""
        sums: dict[int, dict[str, np.ndarray]] = {}
        for mapping in self._layout.mappings:
            column = mapping.scale * _numbers(piece, mapping.column, faults)
            of_appliance = sums.setdefault(self.find(mapping.appliance).key, {})
            # Where one of them was not read, neither is the sum: NaN makes it so.
            of_appliance[mapping.quantity] = of_appliance.get(mapping.quantity, 0.0) + column
        return list(sums.items())

    def _long(
        self, piece: Piece, whose: list[str], faults: dict[int, str]
    ) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
        keys: dict[str, int] = {}
        unknown: dict[str, str] = {}
        for name in set(whose):
            try:
                keys[name] = self.find(name).key
            except UnableToMap as error:
                keys[name], unknown[name] = 0, str(error)
        for row, name in enumerate(whose):
            if name in unknown:
                faults.setdefault(row, unknown[name])
        columns = {name: _numbers(piece, name, faults) for name in self._quantities}
        appliance_key = np.array([keys[name] for name in whose], dtype=np.int32)
        return [(appliance_key, columns)]

    def _mixed(
        self, piece: Piece, whose: list[str], faults: dict[int, str]
    ) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Values of instants and, where energies are given, of intervals of the lines' own length.

        Beside such energies `power_w` says nothing where it is but their mean, as in what we
        export; another one was read at the instant that the interval begins at.
        """
        [(appliance_key, columns)] = self._long(piece, whose, faults)
        of_interval = {name: columns.pop(name) for name in INTERVAL_ONLY if name in columns}
        told = _said(of_interval, len(piece.lines))
        if not np.any(told):
            return [(appliance_key, columns)]
        lengths_s = np.full(len(piece.lines), np.nan)
        if LENGTH_COLUMN in self._columns:
            lengths_s = _numbers(piece, LENGTH_COLUMN, faults)
        for row in np.flatnonzero(told & np.isnan(lengths_s)):
            quantity = next(name for name in of_interval if not np.isnan(of_interval[name][row]))
            faults.setdefault(
                int(row),
                _("%(quantity)s is of an interval: say how long it is.") % {"quantity": quantity},
            )
        whole = (lengths_s >= 1) & (lengths_s <= LONGEST_INTERVAL_S)
        whole &= lengths_s == np.floor(lengths_s)
        for row in np.flatnonzero(told & ~whole):
            faults.setdefault(int(row), _("An interval lasts whole seconds, from 1 to 3600."))
        lengths_s = np.where(whole, lengths_s, np.nan)
        values = interval_values(of_interval, lengths_s)
        if "power_w" in columns:
            is_mean = np.abs(columns["power_w"] - _means_w(values, lengths_s)) <= _ROUNDED_W
            columns["power_w"] = np.where(told & is_mean, np.nan, columns["power_w"])
        return [(appliance_key, columns | values)]

    def _of_intervals(
        self,
        at_ms: np.ndarray,
        placed: np.ndarray,
        appliance_key: int | np.ndarray,
        columns: dict[str, np.ndarray],
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Where readings begin (ms) and their values, as columns of a batch.

        `placed`: the rows whose instants could be read.
        """
        if self._layout.interval_s is None:
            return at_ms, columns
        flows = {name: column for name, column in columns.items() if name in FLOWS}
        told = placed & _said(flows, len(at_ms))
        lengths_s = _lengths_s(
            at_ms, np.broadcast_to(appliance_key, at_ms.shape), told, self._layout
        )
        begin_ms = at_ms - 1000 * lengths_s if self._layout.label_end else at_ms
        return begin_ms, interval_values(columns, lengths_s)

    def _read_instants(self, piece: Piece, whose: list[str], faults: dict[int, str]) -> np.ndarray:
        at_ms = np.zeros(len(piece.lines), dtype=np.int64)
        for row, cell in enumerate(piece.instants(self._layout.time_column)):
            try:
                at_ms[row] = self._instants.read(cell, whose[row])
            except ValueError as error:
                faults.setdefault(row, str(error))
        return at_ms


def appliances_called(name: str, appliances: Sequence[Appliance]) -> list[Appliance]:
    """Those with this UUID, or else this local id, or else this name."""
    if not name:  # which is also the local id of those that have none
        return []
    by_id = [one for one in appliances if str(one.pk) == name.lower()]
    by_local_id = [one for one in appliances if one.local_id == name]
    return by_id or by_local_id or [one for one in appliances if one.name == name]


def several_called(name: str) -> UnableToMap:
    """What is said of a name that several appliances have."""
    return UnableToMap(_("“%s” names several appliances: give the UUID.") % name)


def _without(faults: Collection[int], length: int) -> np.ndarray:
    """The rows that have no fault."""
    rows = np.ones(length, dtype=bool)
    rows[list(faults)] = False
    return rows


def _means_w(values: dict[str, np.ndarray], lengths_s: np.ndarray) -> np.ndarray:
    """The mean powers of intervals: what flowed in less what flowed out, as far as it is told."""
    taken, given = (
        np.nan_to_num(values.get(name, 0.0), posinf=0.0)  # infinity is no number, and a fault
        for name in ("import_energy_wh", "export_energy_wh")
    )
    return (taken - given) * 3600 / lengths_s


def _lengths_s(
    at_ms: np.ndarray, appliance_key: np.ndarray, told: np.ndarray, layout: Layout
) -> np.ndarray:
    """How long the interval of each line is: at most as far as to the appliance's next instant.

    Some exports go over to shorter intervals by and by. Only the lines where something is `told`
    of an interval are such instants: others may tell of another appliance, or of a state between
    two of them. With `label_end` it begins at the one before. Beyond the first and the last of the
    lines, nothing is known but the neighbour's.
    """
    lengths_s = np.full(len(at_ms), layout.interval_s, dtype=np.int64)
    for key in np.unique(appliance_key[told]):
        rows = appliance_key == key
        instants = np.unique(at_ms[rows & told])
        if len(instants) > 1:
            apart_s = np.maximum(np.diff(instants) // 1000, 1)
            at_edge = (0, apart_s[0]) if layout.label_end else (len(apart_s), apart_s[-1])
            apart_s = np.insert(apart_s, *at_edge)
            places = np.minimum(np.searchsorted(instants, at_ms[rows]), len(apart_s) - 1)
            lengths_s[rows] = np.minimum(lengths_s[rows], apart_s[places])
    return lengths_s


def check_columns(columns: list[str], layout: Layout) -> tuple[str, ...]:
    """Whether a recording with these columns has this layout. Raises UnableToMap.

    Returns the quantities that are columns of a long recording.
    """
    needed = [layout.time_column]
    if layout.mappings:
        needed += [mapping.column for mapping in layout.mappings]
        quantities: tuple[str, ...] = ()
    else:
        needed.append(APPLIANCE_COLUMN)
        known = {*POINT_QUANTITIES, *INTERVAL_ONLY}
        quantities = tuple(name for name in dict.fromkeys(columns) if name in known)
        needed += quantities
        needed += [name for name in (ID_COLUMN, SYSTEM_COLUMN) if name in columns]
        if layout.interval_s is None:
            # Their lengths are the lines' own, and empty cells need none.
            of_interval = [name for name in quantities if name in INTERVAL_ONLY]
            check_directions(of_interval)
            needed += [LENGTH_COLUMN] if LENGTH_COLUMN in columns else []
        else:
            layout.check_quantities(quantities)
    for name in dict.fromkeys(needed):
        if columns.count(name) != 1:
            wrong = _("stands twice") if name in columns else _("is missing")
            raise UnableToMap(
                _("The column “%(name)s” %(wrong)s; the file has: %(columns)s.")
                % {"name": name, "wrong": wrong, "columns": ", ".join(columns)}
            )
    if not layout.mappings and not quantities:
        raise UnableToMap(
            _("None of the file's columns is a quantity: %s.") % ", ".join(layout.quantities)
        )
    return quantities


def _numbers(piece: Piece, column: str, faults: dict[int, str]) -> np.ndarray:
    """The numbers of a column, NaN in empty cells; infinity where no number is read, which is a
    fault but not nothing."""
    values, wrong = piece.numbers(column)
    values[list(wrong)] = np.inf
    for row, text in wrong.items():
        reason = _("%(column)s: “%(text)s” is not a number")
        if "," in text:
            reason = _(
                "%(column)s: “%(text)s” is not a number; a decimal comma is read where columns are"
                " separated by “;”, and thousands are not separated"
            )
        faults.setdefault(row, reason % {"column": column, "text": text})
    return values


def _said(values: dict[str, np.ndarray], length: int) -> np.ndarray:
    """Where any quantity was read."""
    said = np.zeros(length, dtype=bool)
    for column in _speaking(values):
        said |= ~np.isnan(column)
    return said


def _speaking(values: dict[str, np.ndarray]) -> Iterable[np.ndarray]:
    return (column for name, column in values.items() if name != "interval_s")
