"""A dynamic limit: what a grid connection leaves to the members of a cluster."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flexibility.allotment.terms import Limit, Member, PhaseWatts, Side

_PHASES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a meter measures now: positive is import, negative feed-in."""

    power_w: float
    phases_w: PhaseWatts | None = None


def headroom(limit: Limit, *, meter: Measured | None, members: Iterable[Member]) -> Limit:
    """What may be allotted: a connection's limit less the load beside the members.

    That load is what the meter measures less what the members do, as a whole and on each phase for
    which the limit says something. Where that is beyond the limit already, the result is below 0
    (for `min_w`: above), and says by how much.

    A member that is stale, or of which nothing was measured, may have had any power while the
    meter was read. It is taken to have had what leaves the least to the others: to have fed in all
    that it can, where drawing is limited. Of one whose phases are unknown, what helps is on none of
    them.

    A stale meter (None) leaves nothing, nor does one that measures no phases to a limit on phases.
    """
    members = list(members)
    changes: dict[str, float | PhaseWatts] = {}
    for side, of_sum, of_phases in (
        (Side.MAX, limit.max_w, limit.phase_max_w),
        (Side.MIN, limit.min_w, limit.phase_min_w),
    ):
        if of_sum is not None:
            measured = meter and meter.power_w
            changes[f"{side}_w"] = _left(of_sum, measured, [_power(m, side) for m in members])
        if of_phases is not None:
            measured_w = (meter and meter.phases_w) or (None, None, None)
            changes[f"phase_{side}_w"] = tuple(
                _left(bound, power, [_phase_power(m, phase, side) for m in members])
                for phase, bound, power in zip(_PHASES, of_phases, measured_w, strict=True)
            )
    return replace(limit, **changes)


def _left(limit_w: float, meter_w: float | None, members_w: Sequence[float | None]) -> float:
    if meter_w is None or None in members_w:
        return 0.0
    return limit_w - (meter_w - sum(members_w))


def _power(member: Member, side: Side) -> float | None:
    """What a member did when the meter was read, at worst for a side; None: anything."""
    if member.measured_w is not None and not member.is_stale:
        return member.measured_w
    other = Side.MIN if side is Side.MAX else Side.MAX
    worst = member.worst_w(other)
    return None if worst is None else other.sign * worst


def _phase_power(member: Member, phase: int, side: Side) -> float | None:
    if member.measured_phases_w is not None and not member.is_stale:
        return member.measured_phases_w[phase - 1]
    power = _power(member, side)
    if power is None:
        return None
    if member.phases:
        return power / len(member.phases) if phase in member.phases else 0.0
    return min(power, 0.0) if side is Side.MAX else max(power, 0.0)
