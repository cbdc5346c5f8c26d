"""Made-up histories of small systems, and the ways in which they may arrive.

A history is what was read, in the end; an arrival is a sequence of batches that leads to it: in
any order, with repetitions, with values that are corrected later.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from accounts.models import Account
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)
from measurements.slots import compute_until_clean

# The clock is set forward on the next day in Germany, and a month ends two days later.
BEGIN = datetime(2026, 3, 28, 17, 0, tzinfo=UTC)
NOW = BEGIN + timedelta(days=20)
ZONES = (
    "Europe/Berlin",
    "Europe/London",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
)

Reading = dict[str, float]


@dataclass
class Device:
    """An appliance and what is read of it: by second since `BEGIN`."""

    kind: ApplianceKind
    interval_s: int = 60
    limit_w: float | None = None
    capacity_wh: float | None = None
    removed_after_s: int | None = None
    readings: dict[int, Reading] = field(default_factory=dict)


@dataclass
class Site:
    """A system in the database with the keys of its appliances, in the order of the devices."""

    system: System
    keys: list[int]
    begin: datetime = BEGIN


def make_site(devices: list[Device], zone: str, *, begin: datetime = BEGIN) -> Site:
    account = Account.objects.create(name="Arrivals")
    system = System.objects.create(account=account, name="Site", time_zone=zone)
    system.refresh_from_db(fields=["key"])
    keys = []
    for number, device in enumerate(devices):
        removed_s = device.removed_after_s
        appliance = Appliance.objects.create(
            system=system,
            kind=device.kind,
            name=f"Device {number}",
            interval_s=device.interval_s,
            min_power_w=None if device.limit_w is None else -device.limit_w,
            max_power_w=device.limit_w,
            capacity_wh=device.capacity_wh,
            removed_at=None if removed_s is None else begin + timedelta(seconds=removed_s),
        )
        appliance.refresh_from_db(fields=["key"])
        keys.append(appliance.key)
    return Site(system, keys, begin)


Event = tuple[int, int, Reading]


def events_of(devices: list[Device]) -> list[Event]:
    """All readings: (number of the device, second, values)."""
    return [
        (n, at, values)
        for n, device in enumerate(devices)
        for at, values in device.readings.items()
    ]


def store(site: Site, events: list[Event], *, history: bool, now: datetime | None = None) -> None:
    """Store the events as one batch, in their order; some weeks later if nothing else is said."""
    names = sorted({name for _device, _at, values in events for name in values})
    begin_ms = round(site.begin.timestamp() * 1000)
    report = store_readings(
        batch=Batch.of(
            system_key=site.system.key,
            appliance_key=[site.keys[device] for device, _at, _values in events],
            at_ms=[begin_ms + at * 1000 for _device, at, _values in events],
            **{name: [values.get(name, np.nan) for *_, values in events] for name in names},
        ),
        now=now or site.begin + (NOW - BEGIN),
        history=history,
    )
    assert not report.refused, report.refusals


def store_one(
    appliance: Appliance, at: datetime, *, now: datetime | None = None, **values: float
) -> None:
    """Store one reading of it; a minute after it was read or its interval was over, unless said."""
    until = at + timedelta(seconds=values.get("interval_s", 0))
    batch = Batch.of(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        at_ms=round(at.timestamp() * 1000),
        **{name: [value] for name, value in values.items()},
    )
    assert not store_readings(batch=batch, now=now or until + timedelta(minutes=1)).refused


def store_intervals(
    site: Site, at_ms: np.ndarray, *, interval_s: int, rng: np.random.Generator, now: datetime
) -> None:
    """What every appliance told of the intervals that begin then: any energies, any charge."""
    for key in site.keys:
        batch = Batch.of(
            system_key=site.system.key,
            appliance_key=key,
            at_ms=at_ms,
            interval_s=float(interval_s),
            import_energy_wh=rng.uniform(0, 1500, len(at_ms)),
            export_energy_wh=rng.uniform(0, 1500, len(at_ms)),
            soc=rng.uniform(0, 1, len(at_ms)),
        )
        store_readings(batch=batch, now=now, history=True)


def store_and_compute(site: Site, events: list[Event], *, history: bool) -> None:
    store(site, events, history=history)
    compute_until_clean(now=NOW)


TABLES = (
    ApplianceSlot,
    ApplianceHour,
    ApplianceDay,
    SystemSlot,
    SystemHour,
    SystemDay,
    SystemMonth,
)


def rows_of(site: Site) -> dict[str, dict]:
    """Everything that was computed for a site, by table, without its keys."""
    numbers = {key: number for number, key in enumerate(site.keys)}
    found: dict[str, dict] = {}
    for model in TABLES:
        rows = model.objects.filter(system_key=site.system.key).order_by("start").values()
        found[model.__name__] = table = {}
        for row in rows:
            del row["system_key"]
            where = (numbers[row.pop("appliance_key")],) if "appliance_key" in row else ()
            if row.get("carry") is not None:
                row["carry"] = bytes(row["carry"])
            table[*where, row.pop("start")] = row
    return found


def draw_devices(rng: np.random.Generator) -> list[Device]:
    """A household of two to five devices with all that may go wrong with their readings."""
    kinds = [
        ApplianceKind.GRID_METER,
        ApplianceKind.BATTERY,
        ApplianceKind.PV_INVERTER,
        ApplianceKind.EV_CHARGING_STATION,
        ApplianceKind.HOUSEHOLD_METER,
        ApplianceKind.METER,
        ApplianceKind.BATTERY,
        ApplianceKind.GRID_METER,
    ]
    chosen = rng.choice(len(kinds), size=rng.integers(2, 6), replace=False)
    return [_draw_device(rng, kinds[number]) for number in sorted(chosen)]


def _draw_device(rng: np.random.Generator, kind: ApplianceKind) -> Device:
    device = Device(
        kind,
        interval_s=int(rng.choice([10, 60, 300, 900, 3600])),
        limit_w=rng.choice([None, 5_000.0]),
        capacity_wh=rng.choice([None, 10_000.0]) if kind is ApplianceKind.BATTERY else None,
        removed_after_s=int(rng.integers(0, 100_000)) if rng.random() < 0.15 else None,
    )
    instants = _draw_instants(rng)
    form = rng.choice(["counters", "power", "intervals", "mixed", "both"])
    for name, readings in _draw_columns(rng, form, instants, kind).items():
        for at, value in readings.items():
            device.readings.setdefault(at, {})[name] = value
    return device


def _draw_instants(rng: np.random.Generator) -> list[int]:
    pauses = rng.choice(
        [7, 60, 300, 420, 900, 1800, 3600, 7200, 30_000],
        p=[0.05, 0.2, 0.2, 0.1, 0.2, 0.1, 0.1, 0.03, 0.02],
        size=rng.integers(2, 40),
    )
    start = int(rng.choice([0, 900, rng.integers(0, 60_000)]))
    return (start + np.cumsum(pauses)).tolist()


def _draw_columns(
    rng: np.random.Generator, form: str, instants: list[int], kind: ApplianceKind
) -> dict[str, dict[int, float]]:
    columns: dict[str, dict[int, float]] = {}
    if form in ("power", "both", "mixed"):
        power_w = rng.uniform(-5_000, 5_000, len(instants)).round(1)
        columns["power_w"] = _some(rng, instants, power_w)
    if form in ("counters", "both", "mixed"):
        for name in ("imported_wh", "exported_wh"):
            if rng.random() < 0.8:
                columns[name] = _some(rng, instants, _draw_counter(rng, len(instants)))
    if form in ("intervals", "mixed"):
        chosen = [at for at in instants if rng.random() < (1 if form == "intervals" else 0.3)]
        lengths = rng.choice([60, 900, 1800, 3600], size=len(chosen))
        columns["interval_s"] = dict(zip(chosen, lengths.tolist(), strict=True))
        for name in ("import_energy_wh", "export_energy_wh"):
            energies = (lengths * rng.uniform(0, 1.2, len(chosen))).round(2).tolist()
            columns[name] = dict(zip(chosen, energies, strict=True))
    if kind is ApplianceKind.BATTERY and rng.random() < 0.7:
        columns["soc"] = _some(rng, instants, rng.uniform(0, 1, len(instants)).round(3))
    if not any(columns.values()):
        columns["temperature_c"] = {instants[0]: 20.0}
    return columns


def _some(rng: np.random.Generator, instants: list[int], values) -> dict[int, float]:
    """Values at most of the instants."""
    read = rng.random(len(instants)) < rng.choice([1.0, 0.7])
    return {at: float(v) for at, v, here in zip(instants, values, read, strict=True) if here}


def _draw_counter(rng: np.random.Generator, count: int) -> list[float]:
    """A counter that mostly rises, with resets, dips, glitches, jumps and standstills."""
    level, levels = float(rng.integers(0, 100_000)), []
    for fate in rng.random(count):
        if fate < 0.05:
            level = float(rng.integers(0, 50))  # reset
        elif fate < 0.09:
            odd = rng.choice([0, max(level - 5, 0), level + 1e7])
            levels.append(float(odd))
            continue
        elif fate < 0.12:
            level += 200_000  # jump
        elif fate < 0.8:
            level += float(rng.integers(0, 400))
        levels.append(max(level, 0.0))
    return levels


def draw_arrival(rng: np.random.Generator, devices: list[Device]) -> list[list[Event]]:
    """The devices' readings in batches: in any order, some twice, some first with other values."""
    waves: list[tuple[float, Event]] = []
    for device, at, values in events_of(devices):
        moments = sorted(rng.random(3))
        if rng.random() < 0.15:
            waves.append((moments[0], (device, at, _wrong(rng, values))))
        waves.append((moments[1], (device, at, values)))
        if rng.random() < 0.15:
            waves.append((moments[2], (device, at, values)))
    if rng.random() < 0.3:  # nearly live
        waves = [(event[1] + 3_000 * moment, event) for moment, event in waves]
    events = [event for _moment, event in sorted(waves, key=lambda wave: wave[0])]
    cuts = np.sort(rng.integers(0, len(events), size=rng.integers(0, 8)))
    return [
        events[begin:end]
        for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True)
        if begin < end
    ]


def _wrong(rng: np.random.Generator, values: Reading) -> Reading:
    """Other values of the same quantities."""
    wrong = {name: value * float(rng.choice([0.5, 0.99])) for name, value in values.items()}
    if "interval_s" in wrong:
        wrong["interval_s"] = float(rng.choice([60, 900, 3600]))
        for name in wrong.keys() & {"import_energy_wh", "export_energy_wh"}:
            wrong[name] *= wrong["interval_s"] / values["interval_s"]
    return wrong
