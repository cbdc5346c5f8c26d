"""Sun, clouds and outside temperature of one place, and its local time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from pvlib import atmosphere, clearsky, irradiance, solarposition

from gridx.gateways.plants.noise import derive, smooth
from gridx.gateways.plants.span import MS_PER_HOUR, Floats, Ints

MS_PER_DAY = 24 * MS_PER_HOUR
LINKE_TURBIDITY = 3.0
ALTITUDE_M = 200.0


@dataclass(frozen=True, slots=True)
class Weather:
    """The weather at a place; sites with the same seed share their clouds."""

    latitude: float
    longitude: float
    seed: int

    def transmission(self, instants: Ints) -> Floats:
        """The share of the clear sky's irradiance that comes through the clouds, 0.08–1.

        Fronts that last days, cloud fields that last hours, single clouds that last minutes;
        the latter only where the sky is half covered.
        """
        fronts = smooth(derive(self.seed, "fronts"), instants, 1.7 * 86_400)
        fields = smooth(derive(self.seed, "fields"), instants, 2.3 * 3_600)
        clouds = smooth(derive(self.seed, "clouds"), instants, 8 * 60)
        cover = np.clip(0.75 * fronts + 0.5 * fields - 0.02, 0.0, 1.0)
        broken = 4.0 * cover * (1.0 - cover)
        cover = np.clip(cover + broken * (clouds - 0.5) * 0.7, 0.0, 1.0)
        return 1.0 - 0.92 * cover**1.6

    def temperature_c(self, instants: Ints) -> Floats:
        """Outside: warmest in late July (late January in the south) and at three in the day."""
        year = 2.0 * np.pi * (instants / MS_PER_DAY - 203.0) / 365.2425
        if self.latitude < 0:
            year = year + np.pi
        day = 2.0 * np.pi * (instants / MS_PER_HOUR + self.longitude / 15.0 - 15.0) / 24.0
        spell = smooth(derive(self.seed, "spells"), instants, 3.1 * 86_400) - 0.5
        mean = 28.0 - 0.36 * abs(self.latitude)
        swing = 2.0 + 0.15 * abs(self.latitude)
        return mean + swing * np.cos(year) + 4.0 * np.cos(day) + 11.0 * spell


def clear_sky_irradiance(
    instants: Ints, *, latitude: float, longitude: float, tilt: float, azimuth: float
) -> Floats:
    """W/m² on a tilted plane under a cloudless sky (Ineichen; diffuse part after Hay and Davies).

    `tilt` from the horizontal, `azimuth` clockwise from north (180 = south), in degrees.
    """
    times = pd.DatetimeIndex(instants.astype("datetime64[ms]"), tz="UTC")
    sun = solarposition.get_solarposition(times, latitude, longitude, method="ephemeris")
    zenith = sun["apparent_zenith"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):  # below the horizon there is no airmass
        airmass = atmosphere.get_relative_airmass(zenith)
        sky = clearsky.ineichen(zenith, airmass, LINKE_TURBIDITY, altitude=ALTITUDE_M)
        plane = irradiance.get_total_irradiance(
            tilt,
            azimuth,
            zenith,
            sun["azimuth"].to_numpy(),
            sky["dni"],
            sky["ghi"],
            sky["dhi"],
            dni_extra=irradiance.get_extra_radiation(times.day_of_year.to_numpy()),
            model="haydavies",
        )
    return np.nan_to_num(plane["poa_global"])


def to_local(instants: Ints, zone: ZoneInfo) -> Ints:
    """The wall clock's reading at each instant, in ms, counted as if it were UTC."""
    hours, places = np.unique(instants // MS_PER_HOUR, return_inverse=True)
    offsets = np.array([_offset_ms(int(hour), zone) for hour in hours], dtype=np.int64)
    return instants + offsets[places]


def _offset_ms(hour: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)
