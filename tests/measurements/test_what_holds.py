"""What must hold of all energies, wherever and whenever: around every edge of every calendar.

The properties are those that customers check by hand: counters, sums, balances. Each is tested
over the days on which a zone's clock changes, a leap day and a year's end.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.models import SystemPool
from measurements.energy import Nominal, Readings, appliance_slots
from measurements.figures import SUMMED, Figures, rates_of, sum_figures
from measurements.flows import CONSUMERS
from measurements.models import DirtySlot, SystemSlot
from measurements.pools import past_of_pool
from measurements.queries import history_of_system
from measurements.resolutions import (
    SLOT_MS,
    SLOT_S,
    Resolution,
    from_ms,
    period_start,
    periods,
    slot_end_ms,
    slot_start_ms,
    to_ms,
)
from measurements.slots import compute_dirty, compute_until_clean
from tests.measurements import by_hand
from tests.measurements.arrivals import (
    ZONES,
    draw_arrival,
    draw_devices,
    events_of,
    make_site,
    rows_of,
    store,
)

CLOCK_CHANGES = {
    "Europe/Berlin": (date(2028, 3, 26), date(2028, 10, 29)),
    "Europe/London": (date(2028, 3, 26), date(2028, 10, 29)),
    "Asia/Kolkata": (),
    "Australia/Lord_Howe": (date(2028, 4, 2), date(2028, 10, 1)),
    "America/St_Johns": (date(2028, 3, 12), date(2028, 11, 5)),
}
DAYS = {zone: (*CLOCK_CHANGES[zone], date(2028, 2, 29), date(2029, 1, 1)) for zone in ZONES}
# A coarser resolution and the one of whose sums it is the sum.
MADE_OF = {
    Resolution.HOUR: Resolution.QUARTER,
    Resolution.DAY: Resolution.HOUR,
    Resolution.WEEK: Resolution.DAY,
    Resolution.MONTH: Resolution.DAY,
    Resolution.YEAR: Resolution.MONTH,
}
around_every_edge = pytest.mark.parametrize(
    ("zone", "day"), [(zone, day) for zone in ZONES for day in DAYS[zone]], ids=str
)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=5)


def begin_of(zone: str, day: date) -> datetime:
    """When histories begin: on the evening before."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return midnight.astimezone(UTC) - timedelta(hours=6)


@cache
def start_of(at: datetime, resolution: Resolution, zone: str) -> datetime:
    return period_start(at, resolution, ZoneInfo(zone))


def firsts_of(starts: Iterable[datetime], resolution: Resolution, zone: str) -> np.ndarray:
    """Where among rows that begin at these instants a new period begins."""
    labels = [start_of(at, resolution, zone) for at in starts]
    return np.array([n for n in range(len(labels)) if n == 0 or labels[n] != labels[n - 1]])


class Home:
    """A household's slots, made of all that may go wrong with its readings."""

    def __init__(self, seed: int, zone: str, day: date) -> None:
        begin = begin_of(zone, day)
        devices = draw_devices(np.random.default_rng(seed))
        self.appliances = [by_hand.slots_of(device, begin=begin) for device in devices]
        rows = sorted(by_hand.system_slots(devices, self.appliances, begin=begin).items())
        self.starts = [at for at, _row in rows]
        self.slots = by_hand.figures_of(
            {name: [row[name] for _at, row in rows] for name in rows[0][1]}
        )
        self._zone = zone

    def sums(self, resolution: Resolution) -> tuple[list[datetime], Figures]:
        """When the periods begin of which anything is known, and the sums of their slots."""
        firsts = firsts_of(self.starts, resolution, self._zone)
        starts = [start_of(self.starts[n], resolution, self._zone) for n in firsts]
        return starts, sum_figures(self.slots, firsts)


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_are_those_on_which_the_clock_changes(zone):
    def offset(day: date) -> timedelta | None:
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).utcoffset()

    one = timedelta(days=1)
    days = [date(2028, 1, 1) + n * one for n in range(366)]
    assert tuple(day for day in days if offset(day) != offset(day + one)) == CLOCK_CHANGES[zone]


