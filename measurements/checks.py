"""The nightly check: yesterday of every system, and an older day of each in turn."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.audit import Verb, record_change
from accounts.models import User
from inventory.models import System
from measurements.models import DayCheck, Reading, SystemDay
from measurements.resolutions import Resolution, Span, next_period, period_start, previous_period
from measurements.slots.checking import Comparison, KeptChanging, compare, compute_waiting
from measurements.slots.gathering import gather_rows
from measurements.slots.receipts import SETTLED_AFTER

logger = logging.getLogger(__name__)

# An older day is compared again when so much has passed since.
_AGAIN_AFTER = timedelta(hours=12)


def check_day(
    *,
    system: System,
    day: Span,
    now: datetime,
    repair: bool = False,
    tell: Callable[[Comparison], None] | None = None,
) -> DayCheck:
    """Compare a local day of a system with its readings, and keep what was found.

    With `repair`, what follows from the readings takes the place of what was stored, the changed
    day gets its receipt, and days on record that were wrong because of it are compared again.
    `tell` is told what differed, where anything does. Raises KeptChanging.
    """
    check = _check_day(system, day, now, repair, tell)
    if repair and check.differing:
        _compare_again(system, day, now)
    return check


def _check_day(
    system: System,
    day: Span,
    now: datetime,
    repair: bool,
    tell: Callable[[Comparison], None] | None = None,
) -> DayCheck:
    """The same, but for the other days."""
    found = compare(system=system, day=day, now=now, repair=repair)
    if found.differences:
        _warn(system, day, found, repair)
        if tell is not None:
            tell(found)
    check, _is_new = DayCheck.objects.update_or_create(
        system_key=system.key,
        start=day.from_at,
        defaults={
            "checked_at": now,
            "slots": found.slots,
            "differing": len(found.differences),
            "changes": found.changes,
        }
        # A later comparison that finds nothing does not undo that it was repaired once.
        | ({"repaired_at": now} if repair and found.differences else {}),
    )
    return check


def repair_day(*, check: DayCheck, by: User, now: datetime) -> DayCheck:
    """Have what follows from the readings take the place of what was stored, and say who did so.

    Where nothing differs, there is nothing to say. Raises KeptChanging.
    """
    system = System.objects.select_related("account").get(key=check.system_key)
    day = _day_of(check.start, system)
    compute_waiting(system=system, now=now)
    with transaction.atomic():
        check = _check_day(system, day, now, repair=True)
        if check.differing:
            record_change(
                verb=Verb.COMPUTED_ANEW,
                target=system,
                account=system.account,
                by=by,
                now=now,
                changes={"day": [None, check.start.astimezone(system.zone).date().isoformat()]},
            )
    # Each in a transaction of its own: gateways wait for their system, and others for those.
    if check.differing:
        _compare_again(system, day, now)
    return check


def check_due(*, now: datetime, for_s: float) -> int:
    """Check what is due, for so many seconds at most; returns how many days were.

    Of each system the last day that is settled and, where that was due, the day whose check is
    longest ago; their rows are gathered besides. Two that do so at once do some of it twice, which
    changes nothing.
    """
    until, count = time.monotonic() + for_s, 0
    for system, day in _due(now):
        for one in (day, *_longest_ago(system, now)):
            try:
                check_day(system=system, day=one, now=now)
            except KeptChanging:
                logger.info("%s of %s kept changing; it is left for later", one.from_at, system)
            gather_rows(system_key=system.key, span=one)
            count += 1
        if time.monotonic() > until:
            break
    return count


def forget_old_checks(*, now: datetime) -> None:
    """Days whose readings are gone are not compared any more; what differed stays on record."""
    gone = DayCheck.objects.filter(start__lt=now - settings.RAW_RETENTION)
    gone.filter(differing=0, repaired_at=None).delete()


def last_settled_day(now: datetime, zone: ZoneInfo) -> Span:
    """The last local day of which everything has had time to arrive."""
    until_at = period_start(now - SETTLED_AFTER, Resolution.DAY, zone)
    return Span(previous_period(until_at, Resolution.DAY, zone), until_at)


def _due(now: datetime) -> Iterator[tuple[System, Span]]:
    """The systems of which the last settled day is not checked yet, with that day.

    Those with readings of it, too, of which nothing was computed.
    """
    for name in System.objects.order_by("time_zone").values_list("time_zone", flat=True).distinct():
        day = last_settled_day(now, ZoneInfo(name))
        checked = DayCheck.objects.filter(start=day.from_at).values("system_key")
        of_system = {"system_key": OuterRef("key")}
        computed = SystemDay.objects.filter(**of_system, start=day.from_at)
        read = Reading.objects.filter(**of_system, at__gte=day.from_at, at__lt=day.until_at)
        of_zone = System.objects.filter(Exists(computed) | Exists(read), time_zone=name)
        for system in of_zone.exclude(key__in=checked).order_by("key").iterator():
            yield system, day


def _longest_ago(system: System, now: datetime) -> list[Span]:
    """The older day of a system that was not compared for the longest time, if there is one."""
    checks = DayCheck.objects.filter(
        system_key=system.key,
        start__gte=now - settings.RAW_RETENTION,
        checked_at__lt=now - _AGAIN_AFTER,
    )
    starts = checks.order_by("checked_at", "start").values_list("start", flat=True)
    return [_day_of(start, system) for start in starts[:1]]


def _compare_again(system: System, repaired: Span, now: datetime) -> None:
    """Compare again what is on record as wrong, to both sides of a day that was repaired.

    A battery's memory, an hour or a month that days share: what is wrong because of another day is
    so by way of those between. So it ends at the first that is wrong of itself.
    """
    wrong = DayCheck.objects.filter(system_key=system.key).wrong()
    later = wrong.filter(start__gte=repaired.until_at).order_by("start")
    earlier = wrong.filter(start__lt=repaired.from_at).order_by("-start")
    for checks in (later, earlier):
        for start in list(checks.values_list("start", flat=True)):
            try:
                check = check_day(system=system, day=_day_of(start, system), now=now)
            except KeptChanging:
                logger.info("%s of %s kept changing; it is left for later", start, system)
                break
            if check.differing:
                break


def _day_of(start: datetime, system: System) -> Span:
    return Span(start, next_period(start, Resolution.DAY, system.zone))


def _warn(system: System, day: Span, found: Comparison, repair: bool) -> None:
    logger.error(
        "Of %s, %d stored rows around %s are other than what follows from the readings%s: %s",
        system.pk,
        len(found.differences),
        day.from_at.isoformat(),
        ", and are mended" if repair else "",
        found.changes,
    )
