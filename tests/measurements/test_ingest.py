"""Storing is idempotent, whatever the order, the duplicates and the cuts between batches."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.kinds import ApplianceKind
from measurements.batches import COLUMNS, QUANTITIES, Batch
from measurements.ingest import (
    StoreReport,
    UnableToDeclare,
    UnableToStore,
    declare_interval,
    store_readings,
)
from measurements.models import DeclaredInterval, DirtySlot, LatestReading, Reading, SystemClaim
from measurements.plausibility import PlausiblePowers, Refusal, plausible_bounds

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def ago(**span: float) -> int:
    return ms(NOON - timedelta(**span))


def store(
    *, appliance_key=7, now: datetime = NOON, history: bool = False, **columns
) -> StoreReport:
    """Store readings of appliances of system 3."""
    batch = Batch.of(system_key=3, appliance_key=appliance_key, **columns)
    return store_readings(batch=batch, now=now, history=history)


def rows(*names: str) -> list[tuple]:
    return list(Reading.objects.order_by("appliance_key", "at").values_list(*names))


def test_a_batch_is_stored_with_its_marks_and_its_delay():
    report = store(
        appliance_key=[7, 8, 7],
        at_ms=[ago(minutes=1), ago(minutes=1), ago(minutes=20)],
        power_w=[-3000, 1200, -2900.5],
        soc=[None, 0.5, None],
    )
    assert (report.stored, report.unchanged, report.refused, report.dirty_slots) == (3, 0, 0, 3)
    assert rows("appliance_key", "power_w", "soc", "delay_s", "imported_wh") == [
        (7, -2900.5, None, 1200, None),
        (7, -3000.0, None, 60, None),
        (8, 1200.0, 0.5, 60, None),
    ]
    slots = DirtySlot.objects.order_by("appliance_key", "start")
    assert list(slots.values_list("system_key", "appliance_key", "start", "marked_at")) == [
        (3, 7, NOON - timedelta(minutes=30), NOON),
        (3, 7, NOON - timedelta(minutes=15), NOON),
        (3, 8, NOON - timedelta(minutes=15), NOON),
    ]
    assert list(SystemClaim.objects.values_list("system_key", flat=True)) == [3]


def test_the_same_batch_again_changes_and_marks_nothing():
    readings = {"at_ms": [ago(minutes=1), ago(minutes=2)], "power_w": [1.25, 1 / 3]}
    store(**readings)
    DirtySlot.objects.all().delete()
    report = store(**readings, now=NOON + timedelta(hours=1))
    assert (report.stored, report.unchanged, report.dirty_slots, report.fresh) == (0, 2, 0, ())
    assert not DirtySlot.objects.exists()
    assert rows("delay_s") == [(120,), (60,)]


def test_a_corrected_value_replaces_and_marks_its_slot_alone():
    store(at_ms=[ago(minutes=20), ago(minutes=1)], power_w=[1, 2], soc=[0.5, 0.5])
    DirtySlot.objects.all().delete()
    report = store(at_ms=[ago(minutes=20), ago(minutes=1)], power_w=[5, 2])
    assert (report.stored, report.unchanged, report.dirty_slots) == (1, 1, 1)
    assert rows("power_w", "soc") == [(5.0, 0.5), (2.0, 0.5)]
    assert DirtySlot.objects.get().start == NOON - timedelta(minutes=30)


def test_a_quantity_that_was_not_read_leaves_the_known_one_alone():
    store(at_ms=ago(minutes=1), power_w=1, soc=0.5)
    store(at_ms=[ago(minutes=1)], power_w=[None], imported_wh=100)
    assert rows("power_w", "soc", "imported_wh") == [(1.0, 0.5, 100.0)]


def test_in_one_batch_the_later_row_of_an_instant_wins_quantity_by_quantity():
    store(at_ms=[ago(minutes=1)] * 3, power_w=[1, 2, None], soc=[0.5, None, None])
    assert rows("power_w", "soc") == [(2.0, 0.5)]


def test_an_interval_of_another_length_replaces_both_energies_and_marks_what_it_covered():
    hour, at = ms(NOON - timedelta(hours=2)), NOON - timedelta(hours=2)
    store(at_ms=hour, interval_s=3600, import_energy_wh=400, export_energy_wh=4)
    DirtySlot.objects.all().delete()
    store(at_ms=hour, interval_s=900, import_energy_wh=90)
    assert rows("interval_s", "import_energy_wh", "export_energy_wh") == [(900, 90.0, None)]
    starts = DirtySlot.objects.order_by("start").values_list("start", flat=True)
    assert list(starts) == [at + timedelta(minutes=minutes) for minutes in (0, 15, 30, 45)]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"power_w": [None]}, Refusal.EMPTY),
        ({"power_w": np.inf}, Refusal.NOT_FINITE),
        ({"power_w": 1, "soc": -np.inf}, Refusal.NOT_FINITE),
        ({"power_w": 1, "at_ms": ago(minutes=-5, seconds=-1)}, Refusal.FUTURE),
        (
            {"import_energy_wh": 1, "interval_s": 900, "at_ms": ago(minutes=9, seconds=59)},
            Refusal.FUTURE,
        ),
        ({"power_w": 1, "at_ms": ago(days=90, seconds=1)}, Refusal.TOO_OLD),
        ({"soc": 1.01}, Refusal.OUT_OF_RANGE),
        ({"imported_wh": -1}, Refusal.OUT_OF_RANGE),
        ({"current_l1_a": 1e39}, Refusal.OUT_OF_RANGE),
        ({"import_energy_wh": -1, "interval_s": 900}, Refusal.OUT_OF_RANGE),
        ({"import_energy_wh": 1, "interval_s": 7200}, Refusal.OUT_OF_RANGE),
        ({"import_energy_wh": 1}, Refusal.HALF_INTERVAL),
        ({"power_w": 1, "interval_s": 900}, Refusal.HALF_INTERVAL),
        ({"power_w": 2e6}, Refusal.IMPLAUSIBLE),
        ({"power_w": -2e6}, Refusal.IMPLAUSIBLE),
        ({"import_energy_wh": 1e6, "interval_s": 900}, Refusal.IMPLAUSIBLE),
        ({"export_energy_wh": 1e6, "interval_s": 900}, Refusal.IMPLAUSIBLE),
    ],
)
def test_a_bad_reading_is_refused_with_its_reason_and_its_neighbours_are_not(columns, reason):
    bad = Batch.of(system_key=3, appliance_key=8, **{"at_ms": ago(hours=3)} | columns)
    good = Batch.of(system_key=3, appliance_key=7, at_ms=ago(minutes=1), power_w=1)
    report = store_readings(batch=Batch.joined([good, bad, good]), now=NOON)
    assert report.refusals == {reason: 1}
    assert (report.reasons != 0).tolist() == [False, True, False]
    assert (report.stored, report.unchanged, report.refused) == (1, 1, 1)
    assert rows("appliance_key") == [(7,)]


@pytest.mark.parametrize(
    "columns",
    [
        {"power_w": 1e6},
        {"power_w": 1, "at_ms": ago(minutes=-5)},
        {"power_w": 1, "at_ms": ago(days=90)},
        {"soc": 0},
        {"soc": 1},
        {"export_energy_wh": 0, "interval_s": 3600, "at_ms": ago(minutes=55)},
    ],
)
def test_what_is_just_allowed_is_stored(columns):
    assert store(**{"at_ms": ago(hours=3)} | columns).stored == 1


def test_nominal_limits_bound_what_is_believed(cast):
    batch = Batch.of(
        system_key=cast.lindenweg.key,
        appliance_key=[
            cast.pv.key,
            cast.pv.key,
            cast.pv.key,
            cast.battery.key,
            cast.grid_meter.key,
        ],
        at_ms=[ago(minutes=minute) for minute in range(5)],
        power_w=[-12_000, -30_000, 5_000, 12_000, 70_000],
    )
    report = store_readings(batch=batch, now=NOON)
    assert (report.reasons != 0).tolist() == [False, True, True, True, False]


def test_meters_may_read_far_beyond_what_the_contract_allows():
    assert plausible_bounds(ApplianceKind.GRID_METER, -10_000, 20_000) == (-51_000, 101_000)
    assert plausible_bounds(ApplianceKind.BATTERY, -10_000, 20_000) == (-21_000, 41_000)
    assert plausible_bounds(ApplianceKind.BATTERY, None, 0) == (-1e6, 1_000)


def test_powers_that_the_caller_knows_take_the_place_of_the_inventorys():
    powers = PlausiblePowers.of([(9, "battery", -1000, 1000), (7, "battery", -5, 5)])
    batch = Batch.of(
        system_key=3, appliance_key=[7, 8, 9], at_ms=[ago(minutes=1)] * 3, power_w=2000
    )
    report = store_readings(batch=batch, now=NOON, powers=powers)
    assert (report.reasons != 0).tolist() == [True, False, False]


def test_imported_history_may_be_old_and_is_never_late():
    assert store(at_ms=ago(days=3000), power_w=1, history=True).stored == 1
    assert rows("delay_s") == [(None,)]


def test_a_batch_without_keys_is_refused_as_a_whole():
    with pytest.raises(UnableToStore):
        store(appliance_key=0, at_ms=ago(minutes=1), power_w=1)


def test_an_empty_batch_does_nothing():
    report = store_readings(batch=Batch.joined([]), now=NOON)
    assert (report.stored, report.refused, len(report.reasons)) == (0, 0, 0)


def test_several_batches_fit_in_one_transaction_and_go_with_it():
    with transaction.atomic():
        for minute in (1, 2, 3):
            assert store(at_ms=ago(minutes=minute), power_w=minute).stored == 1
        assert Reading.objects.count() == 3
        transaction.set_rollback(True)
    assert not Reading.objects.exists()
    assert not DirtySlot.objects.exists()
    assert store(at_ms=ago(minutes=1), power_w=1).stored == 1


# The latest reading ---------------------------------------------------------------------------


def latest(*names: str) -> list[tuple]:
    return list(LatestReading.objects.order_by("appliance_key").values_list(*names))


def test_the_latest_of_each_quantity_is_kept_apart():
    store(at_ms=[ago(minutes=2), ago(minutes=1)], power_w=[10, 20], soc=[0.5, None])
    report = store(at_ms=ago(seconds=30), soc=0.6)
    assert report.fresh == ((3, 7),)
    assert latest("at", "power_at", "power_w", "soc") == [
        (NOON - timedelta(seconds=30), NOON - timedelta(minutes=1), 20.0, 0.6)
    ]


def test_late_readings_leave_the_latest_alone_but_for_what_was_unknown():
    store(at_ms=ago(minutes=1), soc=0.6)
    assert store(at_ms=ago(minutes=9), power_w=5, soc=0.1).fresh == ((3, 7),)
    assert store(at_ms=ago(minutes=10), power_w=6).fresh == ()
    assert latest("at", "power_at", "power_w", "soc") == [
        (NOON - timedelta(minutes=1), NOON - timedelta(minutes=9), 5.0, 0.6)
    ]


def test_of_partial_readings_out_of_order_each_quantity_keeps_its_latest():
    store(at_ms=ago(minutes=9), soc=0.1)
    store(at_ms=ago(minutes=1), power_w=5)
    assert store(at_ms=ago(minutes=5), soc=0.5, plug_state=3).fresh == ((3, 7),)
    assert store(at_ms=ago(minutes=7), soc=0.3, plug_state=4).fresh == ()
    # Within a batch, too, the newest reading may have nothing of what is older.
    store(at_ms=[ago(minutes=6), ago(seconds=1)], soc=[0.4, None], power_w=[None, 6])
    assert latest("at", "power_w", "soc", "soc_at", "plug_state") == [
        (NOON - timedelta(seconds=1), 6.0, 0.5, NOON - timedelta(minutes=5), 3)
    ]


def test_history_counts_as_latest_only_where_it_is_newer():
    store(at_ms=ago(minutes=5), power_w=5)
    assert store(at_ms=ago(minutes=9), power_w=1, soc=0.1, history=True).fresh == ()
    assert store(at_ms=ago(minutes=1), power_w=2, history=True).fresh == ((3, 7),)
    assert latest("power_w", "soc") == [(2.0, None)]


def test_interval_readings_say_nothing_of_now():
    report = store(at_ms=ago(minutes=15), interval_s=900, import_energy_wh=100)
    assert (report.stored, report.fresh) == (1, ())
    assert latest("at") == []
    store(
        at_ms=[ago(minutes=20), ago(minutes=10)],
        power_w=[5, None],
        interval_s=[None, 600],
        import_energy_wh=[None, 100],
    )
    assert latest("at") == [(NOON - timedelta(minutes=20),)]


# Any order, any duplicates, any cuts -----------------------------------------------------------

_values = st.fixed_dictionaries(
    {},
    optional={
        "power_w": st.floats(-5000, 5000, width=32),
        "imported_wh": st.floats(0, 1e9),
        "soc": st.floats(0, 1, width=32),
        "plug_state": st.integers(0, 4),
    },
)
_readings = st.dictionaries(
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(0, 40)), _values, max_size=30
)


def _empty_tables() -> None:
    for model in (Reading, LatestReading, DirtySlot, SystemClaim):
        model.objects.all().delete()


def _content() -> tuple:
    readings = Reading.objects.order_by("system_key", "appliance_key", "at")
    newest = LatestReading.objects.order_by("system_key", "appliance_key")
    slots = DirtySlot.objects.order_by("system_key", "appliance_key", "start").distinct()
    return (
        list(readings.values_list("system_key", "appliance_key", "at", "delay_s", *COLUMNS)),
        list(newest.values()),
        list(slots.values_list("system_key", "appliance_key", "start")),
    )


def _batch(readings: list) -> Batch:
    names = {name for _key, values in readings for name in values}
    return Batch.of(
        system_key=[system for (system, _appliance, _minute), _values in readings],
        appliance_key=[10 * system + appliance for (system, appliance, _), _ in readings],
        at_ms=[ago(minutes=minute) for (_system, _appliance, minute), _values in readings],
        **{name: [values.get(name) for _key, values in readings] for name in names},
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), readings=_readings)
def test_order_duplicates_and_cuts_make_no_difference(data, readings):
    whole = list(readings.items())
    _empty_tables()
    store_readings(batch=_batch(whole), now=NOON)
    expected = _content()

    _empty_tables()
    # One instant's quantities may also come one by one.
    split = [(key, {name: value}) for key, values in whole for name, value in values.items()]
    pieces = data.draw(st.permutations(whole + split))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pieces)), max_size=5)))
    for begin, end in zip([0, *cuts], [*cuts, len(pieces)], strict=True):
        store_readings(batch=_batch(pieces[begin:end]), now=NOON)
    assert _content() == expected


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.data(),
    readings=st.lists(
        st.tuples(
            st.integers(1, 2),
            st.sampled_from([None, 900, 1800]),
            st.sampled_from([None, 1.0, 2.0]),
            st.sampled_from([None, 3.0, 4.0]),
            st.sampled_from([None, 5.0, 6.0]),
        ),
        max_size=12,
    ),
)
def test_corrections_in_one_batch_count_as_if_they_came_one_after_the_other(data, readings):
    def batch(some: list) -> Batch:
        columns = list(zip(*some, strict=True)) or [[]] * 5
        names = ("interval_s", "import_energy_wh", "export_energy_wh", "power_w")
        return Batch.of(
            system_key=1,
            appliance_key=1,
            at_ms=[ago(minutes=15 * minute) for minute in columns[0]],
            **dict(zip(names, columns[1:], strict=True)),
        )

    _empty_tables()
    store_readings(batch=batch(readings), now=NOON)
    expected = _content()[0]
    _empty_tables()
    for reading in readings:
        store_readings(batch=batch([reading]), now=NOON)
    assert _content()[0] == expected


# What a batch is -------------------------------------------------------------------------------


def test_a_batch_knows_its_quantities_and_its_length():
    with pytest.raises(ValueError, match="Not quantities of a reading: watts"):
        Batch.of(system_key=1, appliance_key=1, at_ms=[1], watts=[1])
    with pytest.raises(ValueError):
        Batch.of(system_key=1, appliance_key=[1, 2], at_ms=[1], power_w=1)
    assert set(QUANTITIES) <= {field.name for field in Reading._meta.fields}
    assert set(COLUMNS) <= {field.name for field in Reading._meta.fields}


def test_every_quantity_survives_the_way_into_the_table():
    values = {name: number / 64 for number, name in enumerate(QUANTITIES, start=1)}
    values |= {"plug_state": 3}
    store(at_ms=ago(seconds=1), **values)
    stored = Reading.objects.values(*QUANTITIES).get()
    assert stored == values
    assert LatestReading.objects.values(*QUANTITIES).get() == values
    assert Reading.objects.get().at == NOON - timedelta(seconds=1)


# Declared intervals ----------------------------------------------------------------------------


def test_an_interval_is_declared_once_and_changes_from_an_instant_on(cast):
    def declare(interval_s: int, **back: float) -> bool:
        return declare_interval(
            appliance=cast.pv, interval_s=interval_s, valid_from=NOON - timedelta(**back)
        )

    assert declare(60, days=2)
    assert not declare(60, days=1)
    assert declare(10, hours=1)
    assert declare(5, hours=1)
    assert declare(900, days=400)
    declared = DeclaredInterval.objects.order_by("valid_from")
    assert list(declared.values_list("system_key", "appliance_key", "interval_s")) == [
        (cast.lindenweg.key, cast.pv.key, interval_s) for interval_s in (900, 60, 5)
    ]
    with pytest.raises(UnableToDeclare):
        declare(3601)
