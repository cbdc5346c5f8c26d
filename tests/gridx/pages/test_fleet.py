"""The overview: what needs somebody among all in sight, and what it does together."""

from datetime import timedelta

import pytest
from django.test import Client

from flexibility.bulk.operations import set_on_each, work_due
from flexibility.delivery import (
    Acknowledgement,
    Applied,
    record_acknowledgements,
    record_published,
)
from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import Flexibility, GatewaySchedule
from flexibility.operations import Draft, set_constraints
from flexibility.policies.asking import ask_due_policies
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from flexibility.room import rooms_of, total
from flexibility.sweeping import balance_all_due, sweep
from flexibility.together import together
from gridx import clock
from inventory.models import Appliance, Cluster, Gateway, System
from measurements.models import LatestReading
from tests.cast import Cast
from tests.household import measure, read_now

HOUR = timedelta(hours=1)
SIDES = ("more_w", "less_w")


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


def page(client: Client) -> str:
    response = client.get("/fleet")
    assert response.status_code == 200
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def quiet(driven: Cast, at_noon):
    """Nothing needs anybody: all gateways are there."""
    Gateway.objects.update(online=True, contacted_at=at_noon)
    return driven


def test_where_nothing_needs_anybody_it_says_so(fleet, quiet):
    html = page(fleet)
    assert "Nothing needs you" in html
    assert "Every gateway is heard. Every schedule is confirmed." in html
    assert 'id="matter-' not in html


def test_where_nothing_needs_anybody_no_more_is_claimed_than_is_so(fleet, quiet, limit):
    limit(max_w=7_000, invalid_at=clock.now() + 48 * HOUR)
    assert "1 schedule is not confirmed yet." in page(fleet)
    assert "Every schedule is confirmed" not in page(fleet)
    system = System.objects.create(account=quiet.north, name="To be")
    Gateway.objects.create(system=system, serial="GX-1000")
    assert "1 gateway has not been there yet; every other is heard." in page(fleet)


def test_who_sees_nothing_is_told_what_comes(client, cast, at_noon):
    cast.lindenweg.assignments.all().delete()
    client.force_login(cast.grid_operator)
    assert "No system yet" in page(client)


def test_a_gateway_that_went_away_needs_somebody(fleet, quiet, at_noon):
    Gateway.objects.filter(pk=quiet.gateway.pk).update(
        online=False, contacted_at=at_noon - 3 * HOUR
    )
    html = page(fleet)
    assert "Gateways offline or not heard" in html
    assert "GX-0001" in html
    assert "offline, last heard 3 h ago" in html


@pytest.mark.parametrize(
    ("interval_s", "silent_s", "is_told"), [(60, 181, True), (60, 179, False), (5, 121, True)]
)
def test_a_gateway_that_is_not_heard_needs_somebody_though_the_broker_says_nothing(
    fleet, quiet, at_noon, interval_s, silent_s, is_told
):
    Appliance.objects.filter(gateway=quiet.gateway).update(interval_s=3_600)
    Appliance.objects.filter(pk=quiet.evcs.pk).update(interval_s=interval_s)
    heard_at = at_noon - timedelta(seconds=silent_s)
    Gateway.objects.filter(pk=quiet.gateway.pk).update(contacted_at=heard_at)
    html = page(fleet)
    assert ("Gateways offline or not heard" in html) == is_told
    assert ('class="says">last heard ' in html) == is_told
    assert ("Every gateway is heard" in html) != is_told


def test_a_schedule_that_is_not_sent_within_seconds_needs_somebody(
    fleet, quiet, at_noon, limit, monkeypatch
):
    limit(max_w=7_000, invalid_at=at_noon + 48 * HOUR)
    assert "Nothing needs you" in page(fleet)
    monkeypatch.setattr(clock, "now", lambda: at_noon + timedelta(seconds=30))
    html = page(fleet)
    assert "Schedules refused, not sent or not confirmed" in html
    assert "not sent yet, asked for 30 s ago" in html
    assert "Nothing needs you" not in html
    row = GatewaySchedule.objects.get()
    record_published(revisions={row.pk: row.revision}, now=at_noon)
    assert "Schedules refused" not in page(fleet)


