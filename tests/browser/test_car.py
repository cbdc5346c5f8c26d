"""My car in a browser: chosen, seen, asked to charge now."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from flexibility.emitters import emitter_of
from flexibility.local import DriverLimits, set_driver_limits
from flexibility.operations import Draft, set_constraints
from gridx import clock
from inventory.kinds import Plug
from measurements.models import LatestReading
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast

NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture
def parked(live_site: LiveSite, cast: Cast) -> Cast:
    """A car is plugged in at Lindenweg 12, and the sun leaves 2.1 kW."""
    now = clock.now()
    limits = DriverLimits(min_w=4_140, max_w=11_000, pausable=True)
    live_site.run(set_driver_limits, limits={cast.evcs.pk: limits}, now=now)
    cast.gateway.contacted_at = now
    cast.gateway.save()
    powers = {cast.grid_meter: -2_100, cast.battery: 0, cast.evcs: 0}
    for appliance, power_w in powers.items():
        LatestReading.objects.create(
            system_key=cast.lindenweg.key,
            appliance_key=appliance.key,
            at=now,
            power_at=now,
            power_w=power_w,
            plug_state=Plug.PLUGGED if appliance == cast.evcs else None,
        )
    return cast


def test_a_resident_chooses_sun_only_then_charges_now_and_sees_who_decides(
    page: Page, live_site: LiveSite, parked: Cast
):
    page.set_viewport_size({"width": 420, "height": 900})
    sign_in(page, parked.mara.email)
    page.locator("#appliances").get_by_role("link", name="Car").click()
    because = page.locator(".because")
    expect(because).to_contain_text("Nobody limits it")
    # What it does is said before the resident says yes.
    page.get_by_text("sun only", exact=True).click()
    pauses = f"Pauses: the sun gives 2.10{NBSP}kW, the car needs 4.14{NBSP}kW."
    expect(page.locator("#car-preview")).to_contain_text(pauses)
    page.get_by_role("button", name="Charge like this").click()
    expect(because).to_contain_text(pauses)
    expect(page.get_by_role("radio", name="sun only")).to_be_checked()
    page.get_by_role("button", name="1 h", exact=True).click()
    expect(because).to_contain_text(f"You asked for full power, 11{NBSP}kW until")
    # A fleet manager limits it meanwhile: the page says so by itself.
    now = clock.now()
    live_site.run(
        set_constraints,
        target=parked.evcs,
        drafts=[Draft(max_w=5_000, invalid_at=now + timedelta(hours=2))],
        emitter=emitter_of(parked.fleet),
        now=now,
    )
    live_site.announce(parked.lindenweg.pk)
    expect(because).to_contain_text(f"The fleet manager allows at most 5{NBSP}kW until")
    page.get_by_role("button", name="Stop").click()
    expect(because).to_contain_text("Pauses")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#car-boost")).to_contain_text("Full power until")
    # What was pushed can be ended as well.
    page.get_by_role("button", name="End it").click()
    expect(page.locator("#undo")).to_contain_text("sun only")
    live_site.announce(parked.lindenweg.pk)
    expect(page.locator(".policies")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_all_of_it_works_without_scripts(browser: Browser, live_site: LiveSite, parked: Cast):
    context = browser.new_context(base_url=live_site.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, parked.mara.email)
    page.goto(f"/cars/{parked.evcs.pk}")
    page.get_by_text("ready by a time", exact=True).click()
    page.get_by_label("So much energy").fill("800")
    page.get_by_role("button", name="See what it would do").click()
    expect(page.locator("#car-preview")).to_contain_text(re.compile("It cannot: .* be missing"))
    page.get_by_label("So much energy").fill("8")
    page.get_by_role("button", name="Charge like this").click()
    expect(page.locator(".policies")).to_contain_text("8 kWh by".replace(" kWh", f"{NBSP}kWh"))
    page.get_by_role("button", name="End it").click()
    expect(page.locator(".policies")).to_have_count(0)
    page.get_by_role("button", name="2 h", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Undo").click()
    context.close()
