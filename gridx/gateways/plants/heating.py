"""Appliances that heat a water store, switched by a thermostat with hysteresis."""

from collections.abc import Mapping
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import numpy as np

from gridx.gateways.messages import NominalLimits
from gridx.gateways.plants.plant import Plant
from gridx.gateways.plants.span import FREE, MS_PER_HOUR, Columns, Floats, Ints, Limits, Span
from gridx.gateways.plants.weather import Weather, to_local

WH_PER_LITRE_KELVIN = 1.163
COLD_C = 25.0  # below it nobody draws heat from the store
HEATING_LIMIT_C = 17.0  # the outside temperature from which on nothing needs heating
# Hot water over the hours of a local day, mean 1.
HOT_WATER = np.array(
    [0.1, 0.1, 0.1, 0.1, 0.2, 0.8, 2.4, 3.0, 2.0, 1.0, 0.7, 0.7,
     0.9, 0.8, 0.6, 0.6, 0.8, 1.2, 1.8, 2.2, 1.9, 1.2, 0.6, 0.2]
)  # fmt: skip


class StoreHeating(Plant):
    """A store of `litres` between `low_c` and `high_c`, never above `safe_c`."""

    low_c: ClassVar[float]
    high_c: ClassVar[float]
    safe_c: ClassVar[float]
    standby_w: ClassVar[int] = 0

    def __init__(
        self,
        local_id: str,
        weather: Weather,
        zone: ZoneInfo,
        *,
        power_w: float,
        litres: float,
        hot_water_w: float,
        name: str | None = None,
    ) -> None:
        super().__init__(local_id, name=name)
        self.weather = weather
        self.zone = zone
        self.power_w = int(power_w)
        self.wh_per_kelvin = litres * WH_PER_LITRE_KELVIN
        self.hot_water_w = hot_water_w
        self.store_c = (self.low_c + self.high_c) / 2
        self.is_on = False

    def demand_w(self, outside_c: Floats, instants: Ints) -> Floats:
        """The heat that is drawn from the store."""
        hour = (to_local(instants, self.zone) // MS_PER_HOUR) % 24
        return self.hot_water_w * HOT_WATER[hour]

    def performance(self, outside_c: Floats) -> Floats:
        """Heat out per electricity in."""
        return np.ones_like(outside_c)

    def run(self, span: Span, limits: Limits = FREE) -> Columns:
        instants = span.middles
        outside = self.weather.temperature_c(instants)
        demand = self.demand_w(outside, instants).tolist()
        performance = self.performance(outside).tolist()
        powers = np.empty(span.count, dtype=np.int64)
        stored = np.empty(span.count)
        for step in range(span.count):
            powers[step] = self._step(demand[step], performance[step], limits, span.step_h)
            stored[step] = self.store_c
        return self.columns(span, powers, temperature_c=np.round(stored, 1))

    def _step(self, demand_w: float, performance: float, limits: Limits, step_h: float) -> int:
        if self.store_c < self.low_c:
            self.is_on = True
        elif self.store_c > self.high_c:
            self.is_on = False
        power = limits.bend(self.power_w if self.is_on else self.standby_w)
        power = min(max(power, 0), self.power_w)
        if self.store_c >= self.safe_c or self.standby_w < power < self.least_w:
            power = min(power, self.standby_w)
        heat = power * performance if power > self.standby_w else 0.0
        drawn = demand_w if self.store_c > COLD_C else 0.0
        self.store_c += (heat - drawn) * step_h / self.wh_per_kelvin
        return power

    @property
    def least_w(self) -> int:
        """The least power that it runs at."""
        return 0

    def nominal(self) -> NominalLimits:
        return NominalLimits(
            min_power_w=0.0,
            max_power_w=float(self.power_w),
            min_running_w=float(self.least_w) or None,
        )

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, "store_c": self.store_c, "is_on": self.is_on}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.store_c, self.is_on = state["store_c"], state["is_on"]


class Heater(StoreHeating):
    """An electric immersion heater in the hot-water store."""

    kind = "heater"
    model = "SIM-HEATER"
    default_name = "Immersion heater"
    low_c = 50.0
    high_c = 60.0
    safe_c = 80.0


class HeatPump(StoreHeating):
    """An air-to-water heat pump: the colder it is outside, the more heat the house needs and the
    less the pump makes of its electricity.
    """

    kind = "heat_pump"
    model = "SIM-HEATPUMP"
    default_name = "Heat pump"
    low_c = 38.0
    high_c = 46.0
    safe_c = 58.0
    standby_w = 15

    def __init__(self, *args: Any, loss_w_per_kelvin: float = 160.0, **others: Any) -> None:
        super().__init__(*args, **others)
        self.loss_w_per_kelvin = loss_w_per_kelvin

    @property
    def least_w(self) -> int:
        return self.power_w // 3

    def demand_w(self, outside_c: Floats, instants: Ints) -> Floats:
        heating = self.loss_w_per_kelvin * np.maximum(HEATING_LIMIT_C - outside_c, 0.0)
        return heating + super().demand_w(outside_c, instants)

    def performance(self, outside_c: Floats) -> Floats:
        """2.3 at −15 °C to 5.0 at 20 °C: about what field tests of such pumps found."""
        return np.clip(3.45 + 0.077 * outside_c, 1.8, 5.2)
