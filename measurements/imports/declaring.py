"""How often an appliance was read, as a recording tells, among what was declared before.

A recording speaks of its own stretches only: behind each of them holds again what held there
before, whatever is declared later. Within them it speaks alone where nothing else was read. Where
readings stood before, the longer of both intervals counts, because all readings of an appliance
are one series to the computation: the interval says no more than across what pauses that series is
bridged (`measurements.energy`). With the shorter one, whichever came first or last, the pauses
between the readings of the coarser series would become gaps and their energy would be lost; with
the longer one nothing is lost, at the price that a pause of the finer series is bridged as far as
it would be in the coarser one.

Slots that were computed with another gap are marked, so that they are at once what a rebuild
would make of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

import numpy as np
from django.db import connection

from inventory.kinds import LONGEST_INTERVAL_S
from inventory.models import Appliance
from measurements.batches import Batch
from measurements.energy import Nominal
from measurements.imports.cadence import Cadence, Stretch, joined
from measurements.models import Cause, DeclaredInterval, Reading
from measurements.plausibility import EARLIEST
from measurements.resolutions import SLOT_MS, Span, from_ms, to_ms
from measurements.slots.rebuilding import mark_computed

_DAY_MS = 96 * SLOT_MS
# From when on (ms, ascending) an appliance is read every so many seconds.
Steps = Sequence[tuple[int, int]]

# Only between readings of these does it matter what a pause is.
_BRIDGED = ("power_w", "imported_wh", "exported_wh")


@dataclass(frozen=True, slots=True)
class Told:
    """A recording reads every `interval_s` seconds in [from_ms, until_ms)."""

    from_ms: int
    until_ms: int
    interval_s: int


def bridged(batch: Batch) -> np.ndarray:
    """Where in a batch something is read that is bridged to the next: a counter, or power."""
    return np.logical_or.reduce([np.isfinite(batch.column(name)) for name in _BRIDGED])


@dataclass
class Stood:
    """What stood of a system's appliances on the days of a recording before it came."""

    system_key: int
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _stretches: dict[int, list[Stretch]] = field(default_factory=dict)

    def look(self, batch: Batch) -> None:
        """Look at the days of UTC that a batch is the first to bring, before it is stored."""
        day = batch.at_ms // _DAY_MS
        begins = np.flatnonzero(
            (np.diff(day, prepend=-1) != 0) | (np.diff(batch.appliance_key, prepend=-1) != 0)
        )
        days = set(zip(batch.appliance_key[begins].tolist(), day[begins].tolist(), strict=True))
        if not (news := sorted(days - self._seen)):
            return
        self._seen.update(news)
        keys, numbers = map(list, zip(*news, strict=True))
        bounds = [min(numbers), max(numbers)]
        with connection.cursor() as cursor:
            cursor.execute(_STOOD, [keys, numbers, self.system_key, *bounds])
            for key, first_ms, last_ms in cursor.fetchall():
                self._stretches.setdefault(key, []).append(Stretch(first_ms, last_ms))

    def stretches(self, appliance_key: int) -> list[Stretch]:
        """From when to when an appliance had been read, in order of time."""
        return joined(self._stretches.get(appliance_key, ()))


_DAY_BEGINS = "'epoch'::timestamptz + {} * interval '24 hours'"
# The bounds of all the days once more: then only the partitions that they lie in are looked at.
_STOOD = f"""
SELECT key, (extract(epoch FROM first_at) * 1000)::bigint,
    (extract(epoch FROM last_at) * 1000)::bigint
FROM unnest(%s::int[], %s::int[]) AS day (key, number) CROSS JOIN LATERAL (
    SELECT min(at) AS first_at, max(at) AS last_at FROM measurements_reading
    WHERE system_key = %s AND appliance_key = key AND num_nonnulls({", ".join(_BRIDGED)}) > 0
    AND at >= {_DAY_BEGINS.format("%s")} AND at < {_DAY_BEGINS.format("(%s + 1)")}
    AND at >= {_DAY_BEGINS.format("number")} AND at < {_DAY_BEGINS.format("(number + 1)")}
) AS stood
WHERE first_at IS NOT NULL
"""  # noqa: S608 - names of our own


