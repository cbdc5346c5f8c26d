"""Setting a constraint by hand: tried out first, then saved, withdrawn, and taken back."""

import re
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.access import Role
from accounts.models import AuditEntry, User
from flexibility.emitters import Emitter, emitter_of
from flexibility.models import Constraint, ResolvedBoundary
from flexibility.operations import Draft, set_constraints
from flexibility.resolver import EmitterKind
from gridx import clock
from inventory.models import Appliance, Cluster, Gateway
from tests.cast import Cast

HOUR = timedelta(hours=1)
USUAL = {"end": "4h", "begin": "now", "priority": "3000"}


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


def page(client: Client, appliance: Appliance, query: str = "") -> str:
    html = client.get(reverse("appliance", args=[appliance.pk]) + query).content.decode()
    return html.replace("\N{NO-BREAK SPACE}", " ")


def editor(target) -> str:
    name = {"appliance": "appliance", "cluster": "cluster", "systempool": "pool"}
    return reverse(f"{name[target._meta.model_name]}_constrain", args=[target.pk])


def sent(client: Client, target, status: int = 200, **fields) -> str:
    response = client.post(editor(target), {**USUAL, **fields})
    assert response.status_code == status
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def tried(client: Client, target, **fields) -> str:
    headers = {"HX-Request": "true", "HX-Target": "preview"}
    data = {**USUAL, "preview": "1", **fields}
    response = client.post(editor(target), data, headers=headers)
    assert response.status_code == 200
    html = response.content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert html.lstrip().startswith('<div class="content-stack" id="preview"')
    return html


def own() -> list[Constraint]:
    return list(Constraint.objects.filter(emitter_kind="account_user", withdrawn_at=None))


def test_it_is_saved_as_it_was_written_and_the_page_shows_it(
    fleet: Client, driven: Cast, at_noon: datetime
):
    sent(fleet, driven.evcs, 302, greatest="11", priority="9999")
    [row] = own()
    assert (row.max_w, row.priority, row.appliance) == (11_000, 9_999, driven.evcs)
    assert (row.valid_at, row.invalid_at) == (at_noon, at_noon + 4 * HOUR)
    html = page(fleet, driven.evcs)
    assert "The constraint is set." in html
    assert "May use at most 11 kW until 16:00" in html


def test_what_produces_is_limited_by_what_it_gives(fleet: Client, driven: Cast):
    sent(fleet, driven.pv, 302, greatest="7")
    [row] = own()
    assert (row.min_w, row.max_w) == (-7_000, None)


def test_a_set_point_bends_by_default(fleet: Client, driven: Cast):
    html = fleet.get(editor(driven.evcs)).content.decode()
    assert re.search(r'name="bends"[^>]*checked', html)


def test_mistakes_are_told_at_their_fields_and_nothing_is_lost(fleet: Client, driven: Cast):
    html = sent(fleet, driven.evcs, 422, least="12", greatest="11", end="1h", priority="1999")
    assert "The least power is above the greatest." in html
    assert re.search(r'name="least" value="12"[^>]*aria-invalid="true"', html)
    assert 'name="greatest" value="11"' in html
    assert re.search(r'name="end" value="1h"[^>]*checked', html)
    assert re.search(r'name="priority" value="1999"[^>]*checked', html)
    html = sent(fleet, driven.evcs, 422, greatest="a lot")
    assert "Write a power such as 4.2 (kW) or 4200 W." in html
    assert 'value="a lot"' in html
    html = sent(fleet, driven.evcs, 422)
    assert "It says nothing" in html
    assert own() == []


def test_one_that_is_over_already_says_so_at_its_end(fleet: Client, driven: Cast):
    html = sent(fleet, driven.evcs, 422, greatest="7", end="until", end_at="2026-06-15T11:59")
    assert "It would be over already." in html


def test_energy_is_limited_in_kilowatt_hours(fleet: Client, driven: Cast):
    html = fleet.get(editor(driven.battery)).content.decode()
    assert "How much is to be stored in it" in html
    sent(fleet, driven.battery, 302, least_energy="2.5", greatest_energy="8000 Wh")
    [row] = own()
    assert (row.min_wh, row.max_wh, row.max_w) == (2_500, 8_000, None)
    html = sent(fleet, driven.battery, 422, least_energy="9", greatest_energy="8")
    assert "The least energy is above the greatest." in html
    assert re.search(r'name="least_energy" value="9"[^>]*aria-invalid="true"', html)
    assert re.search(r"<details[^>]* open>", html)


def test_a_day_that_cannot_be_meant_is_told(fleet: Client, driven: Cast):
    for day in ("0001-01-01T00:00", "9999-12-31T23:59"):
        html = sent(fleet, driven.evcs, 422, greatest="7", end="until", end_at=day)
        assert "Give a day and a time." in html


