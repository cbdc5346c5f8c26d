"""Series: limits that come again at times of the day, by the clock of a zone."""

from datetime import UTC, datetime, time, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from flexibility.emitters import UnableToConstrain, emitter_of
from flexibility.models import Constraint, Flexibility, Series
from flexibility.operations import Draft, UnableToRestore, set_constraints, withdraw_constraint
from flexibility.series.operations import (
    Part,
    SeriesDraft,
    extend_series,
    restore_series,
    series_draft_of,
    set_series,
    withdraw_series,
)
from flexibility.series.recurrence import Frame

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def part(begins: str, ends: str, **asks) -> Part:
    frame = Frame(time.fromisoformat(begins), time.fromisoformat(ends))
    return Part(frame=frame, asks=Draft(**asks))


@pytest.fixture
def repeat(driven, now):
    """Sets a series, by default of the charging station for a week, as the fleet manager."""

    def call(*parts: Part, target=None, user=None, series=None, at=now, **fields) -> Series:
        fields = {
            "from_at": now, "until_at": now + 7 * DAY, "time_zone": "Europe/Berlin", **fields
        }  # fmt: skip
        return set_series(
            target=target or driven.evcs,
            draft=SeriesDraft(parts=parts, **fields),
            emitter=emitter_of(user or driven.fleet),
            now=at,
            series=series,
        )

    return call


def spans(series: Series) -> list[str]:
    """The occurrences that stand, as from when until when and at most how many W."""
    rows = Constraint.objects.filter(series=series, withdrawn_at=None).order_by("valid_at")
    return [f"{one.valid_at:%dT%H:%M} {one.invalid_at:%dT%H:%M} {one.max_w:.0f}" for one in rows]


def test_each_occurrence_is_a_constraint(driven, repeat, now):
    # A Monday, noon in Berlin.
    series = repeat(part("06:00", "14:00", max_w=7_000), weekdays=(0, 2))
    assert spans(series) == [
        "15T10:00 15T12:00 7000",
        "17T04:00 17T12:00 7000",
        "22T04:00 22T10:00 7000",
    ]
    rows = Constraint.objects.filter(series=series)
    assert {(one.appliance, one.emitter_kind, one.priority) for one in rows} == {
        (driven.evcs, "account_user", 3_000)
    }
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 7_000
    assert AuditEntry.objects.filter(verb="constrained").count() == 1


def test_what_adjoins_and_asks_for_the_same_is_one(repeat):
    series = repeat(part("00:00", "12:00", max_w=5), part("12:00", "00:00", max_w=5))
    assert spans(series) == ["15T10:00 22T10:00 5"]


def test_a_limit_of_nothing_is_kept_as_one(repeat):
    series = repeat(part("00:00", "00:00", max_w=0))
    assert series_draft_of(Series.objects.get()).parts[0].asks.max_w == 0
    assert spans(series) == ["15T10:00 22T10:00 0"]


def test_the_clock_is_that_of_the_zone_when_it_is_changed(repeat):
    series = repeat(
        part("01:00", "04:00", max_w=1),
        from_at=datetime(2026, 10, 24, tzinfo=UTC),
        until_at=datetime(2026, 10, 27, tzinfo=UTC),
    )
    assert spans(series) == ["24T00:00 24T02:00 1", "24T23:00 25T03:00 1", "26T00:00 26T03:00 1"]


def test_it_reaches_no_further_than_a_constraint_may(repeat, now):
    series = repeat(part("12:00", "13:00", max_w=1), until_at=now + 1_000 * DAY)
    rows = Constraint.objects.filter(series=series)
    assert rows.count() == 400
    assert max(one.invalid_at for one in rows) <= now + 400 * DAY
    # Its occurrences leave room for others.
    series = repeat(part("12:00", "13:00", max_w=1), series=series, at=now + 10 * DAY,
                    until_at=now + 1_000 * DAY)  # fmt: skip
    assert Constraint.objects.filter(series=series, withdrawn_at=None).count() == 410


