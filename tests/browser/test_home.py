"""Home in a browser: it lives by itself, leads through time, and tells one figure everywhere."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from accounts.models import User
from gridx import clock
from measurements.slots import compute_until_clean
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast
from tests.household import measure, read_now

NBSP = "\N{NO-BREAK SPACE}"
DAY = timedelta(days=1)
# What the socket has to bring within, by the requirement.
WITHIN_MS = 2_000


@pytest.fixture
def measured(live_site: LiveSite, cast: Cast) -> Cast:
    """Lindenweg 12 for the last ten days, until now.

    In the first hours of a day there is little of it to see: then it stands where it is evening.
    """
    now = clock.now()
    if now.astimezone(cast.lindenweg.zone).hour < 3:
        cast.lindenweg.time_zone = "America/New_York"
        cast.lindenweg.save(update_fields=["time_zone"])
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    measure(cast, since=midnight - 10 * DAY, until=now - timedelta(minutes=20), now=now)
    return cast


def says(page: Page, words: str) -> None:
    expect(page.locator("#flow .says")).to_contain_text(words, timeout=WITHIN_MS)


def tile_mwh(page: Page, key: str) -> int:
    return int(page.locator(f"#tile-{key} data").get_attribute("value"))


def test_the_flow_changes_by_itself(page: Page, live_site: LiveSite, measured: Cast):
    sign_in(page, measured.mara.email)
    for watts, words in ((4_490.0, "4.49"), (7_300.0, "7.30"), (1_380.0, "1.38")):
        live_site.run(read_now, measured, at=clock.now(), evcs=watts, pv=-watts, grid=0.0)
        live_site.announce(measured.lindenweg.pk)
        says(page, f"Your car charges at {words}{NBSP}kW")
        expect(page.locator(f"#appliance-{measured.evcs.pk} .now")).to_have_text(
            f"{words}{NBSP}kW", timeout=WITHIN_MS
        )


def test_the_figures_of_today_are_renewed_together(
    page: Page, live_site: LiveSite, measured: Cast, monkeypatch
):
    monkeypatch.setattr("gridx.pages.consumers.CHECK_S", 0.3)
    sign_in(page, measured.mara.email)
    page.wait_for_selector("#history-plot .plot-container")
    before = tile_mwh(page, "used")
    now = clock.now()

    def more() -> None:
        measure(
            measured,
            since=now - timedelta(minutes=15),
            until=now,
            now=now,
            powers_w={"pv": -9_000.0, "grid": 0.0, "battery": 0.0, "evcs": 8_000.0},
        )
        compute_until_clean(now=now)

    page.locator("#history-table summary").click()
    live_site.run(more)
    live_site.announce(measured.lindenweg.pk)
    expect(page.locator("#tile-used data")).not_to_have_attribute("value", str(before))
    assert_one_day_one_figure(page)
    # What was opened stays open, and the address stays.
    expect(page.locator("#history-table")).to_have_attribute("open", "")
    assert page.url.endswith("/")


def test_day_week_month_year_and_back(page: Page, measured: Cast):
    sign_in(page, measured.mara.email)
    heading = page.locator("#period h2")
    expect(heading).to_have_text("Today")
    periods = page.get_by_role("navigation", name="Period")
    titles = []
    for name in ("Week", "Month", "Year", "Day"):
        periods.get_by_role("link", name=name).click()
        expect(periods.get_by_role("link", name=name)).to_have_attribute("aria-current", "true")
        expect(page).to_have_url(re.compile(f"resolution={name.lower()}"))
        page.wait_for_selector("#history-plot .plot-container")
        titles.append(heading.inner_text())
    page.get_by_role("link", name="Earlier").click()
    expect(heading).to_have_text("Yesterday")
    page.get_by_role("link", name="Later").click()
    expect(heading).to_have_text("Today")
    # Through the browser's own history, whole pages each time.
    page.go_back()
    expect(heading).to_have_text("Yesterday")
    page.go_back()
    expect(heading).to_have_text(titles[3])
    page.go_back()
    expect(heading).to_have_text(titles[2])
    expect(page.locator("h1")).to_have_text("Lindenweg 12")
    page.go_forward()
    expect(heading).to_have_text(titles[3])
    page.reload()
    expect(heading).to_have_text(titles[3])


def test_a_date_is_enough_to_go_there(page: Page, measured: Cast):
    sign_in(page, measured.mara.email)
    day = (clock.now() - 3 * DAY).date()
    page.locator("#period-date").fill(day.isoformat())
    expect(page).to_have_url(re.compile(f"resolution=day&date={day.isoformat()}"))
    expect(page.locator("#period h2")).to_contain_text(f"{day:%A}")


def assert_one_day_one_figure(page: Page) -> int:
    """The same in tile, chart (its figure) and table; returns what was used, in mWh."""
    used = tile_mwh(page, "used")
    figure = json.loads(page.locator("#history-figure").text_content())
    origins = ("pv_to_load", "battery_to_load", "grid_to_load")
    drawn = sum(
        sum(value or 0 for value in trace["y"]) / 4
        for trace in figure["data"]
        if trace["name"] in origins
    )
    assert drawn == pytest.approx(used / 1e6, rel=0.01)  # three digits are drawn
    table = page.locator("#history-table table")
    column = table.locator("thead th").all_text_contents().index("used, kWh")
    foot = table.locator("tfoot td").nth(column - 1).locator("data")
    assert int(foot.get_attribute("value")) == used
    cells = table.locator("tbody td[data-series=consumption]").all_text_contents()
    assert sum(float(cell) for cell in cells if cell != "–") == pytest.approx(used / 1e6, abs=1)
    return used


def test_one_day_has_one_figure_in_tile_chart_table_and_api(page: Page, measured: Cast):
    sign_in(page, measured.mara.email)
    page.get_by_role("link", name="Earlier").click()
    expect(page.locator("#period h2")).to_have_text("Yesterday")
    used = assert_one_day_one_figure(page)
    zone = measured.lindenweg.zone
    today = datetime.now(UTC).astimezone(zone).date()
    start, end = (
        datetime(day.year, day.month, day.day, tzinfo=zone).isoformat()
        for day in (today - DAY, today)
    )
    answer = page.request.get(
        f"/api/systems/{measured.lindenweg.pk}/historical",
        params={"interval": f"{start}/{end}", "resolution": "1d"},
    ).json()
    assert answer["total"]["totalConsumption"] * 1000 == used == 12_000_000
    assert answer["total"]["photovoltaic"] * 1000 == tile_mwh(page, "produced")


def is_of_the_socket(said: ConsoleMessage) -> bool:
    """Whether the browser says that it could not reach the socket."""
    return "WebSocket" in said.text


def test_a_server_that_restarts_is_found_again_and_what_was_missed_is_shown(
    page: Page, problems: list[str], live_site: LiveSite, measured: Cast
):
    sign_in(page, measured.mara.email)
    live_site.run(read_now, measured, at=clock.now(), evcs=3_300.0)
    live_site.announce(measured.lindenweg.pk)
    says(page, f"3.30{NBSP}kW")
    with live_site.stopped(), page.expect_event("console", is_of_the_socket):
        live_site.run(read_now, measured, at=clock.now(), evcs=5_500.0)
    expect(page.locator("#flow .says")).to_contain_text(f"5.50{NBSP}kW", timeout=20_000)
    # The browser complains about what it could not reach, and htmx writes the error's event down.
    assert all("WebSocket" in problem or problem == "[object Event]" for problem in problems)
    problems.clear()


def test_who_is_deactivated_is_led_to_the_sign_in(page: Page, live_site: LiveSite, measured: Cast):
    sign_in(page, measured.mara.email)
    live_site.run(read_now, measured, at=clock.now(), evcs=3_300.0)
    live_site.announce(measured.lindenweg.pk)
    says(page, f"3.30{NBSP}kW")
    live_site.run(User.objects.filter(pk=measured.mara.pk).update, is_active=False)
    live_site.announce(measured.lindenweg.pk)
    page.wait_for_url("**/sign-in**")


def test_the_page_is_whole_without_scripts(browser, live_site: LiveSite, measured: Cast):
    context = browser.new_context(base_url=live_site.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, measured.mara.email)
    expect(page.locator("#flow svg.wide")).to_be_visible()
    expect(page.locator("#history-table tbody tr").first).to_be_visible()
    page.get_by_role("link", name="Week").click()
    expect(page.locator("#period h2")).to_contain_text("Week")
    page.get_by_label("Go to the day").fill((clock.now() - DAY).date().isoformat())
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#period h2")).to_contain_text("Week")
    context.close()


@pytest.mark.parametrize("width", [1360, 820, 420])
def test_nothing_moves_and_nothing_is_cut_off(page: Page, measured: Cast, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    page.add_init_script("""
        window.shift = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) {
                if (!entry.hadRecentInput) window.shift += entry.value;
            }
        }).observe({type: "layout-shift", buffered: true});
    """)
    sign_in(page, measured.mara.email)
    page.wait_for_selector("#history-plot .plot-container")
    page.wait_for_timeout(500)
    assert page.evaluate("window.shift") < 0.02
    page.locator("#history-table summary").click()
    page.locator("details.account summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
