"""The proof that dimmings were kept to, from what was measured meanwhile.

It is kept when the readings themselves are gone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import F, Q, QuerySet

from flexibility.dimming.evidence import LONGEST_GAP, Sample, evidence, net_draw
from flexibility.models import Constraint, Dimming, DimmingProof, SharedLimit
from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.models import Reading

# Late readings still count; then the proof is made for good.
PROVED_AFTER = timedelta(hours=1)
AT_ONCE = 20

# What was measured for less of the time says nothing of all of it.
ALL_ALONG = 0.95


class Verdict(StrEnum):
    """What a proof says of one limit; the worst first."""

    NOT_KEPT = "not_kept"
    NOT_KEPT_YET = "not_kept_yet"
    NOT_MEASURED = "not_measured"
    KEPT_AS_MEASURED = "kept_as_measured"
    KEPT_SO_FAR = "kept_so_far"
    KEPT = "kept"


@dataclass(frozen=True)
class Part:
    """What is limited to what (W), and since when: one appliance, or several to one sum."""

    appliances: tuple[Appliance, ...]
    limit_w: float
    started_at: datetime
    is_sum: bool

    @property
    def appliance(self) -> Appliance | None:
        """The only one; None where it is a sum."""
        return None if self.is_sum else self.appliances[0]


@dataclass(frozen=True)
class Proved:
    """Of one appliance, or of the sum (None), the limit in W, and what was measured.

    `is_over`: the dimming has ended, and the verdict is no longer open.
    """

    appliance: Appliance | None
    limit_w: float
    reaction_s: float | None
    highest_w: float | None
    measured_share: float
    is_over: bool = True

    @property
    def verdict(self) -> Verdict:
        """Whether it was kept to, as far as that is known by now."""
        if self.highest_w is None:
            return Verdict.NOT_MEASURED
        if self.reaction_s is None:
            return Verdict.NOT_KEPT if self.is_over else Verdict.NOT_KEPT_YET
        if not self.is_over:
            return Verdict.KEPT_SO_FAR
        return Verdict.KEPT if self.measured_share >= ALL_ALONG else Verdict.KEPT_AS_MEASURED


def as_kept(one: DimmingProof) -> Proved:
    """What was kept of one appliance, or of the sum, when the dimming was over."""
    return Proved(one.appliance, one.limit_w, one.reaction_s, one.highest_w, one.measured_share)


def parts_of(found: Dimming) -> list[Part]:
    """What a dimming limits."""
    limit = SharedLimit.objects.filter(dimming=found).first()
    if limit is not None:
        members = Appliance.objects.filter(pk__in=limit.members).order_by("key")
        return [Part(tuple(members), limit.max_w, limit.valid_at, is_sum=True)]
    rows = Constraint.objects.filter(dimming=found).select_related("appliance")
    return [
        Part((row.appliance,), row.max_w, row.valid_at, is_sum=False)
        for row in rows.order_by("appliance__key")
    ]


def samples_of(found: Dimming, part: Part, *, now: datetime) -> list[Sample]:
    """What was measured during a dimming, and just before and after it, as far as it is kept.

    Of a sum it is what was drawn from the grid (`evidence.net_draw`).
    """
    if not part.is_sum:
        return _readings(found, part.appliances, now)
    meters = Appliance.objects.filter(system=found.system_id, kind=ApplianceKind.GRID_METER)
    # Of several meters nobody knows how their readings belong together.
    meter = _readings(found, meters, now) if len(meters) == 1 else []
    return net_draw([_readings(found, [one], now) for one in part.appliances], meter)


def proof_of(found: Dimming, *, now: datetime) -> list[Proved]:
    """What was measured so far, or what was kept of it where that was made."""
    kept = DimmingProof.objects.filter(dimming=found).select_related("appliance")
    if kept:
        return [as_kept(one) for one in kept.order_by("appliance__key")]
    return _proved(found, now)


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
                    appliance=one.appliance,
                    limit_w=one.limit_w,
                    reaction_s=one.reaction_s,
                    highest_w=one.highest_w,
                    measured_share=one.measured_share,
                )
                for one in _proved(found, now)
            ),
            ignore_conflicts=True,
        )
    return len(due)


def _proved(found: Dimming, now: datetime) -> list[Proved]:
    ended_at = min(found.ended_at, now)
    if ended_at <= found.valid_at:
        return []
    proved = []
    for part in parts_of(found):
        if part.started_at >= ended_at:
            continue
        one = evidence(
            samples_of(found, part, now=now),
            part.limit_w,
            started_at=part.started_at,
            ended_at=ended_at,
        )
        proved.append(
            Proved(
                part.appliance,
                part.limit_w,
                one.reaction_s,
                one.highest_w,
                one.measured_share,
                is_over=found.ended_at <= now,
            )
        )
    return proved


def _readings(found: Dimming, appliances: Collection[Appliance], now: datetime) -> list[Sample]:
    rows = Reading.objects.filter(
        system_key=found.system.key,
        appliance_key__in=[one.key for one in appliances],
        at__gte=found.valid_at - LONGEST_GAP,
        at__lt=min(found.ended_at, now) + LONGEST_GAP,
        interval_s=None,
    )
    return list(rows.order_by("at").values_list("at", "power_w"))
