"""What the browser gets: vendored files as pinned, icons that exist, colours one can read."""

import json
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

STATIC = Path(settings.BASE_DIR) / "static"
TEMPLATES = Path(settings.BASE_DIR) / "templates"
APPS = ("accounts", "inventory", "measurements", "flexibility", "gridx")
STYLES = (STATIC / "gridx.css").read_text()


def icons_of_the_sprite() -> set[str]:
    return set(re.findall(r'id="([\w-]+)"', (STATIC / "vendor/tabler-icons.svg").read_text()))


def test_vendored_files_are_those_of_the_manifest():
    call_command("vendor_assets")
    pinned = {"manifest.json"}
    for package in json.loads((STATIC / "vendor" / "manifest.json").read_text())["packages"]:
        pinned |= {entry["file"] for entry in package["files"]}
        pinned |= {package["sprite"]["file"]} if "sprite" in package else set()
    found = {
        str(path.relative_to(STATIC / "vendor"))
        for path in (STATIC / "vendor").rglob("*")
        if path.is_file()
    }
    assert found == pinned


def test_icons_in_templates_are_in_the_sprite():
    used = {
        name
        for path in TEMPLATES.rglob("*.html")
        for name in re.findall(r'{% icon "([\w-]+)"', path.read_text())
    }
    assert used
    assert used <= icons_of_the_sprite()


def test_icons_in_the_sprite_are_named_somewhere():
    sources = [path for app in APPS for path in (STATIC.parent / app).rglob("*.py")]
    named = {
        name
        for path in [*TEMPLATES.rglob("*.html"), *sources]
        for name in re.findall(r"""["']([a-z][a-z0-9-]*)["']""", path.read_text())
    }
    assert icons_of_the_sprite() <= named


def test_templates_have_neither_inline_styles_nor_inline_scripts():
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", text), path
        assert not re.search(r"<script(?![^>]*(src=|application/json))", text), path


def colours(theme: str) -> dict[str, str]:
    side = 1 if theme == "light" else 2
    pattern = r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)"
    return {found[1]: found[1 + side] for found in re.finditer(pattern, STYLES)}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_on_every_surface(theme: str):
    of = colours(theme)
    for text in ("ink", "soft", "ok", "warn", "bad", "info"):
        for surface in ("bg", "card", "raised", "well"):
            assert contrast(of[text], of[surface]) >= 4.5, (text, surface)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_controls_and_energies_stand_out_from_cards(theme: str):
    of = colours(theme)
    for colour in ("edge", "focus", "sun", "battery", "grid", "house", "car", "heat", "heater"):
        assert contrast(of[colour], of["card"]) >= 3, colour
    for tint in ("battery-in", "feed-in"):  # told by their side of zero as well
        assert contrast(of[tint], of["card"]) >= 2.4, tint
