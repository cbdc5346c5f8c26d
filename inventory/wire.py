"""Systems, gateways and appliances in the words of the wire API.

What has no value is left out. Source: `reference/wire-api.md`, section 3. Powers of inverters are
mW there; `minPower`, `maxPower` (W, positive into the appliance) and `capacity` (Wh) are ours.
"""

from datetime import datetime, timedelta
from typing import Any

from inventory.kinds import WIRE_TYPES, ApplianceKind
from inventory.models import Appliance, Cluster, Gateway, System, SystemPool

# A gateway is available while its last word is younger than the first, and said to be away for a
# while up to the second.
AVAILABLE = timedelta(minutes=2)
TEMPORARY = timedelta(days=1)

PROTOCOLS = ("EEBUS", "HTTP_REST", "MODBUS_RTU", "MODBUS_TCP", "OCPP", "UNKNOWN")

# What `include` may name; those of which nothing is known here are accepted and add nothing.
LIST_INCLUDES = (
    "accounts",
    "gateways",
    "gateways.additionalIdentifiers",
    "gateways.applianceComposition",
    "gateways.connectionStatus",
    "location",
    "parentID",
    "productOption",
    "status",
    "visibleAppliances",
    "visibleFields",
)
DETAIL_INCLUDES = (*LIST_INCLUDES, "appliancePriorities", "priorities")


def system_to_wire(system: System, *, include: frozenset[str], now: datetime) -> dict[str, Any]:
    """A system with its gateway, and with what `include` names.

    The system's account and gateway are loaded; its appliances for the includes that need them.
    """
    gateway = gateway_of(system)
    wire = _common(system) | {
        "name": system.name,
        "accountID": system.account_id,
        "timeZone": system.time_zone,
        "gateways": [] if gateway is None else [_gateway_in_system(gateway, system, include, now)],
    }
    if gateway is not None:
        wire |= {"gatewayID": gateway.pk, "gatewayId": gateway.pk}  # clients read both spellings
    if "location" in include:
        wire["location"] = location_to_wire(system)
    if "parentID" in include:
        wire["parentID"] = system.account_id
    if "accounts" in include:
        account = system.account
        wire["accounts"] = [{"id": account.pk, "name": account.name, "kind": account.kind}]
    if "status" in include:
        wire["status"] = connection_status(gateway, now)["status"] if gateway else "UNAVAILABLE"
    if "visibleAppliances" in include:
        wire["visibleAppliances"] = _types(system)
    return wire


def gateway_of(system: System) -> Gateway | None:
    """The system's gateway, from what was loaded with it."""
    return getattr(system, "gateway", None)


def location_to_wire(system: System) -> dict[str, Any]:
    return _present(
        addressLine1=system.address_line1,
        postalCode=system.postal_code,
        city=system.city,
        countryCode=system.country,
        latitude=system.latitude,
        longitude=system.longitude,
        timeZone=system.time_zone,
    )


def gateway_to_wire(gateway: Gateway, *, now: datetime) -> dict[str, Any]:
    return (
        _common(gateway)
        | {
            "type": "PHYSICAL",
            "connectionStatus": connection_status(gateway, now),
            "system": {"id": gateway.system_id},
        }
        | _present(
            name=gateway.name,
            registeredAt=gateway.registered_at,
            manufacturer=gateway.manufacturer,
            model=gateway.model,
            serialnumber=gateway.serial,
            firmware=gateway.firmware,
        )
    )


def connection_status(gateway: Gateway, now: datetime) -> dict[str, Any]:
    silent = None if gateway.contacted_at is None else now - gateway.contacted_at
    if silent is None or gateway.revoked_at is not None or silent > TEMPORARY:
        status = "UNAVAILABLE"
    else:
        status = "AVAILABLE" if silent <= AVAILABLE else "TEMPORARILY_UNAVAILABLE"
    return {"status": status} | _present(contactedAt=gateway.contacted_at)


