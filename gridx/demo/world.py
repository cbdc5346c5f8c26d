"""Who and what there is in the demo's world."""

from dataclasses import dataclass

from accounts.access import Role
from gridx.gateways.plants.presets import SitePlan

PASSWORD = "gridx-demo"  # noqa: S105 - said to everybody who starts the demo

OPERATOR = "Rheinkraft"
# Name and parent; the regions lie three deep below the operator.
ACCOUNTS = (
    ("West", OPERATOR),
    ("Aachen", "West"),
    ("Aachen-Süd", "Aachen"),
    ("Köln", "West"),
    ("South-West Europe", OPERATOR),
    ("Solar Schmitz", "Aachen"),
    ("Energieteam Köln", "Köln"),
    ("Rheinkraft Mobility", OPERATOR),
)


@dataclass(frozen=True)
class Person:
    email: str
    full_name: str
    account: str
    role: Role
    is_staff: bool = False


@dataclass(frozen=True)
class Site:
    """A system with its gateway; a home's owner is a customer below `account`."""

    name: str
    account: str
    city: str
    postal_code: str
    country: str
    serial: str
    plan: SitePlan
    customer: str | None = None


PEOPLE = (
    Person("resident@gridx.example", "Mara Klein", "Family Klein", Role.RESIDENT),
    Person("fleet@gridx.example", "Jonas Weber", "Rheinkraft Mobility", Role.FLEET_MANAGER),
    Person("admin@gridx.example", "Aylin Demir", OPERATOR, Role.ACCOUNT_ADMIN),
    Person("installer@gridx.example", "Peter Schmitz", "Solar Schmitz", Role.INSTALLER),
    Person("viewer@gridx.example", "Lena Hoffmann", OPERATOR, Role.VIEWER),
    Person("staff@gridx.example", "Support", OPERATOR, Role.VIEWER, is_staff=True),
)

_NAMES = {
    "grid": "Grid meter",
    "pv": "Roof",
    "battery": "Battery",
    "ev": "Car",
    "heat-pump": "Heat pump",
    "heater": "Hot water",
}


def _home(
    number: int,
    name: str,
    customer: str,
    account: str,
    place: tuple[str, str, str, str, float, float],
    parts: list[str],
    **plan,
) -> Site:
    city, postal_code, country, time_zone, latitude, longitude = place
    return Site(
        name=name,
        account=account,
        customer=customer,
        city=city,
        postal_code=postal_code,
        country=country,
        serial=f"GX-DEMO-{number:02}",
        plan=SitePlan(
            parts=parts,
            time_zone=time_zone,
            latitude=latitude,
            longitude=longitude,
            seed=number,
            names=_NAMES,
            **plan,
        ),
    )


_AACHEN = ("Aachen", "52062", "DE", "Europe/Berlin", 50.776, 6.084)
_KOELN = ("Köln", "50667", "DE", "Europe/Berlin", 50.938, 6.960)
_LISBOA = ("Lisboa", "1100-148", "PT", "Europe/Lisbon", 38.713, -9.139)

SITES = (
    _home(
        1,
        "Lindenweg 12",
        "Family Klein",
        "Solar Schmitz",
        _AACHEN,
        ["pv", "battery", "ev", "heat_pump"],
        pv_peak_w=9_800,
    ),
    _home(
        2,
        "Rosenstraße 4",
        "Family Öztürk",
        "Solar Schmitz",
        _AACHEN,
        ["pv", "battery", "heat_pump"],
        pv_peak_w=7_200,
        battery_capacity_wh=7_700,
        battery_power_w=3_600,
    ),
    _home(
        3,
        "Am Mühlbach 7",
        "Family Jansen",
        "Aachen-Süd",
        _AACHEN,
        ["pv", "ev"],
        pv_peak_w=5_400,
        annual_wh=2_900_000,
    ),
    _home(
        4,
        "Kirchgasse 21",
        "Family Nowak",
        "Energieteam Köln",
        _KOELN,
        ["pv", "battery", "ev", "heater"],
        pv_peak_w=12_400,
        battery_capacity_wh=15_000,
    ),
    _home(
        5,
        "Eichenallee 3",
        "Family Braun",
        "Energieteam Köln",
        _KOELN,
        ["pv", "battery"],
        pv_peak_w=4_200,
        battery_capacity_wh=5_000,
        battery_power_w=2_500,
        annual_wh=2_400_000,
    ),
    _home(
        6,
        "Gartenweg 18",
        "Family Richter",
        "Köln",
        _KOELN,
        ["pv", "battery", "heat_pump", "heater"],
        pv_peak_w=8_100,
        battery_capacity_wh=9_600,
        pv_azimuth=225.0,
    ),
    _home(
        7,
        "Hafenblick 2",
        "Family Peters",
        "Aachen-Süd",
        _AACHEN,
        ["pv", "battery", "ev"],
        pv_peak_w=6_300,
        battery_capacity_wh=6_500,
        battery_power_w=3_000,
        pv_azimuth=110.0,
    ),
    _home(
        8,
        "Rua da Saudade 5",
        "Family Ferreira",
        "South-West Europe",
        _LISBOA,
        ["pv", "battery", "heater"],
        pv_peak_w=6_000,
        battery_capacity_wh=8_000,
        annual_wh=3_100_000,
    ),
    Site(
        name="Depot Köln-Nord",
        account="Rheinkraft Mobility",
        city="Köln",
        postal_code="50735",
        country="DE",
        serial="GX-DEMO-09",
        plan=SitePlan(
            preset="charging_fleet",
            parts=["pv"],
            latitude=50.99,
            longitude=6.97,
            seed=9,
            annual_wh=42_000_000,
            pv_peak_w=48_000,
            fuse_w=277_000,
            names={"grid": "Grid meter", "pv": "Carport roof"},
        ),
    ),
)

# The depot's clusters: name, the cluster around it, and the stations that lie directly in it.
CLUSTERS = (
    ("Depot", None, ()),
    ("Hall A", "Depot", ()),
    ("Row A1", "Hall A", ("evcs-01", "evcs-02", "evcs-03")),
    ("Row A2", "Hall A", ("evcs-04", "evcs-05", "evcs-06")),
    ("Yard", "Depot", ("evcs-07", "evcs-08", "evcs-09", "evcs-10", "evcs-11", "evcs-12")),
)
CLUSTERED = "Depot Köln-Nord"

# Name, account, kind, and the systems in it.
POOLS = (
    (
        "Sun sharers Aachen",
        "West",
        "COMMUNITY",
        ("Lindenweg 12", "Rosenstraße 4", "Am Mühlbach 7", "Hafenblick 2"),
    ),
    (
        "Rhine power plant",
        OPERATOR,
        "VIRTUAL_POWER_PLANT",
        tuple(site.name for site in SITES if "battery" in site.plan.parts),
    ),
)
