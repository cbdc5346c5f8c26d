"""What an address names, where it is in sight of whoever asks; else Http404."""

from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from inventory.models import Appliance, Cluster, System, SystemPool


def visible_system(request: HttpRequest, system_id: UUID) -> System:
    visible = System.objects.visible_to(request.user).select_related("account", "gateway")
    return get_object_or_404(visible, pk=system_id)


def visible_appliance(request: HttpRequest, appliance_id: UUID) -> Appliance:
    visible = Appliance.objects.visible_to(request.user).select_related(
        "system__account", "system__gateway", "gateway"
    )
    return get_object_or_404(visible, pk=appliance_id)


def visible_cluster(request: HttpRequest, cluster_id: UUID) -> Cluster:
    visible = Cluster.objects.visible_to(request.user).select_related("system__account")
    return get_object_or_404(visible, pk=cluster_id)


def visible_pool(request: HttpRequest, pool_id: UUID) -> SystemPool:
    visible = SystemPool.objects.visible_to(request.user).select_related("account")
    return get_object_or_404(visible, pk=pool_id)


def uuid_or_none(text: str | None) -> UUID | None:
    """The UUID that a parameter of an address gives; None where it is none."""
    try:
        return UUID(text or "")
    except ValueError:
        return None
