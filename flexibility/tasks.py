"""Celery tasks of flexibility: what is done to many appliances, and series that go on."""

from celery import shared_task

from flexibility.bulk.operations import work_due
from flexibility.series import operations as series
from gridx import clock


@shared_task
def work_bulk_actions() -> None:
    """Do what waits. Runs by the clock, and at once when something was added."""
    while work_due(now=clock.now()):
        pass


@shared_task
def extend_series() -> None:
    """Set in advance what of long series is not further ahead than constraints may be."""
    series.extend_series(now=clock.now())
