from datetime import datetime

import pytest

from gridx import clock


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch, now: datetime) -> datetime:
    """The clock stands still at `now`."""
    monkeypatch.setattr(clock, "now", lambda: now)
    return now
