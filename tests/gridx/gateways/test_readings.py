import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from threading import Event, Thread

import pytest
from django.db import connection, transaction
from django.db.models import Sum

from gridx.gateways import handlers
from gridx.gateways import readings as readings_module
from gridx.gateways.arrivals import Arrival, Outcome
from gridx.gateways.ordered import apply_arrivals
from gridx.gateways.readings import PLUG_STATES, store_arrivals
from gridx.gateways.topics import Channel, stream_subject
from gridx.models import SequenceHoles
from inventory.discovery import FoundAppliance, apply_hello
from inventory.models import Appliance, Gateway, GatewayFault, System
from inventory.operations import register_gateway
from measurements.ingest import declare_interval
from measurements.models import (
    ApplianceDay,
    ApplianceSlot,
    DeclaredInterval,
    DirtySlot,
    FinalSpan,
    LatestReading,
    Reading,
    SystemDay,
    SystemSlot,
)
from measurements.resolutions import slot_start, to_ms
from measurements.slots import compute_until_clean
from tests.threads import until_others_wait


@pytest.fixture
def arrive(now):
    """Makes an arrival of GX-0001 on a channel, its body as JSON unless it is bytes."""
    numbers = iter(range(1, 10_000))

    def make(channel: Channel, body, *, serial="GX-0001", at=now) -> Arrival:
        raw = body if isinstance(body, bytes) else json.dumps({"v": 1} | body).encode()
        return Arrival(stream_subject(serial, channel), raw, at, next(numbers))

    return make


@pytest.fixture
def send(arrive, now):
    """Stores readings messages of GX-0001, given as dictionaries without their version."""

    def store(*bodies, **options):
        arrivals = [arrive(Channel.READINGS, body) for body in bodies]
        return store_arrivals(arrivals=arrivals, now=now, **options)

    return store


def readings(now, *parts, seq=1, **fields) -> dict:
    parts = parts or ({"appliance": "grid", "at": [to_ms(now)], "power_w": [500]},)
    return {"seq": seq, "appliances": list(parts)} | fields


def faults() -> dict[str, int]:
    return dict(GatewayFault.objects.values_list("reason", "count"))


def errors(outcome) -> list:
    return [message for _serial, channel, message in outcome.answers.messages if "error" in channel]


def test_readings_are_stored_in_columns(cast, send, now):
    later = now - timedelta(seconds=30)
    outcome = send(
        readings(
            now,
            {
                "appliance": "grid",
                "at": [to_ms(later), to_ms(now)],
                "power_w": [-250.5, None],
                "imported_wh": [1, 2],
            },
            {"appliance": "evcs", "at": [to_ms(now)], "plug_state": ["charging"]},
        )
    )
    grid = Reading.objects.filter(appliance_key=cast.grid_meter.key).order_by("at")
    assert list(grid.values_list("at", "power_w", "imported_wh", "soc")) == [
        (later, -250.5, 1, None),
        (now, None, 2, None),
    ]
    plug = Reading.objects.get(appliance_key=cast.evcs.key).plug_state
    assert PLUG_STATES[plug] == "charging"
    assert outcome.news == {cast.lindenweg.pk}
    assert not outcome.answers.messages


def test_the_same_batch_again_changes_nothing(cast, send, now):
    body = readings(now, seq=7)
    send(body)
    outcome = send(body, body)
    assert Reading.objects.count() == 1
    assert outcome.counts["readings known already"] == 2
    assert not outcome.news
    assert Gateway.objects.get(serial="GX-0001").missing_messages == 0


def test_late_is_what_changes_slots_that_are_over(cast, send, now):
    def sent_at(*instants) -> bool:
        part = {"appliance": "grid", "at": [to_ms(at) for at in instants]}
        return send(readings(now, part | {"power_w": [500] * len(instants)})).late

    hour_ago = now - timedelta(hours=1)
    assert not sent_at(slot_start(now), now)
    assert sent_at(hour_ago, now)
    assert not sent_at(hour_ago)  # known already
    assert not sent_at(now - timedelta(days=10_000))  # refused


