"""What stands in the navigation of every page, by what the user may do."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import resolve, reverse
from django.utils.translation import gettext as _

from accounts.access import Action, Role, may
from gridx import clock
from inventory.models import System
from measurements.formats import age_words


@dataclass(frozen=True, slots=True)
class NavItem:
    """A way to a page; `names` are the addresses (by name) at which it is the current one."""

    label: str
    url: str
    icon: str
    names: tuple[str, ...] = ()
    current: bool = False


_SYSTEM_PAGES = (
    "home",
    "system",
    "system_export",
    "appliance",
    "appliance_export",
    "appliance_past",
    "appliance_energy",
    "readings",
    "figure",
    "figure_slot",
    "car",
    "car_policy",
    "car_charge_now",
)
_DIMMING_PAGES = ("dimmings", "dimming")
_ACCOUNT_PAGES = (
    "account_tree",
    "account_detail",
    "account_edit",
    "account_create",
    "account_move",
    "customer_list",
    "audit_log",
    "user_invite",
    "user_edit",
)
_INVENTORY_PAGES = (
    "inventory",
    "account_inventory",
    "system_inventory",
    "system_choose_account",
    "system_create",
    "system_edit",
    "system_import",
    "system_imports",
    "recording_import",
    "recording_import_mapping",
    "appliance_edit",
    "cluster_create",
    "cluster_edit",
    "cluster_flexibility",
    "cluster_energy",
    "cluster_figure",
    "cluster_export",
    "cluster_fairness",
    "limit_new",
    "limit_edit",
    "cluster_policy",
    "system_policy",
    "pool_create",
    "pool_detail",
    "pool_edit",
    "pool_export",
    "pool_flexibility",
    "pool_energy",
    "pool_figure",
    "constraints_withdraw",
    "constraint_delivery",
    "bulk_action",
    "bulk_actions",
    "gateway_detail",
    "gateway_edit",
)
_GATEWAY_PAGES = ("gateway_register", "gateway_rotate", "gateway_arrivals")


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `nav` for who is signed in, and what the browser counts ages with."""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {}
    match = getattr(request, "shown_under", request.resolver_match)
    name = match.url_name if match else None
    items = _of_resident(request) if request.user.role == Role.RESIDENT else _of_manager(request)
    return {
        "nav": [
            NavItem(each.label, each.url, each.icon, each.names, name in each.names)
            for each in items
        ],
        "age_words": {**age_words(), "now": clock.now().isoformat()},
    }


def show_in_navigation(request: HttpRequest, system: System) -> None:
    """Say which system the page is about, so that the navigation leads to its parts."""
    request.shown_system = system


def show_under(request: HttpRequest, url: str) -> None:
    """Say that what this page is about is shown at `url`: the same is marked as there."""
    request.shown_under = resolve(urlsplit(url).path)


def _of_resident(request: HttpRequest) -> list[NavItem]:
    home = NavItem(_("Home"), reverse("home"), "home", (*_SYSTEM_PAGES, *_DIMMING_PAGES))
    if getattr(request, "shown_system", None) is None:
        return [home]
    return [
        home,
        NavItem(_("History"), "#period", "chart-histogram"),
        NavItem(_("Appliances"), "#appliances", "plug-connected"),
    ]


def _of_manager(request: HttpRequest) -> list[NavItem]:
    items = [
        NavItem(_("Overview"), reverse("fleet"), "gauge", ("fleet", "matter", *_DIMMING_PAGES)),
        NavItem(_("Systems"), reverse("home"), "layout-grid", _SYSTEM_PAGES),
        NavItem(_("Inventory"), reverse("inventory"), "list-details", _INVENTORY_PAGES),
    ]
    if may(request.user, Action.MANAGE_INVENTORY):
        items.append(
            NavItem(_("Register gateway"), reverse("gateway_register"), "router", _GATEWAY_PAGES)
        )
    items.append(NavItem(_("Accounts"), reverse("account_tree"), "sitemap", _ACCOUNT_PAGES))
    return items
