"""A cluster's limit is divided among its members as they are, and stays so whatever happens."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEntry
from flexibility.allotment import Strategy
from flexibility.delivery import Acknowledgement, Applied, record_acknowledgements
from flexibility.emitters import UnableToConstrain, emitter_of
from flexibility.limits.balancing import redivide
from flexibility.limits.operations import (
    LimitDraft,
    fuse_emitter_of,
    limits_on,
    set_limit,
    withdraw_limit,
)
from flexibility.local import DriverLimits, set_driver_limits
from flexibility.models import (
    Constraint,
    Flexibility,
    GatewaySchedule,
    ResolvedBoundary,
    Share,
)
from flexibility.operations import Draft, drafted, set_constraints, withdraw_constraint
from flexibility.resolving import balance_systems
from flexibility.sweeping import balance_all_due, sweep
from gridx import clock
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance, Cluster
from inventory.operations import move_appliance
from measurements.models import LatestReading
from tests.flexibility.asking import as_, wire

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


class Garage:
    """A car park at Lindenweg 12 with three charging stations, and the time that passes there."""

    def __init__(self, cast, now) -> None:
        self.cast, self.now = cast, now
        self.cluster = Cluster.objects.create(system=cast.lindenweg, name="Car park")
        self.stations = [
            Appliance.objects.create(
                system=cast.lindenweg,
                gateway=cast.gateway,
                cluster=self.cluster,
                local_id=f"station-{number}",
                kind=ApplianceKind.EV_CHARGING_STATION,
                name=f"Station {number}",
            )
            for number in range(3)
        ]
        limits = DriverLimits(min_w=4_140, max_w=11_000, pausable=True)
        set_driver_limits(limits={one.pk: limits for one in self.stations}, now=now)
        self.read()

    def read(self, *powers_w: float, appliances=None, **quantities) -> None:
        """New readings of all stations, or of others."""
        for number, one in enumerate(appliances or self.stations):
            LatestReading.objects.update_or_create(
                system_key=self.cast.lindenweg.key,
                appliance_key=one.key,
                defaults={
                    "at": self.now,
                    "power_at": self.now,
                    "power_w": powers_w[number] if powers_w else 0.0,
                    **quantities,
                },
            )

    def limit(self, max_w=None, *, by=None, cluster=None, **fields):
        draft = LimitDraft(**{"max_w": max_w, "invalid_at": self.now + 24 * HOUR, **fields})
        emitter = by or emitter_of(self.cast.fleet)
        return set_limit(cluster=cluster or self.cluster, draft=draft, by=emitter, now=self.now)

    def constrain(self, number: int, **fields) -> Constraint:
        by = emitter_of(fields.pop("user", self.cast.staff))
        draft = Draft(**{"invalid_at": self.now + 24 * HOUR, **fields})
        target = self.stations[number]
        [row] = set_constraints(target=target, drafts=[draft], emitter=by, now=self.now)
        return row

    def confirm(self, **refusals: str) -> None:
        """The gateway takes its newest schedule over; some stations refuse it."""
        schedule = GatewaySchedule.objects.get(pk=self.cast.gateway.pk)
        boundaries = Flexibility.objects.in_bulk([one.pk for one in self.stations])
        record_acknowledgements(
            acknowledgements=[
                Acknowledgement(
                    gateway=self.cast.gateway.pk,
                    revision=schedule.revision,
                    applied={
                        pk: Applied(
                            min_w=row.min_w, max_w=row.max_w, refusal=refusals.get(str(pk), "")
                        )
                        for pk, row in boundaries.items()
                    },
                )
            ],
            now=self.now,
        )

    def after(self, span: timedelta, *, read=True, confirm=True) -> list[float | None]:
        """So much later: the gateway has confirmed, and the shares follow the readings."""
        if confirm:
            self.confirm()
        self.now += span
        if read:
            self.read()
        balance_systems(systems={self.cast.lindenweg.pk}, now=self.now)
        return self.shares()

    def told_w(self, station: Appliance, at) -> float | None:
        """The greatest power that its newest schedule allows a station at an instant."""
        body = GatewaySchedule.objects.get(pk=self.cast.gateway.pk).body
        [part] = [part for part in body if part["appliance"] == str(station.pk)]
        at_ms = at.timestamp() * 1000
        return next(
            one.get("max_w") for one in part["segments"] if one["start"] <= at_ms < one["end"]
        )

    def shares(self) -> list[float | None]:
        """The greatest power that the stations are allowed."""
        rows = Flexibility.objects.in_bulk([one.pk for one in self.stations])
        return [rows[one.pk].max_w for one in self.stations]


@pytest.fixture
def garage(cast, now) -> Garage:
    return Garage(cast, now)


# How a limit is divided --------------------------------------------------------------------------


def test_each_share_is_a_constraint_of_its_own(garage, cast, now):
    limit = garage.limit(15_000)
    assert garage.shares() == [5_000, 5_000, 5_000]
    rows = Constraint.objects.filter(limit=limit)
    assert rows.count() == 3
    assert {(row.emitter_kind, row.priority, row.emitter) for row in rows} == {
        ("cluster_limit", 3_000, cast.fleet)
    }
    assert {row.invalid_at for row in rows} == {now + 24 * HOUR}
    kept = Flexibility.objects.get(pk=garage.stations[0].pk)
    assert kept.deciders["max_w"] in {str(row.pk) for row in rows}
    [tally] = limit.tallies
    assert (tally["limit_w"], tally["allotted_w"], tally["over_w"]) == (15_000, 15_000, 0)
    assert limit.is_reachable


def test_minima_come_first_and_who_gets_none_is_paused(garage):
    garage.limit(10_000)
    assert sorted(garage.shares()) == [0, 5_000, 5_000]
    assert Constraint.objects.filter(share__paused_since=garage.now).count() == 1


def test_pauses_take_turns(garage):
    garage.limit(10_000)
    [paused] = [number for number, share in enumerate(garage.shares()) if share == 0]
    for _tenth in range(200):
        if garage.after(10 * SECOND)[paused]:
            break
    assert garage.shares()[paused] > 0
    assert sum(garage.shares()) <= 10_000


def test_the_strategy_decides_beyond_the_minima(garage):
    order = tuple(one.pk for one in reversed(garage.stations))
    garage.limit(20_000, strategy=Strategy.SERIES, order=order)
    assert garage.shares() == [4_140, 4_860, 11_000]


def test_who_has_no_car_leaves_its_share_to_others(garage):
    garage.read(appliances=garage.stations[:1], plug_state=0)
    garage.limit(15_000)
    assert garage.shares() == [0, 7_500, 7_500]


def test_a_weaker_and_tighter_maximum_leaves_room_for_others(garage, cast):
    garage.constrain(0, max_w=5_000, user=cast.mara)
    garage.limit(25_000)
    assert garage.shares() == [5_000, 10_000, 10_000]


def test_a_weaker_minimum_is_no_claim(garage, cast):
    garage.constrain(0, min_w=11_000, user=cast.mara)
    garage.limit(15_000)
    assert garage.shares() == [5_000, 5_000, 5_000]


def test_a_stronger_minimum_makes_a_limit_unreachable_and_is_named(garage):
    garage.limit(15_000)
    garage.constrain(0, min_w=11_000)
    garage.constrain(1, min_w=8_000)
    assert garage.shares() == [11_000, 8_000, 0]
    [limit] = limits_on(garage.cluster, now=garage.now)
    [tally] = limit.tallies
    assert not limit.is_reachable
    assert tally["over_w"] == 4_000
    assert tally["by"] == [
        [str(garage.stations[0].pk), 11_000],
        [str(garage.stations[1].pk), 8_000],
    ]


def test_nested_limits_bound_from_the_root_down(garage, cast):
    inner = Cluster.objects.create(system=cast.lindenweg, name="Deck", parent=garage.cluster)
    for one in garage.stations[:2]:
        move_appliance(appliance=one, cluster=inner, by=None, now=garage.now)
    garage.limit(9_000, cluster=inner)
    garage.limit(14_000)
    assert garage.shares() == [4_500, 4_500, 5_000]


def test_limits_of_other_priority_bound_one_after_the_other(garage, cast):
    garage.limit(24_000, by=fuse_emitter_of(cast.installer), invalid_at=None)
    assert garage.shares() == [8_000] * 3
    weaker = garage.limit(15_000)
    assert garage.shares() == [5_000] * 3
    assert [most_w for _least_w, most_w in told_w(garage, weaker.invalid_at)] == [8_000] * 3
    garage.confirm()
    withdraw_limit(limit=weaker, by=emitter_of(cast.fleet), now=garage.now)
    for _round in range(3):
        garage.after(10 * SECOND)
    assert garage.shares() == [8_000] * 3


def test_what_a_weaker_limit_does_not_let_some_have_goes_to_the_others(garage, cast):
    """A fuse of 12 kW, and a fleet manager's 5 kW for two of the three."""
    hall = Cluster.objects.create(system=cast.lindenweg, name="Hall", parent=garage.cluster)
    for one in garage.stations[:2]:
        move_appliance(appliance=one, cluster=hall, by=None, now=garage.now)
    garage.limit(12_000, by=fuse_emitter_of(cast.installer), invalid_at=None)
    garage.limit(5_000, cluster=hall)
    for _round in range(12):
        garage.after(10 * SECOND)
    assert garage.shares() == [5_000, 0, 7_000]


