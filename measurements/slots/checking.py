"""Whether what is stored is what follows from the readings: computed anew, compared, taken back.

There is no second way to compute: the one that stores does it in a transaction that is undone, and
tells what it changed. What has been marked before is no difference and is computed first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from inventory.models import System
from measurements.models import Cause, SystemClaim
from measurements.resolutions import Span
from measurements.slots.compute import Computed, compute_dirty
from measurements.slots.rebuilding import mark_history
from measurements.slots.receipts import Changes, changes_of, figures_of_days

# Where readings arrive while a day is compared, it is compared again, so often.
_ATTEMPTS = 3
_ARRIVED = Cause.READINGS | Cause.IMPORT


class KeptChanging(Exception):
    """Readings went on arriving, so that nothing can be said of what was stored."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found of a day.

    `slots` of appliances were computed anew; `differing` rows (of those, of the system's slots, of
    hours, days and months) were other than what follows from the readings. `changes`: the day's
    figures as stored, and as they follow, where they differ.
    """

    slots: int
    differing: int
    changes: Changes = field(default_factory=dict)


def compare(*, system: System, day: Span, now: datetime, repair: bool = False) -> Comparison:
    """Compare a local day of a system with its readings; with `repair`, keep what follows.

    Slots whose readings retention has dropped count as they are. Meanwhile nobody else computes
    this system's. Raises KeptChanging.
    """
    for _attempt in range(_ATTEMPTS):
        with transaction.atomic():
            SystemClaim.objects.get_or_create(system_key=system.key)
            SystemClaim.objects.select_for_update().get(system_key=system.key)
            for _done in _rounds(system, now):
                pass
            found = _compare(system, day, now, repair)
        if found is not None:
            return found
    raise KeptChanging(str(system))


def _compare(system: System, day: Span, now: datetime, repair: bool) -> Comparison | None:
    """The same, once; None where readings arrived meanwhile."""
    with transaction.atomic():
        before = figures_of_days([(system.key, day)], now=now)
        slots = mark_history(system=system, from_at=day.from_at, until_at=day.until_at, now=now)
        rounds = list(_rounds(system, now))
        after = figures_of_days([(system.key, day)], now=now)
        has_arrived = any(done.causes & _ARRIVED for done in rounds)
        if has_arrived or not repair:
            transaction.set_rollback(True)
    if has_arrived:
        return None
    of_day = system.key, day.from_at
    return Comparison(
        slots,
        sum(done.changed for done in rounds),
        changes_of(before.get(of_day, {}), after.get(of_day, {})),
    )


def _rounds(system: System, now: datetime) -> Iterator[Computed]:
    while (done := compute_dirty(now=now, system_key=system.key)).claimed:
        yield done
