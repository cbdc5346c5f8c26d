"""Storing readings: idempotent, in any order, with their slots marked for computation.

What a reading does to one that is stored already for the same appliance and instant: a quantity
that was read takes the place of the stored one; one that was not read ("no statement") leaves it
alone. An interval of another length takes the place of the stored interval with both energies.
So a batch cut in any way, sent in any order or twice leaves the same rows, and a row that would
stay as it is counts as unchanged and marks nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property

import numpy as np
from django.conf import settings
from django.db import connection, transaction

from inventory.kinds import LONGEST_INTERVAL_S
from inventory.models import Appliance
from measurements.batches import COLUMNS, INSTANTS, INTERVAL_QUANTITIES, QUANTITIES, Batch
from measurements.finality import final_rows
from measurements.models import Cause, DeclaredInterval
from measurements.partitions import hold_weeks, prepare_weeks
from measurements.plausibility import (
    REASONS,
    PlausiblePowers,
    Refusal,
    judge,
    load_plausible_powers,
)
from measurements.resolutions import to_ms
from measurements.staging import (
    DOUBLE,
    INSTANT,
    INTEGER,
    MAYBE_INSTANT,
    MAYBE_INTEGER,
    MAYBE_SMALL,
    REAL,
    StagingTable,
)

_TYPES = {
    "imported_wh": DOUBLE,
    "exported_wh": DOUBLE,
    "plug_state": MAYBE_SMALL,
    "interval_s": MAYBE_INTEGER,
    "import_energy_wh": DOUBLE,
    "export_energy_wh": DOUBLE,
}
_IDENTITY = {"system_key": INTEGER, "appliance_key": INTEGER, "at": INSTANT}
_READINGS = StagingTable(
    "reading_staging",
    _IDENTITY | {name: _TYPES.get(name, REAL) for name in COLUMNS} | {"delay_s": MAYBE_INTEGER},
)
_LATEST = StagingTable(
    "latest_staging",
    # The table of latest readings keeps all in double precision.
    _IDENTITY
    | {name: MAYBE_SMALL if name == "plug_state" else DOUBLE for name in QUANTITIES}
    | dict.fromkeys(INSTANTS.values(), MAYBE_INSTANT),
)
_NEVER_MS = 0


@dataclass(frozen=True, eq=False)
class StoreReport:
    """What became of a batch.

    `reasons` has one number for each row of the batch, in its order: 0 for accepted, else one
    more than the position in `plausibility.REASONS`. `stored` readings are new or changed, and
    `unchanged` ones were known already (or came twice in the batch). `dirty_slots`: how many
    slots of appliances were marked. `accepted`: the readings that were not refused, settled.
    `fresh`: (system key, appliance key) of those whose latest reading is now another.
    """

    reasons: np.ndarray
    stored: int
    unchanged: int
    dirty_slots: int
    accepted: Batch
    fresh: tuple[tuple[int, int], ...] = ()

    @cached_property
    def refusals(self) -> dict[Refusal, int]:
        """How many rows were refused for which reason."""
        counts = np.bincount(self.reasons, minlength=len(REASONS) + 1)[1:].tolist()
        return {reason: count for reason, count in zip(REASONS, counts, strict=True) if count}

    @property
    def refused(self) -> int:
        return sum(self.refusals.values())


class UnableToStore(Exception):
    """The batch as a whole cannot be stored; says why."""


class UnableToDeclare(Exception):
    """An interval that no appliance can have."""


def store_readings(
    *,
    batch: Batch,
    now: datetime,
    history: bool = False,
    powers: PlausiblePowers | None = None,
    latest_later: bool = False,
) -> StoreReport:
    """Store a batch and mark the slots of what is new or changed, in one transaction.

    Refuses single readings (see `plausibility.judge`; also those in slots that are final), never
    their neighbours. `history` is recorded data that is imported: it may be older than
    `settings.RAW_RETENTION` and is never “late”; weeks that it needs are made apart, as an import's
    transaction lasts. `powers`: plausible powers that the caller has at hand; else the inventory is
    asked. Whether an appliance is the sender's is for the caller to know. May run in the caller's
    transaction, any number of times; others who store of the same appliances then wait for its end
    to bring the latest readings up to date, unless with `latest_later` the caller does so last of
    all (`keep_latest`). Raises UnableToStore when keys are missing.
    """
    if len(batch) and min(batch.system_key.min(), batch.appliance_key.min()) <= 0:
        raise UnableToStore("A batch needs the keys of systems and appliances.")
    if powers is None:
        powers = load_plausible_powers(batch.appliance_key)
    kept_from = None if history else now - settings.RAW_RETENTION
    reasons = judge(batch=batch, now=now, kept_from=kept_from, powers=powers)
    with transaction.atomic(), connection.cursor() as cursor:
        # First, or a week might be dropped after its slots were found not to be final.
        hold_weeks(at_ms=batch.at_ms[reasons == 0], now=now)
        _refuse_final(reasons, batch, now)
        accepted = batch.take(reasons == 0).settled()
        if not len(accepted):
            return StoreReport(reasons, stored=0, unchanged=0, dirty_slots=0, accepted=accepted)
        prepare_weeks(at_ms=accepted.at_ms, apart=history)
        stored, dirty_slots = _store(cursor, accepted, now, history)
        fresh = () if latest_later else keep_latest(accepted, history=history)
    return StoreReport(
        reasons,
        stored=stored,
        unchanged=int(np.count_nonzero(reasons == 0)) - stored,
        dirty_slots=dirty_slots,
        accepted=accepted,
        fresh=fresh,
    )


def judge_history(*, batch: Batch, now: datetime, powers: PlausiblePowers) -> np.ndarray:
    """`plausibility.judge` for recorded history, which may be of any age.

    But where readings were dropped, slots are final, and what belongs to them came too late.
    """
    reasons = judge(batch=batch, now=now, kept_from=None, powers=powers)
    _refuse_final(reasons, batch, now)
    return reasons


def _refuse_final(reasons: np.ndarray, batch: Batch, now: datetime) -> None:
    """What of the accepted rows lies in slots that are final is too old as well."""
    final = final_rows(batch, among=reasons == 0, now=now)
    reasons[final] = 1 + REASONS.index(Refusal.TOO_OLD)


def declare_interval(*, appliance: Appliance, interval_s: int, valid_from: datetime) -> bool:
    """Say that from an instant on an appliance reads every `interval_s` seconds.

    Says nothing again that holds at that instant already. Returns whether it was news. Raises
    UnableToDeclare for an interval outside of 1 s to 1 h.
    """
    if not 1 <= interval_s <= LONGEST_INTERVAL_S:
        raise UnableToDeclare(f"Appliances read every 1 to {LONGEST_INTERVAL_S} s: {interval_s}")
    of_appliance = DeclaredInterval.objects.filter(
        system_key=appliance.system.key, appliance_key=appliance.key
    )
    holding = of_appliance.filter(valid_from__lte=valid_from).order_by("-valid_from").first()
    if holding is not None and holding.interval_s == interval_s:
        return False
    of_appliance.update_or_create(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        valid_from=valid_from,
        defaults={"interval_s": interval_s},
    )
    return True


def _store(cursor, batch: Batch, now: datetime, history: bool) -> tuple[int, int]:
    """Write a settled batch; returns how many rows were new or changed and slots marked."""
    values = dict(batch.values)
    if "interval_s" in values:  # an interval replaces both energies, also with none
        values |= {name: batch.column(name) for name in INTERVAL_QUANTITIES}
    columns = _identity(batch) | values
    if not history:
        columns["delay_s"] = _delays(batch, now)
    _READINGS.prepare(cursor)
    _READINGS.copy(cursor, columns)
    cursor.execute(_statement(tuple(values), history), [now])
    return cursor.fetchone()


def _identity(batch: Batch) -> dict[str, np.ndarray]:
    return {
        "system_key": batch.system_key,
        "appliance_key": batch.appliance_key,
        "at": batch.at_ms,
    }


def _delays(batch: Batch, now: datetime) -> np.ndarray:
    """How many whole seconds after it was complete each reading arrives; never below 0."""
    complete_ms = batch.at_ms
    if "interval_s" in batch.values:
        complete_ms = complete_ms + 1000 * np.nan_to_num(batch.values["interval_s"]).astype(int)
    return np.maximum((to_ms(now) - complete_ms) // 1000, 0)


@cache
def _statement(names: tuple[str, ...], history: bool) -> str:
    """Takes staged readings with these quantities into the table and marks their slots.

    Its parameters: the instant at which slots are marked. It returns one row: how many readings
    are new or changed, how many slots were marked.
    """
    merged = {name: f"COALESCE(EXCLUDED.{name}, r.{name})" for name in names}
    if "interval_s" in names:
        for name in ("import_energy_wh", "export_energy_wh"):
            merged[name] = (
                f"CASE WHEN EXCLUDED.interval_s <> r.interval_s THEN EXCLUDED.{name}"
                f" ELSE {merged[name]} END"
            )
    # An interval's delay counts from its end, also where another reading had brought the interval.
    delay = "EXCLUDED.delay_s"
    if not history:
        brought = "COALESCE(EXCLUDED.interval_s, 0)" if "interval_s" in names else "0"
        length = merged.get("interval_s", "r.interval_s")
        delay = f"GREATEST(EXCLUDED.delay_s + {brought} - COALESCE({length}, 0), 0)"
    columns = [*_IDENTITY, *names, *([] if history else ["delay_s"])]
    cause = int(Cause.IMPORT if history else Cause.READINGS)
    touched = _INTERVAL_SLOTS if "interval_s" in names else _SLOTS
    returned = ", ".join([*_IDENTITY, *(name for name in names if name == "interval_s")])
    return f"""
    WITH stored AS (
        INSERT INTO measurements_reading AS r ({", ".join(columns)})
        SELECT {", ".join(_READINGS.value(name) for name in columns)} FROM {_READINGS.name}
        ON CONFLICT (system_key, appliance_key, at) DO UPDATE
        SET {", ".join(f"{name} = {value}" for name, value in merged.items())},
            delay_s = {delay}
        WHERE ({", ".join(f"r.{name}" for name in names)})
            IS DISTINCT FROM ({", ".join(merged.values())})
        RETURNING {returned}
    ), marked AS (
        INSERT INTO measurements_dirtyslot (system_key, appliance_key, start, marked_at, cause)
        SELECT DISTINCT system_key, appliance_key, start, %s::timestamptz, {cause}
        FROM ({touched}) AS t
        RETURNING 1
    ), claimable AS (
        INSERT INTO measurements_systemclaim (system_key)
        SELECT DISTINCT system_key FROM stored ORDER BY system_key
        ON CONFLICT DO NOTHING
    )
    SELECT (SELECT count(*) FROM stored), (SELECT count(*) FROM marked)
    """  # noqa: S608 - put together from this module's own names


# The slots in which readings lie. What lies between a reading and its neighbours (a counter is
# interpolated up to there) is for the computation to find.
_SLOTS = (
    "SELECT system_key, appliance_key, date_bin('15 minutes', at, 'epoch') AS start FROM stored"
)
# SQL of the slots (`start`) that a reading lies in, or its interval covers; `at`, `interval_s`.
COVERED_SLOTS = """generate_series(
        date_bin('15 minutes', at, 'epoch'),
        at + GREATEST(COALESCE(interval_s, 0) * 1000 - 1, 0) * interval '1 millisecond',
        '15 minutes'
    ) AS start"""
# Those that an interval covers, or did before it became shorter.
_INTERVAL_SLOTS = f"""
    SELECT system_key, appliance_key, start
    FROM (
        SELECT * FROM stored
        UNION ALL
        SELECT system_key, appliance_key, at, before.interval_s
        FROM stored JOIN measurements_reading AS before USING (system_key, appliance_key, at)
    ) AS spans
    CROSS JOIN LATERAL {COVERED_SLOTS}