def test_a_loose_limit_lets_those_go_on_that_paused_for_a_moment(garage):
    limit = garage.limit(5_000)
    assert garage.shares().count(0) == 2
    garage.after(6 * SECOND)
    garage.limit(30_000, id=limit.pk)
    assert garage.shares().count(0) == 2, "it could flap"
    for _round in range(7):
        garage.after(10 * SECOND)
    assert 0 not in garage.shares()


def test_a_new_limit_goes_to_those_that_charge(garage):
    """The first is full, or waits; nobody knows yet."""
    garage.read(0.0, 11_000.0, 11_000.0)
    garage.limit(10_000)
    assert garage.shares() == [0, 5_000, 5_000]


def test_a_car_that_takes_nothing_leaves_its_share_to_others(garage):
    """The first is full; the others take what they may."""
    garage.limit(5_000)
    assert garage.shares() == [5_000, 0, 0]
    for _round in range(24):
        garage.confirm()
        garage.now += 10 * SECOND
        garage.read(0.0, *garage.shares()[1:])
        balance_systems(systems={garage.cast.lindenweg.pk}, now=garage.now)
    assert garage.shares() == [0, 5_000, 0]
    [first, *_others] = garage.stations
    assert Constraint.objects.get(appliance=first, limit__isnull=False).share.why_max == "idle"
    # It may have become hungry: after half an hour it is offered its part again.
    was_offered = False
    for _round in range(48):
        garage.confirm()
        garage.now += timedelta(minutes=1)
        garage.read(0.0, *garage.shares()[1:])
        balance_systems(systems={garage.cast.lindenweg.pk}, now=garage.now)
        was_offered |= garage.shares()[0] > 0
    assert was_offered


