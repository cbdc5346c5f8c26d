"""Celery tasks of the accounts: the mails of the outbox."""

from celery import shared_task
from django.contrib.sessions.models import Session
from oauth2_provider.models import clear_expired

from accounts import mails, outbox
from gridx import clock


@shared_task
def send_due_mails() -> None:
    """Send what is due. Runs by the clock, and at once when something was added."""
    while outbox.send_due(kind=mails.KIND, send=mails.send_letter, now=clock.now(), limit=5):
        pass


@shared_task
def forget_what_expired() -> None:
    """Delete tokens and sessions that let nobody in any more."""
    clear_expired()
    Session.objects.filter(expire_date__lt=clock.now()).delete()
