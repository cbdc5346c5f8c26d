"""Charging policies on the wire API: how charging stations charge, and why as they do."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import REFUSALS
from accounts.wire import ErrorSerializer
from flexibility.api import (
    ApplianceScope,
    caller,
    may_be_named,
    visible_cluster,
)
from flexibility.emitters import UnableToConstrain
from flexibility.models import ChargingPolicy, ChargingState
from flexibility.policies.ev_configuration import Configuration, configuration_of, configure
from flexibility.policies.operations import set_policy, withdraw_own_policies
from flexibility.policies.sentences import reasons
from flexibility.policies.standing import Target, policies_on, policy_asking
from flexibility.policies.wire import (
    ChargingPolicySerializer,
    EvConfigurationSerializer,
    configuration_refusal,
    policy_draft_of,
    policy_refusal,
    wish_of,
)
from flexibility.wire_targets import target_of
from gridx import clock
from inventory.api import require_known
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, System


def describe_policy(of: str, shown: str) -> Callable[[type], type]:
    """The description of a view of a policy; `shown` says which one is told of."""
    tags = ["charging_policy"]
    return extend_schema_view(
        get=extend_schema(
            tags=tags,
            description=f"How {of} charges: {shown}.",
            responses={200: ChargingPolicySerializer, **REFUSALS},
        ),
        put=extend_schema(
            tags=tags,
            description=f"Has {of} charge so, in place of what the caller's kind of emitter set on"
            " it before. The answer tells at once what cannot be reached until departure.",
            responses={200: ChargingPolicySerializer, **REFUSALS, 422: ErrorSerializer},
        ),
        delete=extend_schema(
            tags=tags,
            description="Withdraws what the caller's kind of emitter set on it, if anything; of"
            " staff what anybody did.",
            responses={204: None, **REFUSALS},
        ),
    )


class PolicyOn(generics.GenericAPIView):
    """The charging policy set on what a view's `get_target` loads, called `target_name`."""

    serializer_class = ChargingPolicySerializer
    target_name: str

    def get(self, request: Request, *args, **kwargs) -> Response:
        policy = self.find_policy(self.get_target(), clock.now())
        if policy is None:
            raise NotFound("There is no charging policy.")
        return Response(self.to_wire(policy))

    def put(self, request: Request, *args, **kwargs) -> Response:
        require_known(request)
        target, emitter = self.get_target(), caller(request)
        fields = ChargingPolicySerializer(data=request.data, context={"target": target_of(target)})
        fields.is_valid(raise_exception=True)
        draft = policy_draft_of(fields.validated_data)
        try:
            policy = set_policy(target=target, draft=draft, emitter=emitter, now=clock.now())
        except UnableToConstrain as error:
            raise policy_refusal(error, target=self.target_name) from error
        return Response(self.to_wire(policy))

    def delete(self, request: Request, *args, **kwargs) -> Response:
        target, emitter = self.get_target(), caller(request)
        withdraw_own_policies(target=target, by=emitter, now=clock.now())
        return Response(status=204)

    def find_policy(self, target: Target, now: datetime) -> ChargingPolicy | None:
        return policies_on(target=target, now=now).first()

    def states_of(self, policy: ChargingPolicy) -> QuerySet[ChargingState]:
        states = ChargingState.objects.filter(policy=policy).select_related("appliance__system")
        return states.order_by("appliance__key")

    def to_wire(self, policy: ChargingPolicy) -> dict[str, Any]:
        states = list(self.states_of(policy))
        context = {
            "people": may_be_named(self.request.user, [policy]),
            "states": states,
            "reasons": reasons(states, now=clock.now()),
        }
        return ChargingPolicySerializer(policy, context=context).data


@describe_policy(
    "a charging station",
    "by what asks there now, wherever that was set; where"
    " nothing does, by what is set on the station for later",
)
class AppliancePolicy(ApplianceScope, PolicyOn):
    target_name = "applianceID"

    def get_target(self) -> Appliance:
        return self.get_appliance()

    def find_policy(self, target: Appliance, now: datetime) -> ChargingPolicy | None:
        return policy_asking(station=target, now=now) or super().find_policy(target, now)

    def states_of(self, policy: ChargingPolicy) -> QuerySet[ChargingState]:
        return super().states_of(policy).filter(appliance=self.kwargs["appliance_id"])


