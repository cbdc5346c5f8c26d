"""What a bulk action asks for, as the JSON that is kept until workers do it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flexibility.operations import Draft
from flexibility.series.operations import SeriesDraft, part_of_json, part_to_json

_INSTANTS = ("valid_at", "invalid_at", "from_at", "until_at")


def draft_to_json(draft: Draft | SeriesDraft) -> dict[str, Any]:
    """A draft as it is kept: what is said, and of a series its parts too."""
    if isinstance(draft, SeriesDraft):
        said = vars(draft) | {"parts": [part_to_json(part) for part in draft.parts]}
    else:
        said = asdict(draft)
    return {
        name: value.isoformat() if name in _INSTANTS else value
        for name, value in said.items()
        if value is not None
    }


def draft_of_json(kept: Mapping[str, Any]) -> Draft | SeriesDraft:
    """A draft that was kept."""
    said = {
        name: datetime.fromisoformat(value) if name in _INSTANTS else value
        for name, value in kept.items()
    }
    said["kinds"] = tuple(said.get("kinds", ()))
    if "parts" not in said:
        return Draft(**said)
    said["parts"] = tuple(map(part_of_json, said["parts"]))
    said["weekdays"] = tuple(said["weekdays"])
    return SeriesDraft(**said)
