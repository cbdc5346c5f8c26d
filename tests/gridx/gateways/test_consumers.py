"""Pulling from the log takes no more at a time than fits in little memory."""

import json
from collections import deque
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.msg import Msg

from gridx.gateways.consumers import ORDERED, READINGS, Portion, Pull, UnableToPull
from gridx.gateways.topics import MQTT_STREAM

PORTION = Portion(messages=50, bytes=10_000, values=500)


class Log:
    """In place of the broker's client: hands out what is asked for as long as it lasts."""

    def __init__(self, bodies: list[bytes], *, lost: int | None = None) -> None:
        """The delivery with the number `lost` never arrives."""
        self.waiting = deque(bodies)
        self._lost, self._delivered = lost, 0
        self._deliver: Callable[[Msg], Awaitable[None]] | None = None

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, inbox: str, cb: Callable[[Msg], Awaitable[None]]) -> "Log":
        self._deliver = cb
        return self

    async def unsubscribe(self) -> None:
        self._deliver = None

    async def publish(self, subject: str, payload: bytes, inbox: str) -> None:
        request = json.loads(payload)
        messages, size = request["batch"], request["max_bytes"]
        while self.waiting and messages and len(self.waiting[0]) <= size:
            body = self.waiting.popleft()
            messages, size = messages - 1, size - len(body)
            self._delivered += 1
            if self._delivered != self._lost:
                place = f"{100 + self._delivered}.{self._delivered}"
                reply = f"$JS.ACK.{MQTT_STREAM}.a-consumer.1.{place}.1795898526394484626.0"
                await self._deliver(Msg(self, data=body, reply=reply))
        if self.waiting and messages:
            headers = {"Status": "409", "Description": "Message Size Exceeds MaxBytes"}
            await self._deliver(Msg(self, headers=headers))


async def batches_of(bodies: list[bytes]) -> list[list[bytes]]:
    """All of them, as they are handled; what waits meanwhile is bounded."""
    log, found = Log(bodies), []
    async with Pull(log, READINGS, PORTION) as pull:
        while sum(map(len, found)) < len(bodies):
            batch = await pull.next_batch()
            found.append([message.data for message in batch])
            waiting = [message.data for message in pull._arrived]
            assert sum(map(len, waiting)) <= 1.5 * PORTION.bytes
            assert len(waiting) < 2 * PORTION.messages
    assert [body for batch in found for body in batch] == bodies
    return found


def readings(count: int) -> bytes:
    parts = [{"appliance": "grid", "at": list(range(count)), "power_w": [1] * count}]
    return json.dumps({"v": 1, "seq": 1, "appliances": parts}, separators=(",", ":")).encode()


@pytest.mark.parametrize("count", [1, 20, 100, 240])
async def test_a_batch_holds_no_more_values_than_a_portion(count):
    for batch in await batches_of([readings(count)] * 200):
        values = sum(2 * count for _body in batch)
        assert values <= PORTION.values
        assert len(batch) <= PORTION.messages


async def test_a_message_of_more_values_than_a_portion_comes_alone():
    heavy = readings(600)
    found = await batches_of([readings(5), heavy, readings(5), heavy, heavy])
    assert [len(batch) for batch in found if heavy in batch] == [1, 1, 1]


async def test_nothing_is_handed_out_behind_what_got_lost():
    bodies = [str(number).encode() for number in range(1, 201)]
    log, found = Log(bodies, lost=120), []
    async with Pull(log, ORDERED, PORTION, first=1) as pull:

        async def take_all() -> None:
            while True:
                found.extend(message.data for message in await pull.next_batch())

        with pytest.raises(UnableToPull, match="delivery 121 came in place of 120"):
            await take_all()
        with pytest.raises(UnableToPull):
            await pull.next_batch()
    # So it can neither be handled nor acknowledged.
    assert found == bodies[: len(found)]
    assert 0 < len(found) < 120


async def test_a_first_delivery_that_is_not_the_next_one_is_not_handed_out():
    async with Pull(Log([b"a", b"b"]), ORDERED, PORTION, first=2) as pull:
        assert await pull.next_batch() == []
        with pytest.raises(UnableToPull, match="delivery 1 came in place of 2"):
            await pull.next_batch()


async def test_what_is_shared_may_have_holes():
    bodies = [str(number).encode() for number in range(1, 11)]
    async with Pull(Log(bodies, lost=3), READINGS, PORTION) as pull:
        found = [message.data for message in await pull.next_batch()]
    assert found == bodies[:2] + bodies[3:]
