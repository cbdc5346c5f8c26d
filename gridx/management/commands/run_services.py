"""Keep the embedded services running in the foreground."""

import threading
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError

from gridx import services
from gridx.services.addresses import embedded_services
from gridx.services.processes import UnableToStart, interruptible


class Command(BaseCommand):
    help = "Run PostgreSQL, Valkey and NATS until Ctrl-C; those that a variable replaces excepted."
    # Checks may ask the database, which is not there yet.
    requires_system_checks = []

    def handle(self, *args: object, **options: object) -> None:
        try:
            with interruptible(), services.running() as at:
                self._print_addresses(at)
                threading.Event().wait()
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except (UnableToStart, services.UnusableDataDirectory) as error:
            raise CommandError(error) from error

    def _print_addresses(self, at: services.Addresses) -> None:
        embedded = embedded_services()
        lines = (
            ("PostgreSQL", "postgres", at.database_url),
            ("Valkey", "valkey", at.valkey_url),
            ("NATS", "nats", at.nats_url),
            ("MQTT", "nats", at.mqtt_url),
        )
        for label, name, url in lines:
            remark = "" if name in embedded else "  (not embedded)"
            self.stdout.write(f"{label:<11} {_without_sign_in(url)}{remark}")
        self.stdout.write("Ctrl-C stops what was started here.")
        self.stdout.flush()


def _without_sign_in(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
