"""Which readings are refused, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db import models
from django.utils.translation import gettext_lazy as _

from inventory.kinds import LONGEST_INTERVAL_S, METERS, ROLES, ApplianceKind
from inventory.models import Appliance
from measurements.batches import INTERVAL_QUANTITIES, Batch
from measurements.counters import UNKNOWN_MAX_POWER_W
from measurements.resolutions import to_ms

FUTURE_TOLERANCE = timedelta(minutes=5)
# Nothing was metered digitally before; an instant like that is a clock that was never set.
EARLIEST = datetime.fromisoformat("2000-01-01T00:00:00Z")

# Real devices exceed their nominal limits for a moment, and read a few watts at rest.
SLACK_W = 1000.0
DEVICE_MARGIN = 2.0
# A meter's limits are what the contract allows: that they were exceeded must remain visible.
METER_MARGIN = 5.0
_METERS = frozenset(kind for kind in ApplianceKind if ROLES[kind] in METERS) | {ApplianceKind.METER}

# Bounds of what a quantity can be at all; powers have bounds of their appliance.
RANGES: dict[str, tuple[float, float]] = {
    "imported_wh": (0.0, 1e13),
    "exported_wh": (0.0, 1e13),
    "soc": (0.0, 1.0),
    "energy_wh": (0.0, 1e9),
    "temperature_c": (-273.15, 2000.0),
    "current_l1_a": (-1e5, 1e5),
    "current_l2_a": (-1e5, 1e5),
    "current_l3_a": (-1e5, 1e5),
    "plug_state": (0.0, 32767.0),
    "interval_s": (1.0, LONGEST_INTERVAL_S),
    "import_energy_wh": (0.0, 1e9),
    "export_energy_wh": (0.0, 1e9),
}


class Refusal(models.TextChoices):
    """Why a reading is refused."""

    EMPTY = "empty", _("says nothing")
    NOT_FINITE = "not_finite", _("is not a finite number")
    FUTURE = "future", _("lies in the future")
    TOO_OLD = "too_old", _("is older than what is kept")
    OUT_OF_RANGE = "out_of_range", _("is out of the quantity's range")
    HALF_INTERVAL = "half_interval", _("has an interval without energies, or the reverse")
    IMPLAUSIBLE = "implausible_power", _("is more than the appliance can do")


# A reason as a number in an array: its position here plus one; 0 is “accepted”.
REASONS: tuple[Refusal, ...] = tuple(Refusal)


@dataclass(frozen=True, eq=False)
class PlausiblePowers:
    """For appliances (keys ascending) the least and greatest power in W that is believed."""

    appliance_key: np.ndarray
    least_w: np.ndarray
    greatest_w: np.ndarray

    @classmethod
    def of(cls, appliances: Iterable[tuple[int, str, float | None, float | None]]):
        """From (key, kind, nominal least W, nominal greatest W); None is “nobody stated it”."""
        rows = sorted(appliances)
        bounds = [plausible_bounds(kind, low, high) for _key, kind, low, high in rows]
        return cls(
            appliance_key=np.array([row[0] for row in rows], dtype=np.int32),
            least_w=np.array([low for low, _high in bounds], dtype=np.float64),
            greatest_w=np.array([high for _low, high in bounds], dtype=np.float64),
        )

    def for_rows(self, appliance_key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bounds for each row; generous ones for an appliance that is not known here."""
        least_w = np.full(len(appliance_key), -UNKNOWN_MAX_POWER_W)
        greatest_w = np.full(len(appliance_key), UNKNOWN_MAX_POWER_W)
        if len(self.appliance_key):
            position = np.searchsorted(self.appliance_key, appliance_key)
            position = np.minimum(position, len(self.appliance_key) - 1)
            known = self.appliance_key[position] == appliance_key
            least_w[known] = self.least_w[position[known]]
            greatest_w[known] = self.greatest_w[position[known]]
        return least_w, greatest_w


def plausible_bounds(
    kind: str, min_power_w: float | None, max_power_w: float | None
) -> tuple[float, float]:
    """The least and greatest power in W to believe of an appliance with these nominal limits."""
    margin = METER_MARGIN if kind in _METERS else DEVICE_MARGIN

    def bound(limit_w: float | None) -> float:
        return UNKNOWN_MAX_POWER_W if limit_w is None else margin * max(limit_w, 0.0) + SLACK_W

    return -bound(None if min_power_w is None else -min_power_w), bound(max_power_w)


def load_plausible_powers(appliance_key: np.ndarray) -> PlausiblePowers:
    """The bounds of the appliances that the inventory knows by these keys."""
    keys = np.unique(appliance_key).tolist()
    return PlausiblePowers.of(
        Appliance.objects.filter(key__in=keys).values_list(
            "key", "kind", "min_power_w", "max_power_w"
        )
    )


def judge(
    *, batch: Batch, now: datetime, kept_from: datetime | None, powers: PlausiblePowers
) -> np.ndarray:
    """For each row of the batch 0 (accepted) or a reason (int8, see `REASONS`).

    Each row is judged by itself; of several reasons the first of `Refusal` counts. `kept_from`:
    the instant before which readings are no longer kept; None takes recorded history of any age.
    """
    reasons = np.zeros(len(batch), dtype=np.int8)

    def refuse(rows: np.ndarray, reason: Refusal) -> None:
        reasons[rows & (reasons == 0)] = REASONS.index(reason) + 1

    columns = batch.values
    unread = np.ones(len(batch), dtype=bool)
    infinite = np.zeros(len(batch), dtype=bool)
    outside = np.zeros(len(batch), dtype=bool)
    for name, column in columns.items():
        if name != "interval_s":
            unread &= np.isnan(column)
        infinite |= np.isinf(column)
        if name in RANGES:
            low, high = RANGES[name]
            outside |= (column < low) | (column > high)
    refuse(unread, Refusal.EMPTY)
    refuse(infinite, Refusal.NOT_FINITE)
    interval = any(name in columns for name in INTERVAL_QUANTITIES)
    told_until_ms = batch.at_ms
    if interval:
        interval_s = batch.column("interval_s")
        told_until_ms = told_until_ms + np.nan_to_num(interval_s) * 1000
    refuse(told_until_ms > to_ms(now + FUTURE_TOLERANCE), Refusal.FUTURE)
    oldest = EARLIEST if kept_from is None else max(kept_from, EARLIEST)
    refuse(batch.at_ms < to_ms(oldest), Refusal.TOO_OLD)
    refuse(outside, Refusal.OUT_OF_RANGE)
    if interval:
        energies_unread = np.isnan(batch.column("import_energy_wh")) & np.isnan(
            batch.column("export_energy_wh")
        )
        refuse(energies_unread != np.isnan(interval_s), Refusal.HALF_INTERVAL)
    least_w, greatest_w = powers.for_rows(batch.appliance_key)
    if "power_w" in columns:
        power_w = columns["power_w"]
        refuse((power_w < least_w) | (power_w > greatest_w), Refusal.IMPLAUSIBLE)
    if interval:
        hours = interval_s / 3600.0
        beyond = batch.column("import_energy_wh") > greatest_w * hours
        beyond |= batch.column("export_energy_wh") > -least_w * hours
        refuse(beyond, Refusal.IMPLAUSIBLE)
    return reasons
