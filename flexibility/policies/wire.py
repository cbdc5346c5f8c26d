"""Charging policies in the words of the wire API: what is taken, sent and described.

Serializers of policies need in their context `people`, the ids of the persons who may be named,
`states`, what the policy has its stations do, and `reasons`, why, by station; that of a station's
configuration needs its `reason`.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.wire import NamedSerializer, wire_name
from accounts.wire_fields import FlagField, IdField, InstantField, NumberField, WholeField
from flexibility.emitters import UnableToConstrain, kind_of
from flexibility.models import ChargingPolicy, ChargingState, Constraint
from flexibility.policies.ev_configuration import Configuration, Wish
from flexibility.policies.operations import PolicyDraft
from flexibility.policies.terms import WIRE_MODES, Mode, Why
from flexibility.resolver import EmitterKind
from flexibility.wire import EmitterSerializer
from flexibility.wire_targets import TargetedMixin

MODES = [wire_name(mode) for mode in Mode]
CHARGE_MODES = list(WIRE_MODES.values())

_BY_CHARGE_MODE = {name: mode for mode, name in WIRE_MODES.items()}
_MODES = dict(zip(MODES, Mode, strict=True))
_TARGETS = ("applianceID", "clusterID", "systemID")


class ModeField(serializers.ChoiceField):
    """What a policy is after."""

    def __init__(self) -> None:
        super().__init__(MODES)

    def to_internal_value(self, data) -> Mode:
        return _MODES[super().to_internal_value(data)]

    def to_representation(self, value: str) -> str:
        return wire_name(value)


class ChargingStationSerializer(NamedSerializer):
    """What a policy has a charging station do, and why; null is what plays no part."""

    appliance_id = serializers.UUIDField()
    why = serializers.ChoiceField([str(why) for why in Why], source="reason.why")
    reason = serializers.SerializerMethodField()
    surplus_power = NumberField(
        source="reason.surplus_w",
        allow_null=True,
        help_text="W; what the sun leaves over for all stations together, what they draw included;"
        " negative where there is a lack",
    )
    share_power = NumberField(
        source="reason.share_w",
        allow_null=True,
        help_text="W; what this station may charge with. Those of all stations may add up to more"
        " than `surplusPower`: what a car is known not to take of its own is another's as well, and"
        " a least power is kept to for a while, or always, where the sun does not give it",
    )
    needed_power = NumberField(
        source="reason.needed_w",
        allow_null=True,
        help_text="W; the least that reaches the departure's energy",
    )
    energy_left = NumberField(
        source="reason.left_wh", allow_null=True, help_text="Wh; until departure"
    )
    energy_missing = NumberField(
        source="reason.missing_wh",
        allow_null=True,
        help_text="Wh; what cannot be reached until departure",
    )
    reachable_at = InstantField(
        source="reason.reachable_at", allow_null=True, help_text="When it could be."
    )
    until = InstantField(
        source="reason.until", allow_null=True, help_text="When this changes as things are."
    )
    asked_at = InstantField()

    def get_reason(self, row: ChargingState) -> str:
        return self.context["reasons"][row.appliance_id]


class ChargingPolicySerializer(TargetedMixin, NamedSerializer):
    """How a charging station charges, or all of a cluster or a system; it asks by itself.

    One of `applianceID`, `clusterID` and `systemID` is there. `stations` are those where it asks
    now; which of several is followed, the flexibility of each says. Without `invalidAt` it has no
    end, or that of its departure.
    """

    id = IdField(read_only=True)
    # As the address says; not read-only, because then each would be described as always there.
    appliance_id = IdField(required=False)
    cluster_id = IdField(required=False)
    system_id = IdField(required=False)
    mode = ModeField()
    energy = NumberField(
        source="energy_wh",
        required=False,
        allow_null=True,
        help_text="Wh; what a `departure` needs, and nothing else",
    )
    departs_at = InstantField(
        required=False, allow_null=True, help_text="By when a `departure` needs it."
    )
    priority = WholeField(
        required=False,
        allow_null=True,
        help_text="The higher wins; at most what the kind of emitter may give a constraint.",
    )
    valid_at = InstantField(required=False, allow_null=True, help_text="By default now.")
    invalid_at = InstantField(required=False, allow_null=True)
    emitter = serializers.SerializerMethodField()
    created_at = InstantField(read_only=True)
    stations = serializers.SerializerMethodField()

    @extend_schema_field(EmitterSerializer)
    def get_emitter(self, policy: ChargingPolicy) -> dict[str, Any]:
        person = policy.emitter
        kind = EmitterKind.CHARGING_POLICY if person is None else kind_of(person)
        return EmitterSerializer(
            Constraint(emitter_kind=kind, emitter=person), context=self.context
        ).data

    @extend_schema_field(ChargingStationSerializer(many=True))
    def get_stations(self, policy: ChargingPolicy) -> list[dict]:
        return ChargingStationSerializer(
            self.context["states"], many=True, context=self.context
        ).data

    def to_representation(self, policy: ChargingPolicy) -> dict[str, Any]:
        wire = super().to_representation(policy)
        return {
            name: value for name, value in wire.items() if value is not None or name not in _TARGETS
        }


_WIRE_NAMES = {field.source: name for name, field in ChargingPolicySerializer().fields.items()}
_DRAFTED = {field.name for field in fields(PolicyDraft)}


def policy_draft_of(validated: Mapping[str, Any]) -> PolicyDraft:
    """The draft that a client sent; null is no statement."""
    stated = {name: value for name, value in validated.items() if value is not None}
    return PolicyDraft(**{name: value for name, value in stated.items() if name in _DRAFTED})


def policy_refusal(error: UnableToConstrain, *, target: str) -> serializers.ValidationError:
    """What a client is told; `target` is the wire's name of what the address names."""
    names = {**_WIRE_NAMES, "target": target}
    return serializers.ValidationError({names.get(error.field, error.field): [error.reason]})