def test_a_limit_is_for_the_chosen_kinds(garage, cast):
    Appliance.objects.filter(pk=cast.battery.pk).update(cluster=garage.cluster)
    garage.limit(15_000, kinds=(ApplianceKind.EV_CHARGING_STATION,))
    assert garage.shares() == [5_000] * 3
    assert not Constraint.objects.filter(appliance=cast.battery, limit__isnull=False).exists()


def test_what_is_fed_in_has_a_limit_too(garage, cast):
    Appliance.objects.filter(pk__in=[cast.battery.pk, cast.pv.pk]).update(cluster=garage.cluster)
    garage.read(-5_000, -9_000, appliances=[cast.battery, cast.pv])
    garage.limit(min_w=-8_000)
    rows = Flexibility.objects.in_bulk([cast.battery.pk, cast.pv.pk])
    assert [rows[one.pk].min_w for one in (cast.battery, cast.pv)] == [-4_000, -4_000]
    assert garage.shares() == [11_000] * 3


# Dynamic limits ----------------------------------------------------------------------------------


def test_a_dynamic_limit_leaves_what_the_house_does_not_need(garage, cast):
    garage.read(9_000, appliances=[cast.grid_meter])
    garage.read(1_000, 1_000, 1_000)
    garage.limit(20_000, dynamic=True)
    # 9 kW at the meter, 3 kW of them at the stations: 6 kW elsewhere.
    assert sum(garage.shares()) == pytest.approx(14_000, abs=0.01)


def test_a_stale_meter_leaves_nothing(garage, cast):
    garage.read(0, appliances=[cast.grid_meter])
    garage.limit(20_000, dynamic=True)
    assert garage.shares() == pytest.approx([20_000 / 3] * 3, abs=0.001)
    assert garage.after(5 * MINUTE) == [0, 0, 0]


# Gateways ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "is_heard", "blind"),
    [
        ({"max_w": 20_000}, True, [False]),
        ({"max_w": 20_000}, False, [True]),
        ({"phase_max_w": (7_000.0,) * 3}, True, [True] * 3),
    ],
)
def test_where_the_meter_does_not_show_what_is_left_it_is_told(
    garage, cast, fields, is_heard, blind
):
    if is_heard:
        garage.read(3_000, appliances=[cast.grid_meter])
    limit = garage.limit(dynamic=True, **fields)
    assert [tally["blind"] for tally in limit.tallies] == blind


def test_the_schedule_keeps_a_member_that_is_owed_more_later_to_what_it_is_owed(garage):
    garage.limit(0)
    garage.constrain(0, min_w=6_000, valid_at=garage.now + HOUR)
    [part] = [
        one
        for one in GatewaySchedule.objects.get(pk=garage.cast.gateway.pk).body
        if one["local_id"] == garage.stations[0].local_id
    ]
    assert [(one["min_w"], one["max_w"]) for one in part["segments"][:2]] == [(0, 0), (6e3, 6e3)]


def told_w(garage, at) -> list[tuple[float, float]]:
    """What the gateway's schedule says for an instant, station by station."""
    ms, found = at.timestamp() * 1000, {}
    for part in GatewaySchedule.objects.get(pk=garage.cast.gateway.pk).body:
        [one] = [one for one in part["segments"] if one["start"] <= ms < one["end"]]
        found[part["local_id"]] = one["min_w"], one["max_w"]
    return [found[one.local_id] for one in garage.stations]


