"""What a reading costs with 10, 100 and 1,000 systems of 5 appliances, read once a minute.

For each size the same stretch of time is stored, computed and asked for, so that the tables grow
with the systems; with few systems that is soon done, so it is done several times and the median
counts. Batches have one shape at every size (ten systems, 100 minutes), because an appliance's
latest reading is written once a batch; beside that, minutes are stored as they come: one reading
of each appliance, where small sites pay for a transaction with few readings.

The sizes follow one another, and the machine changes meanwhile; so each cost stands also as a
multiple of something bare that was measured beside it, and those multiples are compared: `growth`
is the largest size's to the smallest's. Where runs of one size lie further apart than the bar
(`steady`: false), the growth says nothing. At scale 1 it takes more than ten minutes (`--parts`
picks some); what is found meanwhile goes to the standard error.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median
from time import perf_counter

import numpy as np
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from accounts.models import User
from gridx import clock
from inventory.models import Appliance, System
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import Reading
from measurements.resolutions import SLOT_MS, from_ms, to_ms
from measurements.slots import compute_until_clean
from tests.benchmarks import historical, live
from tests.benchmarks.broker import SYNCS
from tests.benchmarks.fleet import make_fleet
from tests.benchmarks.ground import server_settings, syncs_per_s
from tests.benchmarks.ingest import bare_readings_per_s
from tests.benchmarks.link import signed_in, through_link
from tests.benchmarks.senders import LOCAL_IDS, MINUTE_MS, SignIn

STORED = ("ingest", "slots", "historical", "ingest_as_it_comes")
PARTS = (*STORED, "link", "live")
SIZES = (10, 100, 1_000)
GROWTH_BAR = 1.2
MINUTES = 600
SYSTEMS_A_BATCH, MINUTES_A_BATCH = 10, 100
_MESSAGES = 8_000
_ANSWERS = 150
_ASKED = timedelta(hours=1)
_VALUES = 25
_COMING = 30
_LINK_ROUNDS, _LIVE_ROUNDS = 3, 2
_REPEATS = {10: 5, 100: 3, 1_000: 3}
_BARE_BATCHES = 8
_SYNC = "default"


def measure(*, scale: float, parts: Sequence[str] = PARTS) -> dict:
    """Microseconds a reading, milliseconds an answer and a value, for each size."""
    if {"slots", "historical"} & set(parts) and "ingest" not in parts:
        raise ValueError("slots and historical need what ingest stores")
    minutes = max(1, round(MINUTES * scale / MINUTES_A_BATCH)) * MINUTES_A_BATCH
    found = {size: _measure(size, minutes, scale, parts) for size in SIZES}
    return {
        "workload": {
            "appliances_each": len(LOCAL_IDS),
            "minutes_stored": minutes,
        },
        "growth_bar": GROWTH_BAR,
        "sync_interval": {"link": SYNCS[_SYNC], "live": SYNCS[live.SYNC]},
        **{part: _side_by_side({size: found[size][part] for size in SIZES}) for part in parts},
        "machine": {f"{size}_systems": found[size]["machine"] for size in SIZES},
        "settings": server_settings(),
    }


def _side_by_side(figures: dict[int, dict]) -> dict:
    first, *_between, last = map(_compared, figures.values())
    sizes = {f"{size}_systems": figure for size, figure in figures.items()}
    spread = max(figure["spread"] for figure in figures.values())
    return {**sizes, "growth": round(last / first, 2), "steady": spread <= GROWTH_BAR}


def _compared(figures: dict[str, float]) -> float:
    return figures.get("to_bare") or figures["p50_ms"]


def _measure(size: int, minutes: int, scale: float, parts: Sequence[str]) -> dict:
    runs = []
    for _repeat in range(_REPEATS[size]):
        fleet = _begin_anew(size, minutes)
        runs.append(
            _measure_stored(size, minutes, scale, [part for part in parts if part in STORED])
        )
    found = {part: _middle([run[part] for run in runs]) for part in runs[0]}
    if "link" in parts:
        found["link"] = _link(fleet[1], max(1_000, round(_MESSAGES * scale)))
        _say(size, "link", found["link"])
    if "live" in parts:
        values = max(12, round(_VALUES * scale))
        runs = [
            live.latencies(*fleet, values=values, every_s=60.0) for _repeat in range(_LIVE_ROUNDS)
        ]
        found["live"] = _middle(runs)
        _say(size, "live", found["live"])
    found["machine"] = {"load": round(os.getloadavg()[0], 1), "syncs_per_s": syncs_per_s(0.5)}
    return found


def _middle(runs: list[dict]) -> dict:
    """The median run, with how far the runs lie apart: the most as a multiple of the least."""
    least, *_between, most = (ordered := sorted(runs, key=_compared))
    return {**ordered[len(runs) // 2], "spread": round(_compared(most) / _compared(least), 2)}


def _say(size: int, part: str, figures: dict) -> None:
    print(f"{size} systems, {part}: {figures}", file=sys.stderr, flush=True)


def _begin_anew(size: int, minutes: int) -> tuple[User, list[SignIn]]:
    """The fleet, alone in the database; each statement has run once, and the weeks are there."""
    call_command("flush", interactive=False, verbosity=0)
    fleet, now = make_fleet(size), clock.now()
    earlier_ms = _start_ms(now, minutes) - 2 * MINUTES_A_BATCH * MINUTE_MS
    store_readings(batch=next(_same_shape(earlier_ms, MINUTES_A_BATCH)), now=now)
    compute_until_clean(now=now)
    return fleet


def _start_ms(now: datetime, minutes: int) -> int:
    return (to_ms(now) - minutes * MINUTE_MS) // SLOT_MS * SLOT_MS


def _measure_stored(size: int, minutes: int, scale: float, parts: Sequence[str]) -> dict:
    now = clock.now()
    start_ms = _start_ms(now, minutes)
    come = _as_it_comes(start_ms - _COMING * MINUTE_MS, _COMING)
    answers = max(40, round(_ANSWERS * scale))
    measures = {
        "ingest": lambda: _ingest(_same_shape(start_ms, minutes), now),
        "slots": lambda: _slots(now),
        "historical": lambda: _historical(User.objects.get(), start_ms, answers),
        "ingest_as_it_comes": lambda: _ingest(come, now),
    }
    found = {}
    for part in parts:
        found[part] = measures[part]()
        _say(size, part, found[part])
    return found


def _same_shape(start_ms: int, minutes: int) -> Iterator[Batch]:
    keys = _keys()
    a_batch = SYSTEMS_A_BATCH * len(LOCAL_IDS)
    for minute in range(0, minutes, MINUTES_A_BATCH):
        for first in range(0, len(keys), a_batch):
            ats = start_ms + (minute + np.arange(MINUTES_A_BATCH)) * MINUTE_MS
            yield _batch(keys[first : first + a_batch], ats)


def _as_it_comes(start_ms: int, minutes: int) -> Iterator[Batch]:
    keys = _keys()
    for minute in range(minutes):
        yield _batch(keys, np.array([start_ms + minute * MINUTE_MS]))


def _keys() -> np.ndarray:
    """(system key, appliance key) of all, in their order."""
    return np.array(Appliance.objects.order_by("key").values_list("system__key", "key"))


def _batch(keys: np.ndarray, ats: np.ndarray) -> Batch:
    at_ms = np.tile(ats, len(keys))
    counts = at_ms // MINUTE_MS % 1_000_000
    return Batch.of(
        system_key=np.repeat(keys[:, 0], len(ats)),
        appliance_key=np.repeat(keys[:, 1], len(ats)),
        at_ms=at_ms,
        power_w=counts * 37 % 4000 - 2000.5,
        imported_wh=1e6 + counts * 12.5,
        exported_wh=5e5 + counts * 7.25,
        soc=counts % 800 / 1000 + 0.1,
    )


def _ingest(given: Iterator[Batch], now: datetime) -> dict:
    batches = list(given)
    readings = sum(map(len, batches))

    def run() -> None:
        for batch in batches:
            if (stored := store_readings(batch=batch, now=now).stored) != len(batch):
                raise RuntimeError(f"{stored} readings were stored of {len(batch)}")

    return _beside_bare(run, readings)


def _slots(now: datetime) -> dict:
    readings = Reading.objects.count() - SYSTEMS_A_BATCH * len(LOCAL_IDS) * MINUTES_A_BATCH
    return _beside_bare(lambda: compute_until_clean(now=now), readings)


def _link(fleet: list[SignIn], messages: int) -> dict:
    with signed_in(_SYNC, fleet) as place:
        bare_before = bare_readings_per_s(_BARE_BATCHES)
        rates = [through_link(place, messages) for _round in range(_LINK_ROUNDS)]
        bare = (bare_before + bare_readings_per_s(_BARE_BATCHES)) / 2
        return _middle([_cost(1 / rate, bare) for rate in rates])


def _beside_bare(run: Callable[[], object], readings: int) -> dict:
    bare_before = bare_readings_per_s(_BARE_BATCHES)
    begun = perf_counter()
    run()
    took_s = perf_counter() - begun
    return _cost(took_s / readings, (bare_before + bare_readings_per_s(_BARE_BATCHES)) / 2)


def _cost(seconds_a_reading: float, bare_a_second: float) -> dict:
    return {
        "us_a_reading": round(seconds_a_reading * 1e6, 2),
        "bare_us_a_reading": round(1e6 / bare_a_second, 2),
        "to_bare": round(seconds_a_reading * bare_a_second, 2),
    }


def _historical(user: User, start_ms: int, answers: int) -> dict:
    """Milliseconds of an answer of an hour of one system by 15 minutes, and of a trivial view."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    historical.make_reader(user.account)
    systems = list(System.objects.values_list("pk", flat=True))
    chance = random.Random(1)
    from_at, until_at = from_ms(start_ms), from_ms(start_ms) + _ASKED
    interval = f"{historical.stamp(from_at)}/{historical.stamp(until_at)}"
    times: dict[str, list[float]] = {"answer": [], "trivial": []}
    with override_settings(ROOT_URLCONF="tests.benchmarks.historical"):
        call = historical.caller()
        for number in range(answers + 10):
            whose = f"/api/systems/{chance.choice(systems)}"
            addresses = {
                "answer": f"{whose}/historical?interval={interval}&resolution=15m",
                "trivial": "/trivial",
            }
            for name, address in addresses.items():
                begun = perf_counter()
                call(address)
                if number >= 10:  # the first ones warm up
                    times[name].append((perf_counter() - begun) * 1000)
    answer, trivial = median(times["answer"]), median(times["trivial"])
    return {
        "ms_an_answer": round(answer, 2),
        "bare_ms": round(trivial, 2),
        "to_bare": round(answer / trivial, 2),
    }
