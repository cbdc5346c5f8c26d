"""Dimming of whole systems by their grid operator (§ 14a EnWG), and the proof that it was done.

`flexibility.dimming` says what each appliance may draw; here that becomes constraints of the grid
operator. What was measured meanwhile is kept when the readings themselves are gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import Verb, record_change
from flexibility.dimming import rules
from flexibility.dimming.rules import Consumer, Evidence, evidence
from flexibility.emitters import Emitter, UnableToConstrain, default_priority
from flexibility.models import Constraint, Dimming, DimmingProof
from flexibility.operations import LONGEST_VALIDITY
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from inventory.models import Appliance, System
from measurements.models import Reading

# Late readings still count; then the proof is made for good.
PROVED_AFTER = timedelta(hours=1)
AT_ONCE = 20


@dataclass(frozen=True)
class Proved:
    """One appliance's part of a dimming: its limit in W, and what was measured."""

    appliance: Appliance
    limit_w: float
    reaction_s: float | None
    highest_w: float | None
    measured_share: float


def dim_system(
    *,
    system: System,
    emitter: Emitter,
    invalid_at: datetime,
    now: datetime,
    valid_at: datetime | None = None,
) -> Dimming:
    """Have each of the system's controllable consumers draw no more than § 14a leaves it.

    Raises UnableToConstrain, naming the field; PermissionDenied for who is no grid operator.
    """
    if emitter.kind is not EmitterKind.GRID_OPERATOR:
        raise PermissionDenied
    valid_at = valid_at or now
    if invalid_at <= max(valid_at, now):
        raise UnableToConstrain("invalid_at", _("It would be over already."))
    if invalid_at > now + LONGEST_VALIDITY:
        raise UnableToConstrain("invalid_at", _("At most %d days ahead.") % LONGEST_VALIDITY.days)
    with transaction.atomic():
        hold_systems([system.pk])
        limits = _direct_limits(system)
        if not limits:
            raise UnableToConstrain("system", _("There is nothing here that can be dimmed."))
        found = Dimming.objects.create(
            created_at=now,
            system=system,
            valid_at=valid_at,
            invalid_at=invalid_at,
            emitter=emitter.user,
        )
        Constraint.objects.bulk_create(
            Constraint(
                created_at=now,
                appliance=appliance,
                dimming=found,
                emitter_kind=emitter.kind.value,
                emitter=emitter.user,
                priority=default_priority(emitter.kind),
                max_w=max_w,
                valid_at=valid_at,
                invalid_at=invalid_at,
            )
            for appliance, max_w in limits
        )
        _record(found, Verb.CONSTRAINED, emitter, now)
        resolve_systems(systems=[system.pk], now=now)
    return found


def end_dimming(*, found: Dimming, emitter: Emitter, now: datetime) -> Dimming:
    """End a dimming at once; one that is over is left as it is.

    Raises PermissionDenied for who is no grid operator.
    """
    if emitter.kind is not EmitterKind.GRID_OPERATOR:
        raise PermissionDenied
    with transaction.atomic():
        hold_systems([found.system_id])
        standing = Dimming.objects.filter(pk=found.pk, withdrawn_at=None, invalid_at__gt=now)
        if standing.update(withdrawn_at=now):
            found.withdrawn_at = now
            Constraint.objects.filter(dimming=found, withdrawn_at=None).update(
                withdrawn_at=now, withdrawn_by=emitter.user
            )
            _record(found, Verb.CONSTRAINT_WITHDRAWN, emitter, now)
            resolve_systems(systems=[found.system_id], now=now)
    return found


# What was measured -------------------------------------------------------------------------------


def proof_of(found: Dimming, *, now: datetime) -> list[Proved]:
    """What was measured so far, an appliance each; what was kept of it where that was made."""
    kept = DimmingProof.objects.filter(dimming=found).select_related("appliance")
    if kept:
        return [
            Proved(one.appliance, one.limit_w, one.reaction_s, one.highest_w, one.measured_share)
            for one in kept.order_by("appliance__key")
        ]
    return [_proved(*part) for part in _measured(found, now)]


def unproved(*, now: datetime) -> QuerySet[Dimming]:
    """The dimmings that are over for long enough for their proof to be made."""
    over = now - PROVED_AFTER
    begun = Q(withdrawn_at=None) | Q(withdrawn_at__gt=F("valid_at"))
    return Dimming.objects.filter(
        begun, Q(invalid_at__lte=over) | Q(withdrawn_at__lte=over), proofs=None
    )


def keep_proofs(*, now: datetime) -> int:
    """Keep the proofs of dimmings that are over; returns of how many. Again changes nothing."""
    due = list(unproved(now=now).select_related("system").order_by("invalid_at")[:AT_ONCE])
    for found in due:
        DimmingProof.objects.bulk_create(
            (
                DimmingProof(
                    dimming=found,
                    appliance=appliance,
                    limit_w=limit_w,
                    reaction_s=one.reaction_s,
                    highest_w=one.highest_w,
                    measured_share=one.measured_share,
                )
                for appliance, limit_w, one in _measured(found, now)
            ),
            ignore_conflicts=True,
        )
    return len(due)


def _measured(found: Dimming, now: datetime) -> list[tuple[Appliance, float, Evidence]]:
    ended_at = min(found.ended_at, now)
    if ended_at <= found.valid_at:
        return []
    rows = Constraint.objects.filter(dimming=found).select_related("appliance")
    return [
        (
            row.appliance,
            row.max_w,
            evidence(
                _samples(found.system, row.appliance, found.valid_at, ended_at),
                row.max_w,
                started_at=found.valid_at,
                ended_at=ended_at,
            ),
        )
        for row in rows.order_by("appliance__key")
    ]


def _samples(
    system: System, appliance: Appliance, from_at: datetime, until_at: datetime
) -> Sequence[tuple[datetime, float]]:
    rows = Reading.objects.filter(
        system_key=system.key,
        appliance_key=appliance.key,
        at__gte=from_at - rules.LONGEST_GAP,
        at__lt=until_at + rules.LONGEST_GAP,
        interval_s=None,
    )
    return list(rows.order_by("at").values_list("at", "power_w"))


def _proved(appliance: Appliance, limit_w: float, one: Evidence) -> Proved:
    return Proved(appliance, limit_w, one.reaction_s, one.highest_w, one.measured_share)


# What there is to dim ----------------------------------------------------------------------------


def _direct_limits(system: System) -> list[tuple[Appliance, float]]:
    """The appliances that are dimmed, and to what (W)."""
    appliances = {
        str(one.pk): one for one in Appliance.objects.filter(system=system, removed_at=None)
    }
    consumers = [
        Consumer(
            key,
            one.kind,
            one.max_power_w,
            part_of=str(one.parent_id) if str(one.parent_id) in appliances else None,
        )
        for key, one in appliances.items()
    ]
    return [
        (appliances[limit.key], limit.max_w)
        for limit in rules.direct_limits(consumers)
        if limit.max_w is not None
    ]


def _record(found: Dimming, verb: str, emitter: Emitter, now: datetime) -> None:
    record_change(
        verb=verb,
        target=found.system,
        account=found.system.account,
        by=emitter.user,
        now=now,
        changes={
            "dimming": [None, str(found.pk)],
            "valid_at": [None, found.valid_at.isoformat()],
            "invalid_at": [None, found.ended_at.isoformat()],
        },
    )
