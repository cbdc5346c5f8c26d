"""The site in processes of its own on the benchmark's database, and somebody who visits it."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from django.conf import settings
from django.db import connection
from django.test import Client
from playwright.sync_api import Page, sync_playwright

from accounts.models import User
from gridx.services.processes import NotReady, Process, Supervisor
from tests.benchmarks.ground import ROOT
from tests.browser.conftest import CHROMIUMS, FLAGS

LINK = ["manage.py", "run_link"]
SCHEDULER = ["manage.py", "run_scheduler"]
WORKER = ["-m", "celery", "--app", "gridx", "worker", "--concurrency", "2"]
WORKER += ["--without-gossip", "--without-mingle"]
# It remembers nothing: it would put a file of its own in place of whatever it is given.
BEAT = ["-m", "celery", "--app", "gridx", "beat", "--scheduler", "celery.beat:Scheduler"]

_NOTE = """(selector) => {
  window.seen = [];
  let before = "";
  const note = () => {
    const says = document.querySelector(selector)?.textContent ?? "";
    if (says !== before) window.seen.push([Date.now(), says]);
    before = says;
  };
  note();
  new MutationObserver(note).observe(document.body,
    {subtree: true, childList: true, characterData: true});
}"""


@contextmanager
def processes(
    commands: Mapping[str, list[str]], environ: Mapping[str, str] | None = None
) -> Iterator[Supervisor]:
    """Python's arguments by a name each, as long as it lasts; `environ` comes on top."""
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        supervisor.start(*(_process(name, argv, environ) for name, argv in commands.items()))
        yield supervisor


@contextmanager
def website() -> Iterator[str]:
    """The web server, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    argv = ["-m", "uvicorn", "gridx.asgi:application", "--port", str(port)]
    argv += ["--lifespan", "off", "--log-level", "error"]

    def answers() -> None:
        try:
            urlopen(url, timeout=5).close()
        except HTTPError:
            return
        except OSError as problem:
            raise NotReady(str(problem)) from problem

    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        supervisor.start(_process("web", argv, ready=answers))
        yield url


@contextmanager
def visitor(url: str, user: User) -> Iterator[Page]:
    """A page in a real browser, whose session is this user's."""
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    connection.close()
    path = next(filter(None, map(shutil.which, CHROMIUMS)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        context = browser.new_context(base_url=url, locale="en-GB", timezone_id="Europe/Berlin")
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": url}])
        yield context.new_page()
        browser.close()


def note_changes(page: Page, selector: str) -> None:
    """From now on its `window.seen` tells what stands there, and when (ms) it came to do so."""
    page.evaluate(_NOTE, selector)


def _process(
    name: str, argv: list[str], environ: Mapping[str, str] | None = None, **fields
) -> Process:
    at = connection.settings_dict
    address = f"{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"
    environment = {**os.environ, "DATABASE_URL": f"postgresql://{address}", **(environ or {})}
    return Process(name=name, argv=[sys.executable, *argv], env=environment, cwd=ROOT, **fields)
