"""A virtual gateway whose appliances are models."""

import zlib
from dataclasses import dataclass

from gridx.gateways.codec import decode_as, encode
from gridx.gateways.messages import (
    VERSION,
    Ack,
    Applied,
    Constraints,
    FailSafe,
    Heartbeat,
    Readings,
)
from gridx.gateways.plants.presets import build_site
from gridx.gateways.plants.site import QUARTER_MS
from gridx.gateways.plants.span import Columns, Limits, Span
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry
from gridx.gateways.simulator.keeper import Keeper, Verdict
from gridx.gateways.simulator.outbox import Outbox
from gridx.gateways.simulator.session import Broker, Session
from gridx.gateways.simulator.store import Store
from gridx.gateways.topics import Channel

UNKNOWN_APPLIANCE = "unknown_appliance"
QUARTERS_A_MESSAGE = 96
# What a gateway limits its consumers to where it can read no schedule, as installers set it.
INSTALLED_MAX_W = 4_200
FAILS_SAFE = {"ev_charging_station", "heat_pump", "heater", "battery"}
LONG_LAG_MS = 60_000  # behind by more than this, the process stood still


@dataclass(frozen=True, slots=True)
class Pace:
    """How often appliances are read and messages sent.

    `fills_pauses`: after a pause of the process the quarter hours since are sent too, as by a
    gateway whose appliances log; otherwise the counters went on, unseen.
    """

    sample_ms: int = 10_000
    message_ms: int = 10_000
    fills_pauses: bool = False
    capacity: int = 10_000
    in_flight: int = 10


