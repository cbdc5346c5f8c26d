"""Check that every text for people is translated, and that the compiled catalogues are current."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import polib
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import templatize

TEMPLATES = (".html", ".txt")
# What Django's makemessages looks for beside the names that xgettext knows for Python.
KEYWORDS = (
    "gettext_noop",
    "gettext_lazy",
    "ngettext_lazy:1,2",
    "pgettext:1c,2",
    "npgettext:1c,2,3",
    "pgettext_lazy:1c,2",
    "npgettext_lazy:1c,2,3",
)


class Command(BaseCommand):
    help = "Fail where a text lacks a translation; --write renews the catalogues instead."
    requires_system_checks = []

    def add_arguments(self, parser) -> None:
        parser.add_argument("--write", action="store_true", help="collect texts, compile")

    def handle(self, *, write: bool, **options) -> None:
        if shutil.which("xgettext") is None:
            raise CommandError("GNU gettext is needed: on Debian, apt-get install gettext.")
        texts = collect_texts()
        problems = []
        for language, _name in settings.LANGUAGES:
            if language == settings.LANGUAGE_CODE:
                continue
            folder = Path(settings.LOCALE_PATHS[0]) / language / "LC_MESSAGES"
            if write:
                renew_catalogue(folder, texts)
            problems += [f"{language}: {problem}" for problem in problems_of(folder, texts)]
        if problems:
            raise CommandError("\n".join(problems))
        self.stdout.write("Every text is translated.")


def collect_texts() -> polib.POFile:
    """The texts of the project's own apps and templates, without translations.

    Django's makemessages is not used since it works inside the source tree and walks through
    everything there, installed packages too. Raises CommandError where xgettext fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = [_put_source(path, Path(folder)) for path in _sources()]
        made = subprocess.run(
            [
                "xgettext",
                "--language=Python",
                "--from-code=UTF-8",
                "--add-comments=Translators",
                "--add-location=file",
                "--no-wrap",
                "--files-from=-",
                "--output=-",
                *(f"--keyword={keyword}" for keyword in KEYWORDS),
            ],
            cwd=folder,
            input="\n".join(names),
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode:
        raise CommandError(made.stderr)
    return polib.pofile(made.stdout)


def renew_catalogue(folder: Path, texts: polib.POFile) -> None:
    """Write django.po with exactly these texts and the translations it has, and django.mo.

    The header stays as it is: no dates, so that a catalogue changes only where its texts do.
    """
    kept = polib.pofile(str(folder / "django.po"))
    known = {_key(entry): entry for entry in kept if not entry.obsolete}
    renewed = polib.POFile(wrapwidth=0)
    renewed.header, renewed.metadata = kept.header, kept.metadata
    for text in texts:
        entry = polib.POEntry()
        entry.merge(text)
        translated = known.get(_key(text))
        if translated is not None:
            entry.msgstr, entry.msgstr_plural = translated.msgstr, translated.msgstr_plural
        renewed.append(entry)
    renewed.save(str(folder / "django.po"))
    renewed.save_as_mofile(str(folder / "django.mo"))


def problems_of(folder: Path, texts: polib.POFile) -> list[str]:
    """What is wrong with the catalogue in a folder, of which nothing is changed."""
    catalogue, compiled = folder / "django.po", folder / "django.mo"
    if not catalogue.exists():
        return [f"{catalogue} does not exist"]
    kept = polib.pofile(str(catalogue))
    translated = {_key(entry) for entry in kept if entry.translated()}
    found = [
        f"not translated: {text.msgid!r} ({', '.join(path for path, _line in text.occurrences)})"
        for text in texts
        if _key(text) not in translated
    ]
    # Placeholders: a text that lacks one, or has another, fails when it is shown.
    checked = subprocess.run(
        ["msgfmt", "--check-format", "--output-file=/dev/null", str(catalogue)],
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        found.append(checked.stderr.strip())
    if not compiled.exists() or compiled.read_bytes() != kept.to_binary():
        found.append("django.mo is not current; run check_translations --write")
    return found


def _sources() -> list[Path]:
    """The files with texts, relative to the project."""
    base = Path(settings.BASE_DIR)
    folders = {Path(config.path) for config in apps.get_app_configs()}
    folders |= {Path(folder) for engine in settings.TEMPLATES for folder in engine["DIRS"]}
    own = [folder for folder in folders if folder.parent == base]
    return sorted(
        path.relative_to(base)
        for folder in own
        for path in folder.rglob("*")
        if path.suffix == ".py" or (path.suffix in TEMPLATES and "templates" in path.parts)
    )


def _put_source(path: Path, folder: Path) -> str:
    """Put a file, a template as Python, where xgettext reads it; its name below the folder."""
    text = (Path(settings.BASE_DIR) / path).read_text(encoding="utf-8")
    copy = folder / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(templatize(text) if path.suffix in TEMPLATES else text, encoding="utf-8")
    return str(path)


def _key(entry: polib.POEntry) -> tuple[str | None, str, str]:
    return entry.msgctxt, entry.msgid, entry.msgid_plural
