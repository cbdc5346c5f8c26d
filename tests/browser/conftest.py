"""A browser and a site to visit. `live_site` is for others as well."""

import shutil
from collections.abc import Iterator

import pytest
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.site import LiveSite
from tests.cast import PASSWORD

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. It ends with each module: as long as it runs, its driver's event loop is
    in the way of tests that are coroutines."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(CHROMIUMS)} (apt-get install chromium)")
    with sync_playwright() as driver, pytest.MonkeyPatch.context() as patch:
        # The driver's event loop runs in the tests' thread, where fixtures use the database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        found = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def live_site(transactional_db, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveSite]:
    """A running site on the tests' database."""
    # Every request runs in a thread of its own, which must leave no connection behind.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    site = LiveSite()
    yield site
    site.close()


@pytest.fixture
def context(browser: Browser, live_site: LiveSite) -> Iterator[BrowserContext]:
    """A fresh visitor on a desktop in Germany, who reads English."""
    found = browser.new_context(
        base_url=live_site.url,
        viewport={"width": 1360, "height": 1000},
        locale="en-GB",
        timezone_id="Europe/Berlin",
    )
    found.set_default_timeout(10_000)
    yield found
    found.close()


@pytest.fixture
def problems() -> list[str]:
    """What the page's console said of errors and warnings."""
    return []


@pytest.fixture
def page(context: BrowserContext, problems: list[str]) -> Iterator[Page]:
    """A page whose problems fail the test."""
    found = context.new_page()
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on(
        "console",
        lambda said: problems.append(said.text) if said.type in ("error", "warning") else None,
    )
    yield found
    assert problems == []


def sign_in(page: Page, email: str) -> None:
    """Through the form, as people do."""
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
