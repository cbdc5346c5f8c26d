"""Pages of clusters (appliances of one system) and pools (systems of one account)."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import Action, may, require
from accounts.models import Account
from accounts.paging import page_of, search_of
from accounts.queries import trail
from gridx import clock
from inventory import operations
from inventory.forms import ClusterForm, MembersForm, PoolForm
from inventory.models import Cluster, System, SystemPool
from inventory.queries import InventoryFilter, Section, inventory
from inventory.views.systems import visible_system

MOST_CANDIDATES = 50


@login_required
@require_http_methods(["GET", "POST"])
def cluster_create(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """Add a cluster of the system."""
    system = visible_system(request, system_id)
    require(request.user, Action.MANAGE_GROUPS, system)
    form = ClusterForm(request.POST or None, system=system)
    if request.method == "POST" and form.is_valid():
        operations.create_cluster(
            system=system, by=request.user, now=clock.now(), **form.cleaned_data
        )
        return redirect("system_inventory", system.pk)
    return render(request, "inventory/cluster_create.html", {"form": form, "system": system})


@login_required
@require_http_methods(["GET", "POST"])
def cluster_edit(request: HttpRequest, cluster_id: UUID) -> HttpResponse:
    """Rename a cluster, or put it into another one."""
    cluster = _managed_cluster(request, cluster_id)
    form = ClusterForm(
        request.POST or None,
        instance=Cluster.objects.get(pk=cluster.pk),
        system=cluster.system,
    )
    if request.method == "POST" and form.is_valid():
        try:
            operations.update_cluster(
                cluster=cluster, by=request.user, now=clock.now(), **form.cleaned_data
            )
        except operations.UnableToGroup as error:
            form.add_error("parent", str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("system_inventory", cluster.system_id)
    context = {"form": form, "cluster": cluster, "system": cluster.system}
    return render(request, "inventory/cluster_edit.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def pool_create(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Add a pool of the account."""
    account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
    require(request.user, Action.MANAGE_GROUPS, account)
    form = PoolForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        pool = operations.create_pool(
            account=account, by=request.user, now=clock.now(), **form.cleaned_data
        )
        return redirect("pool_detail", pool.pk)
    context = {"form": form, "account": account, "above": trail(account, request.user)}
    return render(request, "inventory/pool_create.html", context)


@login_required
@require_GET
def pool_detail(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """A pool's members; who may group finds further systems here (`?q=`)."""
    pool = _visible_pool(request, pool_id)
    return render(request, "inventory/pool_detail.html", _pool_context(request, pool))


@login_required
@require_http_methods(["GET", "POST"])
def pool_edit(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Change a pool's name, kind or time zone."""
    pool = _managed_pool(request, pool_id)
    form = PoolForm(request.POST or None, instance=SystemPool.objects.get(pk=pool.pk))
    if request.method == "POST" and form.is_valid():
        operations.update_pool(pool=pool, by=request.user, now=clock.now(), **form.cleaned_data)
        messages.success(request, _("Saved."))
        return redirect("pool_detail", pool.pk)
    return render(request, "inventory/pool_edit.html", {"form": form, "pool": pool})


@login_required
@require_POST
def pool_add(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Add the ticked systems to the pool."""
    pool = _managed_pool(request, pool_id)
    form = MembersForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            count = operations.add_members(
                pool=pool, systems=form.cleaned_data["system"], by=request.user, now=clock.now()
            )
        except operations.UnableToGroup as error:
            form.add_error("system", str(error))
        else:
            text = ngettext("%(n)d system was added.", "%(n)d systems were added.", count)
            messages.success(request, text % {"n": count})
            return redirect("pool_detail", pool.pk)
    context = _pool_context(request, pool) | {"form": form}
    return render(request, "inventory/pool_detail.html", context)


@login_required
@require_POST
def pool_drop(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Take the ticked systems out of the pool."""
    pool = _managed_pool(request, pool_id)
    form = MembersForm(request.POST, user=request.user)
    if form.is_valid():
        count = operations.remove_members(
            pool=pool, systems=form.cleaned_data["system"], by=request.user, now=clock.now()
        )
        text = ngettext("%(n)d system was taken out.", "%(n)d systems were taken out.", count)
        messages.success(request, text % {"n": count})
        return redirect("pool_detail", pool.pk)
    context = _pool_context(request, pool) | {"drop_form": form}
    return render(request, "inventory/pool_detail.html", context)


def _pool_context(request: HttpRequest, pool: SystemPool) -> dict:
    members = (
        System.objects.visible_to(request.user)
        .filter(pools=pool)
        .select_related("account", "gateway")
        .order_by("name", "key")
    )
    search = search_of(request)
    context = {
        "pool": pool,
        "above": trail(pool.account, request.user),
        "page": page_of(members, request.GET.get("page")),
        "search": search,
        "may_group": may(request.user, Action.MANAGE_GROUPS),
    }
    if context["may_group"]:
        wanted = InventoryFilter(section=Section.SYSTEMS, search=search)
        found = inventory(user=request.user, account=pool.account, wanted=wanted)
        context["candidates"] = found.exclude(pools=pool)[:MOST_CANDIDATES]
    return context


def _visible_pool(request: HttpRequest, pool_id: UUID) -> SystemPool:
    visible = SystemPool.objects.visible_to(request.user).select_related("account")
    return get_object_or_404(visible, pk=pool_id)


def _managed_pool(request: HttpRequest, pool_id: UUID) -> SystemPool:
    pool = _visible_pool(request, pool_id)
    require(request.user, Action.MANAGE_GROUPS, pool)
    return pool


def _managed_cluster(request: HttpRequest, cluster_id: UUID) -> Cluster:
    cluster = get_object_or_404(
        Cluster.objects.visible_to(request.user).select_related("system__account", "parent"),
        pk=cluster_id,
    )
    require(request.user, Action.MANAGE_GROUPS, cluster)
    return cluster
