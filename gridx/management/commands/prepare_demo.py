"""Make all that the demo serves: tables, static files, its world and history."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from gridx import clock
from gridx.demo.build import build_world, built_since, group_stations
from gridx.demo.history import fill_site
from gridx.demo.world import SITES
from gridx.gateways.simulator.entries import write_entries
from measurements.slots import compute_until_clean, waiting_slots

QUARTER = timedelta(minutes=15)


def _static_is_stale() -> bool:
    """Whether a static file is newer than what was collected."""
    collected = settings.STATIC_ROOT / "staticfiles.json"
    if not collected.exists():
        return True
    files = (path for path in settings.STATICFILES_DIRS[0].rglob("*") if path.is_file())
    return max(path.stat().st_mtime for path in files) > collected.stat().st_mtime


@contextmanager
def _collecting_static() -> Iterator[None]:
    """Collect and compress the static files meanwhile, where they are not current."""
    if not _static_is_stale():
        yield
        return
    arguments = ["collectstatic", "--no-input", "--verbosity", "0"]
    collecting = subprocess.Popen([sys.executable, sys.argv[0], *arguments])
    try:
        yield
        if collecting.wait():
            raise CommandError("collectstatic failed; see above.")
    finally:
        collecting.kill()


class Command(BaseCommand):
    help = "Prepare what `demo` serves; what is there already is left as it is."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser) -> None:
        parser.add_argument("gateways", type=Path, help="the file that says who its gateways are")
        parser.add_argument("--history", type=int, default=730, metavar="DAYS")

    def handle(self, *, gateways: Path, history: int, **options) -> None:
        call_command("migrate", verbosity=0)
        with _collecting_static():
            # The file is written last: where it is, the world is finished.
            if not gateways.exists():
                self._make_world(gateways, history)

    def _make_world(self, gateways: Path, history: int) -> None:
        now = clock.now()
        since = built_since()
        if since is None:
            since = now - timedelta(days=history)
            build_world(since=since)
        # Else somebody broke off: the same appliances live through the same past once more.
        quarters = len(SITES) * (now - since) // QUARTER
        self.stdout.write(f"Making {(now - since).days} days of history for {len(SITES)} systems.")
        with tqdm(total=quarters, unit=" quarters", desc="history") as bar:
            entries = [
                fill_site(site=site, since=since, now=now, progress=bar.update) for site in SITES
            ]
        group_stations(now=now)
        self._compute(now)
        # Gateways of an earlier world would go on from its counters.
        shutil.rmtree(gateways.with_name("state"), ignore_errors=True)
        write_entries(gateways, entries)

    def _compute(self, now: datetime) -> None:
        """Compute all slots, on all processors."""
        workers = os.cpu_count() or 1
        dirty = waiting_slots()
        with (
            tqdm(total=dirty, unit=" slots", desc="slots") as bar,
            # Begun afresh, not forked: a copy of this process would share its connections.
            ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=django.setup
            ) as pool,
        ):
            left = {pool.submit(compute_until_clean, now=now) for _worker in range(workers)}
            while left:
                done, left = wait(left, timeout=2)
                for future in done:
                    future.result()
                bar.update(dirty - waiting_slots() - bar.n)