def test_a_schedule_that_is_refused_or_not_confirmed_needs_somebody(
    fleet, quiet, at_noon, limit, monkeypatch
):
    limit(max_w=7_000)
    row = GatewaySchedule.objects.filter(pk=quiet.gateway.pk)
    row.update(published_revision=row.get().revision, published_at=at_noon)
    assert "Schedules refused" not in page(fleet)
    monkeypatch.setattr(clock, "now", lambda: at_noon + timedelta(seconds=119))
    Gateway.objects.update(contacted_at=clock.now())
    assert "Schedules refused" not in page(fleet)
    monkeypatch.setattr(clock, "now", lambda: at_noon + timedelta(minutes=3))
    assert "not confirmed, asked for 3 min ago" in page(fleet)
    row.update(acknowledged_revision=row.get().revision)
    assert "Schedules refused" not in page(fleet)
    Flexibility.objects.filter(pk=quiet.evcs.pk).update(refusal="too_hot")
    assert "refused for an appliance" in page(fleet)
    row.update(refusal="broken")
    assert "refused: broken" in page(fleet)


def test_what_began_is_confirmed_when_the_gateway_says_so(
    fleet, quiet, at_noon, limit, monkeypatch
):
    def pass_by(span: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: at_noon + span)
        Gateway.objects.update(contacted_at=clock.now())

    def say(max_w: float | None) -> None:
        told = {quiet.evcs.pk: Applied(max_w=max_w, min_w=4_140.0)}
        [revision] = GatewaySchedule.objects.values_list("revision", flat=True)
        said = Acknowledgement(gateway=quiet.gateway.pk, revision=revision, applied=told)
        record_acknowledgements(acknowledgements=[said], now=clock.now())

    def is_confirmed() -> bool:
        html = page(fleet)
        assert ("1 schedule is not confirmed yet." in html) != ("Every schedule is" in html)
        return "Every schedule is confirmed." in html

    limit(max_w=7_000, valid_at=at_noon + HOUR, invalid_at=at_noon + 72 * HOUR)
    row = GatewaySchedule.objects.get()
    record_published(revisions={row.pk: row.revision}, now=at_noon)
    say(max_w=22_000.0)
    assert is_confirmed()
    pass_by(HOUR)
    assert not is_confirmed()
    pass_by(HOUR + timedelta(seconds=1))
    sweep(now=clock.now())
    assert not is_confirmed()
    pass_by(HOUR + timedelta(seconds=119))
    assert not is_confirmed()
    pass_by(HOUR + timedelta(seconds=120))
    assert "not confirmed for an appliance since what it may do changed" in page(fleet)
    say(max_w=7_000.0)
    assert is_confirmed()


MINUTE = timedelta(minutes=1)


def test_a_boundary_that_nobody_acts_on_is_told(client, fleet, quiet, at_noon, limit, monkeypatch):
    def is_told(after: timedelta) -> bool:
        monkeypatch.setattr(clock, "now", lambda: at_noon + HOUR + after)
        Gateway.objects.update(contacted_at=clock.now())
        html = page(fleet)
        assert ("not done yet" in html) != ("Nothing needs you" in html)
        return "What was due 12 min ago is not done yet: 1 change of what an appliance" in html

    limit(max_w=7_000, valid_at=at_noon + HOUR, invalid_at=at_noon + 72 * HOUR)
    GatewaySchedule.objects.update(published_revision=1, acknowledged_revision=1)
    assert not is_told(MINUTE - timedelta(seconds=1))
    assert is_told(12 * MINUTE)
    for person in (quiet.viewer, quiet.south_admin):
        client.force_login(person)
        assert "not done yet" not in page(client)
    client.force_login(quiet.staff)
    assert "not done yet" in page(client)
    sweep(now=clock.now())
    assert "not done yet" not in page(client)


def test_limits_that_nobody_divides_and_policies_that_nobody_asks_are_told(
    fleet, quiet, garage, at_noon, monkeypatch
):
    draft = LimitDraft(max_w=6_000, invalid_at=at_noon + 48 * HOUR)
    set_limit(cluster=garage, draft=draft, by=emitter_of(quiet.fleet), now=at_noon)
    policy = PolicyDraft(mode=Mode.SURPLUS)
    set_policy(target=quiet.evcs, draft=policy, emitter=emitter_of(quiet.fleet), now=at_noon)
    assert "not done yet" not in page(fleet)
    monkeypatch.setattr(clock, "now", lambda: at_noon + 3 * MINUTE)
    html = page(fleet)
    assert "What was due 3 min ago is not done yet: 1 shared limit, 1 charging policy." in html
    ask_due_policies(now=clock.now())
    balance_all_due(now=clock.now())
    assert "not done yet" not in page(fleet)
    monkeypatch.setattr(clock, "now", lambda: at_noon + 5 * MINUTE)
    assert "1 charging policy. The workers" in page(fleet)


def test_a_station_in_error_needs_somebody(fleet, quiet):
    assert "Charging stations in error" not in page(fleet)
    LatestReading.objects.filter(appliance_key=quiet.evcs.key).update(plug_state=4)
    assert "Charging stations in error" in page(fleet)
    LatestReading.objects.update(plug_state=None)
    Appliance.objects.filter(pk=quiet.evcs.pk).update(status=Appliance.Status.ERROR)
    assert "Charging stations in error" in page(fleet)


