"""Runs a link between gateways and cloud until Ctrl-C or SIGTERM."""

import asyncio
import signal

from django.conf import settings
from django.core.management.base import BaseCommand

from gridx.checks import SETTINGS
from gridx.garbage import settle
from gridx.gateways.running import run_link


class Command(BaseCommand):
    help = (
        "Lets gateways sign in, stores what they send, and answers. "
        "Any number of links share the work."
    )
    # The others load all pages, which take a quarter of the memory that a link may have.
    requires_system_checks = (SETTINGS,)
    requires_migrations_checks = False

    def handle(self, *args, **options) -> None:
        settle()
        asyncio.run(_run())


async def _run() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_link(at=settings.ADDRESSES, stop=stop)
