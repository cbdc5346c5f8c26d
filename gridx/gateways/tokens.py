"""The signed questions and answers of NATS auth callout: JWTs by nkeys (Ed25519).

Source: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_callout and
nats-io/jwt v2; the JOSE libraries do not know the algorithm's name `ed25519-nkey`, and PyNaCl,
which nkeys brings, does the signing.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

import nkeys
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_ACCEPTED_ALGORITHMS = {"ed25519-nkey", "ed25519"}
_QUESTION_AUDIENCE = "nats-authorization-request"
_SERVER_PREFIX = nkeys.PREFIX_BYTE_SERVER


class InvalidToken(ValueError):
    """The text is no token, its signature is wrong, or it is not what is expected here."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """May this client sign in? The password is in no representation, so in no log."""

    server_id: str
    user_nkey: str
    username: str
    client_id: str
    is_mqtt: bool
    address: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a client that is let in may publish and subscribe (NATS subjects)."""

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def read_question(token: bytes) -> Question:
    """The question in a token that the server signed; raises InvalidToken.

    That the server is one of the cluster's own is for the caller to check (`server_id`).
    """
    claims = _read_signed_by_server(token)
    nats = claims.get("nats")
    if claims.get("aud") != _QUESTION_AUDIENCE or not isinstance(nats, dict):
        raise InvalidToken("not an authorization request")
    try:
        server_id = nats["server_id"]["id"]
        client, options = nats["client_info"], nats["connect_opts"]
        if server_id != claims["iss"]:
            raise InvalidToken("a server asks in the name of another one")
        return Question(
            server_id=server_id,
            user_nkey=nats["user_nkey"],
            username=str(options.get("user", "")),
            password=str(options.get("pass", "")),
            client_id=str(client.get("mqtt_id", "")),
            is_mqtt=client.get("kind") == "Client" and client.get("type") == "mqtt",
            address=str(client.get("host", "")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidToken(f"an authorization request without {error}") from None


class Issuer:
    """Answers questions in the name of the account key that the servers are configured with."""

    def __init__(self, seed: str, account: str) -> None:
        self._keys = nkeys.from_seed(seed.encode())
        self._public_key = self._keys.public_key.decode()
        self._account = account

    def allow(self, question: Question, grant: Grant, *, at_s: int) -> bytes:
        """Let the client in, with these permissions and by MQTT only."""
        user = self._sign(
            {
                "iss": self._public_key,
                "sub": question.user_nkey,
                "aud": self._account,
                "name": grant.name,
                "iat": at_s,
                "nats": {
                    "type": "user",
                    "version": 2,
                    "pub": {"allow": list(grant.publish)},
                    "sub": {"allow": list(grant.subscribe)},
                    "subs": -1,
                    "data": -1,
                    "payload": -1,
                    "allowed_connection_types": ["MQTT"],
                },
            }
        )
        return self._answer(question, {"jwt": user}, at_s).encode()

    def refuse(self, question: Question, reason: str, *, at_s: int) -> bytes:
        """Do not let the client in; the reason goes to the server's log only."""
        return self._answer(question, {"error": reason}, at_s).encode()

    def _answer(self, question: Question, verdict: dict[str, str], at_s: int) -> str:
        return self._sign(
            {
                "iss": self._public_key,
                "sub": question.user_nkey,
                "aud": question.server_id,
                "iat": at_s,
                "nats": {"type": "authorization_response", "version": 2, **verdict},
            }
        )

    def _sign(self, claims: dict[str, Any]) -> str:
        signed = f"{_encode(json.dumps(_HEADER).encode())}.{_encode(json.dumps(claims).encode())}"
        return f"{signed}.{_encode(self._keys.sign(signed.encode()))}"


def _read_signed_by_server(token: bytes) -> dict[str, Any]:
    try:
        signed, _, signature = token.rpartition(b".")
        head, _, body = signed.partition(b".")
        header, claims = json.loads(_decode(head)), json.loads(_decode(body))
        if header["alg"] not in _ACCEPTED_ALGORITHMS:
            raise InvalidToken("another algorithm")
        VerifyKey(_server_key(claims["iss"])).verify(signed, _decode(signature))
    except InvalidToken:
        raise
    except BadSignatureError:
        raise InvalidToken("the signature is wrong") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidToken(f"not a token: {error}") from None
    return claims


def _server_key(public: str) -> bytes:
    """The 32 bytes of a server's public nkey; raises InvalidToken."""
    try:
        raw = base64.b32decode(public + "=" * (-len(public) % 8))
    except binascii.Error:
        raise InvalidToken("the issuer is no nkey") from None
    if len(raw) != 35 or raw[0] != _SERVER_PREFIX:
        raise InvalidToken("the issuer is no server")
    if nkeys.crc16(bytearray(raw[:-2])) != int.from_bytes(raw[-2:], "little"):
        raise InvalidToken("the issuer's checksum is wrong")
    return raw[1:-2]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