@pytest.mark.parametrize("order", [{"min_w": 10_000}, {"set_point_w": 11_000}])
@pytest.mark.parametrize("limit_first", [True, False])
def test_the_schedule_keeps_to_a_limit_when_an_order_begins(garage, now, order, limit_first):
    begins = now + HOUR
    steps = [
        lambda: garage.limit(20_000),
        lambda: garage.constrain(0, valid_at=begins, invalid_at=begins + HOUR, **order),
    ]
    for step in steps if limit_first else reversed(steps):
        step()
    for _round in range(3):
        garage.after(10 * SECOND)
    assert garage.shares() == [6_666.666] * 3
    for at in (begins, begins + HOUR / 2):
        [(least_w, _most_w), *others] = told_w(garage, at)
        assert least_w >= 10_000 or order.get("set_point_w")
        asked_w = order.get("set_point_w", 10_000)
        assert asked_w + sum(most_w for _least_w, most_w in others) <= 20_000
        assert sum(most_w for _least_w, most_w in others) > 8_000, "they have what is left"
    assert [most_w for _least_w, most_w in told_w(garage, begins + HOUR)] == [6_666.666] * 3


def test_the_schedule_gives_back_what_an_order_took(garage, now):
    garage.limit(20_000)
    garage.constrain(0, set_point_w=0, invalid_at=now + HOUR)
    for _round in range(40):
        garage.after(10 * SECOND)
    assert garage.shares() == [0, 10_000, 10_000]
    assert told_w(garage, now + 2 * HOUR) == [(4_140, 6_666.666)] * 3


def test_a_share_goes_on_as_it_was_told_when_its_instant_comes(garage, now):
    garage.limit(20_000)
    garage.constrain(0, valid_at=now + HOUR, set_point_w=11_000, invalid_at=now + 2 * HOUR)
    garage.confirm()
    garage.now = now + HOUR
    garage.read()
    sweep(now=garage.now)
    assert garage.shares() == [11_000, 4_500, 4_500]
    garage.confirm()
    garage.now = now + 2 * HOUR
    garage.read()
    sweep(now=garage.now)
    assert [row.fallback for row in Constraint.objects.filter(limit__isnull=False)] == [False] * 3
    garage.after(10 * SECOND)
    assert sum(garage.shares()) <= 20_000


def test_whose_shares_a_constraint_would_move_is_known_before_it_is_set(garage, cast):
    limit = garage.limit(24_000)
    garage.after(10 * SECOND)
    draft = Draft(max_w=5_000, invalid_at=garage.now + HOUR)
    station = garage.stations[0]
    row = drafted(draft, target=station, emitter=emitter_of(cast.staff), now=garage.now)
    moved = redivide(appliances=[station], drafts=[row], now=garage.now).moved
    found = {one.appliance: (one.before_w, one.after_w) for one in moved}
    assert found == {
        garage.stations[0].pk: (8_000, 5_000),
        garage.stations[1].pk: (8_000, 9_500),
        garage.stations[2].pk: (8_000, 9_500),
    }
    assert {one.limit for one in moved} == {limit}
    assert garage.shares() == [8_000] * 3
    [row] = set_constraints(
        target=station, drafts=[draft], emitter=emitter_of(cast.staff), now=garage.now
    )
    back = redivide(appliances=[station], drafts=[], without=[row.pk], now=garage.now)
    assert {one.after_w for one in back.moved} == {8_000}


def test_which_limit_a_constraint_would_break_is_known_before_it_is_set(garage, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: garage.now)
    limit = garage.limit(8_000)
    garage.after(10 * SECOND)
    client = as_(garage.cast.fleet)
    sent = {"power": 11_000, "closest": True, "invalidAt": wire(garage.now + HOUR)}
    path = f"/api/appliances/{garage.stations[0].pk}/constraints?dryRun=true"
    [broken] = client.post(path, sent).json()["brokenLimits"]
    assert broken == {
        "limitID": str(limit.pk),
        "clusterID": str(garage.cluster.pk),
        "validAt": wire(garage.now),
        "side": "max",
        "phase": None,
        "over": 3_000,
        "reason": f"The limit of “{garage.cluster.name}”, 8\N{NO-BREAK SPACE}kW, could not be kept:"
        " 3\N{NO-BREAK SPACE}kW too much.",
    }
    later = sent | {"validAt": wire(garage.now + MINUTE)}
    [broken] = client.post(path, later).json()["brokenLimits"]
    assert broken["reason"].startswith("From ")
    assert client.post(path, sent | {"power": 8_000}).json()["brokenLimits"] == []


def test_a_limit_that_is_broken_already_is_told_of_where_it_becomes_worse(garage, cast):
    garage.limit(8_000)
    garage.constrain(0, min_w=10_000, invalid_at=garage.now + HOUR)
    garage.after(10 * SECOND)
    staff, over_w = emitter_of(cast.staff), []
    for asked_w in (1_000, 9_000):
        draft = Draft(set_point_w=asked_w, invalid_at=garage.now + HOUR, closest=True)
        station = garage.stations[1]
        row = drafted(draft, target=station, emitter=staff, now=garage.now)
        found = redivide(appliances=[station], drafts=[row], now=garage.now)
        over_w.append([one.over_w for one in found.broken])
    assert over_w == [[], [11_000]]


