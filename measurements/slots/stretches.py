"""Stretches: consecutive slots of one system that are computed together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from measurements.resolutions import SLOT_MS

# Changed slots no further apart than this are computed as one run.
_JOIN_MS = 96 * SLOT_MS


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Consecutive slots of one system: [from_ms, until_ms), since the epoch."""

    system_key: int
    from_ms: int
    until_ms: int

    @property
    def length(self) -> int:
        return (self.until_ms - self.from_ms) // SLOT_MS


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The stretches in order; those that overlap or are near each other become one."""
    found: list[Stretch] = []
    for stretch in sorted(stretches):
        last = found[-1] if found else None
        if (
            last
            and last.system_key == stretch.system_key
            and stretch.from_ms <= last.until_ms + _JOIN_MS
        ):
            until_ms = max(last.until_ms, stretch.until_ms)
            found[-1] = Stretch(last.system_key, last.from_ms, until_ms)
        else:
            found.append(stretch)
    return found


def columns_of_stretches(stretches: Sequence[Stretch]) -> list[list[int]]:
    """Their keys and bounds as arrays for the database."""
    return [
        [stretch.system_key for stretch in stretches],
        [stretch.from_ms for stretch in stretches],
        [stretch.until_ms for stretch in stretches],
    ]
