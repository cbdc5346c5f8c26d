"""Doing things at the same time, each with a connection of its own."""

from collections.abc import Callable
from threading import Barrier, Thread

from django.db import connection, connections


def in_threads(*functions: Callable[[], object]) -> None:
    """Run functions at the same time and wait for all; raises what the first of them did."""
    errors: list[BaseException] = []
    together = Barrier(len(functions))

    def run(function) -> None:
        try:
            together.wait()
            function()
        except BaseException as error:  # told by the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for error in errors:
        raise error
    assert not any(thread.is_alive() for thread in threads), "still at it after a minute"


def until_others_wait(*locktypes: str, within_s: float = 1.0) -> None:
    """Return once a connection waits for another's lock of one of these types, or after so long."""
    for _try in range(round(within_s * 100)):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*), pg_sleep(0.01) FROM pg_locks"
                " WHERE NOT granted AND locktype = ANY(%s)",
                [list(locktypes)],
            )
            (waiting, _slept) = cursor.fetchone()
        if waiting:
            return
