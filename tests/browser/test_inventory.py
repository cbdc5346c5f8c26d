"""The inventory and the registration of a gateway, as people use them in a browser."""

from playwright.sync_api import Page, expect

from gridx import clock
from inventory.models import Appliance, Gateway, System
from measurements.models import LatestReading
from tests.browser.conftest import sign_in
from tests.cast import Cast


def test_typing_searches_sorting_keeps_the_search_and_back_leads_back(cast: Cast, page: Page):
    for number in range(12):
        System.objects.create(account=cast.meyers, name=f"Ahornweg {number}", city="Bonn")
    sign_in(page, cast.admin.email)
    page.goto(f"/accounts/{cast.operator.pk}/inventory")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(14)
    page.get_by_role("searchbox").fill("linden")
    expect(rows).to_have_count(1)
    assert "q=linden" in page.url
    page.get_by_role("link", name="Place").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Place ↑")
    assert "q=linden" in page.url
    page.get_by_role("link", name="Gateways").click()
    expect(rows).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_have_value("linden")
    page.go_back()
    expect(page.get_by_role("heading", name="Inventory")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Place")).to_be_visible()


def test_on_a_phone_lists_and_commands_are_seen_without_scrolling_sideways(cast: Cast, page: Page):
    page.set_viewport_size({"width": 420, "height": 900})
    garden = System.objects.create(account=cast.meyers, name="Garden", city="Aachen")
    sign_in(page, cast.admin.email)
    sections = ("systems", "gateways", "appliances", "pools")
    for path in (
        "/",
        *(f"/inventory?show={section}" for section in sections),
        f"/systems/{cast.lindenweg.pk}/inventory",
        f"/accounts/{cast.operator.pk}",
        f"/accounts/{cast.operator.pk}/customers",
    ):
        page.goto(path)
        for table in page.locator(".table-wrap").all():
            assert table.evaluate("one => one.scrollWidth <= one.clientWidth"), path
    page.goto(f"/gateways/new?system={garden.pk}")
    page.get_by_label("Serial number").fill("GX-77")
    page.get_by_role("button", name="Register").click()
    assert page.locator("#example").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_a_branch_of_the_tree_opens_and_closes_in_place(cast: Cast, page: Page):
    sign_in(page, cast.admin.email)
    page.goto("/accounts")
    page.get_by_role("link", name="Hide what is below Operator AG").click()
    expect(page.get_by_text("North")).to_have_count(0)
    page.get_by_role("link", name="Show what is below Operator AG").click()
    expect(page.get_by_text("North")).to_be_visible()
    assert page.url.endswith("/accounts")


def test_a_registered_gateways_first_reading_appears_by_itself(cast: Cast, page: Page):
    garden = System.objects.create(account=cast.meyers, name="Garden")
    sign_in(page, cast.installer.email)
    page.goto("/gateways/new")
    page.get_by_role("link", name="Choose Garden").click()
    page.get_by_label("Serial number").fill("GX-77")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_text("shown only now")).to_be_visible()
    expect(page.get_by_role("heading", name="Waiting for the first reading")).to_be_visible()
    meter = Appliance.objects.create(
        system=garden,
        gateway=Gateway.objects.get(serial="GX-77"),
        local_id="grid",
        kind="grid_meter",
        name="Grid meter",
    )
    expect(page.get_by_text("It has found 1 appliance.")).to_be_visible()
    LatestReading.objects.create(
        system_key=garden.key, appliance_key=meter.key, at=clock.now(), power_w=1250
    )
    expect(page.get_by_role("heading", name="It has arrived")).to_be_visible()
    expect(page.locator("#arrivals")).to_contain_text("1.25 kW")
