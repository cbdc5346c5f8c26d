"""Live values and history of systems, clusters and pools on the wire API."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.wire import ErrorSerializer
from gridx import clock
from inventory.api import flag
from inventory.kinds import ApplianceKind
from inventory.models import Cluster, System, SystemPool
from measurements.clusters import appliances_within, live_of_cluster, past_of_cluster
from measurements.coverage import judged, seconds_to_see
from measurements.figures import QUALITY, SUMMED
from measurements.history import DEVICE_COLUMNS, DEVICE_QUALITY, past_of_system
from measurements.intervals import LIMITS, check_length, parse_interval
from measurements.numbers import fetch_one
from measurements.pools import live_of_pool, past_of_pool
from measurements.queries import live_of_system
from measurements.resolutions import Resolution
from measurements.wire.history import (
    COLUMNS,
    LISTED,
    add_quality,
    history_to_wire,
    pool_history_to_wire,
)
from measurements.wire.live import live_to_wire, pool_live_to_wire
from measurements.wire.schema import (
    HistoricalSerializer,
    LiveSerializer,
    PoolHistoricalSerializer,
    PoolLiveSerializer,
)

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
    description="15m and 1h give powers in W, coarser ones energies in Wh. "
    "At 1M and 1y single appliances of a system are not listed.",
)
QUALITY_WANTED = OpenApiParameter(
    "quality",
    bool,
    default=False,
    description="How much of each window was seen, and what there is to know of its figures.",
)
HISTORY = extend_schema(
    parameters=[INTERVAL, RESOLUTION, QUALITY_WANTED],
    responses={200: HistoricalSerializer, **REFUSALS, 422: ErrorSerializer},
)
# The columns of what a pool has in common: no state of charge, no counters.
_OF_POOLS = [name for name in COLUMNS if name in SUMMED]


class SystemView(APIView):
    """Views of one system, which must be in sight; of it only what finds its measurements."""

    def get_system(self) -> System:
        visible = System.objects.visible_to(self.request.user).filter(pk=self.kwargs["system_id"])
        system = fetch_one(visible, "id", "key", "time_zone")
        if system is None:
            raise Http404
        return system


@extend_schema(tags=["system"], responses={200: LiveSerializer, **REFUSALS})
class SystemLive(SystemView):
    """What flows in a system now."""

    def get(self, request: Request, system_id) -> Response:
        live = live_of_system(system=self.get_system(), now=clock.now())
        return Response(live_to_wire(live))


@extend_schema(tags=["system"])
@HISTORY
class SystemHistorical(SystemView):
    """What flowed in a system, span by span, and in all."""

    def get(self, request: Request, system_id) -> Response:
        system = self.get_system()
        asked = _asked(request, system.zone)
        resolution, with_quality = asked["resolution"], flag(request, "quality")
        with_appliances = resolution in _WITH_APPLIANCES
        past = past_of_system(
            system=system,
            columns=(*COLUMNS, *QUALITY) if with_quality else COLUMNS,
            kinds=LISTED if with_appliances else (ApplianceKind.BATTERY,),
            device_columns=_of_devices(with_quality) if with_appliances else (),
            **asked,
        )
        wire = history_to_wire(past, resolution)
        if with_quality:
            add_quality(wire, past, *judged(past, system=system.key, now=clock.now()))
        return _answer(wire)


class ClusterView(APIView):
    """Views of one cluster, which must be in sight."""

    def get_cluster(self) -> Cluster:
        visible = Cluster.objects.visible_to(self.request.user).select_related("system")
        return get_object_or_404(visible, pk=self.kwargs["cluster_id"])


@extend_schema(tags=["cluster"], responses={200: LiveSerializer, **REFUSALS})
class ClusterLive(ClusterView):
    """What flows in a cluster's appliances now, those of nested clusters included."""

    def get(self, request: Request, cluster_id) -> Response:
        live = live_of_cluster(cluster=self.get_cluster(), now=clock.now())
        return Response(live_to_wire(live))


