"""Clusters and pools on the wire API: what they are, and who is in them."""

from collections.abc import Collection
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import Action, may, require
from accounts.api import LIST_REFUSALS, REFUSALS
from accounts.models import Account, User
from accounts.wire import ErrorSerializer, NamedSerializer, StrictMixin
from accounts.wire_fields import IdField
from flexibility.api import visible_cluster, visible_pool
from flexibility.groups.operations import UnableToDissolve, dissolve
from gridx import clock
from inventory import operations
from inventory.api import WireList
from inventory.grouping import UnableToGroup
from inventory.models import Appliance, Cluster, System, SystemPool
from inventory.wire import cluster_to_wire, pool_to_wire, system_to_wire
from inventory.wire_schema import ClusterSerializer, SystemPoolSerializer, SystemSerializer

CHANGE_REFUSALS = {**REFUSALS, 422: ErrorSerializer}
DISSOLVE_REFUSALS = {**REFUSALS, 409: ErrorSerializer}
MOST_AT_ONCE = 1000


class Standing(APIException):
    """Something in the way has to be ended first."""

    status_code = 409


# Clusters ----------------------------------------------------------------------------------------


class ClusterScope(generics.GenericAPIView):
    serializer_class = ClusterSerializer

    def to_wire(self, cluster: Cluster) -> dict:
        return cluster_to_wire(cluster)

    def visible_clusters(self) -> QuerySet[Cluster]:
        return Cluster.objects.visible_to(self.request.user).order_by("key")

    def managed_cluster(self) -> Cluster:
        """The cluster of the address, which the caller may change. Raises PermissionDenied."""
        cluster = visible_cluster(self.request.user, self.kwargs["cluster_id"])
        require(self.request.user, Action.MANAGE_GROUPS, cluster)
        return cluster


