"""Which appliances take part in a system's balance, and from when until when."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from django.db import connection

from measurements.resolutions import SLOT_MS, slot_end, to_ms
from measurements.slots.inventory import Member, load_members

_EVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class _Stay:
    """An appliance belongs to a system from its first slot there on, [from_ms, until_ms)."""

    from_ms: int
    until_ms: int
    member: Member


@dataclass(frozen=True, slots=True)
class Membership:
    """The appliances of some systems; `end_ms` is where each system's slots end."""

    stays: Mapping[int, Mapping[int, _Stay]]
    end_ms: Mapping[int, int]

    def keys_of(self, system_key: int) -> Collection[int]:
        """The keys of all appliances that were ever measured in a system, ascending."""
        return self.stays.get(system_key, {}).keys()

    def spans(
        self, system_key: int, from_ms: int, until_ms: int
    ) -> Iterator[tuple[int, int, dict[int, Member]]]:
        """The span cut wherever an appliance comes or goes, each part with those that are there."""
        stays = self.stays.get(system_key, {})
        bounds = {ms for stay in stays.values() for ms in (stay.from_ms, stay.until_ms)}
        cuts = [from_ms, *sorted(ms for ms in bounds if from_ms < ms < until_ms), until_ms]
        for begin, end in pairwise(cuts):
            present = {
                key: stay.member
                for key, stay in stays.items()
                if stay.from_ms <= begin < stay.until_ms
            }
            yield begin, end, present

    def differences(self, before: "Membership") -> Iterator[tuple[int, int, int]]:
        """(system key, from ms, until ms) where other appliances take part than before."""
        for system_key, stays in self.stays.items():
            end_ms = self.end_ms[system_key]
            old = before.stays.get(system_key, {})
            for key, stay in stays.items():
                until_ms = min(stay.until_ms, end_ms)
                first_ms, last_ms = end_ms, until_ms
                if key in old:
                    first_ms = min(old[key].from_ms, end_ms)
                    last_ms = min(old[key].until_ms, end_ms)
                for is_ms, was_ms in ((stay.from_ms, first_ms), (until_ms, last_ms)):
                    if is_ms != was_ms:
                        yield system_key, *sorted((is_ms, was_ms))


def load_membership(system_keys: Collection[int]) -> Membership:
    """Who takes part in these systems' balances, by the slots that there are."""
    with connection.cursor() as cursor:
        cursor.execute(_STAYS, [sorted(system_keys)])
        rows = cursor.fetchall()
    members = load_members({key for _system_key, key, _first, _last in rows})
    stays: dict[int, dict[int, _Stay]] = defaultdict(dict)
    end_ms: dict[int, int] = defaultdict(int)
    for system_key, key, first_ms, last_ms in rows:
        end_ms[system_key] = max(end_ms[system_key], last_ms + SLOT_MS)
        member = members.get(key)
        if member is not None:
            until_ms = _until_ms(member, system_key, last_ms)
            stays[system_key][key] = _Stay(first_ms, until_ms, member)
    return Membership(stays, end_ms)


def _until_ms(member: Member, system_key: int, last_ms: int) -> int:
    """Until it was removed; one that moved on to another system stayed to its last slot."""
    ends = [_EVER_MS]
    if member.removed_at is not None:
        ends.append(to_ms(slot_end(member.removed_at)))
    if member.system_key != system_key:
        ends.append(last_ms + SLOT_MS)
    return min(ends)


# Hops from one appliance to the next along the primary key.
_STAYS = """
WITH RECURSIVE stays AS (
    SELECT key AS system_key, 0 AS appliance_key, NULL::timestamptz AS start
    FROM unnest(%s::int[]) AS system (key)
    UNION ALL
    SELECT stays.system_key, next.appliance_key, next.start
    FROM stays CROSS JOIN LATERAL (
        SELECT slot.appliance_key, slot.start FROM measurements_applianceslot AS slot
        WHERE slot.system_key = stays.system_key AND slot.appliance_key > stays.appliance_key
        ORDER BY slot.appliance_key, slot.start LIMIT 1
    ) AS next
)
SELECT system_key, appliance_key, (extract(epoch FROM start) * 1000)::bigint,
    (SELECT (extract(epoch FROM max(slot.start)) * 1000)::bigint
        FROM measurements_applianceslot AS slot
        WHERE slot.system_key = stays.system_key AND slot.appliance_key = stays.appliance_key)
FROM stays WHERE start IS NOT NULL ORDER BY system_key, appliance_key
"""
