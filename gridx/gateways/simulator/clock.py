"""A clock for simulations: the real one, or one that runs faster."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_SLEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class SimulatedClock:
    """`now` gives ms since the epoch; `speed` is how much faster it runs than real time."""

    now: Callable[[], int]
    speed: float = 1.0

    @classmethod
    def real(cls) -> "SimulatedClock":
        return cls(lambda: int(time.time() * 1000))

    @classmethod
    def faster(cls, speed: float) -> "SimulatedClock":
        """Starts at the present and runs `speed` times as fast."""
        start = time.time()
        return cls(lambda: int((start + (time.time() - start) * speed) * 1000), speed)

    async def sleep_until(self, instant_ms: int) -> None:
        """Until the clock shows the instant; also when the system's clock is set meanwhile."""
        while (left_ms := instant_ms - self.now()) > 0:
            await asyncio.sleep(min(left_ms / 1000 / self.speed, LONGEST_SLEEP_S))
