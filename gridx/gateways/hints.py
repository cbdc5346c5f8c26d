"""Has workers compute at once what has just been stored of slots that are over.

What is dirty is in the database, and the workers' clock has it computed every two seconds. That is
soon enough for slots that still run; whoever sends late waits for totals.
"""

import logging
from threading import Event, Thread

from measurements.tasks import compute_slots

logger = logging.getLogger(__name__)

# What arrives together is stored within that, and then computed together.
GATHERING_S = 0.1
PAUSE_S = 0.4
_PAUSE_AFTER_FAILURE_S = 5.0
_EXPIRES_S = 2.0


class Hints(Thread):
    """Asks for the task at most about twice a second, however often it is told of something.

    A thread of its own, which ends with the process at the latest: the workers' broker may refuse
    or hang, and the link goes on. A hint that gets lost costs a turn of the clock, no more.
    """

    def __init__(self) -> None:
        super().__init__(name="hints", daemon=True)
        self._asked, self._stopping = Event(), Event()

    def ask(self) -> None:
        """Have slots computed soon; returns at once."""
        self._asked.set()

    def stop(self) -> None:
        self._stopping.set()
        self._asked.set()

    def run(self) -> None:
        while self._asked.wait() and not self._stopping.wait(GATHERING_S):
            self._asked.clear()
            if self._stopping.wait(PAUSE_S if _hint() else _PAUSE_AFTER_FAILURE_S):
                return


def _hint() -> bool:
    """Tell the workers; whether that went well."""
    try:
        compute_slots.apply_async(retry=False, expires=_EXPIRES_S)
    except Exception as error:
        # Whatever it is, the next hint may get through; without this thread none would.
        logger.warning("No worker could be told: %s", error)
        return False
    return True
