"""Computing slots from scratch and after a late batch, against bare SQL for the same energies.

From scratch twice: by one worker, and by as many as there are processors, as workers run. The bare
statements have one server process each, and nothing of what else slots tell; both read the same
rows.

The bar of 0.8 is one of a machine with two processors, so it is held against what workers on both
of them need (`ratio_by_all_workers`). `ratio` says beside it what a single one needs.
"""

import os
import resource
from datetime import datetime
from statistics import median
from time import perf_counter

import numpy as np
from django.db import connection, transaction

from gridx.garbage import settle
from inventory.models import System
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    DayChange,
    ImportedDay,
    Reading,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.partitions import make_weeks, week_of_ms
from measurements.resolutions import to_ms
from measurements.slots import compute_until_clean, mark_history
from measurements.staging import DOUBLE, INSTANT, INTEGER, MAYBE_INTEGER, REAL, StagingTable
from tests.benchmarks.ground import server_settings
from tests.benchmarks.workers import worker_processes
from tests.benchmarks.workload import APPLIANCES, BATCH, START, SYSTEMS, batches, make_inventory
from tests.benchmarks.workload import now_after as arrived_after

DAYS = 30
LATE_BATCHES = 5
# What the bars are held against, by the names in the output.
BARS = {"ratio_by_all_workers": 0.8, "late_batch_ms": 150}
_WORKERS = os.cpu_count() or 1
_BATCHES_A_DAY = 24 * 60 * SYSTEMS * APPLIANCES / BATCH
_BATCHES_IN_5_HOURS = 6

_COMPUTED = (
    ApplianceSlot,
    ApplianceHour,
    ApplianceDay,
    SystemSlot,
    SystemHour,
    SystemDay,
    SystemMonth,
    DayChange,
    ImportedDay,
)
_READINGS = StagingTable(
    "loaded_reading",
    {
        "system_key": INTEGER,
        "appliance_key": INTEGER,
        "at": INSTANT,
        "power_w": REAL,
        "imported_wh": DOUBLE,
        "exported_wh": DOUBLE,
        "soc": REAL,
        "delay_s": MAYBE_INTEGER,
    },
)
_LOAD = f"""
INSERT INTO measurements_reading ({", ".join(_READINGS.columns)})
SELECT {", ".join(map(_READINGS.value, _READINGS.columns))} FROM loaded_reading
"""
# How long after its instant a reading arrives: most of them, and those that are late.
_DELAY_S, _LATE_BY_S = 2, 3600
# Energies from counters: the last of each slot, less that of the slot before.
_BARE_COUNTERS = """
CREATE TEMPORARY TABLE bare_counters AS
SELECT system_key, appliance_key, start,
    imported - lag(imported) OVER w AS import_wh, exported - lag(exported) OVER w AS export_wh
FROM (
    SELECT system_key, appliance_key, date_bin('15 minutes', at, 'epoch') AS start,
        max(imported_wh) AS imported, max(exported_wh) AS exported
    FROM measurements_reading GROUP BY 1, 2, 3
) AS last
WINDOW w AS (PARTITION BY system_key, appliance_key ORDER BY start)
"""
# Energies from power: trapezoids between neighbours, both directions apart.
_BARE_POWER = """
CREATE TEMPORARY TABLE bare_power AS
SELECT system_key, appliance_key, date_bin('15 minutes', at, 'epoch') AS start,
    sum(GREATEST(mean_w, 0) * hours) AS import_wh, sum(GREATEST(-mean_w, 0) * hours) AS export_wh,
    avg(power_w) AS mean_w, min(power_w) AS min_w, max(power_w) AS max_w
FROM (
    SELECT system_key, appliance_key, at, power_w,
        (power_w + lag(power_w) OVER w) / 2 AS mean_w,
        extract(epoch FROM at - lag(at) OVER w) / 3600 AS hours
    FROM measurements_reading
    WINDOW w AS (PARTITION BY system_key, appliance_key ORDER BY at)
) AS pieces
GROUP BY 1, 2, 3
"""


