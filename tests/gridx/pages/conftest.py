from datetime import datetime, timedelta

import pytest

from flexibility.emitters import emitter_of
from flexibility.local import DriverLimits, set_driver_limits
from flexibility.models import Constraint
from flexibility.operations import Draft, set_constraints
from gridx import clock
from inventory.models import Appliance, Cluster, Gateway
from tests.cast import Cast
from tests.household import read_now

HOUR = timedelta(hours=1)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch, now: datetime) -> datetime:
    """The clock stands still at `now`."""
    monkeypatch.setattr(clock, "now", lambda: now)
    return now


@pytest.fixture
def driven(cast: Cast, at_noon: datetime) -> Cast:
    """What the charging station and the battery can do, and what they do now."""
    set_driver_limits(
        limits={
            cast.evcs.pk: DriverLimits(min_w=4_140, max_w=22_000, pausable=True),
            cast.battery.pk: DriverLimits(min_w=-5_000, max_w=5_000, min_wh=0, max_wh=10_000),
        },
        now=at_noon - HOUR,
    )
    Gateway.objects.filter(pk=cast.gateway.pk).update(contacted_at=at_noon, online=True)
    read_now(cast, at=at_noon, evcs=7_400.0, battery=-1_000.0, pv=-3_000.0)
    return cast


@pytest.fixture
def limit(driven: Cast, at_noon: datetime):
    """Sets one constraint, by default of the fleet manager on the charging station."""

    def set_one(*, target=None, emitter=None, **fields) -> Constraint:
        draft = Draft(**{"invalid_at": at_noon + 6 * HOUR, **fields})
        [row] = set_constraints(
            target=target or driven.evcs,
            drafts=[draft],
            emitter=emitter or emitter_of(driven.fleet),
            now=at_noon,
        )
        return row

    return set_one


@pytest.fixture
def cellar(measured: Cast) -> Cluster:
    """The roof and the battery, and within it, in a cluster of its own, the grid meter.

    `measured` is what each module makes of what was read.
    """
    outer = Cluster.objects.create(system=measured.lindenweg, name="Cellar")
    inner = Cluster.objects.create(system=measured.lindenweg, parent=outer, name="Meters")
    for appliance, cluster in (
        (measured.pv, outer),
        (measured.battery, outer),
        (measured.grid_meter, inner),
    ):
        Appliance.objects.filter(pk=appliance.pk).update(cluster=cluster)
    return outer
