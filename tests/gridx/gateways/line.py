"""A cable between gateways and their broker, which can be cut and mended."""

import socket
from contextlib import suppress
from threading import Event, Lock, Thread


class Line:
    """Passes on whatever is sent to its `port` of this machine, in both directions, until cut."""

    def __init__(self, host: str, port: int) -> None:
        self._far_end = host, port
        self._mended, self._used, self._lock = Event(), Event(), Lock()
        self._mended.set()
        self._refuses = False
        self._ends: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        Thread(target=self._let_in, daemon=True).start()

    def cut(self, *, silently: bool) -> None:
        """Nothing comes through any more; where it is silent, neither end hears of it."""
        self._mended.clear()
        if not silently:
            self._refuses = True
            self._hang_up()

    def mend(self) -> None:
        """Let all through again, what waited too; returns once the line is in use."""
        self._used.clear()
        self._refuses = False
        self._mended.set()
        if not self._used.wait(60):
            raise TimeoutError("nobody came back over the line")

    def close(self) -> None:
        self._door.close()
        self._mended.set()
        self._hang_up()

    def _let_in(self) -> None:
        # The door's end is an OSError.
        with suppress(OSError):
            while True:
                near, _address = self._door.accept()
                if self._refuses:
                    near.close()
                    continue
                far = socket.create_connection(self._far_end)
                with self._lock:
                    self._ends += [near, far]
                if self._refuses:  # it was cut just now
                    self._hang_up()
                    continue
                for source, target in ((near, far), (far, near)):
                    Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while passed := source.recv(65_536):
                self._mended.wait()
                target.sendall(passed)
                self._used.set()
        for end in (source, target):
            _end(end)

    def _hang_up(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            _end(end)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
