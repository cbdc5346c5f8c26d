"""Carries what batteries hold on through the slots behind a change.

What a battery's energy came from goes on from slot to slot, until nothing of it is left. Of all
that a slot says only two figures follow from that: how much of the battery's energy came from the
grid, and how much of what it gave did. So a change of the grid's share alone is carried on through
slots as they are stored, with nothing computed but these two.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from measurements import staging
from measurements.amounts import Amounts, Bools, Ints
from measurements.extraction import extract
from measurements.flows import carry_battery
from measurements.resolutions import SLOT_MS
from measurements.slots.runs import unnested
from measurements.slots.stretches import Stretch

# How far at a time, until nothing changes any more.
_SLOTS_AT_ONCE = 192


@dataclass(frozen=True, slots=True)
class Change:
    """From `from_ms` on a system's slots go on from another share of the grid than until now."""

    system_key: int
    from_ms: int
    held: tuple[int, int]


def carry_on(cursor, changes: Sequence[Change]) -> tuple[list[Stretch], int]:
    """Carry these changes on, each of another system, until what follows is what it was.

    Returns the stretches in which anything is different now, and how many of their slots are.
    """
    done: list[Stretch] = []
    written = 0
    while changes:
        carried = [
            _carried(change, columns)
            for change, columns in zip(changes, _read(cursor, changes), strict=True)
        ]
        written += _write(cursor, carried)
        done += [each.stretch for each in carried]
        changes = [each.onward for each in carried if each.onward]
    return done, written


@dataclass(frozen=True, slots=True, eq=False)
class _Carried:
    """The two figures of the slots of a stretch that there are; `onward` where it goes on."""

    stretch: Stretch
    start_ms: Ints
    via: Ints
    from_grid: Ints
    differs: Bools
    onward: Change | None


def _carried(change: Change, columns: dict[str, np.ndarray]) -> _Carried:
    # Where there is no battery any more, nothing is carried on.
    (gone,) = np.nonzero(columns["stored"] == staging.NO_BIG)
    end = int(gone[0]) if len(gone) else len(columns["stored"])
    # What is stored is so whatever its share: it stands for what was measured.
    stored = Amounts(columns["stored"][:end], np.ones(end, np.bool_))
    flows = (columns[name][:end] for name in ("charge", "discharge", "grid_to_battery"))
    _stored, from_grid, via = carry_battery(*flows, stored, before=change.held)
    (as_before,) = np.nonzero(from_grid == columns["from_grid"][:end])
    if len(as_before):
        end = int(as_before[0]) + 1
    start_ms, from_grid, via = columns["start"][:end].astype(np.int64), from_grid[:end], via[:end]
    ends_here = bool(len(gone) or len(as_before) or end < _SLOTS_AT_ONCE)
    until_ms = int(start_ms[-1]) + SLOT_MS if end else change.from_ms
    return _Carried(
        stretch=Stretch(change.system_key, change.from_ms, until_ms),
        start_ms=start_ms,
        via=via,
        from_grid=from_grid,
        differs=(from_grid != columns["from_grid"][:end]) | (via != columns["via"][:end]),
        onward=None
        if ends_here
        else Change(change.system_key, until_ms, (int(stored.values[-1]), int(from_grid[-1]))),
    )


_READ = {
    "start": "start",
    "charge": "COALESCE(charge_mwh, 0)",
    "discharge": "COALESCE(discharge_mwh, 0)",
    "grid_to_battery": "COALESCE(grid_to_battery_mwh, 0)",
    "stored": f"COALESCE(stored_mwh, {staging.BIG.null})",
    "from_grid": "COALESCE(stored_from_grid_mwh, 0)",
    "via": "COALESCE(grid_via_battery_mwh, 0)",
}
_SLOTS_BEHIND = f"""
SELECT slots.*
FROM {unnested("system_key", instants=("from_at",))} AS change
CROSS JOIN LATERAL (
    SELECT {", ".join(f"array_agg({sql})" for sql in _READ.values())}
    FROM (
        SELECT * FROM measurements_systemslot AS slot
        WHERE slot.system_key = change.system_key AND slot.start >= change.from_at
        ORDER BY start LIMIT %s
    ) AS ordered
) AS slots
ORDER BY number
"""  # noqa: S608 - put together from this module's own names


def _read(cursor, changes: Sequence[Change]) -> list[dict[str, np.ndarray]]:
    """For each change the columns of the slots behind it, in order."""
    arguments = [
        [change.system_key for change in changes],
        [change.from_ms for change in changes],
        _SLOTS_AT_ONCE,
    ]
    with closing(extract(cursor, _SLOTS_BEHIND, arguments)) as rows:
        return [dict(zip(_READ, columns, strict=True)) for columns in rows]


_CARRIED = staging.StagingTable(
    "carried_staging",
    {
        "system_key": staging.INTEGER,
        "start": staging.INSTANT,
        "via": staging.BIG,
        "from_grid": staging.BIG,
    },
)
_UPDATE = f"""
UPDATE measurements_systemslot AS slot
SET stored_from_grid_mwh = new.from_grid,
    grid_via_battery_mwh = CASE WHEN grid_via_battery_mwh IS NOT NULL THEN new.via END
FROM {_CARRIED.name} AS new
WHERE slot.system_key = new.system_key AND slot.start = new.start
"""  # noqa: S608 - put together from this module's own names


def _write(cursor, carried: Sequence[_Carried]) -> int:
    counts = [int(each.differs.sum()) for each in carried]
    if not any(counts):
        return 0

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(each, name)[each.differs] for each in carried])

    _CARRIED.prepare(cursor)
    _CARRIED.copy(
        cursor,
        {
            "system_key": np.repeat([each.stretch.system_key for each in carried], counts),
            "start": joined("start_ms"),
            "via": joined("via"),
            "from_grid": joined("from_grid"),
        },
    )
    cursor.execute(_UPDATE)
    return sum(counts)