@extend_schema(tags=["cluster"])
@HISTORY
class ClusterHistorical(ClusterView):
    """What flowed in a cluster's appliances of today, span by span, and in all."""

    def get(self, request: Request, cluster_id) -> Response:
        cluster = self.get_cluster()
        asked, with_quality = _asked(request, cluster.system.zone), flag(request, "quality")
        columns = _of_devices(with_quality)
        past = past_of_cluster(cluster=cluster, kinds=LISTED, device_columns=columns, **asked)
        wire = history_to_wire(past, asked["resolution"])
        if with_quality:
            now, keys = clock.now(), {one.key for one in appliances_within(cluster)}
            system = cluster.system.key
            add_quality(wire, past, *judged(past, system=system, appliances=keys, now=now))
        return _answer(wire)


class PoolView(APIView):
    """Views of one pool, which must be in sight."""

    def get_pool(self) -> SystemPool:
        visible = SystemPool.objects.visible_to(self.request.user)
        return get_object_or_404(visible, pk=self.kwargs["pool_id"])


@extend_schema(tags=["systempool"], responses={200: PoolLiveSerializer, **REFUSALS})
class PoolLive(PoolView):
    """What flows in all systems of a pool now, and how many of them were read lately."""

    def get(self, request: Request, pool_id) -> Response:
        found = live_of_pool(pool=self.get_pool(), now=clock.now())
        return Response(pool_live_to_wire(found.live, seen=found.seen, systems=found.systems))


@extend_schema(
    tags=["systempool"],
    parameters=[INTERVAL, RESOLUTION, QUALITY_WANTED],
    responses={200: PoolHistoricalSerializer, **REFUSALS, 422: ErrorSerializer},
)
class PoolHistorical(PoolView):
    """What flowed in all systems of a pool, span by span in its time zone, and in all."""

    def get(self, request: Request, pool_id) -> Response:
        pool = self.get_pool()
        asked, with_quality = _asked(request, pool.zone), flag(request, "quality")
        columns = (*_OF_POOLS, *QUALITY) if with_quality else _OF_POOLS
        found = past_of_pool(pool=pool, columns=columns, **asked)
        wire = pool_history_to_wire(
            found.past,
            asked["resolution"],
            seen=found.seen,
            seen_in_all=found.seen_in_all,
            systems=found.systems,
        )
        if with_quality:
            now, systems = clock.now(), pool.systems.values_list("key", flat=True)
            to_see_s = seconds_to_see(found.past.spans, systems=systems, now=now)
            add_quality(wire, found.past, to_see_s)
        return _answer(wire)


def _of_devices(with_quality: bool) -> Sequence[str]:
    """The columns that single appliances are told by."""
    return (*DEVICE_COLUMNS, *DEVICE_QUALITY) if with_quality else DEVICE_COLUMNS


def _answer(wire: dict[str, Any]) -> Response:
    """An answer that lets go of what it says as soon as it is said.

    Answers are in a cycle with their views. Thousands of dicts in it would have to be found by the
    collector of garbage, which took milliseconds of some later request.
    """
    answer = Response(wire)
    answer.add_post_render_callback(_let_go)
    return answer


def _let_go(answer: Response) -> None:
    answer.data = None


def _asked(request: Request, zone: ZoneInfo) -> dict[str, Any]:
    """From when until when, and at which resolution. Raises ValidationError."""
    try:
        resolution = Resolution(request.query_params.get("resolution") or Resolution.HOUR)
    except ValueError as problem:
        raise ValidationError({"resolution": [f"is one of {', '.join(Resolution)}"]}) from problem
    try:
        span = parse_interval(request.query_params.get("interval", ""))
        check_length(span, resolution, zone)
    except ValueError as problem:
        raise ValidationError({"interval": [str(problem)]}) from problem
    return {"from_at": span.from_at, "until_at": span.until_at, "resolution": resolution}
