"""How far imports are: told through the cache, for they are one transaction each.

A courtesy: that the cache is out of reach is logged, and the import goes on.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# So long it is known how far an import is, after it was told last.
_KNOWN_S = 3600


def tell_progress(job_id: UUID, share: float) -> None:
    """Say how much of the file is read (0–1)."""
    with _courtesy():
        cache.set(_key(job_id), share, _KNOWN_S)


def read_progress(job_id: UUID) -> float | None:
    """How much of the file is read (0–1); None as long as nobody reads it."""
    share = None
    with _courtesy():
        share = cache.get(_key(job_id))
    return share


def forget_progress(job_id: UUID) -> None:
    """Nobody reads the file any more."""
    with _courtesy():
        cache.delete(_key(job_id))


def _key(job_id: UUID) -> str:
    return f"import.{job_id}"


@contextmanager
def _courtesy() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        logger.warning("The cache does not say how far imports are: %s", error)
