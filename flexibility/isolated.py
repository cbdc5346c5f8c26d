"""One system that cannot be worked, whatever its rows say, holds up no other."""

import logging
from collections.abc import Callable, Collection
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction

logger = logging.getLogger(__name__)


def isolated(work: Callable[[Collection[UUID]], object], systems: Collection[UUID]) -> set[UUID]:
    """Work all systems at once, or where that fails each alone; returns those that failed.

    They are logged as errors with the traceback. When the database is away it is nobody's fault:
    that is raised.
    """
    try:
        with transaction.atomic():
            work(systems)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(systems) > 1:
            return {one for each in systems for one in isolated(work, [each])}
        logger.exception("System %s cannot be worked", *systems)
        return set(systems)
    return set()
