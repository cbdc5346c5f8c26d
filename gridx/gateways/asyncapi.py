"""The protocol between gateways and cloud as an AsyncAPI 3.0 document, made from the schemas.

``python -m gridx.gateways.asyncapi`` writes ``docs/asyncapi.json``; a test says whether the
committed file is current. JSON, because AsyncAPI allows it and no YAML library is needed.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from gridx.gateways.messages import (
    COUNTED_BYTES,
    MAX_BYTES,
    MAX_READINGS,
    MESSAGES,
    MESSAGES_A_MINUTE,
)
from gridx.gateways.topics import PREFIX, PROTOCOL_VERSION, SERIAL_PATTERN, Channel

PATH = Path(__file__).parents[2] / "docs" / "asyncapi.json"

DESCRIPTION = f"""\
Gateways speak MQTT 3.1.1 with QoS 1 (TLS in production). User name and client id are the
gateway's serial, the password is its secret; a gateway may use topics below its own serial only.
A message is acknowledged (PUBACK) after it is in the cloud's durable log, so a gateway keeps
readings until then and sends them again otherwise; storing is idempotent by appliance and instant.

Powers in W and energies in Wh, positive flowing into the appliance; states of charge 0 to 1;
instants in ms since the epoch (UTC). Absent and null mean "no statement", 0 means zero.
Unknown fields are ignored. A message of more than {MAX_BYTES} bytes or {MAX_READINGS} readings, of
an unknown version, malformed or invalid is refused with its reason on down/error. Operations are
the gateway's.

A gateway may send {MESSAGES_A_MINUTE} messages a minute, unless its operator allows another number;
a longer one counts once per {COUNTED_BYTES} bytes begun. Beyond that its connection ends, and it is
let in again after a minute; what was acknowledged before is stored."""


def asyncapi_document() -> dict[str, Any]:
    """The whole document, ready for ``json.dumps``."""
    schemas, components = msgspec.json.schema_components(
        MESSAGES.values(), ref_template="#/components/schemas/{name}"
    )
    payloads = dict(zip(MESSAGES, schemas, strict=True))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "gridx gateway protocol",
            "version": f"{PROTOCOL_VERSION}.0.0",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "cloud": {
                "host": "{host}",
                "protocol": "secure-mqtt",
                "protocolVersion": "3.1.1",
                "variables": {"host": {"description": "host and port of the broker"}},
                "security": [{"$ref": "#/components/securitySchemes/gateway"}],
                "bindings": {"mqtt": {"clientId": "{serial}", "cleanSession": False}},
            }
        },
        "channels": {_key(channel): _channel(channel) for channel in Channel},
        "operations": {_key(channel): _operation(channel) for channel in Channel},
        "components": {
            "messages": {
                _key(channel): _message(channel, payloads[channel]) for channel in Channel
            },
            "schemas": components,
            "securitySchemes": {
                "gateway": {
                    "type": "userPassword",
                    "description": "serial and secret, made when the gateway is registered",
                }
            },
        },
    }


def rendered() -> str:
    """The document as it is committed."""
    return json.dumps(asyncapi_document(), indent=2, ensure_ascii=False) + "\n"


def _key(channel: Channel) -> str:
    first, *rest = channel.value.split("/")
    return first + "".join(part.capitalize() for part in rest)


def _channel(channel: Channel) -> dict[str, Any]:
    key = _key(channel)
    return {
        "address": f"{PREFIX}/{{serial}}/{channel.value}",
        "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        "parameters": {"serial": {"description": f"the gateway's serial number, {SERIAL_PATTERN}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    key = _key(channel)
    return {
        "action": "send" if channel.is_upward else "receive",
        "channel": {"$ref": f"#/channels/{key}"},
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": channel.is_retained}},
    }


def _message(channel: Channel, payload: dict[str, Any]) -> dict[str, Any]:
    schema = MESSAGES[channel]
    return {
        "name": schema.__name__,
        "summary": (inspect.getdoc(schema) or "").split("\n\n")[0].replace("\n", " "),
        "contentType": "application/json",
        "payload": payload,
    }


if __name__ == "__main__":
    PATH.write_text(rendered(), encoding="utf-8")