class SiteGateway:
    """Reads its site in time, keeps to the schedule, sends what it read."""

    def __init__(
        self,
        entry: GatewayEntry,
        *,
        broker: Broker,
        clock: SimulatedClock,
        store: Store,
        pace: Pace,
    ) -> None:
        self.serial = entry.serial
        self.site = build_site(entry.site)
        self.keeper = Keeper(
            {
                plant.local_id: FailSafe(max_w=INSTALLED_MAX_W, can_pause=limits.can_pause)
                for plant in self.site.plants
                if plant.kind in FAILS_SAFE and (limits := plant.driver_limits()) is not None
            }
        )
        self._clock = clock
        self._store = store
        self._pace = pace
        self._batch: list[dict[str, Columns]] = []
        self._phase_ms = zlib.crc32(entry.serial.encode()) % pace.sample_ms // 1000 * 1000
        known = store.load(entry.serial)
        self._seq = int(known.get("seq", 0))
        if "keeper" in known:
            self.keeper.restore(known["keeper"])
        if state := known.get("site", entry.state):
            self.site.restore(state)
        self._applied: tuple[Applied, ...] = ()
        # What was read last may be older than the schedule that was remembered (`_limits`).
        self._limits_ms = self.keeper.received_ms
        self.outbox = Outbox(entry.serial, store, capacity=pace.capacity)
        self.session = Session(
            serial=entry.serial,
            secret=entry.secret,
            broker=broker,
            clock=clock,
            outbox=self.outbox,
            found=[
                plant.found(
                    interval_s=pace.sample_ms / 1000,
                    serial_number=f"{entry.serial}-{plant.local_id}".upper(),
                )
                for plant in self.site.plants
            ],
            receive=self.receive,
            greet=self.greet,
            reset=self.reset,
            remember=lambda memory: store.save(entry.serial, {"session": memory}),
            remembered=known.get("session", {}),
            in_flight=pace.in_flight,
        )

    async def read(self, until_ms: int | None = None) -> None:
        """Read the appliances in time until the clock shows `until_ms`, or for ever."""
        if self.site.at_ms is None:
            self.site.at_ms = self._grid_before(self._clock.now())
        while True:
            next_ms = self._grid_before(self.site.at_ms) + self._pace.sample_ms
            if until_ms is not None and next_ms > until_ms:
                await self.send_batch()
                return
            # What it keeps to changes between two readings, too.
            change_ms = self.keeper.next_change_ms(self.site.at_ms)
            if change_ms is not None and change_ms < next_ms:
                await self._clock.sleep_until(change_ms)
                self._run_to(change_ms)
                continue
            await self._clock.sleep_until(next_ms)
            lag_ms = (self._clock.now() - next_ms) / self._clock.speed
            if lag_ms > max(LONG_LAG_MS, 6 * self._pace.sample_ms):
                await self._make_up(until_ms)
                continue
            self._run_to(next_ms)
            if (next_ms - self._phase_ms) % self._pace.message_ms == 0:
                await self.send_batch()

    async def send_batch(self) -> None:
        """Put what was read since the last message into the outbox."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._seq += 1
        appliances = [
            Columns.joined([row[local_id] for row in batch]).readings(local_id)
            for local_id in batch[0]
            if local_id not in self.session.refused
        ]
        sent_at = self._clock.now()
        body = encode(Readings(v=VERSION, seq=self._seq, sent_at=sent_at, appliances=appliances))
        self._store.save(
            self.serial,
            {"site": self.site.state, "seq": self._seq},
            new=(self._seq, body),
        )
        await self.outbox.add(self._seq, body)

    def receive(self, channel: Channel, body: bytes) -> None:
        """A schedule or a heartbeat came; raises MessageRefused for a broken heartbeat."""
        now = self._clock.now()
        if channel is Channel.HEARTBEAT:
            self.keeper.hear(decode_as(Heartbeat, channel, body).at, now)
            self._save_keeper()
            return
        if self._is_up_to_date(now):
            self._run_to(now)
        verdict = self.keeper.receive(body, now)
        self._save_keeper()
        if verdict is not Verdict.OUTDATED:
            self._limits(now, announces_anyway=True)

    def greet(self) -> None:
        """Say what holds now: the appliances' limits, and what is applied of the schedule."""
        now = self._clock.now()
        self.keeper.expect(self.session.newest_schedule, now)
        self._save_keeper()
        limits = [
            found
            for plant in self.site.plants
            if plant.local_id not in self.session.refused
            and (found := plant.driver_limits()) is not None
        ]
        self.session.post(Channel.CONSTRAINTS, Constraints(v=VERSION, at=now, limits=limits))
        if self.keeper.schedule is not None or self.keeper.is_broken:
            self._limits(now, announces_anyway=True)

    def reset(self) -> None:
        """Forget the schedule."""
        self.keeper.forget()
        self._save_keeper()

    def _save_keeper(self) -> None:
        self._store.save(self.serial, {"keeper": self.keeper.state})

    def _is_up_to_date(self, now_ms: int) -> bool:
        """Whether the site is no more than a reading behind."""
        at_ms = self.site.at_ms
        return at_ms is not None and now_ms - at_ms <= self._pace.sample_ms

    def _run_to(self, end_ms: int) -> None:
        """Bring the site to an instant, by what it has kept to so far."""
        if self.site.at_ms is not None and end_ms > self.site.at_ms:
            self._run(Span(self.site.at_ms, end_ms - self.site.at_ms, 1))

    def _run(self, span: Span, *, is_seen: bool = True) -> None:
        run = self.site.run(span, self._limits(span.start_ms))
        if is_seen:
            self._batch.append(run.columns)

    async def _make_up(self, until_ms: int | None) -> None:
        """The process stood still: bring the site to now, in quarter hours."""
        now = self._clock.now() if until_ms is None else min(self._clock.now(), until_ms)
        end_ms = self._grid_before(now)
        if self.site.at_ms is None:
            raise RuntimeError("a site must have begun before it can be behind")
        while self.site.at_ms < end_ms:
            quarter_ms = (self.site.at_ms // QUARTER_MS + 1) * QUARTER_MS
            step_ms = min(quarter_ms, end_ms) - self.site.at_ms
            self._run(Span(self.site.at_ms, step_ms, 1), is_seen=self._pace.fills_pauses)
            if len(self._batch) >= QUARTERS_A_MESSAGE:
                await self.send_batch()

    def _grid_before(self, instant_ms: int) -> int:
        """The last instant at or before, of those at which this gateway reads."""
        sample_ms = self._pace.sample_ms
        return (instant_ms - self._phase_ms) // sample_ms * sample_ms + self._phase_ms

    def _limits(self, now_ms: int, *, announces_anyway: bool = False) -> dict[str, Limits]:
        """What each appliance keeps to now; says so to the cloud when it changed.

        A step begins before the schedule that came during it: it never goes back behind that.
        """
        now_ms = self._limits_ms = max(now_ms, self._limits_ms)
        began = len(self.keeper.fail_safe_since)
        plants = {plant.local_id: plant for plant in self.site.plants}
        limits: dict[str, Limits] = {}
        applied: list[Applied] = []
        for local_id, asked in self.keeper.asked(now_ms).items():
            if local_id not in plants:
                applied.append(Applied(appliance=local_id, refused=UNKNOWN_APPLIANCE))
                continue
            limits[local_id], refusal = plants[local_id].admit(asked.limits)
            applied.append(
                Applied(
                    appliance=local_id,
                    min_w=limits[local_id].min_w,
                    max_w=limits[local_id].max_w,
                    set_point_w=limits[local_id].set_point_w,
                    fail_safe=asked.is_fail_safe,
                    refused=refusal,
                )
            )
        if len(self.keeper.fail_safe_since) != began:
            self._save_keeper()
        if announces_anyway or tuple(applied) != self._applied:
            self._announce(now_ms, applied)
        self._applied = tuple(applied)
        return limits

    def _announce(self, now_ms: int, applied: list[Applied]) -> None:
        self.session.post(
            Channel.ACK,
            Ack(
                v=VERSION,
                revision=self.keeper.revision,
                at=now_ms,
                appliances=applied,
                refused=self.keeper.refusal,
            ),
        )