@pytest.fixture
def garage(quiet) -> Cluster:
    found = Cluster.objects.create(system=quiet.lindenweg, name="Garage")
    Appliance.objects.filter(pk=quiet.evcs.pk).update(cluster=found)
    return found


def test_a_limit_that_cannot_be_kept_says_by_how_much(fleet, quiet, garage, at_noon):
    stronger = Draft(set_point_w=11_000, invalid_at=at_noon + 48 * HOUR)
    set_constraints(
        target=quiet.evcs, drafts=[stronger], emitter=emitter_of(quiet.staff), now=at_noon
    )
    draft = LimitDraft(max_w=6_000, invalid_at=at_noon + 48 * HOUR)
    set_limit(cluster=garage, draft=draft, by=emitter_of(quiet.fleet), now=at_noon)
    html = page(fleet)
    assert "Limits that cannot be kept" in html
    assert "exceeded by up to 5 kW whatever is done" in html
    assert "Garage, at most 6 kW" in html
    read_now(quiet, at=at_noon + timedelta(seconds=1), evcs=11_000.0)
    # What cannot be kept is not nearly reached besides.
    assert "Limits nearly reached" not in page(fleet)
    assert f"/clusters/{garage.pk}/flexibility" in html


@pytest.mark.parametrize(
    ("asked", "power_w", "said"),
    [
        ({"max_w": 1_000}, 3_020, "it draws 3.02 kW, and may draw 1 kW"),
        ({"max_w": 1_000}, 1_050, ""),
        ({"min_w": -1_000}, -2_000, "it gives 2.00 kW, and may give 1 kW"),
        ({"min_w": -1_000}, 4_000, ""),
    ],
)
def test_a_connection_beyond_its_limit_needs_somebody(fleet, quiet, at_noon, asked, power_w, said):
    before = at_noon - HOUR
    draft = Draft(**asked, invalid_at=at_noon + 48 * HOUR)
    emitter = emitter_of(quiet.fleet)
    set_constraints(target=quiet.grid_meter, drafts=[draft], emitter=emitter, now=before)
    read_now(quiet, at=at_noon, **{quiet.grid_meter.local_id: power_w})
    html = page(fleet)
    assert ("Limits that are not kept" in html) == bool(said)
    assert said in html


def test_a_limit_of_which_nearly_all_is_drawn_is_told(fleet, quiet, garage, at_noon):
    draft = LimitDraft(max_w=6_000, invalid_at=at_noon + 48 * HOUR)
    set_limit(cluster=garage, draft=draft, by=emitter_of(quiet.fleet), now=at_noon)
    read_now(quiet, at=at_noon + timedelta(seconds=1), evcs=4_300.0)
    assert "Limits nearly reached" not in page(fleet)
    read_now(quiet, at=at_noon + timedelta(seconds=2), evcs=5_900.0)
    assert "5.9 kW of 6 kW are drawn" in page(fleet)


def test_a_constraint_that_ends_within_a_day_is_told(fleet, quiet, limit, at_noon):
    limit(max_w=7_000, invalid_at=at_noon + 48 * HOUR)
    assert "Constraints about to end" not in page(fleet)
    limit(max_w=8_000, invalid_at=at_noon + 3 * HOUR)
    assert "The fleet manager: at most 8 kW, ends 15:00" in page(fleet)
    assert "Europe/" not in page(fleet)


def test_a_limit_that_ends_within_a_day_is_told(fleet, quiet, garage, at_noon):
    def set_until(end):
        draft = LimitDraft(max_w=6_000, invalid_at=end)
        set_limit(cluster=garage, draft=draft, by=emitter_of(quiet.fleet), now=at_noon)

    set_until(at_noon + 48 * HOUR)
    assert "Limits about to end" not in page(fleet)
    set_until(at_noon + 3 * HOUR)
    assert "Limits about to end" in page(fleet)
    assert "ends 15:00" in page(fleet)
    assert "at most 6 kW" in fleet.get("/fleet/limits-ending").content.decode().replace(
        "\N{NO-BREAK SPACE}", " "
    )


def test_what_was_set_together_ends_as_one(fleet, quiet, at_noon):
    draft = Draft(max_w=4_000, invalid_at=at_noon + 3 * HOUR)
    begun = set_on_each(
        appliances=[quiet.evcs, quiet.battery],
        draft=draft,
        emitter=emitter_of(quiet.fleet),
        now=at_noon,
    )
    while work_due(now=at_noon):
        pass
    html = page(fleet)
    assert html.count("at most 4 kW, ends 15:00") == 1
    assert f'<a href="/constraints/bulk/{begun.pk}">2 appliances</a>' in html