@describe_policy(
    "each charging station of a cluster", "of what is set on the cluster itself, what weighs most"
)
class ClusterPolicy(PolicyOn):
    target_name = "clusterID"

    def get_target(self) -> Cluster:
        return visible_cluster(self.request.user, self.kwargs["cluster_id"])


@describe_policy(
    "each charging station of a system", "of what is set on the system itself, what weighs most"
)
class SystemPolicy(PolicyOn):
    target_name = "systemID"

    def get_target(self) -> System:
        visible = System.objects.visible_to(self.request.user).select_related("account")
        return get_object_or_404(visible, pk=self.kwargs["system_id"])


# The wire's own words for it ---------------------------------------------------------------------

CONFIGURED = {**REFUSALS, 422: ErrorSerializer}


class EvConfiguration(generics.GenericAPIView):
    """A charging station's configuration: the policy that asks there."""

    serializer_class = EvConfigurationSerializer

    def get_station(self) -> Appliance:
        stations = Appliance.objects.visible_to(self.request.user).filter(
            kind=ApplianceKind.EV_CHARGING_STATION, removed_at=None
        )
        return get_object_or_404(
            stations.select_related("system__account"),
            pk=self.kwargs["appliance_id"],
            gateway=self.kwargs["gateway_id"],
        )

    def get_configuration(self, station: Appliance) -> Configuration:
        found = configuration_of(station=station, now=clock.now())
        if found is None:
            raise NotFound("There is no configuration.")
        return found

    @extend_schema(
        tags=["ev_configuration"], responses={200: EvConfigurationSerializer, **REFUSALS}
    )
    def get(self, request: Request, gateway_id, appliance_id) -> Response:
        """What asks at the station now, wherever it was set, and what it does there."""
        return Response(_configuration_to_wire(self.get_configuration(self.get_station())))

    @extend_schema(
        tags=["ev_configuration"], responses={201: EvConfigurationSerializer, **CONFIGURED}
    )
    def post(self, request: Request, gateway_id, appliance_id) -> Response:
        """Sets the station's configuration, in place of what the caller's kind of emitter set.

        By default it charges at full power.
        """
        return self.configure(self.get_station(), before=None, status=201)

    @extend_schema(
        tags=["ev_configuration"], responses={200: EvConfigurationSerializer, **CONFIGURED}
    )
    def patch(self, request: Request, gateway_id, appliance_id) -> Response:
        """Changes what is sent, and keeps the rest of what GET tells.

        Switched on again, it charges as it did before it was switched off.
        """
        station = self.get_station()
        caller(request)
        return self.configure(station, before=self.get_configuration(station), status=200)

    @extend_schema(tags=["ev_configuration"], responses={204: None, **REFUSALS})
    def delete(self, request: Request, gateway_id, appliance_id) -> Response:
        """Withdraws what the caller's kind of emitter set on the station, if anything."""
        station, emitter = self.get_station(), caller(request)
        withdraw_own_policies(target=station, by=emitter, now=clock.now())
        return Response(status=204)

    def configure(
        self, station: Appliance, *, before: Configuration | None, status: int
    ) -> Response:
        emitter = caller(self.request)
        fields = EvConfigurationSerializer(data=self.request.data)
        fields.is_valid(raise_exception=True)
        wish = wish_of(fields.validated_data)
        try:
            found = configure(
                station=station, wish=wish, emitter=emitter, now=clock.now(), before=before
            )
        except UnableToConstrain as error:
            raise configuration_refusal(error) from error
        return Response(_configuration_to_wire(found), status=status)


def _configuration_to_wire(found: Configuration) -> dict[str, Any]:
    states = [] if found.state is None else [found.state]
    why = reasons(states, now=clock.now())
    context = {"reason": why.get(found.station.pk, "")}
    return EvConfigurationSerializer(found, context=context).data
