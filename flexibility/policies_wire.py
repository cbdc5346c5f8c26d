"""Charging policies in the words of the wire API: what is taken, sent and described.

Serializers of policies need in their context `people`, the ids of the persons who may be named,
and `states`, what the policy has its stations do.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.wire import NamedSerializer, wire_name
from accounts.wire_fields import IdField, InstantField, NumberField, WholeField
from flexibility import words
from flexibility.charging import Mode, Why
from flexibility.emitters import UnableToConstrain, kind_of
from flexibility.models import ChargingPolicy, ChargingState, Constraint
from flexibility.policies import PolicyDraft
from flexibility.resolver import EmitterKind
from flexibility.wire import EmitterSerializer

MODES = [wire_name(mode) for mode in Mode]

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
        help_text="W; what the sun leaves over, for all stations",
    )
    share_power = NumberField(
        source="reason.share_w", allow_null=True, help_text="W; what of it this station has"
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
        return words.charging(row.reason["why"])


class ChargingPolicySerializer(NamedSerializer):
    """How a charging station charges, or all of a cluster or a system; it asks by itself.

    One of `applianceID`, `clusterID` and `systemID` is there. `stations` are those where it asks
    now; elsewhere another one weighs more. Without `invalidAt` it has no end, or that of its
    departure.
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
        return ChargingStationSerializer(self.context["states"], many=True).data

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