def test_an_appliance_can_be_named_by_its_uuid(cast, send, now):
    part = {"appliance": str(cast.pv.pk).upper(), "at": [to_ms(now)], "power_w": [-900]}
    send(readings(now, part))
    assert Reading.objects.get().appliance_key == cast.pv.key


@pytest.mark.parametrize("named", ["nobody", "other", "PV"])
def test_a_foreign_appliance_is_refused_and_its_neighbours_are_stored(cast, send, now, named):
    reference = str(cast.other_meter.pk) if named == "other" else named
    outcome = send(
        readings(
            now,
            {"appliance": reference, "at": [to_ms(now)] * 2, "power_w": [1, 2]},
            {"appliance": "grid", "at": [to_ms(now)], "power_w": [500]},
            seq=3,
        )
    )
    assert Reading.objects.get().appliance_key == cast.grid_meter.key
    assert faults() == {"unknown_appliance": 2}
    (error,) = errors(outcome)
    assert (error.reason, error.seq, error.refused) == (
        "unknown_appliance",
        3,
        {"unknown_appliance": 2},
    )
    assert Gateway.objects.get(serial="GX-0001").refused_readings == 2


def test_what_was_read_before_an_appliance_was_removed_is_stored_and_the_rest_refused(
    cast, send, now
):
    hour, second = timedelta(hours=1), timedelta(seconds=1)
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(removed_at=now - hour)
    instants = [now, now - hour, now - hour - second, now - 3 * hour]
    part = {"appliance": "grid", "at": [to_ms(at) for at in instants]}
    of_meter = part | {"power_w": [1, 2, 3, 4], "imported_wh": [9, 8, 7, None]}
    outcome = send(
        readings(now, of_meter, {"appliance": "pv", "at": [to_ms(now)], "power_w": [-5]}, seq=3)
    )
    stored = Reading.objects.filter(appliance_key=cast.grid_meter.key).order_by("at")
    assert list(stored.values_list("at", "power_w", "imported_wh")) == [
        (now - 3 * hour, 4, None),
        (now - hour - second, 3, 7),
    ]
    assert Reading.objects.get(appliance_key=cast.pv.key).power_w == -5
    fault = GatewayFault.objects.get()
    assert (fault.reason, fault.count) == ("removed_appliance", 2)
    assert fault.detail == f"appliance grid at {now.isoformat()}"
    (error,) = errors(outcome)
    assert (error.reason, error.seq, error.refused) == (
        "removed_appliance",
        3,
        {"removed_appliance": 2},
    )
    assert Gateway.objects.get(serial="GX-0001").refused_readings == 2


def test_nothing_is_stored_of_an_appliance_that_was_removed_before(cast, send, now):
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(removed_at=now)
    send(readings(now))
    assert faults() == {"removed_appliance": 1}
    assert not Reading.objects.exists()


@pytest.fixture
def move(cast, now):
    """Deletes the gateway of Lindenweg and registers its serial at a system an hour ago."""

    def move(system) -> Gateway:
        Appliance.objects.filter(gateway=cast.gateway).update(gateway=None)
        Gateway.objects.filter(pk=cast.gateway.pk).delete()
        at = now - timedelta(hours=1)
        gateway, _secret = register_gateway(system=system, serial="GX-0001", by=None, now=at)
        grid = FoundAppliance(local_id="grid", kind="grid_meter", interval_s=60)
        apply_hello(gateway=gateway, model="Box", firmware="1", found=[grid], came_at=now, now=now)
        return gateway

    return move


def of_two_hours(now) -> dict:
    """Two readings of a meter from before an hour ago, and two from then on."""
    instants = [now - timedelta(minutes=back) for back in (120, 61, 60, 0)]
    part = {"appliance": "grid", "at": [to_ms(at) for at in instants], "power_w": [1, 2, 3, 4]}
    return readings(now, part, seq=3)


