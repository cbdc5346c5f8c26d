"""The simulator's parts, without a broker."""

import asyncio
import gzip
import json
import lzma
import stat
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from gridx.gateways.codec import decode_as, encode
from gridx.gateways.messages import (
    Ack,
    ApplianceSchedule,
    Heartbeat,
    Readings,
    Schedule,
    Segment,
)
from gridx.gateways.plants.presets import SitePlan, build_site
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import (
    GatewayEntry,
    UnusableEntries,
    read_entries,
    write_entries,
)
from gridx.gateways.simulator.outbox import Outbox
from gridx.gateways.simulator.recording import (
    Mapping,
    Recording,
    UnusableRecording,
    columnar,
)
from gridx.gateways.simulator.session import Broker
from gridx.gateways.simulator.site_gateway import Pace, SiteGateway
from gridx.gateways.simulator.store import Store, StoreInUse
from gridx.gateways.topics import Channel

SERIAL = "GBX-0001"
NOON = 1_763_899_200_000
QUARTER = 900_000
HOME = SitePlan(parts=["pv", "battery"], seed=3)


def gateway(store: Store, *, now_ms: int, begins_ms: int, **pace: object) -> SiteGateway:
    site = build_site(HOME)
    site.at_ms = begins_ms
    return SiteGateway(
        GatewayEntry(serial=SERIAL, secret="s", site=HOME, state=site.state),
        broker=Broker("127.0.0.1", 1),
        clock=SimulatedClock(lambda: now_ms),
        store=store,
        pace=Pace(**pace),
    )


def sent(store: Store) -> list[Readings]:
    return [decode_as(Readings, Channel.READINGS, body) for _, body in store.pending(SERIAL)]


def test_a_restart_does_not_make_a_gateway_forget_that_it_heard_of_the_platform(tmp_path: Path):
    store = Store(tmp_path)
    before = gateway(store, now_ms=NOON, begins_ms=NOON)
    before.receive(Channel.HEARTBEAT, encode(Heartbeat(v=1, at=NOON)))
    store.close()
    store = Store(tmp_path)
    assert gateway(store, now_ms=NOON, begins_ms=NOON).keeper.heartbeat_ms == NOON
    store.close()


def test_a_restart_does_not_free_an_appliance_of_a_schedule_newer_than_the_last_reading(
    tmp_path: Path,
):
    store = Store(tmp_path)
    before = gateway(store, now_ms=NOON, begins_ms=NOON - 30_000)
    battery = ApplianceSchedule(
        local_id="battery",
        appliance=UUID(int=1),
        segments=[Segment(start=NOON, end=NOON + 3_600_000, set_point_w=0.0)],
    )
    schedule = Schedule(v=1, revision=1, issued_at=NOON, appliances=[battery])
    before.receive(Channel.SCHEDULE, encode(schedule))
    store.close()
    store = Store(tmp_path)
    after = gateway(
        store, now_ms=NOON + 60_000, begins_ms=NOON - 30_000, sample_ms=60_000, message_ms=60_000
    )
    asyncio.run(after.read(until_ms=NOON + 60_000))
    powers_w = {
        part.appliance: part.power_w for message in sent(store) for part in message.appliances
    }
    store.close()
    assert set(powers_w["battery"]) == {0.0}


class TestStore:
    def test_state_and_messages_come_back(self, tmp_path: Path):
        store = Store(tmp_path)
        store.save(SERIAL, {"seq": 1, "site": {"a": 1}}, new=(1, b"one"))
        store.save(SERIAL, {"seq": 2}, new=(2, b"two"))
        store.forget(SERIAL, 1)
        store.close()
        store = Store(tmp_path)
        assert store.load(SERIAL) == {"seq": 2, "site": {"a": 1}}
        assert store.pending(SERIAL) == [(2, b"two")]
        assert (store.load("GBX-0002"), store.pending("GBX-0002")) == ({}, [])

    def test_two_processes_do_not_share_a_directory(self, tmp_path: Path):
        store = Store(tmp_path)
        store.save(SERIAL, {"seq": 1})
        with pytest.raises(StoreInUse):
            Store(tmp_path)


class TestOutbox:
    @pytest.fixture
    def store(self) -> Store:
        store = Store()
        for seq in range(1, 4):
            store.save(SERIAL, {}, new=(seq, b"%d" % seq))
        return store

    async def test_it_gives_messages_in_order_and_again_after_a_reconnection(self, store):
        outbox = Outbox(SERIAL, store, capacity=10)
        assert [(await outbox.take())[0] for _ in range(3)] == [1, 2, 3]
        await outbox.settle(2)
        outbox.start_over()
        assert [(await outbox.take())[0] for _ in range(2)] == [1, 3]
        assert [seq for seq, _ in store.pending(SERIAL)] == [1, 3]
        assert (outbox.acknowledged, len(outbox)) == (1, 2)

    async def test_it_waits_for_a_message(self, store):
        outbox = Outbox("GBX-0002", store, capacity=10)
        taken = asyncio.create_task(outbox.take())
        await asyncio.sleep(0)
        assert not taken.done()
        await outbox.add(9, b"nine")
        assert await taken == (9, b"nine")

    async def test_when_full_it_gives_up_the_oldest(self, store):
        outbox = Outbox(SERIAL, store, capacity=2)
        store.save(SERIAL, {}, new=(4, b"4"))
        await outbox.add(4, b"4")
        assert [seq for seq, _ in store.pending(SERIAL)] == [3, 4]
        assert outbox.given_up == 2
        assert (await outbox.take())[0] == 3

    async def test_an_acknowledgement_that_comes_twice_counts_once(self, store):
        outbox = Outbox(SERIAL, store, capacity=10)
        await outbox.settle(1)
        await outbox.settle(1)
        assert outbox.acknowledged == 1


