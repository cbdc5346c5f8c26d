"""Child processes that are started, watched, restarted and stopped together."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from gridx.services.leftovers import await_end

logger = logging.getLogger(__name__)

LOG_BYTES = 5_000_000
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15.0
# A process that held out this long starts again with the first pause.
STEADY_S = 60.0
STARTS = 4


class NotReady(Exception):
    """Raised by a readiness check, with the reason."""


class UnableToStart(Exception):
    """A process did not become ready; the message says why and quotes its log."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A program to keep running.

    `env` is the whole environment (None: this process's own). `ready` returns when the program
    serves and raises `NotReady` until then (None: ready at once). `prepare` runs before every
    start, restarts included. `user` is (user id, group id). A process with `restart=False` that
    ends is left ended, and `Supervisor.wait` returns it.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    prepare: Callable[[], None] | None = None
    ready: Callable[[], None] | None = None
    ready_within_s: float = 30.0
    restart: bool = True
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 8.0
    user: tuple[int, int] | None = None


class Supervisor:
    """Starts processes, restarts those that end, and stops them all.

    Every process is a session of its own with its output in `<log_directory>/<name>.log`. It ends
    with this process, however that ends (Linux; elsewhere only by `stop`). Use it in a `with`
    block, which stops everything at its end.
    """

    def __init__(self, log_directory: Path, *, stop_within_s: float = 9.0) -> None:
        self.log_directory = log_directory
        self.stop_within_s = stop_within_s
        self._stages: list[list[_Keeper]] = []
        self._ended = threading.Semaphore(0)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, *processes: Process) -> None:
        """Start these side by side; return when all are ready. Call again for the next stage.

        :raises UnableToStart: when one of them ends several times or is not ready in its time.
        """
        self.log_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        keepers = [_Keeper(process, self.log_directory, self._ended) for process in processes]
        self._stages.append(keepers)
        for keeper in keepers:
            keeper.start()
        for keeper in keepers:
            keeper.settled.wait()
            if keeper.failure is not None:
                raise keeper.failure

    def wait(self) -> Process:
        """Return the first process that ended and is not to be restarted; wait until then."""
        self._ended.acquire()
        return next(keeper.process for keepers in self._stages for keeper in keepers if keeper.done)

    def pids(self) -> dict[str, int]:
        """The process ids of those that run now, by name."""
        return {
            keeper.process.name: keeper.popen.pid
            for keepers in self._stages
            for keeper in keepers
            if keeper.popen is not None and keeper.popen.poll() is None
        }

    def stop(self) -> None:
        """Stop all, the last stage first; kill what is left at the end of its time."""
        deadline = time.monotonic() + self.stop_within_s
        while self._stages:
            keepers = self._stages.pop()
            for keeper in keepers:
                keeper.ask_to_stop()
            asked_at = time.monotonic()
            for keeper in keepers:
                keeper.finish(min(deadline, asked_at + keeper.process.stop_within_s))


