"""The shapes of what `inventory.wire` makes, for the API's description."""

from rest_framework import serializers

from accounts.api import UserSerializer
from accounts.wire import StrictMixin, WireSerializer
from accounts.wire_fields import IdField, TextField
from inventory.models import Appliance, SystemPool, validate_time_zone
from inventory.wire import PROTOCOLS

GATEWAY_STATES = ["AVAILABLE", "TEMPORARILY_UNAVAILABLE", "UNAVAILABLE"]
APPLIANCE_STATES = ["AVAILABLE", "UNAVAILABLE", "UNKNOWN"]
APPLIANCE_TYPES = ["METER", "INVERTER", "EVSTATION", "HEAT_PUMP", "HEATER"]


class RowSerializer(WireSerializer):
    id = serializers.UUIDField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class ReferenceSerializer(WireSerializer):
    id = serializers.UUIDField()


class GatewayConnectionSerializer(WireSerializer):
    status = serializers.ChoiceField(
        GATEWAY_STATES, help_text="AVAILABLE: heard of within the last 2 minutes"
    )
    contacted_at = serializers.DateTimeField(required=False)


class GatewaySerializer(RowSerializer):
    type = serializers.ChoiceField(["PHYSICAL", "VIRTUAL", "OTHER"])
    connection_status = GatewayConnectionSerializer()
    system = ReferenceSerializer()
    name = serializers.CharField(required=False)
    registered_at = serializers.DateTimeField(required=False)
    manufacturer = serializers.CharField(required=False)
    model = serializers.CharField(required=False)
    serialnumber = serializers.CharField()
    firmware = serializers.CharField(required=False)


class SystemGatewaySerializer(WireSerializer):
    id = serializers.UUIDField()
    manufacturer = serializers.CharField(required=False)
    model = serializers.CharField(required=False)
    serialnumber = serializers.CharField()
    connection_status = GatewayConnectionSerializer(required=False)
    appliance_composition = serializers.ListField(child=serializers.CharField(), required=False)
    additional_identifiers = serializers.ListField(child=serializers.DictField(), required=False)


class LocationSerializer(WireSerializer):
    address_line1 = serializers.CharField(required=False)
    postal_code = serializers.CharField(required=False)
    city = serializers.CharField(required=False)
    country_code = serializers.CharField(required=False, help_text="ISO 3166-1, two letters")
    latitude = serializers.FloatField(required=False)
    longitude = serializers.FloatField(required=False)
    time_zone = serializers.CharField()


class SystemAccountSerializer(WireSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()


class SystemSerializer(RowSerializer):
    """`location` and what comes after it only where `include` (or `embed`) names it."""

    name = serializers.CharField()
    account_id = serializers.UUIDField()
    time_zone = serializers.CharField(help_text="IANA")
    gateway_id = serializers.UUIDField(required=False)
    gateways = SystemGatewaySerializer(many=True)
    location = LocationSerializer(required=False)
    parent_id = serializers.UUIDField(required=False, help_text="the account's")
    accounts = SystemAccountSerializer(many=True, required=False)
    status = serializers.ChoiceField(GATEWAY_STATES, required=False)
    visible_appliances = serializers.ListField(child=serializers.CharField(), required=False)
    users = UserSerializer(many=True, required=False)


class ApplianceConnectionSerializer(WireSerializer):
    status = serializers.ChoiceField(APPLIANCE_STATES)
    contacted_at = serializers.DateTimeField(required=False)


class ApplianceStateSerializer(WireSerializer):
    current = serializers.CharField()
    desired = serializers.CharField()
    transitions = serializers.ListField(child=serializers.DictField())


class ApplianceSourceSerializer(WireSerializer):
    origin = serializers.ChoiceField(["API", "GRIDBOX", "UNKNOWN"])


class AuxMeterSerializer(WireSerializer):
    location = serializers.CharField()


class InverterSerializer(WireSerializer):
    max_active_power_output = serializers.IntegerField(required=False, help_text="mW")


class InverterBatterySerializer(WireSerializer):
    max_charge = serializers.IntegerField(required=False, help_text="W")
    max_discharge = serializers.IntegerField(required=False, help_text="W")


class LoadManagementSerializer(WireSerializer):
    max_power = serializers.FloatField(help_text="W")


class HeaterInformationSerializer(WireSerializer):
    nominal_power = serializers.IntegerField(help_text="W")


class ApplianceSerializer(RowSerializer):
    type = serializers.ChoiceField(APPLIANCE_TYPES)
    kind = serializers.CharField(required=False, help_text="of an inverter or a meter")
    connection_status = ApplianceConnectionSerializer()
    inactive = serializers.BooleanField()
    reverse_flow = serializers.BooleanField()
    state = ApplianceStateSerializer()
    status = serializers.ChoiceField(Appliance.Status.values)
    source = ApplianceSourceSerializer()
    name = serializers.CharField(required=False)
    room = serializers.CharField(required=False)
    manufacturer = serializers.CharField(required=False)
    model = serializers.CharField(required=False)
    serialnumber = serializers.CharField(required=False)
    firmware = serializers.CharField(required=False)
    protocol = serializers.ChoiceField(PROTOCOLS, required=False)
    parent = serializers.UUIDField(required=False)
    min_power = serializers.FloatField(required=False, help_text="W, positive into the appliance")
    max_power = serializers.FloatField(required=False, help_text="W, positive into the appliance")
    capacity = serializers.FloatField(required=False, help_text="Wh")
    aux_meter = AuxMeterSerializer(required=False)
    nominal_power_limit = serializers.IntegerField(required=False, help_text="mW")
    inverter = InverterSerializer(required=False)
    battery = InverterBatterySerializer(required=False)
    ev_load_management_parameters = LoadManagementSerializer(required=False)
    heater = HeaterInformationSerializer(required=False)


# These two are what clients send as well.
class ClusterSerializer(StrictMixin, RowSerializer):
    name = TextField(max_length=200)
    system_id = IdField(required=False, help_text="By default that of the cluster around it.")
    parent_id = IdField(required=False, allow_null=True, help_text="The cluster around it.")


class SystemPoolSerializer(StrictMixin, RowSerializer):
    name = TextField(max_length=200)
    kind = serializers.ChoiceField(SystemPool.Kind.values, required=False)
    time_zone = TextField(
        required=False, max_length=64, validators=[validate_time_zone], help_text="IANA"
    )
    account_id = IdField(required=False, help_text="By default the caller's.")


class InventoryItemSerializer(WireSerializer):
    """One thing of an inventory; the key named after `kind` holds it."""

    kind = serializers.ChoiceField(["SYSTEM", "GATEWAY", "APPLIANCE", "CLUSTER", "SYSTEM_POOL"])
    id = serializers.UUIDField()
    name = serializers.CharField()
    account_id = serializers.UUIDField()
    system_id = serializers.UUIDField(required=False)
    system = SystemSerializer(required=False)
    gateway = GatewaySerializer(required=False)
    appliance = ApplianceSerializer(required=False)
    cluster = ClusterSerializer(required=False)
    system_pool = SystemPoolSerializer(required=False)