def test_a_series_takes_no_room_from_constraints(driven, repeat, now):
    repeat(part("12:00", "13:00", max_w=1), until_at=now + 300 * DAY)
    draft = Draft(max_w=1, invalid_at=now + DAY)
    set_constraints(target=driven.evcs, drafts=[draft], emitter=emitter_of(driven.fleet), now=now)


def test_changing_it_replaces_what_is_to_come_and_keeps_what_is_the_same(repeat, now):
    series = repeat(part("12:00", "18:00", max_w=1), part("20:00", "21:00", max_w=2))
    before = set(Constraint.objects.filter(max_w=1).values_list("pk", flat=True))
    later = now + HOUR
    again = repeat(
        part("12:00", "18:00", max_w=1),
        part("20:00", "22:00", max_w=2),
        until_at=now + 3 * DAY,
        series=series,
        at=later,
    )
    assert (again.pk, again.created_at, again.updated_at) == (series.pk, now, later)
    assert spans(series) == [
        "15T10:00 15T16:00 1", "15T18:00 15T20:00 2",
        "16T10:00 16T16:00 1", "16T18:00 16T20:00 2",
        "17T10:00 17T16:00 1", "17T18:00 17T20:00 2",
    ]  # fmt: skip
    standing = Constraint.objects.filter(max_w=1, withdrawn_at=None)
    assert set(standing.values_list("pk", flat=True)) <= before


def test_withdrawing_ends_all_of_it_but_what_has_been(driven, repeat, now):
    series = repeat(part("12:00", "18:00", max_w=1), user=driven.mara)
    later = now + DAY
    with pytest.raises(PermissionDenied):
        withdraw_series(series=series, by=emitter_of(driven.fleet), now=later)
    for _again in range(2):
        withdraw_series(series=series, by=emitter_of(driven.staff), now=later)
    assert spans(series) == ["15T10:00 15T16:00 1"]
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 22_000
    assert AuditEntry.objects.filter(verb="constraint_withdrawn").count() == 1
    with pytest.raises(PermissionDenied):
        repeat(part("12:00", "18:00", max_w=2), series=series)


