"""A day's figure, followed in a browser to the readings it came from."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Page, expect

from gridx import clock
from inventory.models import Appliance, Cluster
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import SystemDay
from measurements.resolutions import slot_start, to_ms
from measurements.slots import compute_until_clean
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast

MINUTES = 60


@pytest.fixture
def uneven(live_site: LiveSite, cast: Cast) -> Cast:
    """The roof since the day before yesterday, by a counter that is never read at a slot's end."""
    now = clock.now()
    since_ms = to_ms(slot_start(now)) - 2 * 24 * 3_600_000 + 97_000
    at_ms = list(range(since_ms, to_ms(now), 7 * MINUTES * 1000))
    levels, level = [], 4_000.0
    for number, _at in enumerate(at_ms):
        level += 10.0 + number % 13
        levels.append(level)
    store_readings(
        batch=Batch.of(
            system_key=cast.lindenweg.key,
            appliance_key=cast.pv.key,
            at_ms=at_ms,
            exported_wh=levels,
        ),
        now=now,
    )
    compute_until_clean(now=now)
    return cast


def amounts(page: Page, selector: str) -> list[int]:
    found = page.locator(selector).evaluate_all("all => all.map((one) => one.value)")
    return [int(value) for value in found]


def number(text: str) -> float:
    return float(text.replace(",", "").strip())


def follow(page: Page) -> None:
    """From home to the readings of a slot at noon yesterday, adding up on the way."""
    page.locator("#period-previous").click()
    expect(page.locator("#period h2")).to_have_text("Yesterday")
    [tile] = amounts(page, "#tile-produced data")
    page.locator("#tile-produced .figure a").click()

    expect(page.locator("h1")).to_have_text("Solar production")
    slots = amounts(page, "#slots tbody data")
    assert sum(slots) == tile == amounts(page, "#figure data")[0] == amounts(page, "#summed")[0]
    assert SystemDay.objects.filter(pv_mwh=tile).exists()
    page.locator("#slots tbody tr").nth(48).locator("th a").click()

    assert amounts(page, "#figure data") == [slots[48]]
    page.locator("#shares").get_by_role("link", name="Roof").click()

    expect(page.locator("h1")).to_contain_text("Roof")
    [given] = amounts(page, "#stored div:nth-child(2) data")
    assert given == slots[48]
    assert sum(amounts(page, "#readings tbody data")) == given
    assert_follows(page, given)


def assert_follows(page: Page, given_mwh: int) -> None:
    """The slot's energy is what anybody interpolates from the readings in the table."""
    known: list[tuple[int, float]] = []
    bounds: list[int] = []
    for row in page.locator("#readings tbody tr").all():
        hours, minutes, seconds = map(int, row.locator("th").inner_text().split(":"))
        at = 3600 * hours + 60 * minutes + seconds
        if row.get_attribute("data-kind") == "bound":
            bounds.append(at)
        else:
            known.append((at, number(row.locator("td").first.inner_text())))
    assert [row.get_attribute("data-kind") for row in page.locator("#readings tr").all()].count(
        "beyond"
    ) == 2

    def level(at: int) -> float:
        for (before, low), (after, high) in pairwise(known):
            if before <= at <= after:
                return low + (high - low) * (at - before) / (after - before)
        raise AssertionError(f"No readings around {at}")

    begin, end = bounds
    assert level(end) - level(begin) == pytest.approx(given_mwh / 1000, abs=0.0021)


def test_a_figure_is_followed_to_its_readings(page: Page, uneven: Cast):
    sign_in(page, uneven.mara.email)
    follow(page)


@pytest.fixture
def plain(browser: Browser, live_site: LiveSite) -> Iterator[Page]:
    """A page of a browser without scripts."""
    context = browser.new_context(base_url=live_site.url, java_script_enabled=False, locale="en-GB")
    yield context.new_page()
    context.close()


def test_a_figure_is_followed_without_scripts_too(plain: Page, uneven: Cast):
    sign_in(plain, uneven.mara.email)
    follow(plain)


def test_the_pages_fit_a_phone(page: Page, uneven: Cast):
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, uneven.mara.email)
    noon = slot_start(clock.now() - timedelta(days=1)).strftime("%Y%m%dT%H%MZ")
    system = f"/systems/{uneven.lindenweg.pk}"
    for address in (
        f"{system}/figures/pv",
        f"{system}/figures/pv?resolution=week",
        f"{system}/figures/pv/{noon}",
        f"{system}/appliances/{uneven.pv.pk}/energy",
        f"{system}/appliances/{uneven.pv.pk}/readings/{noon}",
    ):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_whose_a_figure_is_needs_no_scrolling_sideways_on_a_phone(page: Page, uneven: Cast):
    page.set_viewport_size({"width": 390, "height": 844})
    garage = Cluster.objects.create(system=uneven.lindenweg, name="Garage")
    Appliance.objects.filter(pk=uneven.pv.pk).update(cluster=garage)
    sign_in(page, uneven.admin.email)
    noon = slot_start(clock.now() - timedelta(days=1)).strftime("%Y%m%dT%H%MZ")
    system = f"/systems/{uneven.lindenweg.pk}"
    for address in (
        f"{system}/figures/pv/{noon}",
        f"{system}/appliances/{uneven.pv.pk}/energy",
        f"/pools/{uneven.pool.pk}/figures/pv",
        f"/clusters/{garage.pk}/figures/pv?resolution=week",
    ):
        page.goto(address)
        tables = page.locator(".table-wrap").all()
        assert tables, address
        for table in tables:
            assert table.evaluate("one => one.scrollWidth <= one.clientWidth"), address
