"""Pages of one system's inventory: what is there, how it is grouped, who looks after it."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import Action, may, require
from accounts.forms import MoveAccountForm
from accounts.fragments import render_page_or_part
from accounts.models import Account
from accounts.operations import UnableToMoveAccount
from accounts.paging import search_of
from accounts.queries import accounts_in_sight, preview_access, trail, users_seeing
from gridx import clock
from inventory import operations, queries
from inventory.forms import (
    ApplianceClusterForm,
    ApplianceForm,
    ApplianceNameForm,
    AssignmentForm,
    SystemForm,
    SystemNameForm,
)
from inventory.models import Appliance, System, SystemAssignment, SystemPool

MOST_ACCOUNTS = 30


@login_required
@require_GET
def system_inventory(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """The system's gateway, appliances, clusters and pools, and who sees it."""
    system = visible_system(request, system_id)
    return render(request, "inventory/system_inventory.html", system_context(request, system))


def system_context(request: HttpRequest, system: System) -> dict:
    user = request.user
    appliances = list(
        Appliance.objects.filter(system=system, removed_at=None)
        .select_related("cluster")
        .order_by("name", "key")
    )
    gateway, now = getattr(system, "gateway", None), clock.now()
    context = {
        "system": system,
        "gateway": gateway,
        "state": queries.gateway_state(gateway, now=now) if gateway else None,
        "above": trail(system.account, user),
        "appliances": appliances,
        "loose": [appliance for appliance in appliances if appliance.cluster_id is None],
        "clusters": queries.clusters_of(system, appliances),
        "pools": SystemPool.objects.visible_to(user).filter(systems=system).order_by("name"),
        "now": now,
        "may_name": may(user, Action.NAME),
        "may_group": may(user, Action.MANAGE_GROUPS),
        "may_manage": may(user, Action.MANAGE_INVENTORY),
        "may_manage_accounts": may(user, Action.MANAGE_ACCOUNTS),
    }
    if context["may_manage_accounts"]:
        context["assignments"] = queries.assignments_of(system)
        context["assignment_form"] = AssignmentForm(user=user)
        context["seen_by"] = users_seeing(system.account)
    return context


def visible_system(request: HttpRequest, system_id: UUID) -> System:
    visible = System.objects.visible_to(request.user).select_related("account", "gateway")
    return get_object_or_404(visible, pk=system_id)


@login_required
@require_GET
def system_choose_account(request: HttpRequest) -> HttpResponse:
    """The first step to a new system: whose it is (`?q=` finds accounts)."""
    if not may(request.user, Action.MANAGE_INVENTORY):
        raise PermissionDenied
    search = search_of(request)
    accounts = list(accounts_in_sight(request.user, search=search)[:MOST_ACCOUNTS])
    if len(accounts) == 1 and not search:
        return redirect("system_create", accounts[0].pk)
    return render_page_or_part(
        request,
        "inventory/system_choose_account.html",
        "inventory/_accounts_for_system.html",
        {"accounts": accounts, "search": search},
        target="results",
    )


