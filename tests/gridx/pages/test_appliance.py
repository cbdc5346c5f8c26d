"""An appliance's page: what it may do now and why, what is asked of it, and all that over time."""

import re
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.test import Client
from django.urls import reverse

from flexibility.delivery import Acknowledgement, Applied, record_acknowledgements, record_published
from flexibility.emitters import DIMMING, Emitter, emitter_of
from flexibility.models import Flexibility, GatewaySchedule, ResolvedBoundary
from flexibility.resolver import EmitterKind
from flexibility.sweeping import sweep
from gridx.pages.appliance import render_live
from gridx.pages.timeline import MOST_PAST, spans_around
from inventory.models import Appliance, Cluster, Gateway
from inventory.operations import move_appliance
from measurements.models import ApplianceSlot
from measurements.slots import compute_until_clean
from tests.cast import Cast
from tests.household import measure, read_now

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def fleet(client: Client, cast: Cast) -> Client:
    client.force_login(cast.fleet)
    return client


def page(client: Client, appliance: Appliance, query: str = "", **fields) -> str:
    response = client.get(reverse("appliance", args=[appliance.pk]) + query, **fields)
    assert response.status_code == 200
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def part(client: Client, appliance: Appliance, name: str, query: str = "") -> str:
    return page(client, appliance, query, headers={"HX-Request": "true", "HX-Target": name})


def test_first_of_all_it_says_what_holds_until_when_and_why(fleet: Client, driven: Cast, limit):
    limit(max_w=11_000, emitter=Emitter(EmitterKind.LOCAL_USER))
    html = page(fleet, driven.evcs)
    assert "May use at most 11 kW until 18:00, because the resident set it." in html
    assert "From 18:00: 4.14 kW to 22 kW, or off." in html
    assert "<h1>Car</h1>" in html
    assert "charging" in html
    assert "7.40 kW" in html


def test_who_set_it_is_told_so(fleet: Client, driven: Cast, limit):
    limit(max_w=11_000)
    assert "because you set it" in page(fleet, driven.evcs)


def test_what_nobody_limits_is_left_alone_and_says_so(fleet: Client, driven: Cast):
    html = page(fleet, driven.evcs)
    assert "Nobody limits it: it may do what it can, 4.14 kW to 22 kW, or off." in html
    assert "Nobody has set a limit" in page(fleet, driven.grid_meter)
    assert "Nothing is asked of it" in page(fleet, driven.grid_meter)


def test_open_sides_say_that_there_is_no_limit_and_never_zero(fleet: Client, driven: Cast, limit):
    limit(target=driven.pv, min_w=-7_000)
    html = page(fleet, driven.pv)
    assert "May produce at most 7 kW" in html
    facts = dict(re.findall(r"<dt>([^<]*)</dt>\s*<dd><b>([^<]*)</b>", html))
    assert (facts["At least"], facts["At most"], facts["Set point"]) == ("no limit", "7 kW", "–")
    assert "It decides the greatest power." in html


def test_a_bent_set_point_is_shown_with_both_values(fleet: Client, driven: Cast, limit):
    limit(set_point_w=30_000, closest=True)
    html = page(fleet, driven.evcs)
    assert "<b>22 kW</b> <span>30 kW were asked for</span>" in html


def test_a_silent_gateway_makes_it_uncertain_with_its_age(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    limit(max_w=11_000)
    assert "Not certain any more" not in page(fleet, driven.evcs)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + 3 * HOUR)
    # What is asked of it goes on being worked out; that is no news from it.
    Flexibility.objects.update(resolved_at=at_noon + 3 * HOUR)
    html = page(fleet, driven.evcs)
    assert "Not certain any more" in html
    assert "3 h ago" in html
    assert "flexibility tone-car stale" in html


# How far the gateway is --------------------------------------------------------------------------


