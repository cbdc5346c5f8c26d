"""Check that every text for people is translated, and that the compiled catalogues are current."""

import shutil
import tempfile
from pathlib import Path

import polib
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Fail where a text lacks a translation; --write renews the catalogues instead."
    requires_system_checks = []

    def add_arguments(self, parser) -> None:
        parser.add_argument("--write", action="store_true", help="collect texts, compile")

    def handle(self, *, write: bool, **options) -> None:
        if shutil.which("xgettext") is None:
            raise CommandError("GNU gettext is needed: on Debian, apt-get install gettext.")
        problems = []
        for language, _name in settings.LANGUAGES:
            if language == settings.LANGUAGE_CODE:
                continue
            folder = settings.LOCALE_PATHS[0] / language / "LC_MESSAGES"
            if write:
                _collect(language)
                catalogue = polib.pofile(str(folder / "django.po"))
                catalogue.save_as_mofile(str(folder / "django.mo"))
            problems += self._problems(language, folder)
        if problems:
            raise CommandError("\n".join(problems))
        self.stdout.write("Every text is translated.")

    def _problems(self, language: str, folder: Path) -> list[str]:
        kept = polib.pofile(str(folder / "django.po"))
        compiled = polib.mofile(str(folder / "django.mo"))
        with tempfile.TemporaryDirectory() as copy:
            current = _collect_into(language, folder / "django.po", Path(copy))
        known = {_key(entry): entry for entry in kept if not entry.obsolete}
        found = [
            f"{language}: not translated: {entry.msgid!r} ({entry.occurrences[:1]})"
            for entry in current
            if not entry.obsolete
            and (_key(entry) not in known or not known[_key(entry)].translated())
        ]
        if {_key(entry): _texts(entry) for entry in compiled} != {
            key: _texts(entry) for key, entry in known.items() if entry.translated()
        }:
            found.append(f"{language}: django.mo is not current; run check_translations --write")
        return found


def _key(entry: polib._BaseEntry) -> tuple:
    return entry.msgctxt, entry.msgid, entry.msgid_plural


def _texts(entry: polib._BaseEntry) -> tuple:
    return entry.msgstr, tuple(sorted(entry.msgstr_plural.items()))


def _collect(language: str) -> None:
    call_command(
        "makemessages",
        locale=[language],
        no_wrap=True,
        no_location=False,
        add_location="file",
        ignore_patterns=[".venv/*", "tests/*", "static/vendor/*", "build/*"],
        no_obsolete=True,
        verbosity=0,
    )


def _collect_into(language: str, kept: Path, folder: Path) -> polib.POFile:
    """The texts of the code as it is now, without touching the kept catalogue."""
    saved = kept.read_bytes()
    try:
        _collect(language)
        copy = folder / "django.po"
        shutil.copy(kept, copy)
    finally:
        kept.write_bytes(saved)
    return polib.pofile(str(copy))
