"""What belongs together: runs of dirty slots, with all that changes with them and lies around.

`measurements.energy` says what a run of slots needs besides its own readings, and how far a
change reaches; this module asks the database for just that.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.db import connection

from inventory.kinds import LONGEST_INTERVAL_S
from measurements.amounts import Floats
from measurements.carry import open_since, unpack_carry
from measurements.energy import LONGEST_GAP_MS, Nominal
from measurements.finality import final_spans
from measurements.resolutions import SLOT_MS, SLOT_S, slot_end_ms, slot_start_ms
from measurements.slots.claims import Run

LONGEST_INTERVAL_MS = 1000 * LONGEST_INTERVAL_S
# About so many readings are computed at a time.
_READINGS_AT_ONCE = 100_000
_LEAST_AT_ONCE = 96
_NEVER_MS = 1 << 52


@dataclass(frozen=True, slots=True)
class Context:
    """What lies around a run; None or empty where there is nothing (or nothing near enough).

    `imported_after_ms` and `exported_after_ms`: the next two readings of each counter. `counts`:
    whether there are readings of each within the run. `intervals_until_ms`: where the last
    interval ends of those that begin before the run's end. `slot_before_ms` is the last slot
    before the run as it is stored, and `carry` what it hands on.
    """

    power_before_ms: int | None
    power_after_ms: int | None
    imported_after_ms: list[int]
    exported_after_ms: list[int]
    counts: tuple[bool, bool]
    intervals_until_ms: int | None
    slot_before_ms: int | None
    carry: Floats | None

    @property
    def reaches(self) -> tuple[list[int], list[int]]:
        """The instants before and after the run up to which its readings tell something."""
        before = [self.power_before_ms]
        after = [self.power_after_ms, self.intervals_until_ms]
        imported, exported = self.counts
        if imported or exported:
            before.append(open_since(self.carry, imported=imported, exported=exported))
        after += self.imported_after_ms[-1:] if imported else []
        after += self.exported_after_ms[-1:] if exported else []
        return [ms for ms in before if ms is not None], [ms for ms in after if ms is not None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A run, or a part of one, that is computed at a time.

    `barrier_ms`: readings from there on tell nothing of it, because between them and it there
    are slots that are final.
    """

    run: Run
    barrier_ms: int = _NEVER_MS


def unnested(*keys: str, instants: Sequence[str]) -> str:
    """SQL of a table of runs, from arrays as `columns_of` gives them, with their `number`."""
    names = (*keys, *(f"{name}_ms" for name in instants))
    arrays = ", ".join(["%s::int[]"] * len(keys) + ["%s::bigint[]"] * len(instants))
    columns = [
        *keys,
        *(f"'epoch'::timestamptz + {n}_ms * interval '1 ms' AS {n}" for n in instants),
    ]
    return (
        f"(SELECT number, {', '.join(columns)}"  # noqa: S608 - names of this project's own
        f" FROM unnest({arrays}) WITH ORDINALITY AS given ({', '.join(names)}, number))"
    )


def widened(dirty: Sequence[Run]) -> list[Run]:
    """The runs with all slots that their readings can change; those that meet become one."""
    found: list[Run] = []
    contexts = contexts_of([Piece(run) for run in dirty])
    for run, context in zip(dirty, contexts, strict=True):
        before, after = context.reaches
        wide = replace(
            run,
            from_ms=min([run.from_ms, *map(slot_start_ms, before)]),
            until_ms=max([run.until_ms, *map(slot_end_ms, after)]),
        )
        while found and found[-1].of == wide.of and wide.from_ms <= found[-1].until_ms:
            last = found.pop()
            wide = replace(
                wide,
                from_ms=min(last.from_ms, wide.from_ms),
                until_ms=max(last.until_ms, wide.until_ms),
                reason=last.reason | wide.reason,
            )
        found.append(wide)
    return found


def pieces_of(
    runs: Sequence[Run], nominals: dict[tuple[int, int], Nominal], slots_at_once: int
) -> list[Piece]:
    """The runs without slots that are final, in pieces small enough to be computed at a time."""
    found: list[Piece] = []
    for run, finals in zip(runs, final_spans([(*r.of, r.from_ms) for r in runs]), strict=True):
        interval_s = _least_interval_s(nominals[run.of])
        at_once = max(_LEAST_AT_ONCE, int(_READINGS_AT_ONCE * interval_s / SLOT_S))
        for part, barrier_ms in _between(run, finals):
            found += _cut(part, barrier_ms, min(at_once, slots_at_once))
    return found


def _least_interval_s(nominal: Nominal) -> float:
    if isinstance(nominal.interval_s, int | float):
        return nominal.interval_s
    return min(interval_s for _from_ms, interval_s in nominal.interval_s)


def _between(run: Run, finals: Sequence[tuple[int, int]]) -> Iterator[tuple[Run, int]]:
    """What of a run lies outside of final spans (ascending), each with the next one's start."""
    from_ms = run.from_ms
    for final_from, final_until in finals:
        if from_ms < min(final_from, run.until_ms):
            until_ms = min(final_from, run.until_ms)
            yield replace(run, from_ms=from_ms, until_ms=until_ms), final_from
        from_ms = max(from_ms, final_until)
    if from_ms < run.until_ms:
        yield replace(run, from_ms=from_ms), _NEVER_MS


