"""Shared limits set, changed, tried out, withdrawn and taken back on pages."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from flexibility.emitters import emitter_of
from flexibility.limits.operations import (
    LimitDraft,
    fuse_emitter_of,
    set_limit,
    usual_id,
    withdraw_limit,
)
from flexibility.models import Constraint, SharedLimit
from flexibility.resolver import EmitterKind
from inventory.models import Appliance, Cluster
from tests.cast import Cast
from tests.household import read_now

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


@pytest.fixture
def yard(driven: Cast, at_noon) -> Cluster:
    """A yard with the charging station and the battery, both just read."""
    yard = Cluster.objects.create(system=driven.lindenweg, name="Yard")
    Appliance.objects.filter(pk__in=[driven.evcs.pk, driven.battery.pk]).update(cluster=yard)
    read_now(driven, at=at_noon, evcs=0.0, battery=0.0)
    return yard


def sent(**fields) -> dict:
    """The form as a browser sends it, with one field filled in."""
    return {
        "greatest": "",
        "strategy": "equally",
        "begin": "now",
        "end": "4h",
        "priority": "3000",
        "kinds": ["ev_charging_station", "battery"],
        **fields,
    }


def new(cluster: Cluster, query: str = "") -> str:
    return reverse("limit_new", args=[cluster.pk]) + query


def text(response, status: int = 200) -> str:
    assert response.status_code == status
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def seen(client: Client, cluster: Cluster) -> str:
    return text(client.get(reverse("cluster_flexibility", args=[cluster.pk])))


def test_a_limit_is_set_on_the_page_of_its_cluster(fleet, driven, yard, at_noon):
    html = seen(fleet, yard)
    assert "Nothing limits all of them together" in html
    assert f'href="{new(yard)}"' in html
    answer = fleet.post(new(yard), sent(greatest="12", fed_in="3"), follow=True)
    assert "The shared limit is set." in text(answer)
    limit = SharedLimit.objects.get()
    assert (limit.max_w, limit.min_w, limit.kinds) == (12_000, -3_000, [])
    assert (limit.emitter_kind, limit.priority) == (EmitterKind.ACCOUNT_USER, 3_000)
    assert (limit.valid_at, limit.invalid_at) == (at_noon, at_noon + 4 * HOUR)
    assert "Together at most 12 kW and fed in at most 3 kW" in seen(fleet, yard)
    assert AuditEntry.objects.filter(verb="limited", by=driven.fleet).count() == 1


def test_the_first_one_is_that_of_the_api_and_others_stand_beside_it(fleet, yard):
    fleet.post(new(yard), sent(greatest="12"))
    fleet.post(new(yard), sent(greatest="9"))
    kept = {limit.max_w: limit.pk for limit in SharedLimit.objects.all()}
    assert kept[12_000] == usual_id(yard, EmitterKind.ACCOUNT_USER)
    assert set(kept) == {12_000, 9_000}


def test_all_that_can_be_said_of_a_limit_is_kept_and_shown_again(fleet, driven, yard, at_noon):
    fields = {
        "phase_1": "4",
        "phase_2": "4",
        "phase_3": "3.5",
        "dynamic": "on",
        "strategy": "series",
        f"place_{driven.evcs.pk}": "2",
        f"place_{driven.battery.pk}": "1",
        "kinds": ["ev_charging_station"],
        "begin": "later",
        "begin_at": "2026-06-15T18:00",
        "end": "until",
        "end_at": "2026-06-16T06:00",
        "priority": "9999",
    }
    fleet.post(new(yard), sent(**fields))
    limit = SharedLimit.objects.get()
    assert limit.phase_max_w == [4_000, 4_000, 3_500]
    assert (limit.dynamic, limit.strategy, limit.priority) == (True, "series", 9_999)
    assert limit.order == [driven.battery.pk, driven.evcs.pk]
    assert limit.kinds == ["ev_charging_station"]
    assert limit.invalid_at - limit.valid_at == 12 * HOUR
    html = text(fleet.get(reverse("limit_edit", args=[limit.pk])))
    for shown in ('value="3.5"', 'value="kept"', "18:00"):
        assert shown in html
    for checked in ("id_strategy_3", "id_dynamic"):
        assert re.search(f'<input[^>]* id="{checked}"[^>]* checked', html)


def test_one_that_stands_is_changed_in_its_place(fleet, yard, at_noon):
    fleet.post(new(yard), sent(greatest="12"))
    limit = SharedLimit.objects.get()
    assert reverse("limit_edit", args=[limit.pk]) in seen(fleet, yard)
    url = reverse("limit_edit", args=[limit.pk])
    answer = fleet.post(url, sent(greatest="7", begin="kept", end="kept"), follow=True)
    assert "The shared limit is changed." in text(answer)
    changed = SharedLimit.objects.get()
    assert (changed.pk, changed.max_w, changed.invalid_at) == (limit.pk, 7_000, limit.invalid_at)


def test_of_two_who_change_a_limit_at_once_the_later_is_told(fleet, driven, yard, at_noon):
    draft = LimitDraft(max_w=9_000, invalid_at=at_noon + HOUR)
    limit = set_limit(cluster=yard, draft=draft, by=emitter_of(driven.fleet), now=at_noon)
    url = reverse("limit_edit", args=[limit.pk])
    [as_of] = re.findall(r'name="as_of" value="(\w+)"', fleet.get(url).content.decode())
    changed = sent(begin="kept", end="kept", as_of=as_of)
    fleet.post(url, changed | {"greatest": "7"})
    answer = fleet.post(url, changed | {"greatest": "8"})
    assert answer.status_code == 422
    assert answer.content.decode().count("Somebody changed it") == 1
    assert SharedLimit.objects.get().max_w == 7_000


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "It says nothing: give a limit."),
        ({"greatest": "x"}, "Write a power such as 4.2"),
        ({"greatest": "-2"}, "A shared limit gives no orders"),
        ({"fed_in": "-2"}, "A shared limit gives no orders"),
        ({"phase_1": "4"}, "Give three values, one for each phase."),
        ({"greatest": "9", "end": "until", "end_at": "2026-06-14T10:00"}, "It would be over"),
        ({"greatest": "9", "end": "until", "end_at": ""}, "Give a day and a time."),
        ({"greatest": "9", "kinds": []}, "Choose at least one kind."),
        ({"greatest": "9", "strategy": "by luck"}, "Select a valid choice."),
        ({"greatest": "9", "priority": "10000"}, "Select a valid choice."),
        ({"greatest": "9", "end": "endless"}, "Select a valid choice."),
    ],
)
def test_what_cannot_be_set_is_told_at_its_field(fleet, yard, fields, said):
    assert said in text(fleet.post(new(yard), sent(**fields)), 422)
    assert not SharedLimit.objects.exists()


def test_no_meter_no_limit_of_the_grid_connection(fleet, driven, yard, at_noon):
    Appliance.objects.filter(kind="grid_meter").update(removed_at=at_noon)
    html = text(fleet.post(new(yard), sent(greatest="9", dynamic="on")), 422)
    assert "The system has no meter at its grid connection." in html


def test_who_would_have_what_is_shown_before_it_is_set(fleet, driven, yard):
    headers = {"HX-Request": "true", "HX-Target": "preview"}
    fields = sent(greatest="6", strategy="series", preview="1") | {f"place_{driven.evcs.pk}": "1"}
    html = text(fleet.post(new(yard), fields, headers=headers))
    assert "Together at most 6 kW" in html
    assert "6 kW of 6 kW are given out." in html
    car = html.split("Car</th>")[1].split("</tr>")[0]
    assert '<td class="number">6 kW</td>' in car
    assert "<html" not in html
    assert not SharedLimit.objects.exists()
    assert not Constraint.objects.filter(limit__isnull=False).exists()
    nothing = text(fleet.post(new(yard), sent(preview="1"), headers=headers))
    assert "Say how much they may use" in nothing
    assert "It says nothing" not in nothing


def test_who_manages_the_inventory_says_what_the_wiring_bears(client, driven, yard):
    client.force_login(driven.admin)
    html = text(client.get(new(yard)))
    assert 'href="?as=fuse"' in html
    assert "without an end" not in html
    assert "without an end" in text(client.get(new(yard, "?as=fuse")))
    fields = sent(greatest="20", priority="1000000", end="endless")
    client.post(new(yard, "?as=fuse"), fields)
    limit = SharedLimit.objects.get()
    assert (limit.fuse, limit.invalid_at, limit.max_w) == (True, None, 20_000)
    url = reverse("limit_edit", args=[limit.pk])
    client.post(url, fields | {"greatest": "18", "begin": "kept"})
    assert SharedLimit.objects.get().max_w == 18_000


def test_one_that_is_withdrawn_can_be_taken_back_for_a_while(
    fleet, driven, yard, at_noon, monkeypatch
):
    fleet.post(new(yard), sent(greatest="12"))
    limit = SharedLimit.objects.get()
    withdraw, restore = (
        reverse(f"limit_{name}", args=[limit.pk]) for name in ("withdraw", "restore")
    )
    assert withdraw in seen(fleet, yard)
    html = text(fleet.post(withdraw, follow=True))
    assert "Withdrawn: Together at most 12 kW." in html
    assert f'action="{restore}"' in html
    assert SharedLimit.objects.get().withdrawn_at is not None
    html = text(fleet.post(restore, headers={"HX-Request": "true"}))
    assert "It holds again." in html
    assert SharedLimit.objects.get().withdrawn_at is None
    assert Constraint.objects.filter(limit=limit, withdrawn_at=None).count() == 2
    fleet.post(withdraw)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + HOUR)
    html = text(fleet.post(restore, headers={"HX-Request": "true"}))
    assert "It was withdrawn too long ago" in html
    verbs = ["limited", "limit_withdrawn", "limited", "limit_withdrawn"]
    entries = AuditEntry.objects.filter(verb__startswith="limit").order_by("at", "pk")
    assert list(entries.values_list("verb", flat=True)) == verbs


def test_what_others_set_is_theirs_and_staff_may_end_it(client, driven, yard, at_noon):
    draft = LimitDraft(max_w=9_000, invalid_at=at_noon + HOUR)
    limit = set_limit(cluster=yard, draft=draft, by=emitter_of(driven.mara), now=at_noon)
    edit, withdraw = (reverse(f"limit_{name}", args=[limit.pk]) for name in ("edit", "withdraw"))
    client.force_login(driven.fleet)
    html = seen(client, yard)
    assert f'href="{edit}"' not in html
    assert withdraw not in html
    assert client.get(edit).status_code == client.post(withdraw).status_code == 403
    client.force_login(driven.staff)
    assert f'href="{edit}"' not in seen(client, yard)
    assert withdraw in seen(client, yard)
    assert client.post(withdraw).status_code == 302
    assert SharedLimit.objects.get().withdrawn_by == driven.staff


def test_a_fuse_is_not_for_those_who_only_constrain(fleet, driven, yard, at_noon):
    draft = LimitDraft(max_w=9_000)
    limit = set_limit(cluster=yard, draft=draft, by=fuse_emitter_of(driven.admin), now=at_noon)
    assert 'href="?as=fuse"' not in text(fleet.get(new(yard, "?as=fuse")))
    assert fleet.post(reverse("limit_withdraw", args=[limit.pk])).status_code == 403


def test_one_that_is_over_is_not_changed(fleet, driven, yard, at_noon):
    draft = LimitDraft(max_w=9_000, invalid_at=at_noon + HOUR)
    limit = set_limit(cluster=yard, draft=draft, by=emitter_of(driven.fleet), now=at_noon)
    withdraw_limit(limit=limit, by=emitter_of(driven.fleet), now=at_noon)
    answer = fleet.get(reverse("limit_edit", args=[limit.pk]), follow=True)
    assert "It is over already, or withdrawn" in text(answer)


def test_where_nothing_can_be_controlled_there_is_nothing_to_limit(fleet, driven):
    shed = Cluster.objects.create(system=driven.lindenweg, name="Shed")
    assert "Nothing here can be controlled" in text(fleet.get(new(shed)))
    assert new(shed) not in seen(fleet, shed)
