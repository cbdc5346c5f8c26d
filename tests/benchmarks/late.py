"""From a late batch published to its slots, days, months and year, end to end.

Twenty gateways that were away come back, each with one message of what it kept: 5,000 readings of
100 appliances, behind a month of history. Link, worker and the workers' clock are processes of
their own, the broker one for each of its settings. The time runs from the first message sent to the
moment at which all is stored and nothing of it is left to be computed; then the rows have to be
others than before. Batches come at any moment between two turns of the clock.
"""

import os
import random
import time
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Model

from gridx import clock
from inventory.models import System
from measurements.models import SystemDay, SystemMonth, SystemSlot
from measurements.partitions import make_weeks, week_of_ms
from measurements.resolutions import from_ms, to_ms
from measurements.slots import compute_until_clean, mark_history
from tests.benchmarks.broker import SYNCS, broker, environ_of
from tests.benchmarks.fleet import make_fleet
from tests.benchmarks.ground import server_settings, syncs_per_s
from tests.benchmarks.senders import LOCAL_IDS, MINUTE_MS, Senders, SignIn, senders
from tests.benchmarks.site import BEAT, LINK, WORKER, processes
from tests.benchmarks.timing import percentiles

SYSTEMS, MINUTES = 20, 50
READINGS = SYSTEMS * len(LOCAL_IDS) * MINUTES
DAYS, TRIALS, WARMING_UP = 30, 20, 3
BAR_MS = 1_000
_CLOCK_S = 2.0
_LOOK_S = 0.01
_WITHIN_S = 60.0
# Since when they are away: what they send is over, and none of it is a last word.
_AWAY = timedelta(days=10)

_LONGEST = {
    SystemSlot: timedelta(minutes=15),
    SystemDay: timedelta(hours=25),
    SystemMonth: timedelta(days=31, hours=1),
}

# As the senders go on with it.
_HISTORY = """
INSERT INTO measurements_reading
    (system_key, appliance_key, at, power_w, imported_wh, exported_wh, soc)
SELECT system.key, appliance.key, to_timestamp(minute * 60), minute * 37 %% 4000 - 2000.5,
    1e6 + minute %% 1000000 * 12.51, 5e5 + minute %% 1000000 * 7.25, minute %% 800 / 1000. + 0.1
FROM inventory_appliance AS appliance JOIN inventory_system AS system ON system.id = system_id
CROSS JOIN generate_series(%s::bigint, %s::bigint) AS minute
"""
# In one look: all is stored, and nothing is left of it to compute.
_DONE = """
SELECT (SELECT count(*) FROM measurements_latestreading WHERE at >= %s) = %s
    AND NOT EXISTS (SELECT FROM measurements_dirtyslot)
"""


def measure(*, scale: float) -> dict:
    """Milliseconds for each of the broker's settings, behind `30 * scale` days of history."""
    _user, fleet = make_fleet(SYSTEMS)
    days = max(1, round(DAYS * scale))
    next_ms = to_ms(clock.now() - _AWAY) // MINUTE_MS * MINUTE_MS
    _make_history(next_ms, days)
    found = {}
    for sync in SYNCS:
        found[sync] = {"sync_interval": SYNCS[sync], **_latencies(sync, fleet, next_ms)}
        next_ms += (WARMING_UP + TRIALS) * MINUTES * MINUTE_MS
    return {
        "workload": {"readings": READINGS, "systems": SYSTEMS, "days_before": days},
        "bar_ms": BAR_MS,
        **found,
        "syncs_per_s": syncs_per_s(0.5),
        "load": round(os.getloadavg()[0], 1),
        "settings": server_settings(),
    }


def _make_history(until_ms: int, days: int) -> None:
    from_ms_ = until_ms - days * 24 * 60 * MINUTE_MS
    with transaction.atomic(), connection.cursor() as cursor:
        make_weeks(weeks=range(week_of_ms(from_ms_), week_of_ms(to_ms(clock.now())) + 1))
        cursor.execute(_HISTORY, [from_ms_ // MINUTE_MS, until_ms // MINUTE_MS - 1])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE measurements_reading")
    span = {"from_at": from_ms(from_ms_), "until_at": from_ms(until_ms)}
    for system in System.objects.all():
        mark_history(system=system, **span, now=clock.now())
    compute_until_clean(now=clock.now())


def _latencies(sync: str, fleet: list[SignIn], start_ms: int) -> dict:
    commands = {"link": LINK, "worker": WORKER, "beat": BEAT}
    took_ms = []
    with (
        broker(sync) as at,
        processes(commands, environ_of(at)),
        senders(mqtt_url=at.mqtt_url, sign_ins=fleet, start_ms=start_ms) as gateways,
    ):
        for number in range(WARMING_UP + TRIALS):
            since = from_ms(start_ms + number * MINUTES * MINUTE_MS)
            took_ms.append(1000 * _late_batch(gateways, since))
    del took_ms[:WARMING_UP]
    p50, p95 = percentiles(took_ms)
    return {
        "trials": TRIALS,
        "p50_ms": round(p50),
        "p95_ms": round(p95),
        "all_ms": sorted(map(round, took_ms)),
    }


def _late_batch(gateways: Senders, since: datetime) -> float:
    """Seconds that the next one takes; it begins at that instant."""
    gateways.prepare(SYSTEMS, minutes=MINUTES)
    before = _rows(since)
    time.sleep(random.uniform(0, _CLOCK_S))
    gateways.begin()
    begun = gateways.wait()
    last = since + timedelta(minutes=MINUTES - 1)
    with connection.cursor() as cursor:
        while not _is_done(cursor, last):
            if time.monotonic() > begun + _WITHIN_S:
                raise TimeoutError(f"what came late is not computed after {_WITHIN_S} s")
            time.sleep(_LOOK_S)
    took_s = time.monotonic() - begun
    after = _rows(since)
    # A year is the sum of its months.
    for model, of_systems in before.items():
        if any(of_systems.get(key) == rows for key, rows in after[model].items()):
            raise RuntimeError(f"not every system has other rows of {model.__name__}")
    return took_s


def _is_done(cursor, last: datetime) -> bool:
    cursor.execute(_DONE, [last, SYSTEMS * len(LOCAL_IDS)])
    return cursor.fetchone()[0]


def _rows(since: datetime) -> dict[type[Model], dict[int, list[dict]]]:
    """The systems' slots, days and months of then and later."""
    found: dict[type[Model], dict[int, list[dict]]] = {}
    for model, length in _LONGEST.items():
        found[model] = {system.key: [] for system in System.objects.all()}
        for row in model.objects.filter(start__gt=since - length).values():
            found[model][row["system_key"]].append(row)
    return found
