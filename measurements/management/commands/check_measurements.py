"""Compare what is stored of a system with the readings that it was made of, day by day."""

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from gridx import clock
from inventory.models import System
from measurements.checks import check_day, last_settled_day
from measurements.management.arguments import find_system, read_instant
from measurements.models import DayCheck
from measurements.resolutions import Resolution, periods
from measurements.slots.checking import KeptChanging


class Command(BaseCommand):
    help = (
        "Compute the days of a system once more from their readings and compare them with what is"
        " stored, which stays as it is without --repair. Fails where something differs."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("--system", required=True, help="the system's UUID")
        parser.add_argument(
            "--from",
            dest="from_at",
            help="day or instant, in the system's time zone where it has no offset;"
            " default: yesterday",
        )
        parser.add_argument("--until", dest="until_at", help="the same, not included; default: now")
        parser.add_argument(
            "--repair", action="store_true", help="store what follows from the readings"
        )

    def handle(self, *args, **options) -> None:
        system, now = find_system(options["system"]), clock.now()
        last = last_settled_day(now, system.zone)
        from_at, until_at = last
        if options["from_at"] is not None:
            from_at = read_instant(options["from_at"], system)
        if options["until_at"] is not None:
            until_at = min(until_at, read_instant(options["until_at"], system))
        days = periods(from_at, until_at, Resolution.DAY, system.zone)
        if not days:
            raise CommandError("No day between these instants is over.")
        differing = 0
        with tqdm(days, unit="day", disable=options["verbosity"] == 0, desc=system.name) as bar:
            for day in bar:
                try:
                    check = check_day(system=system, day=day, now=now, repair=options["repair"])
                except KeptChanging as error:
                    raise CommandError(
                        f"Readings of {day.from_at.isoformat()} kept arriving: try again."
                    ) from error
                if check.differing:
                    differing += 1
                    self._tell(check, system)
        self._conclude(len(days), differing, is_repaired=options["repair"])

    def _tell(self, check: DayCheck, system: System) -> None:
        day = f"{check.start.astimezone(system.zone):%Y-%m-%d}"
        self.stderr.write(f"{day}: {check.slots} slots, stored rows that differ: {check.differing}")
        for name, (stored, follows) in check.changes.items():
            self.stderr.write(f"  {name}: {_kwh(stored)} stored, {_kwh(follows)} from the readings")

    def _conclude(self, days: int, differing: int, *, is_repaired: bool) -> None:
        if differing and not is_repaired:
            raise CommandError(f"Days that differ: {differing} of {days}; --repair mends them.")
        end = f"differed and are mended: {differing}" if differing else "all follow from readings"
        self.stdout.write(f"Days compared: {days}; {end}.")


def _kwh(energy_mwh: int | None) -> str:
    return "nothing" if energy_mwh is None else f"{energy_mwh / 1_000_000:.3f} kWh"
