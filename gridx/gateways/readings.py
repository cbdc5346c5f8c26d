"""A batch of messages from the log, most of them readings, becomes stored readings.

All in one transaction, so that a batch that is handled again changes nothing: readings are
idempotent, and sequence numbers too. Only counts of refusals can grow by such a repetition.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from django.db import transaction

from gridx.gateways.arrivals import (
    Arrival,
    GatewayRow,
    Outcome,
    Unreadable,
    Upward,
    error_about,
    find_gateways,
    read,
)
from gridx.gateways.contacts import Contact, gather, record_contacts
from gridx.gateways.faults import Fault, fault_of, faults_of_ignored, record_faults
from gridx.gateways.handlers import HANDLERS, UNKNOWN_APPLIANCE, Received
from gridx.gateways.messages import (
    QUANTITIES,
    VERSION,
    ApplianceReadings,
    Error,
    PlugState,
    Readings,
)
from gridx.gateways.topics import Channel
from inventory.kinds import Plug
from inventory.models import Appliance
from measurements.batches import Batch
from measurements.ingest import StoreReport, keep_latest, store_readings
from measurements.plausibility import REASONS, PlausiblePowers
from measurements.resolutions import from_ms, slot_start, to_ms

# How a plug's state stands in the table, and in the protocol.
PLUG_STATES = tuple(PlugState[plug.name] for plug in Plug)
_PLUG_NUMBERS = {PlugState[plug.name]: float(plug) for plug in Plug}

REFUSED = "readings_refused"
REMOVED_APPLIANCE = "removed_appliance"
OTHER_SYSTEM = "other_system"

# These keep their order, so another consumer of the log brings them (`gridx.gateways.ordered`).
_ELSEWHERE = frozenset({Channel.HELLO, Channel.CONSTRAINTS, Channel.ACK, Channel.STATUS})


@dataclass(frozen=True, slots=True)
class _Known:
    """An appliance as the readings need it."""

    system_key: int
    key: int
    kind: str
    min_power_w: float | None
    max_power_w: float | None
    removed_ms: int | None


class _Rows:
    """Readings of many messages, one row each, on their way into a batch."""

    def __init__(self) -> None:
        self.system_key: list[int] = []
        self.appliance_key: list[int] = []
        self.at_ms: list[int] = []
        self.message: list[int] = []
        self.names: dict[int, str] = {}
        self._columns: dict[str, list[float | None]] = {}

    def __len__(self) -> int:
        return len(self.at_ms)

    def add(self, part: ApplianceReadings, appliance: _Known, message: int) -> None:
        before, count = len(self), len(part.at)
        self.names[appliance.key] = part.appliance
        self.system_key += [appliance.system_key] * count
        self.appliance_key += [appliance.key] * count
        self.message += [message] * count
        self.at_ms += part.at
        for name in QUANTITIES:
            values = getattr(part, name)
            if values is None:
                continue
            if name == "plug_state":
                values = [None if state is None else _PLUG_NUMBERS[state] for state in values]
            column = self._columns.setdefault(name, [])
            column += [None] * (before - len(column))
            column += values

    def batch(self) -> Batch:
        for column in self._columns.values():
            column += [None] * (len(self) - len(column))
        return Batch.of(
            system_key=self.system_key,
            appliance_key=self.appliance_key,
            at_ms=self.at_ms,
            **self._columns,
        )


def store_arrivals(
    *, arrivals: Sequence[Arrival], now: datetime, may_defer: bool = False
) -> Outcome:
    """Store the readings of these messages, and what else they say, in one transaction.

    With `may_defer`, messages about an appliance that is not known, or was removed before, are left
    alone: the hello of it, or of what took its place, may be on the way still, handled by another
    link. Else such readings are refused.
    """
    while True:
        try:
            return _store_arrivals(arrivals, now, may_defer)
        except _Overtaken:
            continue  # by a hello, which is handled now


def _store_arrivals(arrivals: Sequence[Arrival], now: datetime, may_defer: bool) -> Outcome:
    """The same, once. Raises _Overtaken."""
    outcome = Outcome()
    outcome.count("messages", len(arrivals))
    items = [item for arrival in arrivals if (item := _read_for_here(arrival, outcome))]
    with transaction.atomic():
        gateways = find_gateways(item.serial for item in items)
        intake = _Intake(outcome, now, may_defer)
        for item in items:
            gateway = gateways.get(item.serial)
            if gateway is None:
                outcome.count("from unknown gateways")
            else:
                intake.take(item, gateway)
        intake.store()
    return outcome


def _read_for_here(arrival: Arrival, outcome: Outcome) -> Upward | Unreadable | None:
    item = read(arrival)
    if item is None:
        outcome.count("on unknown topics")
        return None
    # A hello that cannot be read has its place among the hellos, too.
    elsewhere = (
        item.channel in _ELSEWHERE
        if isinstance(item, Upward)
        else item.topic in {channel.value for channel in _ELSEWHERE}
    )
    return None if elsewhere else item


class _Overtaken(Exception):
    """An appliance was removed while readings of it were stored: they may be another one's."""