def test_a_schedule_is_seen_arriving(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    def delivery() -> str:
        found = re.search(r'class="tag (\w+)">([^<]*)<', part(fleet, driven.evcs, "flexibility"))
        return found[2]

    limit(max_w=11_000)
    gateway = driven.gateway.pk
    revision = GatewaySchedule.objects.get(pk=gateway).revision
    assert delivery() == "pending"
    assert "every 2s" in part(fleet, driven.evcs, "flexibility")
    record_published(revisions={gateway: revision}, now=at_noon)
    assert delivery() == "sent"
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(minutes=3))
    assert delivery() == "no answer"
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon)

    def acknowledge(refusal="", **fields) -> None:
        record_acknowledgements(
            acknowledgements=[
                Acknowledgement(
                    gateway=gateway,
                    revision=revision,
                    applied={driven.evcs.pk: Applied(max_w=11_000, **fields)},
                    refusal=refusal,
                )
            ],
            now=at_noon,
        )

    acknowledge()
    assert delivery() == "applied"
    assert "every 2s" not in part(fleet, driven.evcs, "flexibility")
    Flexibility.objects.filter(pk=driven.evcs.pk).update(
        refusal="not_able", refusal_detail="The station does not obey."
    )
    assert delivery() == "refused"
    assert "The station does not obey." in part(fleet, driven.evcs, "flexibility")
    Flexibility.objects.filter(pk=driven.evcs.pk).update(refusal="")
    schedules = GatewaySchedule.objects.filter(pk=driven.gateway.pk)
    schedules.update(refusal="unreadable", refusal_detail="There is no such appliance.")
    assert delivery() == "refused"
    assert "There is no such appliance." in page(fleet, driven.evcs)
    schedules.update(refusal="", refusal_detail="")
    Flexibility.objects.filter(pk=driven.evcs.pk).update(applied_fail_safe=True)
    assert delivery() == "fail-safe"


def test_what_is_not_sent_for_long_is_not_called_pending_any_more(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    limit(max_w=11_000)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(seconds=119))
    assert ">pending<" in part(fleet, driven.evcs, "flexibility")
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(seconds=121))
    Gateway.objects.update(contacted_at=at_noon + timedelta(seconds=121))
    html = part(fleet, driven.evcs, "flexibility")
    assert ">not sent<" in html
    assert "It could not be sent yet" in html


def confirm(now: datetime, applied: dict | None = None) -> None:
    """The gateway takes over its newest schedule; what its appliances keep to by its word."""
    newest = GatewaySchedule.objects.get()
    said = Acknowledgement(gateway=newest.pk, revision=newest.revision, applied=applied or {})
    record_acknowledgements(acknowledgements=[said], now=now)


def test_out_of_reach_a_gateway_goes_on_by_its_schedule_and_the_page_says_how_long(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    limit(max_w=11_000, invalid_at=at_noon + 200 * HOUR)
    confirm(at_noon)
    assert "Without contact" not in page(fleet, driven.evcs)
    Gateway.objects.update(online=False)
    told = "Without contact it keeps to its schedule until Wed 17 Jun, 12:00."
    assert told in page(fleet, driven.evcs)
    # Newer ones are made meanwhile, but it hears of none.
    sweep(now=at_noon + 30 * HOUR)
    assert GatewaySchedule.objects.get().revision == 2
    assert told in page(fleet, driven.evcs)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + 48 * HOUR)
    assert "keep to their safe limit" in page(fleet, driven.evcs)


