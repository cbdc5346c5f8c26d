"""Load recorded history from a file into a system."""

import zoneinfo
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from time import monotonic, sleep

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from gridx import clock
from inventory.models import System
from measurements.imports.importing import (
    ImportReport,
    Overtaken,
    UnableToImport,
    import_file,
)
from measurements.imports.layouts import (
    Layout,
    UnableToMap,
    parse_duration,
    parse_mapping,
    parse_new_appliance,
)
from measurements.management.arguments import find_system
from measurements.slots import waiting_slots

_EPILOG = """\
Long files have the columns at, appliance and any of power_w, imported_wh, exported_wh (counters),
soc, energy_wh; or import_energy_wh and export_energy_wh of an interval that begins there and lasts
interval_s seconds, as exported readings have them. UUIDs in appliance_id and system_id, where there
are any, go before the names. Wide ones are taken as they are, with one --map for each column:

  import_readings meter.csv.xz --system UUID --time-column ts_utc --create Meter:grid_meter \\
      --map import_t1_wh=Meter:imported_wh --map import_t2_wh=Meter:imported_wh

Columns are separated by commas, semicolons or tabs; with semicolons, numbers may have a decimal
comma.

Means or energies of intervals, both directions side by side:

  import_readings house.csv --system UUID --interval 15m --time-zone Europe/Berlin \\
      --map in_kw=Meter:imported_w:1000 --map out_kw=Meter:exported_w:1000
"""


class Command(BaseCommand):
    help = "Load recorded readings from CSV (also .gz and .xz) or Parquet into a system."

    def create_parser(self, *args, **options) -> ArgumentParser:
        return super().create_parser(
            *args, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter, **options
        )

    def add_arguments(self, parser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--system", required=True, help="the system's UUID")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="COLUMN=APPLIANCE:QUANTITY[:SCALE]",
            help="what a column is; columns of the same quantity are added",
        )
        parser.add_argument(
            "--create",
            action="append",
            default=[],
            metavar="NAME:KIND",
            help="an appliance to make where the system has none of this name",
        )
        parser.add_argument("--time-column", default="at", help="default: %(default)s")
        parser.add_argument("--time-zone", help="of instants without an offset: Europe/Berlin")
        parser.add_argument("--interval", help="the lines are of intervals: 15m, 1h, 30s")
        parser.add_argument(
            "--label",
            choices=["start", "end"],
            default="start",
            help="what of an interval is named",
        )
        parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out")
        parser.add_argument(
            "--wait", action="store_true", help="until the workers have computed the energies"
        )

    def handle(self, *args, **options) -> None:
        system = find_system(options["system"])
        layout = _read_layout(options)
        quiet = options["verbosity"] == 0
        with tqdm(unit="B", unit_scale=True, disable=quiet, desc=options["file"].name) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                report = import_file(
                    path=options["file"],
                    system=system,
                    layout=layout,
                    now=clock.now(),
                    skip_bad=options["skip_bad"],
                    progress=show,
                )
            except UnableToImport as error:
                if error.report is not None:
                    self._tell_bad_lines(error.report)
                raise CommandError(str(error)) from error
            except Overtaken as error:
                raise CommandError(str(error)) from error
        self._tell_bad_lines(report)
        self._tell(report)
        if options["wait"]:
            _wait_for_energies(system, quiet)

    def _tell_bad_lines(self, report: ImportReport) -> None:
        for bad in report.bad_lines:
            self.stderr.write(f"line {bad.line}: {bad.reason}")
        told = len({bad.line for bad in report.bad_lines})
        if report.bad > told:
            self.stderr.write(f"… and {report.bad - told} more lines.")

    def _tell(self, report: ImportReport) -> None:
        for name in report.created:
            self.stdout.write(f"Made the appliance {name}.")
        self.stdout.write(
            f"{report.lines} lines read, {report.bad} of them refused, {report.silent} empty."
        )
        self.stdout.write(
            f"{report.stored} readings are new or changed, {report.unchanged} were known,"
            f" {report.repeated} are repeated in the file."
        )
        if report.first_at is not None:
            self.stdout.write(
                f"From {report.first_at.isoformat()} to {report.last_at.isoformat()}."
            )


def _read_layout(options: dict) -> Layout:
    try:
        return Layout(
            mappings=tuple(parse_mapping(text) for text in options["map"]),
            time_column=options["time_column"],
            zone=zoneinfo.ZoneInfo(options["time_zone"]) if options["time_zone"] else None,
            interval_s=parse_duration(options["interval"]) if options["interval"] else None,
            label_end=options["label"] == "end",
            create=tuple(parse_new_appliance(text) for text in options["create"]),
        )
    except UnableToMap as error:
        raise CommandError(str(error)) from error
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise CommandError(f"“{options['time_zone']}” is not an IANA time zone.") from error


def _wait_for_energies(system: System, quiet: bool) -> None:
    """Until no slot of the system is left to compute; the workers do that, not this process."""
    left = waiting_slots(system_key=system.key)
    moved_at = monotonic()
    with tqdm(total=left, unit="slot", disable=quiet, desc="Energies") as bar:
        while left:
            sleep(0.5)
            before, left = left, waiting_slots(system_key=system.key)
            if left < before:
                bar.update(before - left)
                moved_at = monotonic()
            elif monotonic() - moved_at > 120:
                raise CommandError(
                    f"{left} slots are still to be computed, and nobody does: is a worker running?"
                )
