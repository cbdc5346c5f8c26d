"""Home: one system, now and over time; for who sees several, the way to each of them."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.access import Action, Role, may
from accounts.fragments import render_page_or_part
from accounts.paging import page_of, search_of
from flexibility.models import Dimming
from gridx import clock
from gridx.pages.appliance import emitter_or_none
from gridx.pages.charging_words import policy_url
from gridx.pages.fragments import figures_mark, live_context
from gridx.pages.navigation import show_in_navigation
from gridx.pages.period import period_context
from gridx.pages.systems import lines_of
from gridx.pages.visible import visible_system
from inventory.kinds import ApplianceKind
from inventory.models import System
from inventory.queries import InventoryFilter, inventory
from measurements.queries import Live, live_of_system

PAGE = 25


@login_required
@never_cache
@gzip_page
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """A resident's system; the list of systems for everybody else, and where there are several."""
    if request.user.role == Role.RESIDENT and not request.user.is_staff:
        systems = list(System.objects.visible_to(request.user).select_related("gateway")[:2])
        if len(systems) == 1:
            return _show(request, systems[0])
    return _list(request)


@login_required
@never_cache
@gzip_page
@require_GET
def system(request: HttpRequest, system_id: UUID) -> HttpResponse:
    """The same page for one of the systems in sight."""
    return _show(request, visible_system(request, system_id))


# One system ------------------------------------------------------------------------------------


def _show(request: HttpRequest, system: System) -> HttpResponse:
    """The whole page; only the period where htmx asks for that."""
    now = clock.now()
    # Before the figures: if they change in between, the page fetches them once more.
    mark = figures_mark(system, now=now)
    live = live_of_system(system=system, now=now)
    context = {"system": system, **period_context(request, system, live, now=now)}
    if request.htmx and request.htmx.target == "period":
        response = render(request, "pages/_period.html", context)
    else:
        show_in_navigation(request, system)
        context |= live_context(system, live, user=request.user, mark=mark, now=now)
        context["was_dimmed"] = Dimming.objects.filter(system=system).exists()
        context["is_listed"] = request.resolver_match.url_name == "system"
        context["policy_url"] = _policy_url(request, system, live)
        response = render(request, "pages/home.html", context)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


def _policy_url(request: HttpRequest, system: System, live: Live) -> str:
    """The way to how all of its charging stations charge; empty where there is none."""
    has_stations = bool(live.of_kind(ApplianceKind.EV_CHARGING_STATION))
    may = emitter_or_none(request.user) is not None
    return policy_url(system) if has_stations and may else ""


# The list --------------------------------------------------------------------------------------


def _list(request: HttpRequest) -> HttpResponse:
    """Systems in sight, searched by `?q=`, page by page."""
    now = clock.now()
    search = search_of(request)
    rows = inventory(user=request.user, account=None, wanted=InventoryFilter(search=search))
    page = page_of(rows, request.GET.get("page"), size=PAGE)
    context = {
        "now": now,
        "search": search,
        "page": page,
        "lines": lines_of(page.rows, now=now),
        "may_register": may(request.user, Action.MANAGE_INVENTORY),
        "is_resident": request.user.role == Role.RESIDENT,
    }
    return render_page_or_part(
        request, "pages/systems.html", "pages/_systems.html", context, target="systems"
    )