def test_what_a_box_read_at_another_system_before_is_refused(cast, send, move, now):
    garden = System.objects.create(account=cast.meyers, name="Garden")
    gateway = move(garden)
    outcome = send(of_two_hours(now))
    meter = Appliance.objects.get(gateway=gateway)
    assert (meter.system, meter.pk == cast.grid_meter.pk) == (garden, False)
    stored = Reading.objects.values_list("appliance_key", "power_w")
    assert set(stored) == {(meter.key, 3), (meter.key, 4)}
    fault = GatewayFault.objects.get()
    assert (fault.reason, fault.count) == ("other_system", 2)
    assert fault.detail == f"appliance grid at {(now - timedelta(hours=2)).isoformat()}"
    assert [error.refused for error in errors(outcome)] == [{"other_system": 2}]
    gateway.refresh_from_db()
    assert gateway.refused_readings == 2


def test_one_that_is_registered_anew_where_it_was_brings_all_that_it_read(cast, send, move, now):
    move(cast.lindenweg)
    send(of_two_hours(now))
    assert set(Reading.objects.values_list("appliance_key", "power_w")) == {
        (cast.grid_meter.key, power_w) for power_w in (1, 2, 3, 4)
    }
    assert faults() == {}


def test_one_that_is_registered_for_the_first_time_brings_what_it_read_before(cast, send, now):
    Gateway.objects.filter(pk=cast.gateway.pk).update(registered_at=now)
    send(of_two_hours(now))
    assert Reading.objects.count() == 4


def test_what_a_gateway_says_late_of_an_appliance_that_went_elsewhere_is_refused(cast, send, now):
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(system=cast.hafenstrasse, gateway=None)
    send(of_two_hours(now))
    assert faults() == {"unknown_appliance": 4}
    assert not Reading.objects.exists()


def test_a_message_about_an_unknown_appliance_waits_for_its_hello_where_it_may(cast, send, now):
    unknown = readings(now, {"appliance": "new", "at": [to_ms(now)], "power_w": [1]}, seq=2)
    outcome = send(readings(now), unknown, may_defer=True)
    assert outcome.deferred == {2}
    assert Reading.objects.get().appliance_key == cast.grid_meter.key
    assert faults() == {}


@pytest.mark.parametrize(("removed_at", "deferred"), [(0, {1}), (1, set())])
def test_so_does_one_of_an_appliance_that_was_removed_before(cast, send, now, removed_at, deferred):
    removed_at = now + timedelta(minutes=removed_at)
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(removed_at=removed_at)
    outcome = send(readings(now), may_defer=True)
    assert (outcome.deferred, faults()) == (deferred, {})


def test_one_bad_reading_costs_its_neighbours_nothing(cast, send, now):
    tomorrow = to_ms(now + timedelta(days=1))
    body = (
        b'{"v": 1, "seq": 9, "appliances": [{"appliance": "grid", "at": [%d, %d, %d],'
        b' "power_w": [1, 2, NaN], "soc": [null, null, 7]}]}'
        % (to_ms(now), tomorrow, to_ms(now) - 1)
    )
    outcome = send(body)
    assert Reading.objects.get().at == now
    assert set(faults()) == {"future", "not_finite"}
    (error,) = errors(outcome)
    assert (error.reason, error.refused) == (
        "readings_refused",
        {"future": 1, "not_finite": 1},
    )


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_number_that_is_none_is_refused_however_it_is_written(cast, send, now, number):
    body = (
        b'{"v": 1, "seq": 9, "appliances": [{"appliance": "grid", "at": [%d, %d],'
        b' "power_w": [%b, null], "imported_wh": [5000, 5001]}]}'
        % (to_ms(now) - 1000, to_ms(now), number)
    )
    outcome = send(body)
    assert list(Reading.objects.values_list("power_w", "imported_wh")) == [(None, 5001)]
    assert faults() == {"not_finite": 1}
    assert [error.refused for error in errors(outcome)] == [{"not_finite": 1}]
    assert Gateway.objects.get(serial="GX-0001").refused_readings == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"\xff\x00", "malformed"),
        (b'{"v": 2, "seq": 1, "appliances": []}', "unknown_version"),
        (b'{"v": 1}', "invalid"),
        (b" " * 600_000, "too_large"),
    ],
)
def test_a_message_that_cannot_be_read_is_counted_and_answered(cast, send, now, body, reason):
    outcome = send(body, readings(now))
    assert Reading.objects.count() == 1
    (error,) = errors(outcome)
    assert (error.reason, error.channel) == (reason, "up/readings")
    fault = GatewayFault.objects.get()
    assert (fault.reason, fault.gateway, fault.count) == (reason, cast.gateway, 1)
    assert bytes(fault.body) == body[:4096]


