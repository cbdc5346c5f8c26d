"""The pages that show several apps at once."""

from django.urls import path

from gridx.pages import appliance, constraints, groups, home

urlpatterns = [
    path("", home.home, name="home"),
    path("systems/<uuid:system_id>", home.system, name="system"),
    path("systems/<uuid:system_id>/history.csv", home.history_file, name="history_file"),
    path("appliances/<uuid:appliance_id>", appliance.appliance, name="appliance"),
    path(
        "appliances/<uuid:appliance_id>/constraints/new",
        constraints.appliance_constrain,
        name="appliance_constrain",
    ),
    path(
        "clusters/<uuid:cluster_id>/flexibility",
        groups.cluster_flexibility,
        name="cluster_flexibility",
    ),
    path(
        "clusters/<uuid:cluster_id>/constraints/new",
        constraints.cluster_constrain,
        name="cluster_constrain",
    ),
    path("pools/<uuid:pool_id>/flexibility", groups.pool_flexibility, name="pool_flexibility"),
    path(
        "pools/<uuid:pool_id>/constraints/new",
        constraints.pool_constrain,
        name="pool_constrain",
    ),
    path(
        "constraints/<uuid:constraint_id>/withdraw",
        constraints.constraint_withdraw,
        name="constraint_withdraw",
    ),
    path(
        "constraints/<uuid:constraint_id>/restore",
        constraints.constraint_restore,
        name="constraint_restore",
    ),
]
