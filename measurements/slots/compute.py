"""One round of computing: claim, compute, carry to hours, days and months."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from zoneinfo import ZoneInfo

from django.db import transaction

from measurements.resolutions import SLOT_MS, Resolution, Span, from_ms, periods
from measurements.slots.appliances import TooManyReadings, compute_appliances
from measurements.slots.claims import claim_slots
from measurements.slots.inventory import load_zones
from measurements.slots.members import load_membership
from measurements.slots.receipts import figures_of_days, leave_receipts
from measurements.slots.rollups import (
    APPLIANCE_DAYS,
    APPLIANCE_HOURS,
    SYSTEM_DAYS,
    SYSTEM_HOURS,
    SYSTEM_MONTHS,
    roll_up,
)
from measurements.slots.stretches import Stretch, joined
from measurements.slots.systems import compute_systems

# So much at a time that a round takes less than a second and little memory, however long the queue
# is.
SYSTEMS_AT_MOST = 50
SLOTS_AT_MOST = 10_000
# How many slots of an appliance are computed at a time, and with how many readings at most. Where
# it is read more often than it says, they are fewer, so that a round fits in little memory.
_SLOTS_AT_ONCE = ((960, 250_000), (96, 250_000), (4, None))

_HOUR_MS = 4 * SLOT_MS


@dataclass(frozen=True)
class Computed:
    """What one round did: slots taken from the queue; slots, and their sums, that have changed.

    `sums` are hours, days and months. `causes` (bits of `Cause`) are why it was to be done.
    """

    claimed: int
    appliance_slots: int = 0
    system_slots: int = 0
    sums: int = 0
    causes: int = 0

    @property
    def changed(self) -> int:
        """How many rows have changed."""
        return self.appliance_slots + self.system_slots + self.sums


def compute_dirty(*, now: datetime, system_key: int | None = None) -> Computed:
    """Claim dirty slots and compute what follows from them, in one transaction.

    `claimed` is 0 when there is nothing to do that no other worker does. A system that is gone
    takes its dirty slots along. With `system_key` only that system's.
    """
    *sizes, smallest = _SLOTS_AT_ONCE
    for size in sizes:
        try:
            return _compute(now, system_key, *size)
        except TooManyReadings:
            continue
    return _compute(now, system_key, *smallest)


def compute_until_clean(*, now: datetime) -> int:
    """Compute until the queue is empty, or others do the rest; returns how many slots were done."""
    total = 0
    while (done := compute_dirty(now=now)).claimed:
        total += done.claimed
    return total


@transaction.atomic
def _compute(
    now: datetime, system_key: int | None, slots_at_once: int, readings_at_most: int | None
) -> Computed:
    claim = claim_slots(
        systems_at_most=SYSTEMS_AT_MOST, slots_at_most=SLOTS_AT_MOST, system_key=system_key
    )
    zones = load_zones({run.system_key for run in claim.runs})
    dirty = [run for run in claim.runs if run.system_key in zones]
    causes = reduce(or_, (run.reason.causes for run in claim.runs), 0)
    if not dirty:
        return Computed(claim.slots, causes=causes)
    before = load_membership(zones)
    runs, appliance_slots = compute_appliances(
        dirty, slots_at_once=slots_at_once, readings_at_most=readings_at_most
    )
    # Slots that are final are summed up again all the same.
    changed = joined(Stretch(run.system_key, run.from_ms, run.until_ms) for run in (*dirty, *runs))
    sums = roll_up(APPLIANCE_HOURS, _hours_of(changed))
    sums += roll_up(APPLIANCE_DAYS, _periods_of(changed, Resolution.DAY, zones))
    membership = load_membership(zones)
    changed += [Stretch(*span) for span in membership.differences(before)]
    computed, system_slots = compute_systems(changed, membership)
    sums += roll_up(SYSTEM_HOURS, _hours_of(computed))
    days = _periods_of(computed, Resolution.DAY, zones)
    figures_before = figures_of_days(days, now=now)
    sums += roll_up(SYSTEM_DAYS, days)
    figures_after = figures_of_days(days, now=now)
    leave_receipts(figures_before, figures_after, claim=claim, computed=runs, zones=zones, now=now)
    sums += roll_up(SYSTEM_MONTHS, _periods_of(computed, Resolution.MONTH, zones))
    return Computed(claim.slots, appliance_slots, system_slots, sums, causes)


def _hours_of(stretches: Sequence[Stretch]) -> list[tuple[int, Span]]:
    """The stretches, which lie more than an hour apart, widened to whole hours of UTC."""
    return [
        (
            each.system_key,
            Span(
                from_ms(each.from_ms - each.from_ms % _HOUR_MS),
                from_ms(each.until_ms + -each.until_ms % _HOUR_MS),
            ),
        )
        for each in stretches
    ]


def _periods_of(
    stretches: Sequence[Stretch], resolution: Resolution, zones: Mapping[int, ZoneInfo]
) -> set[tuple[int, Span]]:
    """The local periods that these stretches touch, each once."""
    return {
        (stretch.system_key, span)
        for stretch in stretches
        for span in periods(
            from_ms(stretch.from_ms),
            from_ms(stretch.until_ms),
            resolution,
            zones[stretch.system_key],
        )
    }