def test_an_unknown_field_is_ignored_and_counted(cast, send, now):
    part = {"appliance": "grid", "at": [to_ms(now)], "power_w": [500], "mood": ["good"]}
    outcome = send(readings(now, part, weather="fine"))
    assert Reading.objects.count() == 1
    assert not outcome.answers.messages
    fault = GatewayFault.objects.get()
    assert (fault.reason, fault.detail) == ("unknown_field", "weather, appliances.mood")


def test_an_unknown_topic_below_the_own_serial_is_counted_and_answered(cast, now):
    arrival = Arrival("$MQTT.msgs.gridx.v1.GX-0001.up.wishes", b"{}", now, 1)
    outcome = store_arrivals(arrivals=[arrival], now=now)
    (error,) = errors(outcome)
    assert (error.reason, error.channel) == ("unknown_topic", "up/wishes")
    assert faults() == {"unknown_topic": 1}


def test_a_gateway_that_floods_has_few_faults_and_few_answers(cast, send, now, arrive):
    outcome = send(*[b"garbage"] * 100)
    assert faults() == {"malformed": 100}
    assert len(errors(outcome)) == 5


def test_messages_of_an_unknown_gateway_are_counted_and_dropped(cast, arrive, now):
    arrivals = [arrive(Channel.READINGS, readings(now), serial="GX-0404")]
    assert store_arrivals(arrivals=arrivals, now=now).counts["from unknown gateways"] == 1


def test_a_gateways_contact_clock_and_holes_show(cast, send, now):
    send(
        readings(now, seq=10, sent_at=to_ms(now)),
        readings(now, seq=13, sent_at=to_ms(now + timedelta(seconds=90))),
    )
    gateway = Gateway.objects.get(serial="GX-0001")
    assert gateway.contacted_at == now
    assert gateway.clock_offset_s == pytest.approx(90)
    assert (gateway.last_sequence, gateway.missing_messages) == (13, 2)
    assert SequenceHoles.objects.get().holes == [[11, 12]]

    send(readings(now, seq=12), readings(now, seq=11))
    gateway.refresh_from_db()
    assert (gateway.last_sequence, gateway.missing_messages) == (13, 0)
    assert not SequenceHoles.objects.exists()


@pytest.mark.parametrize(
    ("refused", "missing"),
    [
        (b'{"v": 1, "seq": 11, "appliances": 5}', 0),
        (b'{"v": 2, "seq": 11}', 0),
        (b'{"v": 1, "seq": 11, "appliances": [NaN]}', 0),
        (b'{"v": 1, "seq": 11}' + b" " * 600_000, 0),
        (b'{"v": 1, "seq": 11, "appliances": [', 1),
        (b'{"v": 1, "seq": -11, "appliances": []}', 1),
        (b'{"v": 1, "seq": "11", "appliances": []}', 1),
        (b"[" * 100_000, 1),
    ],
)
def test_a_refused_message_is_missing_only_where_its_number_cannot_be_read(
    cast, send, now, refused, missing
):
    send(readings(now, seq=10), refused, readings(now, seq=12))
    gateway = Gateway.objects.get(serial="GX-0001")
    assert (gateway.last_sequence, gateway.missing_messages) == (12, missing)


