"""Servers that an earlier, killed supervisor has left behind."""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)


def stop_leftovers(
    program: str, directory: Path, stop_signal: signal.Signals, *, within_s: float = 6.0
) -> None:
    """Stop every process of this program that works in this directory.

    Each server works in a directory of its own, and directories are compared as such, not by their
    names, so a stranger's process is never taken for one of ours, be it on the same port, with the
    process id that a lock file names, or in a container that has a directory of the same name.
    psutil compares start times before it sends a signal, so a process id that was given to another
    process in between is safe too. To be called by the holder of the supervisor's lock only.
    """
    leftovers = find_leftovers(program, directory)
    for leftover in leftovers:
        logger.warning("Stopping %s (process %d) of an earlier run.", program, leftover.pid)
        with suppress(psutil.NoSuchProcess):
            leftover.send_signal(stop_signal)
    for leftover in await_end(leftovers, within_s=within_s):
        with suppress(psutil.NoSuchProcess):
            leftover.kill()
    await_end(leftovers, within_s=within_s)


def find_leftovers(program: str, directory: Path) -> list[psutil.Process]:
    if not directory.exists():
        return []
    found = []
    for candidate in psutil.process_iter(["name"]):
        # A process that has ended, or another user's, which hides its directory: not ours.
        with suppress(psutil.Error, OSError):
            if candidate.info["name"] == program and _works_in(candidate, directory):
                found.append(candidate)
    return found


def _works_in(candidate: psutil.Process, directory: Path) -> bool:
    if sys.platform == "linux":
        # Through the link itself, which is right even if the process sees other mounts than we do.
        return os.path.samefile(f"/proc/{candidate.pid}/cwd", directory)
    return os.path.samefile(candidate.cwd(), directory)


def await_end(processes: Sequence[psutil.Process], *, within_s: float) -> list[psutil.Process]:
    """Wait for these to end, be they our children or not; return those that still run.

    Unlike `psutil.wait_procs` it does not wait for others to collect the dead, which in a container
    without an init nobody may do.
    """
    deadline = time.monotonic() + within_s
    while alive := [process for process in processes if _runs(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