class _Intake:
    """One batch: gathers what its messages say, then stores it."""

    def __init__(self, outcome: Outcome, now: datetime, may_defer: bool) -> None:
        self._outcome = outcome
        self._now = now
        self._may_defer = may_defer
        self._contacts: dict[UUID, Contact] = {}
        self._faults: list[Fault] = []
        self._readings: list[tuple[Upward, GatewayRow]] = []
        # Of each of these messages how many of its readings are refused, by reason.
        self._refused: list[dict[str, int]] = []

    def take(self, item: Upward | Unreadable, gateway: GatewayRow) -> None:
        contact = gather(self._contacts, gateway.id)
        if isinstance(item, Unreadable):
            contact.touch(item.arrival.at)
            # It was refused, but it came: only what never came is missing.
            if item.seq is not None:
                contact.numbers.append(item.seq)
            self._outcome.count("unreadable")
            self._outcome.answers.add_error(item.serial, error_about(item))
            self._faults.append(fault_of(item, gateway))
            return
        self._faults += faults_of_ignored(item, gateway)
        if isinstance(item.message, Readings):
            contact.touch(item.arrival.at, item.message.sent_at)
            contact.numbers.append(item.message.seq)
            self._readings.append((item, gateway))
            self._refused.append({})
        else:
            contact.touch(item.arrival.at)
            received = Received(gateway, item.message, item.arrival, self._now)
            reaction = HANDLERS[item.channel](received)
            reaction.into(self._outcome, self._faults, gateway)

    def store(self) -> None:
        """Raises _Overtaken."""
        appliances, stored = self._store_readings()
        record_contacts(self._contacts)
        # The gateways are held from here on, as by each hello from its beginning: what one has
        # changed meanwhile is seen, and one that is handled later sees what is stored here.
        if appliances.have_lost_one():
            raise _Overtaken
        self._note_fresh(keep_latest(stored))
        record_faults(faults=self._faults, now=self._now)

    def _store_readings(self) -> tuple["_Appliances", Batch]:
        """Store them but for the latest; returns whose they may be, and what was stored."""
        appliances = _Appliances({gateway.id for _item, gateway in self._readings})
        rows = _Rows()
        for number, (item, gateway) in enumerate(self._readings):
            parts = [
                (part, appliances.find(gateway.id, part.appliance))
                for part in item.message.appliances
                if part.at
            ]
            if self._may_defer and any(_is_nobodys(part, known) for part, known in parts):
                self._outcome.deferred.add(item.arrival.number)
                continue
            for part, known in parts:
                if known is None:
                    detail = f"appliance {part.appliance}"
                    self._refuse(number, UNKNOWN_APPLIANCE, len(part.at), detail)
                else:
                    rows.add(self._present(number, part, known), known, number)
        batch = rows.batch()
        report = store_readings(
            batch=batch, now=self._now, powers=appliances.powers(), latest_later=True
        )
        if len(batch):
            self._outcome.late = _is_late(batch, report, self._now)
            self._take_report(report, rows)
        for number, reasons in enumerate(self._refused):
            if reasons:
                self._answer_refused(number, reasons)
        return appliances, report.accepted

    def _present(self, number: int, part: ApplianceReadings, known: _Known) -> ApplianceReadings:
        """Those of the readings that were made while box and appliance were at the system.

        They count, however late they arrive: its balance has the appliance until it was removed.
        What the box read at another system before is none of this one's.
        """
        here_since = self._readings[number][1].here_since
        if here_since is not None:
            since_ms = to_ms(here_since)
            part = self._keep(number, part, lambda at_ms: at_ms >= since_ms, OTHER_SYSTEM)
        removed_ms = known.removed_ms
        if removed_ms is not None:
            part = self._keep(number, part, lambda at_ms: at_ms < removed_ms, REMOVED_APPLIANCE)
        return part

    def _keep(
        self,
        number: int,
        part: ApplianceReadings,
        is_kept: Callable[[int], bool],
        reason: str,
    ) -> ApplianceReadings:
        """The readings whose instants in ms are kept; the others are refused for this reason."""
        refused = [at_ms for at_ms in part.at if not is_kept(at_ms)]
        if not refused:
            return part
        detail = f"appliance {part.appliance} at {_shown(refused[0])}"
        self._refuse(number, reason, len(refused), detail)
        kept = [place for place, at_ms in enumerate(part.at) if is_kept(at_ms)]
        columns = {
            name: [values[place] for place in kept]
            for name in ("at", *QUANTITIES)
            if (values := getattr(part, name)) is not None
        }
        return ApplianceReadings(appliance=part.appliance, **columns)

    def _take_report(self, report: StoreReport, rows: _Rows) -> None:
        self._outcome.count("readings stored", report.stored)
        self._outcome.count("readings known already", report.unchanged)
        if not report.refused:
            return
        message = np.asarray(rows.message)
        at_fault = np.flatnonzero(report.reasons)
        pairs, first, counts = np.unique(
            np.stack([message[at_fault], report.reasons[at_fault]]),
            axis=1,
            return_index=True,
            return_counts=True,
        )
        for (number, code), place, count in zip(pairs.T.tolist(), first, counts, strict=True):
            row = at_fault[place]
            reason = REASONS[code - 1].value
            detail = f"appliance {rows.names[rows.appliance_key[row]]} at {_shown(rows.at_ms[row])}"
            self._refuse(number, reason, int(count), detail)

    def _note_fresh(self, fresh: Iterable[tuple[int, int]]) -> None:
        """Of which systems the latest readings are others now, by the keys of their appliances."""
        systems = {system_key for system_key, _appliance_key in fresh}
        self._outcome.news.update(
            gateway.system_id for _item, gateway in self._readings if gateway.system_key in systems
        )

    def _refuse(self, number: int, reason: str, count: int, detail: str) -> None:
        item, gateway = self._readings[number]
        reasons = self._refused[number]
        reasons[reason] = reasons.get(reason, 0) + count
        self._contacts[gateway.id].refused_readings += count
        self._outcome.count("readings refused", count)
        self._faults.append(
            Fault(
                gateway_id=gateway.id,
                topic=item.channel.value,
                reason=reason,
                detail=detail,
                count=count,
                body=item.arrival.body,
            )
        )

    def _answer_refused(self, number: int, reasons: dict[str, int]) -> None:
        item, _gateway = self._readings[number]
        error = Error(
            v=VERSION,
            reason=next(iter(reasons)) if len(reasons) == 1 else REFUSED,
            channel=item.channel.value,
            seq=item.message.seq,
            refused=reasons,
        )
        self._outcome.answers.add_error(item.serial, error)


