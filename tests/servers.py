"""Starts the real servers before Django reads its settings, in a data folder of the tests' own."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("GRIDX_DATA_DIR", str(Path(__file__).resolve().parent.parent / ".gridx-test"))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    from gridx import services

    servers = services.running()
    servers.__enter__()
    early_config.add_cleanup(lambda: servers.__exit__(None, None, None))