def _cut(run: Run, barrier_ms: int, slots: int) -> Iterator[Piece]:
    for from_ms in range(run.from_ms, run.until_ms, slots * SLOT_MS):
        until_ms = min(from_ms + slots * SLOT_MS, run.until_ms)
        piece = replace(run, from_ms=from_ms, until_ms=until_ms)
        yield Piece(piece, barrier_ms)


def contexts_of(pieces: Sequence[Piece]) -> list[Context]:
    """What lies around each piece, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_CONTEXT, columns_of(pieces))
        return [
            Context(
                power_before_ms=power_before,
                power_after_ms=power_after,
                imported_after_ms=imported_after or [],
                exported_after_ms=exported_after or [],
                counts=(imported, exported),
                intervals_until_ms=intervals_until,
                slot_before_ms=slot_before,
                carry=unpack_carry(None if carry is None else bytes(carry)),
            )
            for (
                power_before,
                power_after,
                imported_after,
                exported_after,
                imported,
                exported,
                intervals_until,
                slot_before,
                carry,
            ) in cursor.fetchall()
        ]


def columns_of(pieces: Sequence[Piece]) -> list[list[int]]:
    """Keys, bounds and barriers of pieces as arrays for the database."""
    return [
        [piece.run.system_key for piece in pieces],
        [piece.run.appliance_key for piece in pieces],
        [piece.run.from_ms for piece in pieces],
        [piece.run.until_ms for piece in pieces],
        [piece.barrier_ms for piece in pieces],
    ]


def _ms(expression: str) -> str:
    return f"(extract(epoch FROM {expression}) * 1000)::bigint"


def _two_after(counter: str) -> str:
    # The first reading of a counter after a run may be held back, the second settles it.
    return f"""CASE WHEN knows_{counter} THEN ARRAY(
        SELECT {_ms("at")} FROM measurements_reading AS r WHERE {_OF_RUN}
        AND at >= until_at AND at < barrier AND r.{counter} IS NOT NULL
        ORDER BY at LIMIT 2) END"""  # noqa: S608 - names of this project's own


def _knows(counter: str, carried_at: int) -> str:
    # Nobody looks for a counter that was not read before: it would take long, and what comes of it
    # later tells nothing of the run. Slots before it that are still to be computed will reach on
    # to the run; but a run in pieces has to know of what is in and before any of them.
    carried = f"substring(carry FROM {8 * carried_at + 1} FOR 8) <> '{_NAN}'::bytea"
    return f"bool_or(has_{counter} OR {carried}) OVER whose AS knows_{counter}"


def _is_within(counter: str) -> str:
    return f"""EXISTS (SELECT FROM measurements_reading AS r WHERE {_OF_RUN}
        AND at >= from_at AND at < until_at AND r.{counter} IS NOT NULL)"""


_NAN = rf"\x{struct.pack('<d', math.nan).hex()}"
_OF_RUN = "r.system_key = run.system_key AND r.appliance_key = run.appliance_key"
_GAP = f"interval '{LONGEST_GAP_MS} ms'"
_CONTEXT = f"""
SELECT
    {
    _ms(f'''(SELECT at FROM measurements_reading AS r WHERE {_OF_RUN}
        AND at < from_at AND at >= from_at - {_GAP}
        AND power_w IS NOT NULL ORDER BY at DESC LIMIT 1)''')
},
    {
    _ms(f'''(SELECT at FROM measurements_reading AS r WHERE {_OF_RUN}
        AND at >= until_at AND at < LEAST(until_at + {_GAP}, barrier)
        AND power_w IS NOT NULL ORDER BY at LIMIT 1)''')
},
    {_two_after("imported_wh")},
    {_two_after("exported_wh")},
    run.has_imported_wh,
    run.has_exported_wh,
    {
    _ms(f'''(SELECT max(at + interval_s * interval '1 s') FROM measurements_reading AS r
        WHERE {_OF_RUN} AND at < until_at
        AND at > until_at - interval '{LONGEST_INTERVAL_MS} ms')''')
},
    {_ms("slot_before")},
    carry
FROM (
    SELECT *, {_knows("imported_wh", 0)}, {_knows("exported_wh", 3)}
    FROM (
        SELECT run.*, slot.start AS slot_before, slot.carry,
            {_is_within("imported_wh")} AS has_imported_wh,
            {_is_within("exported_wh")} AS has_exported_wh
        FROM {unnested("system_key", "appliance_key", instants=("from_at", "until_at", "barrier"))}
            AS run
        LEFT JOIN LATERAL (SELECT start, carry FROM measurements_applianceslot AS r
            WHERE {_OF_RUN} AND start < from_at ORDER BY start DESC LIMIT 1) AS slot ON TRUE
    ) AS run
    WINDOW whose AS (PARTITION BY system_key, appliance_key)
) AS run
ORDER BY number
"""  # noqa: S608 - put together from this module's own names
