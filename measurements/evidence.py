"""What figures came from: slots of appliances and their readings, where those are still there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from django.db.models import Q, QuerySet

from inventory.kinds import Role, role_of
from inventory.models import Appliance, System
from measurements.derivation import PartOf
from measurements.energy import LATE_S
from measurements.finality import final_spans
from measurements.models import (
    ApplianceDay,
    ApplianceSlot,
    DayChange,
    DirtySlot,
    FinalSpan,
    Reading,
)
from measurements.numbers import fetch
from measurements.resolutions import SLOT, SLOT_MS, Span, from_ms, slot_end, to_ms
from measurements.slots.appliances import computation_of
from measurements.slots.claims import Run
from measurements.slots.members import load_membership
from measurements.tracing import Trace, trace_of

_Slot = TypeVar("_Slot")


class SlotOf(NamedTuple):
    """What was measured of an appliance in a slot; as in `ApplianceSlot`."""

    import_mwh: int | None
    export_mwh: int | None
    seen_s: int
    flags: int


@dataclass(frozen=True, slots=True)
class Measured:
    """An appliance of a system, for how long of a span it was there, and what was measured of it
    then, by the start of each slot; a slot is missing in which it was silent."""

    appliance: Appliance
    role: Role
    there: Span
    slots: dict[datetime, SlotOf]

    def is_there(self, start: datetime) -> bool:
        """Whether the balance of the slot that begins then expects it."""
        return self.there.from_at <= start < self.there.until_at

    def part(self, start: datetime) -> PartOf:
        """What it says of the slot that begins then."""
        slot = self.slots.get(start)
        if slot is None:
            return PartOf(self.role, None, None)
        return PartOf(self.role, slot.import_mwh, slot.export_mwh)


_SLOTS = """
SELECT appliance_key, (extract(epoch FROM start) * 1000)::bigint,
    import_mwh, export_mwh, seen_s, flags
