import base64
import json
import logging
from dataclasses import replace

import nkeys
import pytest

from gridx.gateways.authentication import Refusal, grant_for, judge_and_note
from gridx.gateways.tokens import InvalidToken, Issuer, Question, read_question
from inventory.models import GatewayFault
from inventory.operations import revoke_gateway, rotate_secret

SERVER = nkeys.from_seed(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_SERVER))
ACCOUNT = nkeys.encode_seed(bytes(range(1, 33)), nkeys.PREFIX_BYTE_ACCOUNT).decode()
QUESTION = Question(
    server_id=SERVER.public_key.decode(),
    user_nkey="U123",
    username="GX-0001",
    client_id="GX-0001",
    is_mqtt=True,
    address="192.0.2.7",
    password="not it",
)


def encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def decoded(token: str) -> dict:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def ask(keys=SERVER, algorithm="ed25519-nkey", **changes) -> bytes:
    """A question as nats-server 2.15 signs it."""
    server_id = keys.public_key.decode()
    claims = {
        "aud": "nats-authorization-request",
        "iss": server_id,
        "nats": {
            "server_id": {"id": server_id, "name": "gridx"},
            "user_nkey": "U123",
            "client_info": {
                "host": "192.0.2.7",
                "kind": "Client",
                "type": "mqtt",
                "mqtt_id": "GX-0001",
            },
            "connect_opts": {"user": "GX-0001", "pass": "not it"},
        },
    } | changes
    signed = f"{encoded({'typ': 'JWT', 'alg': algorithm})}.{encoded(claims)}"
    signature = base64.urlsafe_b64encode(keys.sign(signed.encode())).rstrip(b"=").decode()
    return f"{signed}.{signature}".encode()


@pytest.fixture
def secret(cast, now) -> str:
    return rotate_secret(gateway=cast.gateway, by=None, now=now)


def test_the_right_secret_is_let_in(secret, now):
    assert judge_and_note(replace(QUESTION, password=secret), now=now) is None
    assert not GatewayFault.objects.exists()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, Refusal.WRONG_SECRET),
        ({"password": ""}, Refusal.WRONG_SECRET),
        ({"username": "GX-0009", "client_id": "GX-0009"}, Refusal.UNKNOWN),
        ({"client_id": "GX-0002"}, Refusal.CLIENT_ID),
        ({"client_id": ""}, Refusal.CLIENT_ID),
        ({"username": "GX.*", "client_id": "GX.*"}, Refusal.NO_SERIAL),
        ({"username": "", "client_id": ""}, Refusal.NO_SERIAL),
        ({"is_mqtt": False}, Refusal.NOT_MQTT),
    ],
)
def test_whoever_is_not_that_gateway_is_refused(secret, now, changes, refusal):
    assert judge_and_note(replace(QUESTION, **changes), now=now) is refusal


def test_another_gateways_secret_does_not_do(cast, now):
    theirs = rotate_secret(gateway=cast.other_gateway, by=None, now=now)
    refusal = judge_and_note(replace(QUESTION, password=theirs), now=now)
    assert refusal is Refusal.WRONG_SECRET


def test_a_gateway_whose_secret_was_never_made_is_refused(cast, now):
    assert judge_and_note(replace(QUESTION, password=""), now=now) is Refusal.WRONG_SECRET


def test_a_revoked_gateway_is_refused_even_with_its_secret(cast, secret, now):
    revoke_gateway(gateway=cast.gateway, by=None, now=now)
    refusal = judge_and_note(replace(QUESTION, password=secret), now=now)
    assert refusal is Refusal.REVOKED


def test_refused_sign_ins_are_counted_at_the_gateway_without_the_secret(cast, secret, now):
    for _ in range(3):
        judge_and_note(QUESTION, now=now)
    fault = GatewayFault.objects.get()
    assert (fault.gateway, fault.topic, fault.reason) == (cast.gateway, "sign-in", "wrong_secret")
    assert (fault.count, fault.detail, bytes(fault.body)) == (3, "from 192.0.2.7", b"")


def test_a_question_shows_no_secret(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("gridx").info("%s %r", QUESTION, QUESTION)
    assert "not it" not in caplog.text


def test_a_question_of_the_server_is_read():
    assert read_question(ask()) == QUESTION


def test_a_websocket_or_nats_client_is_no_mqtt_client():
    claims = decoded(ask().decode())
    claims["nats"]["client_info"] |= {"type": "nats"}
    assert not read_question(ask(nats=claims["nats"])).is_mqtt


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"a.b.c",
        b"\xff.\xff.\xff",
        ask()[:-8] + b"AAAAAAAA",
        ask(algorithm="none"),
        ask(aud="something else"),
        ask(nats={}),
        ask(iss="NABC"),
        # Signed, but by an account's key; in the name of another server.
        ask(keys=nkeys.from_seed(ACCOUNT.encode())),
        ask(nats=decoded(ask().decode())["nats"] | {"server_id": {"id": "N" + "A" * 55}}),
    ],
)
def test_a_forged_question_is_not_read(token):
    with pytest.raises(InvalidToken):
        read_question(token)


def test_a_question_with_other_claims_than_were_signed_is_not_read():
    head, _body, signature = ask().decode().split(".")
    claims = decoded(ask().decode())
    claims["nats"]["connect_opts"]["user"] = "GX-0002"
    with pytest.raises(InvalidToken, match="signature"):
        read_question(f"{head}.{encoded(claims)}.{signature}".encode())


def test_a_gateway_gets_what_lies_below_its_serial_by_mqtt_only():
    answer = decoded(
        Issuer(ACCOUNT, "GRIDX").allow(QUESTION, grant_for("GX-0001"), at_s=1).decode()
    )
    assert (answer["aud"], answer["sub"]) == (QUESTION.server_id, "U123")
    user = decoded(answer["nats"]["jwt"])
    assert (user["aud"], user["sub"]) == ("GRIDX", "U123")
    assert user["nats"]["allowed_connection_types"] == ["MQTT"]
    assert user["nats"]["pub"] == {"allow": ["gridx.v1.GX-0001.up.>", "gridx.v1.GX-0001.status"]}
    assert user["nats"]["sub"] == {
        "allow": [
            "gridx.v1.GX-0001.down",
            "gridx.v1.GX-0001.down.>",
            "$MQTT.sub.>",
            "$MQTT.deliver.pubrel.>",
        ]
    }


def test_a_refusal_grants_nothing():
    answer = decoded(Issuer(ACCOUNT, "GRIDX").refuse(QUESTION, "wrong_secret", at_s=1).decode())
    assert answer["nats"]["error"] == "wrong_secret"
    assert "jwt" not in answer["nats"]
