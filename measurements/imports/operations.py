"""Files of recorded readings: kept until a worker has read them, then gone; what was found stays.

A worker does all of an import in one transaction, together with what it notes of it: one that dies
has done nothing of it, and another one begins anew. How far it is, is told through the cache; that
it was cancelled is seen at the next piece. Imports are long, so workers do one at a time, whoever
holds an advisory lock: the others have other things to do.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import connection, transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import translation
from django.utils.translation import gettext as _

from accounts import outbox
from accounts.access import Action, require
from accounts.audit import Verb, record_change
from accounts.models import OutboxMessage, User
from accounts.outbox import Patience
from inventory.models import System
from measurements.imports.importing import UnableToImport, import_file
from measurements.imports.kept import layout_of_json, layout_to_json, report_to_json
from measurements.imports.layouts import Layout
from measurements.imports.preview import Preview, ending_of, read_preview
from measurements.imports.progress import forget_progress, tell_progress
from measurements.imports.recordings import UnableToRead
from measurements.models import RecordingImport
from measurements.slots.claims import make_claimable

logger = logging.getLogger(__name__)

KIND = "import of readings"
# A worker that died is waited for so long.
PATIENCE = Patience(lease=timedelta(seconds=30), first_pause=timedelta(seconds=10), most_attempts=4)
# So long files are kept for somebody to say what they mean.
KEPT_UNUSED = timedelta(days=1)
LOCK = 0x67726978

CHOSEN, BEGUN, DONE, REFUSED, CANCELLED = RecordingImport.State


class UnableToBegin(Exception):
    """It is at work or over already, or its file is gone; the message says so."""


class _NotWanted(Exception):
    """It was cancelled, or is over."""


def receive_file(*, system: System, file: File, by: User, now: datetime) -> RecordingImport:
    """Keep a file until it is said what its columns mean. Raises UnableToRead."""
    ending = ending_of(file.name)
    job = RecordingImport(
        created_at=now, changed_at=now, system=system, by=by, file_name=file.name[-200:]
    )
    job.stored_as = f"{job.pk}{ending}"
    # The row first: so no file lies there of which nobody knows.
    job.save(force_insert=True)
    try:
        _storage().save(job.stored_as, file)
        preview_of(job)
    except UnableToRead:
        _storage().delete(job.stored_as)
        job.delete()
        raise
    return job


def preview_of(job: RecordingImport) -> Preview:
    """The first lines of its file. Raises UnableToRead."""
    try:
        return read_preview(_path(job))
    except FileNotFoundError as error:
        raise UnableToRead(_("The file is not kept any more: choose it again.")) from error


def begin_import(
    *, job: RecordingImport, layout: Layout, skip_bad: bool, by: User, now: datetime
) -> None:
    """Have workers read it. Raises UnableToBegin."""
    with transaction.atomic():
        message = outbox.add_message(kind=KIND, payload={"import": str(job.pk)}, now=now)
        mappable = RecordingImport.objects.filter(pk=job.pk, state__in=(CHOSEN, REFUSED))
        begun = mappable.exclude(stored_as="").update(
            state=BEGUN,
            changed_at=now,
            by=by,
            layout=layout_to_json(layout),
            skip_bad=skip_bad,
            language=translation.get_language() or "",
            reason="",
            report=None,
            message=message,
        )
        if not begun:
            raise UnableToBegin(_("It is at work or over already, or its file is not kept."))


def cancel_import(*, job: RecordingImport, now: datetime) -> bool:
    """Stop it, with nothing stored; whether it was not over yet."""
    going = RecordingImport.objects.filter(pk=job.pk, state__in=(CHOSEN, BEGUN))
    is_cancelled = bool(going.update(state=CANCELLED, changed_at=now))
    if is_cancelled:
        _forget_file(job)
    return is_cancelled


def forget_files(*, now: datetime) -> None:
    """Remove files that nobody used for a day, and what was never begun."""
    unused = RecordingImport.objects.filter(changed_at__lt=now - KEPT_UNUSED).exclude(state=BEGUN)
    for job in unused.exclude(stored_as=""):
        _forget_file(job)
    unused.filter(state=CHOSEN).delete()


# What workers do ---------------------------------------------------------------------------------


def work_due(*, now: datetime) -> bool:
    """Do the import that is due longest; whether there was one, and nobody else imports."""
    with _alone() as is_alone:
        return is_alone and _work_next(now)


def _work_next(now: datetime) -> bool:
    claimed = outbox.claim_due(kind=KIND, now=now, limit=1, patience=PATIENCE)
    for message in claimed:
        job_id = UUID(message.payload["import"])
        try:
            _work(job_id, message, now)
        except Exception as error:
            logger.warning("Import %s failed", job_id, exc_info=True)
            problem = f"{type(error).__name__}: {error}"
            outbox.postpone(message, error=problem, now=now, patience=PATIENCE)
            if message.failed_at is not None:
                _give_up(job_id, problem, now)
    return bool(claimed)


def _work(job_id: UUID, message: OutboxMessage, now: datetime) -> None:
    rows = RecordingImport.objects.select_related("system__account", "by__account")
    job = rows.get(pk=job_id)
    try:
        if message.attempts > PATIENCE.most_attempts:
            raise RuntimeError("each worker that tried it died")
        # Before the long transaction, for the reason that `import_file` has.
        make_claimable(job.system.key)
        with transaction.atomic(), translation.override(job.language or None):
            _go_on(job, 0, 1)
            found = _import(job, now)
            if not _standing(job).update(changed_at=now, **found):
                raise _NotWanted
            outbox.confirm(message, now=now)
    except _NotWanted:
        outbox.confirm(message, now=now, remark="not wanted any more")
    else:
        if found["state"] == DONE:
            _forget_file(job)
    finally:
        forget_progress(job.pk)


def _import(job: RecordingImport, now: datetime) -> dict[str, Any]:
    """Read its file; returns what became of it."""
    try:
        require(job.by, Action.MANAGE_INVENTORY, job.system)
        if not _storage().exists(job.stored_as):
            raise UnableToImport(_("The file is not kept any more: choose it again."))
        report = import_file(
            path=_path(job),
            system=job.system,
            layout=layout_of_json(job.layout),
            now=now,
            skip_bad=job.skip_bad,
            progress=partial(_go_on, job),
        )
    except (Http404, PermissionDenied):
        return {"state": REFUSED, "reason": _("Who began it may not import into this system now.")}
    except UnableToImport as error:
        kept = None if error.report is None else report_to_json(error.report)
        return {"state": REFUSED, "reason": str(error).replace("\0", ""), "report": kept}
    record_change(
        verb=Verb.IMPORTED,
        target=job,
        account=job.system.account,
        by=job.by,
        now=now,
        changes={
            "system": [None, job.system.name],
            "readings": [None, report.stored],
            **({"added": report.created} if report.created else {}),
        },
    )
    return {"state": DONE, "report": report_to_json(report)}


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether nobody else imports; nobody will until the end, or until the connection ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        is_alone = cursor.fetchone()[0]
        try:
            yield is_alone
        finally:
            if is_alone:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _standing(job: RecordingImport) -> QuerySet[RecordingImport]:
    """The row, as long as it is to be worked at."""
    return RecordingImport.objects.filter(pk=job.pk, state=BEGUN)


def _go_on(job: RecordingImport, done: int, total: int) -> None:
    """Tell how far it is. Raises _NotWanted."""
    if not _standing(job).exists():
        raise _NotWanted
    tell_progress(job.pk, done / max(total, 1))


def _give_up(job_id: UUID, problem: str, now: datetime) -> None:
    job = RecordingImport.objects.get(pk=job_id)
    with translation.override(job.language or None):
        reason = _("It failed again and again. Tell staff: %s") % problem[:500]
    _standing(job).update(state=REFUSED, reason=reason.replace("\0", ""), changed_at=now)


def _forget_file(job: RecordingImport) -> None:
    """Remove its file, and only then the knowledge of it."""
    _storage().delete(job.stored_as)
    RecordingImport.objects.filter(pk=job.pk).update(stored_as="")


def _path(job: RecordingImport) -> Path:
    return Path(_storage().path(job.stored_as))


def _storage() -> Storage:
    return storages["recordings"]
