"""What each system adds to a pool's figure: all of them together are the figure, exactly."""

from datetime import UTC, datetime

import pytest

from measurements.contributions import contributions_to
from measurements.figures import SUMMED
from measurements.history import past_of_system
from measurements.pools import past_of_pool
from measurements.resolutions import Resolution
from tests.measurements.test_groups import SINCE, UNTIL, measured_site, pool_of

pytestmark = pytest.mark.django_db

NAMES = ("pv", "consumption", "import", "grid_to_battery", "ev")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("resolution", list(Resolution))
def test_what_systems_add_is_the_pool_s_figure_to_the_last_mwh(resolution, zone):
    zones = ("Europe/Berlin", "Europe/Berlin", "Asia/Kolkata")
    systems = [measured_site(each, seed).system for seed, each in enumerate(zones)]
    asked = {
        "pool": pool_of(*systems, zone=zone),
        "from_at": datetime(2026, 3, 28, 23, tzinfo=UTC),
        "until_at": datetime(2026, 3, 30, 22, tzinfo=UTC),
        "resolution": resolution,
    }
    whole = past_of_pool(columns=(*SUMMED, "seen_s"), **asked).past
    assert whole.total.seen_s.tolist()[0] > 0
    for name in NAMES:
        found = contributions_to(name=name, **asked)
        assert set(found) == {system.key for system in systems}
        (expected,) = (row[f"{name}_mwh"] for row in whole.total.rows())
        known = [one.mwh for one in found.values() if one.mwh is not None]
        assert (sum(known) if known else None) == expected
        assert sum(one.seen_s for one in found.values()) == whole.total.seen_s.tolist()[0]


def test_what_a_system_of_the_pool_s_time_zone_adds_is_its_own_figure():
    site = measured_site("Europe/Berlin", 1)
    span = {"from_at": SINCE, "until_at": UNTIL, "resolution": Resolution.DAY}
    found = contributions_to(pool=pool_of(site.system), name="pv", **span)
    own = past_of_system(system=site.system, **span).total.rows()[0]
    assert {key: one.mwh for key, one in found.items()} == {site.system.key: own["pv_mwh"]}


def test_no_time_and_no_systems_add_nothing():
    pool = pool_of(measured_site("Europe/Berlin", 1).system)
    asked = {"pool": pool, "name": "pv", "resolution": Resolution.HOUR}
    assert contributions_to(from_at=UNTIL, until_at=SINCE, **asked) == {}
    pool.systems.clear()
    assert contributions_to(from_at=SINCE, until_at=UNTIL, **asked) == {}
