"""How long a function takes, again and again."""

from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

_REPEATS = 25


def timed(run: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of one run, and how many of them the processor worked on it: the medians."""
    took, worked = [], []
    for _ in range(_REPEATS):
        begun, at_work = perf_counter(), process_time()
        run()
        took.append((perf_counter() - begun) * 1000)
        worked.append((process_time() - at_work) * 1000)
    return {"took": round(median(took), 3), "worked": round(median(worked), 3)}
