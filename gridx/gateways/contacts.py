"""What every message says about its gateway: that it is there, how its clock goes, what is missing.

All of a batch is written in one statement, with the gateways' rows locked in one order, so that
links that share the work neither wait in a circle nor overwrite each other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import connection

from gridx.gateways.sequences import Sequence
from gridx.models import SequenceHoles
from inventory.models import Gateway


@dataclass(slots=True)
class Contact:
    """What a batch says about one gateway.

    `at`: when it was heard last, None where it was not. `clock_offset_s`: how far its clock is
    ahead of the broker's. `online`: as it said last.
    """

    at: datetime | None = None
    numbers: list[int] = field(default_factory=list)
    clock_offset_s: float | None = None
    refused_readings: int = 0
    online: bool | None = None

    def touch(self, at: datetime, sent_at_ms: int | None = None) -> None:
        """One more message, with the instant at which the gateway says it sent it."""
        self.at = at if self.at is None else max(self.at, at)
        if sent_at_ms is not None:
            self.clock_offset_s = round(sent_at_ms / 1000 - at.timestamp(), 3)


def hold_gateways(gateways: Collection[UUID]) -> dict[UUID, Sequence]:
    """Hold these gateways until the transaction ends; returns how far each has counted.

    Always in the same order, so that two batches wait for each other, and never both.
    """
    held = Gateway.objects.select_for_update(no_key=True).filter(pk__in=gateways).order_by("pk")
    rows = held.values_list("pk", "last_sequence", "missing_messages")
    return {pk: Sequence(last, missing) for pk, last, missing in rows}


def record_contacts(contacts: Mapping[UUID, Contact]) -> None:
    """Write what the batch says about its gateways; to be called within its transaction."""
    known = hold_gateways(contacts)
    known = _with_holes(known)
    updated = {pk: known[pk].seen(contacts[pk].numbers) for pk in known}
    _write(updated, contacts)
    _write_holes({pk: updated[pk] for pk in known if updated[pk].holes != known[pk].holes})


def _with_holes(known: dict[UUID, Sequence]) -> dict[UUID, Sequence]:
    remembered = SequenceHoles.objects.filter(pk__in=known).values_list("pk", "holes")
    holes = {pk: tuple((first, last) for first, last in pairs) for pk, pairs in remembered}
    return {
        pk: Sequence(sequence.last, sequence.missing, holes.get(pk, ()))
        for pk, sequence in known.items()
    }


def _write(sequences: Mapping[UUID, Sequence], contacts: Mapping[UUID, Contact]) -> None:
    def column(name: str) -> list:
        return [getattr(contacts[pk], name) for pk in sequences]

    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE inventory_gateway AS g SET
                contacted_at = GREATEST(g.contacted_at, said.at),
                clock_offset_s = COALESCE(said.clock_offset_s, g.clock_offset_s),
                refused_readings = g.refused_readings + said.refused_readings,
                online = COALESCE(said.online, g.online),
                last_sequence = said.last,
                missing_messages = said.missing
            FROM unnest(
                %s::uuid[], %s::timestamptz[], %s::float8[], %s::bigint[], %s::boolean[],
                %s::bigint[], %s::bigint[]
            ) AS said (id, at, clock_offset_s, refused_readings, online, last, missing)
            WHERE g.id = said.id
            """,
            [
                list(sequences),
                column("at"),
                column("clock_offset_s"),
                column("refused_readings"),
                column("online"),
                [sequence.last for sequence in sequences.values()],
                [sequence.missing for sequence in sequences.values()],
            ],
        )


def _write_holes(changed: Mapping[UUID, Sequence]) -> None:
    SequenceHoles.objects.filter(pk__in=[pk for pk in changed if not changed[pk].holes]).delete()
    SequenceHoles.objects.bulk_create(
        [
            SequenceHoles(gateway_id=pk, holes=list(sequence.holes))
            for pk, sequence in changed.items()
            if sequence.holes
        ],
        update_conflicts=True,
        unique_fields=["gateway"],
        update_fields=["holes"],
    )


def gather(contacts: dict[UUID, Contact], gateway_id: UUID) -> Contact:
    """The contact of a gateway in a batch, made when this is its first message."""
    return contacts.setdefault(gateway_id, Contact())


def mark_offline(*, serials: Iterable[str]) -> set[UUID]:
    """Say that these gateways have no connection; returns the systems whose gateway had one."""
    gone = Gateway.objects.filter(serial__in=list(serials), online=True)
    systems = set(gone.values_list("system_id", flat=True))
    gone.update(online=False)
    return systems