def test_out_of_reach_it_is_told_what_it_keeps_to_by_its_schedule_since_a_boundary_passed(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    limit(max_w=5_000, invalid_at=at_noon + timedelta(minutes=2))
    confirm(at_noon, {driven.evcs.pk: Applied(min_w=4_140, max_w=5_000)})

    def keeps_to(minutes: float) -> str:
        monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(minutes=minutes))
        sweep(now=at_noon + timedelta(minutes=minutes))
        html = page(fleet, driven.evcs)
        found = re.search(r"<dt>The gateway keeps to</dt>\s*<dd>(.*?)</dd>", html)
        return found[1] if found else ""

    assert keeps_to(1.9) == ""
    by_schedule = "<span>by its schedule; nothing was heard since 12:00</span>"
    assert keeps_to(2.2) == f"<b>4.14 kW to 22 kW, or off</b> {by_schedule}"
    # A newer schedule that never reached it changes nothing of that.
    limit(max_w=8_000)
    assert keeps_to(4) == f"<b>4.14 kW to 22 kW, or off</b> {by_schedule}"
    # Heard since, its own word counts.
    Gateway.objects.update(contacted_at=at_noon + timedelta(minutes=4))
    assert keeps_to(4.1) == "<b>4.14 kW to 5 kW</b>"


def test_a_gateway_that_the_broker_calls_connected_is_not_called_so_when_nothing_comes(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    limit(max_w=11_000, invalid_at=at_noon + 200 * HOUR)
    confirm(at_noon)
    html = page(fleet, driven.evcs)
    assert "dot ok live" in html
    # A page that stays open turns it by itself.
    assert re.search(r'id="seen"[^>]* data-stale-after="180"', html)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(minutes=4))
    html = page(fleet, driven.evcs)
    assert "dot ok" not in html
    assert "no news" in html
    assert "Without contact it keeps to its schedule" in html


def test_dimmed_and_out_of_reach_its_safe_limit_joins_in_and_is_counted_down_to(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    limit(max_w=4_200, emitter=emitter_of(driven.grid_operator, scopes={DIMMING}))
    confirm(at_noon)
    Gateway.objects.update(online=False, contacted_at=at_noon - timedelta(hours=1))
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(seconds=20))
    shown = page(fleet, driven.evcs)
    assert "its safe limit joins in" in shown
    assert ">1:40</time>" in shown
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + timedelta(minutes=3))
    assert "it keeps to its safe limit as well" in page(fleet, driven.evcs)


# What is asked of it -----------------------------------------------------------------------------


def lines(html: str) -> list[tuple[str, str]]:
    listed = html[html.index('id="constraints"') :]
    found = re.findall(r'class="tag \w*">(\w+)</span>\s*<div>\s*<h3><a [^>]*>([^<]*)</a>', listed)
    return [(title, tag) for tag, title in found]


def test_constraints_are_listed_with_what_became_of_them(fleet: Client, driven: Cast, limit):
    dimming = emitter_of(driven.grid_operator, scopes={DIMMING})
    limit(max_w=9_000, emitter=dimming)
    limit(min_w=10_000)
    limit(max_w=15_000, emitter=Emitter(EmitterKind.LOCAL_USER))
    html = page(fleet, driven.evcs)
    assert lines(html) == [
        ("The appliance itself: 4.14 kW to 22 kW, or off", "binding"),
        ("The grid operator: at most 9 kW", "binding"),
        ("The fleet manager: at least 10 kW", "discarded"),
        ("The resident: at most 15 kW", "redundant"),
    ]
    assert "It gives way to the grid operator, which weighs more" in html
    assert "priority 3,000, the usual one" in html


def test_people_are_named_only_to_those_who_see_them_elsewhere(client: Client, driven: Cast, limit):
    limit(max_w=11_000)
    client.force_login(driven.admin)
    assert "fleet@north.example" in page(client, driven.evcs)
    client.force_login(driven.mara)
    assert "fleet@north.example" not in page(client, driven.evcs)


def test_what_a_group_asks_leads_to_the_group_where_it_is_withdrawn(
    client: Client, driven: Cast, limit, at_noon: datetime
):
    garage = Cluster.objects.create(system=driven.lindenweg, name="Garage")
    move_appliance(appliance=driven.evcs, cluster=garage, by=None, now=at_noon)
    limit(target=garage, max_w=11_000)
    limit(target=driven.pool, max_w=12_000)
    client.force_login(driven.fleet)
    html = page(client, driven.evcs)
    assert f'href="{reverse("cluster_flexibility", args=[garage.pk])}">Garage</a>' in html
    assert f'href="{reverse("pool_flexibility", args=[driven.pool.pk])}"' in html
    assert ">Withdraw<" not in html
    client.force_login(driven.mara)
    html = page(client, driven.evcs)
    assert ">Garage</a>" in html
    assert "Sun sharers" not in html
    assert "a group" in html


