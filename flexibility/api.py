"""Flexibilities and constraints on the wire API. All of it within the caller's sight."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework import generics
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import LIST_REFUSALS, REFUSALS, asked
from accounts.models import User
from accounts.wire import ErrorSerializer
from flexibility.dry_run import DryRun, try_constraints
from flexibility.emitters import Emitter, UnableToConstrain, emitter_of
from flexibility.import_limits import (
    grid_meter_of,
    import_limit_on,
    lift_import_limit,
    set_import_limit,
)
from flexibility.models import Constraint
from flexibility.operations import (
    MOST_AT_ONCE,
    Draft,
    Target,
    set_constraints,
    withdraw_constraint,
)
from flexibility.queries import (
    ExplainedSpan,
    State,
    constraints_on,
    explain,
    flexibilities_of,
    flexibility_of,
    timeline_of,
)
from flexibility.resolver import EmitterKind
from flexibility.resolving import HORIZON
from flexibility.standing import members_of
from flexibility.wire import (
    STATES,
    ConstraintSerializer,
    DryRunSerializer,
    FlexibilitySerializer,
    ImportLimitSerializer,
    MemberDryRunSerializer,
    SegmentSerializer,
    asks_as_resident,
    draft_of,
    refusal,
)
from flexibility.wire_targets import target_of
from gridx import clock
from inventory.api import flag, require_known
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance, Cluster, Gateway, System, SystemPool
from measurements.intervals import parse_interval
from measurements.resolutions import Span as Interval

LONGEST_TIMELINE = timedelta(days=31)
ALL = "all"

INTERVAL = OpenApiParameter(
    "interval",
    description="`<start>/<end>`, ISO 8601 instants with their offset, at most"
    f" {LONGEST_TIMELINE.days} days apart; by default from now to in 48 h.",
)
STATE = OpenApiParameter(
    "state", enum=[*STATES, ALL], description="By default those that are active or scheduled."
)
DRY_RUN = OpenApiParameter(
    "dryRun",
    bool,
    default=False,
    description="Store nothing, and tell what would happen: of a cluster or a pool to each member,"
    " in pages by `page` and `per_page`.",
)


def caller(request: Request, *, home: System | None = None) -> Emitter:
    """As what the caller sets constraints (`emitter_of`). Raises PermissionDenied."""
    scopes = getattr(request.auth, "scope", "").split()
    return emitter_of(request.user, scopes=scopes, home=home)


def may_be_named(user: User, rows: Iterable[Constraint]) -> set[UUID]:
    """The ids of those who set these constraints, as far as the user sees them."""
    people = {row.emitter_id for row in rows if row.emitter_id}
    seen = User.objects.visible_to(user).filter(pk__in=people - {user.pk})
    return {user.pk, *seen.values_list("pk", flat=True)}


# Flexibility -------------------------------------------------------------------------------------


class ApplianceScope(generics.GenericAPIView):
    """Views of one appliance, which must be in sight."""

    def get_appliance(self) -> Appliance:
        visible = Appliance.objects.visible_to(self.request.user).select_related("system__account")
        return get_object_or_404(visible, pk=self.kwargs["appliance_id"])


@extend_schema(tags=["flexibility"], responses={200: FlexibilitySerializer, **REFUSALS})
class ApplianceFlexibility(ApplianceScope):
    """How an appliance may be used now, and why."""

    def get(self, request: Request, appliance_id) -> Response:
        found = flexibility_of(appliance=self.get_appliance(), now=clock.now())
        people = may_be_named(request.user, (one.row for one in found.constraints))
        return Response(FlexibilitySerializer(found, context={"people": people}).data)


@extend_schema(
    tags=["flexibility"],
    parameters=[INTERVAL],
    responses={200: SegmentSerializer(many=True), **REFUSALS, 422: ErrorSerializer},
)
class ApplianceTimeline(ApplianceScope):
    """How an appliance could be used, as it was known then, and how it may be from now on.

    A new segment begins only where something changes.
    """

    pagination_class = None

    def get(self, request: Request, appliance_id) -> Response:
        appliance, now = self.get_appliance(), clock.now()
        asked_for = _interval(request, now)
        spans = timeline_of(
            appliance=appliance, from_at=asked_for.from_at, until_at=asked_for.until_at, now=now
        )
        segments = explain(spans, zones=repeat(appliance.system.zone))
        context = {"people": _named_in(request.user, segments)}
        return Response(SegmentSerializer(segments, many=True, context=context).data)


class FlexibilityList(generics.GenericAPIView):
    """A page of appliances as they may be used now; the view's `get_queryset` says of which."""

    def get(self, request: Request, *args, **kwargs) -> Response:
        appliances = self.paginate_queryset(
            self.get_queryset().select_related("system").order_by("key")
        )
        found = flexibilities_of(appliances=appliances, now=clock.now())
        people = may_be_named(request.user, (one.row for now in found for one in now.constraints))
        context = {"people": people}
        return self.get_paginated_response(
            FlexibilitySerializer(found, many=True, context=context).data
        )