def _is_nobodys(part: ApplianceReadings, known: _Known | None) -> bool:
    """Whether some of the readings are of no appliance that was there, as far as is known."""
    return known is None or (known.removed_ms is not None and max(part.at) >= known.removed_ms)


class _Appliances:
    """The appliances of the gateways of a batch, by local id and by UUID.

    Asked for with every batch: one query, and nothing to invalidate.
    """

    def __init__(self, gateway_ids: Iterable[UUID]) -> None:
        self._by_local_id: dict[tuple[UUID, str], _Known] = {}
        self._by_id: dict[tuple[UUID, str], _Known] = {}
        rows = Appliance.objects.filter(gateway__in=list(gateway_ids)).values_list(
            "gateway_id",
            "local_id",
            "id",
            "system__key",
            "key",
            "kind",
            "min_power_w",
            "max_power_w",
            "removed_at",
        )
        for gateway_id, local_id, appliance_id, *rest, removed_at in rows:
            known = _Known(*rest, None if removed_at is None else to_ms(removed_at))
            self._by_local_id[gateway_id, local_id] = known
            self._by_id[gateway_id, str(appliance_id)] = known

    def find(self, gateway_id: UUID, reference: str) -> _Known | None:
        """The appliance that a gateway means, if it has it."""
        return self._by_local_id.get((gateway_id, reference)) or self._by_id.get(
            (gateway_id, reference.lower())
        )

    def have_lost_one(self) -> bool:
        """Whether one of them was removed since they were found."""
        there = [known.key for known in self._by_id.values() if known.removed_ms is None]
        return Appliance.objects.filter(key__in=there).exclude(removed_at=None).exists()

    def powers(self) -> PlausiblePowers:
        return PlausiblePowers.of(
            (known.key, known.kind, known.min_power_w, known.max_power_w)
            for known in self._by_id.values()
        )


def _is_late(batch: Batch, report: StoreReport, now: datetime) -> bool:
    """Whether slots are to be computed again that are over, and not only those that run."""
    accepted_ms = batch.at_ms[report.reasons == 0]
    return report.dirty_slots > 0 and bool(accepted_ms.min() < to_ms(slot_start(now)))


def _shown(at_ms: int) -> str:
    return from_ms(at_ms).isoformat(timespec="seconds")
