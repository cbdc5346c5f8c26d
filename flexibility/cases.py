"""Constraints and what remains of them as JSON values: cases worked out by hand. Pure.

A case is `{"name", "at" or "from" and "until", "constraints": […]}`; names are those of the wire
(`minPower`, `setPoint`), in W and Wh, and emitters are written in words (`account user`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flexibility.resolver import (
    Boundary,
    Constraint,
    EmitterKind,
    Outcome,
    Outcomes,
    Resolution,
    Segment,
    resolve,
    timeline,
)

_NUMBERS = {
    "minPower": "min_w",
    "maxPower": "max_w",
    "power": "set_point_w",
    "minEnergy": "min_wh",
    "maxEnergy": "max_wh",
}
_INSTANTS = {
    "createdAt": "created_at",
    "validAt": "valid_at",
    "invalidAt": "invalid_at",
    "withdrawnAt": "withdrawn_at",
}
_CHOICES = {"closest": "closest", "pausable": "pausable"}


class UnreadableCase(ValueError):
    """What is no case; the message names the case and the field."""


def resolved_case(case: Any) -> dict[str, Any]:
    """`{"name", "power", "energy", "outcomes"}` at the case's instant. Raises UnreadableCase."""
    name, constraints = _read(case)
    at = _instant(name, case, "at")
    return {"name": name, **resolution_json(resolve(constraints, at=at))}


def timeline_of_case(case: Any) -> list[dict[str, Any]]:
    """The segments `{"from", "until", "power", "energy", "outcomes"}`. Raises UnreadableCase."""
    name, constraints = _read(case)
    from_at, until_at = _instant(name, case, "from"), _instant(name, case, "until")
    return list(map(segment_json, timeline(constraints, from_at=from_at, until_at=until_at)))


def resolution_json(resolution: Resolution) -> dict[str, Any]:
    """As a case expects it."""
    return {
        **boundary_json(resolution.boundary),
        "outcomes": {
            identity: outcomes_json(outcomes) for identity, outcomes in resolution.outcomes.items()
        },
    }


def segment_json(segment: Segment) -> dict[str, Any]:
    return {
        "from": instant_json(segment.from_at),
        "until": instant_json(segment.until_at),
        **resolution_json(segment.resolution),
    }


def boundary_json(boundary: Boundary) -> dict[str, Any]:
    return {
        "power": {
            "min": boundary.min_w,
            "max": boundary.max_w,
            "setPoint": boundary.set_point_w,
            "canPause": boundary.can_pause,
        },
        "energy": {"min": boundary.min_wh, "max": boundary.max_wh},
    }


def outcomes_json(outcomes: Outcomes) -> dict[str, Any]:
    of_parts = {"power": outcomes.power, "energy": outcomes.energy}
    return {part: _outcome_json(one) for part, one in of_parts.items() if one is not None}


def instant_json(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    against = {"conflictsWith": list(outcome.conflicts_with)} if outcome.conflicts_with else {}
    return {"outcome": outcome.kind.value, **against}


def _read(case: Any) -> tuple[str, list[Constraint]]:
    if not isinstance(case, Mapping):
        raise UnreadableCase(f"a case is an object, not {type(case).__name__}")
    name = str(case.get("name", ""))
    rows = case.get("constraints")
    if not isinstance(rows, list):
        raise UnreadableCase(f"{name}: constraints: a list is needed")
    constraints = [_constraint(f"{name}: constraints[{n}]", row) for n, row in enumerate(rows)]
    if len({one.id for one in constraints}) < len(constraints):
        raise UnreadableCase(f"{name}: constraints: an id stands twice")
    return name, constraints


def _constraint(where: str, row: Any) -> Constraint:
    if not isinstance(row, Mapping):
        raise UnreadableCase(f"{where}: an object is needed")
    known = {"id", "emitter", "priority", *_NUMBERS, *_INSTANTS, *_CHOICES}
    if unknown := sorted(set(row) - known):
        raise UnreadableCase(f"{where}: {', '.join(unknown)}: unknown")
    priority = row.get("priority")
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise UnreadableCase(f"{where}: priority: an integer is needed")
    fields: dict[str, Any] = {}
    for wire, name in _NUMBERS.items():
        fields[name] = _number(where, row, wire)
    for wire, name in _CHOICES.items():
        fields[name] = _flag(where, row, wire)
    for wire, name in _INSTANTS.items():
        if row.get(wire) is not None or wire == "createdAt":
            fields[name] = _instant(where, row, wire)
    try:
        return Constraint(
            id=str(row.get("id", "")), emitter=_emitter(where, row), priority=priority, **fields
        )
    except ValueError as error:
        raise UnreadableCase(f"{where}: {error}") from error


def _emitter(where: str, row: Mapping) -> EmitterKind:
    try:
        return EmitterKind(str(row.get("emitter")).replace(" ", "_"))
    except ValueError:
        kinds = ", ".join(kind.value.replace("_", " ") for kind in EmitterKind)
        raise UnreadableCase(f"{where}: emitter: one of {kinds}") from None


def _number(where: str, row: Mapping, name: str) -> float | None:
    value = row.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UnreadableCase(f"{where}: {name}: a number is needed")
    return value


def _flag(where: str, row: Mapping, name: str) -> bool:
    value = row.get(name, False)
    if not isinstance(value, bool):
        raise UnreadableCase(f"{where}: {name}: true or false is needed")
    return value


def _instant(where: str, row: Mapping, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(row[name])
    except (KeyError, TypeError, ValueError):
        raise UnreadableCase(f"{where}: {name}: an ISO 8601 instant is needed") from None
    if at.tzinfo is None:
        raise UnreadableCase(f"{where}: {name}: has no offset from UTC")
    return at
