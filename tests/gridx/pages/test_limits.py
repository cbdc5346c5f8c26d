"""A cluster's shared limits in words, and whom they held back."""

import csv
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, fuse_emitter_of, set_limit
from flexibility.models import Constraint, ResolvedBoundary, Share
from flexibility.operations import Draft, set_constraints
from flexibility.resolving import balance_systems
from inventory.models import Appliance, Cluster
from tests.cast import Cast

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


@pytest.fixture
def yard(driven: Cast) -> Cluster:
    """A yard, with a garage in it, in which the charging station is."""
    yard = Cluster.objects.create(system=driven.lindenweg, name="Yard")
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage", parent=yard)
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=garage)
    return yard


@pytest.fixture
def bound(driven: Cast, at_noon):
    def set_one(cluster: Cluster, *, by=None, **fields):
        draft = LimitDraft(**{"invalid_at": at_noon + 6 * HOUR, **fields})
        emitter = by or emitter_of(driven.fleet)
        return set_limit(cluster=cluster, draft=draft, by=emitter, now=at_noon)

    return set_one


def page(client: Client, cluster: Cluster, name: str = "cluster_flexibility", **query) -> str:
    response = client.get(reverse(name, args=[cluster.pk]), query)
    assert response.status_code == 200
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def test_a_limit_says_what_it_is_and_how_much_of_it_is_given_out(fleet, yard, bound):
    bound(yard, max_w=6_000)
    html = page(fleet, yard)
    assert "Together at most 6 kW" in html
    assert "divided equally" in html
    assert "6 kW of 6 kW are given out." in html
    assert "Held back: Car." in html
    assert "Garage</a>: 6 kW" in html
    assert "has its part" in html


def test_what_is_given_out_but_in_no_share_yet_is_kept_for_somebody(fleet, yard, bound):
    bound(yard, max_w=6_000)
    Constraint.objects.filter(limit__isnull=False).update(max_w=4_200)
    Share.objects.update(why_max="ramping")
    html = page(fleet, yard)
    assert "6 kW of 6 kW are given out." in html
    assert (
        "Of that, 1.8 kW are kept in reserve:"
        " for those on their way up, as soon as others have come down."
    ) in html
    Share.objects.update(why_max="stale")
    html = page(fleet, yard)
    assert "1.8 kW are kept in reserve: for the most that those without news could take." in html


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("idle", "Nobody asks for more."),
        ("full", "Whoever asks for power has all that it may."),
        ("ramping", "More follows: shares are on their way up."),
    ],
)
def test_a_limit_that_is_not_used_up_says_why(fleet, yard, bound, why, said):
    bound(yard, max_w=200_000)
    Share.objects.update(why_max=why)
    html = page(fleet, yard)
    assert "22 kW of 200 kW are given out." in html
    assert said in html


def test_who_asks_for_nothing_has_what_others_leave_be_it_nothing(fleet, yard, bound):
    bound(yard, max_w=6_000)
    Share.objects.update(why_max="idle")
    assert "asks for nothing: may have what others leave" in page(fleet, yard)
    Constraint.objects.filter(limit__isnull=False).update(max_w=0)
    assert "asks for nothing: others leave too little for it" in page(fleet, yard)


def test_a_limit_of_a_cluster_around_says_where_it_is_set(fleet, yard, bound):
    bound(yard, max_w=6_000)
    html = page(fleet, Cluster.objects.get(name="Garage"))
    assert "Together at most 6 kW" in html
    assert f'<a href="{reverse("cluster_flexibility", args=[yard.pk])}">Yard</a>' in html


def test_a_limit_within_is_told_too_and_named_beside_its_bar(fleet, yard, bound):
    garage = Cluster.objects.get(name="Garage")
    bound(yard, max_w=9_000)
    bound(garage, max_w=6_000)
    html = page(fleet, yard)
    within = html.split("Together at most 6 kW</h3>")[1].split("</li>")[0]
    assert f'of <a href="{reverse("cluster_flexibility", args=[garage.pk])}">Garage</a>' in within
    assert ">Garage · 3,000<" in html
    assert ">Yard · 3,000<" in html


def test_fuses_connections_and_feeding_in_are_named(fleet, yard, bound, driven):
    bound(yard, by=fuse_emitter_of(driven.admin), max_w=9_000, invalid_at=None)
    bound(yard, min_w=-4_000, dynamic=True)
    html = page(fleet, yard)
    assert "The wiring bears at most 9 kW" in html
    assert "without an end" in html
    assert "At the grid connection fed in at most 4 kW" in html


def test_a_limit_that_cannot_be_kept_says_because_of_whom(fleet, yard, bound, driven, at_noon):
    stronger = Draft(set_point_w=11_000, invalid_at=at_noon + HOUR)
    set_constraints(
        target=driven.evcs, drafts=[stronger], emitter=emitter_of(driven.staff), now=at_noon
    )
    bound(yard, max_w=6_000)
    html = page(fleet, yard)
    assert "cannot be kept" in html
    assert "It is exceeded by 5 kW, because of Car with 11 kW." in html


