"""The pages of the inventory."""

from django.urls import path

from inventory.views import browse, gateways, groups, systems

urlpatterns = [
    path("inventory", browse.inventory_page, name="inventory"),
    path("inventory.csv", browse.inventory_file, name="inventory_file"),
    path("accounts/<uuid:account_id>/inventory", browse.inventory_page, name="account_inventory"),
    path(
        "accounts/<uuid:account_id>/inventory.csv",
        browse.inventory_file,
        name="account_inventory_file",
    ),
    path("accounts/<uuid:account_id>/move", systems.account_move, name="account_move"),
    path("systems/new", systems.system_choose_account, name="system_choose_account"),
    path("accounts/<uuid:account_id>/systems/new", systems.system_create, name="system_create"),
    path("systems/<uuid:system_id>/inventory", systems.system_inventory, name="system_inventory"),
    path("systems/<uuid:system_id>/edit", systems.system_edit, name="system_edit"),
    path(
        "systems/<uuid:system_id>/assignments",
        systems.assignment_create,
        name="assignment_create",
    ),
    path(
        "systems/<uuid:system_id>/assignments/<uuid:assignment_id>/end",
        systems.assignment_end,
        name="assignment_end",
    ),
    path("appliances/<uuid:appliance_id>/edit", systems.appliance_edit, name="appliance_edit"),
    path("gateways/<uuid:gateway_id>", gateways.gateway_detail, name="gateway_detail"),
    path("gateways/<uuid:gateway_id>/edit", gateways.gateway_edit, name="gateway_edit"),
    path("gateways/<uuid:gateway_id>/revoke", gateways.gateway_revoke, name="gateway_revoke"),
    path("systems/<uuid:system_id>/clusters/new", groups.cluster_create, name="cluster_create"),
    path("clusters/<uuid:cluster_id>/edit", groups.cluster_edit, name="cluster_edit"),
    path("accounts/<uuid:account_id>/pools/new", groups.pool_create, name="pool_create"),
    path("pools/<uuid:pool_id>", groups.pool_detail, name="pool_detail"),
    path("pools/<uuid:pool_id>/edit", groups.pool_edit, name="pool_edit"),
    path("pools/<uuid:pool_id>/add", groups.pool_add, name="pool_add"),
    path("pools/<uuid:pool_id>/drop", groups.pool_drop, name="pool_drop"),
]
