"""A fleet manager sets a limit after having tried it out, withdraws it, and takes that back."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from flexibility.local import DriverLimits, set_driver_limits
from gridx import clock
from inventory.models import Gateway
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast
from tests.household import read_now

NBSP = "\N{NO-BREAK SPACE}"
# What is withdrawn can be undone for so long.
UNDONE_WITHIN_MS = 10_000


@pytest.fixture
def charging(live_site: LiveSite, cast: Cast) -> Cast:
    """A car charges with 7.4 kW, and its station tells what it can do."""
    now = clock.now()
    limits = {cast.evcs.pk: DriverLimits(min_w=4_140, max_w=22_000, pausable=True)}
    live_site.run(set_driver_limits, limits=limits, now=now - timedelta(hours=1))
    Gateway.objects.filter(pk=cast.gateway.pk).update(contacted_at=now, online=True)
    read_now(cast, at=now, evcs=7_400.0)
    return cast


def test_a_limit_is_tried_out_set_withdrawn_and_set_again(page: Page, charging: Cast):
    sign_in(page, charging.fleet.email)
    page.goto(f"/appliances/{charging.evcs.pk}")
    says = page.locator("#flexibility .lead")
    free = f"Nobody limits it: it may do what it can, 4.14{NBSP}kW to 22{NBSP}kW, or off."
    expect(says).to_have_text(free)

    page.get_by_role("link", name="Set a constraint").click()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("As it is now")
    page.get_by_label("At most", exact=True).press_sequentially("11")
    expect(preview).to_contain_text("It will be kept to.")
    expect(preview).to_contain_text(f"4.14{NBSP}kW to 11{NBSP}kW, or off in place of")
    expect(preview.locator(".bars.middle .name.new")).to_have_text("new · 3,000")
    page.get_by_text("1 h", exact=True).click()
    page.get_by_role("button", name="Set it").click()

    expect(says).to_contain_text(f"May use at most 11{NBSP}kW until")
    expect(says).to_contain_text("because you set it")
    expect(page.locator("#flexibility .tag")).to_have_text("pending")
    bar = page.locator(".bars.wide .by-account_user a.bar")
    bar.click()
    expect(page.locator("#why")).to_contain_text("It decides the greatest power.")
    expect(page).to_have_url(re.compile("constraint="))

    page.get_by_role("button", name="Withdraw").click()
    expect(says).to_have_text(free)
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(page.locator("#constraints")).not_to_contain_text("The fleet manager")
    undo.click()
    expect(page.locator("#undo")).to_contain_text("It holds again.")
    expect(says).to_contain_text(f"May use at most 11{NBSP}kW until")

    page.get_by_role("button", name="Withdraw").click()
    expect(undo).to_be_visible()
    expect(undo).to_have_count(0, timeout=UNDONE_WITHIN_MS + 3_000)


def test_a_charging_policy_that_was_ended_is_shown_again_once_that_is_undone(
    page: Page, charging: Cast
):
    sign_in(page, charging.fleet.email)
    page.goto(f"/systems/{charging.lindenweg.pk}/charging-policy")
    page.locator(".mode").first.click()
    page.get_by_role("button", name="Set for all of them").click()
    expect(page.locator("#policies")).to_contain_text("set by you")
    page.get_by_role("button", name="End it").click()
    expect(page.locator("#policies")).not_to_contain_text("set by you")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_contain_text("It holds again.")
    expect(page.locator("#policies")).to_contain_text("set by you")


@pytest.mark.parametrize(("width", "shape"), [(1280, "wide"), (760, "middle"), (390, "narrow")])
def test_no_text_of_a_timeline_sticks_out_of_it(page: Page, charging: Cast, width: int, shape: str):
    page.set_viewport_size({"width": width, "height": 844})
    sign_in(page, charging.fleet.email)
    page.goto(f"/appliances/{charging.evcs.pk}")
    bars = page.locator(f"#bars-{shape}")
    expect(bars).to_be_visible()
    longest = "gemeinsame Grenze · 100.000"
    bars.locator(".name").first.evaluate("(one, text) => one.textContent = text", longest)
    outside = """svg => {
      const { left, right } = svg.getBoundingClientRect();
      return [...svg.querySelectorAll("text")].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.left < left - 1 || box.right > right + 1;
      }).map((text) => text.textContent);
    }"""
    assert bars.evaluate(outside) == []


def test_constraints_of_others_appear_by_themselves(
    page: Page, live_site: LiveSite, charging: Cast
):
    sign_in(page, charging.fleet.email)
    page.goto(f"/appliances/{charging.evcs.pk}")
    lanes = page.locator(".bars.wide .lane")
    expect(lanes).to_have_count(1)
    limits = {charging.evcs.pk: DriverLimits(min_w=4_140, max_w=16_000, pausable=True)}
    live_site.run(set_driver_limits, limits=limits, now=clock.now())
    expect(page.locator("#flexibility .lead")).to_contain_text(f"16{NBSP}kW")
    expect(page.locator("#timeline-summary")).to_contain_text(f"16{NBSP}kW")


def test_without_scripts_it_is_read_set_and_withdrawn(browser, live_site: LiveSite, charging: Cast):
    context = browser.new_context(base_url=live_site.url, java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    sign_in(page, charging.fleet.email)
    page.goto(f"/appliances/{charging.evcs.pk}/constraints/new")
    page.get_by_label("At most", exact=True).fill("11")
    page.get_by_role("button", name="See what it would do").click()
    expect(page.locator("#preview")).to_contain_text("It will be kept to.")
    page.get_by_role("button", name="Set it").click()
    expect(page.locator("#flexibility .lead")).to_contain_text(f"at most 11{NBSP}kW")
    page.get_by_role("button", name="Withdraw").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#flexibility .lead")).to_contain_text(f"at most 11{NBSP}kW")
    context.close()