@extend_schema(
    tags=["flexibility"],
    responses={200: FlexibilitySerializer(many=True), **REFUSALS, **LIST_REFUSALS},
)
class SystemFlexibilityList(FlexibilityList):
    """The appliances of a system as they may be used now."""

    def get_queryset(self) -> QuerySet[Appliance]:
        visible = System.objects.visible_to(self.request.user)
        system = get_object_or_404(visible, pk=self.kwargs["system_id"])
        return Appliance.objects.filter(system=system, removed_at=None)


@extend_schema(
    tags=["flexibility"],
    responses={200: FlexibilitySerializer(many=True), **REFUSALS, **LIST_REFUSALS},
)
class ClusterFlexibilityList(FlexibilityList):
    """The appliances of a cluster, and of those within it, as they may be used now."""

    def get_queryset(self) -> QuerySet[Appliance]:
        return members_of(visible_cluster(self.request.user, self.kwargs["cluster_id"]))


# Constraints -------------------------------------------------------------------------------------

ONE_OR_MANY = PolymorphicProxySerializer(
    component_name="Constraints",
    serializers=[ConstraintSerializer, ConstraintSerializer(many=True)],
    resource_type_field_name=None,
    many=False,
)


def describe_constraints(of: str, tried: Any) -> Callable[[type], type]:
    """The description of a view of constraints; `tried` is the answer to a dry run."""
    return extend_schema_view(
        get=extend_schema(
            tags=["constraint"],
            description=f"The constraints set on {of}, the newest first.",
            parameters=[STATE],
            responses={200: ConstraintSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
        ),
        post=extend_schema(
            tags=["constraint"],
            description=f"Sets one constraint on {of}, or with an array of 1 to {MOST_AT_ONCE} all"
            " of them or none. With the `id` of one that was set before it takes its place.",
            parameters=[DRY_RUN],
            request=ONE_OR_MANY,
            responses={
                200: OpenApiResponse(tried, "Of a dry run."),
                201: ONE_OR_MANY,
                **REFUSALS,
                422: ErrorSerializer,
            },
        ),
    )


class ConstraintsOf(generics.GenericAPIView):
    """The constraints set on what a view's `get_target` loads, and new ones."""

    serializer_class = ConstraintSerializer

    def get(self, request: Request, *args, **kwargs) -> Response:
        target, now = self.get_target(), clock.now()
        rows = self.paginate_queryset(constraints_on(target, states=_states(request), now=now))
        return self.get_paginated_response(_constraints_to_wire(rows, request.user, now))

    def post(self, request: Request, *args, **kwargs) -> Response:
        is_dry = flag(request, "dryRun")
        require_known(request, "dryRun", *(("page", "per_page") if is_dry else ()))
        target, now = self.get_target(), clock.now()
        home = self.home_asked_for(target)
        emitter = caller(request, home=home)
        if home is not None and emitter.kind is not EmitterKind.LOCAL_USER:
            # What they would set as themselves weighs more than what they asked for.
            reason = _("Only who lives at the system acts as its resident.")
            raise ValidationError({"emitter": [reason]})
        drafts = self.read_drafts(target)
        answer = self.try_out if is_dry else self.set_all
        try:
            return answer(target=target, drafts=drafts, emitter=emitter, now=now)
        except UnableToConstrain as error:
            raise refusal(error, of_many=self.are_many) from error

    def set_all(self, *, now: datetime, **what: Any) -> Response:
        wire = _constraints_to_wire(set_constraints(now=now, **what), self.request.user, now)
        return Response(wire if self.are_many else wire[0], status=201)

    def try_out(
        self, *, target: Target, drafts: Sequence[Draft], now: datetime, **who: Any
    ) -> Response:
        """A page of the members that the drafts concern, and what they would do to each."""
        kinds = {kind for draft in drafts for kind in draft.kinds or CONTROLLABLE}
        members = members_of(target).filter(kind__in=kinds).select_related("system").order_by("key")
        found = try_constraints(
            target=target,
            drafts=drafts,
            appliances=self.paginate_queryset(members),
            now=now,
            **who,
        )
        wire = MemberDryRunSerializer(found, many=True, context=self.naming(found, now)).data
        return self.get_paginated_response(wire)

    @property
    def are_many(self) -> bool:
        return isinstance(self.request.data, list)

    def read_drafts(self, target: Target) -> list[Draft]:
        """What was sent. Raises ValidationError."""
        sent = self.request.data
        if self.are_many and not 1 <= len(sent) <= MOST_AT_ONCE:
            raise ValidationError({"constraints": [_("From 1 to %d at once.") % MOST_AT_ONCE]})
        context = {"is_group": not isinstance(target, Appliance), "target": target_of(target)}
        fields = ConstraintSerializer(data=sent, many=self.are_many, context=context)
        fields.is_valid(raise_exception=True)
        found = fields.validated_data
        return [draft_of(one) for one in (found if self.are_many else [found])]

    def home_asked_for(self, target: Target) -> System | None:
        """The system as whose resident the caller asks to act, with all that was sent."""
        sent = self.request.data if self.are_many else [self.request.data]
        is_asked = bool(sent) and all(map(asks_as_resident, sent))
        return target.system if is_asked and not isinstance(target, SystemPool) else None

    def naming(self, found: Sequence[DryRun], now: datetime) -> dict[str, Any]:
        """The context of serializers that tell of dry runs."""
        user = self.request.user
        spans = [span for one in found for span in (*one.before, *one.after)]
        moved = {move.appliance for one in found for move in one.moved}
        seen = Appliance.objects.visible_to(user).filter(pk__in=moved)
        return {
            "people": _named_in(user, spans),
            "seen": set(seen.values_list("pk", flat=True)),
            "now": now,
        }


@describe_constraints("an appliance", DryRunSerializer)
class ApplianceConstraints(ApplianceScope, ConstraintsOf):
    def get_target(self) -> Appliance:
        return self.get_appliance()

    def read_drafts(self, target: Appliance) -> list[Draft]:
        if target.removed_at is not None:
            raise ValidationError({"applianceID": [_("This appliance was removed.")]})
        return super().read_drafts(target)

    def try_out(self, *, target: Appliance, now: datetime, **what: Any) -> Response:
        found = try_constraints(target=target, appliances=[target], now=now, **what)
        return Response(DryRunSerializer(found[0], context=self.naming(found, now)).data)


@describe_constraints(
    "a cluster, for each of its appliances, present and future", MemberDryRunSerializer(many=True)
)
class ClusterConstraints(ConstraintsOf):
    def get_target(self) -> Cluster:
        return visible_cluster(self.request.user, self.kwargs["cluster_id"])


@describe_constraints(
    "a pool, for each appliance of its systems, present and future",
    MemberDryRunSerializer(many=True),
)
class PoolConstraints(ConstraintsOf):
    def get_target(self) -> SystemPool:
        return visible_pool(self.request.user, self.kwargs["pool_id"])


class ConstraintDetail(generics.GenericAPIView):
    serializer_class = ConstraintSerializer

    def get_constraint(self) -> Constraint:
        rows = Constraint.objects.visible_to(self.request.user).select_related(
            "emitter", "appliance__system__account", "cluster__system__account", "pool__account"
        )
        return get_object_or_404(rows, pk=self.kwargs["constraint_id"])

    @extend_schema(tags=["constraint"], responses={200: ConstraintSerializer, **REFUSALS})
    def get(self, request: Request, constraint_id) -> Response:
        """One constraint, whatever became of it."""
        now = clock.now()
        [wire] = _constraints_to_wire([self.get_constraint()], request.user, now)
        return Response(wire)

    @extend_schema(tags=["constraint"], responses={204: None, **REFUSALS})
    def delete(self, request: Request, constraint_id) -> Response:
        """Withdraws a constraint: it ends at once, and stays in the history."""
        row = self.get_constraint()
        is_residents = row.emitter_kind == EmitterKind.LOCAL_USER and row.pool_id is None
        emitter = caller(request, home=row.target.system if is_residents else None)
        withdraw_constraint(constraint=row, by=emitter, now=clock.now())
        return Response(status=204)


# The wire's own limit of a grid connection -------------------------------------------------------


class ImportPowerLimit(generics.GenericAPIView):
    """The limit of what a system imports: a constraint on its grid meter.

    Each kind of emitter has one. It holds for 400 days from when it was set last; set it again to
    move that on.
    """

    serializer_class = ImportLimitSerializer

    def get_meter(self) -> Appliance:
        gateways = Gateway.objects.visible_to(self.request.user)
        gateway = get_object_or_404(
            gateways, pk=self.kwargs["gateway_id"], system=self.kwargs["system_id"]
        )
        meter = grid_meter_of(gateway)
        if meter is None:
            raise NotFound("This gateway has no meter at the grid connection.")
        return meter

    @extend_schema(tags=["import_power_limit"], responses={200: ImportLimitSerializer, **REFUSALS})
    def get(self, request: Request, system_id, gateway_id) -> Response:
        """The limit that the caller's kind of emitter set, else the lowest that holds."""
        meter = self.get_meter()
        row = import_limit_on(meter, kind=_kind_of_caller(request), now=clock.now())
        if row is None:
            raise NotFound("There is no limit.")
        return Response(ImportLimitSerializer(row).data)

    @extend_schema(
        tags=["import_power_limit"],
        responses={201: ImportLimitSerializer, **REFUSALS, 422: ErrorSerializer},
    )
    def put(self, request: Request, system_id, gateway_id) -> Response:
        """Limits what is imported, for 400 days; what the caller's kind set before is replaced.

        Only the sum of the phases is kept to: what asks for more than that is refused.
        """
        meter, emitter = self.get_meter(), caller(request)
        fields = ImportLimitSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        try:
            row = set_import_limit(
                meter=meter, emitter=emitter, now=clock.now(), **fields.validated_data
            )
        except UnableToConstrain as error:
            raise refusal(error, of_many=False) from error
        return Response(ImportLimitSerializer(row).data, status=201)

    @extend_schema(tags=["import_power_limit"], responses={204: None, **REFUSALS})
    def delete(self, request: Request, system_id, gateway_id) -> Response:
        """Withdraws the limit of the caller's kind of emitter, if there is one."""
        meter, emitter = self.get_meter(), caller(request)
        lift_import_limit(meter=meter, emitter=emitter, now=clock.now())
        return Response(status=204)


# Shared ------------------------------------------------------------------------------------------


def visible_cluster(user: User, cluster_id: UUID) -> Cluster:
    """A cluster in the user's sight, with its system and account; 404 for any other."""
    visible = Cluster.objects.visible_to(user).select_related("system__account", "parent")
    return get_object_or_404(visible, pk=cluster_id)


def visible_pool(user: User, pool_id: UUID) -> SystemPool:
    """A pool in the user's sight, with its account; 404 for any other."""
    visible = SystemPool.objects.visible_to(user).select_related("account")
    return get_object_or_404(visible, pk=pool_id)


def _constraints_to_wire(rows: Sequence[Constraint], user: User, now: datetime) -> list[dict]:
    context = {"people": may_be_named(user, rows), "now": now}
    return ConstraintSerializer(rows, many=True, context=context).data


def _named_in(user: User, spans: Iterable[ExplainedSpan]) -> set[UUID]:
    return may_be_named(user, (one.row for span in spans for one in span.constraints))


def _kind_of_caller(request: Request) -> EmitterKind | None:
    try:
        return caller(request).kind
    except PermissionDenied:
        return None


def _states(request: Request) -> list[State]:
    state = asked(request, "state", (*STATES, ALL))
    if state is None:
        return [State.ACTIVE, State.SCHEDULED]
    return list(State) if state == ALL else [State(state)]


def _interval(request: Request, now: datetime) -> Interval:
    text = request.query_params.get("interval")
    if not text:
        return Interval(now, now + HORIZON)
    try:
        found = parse_interval(text)
    except ValueError as problem:
        raise ValidationError({"interval": [str(problem)]}) from problem
    if found.until_at - found.from_at > LONGEST_TIMELINE:
        raise ValidationError({"interval": [f"is longer than {LONGEST_TIMELINE.days} days"]})
    return found
