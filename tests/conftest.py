import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from django.test import override_settings
from django.utils import translation

from measurements import partitions
from tests.cast import Cast, make_cast

# Machines of continuous integration are slow and busy: a slow example is no failure.
hypothesis.settings.register_profile(
    "gridx", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("gridx")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


# Their tests are quick, each by itself; together they would take most of the quick tests' minute.
LONG = {
    "tests/test_admin.py",
    "tests/test_matrix.py",
    "tests/flexibility/test_allotment.py",
    "tests/flexibility/test_api.py",
    "tests/flexibility/groups/test_api.py",
    "tests/flexibility/limits/test_limits.py",
    "tests/gridx/test_api.py",
    "tests/gridx/gateways/test_dispatch.py",
    "tests/gridx/pages/test_appliance.py",
    "tests/gridx/pages/test_car.py",
    "tests/gridx/pages/test_consumers.py",
    "tests/gridx/pages/test_home.py",
    "tests/gridx/services/test_processes.py",
    "tests/inventory/test_pages.py",
    "tests/measurements/test_export.py",
    "tests/measurements/test_importing.py",
    "tests/measurements/test_queries.py",
    "tests/measurements/test_slots_workers.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(item.config.rootpath).as_posix() in LONG:
            item.add_marker(pytest.mark.slow)


class QuickHasher(PBKDF2PasswordHasher):
    """The real algorithm, without the time that it takes on purpose."""

    iterations = 1


@pytest.fixture(autouse=True, scope="session")
def quick_passwords():
    with override_settings(PASSWORD_HASHERS=["tests.conftest.QuickHasher"]):
        yield


@pytest.fixture(autouse=True, scope="session")
def weeks_within_a_test():
    """A test that is one transaction makes its weeks in it: others would outlive it, or wait."""
    make_apart = partitions.make_weeks_apart

    def make(*, weeks: Iterable[int]) -> None:
        blocks = connection.atomic_blocks
        is_within = bool(blocks) and blocks[0]._from_testcase
        (partitions.make_weeks if is_within else make_apart)(weeks=weeks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "make_weeks_apart", make)
        yield


@pytest.fixture(autouse=True)
def default_language():
    """Each begins in the default one: a request's language stays with the thread."""
    translation.deactivate()


@pytest.fixture
def cast(db) -> Cast:
    """Everybody and everything of `tests.cast`."""
    return make_cast()


@pytest.fixture
def now() -> datetime:
    """The instant at which the tests' stories happen: noon of a summer's day in Germany."""
    return datetime(2026, 6, 15, 10, 0, tzinfo=UTC)


@pytest.fixture
def uploads(settings, tmp_path: Path) -> Path:
    """Where uploaded readings are kept during a test: a folder of its own, empty at first."""
    folder = tmp_path / "uploads"
    options = settings.STORAGES["recordings"]["OPTIONS"] | {"location": folder}
    recordings = settings.STORAGES["recordings"] | {"OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"recordings": recordings}
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded data; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the recorded data is not beside this checkout")
    return folder


@pytest.fixture
def child_environment(db) -> dict[str, str]:
    """The environment of processes that are to work on the tests' database."""
    at = connection.settings_dict
    return {
        **os.environ,
        "DATABASE_URL": (
            f"postgresql://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"
        ),
    }
