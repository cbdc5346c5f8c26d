"""How much there was to be seen of systems, clusters, pools and appliances, and how much was."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

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
    return _seconds_of(_in_balance(_stays(systems), appliances), spans, now)


def judged(
    past: Past, *, system: int, appliances: Collection[int] | None = None, now: datetime
) -> tuple[Ints, list[list[float | None]]]:
    """`seconds_to_see` of a past of one system (key), and of each of its devices what
    `device_shares` says; who was there from when until when is read once for both."""
    stays = list(_stays([system]))
    to_see_s = _seconds_of(_in_balance(stays, appliances), past.spans, now)
    return to_see_s, [_shares_of(device, past.spans, stays, now) for device in past.devices]


def seconds_of_each(
    span: Span, *, systems: Collection[int], now: datetime
) -> dict[int, dict[int, int]]:
    """By system and appliance (keys), for how long each was to be seen in a span until now: all
    that take part in the balances of these systems."""
    begin_ms, end_ms = to_ms(span.from_at), to_ms(_judged_until(span, now))
    found: dict[int, dict[int, int]] = {}
    for stay in _in_balance(_stays(systems)):
        stayed = min(end_ms, stay.until_ms) - max(begin_ms, stay.from_ms)
        found.setdefault(stay.system, {})[stay.appliance] = max(stayed, 0) // 1000
    return found


def device_shares(
    device: DevicePast, spans: Sequence[Span], *, system: int, now: datetime
) -> list[float | None]:
    """Of each span that an appliance is known of in a system (key), which share was seen of the
    time until now that it was there (0–1)."""
    return _shares_of(device, spans, _stays([system]), now)


def _judged_until(span: Span, now: datetime) -> datetime:
    """Of a running span the part until now counts; of one longer than a slot, the slots that are
    over."""
    is_slot = span.until_at - span.from_at <= SLOT
    return min(span.until_at, now if is_slot else slot_start(now))


class _Stay(NamedTuple):
    """An appliance was to be seen in a system (keys), [from_ms, until_ms) since the epoch."""

    system: int
    appliance: int
    from_ms: int
    until_ms: int
    is_in_balance: bool


def _in_balance(
    stays: Iterable[_Stay], appliances: Collection[int] | None = None
) -> Iterator[_Stay]:
    """Those of appliances that take part in the balance: of all, or of these alone."""
    for stay in stays:
        if stay.is_in_balance and (appliances is None or stay.appliance in appliances):
            yield stay


def _seconds_of(stays: Iterable[_Stay], spans: Sequence[Span], now: datetime) -> Ints:
    """Of each span, how long these stays are until now, all together."""
    begin_ms = np.array([to_ms(span.from_at) for span in spans], np.int64)
    end_ms = np.array([to_ms(_judged_until(span, now)) for span in spans], np.int64)
    to_see_ms = np.zeros(len(spans), np.int64)
    for stay in stays:
        stayed = np.minimum(end_ms, stay.until_ms) - np.maximum(begin_ms, stay.from_ms)
        to_see_ms += np.maximum(stayed, 0)
    return to_see_ms // 1000


def _shares_of(
    device: DevicePast, spans: Sequence[Span], stays: Iterable[_Stay], now: datetime
) -> list[float | None]:
    known = [spans[index] for index in device.known.tolist()]
    own = [stay for stay in stays if stay.appliance == device.appliance.key]
    to_see_s = _seconds_of(own, known, now)
    return list(map(share_of, device.columns["seen_s"].tolist(), to_see_s.tolist()))


def _stays(systems: Collection[int]) -> Iterator[_Stay]:
    """From when until when appliances were to be seen in these systems.

    Who was there when a system was first measured is taken to have been so before: a day that was
    measured from noon on was seen by half, and a year with only this day by hardly anything.
    """
    for system, stays in load_membership(systems).stays.items():
        first_ms = min(stay.from_ms for stay in stays.values())
        for key, stay in stays.items():
            from_ms = _EVER_BEFORE_MS if stay.from_ms == first_ms else stay.from_ms
            is_in_balance = stay.member.role is not Role.NONE
            yield _Stay(system, key, from_ms, stay.until_ms, is_in_balance)
