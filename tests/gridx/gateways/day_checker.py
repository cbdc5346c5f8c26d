"""What stood and what was read, held against each other by rules of its own.

It knows nothing of the resolver or of shares: a limit for a sum is kept where the sum of what was
read is within it, once it has stood for long enough (`Day.grace`).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What somebody set, from `valid_at` until before `until` (W).

    A higher priority wins; of the same, what was set later.
    """

    priority: int
    created_at: datetime
    valid_at: datetime
    until: datetime

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether it stood at any instant of this span, both ends included."""
        return self.valid_at <= end and self.until > start

    def spans(self, start: datetime, end: datetime) -> bool:
        """Whether it stood at every one."""
        return self.valid_at <= start and self.until > end


@dataclass(frozen=True, kw_only=True)
class Limit(Standing):
    """At most `max_w` for the sum of the members; with a `meter`, for what that reads.

    With `phase` (1 to 3) it is for that phase alone. Where it is `net`, the meter only says what
    the site produces beyond its other loads, and that adds to it.
    """

    name: str
    site: int
    members: frozenset[int]
    max_w: float
    fuse: bool = False
    meter: int | None = None
    net: bool = False
    phase: int | None = None


@dataclass(frozen=True, kw_only=True)
class Wish(Standing):
    """At most `upper_w` and, unless something stronger forbids it, `lower_w` for one station."""

    station: int
    upper_w: float
    lower_w: float = 0.0


@dataclass(frozen=True)
class Outage:
    """A part of the way to the gateways stood still; for one site, or for all of them."""

    start: datetime
    end: datetime
    site: int | None = None


@dataclass
class Day:
    """`power_w`: by appliance and instant; `phase_w`: by appliance and phase, and instant.

    All appliances of a site are read at the same instants.

    `grace` is how long what is newly set has until it shows in a reading.
    """

    grace: timedelta
    least_w: float
    sites: dict[int, frozenset[int]]
    limits: list[Limit]
    wishes: list[Wish]
    outages: list[Outage] = field(default_factory=list)
    power_w: dict[int, dict[datetime, float]] = field(default_factory=dict)
    phase_w: dict[tuple[int, int], dict[datetime, float]] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def violations(self) -> list[str]:
        found = [text for limit in self.limits for text in self._of_limit(limit)]
        for site, stations in self.sites.items():
            for station in sorted(stations):
                found += self._of_station(site, station)
        return found

    def _of_limit(self, limit: Limit) -> Iterable[str]:
        wishes = [wish for wish in self.wishes if wish.station in limit.members]
        for at in self._instants(self.sites[limit.site]):
            if not limit.spans(at, at):
                continue
            since = self._since(at, limit.site)
            if not limit.spans(since, at):
                continue
            total_w = self._sum_w(limit, at)
            owed_w = 0.0 if limit.fuse else _owed_w(limit, wishes, since, at)
            max_w = limit.max_w + self._spare_w(limit, since, at)
            self.checked["unreachable" if owed_w > max_w else "limit"] += 1
            self.checked["fuse nearly used"] += limit.fuse and total_w > 0.8 * max_w
            self.checked["limit nearly used"] += total_w > 0.8 * max_w > 0
            self.checked["limit below a minimum"] += max_w < self.least_w
            self.checked["phase"] += limit.phase is not None
            self.checked["phase nearly used"] += limit.phase is not None and total_w > 0.8 * max_w
            self.checked["cut off"] += self._is_cut_off(limit.site, at)
            self.checked["connection"] += limit.meter is not None and not limit.net
            self.checked["net"] += limit.net
            self.checked["net nearly used"] += limit.net and total_w > 0.8 * max_w
            if total_w > max(max_w, owed_w) + 1:
                yield (
                    f"{at:%d. %H:%M:%S} {limit.name}: {total_w:.0f} W of {max_w:.0f} W"
                    f"{self._told(limit, since, at)}"
                )

    def _told(self, limit: Limit, since: datetime, at: datetime) -> str:
        """Which members rose lately, and fell, and what stood: what is to be known of a sum that
        is too much."""
        instants = [one for one in self._instants(limit.members) if since <= one <= at][-3:]
        moved = [
            f"{member}: " + " → ".join(f"{power_w:.0f}" for power_w in powers_w)
            for member in sorted(limit.members)
            for powers_w in [[self._power(member, one) for one in instants]]
            if len(set(powers_w)) > 1
        ]
        if not moved:
            return ""
        others = [
            f"{one.name}: {one.max_w:.0f} W, {one.valid_at:%H:%M:%S}–{one.until:%H:%M:%S}"
            f" (set {one.created_at:%H:%M:%S})"
            for one in self.limits
            if one.site == limit.site and one.touches(since, at)
        ]
        return f" (since {since:%H:%M:%S}; {', '.join(moved)}; standing: {', '.join(others)})"

    def _is_cut_off(self, site: int, at: datetime) -> bool:
        return any(one.site == site and one.start <= at < one.end for one in self.outages)

    def _sum_w(self, limit: Limit, at: datetime) -> float:
        if limit.phase is None:
            return sum(self._power(member, at) for member in limit.members)
        phases = (self.phase_w.get((member, limit.phase), {}) for member in limit.members)
        return sum(phase.get(at, 0.0) for phase in phases)

    def _spare_w(self, limit: Limit, since: datetime, at: datetime) -> float:
        """The most in this time that the site produced beyond its other loads, by its meter.

        Negative where these took more. They come and rise unasked, and members give way in time.
        """
        read = self.power_w.get(limit.meter, {})
        recent = [one for one in read if since <= one <= at]
        spare_w = max((self._sum_w(limit, one) - read[one] for one in recent), default=0.0)
        return max(spare_w, 0.0) if limit.net else spare_w

    def _of_station(self, site: int, station: int) -> Iterable[str]:
        wishes = sorted(
            (wish for wish in self.wishes if wish.station == station),
            key=lambda wish: (wish.priority, wish.created_at),
            reverse=True,
        )
        instants = self._instants([station])
        for place, at in enumerate(instants):
            power_w = self._power(station, at)
            self.checked["charging"] += power_w > 0
            # A car that gets full or leaves within a step has a lower mean there: 0 W follows.
            following = [self._power(station, one) for one in instants[place + 1 : place + 2]]
            if 0 < power_w < self.least_w - 1 and following not in ([], [0.0]):
                yield f"{at:%d. %H:%M:%S} station {station}: {power_w:.0f} W, below its minimum"
            since = self._since(at, site)
            upper_w = 0.0
            for wish in wishes:
                if wish.touches(since, at):
                    upper_w = max(upper_w, wish.upper_w)
                if wish.spans(since, at):
                    self.checked["station"] += 1
                    if power_w > upper_w + 1:
                        yield f"{at:%d. %H:%M:%S} station {station}: {power_w:.0f}/{upper_w:.0f} W"
                    break

    def _since(self, at: datetime, site: int) -> datetime:
        """What stands since then has had its time: while the way stood still, none went by."""
        since = at - self.grace
        for outage in sorted(self.outages, key=lambda one: one.end, reverse=True):
            if outage.site in (None, site) and outage.start <= at and outage.end > since:
                since = min(since, outage.start - self.grace)
        return since

    def _instants(self, appliances: Iterable[int]) -> list[datetime]:
        return sorted({at for one in appliances for at in self.power_w.get(one, {})})

    def _power(self, appliance: int, at: datetime) -> float:
        return self.power_w.get(appliance, {}).get(at, 0.0)


def _owed_w(limit: Limit, wishes: Iterable[Wish], since: datetime, at: datetime) -> float:
    """What those at least as strong as the limit ask of its members, whatever it says."""
    owed: dict[int, float] = {}
    for wish in wishes:
        if wish.priority >= limit.priority and wish.touches(since, at):
            owed[wish.station] = max(owed.get(wish.station, 0.0), wish.lower_w)
    # A station draws from all three phases alike.
    return sum(owed.values()) / (1 if limit.phase is None else 3)
