"""What energy management told an appliance to do, beside what was read of it, on the wire API."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.paging import parts_by_key
from accounts.wire import WireSerializer
from flexibility.models import ResolvedBoundary
from gridx import clock
from inventory.models import Appliance
from measurements.raw_api import (
    AT_ONCE,
    RAW_INTERVAL,
    RAW_REFUSALS,
    RawScope,
    json_array,
    raw_readings,
)
from measurements.resolutions import Span
from measurements.wire.readings import outward


class EnergyManagementSerializer(WireSerializer):
    """Empty where nothing was decided, or not yet; without a set point where none was asked for."""

    measured_at = serializers.DateTimeField(required=False, help_text="since when it holds")
    active_power_setpoint = serializers.IntegerField(
        required=False, help_text="mW, with the sign of the appliance's readings"
    )


class EnergyManagement(RawScope):
    """What energy management last decided for an appliance."""

    @extend_schema(
        tags=["appliance"],
        parameters=[RAW_INTERVAL],
        responses={200: EnergyManagementSerializer, **RAW_REFUSALS},
    )
    def get(self, request: Request, gateway_id, appliance_id) -> Response:
        """What held for an appliance at the end of the interval; nothing of what is to come."""
        appliance, span = self.asked()
        if span.from_at > clock.now():
            return Response({})
        last = _boundaries(appliance).filter(at__lt=span.until_at).order_by("-at").first()
        return Response(_to_wire(appliance, last))


class CombinedMeasurements(RawScope):
    """What was read of an appliance, and what it was told to do then."""

    @extend_schema(
        tags=["appliance"],
        parameters=[RAW_INTERVAL],
        responses={
            200: inline_serializer(
                "CombinedMeasurement",
                {
                    "measuredAt": serializers.DateTimeField(),
                    "energyManagement": EnergyManagementSerializer(required=False),
                },
                many=True,
            ),
            **RAW_REFUSALS,
        },
    )
    def get(self, request: Request, gateway_id, appliance_id) -> HttpResponseBase:
        """The readings of an appliance as those of `…/measurements/appliance`, each with what
        energy management had decided for it then."""
        return json_array(request, _combined(*self.asked()))


def _combined(appliance: Appliance, span: Span) -> Iterator[dict[str, Any]]:
    decided = _boundaries(appliance)
    held = decided.filter(at__lte=span.from_at).order_by("-at").first()
    later = decided.filter(at__gt=span.from_at, at__lt=span.until_at)
    changes = chain.from_iterable(parts_by_key(later, "at", size=AT_ONCE))
    following = next(changes, None)
    for reading in raw_readings(appliance, span):
        while following is not None and following.at <= reading["measuredAt"]:
            held, following = following, next(changes, None)
        told = _to_wire(appliance, held)
        yield reading | {"energyManagement": told} if told else reading


def _boundaries(appliance: Appliance):
    return ResolvedBoundary.objects.filter(
        system_key=appliance.system.key, appliance_key=appliance.key
    ).only("at", "set_point_w")


def _to_wire(appliance: Appliance, row: ResolvedBoundary | None) -> dict[str, Any]:
    if row is None:
        return {}
    wire: dict[str, Any] = {"measuredAt": row.at}
    if row.set_point_w is not None:
        sign = -1 if outward(appliance.kind) else 1
        wire["activePowerSetpoint"] = round(row.set_point_w * 1000 * sign)
    return wire
