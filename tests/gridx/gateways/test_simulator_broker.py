"""Virtual gateways against a real NATS server with MQTT."""

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import NAMESPACE_OID, uuid4, uuid5

import aiomqtt
import pytest
from msgspec.structs import replace

from gridx.gateways.messages import (
    ApplianceSchedule,
    FailSafe,
    Heartbeat,
    Job,
    Schedule,
    Segment,
)
from gridx.gateways.plants.presets import SitePlan
from gridx.gateways.simulator import fleet
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry, write_entries
from gridx.gateways.simulator.fleet import Report, simulate
from gridx.gateways.simulator.recording import Mapping, Recording
from gridx.gateways.simulator.replay import Replay, ReplayGateway
from gridx.gateways.simulator.session import Broker, RestartWanted
from gridx.gateways.simulator.site_gateway import Pace, SiteGateway
from gridx.gateways.simulator.store import Store
from gridx.gateways.topics import Channel
from tests.gridx.gateways.broker import SECRET, Cloud, NatsServer

pytestmark = pytest.mark.slow

SERIAL = "GBX-0001"
OTHER = "GBX-0002"
HOME = SitePlan(parts=["pv", "battery", "ev"], seed=3)
ENTRY = GatewayEntry(serial=SERIAL, secret=SECRET, site=HOME)
FAST = Pace(sample_ms=1_000, message_ms=1_000)
BATTERY = uuid5(NAMESPACE_OID, "battery")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path, [SERIAL, OTHER])
    await server.start()
    yield server
    server.kill()


@pytest.fixture
async def cloud(server: NatsServer) -> AsyncIterator[Cloud]:
    async with Cloud(server) as cloud:
        yield cloud


class Running:
    """A gateway that runs within a block, and is stopped as by SIGTERM at its end."""

    def __init__(self, server: NatsServer, store: Store, *, speed: float = 10.0) -> None:
        clock = SimulatedClock.faster(speed)
        self.clock = clock
        self.gateway = SiteGateway(ENTRY, broker=server.broker, clock=clock, store=store, pace=FAST)
        self.report: Report | None = None

    async def __aenter__(self) -> SiteGateway:
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(simulate([self.gateway], stop=self._stop))
        return self.gateway

    async def __aexit__(self, *error: object) -> None:
        self._stop.set()
        self.report = await asyncio.wait_for(self._task, 60)


def schedule(revision: int, *segments: Segment, fail_safe: FailSafe | None = None) -> Schedule:
    timeline = ApplianceSchedule(
        local_id="battery", appliance=BATTERY, segments=list(segments), fail_safe=fail_safe
    )
    return Schedule(v=1, revision=revision, issued_at=revision, appliances=[timeline])


async def test_a_gateway_says_hello_and_what_it_reads(server, cloud, tmp_path):
    async with Running(server, Store()) as gateway:
        await cloud.wait_for(SERIAL, Channel.READINGS, 3)
        assert gateway.session.is_online
    (hello, *_) = cloud.of(SERIAL, Channel.HELLO)
    assert {found.local_id: found.kind for found in hello.appliances} == {
        "grid": "grid_meter",
        "pv": "pv_inverter",
        "battery": "battery",
        "ev": "ev_charging_station",
    }
    channels = [address.channel for address, _ in cloud.messages]
    assert channels.index(Channel.HELLO) < channels.index(Channel.READINGS)
    (limits,) = cloud.of(SERIAL, Channel.CONSTRAINTS)
    assert {limit.appliance for limit in limits.limits} == {"pv", "battery", "ev"}
    await cloud.wait_for(SERIAL, Channel.STATUS, 2)
    assert [status.online for status in cloud.of(SERIAL, Channel.STATUS)] == [True, False]


async def test_readings_wait_for_the_answer_to_the_first_hello(server, tmp_path):
    async with Cloud(server) as cloud:
        await cloud.pause()
        async with Running(server, Store()) as gateway:
            while len(gateway.outbox) < 5:
                await asyncio.sleep(0.05)
            assert gateway.outbox.acknowledged == 0
            cloud.resume()
            await cloud.wait_for(SERIAL, Channel.READINGS, 5)
    assert sorted(cloud.readings(SERIAL))[:5] == [1, 2, 3, 4, 5]


