"""What each system adds to a figure of a pool.

All of them add up to the figure to the last mWh: both are read from the same rows.
"""

from dataclasses import dataclass
from datetime import datetime

from inventory.models import SystemPool
from measurements.numbers import fetch
from measurements.pools import keys_of_pool, tables_of_pool
from measurements.resolutions import Resolution, periods


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a system adds (mWh), None where it makes no statement; for how long its appliances were
    seen, all together, and its flags."""

    mwh: int | None
    seen_s: int
    flags: int


_SUMS = """
SELECT system_key, sum({column})::bigint, sum(seen_s)::bigint, bit_or(flags)
FROM {table}
WHERE system_key = ANY(%({keys})s::int[]) AND start >= %(from_at)s AND start < %(until_at)s
GROUP BY system_key
"""


def contributions_to(
    *, pool: SystemPool, name: str, from_at: datetime, until_at: datetime, resolution: Resolution
) -> dict[int, Contribution]:
    """What each system of the pool adds to the figure `name` of all spans together, by its key;
    those of which nothing is known are left out."""
    spans = periods(from_at, until_at, resolution, pool.zone)
    if not spans:
        return {}
    parts = [
        _SUMS.format(column=f"{name}_mwh", table=table._meta.db_table, keys=keys)
        for keys, table in tables_of_pool(resolution, spans).items()
    ]
    rows = fetch(
        " UNION ALL ".join(parts),
        {
            **keys_of_pool(pool, resolution, spans),
            "from_at": spans[0].from_at,
            "until_at": spans[-1].until_at,
        },
    )
    return {key: Contribution(*sums) for key, *sums in rows}
