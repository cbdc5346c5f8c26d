"""Whom a constraint is for: one appliance, the members of a group, or many that were chosen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Account
from flexibility.asking import ANY, Side, side_of
from flexibility.bulk.operations import MOST_APPLIANCES
from flexibility.operations import Target
from flexibility.standing import members_of
from gridx.pages.groups import MOST_MEMBERS
from gridx.pages.lines import group_url
from gridx.pages.visible import uuid_or_none
from inventory.forms import InventoryFilterForm
from inventory.kinds import CONTROLLABLE
from inventory.models import Appliance, Cluster, SystemPool
from inventory.queries import InventoryFilter, Section, inventory


@dataclass(frozen=True)
class Subject:
    """Whom the editor is about.

    `target` is None where many were chosen: then they are all in `appliances`. `hidden` are the
    fields by which the form says again who was chosen.
    """

    target: Target | None
    appliances: Sequence[Appliance]
    zone: ZoneInfo
    name: str
    back_url: str
    hidden: tuple[tuple[str, str], ...] = ()

    @property
    def is_many(self) -> bool:
        return self.target is None

    @property
    def is_group(self) -> bool:
        """Whether more than one appliance is meant."""
        return not isinstance(self.target, Appliance)

    @property
    def tried(self) -> Sequence[Appliance]:
        """Those on which it is tried out."""
        return self.appliances[:MOST_MEMBERS]

    @property
    def side(self) -> Side:
        """From which side all of them are looked at."""
        sides = {side_of(one.kind) for one in self.appliances}
        is_one = len(sides) == 1 and not isinstance(self.target, Cluster | SystemPool)
        return sides.pop() if is_one else Side(ANY)


def of_appliance(found: Appliance) -> Subject:
    """One appliance."""
    return Subject(found, [found], found.system.zone, found.name, page_of(found))


def of_group(group: Cluster | SystemPool) -> Subject:
    """Each member of a cluster or a pool."""
    members = members_of(group).filter(kind__in=CONTROLLABLE).select_related("system")
    rows = list(members.order_by("system__name", "name", "key"))
    return Subject(group, rows, group.zone, group.name, page_of(group))


def of_target(target: Target) -> Subject:
    """One appliance, or each member of a group."""
    return of_appliance(target) if isinstance(target, Appliance) else of_group(target)


def page_of(target: Target) -> str:
    """Where it is shown what is asked of a target."""
    if isinstance(target, Appliance):
        return reverse("appliance", args=[target.pk])
    return group_url(target)


def of_chosen(request: HttpRequest) -> Subject | None:
    """Those that were ticked (`appliance`, ids), or all that a filter finds (`matching`).

    None where nothing was chosen. Raises Http404 where one of them is out of sight.
    """
    data = request.POST if request.method == "POST" else request.GET
    if "matching" in data:
        return _matching(request, data)
    ids = {uuid_or_none(one) for one in data.getlist("appliance")}
    if not ids:
        return None
    visible = Appliance.objects.visible_to(request.user).filter(pk__in=ids - {None})
    rows = list(visible.select_related("system__account", "gateway").order_by("name", "key"))
    if len(rows) < len(ids):
        raise Http404
    hidden = tuple(("appliance", str(one.pk)) for one in rows)
    return _many(rows, reverse("inventory") + "?show=appliances", hidden)


def _matching(request: HttpRequest, data) -> Subject:
    form = InventoryFilterForm(data)
    del form.fields["state"]
    form.is_valid()
    search, kind = form.cleaned_data.get("q", ""), form.cleaned_data.get("kind", "")
    account = None
    if data.get("account"):
        account_id: UUID | None = uuid_or_none(data["account"])
        account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
    wanted = InventoryFilter(section=Section.APPLIANCES, search=search, kind=kind, sort="name")
    found = inventory(user=request.user, account=account, wanted=wanted)
    rows = list(found.filter(kind__in=CONTROLLABLE)[: MOST_APPLIANCES + 1])
    fields = {"q": search, "kind": kind, "account": str(account.pk) if account else ""}
    said = {name: value for name, value in fields.items() if value}
    base = reverse("account_inventory", args=[account.pk]) if account else reverse("inventory")
    looked_for = {name: value for name, value in said.items() if name != "account"}
    back = f"{base}?{urlencode({'show': 'appliances', **looked_for})}"
    return _many(rows, back, (("matching", "1"), *said.items()))


def _many(rows: Sequence[Appliance], back_url: str, hidden: tuple[tuple[str, str], ...]) -> Subject:
    zones = Counter(one.system.time_zone for one in rows)
    zone = ZoneInfo(zones.most_common(1)[0][0]) if zones else ZoneInfo("UTC")
    name = ngettext("%(n)d appliance", "%(n)d appliances", len(rows)) % {"n": len(rows)}
    return Subject(None, rows, zone, name if rows else _("no appliance"), back_url, hidden)
