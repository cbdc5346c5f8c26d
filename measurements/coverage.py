"""How much there was to be seen of systems, clusters, pools and appliances, and how much was."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import numpy as np

from inventory.kinds import Role
from measurements.amounts import Ints, share_of
from measurements.history import DevicePast, Past
from measurements.resolutions import SLOT, Span, slot_start, to_ms
from measurements.slots.members import load_membership

_EVER_BEFORE_MS = 0


def seen_shares(past: Past, to_see_s: Ints) -> list[float | None]:
    """Of each span that is known, which part of the seconds to be seen was (0–1)."""
    return list(map(share_of, past.figures.seen_s.tolist(), to_see_s[past.known].tolist()))


def seconds_to_see(
    spans: Sequence[Span],
    *,
    systems: Collection[int],
    appliances: Collection[int] | None = None,
    now: datetime,
) -> Ints:
    """Of each span, for how long these were to be seen until now, all together.

    Of all appliances that take part in the balances of these systems (keys), or of those alone.
    """
    begin_ms = np.array([to_ms(span.from_at) for span in spans], np.int64)
    end_ms = np.array([to_ms(_judged_until(span, now)) for span in spans], np.int64)
    to_see_ms = np.zeros(len(spans), np.int64)
    for _system, key, from_ms, until_ms in _stays(systems):
        if appliances is None or key in appliances:
            stayed = np.minimum(end_ms, until_ms) - np.maximum(begin_ms, from_ms)
            to_see_ms += np.maximum(stayed, 0)
    return to_see_ms // 1000


def seconds_of_each(
    span: Span, *, systems: Collection[int], now: datetime
) -> dict[int, dict[int, int]]:
    """By system and appliance (keys), for how long each was to be seen in a span until now: all
    that take part in the balances of these systems."""
    begin_ms, end_ms = to_ms(span.from_at), to_ms(_judged_until(span, now))
    found: dict[int, dict[int, int]] = {}
    for system, key, from_ms, until_ms in _stays(systems):
        stayed = min(end_ms, until_ms) - max(begin_ms, from_ms)
        found.setdefault(system, {})[key] = max(stayed, 0) // 1000
    return found


def device_shares(
    device: DevicePast, spans: Sequence[Span], *, now: datetime
) -> list[float | None]:
    """Of each span that an appliance is known of, which share was seen until now."""
    known = [spans[index] for index in device.known.tolist()]
    elapsed_s = [(_judged_until(span, now) - span.from_at).total_seconds() for span in known]
    return list(map(share_of, device.columns["seen_s"].tolist(), elapsed_s))


def _judged_until(span: Span, now: datetime) -> datetime:
    """Of a running span the part until now counts; of one longer than a slot, the slots that are
    over."""
    is_slot = span.until_at - span.from_at <= SLOT
    return min(span.until_at, now if is_slot else slot_start(now))


def _stays(systems: Collection[int]) -> Iterator[tuple[int, int, int, int]]:
    """(system, appliance, from ms, until ms) of all that take part in these systems' balances.

    Who was there when a system was first measured is taken to have been so before: a day that was
    measured from noon on was seen by half, and a year with only this day by hardly anything.
    """
    for system, stays in load_membership(systems).stays.items():
        first_ms = min(stay.from_ms for stay in stays.values())
        for key, stay in stays.items():
            if stay.member.role is not Role.NONE:
                from_ms = _EVER_BEFORE_MS if stay.from_ms == first_ms else stay.from_ms
                yield system, key, from_ms, stay.until_ms
