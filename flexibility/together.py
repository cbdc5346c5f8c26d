"""What many appliances do together now, and how much more or less they could.

It is what `room` says of each, summed up by the database from what was resolved last: for all that
somebody sees, that is a matter of milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from flexibility.policies.terms import NEARLY
from flexibility.room import NEGLIGIBLE
from inventory.kinds import CONTROLLABLE, ApplianceKind, Plug
from inventory.models import Appliance
from inventory.silence import BESIDE_STALE_AT_LEAST, STALE_AT_LEAST, STALE_INTERVALS

_SUMS = """
    SELECT kind, count(*), count(power_w), coalesce(sum(power_w), 0),
           coalesce(sum(greatest(most_w - power_w, 0)) FILTER (WHERE NOT is_held), 0),
           coalesce(sum(greatest(power_w - least_w, 0)) FILTER (WHERE NOT is_held), 0)
    FROM (
        SELECT appliance.kind, reading.power_w, room.set_point_w IS NOT NULL AS is_held,
               CASE WHEN appliance.kind = %(station)s AND (
                        reading.plug_state = %(unplugged)s
                        OR reading.power_w < %(nearly)s * room.max_w
                    ) THEN 0
                    WHEN room.max_w > 0 AND (
                        stored.soc >= 1 OR coalesce(
                            stored.energy_wh, stored.soc * appliance.capacity_wh
                        ) >= room.max_wh - slack.wh
                    ) THEN 0
                    ELSE room.max_w END AS most_w,
               CASE WHEN appliance.kind = %(pv)s THEN reading.power_w
                    WHEN room.can_pause AND room.min_w > 0 THEN 0
                    WHEN room.min_w < 0 AND (
                        stored.soc = 0 OR coalesce(
                            stored.energy_wh, stored.soc * appliance.capacity_wh
                        ) <= room.min_wh + slack.wh
                    ) THEN 0
                    ELSE room.min_w END AS least_w
        FROM inventory_appliance AS appliance
        JOIN inventory_system AS system ON system.id = appliance.system_id
        CROSS JOIN LATERAL (
            SELECT %(intervals)s * appliance.interval_s * interval '1 second' AS intervals
        ) AS lasts
        LEFT JOIN measurements_latestreading AS reading
            ON reading.system_key = system.key AND reading.appliance_key = appliance.key
            AND coalesce(reading.power_at, reading.at)
                >= %(now)s - greatest(%(stale_at_least)s, lasts.intervals)
        CROSS JOIN LATERAL (
            SELECT %(now)s - greatest(%(beside_stale_at_least)s, lasts.intervals) AS since
        ) AS beside
        CROSS JOIN LATERAL (
            SELECT CASE WHEN reading.soc_at < beside.since THEN NULL ELSE reading.soc END AS soc,
                CASE WHEN reading.energy_at < beside.since THEN NULL
                    ELSE reading.energy_wh END AS energy_wh
        ) AS stored
        LEFT JOIN flexibility_flexibility AS room
            ON room.appliance_id = appliance.id AND appliance.kind = ANY(%(controllable)s)
        CROSS JOIN LATERAL (
            SELECT coalesce(%(negligible)s * (room.max_wh - room.min_wh), 0) AS wh
        ) AS slack
        WHERE appliance.id = ANY(%(ids)s)
    ) AS each GROUP BY kind
"""


@dataclass(frozen=True, slots=True)
class Together:
    """Appliances of one kind: how many, of how many there is news, and what they do and could.

    Powers in W, positive into the appliances. `more_w` and `less_w` (both ≥ 0) are of those whose
    limits are known.
    """

    count: int
    seen: int
    power_w: float
    more_w: float
    less_w: float


def together(appliances: QuerySet[Appliance], *, now: datetime) -> Mapping[ApplianceKind, Together]:
    """The present ones among these appliances, by their kind."""
    present = appliances.filter(removed_at=None).order_by()
    # Of a hybrid inverter its parts count, where they are there.
    wholes = Appliance.objects.filter(removed_at=None, parent=OuterRef("pk"))
    counted = present.exclude(Exists(wholes), kind=ApplianceKind.HYBRID_INVERTER)
    parameters = {
        "ids": list(counted.values_list("pk", flat=True)),
        "now": now,
        "stale_at_least": STALE_AT_LEAST,
        "beside_stale_at_least": BESIDE_STALE_AT_LEAST,
        "intervals": STALE_INTERVALS,
        "controllable": [kind.value for kind in CONTROLLABLE],
        "station": ApplianceKind.EV_CHARGING_STATION.value,
        "pv": ApplianceKind.PV_INVERTER.value,
        "unplugged": Plug.UNPLUGGED.value,
        "nearly": NEARLY,
        "negligible": NEGLIGIBLE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, parameters)
        return {ApplianceKind(kind): Together(*sums) for kind, *sums in cursor.fetchall()}
