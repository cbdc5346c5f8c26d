from collections.abc import Iterator

import pytest
from django.db import connection, connections

CONNECTIONS = 2


@pytest.fixture
def few_connections(transactional_db) -> Iterator[int]:
    """All threads share so few connections as this says, and wait a second for one."""
    connections.close_all()
    at = connection.settings_dict
    pool = {"min_size": 0, "max_size": CONNECTIONS, "timeout": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(at, "OPTIONS", at["OPTIONS"] | {"pool": pool})
        patch.setitem(at, "CONN_MAX_AGE", 0)
        yield CONNECTIONS
        connections.close_all()
        connection.close_pool()
