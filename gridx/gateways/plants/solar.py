"""A photovoltaic plant: the sun on a tilted plane, clouds, warm cells, an inverter's limit."""

import numpy as np

from gridx.gateways.messages import NominalLimits
from gridx.gateways.plants.plant import Plant
from gridx.gateways.plants.span import FREE, Floats, Ints, Limits, Span
from gridx.gateways.plants.weather import MS_PER_DAY, Weather, clear_sky_irradiance

GRID_MS = 900_000
SYSTEM_EFFICIENCY = 0.87
WARMING_PER_IRRADIANCE = 0.03  # K per W/m², a free-standing module (NOCT 45 °C)
LOSS_PER_KELVIN = 0.004


class Photovoltaics(Plant):
    """Power is negative (produced). A limit from below (`min_w`) curtails it."""

    kind = "pv_inverter"
    model = "SIM-PV"
    default_name = "Photovoltaics"

    def __init__(
        self,
        local_id: str,
        weather: Weather,
        *,
        peak_w: float,
        tilt: float = 35.0,
        azimuth: float = 180.0,
        inverter_w: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(local_id, name=name)
        self.weather = weather
        self.peak_w = peak_w
        self.tilt = tilt
        self.azimuth = azimuth
        self.inverter_w = inverter_w or 0.95 * peak_w
        self._sky_ms: Ints = np.empty(0, dtype=np.int64)
        self._sky: Floats = np.empty(0)

    def nominal(self) -> NominalLimits:
        return NominalLimits(min_power_w=-float(self.inverter_w), max_power_w=0.0)

    def available_w(self, span: Span, limits: Limits = FREE) -> Ints:
        """What it feeds in at each step, within its own limits. Counts nothing yet."""
        instants = span.middles
        plane = self._clear_sky(instants) * self.weather.transmission(instants)
        cell_c = self.weather.temperature_c(instants) + WARMING_PER_IRRADIANCE * plane
        warmth = 1.0 - LOSS_PER_KELVIN * (cell_c - 25.0)
        made = self.peak_w * plane / 1000.0 * SYSTEM_EFFICIENCY * warmth
        power = -np.rint(np.clip(made, 0.0, self.inverter_w)).astype(np.int64)
        least = limits.min_w if limits.set_point_w is None else limits.set_point_w
        return power if least is None else np.maximum(power, int(np.ceil(min(least, 0.0))))

    def _clear_sky(self, instants: Ints) -> Floats:
        """Interpolated from a table by the quarter hour of whole days, made when it is needed."""
        first, last = int(instants[0]), int(instants[-1])
        if not len(self._sky_ms) or first < self._sky_ms[0] or last > self._sky_ms[-1]:
            start = first // MS_PER_DAY * MS_PER_DAY
            end = (last // MS_PER_DAY + 1) * MS_PER_DAY
            self._sky_ms = np.arange(start, end + GRID_MS, GRID_MS, dtype=np.int64)
            self._sky = clear_sky_irradiance(
                self._sky_ms,
                latitude=self.weather.latitude,
                longitude=self.weather.longitude,
                tilt=self.tilt,
                azimuth=self.azimuth,
            )
        return np.interp(instants, self._sky_ms, self._sky)
