"""History and readings as files: `GET …/export?interval=…&resolution=…&format=…`."""

from typing import Any

from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.wire import ErrorSerializer
from gridx import clock
from inventory.models import Appliance
from measurements.api import ClusterView, PoolView, SystemView
from measurements.exports.files import CONTENT_TYPES, XLSX_ROWS, Format, file_of, fits
from measurements.exports.tables import RESOLUTIONS, Subject, table_of
from measurements.intervals import parse_interval
from measurements.resolutions import Resolution, Span

_INTERVAL = OpenApiParameter(
    "interval",
    required=True,
    description="`<start>/<end>`, ISO 8601 instants with their offset. Of any length.",
)
_RESOLUTION = OpenApiParameter(
    "resolution",
    enum=[*RESOLUTIONS],
    default=str(Resolution.HOUR),
    description="Energies in Wh at each of them. `raw`: single readings as their gateways told"
    " them, of one appliance after the other, each in order of time; rows name their appliance,"
    " and of a pool their system.",
)
_FORMAT = OpenApiParameter(
    "format",
    enum=[str(one) for one in Format],
    default=str(Format.CSV),
    description=f"xlsx holds at most {XLSX_ROWS} rows.",
)
_RESPONSES = {
    (200, "text/csv"): OpenApiTypes.STR,
    **{(200, CONTENT_TYPES[one]): OpenApiTypes.BINARY for one in (Format.PARQUET, Format.XLSX)},
    403: ErrorSerializer,
    404: ErrorSerializer,
    422: ErrorSerializer,
}


def _described(tag: str):
    return extend_schema(
        tags=[tag], parameters=[_INTERVAL, _RESOLUTION, _FORMAT], responses=_RESPONSES
    )


class SystemExport(SystemView):
    """What flowed in a system, or the single readings of its appliances, as a file."""

    @_described("system")
    def get(self, request: Request, system_id) -> StreamingHttpResponse:
        """What flowed in a system as a file, span by span; or its single readings."""
        return _answer(request, self.get_system())


class ClusterExport(ClusterView):
    """The same of a cluster."""

    @_described("cluster")
    def get(self, request: Request, cluster_id) -> StreamingHttpResponse:
        """What flowed in a cluster's appliances of today as a file; or their single readings."""
        return _answer(request, self.get_cluster())


class PoolExport(PoolView):
    """The same of a pool."""

    @_described("systempool")
    def get(self, request: Request, pool_id) -> StreamingHttpResponse:
        """What flowed in a pool's systems as a file, span by span; or their single readings."""
        return _answer(request, self.get_pool())


class ApplianceExport(APIView):
    """The same of an appliance."""

    @_described("appliance")
    def get(self, request: Request, appliance_id) -> StreamingHttpResponse:
        """What flowed in an appliance as a file; positive is into it, in readings as well."""
        visible = Appliance.objects.visible_to(request.user).select_related("system")
        return _answer(request, get_object_or_404(visible, pk=appliance_id))


def _answer(request: Request, subject: Subject) -> StreamingHttpResponse:
    span, resolution, wanted = _asked(request)
    table = table_of(subject, span, resolution, now=clock.now())
    if not fits(table, wanted):
        said = f"xlsx holds at most {XLSX_ROWS} rows; take csv or parquet, or a shorter period"
        raise ValidationError({"format": [said]})
    return file_of(request._request, subject, table, span, resolution, wanted)


def _asked(request: Request) -> tuple[Span, str, Format]:
    """What to export, at which resolution and how. Raises ValidationError."""
    query, problems = request.query_params, {}
    found: dict[str, Any] = {"resolution": query.get("resolution") or str(Resolution.HOUR)}
    if found["resolution"] not in RESOLUTIONS:
        problems["resolution"] = [f"is one of {', '.join(RESOLUTIONS)}"]
    found["format"] = query.get("format") or str(Format.CSV)
    if found["format"] not in set(Format):
        problems["format"] = [f"is one of {', '.join(Format)}"]
    try:
        span = parse_interval(query.get("interval", ""))
    except ValueError as problem:
        problems["interval"] = [str(problem)]
    if problems:
        raise ValidationError(problems)
    return span, found["resolution"], Format(found["format"])
