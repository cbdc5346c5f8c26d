"""A file of readings brought to a system, clicked through from its inventory to the result."""

import pytest
from playwright.sync_api import Page, expect

from gridx import clock
from measurements.imports.operations import work_due
from measurements.models import Reading
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast

FILE = "when;house_kw\n2020-05-01 10:00;1.5\n2020-05-01 10:01;much\n2020-05-01 10:02;1.7\n"


def work() -> None:
    """What a worker does."""
    while work_due(now=clock.now()):
        pass


@pytest.mark.usefixtures("uploads")
def test_a_file_is_chosen_said_what_it_means_and_read(page: Page, live_site: LiveSite, cast: Cast):
    sign_in(page, cast.installer.email)
    page.goto(f"/systems/{cast.lindenweg.pk}/inventory")
    page.get_by_role("link", name="Import readings").click()
    content = FILE.encode()
    page.get_by_label("File").set_input_files(
        {"name": "house.csv", "mimeType": "text/csv", "buffer": content}
    )
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("cell", name="2020-05-01 10:02")).to_be_visible()
    column = page.get_by_role("group", name="house_kw")
    expect(column.get_by_label("Quantity")).to_be_hidden()
    column.get_by_label("Appliance").select_option("a new one …")
    column.get_by_label("Name").fill("Barn")
    column.get_by_label("Kind").select_option("Household meter")
    column.get_by_label("Quantity").select_option("power_w")
    column.get_by_label("Multiplied by").fill("1000")
    expect(page.get_by_label("Its time is that of")).to_be_hidden()
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#import-title")).to_have_text("Waits for its turn")
    live_site.run(work)
    # Without a reload.
    expect(page.locator("#import-title")).to_have_text("Nothing was stored")
    expect(page.get_by_text("“much” is not a number")).to_be_visible()
    page.get_by_role("link", name="Say again what the columns mean").click()
    expect(page.get_by_role("group", name="house_kw").get_by_label("Name")).to_have_value("Barn")
    page.get_by_label("Leave bad lines out").check()
    page.get_by_role("button", name="Begin").click()
    live_site.run(work)
    expect(page.locator("#import-title")).to_have_text("Done, without the bad lines")
    expect(page.get_by_text("Barn")).to_be_visible()
    assert live_site.run(Reading.objects.count) == 2
    page.get_by_role("link", name="Imports").click()
    expect(page.get_by_role("link", name="house.csv")).to_be_visible()
