"""What the computation of slots needs to know of the inventory, by key.

It is read as it is said now, and holds of all of an appliance's history: migration
`0004_appliance_corrections` has that made anew where any of it is changed.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from inventory.kinds import Role, role_of
from inventory.models import Appliance, System
from measurements.energy import Nominal
from measurements.models import DeclaredInterval
from measurements.resolutions import to_ms

_DEFAULT_INTERVAL_S = 60


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance as its system's balance sees it; `system_key` says where it is now."""

    role: Role
    capacity_wh: float | None
    system_key: int
    removed_at: datetime | None


def load_nominals(appliances: Collection[tuple[int, int]]) -> dict[tuple[int, int], Nominal]:
    """What is known beforehand of appliances in systems, by both keys (system, appliance).

    Of an appliance that the inventory does not know it is next to nothing.
    """
    system_keys = {system_key for system_key, _key in appliances}
    keys = {key for _system_key, key in appliances}
    intervals: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    declared = DeclaredInterval.objects.filter(system_key__in=system_keys, appliance_key__in=keys)
    for system_key, key, valid_from, interval_s in declared.order_by("valid_from").values_list(
        "system_key", "appliance_key", "valid_from", "interval_s"
    ):
        intervals[system_key, key].append((to_ms(valid_from), interval_s))
    known = {
        key: (interval_s, _greatest(most), _greatest(None if least is None else -least))
        for key, interval_s, least, most in Appliance.objects.filter(key__in=keys).values_list(
            "key", "interval_s", "min_power_w", "max_power_w"
        )
    }
    found = {}
    for appliance in appliances:
        interval_s, *limits = known.get(appliance[1], (_DEFAULT_INTERVAL_S, None, None))
        found[appliance] = Nominal(intervals.get(appliance) or interval_s, *limits)
    return found


def _greatest(power_w: float | None) -> float | None:
    # A limit of 0 says that an appliance is not meant to; a few watts at rest flow all the same.
    return power_w if power_w and power_w > 0 else None


def load_members(appliance_keys: Collection[int]) -> dict[int, Member]:
    """What these appliances are in the balance, by key."""
    rows = Appliance.objects.filter(key__in=appliance_keys).values_list(
        "key", "kind", "capacity_wh", "system__key", "removed_at"
    )
    return {key: Member(role_of(kind), *rest) for key, kind, *rest in rows}


def load_zones(system_keys: Collection[int]) -> dict[int, ZoneInfo]:
    """The systems' time zones, by key."""
    rows = System.objects.filter(key__in=system_keys).values_list("key", "time_zone")
    return {key: ZoneInfo(name) for key, name in rows}
