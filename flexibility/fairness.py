"""Who was held back by shared limits, and for how long: from the audit of what was resolved.

The share of one that asked for nothing, a charging station without a car, held nobody back. Nor did
one that the appliance did not come near to, as a full car does not: as far as it was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F, Sum

from flexibility.models import Constraint
from inventory.models import Appliance
from measurements.models import ApplianceSlot
from measurements.resolutions import SLOT

# Who took less than so much of its share was not held back by it. Shares are cut to whole amperes,
# of which the least (6 A) may be one seventh less than the share.
NEAR = 0.75
# A boundary holds until the next one of its appliance; the first one began before the span.
_HELD = """
    SELECT appliance_key,
           coalesce(
               sum(ends_at - begins_at - spared.lasted) FILTER (WHERE is_share AND max_w > 0),
               interval '0'
           ),
           coalesce(
               sum(ends_at - begins_at) FILTER (WHERE is_share AND max_w <= 0), interval '0'
           ),
           count(*) FILTER (WHERE is_share AND max_w <= 0 AND NOT (was_share AND was_w <= 0))
    FROM (
        SELECT appliance_key, max_w, is_share,
               coalesce(lag(is_share) OVER one, false) AS was_share,
               coalesce(lag(max_w) OVER one, 1) AS was_w,
               greatest(at, %(from)s) AS begins_at,
               least(coalesce(lead(at) OVER one, %(until)s), %(until)s) AS ends_at
        FROM unnest(%(appliances)s::int[]) AS one_of(key)
        CROSS JOIN LATERAL (
            SELECT coalesce(max(at), %(from)s) AS since FROM flexibility_resolvedboundary
            WHERE system_key = %(system)s AND appliance_key = one_of.key AND at <= %(from)s
        ) AS begun
        JOIN flexibility_resolvedboundary AS boundary
            ON system_key = %(system)s AND appliance_key = one_of.key
            AND at >= begun.since AND at < %(until)s
        CROSS JOIN LATERAL (
            SELECT coalesce(
                deciders ->> 'max_w' = ANY(%(shares)s)
                AND NOT inputs @> jsonb_build_array(
                    jsonb_build_object('id', deciders ->> 'max_w', 'idle', true)
                ),
                false
            ) AS is_share
        ) AS held_by
        WINDOW one AS (PARTITION BY appliance_key ORDER BY at)
    ) AS held
    CROSS JOIN LATERAL (
        SELECT coalesce(
            sum(least(ends_at, start + %(slot)s) - greatest(begins_at, start)), interval '0'
        ) AS lasted
        FROM measurements_applianceslot AS slot
        WHERE held.is_share AND held.max_w > 0
            AND slot.system_key = %(system)s AND slot.appliance_key = held.appliance_key
            AND start > begins_at - %(slot)s AND start < ends_at
            AND import_mwh < held.max_w * %(near_mwh)s
    ) AS spared
    GROUP BY appliance_key
"""


@dataclass(frozen=True, slots=True)
class Held:
    """How an appliance fared: for how long limits let it take less, and for how long nothing.

    `pauses` counts how often that, `drawn_wh` is what it took all the same; None where nothing of
    that is known.
    """

    appliance: Appliance
    slowed: timedelta
    paused: timedelta
    pauses: int
    drawn_wh: float | None

    @property
    def held_back(self) -> timedelta:
        """For how long limits held it back, pauses included."""
        return self.slowed + self.paused


def held_back(
    appliances: Sequence[Appliance], *, from_at: datetime, until_at: datetime
) -> list[Held]:
    """How the appliances of one system fared in [`from_at`, `until_at`), in their order.

    Held back is what a share of a limit decides the greatest power of, while it takes about that
    much, or may take nothing. Three statements.
    """
    if not appliances:
        return []
    system = appliances[0].system
    keys = [one.key for one in appliances]
    shares = Constraint.objects.filter(limit__isnull=False, appliance__in=appliances)
    parameters = {
        "shares": [str(pk) for pk in shares.values_list("pk", flat=True)],
        "system": system.key,
        "appliances": keys,
        "from": from_at,
        "until": until_at,
        "slot": SLOT,
        "near_mwh": NEAR * 1000 * (SLOT / timedelta(hours=1)),
    }
    with connection.cursor() as cursor:
        cursor.execute(_HELD, parameters)
        held = {key: found for key, *found in cursor.fetchall()}
    drawn = dict(
        ApplianceSlot.objects.filter(
            system_key=system.key,
            appliance_key__in=keys,
            start__gte=from_at,
            start__lt=until_at,
        )
        .values_list("appliance_key")
        .annotate(drawn=Sum(F("import_mwh")))
    )
    nothing = timedelta(), timedelta(), 0
    return [
        Held(
            one,
            *held.get(one.key, nothing),
            None if drawn.get(one.key) is None else float(drawn[one.key]) / 1000,
        )
        for one in appliances
    ]
