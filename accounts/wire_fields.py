"""Fields of what clients send: JSON's own types, and nothing that only looks like them.

A number is no text and no truth value; it is finite, and small enough that sums of many keep their
meaning. An instant has its offset.
"""

import re
from datetime import UTC, datetime
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

# W or Wh: no grid carries as much.
GREATEST = 1e12
# Others are slips of the pen, and what is counted from them may be no instant at all.
YEARS = range(2000, 2201)
# What is read by `datetime.fromisoformat`, which takes any character between date, time and offset.
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?"
    r"(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})?"
)


class NumberField(serializers.FloatField):
    default_error_messages = {"invalid": _("This is not a number.")}

    def to_internal_value(self, data) -> float:
        # In this order: a not-a-number is not within anything, and a huge integer is no float.
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        if not -GREATEST <= data <= GREATEST:
            self.fail("invalid")
        return float(data)


class WholeField(serializers.IntegerField):
    default_error_messages = {"invalid": _("This is not a whole number.")}

    def to_internal_value(self, data) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class FlagField(serializers.BooleanField):
    default_error_messages = {"invalid": _("This is neither true nor false.")}

    def to_internal_value(self, data) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class TextField(serializers.CharField):
    def to_internal_value(self, data) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class IdField(serializers.UUIDField):
    default_error_messages = {"invalid": _("This is not a UUID.")}

    def to_internal_value(self, data) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class InstantField(serializers.DateTimeField):
    default_error_messages = {
        "invalid": _("This is not an instant, such as 2026-06-01T12:00:00Z."),
        "naive": _("This lacks its offset, such as Z or +02:00."),
        "year": _("This is not in the years {first} to {last}."),
    }

    def to_internal_value(self, data) -> datetime:
        found = _INSTANT.fullmatch(data) if isinstance(data, str) else None
        if found is None:
            self.fail("invalid")
        if found["offset"] is None:
            self.fail("naive")
        try:
            at = datetime.fromisoformat(data)
        except ValueError:
            # No day of the calendar, or no time of a day.
            self.fail("invalid")
        if at.year not in YEARS:
            self.fail("year", first=YEARS[0], last=YEARS[-1])
        return at.astimezone(UTC)

    def to_representation(self, value: datetime) -> datetime:
        # The renderer writes instants.
        return value
