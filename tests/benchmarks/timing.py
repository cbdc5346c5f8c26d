"""How long a function takes, again and again."""

from collections.abc import Callable, Sequence
from statistics import median, quantiles
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


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 95th; neither lies beyond what was measured."""
    return median(times), quantiles(times, n=20, method="inclusive")[-1]