def test_whose_shares_a_constraint_would_move_that_begins_later(garage, cast):
    garage.limit(24_000)
    evening = garage.now + 6 * HOUR
    later = garage.limit(18_000, valid_at=evening, invalid_at=evening + HOUR)
    garage.after(10 * SECOND)
    station, staff = garage.stations[0], emitter_of(cast.staff)
    draft = Draft(max_w=5_000, valid_at=evening + MINUTE, invalid_at=evening + HOUR)
    row = drafted(draft, target=station, emitter=staff, now=garage.now)
    moved = redivide(appliances=[station], drafts=[row], now=garage.now).moved
    by_the_later = [one for one in moved if one.limit == later]
    assert [(one.before_w, one.after_w) for one in by_the_later] == [
        (6_000, 5_000),
        (6_000, 6_500),
        (6_000, 6_500),
    ]
    assert {one.valid_at for one in moved} == {evening + MINUTE}


def test_the_apis_dry_run_tells_whose_share_would_move(garage, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: garage.now)
    garage.limit(24_000)
    garage.confirm()
    station, cast = garage.stations[0], garage.cast
    sent = {"maxPower": 5_000, "invalidAt": wire(garage.now + HOUR)}

    def moved(answer: dict) -> dict:
        return {
            one["applianceID"]: (one["maxPowerBefore"], one["maxPowerAfter"])
            for one in answer["movedShares"]
        }

    path = f"/api/appliances/{station.pk}/constraints?dryRun=true"
    found = as_(cast.fleet).post(path, sent).json()
    assert moved(found) == {
        str(one.pk): (8_000, 5_000 if one == station else 9_500) for one in garage.stations
    }
    assert found["brokenLimits"] == []
    # Of a group each one's own.
    path = f"/api/clusters/{garage.cluster.pk}/constraints?dryRun=true"
    members = as_(cast.fleet).post(path, sent).json()
    assert {one["applianceID"]: moved(one) for one in members} == {
        str(one.pk): {str(one.pk): (8_000, 5_000)} for one in garage.stations
    }


def test_what_a_gateway_was_told_before_is_forgotten_where_nobody_asks_for_anything(garage):
    row = garage.constrain(0, max_w=8_000)
    garage.confirm()
    station = Flexibility.objects.filter(pk=garage.stations[0].pk)
    assert station.get().applied_max_w == 8_000
    withdraw_constraint(constraint=row, by=emitter_of(garage.cast.staff), now=garage.now)
    garage.after(2 * HOUR)
    schedule = GatewaySchedule.objects.get(pk=garage.cast.gateway.pk)
    assert schedule.body == []
    record_acknowledgements(
        acknowledgements=[
            Acknowledgement(
                gateway=schedule.pk,
                revision=schedule.revision,
            )
        ],
        now=garage.now,
    )
    assert (station.get().applied_at, station.get().applied_max_w) == (None, None)


def test_rises_wait_until_falls_are_confirmed(garage):
    order = tuple(one.pk for one in garage.stations)
    limit = garage.limit(22_000, strategy=Strategy.SERIES, order=order)
    assert garage.shares() == [11_000, 6_860, 4_140]
    garage.limit(22_000, id=limit.pk, strategy=Strategy.SERIES, order=order[1:])
    # Each may rise by 1 kW in 10 s. The first has to make room; until it has, nobody rises.
    assert garage.after(10 * SECOND) == [9_000, 6_860, 4_140]
    assert garage.after(10 * SECOND, confirm=False) == [9_000, 6_860, 4_140]
    assert garage.after(10 * SECOND) == [9_000, 7_860, 5_140]
    assert [garage.after(10 * SECOND) for _ in range(12)][-1] == [4_140, 11_000, 6_860]


def test_who_does_not_confirm_counts_with_the_widest_it_may_keep_to(garage):
    garage.limit(33_000)
    garage.confirm()
    limit = limits_on(garage.cluster, now=garage.now).get()
    garage.limit(15_000, id=limit.pk)
    assert garage.shares() == [5_000] * 3
    garage.after(10 * SECOND, confirm=False)
    assert limits_on(garage.cluster, now=garage.now).get().is_reachable
    garage.after(3 * MINUTE, confirm=False)
    limit.refresh_from_db()
    assert (limit.tallies[0]["allotted_w"], limit.tallies[0]["over_w"]) == (33_000, 18_000)


