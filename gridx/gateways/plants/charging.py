"""A charging station and the cars that come to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from gridx.gateways.messages import NominalLimits, PlugState
from gridx.gateways.plants.noise import derive, normal, uniform
from gridx.gateways.plants.plant import Plant
from gridx.gateways.plants.span import FREE, MS_PER_HOUR, Columns, Ints, Limits, Span
from gridx.gateways.plants.weather import MS_PER_DAY, to_local

VOLTAGE_V = 230.0
NO_SESSION = -1
EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday


@dataclass(frozen=True, slots=True)
class Habit:
    """When cars come and go (hours of local time; over 24 = the next day) and what they need.

    At most one car a day; the departure lies before the next day's earliest arrival.
    """

    arrival_h: float
    departure_h: float
    spread_h: float
    need_wh: tuple[float, float]
    share_weekday: float
    share_weekend: float


COMMUTER = Habit(17.7, 31.3, 0.45, (4_000.0, 32_000.0), 0.62, 0.4)
WORKPLACE = Habit(8.3, 16.8, 0.5, (8_000.0, 45_000.0), 0.72, 0.12)


class ChargingStation(Plant):
    """Charges at full power unless told otherwise, at `min_w` to `max_w` or not at all."""

    kind = "ev_charging_station"
    model = "SIM-EVCS"
    default_name = "Charging station"

    def __init__(
        self,
        local_id: str,
        zone: ZoneInfo,
        *,
        seed: int,
        max_w: float = 11_040.0,
        min_w: float = 4_140.0,
        habit: Habit = COMMUTER,
        name: str | None = None,
    ) -> None:
        super().__init__(local_id, name=name)
        self.zone = zone
        self.seed = seed
        self.max_w = int(max_w)
        self.min_w = int(min_w)
        self.habit = habit
        self.session = NO_SESSION
        self.delivered = 0  # W·ms in this session

    def nominal(self) -> NominalLimits:
        return NominalLimits(
            min_power_w=0.0,
            max_power_w=float(self.max_w),
            min_running_w=float(self.min_w),
            max_current_a=round(self.max_w / 3 / VOLTAGE_V, 1),
            phases=3,
        )

    def run(self, span: Span, limits: Limits = FREE) -> Columns:
        sessions, needs = self._sessions(span.middles)
        allowed = limits.bend(self.max_w)
        allowed = min(allowed, self.max_w) if allowed >= self.min_w else 0
        powers = np.zeros(span.count, dtype=np.int64)
        states = []
        for step, (session, need) in enumerate(zip(sessions.tolist(), needs.tolist(), strict=True)):
            power, state = self._step(session, need, allowed, span.step_ms)
            powers[step] = power
            states.append(state)
        current = np.round(powers / (3 * VOLTAGE_V), 2)
        return self.columns(
            span,
            powers,
            current_l1_a=current,
            current_l2_a=current,
            current_l3_a=current,
            plug_state=states,
        )

    def _step(self, session: int, need: int, allowed_w: int, step_ms: int) -> tuple[int, PlugState]:
        if session != self.session:
            self.session, self.delivered = session, 0
        if session == NO_SESSION:
            return 0, PlugState.UNPLUGGED
        left = need - self.delivered
        if left <= 0:
            return 0, PlugState.PLUGGED
        if not allowed_w:
            return 0, PlugState.PAUSED
        # The last step ends when the car is full: its mean power is lower.
        power = min(allowed_w, -(-left // step_ms))
        self.delivered += power * step_ms
        return power, PlugState.CHARGING

    def _sessions(self, instants: Ints) -> tuple[Ints, Ints]:
        """For each instant: the day of the session's arrival (or NO_SESSION), its need in W·ms."""
        local = to_local(instants, self.zone)
        today = local // MS_PER_DAY
        days, places = np.unique(np.concatenate((today, today - 1)), return_inverse=True)
        comes, arrives, departs, need = self._habits(days)
        session = np.full(len(local), NO_SESSION, dtype=np.int64)
        needs = np.zeros(len(local), dtype=np.int64)
        for back in (1, 0):
            day = today - back
            place = places[back * len(local) : (back + 1) * len(local)]
            hour = (local - day * MS_PER_DAY) / MS_PER_HOUR
            there = comes[place] & (hour >= arrives[place]) & (hour < departs[place])
            session[there] = day[there]
            needs[there] = need[place][there]
        return session, needs

    def _habits(self, days: Ints) -> tuple[np.ndarray, ...]:
        """Whether a car comes on these days, from and until which hour, and its need in W·ms."""
        habit = self.habit
        weekend = (days + EPOCH_WEEKDAY) % 7 >= 5
        share = np.where(weekend, habit.share_weekend, habit.share_weekday)
        comes = uniform(derive(self.seed, "comes"), days) < share
        arrives = habit.arrival_h + habit.spread_h * normal(derive(self.seed, "arrives"), days)
        departs = habit.departure_h + habit.spread_h * normal(derive(self.seed, "departs"), days)
        low, high = habit.need_wh
        need = low + (high - low) * uniform(derive(self.seed, "need"), days) ** 1.5
        return comes, arrives, departs, np.rint(need * MS_PER_HOUR).astype(np.int64)

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, "session": self.session, "delivered": self.delivered}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.session, self.delivered = state["session"], state["delivered"]
