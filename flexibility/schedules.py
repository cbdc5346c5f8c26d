"""From timelines to what a gateway is told: its schedule of the next two days. Pure.

A schedule is a list of `{"local_id", "appliance", "segments", "fail_safe"}` in the words of the
gateway link: W and Wh, instants in ms since the epoch. What is None is left out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flexibility.resolver import Boundary, OutcomeKind, Segment

# Where a grid operator dims, the fail-safe joins when the cloud is not heard for so long.
HEARTBEAT_S = 120
_VALUES = ("min_w", "max_w", "set_point_w", "min_wh", "max_wh")
_STANDING = {OutcomeKind.BINDING, OutcomeKind.REDUNDANT}


def appliance_timeline(
    *,
    local_id: str,
    appliance: str,
    segments: Sequence[Segment],
    dimmed_by: Collection[str],
    fail_safe: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """One appliance's part. `dimmed_by` are the ids of what a grid operator asks for."""
    told: list[dict[str, Any]] = []
    for segment in segments:
        one = _segment(segment, dimmed_by)
        if one["start"] == one["end"]:  # shorter than the words that gateways are told in
            continue
        if told and _same(told[-1], one):
            told[-1]["end"] = one["end"]
        else:
            told.append(one)
    found = {"local_id": local_id, "appliance": appliance, "segments": told}
    return found if fail_safe is None else found | {"fail_safe": dict(fail_safe)}


def is_as_before(
    before: Sequence[Mapping], after: Sequence[Mapping], *, from_at: datetime, until_at: datetime
) -> bool:
    """Whether two schedules ask for the same within [`from_at`, `until_at`).

    One that ends before is taken to go on as it ends.
    """
    within = _ms(from_at), _ms(until_at)
    return list(_clipped(before, *within)) == list(_clipped(after, *within))


def segment_at(part: Mapping[str, Any], *, now: datetime) -> tuple[datetime, Boundary] | None:
    """What an appliance keeps to by its part of a schedule, and since when; None after its end."""
    now_ms = _ms(now)
    found = next((one for one in part["segments"] if now_ms < one["end"]), None)
    if found is None:
        return None
    said = {name: found[name] for name in (*_VALUES, "can_pause") if name in found}
    return _at(found["start"]), Boundary(**said)


def fail_safe_at(part: Mapping[str, Any], *, heard_at: datetime, now: datetime) -> datetime | None:
    """When an appliance of a gateway that is cut off falls back to its fail-safe limit.

    `part` is the appliance's part of the schedule that the gateway keeps to, `heard_at` when the
    gateway can have heard of the cloud last. That is where its schedule ends, or before, where a
    segment asks for a heartbeat and none came for so long (rules of `gateways.simulator.keeper`).
    An instant that has passed is one since when it is so; None where it has no fail-safe.
    """
    if part.get("fail_safe") is None or not part["segments"]:
        return None
    heard_ms, now_ms = _ms(heard_at), _ms(now)
    for segment in part["segments"]:
        if segment["end"] <= now_ms or "heartbeat_s" not in segment:
            continue
        lost_ms = max(heard_ms, segment["start"]) + segment["heartbeat_s"] * 1000
        if lost_ms < segment["end"]:
            return _at(lost_ms)
    return _at(part["segments"][-1]["end"])


def _segment(segment: Segment, dimmed_by: Collection[str]) -> dict[str, Any]:
    boundary = segment.resolution.boundary
    found: dict[str, Any] = {"start": _ms(segment.from_at), "end": _ms(segment.until_at)}
    for name in _VALUES:
        if (value := getattr(boundary, name)) is not None:
            found[name] = value
    if boundary.can_pause:
        found["can_pause"] = True
    outcomes = segment.resolution.outcomes
    if any((one := outcomes[each].power) and one.kind in _STANDING for each in dimmed_by):
        found["heartbeat_s"] = HEARTBEAT_S
    return found


def _same(one: Mapping, other: Mapping) -> bool:
    return _asked(one) == _asked(other)


def _asked(segment: Mapping) -> dict:
    return {name: value for name, value in segment.items() if name not in ("start", "end")}


def _clipped(schedule: Iterable[Mapping], from_ms: int, until_ms: int) -> Iterable[tuple]:
    for part in schedule:
        ends = [*(one["start"] for one in part["segments"][1:]), until_ms]
        inside = [
            (max(one["start"], from_ms), min(end, until_ms), _asked(one))
            for one, end in zip(part["segments"], ends, strict=False)
            if one["start"] < until_ms and end > from_ms
        ]
        yield part["local_id"], part["appliance"], part.get("fail_safe"), inside


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
