"""Constraints of many appliances set or withdrawn in the background, each once and accounted for.

What cannot be done for one of them is refused before anything is saved. What is saved is a row for
each appliance and a message of the outbox; workers do some at a time, each time in one transaction
with what they note of it. So a worker that dies has done a part or none of it, another one goes on
from there, and nothing is done twice.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.utils.translation import gettext as _

from accounts import outbox
from accounts.audit import Verb
from accounts.outbox import Patience
from accounts.rows import update_rows
from flexibility.bulk.stored import draft_of_json, draft_to_json
from flexibility.emitters import Emitter, UnableToConstrain
from flexibility.models import BulkAction, BulkItem, Constraint, Series, not_over
from flexibility.operations import (
    MOST_STANDING,
    Draft,
    UnableToRestore,
    drafted,
    record_constraint,
    require_own,
)
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from flexibility.series.operations import (
    SeriesDraft,
    restore_series,
    set_series,
    withdraw_series,
)
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance

logger = logging.getLogger(__name__)

KIND = "bulk action"
MOST_APPLIANCES = 10_000
# So many are done in one transaction; of series, which are hundreds of constraints each, fewer.
AT_ONCE = 25
SERIES_AT_ONCE = 2
# A worker that died is waited for so long.
PATIENCE = Patience(lease=timedelta(seconds=30), first_pause=timedelta(seconds=10))

# However long workers take, what is to be given back is.
RESTORED_WITHIN = timedelta(hours=1)
# So long what was withdrawn from many can be given back to all of them.
UNDONE_WITHIN = timedelta(minutes=10)

SET, WITHDRAW, RESTORE = BulkAction.Verb
WAITING, DONE, REFUSED = BulkItem.State.WAITING, BulkItem.State.DONE, BulkItem.State.REFUSED


@dataclass(frozen=True)
class Obstacle:
    """Why something cannot be done for one appliance."""

    appliance: Appliance
    reason: str


class UnableToActOnAll(Exception):
    """It cannot be done for each of them, so nothing was saved; `obstacles` says for which."""

    def __init__(self, obstacles: Sequence[Obstacle]) -> None:
        super().__init__(_("It cannot be done for all of them."))
        self.obstacles = obstacles


def set_on_each(
    *,
    appliances: Sequence[Appliance],
    draft: Draft | SeriesDraft,
    emitter: Emitter,
    now: datetime,
) -> BulkAction:
    """Have a constraint, or a series of them, set on each of these appliances.

    Raises UnableToConstrain where what is asked for makes no sense, and UnableToActOnAll where it
    cannot be done for one of them.
    """
    if not 1 <= len(appliances) <= MOST_APPLIANCES:
        reason = _("From 1 to %d appliances at once.") % MOST_APPLIANCES
        raise UnableToConstrain("appliances", reason)
    if isinstance(draft, Draft):
        drafted(draft, target=appliances[0], emitter=emitter, now=now)
    obstacles = obstacles_of(appliances, emitter.kind, now=now)
    if obstacles:
        raise UnableToActOnAll(obstacles)
    # System by system, or each would be resolved again and again.
    items = [BulkItem(appliance=one) for one in sorted(appliances, key=_system_id)]
    return _begin(SET, items, draft_to_json(draft), emitter, now)


def withdraw_each(
    *,
    constraints: Collection[Constraint] = (),
    series: Collection[Series] = (),
    emitter: Emitter,
    now: datetime,
) -> BulkAction:
    """Have constraints, and series, of appliances withdrawn. Raises PermissionDenied."""
    for row in (*constraints, *series):
        require_own(row, emitter)
    ordered = sorted(constraints, key=lambda one: one.appliance.system_id)
    items = [BulkItem(appliance_id=one.appliance_id, constraint=one) for one in ordered]
    items += [BulkItem(appliance_id=one.appliance_id, series=one) for one in series]
    if not 1 <= len(items) <= MOST_APPLIANCES:
        reason = _("From 1 to %d appliances at once.") % MOST_APPLIANCES
        raise UnableToConstrain("appliances", reason)
    return _begin(WITHDRAW, items, {}, emitter, now)


def restore_each(*, withdrawal: BulkAction, emitter: Emitter, now: datetime) -> BulkAction:
    """Have what was withdrawn from many appliances hold again.

    Raises PermissionDenied for another kind of emitter, and UnableToRestore where it is too late.
    """
    if emitter.kind not in (withdrawal.emitter_kind, EmitterKind.OPERATOR):
        raise PermissionDenied
    if not may_restore_each(withdrawal, now=now):
        raise UnableToRestore(_("It was withdrawn too long ago, or is over: set it anew."))
    items = [
        BulkItem(
            appliance_id=one.appliance_id, constraint_id=one.constraint_id, series_id=one.series_id
        )
        for one in withdrawal.items.filter(state=DONE).order_by("pk")
    ]
    return _begin(RESTORE, items, {}, emitter, now)


def may_restore_each(action: BulkAction, *, now: datetime) -> bool:
    """Whether it withdrew something from many appliances, all of it, and not long ago."""
    is_over = action.verb == WITHDRAW and action.finished_at is not None
    return is_over and now - action.created_at < UNDONE_WITHIN


def obstacles_of(
    appliances: Sequence[Appliance], kind: EmitterKind, *, now: datetime
) -> list[Obstacle]:
    """Those on which somebody of this kind can set nothing, whatever it is."""
    standing = Constraint.objects.filter(
        appliance__in=appliances,
        withdrawn_at=None,
        invalid_at__gt=now,
        emitter_kind=kind,
        series=None,
    ).values("appliance")
    full = standing.annotate(n=Count("pk")).filter(n__gte=MOST_STANDING)
    crowded = set(full.values_list("appliance", flat=True))
    found = []
    for one in appliances:
        if one.removed_at is not None:
            found.append(Obstacle(one, _("It was removed.")))
        elif one.kind not in CONTROLLABLE:
            found.append(Obstacle(one, _("It cannot be controlled.")))
        elif one.pk in crowded:
            reason = _("At most %d constraints stand at a time.") % MOST_STANDING
            found.append(Obstacle(one, reason))
    return found


# What workers do ---------------------------------------------------------------------------------


def work_due(*, now: datetime) -> bool:
    """Do the next part of the bulk action that is due longest; whether there was one."""
    claimed = outbox.claim_due(kind=KIND, now=now, limit=1, patience=PATIENCE)
    for message in claimed:
        try:
            is_more = _do_some(UUID(message.payload["action"]), now)
        except Exception as error:
            logger.warning("Bulk action %s failed", message.payload["action"], exc_info=True)
            problem = f"{type(error).__name__}: {error}"
            outbox.postpone(message, error=problem, now=now, patience=PATIENCE)
        else:
            if is_more:
                outbox.resend(message, now=now)
            else:
                outbox.confirm(message, now=now)
    return bool(claimed)


def _do_some(action_id: UUID, now: datetime) -> bool:
    """Do the next ones, all in one transaction; whether there were any."""
    with transaction.atomic():
        # Of two workers one waits for the other, and sees what it has done.
        held = BulkAction.objects.select_for_update(of=("self",)).select_related("by__account")
        action = held.get(pk=action_id)
        at_once = SERIES_AT_ONCE if "parts" in action.draft else AT_ONCE
        waiting = (
            action.items.filter(state=WAITING)
            .order_by("pk")
            .select_related(
                "appliance__system__account", "constraint__appliance__system__account", "series"
            )
        )
        items = list(waiting[:at_once])
        if not items:
            BulkAction.objects.filter(pk=action_id, finished_at=None).update(finished_at=now)
            return False
        hold_systems({one.appliance.system_id for one in items})
        emitter = Emitter(EmitterKind(action.emitter_kind), action.by)
        allowed = _in_sight(items, emitter)
        if action.verb == SET:
            _set(allowed, draft_of_json(action.draft), emitter, now)
        elif action.verb == WITHDRAW:
            _withdraw(allowed, emitter, now)
        else:
            _restore(allowed, emitter, now)
        update_rows(items, ["state", "reason", "constraint", "series"])
    return True


def _in_sight(items: Iterable[BulkItem], emitter: Emitter) -> list[BulkItem]:
    """Those whose appliances the person may still act on; the others are refused."""
    seen = Appliance.objects.visible_to(emitter.user).filter(pk__in=[i.appliance_id for i in items])
    visible = set(seen.values_list("pk", flat=True))
    for item in items:
        if item.appliance_id not in visible:
            _refuse(item, _("It is not in sight any more."))
    return [item for item in items if item.state == WAITING]


def _set(
    items: Sequence[BulkItem], draft: Draft | SeriesDraft, emitter: Emitter, now: datetime
) -> None:
    obstacles = obstacles_of([item.appliance for item in items], emitter.kind, now=now)
    reasons: Mapping[UUID, str] = {one.appliance.pk: one.reason for one in obstacles}
    rows = []
    for item in items:
        if item.appliance_id in reasons:
            _refuse(item, reasons[item.appliance_id])
            continue
        try:
            if isinstance(draft, SeriesDraft):
                with transaction.atomic():
                    item.series = set_series(
                        target=item.appliance, draft=draft, emitter=emitter, now=now
                    )
            else:
                own = replace(draft, id=item.pk)
                rows.append(drafted(own, target=item.appliance, emitter=emitter, now=now))
                item.constraint = rows[-1]
        except UnableToConstrain as error:
            _refuse(item, error.reason)
        else:
            item.state = DONE
    Constraint.objects.bulk_create(rows)
    for row in rows:
        record_constraint(row, Verb.CONSTRAINED, emitter.user, now)
    resolve_systems(systems={row.appliance.system_id for row in rows}, now=now)


def _withdraw(items: Sequence[BulkItem], emitter: Emitter, now: datetime) -> None:
    ids = [item.constraint_id for item in items if item.constraint_id]
    standing = Constraint.objects.filter(not_over(now), pk__in=ids, withdrawn_at=None)
    ended = set(standing.values_list("pk", flat=True))
    standing.update(withdrawn_at=now, withdrawn_by=emitter.user)
    for item in items:
        item.state = DONE
        if item.series_id:
            withdraw_series(series=item.series, by=emitter, now=now)
        elif item.constraint_id in ended:
            record_constraint(item.constraint, Verb.CONSTRAINT_WITHDRAWN, emitter.user, now)
        else:
            _refuse(item, _("It was over already."))
    resolve_systems(systems={item.appliance.system_id for item in items}, now=now)


def _restore(items: Sequence[BulkItem], emitter: Emitter, now: datetime) -> None:
    obstacles = obstacles_of([item.appliance for item in items], emitter.kind, now=now)
    reasons: Mapping[UUID, str] = {one.appliance.pk: one.reason for one in obstacles}
    ids = [item.constraint_id for item in items if item.constraint_id]
    ended = Constraint.objects.filter(not_over(now), pk__in=ids, withdrawn_at__isnull=False)
    there = set(ended.values_list("pk", flat=True))
    restored = []
    for item in items:
        item.state = DONE
        if item.appliance_id in reasons:
            _refuse(item, reasons[item.appliance_id])
        elif item.series_id:
            try:
                restore_series(series=item.series, by=emitter, now=now, within=RESTORED_WITHIN)
            except (UnableToRestore, UnableToConstrain) as error:
                _refuse(item, str(error))
        elif item.constraint_id in there:
            restored.append(item.constraint)
        else:
            _refuse(item, _("It is over, or holds already."))
    Constraint.objects.filter(pk__in=[row.pk for row in restored]).update(
        withdrawn_at=None, withdrawn_by=None
    )
    for row in restored:
        row.withdrawn_at = row.withdrawn_by = None
        record_constraint(row, Verb.CONSTRAINT_RESTORED, emitter.user, now)
    resolve_systems(systems={item.appliance.system_id for item in items}, now=now)


def _system_id(appliance: Appliance) -> UUID:
    return appliance.system_id


def _refuse(item: BulkItem, reason: str) -> None:
    item.state, item.reason = REFUSED, reason


def _begin(
    verb: str,
    items: Sequence[BulkItem],
    draft: Mapping,
    emitter: Emitter,
    now: datetime,
) -> BulkAction:
    if emitter.user is None:
        raise PermissionDenied
    with transaction.atomic():
        action = BulkAction(
            created_at=now,
            verb=verb,
            draft=draft,
            by=emitter.user,
            account=emitter.user.account,
            emitter_kind=emitter.kind.value,
        )
        action.message = outbox.add_message(kind=KIND, payload={"action": str(action.pk)}, now=now)
        action.save(force_insert=True)
        for item in items:
            item.action = action
        BulkItem.objects.bulk_create(items, batch_size=1_000)
    return action
