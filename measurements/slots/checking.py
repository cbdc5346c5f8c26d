"""Whether what is stored is what follows from the readings: computed anew, compared, taken back.

There is no second way to compute: the one that stores does it in a transaction that is undone, and
what it would have stored is compared row by row. What has been marked before is no difference and
is computed first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Model

from inventory.models import System
from measurements.finality import final_spans
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    Cause,
    DirtySlot,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.resolutions import (
    SLOT_MS,
    Resolution,
    Span,
    next_period,
    period_start,
    periods,
    to_ms,
)
from measurements.slots.claims import claim_system
from measurements.slots.compute import Computed, compute_dirty
from measurements.slots.rebuilding import mark_history
from measurements.slots.receipts import Changes, changes_of, figures_of_days
from measurements.slots.rollups import SYSTEM_DAYS, SYSTEM_MONTHS, roll_up

# Where readings arrive while a day is compared, it is compared again, so often.
_ATTEMPTS = 3
_ARRIVED = Cause.READINGS | Cause.IMPORT
# What is of a day, causes before what follows from them.
_SLOTS_AND_DAYS = (ApplianceSlot, SystemSlot, ApplianceDay, SystemDay)
_HOURS = (ApplianceHour, SystemHour)

_Values = Mapping[str, Any]
# Of a table, the appliance's key if it has one, and when the row begins.
_Row = tuple[type[Model], int | None, datetime]


class KeptChanging(Exception):
    """Readings went on arriving, so that nothing can be said of what was stored."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is other than what follows from the readings.

    `stored` and `follows` have those of its columns that differ; None where there is no such row.
    """

    model: type[Model]
    appliance_key: int | None
    start: datetime
    stored: _Values | None
    follows: _Values | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found of a day.

    `slots` of appliances were compared with their readings; `differences` are rows of the day
    (slots, hours, and the day itself) that were other than what follows from the readings, and
    that of its month where it is not the sum of what is stored. `changes`: the day's figures as
    stored, and as they follow, where they differ.
    """

    slots: int
    differences: list[Difference] = field(default_factory=list)
    changes: Changes = field(default_factory=dict)


def compare(*, system: System, day: Span, now: datetime, repair: bool = False) -> Comparison:
    """Compare a local day of a system with its readings; with `repair`, keep what follows.

    Slots whose readings retention has dropped count as they are. Meanwhile nobody else computes
    this system's; the queue is worked off before, however long it is. Raises KeptChanging.
    """
    for _attempt in range(_ATTEMPTS):
        compute_waiting(system=system, now=now)
        with transaction.atomic():
            claim_system(system.key)
            for _done in _rounds(system, now):
                pass
            found = _compare(system, day, now)
            if found is not None and found.differences and repair:
                mark_history(system=system, from_at=day.from_at, until_at=day.until_at, now=now)
                for _done in _rounds(system, now):
                    pass
                roll_up(SYSTEM_MONTHS, [(system.key, _month_of(system, day))])
        if found is not None:
            return found
    raise KeptChanging(str(system))


def compute_waiting(*, system: System, now: datetime) -> None:
    """Compute what is marked of a system, round by round, each in a transaction of its own.

    Waits in each for its turn among those who compute this system. So nobody waits for all of a
    long queue, neither others who want their turn nor those who read what is computed.
    """
    has_more = True
    while has_more:
        with transaction.atomic():
            claim_system(system.key)
            has_more = compute_dirty(now=now, system_key=system.key).claimed > 0


