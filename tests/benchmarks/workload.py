"""Workload W: 20 systems of 5 appliances, a reading a minute: power, two counters, charge."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from accounts.models import Account
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from measurements.batches import Batch

SYSTEMS = 20
APPLIANCES = 5
BATCH = 5_000
# A Monday, so that a run of up to a week fills one partition.
START = datetime(2026, 3, 2, tzinfo=UTC)
_MINUTES = BATCH // (SYSTEMS * APPLIANCES)


def make_inventory() -> None:
    """The systems and appliances that the readings are of, with their keys from 1."""
    account = Account.objects.create(name="Workload")
    System.objects.bulk_create(
        System(key=key, account=account, name=f"System {key}") for key in range(1, SYSTEMS + 1)
    )
    systems = list(System.objects.filter(account=account).order_by("key"))
    Appliance.objects.bulk_create(
        Appliance(
            key=number + 1,
            system=systems[number // APPLIANCES],
            kind=ApplianceKind.BATTERY,
            name=f"Appliance {number + 1}",
            min_power_w=-5000,
            max_power_w=5000,
        )
        for number in range(SYSTEMS * APPLIANCES)
    )


def batches(count: int) -> Iterator[Batch]:
    """`count` batches of 5,000 readings, each of 50 minutes, system by system."""
    system_key = np.repeat(np.arange(1, SYSTEMS + 1), APPLIANCES * _MINUTES)
    appliance_key = np.repeat(np.arange(1, SYSTEMS * APPLIANCES + 1), _MINUTES)
    minute = np.tile(np.arange(_MINUTES), SYSTEMS * APPLIANCES)
    start_ms = int(START.timestamp() * 1000)
    for number in range(count):
        minutes = minute + number * _MINUTES
        power_w = 1500.0 * np.sin(minutes / 1440.0 * 2 * np.pi + appliance_key)
        yield Batch.of(
            system_key=system_key,
            appliance_key=appliance_key,
            at_ms=start_ms + minutes * 60_000,
            power_w=power_w,
            imported_wh=1e6 + minutes * 12.5,
            exported_wh=5e5 + minutes * 7.25,
            soc=0.5 + 0.4 * np.sin(minutes / 700.0),
        )


def now_after(count: int) -> datetime:
    """The instant at which the last of `count` batches has just arrived."""
    return START + timedelta(minutes=count * _MINUTES)
