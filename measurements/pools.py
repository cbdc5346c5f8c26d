"""What flows in a pool's systems, those of today, each once: their sum, in its own time zone, with
how many of them it saw.

Flags are those of any system; how much of the time they hold for is summed beside them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from django.db.models import Model

from inventory.models import System, SystemPool
from measurements.amounts import Ints, sum_known
from measurements.coverage import seconds_to_see
from measurements.figures import FLAGGED, QUALITY, SUMMED, Figures, rates_of
from measurements.flows import FLOWS, TOTALS
from measurements.history import (
    START,
    Past,
    bounds_of,
    columns_from,
    empty_past,
    groups,
    of_whole_hours,
    past_of,
    system_table,
)
from measurements.models import SystemDay, SystemHour, SystemMonth, SystemSlot
from measurements.numbers import columns_of, fetch, numbers
from measurements.queries import History, Live, history_of, live_of_systems
from measurements.resolutions import Resolution, Span, periods


@dataclass(frozen=True, slots=True)
class PoolLive:
    """All systems of a pool at this instant: `live` sums up those that have a fresh reading."""

    live: Live
    seen: int
    systems: int


@dataclass(frozen=True, slots=True, eq=False)
class PoolPast:
    """`seen` says for each span known how many systems were seen, `seen_in_all` how many at all."""

    past: Past
    seen: Ints
    seen_in_all: int
    systems: int


def live_of_pool(*, pool: SystemPool, now: datetime) -> PoolLive:
    """What flows in all systems of a pool now."""
    members = System.objects.filter(pools=pool).only("key")
    lives = live_of_systems(systems=members, now=now).values()
    fresh = [live for live in lives if not live.is_stale]
    names = [f"{name}_w" for name in (*TOTALS, *FLOWS)]
    figures = {name: sum_known(live.figures[name] for live in fresh) for name in names}
    together = Live(
        max((live.measured_at for live in fresh), default=None),
        figures | rates_of(figures, suffix="_w"),
        tuple(one for live in fresh for one in live.appliances),
    )
    return PoolLive(together, len(fresh), len(lives))


def past_of_pool(
    *,
    pool: SystemPool,
    from_at: datetime,
    until_at: datetime,
    resolution: Resolution,
    columns: Collection[str] = SUMMED,
) -> PoolPast:
    """What flowed in all systems of a pool, span by span, in the pool's time zone.

    Systems whose own periods are these are summed from their days and months, others from their
    hours where the pool's spans are made of those, else from their slots.
    `columns` are those of the energies that are wanted, and of `QUALITY` and `FLAGGED`.
    """
    spans = periods(from_at, until_at, resolution, pool.zone)
    if not spans:
        return PoolPast(empty_past(spans), np.zeros(0, np.int64), 0, pool.systems.count())
    keys = keys_of_pool(pool, resolution, spans)
    count = sum(map(len, keys.values()))
    if not count:
        return PoolPast(empty_past(spans), np.zeros(0, np.int64), 0, 0)
    tables = {
        part: table if keys[part] else None
        for part, table in tables_of_pool(resolution, spans).items()
    }
    ((sent, seen_in_all),) = fetch(
        _pool_query(resolution, tuple(columns), **tables),
        {
            **keys,
            "bounds": [span.from_at for span in spans],
            "from_at": spans[0].from_at,
            "until_at": spans[-1].until_at,
        },
    )
    starts, seen, *sums = columns_of(sent, 2 + len(columns))
    past = past_of(spans, starts, Figures.of_floats(dict(zip(columns, sums, strict=True))))
    # What was summed up by former rules of a time zone may begin within a span, beside others.
    firsts, _known = groups(starts, bounds_of(spans))
    return PoolPast(past, np.maximum.reduceat(seen.astype(np.int64), firsts), seen_in_all, count)


def keys_of_pool(
    pool: SystemPool, resolution: Resolution, spans: Sequence[Span]
) -> dict[str, list[int]]:
    """The keys of its systems: near are those whose own periods are exactly these spans (of which
    there must be one), far all others.

    Two time zones may have the same clock, if only for some years. Where both are read from the
    same rows, all are near.
    """
    bounds = spans[0].from_at, spans[-1].until_at
    members = list(System.objects.filter(pools=pool).values_list("key", "time_zone"))
    tables = tables_of_pool(resolution, spans)
    if tables["near"] is tables["far"]:
        return {"near": [key for key, _zone in members], "far": []}
    near = {
        name
        for name in {zone for _key, zone in members}
        if name == pool.time_zone or periods(*bounds, resolution, ZoneInfo(name)) == spans
    }
    return {
        "near": [key for key, zone in members if zone in near],
        "far": [key for key, zone in members if zone not in near],
    }


def tables_of_pool(resolution: Resolution, spans: Sequence[Span]) -> dict[str, type[Model]]:
    """Which tables hold the rows that both are summed from, for these spans, at least one."""
    is_fine = resolution is Resolution.QUARTER or not of_whole_hours(spans)
    return {
        "near": system_table(resolution, spans),
        "far": SystemSlot if is_fine else SystemHour,
    }


def history_of_pool(
    *,
    pool: SystemPool,
    from_at: datetime,
    until_at: datetime,
    resolution: Resolution,
    now: datetime,
) -> History:
    """The same, with what tells how much of it is missing: of each span how many systems were seen
    (`systems_seen`), and of all how many there are as well (`systems`)."""
    found = past_of_pool(
        pool=pool,
        from_at=from_at,
        until_at=until_at,
        resolution=resolution,
        columns=(*SUMMED, *QUALITY, *FLAGGED),
    )
    past = found.past
    to_see_s = seconds_to_see(
        past.spans,
        systems=pool.systems.values_list("key", flat=True),
        now=now,
    )
    further = {"to_see_s": to_see_s[past.known], "systems_seen": found.seen}
    history = history_of(past, further)
    counts = {"systems_seen": found.seen_in_all, "systems": found.systems}
    return replace(history, total=history.total and {**history.total, **counts})


_POOL = """
SELECT {numbers}, {seen} FROM (
    SELECT start, count(*) FILTER (WHERE seen_s > 0) AS seen, {sums}
    FROM ({rows}) AS of_system GROUP BY start
) AS together
"""
# The rows of some of the systems, summed by span if a span is made of more than one of them, so
# that a system is counted once a span; and how many of these systems were seen at all.
_ROWS = """
SELECT {columns} FROM {table}
WHERE system_key = ANY(%({keys})s::int[]) AND start >= %(from_at)s AND start < %(until_at)s
{grouped}
"""
_SEEN = """(
    SELECT count(*)::int FROM unnest(%({keys})s::int[]) AS member (key) WHERE EXISTS (
        SELECT FROM {table} WHERE system_key = key
            AND start >= %(from_at)s AND start < %(until_at)s AND seen_s > 0
    )
)"""
_SUM = "sum({0})::bigint"
_TOGETHER = {"flags": "bit_or({0})"}
_SPAN = "(%(bounds)s::timestamptz[])[width_bucket(start, %(bounds)s::timestamptz[])]"


# What is one row a span already.
_ROW_OF = {
    Resolution.QUARTER: SystemSlot,
    Resolution.HOUR: SystemHour,
    Resolution.DAY: SystemDay,
    Resolution.MONTH: SystemMonth,
}


@cache
def _pool_query(
    resolution: Resolution,
    columns: tuple[str, ...],
    *,
    near: type[Model] | None,
    far: type[Model] | None,
) -> str:
    """The sums of near and of far systems (`keys_of_pool`), from these tables; None where there are
    no such systems."""
    needed = dict.fromkeys(["seen_s", *columns])

    def rows(made_of: Mapping[str, str]) -> str:
        return ", ".join(f"{sql} AS {name}" for name, sql in made_of.items())

    def summed(made_of: Mapping[str, str]) -> str:
        return rows({n: _TOGETHER.get(n, _SUM).format(sql) for n, sql in made_of.items()})

    def selected(table: type[Model]) -> dict[str, str]:
        made_of = columns_from(table, needed)
        if _ROW_OF.get(resolution) is table:
            return {"columns": f"start, {rows(made_of)}", "grouped": ""}
        return {
            "columns": f"{_SPAN} AS start, {summed(made_of)}",
            "grouped": "GROUP BY system_key, 1",
        }

    parts = [
        {"keys": keys, "table": table._meta.db_table, **selected(table)}
        for keys, table in (("near", near), ("far", far))
        if table is not None
    ]
    return _POOL.format(
        numbers=numbers([START, "seen", *columns], order="start"),
        seen=" + ".join(_SEEN.format(**part) for part in parts),
        sums=summed({name: name for name in needed}),
        rows=" UNION ALL ".join(_ROWS.format(**part) for part in parts),
    )
