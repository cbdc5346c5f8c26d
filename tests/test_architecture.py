"""The layers and the purity of the cores are kept by a machine, and the machine would notice."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = Path(sys.executable).with_name("lint-imports")
APPS = ("accounts", "inventory", "measurements", "flexibility", "gridx")


def lint(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the code, to break without harm."""
    for name in APPS:
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.mo")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_are_kept():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


def test_modules_that_call_themselves_pure_are_held_to_it():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (pure,) = [one for one in contracts["contracts"] if one["name"].startswith("Pure modules")]
    claims = set()
    for path in (path for app in APPS for path in (ROOT / app).rglob("*.py")):
        if re.search(r"\bPure\b", ast.get_docstring(ast.parse(path.read_text())) or ""):
            parts = path.relative_to(ROOT).with_suffix("").parts
            claims.add(".".join(parts).removesuffix(".__init__"))
    assert claims
    assert claims <= set(pure["source_modules"])


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("accounts/access.py", "import inventory.kinds", "Imports run one way"),
        ("inventory/models.py", "import measurements.models", "Imports run one way"),
        ("measurements/models/figures.py", "import gridx.urls", "Imports run one way"),
        ("measurements/energy.py", "import django.db", "Pure modules"),
        ("measurements/flows.py", "from measurements import models", "Pure modules"),
        ("gridx/gateways/messages.py", "import socket", "Pure modules"),
    ],
)
def test_a_forbidden_import_breaks_the_build(copy, module, line, contract):
    path = copy / module
    path.write_text(f"{line}\n{path.read_text()}")
    result = lint(copy)
    assert result.returncode != 0
    assert f"{contract}" in result.stdout
    assert "BROKEN" in result.stdout
