"""Django's database from asyncio: threads of its own, each with its connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connection,
)

Result = TypeVar("Result")

# The database went away, refuses for now, or is not migrated yet: the same again, later, may well
# succeed. What is left are errors about the data itself.
UNREACHABLE = (OperationalError, InterfaceError, InternalError, ProgrammingError)


class DatabaseThreads:
    """Runs functions that use the ORM; a connection that broke is replaced by the next call."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._executor = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)

    async def run(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call the function in a thread; raises what it raises."""

        def call() -> Result:
            close_old_connections()
            try:
                return function(*args, **kwargs)
            except UNREACHABLE:
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def close(self) -> None:
        """Close the threads' connections; to be called when nothing runs any more."""
        # Each thread knows its own connection only; none takes two of these calls.
        together = Barrier(self._count)

        def close() -> None:
            together.wait(timeout=5)
            connection.close()

        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._executor, close) for _ in range(self._count))
        )
        self._executor.shutdown()
