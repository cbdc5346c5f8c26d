"""A battery that covers the house's need and takes its surplus, within its limits."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from gridx.gateways.messages import DriverLimits, NominalLimits
from gridx.gateways.plants.plant import Plant
from gridx.gateways.plants.span import FREE, Columns, Ints, Limits, Span


class Battery(Plant):
    """Positive is charging. What goes in loses half of the round trip's losses, what comes out
    the other half. It works between `soc_min` and `soc_max`.
    """

    kind = "battery"
    model = "SIM-BATTERY"
    default_name = "Battery"
    has_storage = True

    def __init__(
        self,
        local_id: str,
        *,
        capacity_wh: float,
        power_w: float,
        round_trip: float = 0.9,
        soc_min: float = 0.05,
        soc_max: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(local_id, name=name)
        self.capacity_wh = capacity_wh
        self.power_w = int(power_w)
        self.efficiency = round_trip**0.5
        self.floor_wh = soc_min * capacity_wh
        self.ceiling_wh = soc_max * capacity_wh
        self.energy_wh = 0.5 * capacity_wh

    def nominal(self) -> NominalLimits:
        return NominalLimits(
            min_power_w=-float(self.power_w),
            max_power_w=float(self.power_w),
            capacity_wh=float(self.capacity_wh),
        )

    def driver_limits(self) -> DriverLimits | None:
        """As of any plant; it keeps a reserve that nothing takes out of it."""
        limits = super().driver_limits()
        return limits and msgspec.structs.replace(
            limits, min_wh=float(self.floor_wh), max_wh=float(self.ceiling_wh)
        )

    def run(self, span: Span, residual_w: Ints, limits: Limits = FREE) -> Columns:
        """Steps against what the rest of the site takes (`residual_w`, negative = surplus)."""
        powers = np.empty(span.count, dtype=np.int64)
        energies = np.empty(span.count)
        for step, residual in enumerate(residual_w.tolist()):
            powers[step] = self._step(limits.bend(self._wanted(-residual, limits)), span.step_h)
            energies[step] = self.energy_wh
        return self.columns(
            span,
            powers,
            soc=np.round(energies / self.capacity_wh, 4),
            energy_wh=np.round(energies, 1),
        )

    def within_power(self, limits: Limits, *, most_w: float) -> Limits:
        """The limits with another upper end, which a set point bends to."""
        upper = most_w if limits.max_w is None else min(limits.max_w, most_w)
        lower = limits.min_w if limits.min_w is None else min(limits.min_w, upper)
        point = limits.set_point_w
        return replace(
            limits,
            min_w=lower,
            max_w=upper,
            set_point_w=None if point is None else min(point, upper),
        )

    def dischargeable_w(self, step_h: float) -> int:
        """The strongest discharge that the next step could keep up."""
        left = max(self.energy_wh - self.floor_wh, 0.0) * self.efficiency
        return min(self.power_w, int(left / step_h))

    def _wanted(self, own_w: int, limits: Limits) -> int:
        if limits.min_wh is not None and self.energy_wh < limits.min_wh:
            return self.power_w
        if limits.max_wh is not None and self.energy_wh > limits.max_wh:
            return -self.power_w
        return own_w

    def _step(self, wanted_w: int, step_h: float) -> int:
        """Charge or discharge for one step, as far as content and power allow."""
        if wanted_w > 0:
            room = max(self.ceiling_wh - self.energy_wh, 0.0) / self.efficiency
            power = min(wanted_w, self.power_w, int(room / step_h))
            self.energy_wh += power * step_h * self.efficiency
            return power
        power = -min(-wanted_w, self.dischargeable_w(step_h))
        self.energy_wh += power * step_h / self.efficiency
        return power

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, "energy_wh": self.energy_wh}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.energy_wh = state["energy_wh"]
