"""What a gateway has its appliances keep to: schedule, heartbeat and fail-safe. No I/O, no clock.

1. The segment of the schedule that holds now, expiries included, also while offline.
2. After a timeline's end its fail-safe.
3. Where a segment asks for a heartbeat and none came for so long, the stricter of schedule and
   fail-safe. The same while a newer schedule that came was broken: what it would have said is
   not known, so the last good one still holds, but not alone; where there was none, the
   fail-safe that the gateway was installed with. That one also holds where the cloud said that
   there is a schedule, and none has come for a minute.
4. A fail-safe that began holds for at least its minimum time. One that only joined for want of a
   heartbeat ends with what asked for that: a dimming is over when the schedule says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from gridx.gateways.codec import MessageRefused, decode_as
from gridx.gateways.messages import ApplianceSchedule, FailSafe, Schedule, Segment
from gridx.gateways.plants.span import FREE, Limits
from gridx.gateways.topics import Channel

# So long a schedule may be on its way.
MISSING_AFTER_MS = 60_000


class Verdict(StrEnum):
    """What became of a schedule that came."""

    TAKEN = "taken"
    KNOWN = "known"
    OUTDATED = "outdated"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one appliance is asked to keep to now."""

    limits: Limits
    is_fail_safe: bool = False


class Keeper:
    """One gateway's memory of what it was told; `installed`: by local id its own fail-safes."""

    def __init__(self, installed: Mapping[str, FailSafe] | None = None) -> None:
        self._installed = dict(installed or {})
        self.schedule: Schedule | None = None
        self.received_ms = 0
        self.heartbeat_ms = 0
        self.is_broken = False
        self.refusal: str | None = None
        self.missing_since: int | None = None
        self.fail_safe_since: dict[str, int] = {}
        # Those whose fail-safe joined for want of a heartbeat, and for nothing else.
        self.unheard: set[str] = set()

    @property
    def revision(self) -> int:
        """The revision that is kept to; 0 before the first."""
        return 0 if self.schedule is None else self.schedule.revision

    def receive(self, body: bytes, now_ms: int) -> Verdict:
        """A schedule came. An older one than the known changes nothing."""
        try:
            schedule = decode_as(Schedule, Channel.SCHEDULE, body)
        except MessageRefused as refused:
            self.is_broken, self.refusal = True, refused.reason.value
            return Verdict.BROKEN
        known = self.schedule
        is_older = known and schedule.issued_at <= known.issued_at
        if is_older and schedule.revision < known.revision:
            return Verdict.OUTDATED
        self.is_broken, self.refusal = False, None
        if schedule == known:
            return Verdict.KNOWN
        self.schedule, self.received_ms, self.missing_since = schedule, now_ms, None
        return Verdict.TAKEN

    def expect(self, revision: int, now_ms: int) -> None:
        """The cloud said which schedule is its newest; 0: it asks for nothing."""
        if self.schedule is not None or revision == 0:
            self.missing_since = None
        elif self.missing_since is None:
            self.missing_since = now_ms

    def hear(self, sent_ms: int, now_ms: int) -> None:
        """A heartbeat came. One that waited at the broker counts from when it was sent."""
        self.heartbeat_ms = max(self.heartbeat_ms, min(sent_ms, now_ms))

    def forget(self) -> None:
        """Back to what it was installed with: no schedule, no fail-safe of one."""
        self.__init__(self._installed)  # type: ignore[misc]

    def asked(self, now_ms: int) -> dict[str, Asked]:
        """By local id, for every appliance that the schedule names."""
        if self.schedule is None and (self.is_broken or self._is_missing(now_ms)):
            return {
                local_id: Asked(_of_fail_safe(fail_safe), is_fail_safe=True)
                for local_id, fail_safe in self._installed.items()
            }
        if self.schedule is None:
            return {}
        return {
            timeline.local_id: self._asked_of(timeline, now_ms)
            for timeline in self.schedule.appliances
        }

    def next_change_ms(self, after_ms: int) -> int | None:
        """The next instant at which something that is asked may change by itself."""
        if self.schedule is None:
            if self.missing_since is None or self._is_missing(after_ms):
                return None
            return self.missing_since + MISSING_AFTER_MS
        coming = (
            at
            for timeline in self.schedule.appliances
            for at in self._instants(timeline)
            if at > after_ms
        )
        return min(coming, default=None)

    def _is_missing(self, now_ms: int) -> bool:
        since = self.missing_since
        return since is not None and now_ms >= since + MISSING_AFTER_MS

    def _instants(self, timeline: ApplianceSchedule) -> Iterator[int]:
        for segment in timeline.segments:
            yield segment.start
            yield segment.end
            if segment.heartbeat_s is not None:
                last = max(self.heartbeat_ms, self.received_ms, segment.start)
                # Lost is what has not come for longer than that.
                yield last + round(segment.heartbeat_s * 1000) + 1
        since = self.fail_safe_since.get(timeline.local_id)
        if since is not None and timeline.fail_safe is not None:
            yield since + round(timeline.fail_safe.minimum_s * 1000)

    def _asked_of(self, timeline: ApplianceSchedule, now_ms: int) -> Asked:
        # The first holds at once: it begins when the schedule was made, by another clock.
        segment = next((one for one in timeline.segments if now_ms < one.end), None)
        limits = FREE if segment is None else _of_segment(segment)
        fail_safe = timeline.fail_safe
        if fail_safe is None:
            return Asked(limits)
        local_id = timeline.local_id
        since = self.fail_safe_since.get(local_id)
        if self.is_broken or self._is_over(timeline, now_ms):
            self.fail_safe_since.setdefault(local_id, now_ms)
            self.unheard.discard(local_id)
        elif self._is_lost(segment, now_ms):
            if since is None:
                self.fail_safe_since[local_id] = now_ms
                self.unheard.add(local_id)
        elif since is None:
            return Asked(limits)
        elif now_ms >= since + fail_safe.minimum_s * 1000 or self._is_past(segment, local_id):
            del self.fail_safe_since[local_id]
            self.unheard.discard(local_id)
            return Asked(limits)
        return Asked(stricter(limits, _of_fail_safe(fail_safe)), is_fail_safe=True)

    @staticmethod
    def _is_over(timeline: ApplianceSchedule, now_ms: int) -> bool:
        return not timeline.segments or timeline.segments[-1].end <= now_ms

    def _is_lost(self, segment: Segment | None, now_ms: int) -> bool:
        if segment is None or segment.heartbeat_s is None:
            return False
        last = max(self.heartbeat_ms, self.received_ms, segment.start)
        return now_ms - last > segment.heartbeat_s * 1000

    def _is_past(self, segment: Segment | None, local_id: str) -> bool:
        """Whether a fail-safe joined for a heartbeat that nothing asks for any more."""
        asks = segment is not None and segment.heartbeat_s is not None
        return local_id in self.unheard and not asks

    @property
    def state(self) -> dict[str, Any]:
        """All that goes on over a restart, ready for JSON."""
        return {
            "schedule": msgspec.to_builtins(self.schedule),
            "received_ms": self.received_ms,
            "heartbeat_ms": self.heartbeat_ms,
            "is_broken": self.is_broken,
            "refusal": self.refusal,
            "missing_since": self.missing_since,
            "fail_safe_since": self.fail_safe_since,
            "unheard": sorted(self.unheard),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.schedule = msgspec.convert(state["schedule"], Schedule | None)
        self.received_ms = state["received_ms"]
        self.heartbeat_ms = state["heartbeat_ms"]
        self.is_broken = state["is_broken"]
        self.refusal = state["refusal"]
        self.missing_since = state.get("missing_since")
        self.fail_safe_since = dict(state["fail_safe_since"])
        self.unheard = set(state.get("unheard", ()))


def stricter(scheduled: Limits, fail_safe: Limits) -> Limits:
    """Both at once; where they have nothing in common, the fail-safe alone.

    A set point that the common range leaves out gives way to the nearest end of it. A pause is
    allowed where either allows it: it is never more than the fail-safe lets through.
    """
    low = _greatest(scheduled.min_w, fail_safe.min_w)
    high = _least(scheduled.max_w, fail_safe.max_w)
    can_pause = scheduled.can_pause or fail_safe.can_pause
    if low is not None and high is not None and low > high:
        return Limits(min_w=fail_safe.min_w, max_w=fail_safe.max_w, can_pause=can_pause)
    point = scheduled.set_point_w
    if point is not None and not (point == 0 and can_pause):
        point = point if low is None else max(point, low)
        point = point if high is None else min(point, high)
    return Limits(
        min_w=low,
        max_w=high,
        set_point_w=point,
        min_wh=scheduled.min_wh,
        max_wh=scheduled.max_wh,
        can_pause=can_pause,
    )


def _of_segment(segment: Segment) -> Limits:
    return Limits(
        min_w=segment.min_w,
        max_w=segment.max_w,
        set_point_w=segment.set_point_w,
        min_wh=segment.min_wh,
        max_wh=segment.max_wh,
        can_pause=segment.can_pause,
    )


def _of_fail_safe(fail_safe: FailSafe) -> Limits:
    return Limits(min_w=fail_safe.min_w, max_w=fail_safe.max_w, can_pause=fail_safe.can_pause)


def _greatest(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
