"""Hints to workers, so that nobody waits for the clock."""

from celery import Task
from django.db import transaction


def run_soon(task: Task) -> None:
    """Hint, on commit, that there is something for a task to do.

    Robust: when the broker is away, the change stands all the same, and what is to be done waits
    for the task's next run by the clock.
    """

    def hint() -> None:
        task.apply_async(retry=False)

    transaction.on_commit(hint, robust=True)
