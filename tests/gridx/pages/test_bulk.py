"""One constraint for many appliances: chosen from a list, set by workers, watched as it arrives."""

from datetime import datetime

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.bulk.operations import work_due
from flexibility.delivery import Acknowledgement, record_acknowledgements, record_published
from flexibility.emitters import emitter_of
from flexibility.models import BulkAction, Constraint, Flexibility, GatewaySchedule
from inventory.models import Appliance
from tests.cast import Cast

USUAL = {"end": "4h", "begin": "now", "priority": "3000"}
NEW, WITHDRAW = "/constraints/new", "/constraints/withdraw"


@pytest.fixture
def fleet(client: Client, driven: Cast) -> Client:
    client.force_login(driven.fleet)
    return client


def text(response, status: int = 200) -> str:
    assert response.status_code == status
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def ids(*appliances: Appliance) -> list[str]:
    return [str(one.pk) for one in appliances]


def begin(client: Client, **fields) -> str:
    """Set a constraint on many; returns the address of what becomes of it."""
    answer = client.post(NEW, {**USUAL, **fields})
    assert answer.status_code == 302, answer.content.decode()
    return answer.url


def work(now: datetime) -> None:
    while work_due(now=now):
        pass


def test_the_list_lets_those_be_ticked_that_can_be_controlled(fleet: Client, driven: Cast):
    html = text(fleet.get("/inventory?show=appliances&q=Lindenweg"))
    assert f'name="appliance" value="{driven.evcs.pk}" form="choose"' in html
    assert f'value="{driven.grid_meter.pk}"' not in html
    assert "/constraints/new?matching=1&amp;q=Lindenweg" in html
    # Who is left out is not left out without a word.
    assert "1 of them only measures: no constraint is set on it." in html
    assert "only measure" not in text(fleet.get("/inventory?show=appliances&kind=battery"))
    fleet.force_login(driven.viewer)
    assert 'form="choose"' not in text(fleet.get("/inventory?show=appliances"))


def test_who_was_ticked_is_kept_by_the_form_that_follows(fleet: Client, driven: Cast):
    html = text(fleet.post(NEW, {"appliance": ids(driven.evcs, driven.battery)}))
    assert "for each of 2 appliances" in html
    for one in (driven.evcs, driven.battery):
        assert f'<input type="hidden" name="appliance" value="{one.pk}">' in html
    assert "notice warning" not in html


def test_it_is_tried_out_on_each_of_them(fleet: Client, driven: Cast):
    chosen = {"appliance": ids(driven.evcs, driven.battery), "preview": "1"}
    html = text(fleet.post(NEW, {**USUAL, **chosen, "greatest": "4"}))
    assert "2 of 2 appliances can follow." in html
    chosen["appliance"] = ids(driven.evcs, driven.grid_meter)
    html = text(fleet.post(NEW, {**USUAL, **chosen, "greatest": "4"}))
    assert "1 of 2 appliances can follow." in html
    assert "It cannot be controlled." in html
    assert not BulkAction.objects.exists()


def test_it_is_set_in_the_background_and_the_result_stays(
    fleet: Client, driven: Cast, at_noon: datetime
):
    where = begin(fleet, appliance=ids(driven.evcs, driven.battery), greatest="4")
    html = text(fleet.get(where))
    assert "At work" in html
    assert '<progress class="progress" max="2" value="0"' in html
    assert "every 1s" in html
    work(at_noon)
    html = text(fleet.get(where))
    assert '<progress class="progress" max="2" value="2"' in html
    assert "At most 4 kW, until 16:00" in html
    assert "1 pending" in html
    rows = Constraint.objects.filter(max_w=4_000, emitter=driven.fleet)
    assert {row.appliance for row in rows} == {driven.evcs, driven.battery}


