"""Constraints and flexibilities in the words of the wire API: what is taken, sent and described.

Each shape stands here once. Powers in W, positive into the appliance; energies in Wh. Unlike
elsewhere on the wire, what has no value is null: a side without a boundary is a statement.

Serializers that tell who set a constraint need `people` in their context, the ids of the persons
who may be named; those of constraints need `now` besides, and those of dry runs `seen` as well, the
ids of the appliances that may be told of.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.wire import NamedSerializer, wire_name
from accounts.wire_fields import (
    GREATEST,
    FlagField,
    IdField,
    InstantField,
    NumberField,
    WholeField,
)
from flexibility import words
from flexibility.allotment import Side
from flexibility.dry_run import DryRun
from flexibility.emitters import UnableToConstrain
from flexibility.limits.balancing import Broken
from flexibility.limits.sentences import broken_words
from flexibility.models import Constraint
from flexibility.operations import Draft
from flexibility.queries import Delivery, Explained, Now, State, state_of
from flexibility.resolver import EmitterKind, OutcomeKind
from flexibility.wire_targets import TargetedMixin
from inventory.kinds import ApplianceKind

EMITTER_KINDS = [wire_name(kind) for kind in EmitterKind]
PHASES = 3
AT_HOME = wire_name(EmitterKind.LOCAL_USER)
KINDS = [kind.upper() for kind in ApplianceKind]
STATES = [str(state) for state in State]
OUTCOMES = [str(kind) for kind in OutcomeKind]
DELIVERIES = [str(one) for one in Delivery if one is not Delivery.NONE]

_TARGETS = ("applianceID", "clusterID", "systemPoolID")


class KindField(serializers.ChoiceField):
    """A kind of appliance, in capitals as the inventory has it."""

    def __init__(self) -> None:
        super().__init__(KINDS)

    def to_internal_value(self, data) -> str:
        return super().to_internal_value(data).lower()

    def to_representation(self, value: str) -> str:
        return value.upper()


class EmitterSerializer(NamedSerializer):
    """Who set a constraint; a person is named to those who see them elsewhere too."""

    kind = serializers.ChoiceField(EMITTER_KINDS)
    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()

    def to_representation(self, row: Constraint) -> dict[str, Any]:
        person = row.emitter if row.emitter_id in self.context["people"] else None
        return {
            "kind": wire_name(row.emitter_kind),
            "id": person and person.pk,
            "name": str(person or words.EMITTERS[row.emitter_kind]),
        }


class ConstraintSerializer(TargetedMixin, NamedSerializer):
    """A range and/or a set point for an appliance, or for each member of a cluster or a pool.

    One of `applianceID`, `clusterID` and `systemPoolID` is there. `emitter` follows from who is
    asking; account users who live at the system may send `{"kind": "localUser"}`.
    """

    id = IdField(
        required=False, allow_null=True, help_text="With that of a known one it takes its place."
    )
    # As the address says; not read-only, because then each would be described as always there.
    appliance_id = IdField(required=False)
    cluster_id = IdField(required=False)
    system_pool_id = IdField(source="pool_id", required=False)
    kinds = serializers.ListField(
        child=KindField(),
        required=False,
        allow_null=True,
        max_length=len(KINDS),
        help_text="For which members of a cluster or a pool; without any for all controllable.",
    )
    power = NumberField(
        source="set_point_w", required=False, allow_null=True, help_text="W; the set point"
    )
    closest = FlagField(
        required=False, allow_null=True, help_text="The set point may bend to what is allowed."
    )
    min_power = NumberField(source="min_w", required=False, allow_null=True, help_text="W")
    max_power = NumberField(source="max_w", required=False, allow_null=True, help_text="W")
    min_energy = NumberField(source="min_wh", required=False, allow_null=True, help_text="Wh")
    max_energy = NumberField(source="max_wh", required=False, allow_null=True, help_text="Wh")
    priority = WholeField(
        required=False,
        allow_null=True,
        help_text="The higher wins; up to the ceiling of the kind of emitter.",
    )
    valid_at = InstantField(required=False, allow_null=True, help_text="By default now.")
    invalid_at = InstantField(
        required=False,
        allow_null=True,
        help_text="To be given, at most 400 days ahead; null only for an appliance's own limits.",
    )
    emitter = EmitterSerializer(source="*", read_only=True)
    created_at = InstantField(read_only=True)
    state = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ChoiceField(STATES))
    def get_state(self, row: Constraint) -> State:
        return state_of(row, now=self.context["now"])

    def validate_kinds(self, kinds: list[str] | None) -> list[str] | None:
        if kinds and not self.context["is_group"]:
            raise serializers.ValidationError(_("Only constraints of clusters and pools have it."))
        return kinds

    def to_representation(self, row: Constraint) -> dict[str, Any]:
        wire = super().to_representation(row)
        absent = {name for name in _TARGETS if wire[name] is None}
        absent |= {"kinds"} if row.appliance_id else set()
        return {name: value for name, value in wire.items() if name not in absent}


_WIRE_NAMES = {field.source: name for name, field in ConstraintSerializer().fields.items()}
_DRAFTED = {field.name for field in fields(Draft)}


def draft_of(validated: Mapping[str, Any]) -> Draft:
    """The draft that a client sent; null is no statement."""
    stated = {name: value for name, value in validated.items() if value is not None}
    return Draft(**{name: value for name, value in stated.items() if name in _DRAFTED})


def refusal(error: UnableToConstrain, *, of_many: bool) -> serializers.ValidationError:
    """What a client is told: the wire's field, with its place where many were sent."""
    detail = {_WIRE_NAMES.get(error.field, error.field): [error.reason]}
    if of_many and error.number is not None:
        return serializers.ValidationError({str(error.number): detail})
    return serializers.ValidationError(detail)


