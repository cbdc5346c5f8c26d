"""What becomes, over time, of constraints that many appliances share: for whom each decides. Pure.

Spans are read from attributes and mappings (`queries.Span`). Several constraints may stand for one
thing, as the shares of a limit do, of which each member has one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from flexibility.resolver import Boundary
from flexibility.stretches import outcome_of
from flexibility.summed import Summed

OUTCOMES = ("binding", "discarded", "redundant")


@dataclass(frozen=True, slots=True)
class Tally:
    """What becomes of one thing in [`from_at`, `until_at`): the members (keys) by outcome."""

    from_at: datetime
    until_at: datetime
    binding: frozenset[str] = frozenset()
    discarded: frozenset[str] = frozenset()
    redundant: frozenset[str] = frozenset()

    @property
    def outcome(self) -> str:
        """What matters most: that it decides for anybody, or else that it is discarded."""
        return next(one for one in OUTCOMES if getattr(self, one))

    @property
    def count(self) -> int:
        """How many it concerns."""
        return sum(len(getattr(self, one)) for one in OUTCOMES)


@dataclass(frozen=True, slots=True)
class SharedSpan:
    """What all may do in [`from_at`, `until_at`), as `bars` draws it.

    `inputs` are the things, each with how many it `concerns` and for how many it decides.
    """

    from_at: datetime
    until_at: datetime
    boundary: Boundary
    inputs: Sequence[Mapping[str, Any]] = ()
    deciders: Mapping[str, str] = field(default_factory=dict)


def tallied(
    timelines: Mapping[str, Sequence[Any]], things: Mapping[str, str]
) -> dict[str, list[Tally]]:
    """By thing what becomes of it, where it has a say; a new tally only where that changes.

    `timelines` are the members' consecutive spans; `things` says of constraints (ids) for what
    each of them stands. Others are left out.
    """
    changes: dict[str, dict[datetime, list[tuple[str, str | None]]]] = {}
    for member, spans in timelines.items():
        before: dict[str, str] = {}
        for span in spans:
            now = {things[one["id"]]: outcome_of(one) for one in span.inputs if one["id"] in things}
            for thing in before.keys() | now.keys():
                if before.get(thing) != now.get(thing):
                    of_thing = changes.setdefault(thing, {})
                    of_thing.setdefault(span.from_at, []).append((member, now.get(thing)))
            before = now
        for thing in before:
            changes[thing].setdefault(spans[-1].until_at, []).append((member, None))
    return {thing: _tallies(of_thing) for thing, of_thing in changes.items()}


def _tallies(changes: Mapping[datetime, Iterable[tuple[str, str | None]]]) -> list[Tally]:
    members: dict[str, str] = {}
    found: list[Tally] = []
    for start, end in pairwise(sorted(changes)):
        for member, outcome in changes[start]:
            if outcome is None:
                members.pop(member, None)
            else:
                members[member] = outcome
        if members:
            sets = (frozenset(key for key, one in members.items() if one == o) for o in OUTCOMES)
            found.append(Tally(start, end, *sets))
    return found


def shared_spans(
    sums: Sequence[Summed],
    tallies: Mapping[str, Sequence[Tally]],
    said: Mapping[str, Mapping[str, Any]],
    *,
    members: int,
) -> list[SharedSpan]:
    """Consecutive spans of the sums, with what becomes of each thing within; cut at all changes.

    `said` is of each thing what `bars` reads of an input: its id, emitter, priority. There is a set
    point only where all of so many members have one.
    """
    if not sums:
        return []
    from_at, until_at = sums[0].from_at, sums[-1].until_at
    cuts = {one.from_at for one in sums} | {until_at}
    cuts |= {at for of in tallies.values() for one in of for at in (one.from_at, one.until_at)}
    inputs: dict[datetime, list[dict[str, Any]]] = {}
    order = sorted(at for at in cuts if from_at <= at <= until_at)
    place = {at: number for number, at in enumerate(order)}
    for thing, of_thing in tallies.items():
        for one in of_thing:
            begin, end = max(one.from_at, from_at), min(one.until_at, until_at)
            if begin >= end:
                continue
            read = {
                **said[thing],
                "power": {"outcome": one.outcome, "conflicts_with": []},
                "concerns": one.count,
                "decides_for": len(one.binding),
            }
            for at in order[place[begin] : place[end]]:
                inputs.setdefault(at, []).append(read)
    found, number = [], 0
    for start, end in pairwise(order):
        while sums[number].until_at <= start:
            number += 1
        boundary = _boundary(sums[number], members)
        found.append(SharedSpan(start, end, boundary, tuple(inputs.get(start, ()))))
    return found


def _boundary(one: Summed, members: int) -> Boundary:
    point_w = one.set_point_w if one.held == members else None
    return Boundary(min_w=one.min_w, max_w=one.max_w, set_point_w=point_w)
