"""Fetch, or check, the third-party files below ``static/vendor``.

``static/vendor/manifest.json`` pins each package, its version and licence and, for every file taken
from it, the SHA-256. There is no bundler: files are copied as their makers ship them, and the icons
that the pages use are put together in one sprite. htmx and its WebSocket extension are not here,
because django-htmx ships both.
"""

import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

VENDOR = Path(settings.BASE_DIR) / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"


class Command(BaseCommand):
    help = "Check the files in static/vendor against their manifest, or fetch them anew."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--refresh",
            action="store_true",
            help="fetch every pinned package with npm, copy its files, and write their sums",
        )

    def handle(self, *, refresh: bool, **options: Any) -> None:
        manifest = json.loads(MANIFEST.read_text())
        if refresh:
            for package in manifest["packages"]:
                _refresh(package)
            MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
        wrong = [entry["file"] for entry in _entries(manifest) if _sum(entry) != entry["sha256"]]
        if wrong:
            raise CommandError(f"Not as the manifest says: {', '.join(wrong)}")
        self.stdout.write(f"{sum(1 for _ in _entries(manifest))} vendored files are as pinned.")


def _entries(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for package in manifest["packages"]:
        yield from package["files"]
        if "sprite" in package:
            yield package["sprite"]


def _sum(entry: dict[str, Any]) -> str:
    path = VENDOR / entry["file"]
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def _refresh(package: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = _unpack(f"{package['package']}@{package['version']}", Path(folder))
        for entry in package["files"]:
            target = VENDOR / entry["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / entry["from"]).read_bytes())
            entry["sha256"] = _sum(entry)
        if "sprite" in package:
            sprite = package["sprite"]
            (VENDOR / sprite["file"]).write_text(_sprite(source / "icons", sprite["icons"]))
            sprite["sha256"] = _sum(sprite)


def _unpack(pinned: str, folder: Path) -> Path:
    """npm knows the registry and verifies the archive's integrity; nothing of it is run."""
    subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, pinned],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package"


def _sprite(icons: Path, names: list[str]) -> str:
    """One SVG with a ``<symbol>`` per icon, to be drawn by ``<use href="…#name">``."""
    symbols = []
    for name in names:
        drawing = (icons / "outline" / f"{name}.svg").read_text()
        (inside,) = re.findall(r"<svg[^>]*>(.*)</svg>", drawing, re.DOTALL)
        paths = re.sub(r'\s*<path stroke="none" d="M0 0h24v24H0z" fill="none" ?/>', "", inside)
        compact = re.sub(r"\s*\n\s*", "", paths)
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{compact}</symbol>\n')
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'
