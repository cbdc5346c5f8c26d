"""One round of computing: claim, compute, carry to days and months."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from measurements.resolutions import Resolution
from measurements.slots.appliances import compute_appliances
from measurements.slots.claims import claim_slots
from measurements.slots.inventory import load_zones
from measurements.slots.rollups import (
    APPLIANCE_DAYS,
    SYSTEM_DAYS,
    SYSTEM_MONTHS,
    roll_up,
    spans_around,
)
from measurements.slots.systems import compute_systems

# So much at a time that a round's columns stay small, however long the queue is.
SYSTEMS_AT_MOST = 50
ROWS_AT_MOST = 10_000


@dataclass(frozen=True)
class Computed:
    """What one round did: rows taken from the queue, slots of appliances and systems changed."""

    claimed: int
    appliance_slots: int
    system_slots: int


def compute_dirty(*, now: datetime) -> Computed:
    """Claim dirty slots and compute what follows from them, in one transaction.

    `claimed` is 0 when there is nothing to do that no other worker does. A system that is gone
    takes its dirty slots along.
    """
    with transaction.atomic():
        claim = claim_slots(systems_at_most=SYSTEMS_AT_MOST, rows_at_most=ROWS_AT_MOST)
        zones = load_zones(claim.system_keys)
        changed = [
            (system_key, appliance_key, start)
            for system_key, appliance_key, start in compute_appliances(claim, now=now)
            if system_key in zones
        ]
        slots = {(system_key, start) for system_key, _appliance_key, start in changed}
        roll_up(APPLIANCE_DAYS, spans_around(slots, Resolution.DAY, zones))
        computed = compute_systems(slots)
        roll_up(SYSTEM_DAYS, spans_around(computed, Resolution.DAY, zones))
        roll_up(SYSTEM_MONTHS, spans_around(computed, Resolution.MONTH, zones))
    return Computed(claim.rows, len(changed), len(computed))


def compute_until_clean(
    *, now: datetime, progress: Callable[[Computed], None] = lambda done: None
) -> int:
    """Compute until the queue is empty, or others do the rest; returns how many rows were taken."""
    total = 0
    while (done := compute_dirty(now=now)).claimed:
        total += done.claimed
        progress(done)
    return total
