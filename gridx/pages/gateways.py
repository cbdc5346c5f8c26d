"""Register a gateway, see its secret once, and watch its first reading arrive."""

from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import Action, may, require
from accounts.fragments import render_page_or_part
from accounts.paging import search_of
from accounts.queries import trail
from gridx import clock
from gridx.gateways.topics import Channel, mqtt_topic
from gridx.pages.visible import uuid_or_none, visible_system
from inventory import operations
from inventory.forms import RegistrationForm
from inventory.models import Appliance, Gateway, GatewayFault, System
from inventory.queries import InventoryFilter, inventory
from inventory.views.gateways import visible_gateway
from measurements.models import LatestReading

MOST_SYSTEMS = 30


@dataclass(frozen=True)
class Example:
    """What to paste into a shell, so that a first reading arrives."""

    hello: str
    readings: str

    @property
    def text(self) -> str:
        return f"{self.hello}\n\n{self.readings}"


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def gateway_register(request: HttpRequest) -> HttpResponse:
    """Choose a system (`?system=…`, or from a list), then name the serial number.

    The secret is in the answer to the form and nowhere else: a reload asks to send the form again,
    which is then refused, because the serial number is taken.
    """
    if not may(request.user, Action.MANAGE_INVENTORY):
        raise PermissionDenied
    if request.method == "POST":
        return _register(request)
    system = _chosen_system(request, request.GET.get("system", ""))
    if system is None:
        return _choose_system(request)
    form = RegistrationForm(initial={"system": system}, user=request.user)
    return _show_form(request, form, system)


@sensitive_variables("secret")
def _register(request: HttpRequest) -> HttpResponse:
    form = RegistrationForm(request.POST, user=request.user)
    if form.is_valid():
        system = form.cleaned_data["system"]
        require(request.user, Action.MANAGE_INVENTORY, system)
        try:
            gateway, secret = operations.register_gateway(
                by=request.user, now=clock.now(), **form.cleaned_data
            )
        except operations.UnableToRegisterGateway as error:
            form.add_error(None, str(error))
        else:
            return _show_secret(request, gateway, secret, is_new=True)
    return _show_form(request, form, _chosen_system(request, request.POST.get("system", "")))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
@sensitive_variables("secret")
def gateway_rotate(request: HttpRequest, gateway_id: UUID) -> HttpResponse:
    """Ask, then make a new secret and show it once."""
    gateway = visible_gateway(request, gateway_id)
    require(request.user, Action.MANAGE_INVENTORY, gateway)
    if request.method == "POST":
        secret = operations.rotate_secret(gateway=gateway, by=request.user, now=clock.now())
        return _show_secret(request, gateway, secret, is_new=False)
    context = {
        "gateway": gateway,
        "system": gateway.system,
        "above": trail(gateway.system.account, request.user),
    }
    return render(request, "pages/gateway_rotate.html", context)


@login_required
@require_GET
def gateway_arrivals(request: HttpRequest, gateway_id: UUID) -> HttpResponse:
    """What has arrived of the gateway; the page asks again every two seconds until a reading has.

    Without JavaScript it is a page of its own, to be looked at again.
    """
    gateway = visible_gateway(request, gateway_id)
    context = arrivals(gateway)
    if request.htmx:
        return render(request, "pages/_arrivals.html", context)
    context["above"] = trail(gateway.system.account, request.user)
    return render(request, "pages/gateway_arrivals.html", context)


def arrivals(gateway: Gateway) -> dict:
    """Context of `pages/_arrivals.html`: the appliances with their latest readings."""
    appliances = {
        one.key: one for one in Appliance.objects.filter(gateway=gateway, removed_at=None)
    }
    latest = LatestReading.objects.filter(
        system_key=gateway.system.key, appliance_key__in=list(appliances)
    ).order_by("-at")[:20]
    return {
        "gateway": gateway,
        "appliances": list(appliances.values()),
        "readings": [(appliances[reading.appliance_key], reading) for reading in latest],
        "faults": GatewayFault.objects.filter(gateway=gateway).order_by("-at")[:3],
        "now": clock.now(),
    }


def example_of(serial: str, secret: str) -> Example:
    """Two commands for a shell: say hello with a grid meter, then send a reading of it.

    The messages are those of `gridx.gateways.messages`; the shell puts in the current time.
    """
    broker = urlsplit(settings.PUBLIC_MQTT_URL)
    is_encrypted = broker.scheme in {"mqtts", "ssl"}
    port = broker.port or (8883 if is_encrypted else 1883)
    command = (
        f"mosquitto_pub -h {broker.hostname} -p {port}{' --tls-use-os-certs' * is_encrypted}"
        f" -q 1 -i {serial} -u {serial} \\\n  -P '{secret}' \\\n  -t "
    )
    hello = (
        f"{command}{mqtt_topic(serial, Channel.HELLO)} -s <<END\n"
        '{"v": 1, "protocol": 1, "model": "mosquitto_pub", "firmware": "2.0",\n'
        ' "sent_at": $(date +%s)000, "appliances": [\n'
        '  {"local_id": "grid", "kind": "grid_meter", "name": "Grid meter", "interval_s": 60}\n'
        "]}\nEND"
    )
    readings = (
        f"{command}{mqtt_topic(serial, Channel.READINGS)} -s <<END\n"
        '{"v": 1, "seq": 1, "appliances": [\n'
        '  {"appliance": "grid", "at": [$(date +%s)000], "power_w": [1250]}\n'
        "]}\nEND"
    )
    return Example(hello, readings)


@sensitive_variables("secret")
def _show_secret(
    request: HttpRequest, gateway: Gateway, secret: str, *, is_new: bool
) -> HttpResponse:
    # The example is for a gateway that has found nothing yet: it brings a grid meter of its own.
    context = {
        **arrivals(gateway),
        "system": gateway.system,
        "secret": secret,
        "is_new": is_new,
        "broker": settings.PUBLIC_MQTT_URL,
        "example": example_of(gateway.serial, secret),
        "above": trail(gateway.system.account, request.user),
    }
    return render(request, "pages/gateway_secret.html", context)


def _show_form(request: HttpRequest, form: RegistrationForm, system: System | None) -> HttpResponse:
    context = {
        "form": form,
        "system": system,
        "above": trail(system.account, request.user) if system else [],
    }
    return render(request, "pages/gateway_register.html", context)


def _choose_system(request: HttpRequest) -> HttpResponse:
    search = search_of(request)
    found = inventory(user=request.user, account=None, wanted=InventoryFilter(search=search))
    systems = found.filter(gateway=None)[:MOST_SYSTEMS]
    context = {"systems": systems, "search": search}
    return render_page_or_part(
        request,
        "pages/gateway_choose_system.html",
        "pages/_systems_without_gateway.html",
        context,
        target="results",
    )


def _chosen_system(request: HttpRequest, text: str) -> System | None:
    """The system that the address names; Http404 where it is not in sight."""
    chosen = uuid_or_none(text)
    return chosen and visible_system(request, chosen)