@around_every_edge
@few
@given(seed=seeds)
def test_the_sum_over_any_run_of_periods_is_the_difference_of_the_counter(zone, day, seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    pauses_ms = rng.choice([7_000, 60_000, 900_000, 1_234_567, 3_600_000, 30_000_000], count)
    at = to_ms(begin_of(zone, day)) + np.cumsum(pauses_ms)
    levels_mwh = rng.integers(0, 10**9) + np.cumsum(rng.integers(0, 10_000, count))
    from_ms_, until_ms = slot_start_ms(int(at[0])), slot_end_ms(int(at[-1]) + 1)
    made = appliance_slots(
        Readings(at, {"exported_wh": levels_mwh / 1000}),
        from_ms_,
        until_ms,
        nominal=Nominal(interval_s=60),
    )
    energies = made.export_mwh.values
    assert energies.sum() == levels_mwh[-1] - levels_mwh[0]
    for resolution in Resolution:
        spans = periods(from_ms(from_ms_), from_ms(until_ms), resolution, ZoneInfo(zone))
        first, last = sorted(rng.integers(0, len(spans) + 1, 2).tolist())
        if first == last:
            continue
        bounds = to_ms(spans[first].from_at), to_ms(spans[last - 1].until_at)
        begin, end = (max(0, (bound - from_ms_) // SLOT_MS) for bound in bounds)
        here, there = np.interp(bounds, at, levels_mwh)
        assert abs(energies[begin:end].sum() - (there - here)) <= 1


@around_every_edge
@few
@given(seed=seeds)
def test_quarters_add_up_to_every_coarser_period(zone, day, seed):
    home = Home(seed, zone, day)
    for coarse, fine in MADE_OF.items():
        starts, sums = home.sums(fine)
        stepwise = sum_figures(sums, firsts_of(starts, coarse, zone))
        assert stepwise.rows() == home.sums(coarse)[1].rows()
    slots = home.slots.rows()
    for resolution in Resolution:
        for name in SUMMED:
            known = [row[name] for row in slots if row[name] is not None]
            sums = [row[name] for row in home.sums(resolution)[1].rows()]
            assert sum(value or 0 for value in sums) == sum(known)


@around_every_edge
@few
@given(seed=seeds)
def test_the_balance_of_every_period_closes_to_its_residual(zone, day, seed):
    home = Home(seed, zone, day)
    slots = home.slots.rows()
    for resolution in Resolution:
        firsts = firsts_of(home.starts, resolution, zone).tolist()
        _starts, sums = home.sums(resolution)
        for first, end, row in zip(firsts, [*firsts[1:], len(slots)], sums.rows(), strict=True):
            # Where the exchange with the grid is not known, there is no balance to close.
            if any(slot["residual_mwh"] is None for slot in slots[first:end]):
                continue

            def total(*names: str, row=row) -> int:
                return sum(row[f"{name}_mwh"] or 0 for name in names)

            came = total("pv", "discharge", "import")
            assert came == total("consumption", "charge", "export", "residual")
            assert total("residual") <= 0
            assert total("pv") >= total("pv_to_load", "pv_to_battery", "pv_to_grid")
            assert total("import") >= total("grid_to_load", "grid_to_battery")


@around_every_edge
@few
@given(seed=seeds)
def test_the_rates_of_a_period_are_those_of_the_slots_in_which_a_meter_was_read(zone, day, seed):
    home = Home(seed, zone, day)
    metered = [row["residual_mwh"] is not None for row in home.slots.rows()]
    for resolution in Resolution:
        firsts = firsts_of(home.starts, resolution, zone).tolist()
        _starts, sums = home.sums(resolution)
        for first, end, row in zip(firsts, [*firsts[1:], len(metered)], sums.rows(), strict=True):
            rates = list(rates_of(row).values())
            if not any(metered[first:end]):
                assert rates == [None] * len(rates)
                continue
            of_metered = home.slots.columns()
            chosen = [n for n in range(first, end) if metered[n]]
            alone = by_hand.figures_of(
                {name: [column[n] for n in chosen] for name, column in of_metered.items()}
            )
            assert rates == list(rates_of(sum_figures(alone, np.array([0])).rows()[0]).values())


@around_every_edge
@few
@given(seed=seeds)
def test_the_consumption_of_every_period_is_that_of_household_and_consumers(zone, day, seed):
    home = Home(seed, zone, day)
    for resolution in Resolution:
        for row in home.sums(resolution)[1].rows():
            parts = [row[f"{name}_mwh"] for name in CONSUMERS]
            assert (row["consumption_mwh"] or 0) == sum(part or 0 for part in parts)
            assert (row["unmetered_mwh"] or 0) <= (row["consumption_mwh"] or 0)


@around_every_edge
@few
@given(seed=seeds)
def test_energies_are_never_negative_and_rates_and_coverage_are_shares(zone, day, seed):
    home = Home(seed, zone, day)
    for slots in home.appliances:
        assert (slots.import_mwh.values >= 0).all()
        assert (slots.export_mwh.values >= 0).all()
        assert ((slots.seen_s >= 0) & (slots.seen_s <= SLOT_S)).all()
    for resolution in Resolution:
        for row in home.sums(resolution)[1].rows():
            energies = [row[name] for name in SUMMED if name != "residual_mwh"]
            assert all(energy is None or energy >= 0 for energy in energies)
            rates = [rate for name, rate in rates_of(row).items() if name.endswith("_rate")]
            assert all(rate is None or 0 <= rate <= 1 for rate in rates)
            assert 0 <= row["seen_s"] <= row["expected_s"]


@pytest.mark.slow
@pytest.mark.django_db
@around_every_edge
@pytest.mark.parametrize("history", [False, True], ids=["live", "history"])
def test_any_arrival_gives_the_same_slots_and_sums(zone, day, history):
    rng = np.random.default_rng([day.toordinal(), history])
    devices, begin = draw_devices(rng), begin_of(zone, day)
    at_once, bit_by_bit = (make_site(devices, zone, begin=begin) for _ in range(2))
    store(at_once, events_of(devices), history=history)
    for batch in draw_arrival(rng, devices):
        store(bit_by_bit, batch, history=history)
        compute_dirty(now=begin)
    compute_until_clean(now=begin)
    assert not DirtySlot.objects.exists()
    made = rows_of(at_once)
    assert rows_of(bit_by_bit) == made
    # What is read of the tables are the sums of the slots, whichever table they come from.
    slots = made["SystemSlot"]
    for resolution in Resolution:
        past = history_of_system(
            system=bit_by_bit.system,
            from_at=begin,
            until_at=max(start for (start,) in slots) + timedelta(days=1),
            resolution=resolution,
        )
        for period in past.periods:
            inner = [row for (at,), row in slots.items() if period.start <= at < period.until]
            assert (period.figures is None) == (not inner)
            for name in SUMMED if inner else ():
                known = [row[name] for row in inner if row[name] is not None]
                assert period.figures[name] == (sum(known) if known else None)


@pytest.mark.slow
@pytest.mark.django_db
@around_every_edge
def test_a_pool_is_the_sum_of_its_systems(zone, day):
    begin = begin_of(zone, day)
    sites = []
    for seed, where in enumerate((zone, zone, "Europe/Berlin", "Asia/Kolkata")):
        devices = draw_devices(np.random.default_rng([day.toordinal(), seed]))
        sites.append(make_site(devices, where, begin=begin))
        store(sites[-1], events_of(devices), history=True)
    compute_until_clean(now=begin)
    pool = SystemPool.objects.create(account=sites[0].system.account, name="All", time_zone=zone)
    pool.systems.set(site.system for site in sites)
    pool.systems.add(sites[0].system)  # once more: it still counts once
    keys = [site.system.key for site in sites]
    slots = list(SystemSlot.objects.filter(system_key__in=keys).values("start", *SUMMED))
    end = max(slot["start"] for slot in slots) + timedelta(days=1)
    for resolution in Resolution:
        past = past_of_pool(pool=pool, from_at=begin, until_at=end, resolution=resolution).past
        found = dict(zip(past.known.tolist(), past.figures.rows(), strict=True))
        for number, span in enumerate(past.spans):
            inner = [slot for slot in slots if span.from_at <= slot["start"] < span.until_at]
            assert (number in found) == bool(inner)
            for name in SUMMED if inner else ():
                known = [slot[name] for slot in inner if slot[name] is not None]
                assert found[number][name] == (sum(known) if known else None)
