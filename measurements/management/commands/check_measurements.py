"""Compare what is stored of a system with the readings that it was made of, day by day."""

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from tqdm import tqdm

from gridx import clock
from inventory.models import Appliance, System
from measurements.amounts import MWH_PER_KWH
from measurements.checks import check_day, last_settled_day
from measurements.management.arguments import find_system, read_instant
from measurements.resolutions import Resolution, Span, periods
from measurements.slots.checking import Comparison, Difference, KeptChanging

# So much is told line by line; beyond that it is only counted.
_TOLD_ROWS = 20
_TOLD_FIGURES = 4


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
        compared, differing, teller = 0, 0, _Teller(self.stderr, system)
        with tqdm(days, unit="day", disable=options["verbosity"] == 0, desc=system.name) as bar:
            for day in bar:
                try:
                    check = check_day(
                        system=system,
                        day=day,
                        now=now,
                        repair=options["repair"],
                        tell=partial(teller.tell, day),
                    )
                except KeptChanging as error:
                    raise CommandError(
                        f"Readings of {day.from_at.isoformat()} kept arriving: try again."
                    ) from error
                compared += bool(check.slots or check.differing)
                differing += bool(check.differing)
        if rest := len(days) - compared:
            self.stdout.write(f"Days without readings to compare with: {rest}.")
        if compared:
            self._conclude(compared, differing, is_repaired=options["repair"])

    def _conclude(self, days: int, differing: int, *, is_repaired: bool) -> None:
        if differing and not is_repaired:
            raise CommandError(f"Days that differ: {differing} of {days}; --repair mends them.")
        end = f"differed and are mended: {differing}" if differing else "all follow from readings"
        self.stdout.write(f"Days compared: {days}; {end}.")


class _Teller:
    """Tells what differs of a system's days, a line for each row and for each figure of a day."""

    def __init__(self, out: OutputWrapper, system: System) -> None:
        self._out = out
        self._zone = system.zone
        self._appliances = dict(Appliance.objects.filter(system=system).values_list("key", "name"))

    def tell(self, day: Span, found: Comparison) -> None:
        differences = found.differences
        self._out.write(
            f"{day.from_at.astimezone(self._zone):%Y-%m-%d}: {found.slots} slots, stored rows that"
            f" differ: {len(differences)}"
        )
        for name, (stored, follows) in found.changes.items():
            self._out.write(f"  {name}: {_kwh(stored)} stored, {_kwh(follows)} from the readings")
        for difference in differences[:_TOLD_ROWS]:
            self._out.write(f"  {self._where(difference)}: {_what(difference)}")
        if len(differences) > _TOLD_ROWS:
            self._out.write(f"  … and {len(differences) - _TOLD_ROWS} more rows")

    def _where(self, difference: Difference) -> str:
        key = difference.appliance_key
        words = [difference.model._meta.verbose_name]
        if key is not None:
            words.append(f"“{self._appliances.get(key, key)}”")
        at = difference.start.astimezone(self._zone)
        return " ".join([*map(str, words), at.isoformat(timespec="minutes")])


def _what(difference: Difference) -> str:
    stored, follows = difference.stored, difference.follows
    if stored is None:
        return "is missing"
    if follows is None:
        return "stored, but nothing of it follows from the readings"
    told = [
        f"{name} {_value(stored[name])} stored, {_value(follows[name])} from the readings"
        for name in list(stored)[:_TOLD_FIGURES]
    ]
    if len(stored) > _TOLD_FIGURES:
        told.append(f"… and {len(stored) - _TOLD_FIGURES} more figures")
    return "; ".join(told)


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    # What counters carry on to later slots, see `measurements.carry`.
    return f"{len(value)} bytes" if isinstance(value, bytes | memoryview) else str(value)


def _kwh(energy_mwh: int | None) -> str:
    return "nothing" if energy_mwh is None else f"{energy_mwh / MWH_PER_KWH:.3f} kWh"