def measure(*, scale: float) -> dict:
    """Seconds for `30 * scale` days at one reading a minute, and milliseconds for a late batch."""
    settle()  # as workers do
    days = max(1, round(DAYS * scale))
    make_inventory()
    count = round(days * _BATCHES_A_DAY)
    now = arrived_after(count)
    # At all times of the day: what the sun brought into a battery counts on until that is empty.
    late_numbers = {
        count // (LATE_BATCHES + 1) * (number + 1) + number * _BATCHES_IN_5_HOURS
        for number in range(LATE_BATCHES)
    }
    late = _load(count, late_numbers)
    readings = Reading.objects.count()
    bare_counters_s, bare_power_s = _timed_sql(_BARE_COUNTERS), _timed_sql(_BARE_POWER)
    bare_s = bare_counters_s + bare_power_s
    with worker_processes(_WORKERS) as pool:
        _mark_all(now)
        begun = perf_counter()
        computing = [pool.submit(compute_until_clean, now=now) for _worker in range(_WORKERS)]
        counts = [each.result() for each in computing]
        all_workers_s = perf_counter() - begun
    _empty()
    _mark_all(now)
    before_mb = _peak_mb()
    begun = perf_counter()
    rows = compute_until_clean(now=now)
    scratch_s = perf_counter() - begun
    assert rows == sum(counts), (rows, counts)
    late_ms = [_late(batch, now) for batch in late]
    return {
        "workload": {
            "systems": SYSTEMS,
            "appliances": SYSTEMS * APPLIANCES,
            "days": days,
            "readings": readings,
            "slots": rows,
        },
        "bars": BARS,
        "workers": _WORKERS,
        "from_scratch_by_all_workers_s": round(all_workers_s, 2),
        "from_scratch_s": round(scratch_s, 2),
        "bare_counters_s": round(bare_counters_s, 2),
        "bare_power_s": round(bare_power_s, 2),
        "ratio": round(scratch_s / bare_s, 3),
        "ratio_by_all_workers": round(all_workers_s / bare_s, 3),
        "late_batch_ms": round(median(late_ms), 1),
        "late_batches_ms": [round(ms, 1) for ms in late_ms],
        "peak_memory_mb": {"before": before_mb, "after": _peak_mb()},
        "settings": server_settings(),
    }


def _load(count: int, late_numbers: set[int]) -> list[Batch]:
    """Put readings where they belong, without all that storing does; returns the late batches."""
    weeks = range(week_of_ms(to_ms(START)), week_of_ms(to_ms(arrived_after(count))) + 1)
    late: list[Batch] = []
    with transaction.atomic(), connection.cursor() as cursor:
        make_weeks(weeks=weeks)
        for number, batch in enumerate(batches(count)):
            if number in late_numbers:
                late.append(batch)
                continue
            begun_ms = to_ms(arrived_after(number))
            columns = {
                "system_key": batch.system_key,
                "appliance_key": batch.appliance_key,
                "at": batch.at_ms,
                **batch.values,
                "delay_s": np.where(batch.at_ms < begun_ms, _LATE_BY_S, _DELAY_S),
            }
            _READINGS.prepare(cursor)
            _READINGS.copy(cursor, columns)
            cursor.execute(_LOAD)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE measurements_reading")
    store_readings(batch=batch, now=arrived_after(count))  # once more, for the latest readings
    return late


def _mark_all(now: datetime) -> None:
    for system in System.objects.all():
        mark_history(system=system, from_at=START, until_at=now, now=now)


def _empty() -> None:
    """Take back all that was computed."""
    tables = ", ".join(table._meta.db_table for table in _COMPUTED)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables}")


def _timed_sql(statement: str) -> float:
    begun = perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    return perf_counter() - begun


def _late(batch: Batch, now) -> float:
    """Milliseconds to compute what a batch that arrives late changes."""
    store_readings(batch=batch, now=now)
    begun = perf_counter()
    compute_until_clean(now=now)
    return (perf_counter() - begun) * 1000


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