class _Keeper(threading.Thread):
    """Keeps one process running.

    It starts the process itself, because the kernel sends the death signal when the *thread* that
    started a process ends; this one ends after its process.
    """

    def __init__(self, process: Process, log_directory: Path, ended: threading.Semaphore) -> None:
        super().__init__(name=f"keeper-{process.name}", daemon=True)
        self.process = process
        self.log_file = log_directory / f"{process.name}.log"
        self.popen: subprocess.Popen | None = None
        self.failure: Exception | None = None
        self.settled = threading.Event()
        self.done = False
        self._ended = ended
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._descendants: list[psutil.Process] = []

    def run(self) -> None:
        try:
            self._keep()
        except Exception as error:
            self.failure = error
            if self.settled.is_set():
                # Else `Supervisor.start` raises it.
                logger.exception("%s: no longer watched.", self.process.name)
        finally:
            if self.popen is not None and self.popen.poll() is None:
                self._kill()
            self.done = True
            self.settled.set()
            self._ended.release()

    def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        starts = 0
        while not self._stopping.is_set():
            starts += 1
            started_at = time.monotonic()
            if self.process.prepare is not None:
                self.process.prepare()
            if not self._spawn():
                return
            reason = self._await_ready()
            if reason is None:
                self.settled.set()
            elif self.settled.is_set():
                logger.error("%s: %s.", self.process.name, reason)
            elif self._is_hopeless(starts):
                raise UnableToStart(self._explain(reason))
            code = self.popen.wait()
            self._kill_group()
            if self._stopping.is_set() or not self.process.restart:
                return
            if time.monotonic() - started_at > STEADY_S:
                pause = FIRST_PAUSE_S
            logger.error(
                "%s ended (%s), restarting in %.1f s. Its log: %s",
                self.process.name,
                _describe(code),
                pause,
                self.log_file,
            )
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _spawn(self) -> bool:
        """Start the process, unless it is to stop already."""
        process = self.process
        with self._lock, _open_log(self.log_file) as log:
            if self._stopping.is_set():
                return False
            self.popen = subprocess.Popen(
                child_command(process.argv, death_signal=process.stop_signal, user=process.user),
                env=process.env,
                cwd=process.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return True

    def _await_ready(self) -> str | None:
        """None when the process is ready, else why it is not."""
        if self.process.ready is None:
            return None
        deadline = time.monotonic() + self.process.ready_within_s
        while True:
            try:
                self.process.ready()
                return None
            except NotReady as error:
                reason = str(error)
            code = self.popen.poll()
            if code is not None:
                return _describe(code)
            if time.monotonic() > deadline or self._stopping.is_set():
                return f"not ready within {self.process.ready_within_s:.0f} s: {reason}"
            self._stopping.wait(0.05)

    def _is_hopeless(self, starts: int) -> bool:
        """Whether a process that was never ready gets no further chance."""
        return not self._stopping.is_set() and (
            self.popen.poll() is None or starts >= STARTS or not self.process.restart
        )

    def _explain(self, reason: str) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()[-15:]
        return "\n  ".join([f"{self.process.name}: {reason}. {self.log_file} ends with:", *lines])

    def ask_to_stop(self) -> None:
        with self._lock:
            self._stopping.set()
            if self.popen is not None and self.popen.poll() is None:
                # Remembered now, because nothing leads to them when their parent is gone.
                with suppress(psutil.NoSuchProcess):
                    self._descendants = psutil.Process(self.popen.pid).children(recursive=True)
                self.popen.send_signal(self.process.stop_signal)

    def finish(self, deadline: float) -> None:
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive() and self.popen is not None:
            logger.error("%s does not stop; it is killed.", self.process.name)
            self._kill()
        self.join()
        for descendant in self._descendants:
            with suppress(psutil.NoSuchProcess):
                descendant.kill()
        await_end(self._descendants, within_s=1.0)

    def _kill(self) -> None:
        if self.popen is not None:
            with suppress(psutil.NoSuchProcess):
                self._descendants += psutil.Process(self.popen.pid).children(recursive=True)
            self._kill_group()
            self.popen.wait()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)


def child_command(
    argv: Sequence[str], *, death_signal: signal.Signals, user: tuple[int, int] | None = None
) -> list[str]:
    """The command line that runs `argv` so that it gets the signal when this thread ends."""
    wrapper = Path(__file__).with_name("child.py")
    settings = map(str, (os.getpid(), int(death_signal), *(user or (-1, -1))))
    return [sys.executable, "-I", "-S", str(wrapper), *settings, *argv]


def _open_log(file: Path):
    """Open a log for appending; a large one is put aside first, in place of the one before."""
    with suppress(FileNotFoundError):
        if file.stat().st_size > LOG_BYTES:
            file.replace(file.with_suffix(".log.1"))
    return open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _describe(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it the first SIGINT or SIGTERM raises KeyboardInterrupt; later ones are ignored.

    So `with` blocks are left in order, and an impatient second Ctrl-C does not break off the
    stopping. For the main thread only.
    """
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupt(number: int, frame: object) -> None:
        for each in signals:
            signal.signal(each, lambda number, frame: None)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