async def test_what_was_read_while_the_broker_was_down_is_sent_later_in_order(server, cloud):
    async with Running(server, Store()) as gateway:
        await cloud.wait_for(SERIAL, Channel.READINGS, 3)
        server.kill()
        before = gateway.outbox.acknowledged
        while len(gateway.outbox) < 30:
            await asyncio.sleep(0.05)
        await server.start()
        await cloud.wait_for(SERIAL, Channel.READINGS, before + 35)
    readings = cloud.readings(SERIAL)
    assert sorted(readings) == list(range(1, max(readings) + 1))
    first_seen = list(dict.fromkeys(m.seq for m in cloud.of(SERIAL, Channel.READINGS)))
    assert first_seen == sorted(first_seen)
    instants = [at for seq in sorted(readings) for at in readings[seq].appliances[0].at]
    assert instants == list(range(instants[0], instants[-1] + 1, 1_000))


async def test_a_full_buffer_gives_up_the_oldest_and_leaves_a_hole(server, cloud, tmp_path):
    gateway = SiteGateway(
        ENTRY,
        broker=server.broker,
        clock=SimulatedClock.faster(20),
        store=Store(),
        pace=Pace(sample_ms=1_000, message_ms=1_000, capacity=10),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(simulate([gateway], stop=stop))
    await cloud.wait_for(SERIAL, Channel.READINGS, 2)
    server.kill()
    while gateway.outbox.given_up < 10:
        await asyncio.sleep(0.05)
    assert len(gateway.outbox) == 10
    await server.start()
    await cloud.wait_for(SERIAL, Channel.READINGS, 15)
    stop.set()
    report = await task
    readings = cloud.readings(SERIAL)
    missing = set(range(1, max(readings) + 1)) - set(readings)
    # One that was on its way when the broker died may have arrived although it was given up.
    assert 0 < len(missing) <= report.given_up
    assert max(missing) - min(missing) + 1 == len(missing)


async def test_a_restart_goes_on_with_counters_and_sequence(server, cloud, tmp_path):
    for times in (1, 2):
        store = Store(tmp_path / "state")
        async with Running(server, store):
            await cloud.wait_for(SERIAL, Channel.READINGS, 4 * times)
        store.close()
    readings = cloud.readings(SERIAL)
    assert sorted(readings) == list(range(1, max(readings) + 1))
    for local_id in ("grid", "pv", "battery"):
        counters = [
            (imported, exported)
            for seq in sorted(readings)
            for columns in readings[seq].appliances
            if columns.appliance == local_id
            for imported, exported in zip(columns.imported_wh, columns.exported_wh, strict=True)
        ]
        assert counters == sorted(counters, key=lambda pair: pair[0])
        assert counters == sorted(counters, key=lambda pair: pair[1])
    last = readings[max(readings)].appliances
    assert sum(columns.imported_wh[-1] + columns.exported_wh[-1] for columns in last) > 0


async def test_messages_that_nobody_acknowledged_survive_the_process(server, cloud, tmp_path):
    store = Store(tmp_path / "state")
    async with Running(server, store) as gateway:
        await cloud.wait_for(SERIAL, Channel.READINGS, 2)
        server.kill()
        while len(gateway.outbox) < 5:
            await asyncio.sleep(0.05)
    store.close()
    await server.start()
    store = Store(tmp_path / "state")
    kept = [seq for seq, _ in store.pending(SERIAL)]
    assert len(kept) >= 5
    async with Running(server, store):
        async with asyncio.timeout(60):
            while not set(kept) <= set(cloud.readings(SERIAL)):
                await asyncio.sleep(0.05)
    store.close()


async def test_a_retained_schedule_is_followed_offline_to_its_end_and_then_the_fail_safe(
    server, cloud
):
    running = Running(server, Store(), speed=20)
    now = running.clock.now()
    await cloud.send(
        SERIAL,
        Channel.SCHEDULE,
        schedule(
            7,
            Segment(start=now - 60_000, end=now + 100_000, set_point_w=1_500),
            Segment(start=now + 100_000, end=now + 160_000, set_point_w=-800),
            fail_safe=FailSafe(min_w=-100, max_w=100),
        ),
    )
    async with running as gateway:
        (ack, *_) = await cloud.wait_for(SERIAL, Channel.ACK)
        assert (ack.revision, ack.appliances[0].set_point_w) == (7, 1_500)
        await cloud.wait_for(SERIAL, Channel.READINGS, 2)
        server.kill()
        while gateway.site.at_ms < now + 190_000:
            await asyncio.sleep(0.05)
        await server.start()
        last = gateway.outbox.acknowledged + len(gateway.outbox)
        async with asyncio.timeout(60):
            while gateway.outbox.acknowledged < last:
                await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            while not cloud.of(SERIAL, Channel.ACK)[-1].appliances[0].fail_safe:
                await asyncio.sleep(0.05)
    by_second = {
        at: power
        for readings in cloud.readings(SERIAL).values()
        for columns in readings.appliances
        if columns.appliance == "battery"
        for at, power in zip(columns.at, columns.power_w, strict=True)
    }
    assert {power for at, power in by_second.items() if ack.at + 2_000 < at <= now + 100_000} == {
        1_500
    }
    assert {power for at, power in by_second.items() if now + 102_000 < at <= now + 160_000} == {
        -800
    }
    assert all(abs(power) <= 100 for at, power in by_second.items() if at > now + 162_000)


async def test_a_set_point_that_the_appliance_cannot_do_is_refused(server, cloud):
    running = Running(server, Store())
    now = running.clock.now()
    async with running:
        await cloud.wait_for(SERIAL, Channel.READINGS, 1)
        segment = Segment(start=now, end=now + 900_000, set_point_w=50_000, max_w=2_000)
        await cloud.send(SERIAL, Channel.SCHEDULE, schedule(1, segment))
        (ack, *_) = await cloud.wait_for(SERIAL, Channel.ACK)
    (applied,) = ack.appliances
    assert (applied.refused, applied.set_point_w, applied.max_w) == ("beyond_limits", None, 2_000)


async def test_a_broken_schedule_is_refused_and_the_last_good_one_stays(server, cloud):
    running = Running(server, Store())
    now = running.clock.now()
    async with running:
        # Once it listens: the broker may lose what is retained while somebody subscribes.
        await cloud.wait_for(SERIAL, Channel.HELLO)
        segment = Segment(start=now, end=now + 900_000, set_point_w=500)
        await cloud.send(SERIAL, Channel.SCHEDULE, schedule(1, segment))
        await cloud.wait_for(SERIAL, Channel.ACK)
        await cloud.send(SERIAL, Channel.SCHEDULE, b'{"v":1,"revision":2,"appliances":7}')
        async with asyncio.timeout(60):
            while not (refusals := [a for a in cloud.of(SERIAL, Channel.ACK) if a.refused]):
                await asyncio.sleep(0.05)
    ack = refusals[0]
    assert (ack.revision, ack.refused) == (1, "invalid")
    assert ack.appliances[0].set_point_w == 500


async def test_without_heartbeats_the_fail_safe_joins_and_leaves_when_they_return(server, cloud):
    running = Running(server, Store())
    now = running.clock.now()
    segment = Segment(start=now - 60_000, end=now + 900_000, max_w=3_000, heartbeat_s=20)
    timeline = schedule(1, segment, fail_safe=FailSafe(max_w=1_000, minimum_s=5))
    await cloud.send(SERIAL, Channel.SCHEDULE, timeline)
    async with running:
        async with asyncio.timeout(60):
            while not any(a.appliances[0].fail_safe for a in cloud.of(SERIAL, Channel.ACK)):
                await asyncio.sleep(0.05)
        await cloud.send(SERIAL, Channel.HEARTBEAT, Heartbeat(v=1, at=running.clock.now()))
        async with asyncio.timeout(60):
            while cloud.of(SERIAL, Channel.ACK)[-1].appliances[0].fail_safe:
                await asyncio.sleep(0.05)
    states = [
        (ack.appliances[0].max_w, ack.appliances[0].fail_safe)
        for ack in cloud.of(SERIAL, Channel.ACK)
    ]
    assert list(dict.fromkeys(states)) == [(3_000, False), (1_000, True)]
    assert states[-1] == (3_000, False)


async def test_jobs_are_done_and_reported(server, cloud):
    async with Running(server, Store()):
        await cloud.wait_for(SERIAL, Channel.READINGS, 1)
        await cloud.send(SERIAL, Channel.JOB, Job(v=1, id=uuid4(), type="scan"))
        await cloud.wait_for(SERIAL, Channel.HELLO, 2)
        await cloud.send(SERIAL, Channel.JOB, Job(v=1, id=uuid4(), type="restart"))
        await cloud.wait_for(SERIAL, Channel.HELLO, 3)
        events = await cloud.wait_for(SERIAL, Channel.EVENT, 4)
    assert [event.job_state for event in events] == ["received", "done"] * 2


async def test_a_gateway_that_is_stopped_while_it_restarts_stops(monkeypatch):
    broker, clock = Broker("127.0.0.1", 1), SimulatedClock.faster(10)
    gateway = SiteGateway(ENTRY, broker=broker, clock=clock, store=Store(), pace=FAST)
    monkeypatch.setattr(fleet, "ENDS_WITHIN_S", 0.1)
    has_begun, stop = asyncio.Event(), asyncio.Event()

    async def break_off() -> None:
        is_first = not has_begun.is_set()
        has_begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if is_first:  # as a group of tasks of which one has failed just then
                raise RestartWanted from None
            raise

    monkeypatch.setattr(gateway.session, "_connect", break_off)
    running = asyncio.create_task(simulate([gateway], stop=stop))
    await has_begun.wait()
    stop.set()
    done, _pending = await asyncio.wait({running}, timeout=10)
    assert done == {running}


async def test_back_from_the_factory_a_gateway_takes_its_schedule_again(server, cloud):
    running = Running(server, Store())
    now = running.clock.now()
    async with running:
        # Once it listens: the broker may lose what is retained while somebody subscribes.
        await cloud.wait_for(SERIAL, Channel.HELLO)
        segment = Segment(start=now, end=now + 900_000, set_point_w=500)
        await cloud.send(SERIAL, Channel.SCHEDULE, schedule(1, segment))
        await cloud.wait_for(SERIAL, Channel.ACK)
        known = len(cloud.of(SERIAL, Channel.ACK))
        await cloud.send(SERIAL, Channel.JOB, Job(v=1, id=uuid4(), type="reset"))
        await cloud.wait_for(SERIAL, Channel.HELLO, 2)
        *_before, ack = await cloud.wait_for(SERIAL, Channel.ACK, known + 1)
    assert (ack.revision, ack.appliances[0].set_point_w) == (1, 500)


async def test_a_gateway_restarts_whatever_is_acknowledged_at_that_moment(
    server, cloud, monkeypatch
):
    async def lose_cancellation(client, awaited, timeout):
        # What Python 3.11's `wait_for` does where both come at once; with no timeout it does not.
        if timeout == math.inf:
            return await awaited
        with suppress(asyncio.CancelledError):
            result = await awaited
            await asyncio.sleep(0.2)
            return result

    monkeypatch.setattr(aiomqtt.Client, "_wait_for", lose_cancellation)
    async with Running(server, Store()):
        await cloud.wait_for(SERIAL, Channel.HELLO)
        await cloud.send(SERIAL, Channel.JOB, Job(v=1, id=uuid4(), type="restart"))
        await cloud.wait_for(SERIAL, Channel.HELLO, 2)


async def test_a_gateway_with_a_wrong_secret_stays_out_and_harms_nobody(server, cloud):
    intruder = SiteGateway(
        GatewayEntry(serial=OTHER, secret="wrong", site=HOME),
        broker=server.broker,
        clock=SimulatedClock.faster(10),
        store=Store(),
        pace=FAST,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(simulate([intruder], stop=stop))
    async with Running(server, Store()):
        await cloud.wait_for(SERIAL, Channel.READINGS, 3)
    stop.set()
    report = await task
    assert report.acknowledged == 0
    assert report.unacknowledged > 0
    assert not cloud.of(OTHER, Channel.STATUS)


async def test_a_recorded_file_arrives_with_all_its_instants(server, cloud, recorded):
    recording = Recording(
        recorded / "uk_home_givenergy" / "inverter_2025-06-01_06.csv.xz",
        tuple(
            Mapping.parse(text)
            for text in (
                "pv_w=pv:power_w:-1",
                "total_pv_wh=pv:exported_wh",
                "grid_w=grid:power_w",
                "total_import_wh=grid:imported_wh",
                "total_export_wh=grid:exported_wh",
                "battery_w=battery:power_w:-1",
                "soc_pct=battery:soc:0.01",
            )
        ),
        "ts_utc",
    )
    gateway = ReplayGateway(
        ENTRY,
        broker=server.broker,
        clock=SimulatedClock.real(),
        store=Store(),
        replay=Replay(
            recording,
            {"pv": "pv_inverter", "grid": "grid_meter", "battery": "battery"},
            interval_s=11,
        ),
    )
    report = await simulate([gateway], stop=asyncio.Event())
    assert report.is_complete
    assert (gateway.rows, gateway.acknowledged_instants) == (4_927, 4_919)
    await cloud.wait_for(SERIAL, Channel.READINGS, report.acknowledged)
    messages = cloud.readings(SERIAL).values()
    instants = {at for message in messages for at in message.appliances[0].at}
    assert len(instants) == 4_919
    pv = [c for m in messages for c in m.appliances if c.appliance == "pv"]
    assert min(power for columns in pv for power in columns.power_w) < 0
    socs = [s for m in messages for c in m.appliances for s in c.soc or [] if s is not None]
    assert 0 <= min(socs) < max(socs) <= 1


async def test_a_killed_process_goes_on_without_losing_or_changing_a_message(
    server, cloud, tmp_path
):
    write_entries(tmp_path / "gateways.json", [ENTRY, replace(ENTRY, serial=OTHER)])
    command = [
        sys.executable, "manage.py", "simulate_gateways",
        "--gateways", tmp_path / "gateways.json", "--count", "1", "--speed", "20",
        "--sample", "1", "--every", "1", "--state", tmp_path / "state",
        "--broker", f"mqtt://127.0.0.1:{server.mqtt_port}",
    ]  # fmt: skip
    for times in (1, 2, 3):
        process = await asyncio.create_subprocess_exec(
            *command,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "GRIDX_DATA_DIR": str(tmp_path / "data")},
        )
        try:
            await cloud.wait_for(SERIAL, Channel.READINGS, 30 * times)
        finally:
            process.kill()
            await process.wait()
    readings = cloud.readings(SERIAL)
    assert sorted(readings) == list(range(1, max(readings) + 1))
    counters = [readings[seq].appliances[0].imported_wh[-1] for seq in sorted(readings)]
    assert counters == sorted(counters)
    assert not cloud.of(OTHER, Channel.HELLO)


async def test_the_command_replays_a_file_and_says_how_much_arrived(server, cloud, tmp_path):
    profile = tmp_path / "meter.csv"
    rows = [f"2026-06-01T00:{minute:02}:00Z,{minute * 10},{minute}" for minute in range(60)]
    profile.write_text("\n".join(["at,power,counter", *rows, rows[-1]]))
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    command = [
        sys.executable, "manage.py", "simulate_gateways", "--serial", SERIAL,
        "--secret-file", secret, "--broker", f"mqtt://127.0.0.1:{server.mqtt_port}",
        "--profile", profile, "--map", "power=grid_meter:power_w",
        "--map", "counter=grid_meter:imported_wh:1000", "--batch", "7", "--once",
        "--state", tmp_path / "state",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "GRIDX_DATA_DIR": str(tmp_path / "data")},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0
    report = json.loads(output)
    assert (report["rows"], report["instants"], report["acknowledged"]) == (61, 60, 9)
    assert report["unacknowledged"] == 0