# Changed later on --------------------------------------------------------------------------------


def edit(row: Constraint) -> str:
    return reverse("constraint_edit", args=[row.pk])


def test_one_that_stands_is_shown_filled_in_and_replaced_as_a_whole(
    fleet: Client, driven: Cast, limit, at_noon: datetime, monkeypatch
):
    row = limit(max_w=11_000, priority=2_500)
    later = at_noon + HOUR
    monkeypatch.setattr("gridx.clock.now", lambda: later)
    html = fleet.get(edit(row)).content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert 'name="greatest" value="11"' in html
    assert re.search(r'name="begin" value="kept"[^>]*checked', html)
    assert re.search(r'name="end" value="kept"[^>]*checked', html)
    assert re.search(r'name="priority" value="number"[^>]*checked', html)
    assert re.search(r'name="priority_number" value="2500"', html)
    assert edit(row) in page(fleet, driven.evcs)
    data = {"greatest": "9", "begin": "kept", "end": "kept", "priority": "number"}
    data |= {"priority_number": "2500"}
    assert fleet.post(edit(row), data).status_code == 302
    [changed] = own()
    assert (changed.pk, changed.max_w) == (row.pk, 9_000)
    assert (changed.valid_at, changed.invalid_at) == (row.valid_at, row.invalid_at)
    entry = AuditEntry.objects.latest("at")
    assert (entry.verb, entry.changes["max_w"]) == ("constrained", [11_000, 9_000])
    # The past remains as it was known.
    kept = ResolvedBoundary.objects.filter(appliance_key=driven.evcs.key).order_by("at")
    assert [(one.at, one.max_w) for one in kept][-2:] == [(at_noon, 11_000), (later, 9_000)]


def test_a_change_is_tried_out_against_what_stands(fleet: Client, driven: Cast, limit):
    row = limit(max_w=11_000)
    data = {"greatest": "9", "begin": "kept", "end": "kept", "priority": "3000", "preview": "1"}
    headers = {"HX-Request": "true", "HX-Target": "preview"}
    html = fleet.post(edit(row), data, headers=headers).content.decode()
    assert "4.14 kW to 9 kW, or off in place of 4.14 kW to 11 kW" in html.replace("\xa0", " ")
    row.refresh_from_db()
    assert row.max_w == 11_000


def test_of_two_who_change_it_at_once_the_later_is_told_and_may_save_again(
    fleet: Client, driven: Cast, limit
):
    row = limit(max_w=9_000)
    kept = {"begin": "kept", "end": "kept", "priority": "3000"}
    one, other = (as_of(fleet.get(edit(row))) for _window in range(2))
    assert fleet.post(edit(row), {**kept, "greatest": "5", "as_of": one}).status_code == 302
    answer = fleet.post(edit(row), {**kept, "greatest": "8", "as_of": other})
    assert answer.status_code == 422
    html = answer.content.decode()
    assert html.count("Somebody changed it since this form was opened.") == 1
    assert '<a href="">Open it anew</a>' in html
    row.refresh_from_db()
    assert row.max_w == 5_000
    again = {**kept, "greatest": "8", "as_of": as_of(answer)}
    assert fleet.post(edit(row), again).status_code == 302
    row.refresh_from_db()
    assert row.max_w == 8_000


def as_of(answer) -> str:
    """What a form knows of what stands."""
    return re.search(r'name="as_of" value="(\w+)"', answer.content.decode())[1]


def test_what_is_over_or_anothers_is_not_changed(
    client: Client, driven: Cast, limit, at_noon: datetime
):
    row, residents = limit(max_w=11_000), limit(max_w=9_000, emitter=emitter_of(driven.mara))
    client.force_login(driven.fleet)
    assert client.get(edit(residents)).status_code == 403
    act(client, row, "withdraw")
    for answer in (client.get(edit(row)), client.post(edit(row), {**USUAL, "greatest": "1"})):
        assert answer.url == reverse("appliance", args=[driven.evcs.pk])
    row.refresh_from_db()
    assert (row.max_w, row.withdrawn_at) == (11_000, at_noon)
    driver = Constraint.objects.get(appliance=driven.evcs, emitter_kind="driver")
    assert client.get(edit(driver)).status_code == 403
    client.force_login(driven.schmidt)
    assert client.get(edit(row)).status_code == 404


# As whom -----------------------------------------------------------------------------------------


