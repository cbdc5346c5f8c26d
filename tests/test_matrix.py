"""Who gets what from every URL. A URL that is not in the table fails the build.

A line of the table: name of the URL, then what each of six visitors gets.

- owner: Mara, the resident of Lindenweg 12
- admin: the account admin of the operator, above everything
- sibling: the account admin of South, a region beside
- stranger: a resident of South
- viewer: a viewer of the operator
- anonymous: nobody; SIGN_IN is a redirect there, FORBIDDEN the API's 403 with its message

What the address names is Mara's: her account, her system, and so on (`_kwargs`); `about` says
otherwise. Everything that a visitor does is undone before the next one comes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.core.cache import cache
from django.db import connections, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.resolvers import RegexPattern

from accounts.models import User
from flexibility.bulk.operations import set_on_each
from flexibility.dimming.operations import dim_system
from flexibility.emitters import DIMMING, emitter_of
from flexibility.import_limits import set_import_limit
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.models import ChargingPolicy
from flexibility.operations import Draft
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from flexibility.series.operations import Part, SeriesDraft, set_series
from flexibility.series.wire import ALL_DAY
from gridx import clock
from gridx.asgi import application
from gridx.pages.routing import websocket_urlpatterns
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster
from inventory.operations import assign_system
from measurements.models import RecordingImport
from measurements.resolutions import slot_start
from tests.cast import Cast, make_cast

SIGN_IN = "sign-in"
FORBIDDEN = "403 with a message"
OPEN = "open"

VISITORS = ("owner", "admin", "sibling", "stranger", "viewer", "anonymous")

# What is seen by who has it in sight; what only managers do; what is for everybody signed in.
SEEN = (200, 200, 404, 404, 200, SIGN_IN)
MANAGED = (403, 200, 404, 404, 403, SIGN_IN)
ACTED = (403, 302, 404, 404, 403, SIGN_IN)
NAMED = (200, 200, 404, 404, 403, SIGN_IN)
CONSTRAINED = (302, 302, 404, 404, 403, SIGN_IN)
POOL_SEEN = (404, 200, 404, 404, 200, SIGN_IN)
SIGNED_IN = (200, 200, 200, 200, 200, SIGN_IN)
PUBLIC = (200, 200, 200, 200, 200, 200)

API_SEEN = (200, 200, 404, 404, 200, FORBIDDEN)
API_SIGNED_IN = (200, 200, 200, 200, 200, FORBIDDEN)
API_NOWHERE = (404, 404, 404, 404, 404, 404)
# What managers of groups do; the pool is of North, above Mara.
API_GROUPED = (FORBIDDEN, 204, 404, 404, FORBIDDEN, FORBIDDEN)
API_POOL_SEEN = (404, 200, 404, 404, 200, FORBIDDEN)
API_POOL_GROUPED = (404, 204, 404, 404, FORBIDDEN, FORBIDDEN)


@dataclass(frozen=True)
class Line:
    """A URL, asked for with a method, and what each of VISITORS gets."""

    name: str
    expected: tuple
    method: str = "get"
    # Which of the cast the address is about, by the name of its argument.
    about: dict[str, str] = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    query: str = ""


CAR = {"appliance_id": "evcs"}
A_FILE = "?first=2026-06-14&last=2026-06-15&resolution=1d&format=csv"
OF_READINGS = A_FILE.replace("1d", "raw")

PAGES = [
    Line("sign_in", (302, 302, 302, 302, 302, 200)),
    Line("sign_in", (302, 302, 302, 302, 302, 200), "post"),
    Line("sign_out", (SIGN_IN,) * 6, "post"),
    Line("password_reset", PUBLIC),
    Line("password_reset", (302,) * 6, "post", data={"email": "mara@meyer.example"}),
    Line("password_reset_done", PUBLIC),
    Line("password_reset_confirm", PUBLIC),
    Line("password_reset_confirm", PUBLIC, "post"),
    Line("password_reset_complete", PUBLIC),
    Line("set_language", (302,) * 6, "post", data={"language": "de"}),
    Line("home", SIGNED_IN),
    Line("profile", SIGNED_IN),
    Line("profile", (302, 302, 302, 302, 302, SIGN_IN), "post", data={"language": "en"}),
    # Accounts
    Line("account_tree", SIGNED_IN),
    Line("account_detail", SEEN),
    Line("account_detail", (404, 200, 404, 404, 200, SIGN_IN), about={"account_id": "north"}),
    Line("account_node", SEEN),
    Line("account_edit", MANAGED),
    Line("account_edit", MANAGED, "post"),
    Line("account_create", MANAGED),
    Line("account_create", MANAGED, "post"),
    Line("account_move", MANAGED),
    Line("account_move", MANAGED, "post"),
    Line("customer_list", SEEN),
    Line("audit_log", MANAGED),
    Line("user_invite", MANAGED),
    Line("user_invite", MANAGED, "post"),
    Line("user_edit", MANAGED),
    Line("user_edit", MANAGED, "post"),
    Line("user_deactivate", ACTED, "post"),
    Line("user_reactivate", ACTED, "post"),
    Line("user_invite_again", ACTED, "post"),
    # Systems, with their measurements
    Line("system", SEEN),
    Line("figure", SEEN),
    Line("figure", SEEN, query="?resolution=week"),
    Line("figure_slot", SEEN),
    Line("appliance_energy", SEEN),
    Line("readings", SEEN),
    Line("readings", (404,) * 5 + (SIGN_IN,), about={"appliance_id": "other_meter"}),
    Line("system_export", SEEN),
    Line("system_export", SEEN, query=A_FILE),
    Line("system_export", SEEN, query=OF_READINGS),
    Line("system_export", (422, 422, 404, 404, 422, SIGN_IN), query="?format=xls"),
    Line("cluster_energy", SEEN),
    Line("cluster_energy", SEEN, query="?resolution=week"),
    Line("pool_energy", POOL_SEEN),
    Line("pool_energy", POOL_SEEN, query="?resolution=year"),
    Line("cluster_figure", SEEN),
    Line("cluster_figure", SEEN, query="?resolution=week"),
    Line("pool_figure", POOL_SEEN),
    Line("pool_figure", POOL_SEEN, query="?resolution=year&sort=name&page=2"),
    Line("cluster_export", SEEN),
    Line("cluster_export", SEEN, query=A_FILE),
    Line("cluster_export", SEEN, query=OF_READINGS),
    Line("pool_export", POOL_SEEN),
    Line("pool_export", POOL_SEEN, query=A_FILE),
    Line("pool_export", POOL_SEEN, query=OF_READINGS),
    Line("appliance_export", SEEN),
    Line("appliance_export", SEEN, query=A_FILE),
    # The import of `things` is over.
    Line("system_import", MANAGED),
    # No file is sent.
    Line("system_import", (403, 422, 404, 404, 403, SIGN_IN), "post"),
    Line("system_imports", MANAGED),
    Line("recording_import", MANAGED),
    Line("recording_import_mapping", ACTED),
    Line("recording_import_mapping", ACTED, "post"),
    Line("recording_import_cancel", ACTED, "post"),
    Line("recording_import_refused", MANAGED),
    Line("fleet", SIGNED_IN),
    Line("matter", SIGNED_IN),
    Line("appliance_past", SEEN),
    Line("appliance_past", (422, 422, 404, 404, 422, SIGN_IN), query="?at=yesterday"),
    Line("appliance_past_file", SEEN),
    Line("dimmings", SIGNED_IN),
    Line("dimmings", SEEN, query="?system={lindenweg}"),
    Line("dimmings_file", SIGNED_IN),
    Line("dimming", SEEN),
    Line("dimming_file", SEEN),
    # The car at the charging station, and how stations charge
    Line("car", SEEN, about=CAR),
    Line("car", (404, 404, 404, 404, 404, SIGN_IN)),  # no charging station
    Line("car_policy", CONSTRAINED, "post", about=CAR, data={"mode": "surplus"}),
    Line("car_charge_now", CONSTRAINED, "post", about=CAR, data={"until": "1h"}),
    Line("car_stop", CONSTRAINED, "post", about=CAR),
    Line("system_policy", NAMED),
    Line("system_policy", CONSTRAINED, "post", data={"mode": "off", "priority": 1000}),
    Line("cluster_policy", NAMED),
    # Nothing is chosen.
    Line("cluster_policy", (422, 422, 404, 404, 403, SIGN_IN), "post"),
    # Set by Mara: another kind of emitter does not end it.
    Line("charging_policy_restore", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("charging_policy_end", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    # Inventory
    Line("inventory", SIGNED_IN),
    Line("inventory_file", SIGNED_IN),
    Line("account_inventory", SEEN),
    Line("account_inventory_file", SEEN),
    # South's admin sees two accounts.
    Line("system_choose_account", (403, 200, 200, 403, 403, SIGN_IN)),
    Line("system_create", MANAGED),
    Line("system_create", MANAGED, "post"),
    Line("system_inventory", SEEN),
    Line("system_edit", NAMED),
    Line("system_edit", NAMED, "post"),
    Line("assignment_create", MANAGED, "post"),
    Line("assignment_end", ACTED, "post"),
    Line("appliance_edit", NAMED),
    Line("appliance_edit", NAMED, "post"),
    # The appliance is the roof; the constraint is Mara's own.
    Line("appliance", SEEN),
    Line("appliance_constrain", NAMED),
    Line("appliance_constrain", (422, 422, 404, 404, 403, SIGN_IN), "post", data={"least": "x"}),
    Line("cluster_flexibility", SEEN),
    Line("cluster_fairness", SEEN),
    Line("cluster_fairness_file", SEEN),
    Line("cluster_constrain", NAMED),
    Line("cluster_constrain", (422, 422, 404, 404, 403, SIGN_IN), "post", data={"least": "x"}),
    # The limit is Mara's own.
    Line("limit_new", NAMED),
    Line("limit_new", (422, 422, 404, 404, 403, SIGN_IN), "post", data={"greatest": "x"}),
    Line("limit_edit", (200, 403, 404, 404, 403, SIGN_IN)),
    Line("limit_edit", (422, 403, 404, 404, 403, SIGN_IN), "post", data={"greatest": "x"}),
    Line("limit_withdraw", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("limit_restore", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("constraints_new", (302, 302, 302, 302, 403, SIGN_IN)),
    Line("constraints_new", (302, 302, 302, 302, 403, SIGN_IN), "post"),
    Line("constraints_withdraw", (302, 302, 302, 302, 403, SIGN_IN)),
    Line("constraints_withdraw", (302, 302, 302, 302, 403, SIGN_IN), "post"),
    Line("bulk_actions", SIGNED_IN),
    Line("bulk_action", SEEN),
    Line("bulk_undo", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("bulk_withdraw", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("constraint_delivery", SEEN),
    Line("constraint_edit", (200, 403, 404, 404, 403, SIGN_IN)),
    Line("constraint_edit", (422, 403, 404, 404, 403, SIGN_IN), "post", data={"least": "x"}),
    Line("series_edit", (200, 403, 404, 404, 403, SIGN_IN)),
    Line("series_edit", (422, 403, 404, 404, 403, SIGN_IN), "post", data={"least": "x"}),
    Line("series_withdraw", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("series_restore", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("constraint_withdraw", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("constraint_restore", (302, 403, 404, 404, 403, SIGN_IN), "post"),
    Line("gateway_detail", SEEN),
    Line("gateway_edit", NAMED),
    Line("gateway_edit", (302, 302, 404, 404, 403, SIGN_IN), "post", data={"name": "Cellar"}),
    Line("gateway_revoke", ACTED, "post"),
    Line("gateway_register", (403, 200, 200, 403, 403, SIGN_IN)),
    Line("gateway_register", (403, 200, 404, 403, 403, SIGN_IN), query="?system={lindenweg}"),
    Line("gateway_register", (403, 200, 200, 403, 403, SIGN_IN), "post"),
    Line("gateway_rotate", MANAGED),
    Line("gateway_rotate", MANAGED, "post"),
    Line("gateway_arrivals", SEEN),
    Line("cluster_create", MANAGED),
    Line("cluster_create", MANAGED, "post"),
    Line("cluster_edit", MANAGED),
    Line("cluster_edit", MANAGED, "post"),
    Line("cluster_remove", ACTED, "post"),
    Line("pool_create", MANAGED),
    Line("pool_create", MANAGED, "post"),
    # The pool is of North, above Mara.
    Line("pool_detail", (404, 200, 404, 404, 200, SIGN_IN)),
    Line("pool_flexibility", (404, 200, 404, 404, 200, SIGN_IN)),
    Line("pool_constrain", (404, 200, 404, 404, 403, SIGN_IN)),
    Line("pool_constrain", (404, 422, 404, 404, 403, SIGN_IN), "post", data={"least": "x"}),
    Line("pool_edit", (404, 200, 404, 404, 403, SIGN_IN)),
    Line("pool_edit", (404, 200, 404, 404, 403, SIGN_IN), "post"),
    Line("pool_add", (404, 200, 404, 404, 403, SIGN_IN), "post"),
    Line("pool_drop", (404, 200, 404, 404, 403, SIGN_IN), "post"),
    Line("pool_remove", (404, 302, 404, 404, 403, SIGN_IN), "post"),
]

LIMIT = {"maxPower": 4_200, "invalidAt": (clock.now() + timedelta(hours=1)).isoformat()}
SCHEDULE = {
    "from": clock.now().isoformat(),
    "to": (clock.now() + timedelta(hours=1)).isoformat(),
    "limit": 7_000,
}
A_DAY = "?interval=2026-06-14T00:00:00Z/2026-06-15T00:00:00Z&resolution=1h"

API = [
    Line("api_token", (400,) * 6, "post"),
    Line("api_user", API_SIGNED_IN),
    Line("api_own_account", API_SIGNED_IN),
    Line("api_accounts", API_SIGNED_IN),
    Line("api_account", API_SEEN),
    Line("api_sub_accounts", API_SEEN),
    Line("api_account_parents", API_SEEN),
    Line("api_account_systems", API_SEEN),
    Line("api_account_inventory", API_SEEN),
    Line("api_customers", API_SIGNED_IN),
    Line("api_customer", API_SEEN),
    Line("api_customer_users", API_SEEN),
    Line("api_systems", API_SIGNED_IN),
    Line("api_system", API_SEEN),
    Line("api_system_live", API_SEEN),
    Line("api_system_historical", API_SEEN, query=A_DAY),
    Line("api_appliance_export", API_SEEN, query=A_DAY),
    Line("api_system_export", API_SEEN, query=A_DAY),
    Line("api_gateways", API_SIGNED_IN),
    Line("api_gateway", API_SEEN),
    Line("api_appliances", API_SEEN),
    Line("api_appliance", API_SEEN),
    Line("api_appliance_measurements", API_SEEN, query=A_DAY),
    Line("api_combined_measurements", API_SEEN, query=A_DAY),
    Line("api_energy_management", API_SEEN, query=A_DAY),
    # Flexibility and constraints; the one of `things` is Mara's own.
    Line("api_system_flexibilities", API_SEEN),
    Line("api_system_flexibility", API_SEEN),
    Line("api_flexibility", API_SEEN),
    Line("api_timeline", API_SEEN),
    Line("api_appliance_constraints", API_SEEN),
    Line(
        "api_appliance_constraints", (201, 201, 404, 404, FORBIDDEN, FORBIDDEN), "post", data=LIMIT
    ),
    Line(
        "api_appliance_constraints",
        (200, 200, 404, 404, FORBIDDEN, FORBIDDEN),
        "post",
        data=LIMIT,
        query="?dryRun=true",
    ),
    Line("api_constraint", API_SEEN),
    Line("api_constraint", (204, FORBIDDEN, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    Line("api_import_power_limit", API_SEEN),
    Line(
        "api_import_power_limit",
        (201, 201, 404, 404, FORBIDDEN, FORBIDDEN),
        "put",
        data={"maxImportTotal": 11_000},
    ),
    Line("api_import_power_limit", (204, 204, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    # Charging policies; those of `things` are Mara's own.
    *(
        line
        for name, about in (
            ("api_appliance_policy", {"appliance_id": "evcs"}),
            ("api_cluster_policy", {}),
            ("api_system_policy", {}),
        )
        for line in (
            Line(name, API_SEEN, about=about),
            Line(
                name,
                (200, 200, 404, 404, FORBIDDEN, FORBIDDEN),
                "put",
                about=about,
                data={"mode": "off"},
            ),
            Line(name, (204, 204, 404, 404, FORBIDDEN, FORBIDDEN), "delete", about=about),
        )
    ),
    Line("api_ev_configuration", API_SEEN, about={"appliance_id": "evcs"}),
    *(
        Line(
            "api_ev_configuration",
            (status, status, 404, 404, FORBIDDEN, FORBIDDEN),
            method,
            about={"appliance_id": "evcs"},
        )
        for method, status in (("post", 201), ("patch", 200), ("delete", 204))
    ),
    # Schedules; those of `things` are Mara's own.
    Line("api_charging_schedules", API_SEEN),
    Line(
        "api_charging_schedules", (201, 201, 404, 404, FORBIDDEN, FORBIDDEN), "post", data=SCHEDULE
    ),
    Line("api_charging_schedule", API_SEEN),
    Line("api_charging_schedule", (204, FORBIDDEN, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    Line("api_power_limit_schedules", API_SEEN),
    Line(
        "api_power_limit_schedules",
        (201, 201, 404, 404, FORBIDDEN, FORBIDDEN),
        "post",
        data=SCHEDULE
        | {"title": "Noon", "timeframes": [{"from": "00:00", "to": "24:00", "maxPower": 1}]},
    ),
    Line("api_power_limit_schedule", API_SEEN),
    Line("api_power_limit_schedule", (200, FORBIDDEN, 404, 404, FORBIDDEN, FORBIDDEN), "patch"),
    Line("api_power_limit_schedule", (204, FORBIDDEN, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    # Only a grid operator's token dims.
    Line("api_system_dimmings", API_SEEN),
    Line(
        "api_system_dimmings",
        (FORBIDDEN, FORBIDDEN, 404, 404, FORBIDDEN, FORBIDDEN),
        "post",
        data=LIMIT,
    ),
    Line("api_dimming", API_SEEN),
    Line("api_dimming", (FORBIDDEN, FORBIDDEN, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    # Clusters
    Line("api_clusters", API_SIGNED_IN),
    Line("api_clusters", (FORBIDDEN, 422, 422, FORBIDDEN, FORBIDDEN, FORBIDDEN), "post"),
    Line("api_system_clusters", API_SEEN),
    Line("api_cluster", API_SEEN),
    Line(
        "api_cluster",
        (FORBIDDEN, 200, 404, 404, FORBIDDEN, FORBIDDEN),
        "patch",
        data={"name": "Yard"},
    ),
    # A policy stands for it.
    Line("api_cluster", (FORBIDDEN, 409, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    Line("api_cluster_member", API_GROUPED, "put"),
    Line("api_cluster_member", API_GROUPED, "delete"),
    Line("api_cluster_live", API_SEEN),
    Line("api_cluster_historical", API_SEEN, query=A_DAY),
    Line("api_cluster_export", API_SEEN, query=A_DAY),
    Line("api_cluster_flexibilities", API_SEEN),
    Line("api_cluster_flexibility", API_SEEN),
    Line("api_cluster_constraints", API_SEEN),
    Line("api_cluster_constraints", (201, 201, 404, 404, FORBIDDEN, FORBIDDEN), "post", data=LIMIT),
    # The cluster has none.
    Line("api_cluster_limit", (404, 404, 404, 404, 404, FORBIDDEN)),
    Line("api_cluster_limit", (200, 200, 404, 404, FORBIDDEN, FORBIDDEN), "put", data=LIMIT),
    Line("api_cluster_limit", (204, 204, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    # Pools
    Line("api_pools", API_SIGNED_IN),
    Line(
        "api_pools",
        (FORBIDDEN, 201, 201, FORBIDDEN, FORBIDDEN, FORBIDDEN),
        "post",
        data={"name": "Sun"},
    ),
    Line("api_pool", API_POOL_SEEN),
    Line("api_pool", (404, 200, 404, 404, FORBIDDEN, FORBIDDEN), "patch", data={"name": "Sun"}),
    Line("api_pool", API_POOL_GROUPED, "delete"),
    Line("api_pool_systems", API_POOL_SEEN),
    Line("api_pool_systems", (404, 422, 404, 404, FORBIDDEN, FORBIDDEN), "put"),
    Line("api_pool_systems", (404, 422, 404, 404, FORBIDDEN, FORBIDDEN), "delete"),
    Line("api_pool_live", API_POOL_SEEN),
    Line("api_pool_historical", API_POOL_SEEN, query=A_DAY),
    Line("api_pool_export", API_POOL_SEEN, query=A_DAY),
    Line("api_pool_flexibility", API_POOL_SEEN),
    Line("api_pool_constraints", API_POOL_SEEN),
    Line("api_pool_constraints", (404, 201, 404, 404, FORBIDDEN, FORBIDDEN), "post", data=LIMIT),
    Line("api_schema", PUBLIC),
    Line("api_docs", PUBLIC),
    Line("api_root", API_NOWHERE),
    Line("api_not_found", API_NOWHERE),
]

# Sockets: OPEN, or the code that they are closed with.
SOCKETS = {
    "system_socket": (OPEN, OPEN, 4404, 4404, OPEN, 4403),
    "appliance_socket": (OPEN, OPEN, 4404, 4404, OPEN, 4403),
    "car_socket": (OPEN, OPEN, 4404, 4404, OPEN, 4403),
}
# What a socket's address is about.
SHOWN = {"system_socket": "lindenweg", "appliance_socket": "evcs", "car_socket": "evcs"}


@pytest.fixture
def things(cast: Cast, now) -> dict:
    """What the addresses are about, by the name of their argument."""
    cluster = Cluster.objects.create(system=cast.lindenweg, name="Garage")
    Appliance.objects.filter(pk__in=[cast.pv.pk, cast.evcs.pk]).update(cluster=cluster)
    limit = set_import_limit(
        meter=cast.grid_meter, max_w=11_000, emitter=emitter_of(cast.mara), now=clock.now()
    )
    action = set_on_each(
        appliances=[cast.pv],
        draft=Draft(min_w=-5_000, invalid_at=clock.now() + timedelta(hours=1)),
        emitter=emitter_of(cast.mara),
        now=clock.now(),
    )
    dimming = dim_system(
        system=cast.lindenweg,
        emitter=emitter_of(cast.grid_operator, scopes={DIMMING}),
        invalid_at=clock.now() + timedelta(hours=1),
        now=clock.now(),
    )
    for target in (cast.lindenweg, cluster):
        set_policy(
            target=target,
            draft=PolicyDraft(mode=Mode.SURPLUS),
            emitter=emitter_of(cast.mara),
            now=clock.now(),
        )
    charging, importing = (
        set_series(
            target=cast.lindenweg,
            draft=SeriesDraft(
                parts=(Part(frame=ALL_DAY, asks=Draft(max_w=9_000)),),
                from_at=clock.now(),
                until_at=clock.now() + timedelta(hours=1),
                time_zone="Europe/Berlin",
                kinds=(kind.value,),
            ),
            emitter=emitter_of(cast.mara),
            now=clock.now(),
        )
        for kind in (ApplianceKind.EV_CHARGING_STATION, ApplianceKind.GRID_METER)
    )
    weekly = set_series(
        target=cast.pv,
        draft=SeriesDraft(
            parts=(Part(frame=ALL_DAY, asks=Draft(min_w=-5_000)),),
            from_at=clock.now(),
            until_at=clock.now() + timedelta(hours=1),
            time_zone="Europe/Berlin",
        ),
        emitter=emitter_of(cast.mara),
        now=clock.now(),
    )
    shared = set_limit(
        cluster=Cluster.objects.create(system=cast.lindenweg, name="Yard"),
        draft=LimitDraft(
            id=uuid4(), max_w=30_000, invalid_at=clock.now() + timedelta(hours=1), priority=1
        ),
        by=emitter_of(cast.mara),
        now=clock.now(),
    )
    helper = User.objects.create(
        email="second@south.example", account=cast.south, role="grid_operator"
    )
    assignment = assign_system(system=cast.lindenweg, operator=helper, by=None, now=now)
    imported = RecordingImport.objects.create(
        created_at=now,
        changed_at=now,
        system=cast.lindenweg,
        by=cast.admin,
        file_name="meter.csv",
        state=RecordingImport.State.DONE,
    )
    return {
        "account_id": cast.meyers.pk,
        "user_id": cast.mara.pk,
        "system_id": cast.lindenweg.pk,
        "gateway_id": cast.gateway.pk,
        "appliance_id": cast.pv.pk,
        "name": "consumption",
        "key": "gateways",
        "start": slot_start(clock.now() - timedelta(hours=1)),
        "cluster_id": cluster.pk,
        "constraint_id": limit.pk,
        "action_id": action.pk,
        "series_id": weekly.pk,
        "policy_id": ChargingPolicy.objects.get(system=cast.lindenweg).pk,
        "dimming_id": dimming.pk,
        "charging_schedule_id": charging.pk,
        "schedule_id": importing.pk,
        "limit_id": shared.pk,
        "import_id": imported.pk,
        "pool_id": cast.pool.pk,
        "assignment_id": assignment.pk,
        "uidb64": "nobody",
        "token": "none",
    }


def _patterns(patterns, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns, route)
        else:
            yield route, entry


def _addresses() -> list[tuple[str, URLPattern]]:
    """Every route of the real URLconf, the admin's excepted: those are for staff alone."""
    return [
        (route, pattern)
        for route, pattern in _patterns(get_resolver().url_patterns)
        if not route.startswith("admin")
    ]


