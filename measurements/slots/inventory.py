"""What the computation of slots needs to know of the inventory, by key."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from inventory.kinds import ROLES, ApplianceKind, Role
from inventory.models import Appliance, System
from measurements.energy import Nominal
from measurements.models import DeclaredInterval
from measurements.resolutions import to_ms

_DEFAULT_INTERVAL_S = 60


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance as its system's balance sees it."""

    role: Role
    capacity_wh: float | None
    removed_at: datetime | None


def load_nominals(
    system_keys: Collection[int], appliance_keys: Collection[int]
) -> dict[int, Nominal]:
    """What is known beforehand of these appliances, by key; of an unknown one next to nothing."""
    intervals: dict[int, list[tuple[int, float]]] = defaultdict(list)
    declared = DeclaredInterval.objects.filter(
        system_key__in=system_keys, appliance_key__in=appliance_keys
    )
    for row in declared.order_by("valid_from"):
        intervals[row.appliance_key].append((to_ms(row.valid_from), row.interval_s))
    found = {key: Nominal(_DEFAULT_INTERVAL_S) for key in appliance_keys}
    for appliance in Appliance.objects.filter(key__in=appliance_keys):
        found[appliance.key] = Nominal(
            intervals.get(appliance.key) or appliance.interval_s,
            max_import_w=_greatest(appliance.max_power_w),
            max_export_w=_greatest(
                None if appliance.min_power_w is None else -appliance.min_power_w
            ),
        )
    return found


def _greatest(power_w: float | None) -> float | None:
    # A limit of 0 says that an appliance is not meant to; a few watts at rest flow all the same.
    return power_w if power_w and power_w > 0 else None


def load_members(appliance_keys: Collection[int]) -> dict[int, Member]:
    """What these appliances are in the balance, by key."""
    return {
        appliance.key: Member(
            ROLES[ApplianceKind(appliance.kind)], appliance.capacity_wh, appliance.removed_at
        )
        for appliance in Appliance.objects.filter(key__in=appliance_keys)
    }


def load_zones(system_keys: Collection[int]) -> dict[int, ZoneInfo]:
    """The systems' time zones, by key."""
    return {system.key: system.zone for system in System.objects.filter(key__in=system_keys)}
