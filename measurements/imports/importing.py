"""Recorded history from files: a whole file or nothing, line by line accounted for.

Everything happens in one transaction, some thousand lines at a time, so that a file of any size
needs little memory and a failure leaves nothing behind (but empty weeks, see `partitions`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from django.db import OperationalError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from inventory.kinds import LONGEST_INTERVAL_S
from inventory.models import Appliance, Gateway, System
from measurements.batches import Batch
from measurements.imports.cadence import Cadence
from measurements.imports.coarser import as_fine_as_stored
from measurements.imports.declaring import Stood, bridged, declare_told, told_by
from measurements.imports.layouts import Layout, NewAppliance, UnableToMap
from measurements.imports.recordings import Piece, UnableToRead, open_recording
from measurements.imports.transcripts import Transcriber, appliances_called, several_called
from measurements.ingest import declare_interval, judge_history, keep_latest, store_readings
from measurements.partitions import is_busy
from measurements.plausibility import REASONS, load_plausible_powers
from measurements.resolutions import from_ms
from measurements.slots.claims import make_claimable

# So many refused lines are told one by one; beyond that they are only counted.
TOLD_LINES = 1_000
# What gateways can take for a local id, see `gridx.gateways.messages`.
_LOCAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class Overtaken(Exception):
    """Nothing was stored, because of what others did meanwhile; once more it may succeed."""


class UnableToImport(Exception):
    """Nothing was stored; the message says why, and `report` which lines were bad, if any."""

    def __init__(self, message: str, report: "ImportReport | None" = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class BadLine:
    """A line (of Parquet: a row, from 1) of which something was refused."""

    line: int
    reason: str


@dataclass
class ImportReport:
    """What became of a recording.

    `lines` were read; `silent` of them say nothing; `bad` of them were refused in whole or in
    part, of which the first `TOLD_LINES` are in `bad_lines`. Of the readings, `stored` are new or
    changed, `unchanged` were known, and `repeated` say nothing new of instants that the file had
    told of already. `created`: the names of appliances that were made; `unknown`: the first of the
    names in the file that are of no appliance. `dirty_slots`: how many slots of appliances were
    marked for computation, once for each reason.
    """

    lines: int = 0
    silent: int = 0
    bad: int = 0
    stored: int = 0
    unchanged: int = 0
    repeated: int = 0
    dirty_slots: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    created: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    bad_lines: list[BadLine] = field(default_factory=list)

    def refuse(self, faults: Iterable[tuple[int, str]]) -> None:
        """Take note of bad lines, each with a reason."""
        faults = sorted(faults)
        self.bad += len({line for line, _reason in faults})
        room = max(TOLD_LINES - len(self.bad_lines), 0)
        self.bad_lines += [BadLine(line, reason) for line, reason in faults[:room]]


def import_file(
    *,
    path: Path,
    system: System,
    layout: Layout,
    now: datetime,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Store a recording as history of the system's appliances.

    Bad lines are left out with `skip_bad`; otherwise one of them is enough for nothing to be
    stored, and all of them are told. `progress` is told how much of how much is read. The same
    file twice changes nothing. Declares how often was read: the interval of the layout, or else
    the usual distance of the instants, from the first on and wherever it changes for a
    day or more (`measurements.imports.cadence`). Raises UnableToImport and Overtaken.
    """
    # Before the long transaction: gateways that store meanwhile would wait for its end to learn
    # whether the row exists.
    make_claimable(system.key)
    try:
        with open_recording(path) as recording, transaction.atomic():
            created = _create_appliances(system, layout, now)
            transcriber = Transcriber(system=system, layout=layout, columns=recording.columns)
            run = _Run(system, layout, transcriber, now, skip_bad)
            for piece in recording.pieces():
                run.take(piece)
                if progress is not None:
                    progress(recording.position(), recording.size)
            if not run.report.lines:
                raise UnableToRead(_("The file has no lines but the one that names the columns."))
            _check_created(system, created)
            run.finish(created)
            return run.report
    except OSError as error:
        raise UnableToImport(
            _("%(file)s cannot be read: %(error)s") % {"file": path, "error": error.strerror}
        ) from error
    except (UnableToMap, UnableToRead) as error:
        raise UnableToImport(str(error)) from error
    except OperationalError as error:
        if not is_busy(error):
            raise
        raise Overtaken(
            _(
                "Others were storing at the same time, so nothing was stored. Begin the import"
                " once more."
            )
        ) from error