def _arguments() -> dict[str, list[str]]:
    return {pattern.name: list(pattern.pattern.converters) for _route, pattern in _addresses()}


def test_every_url_is_in_the_table_and_the_table_names_no_other():
    named = {pattern.name for _route, pattern in _addresses()}
    assert None not in named, "a URL without a name"
    assert named == {line.name for line in PAGES + API}


def test_a_url_that_changes_something_has_a_line_for_each_way_to(cast, things):
    listed = {(line.name, line.method) for line in PAGES + API}
    client = Client()
    client.force_login(cast.staff)
    for line in PAGES + API:
        # The answer to a method that nobody knows names those that are known.
        allowed = client.generic("PURGE", _url(line, things, cast)).headers.get("Allow", "")
        changing = {"post", "put", "patch", "delete"} & set(allowed.lower().split(", "))
        assert {(line.name, method) for method in changing} <= listed


def _people(cast: Cast) -> dict[str, User | None]:
    return {
        "owner": cast.mara,
        "admin": cast.admin,
        "sibling": cast.south_admin,
        "stranger": cast.schmidt,
        "viewer": cast.viewer,
        "anonymous": None,
    }


def _url(line: Line, things: dict, cast: Cast) -> str:
    values = {**things, **{name: getattr(cast, about).pk for name, about in line.about.items()}}
    if line.name == "api_not_found":
        return "/api/no/such/thing"
    kwargs = {name: values[name] for name in _arguments()[line.name]}
    query = line.query.format(lindenweg=cast.lindenweg.pk)
    return reverse(line.name, kwargs=kwargs) + query


