"""The kinds of appliances, and what each is in a system's energy balance. Pure."""

from enum import IntEnum, StrEnum

# How rarely an appliance may be read, and how long an interval that it reports may be.
LONGEST_INTERVAL_S = 3600


class ApplianceKind(StrEnum):
    """What an appliance is, as gateways declare it and staff know it."""

    GRID_METER = "grid_meter"
    HOUSEHOLD_METER = "household_meter"
    METER = "meter"
    PV_INVERTER = "pv_inverter"
    BATTERY = "battery"
    HYBRID_INVERTER = "hybrid_inverter"
    EV_CHARGING_STATION = "ev_charging_station"
    HEAT_PUMP = "heat_pump"
    HEATER = "heater"


class Plug(IntEnum):
    """What a charging station knows of its socket, as it is stored."""

    UNPLUGGED = 0
    PLUGGED = 1
    CHARGING = 2
    PAUSED = 3
    FAULT = 4


class Role(StrEnum):
    """The part that an appliance plays in the balance of its system."""

    GRID = "grid"
    HOUSE = "house"
    PV = "pv"
    BATTERY = "battery"
    EV = "ev"
    HEAT_PUMP = "heat_pump"
    HEATER = "heater"
    NONE = "none"


# Those that tell what a place took from the grid and gave to it.
METERS = frozenset({Role.GRID, Role.HOUSE})
# A hybrid inverter and a sub-meter measure again what others measure: they take no part.
ROLES: dict[ApplianceKind, Role] = {
    ApplianceKind.GRID_METER: Role.GRID,
    ApplianceKind.HOUSEHOLD_METER: Role.HOUSE,
    ApplianceKind.METER: Role.NONE,
    ApplianceKind.PV_INVERTER: Role.PV,
    ApplianceKind.BATTERY: Role.BATTERY,
    ApplianceKind.HYBRID_INVERTER: Role.NONE,
    ApplianceKind.EV_CHARGING_STATION: Role.EV,
    ApplianceKind.HEAT_PUMP: Role.HEAT_PUMP,
    ApplianceKind.HEATER: Role.HEATER,
}


def role_of(kind: str) -> Role:
    """The part that appliances of a kind play; of its name, as the database gives it, too."""
    return ROLES[ApplianceKind(kind)]


class DimmingMode(StrEnum):
    """How a system is dimmed by its grid operator (§ 14a EnWG)."""

    DIRECT = "direct"  # each controllable consumer by itself
    EMS = "ems"  # all of them together, as an energy management divides it


# What stores energy that it gives back.
STORING: frozenset[ApplianceKind] = frozenset(
    {ApplianceKind.BATTERY, ApplianceKind.HYBRID_INVERTER}
)

# What can be told how much power to take or give.
CONTROLLABLE: frozenset[ApplianceKind] = frozenset(
    {
        ApplianceKind.PV_INVERTER,
        ApplianceKind.BATTERY,
        ApplianceKind.HYBRID_INVERTER,
        ApplianceKind.EV_CHARGING_STATION,
        ApplianceKind.HEAT_PUMP,
        ApplianceKind.HEATER,
    }
)

# Type and kind (or meter location) of the same appliance on the wire API.
WIRE_TYPES: dict[ApplianceKind, tuple[str, str | None]] = {
    ApplianceKind.GRID_METER: ("METER", "GRID"),
    ApplianceKind.HOUSEHOLD_METER: ("METER", "CLUSTER"),
    ApplianceKind.METER: ("METER", "MISC"),
    ApplianceKind.PV_INVERTER: ("INVERTER", "PV"),
    ApplianceKind.BATTERY: ("INVERTER", "BATTERY"),
    ApplianceKind.HYBRID_INVERTER: ("INVERTER", "HYBRID"),
    ApplianceKind.EV_CHARGING_STATION: ("EVSTATION", None),
    ApplianceKind.HEAT_PUMP: ("HEAT_PUMP", None),
    ApplianceKind.HEATER: ("HEATER", None),
}
