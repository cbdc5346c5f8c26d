"""Clusters and pools: their energies over time, told like those of a system."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.fragments import render_page_or_part
from gridx import clock
from gridx.pages.groups import frame_of
from gridx.pages.period import period_context
from gridx.pages.visible import visible_cluster, visible_pool
from inventory.models import Cluster, SystemPool


@login_required
@never_cache
@gzip_page
@require_GET
def cluster_energy(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """What flowed in the appliances of a cluster, in its system's time zone."""
    return _show(request, visible_cluster(request, cluster_id))


@login_required
@never_cache
@gzip_page
@require_GET
def pool_energy(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """What flowed in the systems of a pool, in its own time zone, and how many were seen."""
    return _show(request, visible_pool(request, pool_id))


def _show(request: HttpRequest, group: Cluster | SystemPool) -> HttpResponse:
    now = clock.now()
    context = frame_of(group, now=now) | period_context(request, group, None, now=now)
    context["zone"] = group.zone.key
    return render_page_or_part(
        request, "pages/group_energy.html", "pages/_period.html", context, target="period"
    )
