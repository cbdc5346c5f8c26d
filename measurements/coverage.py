"""How much there was to be seen of single appliances, clusters and pools, and how much was."""

from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np

from inventory.kinds import Role
from measurements.amounts import Ints
from measurements.history import DevicePast, Past
from measurements.resolutions import Resolution, Span, slot_start, to_ms
from measurements.slots.members import load_membership


def seen_shares(
    past: Past,
    *,
    systems: Collection[int],
    appliances: Collection[int] | None = None,
    now: datetime,
) -> list[float | None]:
    """Of each span known, which share was seen until now; None where nothing was to be seen.

    Of all appliances that take part in the balances of these systems (keys), or of those alone.
    """
    whole = seconds_to_see(past, systems=systems, appliances=appliances, now=now).tolist()
    return [
        min(seen_s / whole_s, 1.0) if whole_s else None
        for seen_s, whole_s in zip(past.figures.seen_s.tolist(), whole, strict=True)
    ]


def seconds_to_see(
    past: Past,
    *,
    systems: Collection[int],
    appliances: Collection[int] | None = None,
    now: datetime,
) -> Ints:
    """Of each span known, for how long these were to be seen until now, all together."""
    known = [past.spans[index] for index in past.known.tolist()]
    return _expected_s(known, systems, appliances, now)


def judged_at(resolution: Resolution, now: datetime) -> datetime:
    """Until when the spans of groups are judged: those longer than a slot, by the slots that are
    over."""
    return now if resolution is Resolution.QUARTER else slot_start(now)


def seconds_of_each(
    span: Span, *, systems: Collection[int], now: datetime
) -> dict[int, dict[int, int]]:
    """By system and appliance (keys), for how long each was to be seen in a span until now: all
    that take part in the balances of these systems."""
    begin_ms, end_ms = to_ms(span.from_at), to_ms(min(span.until_at, now))
    return {
        system: {
            key: max(min(end_ms, stay.until_ms) - max(begin_ms, stay.from_ms), 0) // 1000
            for key, stay in stays.items()
            if stay.member.role is not Role.NONE
        }
        for system, stays in load_membership(systems).stays.items()
    }


def device_shares(
    device: DevicePast, spans: Sequence[Span], *, now: datetime
) -> list[float | None]:
    """Of each span that an appliance is known of, which share was seen until now."""
    known = [spans[index] for index in device.known.tolist()]
    elapsed_s = [(min(span.until_at, now) - span.from_at).total_seconds() for span in known]
    return [
        min(seen_s / whole_s, 1.0) if whole_s > 0 else None
        for seen_s, whole_s in zip(device.columns["seen_s"].tolist(), elapsed_s, strict=True)
    ]


def _expected_s(
    spans: Sequence[Span],
    systems: Collection[int],
    appliances: Collection[int] | None,
    now: datetime,
) -> Ints:
    """For how long they belonged to their systems, all together, in each span until now."""
    begin_ms = np.array([to_ms(span.from_at) for span in spans], np.int64)
    end_ms = np.array([to_ms(min(span.until_at, now)) for span in spans], np.int64)
    expected_ms = np.zeros(len(spans), np.int64)
    for stays in load_membership(systems).stays.values():
        for key, stay in stays.items():
            is_meant = appliances is None or key in appliances
            if is_meant and stay.member.role is not Role.NONE:
                stayed = np.minimum(end_ms, stay.until_ms) - np.maximum(begin_ms, stay.from_ms)
                expected_ms += np.maximum(stayed, 0)
    return expected_ms // 1000
