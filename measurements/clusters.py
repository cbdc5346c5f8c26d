"""What flows in a cluster's appliances, those of today, nested ones included, each once.

Each counts from its first slot on until it was removed, as in its system's balance.

A cluster is taken as if its appliances were a system of their own: flows are split in the slot
where it has a meter, and without one its consumption is what its consumers use. Appliances that
play the same part are summed in the database, so that hundreds of them are as few rows as one.

Flags are those of any appliance; how much of the time they hold for is summed beside them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from math import inf
from typing import NamedTuple

import numpy as np
from django.db.models import Model

from inventory.kinds import METERS, ApplianceKind, Role, role_of
from inventory.models import Appliance, Cluster
from measurements.amounts import Amounts, Floats, Ints
from measurements.coverage import seconds_to_see
from measurements.figures import FLAGGED, Figures, Part, sum_figures, system_figures
from measurements.history import (
    DEVICE_COLUMNS,
    START,
    Battery,
    Device,
    Past,
    appliance_table,
    bounds_of,
    columns_from,
    empty_past,
    groups,
    past_of,
)
from measurements.models import ApplianceDay, ApplianceSlot
from measurements.numbers import columns_of, fetch, numbers
from measurements.queries import History, Live, history_of, live_of_appliances, newest_readings
from measurements.resolutions import (
    SLOT_S,
    Resolution,
    Span,
    next_period,
    periods,
    slot_end,
)

# However long a history is, so much of it is in memory at a time, or one span.
_AT_ONCE = timedelta(days=366)

# A cluster and those within it, as deep as they go.
_BELOW = """
WITH RECURSIVE below (id) AS (
    SELECT %s::uuid
    UNION
    SELECT cluster.id FROM inventory_cluster AS cluster JOIN below ON cluster.parent_id = below.id
)
SELECT id FROM below
"""


def live_of_cluster(*, cluster: Cluster, now: datetime) -> Live:
    """What flows in a cluster now, in one statement."""
    found = newest_readings(f"appliance.cluster_id IN ({_BELOW})", [cluster.pk], now=now)
    return live_of_appliances([appliance for _key, appliance in found])


def past_of_cluster(
    *,
    cluster: Cluster,
    from_at: datetime,
    until_at: datetime,
    resolution: Resolution,
    kinds: Collection[str] = (),
    device_columns: Sequence[str] = DEVICE_COLUMNS,
) -> Past:
    """What flowed in a cluster, span by span, in its system's time zone.

    `kinds` are those of the appliances that are wanted one by one, with their `device_columns`.
    """
    spans = periods(from_at, until_at, resolution, cluster.zone)
    members = list(appliances_within(cluster))
    if not spans or not members:
        return empty_past(spans)
    coarse = appliance_table(resolution, spans)
    stays = _stays(cluster, members, spans)
    pieces = list(_pieces(cluster, members, stays, spans, coarse))
    if not pieces:
        return empty_past(spans)
    listed = _listed(
        cluster, [one for one in members if one.kind in kinds], spans, coarse, device_columns
    )
    return past_of(
        spans,
        np.concatenate([piece.starts for piece in pieces]),
        Figures.joined([piece.figures for piece in pieces]),
        listed,
        device_columns=device_columns,
        batteries=[
            Battery(one.capacity_wh, stays[one.key].from_s, stays[one.key].until_s)
            for one in members
            if one.key in stays and one.kind == ApplianceKind.BATTERY
        ],
    )


def history_of_cluster(
    *,
    cluster: Cluster,
    from_at: datetime,
    until_at: datetime,
    resolution: Resolution,
    now: datetime,
) -> History:
    """The same, with what tells how much of it is missing."""
    past = past_of_cluster(
        cluster=cluster, from_at=from_at, until_at=until_at, resolution=resolution
    )
    return history_told(past, cluster=cluster, now=now)


def history_told(past: Past, *, cluster: Cluster, now: datetime) -> History:
    """The same of a past of the cluster that was read."""
    to_see_s = seconds_to_see(
        past.spans,
        systems=[cluster.system.key],
        appliances={one.key for one in appliances_within(cluster)},
        now=now,
    )
    return history_of(past, {"to_see_s": to_see_s[past.known]})


def appliances_within(cluster: Cluster) -> Iterable[Appliance]:
    """Those of a cluster and of all that is nested in it, in order."""
    return Appliance.objects.raw(
        f"SELECT * FROM inventory_appliance WHERE cluster_id IN ({_BELOW}) ORDER BY key",  # noqa: S608
        [cluster.pk],
    )


# The balance -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """The figures of some consecutive spans, as far as anything is known of them."""

    starts: Floats
    figures: Figures


class _Stay(NamedTuple):
    """A member plays its part in [from_s, until_s), in seconds since the epoch."""

    role: Role
    from_s: float
    until_s: float


def _pieces(
    cluster: Cluster,
    members: Sequence[Appliance],
    stays: Mapping[int, _Stay],
    spans: Sequence[Span],
    coarse: type[Model],
) -> Iterator[_Piece]:
    """The spans bit by bit, each from what the batteries held at the end of the one before.

    Those that a meter was there in are made of slots, all others of the rows of the coarse table:
    without a meter nothing depends on what else flowed in the slot.
    """
    parts = _parts_of([one for one in members if one.key in stays])
    meters = {stay for stay in stays.values() if stay.role in METERS}

    def table_of(span: Span) -> type[Model]:
        return ApplianceSlot if _is_any_there(meters, span) else coarse

    inhabited = [span for span in spans if _is_any_there(stays.values(), span)]
    before = None
    for table, some in _batches(inhabited, table_of):
        bounds = {"from_at": some[0].from_at, "until_at": some[-1].until_at}
        rows = fetch(_sums_query(table), {"system": cluster.system.key, **parts, **bounds})
        sums = {Role(role): columns_of(sent, 1 + len(_NAMES)) for role, sent in rows}
        if not sums:
            continue
        starts = np.unique(np.concatenate([columns[0] for columns in sums.values()]))
        there = _there(stays.values(), starts, _lasting_s(table, starts, cluster))
        by_role = {
            role: _of_all(_spread(columns, starts), there.count[role])
            for role, columns in sums.items()
        }
        figures = system_figures(
            [_part(role, columns) for role, columns in by_role.items()],
            len(starts),
            before=before,
        )
        figures = replace(figures, expected_s=there.expected_s, **_flagged(by_role, len(starts)))
        before = figures.held_at(-1)
        firsts, _known = groups(starts, bounds_of(some))
        yield _Piece(starts[firsts], sum_figures(figures, firsts))


def _batches(
    spans: Sequence[Span], table_of: Callable[[Span], type[Model]]
) -> Iterator[tuple[type[Model], list[Span]]]:
    """Consecutive spans that are read together, and from where."""
    for table, alike in groupby(spans, table_of):
        batch: list[Span] = []
        for span in alike:
            if batch and span.until_at - batch[0].from_at > _AT_ONCE:
                yield table, batch
                batch = []
            batch.append(span)
        yield table, batch


def _while_there(members: Sequence[Appliance]) -> dict[str, list]:
    """Of whom the rows are, and until when they count."""
    return {
        "keys": [one.key for one in members],
        "removed": [one.removed_at for one in members],
    }


def _stays(
    cluster: Cluster, members: Sequence[Appliance], spans: Sequence[Span]
) -> dict[int, _Stay]:
    """By their keys, from when until when those are there that are at all within these spans.

    Whatever spans are asked for, each is there as long: what is told of a day is the same in all.
    """
    asked = {"system": cluster.system.key, "keys": [one.key for one in members]}
    first_s = dict(fetch(_FIRST_SLOTS, asked))
    bounds_s = spans[0].from_at.timestamp(), spans[-1].until_at.timestamp()
    stays = {}
    for one in members:
        from_s = first_s[one.key]
        until_s = inf if one.removed_at is None else slot_end(one.removed_at).timestamp()
        if from_s is not None and from_s < bounds_s[1] and until_s > bounds_s[0]:
            stays[one.key] = _Stay(role_of(one.kind), from_s, until_s)
    return stays


def _is_any_there(stays: Iterable[_Stay], span: Span) -> bool:
    """Whether one of them at least is there for a part of the span."""
    from_s, until_s = span.from_at.timestamp(), span.until_at.timestamp()
    return any(stay.from_s < until_s and stay.until_s > from_s for stay in stays)


@dataclass(frozen=True, slots=True, eq=False)
class _There:
    """Row by row, how many play each part, and how long those of the balance do, all together."""

    count: Mapping[Role, Ints]
    expected_s: Ints


def _there(stays: Iterable[_Stay], starts: Floats, lasting_s: Ints) -> _There:
    """Who is there in rows that begin at `starts` (seconds since the epoch) and last so long."""
    count = {role: np.zeros(len(starts), np.int64) for role in Role}
    expected_s = np.zeros(len(starts), np.int64)
    for stay, number in Counter(stays).items():
        stayed_s = np.minimum(starts + lasting_s, stay.until_s) - np.maximum(starts, stay.from_s)
        stayed_s = np.maximum(stayed_s, 0).astype(np.int64)
        count[stay.role] += number * (stayed_s > 0)
        if stay.role is not Role.NONE:
            expected_s += number * stayed_s
    return _There(count, expected_s)


def _parts_of(members: Sequence[Appliance]) -> dict[str, list]:
    """Which part each of them plays, and how much it can hold."""
    batteries = [one for one in members if role_of(one.kind) is Role.BATTERY]
    # By their capacities, where all of them are known.
    is_known = all(one.capacity_wh is not None for one in batteries)
    return {
        **_while_there(members),
        "roles": [role_of(one.kind).value for one in members],
        "capacities": [one.capacity_wh for one in members],
        "weights": [one.capacity_wh if is_known else 1.0 for one in members],
    }


_STORED = "coalesce(stored_wh, soc * capacity_wh)"
# What is a sum only where all that play a part are known, and of how many it is.
_OF_ALL = {"stored_wh": _STORED, "imported_wh": "imported_wh", "exported_wh": "exported_wh"}
_SUMS = {
    "import_mwh": "sum(import_mwh)",
    "export_mwh": "sum(export_mwh)",
    "soc": "CASE WHEN count(soc) = 1 THEN max(soc)"
    " ELSE sum(soc * weight) / nullif(sum(weight) FILTER (WHERE soc IS NOT NULL), 0) END",
    **{name: f"sum({sql})" for name, sql in _OF_ALL.items()},
    **{f"{name}_of": f"count({sql})" for name, sql in _OF_ALL.items()},
    "seen_s": "sum(seen_s)",
    "flags": "bit_or(flags)",
}
_NAMES = (*_SUMS, *FLAGGED)


@cache
def _sums_query(table: type[Model]) -> str:
    """For each part that appliances play in the balance, the sums of their rows."""
    flagged = {name: f"sum({sql})" for name, sql in columns_from(table, FLAGGED).items()}
    sums = ", ".join(f"{sql} AS {name}" for name, sql in (_SUMS | flagged).items())
    return f"""
        SELECT role, {numbers([START, *_NAMES], order="start")}
        FROM (
            SELECT role, start, {sums}
            FROM unnest(%(keys)s::int[], %(removed)s::timestamptz[], %(roles)s::text[],
                    %(capacities)s::float8[], %(weights)s::float8[])
                AS member (key, removed_at, role, capacity_wh, weight)
            JOIN {table._meta.db_table} ON system_key = %(system)s AND appliance_key = member.key
            WHERE start >= %(from_at)s AND start < %(until_at)s
                AND (start < removed_at) IS NOT FALSE
            GROUP BY role, start
        ) AS together GROUP BY role
    """  # noqa: S608 - names of our own


_FIRST_SLOTS = """
SELECT key, (
    SELECT date_part('epoch', min(start)) FROM measurements_applianceslot
    WHERE system_key = %(system)s AND appliance_key = key
) FROM unnest(%(keys)s::int[]) AS member (key)
"""


def _spread(columns: Floats, starts: Floats) -> dict[str, Floats]:
    """The sums of a part as columns of all rows, NaN where it has none."""
    spread = np.full((len(_NAMES), len(starts)), np.nan)
    spread[:, np.searchsorted(starts, columns[0])] = columns[1:]
    return dict(zip(_NAMES, spread, strict=True))


def _of_all(columns: dict[str, Floats], count: Ints) -> dict[str, Floats]:
    """Without those sums of a part that are not of all so many that play it."""
    for name in _OF_ALL:
        columns[name] = np.where(columns.pop(f"{name}_of") == count, columns[name], np.nan)
    return columns


def _part(role: Role, columns: Mapping[str, Floats]) -> Part:
    return Part(
        role,
        *(Amounts.of_floats(columns[name]) for name in ("import_mwh", "export_mwh")),
        *(columns[name] for name in ("soc", "stored_wh", "imported_wh", "exported_wh")),
        *(np.nan_to_num(columns[name]).astype(np.int64) for name in ("seen_s", "flags")),
    )


def _lasting_s(table: type[Model], starts: Floats, cluster: Cluster) -> Ints:
    """How long the rows of a table last that begin at `starts` (seconds since the epoch)."""
    if table is not ApplianceDay:
        return np.full(len(starts), SLOT_S if table is ApplianceSlot else 3600)
    zone, days = cluster.zone, [datetime.fromtimestamp(start, UTC) for start in starts]
    ends = [next_period(day, Resolution.DAY, zone) for day in days]
    return np.array([(end - day).total_seconds() for day, end in zip(days, ends, strict=True)], int)


def _flagged(by_role: Mapping[Role, Mapping[str, Floats]], length: int) -> dict[str, Ints]:
    """How much of what those of the balance saw arrived late, and of the rest was bridged."""
    seconds = {name: np.zeros(length, np.int64) for name in FLAGGED}
    for role, columns in by_role.items():
        if role is not Role.NONE:
            for name in FLAGGED:
                seconds[name] += np.nan_to_num(columns[name]).astype(np.int64)
    return seconds


# Its appliances one by one -----------------------------------------------------------------------


def _listed(
    cluster: Cluster,
    wanted: Sequence[Appliance],
    spans: Sequence[Span],
    table: type[Model],
    columns: Sequence[str],
) -> list[tuple[Device, Floats]]:
    """The rows of single appliances, each as columns, when they begin first."""
    if not wanted:
        return []
    rows = fetch(
        _rows_query(table, tuple(columns)),
        {
            **_while_there(wanted),
            "system": cluster.system.key,
            "from_at": spans[0].from_at,
            "until_at": spans[-1].until_at,
        },
    )
    return [
        (Device(one.key, one.pk, one.kind, one.capacity_wh), columns_of(sent, 1 + len(columns)))
        for one, (sent,) in zip(wanted, rows, strict=True)
    ]


@cache
def _rows_query(table: type[Model], columns: tuple[str, ...]) -> str:
    return f"""
        SELECT (
            SELECT {numbers([START, *columns], order="start")} FROM {table._meta.db_table}
            WHERE system_key = %(system)s AND appliance_key = member.key
                AND start >= %(from_at)s AND start < %(until_at)s
                AND (start < removed_at) IS NOT FALSE
        )
        FROM unnest(%(keys)s::int[], %(removed)s::timestamptz[])
            WITH ORDINALITY AS member (key, removed_at, number)
        ORDER BY number
    """  # noqa: S608 - names of our own