def _ask(client: Client, line: Line, url: str):
    options = {"content_type": "application/json"} if line in API else {}
    if line.method == "get":
        return client.get(url)
    return getattr(client, line.method)(url, line.data, **options)


def _outcome(response) -> object:
    if response.status_code == 302 and "/sign-in" in response.url:
        return SIGN_IN
    if response.status_code == 403 and response.headers["Content-Type"] == "application/json":
        return FORBIDDEN if response.json().get("message") else "403 without a message"
    return response.status_code


@pytest.mark.parametrize("line", PAGES + API, ids=lambda line: f"{line.name}-{line.method}")
def test_each_visitor_gets_what_the_table_says(cast, things, line):
    people = _people(cast)
    url, found = _url(line, things, cast), []
    for visitor in VISITORS:
        client = Client()
        # Each comes anew: attempts are counted in the cache.
        cache.clear()
        with transaction.atomic():
            if people[visitor] is not None:
                client.force_login(people[visitor])
            found.append(_outcome(_ask(client, line, url)))
            transaction.set_rollback(True)
    assert dict(zip(VISITORS, found, strict=True)) == dict(
        zip(VISITORS, line.expected, strict=True)
    )


def test_what_does_not_exist_looks_like_what_is_out_of_sight(cast, things):
    client = Client()
    client.force_login(cast.admin)
    arguments = _arguments()
    for line in PAGES + API:
        identified = [name for name in arguments[line.name] if name.endswith("_id")]
        if identified and not line.about:
            url = _url(line, {**things, identified[-1]: uuid4()}, cast)
            assert _ask(client, line, url).status_code == 404, (line.name, line.method)


