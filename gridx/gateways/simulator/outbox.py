"""Readings on their way: kept until the broker acknowledged them, sent again until it did."""

import asyncio
from collections import deque

from gridx.gateways.simulator.store import Store


class Outbox:
    """One gateway's messages in order, at most `capacity`; beyond, the oldest are given up.

    Their sequence numbers are then missing at the cloud, which shows the hole.
    """

    def __init__(self, serial: str, store: Store, *, capacity: int) -> None:
        self.serial = serial
        self.capacity = capacity
        self.acknowledged = 0
        self.given_up = 0
        self._store = store
        self._bodies: dict[int, bytes] = dict(store.pending(serial))
        self._unsent: deque[int] = deque(self._bodies)
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._bodies)

    def __contains__(self, seq: int) -> bool:
        return seq in self._bodies

    async def add(self, seq: int, body: bytes) -> None:
        """Put a message in, which the store holds already."""
        self._bodies[seq] = body
        self._unsent.append(seq)
        while len(self._bodies) > self.capacity:
            oldest = next(iter(self._bodies))
            del self._bodies[oldest]
            self._store.forget(self.serial, oldest)
            self.given_up += 1
        await self._notify()

    async def take(self) -> tuple[int, bytes]:
        """The next message to send; waits for one."""
        async with self._changed:
            while True:
                while self._unsent:
                    seq = self._unsent.popleft()
                    if seq in self._bodies:
                        return seq, self._bodies[seq]
                await self._changed.wait()

    async def settle(self, seq: int) -> None:
        """The message was acknowledged."""
        if self._bodies.pop(seq, None) is not None:
            self._store.forget(self.serial, seq)
            self.acknowledged += 1
        await self._notify()

    def start_over(self) -> None:
        """A new connection: all that was not acknowledged is to be sent again, in order."""
        self._unsent = deque(self._bodies)

    async def wait_until_at_most(self, count: int) -> None:
        """Until no more than so many messages wait for their acknowledgement."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._bodies) <= count)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
