"""Receipts of changes: which days that were over have other figures now, by how much, and why."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.db.models import Q

from accounts.rows import update_rows
from inventory.kinds import LONGEST_INTERVAL_S
from measurements.derivation import NAMES
from measurements.energy import LATE_S
from measurements.models import Cause, DayChange, SystemDay
from measurements.resolutions import Span

# A day is over once what ends in it has had time to be read and to arrive.
SETTLED_AFTER = timedelta(seconds=LONGEST_INTERVAL_S + LATE_S)
# Changes that follow upon each other are told as one: a gateway sends its past in many batches.
_ONE_CHANGE = timedelta(minutes=15)

_Day = tuple[int, datetime]
_Figures = dict[str, int | None]
# By figure, what it was and what it is.
Changes = dict[str, list[int | None]]


def figures_of_days(days: Iterable[tuple[int, Span]], *, now: datetime) -> dict[_Day, _Figures]:
    """The stored figures of those of these days (each of a system by its key) that are over.

    A day of which nothing is stored has none.
    """
    over = [(key, span.from_at) for key, span in days if span.until_at + SETTLED_AFTER <= now]
    found: dict[_Day, _Figures] = {day: {} for day in over}
    if not over:
        return found
    wanted: dict[int, list[datetime]] = {}
    for key, start in over:
        wanted.setdefault(key, []).append(start)
    condition = reduce(or_, (Q(system_key=key, start__in=starts) for key, starts in wanted.items()))
    columns = [f"{name}_mwh" for name in NAMES]
    rows = SystemDay.objects.filter(condition).values_list("system_key", "start", *columns)
    for key, start, *values in rows:
        found[key, start] = dict(zip(NAMES, values, strict=True))
    return found


def leave_receipts(
    before: Mapping[_Day, _Figures],
    after: Mapping[_Day, _Figures],
    *,
    causes: Mapping[int, int],
    now: datetime,
) -> None:
    """Note what changed; `causes` (bits of `Cause`) by system.

    Days of which nothing was known leave a receipt only where readings arrived late: history that
    is imported for the first time changes no figure that anybody has seen.
    """
    changed: dict[_Day, Changes] = {}
    for (key, start), figures in after.items():
        was = before.get((key, start), {})
        if not was and not causes.get(key, 0) & Cause.READINGS:
            continue
        if changes := changes_of(was, figures):
            changed[key, start] = changes
    if changed:
        _leave(changed, causes, now)


def changes_of(before: _Figures, after: _Figures) -> Changes:
    """Of each figure of a day that differs, what it was and what it is."""
    return {
        name: [before.get(name), after.get(name)]
        for name in NAMES
        if before.get(name) != after.get(name)
    }


def _leave(changed: Mapping[_Day, Changes], causes: Mapping[int, int], now: datetime) -> None:
    """A receipt a day, unless the last one of the day is of the same cause and just now."""
    recent = DayChange.objects.filter(
        system_key__in={key for key, _start in changed},
        start__in={start for _key, start in changed},
        changed_at__gt=now - _ONE_CHANGE,
    )
    last = {(one.system_key, one.start): one for one in recent.order_by("changed_at", "id")}
    new, again = [], []
    for (key, start), changes in changed.items():
        one, cause = last.get((key, start)), causes.get(key, 0)
        if one is None or one.causes != cause:
            new.append(
                DayChange(
                    system_key=key, start=start, changed_at=now, causes=cause, changes=changes
                )
            )
        else:
            one.changes = _together(one.changes, changes)
            again.append(one)
    DayChange.objects.bulk_create(new)
    update_rows([one for one in again if one.changes], ["changes"])
    DayChange.objects.filter(pk__in=[one.pk for one in again if not one.changes]).delete()


def _together(before: Changes, then: Changes) -> Changes:
    """Two changes as one; what was taken back is none."""
    both = before | {
        name: [before[name][0] if name in before else was, value]
        for name, (was, value) in then.items()
    }
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}
