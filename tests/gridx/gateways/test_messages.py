import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridx.gateways.codec import (
    MessageRefused,
    Reason,
    decode,
    decode_as,
    encode,
    unknown_fields,
)
from gridx.gateways.messages import (
    MAX_BYTES,
    MESSAGES,
    ApplianceReadings,
    Hello,
    PlugState,
    Readings,
    Schedule,
    Status,
)
from gridx.gateways.topics import Channel

UUID = "0197f3a0-0000-7000-8000-000000000001"
NOON = 1_763_899_200_000


def readings(**appliance: object) -> dict:
    return {"v": 1, "seq": 7, "appliances": [{"appliance": "pv", "at": [NOON], **appliance}]}


def hello(*local_ids: str) -> dict:
    found = [{"local_id": name, "kind": "battery", "interval_s": 60} for name in local_ids]
    return {
        "v": 1,
        "protocol": 1,
        "model": "Box",
        "firmware": "1.0",
        "sent_at": NOON,
        "appliances": found,
    }


def schedule(*segments: dict) -> dict:
    timeline = {"local_id": "ev", "appliance": UUID, "segments": list(segments)}
    return {"v": 1, "revision": 3, "issued_at": NOON, "appliances": [timeline]}


def refusal(channel: Channel, body: object) -> MessageRefused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(MessageRefused) as caught:
        decode(channel, raw)
    return caught.value


