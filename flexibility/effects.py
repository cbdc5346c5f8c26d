"""What a constraint that is tried out would change: where it holds, and who loses by it. Pure.

Compares the same time without and with it, as spans (`queries.Span`). Powers in W.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

_KEPT = ("binding", "redundant")
_PARTS = ("power", "energy")


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch in which the boundary would be another one."""

    from_at: datetime
    until_at: datetime
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stretch in which what is tried out gives way to others (inputs of a span).

    `part`: in what it asks for of "power", or of "energy".
    """

    from_at: datetime
    until_at: datetime
    against: tuple[Mapping[str, Any], ...]
    part: str = "power"


@dataclass(frozen=True, slots=True)
class Loss:
    """A stretch in which another constraint (an input of a span) gets less than before.

    A set point goes from `before_w` to `after_w`; None where the constraint is discarded, in what
    it asks for of power or of energy.
    """

    from_at: datetime
    until_at: datetime
    loser: Mapping[str, Any]
    before_w: float | None
    after_w: float | None

    @property
    def energy_wh(self) -> float | None:
        """What it gets less, where that is known."""
        if self.before_w is None or self.after_w is None:
            return None
        return abs(self.before_w - self.after_w) * ((self.until_at - self.from_at) / _HOUR)


@dataclass(frozen=True, slots=True)
class Effect:
    """What would become of one appliance.

    `holds`: what is tried out is kept to at some time, or a part of it. `bent_w`: the set point
    that it would get first, where that is not the one asked for.
    """

    holds: bool
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    losses: tuple[Loss, ...]
    bent_w: float | None

    @property
    def follows(self) -> bool:
        """Whether it is kept to as long as it is valid."""
        return self.holds and not self.refusals


_HOUR = timedelta(hours=1)


def effect_of(before: Sequence[Any], after: Sequence[Any], *, new: Collection[str]) -> Effect:
    """What the constraints `new` (ids) change between two sequences of spans of the same time."""
    changes: list[Change] = []
    refusals: list[Refusal] = []
    losses: list[Loss] = []
    holds, bent_w = False, None
    for start, end, old, now in _side_by_side(before, after):
        inputs = {one["id"]: one for one in now.inputs}
        if old.boundary != now.boundary:
            _grow(changes, Change(start, end, old.boundary, now.boundary))
        for one in (inputs[each] for each in new if each in inputs):
            for part, outcome in _outcomes(one).items():
                if outcome["outcome"] in _KEPT:
                    holds = True
                else:
                    against = tuple(inputs[other] for other in outcome["conflicts_with"])
                    _grow(refusals, Refusal(start, end, against, part))
            asked, given = one.get("set_point_w"), now.boundary.set_point_w
            if asked is not None and _is_kept(one) and given != asked and bent_w is None:
                bent_w = given
        for loss in _losses(start, end, old, now, inputs, new):
            _grow(losses, loss)
    return Effect(holds, tuple(changes), tuple(refusals), tuple(losses), bent_w)


def _losses(
    start: datetime,
    end: datetime,
    old: Any,
    now: Any,
    inputs: Mapping[str, Mapping[str, Any]],
    new: Collection[str],
) -> Iterator[Loss]:
    for one in old.inputs:
        later = inputs.get(one["id"])
        if one["id"] in new or later is None:
            continue
        leads = old.deciders.get("set_point_w") == one["id"]
        was_w, is_w = old.boundary.set_point_w, now.boundary.set_point_w
        if leads and is_w is not None and _is_farther(one["set_point_w"], was_w, is_w):
            yield Loss(start, end, one, was_w, is_w)
        elif any(_is_kept(one, part) and not _is_kept(later, part) for part in _PARTS):
            yield Loss(start, end, one, None, None)


def _is_farther(asked_w: float, was_w: float, is_w: float) -> bool:
    """Whether a set point gets less of what it asks for."""
    return abs(asked_w - is_w) > abs(asked_w - was_w)


def _side_by_side(
    before: Sequence[Any], after: Sequence[Any]
) -> Iterator[tuple[datetime, datetime, Any, Any]]:
    """Both, cut wherever either is."""
    first, second = 0, 0
    while first < len(before) and second < len(after):
        old, now = before[first], after[second]
        end = min(old.until_at, now.until_at)
        start = max(old.from_at, now.from_at)
        if start < end:
            yield start, end, old, now
        first += old.until_at == end
        second += now.until_at == end


def _outcomes(one: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What became of each part that it speaks of."""
    return {part: one[part] for part in _PARTS if one.get(part)}


def _is_kept(one: Mapping[str, Any], part: str = "power") -> bool:
    outcome = one.get(part)
    return bool(outcome) and outcome["outcome"] in _KEPT


def _grow(found: list, one: Any) -> None:
    """Add a stretch, or make the same one longer where it goes on."""
    for number, other in enumerate(found):
        if other.until_at == one.from_at and _same(other, one):
            found[number] = replace(other, until_at=one.until_at)
            return
    found.append(one)


def _same(one: Any, other: Any) -> bool:
    def rest(stretch: Any) -> list[Any]:
        names = (one.name for one in fields(stretch))
        return [_id(getattr(stretch, name)) for name in names if not name.endswith("_at")]

    return rest(one) == rest(other)


def _id(value: Any) -> Any:
    """Constraints are the same by their ids; what becomes of them changes."""
    if isinstance(value, Mapping):
        return value["id"]
    return tuple(map(_id, value)) if isinstance(value, tuple) else value
