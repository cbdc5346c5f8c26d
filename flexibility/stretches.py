"""What becomes of constraints over time, as stretches of a few lanes. Pure.

A stretch is a constraint as long as it takes part, cut where its outcome changes; a lane holds
those of one kind of emitter and one priority that do not overlap, or what one limit leaves, the
strongest lane first (`bars` draws them). Spans are read from attributes and mappings
(`queries.Span`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Any

from flexibility.resolver import EmitterKind

# A picture with more lanes than this is no picture: those that decide nothing are left out.
MOST_LANES = 14
# Of more in one lane, as a charging policy makes many, neighbours are drawn as one.
MOST_BARS = 40
# More spans than this are thinned to what can be told apart.
MOST_SPANS = 400
# What an outcome is worth, where power and energy have different ones.
_WORTH = ("binding", "discarded", "redundant")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A constraint as long as it takes part, cut where its outcome changes."""

    id: str
    emitter: str
    priority: int
    cuts: tuple[tuple[datetime, datetime, str], ...]

    @property
    def from_at(self) -> datetime:
        return self.cuts[0][0]

    @property
    def until_at(self) -> datetime:
        return self.cuts[-1][1]


def outcome_of(one: Mapping[str, Any]) -> str:
    """What became of an input of a span: of power and energy, the one that matters more."""
    found = [one[part]["outcome"] for part in ("power", "energy") if part in one]
    return min(found, key=_WORTH.index)


def stretches_of(spans: Sequence[Any]) -> list[Stretch]:
    """The constraints of all spans, the strongest first, of equals the newer."""
    cuts: dict[str, list[tuple[datetime, datetime, str]]] = {}
    ranks: dict[str, tuple[str, int]] = {}
    for span in spans:
        for one in span.inputs:
            identity, outcome = one["id"], outcome_of(one)
            ranks[identity] = one["emitter"], one["priority"]
            of_one = cuts.setdefault(identity, [])
            if of_one and of_one[-1][1] == span.from_at and of_one[-1][2] == outcome:
                of_one[-1] = (of_one[-1][0], span.until_at, outcome)
            else:
                of_one.append((span.from_at, span.until_at, outcome))
    found = [Stretch(one, *ranks[one], tuple(of_one)) for one, of_one in cuts.items()]
    found.sort(key=lambda one: one.id, reverse=True)
    return sorted(found, key=lambda one: -one.priority)


def lanes_of(
    stretches: Sequence[Stretch], new: Collection[str], chosen: str | None
) -> tuple[list[list[Stretch]], int]:
    """Lanes, and how many are left out.

    Those that do not overlap share one; new ones only with new ones.
    """
    lanes: list[list[Stretch]] = []
    for stretch in stretches:
        lane = next((one for one in lanes if _has_room(one, stretch, new)), None)
        if lane is None:
            lanes.append([stretch])
        else:
            lane.append(stretch)
    lanes = [_gathered(lane) for lane in lanes]
    if len(lanes) <= MOST_LANES:
        return lanes, 0

    def matters(lane: list[Stretch]) -> bool:
        wanted = {*new, chosen}
        return any(one.id in wanted or "binding" in {cut[2] for cut in one.cuts} for one in lane)

    order = sorted(range(len(lanes)), key=lambda number: (not matters(lanes[number]), number))
    kept = set(order[:MOST_LANES])
    left_out = sum(len(lane) for number, lane in enumerate(lanes) if number not in kept)
    return [lane for number, lane in enumerate(lanes) if number in kept], left_out


def _gathered(lane: list[Stretch]) -> list[Stretch]:
    """A lane of at most MOST_BARS: neighbours become one, named by the one that lasts longest."""
    if len(lane) <= MOST_BARS:
        return lane
    ordered = sorted(lane, key=lambda one: one.from_at)
    size = ceil(len(ordered) / MOST_BARS)
    return [_as_one(ordered[at : at + size]) for at in range(0, len(ordered), size)]


def _as_one(stretches: Sequence[Stretch]) -> Stretch:
    longest = max(stretches, key=lambda one: one.until_at - one.from_at)
    cuts: list[tuple[datetime, datetime, str]] = []
    for start, end, outcome in (cut for one in stretches for cut in one.cuts):
        if cuts and cuts[-1][1:] == (start, outcome):
            cuts[-1] = (cuts[-1][0], end, outcome)
        else:
            cuts.append((start, end, outcome))
    return replace(longest, cuts=tuple(cuts))


def _has_room(lane: list[Stretch], one: Stretch, new: Collection[str]) -> bool:
    first = lane[0]
    if (first.emitter, first.priority) != (one.emitter, one.priority):
        return False
    if (one.id in new) != (first.id in new):
        return False
    # Their lanes are called after the limit, and each is of another one.
    if one.emitter == EmitterKind.CLUSTER_LIMIT:
        return False
    return all(one.until_at <= other.from_at or other.until_at <= one.from_at for other in lane)


def thinned(spans: Sequence[Any]) -> list[Any]:
    """Consecutive spans; of too many, short ones are joined, and the longest stands for them."""
    if len(spans) <= MOST_SPANS:
        return list(spans)
    least = 2 * (spans[-1].until_at - spans[0].from_at) / MOST_SPANS
    found: list[Any] = []
    short: list[Any] = []
    for span in spans:
        is_long = span.until_at - span.from_at >= least
        if short and (is_long or span.until_at - short[0].from_at >= 2 * least):
            found.append(_joined(short))
            short = []
        if is_long:
            found.append(span)
        else:
            short.append(span)
    return [*found, _joined(short)] if short else found


def _joined(spans: Sequence[Any]) -> Any:
    longest = max(spans, key=lambda span: span.until_at - span.from_at)
    return replace(longest, from_at=spans[0].from_at, until_at=spans[-1].until_at)