def test_an_older_message_does_not_turn_back_the_contact(cast, arrive, now):
    for at in (now, now - timedelta(hours=1)):
        arrivals = [arrive(Channel.READINGS, readings(now), at=at)]
        store_arrivals(arrivals=arrivals, now=now)
    assert Gateway.objects.get(serial="GX-0001").contacted_at == now


def hello(now, *appliances) -> dict:
    return {
        "protocol": 1,
        "model": "Box",
        "firmware": "1",
        "sent_at": to_ms(now),
        "appliances": list(appliances),
    }


METER = {"local_id": "meter", "kind": "meter", "interval_s": 10}


def test_a_hello_is_answered_with_uuids_and_refusals(cast, arrive, now):
    toaster = {"local_id": "toaster", "kind": "toaster", "interval_s": 10}
    outcome = apply_arrivals(arrivals=[arrive(Channel.HELLO, hello(now, METER, toaster))], now=now)
    ((serial, channel, answer),) = outcome.answers.messages
    assert (serial, channel) == ("GX-0001", Channel.HELLO_ANSWER)
    meter = Appliance.objects.get(local_id="meter")
    assert [(one.local_id, one.appliance, one.refused) for one in answer.appliances] == [
        ("meter", meter.pk, None),
        ("toaster", None, "unknown_kind"),
    ]
    assert faults() == {"unknown_kind": 1}
    assert DeclaredInterval.objects.get(appliance_key=meter.key).interval_s == 10


def test_a_hello_of_a_protocol_of_the_future_is_refused_counted_and_answered(cast, arrive, now):
    body = hello(now, METER) | {"protocol": 99}
    outcome = apply_arrivals(arrivals=[arrive(Channel.HELLO, body)], now=now)
    (error,) = errors(outcome)
    assert (error.reason, error.channel, error.field) == (
        "unknown_version",
        "up/hello",
        "protocol",
    )
    fault = GatewayFault.objects.get()
    assert (fault.reason, fault.detail) == ("unknown_version", "protocol: protocol 99, at most 1")
    assert not Appliance.objects.filter(local_id="meter").exists()


# Readings of a device that took another's place -------------------------------------------------

MINUTE = timedelta(minutes=1)


def grid_meter(serial_number: str) -> dict:
    return {
        "local_id": "grid",
        "kind": "grid_meter",
        "interval_s": 60,
        "serial_number": serial_number,
    }


@pytest.fixture
def replace(arrive, now):
    """Tells of the meter M1, and that M2 took its place some minutes ago."""

    def tell(serial_number: str, *, at: datetime, handled_at: datetime) -> Outcome:
        body = hello(at, grid_meter(serial_number))
        return apply_arrivals(arrivals=[arrive(Channel.HELLO, body, at=at)], now=handled_at)

    tell("M1", at=now - timedelta(days=1), handled_at=now - timedelta(days=1))
    return lambda minutes=15: tell("M2", at=now - minutes * MINUTE, handled_at=now)


@pytest.fixture
def count(arrive, now):
    """Sends the counter of the meter at minutes before now, of M1 and of M2."""

    def count(minutes: Iterable[int], *, from_wh: float, **columns) -> None:
        instants = [now - minute * MINUTE for minute in minutes]
        part = {
            "appliance": "grid",
            "at": list(map(to_ms, instants)),
            "imported_wh": [from_wh + 10 * number for number in range(len(instants))],
        }
        body = readings(now, part | {k: [v] * len(instants) for k, v in columns.items()})
        store_arrivals(arrivals=[arrive(Channel.READINGS, body)], now=now)

    return count