class TestEntries:
    def test_what_was_written_is_read_and_is_nobody_elses(self, tmp_path: Path):
        path = tmp_path / "gateways.json"
        entries = [GatewayEntry(serial=SERIAL, secret="s", site=HOME, state={"at_ms": NOON})]
        write_entries(path, entries)
        assert read_entries(path) == entries
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "truncated"),
            ('{"serial": "GBX-1"}', "Expected `array`"),
            ('[{"serial": "GBX-1"}]', "missing required field `secret`"),
            ('[{"serial": "gbx-1", "secret": ""}]', "not a gateway serial"),
            ('[{"serial": "GBX-1", "secret": "", "site": {"parts": ["sail"]}}]', "sail"),
            ('[{"serial": "GBX-1", "secret": "", "sight": {}}]', "sight"),
            (json.dumps([{"serial": "GBX-1", "secret": ""}] * 2), "twice"),
        ],
    )
    def test_a_wrong_file_says_what_is_wrong(self, tmp_path: Path, text: str, complaint: str):
        path = tmp_path / "gateways.json"
        path.write_text(text)
        with pytest.raises(UnusableEntries, match=complaint):
            read_entries(path)

    def test_a_missing_file_says_so(self, tmp_path: Path):
        with pytest.raises(UnusableEntries, match="No such file"):
            read_entries(tmp_path / "nowhere.json")


class TestRecording:
    LINES = (
        "at,day,night,power,soc,plug\n"
        "2026-06-01T00:00:00Z,10,20,-5,87,\n"
        "2026-06-01T02:00:10+02:00,11,20,,88,plugged\n"
        "2026-06-01T00:00:10Z,12,20,7,88,charging\n"
    )
    MAPPINGS = (
        "day=grid:imported_wh:1000",
        "night=grid:imported_wh:1000",
        "power=pv:power_w:-1",
        "soc=battery:soc:0.01",
        "plug=ev:plug_state",
    )

    def recording(self, path: Path) -> Recording:
        return Recording(path, tuple(Mapping.parse(text) for text in self.MAPPINGS))

    @pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz"])
    def test_rows_become_columns(self, tmp_path: Path, suffix: str):
        packed = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.xz": lzma.compress}[suffix]
        path = tmp_path / f"house{suffix}"
        path.write_bytes(packed(self.LINES.encode()))
        recording = self.recording(path)
        rows = list(recording.rows())
        start = 1_780_272_000_000
        assert [row.at for row in rows] == [start, start + 10_000, start + 10_000]
        grid, pv, battery, ev = columnar(rows)
        assert (grid.appliance, grid.imported_wh) == ("grid", [30_000.0, 31_000.0, 32_000.0])
        assert pv.power_w == [5.0, None, -7.0]
        assert battery.soc == [0.87, 0.88, 0.88]
        assert ev.plug_state == [None, "plugged", "charging"]
        assert recording.interval_s() == 10
        assert recording.local_ids == ("grid", "pv", "battery", "ev")

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("power", "is not COLUMN=LOCAL_ID:QUANTITY"),
            ("power=grid", "is not COLUMN=LOCAL_ID:QUANTITY"),
            ("power=grid:horsepower", "no quantity 'horsepower'"),
            ("power=grid:power_w:much", "'much' is no number"),
        ],
    )
    def test_a_wrong_mapping_says_what_is_wrong(self, text: str, complaint: str):
        with pytest.raises(UnusableRecording, match=complaint):
            Mapping.parse(text)

    @pytest.mark.parametrize(
        ("lines", "complaint"),
        [
            ("at,other\n", "no column day, night, plug, power, soc"),
            (LINES + "2026-06-01T00:01:00,1,1,1,1,\n", "line 5: .* has no offset"),
            (LINES + "yesterday,1,1,1,1,\n", "line 5"),
            (LINES + "2026-06-01T00:01:00Z,1,1,many,1,\n", "line 5: .*'many'"),
            (LINES + "2026-06-01T00:01:00Z,1\n", "line 5: no cell for 'night'"),
        ],
    )
    def test_a_wrong_line_is_named(self, tmp_path: Path, lines: str, complaint: str):
        path = tmp_path / "house.csv"
        path.write_text(lines)
        with pytest.raises(UnusableRecording, match=complaint):
            list(self.recording(path).rows())

    def test_a_file_that_is_not_there_or_not_packed_says_so(self, tmp_path: Path):
        with pytest.raises(UnusableRecording, match="No such file"):
            list(self.recording(tmp_path / "nowhere.csv").rows())
        (tmp_path / "house.csv.xz").write_text(self.LINES)
        with pytest.raises(UnusableRecording, match="house"):
            list(self.recording(tmp_path / "house.csv.xz").rows())


