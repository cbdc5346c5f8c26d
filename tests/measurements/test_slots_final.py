"""What retention has dropped is final: its slots stay, whatever comes later."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from inventory.kinds import ApplianceKind
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import DirtySlot, FinalSpan
from measurements.partitions import existing_weeks, maintain_partitions, week_of_ms
from measurements.plausibility import Refusal
from measurements.resolutions import to_ms
from measurements.slots import compute_until_clean, mark_history
from tests.measurements.arrivals import BEGIN, Device, make_site, rows_of, store_and_compute

pytestmark = pytest.mark.django_db

DAY_S = 86_400
# The week in which `BEGIN` lies ends 31 hours later.
MONDAY_S = 31 * 3600
LONG_AFTER = BEGIN + timedelta(days=120)


@pytest.fixture
def site():
    return make_site(
        [
            Device(ApplianceKind.GRID_METER, interval_s=900),
            Device(ApplianceKind.PV_INVERTER, interval_s=900),
            Device(ApplianceKind.BATTERY, interval_s=3600),
        ],
        "Europe/Berlin",
    )


def read(from_s: int, until_s: int, *, step_s: int = 420) -> list:
    """A meter with counters, an inverter with power alone, a battery with intervals."""
    events = []
    for at in range(from_s, until_s, step_s):
        events += [
            (0, at, {"imported_wh": 1e5 + at / 36, "exported_wh": 5e4 + at / 90}),
            (1, at, {"power_w": -1000.0 - at % 777}),
        ]
    for at in range(from_s - from_s % 3600, until_s, 3600):
        events.append((2, at, {"interval_s": 3600.0, "import_energy_wh": 200.0}))
    return events


def drop_first_week() -> None:
    """Retention comes by when the first week is old enough, and no other."""
    week = week_of_ms(to_ms(BEGIN))
    maintain_partitions(now=BEGIN + timedelta(days=2 + 90, hours=12))
    weeks = [number for number, _name in existing_weeks()]
    assert week not in weeks
    assert week + 1 in weeks


def drop_everything() -> None:
    """Retention comes by long after."""
    maintain_partitions(now=LONG_AFTER)
    assert week_of_ms(to_ms(BEGIN)) not in [number for number, _name in existing_weeks()]


def test_nothing_changes_when_readings_go(site):
    store_and_compute(site, read(0, 3 * DAY_S), history=True)
    before = rows_of(site)
    drop_first_week()
    mark_history(
        system=site.system, from_at=BEGIN, until_at=BEGIN + timedelta(days=10), now=LONG_AFTER
    )
    compute_until_clean(now=LONG_AFTER)
    assert rows_of(site) == before
    assert not DirtySlot.objects.exists()


def test_what_comes_beside_a_final_span_is_computed_and_the_span_is_not(site):
    whole = make_site([Device(ApplianceKind.GRID_METER, interval_s=900)], "Europe/Berlin")
    store_and_compute(site, read(0, 2 * 3600), history=True)
    final = rows_of(site)["ApplianceSlot"]
    drop_everything()
    later = read(3 * 3600, 5 * 3600)
    store_and_compute(site, later, history=True)
    rows = rows_of(site)["ApplianceSlot"]
    assert {at: rows[at] for at in final} == final
    # The counter goes on from where it was: over the pause and to its last reading.
    store_and_compute(whole, [e for e in read(0, 2 * 3600) + later if e[0] == 0], history=True)
    beside = {at: row for at, row in rows.items() if at[0] == 0 and at not in final}
    expected = rows_of(whole)["ApplianceSlot"]
    assert beside == {at: expected[at] for at in beside}
    assert len(beside) == len(expected) - len([at for at in final if at[0] == 0])


def test_older_history_ends_where_final_slots_begin(site):
    store_and_compute(site, read(10 * 3600, 12 * 3600), history=True)
    final = rows_of(site)["ApplianceSlot"]
    drop_everything()
    store_and_compute(site, read(0, 4 * 3600), history=True)
    store_and_compute(site, read(15 * DAY_S, 15 * DAY_S + 3600), history=True)
    store_and_compute(site, [(0, 4 * 3600 - 10, {"imported_wh": 1e5 + 401})], history=True)
    rows = rows_of(site)["ApplianceSlot"]
    assert {at: rows[at] for at in final} == final
    # Nothing is spread from the old readings to those that come weeks after the final ones.
    alone = make_site([Device(ApplianceKind.GRID_METER, interval_s=900)], "Europe/Berlin")
    only = [event for event in read(0, 4 * 3600) if event[0] == 0]
    store_and_compute(alone, [*only, (0, 4 * 3600 - 10, {"imported_wh": 1e5 + 401})], history=True)
    expected = rows_of(alone)["ApplianceSlot"]
    until = BEGIN + timedelta(hours=10)
    assert {at: row for at, row in rows.items() if at[0] == 0 and at[1] < until} == expected


def test_a_span_reaches_from_the_first_reading_to_what_the_last_ones_tell(site):
    store_and_compute(site, read(600, MONDAY_S + 2 * 3600), history=True)
    drop_first_week()
    monday = datetime(2026, 3, 30, tzinfo=UTC)
    spans = FinalSpan.objects.filter(system_key=site.system.key).order_by("appliance_key")
    quarter = timedelta(minutes=15)
    assert list(spans.values_list("from_at", "until_at")) == [
        (BEGIN, monday),  # a counter goes on from what the last slot carries
        (BEGIN, monday + quarter),  # the first power of the week closes a pause
        (BEGIN, monday),
    ]


def test_a_round_in_small_pieces_leaves_final_slots_alone(site, monkeypatch):
    store_and_compute(site, read(0, 2 * DAY_S), history=True)
    before = rows_of(site)
    drop_first_week()
    monkeypatch.setattr("measurements.slots.compute._SLOTS_AT_ONCE", ((2, None),))
    late = MONDAY_S + 60
    store_and_compute(site, [(0, late, {"imported_wh": 1e5 + late / 36 - 1})], history=True)
    after = rows_of(site)
    changed = {
        at
        for at in before["ApplianceSlot"]
        if before["ApplianceSlot"][at] != after["ApplianceSlot"][at]
    }
    assert changed
    assert min(start for _number, start in changed) >= BEGIN + timedelta(seconds=MONDAY_S)


def test_history_that_comes_too_late_for_its_slots_is_refused(site):
    store_and_compute(site, read(0, 2 * 3600), history=True)
    drop_everything()
    batch = Batch.of(
        system_key=site.system.key,
        appliance_key=[site.keys[0], site.keys[0], site.keys[0], site.keys[1]],
        at_ms=to_ms(BEGIN) + 1000 * np.array([-60, 3600, 7200, 7199]),
        power_w=1.0,
    )
    report = store_readings(batch=batch, now=LONG_AFTER, history=True)
    assert report.reasons.astype(bool).tolist() == [False, True, False, True]
    assert report.refusals == {Refusal.TOO_OLD: 2}
