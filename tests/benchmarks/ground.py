"""Where benchmarks run: the embedded servers, in a data directory and a database of their own."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def benchmark_ground() -> Iterator[None]:
    """Servers, Django, and an empty migrated database, which goes at the end."""
    os.environ.setdefault("GRIDX_DATA_DIR", str(ROOT / ".gridx-benchmark"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gridx.settings")
    from gridx import services

    with services.running():
        import django
        from django.db import connection

        django.setup()
        name = connection.settings_dict["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)


def server_settings() -> dict[str, str]:
    """What of the database server's settings decides its speed."""
    from django.db import connection

    names = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers"]
    with connection.cursor() as cursor:
        shown = {}
        for setting in names:
            cursor.execute(f"SHOW {setting}")
            (shown[setting],) = cursor.fetchone()
    return shown


def syncs_per_s(seconds: float) -> int:
    """How often a second the disk of the data directory takes a small write and syncs it."""
    count, until = 0, time.monotonic() + seconds
    with tempfile.TemporaryFile(dir=os.environ["GRIDX_DATA_DIR"], buffering=0) as file:
        while time.monotonic() < until:
            file.write(bytes(4096))
            os.fsync(file.fileno())
            count += 1
    return round(count / seconds)
