"""Workload W: 20 systems of 5 appliances, a reading a minute, with what goes wrong at real sites.

Each system has a grid meter, photovoltaics, a battery, a charging station and a heat pump, whose
powers add up, so that all figures and flows have something to tell. All of them read their power;
all but the heat pump two counters; the battery its state of charge. Now and then readings are lost
for ten minutes or come with the next batch, a gateway is silent for four hours, and a station's
counter begins anew. The same numbers come every time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from accounts.models import Account
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from measurements.batches import Batch

# What every system has, with the powers that it can have (W).
KINDS = {
    ApplianceKind.GRID_METER: (-40_000, 40_000),
    ApplianceKind.PV_INVERTER: (-10_000, 0),
    ApplianceKind.BATTERY: (-5_000, 5_000),
    ApplianceKind.EV_CHARGING_STATION: (0, 11_000),
    ApplianceKind.HEAT_PUMP: (0, 3_000),
}
CAPACITY_WH = 10_000
SYSTEMS = 20
APPLIANCES = len(KINDS)
# A batch has about so many readings.
BATCH = 5_000
# A Monday, so that a run of up to a week fills one partition.
START = datetime(2026, 3, 2, tzinfo=UTC)
_MINUTES = BATCH // (SYSTEMS * APPLIANCES)
_DAY = 24 * 60
_COUNTED_BEFORE_WH = (1e6, 5e5)
_PLACES = {kind: place for place, kind in enumerate(KINDS)}


def make_inventory() -> None:
    """The systems and appliances that the readings are of, with their keys from 1."""
    account = Account.objects.create(name="Workload")
    System.objects.bulk_create(
        System(key=key, account=account, name=f"System {key}") for key in range(1, SYSTEMS + 1)
    )
    systems = list(System.objects.filter(account=account).order_by("key"))
    Appliance.objects.bulk_create(
        Appliance(
            key=number * APPLIANCES + place + 1,
            system=system,
            kind=kind,
            name=f"{kind} {system.key}",
            min_power_w=least_w,
            max_power_w=most_w,
            capacity_wh=CAPACITY_WH if kind is ApplianceKind.BATTERY else None,
        )
        for number, system in enumerate(systems)
        for place, (kind, (least_w, most_w)) in enumerate(KINDS.items())
    )


def batches(count: int) -> Iterator[Batch]:
    """`count` batches of about 5,000 readings, each of 50 minutes, system by system; after them
    what is late of the batch before."""
    shape = (SYSTEMS, APPLIANCES, _MINUTES)
    system_key = np.broadcast_to(np.arange(1, SYSTEMS + 1)[:, None, None], shape)
    appliance_key = np.broadcast_to(
        np.arange(1, SYSTEMS * APPLIANCES + 1).reshape(SYSTEMS, APPLIANCES, 1), shape
    )
    batteries, counters = _Batteries(), _Counters()
    held_back: list[Batch] = []
    for number in range(count):
        minutes = number * _MINUTES + np.arange(_MINUTES)
        power_w, soc = batteries.filled_in(_powers_w(minutes))
        imported_wh, exported_wh = counters.after(minutes, power_w)
        every = Batch.of(
            system_key=system_key.ravel(),
            appliance_key=appliance_key.ravel(),
            at_ms=np.broadcast_to(_at_ms(minutes), shape).ravel(),
            power_w=power_w.ravel(),
            imported_wh=imported_wh.ravel(),
            exported_wh=exported_wh.ravel(),
            soc=soc.ravel(),
        )
        is_lost, is_late = (rows.ravel() for rows in _lost_and_late(minutes))
        yield Batch.joined([every.take(~is_lost & ~is_late), *held_back])
        held_back = [every.take(is_late & ~is_lost)]


def now_after(count: int) -> datetime:
    """The instant at which the last of `count` batches has just arrived."""
    return START + timedelta(minutes=count * _MINUTES)


def _at_ms(minutes: np.ndarray) -> np.ndarray:
    return int(START.timestamp() * 1000) + minutes * 60_000


def _powers_w(minutes: np.ndarray) -> np.ndarray:
    """The power of every appliance at these minutes; of batteries none, and the meter's is what
    the others leave over."""
    site = np.arange(SYSTEMS)[:, None]
    day, hour = minutes // _DAY, minutes % _DAY / 60
    sun = np.maximum(np.sin((hour - 6) / 12 * np.pi), 0)
    pv = -8_000 * sun * (0.6 + 0.4 * np.sin(minutes / 37 + site))
    household = 400 + 250 * np.sin(minutes / 90 + site) ** 2
    heat_pump = 2_000.0 * ((minutes // 20 + site) % 3 == 0)
    car = 7_400.0 * ((hour >= 18) & (hour < 21) & ((day + site) % 2 == 0))
    grid = household + heat_pump + car + pv
    return np.stack([grid, pv, np.zeros_like(pv), car, heat_pump], axis=1)


def _lost_and_late(minutes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which readings never come, and which come with the next batch: ten minutes of an appliance,
    and what a silent gateway would have told in four hours."""
    site = np.arange(SYSTEMS)[:, None, None]
    one = np.arange(SYSTEMS * APPLIANCES).reshape(SYSTEMS, APPLIANCES, 1)
    is_silent = (minutes // 240 + 7 * site) % 83 == 0
    is_lost = (minutes // 10 + 31 * one) % 251 == 0
    is_late = (minutes // 10 + 17 * one) % 127 == 0
    return is_lost | is_silent, is_late


class _Batteries:
    """The batteries, minute by minute from the start: they take what would be fed in, and give it
    back until they are empty."""

    def __init__(self) -> None:
        self._stored_wh = np.zeros(SYSTEMS)

    def filled_in(self, power_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The powers with those of the batteries, and their state of charge (NaN of all else)."""
        soc = np.full(power_w.shape, np.nan)
        grid, battery = (
            _PLACES[kind] for kind in (ApplianceKind.GRID_METER, ApplianceKind.BATTERY)
        )
        for minute in range(power_w.shape[2]):
            room_wh = CAPACITY_WH - self._stored_wh
            wanted_w = np.clip(-power_w[:, grid, minute], -3_000, 3_000)
            taken_w = np.clip(wanted_w, -60 * self._stored_wh, 60 * room_wh)
            self._stored_wh = np.clip(self._stored_wh + taken_w / 60, 0, CAPACITY_WH)
            power_w[:, battery, minute] = taken_w
            power_w[:, grid, minute] += taken_w
            soc[:, battery, minute] = self._stored_wh / CAPACITY_WH
        return power_w, soc


class _Counters:
    """The counters of all appliances, minute by minute from the start."""

    def __init__(self) -> None:
        # Of both directions what has flowed (Wh), and what of it the counter does not show.
        self._flowed = [np.zeros((SYSTEMS, APPLIANCES, 1)) for _direction in range(2)]
        self._hidden = [np.full((SYSTEMS, APPLIANCES, 1), -wh) for wh in _COUNTED_BEFORE_WH]

    def after(self, minutes: np.ndarray, power_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both of them at these minutes, which follow on those before."""
        begins_anew = np.zeros(power_w.shape, dtype=bool)
        site = np.arange(SYSTEMS)[:, None]
        begins_anew[:, _PLACES[ApplianceKind.EV_CHARGING_STATION]] = (minutes + 367 * site) % (
            5 * _DAY
        ) == 1
        shown = []
        for direction, sign in enumerate((1, -1)):
            flowed = self._flowed[direction] + np.cumsum(np.maximum(sign * power_w, 0) / 60, axis=2)
            anew = np.where(begins_anew, flowed, -np.inf)
            hidden = np.maximum(np.maximum.accumulate(anew, axis=2), self._hidden[direction])
            self._flowed[direction], self._hidden[direction] = flowed[..., -1:], hidden[..., -1:]
            counter = flowed - hidden
            counter[:, _PLACES[ApplianceKind.HEAT_PUMP]] = np.nan
            shown.append(counter)
        return shown[0], shown[1]