def test_what_is_below_the_minimum_pauses_it(fleet, yard, bound, driven, at_noon):
    bound(yard, max_w=3_000)
    balance_systems(systems={driven.lindenweg.pk}, now=at_noon)
    assert "Pausing: Car." in page(fleet, yard)


def test_a_limit_is_a_bar_that_says_whom_it_holds_back(fleet, yard, bound, driven):
    limit = bound(yard, max_w=6_000)
    html = page(fleet, yard, constraint=str(limit.pk))
    assert f'<a href="?constraint={limit.pk}#why"' in html
    link = f'<a href="{reverse("appliance", args=[driven.evcs.pk])}">Car</a>'
    assert f"decides for 1 of 1: {link}" in html
    assert "a shared limit for 1 of 1" in html


def test_a_limit_that_begins_later_says_when_and_who_is_to_have_what(fleet, yard, bound, at_noon):
    bound(yard, max_w=6_000, valid_at=at_noon + HOUR)
    html = page(fleet, yard)
    assert "begins later" in html
    assert "from 13:00 until 18:00" in html
    assert "1 share" in html
    assert "are given out" not in html


def test_a_constraint_shows_whose_share_it_would_move(fleet, yard, bound, driven):
    bound(yard, max_w=12_000)
    path = reverse("appliance_constrain", args=[driven.evcs.pk])
    fields = {"greatest": "7", "begin": "now", "end": "4h", "priority": "3000", "preview": "1"}
    response = fleet.post(path, fields, headers={"HX-Request": "true", "HX-Target": "preview"})
    html = response.content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert "Whose share moves" in html
    assert "Car: at most 7 kW in place of 12 kW (“Yard”)" in html


def test_a_constraint_warns_of_the_limit_that_it_would_break(fleet, yard, bound, driven):
    bound(yard, max_w=6_000)
    path = reverse("appliance_constrain", args=[driven.evcs.pk])
    fields = {"point": "11", "bends": "on", "begin": "now", "end": "4h", "priority": "3000"}

    def preview(**changed: str) -> str:
        response = fleet.post(
            path,
            fields | changed | {"preview": "1"},
            headers={"HX-Request": "true", "HX-Target": "preview"},
        )
        html = response.content.decode().replace("\N{NO-BREAK SPACE}", " ")
        return html.split('role="status"')[1].split("</div>")[0]

    told = preview()
    assert "The limit of “Yard”, 6 kW, could not be kept: 5 kW too much." in told
    assert '"notice warning"' in told
    told = preview(point="5")
    assert "could not be kept" not in told
    assert '"notice success"' in told


def test_a_cluster_without_limits_shows_none_to_who_may_not_set_one(client, driven, yard):
    client.force_login(driven.viewer)
    assert 'id="limits"' not in page(client, yard)


def test_short_pauses_are_said_as_the_table_counts_them(fleet, yard, bound, at_noon, monkeypatch):
    bound(yard, max_w=6_000)
    ResolvedBoundary.objects.update(max_w=0)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + HOUR / 60)
    html = page(fleet, yard, "cluster_fairness")
    assert "Nobody was held back for long: there was 1 short pause." in html
    assert 'data-label="Pauses">1<' in html


def test_who_was_held_back_is_a_table_and_a_file(fleet, yard, bound, at_noon, monkeypatch):
    assert "Nobody was held back." in page(fleet, yard, "cluster_fairness")
    bound(yard, max_w=6_000)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + HOUR / 60)
    assert "Nobody was held back." in page(fleet, yard, "cluster_fairness")
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + 2 * HOUR)
    html = page(fleet, yard, "cluster_fairness", days="1")
    assert "Car was held back for 2.0 h." in html
    assert 'aria-current="true">1 day' in html
    assert 'aria-current="true">7 days' in page(fleet, yard, "cluster_fairness", days="x")
    response = fleet.get(reverse("cluster_fairness_file", args=[yard.pk]), {"days": "1"})
    lines = b"".join(response.streaming_content).decode().splitlines()
    [row] = csv.DictReader(lines)
    assert (row["appliance"], row["held_back_h"], row["pauses"]) == ("Car", "2.0", "0")


def test_the_sentence_the_table_and_the_file_tell_the_same(
    fleet, yard, bound, driven, at_noon, monkeypatch
):
    bound(yard, max_w=6_000)
    [row] = ResolvedBoundary.objects.filter(appliance_key=driven.evcs.key, at=at_noon)
    row.at, row.max_w = at_noon + 2 * HOUR, 0
    row.save(force_insert=True)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + 3 * HOUR)
    html = page(fleet, yard, "cluster_fairness", days="1")
    assert "Car was held back for 3.0 h." in html
    assert 'data-label="Held back">3.0 h<' in html
    assert 'data-label="Of that paused">1.0 h<' in html
    response = fleet.get(reverse("cluster_fairness_file", args=[yard.pk]), {"days": "1"})
    [line] = csv.DictReader(b"".join(response.streaming_content).decode().splitlines())
    assert (line["held_back_h"], line["paused_h"], line["pauses"]) == ("3.0", "1.0", "1")