def test_its_arrival_is_watched_gateway_by_gateway(fleet: Client, driven: Cast, at_noon):
    where = begin(fleet, appliance=ids(driven.evcs), greatest="7")
    work(at_noon)
    gateway = driven.gateway.pk
    revision = GatewaySchedule.objects.get(pk=gateway).revision
    record_published(revisions={gateway: revision}, now=at_noon)
    assert "1 sent" in text(fleet.get(where))
    record_acknowledgements(
        acknowledgements=[
            Acknowledgement(
                gateway=gateway,
                revision=revision,
                refusal="bad_schedule",
                detail="no such appliance",
            )
        ],
        now=at_noon,
    )
    html = text(fleet.get(f"{where}?state=refused"))
    assert "1 refused" in html
    assert "no such appliance" in html
    assert "No gateway is in this state now." in text(fleet.get(f"{where}?state=applied"))


def test_a_filter_means_all_that_it_finds_when_it_is_set(fleet: Client, driven: Cast, at_noon):
    html = text(fleet.get(f"{NEW}?matching=1&kind=ev_charging_station"))
    assert "for each of 1 appliance" in html
    assert '<input type="hidden" name="kind" value="ev_charging_station">' in html
    begin(fleet, matching="1", kind="ev_charging_station", greatest="7")
    work(at_noon)
    assert Constraint.objects.get(max_w=7_000).appliance == driven.evcs


def test_a_filter_that_finds_nothing_says_so(fleet: Client, driven: Cast):
    html = text(fleet.get(f"{NEW}?matching=1&q=nowhere"))
    assert "Nothing here can be controlled" in html
    answer = fleet.post(NEW, {**USUAL, "matching": "1", "q": "nowhere", "greatest": "7"})
    assert answer.status_code == 422


def test_one_that_cannot_be_set_is_named_and_nothing_is_saved(fleet: Client, driven: Cast):
    html = text(
        fleet.post(
            NEW, {**USUAL, "appliance": ids(driven.evcs, driven.grid_meter), "greatest": "7"}
        ),
        422,
    )
    assert "Grid meter, Lindenweg 12: It cannot be controlled." in html
    assert 'value="7"' in html
    assert not BulkAction.objects.exists()
    html = text(fleet.post(NEW, {**USUAL, "appliance": ids(driven.evcs)}), 422)
    assert "It says nothing" in html


def test_what_is_out_of_sight_does_not_exist(fleet: Client, driven: Cast):
    foreign = Appliance.objects.create(
        system=driven.hafenstrasse, kind="battery", name="Foreign", local_id="b"
    )
    assert fleet.post(NEW, {"appliance": ids(foreign)}).status_code == 404
    assert fleet.post(NEW, {"appliance": ["nonsense"]}).status_code == 404
    assert fleet.get(f"{NEW}?matching=1&account={driven.schmidts.pk}").status_code == 404
    assert fleet.get(f"{NEW}?matching=1&account=x").status_code == 404
    where = begin(fleet, appliance=ids(driven.evcs), greatest="7")
    fleet.force_login(driven.south_admin)
    assert fleet.get(where).status_code == 404
    assert fleet.post(f"{where}/withdraw").status_code == 404
    fleet.force_login(driven.viewer)
    assert fleet.get(where).status_code == 200
    assert fleet.post(f"{where}/withdraw").status_code == 403
    assert fleet.post(NEW, {"appliance": ids(driven.evcs)}).status_code == 403
    assert fleet.post(WITHDRAW, {"appliance": ids(driven.evcs)}).status_code == 403


def test_without_a_choice_the_list_is_where_to_go(fleet: Client, driven: Cast):
    assert fleet.get(NEW).url == "/inventory?show=appliances"
    assert fleet.get(WITHDRAW).url == "/inventory?show=appliances"


