"""The pages that show several apps at once."""

from django.urls import path, register_converter

from gridx.pages import (
    appliance,
    car,
    dimmings,
    dissolving,
    energies,
    exports,
    fairness,
    figures,
    fleet,
    group_figures,
    groups,
    home,
    imports,
    limiting,
    past,
    policies,
    readings,
)
from gridx.pages.constraints import bulk, editor, withdrawing
from gridx.pages.converters import FigureConverter, SlotConverter

register_converter(SlotConverter, "slot")
register_converter(FigureConverter, "figure")

urlpatterns = [
    path("", home.home, name="home"),
    path("fleet", fleet.fleet, name="fleet"),
    path("fleet/<slug:key>", fleet.matter, name="matter"),
    path("systems/<uuid:system_id>", home.system, name="system"),
    path("systems/<uuid:system_id>/figures/<figure:name>", figures.figure, name="figure"),
    path(
        "systems/<uuid:system_id>/figures/<figure:name>/<slot:start>",
        figures.figure_slot,
        name="figure_slot",
    ),
    path(
        "systems/<uuid:system_id>/appliances/<uuid:appliance_id>/energy",
        readings.appliance_energy,
        name="appliance_energy",
    ),
    path(
        "systems/<uuid:system_id>/appliances/<uuid:appliance_id>/readings/<slot:start>",
        readings.readings,
        name="readings",
    ),
    path("systems/<uuid:system_id>/export", exports.system_export, name="system_export"),
    path("systems/<uuid:system_id>/import", imports.system_import, name="system_import"),
    path("systems/<uuid:system_id>/imports", imports.system_imports, name="system_imports"),
    path("imports/<uuid:import_id>", imports.recording_import, name="recording_import"),
    path(
        "imports/<uuid:import_id>/mapping",
        imports.recording_import_mapping,
        name="recording_import_mapping",
    ),
    path(
        "imports/<uuid:import_id>/cancel",
        imports.recording_import_cancel,
        name="recording_import_cancel",
    ),
    path(
        "imports/<uuid:import_id>/refused.csv",
        imports.recording_import_refused,
        name="recording_import_refused",
    ),
    path("clusters/<uuid:cluster_id>/energy", energies.cluster_energy, name="cluster_energy"),
    path("pools/<uuid:pool_id>/energy", energies.pool_energy, name="pool_energy"),
    path(
        "clusters/<uuid:cluster_id>/figures/<figure:name>",
        group_figures.cluster_figure,
        name="cluster_figure",
    ),
    path(
        "pools/<uuid:pool_id>/figures/<figure:name>", group_figures.pool_figure, name="pool_figure"
    ),
    path("clusters/<uuid:cluster_id>/export", exports.cluster_export, name="cluster_export"),
    path("pools/<uuid:pool_id>/export", exports.pool_export, name="pool_export"),
    path(
        "appliances/<uuid:appliance_id>/export", exports.appliance_export, name="appliance_export"
    ),
    path("appliances/<uuid:appliance_id>", appliance.appliance, name="appliance"),
    path("appliances/<uuid:appliance_id>/past", past.appliance_past, name="appliance_past"),
    path(
        "appliances/<uuid:appliance_id>/past.csv",
        past.appliance_past_file,
        name="appliance_past_file",
    ),
    path(
        "appliances/<uuid:appliance_id>/constraints/new",
        editor.appliance_constrain,
        name="appliance_constrain",
    ),
    path(
        "clusters/<uuid:cluster_id>/flexibility",
        groups.cluster_flexibility,
        name="cluster_flexibility",
    ),
    path(
        "clusters/<uuid:cluster_id>/constraints/new",
        editor.cluster_constrain,
        name="cluster_constrain",
    ),
    path("clusters/<uuid:cluster_id>/limits/new", limiting.limit_new, name="limit_new"),
    path("limits/<uuid:limit_id>", limiting.limit_edit, name="limit_edit"),
    path("limits/<uuid:limit_id>/withdraw", limiting.limit_withdraw, name="limit_withdraw"),
    path("limits/<uuid:limit_id>/restore", limiting.limit_restore, name="limit_restore"),
    path("clusters/<uuid:cluster_id>/fairness", fairness.cluster_fairness, name="cluster_fairness"),
    path(
        "clusters/<uuid:cluster_id>/fairness.csv",
        fairness.cluster_fairness_file,
        name="cluster_fairness_file",
    ),
    path("clusters/<uuid:cluster_id>/remove", dissolving.cluster_remove, name="cluster_remove"),
    path("pools/<uuid:pool_id>/remove", dissolving.pool_remove, name="pool_remove"),
    path("pools/<uuid:pool_id>/flexibility", groups.pool_flexibility, name="pool_flexibility"),
    path(
        "pools/<uuid:pool_id>/constraints/new",
        editor.pool_constrain,
        name="pool_constrain",
    ),
    path("dimmings", dimmings.dimmings, name="dimmings"),
    path("dimmings.csv", dimmings.dimmings_file, name="dimmings_file"),
    path("dimmings/<uuid:dimming_id>", dimmings.dimming, name="dimming"),
    path("dimmings/<uuid:dimming_id>/proof.csv", dimmings.dimming_file, name="dimming_file"),
    path("constraints/new", editor.constraints_new, name="constraints_new"),
    path("constraints/withdraw", bulk.constraints_withdraw, name="constraints_withdraw"),
    path("constraints/bulk", bulk.bulk_actions, name="bulk_actions"),
    path("constraints/bulk/<uuid:action_id>", bulk.bulk_action, name="bulk_action"),
    path("constraints/bulk/<uuid:action_id>/withdraw", bulk.bulk_withdraw, name="bulk_withdraw"),
    path("constraints/bulk/<uuid:action_id>/undo", bulk.bulk_undo, name="bulk_undo"),
    path("constraints/series/<uuid:series_id>", editor.series_edit, name="series_edit"),
    path(
        "constraints/series/<uuid:series_id>/withdraw",
        withdrawing.series_withdraw,
        name="series_withdraw",
    ),
    path(
        "constraints/series/<uuid:series_id>/restore",
        withdrawing.series_restore,
        name="series_restore",
    ),
    path("constraints/<uuid:constraint_id>", editor.constraint_edit, name="constraint_edit"),
    path(
        "constraints/<uuid:constraint_id>/delivery",
        bulk.constraint_delivery,
        name="constraint_delivery",
    ),
    path(
        "constraints/<uuid:constraint_id>/withdraw",
        withdrawing.constraint_withdraw,
        name="constraint_withdraw",
    ),
    path(
        "constraints/<uuid:constraint_id>/restore",
        withdrawing.constraint_restore,
        name="constraint_restore",
    ),
    path("cars/<uuid:appliance_id>", car.car, name="car"),
    path("cars/<uuid:appliance_id>/policy", car.car_policy, name="car_policy"),
    path("cars/<uuid:appliance_id>/charge-now", car.car_charge_now, name="car_charge_now"),
    path("cars/<uuid:appliance_id>/stop", car.car_stop, name="car_stop"),
    path(
        "clusters/<uuid:cluster_id>/charging-policy", policies.cluster_policy, name="cluster_policy"
    ),
    path("systems/<uuid:system_id>/charging-policy", policies.system_policy, name="system_policy"),
    path("charging-policies/<uuid:policy_id>/end", policies.policy_end, name="charging_policy_end"),
    path(
        "charging-policies/<uuid:policy_id>/restore",
        policies.policy_restore,
        name="charging_policy_restore",
    ),
]
