"""Shares as they are kept: a constraint for each limit and appliance, changed in place."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from accounts.rows import update_rows
from flexibility.allotment import Tally
from flexibility.limits.terms import Division, Kept, Span
from flexibility.models import Constraint, Share, SharedLimit
from flexibility.resolver import EmitterKind
from inventory.models import Appliance

# How often readings are looked at.
EVERY = timedelta(seconds=10)
# How long the shares of a limit without an end hold, and how much of that must be left.
LASTING = timedelta(days=400)
LASTING_LEFT = timedelta(days=200)
# How long before a limit begins it is divided once more, by readings that are as good as those of
# its beginning.
SHORTLY = timedelta(minutes=1)

_TURNS = ("paused_since", "running_since", "asks_since")
_TOLD = (*_TURNS, "unconfirmed_since", "why_min", "why_max")
_STATE = (*_TOLD, "wide_min_w", "wide_max_w")
_SHARE = ("min_w", "max_w", "priority", "emitter", "valid_at", "invalid_at", "withdrawn_at")


def kept_of(row: Constraint) -> Kept:
    """What a row of `Constraint`, with its `share`, keeps."""
    share = row.share
    return Kept(
        span=Span(row.min_w, row.max_w),
        wide=Span(share.wide_min_w, share.wide_max_w),
        **{name: getattr(share, name) for name in _TOLD},
    )


def save_shares(
    limits: Sequence[SharedLimit],
    rows: Iterable[Constraint],
    divided: Mapping[UUID, Division],
    now: datetime,
) -> set[UUID]:
    """Save the shares that changed, end those that are no more; returns the systems concerned."""
    known = {(str(row.limit_id), str(row.appliance_id)): row for row in rows}
    by_key = {str(limit.pk): limit for limit in limits}
    shares, states, systems = [], [], set()
    for system, division in divided.items():
        for (limit, taker), kept in division.shares.items():
            row = known.pop((limit, taker), None) or _new_row(by_key[limit], taker)
            if _change(row, _share(row, by_key[limit], kept, now)):
                shares.append(row)
                systems.add(system)
            audited = _audited(row.share)
            if _change(row.share, _state(row, kept, now)):
                states.append(row.share)
                if _audited(row.share) != audited:
                    systems.add(system)
    systems |= _end([row for row in known.values() if row.withdrawn_at is None], now)
    Constraint.objects.bulk_create(
        shares,
        update_conflicts=True,
        unique_fields=["limit", "appliance"],
        update_fields=_SHARE,
    )
    Share.objects.bulk_create(
        states, update_conflicts=True, unique_fields=["constraint"], update_fields=_STATE
    )
    for limit in limits:
        division = divided[limit.system_id]
        limit.tallies = list(map(_as_json, division.tallies.get(str(limit.pk), ())))
        limit.due_at = _next_due(limit, now)
        limit.balanced_at = now if limit.valid_at <= now else None
    update_rows(limits, ["tallies", "balanced_at", "due_at"])
    return systems


def _new_row(limit: SharedLimit, taker: str) -> Constraint:
    row = Constraint(
        created_at=limit.created_at,
        appliance_id=UUID(taker),
        limit=limit,
        emitter_kind=EmitterKind.CLUSTER_LIMIT.value,
    )
    row.share = Share(constraint=row)
    return row


def _share(row: Constraint, limit: SharedLimit, kept: Kept, now: datetime) -> dict[str, Any]:
    is_new = row.withdrawn_at is not None or row.invalid_at is None or row.invalid_at <= now
    has_begun = limit.valid_at <= now and row.valid_at is not None and row.valid_at <= now
    return {
        "min_w": kept.span.min_w,
        "max_w": kept.span.max_w,
        "priority": limit.priority,
        "emitter_id": limit.emitter_id,
        "valid_at": max(now, limit.valid_at) if is_new or not has_begun else row.valid_at,
        "invalid_at": limit.invalid_at or _lasting(None if is_new else row.invalid_at, now),
        "withdrawn_at": None,
    }


def _state(row: Constraint, kept: Kept, now: datetime) -> dict[str, Any]:
    told = {name: getattr(kept, name) for name in _TOLD}
    if row.valid_at > now:
        # Turns begin with the limit.
        told |= dict.fromkeys(_TURNS)
    return told | {"wide_min_w": kept.wide.min_w, "wide_max_w": kept.wide.max_w}


def _audited(share: Share) -> tuple[str, str, bool]:
    """What the audit keeps of how a share came about."""
    return share.why_min, share.why_max, share.asks_since is None


def _next_due(limit: SharedLimit, now: datetime) -> datetime:
    if limit.valid_at <= now:
        return now + EVERY
    shortly = limit.valid_at - SHORTLY
    return shortly if now < shortly else limit.valid_at


def _change(row: Constraint | Share, values: Mapping[str, Any]) -> bool:
    """Set these values; whether any is another one."""
    is_other = any(getattr(row, name) != value for name, value in values.items())
    for name, value in values.items() if is_other else ():
        setattr(row, name, value)
    return is_other


def _lasting(before: datetime | None, now: datetime) -> datetime:
    """Until when the share of a limit without an end holds: renewed long before that."""
    is_long = before is not None and now + LASTING_LEFT < before <= now + LASTING
    return before if is_long else now + LASTING


def _end(rows: Sequence[Constraint], now: datetime) -> set[UUID]:
    if not rows:
        return set()
    Constraint.objects.filter(pk__in=[row.pk for row in rows]).update(withdrawn_at=now)
    concerned = Appliance.objects.filter(pk__in=[row.appliance_id for row in rows])
    return set(concerned.values_list("system", flat=True))


def _as_json(tally: Tally) -> dict[str, Any]:
    return {
        "side": tally.side.value,
        "phase": tally.phase,
        "limit_w": tally.limit_w,
        "allotted_w": tally.allotted_w,
        "over_w": tally.over_w,
        "by": [list(each) for each in tally.by],
        "blind": tally.blind,
    }
