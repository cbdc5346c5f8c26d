"""What all simulated appliances have in common."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gridx.gateways.messages import DriverLimits, FoundAppliance, NominalLimits
from gridx.gateways.plants.span import FREE, Columns, Counters, Ints, Limits, Span

BEYOND_LIMITS = "beyond_limits"
BELOW_MINIMUM = "below_minimum"
NOT_CONTROLLABLE = "not_controllable"
NO_STORAGE = "no_storage"


class Plant:
    """One appliance: parameters that stay, and a state that goes on.

    `kind` is one of inventory's kinds. `default_name` is what its maker calls it.
    """

    kind: ClassVar[str]
    model: ClassVar[str]
    default_name: ClassVar[str]
    is_controllable: ClassVar[bool] = True
    has_set_point: ClassVar[bool] = True
    has_storage: ClassVar[bool] = False

    def __init__(self, local_id: str, *, name: str | None = None) -> None:
        self.local_id = local_id
        self.name = name or self.default_name
        self.counters = Counters()

    def nominal(self) -> NominalLimits:
        """What it was built for."""
        raise NotImplementedError

    def found(self, *, interval_s: float, serial_number: str) -> FoundAppliance:
        """How a gateway announces it."""
        return FoundAppliance(
            local_id=self.local_id,
            kind=self.kind,
            interval_s=interval_s,
            name=self.name,
            manufacturer="gridx",
            model=self.model,
            serial_number=serial_number,
            firmware="1.0.0",
            protocol="MODBUS_TCP",
            limits=self.nominal(),
        )

    def driver_limits(self) -> DriverLimits | None:
        """Its physical limits, as a driver states them; None where nothing can be steered."""
        if not (self.is_controllable and self.has_set_point):
            return None
        nominal = self.nominal()
        return DriverLimits(
            appliance=self.local_id,
            min_w=nominal.min_running_w or nominal.min_power_w,
            max_w=nominal.max_power_w,
            min_wh=None if nominal.capacity_wh is None else 0.0,
            max_wh=nominal.capacity_wh,
            can_pause=nominal.min_running_w is not None,
        )

    def admit(self, limits: Limits) -> tuple[Limits, str | None]:
        """What of the limits the appliance can do, and why not all (a code), or None.

        What it cannot do it leaves out: an impossible set point is no set point. One below the
        least power that it runs at pauses it.
        """
        if not self.is_controllable and limits != FREE:
            return FREE, NOT_CONTROLLABLE
        if not self.has_storage and (limits.min_wh, limits.max_wh) != (None, None):
            return self.admit(replace(limits, min_wh=None, max_wh=None))[0], NO_STORAGE
        nominal = self.nominal()
        least, most = nominal.min_power_w, nominal.max_power_w
        point = limits.set_point_w
        if point is not None and not self.has_set_point:
            return replace(limits, set_point_w=None), NOT_CONTROLLABLE
        if point is not None and not _within(point, least, most):
            return replace(limits, set_point_w=None), BEYOND_LIMITS
        if point is not None and 0 < point < (nominal.min_running_w or 0):
            return Limits(set_point_w=0, can_pause=True), BELOW_MINIMUM
        if most is not None and limits.min_w is not None and limits.min_w > most:
            return replace(limits, min_w=None), BEYOND_LIMITS
        if least is not None and limits.max_w is not None and limits.max_w < least:
            return replace(limits, max_w=None), BEYOND_LIMITS
        return limits, None

    def columns(self, span: Span, power_w: Ints, **others: Any) -> Columns:
        """Count the energy of the steps and put all columns together."""
        imported, exported = self.counters.count(power_w, span.step_ms)
        return Columns(
            at=span.ends, power_w=power_w, imported_wh=imported, exported_wh=exported, **others
        )

    @property
    def state(self) -> dict[str, Any]:
        """All that goes on, ready for JSON."""
        return {"imported": self.counters.imported, "exported": self.counters.exported}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.counters = Counters(state["imported"], state["exported"])


def _within(point: float, least: float | None, most: float | None) -> bool:
    return (least is None or point >= least) and (most is None or point <= most)