def test_what_changes_something_does_not_do_so_by_a_link(cast, things):
    client = Client()
    client.force_login(cast.admin)
    shown = {line.name for line in PAGES if line.method == "get"}
    for line in PAGES:
        if line.name in shown:
            continue
        response = client.get(_url(line, things, cast))
        if line.name == "set_language":
            # It answers a link too, and leaves the language as it was.
            assert settings.LANGUAGE_COOKIE_NAME not in response.cookies
        else:
            assert response.status_code == 405, line.name


def _sockets() -> dict[str, URLPattern]:
    """The sockets that have a name; whatever else is asked for is closed as not found."""
    return {pattern.name: pattern for pattern in websocket_urlpatterns if pattern.name}


def test_every_socket_is_in_the_table():
    assert set(SOCKETS) == set(_sockets())


@pytest.fixture
async def _connections_end():
    """Connections of the threads that the sockets read in would outlive the test."""
    yield
    await sync_to_async(connections.close_all)()


async def _opening(path: str, user: User | None) -> object:
    """What becomes of a socket: OPEN, or the code of its closing."""
    headers = [(b"origin", b"http://testserver"), (b"host", b"testserver")]
    if user is not None:
        client = Client()
        await client.aforce_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    socket = WebsocketCommunicator(application, path, headers=headers)
    connected, code = await socket.connect(timeout=30)
    if not connected:
        return code
    # Refused after the handshake, so that browsers learn the code; else the first push comes.
    message = await socket.receive_output(timeout=30)
    if message["type"] == "websocket.close":
        return message["code"]
    await socket.disconnect()
    return OPEN


