"""Clusters and pools: what their appliances may do together, and what is asked of all of them."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.dimming.operations import dim_system
from flexibility.emitters import DIMMING, Emitter, emitter_of
from flexibility.models import Constraint
from flexibility.resolver import EmitterKind
from flexibility.sweeping import sweep
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster
from inventory.operations import move_appliance
from tests.cast import Cast


@pytest.fixture
def garage(driven: Cast, at_noon) -> Cluster:
    """A cluster with the charging station and the battery in it."""
    found = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    for appliance in (driven.evcs, driven.battery):
        move_appliance(appliance=appliance, cluster=found, by=None, now=at_noon)
    return found


def read(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def flexibility(group) -> str:
    name = "cluster" if isinstance(group, Cluster) else "pool"
    return reverse(f"{name}_flexibility", args=[group.pk])


def test_the_sum_of_all_counts_a_pause_as_nothing(client: Client, driven: Cast, garage: Cluster):
    client.force_login(driven.fleet)
    html = read(client, flexibility(garage))
    assert "−5.00 kW to 27.0 kW" in html
    assert "4.14 kW to 22 kW, or off" in html


def test_a_groups_constraint_says_who_follows_and_who_does_not(
    client: Client, driven: Cast, garage: Cluster, limit
):
    limit(target=garage, max_w=4_000)
    limit(min_w=6_000, emitter=Emitter(EmitterKind.OPERATOR))
    client.force_login(driven.fleet)
    html = read(client, flexibility(garage))
    assert "The fleet manager: at most 4 kW" in html
    assert "1 of 2 appliances can follow" in html
    assert "Car</a>: It gives way to staff" in html
    assert "2 pending" in html


def test_those_without_news_are_counted(client: Client, driven: Cast, garage: Cluster, monkeypatch):
    client.force_login(driven.fleet)
    assert '<b class="warn">' not in read(client, flexibility(garage))
    driven.gateway.__class__.objects.update(contacted_at=None)
    assert '<b class="warn">2</b>' in read(client, flexibility(garage))


def test_pages_of_the_inventory_show_it_in_short_and_lead_to_it(
    client: Client, driven: Cast, garage: Cluster
):
    client.force_login(driven.admin)
    for group, page in (
        (driven.pool, reverse("pool_detail", args=[driven.pool.pk])),
        (garage, reverse("cluster_edit", args=[garage.pk])),
    ):
        html = read(client, page)
        assert "Together they may use" in html
        assert f'href="{flexibility(group)}"' in html
        name = "cluster" if group is garage else "pool"
        assert f'href="{reverse(f"{name}_constrain", args=[group.pk])}"' in html
    for page in (
        reverse("system_inventory", args=[driven.lindenweg.pk]),
        reverse("inventory") + "?show=clusters",
    ):
        assert f'href="{flexibility(garage)}"' in read(client, page)


def test_who_may_only_look_is_offered_nothing_to_set(client: Client, driven: Cast, garage: Cluster):
    client.force_login(driven.viewer)
    for page in (flexibility(garage), reverse("pool_detail", args=[driven.pool.pk])):
        assert "Set a constraint" not in read(client, page)


def test_the_part_alone_is_sent_to_htmx(client: Client, driven: Cast, garage: Cluster):
    client.force_login(driven.fleet)
    response = client.get(flexibility(garage), headers={"HX-Request": "true", "HX-Target": "group"})
    assert response.content.decode().lstrip().startswith('<div class="content-stack" id="group"')


def test_a_cluster_says_that_it_is_dimmed(client: Client, driven: Cast, garage: Cluster, at_noon):
    client.force_login(driven.fleet)
    assert "dims" not in read(client, flexibility(garage))
    operator = emitter_of(driven.grid_operator, scopes={DIMMING})
    until = at_noon + timedelta(hours=2)
    found = dim_system(system=garage.system, emitter=operator, invalid_at=until, now=at_noon)
    html = read(client, flexibility(garage))
    assert "The grid operator dims what can be controlled here, until 14:00." in html
    assert reverse("dimming", args=[found.pk]) in html


def test_a_group_costs_a_fixed_number_of_queries(
    client: Client, driven: Cast, garage: Cluster, django_assert_max_num_queries
):
    client.force_login(driven.fleet)
    read(client, flexibility(garage))
    with django_assert_max_num_queries(28):
        read(client, flexibility(garage))


def test_a_bar_of_the_cluster_says_for_whom_it_decides(
    client: Client, driven: Cast, garage: Cluster, limit
):
    row = limit(target=garage, max_w=4_000)
    limit(min_w=6_000, emitter=Emitter(EmitterKind.OPERATOR))
    client.force_login(driven.fleet)
    address = flexibility(garage)
    html = read(client, address)
    assert f'<a href="?constraint={row.pk}#why"' in html
    assert "The fleet manager: at most 4 kW" in html
    assert "the fleet manager for 1 of 2" in html
    html = read(client, f"{address}?constraint={row.pk}")
    for said, one in (
        ("decides for 1 of 2:", driven.battery),
        ("discarded by 1 of 2:", driven.evcs),
    ):
        link = f'<a href="{reverse("appliance", args=[one.pk])}?constraint={row.pk}#why">'
        assert f"{said} {link}{one.name}</a>" in html
    assert reverse("constraint_withdraw", args=[row.pk]) in html
    client.force_login(driven.viewer)
    html = read(client, f"{address}?constraint={row.pk}")
    assert "decides for 1 of 2:" in html
    assert reverse("constraint_withdraw", args=[row.pk]) not in html


def test_the_explanation_alone_is_sent_to_htmx(
    client: Client, driven: Cast, garage: Cluster, limit
):
    row = limit(target=garage, max_w=4_000)
    client.force_login(driven.fleet)
    for target, begins in (
        ("why", '<section class="card" id="why"'),
        ("timeline", '<section class="card" id="timeline"'),
        ("group-now", '<section class="card" id="group-now"'),
    ):
        response = client.get(
            f"{flexibility(garage)}?constraint={row.pk}",
            headers={"HX-Request": "true", "HX-Target": target},
        )
        assert response.content.decode().lstrip().startswith(begins)


def test_to_close_the_explanation_nothing_is_worked_out(
    client: Client, driven: Cast, garage: Cluster, limit
):
    limit(target=garage, max_w=4_000)
    client.force_login(driven.fleet)
    headers = {"HX-Request": "true", "HX-Target": "why"}
    html = client.get(flexibility(garage), headers=headers).content.decode()
    assert '<section id="why"' in html
    assert "why-title" not in html


def test_what_is_not_of_the_group_is_explained_as_nothing(
    client: Client, driven: Cast, garage: Cluster, limit
):
    row = limit(max_w=4_000)
    client.force_login(driven.fleet)
    for chosen in (row.pk, uuid4()):
        html = read(client, f"{flexibility(garage)}?constraint={chosen}")
        assert "It has no say within these three days." in html
    assert 'id="why-title"' not in read(client, f"{flexibility(garage)}?constraint=x")


def test_the_past_is_as_it_was_known_then(
    client: Client, driven: Cast, garage: Cluster, limit, at_noon, monkeypatch
):
    row = limit(target=garage, max_w=4_000, invalid_at=at_noon + timedelta(hours=2))
    sweep(now=at_noon + timedelta(hours=2))
    type(row).objects.filter(pk=row.pk).update(withdrawn_at=at_noon + timedelta(hours=2))
    later = at_noon + timedelta(hours=6)
    monkeypatch.setattr("gridx.clock.now", lambda: later)
    client.force_login(driven.fleet)
    html = read(client, f"{flexibility(garage)}?constraint={row.pk}")
    assert f'<a href="?constraint={row.pk}#why"' in html
    assert "12:00 – 14:00" in html
    assert "decides for 2 of 2:" in html


def test_of_many_members_the_past_is_told_where_it_is_asked_for(
    client: Client, driven: Cast, garage: Cluster, limit, monkeypatch
):
    limit(target=garage, max_w=4_000)
    client.force_login(driven.fleet)
    assert "a day back, as it was known then" in read(client, flexibility(garage))
    monkeypatch.setattr("gridx.pages.together.MOST_WITH_PAST", 1)
    monkeypatch.setattr("gridx.pages.groups.MOST_WITH_PAST", 1)
    html = read(client, flexibility(garage))
    assert "a day back, as it was known then" not in html
    assert "decides for one at least" in html
    assert "every 60s" in html
    html = read(client, f"{flexibility(garage)}?past=1")
    assert "a day back, as it was known then" in html
    assert "every 60s" not in html


@pytest.mark.parametrize("which", ["cluster", "pool"])
def test_a_group_of_which_something_is_asked_is_not_dissolved(
    client: Client, driven: Cast, garage: Cluster, limit, which: str
):
    group = garage if which == "cluster" else driven.pool
    row = limit(target=group, max_w=4_000)
    client.force_login(driven.admin)
    address = reverse(f"{which}_remove", args=[group.pk])
    answer = client.post(address, follow=True)
    assert "end them first" in answer.content.decode()
    assert type(group).objects.filter(pk=group.pk).exists()
    row.__class__.objects.filter(pk=row.pk).update(withdrawn_at=row.created_at)
    assert "was dissolved" in client.post(address, follow=True).content.decode()
    assert not type(group).objects.filter(pk=group.pk).exists()


def test_what_they_may_do_together_is_shown_over_time(
    client: Client, driven: Cast, garage: Cluster, limit, at_noon
):
    row = limit(max_w=7_000, valid_at=at_noon + timedelta(hours=1))
    client.force_login(driven.fleet)
    html = read(client, flexibility(garage))
    assert "Together they may take up to 27 kW now, least from 13:00: 12 kW." in html
    type(row).objects.filter(pk=row.pk).update(withdrawn_at=at_noon)
    limit(max_w=7_000, invalid_at=at_noon + timedelta(hours=2))
    later = "Together they may take up to 12 kW now, most from 14:00: 27 kW."
    assert later in read(client, flexibility(garage))
    assert '<svg class="bars wide"' in html
    assert "what they may do together" in html
    assert "Decided by" not in html


def test_a_group_of_nothing_has_no_picture(client: Client, driven: Cast):
    empty = Cluster.objects.create(system=driven.lindenweg, name="Empty")
    client.force_login(driven.fleet)
    html = read(client, flexibility(empty))
    assert "Nothing in it can be controlled." in html
    assert '<svg class="bars' not in html


def test_where_nobody_has_a_limit_the_sum_is_none_and_not_nothing(
    client: Client, driven: Cast, garage: Cluster
):
    Constraint.objects.filter(emitter_kind="driver").delete()
    client.force_login(driven.fleet)
    assert "Nobody said how much they may take together." in read(client, flexibility(garage))


def test_of_a_hybrid_inverter_only_its_parts_are_summed(
    client: Client, driven: Cast, garage: Cluster, limit, at_noon
):
    hybrid = Appliance.objects.create(
        system=driven.lindenweg,
        gateway=driven.gateway,
        cluster=garage,
        kind=ApplianceKind.HYBRID_INVERTER,
        name="Hybrid",
    )
    limit(target=hybrid, min_w=-1_000, max_w=1_000)
    client.force_login(driven.fleet)
    alone = read(client, flexibility(garage))
    assert "−6.00 kW to 28.0 kW" in alone
    Appliance.objects.filter(pk=driven.battery.pk).update(parent=hybrid)
    html = read(client, flexibility(garage))
    assert "−5.00 kW to 27.0 kW" in html
    assert "Together they may take up to 27 kW, for the next two days." in html
