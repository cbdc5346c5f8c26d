"""What commands are given: systems and instants."""

from datetime import datetime
from uuid import UUID

from django.core.management.base import CommandError

from inventory.models import System


def find_system(text: str) -> System:
    """The system of this UUID. Raises CommandError."""
    try:
        return System.objects.get(pk=UUID(text))
    except (ValueError, System.DoesNotExist) as error:
        raise CommandError(f"There is no system {text}.") from error


def read_instant(text: str, system: System) -> datetime:
    """An ISO 8601 day or instant, of the system's time zone where it has no offset.

    Raises CommandError.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"“{text}” is no ISO 8601 day or instant.") from error
    return at if at.tzinfo else at.replace(tzinfo=system.zone)