def asks_as_resident(sent: Any) -> bool:
    """Whether what a client sent asks to be set as the resident's; all else of it is ignored."""
    emitter = sent.get("emitter") if isinstance(sent, Mapping) else None
    return isinstance(emitter, Mapping) and emitter.get("kind") == AT_HOME


class OutcomesSerializer(NamedSerializer):
    """What became of it, separately; absent where it says nothing of that."""

    power = serializers.ChoiceField(OUTCOMES, required=False)
    energy = serializers.ChoiceField(OUTCOMES, required=False)


class ExplainedSerializer(NamedSerializer):
    """A constraint, what became of it, and why."""

    id = serializers.UUIDField(source="row.id")
    priority = serializers.IntegerField(source="row.priority")
    emitter = EmitterSerializer(source="row")
    limit_id = serializers.UUIDField(
        source="row.limit_id",
        allow_null=True,
        help_text="Of what it is a share: a limit of a cluster, or a dimming's of the system.",
    )
    cluster_id = serializers.SerializerMethodField(
        help_text="On which it is set, or whose limit it is a share of."
    )
    valid_at = InstantField(source="row.valid_at")
    invalid_at = InstantField(source="row.invalid_at", allow_null=True)
    outcome = serializers.SerializerMethodField()
    conflicts_with = serializers.SerializerMethodField()
    reason = serializers.CharField()

    @extend_schema_field(OutcomesSerializer)
    def get_outcome(self, one: Explained) -> dict[str, str]:
        return {part: outcome["outcome"] for part, outcome in one.outcomes.items()}

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_cluster_id(self, one: Explained) -> UUID | None:
        return one.row.limit.cluster_id if one.row.limit_id else one.row.cluster_id

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_conflicts_with(self, one: Explained) -> list[str]:
        against = (
            other for outcome in one.outcomes.values() for other in outcome["conflicts_with"]
        )
        return list(dict.fromkeys(against))


# The boundary of a `span`, and what it comes from.
class BoundarySerializer(NamedSerializer):
    min_power = NumberField(source="span.boundary.min_w", allow_null=True, help_text="W")
    max_power = NumberField(source="span.boundary.max_w", allow_null=True, help_text="W")
    can_pause = serializers.BooleanField(
        source="span.boundary.can_pause", help_text="0 W is possible besides the range."
    )
    min_energy = NumberField(source="span.boundary.min_wh", allow_null=True, help_text="Wh")
    max_energy = NumberField(source="span.boundary.max_wh", allow_null=True, help_text="Wh")
    set_point = NumberField(source="span.boundary.set_point_w", allow_null=True, help_text="W")
    constraints = ExplainedSerializer(many=True)


