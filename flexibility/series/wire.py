"""The wire's schedules, which are series of limits: what is taken, sent and described."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import time
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.wire import NamedSerializer, wire_name
from accounts.wire_fields import GREATEST, InstantField, TextField, WholeField
from flexibility.emitters import UnableToConstrain
from flexibility.models import Series
from flexibility.operations import Draft
from flexibility.series.operations import MOST_PARTS, Part, SeriesDraft
from flexibility.series.recurrence import Frame
from inventory.kinds import ApplianceKind

STATUSES = ["ACTIVE", "OUTDATED", "UPCOMING"]
FREQUENCIES = ["DAILY"]
WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
ALL_DAY = Frame(time(), time())
_CLOCK = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"


class PowerField(WholeField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=int(GREATEST), help_text="W", **options)


# Of charging stations ----------------------------------------------------------------------------


class ChargingScheduleSerializer(NamedSerializer):
    """The most that each charging station of a system may charge with from one instant to another.

    All kinds of emitters may have their own; where several hold, the lowest counts.
    """

    id = serializers.UUIDField(read_only=True)
    from_ = InstantField(source="from_at")
    to = InstantField(source="until_at", help_text="At most 400 days ahead.")
    limit = PowerField()
    updated_at = InstantField(read_only=True)

    def to_representation(self, series: Series) -> dict[str, Any]:
        return {
            "id": series.pk,
            "from": series.from_at,
            "to": series.until_at,
            "limit": _whole(series.parts[0]["max_w"]),
            "updatedAt": series.updated_at,
        }


def charging_draft_of(validated: Mapping[str, Any], *, time_zone: str) -> SeriesDraft:
    """The series that a client asks for with a schedule of charging stations."""
    return SeriesDraft(
        parts=(Part(frame=ALL_DAY, asks=Draft(max_w=float(validated["limit"]))),),
        from_at=validated["from_at"],
        until_at=validated["until_at"],
        time_zone=time_zone,
        kinds=(ApplianceKind.EV_CHARGING_STATION.value,),
    )


# Of grid connections -----------------------------------------------------------------------------


class ClockField(serializers.RegexField):
    """A time of the day; 24:00 is the next midnight."""

    default_error_messages = {"invalid": _("This is no time of a day, such as 06:30.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(_CLOCK, **options)

    def to_internal_value(self, data) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class TimeframeSerializer(NamedSerializer):
    """The limit between two times of the day; an end that is not later is that of the next day."""

    from_ = ClockField()
    to = ClockField()
    max_power = PowerField()

    def validate(self, sent: dict[str, Any]) -> dict[str, Any]:
        # Within a change, too, a timeframe is whole.
        absent = self.get_fields().keys() - set(map(wire_name, sent))
        if absent:
            reason = self.fields["from"].error_messages["required"]
            raise serializers.ValidationError({name: [reason] for name in sorted(absent)})
        return sent


class RecurrenceSerializer(NamedSerializer):
    frequency = serializers.ChoiceField(FREQUENCIES)
    by_day_of_week = serializers.ListField(
        child=serializers.ChoiceField(WEEKDAYS),
        required=False,
        max_length=len(WEEKDAYS),
        help_text="The days on which a timeframe begins; all without any.",
    )


class PowerLimitScheduleSerializer(NamedSerializer):
    """The most that a system may import at times of the day, as the clock there shows them.

    Timeframes of one schedule do not overlap; where several schedules hold, the lowest limit
    counts. The next 400 days are set; PATCH moves that on.
    """

    id = serializers.UUIDField(read_only=True)
    title = TextField(max_length=200, help_text="There is no other of this title in the system.")
    from_ = InstantField(source="from_at")
    to = InstantField(source="until_at")
    timezone = TextField(
        source="time_zone",
        max_length=64,
        required=False,
        help_text="An IANA time zone; by default the system's.",
    )
    timeframes = serializers.ListField(
        child=TimeframeSerializer(), allow_empty=False, max_length=MOST_PARTS
    )
    recurrence = RecurrenceSerializer(required=False, help_text="By default every day.")
    status = serializers.SerializerMethodField()
    created_at = InstantField(read_only=True)
    updated_at = InstantField(read_only=True)

    @extend_schema_field(serializers.ChoiceField(STATUSES))
    def get_status(self, series: Series) -> str:
        if series.holds_now:
            return "ACTIVE"
        return "UPCOMING" if series.comes_again else "OUTDATED"

    def to_representation(self, series: Series) -> dict[str, Any]:
        recurrence: dict[str, Any] = {"frequency": FREQUENCIES[0]}
        if series.weekdays:
            recurrence["byDayOfWeek"] = [WEEKDAYS[day] for day in series.weekdays]
        return {
            "id": series.pk,
            "title": series.title,
            "from": series.from_at,
            "to": series.until_at,
            "timezone": series.time_zone,
            "timeframes": [
                {
                    "from": part["begins"][:5],
                    "to": part["ends"][:5],
                    "maxPower": _whole(part["max_w"]),
                }
                for part in series.parts
            ],
            "recurrence": recurrence,
            "status": self.get_status(series),
            "createdAt": series.created_at,
            "updatedAt": series.updated_at,
        }


def power_limit_draft_of(
    validated: Mapping[str, Any], *, time_zone: str, before: SeriesDraft | None = None
) -> SeriesDraft:
    """The series that a client asks for; what it does not say is as before."""
    stated = {
        name: validated[name]
        for name in ("title", "from_at", "until_at", "time_zone")
        if name in validated
    }
    if "timeframes" in validated:
        stated["parts"] = tuple(map(_part, validated["timeframes"]))
    if "recurrence" in validated:
        days = validated["recurrence"].get("by_day_of_week", ())
        stated["weekdays"] = tuple(map(WEEKDAYS.index, days))
    if before is not None:
        return replace(before, **stated)
    return SeriesDraft(
        **{"time_zone": time_zone, **stated}, kinds=(ApplianceKind.GRID_METER.value,)
    )


def _part(timeframe: Mapping[str, Any]) -> Part:
    frame = Frame(_time(timeframe["from_"]), _time(timeframe["to"]))
    return Part(frame=frame, asks=Draft(max_w=float(timeframe["max_power"])))


def _time(clock: str) -> time:
    return time() if clock == "24:00" else time.fromisoformat(clock)


def _whole(power_w: float) -> int:
    return round(power_w)


# Shared ------------------------------------------------------------------------------------------

_WIRE_NAMES = {
    "from_at": "from",
    "until_at": "to",
    "invalid_at": "to",
    "time_zone": "timezone",
    "parts": "timeframes",
    "weekdays": "recurrence",
    "target": "systemID",
}


def series_refusal(error: UnableToConstrain) -> serializers.ValidationError:
    """What a client is told: the wire's field, with the place of the part at fault."""
    name = _WIRE_NAMES.get(error.field, error.field)
    detail: Any = [error.reason]
    if error.number is not None:
        name, detail = "timeframes", {str(error.number): detail}
    return serializers.ValidationError({name: detail})
