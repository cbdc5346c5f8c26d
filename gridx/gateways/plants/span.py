"""A run of equal steps, the limits that hold during it, and what an appliance reads there."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridx.gateways.messages import ApplianceReadings, PlugState

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Span:
    """`count` steps of `step_ms` from `start_ms` (ms since epoch, UTC) on."""

    start_ms: int
    step_ms: int
    count: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.step_ms * self.count

    @property
    def ends(self) -> Ints:
        """The end of each step: when its reading is taken."""
        return self.start_ms + self.step_ms * np.arange(1, self.count + 1, dtype=np.int64)

    @property
    def middles(self) -> Ints:
        """The middle of each step: where weather and habits are looked up."""
        return self.ends - self.step_ms // 2

    @property
    def step_h(self) -> float:
        return self.step_ms / MS_PER_HOUR

    def steps(self) -> "list[Span]":
        """The same, one step each."""
        starts = range(self.start_ms, self.end_ms, self.step_ms)
        return [Span(start, self.step_ms, 1) for start in starts]


@dataclass(frozen=True, slots=True)
class Limits:
    """What an appliance is to keep to; W and Wh, passive convention, None = no statement.

    `can_pause`: 0 is allowed besides [min_w, max_w].
    """

    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    min_wh: float | None = None
    max_wh: float | None = None
    can_pause: bool = False

    def bend(self, power_w: int) -> int:
        """The allowed power nearest to the wanted one; of an empty range the end nearer to 0.

        Ends that are no whole watts are rounded inwards, so the result is never beyond them.
        """
        if self.set_point_w is not None:
            power_w = round(self.set_point_w)
        if power_w == 0 and self.can_pause:
            return 0
        low = -np.inf if self.min_w is None else np.ceil(self.min_w)
        high = np.inf if self.max_w is None else np.floor(self.max_w)
        if low > high:
            return int(min(self.min_w or 0, self.max_w or 0, key=abs))
        return int(min(max(power_w, low), high))


FREE = Limits()


@dataclass(slots=True)
class Columns:
    """What one appliance read: one value per step in each column that it has."""

    at: Ints
    power_w: Ints
    imported_wh: Floats | None = None
    exported_wh: Floats | None = None
    soc: Floats | None = None
    energy_wh: Floats | None = None
    temperature_c: Floats | None = None
    current_l1_a: Floats | None = None
    current_l2_a: Floats | None = None
    current_l3_a: Floats | None = None
    plug_state: list[PlugState] | None = None

    @classmethod
    def joined(cls, parts: "list[Columns]") -> "Columns":
        """One after another. All parts have the same columns."""
        if len(parts) == 1:
            return parts[0]
        whole: dict[str, Any] = {}
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            if isinstance(values[0], np.ndarray):
                whole[column.name] = np.concatenate(values)
            elif values[0] is not None:
                whole[column.name] = [state for value in values for state in value]
        return cls(**whole)

    def readings(self, local_id: str) -> ApplianceReadings:
        """The same as a part of a readings message."""
        columns = {
            column.name: value.tolist() if isinstance(value, np.ndarray) else value
            for column in fields(self)
            if (value := getattr(self, column.name)) is not None
        }
        return ApplianceReadings(appliance=local_id, **columns)


@dataclass(slots=True)
class Counters:
    """Two cumulative counters in W·ms: whole numbers, so that they add up exactly for ever."""

    imported: int = 0
    exported: int = 0

    def count(self, power_w: Ints, step_ms: int) -> tuple[Floats, Floats]:
        """Go on by the given powers; the counters in Wh at the end of each step."""
        energy = power_w * step_ms
        imported = self.imported + np.cumsum(np.maximum(energy, 0))
        exported = self.exported + np.cumsum(np.maximum(-energy, 0))
        self.imported, self.exported = int(imported[-1]), int(exported[-1])
        return to_wh(imported), to_wh(exported)


def to_wh(counted: Ints) -> Floats:
    """W·ms as Wh, to the milliwatt-hour."""
    return np.round(counted / MS_PER_HOUR, 3)