def test_who_was_not_told_that_a_limit_goes_on_counts_as_free_when_it_would_have_ended(garage):
    end = garage.now + 5 * MINUTE
    limit = garage.limit(15_000, invalid_at=end)
    garage.confirm()
    garage.limit(15_000, id=limit.pk, invalid_at=end + timedelta(hours=1))
    garage.after(4 * MINUTE, confirm=False)
    limit.refresh_from_db()
    assert limit.tallies[0]["allotted_w"] == 15_000
    garage.after(3 * MINUTE, confirm=False)
    limit.refresh_from_db()
    assert (limit.tallies[0]["allotted_w"], limit.is_reachable) == (33_000, False)


def test_what_a_shortened_limit_bounded_later_is_forgotten(garage):
    """The newest that the gateways were told bounds nothing after its end."""
    end = garage.now + timedelta(hours=2)
    garage.constrain(0, max_w=4_500, invalid_at=garage.now + HOUR)
    limit = garage.limit(15_000, invalid_at=end)
    soon = garage.now + 5 * MINUTE
    for until_at in (soon, end):
        limit = garage.limit(15_000, id=limit.pk, invalid_at=until_at)
    share = Constraint.objects.get(appliance=garage.stations[1], limit=limit, fallback=False).share
    widest = {datetime.fromisoformat(at): max_w for at, _min_w, max_w in share.ahead}
    assert all(max_w is None for at, max_w in widest.items() if at >= soon)
    assert soon in widest


def test_a_silent_station_keeps_its_worst_case(garage):
    garage.limit(15_000)
    garage.confirm()
    garage.now += 5 * MINUTE
    garage.read(appliances=garage.stations[1:])
    balance_systems(systems={garage.cast.lindenweg.pk}, now=garage.now)
    assert garage.shares() == [5_000] * 3
    limit = limits_on(garage.cluster, now=garage.now).get()
    # It knows nothing of a higher limit, and keeps to 5 kW; nor of a lower one.
    garage.limit(9_500, id=limit.pk)
    assert garage.shares() == [5_000, 4_500, 0]


def test_a_station_that_refuses_counts_with_what_it_can_do(garage):
    garage.limit(21_000)
    assert garage.shares() == [7_000] * 3
    garage.confirm(**{str(garage.stations[0].pk): "not_supported"})
    garage.now += 10 * SECOND
    garage.read()
    balance_systems(systems={garage.cast.lindenweg.pk}, now=garage.now)
    assert garage.shares()[1:] == [5_000, 5_000]


def test_a_share_rises_by_degrees(garage):
    limit = garage.limit(15_000)
    garage.confirm()
    garage.limit(32_400, id=limit.pk)
    assert garage.shares() == [5_000] * 3
    assert garage.after(10 * SECOND) == [6_000] * 3
    assert [garage.after(10 * SECOND) for _ in range(5)][-1] == [10_800] * 3


def test_a_limit_that_binds_nobody_leaves_no_trace_of_what_else_is_asked(garage):
    garage.limit(33_000)
    garage.confirm()
    end = garage.now + 25 * SECOND
    garage.constrain(0, max_w=5_000, invalid_at=end)
    assert garage.shares() == [5_000, 11_000, 11_000]
    # Its gateway ends it by itself, whoever divides anew meanwhile, or does not.
    told = [garage.told_w(garage.stations[0], end + n * SECOND) for n in (-1, 0)]
    assert told == [5_000, 11_000]


# When --------------------------------------------------------------------------------------------


def test_a_constraint_and_what_it_does_to_the_others_come_at_once(garage):
    garage.limit(15_000)
    stronger = garage.constrain(0, min_w=6_000)
    assert garage.shares() == [6_000, 4_500, 4_500]
    withdraw_constraint(constraint=stronger, by=emitter_of(garage.cast.staff), now=garage.now)
    assert [garage.after(10 * SECOND) for _ in range(3)][-1] == [5_000, 5_000, 5_000]


def test_a_limit_begins_and_ends_by_itself(garage, now):
    garage.limit(15_000, valid_at=now + HOUR, invalid_at=now + 2 * HOUR)
    assert garage.shares() == [11_000] * 3
    assert sweep(now=now) == now + 59 * MINUTE
    assert not balance_all_due(now=now)
    garage.confirm()
    garage.now = now + HOUR
    garage.read()
    sweep(now=garage.now)
    assert garage.shares() == [5_000] * 3
    sweep(now=now + 2 * HOUR)
    assert garage.shares() == [11_000] * 3
    assert not balance_all_due(now=now + 2 * HOUR)


def test_a_limit_that_begins_later_is_told_beforehand(garage, now):
    begins, ends = now + HOUR, now + 2 * HOUR
    garage.limit(15_000, valid_at=begins, invalid_at=ends)
    assert [garage.told_w(one, begins - SECOND) for one in garage.stations] == [11_000] * 3
    assert [garage.told_w(one, begins) for one in garage.stations] == [5_000] * 3
    assert [garage.told_w(one, ends) for one in garage.stations] == [11_000] * 3
    # Cut off by then, it needs no message to keep to it.
    garage.confirm()
    sweep(now=begins)
    balance_all_due(now=begins)
    assert sum(garage.told_w(one, begins) for one in garage.stations) <= 15_000


