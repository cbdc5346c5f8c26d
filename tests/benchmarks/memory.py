"""How much memory a process holds over time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from threading import Event, Thread
from time import monotonic

import psutil

_EVERY_S = 0.1


class Memory:
    """Resident megabytes of the largest of a process and its children, again and again."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []

    @property
    def most_mb(self) -> float:
        return round(max(mb for _at, mb in self._seen), 1)

    def thirds_mb(self) -> list[float]:
        """The medians of the first, the second and the last third of the time."""
        first, last = self._seen[0][0], self._seen[-1][0]
        third = (last - first) / 3 or 1.0
        parts: list[list[float]] = [[], [], []]
        for at, mb in self._seen:
            parts[min(int((at - first) / third), 2)].append(mb)
        return [round(median(part), 1) for part in parts if part]

    def look(self, process: psutil.Process) -> None:
        with suppress(psutil.NoSuchProcess):
            family = [process, *process.children(recursive=True)]
            largest = max(one.memory_info().rss for one in family)
            self._seen.append((monotonic(), largest / 2**20))


@contextmanager
def watched(pid: int) -> Iterator[Memory]:
    """What the process holds, as long as it lasts."""
    memory, stop, process = Memory(), Event(), psutil.Process(pid)

    def watch() -> None:
        memory.look(process)
        while not stop.wait(_EVERY_S):
            memory.look(process)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()
