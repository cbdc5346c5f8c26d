"""One constraint for many appliances: all of them or none to begin with, and each exactly once."""

from datetime import datetime, time, timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEntry, OutboxMessage
from flexibility.bulk import operations
from flexibility.bulk.operations import (
    UnableToActOnAll,
    restore_each,
    set_on_each,
    withdraw_each,
    work_due,
)
from flexibility.emitters import UnableToConstrain, emitter_of
from flexibility.models import BulkAction, BulkItem, Constraint, Flexibility, GatewaySchedule
from flexibility.operations import Draft, UnableToRestore, set_constraints
from flexibility.series.operations import Part, SeriesDraft
from flexibility.series.recurrence import Frame
from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from tests.cast import Cast

HOUR = timedelta(hours=1)
LATER = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def stations(driven: Cast) -> list[Appliance]:
    """Sixty charging stations at Lindenweg."""
    return Appliance.objects.bulk_create(
        Appliance(
            system=driven.lindenweg,
            gateway=driven.gateway,
            local_id=f"station-{number}",
            kind=ApplianceKind.EV_CHARGING_STATION,
            name=f"Station {number}",
        )
        for number in range(60)
    )


def begin(cast: Cast, appliances, now: datetime, **fields) -> BulkAction:
    draft = Draft(**{"max_w": 7_000, "invalid_at": now + HOUR, **fields})
    return set_on_each(appliances=appliances, draft=draft, emitter=emitter_of(cast.fleet), now=now)


def work(now: datetime) -> int:
    """Do all that is due; returns how many times there was something."""
    times = 0
    while work_due(now=now):
        times += 1
    return times


def states(action: BulkAction) -> dict[str, int]:
    found: dict[str, int] = {}
    for state in action.items.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def test_nothing_happens_before_a_worker_comes_and_then_everything_does_once(
    driven: Cast, stations, now: datetime
):
    action = begin(driven, stations, now)
    assert Constraint.objects.filter(max_w=7_000).count() == 0
    assert work(now) == 4  # 25, 25, 10, and the look that finds nothing more
    action.refresh_from_db()
    assert states(action) == {"done": 60}
    assert action.finished_at == now
    rows = Constraint.objects.filter(max_w=7_000)
    assert set(rows.values_list("appliance", flat=True)) == {one.pk for one in stations}
    assert AuditEntry.objects.filter(verb="constrained", by=driven.fleet).count() == 60
    assert len(GatewaySchedule.objects.get(gateway=driven.gateway).body) == 60


def test_a_worker_that_dies_half_way_leaves_the_rest_to_another(
    driven: Cast, stations, now: datetime, monkeypatch
):
    action = begin(driven, stations, now)
    work_due(now=now)

    def die(**_fields):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(operations, "resolve_systems", die)
        with pytest.raises(SystemExit):
            work_due(now=now)
    assert states(action) == {"done": 25, "waiting": 35}
    assert work(now) == 0  # the dead one's claim holds for a while
    work(now + operations.PATIENCE.lease)
    assert states(action) == {"done": 60}
    assert Constraint.objects.filter(max_w=7_000).count() == 60


def test_what_fails_is_tried_again_and_does_not_keep_others_waiting(
    driven: Cast, stations, now: datetime, monkeypatch
):
    broken = begin(driven, stations[:1], now)
    fine = begin(driven, stations[1:2], now + LATER)
    real = operations.hold_systems
    calls = []

    def fail_first(systems):
        calls.append(systems)
        if len(calls) == 1:
            raise ValueError("no luck")
        return real(systems)

    monkeypatch.setattr(operations, "hold_systems", fail_first)
    work(now + LATER)
    assert (states(broken), states(fine)) == ({"waiting": 1}, {"done": 1})
    assert "no luck" in OutboxMessage.objects.get(pk=broken.message_id).last_error
    work(now + timedelta(minutes=1))
    assert states(broken) == {"done": 1}


def test_one_that_cannot_be_set_is_told_before_anything_is_saved(
    driven: Cast, stations, now: datetime
):
    stations[3].removed_at = now
    stations[3].save()
    with pytest.raises(UnableToActOnAll) as refused:
        begin(driven, [*stations, driven.grid_meter], now)
    assert [(one.appliance.name, one.reason) for one in refused.value.obstacles] == [
        ("Station 3", "It was removed."),
        ("Grid meter", "It cannot be controlled."),
    ]
    assert not BulkAction.objects.exists()
    with pytest.raises(UnableToConstrain):
        begin(driven, stations[:1], now, max_w=None)
    with pytest.raises(UnableToConstrain):
        begin(driven, [], now)