@pytest.mark.parametrize(
    ("person", "sets", "withdraws"),
    [("fleet", True, True), ("mara", True, False), ("staff", True, True), ("viewer", False, False)],
)
def test_buttons_are_there_for_who_may_use_them(
    client: Client, driven: Cast, limit, person: str, sets: bool, withdraws: bool
):
    limit(max_w=11_000)
    client.force_login(getattr(driven, person))
    html = page(client, driven.evcs)
    assert (reverse("appliance_constrain", args=[driven.evcs.pk]) in html) == sets
    assert (">Withdraw<" in html) == withdraws


def test_a_meter_is_asked_nothing(fleet: Client, driven: Cast):
    assert "Set a constraint" not in page(fleet, driven.grid_meter)
    answer = fleet.get(reverse("appliance_constrain", args=[driven.grid_meter.pk]))
    assert answer.status_code == 404


# Over time ---------------------------------------------------------------------------------------


def test_the_timeline_is_drawn_told_and_written_as_a_table(fleet: Client, driven: Cast, limit):
    row = limit(max_w=11_000)
    html = page(fleet, driven.evcs)
    assert re.search(r'<rect class="binding"', html)
    assert "Now 4.14 kW to 11 kW, or off; from 18:00: 4.14 kW to 22 kW, or off." in html
    table = html[html.index("timeline-summary-table") :]
    assert "the fleet manager" in table
    assert f'href="?constraint={row.pk}#why"' in html
    for shape in ("wide", "middle", "narrow"):
        assert f'class="bars {shape}"' in html


def test_constraints_that_decide_nothing_do_not_crowd_the_picture_and_are_counted(
    fleet: Client, driven: Cast, limit
):
    for priority in range(3_001, 3_020):
        limit(max_w=30_000, priority=priority)
    html = page(fleet, driven.evcs)
    assert "further constraints decide nothing here and are not drawn." in html
    assert html.count('id="constraint-') == 20


def test_the_past_is_told_as_it_was_known_then(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    row = limit(max_w=11_000)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + 2 * HOUR)
    fleet.post(reverse("constraint_withdraw", args=[row.pk]))
    html = page(fleet, driven.evcs, f"?constraint={row.pk}")
    why = html[html.index('id="why"') : html.index('id="constraints"')]
    assert "The fleet manager: at most 11 kW" in why
    assert "12:00 – 14:00" in why
    assert "It decides the greatest power." in why


def test_a_day_of_many_changes_is_told_as_finely_as_it_can_be_shown(
    fleet: Client, driven: Cast, at_noon: datetime
):
    row = ResolvedBoundary.objects.get(appliance_key=driven.evcs.key)
    for number in range(3 * MOST_PAST):
        row.at, row.max_w = at_noon - 20 * HOUR + number * timedelta(minutes=1), float(number)
        row.save(force_insert=True)
    spans = spans_around(driven.evcs, now=at_noon)
    assert len(spans) <= MOST_PAST + 3
    assert (spans[0].from_at, spans[-1].until_at) == (at_noon - 24 * HOUR, at_noon + 48 * HOUR)
    for one, following in pairwise(spans):
        assert one.until_at == following.from_at
    assert spans[-2].boundary.max_w == 22_000


def test_what_held_for_less_than_can_be_told_is_left_out(
    fleet: Client, driven: Cast, limit, monkeypatch, at_noon: datetime
):
    row = limit(max_w=11_000)
    kept = ResolvedBoundary.objects.get(appliance_key=driven.evcs.key, at=at_noon)
    for milliseconds, max_w in ((600_200, 9_000), (600_700, 11_000)):
        kept.at, kept.max_w = at_noon + timedelta(milliseconds=milliseconds), max_w
        kept.save(force_insert=True)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + HOUR)
    html = page(fleet, driven.evcs, f"?constraint={row.pk}")
    assert "12:10:00 –" not in html
    assert '<p class="strong">12:00 – 18:00</p>' in html