# The wire's own words -----------------------------------------------------------------------------


class PercentField(NumberField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=100, required=False, allow_null=True, **options)


class WattField(NumberField):
    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, **options)


class EvConfigurationSerializer(NamedSerializer):
    """How a charging station charges, as the charging policy that asks there has it.

    `chargingEnabled` false switches it off. `MIN_EV` charges with the least that the station can,
    and with more where the sun gives it; `DEPARTURE_TIME_EV` needs `departureTimestamp`, of which
    only the time of the day counts, and how much energy: `minRequestedSoc`, `userSoc` and
    `userTotalCapacity`. These are not kept, and are null in answers. What is not kept to is
    refused.
    """

    charging_enabled = FlagField(required=False, allow_null=True)
    charging_remote_controllable = FlagField(required=False, allow_null=True)
    lock_enabled = FlagField(required=False, allow_null=True)
    min_requested_soc = PercentField(help_text="%; what is to be in it by departure")
    departure_timestamp = InstantField(required=False, allow_null=True)
    user_soc = PercentField(help_text="%; what is in it")
    user_total_capacity = NumberField(
        required=False, allow_null=True, min_value=1, help_text="Wh; what it holds"
    )
    max_power_calculated = NumberField(
        read_only=True, allow_null=True, help_text="W; what all constraints leave it now"
    )
    max_charge_power = WattField(help_text="Set a constraint instead.")
    min_charge_power = WattField(help_text="Set a constraint instead.")
    min_charge_power_per_phase = WattField(write_only=True)
    charge_mode = serializers.ChoiceField(
        CHARGE_MODES, required=False, help_text="Absent where it is switched off."
    )
    ev_profile_id = IdField(required=False, allow_null=True, write_only=True)
    estimated_departure_timestamp = InstantField(
        read_only=True, help_text="When what a departure needs is charged."
    )
    appliance_id = serializers.UUIDField(read_only=True)
    created_at = InstantField(read_only=True)
    updated_at = InstantField(read_only=True)
    reason = serializers.CharField(
        read_only=True, help_text="What it does now, and why; empty where another policy asks."
    )

    def validate(self, sent: dict[str, Any]) -> dict[str, Any]:
        refused = [name for name in _NOT_KEPT_TO if sent.get(name) is not None]
        refused += ["lock_enabled"] if sent.get("lock_enabled") else []
        if sent.get("charging_remote_controllable") is False:
            refused.append("charging_remote_controllable")
        if refused:
            reason = [_("This is not kept to: leave it out.")]
            raise serializers.ValidationError({wire_name(name): reason for name in refused})
        return sent

    def to_representation(self, found: Configuration) -> dict[str, Any]:
        policy, state = found.policy, found.state
        values = {
            "charging_enabled": policy.mode != Mode.OFF,
            "charging_remote_controllable": True,
            "lock_enabled": None,
            "min_requested_soc": None,
            "departure_timestamp": policy.departs_at,
            "user_soc": None,
            "user_total_capacity": None,
            "max_power_calculated": found.max_w,
            "max_charge_power": None,
            "min_charge_power": None,
            "appliance_id": found.station.pk,
            "created_at": policy.created_at,
            "updated_at": policy.created_at,
            "reason": self.context["reason"],
        }
        if policy.mode != Mode.OFF:
            values["charge_mode"] = WIRE_MODES[Mode(policy.mode)]
        if policy.departs_at is not None:
            late = None if state is None else state.reason["reachable_at"]
            values["estimated_departure_timestamp"] = late or policy.departs_at
        return {wire_name(name): value for name, value in values.items()}


_NOT_KEPT_TO = (
    "max_charge_power",
    "min_charge_power",
    "min_charge_power_per_phase",
    "ev_profile_id",
)
_OF_CONFIGURATION = {
    "departs_at": "departureTimestamp",
    "energy_wh": "minRequestedSoc",
    "target": "applianceID",
}


def wish_of(validated: Mapping[str, Any]) -> Wish:
    """What a client says of a station's configuration."""
    return Wish(
        enabled=validated.get("charging_enabled"),
        mode=_BY_CHARGE_MODE.get(validated.get("charge_mode")),
        departure=validated.get("departure_timestamp"),
        soc_asked=validated.get("min_requested_soc"),
        soc=validated.get("user_soc"),
        capacity_wh=validated.get("user_total_capacity"),
    )


def configuration_refusal(error: UnableToConstrain) -> serializers.ValidationError:
    """What a client is told: the wire's field."""
    name = _OF_CONFIGURATION.get(error.field, error.field)
    return serializers.ValidationError({name: [error.reason]})
