"""`GET /accounts/{id}/inventory`: everything that an account's subtree owns, as JSON or CSV."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Model, QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

from accounts.api import LIST_REFUSALS, REFUSALS
from accounts.models import Account
from gridx import clock
from inventory.export import COLUMNS, Echo, csv_file, inventory_csv
from inventory.kinds import ApplianceKind
from inventory.queries import InventoryFilter, Section, inventory
from inventory.wire import (
    appliance_to_wire,
    cluster_to_wire,
    gateway_to_wire,
    pool_to_wire,
    system_to_wire,
)
from inventory.wire_schema import InventoryItemSerializer

KINDS: dict[str, Section] = {
    "SYSTEM": Section.SYSTEMS,
    "GATEWAY": Section.GATEWAYS,
    "APPLIANCE": Section.APPLIANCES,
    "CLUSTER": Section.CLUSTERS,
    "SYSTEM_POOL": Section.POOLS,
}
_WIRE_KINDS = {section: kind for kind, section in KINDS.items()}
_APPLIANCE_KINDS = {kind.value.upper(): kind for kind in ApplianceKind}


class InventoryQuery(serializers.Serializer):
    """The query's parameters."""

    kind = serializers.ChoiceField([*KINDS, *_APPLIANCE_KINDS], required=False, allow_blank=True)
    q = serializers.CharField(required=False, allow_blank=True, max_length=200)


class CsvRenderer(BaseRenderer):
    """Names the format; the view streams it."""

    media_type = "text/csv"
    format = "csv"


class Chain:
    """Several querysets one after the other, for a paginator: counts each, reads what is shown."""

    def __init__(self, parts: list[tuple[Section, QuerySet]]):
        self._parts = [(section, rows, rows.count()) for section, rows in parts]

    def count(self) -> int:
        return sum(count for _section, _rows, count in self._parts)

    def __getitem__(self, wanted: slice) -> list[tuple[Section, Model]]:
        first, last = wanted.start, wanted.stop
        found: list[tuple[Section, Model]] = []
        for section, rows, count in self._parts:
            if first < count and last > 0:
                found += [(section, row) for row in rows[max(first, 0) : min(last, count)]]
            first, last = first - count, last - count
        return found


@extend_schema(
    tags=["account"],
    parameters=[
        OpenApiParameter(
            "kind",
            enum=[*KINDS, *_APPLIANCE_KINDS],
            description="Only things of this kind; `BATTERY` and the like mean such appliances.",
        ),
        OpenApiParameter("q", description="Words that must all be found in names, serials, towns."),
    ],
    responses={
        (200, "application/json"): InventoryItemSerializer(many=True),
        (200, "text/csv"): OpenApiTypes.STR,
        **REFUSALS,
        **LIST_REFUSALS,
    },
)
class InventoryList(generics.GenericAPIView):
    """Everything that an account's subtree owns: systems, gateways, appliances, clusters, pools.

    With `Accept: text/csv` all of it at once, as a stream.
    """

    serializer_class = InventoryItemSerializer
    renderer_classes = (*api_settings.DEFAULT_RENDERER_CLASSES, CsvRenderer)

    def get(self, request: Request, account_id) -> HttpResponseBase:
        account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
        query = InventoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        parts = self._parts(account, **query.validated_data)
        if request.accepted_renderer.format == "csv":
            lines = inventory_csv(parts[0][1], parts[0][0]) if len(parts) == 1 else whole_csv(parts)
            return csv_file(request._request, lines, "inventory.csv")
        now = clock.now()
        items = self.paginate_queryset(Chain(parts))
        return self.get_paginated_response(
            [item_to_wire(section, row, now=now) for section, row in items]
        )

    def _parts(
        self, account: Account, kind: str = "", q: str = ""
    ) -> list[tuple[Section, QuerySet]]:
        appliance_kind = _APPLIANCE_KINDS.get(kind, "")
        sections = list(Section)
        if kind:
            sections = [Section.APPLIANCES if appliance_kind else KINDS[kind]]
        user = self.request.user
        wanted = [InventoryFilter(section, search=q, kind=appliance_kind) for section in sections]
        return [
            (each.section, inventory(user=user, account=account, wanted=each)) for each in wanted
        ]


def item_to_wire(section: Section, row: Any, *, now: datetime) -> dict[str, Any]:
    """One thing of an inventory, with what it belongs to."""
    kind = _WIRE_KINDS[section]
    item = {"kind": kind, "id": row.pk, "name": getattr(row, "name", "") or str(row)}
    if section is Section.SYSTEMS:
        include = frozenset({"location"})
        wire = system_to_wire(row, include=include, now=now)
        return item | {"accountID": row.account_id, "systemID": row.pk, "system": wire}
    if section is Section.POOLS:
        return item | {"accountID": row.account_id, "systemPool": pool_to_wire(row)}
    item |= {"accountID": row.system.account_id, "systemID": row.system_id}
    if section is Section.GATEWAYS:
        return item | {"gateway": gateway_to_wire(row, now=now)}
    if section is Section.APPLIANCES:
        return item | {"appliance": appliance_to_wire(row, now=now)}
    return item | {"cluster": cluster_to_wire(row)}


def whole_csv(parts: list[tuple[Section, QuerySet]]) -> Iterator[str]:
    """Several kinds in one file: `inventory_kind`, then every column that any of them has."""
    names = dict.fromkeys(
        column.replace(".", "_") for section, _rows in parts for column in COLUMNS[section]
    )
    writer = csv.DictWriter(Echo(), ["inventory_kind", *names])
    yield writer.writeheader()
    for section, rows in parts:
        for row in csv.DictReader(inventory_csv(rows, section)):
            yield writer.writerow({"inventory_kind": _WIRE_KINDS[section], **row})
