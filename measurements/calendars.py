"""Days by former rules of a time zone, which are made anew.

Rules come with updates, at times after they took effect. What was summed up by those before begins
where no day begins any more.
"""

import logging
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Min

from inventory.models import System
from measurements.models import ApplianceDay, DayCheck, ImportedDay, SystemDay, SystemMonth
from measurements.resolutions import Resolution, periods, previous_period
from measurements.slots import mark_history
from measurements.slots.claims import claim_system

logger = logging.getLogger(__name__)

# What is of a calendar, as where the time zone of a system is changed (`0003_zone_changes`).
_OF_CALENDARS = (ApplianceDay, SystemDay, SystemMonth, ImportedDay, DayCheck)


def renew_days(*, now: datetime) -> int:
    """Have days made anew from the first on that began by other rules than those of now, as far
    back as readings are kept; returns of how many systems."""
    count = 0
    for name in System.objects.order_by("time_zone").values_list("time_zone", flat=True).distinct():
        zone = ZoneInfo(name)
        days = periods(now - settings.RAW_RETENTION, now, Resolution.DAY, zone)
        of_former_rules = SystemDay.objects.filter(
            system_key__in=System.objects.filter(time_zone=name).values("key"),
            start__gte=days[0].from_at,
        ).exclude(start__in=[day.from_at for day in days])
        firsts = dict(of_former_rules.values_list("system_key").annotate(Min("start")))
        for system in System.objects.in_bulk(firsts, field_name="key").values():
            # Whole months, and the one before, which may end elsewhere now.
            first = previous_period(firsts[system.key], Resolution.MONTH, zone)
            _make_anew(system, first, now)
            logger.warning(
                "Days of %s since %s are made anew by the rules of now", system.pk, first
            )
        count += len(firsts)
    return count


@transaction.atomic
def _make_anew(system: System, since: datetime, now: datetime) -> None:
    # Whoever computes just now is waited for, or it would leave days of former rules behind.
    claim_system(system.key)
    for table in _OF_CALENDARS:
        table.objects.filter(system_key=system.key, start__gte=since).delete()
    mark_history(system=system, from_at=since, until_at=now, now=now)