def test_what_became_impossible_since_is_refused_with_its_reason(
    driven: Cast, stations, now: datetime
):
    action = begin(driven, stations[:3], now)
    Appliance.objects.filter(pk=stations[0].pk).update(removed_at=now)
    Appliance.objects.filter(pk=stations[1].pk).update(system=driven.hafenstrasse, gateway=None)
    work(now)
    refused = dict(action.items.filter(state="refused").values_list("appliance", "reason"))
    assert refused == {
        stations[0].pk: "It was removed.",
        stations[1].pk: "It is not in sight any more.",
    }
    assert states(action) == {"refused": 2, "done": 1}


def test_all_of_it_is_withdrawn_as_it_was_set(driven: Cast, stations, now: datetime):
    action = begin(driven, stations, now)
    work(now)
    rows = list(Constraint.objects.filter(pk__in=action.items.values("constraint")))
    gone = withdraw_each(constraints=rows, emitter=emitter_of(driven.fleet), now=now + LATER)
    Constraint.objects.filter(pk=rows[0].pk).update(withdrawn_at=now)
    work(now + LATER)
    assert states(gone) == {"done": 59, "refused": 1}
    assert gone.items.get(state="refused").reason == "It was over already."
    assert not Constraint.objects.filter(max_w=7_000, withdrawn_at=None).exists()


def test_what_was_withdrawn_from_all_holds_again_when_that_is_undone(
    driven: Cast, stations, now: datetime
):
    begin(driven, stations, now, max_w=5_500)
    work(now)
    emitter = emitter_of(driven.fleet)
    rows = list(Constraint.objects.filter(max_w=5_500))
    withdrawal = withdraw_each(constraints=rows, emitter=emitter, now=now)
    with pytest.raises(UnableToRestore):
        restore_each(withdrawal=withdrawal, emitter=emitter, now=now)
    work(now)
    withdrawal.refresh_from_db()
    assert not Constraint.objects.filter(max_w=5_500, withdrawn_at=None).exists()
    with pytest.raises(PermissionDenied):
        restore_each(withdrawal=withdrawal, emitter=emitter_of(driven.mara), now=now)
    undone = restore_each(withdrawal=withdrawal, emitter=emitter, now=now + MINUTE)
    work(now + MINUTE)
    assert states(undone) == {"done": len(rows)}
    assert Constraint.objects.filter(max_w=5_500, withdrawn_at=None).count() == len(rows)
    assert {row.max_w for row in Flexibility.objects.filter(appliance__in=stations)} == {5_500}
    assert AuditEntry.objects.filter(verb="constraint_restored").count() == len(rows)
    with pytest.raises(UnableToRestore):
        restore_each(withdrawal=withdrawal, emitter=emitter, now=now + 11 * MINUTE)


def test_nobody_withdraws_what_others_set(driven: Cast, now: datetime):
    [row] = set_constraints(
        target=driven.evcs,
        drafts=[Draft(max_w=7_000, invalid_at=now + HOUR)],
        emitter=emitter_of(driven.fleet),
        now=now,
    )
    with pytest.raises(PermissionDenied):
        withdraw_each(constraints=[row], emitter=emitter_of(driven.mara), now=now)


def test_a_series_is_set_on_each_and_withdrawn_as_a_whole(driven: Cast, stations, now: datetime):
    draft = SeriesDraft(
        parts=(Part(frame=Frame(time(17), time(20)), asks=Draft(max_w=4_200)),),
        from_at=now,
        until_at=now + timedelta(days=14),
        time_zone="Europe/Berlin",
        weekdays=(0, 1, 2, 3, 4),
    )
    emitter = emitter_of(driven.fleet)
    action = set_on_each(appliances=stations[:3], draft=draft, emitter=emitter, now=now)
    work(now)
    assert states(action) == {"done": 3}
    series = [item.series for item in action.items.select_related("series__appliance")]
    assert Constraint.objects.filter(series=series[0]).count() == 10
    withdraw_each(series=series, emitter=emitter, now=now + LATER)
    work(now + LATER)
    assert not Constraint.objects.filter(series__in=series, withdrawn_at=None).exists()


def test_items_are_those_of_the_action_alone(driven: Cast, stations, now: datetime):
    begin(driven, stations[:2], now)
    begin(driven, stations[2:3], now)
    work(now)
    assert BulkItem.objects.filter(state="done").count() == 3