class _Run:
    """One import on its way."""

    def __init__(
        self,
        system: System,
        layout: Layout,
        transcriber: Transcriber,
        now: datetime,
        skip_bad: bool,
    ) -> None:
        self.report = ImportReport()
        self._layout = layout
        self._transcriber = transcriber
        self._now = now
        self._skip_bad = skip_bad
        appliances = Appliance.objects.filter(system=system).select_related("system")
        self._appliances = {appliance.key: appliance for appliance in appliances}
        self._powers = load_plausible_powers(np.array(list(self._appliances), dtype=np.int32))
        self._cadences: dict[int, Cadence] = {}
        # Of that alone for which it matters how often it is read.
        self._bridged: dict[int, Cadence] = {}
        self._stood = Stood(system.key)
        self._newest = Batch.joined(())

    def take(self, piece: Piece) -> None:
        """Store some lines; only judge them once it is clear that nothing will be stored."""
        told = self._transcriber.transcribe(piece)
        report = self.report
        report.lines += len(piece.lines) + len(piece.faults)
        report.silent += told.silent
        unchanged = 0
        if self._skip_bad or not (report.bad or told.faults):
            self._stood.look(told.batch.take(bridged(told.batch)))
            done = store_readings(
                batch=as_fine_as_stored(told.batch),
                now=self._now,
                history=True,
                powers=self._powers,
                latest_later=True,
            )
            self._newest = Batch.joined((self._newest, done.accepted.newest())).settled().newest()
            reasons = done.reasons
            report.stored += done.stored
            unchanged = done.unchanged
            report.dirty_slots += done.dirty_slots
        else:
            reasons = judge_history(batch=told.batch, now=self._now, powers=self._powers)
        refused = [
            (int(told.lines[row]), self._refusal(told.batch.appliance_key[row], reasons[row]))
            for row in np.flatnonzero(reasons)
        ]
        report.refuse(told.faults + refused)
        accepted = told.batch.take(reasons == 0)
        settled = accepted.settled()
        again = len(accepted) - len(settled) + self._measure(settled)
        report.repeated += min(unchanged, again)
        report.unchanged += max(unchanged - again, 0)

    def finish(self, created: list[Appliance]) -> None:
        """Declare how often was read, and what was read last.

        Raises UnableToImport when a bad line forbids the import.
        """
        self.report.unknown = self._transcriber.unknown
        if self.report.bad and not self._skip_bad:
            raise UnableToImport(
                ngettext(
                    "One line is bad, so nothing was stored.",
                    "%(count)s lines are bad, so nothing was stored.",
                    self.report.bad,
                )
                % {"count": self.report.bad},
                self.report,
            )
        self.report.created = [appliance.name for appliance in created]
        for appliance in created:
            self._say_interval(appliance)
        for key, cadence in self._bridged.items():
            self.report.dirty_slots += declare_told(
                appliance=self._appliances[key],
                told=told_by(cadence),
                stood=self._stood.stretches(key),
                now=self._now,
            )
        # Last of all: gateways that store of the same appliances wait from here on.
        keep_latest(self._newest, history=True)

    def _refusal(self, appliance_key: int, reason: int) -> str:
        return _("The reading of %(appliance)s %(reason)s") % {
            "appliance": self._appliances[int(appliance_key)].name,
            "reason": REASONS[reason - 1].label,
        }

    def _measure(self, batch: Batch) -> int:
        """Note from when to when, and how often, each appliance was read.

        Returns how many of these instants lie where the file had been before.
        """
        if not len(batch):
            return 0
        again, is_bridged = 0, bridged(batch)
        report, runs = self.report, batch.by_appliance()
        first, last = from_ms(batch.at_ms.min()), from_ms(batch.at_ms.max())
        report.first_at = first if report.first_at is None else min(report.first_at, first)
        report.last_at = last if report.last_at is None else max(report.last_at, last)
        for start, end in zip(runs.starts, runs.ends, strict=True):
            at_ms = batch.at_ms[start:end]
            key = int(batch.appliance_key[start])
            if key in self._cadences:
                again += self._cadences[key].count_within(at_ms)
            _note(self._cadences, key, at_ms)
            _note(self._bridged, key, at_ms[is_bridged[start:end]])
        return again

    def _say_interval(self, new: Appliance) -> None:
        """A new appliance goes on being read as often as it was at the recording's end.

        Declared from the beginning on, it still holds there when a gateway says otherwise.
        """
        if new.key not in self._cadences:
            return
        cadence = self._cadences[new.key]
        intervals = self._bridged.get(new.key, cadence).intervals() or cadence.intervals()
        usual_s = self._layout.interval_s or (intervals[-1][1] if intervals else None)
        if usual_s is None:
            return
        appliance = self._appliances[new.key]
        appliance.interval_s = min(usual_s, LONGEST_INTERVAL_S)
        appliance.save(update_fields=["interval_s", "updated_at"])
        declare_interval(
            appliance=appliance,
            interval_s=appliance.interval_s,
            valid_from=from_ms(cadence.first_ms),
        )


