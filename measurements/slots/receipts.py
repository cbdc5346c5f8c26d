"""Receipts of changes: which days that were over have other figures now, by how much, and why."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection

from accounts.rows import update_rows
from inventory.kinds import LONGEST_INTERVAL_S
from measurements.derivation import NAMES
from measurements.energy import LATE_S
from measurements.models import Cause, DayChange, ImportedDay
from measurements.resolutions import Resolution, Span, from_ms, next_period, periods, to_ms
from measurements.slots.claims import Claim, Reason, Run

# A day is over once what ends in it has had time to be read and to arrive.
SETTLED_AFTER = timedelta(seconds=LONGEST_INTERVAL_S + LATE_S)
# Changes that follow upon each other are told as one: a gateway sends its past in many batches.
_ONE_CHANGE = timedelta(minutes=15)
# However long a queue is, marks are computed after so long.
_MARKS_WAIT = timedelta(days=30)

# Whatever was imported before, what these change is no part of it.
_NO_IMPORT = Cause.REBUILD | Cause.CORRECTION

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
    if over:
        with connection.cursor() as cursor:
            cursor.execute(
                _STORED, [[key for key, _start in over], [start for _key, start in over]]
            )
            for number, *values in cursor.fetchall():
                found[over[number - 1]] = dict(zip(NAMES, values, strict=True))
    return found


_STORED = f"""
SELECT number, {", ".join(f"{name}_mwh" for name in NAMES)}
FROM unnest(%s::int[], %s::timestamptz[]) WITH ORDINALITY AS day (key, begins, number)
JOIN measurements_systemday ON system_key = key AND start = begins
"""  # noqa: S608 - names of our own


def leave_receipts(
    before: Mapping[_Day, _Figures],
    after: Mapping[_Day, _Figures],
    *,
    claim: Claim,
    computed: Collection[Run],
    zones: Mapping[int, ZoneInfo],
    now: datetime,
) -> None:
    """Note what changed, and why.

    That is for a day's own marks in `claim`, or else for those of `computed` runs that reach it, or
    else for those of its system.

    History that is imported for the first time changes no figure that anybody relied on, and
    leaves no receipt, in however many parts and files it is stored and computed: what brings a day
    its first figures, what was marked no later than that, and what is marked while any of it waits,
    is one import. Readings that arrive late always leave one, and those that came in time leave
    none, however late they are computed.
    """
    changed = {
        day: changes
        for day, figures in after.items()
        if (changes := changes_of(before.get(day, {}), figures))
    }
    if not changed:
        return
    own = _by_day(changed, claim.marks, zones)
    reasons = own | _reasons_beside(changed.keys() - own.keys(), claim, computed, zones)
    in_time = {
        day
        for day, reason in reasons.items()
        if reason.causes == Cause.READINGS
        # Of what lies beside a day, that which reaches it was read next, and so marked first.
        and (reason.last_ms if day in own else reason.first_ms) < _settled_ms(day, zones)
    }
    quiet = {day for day in changed if not reasons[day].causes & Cause.READINGS}
    first = {day for day in quiet if not before.get(day)}
    imported = _imported(quiet - first)
    waiting = _waiting(first | imported.keys(), zones)
    same = {
        day
        for day, marked_ms in imported.items()
        if (reasons[day] | waiting[day]).first_ms <= marked_ms
        and not reasons[day].causes & _NO_IMPORT
    }
    brought = {day for day in first if reasons[day].causes & Cause.IMPORT} | same
    _remember(
        {day: max((reasons[day] | waiting[day]).last_ms, imported.get(day, 0)) for day in brought}
    )
    untold = in_time | first | same
    told = {day: changes for day, changes in changed.items() if day not in untold}
    if told:
        _leave(told, {day: reasons[day].causes for day in told}, now)


def forget_imported_days(*, now: datetime) -> None:
    """Of imports whose marks have long been computed, nothing more needs to be known."""
    ImportedDay.objects.filter(marked_at__lt=now - _MARKS_WAIT).delete()


def changes_of(before: _Figures, after: _Figures) -> Changes:
    """Of each figure of a day that differs, what it was and what it is."""
    return {
        name: [before.get(name), after.get(name)]
        for name in NAMES
        if before.get(name) != after.get(name)
    }


def _settled_ms(day: _Day, zones: Mapping[int, ZoneInfo]) -> int:
    """Until when (ms) what is read of a day comes in time."""
    key, start = day
    return to_ms(next_period(start, Resolution.DAY, zones[key]) + SETTLED_AFTER)


def _reasons_beside(
    days: Collection[_Day], claim: Claim, computed: Iterable[Run], zones: Mapping[int, ZoneInfo]
) -> dict[_Day, Reason]:
    """Why those days changed in which nothing was marked itself."""
    reaching, of_system = _by_day(days, computed, zones), claim.reasons_by_system()
    return {day: reaching.get(day) or of_system[day[0]] for day in days}


def _by_day(
    days: Collection[_Day], runs: Iterable[Run], zones: Mapping[int, ZoneInfo]
) -> dict[_Day, Reason]:
    """Why those of these days are computed that lie in any of the runs."""
    systems = {key for key, _start in days}
    found: dict[_Day, Reason] = {}
    for run in runs:
        if run.system_key in systems:
            zone = zones[run.system_key]
            for span in periods(from_ms(run.from_ms), from_ms(run.until_ms), Resolution.DAY, zone):
                day = run.system_key, span.from_at
                found[day] = found.get(day, Reason()) | run.reason
    return found


_WAITING = f"""
SELECT number, (extract(epoch FROM min(marked_at)) * 1000)::bigint,
    (extract(epoch FROM max(marked_at)) * 1000)::bigint
FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
    AS day (key, from_at, until_at, number)
CROSS JOIN LATERAL (
    SELECT marked_at FROM measurements_dirtyslot
    WHERE system_key = day.key AND start >= from_at AND start < until_at
        AND cause = {int(Cause.IMPORT)}
) AS mark
GROUP BY number
"""  # noqa: S608 - a number of our own


def _waiting(days: Collection[_Day], zones: Mapping[int, ZoneInfo]) -> dict[_Day, Reason]:
    """What of imports is still to be computed of each of these days."""
    found = dict.fromkeys(days, Reason())
    if found:
        ordered = list(found)
        ends = [next_period(start, Resolution.DAY, zones[key]) for key, start in ordered]
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, [*map(list, zip(*ordered, strict=True)), ends])
            for number, first_ms, last_ms in cursor.fetchall():
                found[ordered[number - 1]] = Reason(int(Cause.IMPORT), first_ms, last_ms)
    return found


def _remember(imported: Mapping[_Day, int]) -> None:
    ImportedDay.objects.bulk_create(
        [
            ImportedDay(system_key=key, start=start, marked_at=from_ms(marked_ms))
            for (key, start), marked_ms in imported.items()
        ],
        update_conflicts=True,
        unique_fields=["system_key", "start"],
        update_fields=["marked_at"],
    )


def _imported(days: Collection[_Day]) -> dict[_Day, int]:
    """Which of these days an import brought, and when that was marked (ms)."""
    rows = ImportedDay.objects.filter(
        system_key__in={key for key, _start in days}, start__in={start for _key, start in days}
    )
    found = {
        (key, start): to_ms(marked_at)
        for key, start, marked_at in rows.values_list("system_key", "start", "marked_at")
    }
    return {day: found[day] for day in days if day in found}


def _leave(changed: Mapping[_Day, Changes], causes: Mapping[_Day, int], now: datetime) -> None:
    """A receipt a day, unless the last one of the day is of the same cause and just now."""
    recent = DayChange.objects.filter(
        system_key__in={key for key, _start in changed},
        start__in={start for _key, start in changed},
        changed_at__gt=now - _ONE_CHANGE,
    )
    last = {(one.system_key, one.start): one for one in recent.order_by("changed_at", "id")}
    new, again = [], []
    for (key, start), changes in changed.items():
        one, cause = last.get((key, start)), causes[key, start]
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
