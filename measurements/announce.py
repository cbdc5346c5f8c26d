"""Tells open pages that a system has news; what the news is, they read themselves.

One group of the Channels layer for each system: whoever joins it was checked at the door, once.
A consumer receives `{"type": "system.changed", "system": <UUID as text>}`. Announcements are a
courtesy: one that is lost is made up for by the next, and by every reload.
"""

import asyncio
import logging
from collections.abc import Iterable
from uuid import UUID

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def group_of(system_id: UUID) -> str:
    """The name of the group in which a system's news are announced."""
    return f"system.{system_id}"


async def announce(system_ids: Iterable[UUID]) -> bool:
    """Say that these systems have news; to be called after their transaction has committed.

    Returns whether the layer took all of it. That it is out of reach is logged, not raised: what
    was stored stays stored.
    """
    layer = get_channel_layer()
    try:
        await asyncio.gather(
            *(
                layer.group_send(
                    group_of(system_id), {"type": "system.changed", "system": str(system_id)}
                )
                for system_id in set(system_ids)
            )
        )
    except (RedisError, OSError, TimeoutError) as error:
        logger.warning("Nobody could be told of new values: %s", error)
        return False
    return True
