"""Many appliances at once: ticked in the list, set every week, watched while workers do it."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from flexibility.bulk.operations import work_due
from gridx import clock
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast


def work() -> None:
    """What a worker does."""
    while work_due(now=clock.now()):
        pass


def choose_all(page: Page, cast: Cast) -> None:
    sign_in(page, cast.fleet.email)
    page.goto("/inventory?show=appliances")
    page.get_by_label("Tick all on this page").check()
    expect(page.locator("input[name=appliance]:checked")).to_have_count(3)
    page.locator(".choose").get_by_role("button", name="Set a constraint").first.click()
    expect(page.get_by_text("for each of 3 appliances")).to_be_visible()


def watch(page: Page, run: Callable) -> None:
    page.get_by_role("button", name="Set for all of them").click()
    progress = page.get_by_role("progressbar")
    run(work)
    expect(page.locator("#bulk-title")).to_have_text("Done")
    expect(progress).to_have_attribute("value", "3")


def test_one_constraint_for_many_is_watched_as_it_arrives_and_withdrawn(
    page: Page, live_site: LiveSite, cast: Cast
):
    choose_all(page, cast)
    page.get_by_label("At most", exact=True).press_sequentially("4")
    expect(page.locator("#preview")).to_contain_text("3 of 3 appliances can follow.")
    watch(page, live_site.run)
    expect(page.locator("nav.delivery")).to_contain_text("1 pending")
    page.get_by_role("button", name="Withdraw all of it").click()
    live_site.run(work)
    expect(page.get_by_role("heading", name="Constraints withdrawn")).to_be_visible()
    expect(page.locator("#bulk-title")).to_have_text("Done")


def test_every_week_for_many(page: Page, live_site: LiveSite, cast: Cast):
    choose_all(page, cast)
    expect(page.get_by_label("First day")).to_be_hidden()
    page.get_by_text("every week", exact=True).click()
    expect(page.get_by_label("First day")).to_be_visible()
    page.get_by_label("At most", exact=True).press_sequentially("4")
    expect(page.locator("#preview .again")).to_contain_text("every Mon–Fri, 17:00–20:00")
    watch(page, live_site.run)
    page.goto(f"/appliances/{cast.evcs.pk}")
    expect(page.locator("#constraints")).to_contain_text("every Mon–Fri, 17:00–20:00, until")
    page.get_by_role("button", name="Withdraw all of them").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_contain_text("It holds again.")
