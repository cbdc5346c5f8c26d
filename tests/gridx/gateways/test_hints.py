import time
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from gridx.gateways import hints
from gridx.gateways.hints import Hints
from tests.gridx.services.conftest import wait_until


@pytest.fixture
def running(monkeypatch) -> Iterator[Callable[[Callable[[], bool]], Hints]]:
    """Starts one that gathers for 20 ms and pauses for 80, and hints by what it is given."""
    monkeypatch.setattr(hints, "GATHERING_S", 0.02)
    monkeypatch.setattr(hints, "PAUSE_S", 0.08)
    started: list[Hints] = []

    def start(hint: Callable[[], bool]) -> Hints:
        monkeypatch.setattr(hints, "_hint", hint)
        started.append(Hints())
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()
        one.join(5)
        assert not one.is_alive()


def test_hints_are_few_and_the_last_one_follows_whatever_was_asked(running):
    hinted: list[float] = []
    asking = running(lambda: hinted.append(time.monotonic()) or True)
    begun = time.monotonic()
    while (asked := time.monotonic()) < begun + 0.5:
        asking.ask()
    wait_until(lambda: hinted and hinted[-1] > asked)
    assert 2 <= len(hinted) <= 7
    time.sleep(0.3)
    assert hinted[-1] < time.monotonic() - 0.1  # and then no more


def test_who_asks_does_not_wait_for_a_broker_that_hangs(running):
    begun, hangs = Event(), Event()

    def hang() -> bool:
        begun.set()
        return hangs.wait(20)

    asking = running(hang)
    asking.ask()
    assert begun.wait(5)
    before = time.monotonic()
    asking.ask()
    assert time.monotonic() - before < 1
    hangs.set()


def test_a_broker_that_is_away_is_left_alone_for_a_while(monkeypatch):
    def refuse(**options):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(hints.compute_slots, "apply_async", refuse)
    assert not hints._hint()
