"""Make weeks of readings ahead, and drop those past retention."""

from django.core.management.base import BaseCommand

from gridx import clock
from measurements.partitions import WEEKS_AHEAD, maintain_partitions


class Command(BaseCommand):
    help = (
        "Make the partitions of readings of the coming weeks and drop those past"
        " GRIDX_RAW_RETENTION_DAYS. Runs every hour by itself where `celery beat` runs."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--ahead", type=int, default=WEEKS_AHEAD, help="weeks to make (default: %(default)s)"
        )

    def handle(self, *args, ahead: int, **options) -> None:
        done = maintain_partitions(now=clock.now(), weeks_ahead=ahead)
        for verb, names in (
            ("made", done.made),
            ("dropped", done.dropped),
            ("kept, still needed", done.kept),
        ):
            for name in names:
                self.stdout.write(f"{verb}: {name}")
        if not (done.made or done.dropped or done.kept):
            self.stdout.write("Nothing to do.")
