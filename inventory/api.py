"""Systems, gateways and appliances on the wire API. All of it within the caller's sight."""

from collections.abc import Iterable

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import LIST_REFUSALS, REFUSALS, UserSerializer
from accounts.models import Account, User
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Gateway, System
from inventory.wire import (
    DETAIL_INCLUDES,
    LIST_INCLUDES,
    appliance_to_wire,
    gateway_to_wire,
    system_to_wire,
)
from inventory.wire_schema import ApplianceSerializer, GatewaySerializer, SystemSerializer

# Includes that look into a system's appliances.
_NEED_APPLIANCES = frozenset({"gateways.applianceComposition", "visibleAppliances"})

EMBED = OpenApiParameter("embed", enum=["user"], description="`user` adds the account's users.")


def include_parameter(names: Iterable[str]) -> OpenApiParameter:
    return OpenApiParameter(
        "include", many=True, enum=list(names), description="What to add; may be repeated."
    )


class WireList(generics.GenericAPIView):
    """A page of rows, each made by the view's `to_wire`."""

    def get(self, request: Request, *args, **kwargs) -> Response:
        rows = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response([self.to_wire(row) for row in rows])


# Systems ---------------------------------------------------------------------------------------


class SystemScope(generics.GenericAPIView):
    """Views of the systems in sight, with `include` and `embed`."""

    serializer_class = SystemSerializer
    includes = LIST_INCLUDES

    def initial(self, request: Request, *args, **kwargs) -> None:
        super().initial(request, *args, **kwargs)
        self.now = clock.now()
        self.include = _names(request, "include", self.includes)
        self.embed = _names(request, "embed", ("user",))

    def visible_systems(self) -> QuerySet[System]:
        systems = System.objects.visible_to(self.request.user).select_related("account", "gateway")
        if self.include & _NEED_APPLIANCES:
            systems = systems.prefetch_related("appliances")
        if self.embed:
            users = User.objects.visible_to(self.request.user).order_by("email")
            systems = systems.prefetch_related(
                Prefetch("account__users", queryset=users, to_attr="shown_users")
            )
        return systems

    def to_wire(self, system: System) -> dict:
        wire = system_to_wire(system, include=self.include, now=self.now)
        if self.embed:
            wire["users"] = UserSerializer(system.account.shown_users, many=True).data
        return wire


@extend_schema(
    tags=["system"],
    parameters=[include_parameter(LIST_INCLUDES), EMBED],
    responses={200: SystemSerializer(many=True), **LIST_REFUSALS},
)
class SystemList(SystemScope, WireList):
    """Every system in the caller's sight, in the order in which they were made."""

    def get_queryset(self) -> QuerySet[System]:
        return self.visible_systems().order_by("key")


@extend_schema(
    tags=["system"],
    parameters=[include_parameter(DETAIL_INCLUDES), EMBED],
    responses={200: SystemSerializer, **REFUSALS, **LIST_REFUSALS},
)
class SystemDetail(SystemScope):
    """One system."""

    includes = DETAIL_INCLUDES

    def get(self, request: Request, system_id) -> Response:
        return Response(self.to_wire(get_object_or_404(self.visible_systems(), pk=system_id)))


@extend_schema(
    tags=["system"],
    parameters=[include_parameter(LIST_INCLUDES), EMBED],
    responses={200: SystemSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
)
class AccountSystemList(SystemScope, WireList):
    """The systems of an account and of the accounts beneath it."""

    def get_queryset(self) -> QuerySet[System]:
        account = get_object_or_404(
            Account.objects.visible_to(self.request.user), pk=self.kwargs["account_id"]
        )
        below = self.visible_systems().filter(account__path__startswith=account.path)
        return below.order_by("key")


# Gateways and appliances -----------------------------------------------------------------------


class GatewayScope(generics.GenericAPIView):
    serializer_class = GatewaySerializer

    def visible_gateways(self) -> QuerySet[Gateway]:
        return Gateway.objects.visible_to(self.request.user)

    def to_wire(self, gateway: Gateway) -> dict:
        return gateway_to_wire(gateway, now=clock.now())


@extend_schema(
    tags=["gateway"],
    responses={200: GatewaySerializer(many=True), **LIST_REFUSALS},
)
class GatewayList(GatewayScope, WireList):
    """Every gateway in the caller's sight."""

    def get_queryset(self) -> QuerySet[Gateway]:
        return self.visible_gateways().order_by("created_at", "pk")


@extend_schema(tags=["gateway"], responses={200: GatewaySerializer, **REFUSALS})
class GatewayDetail(GatewayScope):
    """One gateway."""

    def get(self, request: Request, gateway_id) -> Response:
        return Response(self.to_wire(get_object_or_404(self.visible_gateways(), pk=gateway_id)))


class ApplianceScope(generics.GenericAPIView):
    serializer_class = ApplianceSerializer

    def visible_appliances(self) -> QuerySet[Appliance]:
        """Those of the gateway, which must be in sight; removed ones are not listed."""
        gateway = get_object_or_404(
            Gateway.objects.visible_to(self.request.user), pk=self.kwargs["gateway_id"]
        )
        appliances = Appliance.objects.visible_to(self.request.user).filter(gateway=gateway)
        return appliances.select_related("gateway")

    def to_wire(self, appliance: Appliance) -> dict:
        return appliance_to_wire(appliance, now=clock.now())


@extend_schema(
    tags=["appliance"],
    parameters=[
        OpenApiParameter(
            "listAll", bool, default=False, description="Also the parts of hybrid inverters."
        )
    ],
    responses={200: ApplianceSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
)
class ApplianceList(ApplianceScope, WireList):
    """The appliances of a gateway."""

    def get_queryset(self) -> QuerySet[Appliance]:
        appliances = self.visible_appliances().filter(removed_at=None)
        if not flag(self.request, "listAll"):
            appliances = appliances.exclude(parent__kind=ApplianceKind.HYBRID_INVERTER)
        return appliances.order_by("key")


@extend_schema(
    tags=["appliance"],
    responses={200: ApplianceSerializer, **REFUSALS},
)
class ApplianceDetail(ApplianceScope):
    """One appliance of a gateway."""

    def get(self, request: Request, gateway_id, appliance_id) -> Response:
        appliance = get_object_or_404(self.visible_appliances(), pk=appliance_id)
        return Response(self.to_wire(appliance))


def _names(request: Request, parameter: str, known: Iterable[str]) -> frozenset[str]:
    """The values of a query parameter that may be repeated. Raises ValidationError."""
    names = frozenset(request.query_params.getlist(parameter))
    if unknown := names.difference(known):
        raise ValidationError({parameter: [f"{sorted(unknown)[0]} is none of {', '.join(known)}"]})
    return names


def flag(request: Request, parameter: str) -> bool:
    """A query parameter that is true or false; false where it is absent. Raises ValidationError."""
    said = request.query_params.getlist(parameter)
    if not said:
        return False
    if len(said) > 1 or said[0].lower() not in {"true", "false", "1", "0"}:
        raise ValidationError({parameter: ["is true or false"]})
    return said[0].lower() in {"true", "1"}


def require_known(request: Request, *parameters: str) -> None:
    """Raise ValidationError for any other query parameter, where one that is misspelt matters."""
    for name in request.query_params:
        if name not in parameters:
            raise ValidationError({name: ["is no parameter of this"]})
