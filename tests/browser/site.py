"""The site as visitors reach it: a real ASGI server on the tests' database."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import uvicorn
from asgiref.sync import async_to_sync
from django.db import connections

from gridx.asgi import application
from measurements.announce import announce

STARTED_WITHIN_S = 20


class Server:
    """uvicorn in a thread: pages, API and sockets as in production; port 0 is a free one."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            application, lifespan="off", log_level="warning", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="live site", daemon=True)
        self._thread.start()
        until = time.monotonic() + STARTED_WITHIN_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("The live site did not start.")
            time.sleep(0.02)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        self._socket.close()


class LiveSite:
    """A running site."""

    def __init__(self) -> None:
        self._server = Server()
        self._threads = ThreadPoolExecutor(1)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def run(self, what: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Do something in a thread of its own: the browser's driver runs an event loop in the
        test's, where neither Django's ORM nor `async_to_sync` may be used."""
        return self._threads.submit(what, *args, **fields).result(timeout=60)

    def announce(self, *system_ids: Any) -> None:
        """Say that these systems have news, as the link does."""
        self.run(async_to_sync(announce), system_ids)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the server for a while; it comes back at the same address."""
        self._server.stop()
        yield
        self._server = Server(self._server.port)

    def close(self) -> None:
        self._server.stop()
        self.run(connections.close_all)
        self._threads.shutdown()
