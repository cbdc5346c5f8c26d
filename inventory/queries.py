"""Reads of the inventory that cross models: the inventory of an account, and previews."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.db.models import (
    Case,
    Count,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    FloatField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce

from accounts.access import Role
from accounts.models import Account, User
from gridx import clock
from inventory.models import (
    Appliance,
    Cluster,
    Gateway,
    System,
    SystemAssignment,
    SystemPool,
)
from inventory.silence import STALE_AT_LEAST, STALE_INTERVALS


class Section(StrEnum):
    """The kinds of thing that an inventory holds."""

    SYSTEMS = "systems"
    GATEWAYS = "gateways"
    APPLIANCES = "appliances"
    CLUSTERS = "clusters"
    POOLS = "pools"


@dataclass(frozen=True)
class InventoryFilter:
    """What of an inventory is wanted. `kind` is of appliances, `state` of gateways."""

    section: Section = Section.SYSTEMS
    search: str = ""
    kind: str = ""
    state: str = ""
    sort: str = ""


# What words are looked for in, per section: contained anywhere, or (serials) from the start.
SEARCHED: dict[Section, tuple[str, ...]] = {
    Section.SYSTEMS: (
        "name__icontains",
        "city__icontains",
        "address_line1__icontains",
        "postal_code__startswith",
        "account__name__icontains",
        "gateway__serial__icontains",
    ),
    Section.GATEWAYS: (
        "serial__icontains",
        "name__icontains",
        "model__icontains",
        "system__name__icontains",
        "system__account__name__icontains",
    ),
    Section.APPLIANCES: (
        "name__icontains",
        "manufacturer__icontains",
        "model__icontains",
        "serial_number__icontains",
        "room__icontains",
        "system__name__icontains",
    ),
    Section.CLUSTERS: ("name__icontains", "system__name__icontains"),
    Section.POOLS: ("name__icontains", "account__name__icontains"),
}

# Sortable columns; the first is the order where none is asked for.
ORDERS: dict[Section, dict[str, str]] = {
    Section.SYSTEMS: {
        "name": "name",
        "city": "city",
        "account": "account__name",
        "contact": "gateway__contacted_at",
        "created": "created_at",
    },
    Section.GATEWAYS: {
        "serial": "serial",
        "system": "system__name",
        "model": "model",
        "firmware": "firmware",
        "contact": "contacted_at",
    },
    Section.APPLIANCES: {
        "name": "name",
        "kind": "kind",
        "system": "system__name",
        "manufacturer": "manufacturer",
        "created": "created_at",
    },
    Section.CLUSTERS: {"name": "name", "system": "system__name"},
    Section.POOLS: {"name": "name", "account": "account__name"},
}


def inventory(
    *, user: User, account: Account | None, wanted: InventoryFilter, now: datetime | None = None
) -> QuerySet:
    """What the user sees of an account's subtree (None: all in their sight), in order.

    Systems come with gateway, account and `appliance_count`; gateways, appliances and clusters
    with their system and its account, gateways with their `state` too (at `now`, by default the
    present); pools with `system_count`. Removed appliances are left out.
    """
    rows = _scoped(user, account, wanted.section)
    if wanted.section is Section.GATEWAYS:
        rows = with_state(rows, now=now or clock.now())
    for word in wanted.search.split()[:8]:
        found = Q()
        for lookup in SEARCHED[wanted.section]:
            found |= Q(**{lookup: word})
        rows = rows.filter(found)
    if wanted.section is Section.APPLIANCES and wanted.kind:
        rows = rows.filter(kind=wanted.kind)
    if wanted.section is Section.GATEWAYS and wanted.state:
        rows = rows.filter(state=wanted.state)
    return rows.order_by(*_order(wanted))


class GatewayState(StrEnum):
    """What is known of a gateway: exactly one of these.

    OFFLINE: it was there, and the broker says that it has no connection. SILENT: the broker does
    not say so, but it was not heard for longer than the rule of its appliances allows
    (`silence.silent_after`). A broker that dies tells of nobody that he is gone, and none does of
    gateways that publish no status.
    """

    ONLINE = "online"
    SILENT = "silent"
    OFFLINE = "offline"
    NEVER = "never"
    REVOKED = "revoked"


# These were there and are not heard now.
LOST = (GatewayState.OFFLINE, GatewayState.SILENT)


def with_state(rows: QuerySet[Gateway], *, now: datetime) -> QuerySet[Gateway]:
    """The same gateways, each with its `state` (GatewayState).

    Intervals are only looked up of those that were not heard for a while.
    """
    appliances = Appliance.objects.filter(gateway=OuterRef("pk"), removed_at=None)
    shortest_s = Subquery(appliances.order_by("interval_s").values("interval_s")[:1])
    # Where there is none, nothing is allowed to one that never says whether it is there.
    shortest_s = Coalesce(shortest_s, Case(When(online=None, then=Value(0))))
    allowed = Cast(shortest_s, FloatField()) * Value(STALE_INTERVALS * timedelta(seconds=1))
    is_silent = Q(contacted_at__lt=now - STALE_AT_LEAST) & Q(
        contacted_at__lt=ExpressionWrapper(
            Value(now) - ExpressionWrapper(allowed, DurationField()), DateTimeField()
        )
    )
    states = [
        (Q(revoked_at__isnull=False), GatewayState.REVOKED),
        (Q(contacted_at=None) & ~Q(online=True), GatewayState.NEVER),
        (Q(online=False), GatewayState.OFFLINE),
        (is_silent, GatewayState.SILENT),
    ]
    cases = [When(condition, then=Value(state.value)) for condition, state in states]
    return rows.annotate(state=Case(*cases, default=Value(GatewayState.ONLINE.value)))


def gateway_state(gateway: Gateway, *, now: datetime) -> GatewayState:
    """What is known of one gateway."""
    rows = with_state(Gateway.objects.filter(pk=gateway.pk), now=now)
    return GatewayState(rows.values_list("state", flat=True).get())


class OutOfReach(StrEnum):
    """Why nobody can tell an appliance anything."""

    NO_GATEWAY = "no_gateway"
    REVOKED = "revoked"
    UNNAMED = "unnamed"


def out_of_reach(appliances: Collection[Appliance]) -> dict[UUID, OutOfReach]:
    """Those of the appliances (ids) that nobody can tell anything, and why.

    It has no gateway, that was revoked, or it has no name (`local_id`) by which that knows it.
    """
    gateways = {one.gateway_id for one in appliances if one.gateway_id is not None}
    revoked = Gateway.objects.filter(pk__in=gateways, revoked_at__isnull=False)
    revoked_ids = set(revoked.values_list("pk", flat=True))
    found = {}
    for one in appliances:
        if one.gateway_id is None:
            found[one.pk] = OutOfReach.NO_GATEWAY
        elif one.gateway_id in revoked_ids:
            found[one.pk] = OutOfReach.REVOKED
        elif not one.local_id:
            found[one.pk] = OutOfReach.UNNAMED
    return found


def systems_below(account: Account) -> QuerySet[System]:
    """The systems of an account and of all accounts beneath it."""
    return System.objects.filter(account__path__startswith=account.path)


def strayed_members(systems: QuerySet[System]) -> QuerySet[Model]:
    """Memberships of these systems in pools whose account does not lie above theirs."""
    return (
        SystemPool.systems.through.objects.filter(system__in=systems)
        .exclude(system__account__path__startswith=F("systempool__account__path"))
        .select_related("systempool__account", "system__account")
    )


def members_left_behind(account: Account, new_parent: Account) -> QuerySet[Model]:
    """Memberships that would end if the account moved below `new_parent`."""
    kept = Q(systempool__account__path__startswith=account.path)
    keys = [int(key) for key in new_parent.path.rstrip(".").split(".")]
    kept |= Q(systempool__account__key__in=keys)
    return (
        SystemPool.systems.through.objects.filter(system__in=systems_below(account))
        .exclude(kept)
        .select_related("systempool__account", "system")
        .order_by("systempool__name", "system__name")
    )


@dataclass(frozen=True)
class ClusterNode:
    """A cluster with what is in it, as deep as it goes; `trail` names those around it."""

    cluster: Cluster
    trail: list[str]
    appliances: list[Appliance]
    children: "list[ClusterNode]"


def clusters_of(system: System, appliances: list[Appliance]) -> list[ClusterNode]:
    """The system's clusters as a tree, each with those of the appliances that lie in it."""
    below: dict[object, list[Cluster]] = {}
    for cluster in Cluster.objects.filter(system=system).order_by("name", "key"):
        below.setdefault(cluster.parent_id, []).append(cluster)

    def grow(parent: object, trail: list[str]) -> list[ClusterNode]:
        return [
            ClusterNode(
                cluster,
                trail,
                [one for one in appliances if one.cluster_id == cluster.pk],
                grow(cluster.pk, [*trail, cluster.name]),
            )
            for cluster in below.get(parent, [])
        ]

    return grow(None, [])