def test_measured_power_lies_over_what_was_allowed(fleet: Client, driven: Cast, at_noon: datetime):
    assert "measured" not in part(fleet, driven.battery, "timeline")
    measure(driven, since=at_noon - 6 * HOUR, until=at_noon, now=at_noon)
    assert '<path class="measured"' in part(fleet, driven.battery, "timeline")


def test_measured_power_ends_where_nothing_whole_was_measured_yet(
    fleet: Client, driven: Cast, at_noon: datetime, monkeypatch
):
    def curve() -> str:
        html = part(fleet, driven.battery, "timeline")
        return re.search(r'<path class="measured"[^>]* d="([^"]*)"', html)[1]

    measure(driven, since=at_noon - 6 * HOUR, until=at_noon, now=at_noon)
    monkeypatch.setattr("gridx.clock.now", lambda: at_noon + MINUTE)
    before = curve()
    read_now(driven, at=at_noon + MINUTE, battery=500.0)
    compute_until_clean(now=at_noon + MINUTE)
    assert ApplianceSlot.objects.filter(
        appliance_key=driven.battery.key, start=at_noon, import_mwh__gt=0
    ).exists()
    assert curve() == before


def test_a_bar_explains_itself(fleet: Client, driven: Cast, limit, at_noon: datetime):
    weak = limit(min_w=12_000, emitter=Emitter(EmitterKind.LOCAL_USER))
    limit(max_w=11_000, invalid_at=at_noon + 2 * HOUR)
    why = part(fleet, driven.evcs, "why", f"?constraint={weak.pk}")
    assert "<html" not in why
    assert re.findall(r'class="tag \w+">(\w+)<', why) == ["discarded", "binding"]
    assert "12:00 – 14:00" in why
    assert "It gives way to the fleet manager" in why


@pytest.mark.parametrize("asked", ["nonsense", "00000000-0000-0000-0000-000000000000"])
def test_an_explanation_of_nothing_breaks_nothing(fleet: Client, driven: Cast, asked: str):
    page(fleet, driven.evcs, f"?constraint={asked}&undo={asked}")


# Live --------------------------------------------------------------------------------------------


def test_what_is_pushed_is_what_the_page_includes(driven: Cast, limit, at_noon: datetime):
    limit(max_w=11_000)
    pushed = render_live(driven.evcs, user=driven.fleet, now=at_noon)
    ids = re.findall(r'<(?:p|section) [^>]*id="(\w+)"[^>]*hx-swap-oob="morph"', pushed)
    assert ids == ["seen", "flexibility", "constraints"]
    assert "because you set it" in pushed


def test_the_mark_changes_with_the_constraints(fleet: Client, driven: Cast, limit):
    def mark() -> str:
        return re.search(r'data-figures="(\w+)"', page(fleet, driven.evcs))[1]

    before = mark()
    assert mark() == before
    limit(max_w=11_000)
    assert mark() != before


def test_home_and_inventory_lead_to_it(client: Client, driven: Cast):
    client.force_login(driven.admin)
    link = f'href="{reverse("appliance", args=[driven.battery.pk])}"'
    for address in (
        reverse("system", args=[driven.lindenweg.pk]),
        reverse("system_inventory", args=[driven.lindenweg.pk]),
        reverse("inventory") + "?show=appliances",
    ):
        assert link in client.get(address).content.decode()


def test_it_costs_a_fixed_number_of_queries(
    fleet: Client, driven: Cast, limit, django_assert_max_num_queries
):
    for watts in range(5_000, 9_000, 500):
        limit(max_w=watts)
    page(fleet, driven.evcs)
    with django_assert_max_num_queries(45):
        page(fleet, driven.evcs)
