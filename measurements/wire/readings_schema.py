"""The shapes of single readings, for the API's description; `readings` makes them."""

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

from accounts.wire import WireSerializer


def _whole(unit: str) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, help_text=unit)


class _RawReading(WireSerializer):
    measured_at = serializers.DateTimeField()


class RawMeterSerializer(_RawReading):
    sum_active_power = _whole("mW, positive for import")
    sum_active_power_reading_positive = _whole("Ws, counter of import")
    sum_active_power_reading_negative = _whole("Ws, counter of feed-in")
    l1_current = _whole("mA")
    l2_current = _whole("mA")
    l3_current = _whole("mA")


class RawBatterySerializer(_RawReading):
    capacity = _whole("Wh")
    nominal_capacity = _whole("Wh")
    state_of_charge = _whole("0–100 %")
    temperature = _whole("°C")
    present_charge = _whole("mW")
    present_discharge = _whole("mW")


class RawInverterSerializer(_RawReading):
    ac_active_power = _whole("mW, positive when producing or discharging")
    battery = RawBatterySerializer(required=False)


class RawStationSerializer(_RawReading):
    real_power = _whole("mW, positive when charging")
    l1_current = _whole("mA")
    l2_current = _whole("mA")
    l3_current = _whole("mA")
    state_of_charge = serializers.FloatField(required=False, help_text="0–100 %")
    plug_state = serializers.CharField(required=False)
    plugged_in = serializers.BooleanField(required=False)


class RawHeatPumpSerializer(_RawReading):
    power = _whole("mW")
    operation_status = serializers.CharField()
    ready_state = serializers.CharField()
    controlled_temperature = serializers.FloatField(required=False, help_text="°C")


class RawHeaterSerializer(_RawReading):
    power = _whole("mW")
    reading_positive = _whole("Ws")
    outflow_temperature = serializers.FloatField(required=False, help_text="°C")


RAW_SHAPES = [
    RawMeterSerializer,
    RawInverterSerializer,
    RawStationSerializer,
    RawHeatPumpSerializer,
    RawHeaterSerializer,
]


def RawSerializer(**options) -> PolymorphicProxySerializer:  # noqa: N802 - used like a class
    """A reading of whichever kind."""
    return PolymorphicProxySerializer(
        component_name="RawMeasurement",
        serializers=RAW_SHAPES,
        resource_type_field_name=None,
        **options,
    )