"""  # noqa: S608 - put together from this module's own names


def keep_latest(batch: Batch, *, history: bool = False) -> tuple[tuple[int, int], ...]:
    """Bring the appliances' latest readings up to date with a settled batch that is stored.

    Returns whose changed. Of each quantity the latest one that was read is kept, by an instant of
    its own: a newer reading without a state of charge leaves the known one alone, and an older one
    that comes later brings what is newer than what is known. History counts where it is newer than
    all. In the order of the keys, so that no two who do so wait for each other; needs a
    transaction.
    """
    names = tuple(name for name in QUANTITIES if name in batch.values)
    if not names or not len(batch):
        return ()
    runs = batch.by_appliance()
    columns: dict[str, np.ndarray] = {}
    for name in names:
        columns[name], position = runs.last_known(batch.values[name])
        columns[INSTANTS[name]] = np.where(position >= 0, batch.at_ms[position], _NEVER_MS)
    newest_ms = np.max([columns[INSTANTS[name]] for name in names], axis=0)
    said = newest_ms > _NEVER_MS
    if not np.any(said):
        return ()
    columns |= _identity(batch.take(runs.starts)) | {"at": newest_ms}
    with connection.cursor() as cursor:
        _LATEST.prepare(cursor)
        _LATEST.copy(cursor, {name: column[said] for name, column in columns.items()})
        cursor.execute(_latest_statement(names, history))
        return tuple(cursor.fetchall())


@cache
def _latest_statement(names: tuple[str, ...], history: bool) -> str:
    """Takes staged latest readings with these quantities into their table; returns the keys."""
    merged = {"at": "GREATEST(r.at, EXCLUDED.at)"}
    for name in names:
        at = INSTANTS[name]
        merged[name] = (
            f"CASE WHEN r.{at} > EXCLUDED.{at} THEN r.{name}"
            f" ELSE COALESCE(EXCLUDED.{name}, r.{name}) END"
        )
        merged[at] = f"GREATEST(r.{at}, EXCLUDED.{at})"
    columns = [*_IDENTITY, *(name for name in merged if name != "at")]
    # Also of a quantity that is not known, what is long past says nothing of now.
    newer = (
        f"WHERE NOT EXISTS (SELECT FROM measurements_latestreading AS r"
        f" WHERE r.system_key = {_LATEST.name}.system_key"
        f" AND r.appliance_key = {_LATEST.name}.appliance_key AND r.at >= {_LATEST.name}.at)"
    )
    return f"""
    INSERT INTO measurements_latestreading AS r ({", ".join(columns)})
    SELECT {", ".join(_LATEST.value(name) for name in columns)} FROM {_LATEST.name}
    {newer if history else ""}
    ORDER BY system_key, appliance_key
    ON CONFLICT (system_key, appliance_key) DO UPDATE
    SET {", ".join(f"{name} = {value}" for name, value in merged.items())}
    WHERE ({", ".join(f"r.{name}" for name in merged)})
        IS DISTINCT FROM ({", ".join(merged.values())})
    RETURNING system_key, appliance_key
    """  # noqa: S608 - put together from this module's own names
