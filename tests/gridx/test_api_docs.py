"""The API's page of documentation, in a real browser under the site's own security policy."""

import shutil

import pytest
from playwright.sync_api import Page, sync_playwright


@pytest.fixture
def page(monkeypatch):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    # Playwright's loop runs in this thread; the tests' own queries are still synchronous.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.mark.browser
@pytest.mark.slow
def test_the_documentation_opens_without_a_foreign_address_or_a_complaint(live_server, page: Page):
    complaints, addresses = [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda problem: complaints.append(str(problem)))
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{live_server.url}/api/docs")
    live = page.locator(".opblock", has_text="/systems/{system_id}/live")
    live.locator(".opblock-summary-control").click()
    live.get_by_text("What flows in a system now.").wait_for()
    assert complaints == []
    assert [url for url in addresses if not url.startswith((live_server.url, "data:"))] == []