def all_of_both() -> dict:
    """What is stored and computed of the meters, in order of their keys, and of the system."""
    found = {}
    for model in (Reading, LatestReading, ApplianceSlot, ApplianceDay, SystemSlot, SystemDay):
        rows = list(model.objects.order_by("pk").values())
        keys = sorted({row["appliance_key"] for row in rows if "appliance_key" in row})
        for row in rows:
            if "appliance_key" in row:
                row["appliance_key"] = keys.index(row["appliance_key"])
            if row.get("carry") is not None:
                row["carry"] = bytes(row["carry"])
        found[model.__name__] = rows
    return found


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("last", "replaced", "first"),
    [
        pytest.param(16, 15, 14, id="each minute"),
        pytest.param(200, 15, 14, id="after a pause"),
        pytest.param(200, 190, 1, id="with a pause after it"),
    ],
)
def test_readings_that_came_before_the_hello_are_those_of_what_took_the_place(
    cast, replace, count, now, last, replaced, first
):
    def tell() -> None:
        count(range(last + 30, last - 1, -1), from_wh=50_000, soc=0.5)

    def tell_of_successor() -> None:
        count(range(first, -1, -1), from_wh=7_000, power_w=300)

    def undone(*steps) -> dict:
        with transaction.atomic():
            for step in steps:
                step()
            found = all_of_both()
            transaction.set_rollback(True)
        return found

    def compute() -> None:
        compute_until_clean(now=now)

    def replace_then() -> None:
        replace(replaced)

    in_order = undone(tell, replace_then, tell_of_successor, compute)
    assert undone(tell, tell_of_successor, replace_then, compute) == in_order
    assert undone(tell, tell_of_successor, compute, replace_then, compute) == in_order
    of_both = in_order["LatestReading"]
    assert [(row["at"], row["imported_wh"], row["soc"], row["power_w"]) for row in of_both] == [
        (now - last * MINUTE, 50_300, 0.5, None),
        (now, 7_000 + 10 * first, None, 300),
    ]
    energy_mwh = [row["import_mwh"] or 0 for row in in_order["ApplianceSlot"]]
    assert sum(energy_mwh) == 300_000 + 10_000 * first


@pytest.mark.django_db
def test_what_is_final_stays_with_the_device_that_it_was_stored_of(cast, replace, count, now):
    count(range(14, -1, -1), from_wh=7_000)
    FinalSpan.objects.create(
        system_key=cast.lindenweg.key,
        appliance_key=cast.grid_meter.key,
        from_at=now - timedelta(days=1),
        until_at=now - 5 * MINUTE,
    )
    replace()
    old = Reading.objects.filter(appliance_key=cast.grid_meter.key)
    assert sorted(old.values_list("at", flat=True))[-1] == now - 6 * MINUTE
    assert Reading.objects.exclude(appliance_key=cast.grid_meter.key).count() == 6


@pytest.mark.django_db(transaction=True)
def test_a_hello_and_readings_at_the_same_time_leave_none_with_the_device_that_is_gone(
    cast, replace, count, now, monkeypatch
):
    count(range(46, 15, -1), from_wh=50_000)
    count(range(14, 7, -1), from_wh=7_000)
    threads, is_moving = [], Event()

    def store_then_greet(**given):
        report = store(**given)
        if not threads:
            threads.append(Thread(target=greet))
            threads[0].start()
            is_moving.wait(timeout=30)
        return report

    def greet() -> None:
        try:
            replace()
        finally:
            connection.close()

    def wait_then_move(**given):
        is_moving.set()
        until_others_wait("transactionid")
        return move(**given)

    store, move = readings_module.store_readings, handlers.move_readings
    monkeypatch.setattr(readings_module, "store_readings", store_then_greet)
    monkeypatch.setattr(handlers, "move_readings", wait_then_move)
    count(range(7, -1, -1), from_wh=7_070)
    threads[0].join(timeout=30)
    assert not threads[0].is_alive()
    new = Appliance.objects.get(gateway=cast.gateway, local_id="grid")
    counted = Reading.objects.filter(imported_wh__lt=50_000).values_list("appliance_key", flat=True)
    assert list(counted) == [new.key] * 15
    assert LatestReading.objects.get(appliance_key=new.key).at == now
    old = LatestReading.objects.get(appliance_key=cast.grid_meter.key)
    assert old.at == now - 16 * MINUTE


