"""A whole site: appliances that know nothing of each other, and a meter that knows them all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gridx.gateways.plants.charging import ChargingStation
from gridx.gateways.plants.heating import StoreHeating
from gridx.gateways.plants.house import GridMeter, House, HouseholdMeter
from gridx.gateways.plants.plant import Plant
from gridx.gateways.plants.solar import Photovoltaics
from gridx.gateways.plants.span import FREE, Columns, Ints, Limits, Span
from gridx.gateways.plants.storage import Battery

QUARTER_MS = 900_000
STEPS_A_CHUNK = 3_000

Consumer = ChargingStation | StoreHeating


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of steps gave: each appliance's columns by local id, and the house's power."""

    columns: dict[str, Columns]
    house_w: Ints


class Site:
    """Steps all appliances together, so that at each step, in whole watts,

    grid = house + PV + consumers + batteries.

    Limits at the grid meter are kept by the site itself: too much feed-in curtails the PV, too
    much import throttles the consumers (heating first, then the charging stations in their
    order) after the battery has given what it can.
    """

    def __init__(
        self,
        house: House,
        grid: GridMeter,
        *,
        solar: list[Photovoltaics],
        batteries: list[Battery],
        consumers: list[Consumer],
        household_meter: HouseholdMeter | None = None,
    ) -> None:
        self.house = house
        self.grid = grid
        self.solar = solar
        self.batteries = batteries
        self.consumers = consumers
        self.household_meter = household_meter
        self.at_ms: int | None = None

    @property
    def plants(self) -> list[Plant]:
        """All appliances, the grid meter first."""
        meters: list[Plant] = [self.grid]
        if self.household_meter:
            meters.append(self.household_meter)
        return [*meters, *self.solar, *self.batteries, *self.consumers]

    def run(self, span: Span, limits: Mapping[str, Limits] | None = None) -> Run:
        """Go on by the span's steps; ValueError where it starts before the last one ended."""
        if self.at_ms is not None and span.start_ms < self.at_ms:
            raise ValueError(f"the site is at {self.at_ms} already, not at {span.start_ms}")
        self.at_ms = span.end_ms
        limits = limits or {}
        if limits.get(self.grid.local_id, FREE) == FREE or span.count == 1:
            return self._run(span, limits)
        return _joined([self._run(step, limits) for step in span.steps()])

    def history(
        self, from_ms: int, until_ms: int, step_ms: int = QUARTER_MS
    ) -> Iterator[dict[str, Columns]]:
        """Many steps at once, a month or so at a time; whole steps only, from `from_ms` on.

        The same physics as `run`, and the state goes on: a live simulation continues from it.
        """
        start = from_ms
        while (count := min((until_ms - start) // step_ms, STEPS_A_CHUNK)) > 0:
            span = Span(start, step_ms, count)
            yield self.run(span).columns
            start = span.end_ms

    @property
    def state(self) -> dict[str, Any]:
        """Where the site is in time and what its appliances hold, ready for JSON."""
        return {
            "at_ms": self.at_ms,
            "plants": {plant.local_id: plant.state for plant in self.plants},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; an appliance that it does not know stays at its beginning."""
        for plant in self.plants:
            if plant.local_id in state["plants"]:
                plant.restore(state["plants"][plant.local_id])
        self.at_ms = state["at_ms"]

    def _run(self, span: Span, limits: Mapping[str, Limits]) -> Run:
        columns: dict[str, Columns] = {}
        connection = limits.get(self.grid.local_id, FREE)
        house = self.house.power_w(span)
        sun = [pv.available_w(span, limits.get(pv.local_id, FREE)) for pv in self.solar]
        residual = sum(sun, house)
        for consumer in self.consumers:
            limit = limits.get(consumer.local_id, FREE)
            if connection.max_w is not None:
                limit = _capped(limit, self._headroom_w(connection.max_w, residual, span))
            columns[consumer.local_id] = consumer.run(span, limit)
            residual = residual + columns[consumer.local_id].power_w
        for battery in self.batteries:
            limit = limits.get(battery.local_id, FREE)
            if connection.max_w is not None:
                limit = battery.within_power(limit, most_w=connection.max_w - int(residual[0]))
            columns[battery.local_id] = battery.run(span, residual, limit)
            residual = residual + columns[battery.local_id].power_w
        for pv, made in zip(self.solar, sun, strict=True):
            power = made
            if connection.min_w is not None:
                surplus = np.maximum(int(np.ceil(connection.min_w)) - residual, 0)
                power = made + np.minimum(surplus, -made)
                residual = residual + (power - made)
            columns[pv.local_id] = pv.columns(span, power)
        columns[self.grid.local_id] = self.grid.columns(span, residual)
        if self.household_meter:
            meter = self.household_meter
            columns[meter.local_id] = meter.columns(span, house)
        return Run({plant.local_id: columns[plant.local_id] for plant in self.plants}, house)

    def _headroom_w(self, import_w: float, residual: Ints, span: Span) -> float:
        stored = sum(battery.dischargeable_w(span.step_h) for battery in self.batteries)
        return max(import_w - int(residual[0]) + stored, 0.0)


def _capped(limits: Limits, most_w: float) -> Limits:
    """The limits with another upper end, below which the consumer pauses."""
    upper = most_w if limits.max_w is None else min(limits.max_w, most_w)
    point = limits.set_point_w
    return replace(
        limits,
        min_w=None,
        max_w=upper,
        set_point_w=None if point is None else min(point, upper),
        can_pause=True,
    )


def _joined(runs: list[Run]) -> Run:
    columns = {
        local_id: Columns.joined([run.columns[local_id] for run in runs])
        for local_id in runs[0].columns
    }
    return Run(columns, np.concatenate([run.house_w for run in runs]))
