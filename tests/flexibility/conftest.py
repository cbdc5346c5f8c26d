"""What stands at Lindenweg 12, as its gateway says."""

import pytest

from flexibility.local import DriverLimits, set_driver_limits
from gridx import clock


@pytest.fixture
def driven(cast, now):
    """The cast, its charging station and battery with what they can do physically."""
    set_driver_limits(
        limits={
            cast.evcs.pk: DriverLimits(min_w=4_140, max_w=22_000, pausable=True),
            cast.battery.pk: DriverLimits(min_w=-5_000, max_w=5_000, min_wh=0, max_wh=10_000),
        },
        now=now,
    )
    return cast


@pytest.fixture
def stopped_clock(now, monkeypatch):
    """The API's clock shows the instant of the tests' stories."""
    monkeypatch.setattr(clock, "now", lambda: now)
