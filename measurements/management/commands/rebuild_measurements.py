"""Compute a system's history once more from its readings, while the site runs."""

from time import sleep

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from gridx import clock
from inventory.models import System
from measurements.management.arguments import find_system, read_instant
from measurements.resolutions import Resolution, periods
from measurements.slots import compute_dirty, mark_history, waiting_slots
from measurements.slots.receipts import changes_of, figures_of_days

# How long to wait where a worker of the site has the system in its hands.
_PAUSE_S = 0.2


class Command(BaseCommand):
    help = (
        "Compute the slots, days and months of a system once more from its readings. Slots whose"
        " readings retention has dropped stay as they are, but are summed up again."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("--system", required=True, help="the system's UUID")
        parser.add_argument(
            "--from",
            dest="from_at",
            required=True,
            help="day or instant, in the system's time zone where it has no offset",
        )
        parser.add_argument("--until", dest="until_at", help="the same, not included; default: now")

    def handle(self, *args, **options) -> None:
        system = find_system(options["system"])
        now = clock.now()
        from_at = read_instant(options["from_at"], system)
        until_at = now if options["until_at"] is None else read_instant(options["until_at"], system)
        if from_at >= until_at:
            raise CommandError("There is nothing between these instants.")
        # By what is stored: the site's workers compute what is marked as well.
        spans = periods(from_at, until_at, Resolution.DAY, system.zone)
        days = [(system.key, day) for day in spans]
        before = figures_of_days(days, now=now)
        marked = mark_history(system=system, from_at=from_at, until_at=until_at, now=now)
        self._compute(system, marked.slots, quiet=options["verbosity"] == 0)
        after = figures_of_days(days, now=now)
        changed = sum(bool(changes_of(before[day], after[day])) for day in after)
        self.stdout.write(
            f"{marked.slots - marked.final} slots were computed again; {marked.final} are final, as"
            " their readings are gone, and were only summed up.\n"
            f"Days that were over and have other energies now: {changed}."
        )

    def _compute(self, system: System, marked: int, *, quiet: bool) -> None:
        """Compute what is marked, together with the site's workers."""
        with tqdm(total=marked, unit="slot", disable=quiet, desc=system.name) as bar:
            while left := waiting_slots(system_key=system.key):
                bar.update(max(marked - left - bar.n, 0))
                if not compute_dirty(now=clock.now(), system_key=system.key).claimed:
                    sleep(_PAUSE_S)
            bar.update(marked - bar.n)