def test_who_manages_the_fleet_and_lives_there_chooses_as_whom_to_ask(client: Client, driven: Cast):
    both = User.objects.create(
        email="both@meyer.example", account=driven.meyers, role=Role.FLEET_MANAGER
    )
    client.force_login(both)
    where = editor(driven.evcs)
    html = client.get(where).content.decode()
    assert '<a href="?as=account_user" aria-current="page">as the fleet manager</a>' in html
    html = client.get(f"{where}?as=local_user").content.decode()
    assert 'value="2999"' in html
    assert 'value="9999"' not in html
    data = {**USUAL, "greatest": "7", "priority": "2000"}
    assert client.post(f"{where}?as=local_user", data).status_code == 302
    [row] = Constraint.objects.filter(emitter=both)
    assert row.emitter_kind == "local_user"
    assert act(client, row, "withdraw").status_code == 302
    row.refresh_from_db()
    assert row.withdrawn_at is not None


def test_nobody_asks_as_somebody_else(fleet: Client, driven: Cast):
    where = editor(driven.evcs)
    assert "?as=" not in fleet.get(where).content.decode()
    fleet.post(f"{where}?as=grid_operator", {**USUAL, "greatest": "7"})
    [row] = own()
    assert row.emitter_kind == "account_user"


# Before it is saved ------------------------------------------------------------------------------


def test_while_typing_nothing_is_saved(fleet: Client, driven: Cast):
    html = tried(fleet, driven.evcs, greatest="11")
    assert own() == []
    assert "Before you set it" in html
    assert "It will be kept to." in html
    assert "4.14 kW to 11 kW, or off in place of 4.14 kW to 22 kW, or off" in html
    assert '<path class="before"' in html
    assert "new · 3,000" in html


def test_what_has_to_pause_for_it_is_told(fleet: Client, driven: Cast):
    assert "It will be kept to. It switches off for that." in tried(
        fleet, driven.evcs, greatest="3"
    )
    kinds = ["battery", "ev_charging_station"]
    html = tried(fleet, driven.pool, greatest="3", kinds=kinds)
    assert "2 of 2 appliances can follow. 1 switches off for that." in html


def test_an_untouched_form_shows_how_things_are_and_blames_nobody(fleet: Client, driven: Cast):
    for html in (fleet.get(editor(driven.evcs)).content.decode(), tried(fleet, driven.evcs)):
        assert "As it is now" in html
        assert "notice warning" not in html


def test_half_a_number_is_told_beside_the_picture(fleet: Client, driven: Cast):
    html = tried(fleet, driven.evcs, greatest="4.")
    assert "At most: Write a power such as" in html


def test_whom_nobody_can_tell_it_is_said_beforehand(fleet: Client, driven: Cast):
    station = Appliance.objects.filter(pk=driven.evcs.pk)
    station.update(local_id="")
    html = tried(fleet, driven.evcs, greatest="7")
    assert "Nobody can tell it: it has no name by which its gateway knows it." in html
    Gateway.objects.filter(pk=driven.evcs.gateway_id).update(revoked_at=clock.now())
    html = tried(fleet, driven.evcs, greatest="7")
    assert "Nobody can tell it: its gateway was revoked." in html
    assert "gateway revoked</span>" in html
    station.update(gateway=None)
    html = tried(fleet, driven.evcs, greatest="7")
    assert "Nobody can tell it: no gateway is connected to it." in html


def test_what_stores_nothing_cannot_keep_to_an_energy(fleet: Client, driven: Cast):
    html = tried(fleet, driven.evcs, least_energy="4")
    assert "It cannot be kept to." in html
    assert "it stores no energy" in html
    html = tried(fleet, driven.evcs, greatest="7", least_energy="4")
    assert "It can be kept to in part only." in html


def test_what_cannot_be_followed_says_because_of_whom(fleet: Client, driven: Cast, limit, at_noon):
    limit(
        max_w=4_200,
        emitter=Emitter(EmitterKind.GRID_OPERATOR),
        valid_at=at_noon + HOUR,
        invalid_at=at_noon + 2 * HOUR,
    )
    html = tried(fleet, driven.evcs, least="6")
    assert "It can be kept to in part only." in html
    assert "13:00 – 14:00:" in html
    assert "it gives way to the grid operator (at most 4.2 kW)" in html


def test_who_loses_is_told_with_what_they_get(fleet: Client, driven: Cast, limit, at_noon):
    limit(set_point_w=22_000, closest=True, emitter=emitter_of(driven.mara))
    html = tried(fleet, driven.evcs, greatest="7")
    assert "Who loses" in html
    assert "The resident gets 7 kW in place of 22 kW: 60.0 kWh less." in html


def test_without_scripts_a_preview_is_the_whole_page(fleet: Client, driven: Cast):
    html = sent(fleet, driven.evcs, 200, greatest="11", preview="1")
    assert "<html" in html
    assert 'name="greatest" value="11"' in html
    assert "It will be kept to." in html
    assert own() == []


