"""Sites as one describes them: a home with some appliances, a charging fleet."""

from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from gridx.gateways.plants.charging import COMMUTER, WORKPLACE, ChargingStation
from gridx.gateways.plants.heating import Heater, HeatPump
from gridx.gateways.plants.house import GridMeter, House, HouseholdMeter
from gridx.gateways.plants.noise import derive
from gridx.gateways.plants.site import Consumer, Site
from gridx.gateways.plants.solar import Photovoltaics
from gridx.gateways.plants.storage import Battery
from gridx.gateways.plants.weather import Weather

Part = Literal["pv", "battery", "ev", "heat_pump", "heater", "household_meter"]


class SitePlan(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """All that makes a site, as it stands in a file.

    `parts`: a home's appliances besides its grid meter (a fleet may have PV and a battery too).
    Sites with the same `weather_seed` lie under the same clouds; by default each has its own.
    PV faces the equator unless `pv_azimuth` (clockwise from north) says otherwise.
    `names`: what people call the appliances, by local id.
    """

    preset: Literal["home", "charging_fleet"] = "home"
    parts: list[Part] = []
    time_zone: str = "Europe/Berlin"
    latitude: float = 52.5
    longitude: float = 13.4
    seed: int = 0
    weather_seed: int | None = None
    annual_wh: float = 3_600_000.0
    pv_peak_w: float = 9_600.0
    pv_tilt: float = 35.0
    pv_azimuth: float | None = None
    battery_capacity_wh: float = 10_000.0
    battery_power_w: float = 5_000.0
    ev_power_w: float = 11_040.0
    heat_pump_power_w: float = 3_000.0
    heat_pump_loss_w_per_kelvin: float = 160.0
    heater_power_w: float = 3_000.0
    stations: int = 12
    station_power_w: float = 22_080.0
    fuse_w: float = 43_470.0
    names: dict[str, str] = {}


def build_site(plan: SitePlan) -> Site:
    """The site of a plan, at its beginning: counters at 0, the battery half full.

    Raises ValueError (ZoneInfoNotFoundError is one) for a time zone that does not exist.
    """
    try:
        zone = ZoneInfo(plan.time_zone)
    except (KeyError, ValueError) as error:
        raise ValueError(f"no such time zone: {plan.time_zone!r}") from error
    seed = plan.seed if plan.weather_seed is None else plan.weather_seed
    weather = Weather(plan.latitude, plan.longitude, seed)
    is_fleet = plan.preset == "charging_fleet"
    return Site(
        House(
            zone,
            seed=derive(plan.seed, "house"),
            annual_wh=plan.annual_wh,
            is_office=is_fleet,
        ),
        GridMeter("grid", fuse_w=plan.fuse_w, name=plan.names.get("grid")),
        solar=_solar(plan, weather),
        batteries=_batteries(plan),
        consumers=_stations(plan, zone) if is_fleet else _consumers(plan, weather, zone),
        household_meter=(
            HouseholdMeter("house", fuse_w=plan.fuse_w, name=plan.names.get("house"))
            if "household_meter" in plan.parts
            else None
        ),
    )


def _solar(plan: SitePlan, weather: Weather) -> list[Photovoltaics]:
    if "pv" not in plan.parts:
        return []
    facing = 180.0 if plan.latitude >= 0 else 0.0
    return [
        Photovoltaics(
            "pv",
            weather,
            peak_w=plan.pv_peak_w,
            tilt=plan.pv_tilt,
            azimuth=facing if plan.pv_azimuth is None else plan.pv_azimuth,
            name=plan.names.get("pv"),
        )
    ]


def _batteries(plan: SitePlan) -> list[Battery]:
    if "battery" not in plan.parts:
        return []
    return [
        Battery(
            "battery",
            capacity_wh=plan.battery_capacity_wh,
            power_w=plan.battery_power_w,
            name=plan.names.get("battery"),
        )
    ]


def _consumers(plan: SitePlan, weather: Weather, zone: ZoneInfo) -> list[Consumer]:
    consumers: list[Consumer] = []
    if "heat_pump" in plan.parts:
        consumers.append(
            HeatPump(
                "heat-pump",
                weather,
                zone,
                power_w=plan.heat_pump_power_w,
                litres=500.0,
                hot_water_w=0.0 if "heater" in plan.parts else 250.0,
                loss_w_per_kelvin=plan.heat_pump_loss_w_per_kelvin,
                name=plan.names.get("heat-pump"),
            )
        )
    if "heater" in plan.parts:
        consumers.append(
            Heater(
                "heater",
                weather,
                zone,
                power_w=plan.heater_power_w,
                litres=200.0,
                hot_water_w=250.0,
                name=plan.names.get("heater"),
            )
        )
    if "ev" in plan.parts:
        consumers.append(
            ChargingStation(
                "ev",
                zone,
                seed=derive(plan.seed, "ev"),
                max_w=plan.ev_power_w,
                habit=COMMUTER,
                name=plan.names.get("ev"),
            )
        )
    return consumers


def _stations(plan: SitePlan, zone: ZoneInfo) -> list[Consumer]:
    ids = [f"evcs-{number:02}" for number in range(1, plan.stations + 1)]
    return [
        ChargingStation(
            local_id,
            zone,
            seed=derive(plan.seed, local_id),
            max_w=plan.station_power_w,
            habit=WORKPLACE,
            name=plan.names.get(local_id, f"Charging station {local_id[-2:]}"),
        )
        for local_id in ids
    ]