def grid_operators(user: User) -> QuerySet[User]:
    """The grid operators that the user may let look after a system."""
    return User.objects.visible_to(user).filter(role=Role.GRID_OPERATOR, is_active=True)


def assignments_of(system: System) -> QuerySet[SystemAssignment]:
    return SystemAssignment.objects.filter(system=system).select_related("user__account")


def appliance_kinds() -> list[tuple[str, str]]:
    """The kinds of appliances with their names."""
    return [(value, str(label)) for value, label in Appliance._meta.get_field("kind").choices]


def _scoped(user: User, account: Account | None, section: Section) -> QuerySet:
    rows: QuerySet
    if section is Section.SYSTEMS:
        appliances = _count(Appliance.objects.filter(removed_at=None), "system")
        rows = System.objects.select_related("account", "gateway").annotate(
            appliance_count=appliances
        )
    elif section is Section.GATEWAYS:
        rows = Gateway.objects.select_related("system__account")
    elif section is Section.APPLIANCES:
        rows = Appliance.objects.filter(removed_at=None).select_related(
            "system__account", "cluster", "gateway"
        )
    elif section is Section.CLUSTERS:
        rows = Cluster.objects.select_related("system__account", "parent").annotate(
            appliance_count=_count(Appliance.objects.filter(removed_at=None), "cluster")
        )
    else:
        members = SystemPool.systems.through.objects.all()
        rows = SystemPool.objects.select_related("account").annotate(
            system_count=_count(members, "systempool")
        )
    rows = rows.visible_to(user)
    if account is not None:
        rows = rows.filter(**{f"{rows.account_path}__startswith": account.path})
    return rows


def _count(rows: QuerySet, field: str) -> Coalesce:
    counted = (
        rows.filter(**{field: OuterRef("pk")})
        .order_by()
        .values(field)
        .annotate(n=Count("pk"))
        .values("n")
    )
    return Coalesce(Subquery(counted), Value(0))


def _order(wanted: InventoryFilter) -> list:
    columns = ORDERS[wanted.section]
    name = wanted.sort.removeprefix("-")
    if name not in columns:
        name = next(iter(columns))
    backwards = wanted.sort.startswith("-") and wanted.sort.removeprefix("-") in columns
    # Names are never null, and are sorted by an index that knows of no exception for nulls.
    if columns[name] in ("name", "serial"):
        return ["-" + columns[name], "-pk"] if backwards else [columns[name], "pk"]
    column = F(columns[name])
    # What has no value comes last, whichever way.
    first = column.desc(nulls_last=True) if backwards else column.asc(nulls_last=True)
    return [first, "-pk" if backwards else "pk"]
