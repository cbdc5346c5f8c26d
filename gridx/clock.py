"""The current time, for every process alike.

`GRIDX_CLOCK="2026-06-01T12:00:00Z*60@1764000000"` starts it at an instant and runs it 60 times as
fast, counted from the given real instant (seconds since the epoch), so that all processes agree.
This module imports nothing of the project: it is the one that lower apps may take from above.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that showed `start` at the real instant `epoch_s` and runs `speed` times as fast."""

    start: datetime
    speed: float
    epoch_s: float

    def now(self) -> datetime:
        return self.start + timedelta(seconds=(time.time() - self.epoch_s) * self.speed)


def parse(text: str) -> Clock:
    """The clock that `GRIDX_CLOCK` describes. Raises ValueError where it cannot be read."""
    rest, _, epoch = text.partition("@")
    instant, _, speed = rest.partition("*")
    start = datetime.fromisoformat(instant)
    if start.tzinfo is None:
        raise ValueError("GRIDX_CLOCK needs an instant with its offset, such as 2026-06-01T12:00Z")
    if not epoch:
        raise ValueError("GRIDX_CLOCK needs the real instant that it starts from, after an @")
    return Clock(start.astimezone(UTC), float(speed or 1), float(epoch))


_clock = parse(os.environ["GRIDX_CLOCK"]) if os.environ.get("GRIDX_CLOCK") else None


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return _clock.now() if _clock else datetime.now(UTC)


def seconds_until(instant: datetime) -> float:
    """How many real seconds it takes until this clock shows the instant; 0 where it has."""
    left_s = (instant - now()).total_seconds()
    return max(0.0, left_s / (_clock.speed if _clock else 1))