class SegmentSerializer(BoundarySerializer):
    """What holds in `[from, until)`."""

    from_ = InstantField(source="span.from_at")
    until = InstantField(source="span.until_at")


class AppliedSerializer(NamedSerializer):
    """What the gateway said last that an appliance keeps to; `failSafe`: to its fail-safe."""

    at = InstantField(source="applied_at")
    min_power = NumberField(source="applied_min_w", allow_null=True, help_text="W")
    max_power = NumberField(source="applied_max_w", allow_null=True, help_text="W")
    set_point = NumberField(source="applied_set_point_w", allow_null=True, help_text="W")
    fail_safe = serializers.BooleanField(source="applied_fail_safe")


class FlexibilitySerializer(BoundarySerializer):
    """An appliance's latest measurement, its boundaries, its set point, and what decides them.

    After `invalidAt` it cannot be trusted any more, and is `stale`.
    """

    appliance_id = serializers.UUIDField(source="appliance.id")
    updated_at = InstantField(allow_null=True)
    invalid_at = InstantField(allow_null=True)
    stale = serializers.BooleanField(source="is_stale")
    power = NumberField(source="reading.power_w", allow_null=True, help_text="W")
    energy = NumberField(source="reading.energy_wh", allow_null=True, help_text="Wh")
    state_of_charge = NumberField(source="reading.soc", allow_null=True, help_text="0–1")
    measured_at = serializers.SerializerMethodField(help_text="When the power was.")
    set_point_asked = NumberField(
        source="set_point_asked_w", allow_null=True, help_text="W; before it was bent"
    )
    set_point_state = serializers.SerializerMethodField(
        help_text="How far the gateway's newest schedule has come; null where it has none."
    )
    set_point_applied_at = serializers.SerializerMethodField(
        help_text="When the gateway said that it keeps to its newest schedule."
    )
    applied = serializers.SerializerMethodField()

    @extend_schema_field(InstantField(allow_null=True))
    def get_measured_at(self, one: Now) -> datetime | None:
        return one.reading and (one.reading.power_at or one.reading.at)

    @extend_schema_field(serializers.ChoiceField(DELIVERIES, allow_null=True))
    def get_set_point_state(self, one: Now) -> Delivery | None:
        return None if one.delivery is Delivery.NONE else one.delivery

    @extend_schema_field(AppliedSerializer(allow_null=True))
    def get_applied(self, one: Now) -> dict[str, Any] | None:
        is_known = one.kept is not None and one.kept.applied_at is not None
        return AppliedSerializer(one.kept).data if is_known else None

    @extend_schema_field(InstantField(allow_null=True))
    def get_set_point_applied_at(self, one: Now) -> datetime | None:
        return one.kept.applied_at if one.kept and one.delivery is Delivery.APPLIED else None


class MovedShareSerializer(NamedSerializer):
    """The greatest power of an appliance's share of a shared limit, W; null is no limit."""

    appliance_id = serializers.UUIDField(source="appliance")
    limit_id = serializers.UUIDField(source="limit.id")
    valid_at = InstantField(help_text="From when on it would be another one.")
    max_power_before = NumberField(source="before_w", allow_null=True)
    max_power_after = NumberField(source="after_w", allow_null=True)


class BrokenLimitSerializer(NamedSerializer):
    """A shared limit that could not be kept any more."""

    limit_id = serializers.UUIDField(source="limit.id")
    cluster_id = serializers.UUIDField(source="limit.cluster_id", allow_null=True)
    valid_at = InstantField(help_text="From when on it could not.")
    side = serializers.ChoiceField([str(side) for side in Side])
    phase = serializers.IntegerField(allow_null=True)
    over = NumberField(
        source="over_w", allow_null=True, help_text="W; how much too much; null where it can be any"
    )
    reason = serializers.SerializerMethodField()

    def get_reason(self, one: Broken) -> str:
        return broken_words(one, now=self.context["now"], zone=one.limit.system.zone)