FROM measurements_applianceslot
WHERE system_key = %s AND appliance_key = ANY(%s::int[]) AND start >= %s AND start < %s
ORDER BY start
"""


def measured_in(*, system: System, span: Span, roles: Collection[Role]) -> list[Measured]:
    """Who of these roles was in a system in a span, measured or silent, wherever they are now.

    In the order of their creation; slots after an appliance was removed are left out, because no
    balance counts them.
    """
    there = _there(system, span, roles)
    appliances = Appliance.objects.filter(key__in=there).order_by("created_at", "key")
    found: dict[int, dict[datetime, SlotOf]] = {key: {} for key in there}
    # A site may have hundreds of appliances: each start is made an instant once, not row by row.
    instants: dict[int, datetime] = {}
    for key, ms, *slot in fetch(_SLOTS, [system.key, [*there], span.from_at, span.until_at]):
        if (start := instants.get(ms)) is None:
            start = instants[ms] = from_ms(ms)
        if there[key].from_at <= start < there[key].until_at:
            found[key][start] = SlotOf(*slot)
    return [
        Measured(one, role_of(one.kind), there[one.key], found[one.key])
        for one in appliances.select_related("system")
    ]


def slots_of(*, system: System, appliance: Appliance, span: Span) -> dict[datetime, ApplianceSlot]:
    """What an appliance measured in a system in a span, by the start of each slot."""
    rows = ApplianceSlot.objects.filter(
        system_key=system.key,
        appliance_key=appliance.key,
        start__gte=span.from_at,
        start__lt=span.until_at,
    )
    return {row.start: row for row in rows.defer("carry").order_by("start")}


def is_any_final(*, system: System, span: Span, appliance: Appliance | None = None) -> bool:
    """Whether retention has dropped readings that slots of this span were made of."""
    finals = FinalSpan.objects.filter(
        system_key=system.key, from_at__lt=span.until_at, until_at__gt=span.from_at
    )
    if appliance is not None:
        finals = finals.filter(appliance_key=appliance.key)
    return finals.exists()


def _there(system: System, span: Span, roles: Collection[Role]) -> dict[int, Span]:
    """By the keys of appliances of these roles, for how long of a span balances expect them."""
    begin_ms, end_ms = to_ms(span.from_at), to_ms(span.until_at)
    found = {}
    for key, stay in load_membership([system.key]).stays.get(system.key, {}).items():
        came_ms, gone_ms = max(stay.from_ms, begin_ms), min(stay.until_ms, end_ms)
        if stay.member.role in roles and came_ms < gone_ms:
            found[key] = Span(from_ms(came_ms), from_ms(gone_ms))
    return found


def while_there(appliance: Appliance, slots: dict[datetime, _Slot]) -> dict[datetime, _Slot]:
    """Slots by their start, without those after it was removed, which nothing counts."""
    if appliance.removed_at is None:
        return slots
    end = slot_end(appliance.removed_at)
    return {start: slot for start, slot in slots.items() if start < end}


def receipts_of(*, system: System, span: Span, name: str) -> list[DayChange]:
    """The receipts of the days of a span in which this figure changed, the latest first."""
    rows = DayChange.objects.filter(
        system_key=system.key,
        start__gte=span.from_at,
        start__lt=span.until_at,
        changes__has_key=name,
    )
    return list(rows.order_by("-changed_at", "-id"))


def appliances_of(system: System) -> QuerySet[Appliance]:
    """The appliances of a system, and every other that was ever measured in it."""
    keys = ApplianceDay.objects.filter(system_key=system.key).values("appliance_key")
    return Appliance.objects.filter(Q(system=system) | Q(key__in=keys)).select_related(
        "system", "gateway"
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """A slot of an appliance and what it follows from.

    `slot` is as stored, None where nothing is. `readings` are those in the slot and those beyond
    that count for it, in order. `trace` is what they say now; None where the slot is final or
    nothing was read. `is_waiting`: it is marked to be computed again.
    """

    slot: ApplianceSlot | None
    readings: Sequence[Reading]
    trace: Trace | None
    is_final: bool
    is_waiting: bool


def evidence_of(*, system: System, appliance: Appliance, start: datetime) -> Evidence:
    """What the slot of an appliance that begins at `start` follows from."""
    of = {"system_key": system.key, "appliance_key": appliance.key}
    slot = ApplianceSlot.objects.filter(**of, start=start).first()
    [spans] = final_spans([(system.key, appliance.key, to_ms(start))])
    is_final = bool(spans) and spans[0][0] <= to_ms(start)
    trace = None
    if slot is not None and not is_final:
        run = Run(system.key, appliance.key, to_ms(start), to_ms(start) + SLOT_MS)
        trace = trace_of(computation_of(run))
    readings = Reading.objects.filter(**of, at__gte=start, at__lt=start + SLOT)
    if trace is not None:
        outside = [from_ms(ms) for ms in trace.outside_ms]
        readings = readings | Reading.objects.filter(**of, at__in=outside)
    return Evidence(
        slot,
        list(readings.order_by("at")),
        trace,
        is_final,
        _is_waiting(system, appliance, start),
    )


def _is_waiting(system: System, appliance: Appliance, start: datetime) -> bool:
    marks = DirtySlot.objects.filter(
        system_key=system.key,
        appliance_key=appliance.key,
        start__gt=start - timedelta(days=1),
        start__lte=start,
    )
    return any(first + slots * SLOT > start for first, slots in marks.values_list("start", "slots"))


def received_at(reading: Reading) -> datetime | None:
    """When a reading arrived, to the second; None for imported history."""
    if reading.delay_s is None:
        return None
    return reading.at + timedelta(seconds=(reading.interval_s or 0) + reading.delay_s)


def is_late(reading: Reading) -> bool:
    """Whether it arrived so late that its slot is flagged as recovered."""
    return reading.delay_s is not None and reading.delay_s > LATE_S