# Groups ------------------------------------------------------------------------------------------


def test_a_groups_constraint_is_for_each_of_the_kinds_that_are_ticked(fleet: Client, driven: Cast):
    kinds = ["battery", "ev_charging_station"]
    html = tried(fleet, driven.pool, greatest="4", kinds=kinds)
    assert "2 of 2 appliances can follow." in html
    sent(fleet, driven.pool, 302, greatest="4", kinds=kinds)
    [row] = own()
    assert (row.pool, sorted(row.kinds)) == (driven.pool, kinds)


def test_those_of_a_group_that_cannot_follow_are_named(fleet: Client, driven: Cast, limit):
    limit(min_w=6_000, emitter=Emitter(EmitterKind.OPERATOR))
    kinds = ["battery", "ev_charging_station"]
    html = tried(fleet, driven.pool, greatest="4", kinds=kinds)
    assert "1 of 2 appliances can follow." in html
    assert "Who cannot follow" in html
    assert re.search(r"<option [^>]*selected>Car, Lindenweg 12 \(cannot\)</option>", html)
    other = tried(fleet, driven.pool, greatest="4", kinds=kinds, member=str(driven.battery.pk))
    assert re.search(r"<option [^>]*selected>Battery", other)


def test_an_empty_group_says_what_to_do(fleet: Client, driven: Cast):
    empty = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    assert "Nothing here can be controlled" in fleet.get(editor(empty)).content.decode()


# Withdrawn and taken back ------------------------------------------------------------------------


@pytest.fixture
def row(driven: Cast, limit) -> Constraint:
    return limit(max_w=11_000)


def act(client: Client, row: Constraint, what: str, **fields):
    return client.post(reverse(f"constraint_{what}", args=[row.pk]), **fields)


def test_it_is_withdrawn_in_one_click_and_the_page_offers_to_undo_that(
    fleet: Client, driven: Cast, row: Constraint
):
    answer = act(fleet, row, "withdraw")
    assert answer.url == f"{reverse('appliance', args=[driven.evcs.pk])}?undo={row.pk}"
    row.refresh_from_db()
    assert row.withdrawn_by == driven.fleet
    html = fleet.get(answer.url).content.decode()
    assert "Withdrawn: at most 11" in html
    assert reverse("constraint_restore", args=[row.pk]) in html
    act(fleet, row, "restore")
    row.refresh_from_db()
    assert row.withdrawn_at is None


def test_htmx_gets_what_can_be_undone_alone(fleet: Client, row: Constraint):
    html = act(fleet, row, "withdraw", headers={"HX-Request": "true"}).content.decode()
    assert html.lstrip().startswith('<div id="undo"')
    # What was said before, as "The constraint is set.", is over.
    assert '<div id="messages" hx-swap-oob="innerHTML"></div>' in html
    html = act(fleet, row, "restore", headers={"HX-Request": "true"}).content.decode()
    assert "It holds again." in html


def test_after_a_minute_it_says_that_it_is_too_late(
    fleet: Client, driven: Cast, row: Constraint, monkeypatch, at_noon: datetime
):
    act(fleet, row, "withdraw")
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(minutes=1))
    html = act(fleet, row, "restore", headers={"HX-Request": "true"}).content.decode()
    assert "too long ago" in html
    answer = act(fleet, row, "restore")
    assert "too long ago" in fleet.get(answer.url).content.decode()
    assert "Withdrawn:" not in page(fleet, driven.evcs, f"?undo={row.pk}")


def test_a_resident_withdraws_their_own_and_no_other(client: Client, driven: Cast, limit):
    fleets, own = limit(max_w=11_000), limit(max_w=9_000, emitter=emitter_of(driven.mara))
    client.force_login(driven.mara)
    assert act(client, fleets, "withdraw").status_code == 403
    assert act(client, own, "withdraw").status_code == 302
    driver = Constraint.objects.get(appliance=driven.evcs, emitter_kind="driver")
    assert act(client, driver, "withdraw").status_code == 403


def test_a_groups_constraint_leads_back_to_the_group(fleet: Client, driven: Cast, at_noon):
    [row] = set_constraints(
        target=driven.pool,
        drafts=[Draft(max_w=4_000, invalid_at=at_noon + HOUR)],
        emitter=emitter_of(driven.fleet),
        now=at_noon,
    )
    answer = act(fleet, row, "withdraw")
    assert answer.url.startswith(reverse("pool_flexibility", args=[driven.pool.pk]))
    assert "Withdrawn: at most 4" in fleet.get(answer.url).content.decode()
