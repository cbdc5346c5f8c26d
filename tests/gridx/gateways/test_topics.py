import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridx.gateways.topics import (
    SERIAL_PATTERN,
    Address,
    Channel,
    InvalidSerial,
    UnknownTopic,
    check_serial,
    down_filter,
    mqtt_topic,
    nats_subject,
    parse_subject,
    parse_topic,
    publishable_subjects,
    stream_subject,
    subscribable_subjects,
    upward_stream_filters,
)

serials = st.from_regex(SERIAL_PATTERN, fullmatch=True)
channels = st.sampled_from(Channel)


def test_a_topic_names_gateway_and_channel():
    assert mqtt_topic("GBX-1", Channel.READINGS) == "gridx/v1/GBX-1/up/readings"
    assert mqtt_topic("GBX-1", Channel.STATUS) == "gridx/v1/GBX-1/status"
    assert mqtt_topic("GBX-1", Channel.HELLO_ANSWER) == "gridx/v1/GBX-1/down/hello"
    assert nats_subject("GBX-1", Channel.SCHEDULE) == "gridx.v1.GBX-1.down.schedule"
    assert stream_subject("GBX-1", Channel.ACK) == "$MQTT.msgs.gridx.v1.GBX-1.up.ack"


@given(serials, channels)
def test_every_form_of_an_address_parses_back(serial, channel):
    address = Address(serial, channel)
    assert parse_topic(mqtt_topic(serial, channel)) == address
    assert parse_subject(nats_subject(serial, channel)) == address
    assert parse_subject(stream_subject(serial, channel)) == address


@pytest.mark.parametrize(
    "serial",
    ["", "AB", "A" * 65, "abc", "A.B.C", "A/B", "+++", "###", "***", ">>>", "ÄÖÜ", "ABC\n"],
)
def test_what_could_be_a_wildcard_or_another_level_is_no_serial(serial):
    with pytest.raises(InvalidSerial):
        check_serial(serial)
    with pytest.raises(InvalidSerial):
        mqtt_topic(serial, Channel.HELLO)
    with pytest.raises(InvalidSerial):
        upward_stream_filters(serial)


@pytest.mark.parametrize(
    ("topic", "serial"),
    [
        ("", None),
        ("gridx/v1", None),
        ("gridx/v2/GBX-1/up/hello", None),
        ("gridx/v1/gbx/up/hello", None),
        ("gridx/v1//up/hello", None),
        ("/gridx/v1/GBX-1/up/hello", None),
        ("gridx/v1/GBX-1", "GBX-1"),
        ("gridx/v1/GBX-1/up", "GBX-1"),
        ("gridx/v1/GBX-1/up/gossip", "GBX-1"),
        ("gridx/v1/GBX-1/up/hello/again", "GBX-1"),
    ],
)
def test_another_topic_is_refused_and_names_its_gateway_where_it_can(topic, serial):
    with pytest.raises(UnknownTopic) as caught:
        parse_topic(topic)
    assert caught.value.serial == serial
    with pytest.raises(UnknownTopic):
        parse_subject(topic.replace("/", "."))


@given(st.text())
def test_any_text_is_an_address_or_an_unknown_topic(text):
    for parse in (parse_topic, parse_subject):
        try:
            address = parse(text)
        except UnknownTopic:
            continue
        assert check_serial(address.serial)


def test_the_cloud_consumes_what_goes_up_from_every_gateway():
    assert upward_stream_filters() == (
        "$MQTT.msgs.gridx.v1.*.up.>",
        "$MQTT.msgs.gridx.v1.*.status",
    )


def test_a_gateway_may_use_its_own_topics_only():
    subjects = publishable_subjects("GBX-1") + subscribable_subjects("GBX-1")
    own = [subject for subject in subjects if not subject.startswith("$MQTT.")]
    assert own == [
        "gridx.v1.GBX-1.up.>",
        "gridx.v1.GBX-1.status",
        "gridx.v1.GBX-1.down",
        "gridx.v1.GBX-1.down.>",
    ]
    assert down_filter("GBX-1") == "gridx/v1/GBX-1/down/+"


def test_status_and_schedule_are_kept_by_the_broker():
    assert {channel for channel in Channel if channel.is_retained} == {
        Channel.STATUS,
        Channel.SCHEDULE,
    }
    assert Channel.STATUS.is_upward
    assert not Channel.SCHEDULE.is_upward
