"""Intervals of a recording that tell less than the shorter ones that are stored in their place."""

from dataclasses import replace

import numpy as np
from django.db import connection

from inventory.kinds import LONGEST_INTERVAL_S
from measurements.batches import INTERVAL_QUANTITIES, Batch

# Only where those that follow within it tell of all of it: else a hole stays, or the stored one is
# of a wrong length.
_FINER = f"""
SELECT number - 1, {", ".join(f"stored.{name}" for name in INTERVAL_QUANTITIES)}
FROM (
    SELECT number, appliance_key, interval_s, in_wh, out_wh,
        'epoch'::timestamptz + at_ms * interval '1 ms' AS at
    FROM unnest(%s::int[], %s::bigint[], %s::int[], %s::float8[], %s::float8[]) WITH ORDINALITY
        AS given (appliance_key, at_ms, interval_s, in_wh, out_wh, number)
) AS given
JOIN measurements_reading AS stored ON stored.system_key = %s
    AND stored.appliance_key = given.appliance_key AND stored.at = given.at
    AND stored.at >= 'epoch'::timestamptz + %s * interval '1 ms'
    AND stored.at <= 'epoch'::timestamptz + %s * interval '1 ms'
WHERE stored.interval_s < given.interval_s
    AND (in_wh = 'NaN' OR stored.import_energy_wh IS NOT NULL)
    AND (out_wh = 'NaN' OR stored.export_energy_wh IS NOT NULL)
    AND given.interval_s <= stored.interval_s + (SELECT sum(interval_s)
        FROM measurements_reading AS next
        WHERE next.system_key = stored.system_key AND next.appliance_key = stored.appliance_key
        AND next.at > stored.at AND next.at < stored.at + given.interval_s * interval '1 s'
        AND next.at <= 'epoch'::timestamptz + %s * interval '1 ms'
        AND next.interval_s < given.interval_s
        AND (in_wh = 'NaN' OR next.import_energy_wh IS NOT NULL)
        AND (out_wh = 'NaN' OR next.export_energy_wh IS NOT NULL))
"""  # noqa: S608 - names of our own


def as_fine_as_stored(batch: Batch) -> Batch:
    """The batch of one system, with what is stored in the place of coarser intervals.

    An hour whose two halves are stored says nothing new: in the place of the first half it would
    count beside the second, and so half of its energy twice.
    """
    interval_s = batch.column("interval_s")
    rows = np.flatnonzero(~np.isnan(interval_s))
    if not len(rows):
        return batch
    at_ms = batch.at_ms[rows]
    with connection.cursor() as cursor:
        cursor.execute(
            _FINER,
            [
                batch.appliance_key[rows].tolist(),
                at_ms.tolist(),
                interval_s[rows].astype(int).tolist(),
                batch.column("import_energy_wh")[rows].tolist(),
                batch.column("export_energy_wh")[rows].tolist(),
                int(batch.system_key[0]),
                int(at_ms.min()),
                int(at_ms.max()),
                int(at_ms.max()) + 1000 * LONGEST_INTERVAL_S,
            ],
        )
        found = cursor.fetchall()
    if not found:
        return batch
    stored = np.array(found, float)  # None becomes NaN
    columns = {name: batch.column(name).copy() for name in INTERVAL_QUANTITIES}
    for column, values in zip(columns.values(), stored.T[1:], strict=True):
        column[rows[stored[:, 0].astype(int)]] = values
    return replace(batch, values={**batch.values, **columns})