class DryRunSerializer(NamedSerializer):
    """The next 48 h without and with what was asked, and what would become of each constraint.

    Of each the outcome as soon as something of what was asked takes effect. `movedShares`: whose
    share of a shared limit would be another one then, in the end, as far as the caller sees them;
    of the members of a group each one's own. `brokenLimits`: the shared limits of the appliance's
    system that could not be kept any more.
    """

    before = SegmentSerializer(many=True)
    after = SegmentSerializer(many=True)
    constraints = ExplainedSerializer(many=True)
    moved_shares = serializers.SerializerMethodField()
    broken_limits = serializers.SerializerMethodField()

    @extend_schema_field(MovedShareSerializer(many=True))
    def get_moved_shares(self, found: DryRun) -> list[dict[str, Any]]:
        seen = [move for move in found.moved if move.appliance in self.context["seen"]]
        return MovedShareSerializer(seen, many=True).data

    @extend_schema_field(BrokenLimitSerializer(many=True))
    def get_broken_limits(self, found: DryRun) -> list[dict[str, Any]]:
        return BrokenLimitSerializer(found.broken, many=True, context=self.context).data


class MemberDryRunSerializer(DryRunSerializer):
    appliance_id = serializers.UUIDField(source="appliance.id")


class LimitField(WholeField):
    def __init__(self) -> None:
        super().__init__(min_value=0, max_value=int(GREATEST), required=False, help_text="W")


class ImportLimitSerializer(NamedSerializer):
    """The most that a system may import: one limit of the sum of its phases.

    All other values follow from it; what is sent of them is refused where it asks for more.
    """

    internal_device_id = serializers.CharField(read_only=True, help_text="the grid meter's id")
    created_at = InstantField(read_only=True, help_text="Since when there has been a limit.")
    updated_at = InstantField(read_only=True, help_text="When it was set last.")
    number_of_phases = serializers.ChoiceField([1, PHASES], required=False)
    max_import_total = LimitField()
    max_import_l1 = LimitField()
    max_import_l2 = LimitField()
    max_import_l3 = LimitField()
    import_ev_margin_total = LimitField()
    import_ev_margin_phase = LimitField()
    max_import_ev_margin_l1 = LimitField()
    max_import_ev_margin_l2 = LimitField()
    max_import_ev_margin_l3 = LimitField()
    max_import_ev_worst_case = LimitField()
    max_import_ev_worst_case_l1 = LimitField()
    max_import_ev_worst_case_l2 = LimitField()
    max_import_ev_worst_case_l3 = LimitField()

    def validate(self, sent: dict[str, int]) -> dict[str, float]:
        phases = sent.get("number_of_phases", PHASES)
        of_phases = [sent.get(f"max_import_l{phase}") for phase in range(1, phases + 1)]
        totals = [] if None in of_phases else [sum(of_phases)]
        totals += [sent["max_import_total"]] if "max_import_total" in sent else []
        if not totals:
            raise serializers.ValidationError({"maxImportTotal": _("Say how much at most.")})
        kept_to = _import_limits(min(totals), phases)
        for name, value in sent.items():
            is_margin = name in {"import_ev_margin_total", "import_ev_margin_phase"}
            if (value > 0) if is_margin else (value < kept_to.get(name, 0)):
                reason = _("Only the sum of all phases is kept to: leave this out.")
                raise serializers.ValidationError({wire_name(name): reason})
        return {"max_w": float(min(totals))}

    def to_representation(self, row: Constraint) -> dict[str, Any]:
        about = {
            "internal_device_id": str(row.appliance_id),
            "created_at": row.valid_at,
            "updated_at": row.created_at,
            "number_of_phases": PHASES,
        }
        values = about | _import_limits(round(row.max_w), PHASES)
        return {wire_name(name): value for name, value in values.items()}


def _import_limits(total_w: int, phases: int) -> dict[str, int]:
    """What follows from a limit of the sum: each phase has its share, and there is no margin."""
    share_w = -(-total_w // phases)
    names = ("max_import", "max_import_ev_margin", "max_import_ev_worst_case")
    of_phases = {f"{name}_l{phase}": share_w for name in names for phase in (1, 2, 3)}
    return {
        "max_import_total": total_w,
        "import_ev_margin_total": 0,
        "import_ev_margin_phase": 0,
        "max_import_ev_worst_case": total_w,
        **of_phases,
    }
