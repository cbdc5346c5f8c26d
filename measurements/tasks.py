"""Celery tasks of the measurements. They run by the clock; twice is as good as once."""

import time

from celery import shared_task

from gridx import clock
from measurements import calendars, checks, partitions, slots
from measurements.imports import operations as imports
from measurements.slots import receipts

# A worker turns to other tasks after so long, however much is dirty.
COMPUTING_S = 20.0
CHECKING_S = 60.0


@shared_task
def maintain_partitions() -> None:
    """Make weeks of readings ahead, drop those past retention."""
    partitions.maintain_partitions(now=clock.now())


@shared_task
def compute_slots() -> None:
    """Compute what is dirty, for a while; any number of workers share it."""
    until = time.monotonic() + COMPUTING_S
    while time.monotonic() < until and slots.compute_dirty(now=clock.now()).claimed:
        pass


@shared_task
def check_measurements() -> None:
    """Compare slots with their readings, for a while; at night until each system had its turn."""
    now = clock.now()
    checks.forget_old_checks(now=now)
    receipts.forget_imported_days(now=now)
    checks.check_due(now=now, for_s=CHECKING_S)


@shared_task
def renew_days() -> None:
    """Have days made anew where the rules of their time zone have changed."""
    calendars.renew_days(now=clock.now())


@shared_task
def work_imports() -> None:
    """Do the imports that wait. Runs by the clock, and at once when somebody began one."""
    while imports.work_due(now=clock.now()):
        pass


@shared_task
def forget_uploads() -> None:
    """Remove uploaded files that nobody used."""
    imports.forget_files(now=clock.now())
