"""The whole API, under `/api`: no trailing slashes, no redirects; every address has a name."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts import api as accounts
from accounts.oauth_api import TokenView
from flexibility import api as flexibility
from flexibility import energy_management
from flexibility.dimming import api as dimmings
from flexibility.groups import ahead
from flexibility.groups import api as groups
from flexibility.limits import api as limits
from flexibility.policies import api as policies
from flexibility.series import api as series
from gridx.api_errors import not_found
from inventory import api as inventory
from inventory.inventory_api import InventoryList
from measurements import api as measurements
from measurements import raw_api as raw
from measurements.exports import api as exports

urlpatterns = [
    path("oauth/token", TokenView.as_view(), name="api_token"),
    path("user", accounts.OwnUser.as_view(), name="api_user"),
    path("account", accounts.OwnAccount.as_view(), name="api_own_account"),
    path("accounts", accounts.AccountList.as_view(), name="api_accounts"),
    path("accounts/<uuid:account_id>", accounts.AccountDetail.as_view(), name="api_account"),
    path(
        "accounts/<uuid:account_id>/accounts",
        accounts.SubAccountList.as_view(),
        name="api_sub_accounts",
    ),
    path(
        "accounts/<uuid:account_id>/parents",
        accounts.ParentAccountList.as_view(),
        name="api_account_parents",
    ),
    path(
        "accounts/<uuid:account_id>/systems",
        inventory.AccountSystemList.as_view(),
        name="api_account_systems",
    ),
    path(
        "accounts/<uuid:account_id>/inventory",
        InventoryList.as_view(),
        name="api_account_inventory",
    ),
    path("customers", accounts.CustomerList.as_view(), name="api_customers"),
    path("customers/<uuid:account_id>", accounts.CustomerDetail.as_view(), name="api_customer"),
    path(
        "customers/<uuid:account_id>/users",
        accounts.CustomerUserList.as_view(),
        name="api_customer_users",
    ),
    path("systems", inventory.SystemList.as_view(), name="api_systems"),
    path("systems/<uuid:system_id>", inventory.SystemDetail.as_view(), name="api_system"),
    path(
        "systems/<uuid:system_id>/live",
        measurements.SystemLive.as_view(),
        name="api_system_live",
    ),
    path(
        "systems/<uuid:system_id>/historical",
        measurements.SystemHistorical.as_view(),
        name="api_system_historical",
    ),
    path(
        "systems/<uuid:system_id>/export",
        exports.SystemExport.as_view(),
        name="api_system_export",
    ),
    path(
        "systems/<uuid:system_id>/flexibilities",
        flexibility.SystemFlexibilityList.as_view(),
        name="api_system_flexibilities",
    ),
    path(
        "systems/<uuid:system_id>/flexibility",
        ahead.SystemFlexibility.as_view(),
        name="api_system_flexibility",
    ),
    path(
        "systems/<uuid:system_id>/clusters",
        groups.SystemClusterList.as_view(),
        name="api_system_clusters",
    ),
    path(
        "systems/<uuid:system_id>/gateways/<uuid:gateway_id>/import-power-limit",
        flexibility.ImportPowerLimit.as_view(),
        name="api_import_power_limit",
    ),
    path(
        "systems/<uuid:system_id>/charging-policy",
        policies.SystemPolicy.as_view(),
        name="api_system_policy",
    ),
    path(
        "systems/<uuid:system_id>/evcharging-schedules",
        series.ChargingScheduleList.as_view(),
        name="api_charging_schedules",
    ),
    path(
        "systems/<uuid:system_id>/evcharging-schedules/<uuid:charging_schedule_id>",
        series.ChargingScheduleDetail.as_view(),
        name="api_charging_schedule",
    ),
    path(
        "systems/<uuid:system_id>/power-limit-schedules",
        series.PowerLimitScheduleList.as_view(),
        name="api_power_limit_schedules",
    ),
    path(
        "systems/<uuid:system_id>/power-limit-schedules/<uuid:schedule_id>",
        series.PowerLimitScheduleDetail.as_view(),
        name="api_power_limit_schedule",
    ),
    path(
        "systems/<uuid:system_id>/dimmings",
        dimmings.SystemDimmings.as_view(),
        name="api_system_dimmings",
    ),
    path("dimmings/<uuid:dimming_id>", dimmings.DimmingDetail.as_view(), name="api_dimming"),
    path("gateways", inventory.GatewayList.as_view(), name="api_gateways"),
    path("gateways/<uuid:gateway_id>", inventory.GatewayDetail.as_view(), name="api_gateway"),
    path(
        "gateways/<uuid:gateway_id>/appliances",
        inventory.ApplianceList.as_view(),
        name="api_appliances",
    ),
    path(
        "gateways/<uuid:gateway_id>/appliances/<uuid:appliance_id>",
        inventory.ApplianceDetail.as_view(),
        name="api_appliance",
    ),
    path(
        "gateways/<uuid:gateway_id>/appliances/<uuid:appliance_id>/measurements",
        energy_management.CombinedMeasurements.as_view(),
        name="api_combined_measurements",
    ),
    path(
        "gateways/<uuid:gateway_id>/appliances/<uuid:appliance_id>/measurements/appliance",
        raw.ApplianceMeasurements.as_view(),
        name="api_appliance_measurements",
    ),
    path(
        "gateways/<uuid:gateway_id>/appliances/<uuid:appliance_id>/measurements/energymanagement",
        energy_management.EnergyManagement.as_view(),
        name="api_energy_management",
    ),
    path(
        "gateways/<uuid:gateway_id>/appliances/<uuid:appliance_id>/ev/configuration",
        policies.EvConfiguration.as_view(),
        name="api_ev_configuration",
    ),
    path(
        "appliances/<uuid:appliance_id>/export",
        exports.ApplianceExport.as_view(),
        name="api_appliance_export",
    ),
    path(
        "appliances/<uuid:appliance_id>/flexibility",
        flexibility.ApplianceFlexibility.as_view(),
        name="api_flexibility",
    ),
    path(
        "appliances/<uuid:appliance_id>/flexibility/timeline",
        flexibility.ApplianceTimeline.as_view(),
        name="api_timeline",
    ),
    path(
        "appliances/<uuid:appliance_id>/constraints",
        flexibility.ApplianceConstraints.as_view(),
        name="api_appliance_constraints",
    ),
    path(
        "appliances/<uuid:appliance_id>/charging-policy",
        policies.AppliancePolicy.as_view(),
        name="api_appliance_policy",
    ),
    path(
        "constraints/<uuid:constraint_id>",
        flexibility.ConstraintDetail.as_view(),
        name="api_constraint",
    ),
    path("clusters", groups.ClusterList.as_view(), name="api_clusters"),
    path("clusters/<uuid:cluster_id>", groups.ClusterDetail.as_view(), name="api_cluster"),
    path(
        "clusters/<uuid:cluster_id>/appliances/<uuid:appliance_id>",
        groups.ClusterMember.as_view(),
        name="api_cluster_member",
    ),
    path(
        "clusters/<uuid:cluster_id>/live",
        measurements.ClusterLive.as_view(),
        name="api_cluster_live",
    ),
    path(
        "clusters/<uuid:cluster_id>/historical",
        measurements.ClusterHistorical.as_view(),
        name="api_cluster_historical",
    ),
    path(
        "clusters/<uuid:cluster_id>/export",
        exports.ClusterExport.as_view(),
        name="api_cluster_export",
    ),
    path(
        "clusters/<uuid:cluster_id>/flexibilities",
        flexibility.ClusterFlexibilityList.as_view(),
        name="api_cluster_flexibilities",
    ),
    path(
        "clusters/<uuid:cluster_id>/flexibility",
        ahead.ClusterFlexibility.as_view(),
        name="api_cluster_flexibility",
    ),
    path(
        "clusters/<uuid:cluster_id>/constraints",
        flexibility.ClusterConstraints.as_view(),
        name="api_cluster_constraints",
    ),
    path(
        "clusters/<uuid:cluster_id>/charging-policy",
        policies.ClusterPolicy.as_view(),
        name="api_cluster_policy",
    ),
    path(
        "clusters/<uuid:cluster_id>/limit",
        limits.ClusterLimit.as_view(),
        name="api_cluster_limit",
    ),
    path("systempools", groups.PoolList.as_view(), name="api_pools"),
    path("systempools/<uuid:pool_id>", groups.PoolDetail.as_view(), name="api_pool"),
    path(
        "systempools/<uuid:pool_id>/systems",
        groups.PoolSystems.as_view(),
        name="api_pool_systems",
    ),
    path(
        "systempools/<uuid:pool_id>/live",
        measurements.PoolLive.as_view(),
        name="api_pool_live",
    ),
    path(
        "systempools/<uuid:pool_id>/historical",
        measurements.PoolHistorical.as_view(),
        name="api_pool_historical",
    ),
    path(
        "systempools/<uuid:pool_id>/export",
        exports.PoolExport.as_view(),
        name="api_pool_export",
    ),
    path(
        "systempools/<uuid:pool_id>/flexibility",
        ahead.PoolFlexibility.as_view(),
        name="api_pool_flexibility",
    ),
    path(
        "systempools/<uuid:pool_id>/constraints",
        flexibility.PoolConstraints.as_view(),
        name="api_pool_constraints",
    ),
    path("schema", SpectacularAPIView.as_view(), name="api_schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="api_schema"), name="api_docs"),
    re_path(r"^(?:.*)$", not_found, name="api_not_found"),
]
