"""Clusters and pools are dissolved here, above all that may still be asked of them."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.access import Action, require
from flexibility.groups.operations import UnableToDissolve, dissolve
from gridx import clock
from gridx.pages.visible import visible_cluster, visible_pool
from inventory.models import Cluster, SystemPool


@login_required
@require_POST
def cluster_remove(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Dissolve a cluster; what was in it moves up."""
    cluster = visible_cluster(request, cluster_id)
    if _is_dissolved(request, cluster):
        return redirect("system_inventory", cluster.system_id)
    return redirect("cluster_flexibility", cluster.pk)


@login_required
@require_POST
def pool_remove(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Dissolve a pool; its systems stay."""
    pool = visible_pool(request, pool_id)
    if _is_dissolved(request, pool):
        return redirect("account_inventory", pool.account_id)
    return redirect("pool_flexibility", pool.pk)


def _is_dissolved(request: HttpRequest, group: Cluster | SystemPool) -> bool:
    """Dissolve it and say so, or say why not."""
    require(request.user, Action.MANAGE_GROUPS, group)
    try:
        dissolve(group=group, by=request.user, now=clock.now())
    except UnableToDissolve as error:
        messages.error(request, str(error))
        return False
    messages.success(request, _("%(name)s was dissolved.") % {"name": group})
    return True
