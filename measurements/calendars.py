"""Days by former rules of a time zone, which are made anew.

Rules come with updates, at times after they took effect. What was summed up by those before begins
where no day begins any more.
"""

import logging
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from inventory.models import System
from measurements.models import ApplianceDay, DayCheck, ImportedDay, SystemDay, SystemMonth
from measurements.resolutions import Resolution, periods, previous_period
from measurements.slots import mark_history
from measurements.slots.claims import claim_system

logger = logging.getLogger(__name__)

# What is of a calendar, as where the time zone of a system is changed (`0003_zone_changes`).
_OF_CALENDARS = (ApplianceDay, SystemDay, SystemMonth, ImportedDay, DayCheck)


def renew_days(*, now: datetime) -> int:
    """Have days made anew from the first on that began by other rules than those of now; returns
    of how many systems. It is noticed by what is as young as readings that are kept."""
    count = 0
    for name in System.objects.order_by("time_zone").values_list("time_zone", flat=True).distinct():
        zone = ZoneInfo(name)
        of_zone = SystemDay.objects.filter(
            system_key__in=System.objects.filter(time_zone=name).values("key")
        )
        found = _of_former_rules(of_zone, now - settings.RAW_RETENTION, now, zone)
        keys = set(found.values_list("system_key", flat=True))
        for system in System.objects.filter(key__in=keys):
            of_system = SystemDay.objects.filter(system_key=system.key)
            oldest = of_system.earliest("start").start
            wrong = _of_former_rules(of_system, oldest, now, zone).earliest("start").start
            # Whole months, and the one before, which may end elsewhere now.
            first = previous_period(wrong, Resolution.MONTH, zone)
            _make_anew(system, first, now)
            logger.warning(
                "Days of %s since %s are made anew by the rules of now", system.pk, first
            )
        count += len(keys)
    return count


def _of_former_rules(
    days: QuerySet[SystemDay], since: datetime, now: datetime, zone: ZoneInfo
) -> QuerySet[SystemDay]:
    """Those of the days since then that do not begin where a day of now begins."""
    # Readings may lie a little ahead, and tomorrow's first with them.
    spans = periods(since, now + timedelta(days=1), Resolution.DAY, zone)
    return days.filter(start__gte=since).exclude(start__in=[span.from_at for span in spans])


@transaction.atomic
def _make_anew(system: System, since: datetime, now: datetime) -> None:
    # Whoever computes just now is waited for, or it would leave days of former rules behind.
    claim_system(system.key)
    for table in _OF_CALENDARS:
        table.objects.filter(system_key=system.key, start__gte=since).delete()
    mark_history(system=system, from_at=since, until_at=now, now=now)
