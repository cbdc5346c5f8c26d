"""Pages of a gateway. Registering one is `gridx.pages.gateways`'s: it shows readings too."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import Action, may, require
from accounts.fragments import render_page_or_part
from accounts.paging import page_of
from accounts.queries import trail
from gridx import clock
from inventory import operations, queries
from inventory.forms import GatewayNameForm
from inventory.models import Gateway, GatewayFault

# A clock that is further off than this is worth a word.
CLOCK_TOLERANCE_S = 30


def visible_gateway(request: HttpRequest, gateway_id: UUID) -> Gateway:
    visible = Gateway.objects.visible_to(request.user).select_related("system__account")
    return get_object_or_404(visible, pk=gateway_id)


@login_required
@require_GET
def gateway_detail(request: HttpRequest, gateway_id: UUID) -> HttpResponse:
    """A gateway: its state, its clock, holes in what it sent, what was refused and why."""
    gateway = visible_gateway(request, gateway_id)
    now = clock.now()
    faults = GatewayFault.objects.filter(gateway=gateway).order_by("-at", "-id").defer("body")
    context = {
        "gateway": gateway,
        "system": gateway.system,
        "state": queries.gateway_state(gateway, now=now),
        "above": trail(gateway.system.account, request.user),
        "clock_error_s": abs(gateway.clock_offset_s or 0),
        "is_clock_off": abs(gateway.clock_offset_s or 0) > CLOCK_TOLERANCE_S,
        "page": page_of(faults, request.GET.get("page"), size=20),
        "now": now,
        "may_name": may(request.user, Action.NAME),
        "may_manage": may(request.user, Action.MANAGE_INVENTORY),
    }
    return render_page_or_part(
        request,
        "inventory/gateway_detail.html",
        "inventory/_faults.html",
        context,
        target="results",
    )


@login_required
@require_http_methods(["GET", "POST"])
def gateway_edit(request: HttpRequest, gateway_id: UUID) -> HttpResponse:
    """Give the gateway a name."""
    gateway = visible_gateway(request, gateway_id)
    require(request.user, Action.NAME, gateway)
    form = GatewayNameForm(request.POST or None, instance=Gateway.objects.get(pk=gateway.pk))
    if request.method == "POST" and form.is_valid():
        operations.rename_gateway(
            gateway=gateway, by=request.user, now=clock.now(), **form.cleaned_data
        )
        messages.success(request, _("Saved."))
        return redirect("gateway_detail", gateway.pk)
    return render(request, "inventory/gateway_edit.html", {"form": form, "gateway": gateway})


@login_required
@require_POST
def gateway_revoke(request: HttpRequest, gateway_id: UUID) -> HttpResponse:
    """Let the gateway in no more."""
    gateway = visible_gateway(request, gateway_id)
    require(request.user, Action.MANAGE_INVENTORY, gateway)
    try:
        operations.revoke_gateway(gateway=gateway, by=request.user, now=clock.now())
    except operations.UnableToChangeGateway as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(serial)s is let in no more.") % {"serial": gateway})
    return redirect("gateway_detail", gateway.pk)