def test_shortly_before_a_limit_begins_it_is_divided_by_who_is_there(garage, now):
    garage.limit(15_000, valid_at=now + HOUR)
    garage.confirm()
    garage.now = now + 59 * MINUTE
    garage.read()
    garage.read(0, appliances=garage.stations[:1], plug_state=Plug.UNPLUGGED)
    assert balance_all_due(now=garage.now)
    assert garage.told_w(garage.stations[0], now + HOUR) < 5_000
    assert not balance_all_due(now=garage.now)
    assert sweep(now=garage.now) == now + HOUR


def test_a_limit_that_begins_later_is_divided_with_what_stands_by_then(garage, cast, now):
    garage.constrain(0, max_w=5_000, valid_at=now + 30 * MINUTE, invalid_at=now + 3 * HOUR)
    garage.constrain(1, max_w=5_000, invalid_at=now + 30 * MINUTE)
    garage.limit(23_000, valid_at=now + HOUR, invalid_at=now + 2 * HOUR)
    found = [garage.told_w(one, now + HOUR) for one in garage.stations]
    assert found == [5_000, 9_000, 9_000]


def test_who_pauses_by_a_limit_that_begins_later_has_not_paused_yet(garage, now):
    limit = garage.limit(9_000, valid_at=now + HOUR)
    assert 0 in [garage.told_w(one, now + HOUR) for one in garage.stations]
    shares = Share.objects.filter(constraint__limit=limit)
    assert set(shares.values_list("paused_since", flat=True)) == {None}


def test_a_limit_may_be_put_off_and_moved_up(garage, now):
    limit = garage.limit(15_000)
    assert garage.shares() == [5_000] * 3
    garage.limit(15_000, id=limit.pk, valid_at=now + HOUR)
    assert garage.shares() == [11_000] * 3
    assert garage.told_w(garage.stations[0], now + HOUR) == 5_000
    garage.limit(15_000, id=limit.pk)
    assert garage.shares() == [5_000] * 3


def test_a_limit_of_next_week_is_told_when_it_is_near(garage, now):
    begins = now + timedelta(days=7)
    garage.limit(15_000, valid_at=begins, invalid_at=begins + HOUR)
    assert not Constraint.objects.filter(limit__isnull=False).exists()
    assert not balance_all_due(now=begins - 49 * HOUR)
    garage.now = begins - 47 * HOUR
    garage.read()
    assert balance_all_due(now=garage.now)
    assert garage.told_w(garage.stations[0], begins) == 5_000


def test_limits_are_due_every_ten_seconds(garage, now):
    garage.limit(15_000)
    assert not balance_all_due(now=now + 9 * SECOND)
    assert sweep(now=now) == now + 10 * SECOND
    assert balance_all_due(now=now + 10 * SECOND)
    assert not balance_all_due(now=now + 10 * SECOND)


def test_members_come_and_go(garage, cast):
    garage.limit(15_000)
    garage.confirm()
    move_appliance(appliance=garage.stations[0], cluster=None, by=None, now=garage.now)
    sweep(now=garage.now)
    assert garage.shares()[0] == 11_000
    assert [garage.after(10 * SECOND) for _ in range(5)][-1] == [11_000, 7_500, 7_500]
    move_appliance(appliance=garage.stations[0], cluster=garage.cluster, by=None, now=garage.now)
    sweep(now=garage.now)
    assert garage.shares() == [5_000] * 3
    assert Constraint.objects.filter(limit__isnull=False).count() == 3


def test_what_did_not_change_is_not_written(garage, django_assert_num_queries):
    garage.limit(15_000)
    garage.confirm()
    garage.after(10 * SECOND)
    kept = ResolvedBoundary.objects.count()
    revision = GatewaySchedule.objects.get(pk=garage.cast.gateway.pk).revision
    with django_assert_num_queries(18):
        balance_systems(systems={garage.cast.lindenweg.pk}, now=garage.now + 10 * SECOND)
    assert ResolvedBoundary.objects.count() == kept
    assert GatewaySchedule.objects.get(pk=garage.cast.gateway.pk).revision == revision


def test_a_fuse_without_an_end_goes_on(garage, cast, now):
    garage.limit(15_000, by=fuse_emitter_of(cast.staff), invalid_at=None)
    assert Constraint.objects.filter(limit__isnull=False)[0].invalid_at == now + 400 * 24 * HOUR
    garage.after(100 * 24 * HOUR)
    assert Constraint.objects.filter(limit__isnull=False)[0].invalid_at == now + 400 * 24 * HOUR
    garage.after(101 * 24 * HOUR)
    assert Constraint.objects.filter(limit__isnull=False)[0].invalid_at == (
        garage.now + 400 * 24 * HOUR
    )


