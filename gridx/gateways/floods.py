"""Gateways that send so much that others would wait: counted, cut off for a while, let in again.

What was acknowledged to them is stored all the same; what was not they send again.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import ceil

from django.db import connection, transaction

from gridx.gateways.arrivals import Arrival
from gridx.gateways.disconnects import TOPIC
from gridx.gateways.faults import Fault, record_faults
from gridx.gateways.messages import COUNTED_BYTES
from gridx.gateways.revocation import NOTICE
from gridx.gateways.topics import UnknownTopic, parse_subject
from inventory.models import Gateway

TOO_MANY = "too_many_messages"
PAUSE = timedelta(minutes=1)


class Rates:
    """How much each gateway sent within the current minute, as far as it came to this link."""

    def __init__(self, most: int) -> None:
        """`most` messages a minute are all right; a long one counts as several."""
        self._most = most
        self._minute = datetime.min.replace(tzinfo=UTC)
        self._sent: Counter[str] = Counter()

    def beyond(self, arrivals: Iterable[Arrival]) -> set[str]:
        """Count these; the serials among them of gateways that sent too much."""
        floods = set()
        for arrival in arrivals:
            # By when they came: what waited while no link ran was no flood.
            minute = arrival.at.replace(second=0, microsecond=0)
            if minute > self._minute:
                self._minute, self._sent = minute, Counter()
            if (serial := _serial_of(arrival.subject)) is None:
                continue
            self._sent[serial] += ceil(len(arrival.body) / COUNTED_BYTES) or 1
            if self._sent[serial] > self._most:
                floods.add(serial)
        return floods


def hold_off(*, serials: Iterable[str], most: int, now: datetime) -> list[str]:
    """End these gateways' connections and let them in again after PAUSE, shown as a fault.

    One that is held off already comes back when that was to end. Returns the serials of the others.
    """
    with transaction.atomic():
        found = (
            Gateway.objects.select_for_update(no_key=True)
            .filter(serial__in=list(serials))
            .exclude(paused_until__gt=now)
            .order_by("pk")
        )
        gateways = dict(found.values_list("pk", "serial"))
        if not gateways:
            return []
        Gateway.objects.filter(pk__in=gateways).update(paused_until=now + PAUSE)
        detail = f"more than {most} within a minute"
        record_faults(
            faults=[
                Fault(gateway_id=pk, topic=TOPIC, reason=TOO_MANY, detail=detail) for pk in gateways
            ],
            now=now,
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_notify(%s, serial) FROM unnest(%s::text[]) AS serial",
                [NOTICE, list(gateways.values())],
            )
    return list(gateways.values())


def _serial_of(subject: str) -> str | None:
    try:
        return parse_subject(subject).serial
    except UnknownTopic as error:
        return error.serial