class ClusterList(ClusterScope, WireList):
    @extend_schema(
        tags=["cluster"],
        parameters=[OpenApiParameter("systemID", UUID, description="Only those of this system.")],
        responses={200: ClusterSerializer(many=True), **LIST_REFUSALS},
    )
    def get(self, request: Request) -> Response:
        """Every cluster in the caller's sight."""
        return super().get(request)

    def get_queryset(self) -> QuerySet[Cluster]:
        query = ClusterQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return self.visible_clusters().filter(**query.validated_data)

    @extend_schema(
        tags=["cluster"],
        responses={201: ClusterSerializer, 403: ErrorSerializer, 422: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Adds a cluster of a system, or within another cluster."""
        _require_grouping(request.user)
        fields = ClusterSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        sent = fields.validated_data
        parent = _named(Cluster, sent.get("parent_id"), request.user, "parentID")
        system = _named(System, sent.get("system_id"), request.user, "systemID")
        if system is None and parent is None:
            raise ValidationError({"systemID": [_("Say of which system it is.")]})
        try:
            cluster = operations.create_cluster(
                system=system or parent.system,
                parent=parent,
                name=sent["name"],
                by=request.user,
                now=clock.now(),
            )
        except UnableToGroup as error:
            raise ValidationError({"parentID": [str(error)]}) from error
        return Response(self.to_wire(cluster), status=201)


@extend_schema(
    tags=["cluster"], responses={200: ClusterSerializer(many=True), **REFUSALS, **LIST_REFUSALS}
)
class SystemClusterList(ClusterScope, WireList):
    """The clusters of a system."""

    def get_queryset(self) -> QuerySet[Cluster]:
        visible = System.objects.visible_to(self.request.user)
        system = get_object_or_404(visible, pk=self.kwargs["system_id"])
        return self.visible_clusters().filter(system=system)


class ClusterDetail(ClusterScope):
    @extend_schema(tags=["cluster"], responses={200: ClusterSerializer, **REFUSALS})
    def get(self, request: Request, cluster_id) -> Response:
        """One cluster."""
        return Response(self.to_wire(visible_cluster(request.user, cluster_id)))

    @extend_schema(tags=["cluster"], responses={200: ClusterSerializer, **CHANGE_REFUSALS})
    def patch(self, request: Request, cluster_id) -> Response:
        """Renames a cluster, or puts it into another one of its system (null: to the top)."""
        cluster = self.managed_cluster()
        fields = ClusterSerializer(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        sent = fields.validated_data
        _require_same("systemID", sent.get("system_id"), cluster.system_id)
        parent = cluster.parent
        if "parent_id" in sent:
            parent = _named(Cluster, sent["parent_id"], request.user, "parentID")
        name = sent.get("name", cluster.name)
        try:
            operations.update_cluster(
                cluster=cluster, name=name, parent=parent, by=request.user, now=clock.now()
            )
        except UnableToGroup as error:
            raise ValidationError({"parentID": [str(error)]}) from error
        return Response(self.to_wire(cluster))

    @extend_schema(tags=["cluster"], responses={204: None, **DISSOLVE_REFUSALS})
    def delete(self, request: Request, cluster_id) -> Response:
        """Dissolves a cluster: what is in it goes to the cluster around it, or to the top."""
        return _dissolve(self.managed_cluster(), request.user)


class ClusterMember(ClusterScope):
    @extend_schema(tags=["cluster"], request=None, responses={204: None, **CHANGE_REFUSALS})
    def put(self, request: Request, cluster_id, appliance_id) -> Response:
        """Puts an appliance of the system into the cluster, out of the one that it is in."""
        cluster = self.managed_cluster()
        self._move(self._appliance(), cluster)
        return Response(status=204)

    @extend_schema(tags=["cluster"], responses={204: None, **CHANGE_REFUSALS})
    def delete(self, request: Request, cluster_id, appliance_id) -> Response:
        """Takes an appliance out of the cluster, into none."""
        cluster = self.managed_cluster()
        self._move(self._appliance(cluster=cluster), None)
        return Response(status=204)

    def _appliance(self, **where: Cluster) -> Appliance:
        visible = Appliance.objects.visible_to(self.request.user).filter(removed_at=None, **where)
        return get_object_or_404(
            visible.select_related("system__account", "cluster"), pk=self.kwargs["appliance_id"]
        )

    def _move(self, appliance: Appliance, cluster: Cluster | None) -> None:
        try:
            operations.move_appliance(
                appliance=appliance, cluster=cluster, by=self.request.user, now=clock.now()
            )
        except UnableToGroup as error:
            raise ValidationError({"applianceID": [str(error)]}) from error


# Pools -------------------------------------------------------------------------------------------


class PoolScope(generics.GenericAPIView):
    serializer_class = SystemPoolSerializer

    def to_wire(self, pool: SystemPool) -> dict:
        return pool_to_wire(pool)

    def managed_pool(self) -> SystemPool:
        """The pool of the address, which the caller may change. Raises PermissionDenied."""
        pool = visible_pool(self.request.user, self.kwargs["pool_id"])
        require(self.request.user, Action.MANAGE_GROUPS, pool)
        return pool


class PoolList(PoolScope, WireList):
    @extend_schema(
        tags=["systempool"], responses={200: SystemPoolSerializer(many=True), **LIST_REFUSALS}
    )
    def get(self, request: Request) -> Response:
        """Every pool in the caller's sight."""
        return super().get(request)

    def get_queryset(self) -> QuerySet[SystemPool]:
        return SystemPool.objects.visible_to(self.request.user).order_by("created_at", "pk")

    @extend_schema(
        tags=["systempool"],
        responses={201: SystemPoolSerializer, 403: ErrorSerializer, 422: ErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Adds a pool of an account, by default of the caller's; still without systems."""
        _require_grouping(request.user)
        fields = SystemPoolSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        sent = dict(fields.validated_data)
        account_id = sent.pop("account_id", request.user.account_id)
        account = _named(Account, account_id, request.user, "accountID")
        if account is None:
            raise ValidationError({"accountID": [_("Say of which account it is.")]})
        pool = operations.create_pool(account=account, by=request.user, now=clock.now(), **sent)
        return Response(self.to_wire(pool), status=201)


class PoolDetail(PoolScope):
    @extend_schema(tags=["systempool"], responses={200: SystemPoolSerializer, **REFUSALS})
    def get(self, request: Request, pool_id) -> Response:
        """One pool."""
        return Response(self.to_wire(visible_pool(request.user, pool_id)))

    @extend_schema(tags=["systempool"], responses={200: SystemPoolSerializer, **CHANGE_REFUSALS})
    def patch(self, request: Request, pool_id) -> Response:
        """Changes a pool's name, kind or time zone."""
        pool = self.managed_pool()
        fields = SystemPoolSerializer(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        sent = dict(fields.validated_data)
        _require_same("accountID", sent.pop("account_id", None), pool.account_id)
        operations.update_pool(pool=pool, by=request.user, now=clock.now(), **sent)
        return Response(self.to_wire(pool))

    @extend_schema(tags=["systempool"], responses={204: None, **DISSOLVE_REFUSALS})
    def delete(self, request: Request, pool_id) -> Response:
        """Dissolves a pool; its systems stay as they are."""
        return _dissolve(self.managed_pool(), request.user)


class UuidsSerializer(StrictMixin, NamedSerializer):
    uuids = serializers.ListField(
        child=IdField(), allow_empty=False, max_length=MOST_AT_ONCE, help_text="of systems"
    )


class PoolSystems(PoolScope, WireList):
    serializer_class = SystemSerializer

    @extend_schema(
        tags=["systempool"],
        responses={200: SystemSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
    )
    def get(self, request: Request, pool_id) -> Response:
        """The systems of a pool."""
        return super().get(request)

    def get_queryset(self) -> QuerySet[System]:
        pool = visible_pool(self.request.user, self.kwargs["pool_id"])
        systems = System.objects.visible_to(self.request.user).filter(pools=pool)
        return systems.select_related("account", "gateway").order_by("key")

    def to_wire(self, system: System) -> dict:
        return system_to_wire(system, include=frozenset(), now=clock.now())

    @extend_schema(
        tags=["systempool"], request=UuidsSerializer, responses={204: None, **CHANGE_REFUSALS}
    )
    def put(self, request: Request, pool_id) -> Response:
        """Makes these systems members too; all of them lie in the subtree of the pool's account."""
        pool = self.managed_pool()
        systems = self._systems()
        try:
            operations.add_members(pool=pool, systems=systems, by=request.user, now=clock.now())
        except UnableToGroup as error:
            raise ValidationError({"uuids": [str(error)]}) from error
        return Response(status=204)

    @extend_schema(tags=["systempool"], responses={204: None, **CHANGE_REFUSALS})
    def delete(self, request: Request, pool_id) -> Response:
        """Takes the systems of the body, `{"uuids": […]}` as for PUT, out of the pool."""
        pool = self.managed_pool()
        systems = self._systems()
        operations.remove_members(pool=pool, systems=systems, by=request.user, now=clock.now())
        return Response(status=204)

    def _systems(self) -> Collection[System]:
        """Those that were sent, all in sight. Raises ValidationError."""
        fields = UuidsSerializer(data=self.request.data)
        fields.is_valid(raise_exception=True)
        wanted = set(fields.validated_data["uuids"])
        visible = System.objects.visible_to(self.request.user).filter(pk__in=wanted)
        systems = list(visible.select_related("account"))
        if unknown := wanted - {one.pk for one in systems}:
            reason = _("There is no %(id)s.") % {"id": min(unknown)}
            raise ValidationError({"uuids": [reason]})
        return systems


# Shared ------------------------------------------------------------------------------------------


class ClusterQuery(NamedSerializer):
    system_id = IdField(required=False)


def _require_grouping(user: User) -> None:
    """Let pass who may group what is in their sight. Raises PermissionDenied."""
    if not may(user, Action.MANAGE_GROUPS):
        raise PermissionDenied


def _named(model: type[Model], identity: UUID | None, user: User, field: str):
    """What a body names by its id, of what is in sight; None for none. Raises ValidationError."""
    if identity is None:
        return None
    found = model.objects.visible_to(user).filter(pk=identity).first()
    if found is None:
        raise ValidationError({field: [_("There is no %(id)s.") % {"id": identity}]})
    return found


def _require_same(field: str, sent: UUID | None, kept: UUID) -> None:
    """Raise ValidationError where a client sends another one of what stays."""
    if sent is not None and sent != kept:
        raise ValidationError({field: [_("This cannot be changed.")]})


def _dissolve(group: Cluster | SystemPool, by: User) -> Response:
    try:
        dissolve(group=group, by=by, now=clock.now())
    except UnableToDissolve as error:
        raise Standing(str(error)) from error
    return Response(status=204)
