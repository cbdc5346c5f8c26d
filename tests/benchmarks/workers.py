"""Worker processes at the benchmark's database.

Begun afresh, not forked, so that each has its own connection: until Django is set up in them, they
import nothing but this.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from time import sleep

import django
from django.db import connection

from gridx.garbage import settle


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes, all of them begun and connected."""
    with ProcessPoolExecutor(
        count,
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(connection.settings_dict["NAME"],),
    ) as pool:
        for ready in [pool.submit(_connect) for _worker in range(count)]:
            ready.result()
        yield pool


def _begin(database: str) -> None:
    django.setup()
    settle()  # as Celery's do
    connection.settings_dict["NAME"] = database


def _connect() -> None:
    connection.ensure_connection()
    # As long as the others need to begin, or the first one would answer for all.
    sleep(2)
