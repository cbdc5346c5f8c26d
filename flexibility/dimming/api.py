"""Dimmings of whole systems on the wire API, with the proof that they were kept to."""

import csv
from collections.abc import Iterable, Iterator

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from accounts.api import LIST_REFUSALS, REFUSALS
from accounts.wire import ErrorSerializer, NamedSerializer
from accounts.wire_fields import IdField, InstantField
from flexibility.api import caller
from flexibility.dimming.operations import dim_system, end_dimming, require_grid_operator
from flexibility.dimming.proof import Proved, Verdict, proof_of
from flexibility.emitters import UnableToConstrain
from flexibility.models import Dimming
from flexibility.wire import refusal
from flexibility.wire_targets import TargetedMixin, target_of
from gridx import clock
from inventory.export import Echo, cell, csv_file
from inventory.inventory_api import CsvRenderer
from inventory.kinds import DimmingMode
from inventory.models import System

MODES = [mode.value for mode in DimmingMode]
# The columns of the proof as a file; powers in W, positive into the appliance.
COLUMNS = (
    "dimming_id",
    "system_id",
    "system",
    "mode",
    "appliance_id",
    "appliance",
    "valid_at",
    "ended_at",
    "limit_w",
    "reaction_s",
    "highest_w",
    "measured_share",
    "verdict",
)


class DimmingSerializer(TargetedMixin, NamedSerializer):
    """A grid operator's signal (§ 14a EnWG) to the controllable consumers of a system."""

    id = serializers.UUIDField(read_only=True)
    system_id = IdField(read_only=True)
    mode = serializers.ChoiceField(
        choices=MODES,
        read_only=True,
        help_text="Each consumer by itself, or all to one sum: as agreed for the system.",
    )
    valid_at = InstantField(required=False, allow_null=True, help_text="By default now.")
    invalid_at = InstantField(help_text="At most 400 days ahead.")
    ended_at = InstantField(read_only=True, help_text="When it is, or was, over.")
    created_at = InstantField(read_only=True)


class ProvedSerializer(NamedSerializer):
    """What was measured of one appliance; null is what was not measured, or never so.

    Without an appliance it is of the sum: of what all together drew from the grid.
    """

    appliance_id = serializers.UUIDField(source="appliance.pk", default=None, allow_null=True)
    limit = serializers.FloatField(source="limit_w", help_text="W")
    reaction_time = serializers.FloatField(
        source="reaction_s",
        allow_null=True,
        help_text="Seconds until its power was, and stayed, within the limit.",
    )
    highest_power = serializers.FloatField(
        source="highest_w", allow_null=True, help_text="W, since then."
    )
    measured_share = serializers.FloatField(help_text="Of the time, 0–1.")
    verdict = serializers.ChoiceField(
        choices=[each.value for each in Verdict], help_text="As far as it is measured by now."
    )


class ProvedDimmingSerializer(DimmingSerializer):
    """A dimming with its proof, as far as it is measured by now."""

    proof = ProvedSerializer(many=True)


class DimmingScope(generics.GenericAPIView):
    serializer_class = DimmingSerializer

    def get_dimming(self) -> Dimming:
        visible = Dimming.objects.visible_to(self.request.user).select_related("system__account")
        return get_object_or_404(visible, pk=self.kwargs["dimming_id"])


class SystemDimmings(generics.GenericAPIView):
    """The dimmings of a system, the newest first, and new ones."""

    serializer_class = DimmingSerializer

    def get_system(self) -> System:
        visible = System.objects.visible_to(self.request.user).select_related("account")
        return get_object_or_404(visible, pk=self.kwargs["system_id"])

    def get_queryset(self) -> QuerySet[Dimming]:
        return Dimming.objects.filter(system=self.get_system()).order_by("-valid_at", "pk")

    @extend_schema(
        tags=["dimming"],
        responses={200: DimmingSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
    )
    def get(self, request: Request, system_id) -> Response:
        """The dimmings of a system, the newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(DimmingSerializer(page, many=True).data)

    @extend_schema(
        tags=["dimming"],
        responses={201: DimmingSerializer, **REFUSALS, 422: ErrorSerializer},
    )
    def post(self, request: Request, system_id) -> Response:
        """Dims what can be dimmed: for grid operators, by a token with `dimming:write`."""
        system, emitter = self.get_system(), caller(request)
        # Who may not is told so before what they sent is looked at.
        require_grid_operator(emitter)
        fields = DimmingSerializer(data=request.data, context={"target": target_of(system)})
        fields.is_valid(raise_exception=True)
        try:
            found = dim_system(
                system=system, emitter=emitter, now=clock.now(), **fields.validated_data
            )
        except UnableToConstrain as error:
            raise refusal(error, of_many=False) from error
        return Response(DimmingSerializer(found).data, status=201)


class DimmingDetail(DimmingScope):
    """One dimming with its proof; as a file with `Accept: text/csv`."""

    renderer_classes = (*api_settings.DEFAULT_RENDERER_CLASSES, CsvRenderer)

    @extend_schema(
        tags=["dimming"],
        responses={
            (200, "application/json"): ProvedDimmingSerializer,
            (200, "text/csv"): OpenApiTypes.STR,
            **REFUSALS,
        },
    )
    def get(self, request: Request, dimming_id) -> HttpResponseBase:
        """One dimming with its proof; as a file with `Accept: text/csv`."""
        found = self.get_dimming()
        proof = proof_of(found, now=clock.now())
        if request.accepted_renderer.format == "csv":
            return csv_file(request._request, proof_csv([(found, proof)]), "dimming.csv")
        wire = DimmingSerializer(found).data
        return Response(wire | {"proof": ProvedSerializer(proof, many=True).data})

    @extend_schema(tags=["dimming"], responses={204: None, **REFUSALS})
    def delete(self, request: Request, dimming_id) -> Response:
        """Ends a dimming at once; it stays in the history."""
        end_dimming(found=self.get_dimming(), emitter=caller(request), now=clock.now())
        return Response(status=204)


def proof_csv(proofs: Iterable[tuple[Dimming, list[Proved]]]) -> Iterator[str]:
    """Of each dimming a line for each appliance, or for the sum; first the names of the columns.

    Empty is what is not known, and the appliance of a sum.
    """
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for found, proof in proofs:
        for one in proof:
            row = (
                found.pk,
                found.system_id,
                found.system.name,
                found.mode,
                one.appliance and one.appliance.pk,
                one.appliance and one.appliance.name,
                found.valid_at,
                found.ended_at,
                one.limit_w,
                one.reaction_s,
                one.highest_w,
                round(one.measured_share, 4),
                one.verdict,
            )
            yield writer.writerow(map(cell, row))
