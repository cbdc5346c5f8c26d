"""Becomes the program that it is given, in such a way that it ends with its supervisor.

Run as a script, before the program itself, because the two settings made here belong to the new
process and must be made in this order: changing the user clears the death signal. A `preexec_fn`
would do the same in a fork of a process with threads, which is not safe.

Arguments: the supervisor's pid, the signal on its death, the user and group ids to run as (-1:
unchanged), then the program and its arguments.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(supervisor: int, death_signal: int, user: int, group: int, argv: list[str]) -> None:
    # As if started from a shell: Python ignores broken pipes, and a supervisor that was started in
    # the background ignores SIGINT, which the program would inherit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if user >= 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != supervisor:
            sys.exit("The supervisor ended while this process was starting.")
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the program that the supervisor was told to run
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


if __name__ == "__main__":
    become(*map(int, sys.argv[1:5]), sys.argv[5:])
