"""Single readings of an appliance on the wire API, streamed."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson
from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from accounts.paging import parts_by_key
from accounts.wire import ErrorSerializer
from inventory.api import ApplianceScope
from inventory.export import streaming
from inventory.models import Appliance
from measurements.intervals import RAW_LIMIT, check_raw_length, parse_interval
from measurements.queries import stored_readings
from measurements.resolutions import Span
from measurements.wire.readings import COLUMNS, raw_to_wire
from measurements.wire.readings_schema import RawSerializer

# So many are read, and written, at a time.
AT_ONCE = 2000

RAW_INTERVAL = OpenApiParameter(
    "interval",
    required=True,
    description=f"`<start>/<end>`, ISO 8601 instants with their offset. At most {RAW_LIMIT}.",
)
RAW_REFUSALS = {403: ErrorSerializer, 404: ErrorSerializer, 422: ErrorSerializer}


class RawScope(ApplianceScope):
    """Views of the readings of one appliance of a gateway, which must be in sight."""

    def asked(self) -> tuple[Appliance, Span]:
        """The appliance, and from when until when. Raises Http404, ValidationError."""
        visible = self.visible_appliances().select_related("system")
        appliance = get_object_or_404(visible, pk=self.kwargs["appliance_id"])
        try:
            span = parse_interval(self.request.query_params.get("interval", ""))
            check_raw_length(span, appliance.system.zone)
        except ValueError as problem:
            raise ValidationError({"interval": [str(problem)]}) from problem
        return appliance, span


class ApplianceMeasurements(RawScope):
    """What an appliance's gateway read of it."""

    @extend_schema(
        tags=["appliance"],
        parameters=[RAW_INTERVAL],
        responses={200: RawSerializer(many=True), **RAW_REFUSALS},
    )
    def get(self, request: Request, gateway_id, appliance_id) -> HttpResponseBase:
        """The readings of an appliance, as its gateway read it: whole thousandths of the units."""
        return json_array(request, raw_readings(*self.asked()))


def raw_readings(appliance: Appliance, span: Span) -> Iterator[dict[str, Any]]:
    """The readings of an appliance in its system, as the wire tells them, in order of time."""
    rows = stored_readings(appliance.system, appliance, span).values(*COLUMNS)
    for some in parts_by_key(rows, "at", size=AT_ONCE):
        for raw in some:
            yield raw_to_wire(appliance.kind, appliance.capacity_wh, raw)


def json_array(request: Request, items: Iterable[dict[str, Any]]) -> StreamingHttpResponse:
    """A JSON array of however many items, some at a time."""
    return streaming(request._request, _parts(items), content_type="application/json")


def _parts(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    rest, before = iter(items), b"["
    while some := list(islice(rest, AT_ONCE)):
        yield before + orjson.dumps(some, option=orjson.OPT_UTC_Z)[1:-1]
        before = b","
    yield b"[]" if before == b"[" else b"]"
