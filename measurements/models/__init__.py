"""Readings as they came, the energies made from them, and what is on record of both.

The primary key of whatever is measured begins with the system's key, so that the tables can be
distributed by it. No foreign keys there: history stays with the system where it was measured,
wherever appliances go later.
"""

from measurements.models.days import DayChange, DayCheck, ImportedDay
from measurements.models.figures import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.models.imports import RecordingImport
from measurements.models.marks import Cause, DirtySlot, FinalSpan, SystemClaim
from measurements.models.readings import DeclaredInterval, LatestReading, Reading

__all__ = [
    "ApplianceDay",
    "ApplianceHour",
    "ApplianceSlot",
    "Cause",
    "DayChange",
    "DayCheck",
    "DeclaredInterval",
    "DirtySlot",
    "FinalSpan",
    "ImportedDay",
    "LatestReading",
    "Reading",
    "RecordingImport",
    "SystemClaim",
    "SystemDay",
    "SystemHour",
    "SystemMonth",
    "SystemSlot",
]
