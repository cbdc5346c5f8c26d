"""Make the demo's world and its history; what `demo` runs before it serves."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor, wait
from datetime import datetime, timedelta
from pathlib import Path

from django.core.management.base import BaseCommand
from django.db import connections
from tqdm import tqdm

from gridx import clock
from gridx.demo.build import build_world, group_stations, is_built
from gridx.demo.history import fill_site
from gridx.demo.world import SITES
from gridx.gateways.simulator.entries import write_entries
from measurements.models import DirtySlot
from measurements.slots import compute_until_clean


class Command(BaseCommand):
    help = "Make the demo's world and fill it with history; does nothing where it is there."

    def add_arguments(self, parser) -> None:
        parser.add_argument("gateways", type=Path, help="the file that says who its gateways are")
        parser.add_argument("--history", type=int, default=730, metavar="DAYS")

    def handle(self, *, gateways: Path, history: int, **options) -> None:
        if is_built() and gateways.exists():
            return
        now = clock.now()
        since = now - timedelta(days=history)
        secrets = build_world(now=now, since=since)
        self.stdout.write(f"Making {history} days of history for {len(SITES)} systems.")
        entries = []
        with tqdm(total=len(SITES) * history * 96, unit=" quarters", desc="history") as bar:
            for site in SITES:
                entries.append(
                    fill_site(
                        site=site,
                        secret=secrets[site.serial],
                        since=since,
                        now=now,
                        progress=bar.update,
                    )
                )
        group_stations(now=now)
        self._compute(now)
        # Gateways of an earlier world would go on from its counters.
        shutil.rmtree(gateways.with_name("state"), ignore_errors=True)
        # Last: whoever finds the file finds the world finished.
        write_entries(gateways, entries)

    def _compute(self, now: datetime) -> None:
        """Compute all slots, on all processors."""
        workers = os.cpu_count() or 1
        dirty = DirtySlot.objects.count()
        connections.close_all()
        with (
            tqdm(total=dirty, unit=" slots", desc="slots") as bar,
            ProcessPoolExecutor(workers) as pool,
        ):
            left = {pool.submit(compute_until_clean, now=now) for _worker in range(workers)}
            while left:
                done, left = wait(left, timeout=2)
                for future in done:
                    future.result()
                bar.update(dirty - DirtySlot.objects.count() - bar.n)
