"""Shared limits of clusters on the wire API: one for each kind of emitter, and what came of it."""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import REFUSALS
from accounts.wire import ErrorSerializer, NamedSerializer, wire_name
from accounts.wire_fields import FlagField, IdField, InstantField, NumberField, WholeField
from flexibility.allotment import Side, Strategy, Why
from flexibility.api import caller, may_be_named, visible_cluster
from flexibility.emitters import Emitter, UnableToConstrain
from flexibility.limits.operations import (
    LimitDraft,
    fuse_emitter_of,
    limits_on,
    set_limit,
    shares_of,
    usual_id,
    withdraw_limit,
)
from flexibility.models import Constraint, SharedLimit
from flexibility.queries import State, state_of
from flexibility.resolver import EmitterKind
from flexibility.wire import (
    KINDS,
    PHASES,
    STATES,
    EmitterSerializer,
    KindField,
)
from flexibility.wire_targets import TargetedMixin, target_of
from gridx import clock
from inventory.api import flag, require_known
from inventory.models import Cluster

STRATEGIES = [one.upper() for one in Strategy]
WHYS = [wire_name(why) for why in Why]
MOST_IN_ORDER = 1000

FUSE = OpenApiParameter(
    "fuse",
    bool,
    default=False,
    description="The one for what the wiring bears.",
)


class StrategyField(serializers.ChoiceField):
    """How a limit is divided, in capitals."""

    def __init__(self, **options: Any) -> None:
        super().__init__(STRATEGIES, **options)

    def to_internal_value(self, data) -> Strategy:
        return Strategy(super().to_internal_value(data).lower())

    def to_representation(self, value: str) -> str:
        return value.upper()


class HolderSerializer(NamedSerializer):
    """Who cannot be brought down, and with what power it counts; null where that can be any."""

    appliance_id = serializers.UUIDField()
    power = serializers.FloatField(allow_null=True, help_text="W")


class TallySerializer(NamedSerializer):
    """How a limit, of the sum or of one phase, and the members get on.

    `by` are those who keep it from being reached, the largest first.
    """

    side = serializers.ChoiceField([str(side) for side in Side])
    phase = serializers.IntegerField(allow_null=True)
    limit = serializers.FloatField(source="limit_w", help_text="W; what may be divided now")
    allotted = serializers.FloatField(
        source="allotted_w", allow_null=True, help_text="W; null where it can be any"
    )
    over = serializers.FloatField(
        source="over_w", allow_null=True, help_text="W; by how much it cannot be reached"
    )
    by = serializers.SerializerMethodField()
    blind = serializers.BooleanField(
        help_text="Nothing is given out, for the meter does not show what is left: it is not heard,"
        " or measures no phases."
    )

    @extend_schema_field(HolderSerializer(many=True))
    def get_by(self, tally: dict) -> list[dict]:
        return [{"applianceID": appliance, "power": power_w} for appliance, power_w in tally["by"]]


class ShareSerializer(NamedSerializer):
    """What one member has of the limit, and why on each side."""

    appliance_id = serializers.UUIDField()
    min_power = NumberField(source="min_w", allow_null=True, help_text="W")
    max_power = NumberField(source="max_w", allow_null=True, help_text="W")
    min_reason = serializers.SerializerMethodField()
    max_reason = serializers.SerializerMethodField()
    paused_since = InstantField(source="share.paused_since", allow_null=True)
    confirmed = serializers.SerializerMethodField(help_text="Whether its gateway keeps to it.")

    @extend_schema_field(serializers.ChoiceField(WHYS))
    def get_min_reason(self, row: Constraint) -> str:
        return wire_name(row.share.why_min)

    @extend_schema_field(serializers.ChoiceField(WHYS))
    def get_max_reason(self, row: Constraint) -> str:
        return wire_name(row.share.why_max)

    def get_confirmed(self, row: Constraint) -> bool:
        return row.share.unconfirmed_since is None