def told_by(cadence: Cadence) -> list[Told]:
    """How often a recording was read, in order of time and only where it was.

    A single instant between long pauses says nothing; so whatever is read that seldom leaves no
    trace, and needs none: no interval would bridge it.
    """
    intervals = [(at, min(one_s, LONGEST_INTERVAL_S)) for at, one_s in cadence.intervals()]
    found = []
    for stretch in cadence.stretches():
        if stretch.first_ms == stretch.last_ms:
            continue
        changes = [at for at, _one_s in intervals if stretch.first_ms < at <= stretch.last_ms]
        begins = [stretch.first_ms, *changes]
        lengths_s = [_holding(intervals, begin) for begin in begins]
        ends = [*changes, stretch.last_ms + 1000 * lengths_s[-1]]
        found += map(Told, begins, ends, lengths_s)
    return found


def declare_told(
    *, appliance: Appliance, told: Sequence[Told], stood: Sequence[Stretch], now: datetime
) -> int:
    """Declare what a recording told of an appliance, within what is declared already.

    `stood`: where it had been read before. In the transaction in which the readings are stored.
    The same once more changes nothing. Returns how many computed slots were marked, because
    another pause is bridged in them now.
    """
    if not told:
        return 0
    of_appliance = DeclaredInterval.objects.filter(
        system_key=appliance.system.key, appliance_key=appliance.key
    )
    rows = list(of_appliance.order_by("valid_from").values_list("valid_from", "interval_s"))
    declared = [(to_ms(valid_from), interval_s) for valid_from, interval_s in rows]
    before = declared or [(told[0].from_ms, appliance.interval_s)]
    after = superseded(before, told, stood)
    if after[0][1] != before[0][1] and _was_read_before(appliance, after[0][0]):
        # Of what lies before all declarations the first one holds; what it was, it stays.
        after = [(to_ms(EARLIEST), before[0][1]), *after]
    lasting = set(declared).intersection(after)
    gone = [row[0] for row, step in zip(rows, declared, strict=True) if step not in lasting]
    of_appliance.filter(valid_from__in=gone).delete()
    DeclaredInterval.objects.bulk_create(
        DeclaredInterval(
            system_key=appliance.system.key,
            appliance_key=appliance.key,
            valid_from=from_ms(at_ms),
            interval_s=interval_s,
        )
        for at_ms, interval_s in after
        if (at_ms, interval_s) not in lasting
    )
    spans = _bridged_otherwise(before, after)
    if not spans:
        return 0
    return mark_computed(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        spans=spans,
        cause=Cause.IMPORT,
        now=now,
    )


def superseded(before: Steps, told: Iterable[Told], stood: Sequence[Stretch]) -> Steps:
    """What is declared (at least one step) with what a recording told in its place.

    In order of time; `stood` is where readings stood before that are not the recording's alone.
    """
    steps = dict(before)
    # The pause behind the last reading of a stretch is one of it, too.
    mixed = [(one.first_ms, one.last_ms + 1000 * _holding(before, one.last_ms)) for one in stood]
    edges = sorted({*steps, *chain.from_iterable(mixed)})
    for one in told:
        within = edges[bisect_right(edges, one.from_ms) : bisect_left(edges, one.until_ms)]
        for edge in (one.from_ms, *within):
            held_s = _holding(before, edge) if _lies_in(mixed, edge) else 0
            steps[edge] = max(one.interval_s, held_s)
        steps.setdefault(one.until_ms, _holding(before, one.until_ms))
    ordered = sorted(steps.items())
    befores = [None, *(interval_s for _at_ms, interval_s in ordered)]
    return [step for step, last_s in zip(ordered, befores, strict=False) if step[1] != last_s]


def _lies_in(spans: Sequence[tuple[int, int]], at_ms: int) -> bool:
    """Whether one of these spans, [begin, end) in order of time, has an instant in it."""
    number = bisect_right(spans, at_ms, key=lambda span: span[0]) - 1
    return number >= 0 and at_ms < spans[number][1]


def _holding(steps: Steps, at_ms: int) -> int:
    """The interval that holds at an instant; before the first step it is that one's."""
    number = bisect_right(steps, at_ms, key=lambda step: step[0]) - 1
    return steps[max(number, 0)][1]


def _was_read_before(appliance: Appliance, at_ms: int) -> bool:
    readings = Reading.objects.filter(
        system_key=appliance.system.key, appliance_key=appliance.key, at__lt=from_ms(at_ms)
    )
    return readings.exists()


def _bridged_otherwise(before: Steps, after: Steps) -> list[Span]:
    """Where the longest pause that is bridged is another one than before."""
    edges = np.unique([at_ms for at_ms, _interval_s in (*before, *after)])
    differs = Nominal(before).gap_ms(edges) != Nominal(after).gap_ms(edges)
    # Behind the last one holds what held before.
    return [
        Span(from_ms(edges[number]), from_ms(edges[number + 1]))
        for number in np.flatnonzero(differs[:-1])
    ]