def test_pools_and_systems_repeat_too(driven, repeat):
    everywhere = repeat(part("12:00", "13:00", max_w=1), target=driven.pool, kinds=("battery",))
    assert {one.pool for one in Constraint.objects.filter(series=everywhere)} == {driven.pool}
    assert Constraint.objects.filter(series=everywhere).first().kinds == ["battery"]
    whole = repeat(
        part("12:00", "13:00", max_w=1),
        target=driven.lindenweg,
        kinds=("battery", "ev_charging_station"),
    )
    found = {one.appliance for one in Constraint.objects.filter(series=whole)}
    assert found == {driven.battery, driven.evcs}


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"parts": ()}, "parts"),
        ({"parts": (part("06:00", "08:00", max_w=1), part("07:00", "09:00", max_w=2))}, "parts"),
        ({"parts": (part("06:00", "08:00"),)}, "max_w"),
        ({"parts": (part("06:00", "08:00", min_w=2, max_w=1),)}, "min_w"),
        ({"time_zone": "Mars/North"}, "time_zone"),
        ({"weekdays": (7,)}, "weekdays"),
        ({"until_at": -DAY}, "until_at"),
        ({"from_at": -2 * DAY, "until_at": -DAY}, "until_at"),
        ({"from_at": 401 * DAY, "until_at": 402 * DAY}, "from_at"),
        ({"weekdays": (6,), "until_at": DAY}, "parts"),
        ({"priority": 10_000}, "priority"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_named(repeat, now, fields, at_fault):
    fields = {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in fields.items()
    }
    parts = fields.pop("parts", (part("06:00", "08:00", max_w=1),))
    with pytest.raises(UnableToConstrain) as caught:
        repeat(*parts, **fields)
    assert caught.value.field == at_fault
    assert not Series.objects.exists()
    assert not Constraint.objects.filter(series__isnull=False).exists()


def test_there_is_room_for_so_many(repeat, now, monkeypatch):
    monkeypatch.setattr("flexibility.series.operations.MOST_OCCURRENCES", 10)
    repeat(part("12:00", "13:00", max_w=1))
    with pytest.raises(UnableToConstrain) as caught:
        repeat(part("12:00", "13:00", max_w=1))
    assert caught.value.field == "series"
    assert Series.objects.count() == 1


def test_it_takes_as_many_queries_however_often_it_occurs(repeat, now):
    counts = []
    for number, days in enumerate((5, 10, 100), start=1):
        with CaptureQueriesContext(connection) as captured:
            repeat(part("12:00", "13:00", max_w=9 - number), until_at=now + days * DAY)
        counts.append(len(captured))
    assert counts[2] == counts[1]


def test_one_that_goes_on_for_longer_than_400_days_is_extended_as_time_passes(driven, repeat, now):
    series = repeat(part("17:00", "20:00", max_w=5), until_at=now + 402 * DAY)
    standing = Constraint.objects.filter(series=series, withdrawn_at=None)
    assert standing.count() == 400
    last = standing.latest("valid_at")
    withdraw_one = standing.exclude(pk=last.pk).latest("valid_at")
    Constraint.objects.filter(pk=withdraw_one.pk).update(withdrawn_at=now)
    assert extend_series(now=now) == 0
    assert extend_series(now=now + DAY) == 1
    assert extend_series(now=now + DAY) == 0
    assert extend_series(now=now + 20 * DAY) == 1
    assert standing.latest("valid_at").valid_at == last.valid_at + 2 * DAY
    # What was withdrawn alone stays so.
    assert not standing.filter(valid_at=withdraw_one.valid_at).exists()


def test_a_series_that_was_withdrawn_is_not_extended(driven, repeat, now):
    series = repeat(part("17:00", "20:00", max_w=5), until_at=now + 500 * DAY)
    withdraw_series(series=series, by=emitter_of(driven.fleet), now=now)
    assert extend_series(now=now + DAY) == 0


def test_withdrawing_is_taken_back_within_a_minute(driven, repeat, now):
    series = repeat(part("10:00", "14:00", max_w=7_000))
    withdraw_series(series=series, by=emitter_of(driven.fleet), now=now)
    with pytest.raises(PermissionDenied):
        restore_series(series=series, by=emitter_of(driven.mara), now=now)
    restore_series(series=series, by=emitter_of(driven.fleet), now=now)
    assert len(spans(series)) == 8
    assert Flexibility.objects.get(pk=driven.evcs.pk).max_w == 7_000
    withdraw_series(series=series, by=emitter_of(driven.fleet), now=now)
    with pytest.raises(UnableToRestore):
        restore_series(series=series, by=emitter_of(driven.fleet), now=now + timedelta(minutes=1))


def test_a_withdrawn_occurrence_stays_withdrawn_when_the_series_changes(driven, repeat, now):
    series = repeat(part("06:00", "10:00", max_w=7_000), weekdays=(1, 2))
    [tuesday, _wednesday] = Constraint.objects.filter(series=series).order_by("valid_at")
    withdraw_constraint(constraint=tuesday, by=emitter_of(driven.fleet), now=now)
    changed = repeat(part("07:00", "11:00", max_w=6_000), weekdays=(1, 2, 3), series=series)
    assert spans(changed) == ["17T05:00 17T09:00 6000", "18T05:00 18T09:00 6000"]
    # What a change has replaced is not withdrawn for good.
    again = repeat(part("06:00", "10:00", max_w=7_000), weekdays=(1, 2), series=changed)
    assert spans(again) == ["17T04:00 17T08:00 7000"]
