"""Timelines of many are those of each, and take as many queries however many there are."""

from datetime import timedelta
from itertools import pairwise

import pytest

from flexibility.emitters import emitter_of
from flexibility.groups.timelines import group_timeline, timelines_of
from flexibility.models import Constraint, ResolvedBoundary
from flexibility.operations import Draft, set_constraints
from flexibility.queries import timeline_of
from flexibility.resolver import Boundary
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.fixture
def limit(driven, now):
    """Sets one constraint of the fleet manager, by default on the charging station."""

    def set_one(*, target=None, **fields) -> Constraint:
        [row] = set_constraints(
            target=target or driven.evcs,
            drafts=[Draft(**{"invalid_at": now + 6 * HOUR, **fields})],
            emitter=emitter_of(driven.fleet),
            now=now,
        )
        return row

    return set_one


@pytest.fixture
def members(driven) -> list[Appliance]:
    return [driven.evcs, driven.battery, driven.pv]


def kept(appliance: Appliance, at, max_w: float) -> None:
    ResolvedBoundary.objects.update_or_create(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        at=at,
        defaults={"max_w": max_w},
    )


def read(members, now, **fields):
    span = {"from_at": now - DAY, "until_at": now + 2 * DAY, "now": now}
    return timelines_of(members, **{**span, "most_past": 100, **fields})


def test_the_past_and_the_future_of_each_are_as_when_asked_alone(driven, members, limit, now):
    limit(max_w=7_000, valid_at=now + HOUR)
    kept(driven.evcs, now - 2 * DAY, 1_000)
    kept(driven.evcs, now - 3 * DAY, 9_000)
    kept(driven.evcs, now - 2 * HOUR, 2_000)
    kept(driven.evcs, now - HOUR, 3_000)
    kept(driven.battery, now - HOUR, 4_000)
    found = read(members, now)
    for one in members:
        assert found[str(one.pk)] == timeline_of(
            appliance=one, from_at=now - DAY, until_at=now + 2 * DAY, now=now
        )
    past = [one.boundary.max_w for one in found[str(driven.evcs.pk)] if one.until_at <= now]
    assert past == [1_000, 2_000, 3_000]
    assert found[str(driven.battery.pk)][0].boundary == Boundary()


def test_without_a_past_it_begins_now(driven, members, now):
    found = read(members, now, from_at=now)
    assert {spans[0].from_at for spans in found.values()} == {now}


def test_of_too_many_changes_those_at_even_distances_are_told(driven, members, now):
    for minute in range(0, 24 * 60, 10):
        kept(driven.evcs, now - DAY + timedelta(minutes=minute, seconds=1), minute)
    whole = read(members, now, most_past=1_000)[str(driven.evcs.pk)]
    cut = read(members, now, most_past=24)[str(driven.evcs.pk)]
    assert len([one for one in whole if one.until_at <= now]) == 145
    past = [one for one in cut if one.until_at <= now]
    # What held before, and of each hour the last.
    assert [one.boundary.max_w for one in past[1:]] == [60 * hour + 50 for hour in range(24)]
    assert all(one.until_at == after.from_at for one, after in pairwise(cut))


def test_what_its_members_of_another_groups_are_asked_is_no_thing_of_it(driven, limit, now):
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=garage)
    driven.evcs.refresh_from_db()
    own, of_pool = limit(target=garage, max_w=9_000), limit(target=driven.pool, max_w=8_000)
    limit(max_w=7_000)
    span = {"from_at": now, "until_at": now + DAY, "now": now, "most_past": 100}
    for group, row in ((garage, own), (driven.pool, of_pool)):
        found = group_timeline(group, [driven.evcs], **span)
        assert set(found.tallies) == set(found.said) == {str(row.pk)}
        assert found.limits == {}


def test_it_takes_as_many_queries_however_many_there_are(
    driven, members, limit, now, django_assert_num_queries
):
    span = {"from_at": now - DAY, "until_at": now + DAY, "now": now, "most_past": 50}
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    limit(target=garage, max_w=9_000)
    for number in range(3):
        one = Appliance.objects.create(
            system=driven.lindenweg,
            gateway=driven.gateway,
            cluster=garage,
            kind=ApplianceKind.HEATER,
            name=f"Heater {number}",
        )
        kept(one, now - DAY - HOUR, 1_000)
        kept(one, now - HOUR, 2_000)
        inside = list(Appliance.objects.filter(cluster=garage).select_related("system"))
        with django_assert_num_queries(9):
            group_timeline(garage, inside, **span)