@pytest.mark.slow
@pytest.mark.usefixtures("_connections_end")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", sorted(SOCKETS))
async def test_each_visitor_gets_the_socket_or_the_code_that_the_table_says(name):
    cast = await sync_to_async(make_cast)()
    # A resolver of its own: sockets are not in the URLconf of the pages.
    pattern = URLResolver(RegexPattern(r"^"), [_sockets()[name]])
    path = "/" + pattern.reverse(name, getattr(cast, SHOWN[name]).pk)
    found = [await _opening(path, person) for person in _people(cast).values()]
    assert dict(zip(VISITORS, found, strict=True)) == dict(
        zip(VISITORS, SOCKETS[name], strict=True)
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_connections_end")
@pytest.mark.django_db(transaction=True)
async def test_a_socket_that_there_is_not_is_not_found():
    cast = await sync_to_async(make_cast)()
    for path in ("/ws/nothing", f"/ws/systems/{uuid4()}", "/ws/systems/1"):
        assert await _opening(path, cast.mara) == 4404


def _admin_addresses() -> list[str]:
    return [
        route
        for route, _pattern in _patterns(get_resolver().url_patterns)
        if route.startswith("admin") and "<" not in route and "(" not in route
    ]


def test_the_admin_is_for_staff_alone(cast):
    client = Client()
    for route in _admin_addresses():
        response = client.get(f"/{route}", follow=True)
        if route in {"admin/logout/", "admin/jsi18n/"}:
            continue
        assert response.redirect_chain[-1][0].startswith("/sign-in"), route
    for person in (cast.mara, cast.admin, cast.viewer, cast.grid_operator):
        client.force_login(person)
        for route in _admin_addresses():
            if route in {"admin/logout/", "admin/jsi18n/"}:
                continue
            response = client.get(f"/{route}", follow=True)
            assert response.status_code == 403, (person, route)


def test_staff_comes_into_the_admin(cast):
    client = Client()
    client.force_login(cast.staff)
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin").url == "/admin/"


@pytest.mark.parametrize("name", ["home", "account_tree", "customer_list", "gateway_register"])
def test_a_search_for_what_no_text_can_hold_finds_nothing_and_breaks_nothing(cast, client, name):
    client.force_login(cast.admin)
    arguments = {"account_id": cast.operator.pk} if name == "customer_list" else {}
    answer = client.get(reverse(name, kwargs=arguments), {"q": "a\0b"})
    assert answer.status_code == 200
