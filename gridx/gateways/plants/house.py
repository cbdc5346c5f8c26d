"""What a house uses besides its large appliances, and the meters around it."""

from zoneinfo import ZoneInfo

import numpy as np

from gridx.gateways.messages import NominalLimits
from gridx.gateways.plants.noise import derive, smooth, uniform
from gridx.gateways.plants.plant import Plant
from gridx.gateways.plants.span import MS_PER_HOUR, Ints, Span
from gridx.gateways.plants.weather import MS_PER_DAY, to_local

HOURS_PER_YEAR = 8_766
EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday
EVENT_MS = 360_000
# Use over the hours of a local day, mean 1 (the shape of Germany's standard load profile H0).
WEEKDAY = np.array(
    [0.55, 0.45, 0.40, 0.38, 0.40, 0.55, 0.95, 1.15, 1.05, 0.95, 0.92, 1.02,
     1.20, 1.08, 0.95, 0.90, 0.98, 1.22, 1.60, 1.85, 1.75, 1.50, 1.20, 0.97]
)  # fmt: skip
WEEKEND = np.array(
    [0.65, 0.52, 0.45, 0.42, 0.40, 0.42, 0.58, 0.88, 1.18, 1.32, 1.35, 1.50,
     1.62, 1.35, 1.12, 1.02, 1.05, 1.22, 1.48, 1.62, 1.50, 1.30, 1.12, 0.93]
)  # fmt: skip
OFFICE = np.array(
    [0.45, 0.45, 0.45, 0.45, 0.45, 0.55, 0.85, 1.40, 1.80, 1.90, 1.90, 1.85,
     1.70, 1.80, 1.85, 1.75, 1.50, 1.10, 0.75, 0.60, 0.50, 0.45, 0.45, 0.45]
)  # fmt: skip


class House:
    """A load of about `annual_wh` a year; an office's follows working hours."""

    def __init__(
        self, zone: ZoneInfo, *, seed: int, annual_wh: float, is_office: bool = False
    ) -> None:
        self.zone = zone
        self.seed = seed
        self.mean_w = annual_wh / HOURS_PER_YEAR
        self.weekday, self.weekend = (OFFICE, 0.5 * OFFICE) if is_office else (WEEKDAY, WEEKEND)
        self.events_w = 0.0 if is_office else 2_100.0

    def power_w(self, span: Span) -> Ints:
        instants = span.middles
        local = to_local(instants, self.zone)
        day, hour = local // MS_PER_DAY, (local % MS_PER_DAY) / MS_PER_HOUR
        shape = np.where(
            (day + EPOCH_WEEKDAY) % 7 >= 5, _at(self.weekend, hour), _at(self.weekday, hour)
        )
        winter = 1.0 + 0.12 * np.cos(2.0 * np.pi * (day - 15) / 365.2425)
        drift = 0.6 + 0.8 * smooth(derive(self.seed, "drift"), instants, 1_900)
        flicker = 0.94 + 0.12 * smooth(derive(self.seed, "flicker"), instants, 23)
        # A kettle, an oven: a fifth of the energy comes in short runs of high power.
        event = instants // EVENT_MS
        chance = 0.2 * self.mean_w * shape / self.events_w if self.events_w else 0.0
        runs = uniform(derive(self.seed, "events"), event) < chance
        share = 0.8 if self.events_w else 1.0
        steady = share * self.mean_w * shape * winter * drift * flicker
        return np.rint(steady + runs * self.events_w).astype(np.int64)


def _at(hours: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """The profile at fractional hours, interpolated around the clock."""
    return np.interp(hour, np.arange(25), np.append(hours, hours[0]))


class GridMeter(Plant):
    """The meter at the grid connection point: what all others leave over."""

    kind = "grid_meter"
    model = "SIM-METER"
    default_name = "Grid meter"
    has_set_point = False

    def __init__(self, local_id: str, *, fuse_w: float, name: str | None = None) -> None:
        super().__init__(local_id, name=name)
        self.fuse_w = fuse_w

    def nominal(self) -> NominalLimits:
        return NominalLimits(min_power_w=-float(self.fuse_w), max_power_w=float(self.fuse_w))


class HouseholdMeter(GridMeter):
    """A meter of the house's own load alone."""

    kind = "household_meter"
    default_name = "Household meter"
    is_controllable = False
