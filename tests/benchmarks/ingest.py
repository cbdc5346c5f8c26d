"""Storing readings, against the bare staged COPY and INSERT … ON CONFLICT."""

from statistics import median
from time import perf_counter

import numpy as np
import psycopg
from django.db import connection

from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.staging import DOUBLE, INSTANT, INTEGER, REAL, StagingTable
from tests.benchmarks.ground import server_settings
from tests.benchmarks.workload import APPLIANCES, BATCH, SYSTEMS, batches, make_inventory, now_after

BATCHES = 80
ROUNDS = 3

_STAGING = StagingTable(
    "bare_staging",
    {
        "system_key": INTEGER,
        "appliance_key": INTEGER,
        "at": INSTANT,
        "power_w": REAL,
        "imported_wh": DOUBLE,
        "exported_wh": DOUBLE,
        "soc": REAL,
    },
)
_TABLES = f"""
DROP TABLE IF EXISTS bare_reading;
CREATE TABLE bare_reading (LIKE measurements_reading INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE bare_reading_week PARTITION OF bare_reading
    FOR VALUES FROM ('2026-03-02 00:00Z') TO ('2026-03-09 00:00Z');
CREATE TEMPORARY TABLE bare_staging
    ({", ".join(f"{name} {column.sql}" for name, column in _STAGING.columns.items())})
    ON COMMIT DELETE ROWS;
"""
_COPY = "COPY bare_staging FROM STDIN (FORMAT BINARY)"
_INSERT = f"""
INSERT INTO bare_reading ({", ".join(_STAGING.columns)})
SELECT {", ".join(map(_STAGING.value, _STAGING.columns))} FROM bare_staging
ON CONFLICT (system_key, appliance_key, at) DO UPDATE
SET power_w = EXCLUDED.power_w, imported_wh = EXCLUDED.imported_wh,
    exported_wh = EXCLUDED.exported_wh, soc = EXCLUDED.soc
"""


def measure(*, scale: float) -> dict:
    """Readings a second of both, in transactions of about 5,000: three rounds, batches in turns."""
    count = max(1, min(round(BATCHES * scale), 200))  # 200 batches are a week
    make_inventory()
    prepared = list(batches(count))
    rows = [_STAGING.binary_rows(_columns(batch)) for batch in prepared]
    rounds, sizes = [], []
    with _bare_connection() as bare:
        for _round in range(ROUNDS):
            _empty(bare)
            rounds.append(_round_in_turns(bare, prepared, rows))
            sizes.append(_bytes_on_disk())
    readings = sum(map(len, prepared))
    stored_s, bare_s = (median(column) for column in zip(*rounds, strict=True))
    return {
        "workload": {
            "systems": SYSTEMS,
            "appliances": SYSTEMS * APPLIANCES,
            "batch": BATCH,
            "readings": readings,
        },
        "readings_per_s": round(readings / stored_s),
        "bare_staged_insert_readings_per_s": round(readings / bare_s),
        "ratio": round(median(bare_s / stored_s for stored_s, bare_s in rounds), 3),
        "rounds": [
            {"readings_per_s": round(readings / stored_s), "bare": round(readings / bare_s)}
            for stored_s, bare_s in rounds
        ],
        "bytes_per_reading": round(median(sizes) / readings, 1),
        "settings": server_settings(),
    }


def bare_readings_per_s(count: int = 20) -> float:
    """What the bare statements alone store, in so many transactions of about 5,000 readings."""
    prepared = list(batches(count))
    rows = [_STAGING.binary_rows(_columns(batch)) for batch in prepared]
    with _bare_connection() as bare:
        begun = perf_counter()
        for one in rows:
            _store_bare(bare, one)
        took_s = perf_counter() - begun
        bare.execute("DROP TABLE bare_reading")
    return sum(map(len, prepared)) / took_s


def _bare_connection() -> psycopg.Connection:
    where = connection.settings_dict
    bare = psycopg.connect(
        host=where["HOST"],
        port=where["PORT"],
        dbname=where["NAME"],
        user=where["USER"],
        password=where["PASSWORD"],
    )
    bare.execute(_TABLES)
    bare.commit()
    return bare


def _empty(bare: psycopg.Connection) -> None:
    bare.execute(
        "TRUNCATE bare_reading, measurements_reading, measurements_latestreading,"
        " measurements_dirtyslot, measurements_systemclaim"
    )
    bare.commit()


def _round_in_turns(
    bare: psycopg.Connection, prepared: list[Batch], rows: list[bytes]
) -> tuple[float, float]:
    """Seconds for `store_readings` with all that it does, and for the bare statements."""
    stored_s = bare_s = 0.0
    for number, batch in enumerate(prepared):
        begun = perf_counter()
        store_readings(batch=batch, now=now_after(number + 1))
        turn = perf_counter()
        _store_bare(bare, rows[number])
        stored_s += turn - begun
        bare_s += perf_counter() - turn
    return stored_s, bare_s


def _store_bare(bare: psycopg.Connection, rows: bytes) -> None:
    with bare.cursor() as cursor:
        with cursor.copy(_COPY) as copy:
            copy.write(rows)
        cursor.execute(_INSERT)
    bare.commit()


def _columns(batch: Batch) -> dict[str, np.ndarray]:
    return {
        "system_key": batch.system_key,
        "appliance_key": batch.appliance_key,
        "at": batch.at_ms,
        **batch.values,
    }


def _bytes_on_disk() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(relid))"
            " FROM pg_partition_tree('measurements_reading') WHERE isleaf"
        )
        (size,) = cursor.fetchone()
    return int(size)