def appliance_to_wire(appliance: Appliance, *, now: datetime) -> dict[str, Any]:
    """An appliance, whose gateway is loaded, with what its type has besides."""
    wire_type, kind = WIRE_TYPES[ApplianceKind(appliance.kind)]
    connection = _appliance_connection(appliance, now)
    connected = "CONNECTED" if connection["status"] == "AVAILABLE" else "DISCONNECTED"
    return (
        _common(appliance)
        | {
            "type": wire_type,
            "connectionStatus": connection,
            "inactive": appliance.removed_at is not None,
            "reverseFlow": False,
            "state": {"current": connected, "desired": "CONNECTED", "transitions": []},
            "status": appliance.status,
            "source": {"origin": "GRIDBOX" if appliance.local_id else "API"},
        }
        | _present(
            kind=kind,
            name=appliance.name,
            room=appliance.room,
            manufacturer=appliance.manufacturer,
            model=appliance.model,
            serialnumber=appliance.serial_number,
            firmware=appliance.firmware,
            protocol=_protocol(appliance.protocol),
            parent=appliance.parent_id,
            minPower=appliance.min_power_w,
            maxPower=appliance.max_power_w,
            capacity=appliance.capacity_wh,
        )
        | _of_type(appliance, wire_type, kind)
    )


def cluster_to_wire(cluster: Cluster) -> dict[str, Any]:
    return _common(cluster) | _present(
        name=cluster.name, systemID=cluster.system_id, parentID=cluster.parent_id
    )


def pool_to_wire(pool: SystemPool) -> dict[str, Any]:
    return _common(pool) | {
        "name": pool.name,
        "kind": pool.kind,
        "timeZone": pool.time_zone,
        "accountID": pool.account_id,
    }


def _of_type(appliance: Appliance, wire_type: str, kind: str | None) -> dict[str, Any]:
    least, most = appliance.min_power_w, appliance.max_power_w
    if wire_type == "METER":
        return {"auxMeter": {"location": kind}}
    if wire_type == "INVERTER":
        output = None if least is None else round(-least * 1000)
        own = _present(
            nominalPowerLimit=output, inverter=_present(maxActivePowerOutput=output) or None
        )
        if kind == "BATTERY":
            own["battery"] = _present(
                maxCharge=None if most is None else round(most),
                maxDischarge=None if least is None else round(-least),
            )
        return own
    if wire_type == "EVSTATION" and most is not None:
        return {"evLoadManagementParameters": {"maxPower": most}}
    if wire_type == "HEATER" and most is not None:
        return {"heater": {"nominalPower": round(most)}}
    return {}


def _appliance_connection(appliance: Appliance, now: datetime) -> dict[str, Any]:
    """As its gateway's: what the gateway says of single appliances shows in their readings."""
    if appliance.gateway is None:
        return {"status": "UNKNOWN"}
    connection = connection_status(appliance.gateway, now)
    if connection["status"] != "AVAILABLE" or appliance.removed_at is not None:
        connection["status"] = "UNAVAILABLE"
    return connection


def _gateway_in_system(
    gateway: Gateway, system: System, include: frozenset[str], now: datetime
) -> dict[str, Any]:
    wire = {"id": gateway.pk} | _present(
        manufacturer=gateway.manufacturer, model=gateway.model, serialnumber=gateway.serial
    )
    if "gateways.connectionStatus" in include:
        wire["connectionStatus"] = connection_status(gateway, now)
    if "gateways.applianceComposition" in include:
        wire["applianceComposition"] = _types(system)
    if "gateways.additionalIdentifiers" in include:
        wire["additionalIdentifiers"] = []
    return wire


def _types(system: System) -> list[str]:
    """The types of the system's appliances, each once."""
    kinds = {a.kind for a in system.appliances.all() if a.removed_at is None}
    return sorted({WIRE_TYPES[ApplianceKind(kind)][0] for kind in kinds})


def _protocol(name: str) -> str | None:
    wire = name.upper().replace("-", "_").replace(" ", "_")
    return wire if wire in PROTOCOLS else ("UNKNOWN" if name else None)


def _common(row) -> dict[str, Any]:
    return {"id": row.pk, "createdAt": row.created_at, "updatedAt": row.updated_at}


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}
