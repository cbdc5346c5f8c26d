"""Makes the demo's accounts, people, systems and pools."""

from datetime import datetime

from django.db import transaction

from accounts.models import Account, User
from accounts.operations import create_account, create_user
from gridx.demo.world import (
    ACCOUNTS,
    CLUSTERED,
    CLUSTERS,
    OPERATOR,
    PASSWORD,
    PEOPLE,
    POOLS,
    SITES,
    Site,
)
from inventory.models import System
from inventory.operations import (
    add_members,
    create_cluster,
    create_pool,
    create_system,
    move_appliance,
    register_gateway,
)


def built_since() -> datetime | None:
    """When the world's systems were commissioned; None where there is no world yet."""
    operator = Account.objects.filter(name=OPERATOR, parent=None).first()
    return None if operator is None else operator.created_at


@transaction.atomic
def build_world(*, since: datetime) -> None:
    """Accounts, people, systems with gateways, and pools, commissioned at `since`."""
    accounts = {OPERATOR: create_account(parent=None, name=OPERATOR, by=None, now=since)}
    for name, parent in ACCOUNTS:
        accounts[name] = create_account(parent=accounts[parent], name=name, by=None, now=since)
    for site in SITES:
        if site.customer is not None:
            accounts[site.customer] = create_account(
                parent=accounts[site.account],
                name=site.customer,
                kind=Account.Kind.CUSTOMER,
                solution=Account.Solution.HOME,
                by=None,
                now=since,
            )
    for person in PEOPLE:
        user = create_user(
            account=accounts[person.account],
            email=person.email,
            full_name=person.full_name,
            role=person.role,
            password=PASSWORD,
            by=None,
            now=since,
        )
        if person.is_staff:
            User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    for site in SITES:
        system = _create_system(site, accounts[site.customer or site.account], since)
        register_gateway(system=system, serial=site.serial, by=None, now=since)
    for name, account, kind, members in POOLS:
        pool = create_pool(account=accounts[account], name=name, kind=kind, by=None, now=since)
        systems = System.objects.filter(name__in=members)
        add_members(pool=pool, systems=list(systems), by=None, now=since)


def _create_system(site: Site, account: Account, since: datetime) -> System:
    return create_system(
        account=account,
        name=site.name,
        time_zone=site.plan.time_zone,
        address_line1=site.name,
        city=site.city,
        postal_code=site.postal_code,
        country=site.country,
        latitude=site.plan.latitude,
        longitude=site.plan.longitude,
        by=None,
        now=since,
    )


@transaction.atomic
def group_stations(*, now: datetime) -> None:
    """The depot's nested clusters, once its gateway has found its stations."""
    system = System.objects.get(name=CLUSTERED)
    if system.clusters.exists():
        return
    clusters = {}
    for name, parent, stations in CLUSTERS:
        clusters[name] = create_cluster(
            system=system, name=name, parent=clusters.get(parent), by=None, now=now
        )
        for appliance in system.appliances.filter(local_id__in=stations):
            move_appliance(appliance=appliance, cluster=clusters[name], by=None, now=now)
