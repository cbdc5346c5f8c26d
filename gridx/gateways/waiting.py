"""Waiting for something to become the case, but not for ever."""

import asyncio
from contextlib import suppress


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event is set, or becomes so within this time.

    Not by `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes together with
    what it waits for.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
