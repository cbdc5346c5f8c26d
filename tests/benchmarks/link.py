"""From MQTT to committed by one link, against what the broker alone hands to a bare consumer.

Fifty gateways send messages of 60 readings as fast as those are acknowledged. The link, the
gateways and the bare consumer are processes of their own; the link and the bare consumer take
turns, now the one first, now the other, and the time runs from the first message sent to the last
one acknowledged to the broker, which the link does after the commit. Then the link's memory: while
readings come at an even rate (`--minutes`, 1 unless said), and with a backlog; and the worker's,
with a backlog of slots to compute. At scale 1 it takes about four minutes.

Beside each round stands how fast the disk syncs: with `always` that is what decides, and it swings
with whatever else the machine does. The link does all that the bare consumer does and more; where
it seems faster, or the rounds of one side differ a lot, the machine was measured (`steady`: false)
and the ratio says nothing.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from gridx import clock
from gridx.services.addresses import Addresses
from measurements.models import DirtySlot, Reading
from measurements.resolutions import to_ms
from tests.benchmarks.broker import (
    SYNCS,
    bare_consumer,
    broker,
    environ_of,
    wait_until_consumed,
)
from tests.benchmarks.fleet import make_fleet
from tests.benchmarks.ground import server_settings, syncs_per_s
from tests.benchmarks.ingest import bare_readings_per_s
from tests.benchmarks.memory import watched
from tests.benchmarks.senders import LOCAL_IDS, MINUTE_MS, Senders, SignIn, senders
from tests.benchmarks.site import BEAT, LINK, WORKER, processes

GATEWAYS = 50
MINUTES_A_MESSAGE = 12
READINGS_A_MESSAGE = MINUTES_A_MESSAGE * len(LOCAL_IDS)
# So many that each takes seconds: of the link, of the bare consumer.
MESSAGES = {"always": (6_000, 6_000), "default": (16_000, 40_000)}
BACKLOG = 40_000
ROUNDS = 3
# The fastest round of a side, as a multiple of its slowest, up to which the machine was steady.
_STEADY = 1.5
_SYNCING_S = 0.5
RATIO_BAR, READINGS_BAR, MEMORY_BAR_MB = 0.5, 40_000, 200
_STEADY_READINGS_PER_S = 15_000
_PORTION_S = 5
_WARMING_UP = 200
_WITHIN_S = 240.0
_WORKING_S = 60.0
# The readings of each setting, so that none of them comes twice.
_BACK = {"always": timedelta(days=80), "default": timedelta(days=70)}


@dataclass(frozen=True)
class Place:
    """A broker with gateways that are signed in, and no link yet."""

    at: Addresses
    environ: dict[str, str]
    gateways: Senders

    def send(self) -> float:
        """Seconds from the first prepared message sent to the last one consumed."""
        self.gateways.begin()
        begun = self.gateways.wait()
        return wait_until_consumed(self.at, within_s=_WITHIN_S) - begun

    def prepare(self, messages: int) -> None:
        self.gateways.prepare(messages, minutes=MINUTES_A_MESSAGE)


def measure(*, scale: float, minutes: float = 1.0) -> dict:
    """Readings a second of both for each setting of the broker, and megabytes."""
    _user, fleet = make_fleet(GATEWAYS)
    database = bare_readings_per_s()
    rates, memory = {}, {}
    for sync, messages in MESSAGES.items():
        with signed_in(sync, fleet) as place:
            counts = [max(GATEWAYS, round(count * scale)) for count in messages]
            rates[sync] = _rates(place, *counts, database)
            rates[sync]["sync_interval"] = SYNCS[sync]
            if sync == "default":
                memory["link_steady"] = _steady(place, minutes)
                memory["link_backlog"] = _backlog(place, max(GATEWAYS, round(BACKLOG * scale)))
    memory["worker_backlog"] = _work()
    return {
        "workload": {"gateways": GATEWAYS, "readings_a_message": READINGS_A_MESSAGE},
        "bars": {
            "ratio": RATIO_BAR,
            "default_readings_per_s": READINGS_BAR,
            "memory_mb": MEMORY_BAR_MB,
        },
        "database_bare_staged_insert_readings_per_s": round(database),
        **rates,
        "memory": memory,
        "load": round(os.getloadavg()[0], 1),
        "settings": server_settings(),
    }


@contextmanager
def signed_in(sync: str, fleet: list[SignIn]) -> Iterator[Place]:
    start_ms = to_ms(clock.now() - _BACK[sync]) // MINUTE_MS * MINUTE_MS
    with broker(sync) as at:
        environ = environ_of(at)
        with ExitStack() as stack:
            # A link lets them in; their connections outlast it.
            with processes({"link": LINK}, environ):
                gateways = stack.enter_context(
                    senders(mqtt_url=at.mqtt_url, sign_ins=fleet, start_ms=start_ms)
                )
            yield Place(at, environ, gateways)


def _rates(place: Place, linked: int, bare: int, database: float) -> dict:
    """Readings a second, the medians of rounds in turns; so many messages for each."""
    rounds = []
    for number in range(ROUNDS):
        sides = {"link": lambda: through_link(place, linked), "bare": lambda: _bare(place, bare)}
        found = {"syncs_per_s": syncs_per_s(_SYNCING_S), "load": round(os.getloadavg()[0], 1)}
        for side in sorted(sides, reverse=number % 2 == 1):
            found[side] = round(sides[side]())
        rounds.append(found)
    of_link, of_bare = ([found[side] for found in rounds] for side in ("link", "bare"))
    ratio = median(found["link"] / found["bare"] for found in rounds)
    return {
        "messages": {"link": linked, "bare": bare},
        "readings_per_s": round(median(of_link)),
        "bare_consumer_readings_per_s": round(median(of_bare)),
        "ratio": round(ratio, 3),
        # No link is faster than the database that it stores into.
        "database_to_bare_consumer": round(database / median(of_bare), 3),
        "steady": ratio <= 1 and all(max(s) <= _STEADY * min(s) for s in (of_link, of_bare)),
        "rounds": rounds,
    }


def _bare(place: Place, messages: int) -> float:
    place.prepare(messages)
    with bare_consumer(place.at):
        return messages * READINGS_A_MESSAGE / place.send()


def through_link(place: Place, messages: int) -> float:
    with processes({"link": LINK}, place.environ):
        place.prepare(_WARMING_UP)
        place.send()
        before = Reading.objects.count()
        place.prepare(messages)
        took_s = place.send()
    stored = Reading.objects.count() - before
    if stored != messages * READINGS_A_MESSAGE:
        raise RuntimeError(f"{stored} readings were stored of {messages} messages")
    return stored / took_s


def _steady(place: Place, minutes: float) -> dict:
    a_second = _STEADY_READINGS_PER_S / READINGS_A_MESSAGE
    portion = round(a_second * _PORTION_S)
    with processes({"link": LINK}, place.environ) as running:
        place.prepare(_WARMING_UP)
        place.send()
        until = time.monotonic() + 60 * minutes
        with watched(running.pids()["link"]) as memory:
            while time.monotonic() < until:
                place.prepare(portion)
                place.gateways.begin(a_second=a_second)
                place.gateways.wait()
        wait_until_consumed(place.at, within_s=_WITHIN_S)
    return {
        "minutes": minutes,
        "readings_per_s": _STEADY_READINGS_PER_S,
        "thirds_mb": memory.thirds_mb(),
        "most_mb": memory.most_mb,
    }


def _backlog(place: Place, messages: int) -> dict:
    """While what came when there was no link is caught up with."""
    place.prepare(messages)
    place.gateways.begin()
    place.gateways.wait()
    begun = time.monotonic()
    with (
        processes({"link": LINK}, place.environ) as running,
        watched(running.pids()["link"]) as memory,
    ):
        ended = wait_until_consumed(place.at, within_s=_WITHIN_S)
    return {
        "readings": messages * READINGS_A_MESSAGE,
        "took_s_with_its_start": round(ended - begun, 1),
        "most_mb": memory.most_mb,
    }


def _work() -> dict:
    """The larger one of the worker's processes, while it computes what all of that made dirty."""
    dirty = DirtySlot.objects.count()
    until = time.monotonic() + _WORKING_S
    with (
        processes({"worker": WORKER, "beat": BEAT}) as running,
        watched(running.pids()["worker"]) as memory,
    ):
        while time.monotonic() < until and DirtySlot.objects.exists():
            time.sleep(0.5)
    return {
        "dirty_slots": dirty,
        "left_of_them": DirtySlot.objects.count(),
        "most_mb": memory.most_mb,
    }