# Who may, and what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "may_limit", "may_fuse"),
    [
        ("staff", True, True),
        ("admin", True, True),
        ("fleet", True, False),
        ("mara", True, False),
        ("installer", False, True),
        ("viewer", False, False),
        ("grid_operator", False, False),
    ],
)
def test_fuses_are_of_those_who_manage_the_inventory(garage, cast, person, may_limit, may_fuse):
    user = getattr(cast, person)
    for allowed, emitter in ((may_limit, emitter_of), (may_fuse, fuse_emitter_of)):
        if not allowed:
            with pytest.raises(PermissionDenied):
                emitter(user)
        else:
            assert garage.limit(15_000, by=emitter(user)).emitter == user


def test_a_fuse_weighs_more_than_whatever_people_ask(garage, cast):
    garage.limit(15_000, by=fuse_emitter_of(cast.installer))
    garage.constrain(0, min_w=11_000, priority=99_999)
    assert garage.shares() == [5_000] * 3


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({}, "max_w"),
        ({"max_w": -1}, "max_w"),
        ({"max_w": float("nan")}, "max_w"),
        ({"min_w": 1}, "min_w"),
        ({"phase_max_w": (1, 2)}, "phase_max_w"),
        ({"phase_max_w": (1, 2, -3)}, "phase_max_w"),
        ({"max_w": 1, "invalid_at": None}, "invalid_at"),
        ({"max_w": 1, "invalid_at": timedelta(0)}, "invalid_at"),
        ({"max_w": 1, "invalid_at": timedelta(days=400, seconds=1)}, "invalid_at"),
        ({"max_w": 1, "valid_at": HOUR, "invalid_at": HOUR}, "invalid_at"),
        ({"max_w": 1, "valid_at": timedelta(days=400)}, "valid_at"),
        ({"max_w": 1, "priority": 10_000}, "priority"),
        ({"max_w": 1, "kinds": (ApplianceKind.GRID_METER,)}, "kinds"),
        ({"max_w": 1, "order": (uuid4(),)}, "order"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_named(garage, now, fields, at_fault):
    fields = {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in fields.items()
    }
    with pytest.raises(UnableToConstrain) as caught:
        garage.limit(**fields)
    assert caught.value.field == at_fault
    assert not limits_on(garage.cluster, now=now).exists()


def test_a_dynamic_limit_needs_the_meter_of_the_grid_connection(garage, cast, now):
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(removed_at=now)
    with pytest.raises(UnableToConstrain) as caught:
        garage.limit(20_000, dynamic=True)
    assert caught.value.field == "dynamic"


def test_no_more_than_ten_stand_at_a_time(garage):
    for _ in range(10):
        garage.limit(15_000)
    with pytest.raises(UnableToConstrain, match="10"):
        garage.limit(15_000)


def test_setting_and_withdrawing_leave_their_trace(garage, cast, now):
    limit = garage.limit(15_000)
    garage.limit(15_000, id=limit.pk)
    garage.limit(12_600, id=limit.pk)
    with pytest.raises(PermissionDenied):
        withdraw_limit(limit=limit, by=emitter_of(cast.mara), now=now)
    for _again in range(2):
        withdraw_limit(limit=limit, by=emitter_of(cast.staff), now=now)
    entries = AuditEntry.objects.filter(target_id=garage.cluster.pk).order_by("pk")
    assert [(one.verb, one.by) for one in entries] == [
        ("limited", cast.fleet),
        ("limited", cast.fleet),
        ("limit_withdrawn", cast.staff),
    ]
    assert entries[1].changes["max_w"] == [15_000, 12_600]
    assert entries[1].account == cast.meyers
    assert garage.shares() == [11_000] * 3


def test_an_id_belongs_to_one_limit(garage, cast):
    limit = garage.limit(15_000)
    other = Cluster.objects.create(system=cast.lindenweg, name="Other")
    for changes in ({"cluster": other}, {"by": emitter_of(cast.mara)}):
        with pytest.raises(UnableToConstrain) as caught:
            garage.limit(15_000, id=limit.pk, **changes)
        assert caught.value.field == "id"


def test_a_share_goes_with_its_limit_and_in_no_other_way(garage, cast, now):
    garage.limit(15_000)
    row = Constraint.objects.filter(limit__isnull=False).first()
    with pytest.raises(PermissionDenied):
        withdraw_constraint(constraint=row, by=emitter_of(cast.staff), now=now)


def test_what_held_when_is_kept(garage, cast, now):
    limit = garage.limit(15_000)
    garage.confirm()
    garage.now += HOUR
    garage.read()
    garage.limit(12_600, id=limit.pk)
    kept = ResolvedBoundary.objects.filter(appliance_key=garage.stations[0].key).order_by("at")
    assert [(row.at, row.max_w) for row in kept] == [(now, 5_000), (now + HOUR, 4_200)]
    assert [
        one["max_w"] for row in kept for one in row.inputs if one["emitter"] == "cluster_limit"
    ] == [5_000, 4_200]