@pytest.fixture
def greet(arrive, now):
    """The grid meter's gateway says hello: how often it reads the meter."""

    def greet(interval_s, *, at=now, handled_at=None):
        grid = {"local_id": "grid", "kind": "grid_meter", "interval_s": interval_s}
        arrivals = [arrive(Channel.HELLO, hello(at, grid), at=at)]
        apply_arrivals(arrivals=arrivals, now=handled_at or at)

    return greet


def test_what_was_read_before_keeps_the_interval_that_held_then(cast, greet, now):
    greet(60)  # as was assumed before
    greet(5, at=now + timedelta(hours=1))
    declared = DeclaredInterval.objects.order_by("valid_from")
    assert list(declared.values_list("interval_s", flat=True)) == [60, 5]
    assert declared.first().valid_from < now - timedelta(days=9000)
    assert declared.last().valid_from == now + timedelta(hours=1)


@pytest.mark.parametrize("computed", [False, True])
def test_another_interval_holds_since_its_hello_came_however_late_that_is_handled(
    cast, send, greet, now, computed
):
    greet(60, at=now - timedelta(days=1))
    came_at = now - timedelta(hours=3)
    at_ms = [to_ms(came_at + timedelta(minutes=15 * number)) for number in range(13)]
    send(readings(now, {"appliance": "grid", "at": at_ms, "power_w": [2000] * 13}))
    if computed:
        compute_until_clean(now=now)
    greet(900, at=came_at, handled_at=now)
    compute_until_clean(now=now)
    slots = ApplianceSlot.objects.filter(appliance_key=cast.grid_meter.key)
    assert slots.aggregate(sum=Sum("import_mwh"))["sum"] == 6_000_000


def test_another_interval_holds_on_where_history_was_imported_meanwhile(cast, greet, now):
    greet(60, at=now - timedelta(days=1))
    behind = now - timedelta(hours=1)
    came_at = behind - timedelta(hours=1)
    meter = Appliance.objects.get(pk=cast.grid_meter.pk)
    for interval_s, valid_from in ((10, came_at - timedelta(hours=1)), (60, behind)):
        declare_interval(appliance=meter, interval_s=interval_s, valid_from=valid_from)
    greet(900, at=came_at, handled_at=now)
    declared = DeclaredInterval.objects.order_by("valid_from")
    assert list(declared.values_list("valid_from", "interval_s"))[2:] == [
        (came_at, 900),
        (behind, 60),
        (now, 900),
    ]


@pytest.mark.parametrize("before", [0, 2, 4])
@pytest.mark.parametrize("computed", [False, True])
def test_the_first_hello_tells_of_what_was_read_before_it_too(
    cast, send, greet, now, before, computed
):
    bodies = [
        readings(
            now,
            {
                "appliance": "grid",
                "at": [to_ms(now - timedelta(minutes=20 * back))],
                "power_w": [600],
            },
            seq=back,
        )
        for back in (5, 4, 2, 1)
    ]
    send(*bodies[:before])
    if computed:
        compute_until_clean(now=now)
    greet(1200)
    send(*bodies[before:])
    compute_until_clean(now=now)
    slots = ApplianceSlot.objects.filter(appliance_key=cast.grid_meter.key)
    assert sum(slots.values_list("import_mwh", flat=True)) == 800_000


