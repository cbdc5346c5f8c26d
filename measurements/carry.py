"""What the counters of one appliance hand on from slot to slot. Pure.

A carry is an array of `CARRY_SIZE` floats: of the imported, then of the exported counter, the
first three numbers of its `measurements.counters.State`; then the last three of each. They are
NaN for a counter that was never read.
"""

from collections.abc import Iterable

import numpy as np

from measurements.amounts import Floats, Ints
from measurements.counters import STATE_SIZE, Levels, State

CARRY_SIZE = 2 * STATE_SIZE
_ORDINARY = STATE_SIZE


def open_since(carry: Floats | None, *, imported: bool = True, exported: bool = True) -> int | None:
    """The settled reading from which on a new reading of these counters changes energies, in ms.

    None when there is none before.
    """
    if carry is None:
        return None
    last = [carry[at] for at, asked in ((0, imported), (3, exported)) if asked]
    known = [int(ms) for ms in last if not np.isnan(ms)]
    return min(known, default=None)


def unpack_carry(packed: bytes | None) -> Floats | None:
    """A carry out of what is stored of it: its numbers, or the first half where the others are NaN.

    None when no counter was ever read. Raises ValueError for bytes of any other length.
    """
    if packed is None:
        return None
    if len(packed) not in (8 * _ORDINARY, 8 * CARRY_SIZE):
        raise ValueError(f"Not a carry: {len(packed)} bytes")
    carry = np.full(CARRY_SIZE, np.nan)
    numbers = np.frombuffer(packed, "<f8")
    carry[: len(numbers)] = numbers
    return carry


def state_of(carry: Floats | None, direction: int) -> State | None:
    """The state of the imported (0) or exported (1) counter, None when it was never read."""
    if carry is None or np.isnan(carry[3 * direction]):
        return None
    settled, rest = 3 * direction, _ORDINARY + 3 * direction
    return State(*carry[settled : settled + 3].tolist(), *carry[rest : rest + 3].tolist())


def next_carries(
    carry: Floats | None, ends_ms: Ints, counters: Iterable[tuple[Ints, Levels | None]]
) -> Floats:
    """The carry at each slot's end, (m, CARRY_SIZE), from that before the first slot.

    `counters` are the instants at which each was read since then, and what was made of them.
    """
    before = np.full(CARRY_SIZE, np.nan) if carry is None else carry
    carries = np.tile(before, (len(ends_ms), 1))
    for direction, (at_ms, levels) in enumerate(counters):
        if levels is None or not len(at_ms):
            continue
        reading = np.searchsorted(at_ms, ends_ms) - 1
        first = int(np.searchsorted(reading, 0))  # the first slot with a reading before its end
        rows = levels.states[reading[first:]]
        settled, rest = 3 * direction, _ORDINARY + 3 * direction
        carries[first:, settled : settled + 3] = rows[:, :3]
        carries[first:, rest : rest + 3] = rows[:, 3:]
    return carries
