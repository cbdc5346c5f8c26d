"""Starts the real servers before Django reads its settings, in a data folder of the tests' own."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("GRIDX_DATA_DIR", str(Path(__file__).resolve().parent.parent / ".gridx-test"))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    from gridx import services

    servers = services.running()
    at = servers.__enter__()
    early_config.add_cleanup(lambda: servers.__exit__(None, None, None))
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # Tests that run side by side share the servers, but neither tables nor caches.
        number = int(worker.removeprefix("gw")) + 1
        os.environ["VALKEY_URL"] = f"{at.valkey_url.rpartition('/')[0]}/{number}"
