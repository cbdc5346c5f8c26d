"""What a file's columns mean and what was found in it, as the JSON that is kept of an import."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from inventory.kinds import ApplianceKind
from measurements.imports.importing import ImportReport
from measurements.imports.layouts import ColumnMapping, Layout, NewAppliance

# A reason quotes the file, which may hold anything.
_LONGEST_REASON = 300


def layout_to_json(layout: Layout) -> dict[str, Any]:
    """A layout as it is kept."""
    return {
        "mappings": [asdict(one) for one in layout.mappings],
        "time_column": layout.time_column,
        "zone": layout.zone.key if layout.zone else None,
        "interval_s": layout.interval_s,
        "label_end": layout.label_end,
        "create": [{"name": one.name, "kind": one.kind.value} for one in layout.create],
    }


def layout_of_json(kept: Mapping[str, Any]) -> Layout:
    """A layout that was kept."""
    return Layout(
        mappings=tuple(ColumnMapping(**one) for one in kept["mappings"]),
        time_column=kept["time_column"],
        zone=ZoneInfo(kept["zone"]) if kept["zone"] else None,
        interval_s=kept["interval_s"],
        label_end=kept["label_end"],
        create=tuple(
            NewAppliance(one["name"], ApplianceKind(one["kind"])) for one in kept["create"]
        ),
    )


def report_to_json(report: ImportReport) -> dict[str, Any]:
    """A report as it is kept: bad lines as pairs of line and reason, instants in ISO 8601."""
    instants = {"first_at": report.first_at, "last_at": report.last_at}
    return (
        asdict(report)
        | {name: at and at.isoformat() for name, at in instants.items()}
        | {
            "unknown": [name for name in report.unknown if "\0" not in name],
            "bad_lines": [[one.line, _shortened(one.reason)] for one in report.bad_lines],
        }
    )


def _shortened(reason: str) -> str:
    return reason.replace("\0", "")[:_LONGEST_REASON]