def test_more_than_is_shown_is_listed_on_a_page_of_its_own(client, fleet, quiet, limit, at_noon):
    for power in range(1, 8):
        limit(max_w=1_000 * power, invalid_at=at_noon + power * HOUR)
    html = page(fleet)
    assert '<a href="/fleet/ending">and 2 others</a>' in html
    assert "at most 6 kW, ends" not in html
    listed = fleet.get("/fleet/ending").content.decode().replace("\N{NO-BREAK SPACE}", " ")
    for power in range(1, 8):
        assert f"at most {power} kW, ends" in listed
    assert "There is none now." in fleet.get("/fleet/gateways").content.decode()
    assert fleet.get("/fleet/nothing").status_code == 404
    client.force_login(quiet.south_admin)
    assert "There is none now." in client.get("/fleet/ending").content.decode()


def test_where_times_are_of_several_zones_each_says_its_own(client, quiet, limit, at_noon):
    client.force_login(quiet.staff)
    limit(max_w=8_000, invalid_at=at_noon + 3 * HOUR)
    there = Draft(max_w=7_000, invalid_at=at_noon + 3 * HOUR)
    set_constraints(
        target=quiet.other_meter, drafts=[there], emitter=emitter_of(quiet.staff), now=at_noon
    )
    System.objects.filter(pk=quiet.hafenstrasse.pk).update(time_zone="Europe/Lisbon")
    html = page(client)
    assert "at most 8 kW, ends 15:00 (Europe/Berlin)" in html
    assert "at most 7 kW, ends 14:00 (Europe/Lisbon)" in html


def test_all_together_now_and_today(fleet, quiet, at_noon):
    measure(quiet, since=at_noon - 2 * HOUR, until=at_noon, now=at_noon)
    read_now(quiet, at=at_noon, evcs=7_400.0, battery=-1_000.0, pv=-3_000.0)
    html = page(fleet)
    assert "seen 1 of 1" in html
    for label, value in (("Sun, now", "3"), ("Batteries give", "1"), ("Cars charge", "7.40")):
        assert label in html
        assert f'<p class="figure">{value}' in html
    # The car from 7.4 to 22 kW and the battery from -1 to 5 kW; or both down to 0 and -5 kW.
    tile = html.split("More / less possible now")[1]
    assert tile.split('<p class="figure">')[1].startswith("+6.00 / −11.4")
    assert "seen 3 of 3" in tile
    assert "Produced today" in html


def test_of_whom_nobody_is_seen_nothing_is_known(fleet, quiet, at_noon):
    read_now(quiet, at=at_noon, evcs=7_400.0, pv=-3_000.0)
    LatestReading.objects.update(at=at_noon - 5 * HOUR, power_at=at_noon - 5 * HOUR)
    html = page(fleet)
    tile = html.split("Sun, now")[1]
    assert tile.split('<p class="figure">')[1].startswith("–")
    assert "seen 0 of 1" in tile


def test_the_sums_are_those_of_each_by_itself(quiet, at_noon, limit):
    limit(target=quiet.battery, max_w=3_000)
    long_ago = at_noon - 5 * HOUR
    for reading in (
        *({"soc": 1.0, "soc_at": at_noon}, {"soc": 0.5}, {"plug_state": 0}, {"energy_wh": 0.0}),
        *({"energy_at": long_ago}, {"soc": 1.0}, {"soc_at": long_ago}),
    ):
        about = quiet.evcs if "plug_state" in reading else quiet.battery
        LatestReading.objects.filter(appliance_key=about.key).update(**reading)
        sums = together(Appliance.objects.filter(system=quiet.lindenweg), now=at_noon)
        rooms = rooms_of(group=quiet.pool, now=at_noon)
        more, less = (sum(getattr(one, side) for one in sums.values()) for side in SIDES)
        assert (more, less) == total(rooms)


def test_what_is_out_of_sight_is_neither_told_nor_counted(client, quiet, at_noon):
    Gateway.objects.filter(pk=quiet.gateway.pk).update(online=False)
    client.force_login(quiet.south_admin)
    html = page(client)
    assert "GX-0001" not in html
    assert "Cars charge" not in html


def test_the_number_of_queries_does_not_grow(
    fleet, quiet, at_noon, django_assert_max_num_queries, limit
):
    for number in range(12):
        system = System.objects.create(account=quiet.north, name=f"Home {number}")
        Gateway.objects.create(
            system=system, serial=f"GX-1{number:03}", contacted_at=at_noon, online=False
        )
        limit(max_w=5_000 + number)
    with django_assert_max_num_queries(30):
        html = page(fleet)
    assert "and 7 others" in html