class SharedLimitSerializer(TargetedMixin, NamedSerializer):
    """A limit for the sum of what the members of a cluster, and of those within it, use or give.

    It is divided among them at once, and again as they are read. A `dynamic` one is the limit of
    the system's grid connection: the members have what the load beside them leaves.
    """

    id = IdField(read_only=True)
    cluster_id = IdField(read_only=True)
    fuse = FlagField(
        default=False, help_text="What the wiring bears; for those who manage the inventory."
    )
    min_power = NumberField(
        source="min_w", required=False, allow_null=True, help_text="W, not above 0"
    )
    max_power = NumberField(
        source="max_w", required=False, allow_null=True, help_text="W, not below 0"
    )
    phase_max_power = serializers.ListField(
        source="phase_max_w",
        child=NumberField(),
        required=False,
        allow_null=True,
        min_length=PHASES,
        max_length=PHASES,
        help_text="W, of each phase",
    )
    strategy = StrategyField(default=Strategy.EQUALLY)
    order = serializers.ListField(
        child=IdField(),
        default=list,
        max_length=MOST_IN_ORDER,
        help_text="of appliances, in SERIES",
    )
    kinds = serializers.ListField(
        child=KindField(),
        default=list,
        max_length=len(KINDS),
        help_text="For which members; without any for all controllable.",
    )
    dynamic = FlagField(default=False)
    priority = WholeField(
        required=False,
        allow_null=True,
        help_text="The higher wins; up to the ceiling of the kind of emitter.",
    )
    valid_at = InstantField(required=False, allow_null=True, help_text="By default now.")
    invalid_at = InstantField(
        required=False,
        allow_null=True,
        help_text="To be given, at most 400 days ahead; only a fuse may hold without an end.",
    )
    emitter = EmitterSerializer(source="*", read_only=True)
    created_at = InstantField(read_only=True)
    state = serializers.SerializerMethodField()
    reachable = serializers.BooleanField(source="is_reachable", read_only=True)
    divided_at = InstantField(source="balanced_at", read_only=True, allow_null=True)
    tallies = TallySerializer(many=True, read_only=True)
    shares = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ChoiceField(STATES))
    def get_state(self, row: SharedLimit) -> State:
        return state_of(row, now=self.context["now"])

    @extend_schema_field(ShareSerializer(many=True))
    def get_shares(self, row: SharedLimit) -> list[dict]:
        return ShareSerializer(shares_of(row, now=self.context["now"]), many=True).data


_WIRE_NAMES = {field.source: name for name, field in SharedLimitSerializer().fields.items()}


class ClusterLimit(generics.GenericAPIView):
    """The limit that a cluster's members share: one of each kind of emitter, and a fuse."""

    serializer_class = SharedLimitSerializer

    @extend_schema(
        tags=["cluster"], parameters=[FUSE], responses={200: SharedLimitSerializer, **REFUSALS}
    )
    def get(self, request: Request, cluster_id) -> Response:
        """The limit that the caller's kind of emitter set, else the strongest."""
        cluster, now = visible_cluster(request.user, cluster_id), clock.now()
        limit = self._limit_on(cluster, now)
        if limit is None:
            raise NotFound("There is no limit.")
        return self._answer(limit, now)

    @extend_schema(
        tags=["cluster"],
        responses={200: SharedLimitSerializer, **REFUSALS, 422: ErrorSerializer},
    )
    def put(self, request: Request, cluster_id) -> Response:
        """Limits the sum of the members; what the caller's kind of emitter set is replaced."""
        require_known(request)
        cluster, now = visible_cluster(request.user, cluster_id), clock.now()
        # Who may not is told so before what they sent is looked at.
        is_fuse = isinstance(request.data, dict) and request.data.get("fuse") is True
        by = self._emitter(fuse=is_fuse)
        # There is one for each kind of emitter, so the address says its id.
        named = {**target_of(cluster), "id": usual_id(cluster, by.kind)}
        fields = SharedLimitSerializer(data=request.data, context={"target": named})
        fields.is_valid(raise_exception=True)
        sent = {name: value for name, value in fields.validated_data.items() if value is not None}
        del sent["fuse"]
        draft = LimitDraft(id=named["id"], **sent)
        try:
            limit = set_limit(cluster=cluster, draft=draft, by=by, now=now)
        except UnableToConstrain as error:
            field = _WIRE_NAMES.get(error.field, error.field)
            raise ValidationError({field: [error.reason]}) from error
        return self._answer(limit, now)

    @extend_schema(tags=["cluster"], parameters=[FUSE], responses={204: None, **REFUSALS})
    def delete(self, request: Request, cluster_id) -> Response:
        """Withdraws the limit of the caller's kind of emitter, if there is one."""
        require_known(request, "fuse")
        cluster, now = visible_cluster(request.user, cluster_id), clock.now()
        by = self._emitter(fuse=flag(request, "fuse"))
        own = limits_on(cluster, now=now).filter(pk=usual_id(cluster, by.kind)).first()
        if own is not None:
            withdraw_limit(limit=own, by=by, now=now)
        return Response(status=204)

    def _emitter(self, *, fuse: bool) -> Emitter:
        """As what the caller limits clusters. Raises PermissionDenied."""
        return fuse_emitter_of(self.request.user) if fuse else caller(self.request)

    def _limit_on(self, cluster: Cluster, now: datetime) -> SharedLimit | None:
        standing = limits_on(cluster, now=now)
        if flag(self.request, "fuse"):
            return standing.filter(emitter_kind=EmitterKind.FUSE).first()
        try:
            own = standing.filter(pk=usual_id(cluster, caller(self.request).kind)).first()
        except PermissionDenied:
            own = None
        return own or standing.first()

    def _answer(self, limit: SharedLimit, now: datetime) -> Response:
        context = {"people": may_be_named(self.request.user, [limit]), "now": now}
        return Response(SharedLimitSerializer(limit, context=context).data)
