"""A virtual gateway that sends a recorded file in place of models."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gridx.gateways.codec import encode
from gridx.gateways.messages import VERSION, FoundAppliance, Readings
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry
from gridx.gateways.simulator.outbox import Outbox
from gridx.gateways.simulator.recording import Recording, Row, columnar
from gridx.gateways.simulator.session import Broker, Session
from gridx.gateways.simulator.store import Store
from gridx.gateways.topics import Channel


@dataclass(frozen=True, slots=True)
class Replay:
    """How a file is sent: `batch` rows a message, `speed` times as fast as it was recorded
    (None: as fast as it is acknowledged), `kinds` of the appliances by local id.
    """

    recording: Recording
    kinds: dict[str, str]
    interval_s: float
    batch: int = 60
    speed: float | None = None
    in_flight: int = 20


class ReplayGateway:
    """Sends all rows of its file in order, repeated instants too.

    Of two readings of one appliance at one instant the later replaces the earlier at the cloud,
    so a file's repeated line is worth what it is worth there: its last version.
    """

    def __init__(
        self, entry: GatewayEntry, *, broker: Broker, clock: SimulatedClock, store: Store,
        replay: Replay,
    ) -> None:  # fmt: skip
        self.serial = entry.serial
        self.rows = 0
        self._instants: dict[int, set[int]] = {}
        self._store = store
        self._clock = clock
        self._replay = replay
        known = store.load(entry.serial)
        self._seq = int(known.get("seq", 0))
        self.outbox = Outbox(entry.serial, store, capacity=4 * replay.in_flight)
        self.session = Session(
            serial=entry.serial,
            secret=entry.secret,
            broker=broker,
            clock=clock,
            outbox=self.outbox,
            found=[
                FoundAppliance(
                    local_id=local_id,
                    kind=replay.kinds[local_id],
                    interval_s=replay.interval_s,
                    name=local_id,
                )
                for local_id in replay.recording.local_ids
            ],
            receive=self.receive,
            greet=self.greet,
            reset=self.greet,
            remember=lambda memory: store.save(entry.serial, {"session": memory}),
            remembered=known.get("session", {}),
            in_flight=replay.in_flight,
        )

    @property
    def acknowledged_instants(self) -> int:
        """How many distinct instants of the file the broker has acknowledged."""
        done = [instants for seq, instants in self._instants.items() if seq not in self.outbox]
        return len(set().union(*done))

    async def read(self, until_ms: int | None = None) -> None:
        """Send the file, its rows up to `until_ms`, until all of it is acknowledged."""
        started = time.monotonic()
        first_ms: int | None = None
        for rows in self._batches(until_ms):
            first_ms = rows[0].at if first_ms is None else first_ms
            if self._replay.speed:
                due_s = (rows[-1].at - first_ms) / 1000 / self._replay.speed
                await asyncio.sleep(max(started + due_s - time.monotonic(), 0.0))
            # One batch in the making, all others on their way: memory does not grow with the file.
            await self.outbox.wait_until_at_most(2 * self._replay.in_flight - 1)
            await self._send(rows)
        await self.outbox.wait_until_at_most(0)

    async def send_batch(self) -> None:
        """Nothing waits outside of the outbox."""

    def receive(self, channel: Channel, body: bytes) -> None:
        """A recording cannot be steered: schedules and heartbeats change nothing."""

    def greet(self) -> None:
        """A recording has no limits to tell."""

    def _batches(self, until_ms: int | None) -> Iterator[list[Row]]:
        batch: list[Row] = []
        for row in self._replay.recording.rows():
            if until_ms is not None and row.at > until_ms:
                continue
            batch.append(row)
            if len(batch) == self._replay.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _send(self, rows: list[Row]) -> None:
        self._seq += 1
        appliances = [
            columns for columns in columnar(rows) if columns.appliance not in self.session.refused
        ]
        sent_at = self._clock.now()
        body = encode(Readings(v=VERSION, seq=self._seq, sent_at=sent_at, appliances=appliances))
        self._store.save(self.serial, {"seq": self._seq}, new=(self._seq, body))
        self.rows += len(rows)
        self._instants[self._seq] = {row.at for row in rows}
        await self.outbox.add(self._seq, body)
