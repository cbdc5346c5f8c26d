"""Which charging policies concern which stations, and which of them asks."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from flexibility.models import ChargingPolicy, ChargingState, not_over
from flexibility.standing import members_of
from flexibility.targets import fields_of
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, System

Target = Appliance | Cluster | System


def stations_of(target: Target) -> QuerySet[Appliance]:
    """The charging stations that a policy on this target is for."""
    if isinstance(target, System):
        appliances = Appliance.objects.filter(system=target.pk, removed_at=None)
    else:
        appliances = members_of(target)
    return appliances.filter(kind=ApplianceKind.EV_CHARGING_STATION).order_by("key")


def policies_by_station(
    system: UUID, stations: Sequence[Appliance], *, now: datetime, until_at: datetime | None = None
) -> dict[UUID, list[ChargingPolicy]]:
    """By station (id) the policies that concern it now, the one that weighs most first.

    With `until_at` also those that begin by then.
    """
    rows = (
        ChargingPolicy.objects.filter(
            not_over(now),
            Q(system=system) | Q(cluster__system=system) | Q(appliance__system=system),
            withdrawn_at=None,
            valid_at__lte=until_at or now,
        )
        .select_related("appliance", "cluster", "system", "emitter")
        .order_by("-priority", "-created_at", "pk")
    )
    found: dict[UUID, list[ChargingPolicy]] = {}
    for row in rows:
        concerned = _concerned(row, stations)
        for station in stations:
            if station.pk in concerned:
                found.setdefault(station.pk, []).append(row)
    return found


def _concerned(row: ChargingPolicy, stations: Sequence[Appliance]) -> set[UUID]:
    if row.system_id is not None:
        return {one.pk for one in stations}
    if row.appliance_id is not None:
        return {row.appliance_id}
    return set(stations_of(row.cluster).values_list("pk", flat=True))


def policies_of(*, station: Appliance, now: datetime) -> list[ChargingPolicy]:
    """The policies that concern a station now, the one that weighs most first."""
    return policies_by_station(station.system_id, [station], now=now).get(station.pk, [])


def policies_on(*, target: Target, now: datetime) -> QuerySet[ChargingPolicy]:
    """The policies set on an appliance, a cluster or a system itself, the strongest first."""
    return (
        ChargingPolicy.objects.filter(not_over(now), withdrawn_at=None, **fields_of(target))
        .select_related("appliance", "cluster", "system", "emitter")
        .order_by("-priority", "-created_at", "pk")
    )


def policy_asking(*, station: Appliance, now: datetime) -> ChargingPolicy | None:
    """The policy that asks at a station now, of several the one that weighs most."""
    lasts = Q(policy__invalid_at=None) | Q(policy__invalid_at__gt=now)
    states = ChargingState.objects.filter(lasts, appliance=station, policy__withdrawn_at=None)
    state = (
        states.select_related("policy__emitter")
        .order_by("-policy__priority", "-policy__created_at", "policy")
        .first()
    )
    return None if state is None else state.policy