def test_a_message_of_more_readings_than_fit_with_real_instants_is_refused():
    def body_of(instants: list[int]) -> bytes:
        parts = [{"appliance": "pv", "at": instants}]
        message = {"v": 1, "seq": 7, "appliances": parts}
        return json.dumps(message, separators=(",", ":")).encode()

    refused = refusal(Channel.READINGS, body_of([0] * 40_001))
    assert refused.reason is Reason.INVALID
    assert "40001 readings" in refused.detail
    fullest = [NOON] * ((MAX_BYTES - 100) // 14)
    assert len(decode(Channel.READINGS, body_of(fullest)).appliances[0].at) == len(fullest)


def test_readings_come_back_as_they_were_sent():
    message = Readings(
        v=1,
        seq=12,
        sent_at=NOON,
        appliances=[
            ApplianceReadings(
                appliance="ev",
                at=[NOON, NOON + 1000],
                power_w=[11000.5, None],
                imported_wh=[1.0, 2.0],
                plug_state=[PlugState.CHARGING, None],
            )
        ],
    )
    body = encode(message)
    assert decode_as(Readings, Channel.READINGS, body) == message
    assert b"soc" not in body


def test_absent_is_no_statement_and_zero_is_zero():
    message = decode_as(
        Readings, Channel.READINGS, json.dumps(readings(power_w=[0], soc=[None])).encode()
    )
    assert message.appliances[0].power_w == [0.0]
    assert message.appliances[0].soc == [None]
    assert message.appliances[0].imported_wh is None


@pytest.mark.parametrize(
    ("channel", "body", "reason", "field"),
    [
        (Channel.READINGS, b"", Reason.MALFORMED, None),
        (Channel.READINGS, b"\xff\xfe", Reason.MALFORMED, None),
        (Channel.READINGS, b'{"v":1,"seq":', Reason.MALFORMED, None),
        (Channel.READINGS, b"[" * 100_000, Reason.INVALID, None),
        (Channel.EVENT, b'{"v":1,"x":' + b"[" * 100_000, Reason.MALFORMED, None),
        (Channel.EVENT, b'{"v":1,"at":1,"type":"x","\xff":1}', Reason.MALFORMED, None),
        (Channel.EVENT, rb'{"v":1,"at":1,"type":"x","\ud800":1}', Reason.MALFORMED, None),
        (Channel.EVENT, rb'{"v":1,"at":1,"type":"x","text":"\ud800"}', Reason.MALFORMED, None),
        (Channel.EVENT, rb'{"v":1,"at":1,"type":"x","text":"a\u0000"}', Reason.INVALID, "text"),
        (Channel.EVENT, rb'{"v":1,"at":1,"type":"x\n"}', Reason.INVALID, "type"),
        (Channel.READINGS, b" " * (MAX_BYTES + 1), Reason.TOO_LARGE, None),
        (Channel.READINGS, {"v": 2, "rows": "of the future"}, Reason.UNKNOWN_VERSION, "v"),
        (Channel.STATUS, {"v": 0, "online": True}, Reason.UNKNOWN_VERSION, "v"),
        (Channel.STATUS, {"online": True}, Reason.INVALID, "v"),
        (Channel.STATUS, {"v": "1", "online": True}, Reason.INVALID, "v"),
        (Channel.STATUS, {"v": 1, "online": 1}, Reason.INVALID, "online"),
        (Channel.READINGS, readings(at=["noon"]), Reason.INVALID, "appliances[0].at[0]"),
        (Channel.READINGS, readings(at=[-1]), Reason.INVALID, "appliances[0].at[0]"),
        (Channel.READINGS, readings(at=[NOON * 10**6]), Reason.INVALID, "appliances[0].at[0]"),
        (Channel.READINGS, readings(power_w=["1"]), Reason.INVALID, "appliances[0].power_w[0]"),
        (Channel.READINGS, {"v": 1, "seq": 1, "appliances": [{"at": []}]}, Reason.INVALID,
         "appliances[0].appliance"),
        (Channel.HELLO, hello() | {"protocol": 99}, Reason.UNKNOWN_VERSION, "protocol"),
        (Channel.HELLO, {"v": 1, "protocol": 2, "found": []}, Reason.UNKNOWN_VERSION, "protocol"),
        (Channel.HELLO, {"v": 2, "protocol": 2}, Reason.UNKNOWN_VERSION, "v"),
        (Channel.HELLO, hello() | {"protocol": 0}, Reason.INVALID, "protocol"),
        (Channel.HELLO, hello(UUID), Reason.INVALID, "appliances[0].local_id"),
        (Channel.HELLO, hello("two words"), Reason.INVALID, "appliances[0].local_id"),
        (Channel.HELLO, hello("pv", "pv"), Reason.INVALID, None),
        (Channel.SCHEDULE, schedule({"start": 5, "end": 5}), Reason.INVALID,
         "appliances[0].segments[0]"),
        (Channel.SCHEDULE, schedule({"start": 5, "end": 9, "min_w": 2, "max_w": 1}),
         Reason.INVALID, "appliances[0].segments[0]"),
        (Channel.SCHEDULE, schedule({"start": 5, "end": 9}, {"start": 8, "end": 12}),
         Reason.INVALID, "appliances[0]"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_refused_with_its_reason(channel, body, reason, field):
    error = refusal(channel, body)
    assert (error.reason, error.field) == (reason, field)


def test_columns_of_different_length_are_refused_and_name_the_appliance():
    error = refusal(Channel.READINGS, readings(power_w=[1, 2]))
    assert error.reason is Reason.INVALID
    assert error.field == "appliances[0]"
    assert "'pv': power_w has 2 values for 1 instants" in error.detail


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_number_that_is_none_does_not_cost_its_neighbours(number):
    body = '{"v":1,"seq":1,"appliances":[{"appliance":"pv","at":[1,2],"power_w":[%s,-5]}]}'
    message = decode_as(Readings, Channel.READINGS, (body % number).encode())
    first, second = message.appliances[0].power_w
    assert math.isinf(first)
    assert second == -5


def test_the_lenient_reading_of_numbers_lets_nothing_else_through():
    body = b'{"v":1,"seq":1,"appliances":[{"appliance":"pv","at":["x"],"power_w":[NaN]}]}'
    assert refusal(Channel.READINGS, body).field == "appliances[0].at[0]"
    body = b'{"v":3,"seq":1,"appliances":[NaN]}'
    assert refusal(Channel.READINGS, body).reason is Reason.UNKNOWN_VERSION
    assert refusal(Channel.STATUS, b'{"v":1,"online":NaN}').reason is Reason.MALFORMED


def test_unknown_fields_are_ignored_and_can_be_named():
    body = readings(power_w=[1], colour="red") | {"mood": {"v": 1}}
    body["appliances"] *= 2
    raw = json.dumps(body).encode()
    assert decode_as(Readings, Channel.READINGS, raw).appliances[0].power_w == [1.0]
    assert unknown_fields(Channel.READINGS, raw) == ("mood", "appliances.colour")
    assert unknown_fields(Channel.READINGS, raw.replace(b"[1]", b"[NaN]")) == (
        "mood",
        "appliances.colour",
    )
    assert unknown_fields(Channel.HELLO, json.dumps(hello("pv")).encode()) == ()


def test_unknown_fields_are_found_in_nested_parts():
    body = schedule({"start": 1, "end": 2, "hue": 3})
    body["appliances"][0]["fail_safe"] = {"max_w": 1, "taste": None}
    raw = json.dumps(body).encode()
    assert isinstance(decode(Channel.SCHEDULE, raw), Schedule)
    assert set(unknown_fields(Channel.SCHEDULE, raw)) == {
        "appliances.segments.hue",
        "appliances.fail_safe.taste",
    }


def test_an_appliance_of_an_unknown_kind_does_not_cost_the_hello():
    body = hello("pv")
    body["appliances"][0]["kind"] = "fusion_reactor"
    message = decode_as(Hello, Channel.HELLO, json.dumps(body).encode())
    assert message.appliances[0].kind == "fusion_reactor"


@given(st.sampled_from(Channel), st.binary(max_size=200))
def test_decoding_never_fails_but_by_refusal(channel, body):
    assert_decoded_or_refused(channel, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
field_names = st.sampled_from(
    sorted({field for schema in MESSAGES.values() for field in schema.__struct_fields__})
)


@given(st.sampled_from(Channel), st.dictionaries(field_names, json_values, max_size=6))
def test_decoding_any_json_never_fails_but_by_refusal(channel, fields):
    assert_decoded_or_refused(channel, json.dumps({**fields, "v": 1}).encode())


@given(st.data())
def test_decoding_a_damaged_message_never_fails_but_by_refusal(data):
    body = bytearray(json.dumps(readings(power_w=[1.5], soc=[None])).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert_decoded_or_refused(Channel.READINGS, bytes(body))


def assert_decoded_or_refused(channel: Channel, body: bytes) -> None:
    try:
        message = decode(channel, body)
    except MessageRefused:
        return
    assert isinstance(message, MESSAGES[channel])
    assert isinstance(unknown_fields(channel, body), tuple)
    encode(message)


def test_a_last_will_states_no_instant():
    assert encode(Status(v=1, online=False)) == b'{"online":false,"v":1}'