def _compare(system: System, day: Span, now: datetime) -> Comparison | None:
    """The same, once, and storing nothing; None where readings arrived meanwhile."""
    of_day, month = (system.key, day.from_at), _month_of(system, day)
    has_changed = False
    with _undone():
        mark_history(system=system, from_at=day.from_at, until_at=day.until_at, now=now)
        slots = _slots_to_compare(system)
        for done in _rounds(system, now):
            if done.causes & _ARRIVED:
                return None
            has_changed = has_changed or done.changed > 0
        if has_changed:
            follow = _rows_of_day(system, day)
            figures_follow = figures_of_days([(system.key, day)], now=now)
    differences, changes = _differences_of_month(system, month), {}
    if has_changed:
        differences = _differences(_rows_of_day(system, day), follow) + differences
        figures = figures_of_days([(system.key, day)], now=now)
        changes = changes_of(figures.get(of_day, {}), figures_follow.get(of_day, {}))
    return Comparison(slots, differences, changes)


def _slots_to_compare(system: System) -> int:
    """How many of the slots that are marked still have the readings that they were made of."""
    marks = [
        (key, to_ms(start), to_ms(start) + slots * SLOT_MS)
        for key, start, slots in DirtySlot.objects.filter(system_key=system.key).values_list(
            "appliance_key", "start", "slots"
        )
    ]
    spans = final_spans([(system.key, key, from_ms) for key, from_ms, _until_ms in marks])
    marked_ms = sum(until_ms - from_ms for _key, from_ms, until_ms in marks)
    final_ms = sum(
        max(min(until_ms, end_ms) - max(from_ms, begin_ms), 0)
        for (_key, from_ms, until_ms), final in zip(marks, spans, strict=True)
        for begin_ms, end_ms in final
    )
    return (marked_ms - final_ms) // SLOT_MS


def _differences_of_month(system: System, month: Span) -> list[Difference]:
    """The row of a month, where it is the sum neither of its days nor of its slots as stored.

    Where it is one of them, the other has a day that is wrong; it is told of that day, and the
    right ones of the month are right.
    """
    wanted = [(system.key, month)]
    with _undone():
        if not roll_up(SYSTEM_MONTHS, wanted):
            return []
    with _undone():
        days = periods(month.from_at, month.until_at, Resolution.DAY, system.zone)
        roll_up(SYSTEM_DAYS, [(system.key, day) for day in days])
        if not roll_up(SYSTEM_MONTHS, wanted):
            return []
        follow = _rows(SystemMonth, system, month)
    return _differences(_rows(SystemMonth, system, month), follow)


@contextmanager
def _undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _month_of(system: System, day: Span) -> Span:
    start = period_start(day.from_at, Resolution.MONTH, system.zone)
    return Span(start, next_period(start, Resolution.MONTH, system.zone))


def _rows_of_day(system: System, day: Span) -> dict[_Row, _Values]:
    """All that is stored of a day; an hour of UTC that two days share is of both."""
    hours = Span(period_start(day.from_at, Resolution.HOUR, UTC), day.until_at)
    found: dict[_Row, _Values] = {}
    for model in _SLOTS_AND_DAYS:
        found |= _rows(model, system, day)
    for model in _HOURS:
        found |= _rows(model, system, hours)
    return found


def _rows(model: type[Model], system: System, span: Span) -> dict[_Row, _Values]:
    rows = model.objects.filter(
        system_key=system.key, start__gte=span.from_at, start__lt=span.until_at
    )
    return {
        (model, values.pop("appliance_key", None), values.pop("start")): values
        for values in rows.order_by("pk").values()
    }


def _differences(
    stored: Mapping[_Row, _Values], follow: Mapping[_Row, _Values]
) -> list[Difference]:
    found = []
    for row in dict.fromkeys((*stored, *follow)):
        is_so, should_be = stored.get(row), follow.get(row)
        if is_so is None or should_be is None:
            found.append(Difference(*row, is_so, should_be))
        elif names := [name for name in is_so if is_so[name] != should_be[name]]:
            found.append(
                Difference(
                    *row,
                    {name: is_so[name] for name in names},
                    {name: should_be[name] for name in names},
                )
            )
    return found


def _rounds(system: System, now: datetime) -> Iterator[Computed]:
    while (done := compute_dirty(now=now, system_key=system.key)).claimed:
        yield done