@pytest.mark.parametrize(("interval_s", "marked"), [(60, False), (100, False), (900, True)])
def test_only_what_the_first_hello_changes_is_computed_again(
    cast, send, greet, now, interval_s, marked
):
    for back in (30, 2, 0):
        send(readings(now - timedelta(days=back)))
    send(readings(now, {"appliance": "pv", "at": [to_ms(now)], "power_w": [-1]}))
    compute_until_clean(now=now)
    greet(interval_s)
    assert {slot.appliance_key for slot in DirtySlot.objects.all()} == (
        {cast.grid_meter.key} if marked else set()
    )
    assert DirtySlot.objects.count() == (3 if marked else 0)
    compute_until_clean(now=now)
    greet(interval_s)
    greet(3600, at=now + timedelta(hours=1))
    assert not DirtySlot.objects.exists()


def test_what_the_device_before_used_stays_its_own(cast, arrive, send, now):
    def greet(kind, at):
        found = {"local_id": "modbus-3", "kind": kind, "interval_s": 900}
        apply_arrivals(arrivals=[arrive(Channel.HELLO, hello(at, found), at=at)], now=at)

    def used(*back_hours) -> None:
        at_ms = [to_ms(now - timedelta(hours=hours)) for hours in back_hours]
        part = {"appliance": "modbus-3", "at": at_ms, "power_w": [3000] * len(at_ms)}
        send(readings(now, part))
        compute_until_clean(now=now)

    def sums() -> tuple:
        of_site = SystemSlot.objects.filter(system_key=cast.lindenweg.key)
        return tuple(of_site.aggregate(ev=Sum("ev_mwh"), pump=Sum("heat_pump_mwh")).values())

    greet("ev_charging_station", now - timedelta(days=2))
    used(30, 29.5, 29)
    assert sums() == (3_000_000, None)
    greet("heat_pump", now - timedelta(hours=3))
    compute_until_clean(now=now)
    assert sums() == (3_000_000, None)
    used(2, 1.5, 1)
    assert sums() == (3_000_000, 3_000_000)
    assert faults() == {"replaced": 1}


def test_of_several_hellos_at_once_the_last_in_the_log_counts(cast, arrive, now):
    arrivals = [
        arrive(Channel.HELLO, hello(now, METER | {"manufacturer": name})) for name in ("A", "B")
    ]
    outcome = apply_arrivals(arrivals=arrivals, now=now)
    assert Appliance.objects.get(local_id="meter").manufacturer == "B"
    assert len(outcome.answers.messages) == 1


def test_a_status_says_whether_the_gateway_is_online(cast, arrive, now):
    for online in (True, False):
        arrivals = [arrive(Channel.STATUS, {"online": online})]
        outcome = apply_arrivals(arrivals=arrivals, now=now)
        assert Gateway.objects.get(serial="GX-0001").online is online
        assert outcome.news == {cast.lindenweg.pk}


@pytest.mark.parametrize(
    ("channel", "body"),
    [
        (Channel.CONSTRAINTS, {"at": 0, "limits": [{"appliance": "grid"}, {"appliance": "x"}]}),
        (Channel.ACK, {"revision": 1, "at": 0, "appliances": [{"appliance": "x"}]}),
        (Channel.EVENT, {"at": 0, "type": "error", "appliance": "x"}),
    ],
)
def test_constraints_acks_and_events_are_about_the_gateways_own_appliances(
    cast, arrive, now, channel, body
):
    handle = store_arrivals if channel is Channel.EVENT else apply_arrivals
    outcome = handle(arrivals=[arrive(channel, body)], now=now)
    assert faults() == {"unknown_appliance": 1}
    (error,) = errors(outcome)
    assert (error.channel, error.detail) == (channel.value, "x")


def test_each_message_is_handled_by_one_consumer_only(cast, arrive, now):
    arrivals = [arrive(Channel.HELLO, b"garbage"), arrive(Channel.HELLO, hello(now, METER))]
    store_arrivals(arrivals=arrivals, now=now)
    assert faults() == {}
    assert not Appliance.objects.filter(local_id="meter").exists()
