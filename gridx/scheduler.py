"""Acts on instants as they pass: boundaries within a second, schedules as soon as they are saved.

Any number of schedulers may run; an advisory lock lets one work at a time, and another takes over
when its connection ends. It sleeps until the nearest boundary, wakes when the database says that
something changed, and looks every few seconds besides: a hint that gets lost costs no more.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event

import psycopg
from django.db import connection
from kombu.exceptions import OperationalError as BrokerUnreachable

from accounts import outbox
from flexibility.limits.balancing import due_limits
from flexibility.policies.asking import due_policies
from flexibility.resolving import CHANNEL, SCHEDULE
from flexibility.sweeping import sweep
from gridx import clock
from gridx.gateways.database import UNREACHABLE
from gridx.tasks import ask_policies, balance_limits, publish_schedules, send_heartbeats

logger = logging.getLogger(__name__)

LOCK = 0x67726968
SWEEP_S = 5.0
HEARTBEAT = timedelta(seconds=60)
# How soon it notices that it is to stop, or may take over.
_LOOK_S = 0.5


def run_scheduler(*, stop: Event) -> None:
    """Work, or wait for the place of the one that works, until `stop` is set."""
    while not stop.is_set():
        try:
            with _listening() as listener:
                _work(listener, stop)
        except (*UNREACHABLE, psycopg.OperationalError) as error:
            logger.warning("The database is out of reach: %s", error)
            connection.close()
            stop.wait(1.0)
    connection.close()


@contextmanager
def _listening() -> Iterator:
    """A connection of its own: it hears while the other one works.

    It is the driver's, so what it raises is the driver's too.
    """
    listener = connection.copy()
    try:
        with listener.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        yield listener.connection
    finally:
        listener.close()


def _work(listener, stop: Event) -> None:
    heartbeat_at = clock.now()
    while not stop.is_set():
        if not _leads(listener):
            stop.wait(_LOOK_S)
            continue
        now = clock.now()
        next_at = sweep(now=now)
        if outbox.due(kind=SCHEDULE, now=now).exists():
            _hint(publish_schedules)
        if due_policies(now=now).exists():
            _hint(ask_policies)
        if due_limits(now=now).exists():
            _hint(balance_limits)
        if now >= heartbeat_at:
            heartbeat_at = now + HEARTBEAT
            _hint(send_heartbeats)
        _sleep(listener, _wake_within_s(next_at, heartbeat_at), stop)


def _leads(listener) -> bool:
    """Whether this one may work; once it may, it stays so for as long as its connection lasts."""
    row = listener.execute(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND pid = pg_backend_pid() AND classid = 0 AND objid = %s) OR pg_try_advisory_lock(%s)",
        [LOCK, LOCK],
    ).fetchone()
    return row[0]


def _wake_within_s(next_at: datetime | None, heartbeat_at: datetime) -> float:
    instants = [at for at in (next_at, heartbeat_at) if at is not None]
    return min([SWEEP_S, *map(clock.seconds_until, instants)])


def _sleep(listener, within_s: float, stop: Event) -> None:
    """Until something changed, the time is over, or it is to stop."""
    until = time.monotonic() + within_s
    while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
        if list(listener.notifies(timeout=min(left_s, _LOOK_S), stop_after=1)):
            list(listener.notifies(timeout=0))  # one sweep answers them all
            return


def _hint(task) -> None:
    try:
        task.apply_async(retry=False, expires=SWEEP_S)
    except (BrokerUnreachable, OSError) as error:
        logger.warning("No worker could be told: %s", error)