@login_required
@require_http_methods(["GET", "POST"])
def system_create(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Add a system of the account."""
    account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
    require(request.user, Action.MANAGE_INVENTORY, account)
    form = SystemForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        system = operations.create_system(
            account=account, by=request.user, now=clock.now(), **form.cleaned_data
        )
        messages.success(request, _("%(name)s was added.") % {"name": system})
        return redirect("system_inventory", system.pk)
    context = {
        "form": form,
        "account": account,
        "above": trail(account, request.user),
    }
    return render(request, "inventory/system_create.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def system_edit(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """Change a system's name; for who manages the inventory, all of its description."""
    system = visible_system(request, system_id)
    require(request.user, Action.NAME, system)
    form_class = SystemForm if may(request.user, Action.MANAGE_INVENTORY) else SystemNameForm
    form = form_class(request.POST or None, instance=System.objects.get(pk=system.pk))
    if request.method == "POST" and form.is_valid():
        operations.update_system(
            system=system, by=request.user, now=clock.now(), **form.cleaned_data
        )
        messages.success(request, _("Saved."))
        return redirect("system_inventory", system.pk)
    return render(request, "inventory/system_edit.html", {"form": form, "system": system})


@login_required
@require_http_methods(["GET", "POST"])
def appliance_edit(request: HttpRequest, appliance_id: UUID) -> HttpResponse:
    """Change an appliance's name and room, and the cluster that it lies in."""
    appliance = get_object_or_404(
        Appliance.objects.visible_to(request.user).select_related("system__account"),
        pk=appliance_id,
    )
    may_group = may(request.user, Action.MANAGE_GROUPS)
    may_name = may(request.user, Action.NAME)
    require(request.user, Action.MANAGE_GROUPS if may_group else Action.NAME, appliance)
    if may_group and may_name:
        form_class = ApplianceForm
    else:
        form_class = ApplianceClusterForm if may_group else ApplianceNameForm
    form = form_class(request.POST or None, instance=Appliance.objects.get(pk=appliance.pk))
    if request.method == "POST" and form.is_valid():
        try:
            operations.update_appliance(
                appliance=appliance, by=request.user, now=clock.now(), **form.cleaned_data
            )
        except operations.UnableToGroup as error:
            form.add_error("cluster", str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("system_inventory", appliance.system_id)
    context = {"form": form, "appliance": appliance, "system": appliance.system}
    return render(request, "inventory/appliance_edit.html", context)


@login_required
@require_POST
def assignment_create(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """Let a grid operator look after the system."""
    system = visible_system(request, system_id)
    require(request.user, Action.MANAGE_ACCOUNTS, system)
    form = AssignmentForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            operations.assign_system(
                system=system,
                operator=form.cleaned_data["operator"],
                by=request.user,
                now=clock.now(),
            )
        except operations.UnableToAssign as error:
            form.add_error("operator", str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("system_inventory", system.pk)
    context = system_context(request, system) | {"assignment_form": form}
    return render(request, "inventory/system_inventory.html", context)


@login_required
@require_POST
def assignment_end(request: HttpRequest, system_id: UUID, assignment_id: UUID) -> HttpResponse:
    """A grid operator no longer looks after the system."""
    system = visible_system(request, system_id)
    require(request.user, Action.MANAGE_ACCOUNTS, system)
    assignment = get_object_or_404(
        SystemAssignment.objects.select_related("system__account", "user"),
        system=system,
        pk=assignment_id,
    )
    operations.end_assignment(assignment=assignment, by=request.user, now=clock.now())
    messages.success(request, _("Saved."))
    return redirect("system_inventory", system.pk)


@login_required
@require_http_methods(["GET", "POST"])
def account_move(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Hang an account below another one: first what that changes, then a yes.

    The first step is a GET (`?new_parent=…`), so that the preview can be shared.
    """
    account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
    require(request.user, Action.MANAGE_ACCOUNTS, account)
    sent = request.POST if request.method == "POST" else request.GET
    form = MoveAccountForm(
        sent if "new_parent" in sent else None, account=account, user=request.user
    )
    context = {"form": form, "account": account, "above": trail(account, request.user)}
    if form.is_valid():
        new_parent = form.cleaned_data["new_parent"]
        if request.method == "POST":
            try:
                operations.move_account(
                    account=account, new_parent=new_parent, by=request.user, now=clock.now()
                )
            except UnableToMoveAccount as error:
                form.add_error("new_parent", str(error))
            else:
                messages.success(
                    request,
                    _("%(name)s now lies below %(parent)s.")
                    % {"name": account, "parent": new_parent},
                )
                return redirect("account_detail", account.pk)
        else:
            context |= {
                "new_parent": new_parent,
                "access": preview_access(account, new_parent),
                "left_behind": queries.members_left_behind(account, new_parent),
                "system_count": queries.systems_below(account).count(),
            }
    return render(request, "inventory/account_move.html", context)
