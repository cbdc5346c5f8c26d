"""The inventory of an account: everything below it, searched, filtered, sorted, exported."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.access import Action, may
from accounts.fragments import render_page_or_part
from accounts.models import Account
from accounts.paging import Page, page_of
from accounts.queries import chain
from gridx import clock
from inventory.export import csv_file, inventory_csv
from inventory.forms import InventoryFilterForm
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance
from inventory.queries import ORDERS, InventoryFilter, Section, inventory

SECTION_NAMES = {
    Section.SYSTEMS: _("Systems"),
    Section.GATEWAYS: _("Gateways"),
    Section.APPLIANCES: _("Appliances"),
    Section.CLUSTERS: _("Clusters"),
    Section.POOLS: _("Pools"),
}


@dataclass(frozen=True)
class Column:
    """A column of the table; `sort` is what the address asks for to sort by it, if it can."""

    label: str
    sort: str = ""
    is_number: bool = False


COLUMNS = {
    Section.SYSTEMS: (
        Column(_("Name"), "name"),
        Column(_("Place"), "city"),
        Column(_("Account"), "account"),
        Column(_("Gateway"), "contact"),
        Column(_("Appliances"), "", is_number=True),
    ),
    Section.GATEWAYS: (
        Column(_("Serial number"), "serial"),
        Column(_("State")),
        Column(_("System"), "system"),
        Column(_("Model"), "model"),
        Column(_("Firmware"), "firmware"),
        Column(_("Last contact"), "contact"),
    ),
    Section.APPLIANCES: (
        Column(_("Name"), "name"),
        Column(_("Kind"), "kind"),
        Column(_("System"), "system"),
        Column(_("Made by"), "manufacturer"),
        Column(_("Cluster")),
        Column(_("Power"), "", is_number=True),
    ),
    Section.CLUSTERS: (
        Column(_("Name"), "name"),
        Column(_("System"), "system"),
        Column(_("Within")),
        Column(_("Appliances"), "", is_number=True),
    ),
    Section.POOLS: (
        Column(_("Name"), "name"),
        Column(_("Kind")),
        Column(_("Account"), "account"),
        Column(_("Systems"), "", is_number=True),
    ),
}


@login_required
@require_GET
def inventory_page(request: HttpRequest, account_id: UUID | None = None) -> HttpResponse:
    """The inventory; the address says what is looked for, how it is sorted, and which page."""
    account = _account(request, account_id)
    wanted, form = _wanted(request)
    found = inventory(user=request.user, account=account, wanted=wanted)
    page = page_of(found, request.GET.get("page"))
    may_constrain = wanted.section is Section.APPLIANCES and may(request.user, Action.CONSTRAIN)
    context = {
        "account": account,
        "above": chain(account, request.user) if account else [],
        "section": wanted.section.value,
        "section_name": SECTION_NAMES[wanted.section],
        "sections": [(section.value, SECTION_NAMES[section]) for section in Section],
        "columns": COLUMNS[wanted.section],
        "sort": wanted.sort,
        "form": form,
        "page": page,
        "is_filtered": bool(wanted.search or wanted.kind or wanted.state),
        "now": clock.now(),
        "may_manage": may(request.user, Action.MANAGE_INVENTORY),
        "new_system_url": (
            reverse("system_create", args=[account.pk])
            if account
            else reverse("system_choose_account")
        ),
        "may_group": may(request.user, Action.MANAGE_GROUPS),
        "may_constrain": may_constrain,
        "only_measuring": _only_measuring(found, page) if may_constrain else 0,
        "controllable": CONTROLLABLE,
        "matching": _matching(account, wanted),
    }
    return render_page_or_part(
        request, "inventory/inventory.html", "inventory/_results.html", context, target="results"
    )


@login_required
@require_GET
def inventory_file(request: HttpRequest, account_id: UUID | None = None) -> HttpResponseBase:
    """The same rows, all of them, as CSV."""
    account = _account(request, account_id)
    wanted, _form = _wanted(request)
    rows = inventory(user=request.user, account=account, wanted=wanted)
    lines = inventory_csv(rows, wanted.section)
    return csv_file(request, lines, f"gridx-{wanted.section}-{clock.now():%Y-%m-%d}.csv")


def _only_measuring(found: QuerySet[Appliance], page: Page) -> int:
    """How many of those that are found are left out when a constraint is set on all of them."""
    controllable = page_of(found.filter(kind__in=CONTROLLABLE), None, size=1)
    return page.total - controllable.total


def _matching(account: Account | None, wanted: InventoryFilter) -> str:
    """The query by which other pages find the same appliances, all of them."""
    said = {"q": wanted.search, "kind": wanted.kind, "account": account and str(account.pk)}
    return urlencode({"matching": 1} | {name: value for name, value in said.items() if value})


def _account(request: HttpRequest, account_id: UUID | None) -> Account | None:
    if account_id is None:
        return None
    return get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)


def _wanted(request: HttpRequest) -> tuple[InventoryFilter, InventoryFilterForm]:
    try:
        section = Section(request.GET.get("show", Section.SYSTEMS))
    except ValueError:
        section = Section.SYSTEMS
    form = InventoryFilterForm(request.GET)
    if section is not Section.APPLIANCES:
        del form.fields["kind"]
    if section is not Section.GATEWAYS:
        del form.fields["state"]
    form.is_valid()
    asked = request.GET.get("sort", "")
    wanted = InventoryFilter(
        section=section,
        search=form.cleaned_data.get("q", ""),
        kind=form.cleaned_data.get("kind", ""),
        state=form.cleaned_data.get("state", ""),
        sort=asked if asked.removeprefix("-") in ORDERS[section] else next(iter(ORDERS[section])),
    )
    return wanted, form
