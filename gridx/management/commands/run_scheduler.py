"""Acts on constraints as they begin and end, until Ctrl-C or SIGTERM."""

import signal
from threading import Event

from django.core.management.base import BaseCommand

from gridx.garbage import settle
from gridx.scheduler import run_scheduler


class Command(BaseCommand):
    help = (
        "Brings flexibilities up to date as constraints begin and end, and has schedules sent. "
        "Any number may run; one works at a time."
    )
    requires_migrations_checks = False

    def handle(self, *args, **options) -> None:
        settle()
        stop = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_signal: stop.set())
        run_scheduler(stop=stop)
