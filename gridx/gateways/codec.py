"""Messages to bytes and back; whatever the bytes are, the answer is a message or MessageRefused."""

import json
import math
import re
from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, inspect

from gridx.gateways.messages import (
    MAX_BYTES,
    MESSAGES,
    VERSION,
    Message,
    Readings,
    SequenceNumber,
)
from gridx.gateways.topics import PROTOCOL_VERSION, Channel

MAX_UNKNOWN_FIELDS = 20

MessageT = TypeVar("MessageT", bound=Message)

_encoder = msgspec.json.Encoder()
_decoders = {channel: msgspec.json.Decoder(schema) for channel, schema in MESSAGES.items()}
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.*?)`")


class Reason(StrEnum):
    """Why a message as a whole is refused."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    INVALID = "invalid"


class MessageRefused(ValueError):
    """The bytes are no message of this channel.

    ``field`` is the path of what is wrong (``appliances[0].at``) where the reason is INVALID.
    """

    def __init__(self, reason: Reason, detail: str, field: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail[:200]
        self.field = field


class _Versioned(Struct):
    v: int


class _Announced(Struct):
    protocol: int


class _Numbered(Struct):
    seq: SequenceNumber


def encode(message: Message) -> bytes:
    """The message as JSON. Absent and default values are left out."""
    return _encoder.encode(message)


def decode(channel: Channel, body: bytes) -> Message:
    """The message in ``body``, checked against the channel's schema; raises MessageRefused."""
    if len(body) > MAX_BYTES:
        raise MessageRefused(Reason.TOO_LARGE, f"{len(body)} bytes, at most {MAX_BYTES}")
    try:
        str(body, "utf-8")  # the decoder skips unknown fields without looking at their bytes
        return _decoders[channel].decode(body)
    except msgspec.ValidationError as error:
        refusal = _refusal(channel, body, error)
    except RecursionError:
        raise MessageRefused(Reason.MALFORMED, "nested too deeply") from None
    except ValueError as error:
        refusal = MessageRefused(Reason.MALFORMED, str(error))
    if channel is Channel.READINGS and refusal.reason is not Reason.UNKNOWN_VERSION:
        return _decode_leniently(body, refusal)
    raise refusal


def decode_as(schema: type[MessageT], channel: Channel, body: bytes) -> MessageT:
    """``decode``, for callers that know the schema of the channel."""
    message = decode(channel, body)
    if not isinstance(message, schema):
        raise TypeError(f"{channel} carries {type(message).__name__}, not {schema.__name__}")
    return message


def sequence_number(body: bytes) -> int | None:
    """The ``seq`` of readings that ``decode`` refused; None where it cannot be read."""
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(body, type=_Numbered).seq
    # Numbers that JSON cannot say may stand beside it.
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(_loads(body)[1], type=_Numbered).seq
    return None


def unknown_fields(channel: Channel, body: bytes) -> tuple[str, ...]:
    """The paths of fields that the schema does not know, at most MAX_UNKNOWN_FIELDS.

    For a body that ``decode`` took; such fields were ignored. List indexes are left out, so a
    field that is unknown in each appliance is named once (``appliances.colour``).
    """
    found: dict[str, None] = {}
    try:
        _walk(MESSAGES[channel], [msgspec.Raw(body)], "", found)
    except msgspec.DecodeError:
        _walk(MESSAGES[channel], [msgspec.Raw(_loads(body)[1])], "", found)
    return tuple(found)[:MAX_UNKNOWN_FIELDS]


def _refusal(channel: Channel, body: bytes, error: msgspec.ValidationError) -> MessageRefused:
    """What a failed check means: another version's message, or a wrong field of this one's."""
    other = _other_version(channel, body)
    if other is not None:
        return other
    text = str(error)
    path = _PATH.search(text)
    field = path.group(1) if path else ""
    missing = _MISSING.search(text)
    if missing:
        field = f"{field}.{missing.group(1)}".lstrip(".")
    return MessageRefused(Reason.INVALID, _PATH.sub("", text), field or None)


def _other_version(channel: Channel, body: bytes) -> MessageRefused | None:
    """That a message is of another version, or a hello of a newer protocol, where it says so."""
    with suppress(ValueError, RecursionError):
        version = msgspec.json.decode(body, type=_Versioned).v
        if version != VERSION:
            return MessageRefused(Reason.UNKNOWN_VERSION, f"version {str(version)[:40]}", "v")
    if channel is Channel.HELLO:
        with suppress(ValueError, RecursionError):
            protocol = msgspec.json.decode(body, type=_Announced).protocol
            if protocol > PROTOCOL_VERSION:
                detail = f"protocol {str(protocol)[:40]}, at most {PROTOCOL_VERSION}"
                return MessageRefused(Reason.UNKNOWN_VERSION, detail, "protocol")
    return None


def _loads(body: bytes) -> tuple[Any, bytes]:
    """JSON as the lenient read it: NaN, Infinity and numbers beyond a double's range are infinite.

    Also the same as strict JSON, where such numbers are null. Raises ValueError or
    RecursionError; a text with half a surrogate pair, which nothing could store, raises too.
    """
    # A NaN would pass as "not read" further in, and its reading without a fault.
    loaded = json.loads(
        body.decode("utf-8"), parse_int=_parse_int, parse_constant=lambda _name: math.inf
    )
    return loaded, msgspec.json.encode(loaded)


def _parse_int(text: str) -> int | float:
    return int(text) if len(text) < 20 else float(text)


def _decode_leniently(body: bytes, refusal: MessageRefused) -> Message:
    """Readings with numbers that are none, so that one bad value does not cost its neighbours.

    Many a gateway's JSON writer says NaN; msgspec's reader takes neither that nor 1e999. They
    come through here as infinite floats. Anything else stays refused as it was.
    """
    try:
        loaded, strict = _loads(body)
    except (ValueError, RecursionError):
        raise refusal from None
    try:
        return msgspec.convert(loaded, Readings)
    except msgspec.ValidationError as error:
        raise _refusal(Channel.READINGS, strict, error) from None
    except RecursionError:
        raise refusal from None


@cache
def _shape(schema: type[Struct]) -> tuple[frozenset[str], dict[str, type[Struct]]]:
    """A struct's field names, and which of its fields hold structs or lists of them."""
    info = inspect.type_info(schema)
    nested = {
        field.encode_name: inner
        for field in info.fields
        if (inner := _struct_in(field.type)) is not None
    }
    return frozenset(field.encode_name for field in info.fields), nested


def _struct_in(kind: inspect.Type) -> type[Struct] | None:
    if isinstance(kind, inspect.Metadata):
        return _struct_in(kind.type)
    if isinstance(kind, inspect.StructType):
        return kind.cls
    if isinstance(kind, inspect.ListType):
        return _struct_in(kind.item_type)
    if isinstance(kind, inspect.UnionType):
        inner = (_struct_in(member) for member in kind.types)
        return next((found for found in inner if found is not None), None)
    return None


def _walk(schema: type[Struct], raws: list[msgspec.Raw], path: str, found: dict[str, None]) -> None:
    """Compare the keys of each object with the schema; values stay undecoded bytes."""
    known, nested = _shape(schema)
    below: dict[str, list[msgspec.Raw]] = {}
    for raw in raws:
        for key, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
            if key not in known:
                found[f"{path}{key[:80]}"] = None
            elif key in nested and (start := bytes(memoryview(value)[:1])) != b"n":
                many = start == b"["
                below.setdefault(key, []).extend(
                    msgspec.json.decode(value, type=list[msgspec.Raw]) if many else [value]
                )
    for key, values in below.items():
        _walk(nested[key], values, f"{path}{key}.", found)
