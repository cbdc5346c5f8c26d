"""The shapes of `/live` and `/historical`, for the API's description.

`history` and `live` make the answers; tests hold them against these.
"""

from rest_framework import serializers

from accounts.wire import WireSerializer
from measurements.flags import Flag


def _number(help_text: str = "") -> serializers.FloatField:
    return serializers.FloatField(required=False, help_text=help_text)


def _rate(help_text: str = "0–1") -> serializers.FloatField:
    return serializers.FloatField(
        required=False, min_value=0, max_value=1, help_text=f"{help_text}; absent where undefined"
    )


class FlowsSerializer(WireSerializer):
    """What live values and history have in common: W, or Wh where energies are meant."""

    photovoltaic = _number()
    production = _number()
    consumption = _number("of the household, without heat pump, heater and EV")
    total_consumption = _number("with heat pump, heater and EV")
    unmetered_consumption = _number(
        "the part of it that was used while no meter told where it came from: in no rate"
    )
    heat_pump = _number()
    heating = _number("of heaters")
    direct_consumption = _number("straight from PV")
    direct_consumption_household = _number()
    direct_consumption_heat_pump = _number()
    direct_consumption_ev = _number()
    direct_consumption_heater = _number()
    self_consumption = _number("direct consumption and what PV charged into the battery")
    self_supply = _number("direct consumption and what the battery gave")
    self_sufficiency_rate = _rate("1 - import / total consumption")
    self_consumption_rate = _rate("self-consumption / PV")
    direct_consumption_rate = _rate("direct consumption / PV")
    grid_meter_reading_positive = _number("Ws, counter of import")
    grid_meter_reading_negative = _number("Ws, counter of feed-in")


class ApplianceRefSerializer(WireSerializer):
    appliance_id = serializers.UUIDField()


class BatterySerializer(ApplianceRefSerializer):
    power = _number("positive when discharging")
    state_of_charge = _rate()
    remaining_charge = _number("Wh")
    capacity = _number("Wh")
    nominal_capacity = _number("Wh")


class BatteriesSerializer(WireSerializer):
    power = _number("W, positive when discharging")
    charge = _number("W")
    discharge = _number("W")
    state_of_charge = _rate()
    remaining_charge = _number("Wh")
    capacity = _number("Wh")
    nominal_capacity = _number("Wh")


class StationSerializer(ApplianceRefSerializer):
    power = _number("positive when charging")
    current_l1 = _number("A")
    current_l2 = _number("A")
    current_l3 = _number("A")
    plug_state = serializers.ChoiceField(
        ["UNPLUGGED", "PLUGGED_ON_STATION", "PLUGGED_ON_STATION_AND_PLUGGED_ON_VEHICLE"],
        required=False,
    )
    reading_total = _number("Wh")
    state_of_charge = _rate()


class StationsSerializer(WireSerializer):
    power = _number("W, positive when charging")


class HeaterSerializer(ApplianceRefSerializer):
    power = _number()
    temperature = _number("°C")


class HeatPumpSerializer(ApplianceRefSerializer):
    power = _number("W")
    sg_ready_state = serializers.ChoiceField(["UNKNOWN", "OFF", "AUTO", "RECOMMEND_ON", "ON"])


class LiveSerializer(FlowsSerializer):
    """Powers in W now; what the system does not have, or nobody read lately, is absent."""

    measured_at = serializers.DateTimeField(required=False)
    grid = _number("W, positive for import, negative for feed-in")
    battery = BatteriesSerializer(required=False)
    batteries = BatterySerializer(many=True, required=False)
    ev_charging_station = StationsSerializer(required=False)
    ev_charging_stations = StationSerializer(many=True, required=False)
    heat_pumps = HeatPumpSerializer(many=True, required=False)
    heaters = HeaterSerializer(many=True, required=False)
    heating_temperature = _number("°C")


class ExchangeSerializer(WireSerializer):
    feed_in = _number()
    supply = _number()


class StorageSerializer(WireSerializer):
    charge = _number()
    discharge = _number()
    state_of_charge = _rate("0–1, at the end")
    capacity = _number("Wh")
    nominal_capacity = _number("Wh")


class ChargingSerializer(WireSerializer):
    charge = _number()


class QualitySerializer(WireSerializer):
    coverage = _rate("The share of the time until now that was seen, of all that was to be seen;")
    flags = serializers.ListField(child=serializers.ChoiceField([flag.name for flag in Flag]))


class AskedQualitySerializer(WireSerializer):
    quality = QualitySerializer(required=False, help_text="where it is asked for")


class PastBatterySerializer(BatterySerializer, AskedQualitySerializer):
    pass


class PastStationSerializer(StationSerializer, AskedQualitySerializer):
    pass


class PastHeaterSerializer(HeaterSerializer, AskedQualitySerializer):
    pass


class OtherApplianceSerializer(ApplianceRefSerializer, AskedQualitySerializer):
    power = _number()
    kind = serializers.CharField()


class PeriodSerializer(FlowsSerializer, AskedQualitySerializer):
    grid = ExchangeSerializer(required=False)
    battery = StorageSerializer(required=False)
    ev_charging_station = ChargingSerializer(required=False)
    batteries = PastBatterySerializer(many=True, required=False)
    ev_charging_stations = PastStationSerializer(many=True, required=False)
    heaters = PastHeaterSerializer(many=True, required=False)
    appliances = OtherApplianceSerializer(many=True, required=False)


class PointSerializer(PeriodSerializer):
    """One window: W, stamped at its end (15m, 1h), or Wh, stamped at its start (coarser).

    A window of which nothing is known, as in the future, has nothing but `measuredAt`.
    """

    measured_at = serializers.DateTimeField()


class TotalSerializer(PeriodSerializer):
    """All windows together, always in Wh."""

    measured_at = serializers.CharField(
        required=False, help_text="The first and the last window's stamp, with a `/` between."
    )


class HistoricalSerializer(WireSerializer):
    data = PointSerializer(many=True)
    total = TotalSerializer()


_SEEN = "how many of the pool's systems were seen"
_COUNT = "how many systems the pool has"


class PoolLiveSerializer(FlowsSerializer):
    """The sum of the systems that were read lately, in W."""

    measured_at = serializers.DateTimeField(required=False)
    grid = _number("W, import less feed-in")
    grid_supply = _number("W, of the systems that take from the grid")
    grid_feed_in = _number("W, of the systems that feed in")
    battery = BatteriesSerializer(required=False)
    ev_charging_station = StationsSerializer(required=False)
    systems_seen = serializers.IntegerField(help_text=_SEEN)
    systems_count = serializers.IntegerField(help_text=_COUNT)


class PoolPointSerializer(PointSerializer):
    systems_seen = serializers.IntegerField(required=False, help_text=_SEEN)


class PoolTotalSerializer(TotalSerializer):
    systems_seen = serializers.IntegerField(help_text=_SEEN)
    systems_count = serializers.IntegerField(help_text=_COUNT)


class PoolHistoricalSerializer(WireSerializer):
    data = PoolPointSerializer(many=True)
    total = PoolTotalSerializer()
