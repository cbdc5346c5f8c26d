"""What the Meyers' house measures, stored and computed like any gateway's readings."""

from datetime import datetime

import numpy as np

from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.batches import Batch
from measurements.operations import declare_interval, store_readings
from measurements.resolutions import SLOT_MS, to_ms
from measurements.slots import compute_until_clean
from tests.cast import Cast

# A steady day: 2 kW from the roof, of which the house takes 0.5, the battery 0.5, the grid 1.
STEADY_W = {"pv": -2000.0, "battery": 500.0, "evcs": 0.0, "grid": -1000.0}


def measure(
    cast: Cast,
    *,
    since: datetime,
    until: datetime,
    now: datetime,
    powers_w: dict[str, float] = STEADY_W,
) -> None:
    """Store a reading every quarter of an hour of [since, until], and compute what follows."""
    by_local_id = {
        appliance.local_id: appliance
        for appliance in Appliance.objects.filter(system=cast.lindenweg).select_related("system")
    }
    at_ms = np.arange(to_ms(since), to_ms(until) + 1, SLOT_MS)
    hours = (at_ms - at_ms[0]) / 3_600_000
    batches = []
    for local_id, power in powers_w.items():
        appliance = by_local_id[local_id]
        declare_interval(appliance=appliance, interval_s=900, valid_from=since)
        batches.append(
            Batch.of(
                system_key=cast.lindenweg.key,
                appliance_key=appliance.key,
                at_ms=at_ms,
                power_w=power,
                imported_wh=max(power, 0.0) * hours,
                exported_wh=max(-power, 0.0) * hours,
                **({"soc": 0.64} if local_id == "battery" else {}),
            )
        )
    store_readings(batch=Batch.joined(batches), now=now, history=True)
    compute_until_clean(now=now)


def read_now(cast: Cast, *, at: datetime, now: datetime | None = None, **powers_w: float) -> None:
    """Store one reading of each of these appliances, by local id, as the link does."""
    appliances = Appliance.objects.filter(system=cast.lindenweg, local_id__in=powers_w)
    store_readings(
        batch=Batch.joined(
            Batch.of(
                system_key=cast.lindenweg.key,
                appliance_key=appliance.key,
                at_ms=[to_ms(at)],
                power_w=[powers_w[appliance.local_id]],
            )
            for appliance in appliances
        ),
        now=now or at,
    )


def add_station(cast: Cast, **fields) -> Appliance:
    """A second charging station at Lindenweg 12."""
    made = Appliance.objects.create(
        system=cast.lindenweg,
        gateway=cast.gateway,
        local_id="evcs-2",
        kind=ApplianceKind.EV_CHARGING_STATION,
        name="Second car",
        **fields,
    )
    made.refresh_from_db()
    return made
