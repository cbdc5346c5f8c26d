"""From which limit an appliance's shares are: on its page, in its timeline and its past."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.access import DIMMING
from flexibility.dimming.operations import dim_system
from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import Constraint, SharedLimit
from inventory.models import Appliance, Cluster, System
from tests.cast import Cast
from tests.household import read_now

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


@pytest.fixture
def yard(driven: Cast, at_noon) -> Cluster:
    """A yard with a garage in it, in which the charging station is, and a limit of each."""
    yard = Cluster.objects.create(system=driven.lindenweg, name="Yard")
    garage = Cluster.objects.create(
        system=driven.lindenweg, name="Garage of the neighbours", parent=yard
    )
    Appliance.objects.filter(pk=driven.evcs.pk).update(cluster=garage)
    read_now(driven, at=at_noon, evcs=0.0)
    for cluster, max_w in ((yard, 9_000), (garage, 6_000)):
        draft = LimitDraft(max_w=max_w, invalid_at=at_noon + 6 * HOUR)
        set_limit(cluster=cluster, draft=draft, by=emitter_of(driven.fleet), now=at_noon)
    return yard


def page(client: Client, appliance: Appliance, name: str = "appliance", **query) -> str:
    response = client.get(reverse(name, args=[appliance.pk]), query)
    assert response.status_code == 200
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def link(cluster: Cluster) -> str:
    return f'<a href="{reverse("cluster_flexibility", args=[cluster.pk])}">{cluster.name}</a>'


def share(limit_of: Cluster) -> Constraint:
    return Constraint.objects.get(limit__cluster=limit_of)


def test_each_share_names_its_cluster_and_says_why_it_is_so(fleet, driven, yard):
    html = page(fleet, driven.evcs)
    for cluster in Cluster.objects.filter(system=driven.lindenweg):
        one = html.split(f'id="constraint-{share(cluster).pk}"')[1].split("</li>")[0]
        assert f"Share of the limit of {cluster.name}: at most 6 kW" in one
        assert link(cluster) in one
    assert "It decides the greatest power. It has its part of the limit." in html


def test_the_timeline_names_them_as_far_as_there_is_room(fleet, driven, yard):
    html = page(fleet, driven.evcs)
    assert ">Yard · 3,000<" in html
    assert ">Garage of t… · 3,000<" in html


def test_why_names_it_too(fleet, driven, yard):
    html = page(fleet, driven.evcs, constraint=str(share(yard).pk))
    heading = html.split('id="why-title">')[1].split("</h2>")[0]
    assert heading == "Share of the limit of Yard: at most 6 kW"


def test_the_past_does_as_well(fleet, driven, yard, at_noon, monkeypatch):
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + HOUR)
    html = page(fleet, driven.evcs, "appliance_past", at="2026-06-15T12:30")
    assert "Share of the limit of Yard: at most 6 kW" in html
    assert link(yard) in html
    assert "It has its part of the limit." in html


def test_a_share_of_a_dimming_is_called_so(fleet, driven, at_noon):
    read_now(driven, at=at_noon, evcs=0.0, battery=0.0)
    System.objects.filter(pk=driven.lindenweg.pk).update(dimming_mode="ems")
    driven.lindenweg.refresh_from_db()
    dimming = dim_system(
        system=driven.lindenweg,
        emitter=emitter_of(driven.grid_operator, scopes={DIMMING}),
        invalid_at=at_noon + HOUR,
        now=at_noon,
    )
    assert SharedLimit.objects.get().dimming == dimming
    html = page(fleet, driven.evcs)
    assert "Share of the dimming: at most" in html
    assert "because the grid operator asks for it" in html
    assert ">dimming · 100,000<" in html
    assert f'href="{reverse("dimming", args=[dimming.pk])}"' in html