def _note(cadences: dict[int, Cadence], key: int, at_ms: np.ndarray) -> None:
    if not len(at_ms):
        return
    if key not in cadences:
        cadences[key] = Cadence(int(at_ms[0]), int(at_ms[0]))
    cadences[key].note(at_ms)


def _create_appliances(system: System, layout: Layout, now: datetime) -> list[Appliance]:
    """Make the layout's new appliances where the system has none that is called so.

    Raises UnableToMap where it has one of another kind, one that was removed, or several.
    """
    known = list(Appliance.objects.filter(system=system))
    created = []
    for new in layout.create:
        if found := appliances_called(new.name, known):
            _check_existing(new, found)
            continue
        # A gateway that finds the same appliance later takes it over by this local id.
        local_id = new.name if _LOCAL_ID.fullmatch(new.name) else ""
        appliance = Appliance.objects.create(
            system=system, name=new.name, local_id=local_id, kind=new.kind, created_at=now
        )
        created.append(appliance)
        known.append(appliance)
    return created


def _check_created(system: System, created: Sequence[Appliance]) -> None:
    """Whether no gateway has found meanwhile what was made here. Raises Overtaken.

    A hello sees nothing of what is not committed, and makes an appliance of its own. It holds its
    gateway: what one made that is here before is seen, and one that comes later sees what was made.
    """
    if not created:
        return
    list(Gateway.objects.select_for_update(no_key=True).filter(system=system).values_list("pk"))
    present = Appliance.objects.filter(system=system).exclude(local_id="")
    of_others = set(present.exclude(gateway=None).values_list("local_id", "kind"))
    for appliance in created:
        if (appliance.local_id, appliance.kind) in of_others:
            raise Overtaken(
                _(
                    "The gateway of %(system)s found “%(name)s” meanwhile, so nothing was stored."
                    " Begin the import once more: what was read goes to what the gateway found."
                )
                % {"system": system.name, "name": appliance.name}
            )


def _check_existing(new: NewAppliance, found: Sequence[Appliance]) -> None:
    """Whether what is called like a new appliance is what it was said to be."""
    if len(found) > 1:
        raise several_called(new.name)
    [existing] = found
    said = {
        "system": existing.system,
        "name": new.name,
        "kind": existing.get_kind_display(),
        "uuid": existing.pk,
    }
    if existing.kind != new.kind:
        raise UnableToMap(
            _("%(system)s has an appliance “%(name)s” already; it is a %(kind)s.") % said
        )
    if existing.removed_at is not None:
        # What is read after the removal would count nowhere.
        raise UnableToMap(
            _(
                "The appliance “%(name)s” of %(system)s was removed. What it read before goes to"
                " its UUID, %(uuid)s; give a new one another name."
            )
            % said
        )
