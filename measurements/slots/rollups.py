"""Hours, days and months: sums of slots, made in the database in one statement each.

Hours are those of UTC, whatever a system's time zone: most zones' local hours are just these, and
another zone makes none of them wrong. Days and months are local ones. An hour and a day are sums of
slots; those of an appliance, of the slots until it was removed, as in its system's balance. A month
is the sum of its days, which is the same to the last mWh because energies are integers.
`measurements.figures.sum_figures` is the same sum in memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from django.db import connection
from django.db.models import Model

from measurements.figures import FLAGGED, LAST, LAST_FLOATS, SUMMED
from measurements.history import columns_from
from measurements.models import ApplianceSlot, SystemDay, SystemSlot
from measurements.resolutions import Span


@dataclass(frozen=True)
class Rollup:
    """How one table's rows become those of a coarser one.

    `begins` is SQL of when the coarser row begins that a row belongs to: by default with the span
    that is rolled up, which becomes one row then. `condition` is SQL of which rows count;
    it may ask for the appliances of these systems that were `removed`.
    """

    source: str
    target: str
    keys: tuple[str, ...]
    columns: Mapping[str, str]
    begins: str = "from_at"
    condition: str = "TRUE"

    @cached_property
    def statement(self) -> str:
        """What makes the rows of these keys and spans anew, and tells how many changed."""
        keys, names = ", ".join(self.keys), ", ".join(self.columns)
        sums = ", ".join(f"{sql} AS {name}" for name, sql in self.columns.items())
        same = " AND ".join(f"summed.{key} = target.{key}" for key in self.keys)
        return f"""
        WITH wanted AS (
            SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
                AS given (key, from_at, until_at)
        ), removed AS MATERIALIZED ( -- few, so that not each row looks its own up
            SELECT appliance.key, appliance.removed_at
            FROM inventory_appliance AS appliance JOIN inventory_system AS system
                ON system.id = appliance.system_id
            WHERE system.key IN (SELECT wanted.key FROM wanted) AND removed_at IS NOT NULL
        ), summed AS (
            SELECT sums.*
            FROM wanted CROSS JOIN LATERAL (
                SELECT {keys}, {self.begins} AS begins, {sums}
                FROM {self.source}
                WHERE system_key = wanted.key AND start >= from_at AND start < until_at
                    AND {self.condition}
                GROUP BY {keys}, {self.begins}
            ) AS sums
        ), gone AS (
            DELETE FROM {self.target} AS target USING wanted
            WHERE target.system_key = wanted.key
                AND target.start >= wanted.from_at AND target.start < wanted.until_at
                AND NOT EXISTS (SELECT FROM summed WHERE target.start = summed.begins AND {same})
            RETURNING 1
        ), stored AS (
            INSERT INTO {self.target} AS target ({keys}, start, {names})
            SELECT {keys}, begins, {names} FROM summed
            ON CONFLICT ({keys}, start) DO UPDATE
            SET {", ".join(f"{name} = EXCLUDED.{name}" for name in self.columns)}
            WHERE ({", ".join(f"target.{name}" for name in self.columns)})
                IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in self.columns)})
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM stored)
        """  # noqa: S608 - put together from this module's own names


# Every ordered aggregate in the same order, so that the rows of a sum are sorted once.
def _last(name: str) -> str:
    return f"(array_agg({name} ORDER BY start DESC) FILTER (WHERE {name} IS NOT NULL))[1]"


_FIGURES = (
    {name: f"sum({name})::bigint" for name in SUMMED}
    | {name: _last(name) for name in (*LAST, *LAST_FLOATS)}
    | {name: f"sum({name})" for name in ("seen_s", "expected_s")}
    | {"flags": "bit_or(flags)"}
)
_APPLIANCE = (
    {name: f"sum({name})::bigint" for name in ("import_mwh", "export_mwh")}
    # In order, so that the floats' sum is the same however the rows are found.
    | {
        "mean_w": "sum(mean_w * seen_s ORDER BY start DESC)"
        " / NULLIF(sum(seen_s) FILTER (WHERE mean_w IS NOT NULL), 0)"
    }
    | {"min_w": "min(min_w)", "max_w": "max(max_w)"}
    | {
        name: _last(name)
        for name in ("imported_wh", "exported_wh", "soc", "stored_wh", "temperature_c")
    }
    | {"seen_s": "sum(seen_s)", "flags": "bit_or(flags)"}
)


def _of(source: type[Model], columns: Mapping[str, str]) -> dict[str, str]:
    """The same made of this table's rows, and for how much of them their flags hold."""
    flagged_s = columns_from(source, FLAGGED)
    return {**columns, **{name: f"sum({sql})" for name, sql in flagged_s.items()}}


_FIGURES_OF_SLOTS = _of(SystemSlot, _FIGURES)
_APPLIANCE_OF_SLOTS = _of(ApplianceSlot, _APPLIANCE)
_HOUR = "date_bin('1 hour', start, 'epoch')"
# The slot within which it was removed is the last one that counts.
_WHILE_THERE = """NOT EXISTS (
    SELECT FROM removed WHERE removed.key = appliance_key AND removed_at <= start
)"""
SYSTEM_HOURS = Rollup(
    "measurements_systemslot", "measurements_systemhour", ("system_key",), _FIGURES_OF_SLOTS, _HOUR
)
APPLIANCE_HOURS = Rollup(
    "measurements_applianceslot",
    "measurements_appliancehour",
    ("system_key", "appliance_key"),
    _APPLIANCE_OF_SLOTS,
    _HOUR,
    _WHILE_THERE,
)
SYSTEM_DAYS = Rollup(
    "measurements_systemslot", "measurements_systemday", ("system_key",), _FIGURES_OF_SLOTS
)
SYSTEM_MONTHS = Rollup(
    "measurements_systemday",
    "measurements_systemmonth",
    ("system_key",),
    _of(SystemDay, _FIGURES),
)
APPLIANCE_DAYS = Rollup(
    "measurements_applianceslot",
    "measurements_applianceday",
    ("system_key", "appliance_key"),
    _APPLIANCE_OF_SLOTS,
    condition=_WHILE_THERE,
)


def roll_up(rollup: Rollup, spans: Iterable[tuple[int, Span]]) -> int:
    """Make the coarser rows of these spans, each of a system given by its key, anew.

    The spans are whole ones of the coarser rows, and do not overlap. Returns how many rows are
    new, changed or gone.
    """
    wanted = list(spans)
    if not wanted:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            rollup.statement,
            [
                [key for key, _span in wanted],
                [span.from_at for _key, span in wanted],
                [span.until_at for _key, span in wanted],
            ],
        )
        (changed,) = cursor.fetchone()
        return changed