class TestSiteGateway:
    async def test_it_reads_on_its_grid_and_sends_each_message_with_the_next_number(self):
        store = Store()
        box = gateway(
            store, now_ms=NOON, begins_ms=NOON - 50_000, sample_ms=5_000, message_ms=10_000
        )
        await box.read(until_ms=NOON)
        messages = sent(store)
        assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
        grid = [at for message in messages for at in message.appliances[0].at]
        assert len(grid) == 10
        assert {later - earlier for earlier, later in pairwise(grid)} == {5_000}
        assert all(len(message.appliances[0].at) == 2 for message in messages[1:-1])

    @pytest.mark.parametrize(("fills_pauses", "rows"), [(True, 96), (False, 0)])
    async def test_after_a_long_pause_counters_went_on_and_are_told_where_asked(
        self, fills_pauses: bool, rows: int
    ):
        store = Store()
        begin = NOON - 86_400_000
        box = gateway(store, now_ms=NOON, begins_ms=begin, fills_pauses=fills_pauses)
        await box.read(until_ms=NOON)
        instants = [at for message in sent(store) for at in message.appliances[0].at]
        assert len([at for at in instants if at % QUARTER == 0]) in (rows, rows - 1)
        assert NOON - box.site.at_ms < 10_000
        assert box.site.state["plants"]["grid"]["imported"] > 0

    async def test_a_step_that_began_before_a_schedule_came_does_not_go_back_behind_it(self):
        box = gateway(Store(), now_ms=NOON, begins_ms=NOON - 10_000)
        posted: list[Ack] = []
        box.session.post = lambda channel, message: posted.append(message)
        segment = Segment(start=NOON, end=NOON + QUARTER, set_point_w=500)
        timeline = ApplianceSchedule(local_id="battery", appliance=UUID(int=1), segments=[segment])
        schedule = Schedule(v=1, revision=1, issued_at=NOON, appliances=[timeline])
        box.receive(Channel.SCHEDULE, encode(schedule))
        await box.read(until_ms=NOON)
        assert [ack.appliances[0].set_point_w for ack in posted] == [500]

    async def test_what_it_keeps_to_changes_at_the_instant_and_not_with_the_next_reading(self):
        store = Store()
        box = gateway(store, now_ms=NOON, begins_ms=NOON - 60_000)
        posted: list[Ack] = []
        box.session.post = lambda channel, message: posted.append(message)
        first, last = NOON - 33_000, NOON - 24_000
        segments = [
            Segment(start=NOON - 60_000, end=first),
            Segment(start=first, end=last, set_point_w=1_000),
            Segment(start=last, end=NOON + QUARTER),
        ]
        timeline = ApplianceSchedule(local_id="battery", appliance=UUID(int=1), segments=segments)
        box.keeper.receive(
            encode(Schedule(v=1, revision=1, issued_at=NOON - 60_000, appliances=[timeline])),
            NOON - 60_000,
        )
        await box.read(until_ms=NOON)
        changes = [(ack.at, ack.appliances[0].set_point_w) for ack in posted]
        assert changes[-2:] == [(first, 1_000), (last, None)]
        seen = [at for message in sent(store) for at in message.appliances[0].at]
        assert {first, last} <= set(seen)

    async def test_what_a_killed_process_left_is_taken_up(self, tmp_path: Path):
        store = Store(tmp_path)
        first = gateway(store, now_ms=NOON, begins_ms=NOON - 30_000)
        await first.read(until_ms=NOON)
        store.close()
        store = Store(tmp_path)
        second = gateway(store, now_ms=NOON + 30_000, begins_ms=0)
        assert second.site.state == first.site.state
        assert len(second.outbox) == len(first.outbox) == 3
        await second.read(until_ms=NOON + 30_000)
        assert [message.seq for message in sent(store)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://box:1884", Broker("box", 1884)),
        ("mqtt://box", Broker("box", 1883)),
        ("mqtts://box", Broker("box", 8883, is_encrypted=True)),
    ],
)
def test_a_broker_is_named_by_its_url(url, broker):
    assert Broker.at(url) == broker


@pytest.mark.parametrize("url", ["", "box:1883", "http://box", "mqtt://"])
def test_what_is_no_broker_is_refused(url):
    with pytest.raises(ValueError, match="not the address"):
        Broker.at(url)


def test_a_faster_clock_starts_now_and_runs_ahead():
    real, fast = SimulatedClock.real(), SimulatedClock.faster(1_000_000)
    assert fast.now() >= real.now()
    assert fast.speed == 1_000_000
