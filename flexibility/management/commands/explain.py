"""Why: `python manage.py explain --case FILE`."""

import json
import sys
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from flexibility.cases import UnreadableCase, resolved_case, timeline_of_case


class Command(BaseCommand):
    help = "Say, as JSON, what remains of constraints and what became of each. Needs no database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--case", required=True, metavar="FILE", help="one case or a list; - is standard input"
        )
        parser.add_argument(
            "--timeline", action="store_true", help="a case's segments from `from` to `until`"
        )

    def handle(self, *, case: str, **options) -> None:
        cases = _load(case)
        try:
            if not options["timeline"]:
                found = [resolved_case(one) for one in cases]
            elif len(cases) == 1:
                found = timeline_of_case(cases[0])
            else:
                raise CommandError(f"--timeline takes one case; {case} holds {len(cases)}.")
        except UnreadableCase as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(found, indent=2, ensure_ascii=False))


def _load(case: str) -> list:
    try:
        text = sys.stdin.read() if case == "-" else Path(case).read_text(encoding="utf-8")
        loaded = json.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CommandError(f"{case}: {error}") from error
    return loaded if isinstance(loaded, list) else [loaded]
