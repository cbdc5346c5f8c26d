"""Fills the demo's systems with history: the simulated appliances' own past, stored and computed
like any other data, so that their counters simply go on when they come alive."""

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime

import numpy as np

from gridx.demo.world import Site
from gridx.gateways.handlers import found_appliance
from gridx.gateways.plants.presets import build_site
from gridx.gateways.plants.site import QUARTER_MS
from gridx.gateways.plants.span import Columns
from gridx.gateways.readings import PLUG_STATES
from gridx.gateways.simulator.entries import GatewayEntry
from inventory.discovery import apply_hello
from inventory.models import Appliance, Gateway
from inventory.operations import rotate_secret
from measurements.batches import QUANTITIES, Batch
from measurements.operations import declare_interval, store_readings
from measurements.resolutions import to_ms

QUARTER_S = QUARTER_MS // 1000
_COLUMNS = [column.name for column in fields(Columns) if column.name in QUANTITIES]


def fill_site(
    *,
    site: Site,
    since: datetime,
    now: datetime,
    progress: Callable[[int], None],
) -> GatewayEntry:
    """Store a site's quarters of [since, now) and return how its gateway, with a new secret, goes
    on from there.

    `progress` is told how many quarters were stored.
    """
    gateway = Gateway.objects.select_related("system").get(serial=site.serial)
    plants = build_site(site.plan)
    apply_hello(
        gateway=gateway,
        model="gridx virtual gateway",
        firmware="1.0.0",
        found=[
            found_appliance(
                plant.found(
                    interval_s=QUARTER_S,
                    serial_number=f"{site.serial}-{plant.local_id}".upper(),
                )
            )
            for plant in plants.plants
        ],
        came_at=since,
        now=since,
    )
    appliances = {
        appliance.local_id: appliance
        for appliance in Appliance.objects.filter(gateway=gateway).select_related("system")
    }
    for appliance in appliances.values():
        declare_interval(appliance=appliance, interval_s=QUARTER_S, valid_from=since)
    begin_ms, end_ms = (to_ms(at) // QUARTER_MS * QUARTER_MS for at in (since, now))
    for columns in plants.history(begin_ms, end_ms):
        batch = Batch.joined(
            _batch(appliances[local_id], column) for local_id, column in columns.items()
        )
        store_readings(batch=batch, now=now, history=True)
        progress(len(batch) // len(columns))
    secret = rotate_secret(gateway=gateway, by=None, now=now)
    return GatewayEntry(serial=site.serial, secret=secret, site=site.plan, state=plants.state)


def _batch(appliance: Appliance, columns: Columns) -> Batch:
    values = {
        name: (
            [PLUG_STATES.index(state) for state in value]
            if name == "plug_state"
            else np.asarray(value, float)
        )
        for name in _COLUMNS
        if (value := getattr(columns, name)) is not None
    }
    return Batch.of(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        at_ms=columns.at,
        **values,
    )
