"""Celery tasks of the project: what is due, and what leaves for gateways.

Rows are the truth, tasks only hints.
"""

from celery import shared_task

from flexibility.dimming import proof as dimming_proof
from flexibility.policies.asking import ask_due_policies
from flexibility.sweeping import balance_all_due
from gridx import clock
from gridx.gateways import dispatch


@shared_task
def publish_schedules() -> None:
    """Send what is due. Runs by the clock, and at once when the scheduler knows of something."""
    while dispatch.publish_schedules(now=clock.now()):
        pass


@shared_task
def ask_policies() -> None:
    """Ask the charging policies what they want now, each once.

    What falls due meanwhile is for the next run: where asking takes longer than policies wait, this
    one would go on for ever, and no schedule would leave.
    """
    due_by = clock.now()
    while ask_due_policies(now=clock.now(), due_by=due_by):
        pass


@shared_task
def balance_limits() -> None:
    """Divide the shared limits that are due by the newest readings."""
    balance_all_due(now=clock.now())


@shared_task
def keep_proofs() -> None:
    """Keep what was measured during dimmings that are over."""
    while dimming_proof.keep_proofs(now=clock.now()):
        pass


@shared_task
def send_heartbeats() -> None:
    """Tell dimmed gateways that the cloud is there."""
    dispatch.send_heartbeats(now=clock.now())
