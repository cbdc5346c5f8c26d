"""How often a recording was read, and since when."""

import numpy as np
import pytest

from measurements.imports.cadence import Cadence

HOUR = 3600
DAY = 24 * HOUR


def instants(*spans: tuple[int, int, int]) -> np.ndarray:
    """Seconds from … until … every …, as milliseconds."""
    return 1000 * np.concatenate([np.arange(*span) for span in spans])


def intervals(at_ms: np.ndarray, *, at_once: int = 10_000) -> list[tuple[float, int]]:
    """From which second on it was read how often."""
    cadence = Cadence(int(at_ms[0]), int(at_ms[0]))
    for begin in range(0, len(at_ms), at_once):
        cadence.note(np.sort(at_ms[begin : begin + at_once]))
    return [(at / 1000, interval_s) for at, interval_s in cadence.intervals()]


@pytest.mark.parametrize(("before_s", "after_s"), [(60, 900), (900, 60), (900, 3600), (10, 60)])
@pytest.mark.parametrize("change", [3 * DAY, 3 * DAY + 2 * HOUR, 3 * DAY + 21 * HOUR])
@pytest.mark.parametrize("at_once", [500, 10_000])
def test_a_change_is_found_where_it_happens(before_s, after_s, change, at_once):
    at_ms = instants((0, change, before_s), (change, 6 * DAY, after_s))
    expected = [(0, before_s), (change, after_s)]
    assert intervals(at_ms, at_once=at_once) == expected


def test_the_order_of_the_parts_does_not_matter():
    at_ms = instants((0, 3 * DAY, 60), (3 * DAY, 6 * DAY, 900))
    assert intervals(at_ms[::-1], at_once=500) == [(0, 60), (3 * DAY, 900)]


def test_each_lasting_change_counts():
    at_ms = instants((0, 3 * DAY, 60), (3 * DAY, 5 * DAY, 900), (5 * DAY, 8 * DAY, 60))
    assert intervals(at_ms) == [(0, 60), (3 * DAY, 900), (5 * DAY, 60)]


def test_gaps_hours_that_were_read_otherwise_and_jitter_change_nothing():
    at_ms = instants(
        (0, DAY, 60),
        (DAY + 13 * HOUR, 2 * DAY, 60),  # half a day is missing
        (2 * DAY, 2 * DAY + 6 * HOUR, 900),
        (2 * DAY + 6 * HOUR, 3 * DAY, 60),
        (3 * DAY, 3 * DAY + HOUR, 1),
        (3 * DAY + HOUR, 5 * DAY, 60),
        (9 * DAY, 10 * DAY, 60),
    )
    assert intervals(at_ms) == [(0, 60)]
    at_ms = instants((0, 5 * DAY, 60))
    at_ms[1:] += np.random.default_rng(3).integers(-5000, 5000, len(at_ms) - 1)
    [(start, interval_s)] = intervals(at_ms)
    assert start == 0
    assert interval_s == pytest.approx(60, abs=2)


def test_little_has_the_usual_distance_and_a_single_instant_has_none():
    assert intervals(instants((0, 600, 300), (1500, 2000, 300))) == [(0, 300)]
    assert intervals(instants((0, 1, 1))) == []
