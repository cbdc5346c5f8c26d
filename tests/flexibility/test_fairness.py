"""How long shared limits held each appliance back, from the audit of what was resolved."""

from datetime import timedelta

import pytest

from flexibility.emitters import emitter_of
from flexibility.fairness import held_back
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import Constraint, ResolvedBoundary, SharedLimit
from flexibility.resolving import balance_systems
from inventory.kinds import Plug
from inventory.models import Appliance, Cluster
from measurements.models import ApplianceSlot, LatestReading
from measurements.resolutions import SLOT
from tests.flexibility.asking import reading

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def share(driven, now) -> Constraint:
    """The charging station's share of a limit."""
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=garage)
    draft = LimitDraft(max_w=6_000, invalid_at=now + 48 * HOUR)
    set_limit(cluster=garage, draft=draft, by=emitter_of(driven.fleet), now=now)
    ResolvedBoundary.objects.all().delete()
    return Constraint.objects.get(appliance=driven.evcs, limit__isnull=False)


@pytest.fixture
def resolved(driven):
    """Writes what held for the charging station from an instant on, and who decided it."""

    def write(at, max_w: float, decider, **said) -> None:
        ResolvedBoundary.objects.create(
            system_key=driven.lindenweg.key,
            appliance_key=driven.evcs.key,
            at=at,
            max_w=max_w,
            deciders={"max_w": str(decider)},
            inputs=[{"id": str(decider), **said}],
        )

    return write


def fared(driven, from_at, until_at):
    [one] = held_back([driven.evcs], from_at=from_at, until_at=until_at)
    assert one.held_back == one.slowed + one.paused
    return one.slowed, one.paused, one.pauses


def slot(appliance: Appliance, start, power_w: float) -> None:
    ApplianceSlot.objects.create(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        start=start,
        import_mwh=power_w * 250,
        seen_s=900,
    )


def test_a_share_that_decides_holds_back_until_the_next_boundary(driven, share, resolved, now):
    resolved(now, 6_000, share.pk)
    resolved(now + HOUR, 22_000, "somebody else")
    resolved(now + 3 * HOUR, 0, share.pk)
    resolved(now + 4 * HOUR, 6_000, share.pk)
    assert fared(driven, now - HOUR, now + 6 * HOUR) == (3 * HOUR, HOUR, 1)


def test_what_held_before_the_span_counts_from_its_beginning(driven, share, resolved, now):
    resolved(now - 50 * HOUR, 6_000, share.pk)
    assert fared(driven, now, now + 2 * HOUR) == (2 * HOUR, 0 * HOUR, 0)
    resolved(now + HOUR, 0, share.pk)
    assert fared(driven, now, now + 2 * HOUR) == (HOUR, HOUR, 1)


def test_a_pause_that_goes_on_is_one_pause(driven, share, resolved, now):
    resolved(now, 0, share.pk)
    resolved(now + HOUR, 0, share.pk)
    assert fared(driven, now, now + 2 * HOUR) == (0 * HOUR, 2 * HOUR, 1)


def test_who_asked_for_nothing_was_not_held_back(driven, share, resolved, now):
    resolved(now, 0, share.pk, idle=True)
    resolved(now + HOUR, 0, share.pk)
    resolved(now + 2 * HOUR, 6_000, share.pk, idle=True)
    assert fared(driven, now, now + 4 * HOUR) == (0 * HOUR, HOUR, 1)


def test_only_while_a_car_is_plugged_in_does_a_limit_hold_a_station_back(driven, share, now):
    begin = now + HOUR
    SharedLimit.objects.update(max_w=0)
    for number, plug in enumerate((Plug.UNPLUGGED, Plug.PLUGGED, Plug.UNPLUGGED)):
        at = begin + number * HOUR
        LatestReading.objects.all().delete()
        reading(driven.evcs, at, power_w=0, plug_state=plug)
        balance_systems(systems={driven.lindenweg.pk}, now=at)
    assert fared(driven, begin, begin + 3 * HOUR) == (0 * HOUR, HOUR, 1)


def test_who_did_not_come_near_to_its_share_was_not_held_back(driven, share, resolved, now):
    resolved(now, 6_000, share.pk)
    resolved(now + 2 * HOUR, 0, share.pk)
    resolved(now + 3 * HOUR, 12_000, share.pk)
    # Two quarters at the share, then a full car; of the last hour nothing is known.
    for quarter, power_w in enumerate([5_900, 5_000, *[10] * 6, *[0] * 4, *[5_900] * 4]):
        slot(driven.evcs, now + quarter * SLOT, power_w)
    expected = 2 * SLOT + HOUR, HOUR, 1
    assert fared(driven, now, now + 5 * HOUR) == expected
    # What begins within a quarter counts from there on.
    assert fared(driven, now + SLOT / 3, now + 5 * HOUR)[0] == expected[0] - SLOT / 3
    assert fared(driven, now + SLOT * 2.5, now + 3.5 * HOUR)[0] == 0 * HOUR


def test_what_others_decide_is_not_the_limits(driven, share, resolved, now):
    resolved(now, 0, "the fleet manager")
    assert fared(driven, now, now + HOUR) == (0 * HOUR, 0 * HOUR, 0)


def test_where_nothing_was_resolved_nobody_was_held_back(driven, now):
    [one] = held_back([driven.evcs], from_at=now, until_at=now + HOUR)
    assert (one.held_back, one.paused, one.drawn_wh) == (0 * HOUR, 0 * HOUR, None)
    assert held_back([], from_at=now, until_at=now + HOUR) == []
