"""A system's live values and history on the wire API."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.wire import ErrorSerializer
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from measurements.history import past_of_system
from measurements.intervals import LIMITS, check_length, parse_interval
from measurements.queries import live_of_system
from measurements.resolutions import Resolution, Span
from measurements.wire import COLUMNS, LISTED, history_to_wire, live_to_wire
from measurements.wire_schema import HistoricalSerializer, LiveSerializer

REFUSALS = {403: ErrorSerializer, 404: ErrorSerializer}

# Coarser ones are sums over so many days that a list of single appliances would be slow to make.
_WITH_APPLIANCES = frozenset(Resolution) - {Resolution.MONTH, Resolution.YEAR}

INTERVAL = OpenApiParameter(
    "interval",
    required=True,
    description="`<start>/<end>`, ISO 8601 instants with their offset. At most "
    + ", ".join(f"{words} at {resolution}" for resolution, (words, _most) in LIMITS.items())
    + ".",
)
RESOLUTION = OpenApiParameter(
    "resolution",
    enum=[str(resolution) for resolution in Resolution],
    default=str(Resolution.HOUR),
    description="15m and 1h give powers in W, coarser ones energies in Wh.",
)


class SystemView(APIView):
    """Views of one system, which must be in sight."""

    def get_system(self) -> System:
        visible = System.objects.visible_to(self.request.user)
        return get_object_or_404(visible, pk=self.kwargs["system_id"])


@extend_schema(tags=["system"], responses={200: LiveSerializer, **REFUSALS})
class SystemLive(SystemView):
    """What flows in a system now."""

    def get(self, request: Request, system_id) -> Response:
        live = live_of_system(system=self.get_system(), now=clock.now())
        return Response(live_to_wire(live))


@extend_schema(
    tags=["system"],
    parameters=[INTERVAL, RESOLUTION],
    responses={200: HistoricalSerializer, **REFUSALS, 422: ErrorSerializer},
)
class SystemHistorical(SystemView):
    """What flowed in a system, span by span, and in all."""

    def get(self, request: Request, system_id) -> Response:
        system = self.get_system()
        resolution = _resolution(request)
        span = _interval(request, resolution, system)
        with_appliances = resolution in _WITH_APPLIANCES
        past = past_of_system(
            system=system,
            from_at=span.from_at,
            until_at=span.until_at,
            resolution=resolution,
            columns=COLUMNS,
            kinds=LISTED if with_appliances else (),
        )
        batteries = () if with_appliances else _batteries(system)
        return Response(history_to_wire(past, resolution, batteries=batteries))


def _batteries(system: System) -> list[Appliance]:
    return list(
        Appliance.objects.filter(
            system=system, kind=ApplianceKind.BATTERY, removed_at=None
        ).order_by("key")
    )


def _resolution(request: Request) -> Resolution:
    try:
        return Resolution(request.query_params.get("resolution") or Resolution.HOUR)
    except ValueError as problem:
        raise ValidationError({"resolution": [f"is one of {', '.join(Resolution)}"]}) from problem


def _interval(request: Request, resolution: Resolution, system: System) -> Span:
    try:
        span = parse_interval(request.query_params.get("interval", ""))
        check_length(span, resolution, system.zone)
    except ValueError as problem:
        raise ValidationError({"interval": [str(problem)]}) from problem
    return span