def test_all_of_it_is_withdrawn_at_once(fleet: Client, driven: Cast, at_noon: datetime):
    where = begin(fleet, appliance=ids(driven.evcs, driven.battery), greatest="4")
    work(at_noon)
    assert "Withdraw all of it" in text(fleet.get(where))
    gone = fleet.post(f"{where}/withdraw").url
    work(at_noon)
    html = text(fleet.get(gone))
    assert "Constraints withdrawn" in html
    assert '<progress class="progress" max="2" value="2"' in html
    assert not Constraint.objects.filter(max_w=4_000, withdrawn_at=None).exists()
    assert "Withdraw all of it" not in text(fleet.get(where))
    assert fleet.post(f"{where}/withdraw").url == where


def test_many_constraints_of_one_appliance_are_not_many_appliances(
    fleet: Client, driven: Cast, at_noon: datetime
):
    for greatest in ("7", "8"):
        begin(fleet, appliance=ids(driven.evcs), greatest=greatest)
        work(at_noon)
    answer = fleet.post(WITHDRAW, {"appliance": ids(driven.evcs), "confirm": "1"})
    work(at_noon)
    html = text(fleet.get(answer.url))
    assert "<span>2 constraints</span><span>1 appliance</span>" in html
    name = driven.evcs.name
    assert name in html
    assert f"{name}, {name}" not in html


def test_of_the_ticked_ones_only_what_is_ones_own_is_withdrawn(
    fleet: Client, driven: Cast, limit, at_noon: datetime
):
    own, residents = limit(max_w=9_000), limit(max_w=8_000, emitter=emitter_of(driven.mara))
    chosen = {"appliance": ids(driven.evcs, driven.battery)}
    html = text(fleet.post(WITHDRAW, chosen))
    assert "1 constraint ends at once" in html
    assert "The fleet manager: at most 9 kW" in html
    answer = fleet.post(WITHDRAW, {**chosen, "confirm": "1"})
    work(at_noon)
    assert "Constraints withdrawn" in text(fleet.get(answer.url))
    own.refresh_from_db()
    residents.refresh_from_db()
    assert (own.withdrawn_at, residents.withdrawn_at) == (at_noon, None)
    assert "Nothing to withdraw" in text(fleet.post(WITHDRAW, {**chosen, "confirm": "1"}))


def test_a_groups_constraint_has_the_same_view_of_its_gateways(fleet: Client, driven: Cast, limit):
    row = limit(target=driven.pool, max_w=4_000)
    html = text(fleet.get(reverse("constraint_delivery", args=[row.pk])))
    assert "Gateway by gateway" in html
    assert "1 pending" in html
    assert "fail-safe" not in html
    Flexibility.objects.filter(pk=driven.battery.pk).update(applied_fail_safe=True)
    assert "fail-safe" in text(fleet.get(reverse("constraint_delivery", args=[row.pk])))
    page = text(fleet.get(reverse("pool_flexibility", args=[driven.pool.pk])))
    assert reverse("constraint_delivery", args=[row.pk]) in page


def test_all_of_them_are_listed_with_how_far_they_are(fleet: Client, driven: Cast, at_noon):
    assert "Nothing was done to many yet" in text(fleet.get("/constraints/bulk"))
    address = begin(fleet, appliance=ids(driven.evcs, driven.battery), greatest="7")
    html = text(fleet.get("/constraints/bulk"))
    assert f'<a href="{address}">At most 7 kW</a>' in html
    assert "at work" in html
    work(at_noon)
    html = text(fleet.get("/constraints/bulk"))
    assert "at work" not in html
    assert '<td class="number" data-label="Done">2</td>' in html
    # By the clock of its appliances, as on its own page.
    assert "<td>12:00</td>" in html
    assert "12:00" in text(fleet.get(address))


def test_what_others_did_out_of_sight_is_not_listed(fleet: Client, driven: Cast, client: Client):
    begin(fleet, appliance=ids(driven.evcs), greatest="7")
    client.force_login(driven.south_admin)
    assert "Nothing was done to many yet" in text(client.get("/constraints/bulk"))
