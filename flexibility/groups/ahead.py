"""What a cluster, a pool or a system may do together, now and for two days, on the wire API."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import REFUSALS
from accounts.wire import ErrorSerializer, NamedSerializer
from accounts.wire_fields import InstantField, NumberField
from flexibility.api import visible_cluster, visible_pool
from flexibility.queries import summed_timeline
from flexibility.resolving import HORIZON
from flexibility.room import rooms_of, total
from gridx import clock
from inventory.models import Cluster, System, SystemPool
from measurements.intervals import parse_interval
from measurements.resolutions import Span as Interval

INTERVAL = OpenApiParameter(
    "interval",
    description="`<start>/<end>` of the timeline, ISO 8601 instants with their offset, at most"
    f" {HORIZON.total_seconds() / 3600:g} h apart; by default from now to in 48 h. What is past of"
    " it is left out, and it may not be past as a whole.",
)


class RoomSerializer(NamedSerializer):
    """How much more and how much less an appliance could take now, and why not further."""

    appliance_id = serializers.UUIDField(source="appliance.id")
    system_id = serializers.UUIDField(source="appliance.system_id")
    stale = serializers.BooleanField(source="is_stale")
    power = NumberField(source="power_w", allow_null=True, help_text="W; null where unknown")
    up_power = NumberField(source="up_w", help_text="W")
    down_power = NumberField(source="down_w", help_text="W")
    up_reason = serializers.CharField()
    down_reason = serializers.CharField()


class SummedSerializer(NamedSerializer):
    """What all may do together in `[from, until)`; who may pause has 0 as the least.

    A sum of nobody's is null: where nobody has a limit on that side, or nobody has a set point.
    """

    from_ = InstantField(source="from_at")
    until = InstantField(source="until_at")
    min_power = NumberField(source="min_w", allow_null=True, help_text="W")
    max_power = NumberField(source="max_w", allow_null=True, help_text="W")
    set_point = NumberField(
        source="set_point_w", allow_null=True, help_text="W, of those that have one"
    )
    with_set_point = serializers.IntegerField(source="held", help_text="How many have one.")
    unlimited = serializers.IntegerField(
        help_text="How many have a side without a known limit: that side is not in the sum."
    )


class TogetherSerializer(NamedSerializer):
    """How much more and how much less all could take now; each appliance once.

    `timeline` says what all may do from now on. Those that are stale have no part in `upPower` and
    `downPower`; in the timeline they have, as what is asked of them stands.
    """

    at = InstantField()
    up_power = NumberField(help_text="W, not negative: what could be consumed more")
    down_power = NumberField(help_text="W, not negative: what could be consumed less")
    counted = serializers.IntegerField(help_text="How many appliances there are.")
    stale = serializers.IntegerField(help_text="Of how many of them there is no news.")
    appliances = RoomSerializer(many=True)
    timeline = SummedSerializer(many=True)


class PoolFlexibilitySerializer(TogetherSerializer):
    system_pool_id = serializers.UUIDField(source="id")


class ClusterFlexibilitySerializer(TogetherSerializer):
    cluster_id = serializers.UUIDField(source="id")


class SystemFlexibilitySerializer(TogetherSerializer):
    system_id = serializers.UUIDField(source="id")


def describe(answer: type[TogetherSerializer]):
    return extend_schema(
        tags=["flexibility"],
        parameters=[INTERVAL],
        responses={200: answer, **REFUSALS, 422: ErrorSerializer},
    )


class Together(generics.GenericAPIView):
    """What all within a view's `get_group` may do; its `serializer_class` names the group."""

    pagination_class = None

    def get(self, request: Request, *args: UUID, **kwargs: UUID) -> Response:
        group, now = self.get_group(), clock.now()
        asked_for = _ahead(request, now)
        rooms = rooms_of(group=group, now=now)
        up_w, down_w = total(rooms)
        found: dict[str, Any] = {
            "id": group.pk,
            "at": now,
            "up_power": up_w,
            "down_power": down_w,
            "counted": len(rooms),
            "stale": sum(one.is_stale for one in rooms),
            "appliances": rooms,
            "timeline": summed_timeline(
                appliances=[one.appliance for one in rooms],
                from_at=asked_for.from_at,
                until_at=asked_for.until_at,
            ),
        }
        return Response(self.get_serializer(found).data)


@describe(SystemFlexibilitySerializer)
class SystemFlexibility(Together):
    """How much more and less a system could take, now and for two days, and why not."""

    serializer_class = SystemFlexibilitySerializer

    def get_group(self) -> System:
        visible = System.objects.visible_to(self.request.user)
        return get_object_or_404(visible, pk=self.kwargs["system_id"])


@describe(ClusterFlexibilitySerializer)
class ClusterFlexibility(Together):
    """How much more and less a cluster could take, now and for two days, and why not."""

    serializer_class = ClusterFlexibilitySerializer

    def get_group(self) -> Cluster:
        return visible_cluster(self.request.user, self.kwargs["cluster_id"])


@describe(PoolFlexibilitySerializer)
class PoolFlexibility(Together):
    """How much more and less a pool's systems could take, now and for two days, and why not."""

    serializer_class = PoolFlexibilitySerializer

    def get_group(self) -> SystemPool:
        return visible_pool(self.request.user, self.kwargs["pool_id"])


def _ahead(request: Request, now: datetime) -> Interval:
    """The interval of the timeline, from now on at the earliest. Raises ValidationError."""
    text = request.query_params.get("interval")
    if not text:
        return Interval(now, now + HORIZON)
    try:
        found = parse_interval(text)
    except ValueError as problem:
        raise ValidationError({"interval": [str(problem)]}) from problem
    if found.until_at - found.from_at > HORIZON:
        raise ValidationError({"interval": [_("It is longer than 48 hours.")]})
    if found.until_at <= now:
        raise ValidationError({"interval": [_("It is over: a sum is told from now on.")]})
    return Interval(max(found.from_at, now), found.until_at)
