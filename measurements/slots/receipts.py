"""Receipts of changes: which days that were over have other figures now, by how much, and why."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.db.models import Q

from inventory.kinds import LONGEST_INTERVAL_S
from measurements.derivation import NAMES
from measurements.energy import LATE_S
from measurements.models import Cause, DayChange, SystemDay
from measurements.resolutions import Span

# A day is over once what ends in it has had time to be read and to arrive.
_SETTLED_AFTER = timedelta(seconds=LONGEST_INTERVAL_S + LATE_S)
# Changes that follow upon each other are told as one: a gateway sends its past in many batches.
_ONE_CHANGE = timedelta(minutes=15)

_Day = tuple[int, datetime]
_Figures = dict[str, int | None]


def figures_of_days(days: Iterable[tuple[int, Span]], *, now: datetime) -> dict[_Day, _Figures]:
    """The stored figures of those of these days (each of a system by its key) that are over.

    A day of which nothing is stored has none.
    """
    over = [(key, span.from_at) for key, span in days if span.until_at + _SETTLED_AFTER <= now]
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
    for (key, start), figures in after.items():
        was, cause = before.get((key, start), {}), causes.get(key, 0)
        if not was and not cause & Cause.READINGS:
            continue
        changes = {
            name: [was.get(name), figures.get(name)]
            for name in NAMES
            if was.get(name) != figures.get(name)
        }
        if changes:
            _leave(key, start, changes, cause, now)


def _leave(key: int, start: datetime, changes: dict[str, list], cause: int, now: datetime) -> None:
    """A receipt of its own, unless the last one of the day is of the same cause and just now."""
    last = (
        DayChange.objects.filter(system_key=key, start=start, changed_at__gt=now - _ONE_CHANGE)
        .order_by("-changed_at", "-id")
        .first()
    )
    if last is None or last.causes != cause:
        DayChange.objects.create(
            system_key=key, start=start, changed_at=now, causes=cause, changes=changes
        )
        return
    for name, (was, value) in changes.items():
        last.changes[name] = [last.changes[name][0] if name in last.changes else was, value]
    last.changes = {name: pair for name, pair in last.changes.items() if pair[0] != pair[1]}
    if last.changes:
        last.save(update_fields=["changes"])
    else:
        last.delete()
